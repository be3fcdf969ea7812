"""Plays the actions of a case on a real run, through the public API, and says what is seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from graphflow import Limits
from graphflow.answering import find_open
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import RunFailedError
from graphflow.flow import Flow
from graphflow.records import RunRecords, Sent, StepRecord
from graphflow.run import Run
from tests.engine.loader import Bodies, answer_of, load, named, shown

__all__ = ["Player", "Way", "facts", "reopening"]

Data = Mapping[str, Any]
BIG = 10**6


@dataclass(frozen=True)
class Way:
    """One way to play a case; the path must be the same in all of them."""

    is_async: bool = False
    """Bodies are async functions."""
    awaits: bool = False
    """`arun` and its kin are awaited, instead of `run`."""
    small_steps: bool = False
    """Stopped after each commit, and taken up from what is stored."""
    disorder: int | None = None
    """A seed: async bodies end in any order."""
    edges: int | None = None
    """A seed: the edges are added in any order."""


class Player:
    """Plays one case.

    Args:
        case: The case.
        store: Gives the checkpointer; asked again before each action and each small step: what it
            then gives anew proves that nothing of a run lives in memory.
        way: How it is played.
    """

    def __init__(self, case: Data, store: Callable[[], Any], way: Way | None = None) -> None:
        self.case, self.store, self.way = case, store, way or Way()
        disorder = None if self.way.disorder is None else Random(self.way.disorder)
        # Who counts the executions of two tasks of one node side by side counts them in order.
        counted = "outcomes" in str(case["nodes"]) and "'send'" in str(case)
        is_async = self.way.is_async or counted
        self.bodies = Bodies(is_async=is_async, disorder=None if counted else disorder)
        self.run_id, self.known = "vector", 0
        self._flow: Flow[Any] | None = None

    def flow(self) -> Flow[Any]:
        """Make the graph ready to run, anew for each new store.

        It is not checked, as some cases have dead ends on purpose.
        """
        store = self.store()
        if self._flow is None or self._flow.store is not store:
            order = None if self.way.edges is None else Random(self.way.edges)
            definition = load(self.case, self.bodies, order).definition
            self._flow = Flow(definition, store, limits=limits_of(self.case), llm=None)
        return self._flow

    def act(self, action: Data) -> dict[str, Any]:
        """Do one action; give what is to be compared with its `expect`."""
        since, begun = self.known, len(self.bodies.ran)
        if action["do"] == "run":
            self.begin(action.get("max_steps", BIG))
        elif action["do"] == "resume":
            self.resume(action)
        elif action["do"] == "answer":
            self.answer(action["node"], action["value"])
        else:
            since = action["step"]
            self.fork(since, action.get("update"), action.get("choose") or {})
        run = self.flow().get(self.run_id)
        self.known = len(run.steps)
        executed = sorted(ran.path for ran in self.bodies.ran[begun:])
        return seen(run, since, executed)

    def asking(self) -> list[tuple[str, int]]:
        """List the open questions: what an answer names each by, and its run's step."""
        store = self.flow().store
        found = find_open(store, store.load(self.run_id, tail=True))
        return [(asked.id, asked.question.step) for asked in found]

    def begin(self, most: int) -> None:
        """Begin the run, and go on until so many steps are committed."""
        given = self.case.get("input", {})
        if most == BIG and not self.way.small_steps:
            self.attempt("run", given, run_id=self.run_id)
            return
        self.flow().start(given, run_id=self.run_id)
        self.go_on(most - 1)

    def resume(self, action: Data) -> None:
        """Go on with the run."""
        limits = limits_of(action) if "limits" in action else None
        most = action.get("max_steps", BIG)
        if limits is not None or (most == BIG and not self.way.small_steps):
            self.attempt("resume", self.run_id, limits=limits)
        else:
            self.go_on(most - self.known)

    def answer(self, key: str, value: Any) -> None:
        """Answer a question; then failed siblings, and children at their limit, are left alone."""
        if not self.way.small_steps:
            self.attempt("answer", self.run_id, value, key=key)
            return
        flow = self.flow()
        if {"failed", "limit"} & set(flow.get(self.run_id).open.values()):
            self.attempt("answer", self.run_id, value, key=key)
        else:
            flow.answer(self.run_id, value, key=key, resume=False)
            self.go_on(BIG)

    def fork(self, step: int, update: Data | None, choose: Data) -> None:
        """Fork the run; all that follows is done to the fork."""
        choices = {router_name(label): answer_of(answer) for label, answer in choose.items()}
        run = self.attempt("fork", self.run_id, step, update=update, choose=choices)
        self.run_id = run.run_id

    def go_on(self, commits: int) -> None:
        """Commit so many steps more."""
        size = 1 if self.way.small_steps else commits
        while commits > 0:
            flow = self.flow()
            try:
                run = stopped(flow, flow.advance(self.run_id, steps=size))
            except RunFailedError:
                return
            commits -= size
            if run.status != "running":
                return

    def attempt(self, verb: str, *args: Any, **options: Any) -> Run[Any]:
        """Call a verb of the flow; that the run fails is for the records to say."""
        flow = self.flow()
        try:
            if self.way.awaits:
                return stopped(flow, asyncio.run(getattr(flow, f"a{verb}")(*args, **options)))
            return stopped(flow, getattr(flow, verb)(*args, **options))
        except RunFailedError as error:
            return stopped(flow, error.run)


