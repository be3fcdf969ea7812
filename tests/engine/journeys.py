"""Takes a real run to its end by resumes and answers in any order, through any disturbance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from graphflow import Limits
from graphflow.errors import RunNotFoundError
from graphflow.records import RunRecords
from graphflow.run import Run
from tests.engine.loader import Ran
from tests.engine.moves import MOST, ROUTERS, answer_to
from tests.engine.vectors import Player

__all__ = ["Crash", "Crashing", "finish", "stored_bodies"]

TURNS = 1000
WRITES = frozenset({
    "begin", "take", "commit", "keep", "keep_item", "ask", "answer", "memo", "fail", "call", "end",
    "stop", "together",
})  # fmt: skip


class Crash(BaseException):
    """The process dies here."""


class Crashing:
    """A checkpointer whose process dies after so many verbs that write: none is done from then on.

    Args:
        store: The checkpointer that does the work, and outlives the crash.
        verbs: How many are done.
    """

    def __init__(self, store: Any, verbs: int) -> None:
        self._store, self._left = store, verbs

    def stored(self, run_id: str) -> RunRecords | None:
        """Read what has outlived the crash; None when the run has not begun."""
        try:
            records: RunRecords = self._store.load(run_id)
        except RunNotFoundError:
            return None
        return records

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in WRITES or name == "together":  # it calls the others
            return found

        def verb(*args: Any, **options: Any) -> Any:
            if self._left <= 0:
                raise Crash
            self._left -= 1
            return found(*args, **options)

        return verb


def finish(
    player: Player,
    random: Random,
    *,
    limits: Mapping[str, int] | None = None,
    answer: Callable[[str, int], Any] = answer_to,
) -> Run[Any]:
    """Take a run on until nothing moves it, or it has asked too much.

    Args:
        player: The run; begun here when it is not stored yet.
        random: Draws what is done first: a resume, or which answer.
        limits: Given to a run that is at a limit, once.
        answer: What a question is answered, by its name and step.
    """
    run, answers, idle = look(player), 0, 0
    for _ in range(TURNS):
        questions = player.asking() if run.status in {"failed", "paused"} else []
        before = (run.reason, len(run.steps), len(player.bodies.ran))
        # One that died between an answer and what follows says still that it waits for the answer.
        is_resumed = run.status in {"failed", "running"} or run.reason == "interrupted"
        is_resumed |= run.reason == "question" and not questions
        if questions and not (is_resumed and random.random() < 0.5):
            if answers == MOST:
                return run
            answers += 1
            key, step = random.choice(questions)
            player.attempt("answer", player.run_id, answer(key, step), key=key)
        elif is_resumed:
            player.attempt("resume", player.run_id)
        elif limits and run.status == "paused":
            player.attempt("resume", player.run_id, limits=Limits(**limits))
            limits = None
        else:
            return run
        run = player.flow().get(player.run_id)
        idle = idle + 1 if before == (run.reason, len(run.steps), len(player.bodies.ran)) else 0
        if idle > ROUTERS and not player.asking():
            return run
    raise AssertionError(f"no end after {TURNS} turns: {run!r}, {run.reason}, {run.open}")


def look(player: Player) -> Run[Any]:
    """Read a run; begin it when it is not there."""
    try:
        return player.flow().get(player.run_id)
    except RunNotFoundError:
        player.attempt("run", player.case.get("input", {}), run_id=player.run_id)
        return player.flow().get(player.run_id)


def stored_bodies(records: RunRecords) -> Iterator[Ran]:
    """List the bodies whose results are stored, those of children too."""
    run_id, opened = records.header.run_id, records.header.step + 1
    for step in records.steps:
        yield from (Ran(run_id, step.step, task.key) for task in step.tasks)
    yield from (Ran(run_id, opened, task.key) for task in records.kept)
    yield from (Ran(run_id, item.step, f"{item.key}[{item.ix}]") for item in records.items)
    for child in records.children:
        yield from stored_bodies(child)
