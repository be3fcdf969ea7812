"""All that people can ask of a stored run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from graphflow.cli.main import cli
from graphflow.policy import Limits
from graphflow.run import Run

__all__ = ["commands", "reads", "turns"]

PROPERTIES = [
    *("values", "path", "decisions", "attempts", "questions", "open_questions", "open", "usage"),
    *("recovered", "duration_ms", "error", "steps", "children", "calls", "under_way", "size"),
]


def reads(flow: Any, run_id: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name every way to read a run, each with a function that does it."""
    store = flow.store
    plain: Run[Any] = Run(store, run_id)
    yield "load", lambda: store.load(run_id)
    yield "tail", lambda: store.load(run_id, tail=True)
    yield "spent", lambda: store.spent(run_id)
    yield "verify", lambda: list(store.verify(run_id))
    for name in PROPERTIES:
        yield name, lambda name=name: getattr(plain, name)
    yield "state", lambda: flow.get(run_id).state
    yield "diffs", lambda: [plain.diff(step) for step in range(len(plain.steps))]
    yield "states", lambda: [flow.get(run_id).state_at(s) for s in range(len(plain.steps))]
    yield "took", lambda: plain.took("split", "price")
    yield "str", lambda: str(plain)
    yield "repr", lambda: repr(plain)
    yield "dot", lambda: plain.draw().dot
    yield "mermaid", lambda: plain.draw().mermaid
    yield "compare", lambda: str(plain.compare(plain))


def commands(database: Path, run_id: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name the commands that read a run, each with a function that runs it."""
    for words in (
        *(["show", run_id, *more] for more in ([], ["--steps"], ["--json"], ["--until", "1"])),
        *(["runs"], ["runs", "--json"], ["questions"], ["diff", run_id, run_id]),
    ):
        yield " ".join(words), lambda words=words: _run([*words, "--db", str(database)])


def _run(words: list[str]) -> None:
    result = CliRunner().invoke(cli, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def turns(flow: Any, later: Any, run_id: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name the ways to go on with a run, each with a function that does it.

    Args:
        flow: The graph that it is on.
        later: The next version of that.
        run_id: The run.
    """
    bounds = Limits(steps=40, visits=10)
    yield "resume", lambda: flow.resume(run_id, limits=bounds)
    yield "answer", lambda: flow.answer(run_id, "good")
    yield "fork", lambda: flow.fork(run_id, 1)
    yield "fork anew", lambda: flow.fork(run_id, 2, update={"reply": "x"})
    yield "continue", lambda: flow.run({"text": "two parts"}, run_id=run_id)
    yield "prune", lambda: flow.prune(steps=2)
    yield "verdict", lambda: later.verdict(run_id)
    yield "fork later", lambda: later.fork(run_id, 2)
    yield "resume later", lambda: later.resume(run_id, limits=bounds)
    yield "cancel", lambda: flow.cancel(run_id)