def stopped(flow: Flow[Any], run: Run[Any]) -> Run[Any]:
    """See that nobody holds a run any more, and that its state is what is stored of it."""
    stored = flow.get(run.run_id)
    assert stored.header.owner is None
    assert run.state == stored.state
    return run


def seen(run: Run[Any], since: int, executed: Sequence[str]) -> dict[str, Any]:
    """Say how a run stands, with its steps from one on, as the vectors do."""
    found = {
        "status": run.status,
        "reason": run.reason,
        "executed": list(executed),
        "state": run.values,
        "steps": facts(run.records)[since:],
    }
    return {**found, "open": run.open} if run.open else found


def facts(records: RunRecords) -> list[dict[str, Any]]:
    """Say of each committed step what the vectors say of it."""
    children: dict[int | None, list[RunRecords]] = {}
    for child in records.children:
        children.setdefault(child.header.parent_step, []).append(child)
    order = {node["name"]: i for i, node in enumerate(records.spec["nodes"])}
    return [facts_of(step, children.get(step.step, ()), order) for step in records.steps]


def facts_of(
    step: StepRecord, children: Sequence[RunRecords], order: Mapping[str, int]
) -> dict[str, Any]:
    """Say of a step what the vectors say of it; `order` is that of the nodes."""
    items = {task.key: task.items for task in step.tasks if task.items is not None}
    child = {of.header.parent_key: [[s.step, task_keys(s)] for s in of.steps] for of in children}
    return {
        "step": step.step,
        "tasks": task_keys(step),
        "decisions": [
            {"by": label(d), "chosen": [target(c) for c in d.chosen]} for d in step.decisions
        ],
        "arrows": [[shown(a.source), shown(a.target), a.kind] for a in step.arrows],
        "fired": {shown(j): [shown(s) for s in sources] for j, sources in step.fired.items()},
        "held": {join: in_order(arrived, order) for join, arrived in step.held.items()},
        "next": list(step.ready),
        **({"items": items} if items else {}),
        **({"child": child} if child else {}),
    }


def task_keys(step: StepRecord) -> list[str]:
    """List the tasks of a step; step 0 is START's."""
    return [task.key for task in step.tasks] or ["START"]


def label(decision: Any) -> str:
    """Name a decision as the vectors do: a node's second router is `a:1`."""
    if decision.kind != "router":
        return f"{decision.kind}:{decision.source}"
    source = shown(decision.source)
    return source if decision.router == "0" else f"{source}:{decision.router}"


def router_name(word: str) -> str:
    """Name a router as the loader did: by its place among those of its node."""
    source, _, place = word.partition(":")
    return f"{named(source)}:{place or 0}"


def target(chosen: str | Sent) -> Any:
    """Say a target of a decision as the vectors do."""
    if isinstance(chosen, Sent):
        return {"send": chosen.node, "input": json.loads(chosen.input_json)}
    return shown(chosen)


def in_order(arrived: Sequence[tuple[str, int]], order: Mapping[str, int]) -> list[str]:
    """List the sources that have arrived by declaration, START first; they are stored by time."""
    return [shown(of) for of, _ in sorted(arrived, key=lambda a: order.get(a[0], -1))]


def limits_of(data: Data) -> Limits:
    """Read limits, with the defaults."""
    return Limits(**data.get("limits", {}))


@contextmanager
def reopening(folder: Path) -> Iterator[Callable[[], SqliteCheckpointer]]:
    """Give a function that closes the store it gave before, and opens the file anew."""
    last: list[SqliteCheckpointer] = []

    def opened() -> SqliteCheckpointer:
        for store in last:
            store.close()
        # What the file says is as sound as with "full", which only a power cut could tell apart.
        last[:] = [SqliteCheckpointer(folder / "runs.db", durability="normal")]
        return last[0]

    yield opened
    for store in last:
        store.close()
