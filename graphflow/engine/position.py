"""Where a run stands: all that the engine needs to go on (S17)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphflow.engine.frontier import Arrivals
from graphflow.engine.snapshots import Saved, taken_up
from graphflow.errors import GraphChangedError, did_you_mean
from graphflow.history import Counters, counters_at
from graphflow.plan import Plan
from graphflow.records import (
    AttemptRecord,
    ItemRecord,
    QuestionRecord,
    RunHeader,
    RunRecords,
    Sent,
    StepRecord,
    TaskRecord,
)

__all__ = ["OpenStep", "Position", "node_of", "restore"]


@dataclass(slots=True)
class OpenStep:
    """What is stored of a step that has begun and could not close, or not yet (S15)."""

    kept: dict[str, TaskRecord] = field(default_factory=dict)
    """The complete tasks, by key."""
    items: dict[str, dict[int, ItemRecord]] = field(default_factory=dict)
    """The complete items of each map that is not complete."""
    attempts: dict[str, int] = field(default_factory=dict)
    """How often tasks, or items of a map, have failed, by key."""
    failed: dict[str, AttemptRecord] = field(default_factory=dict)
    """The last failure of each task that failed for good, by key."""
    questions: dict[str, dict[str, QuestionRecord]] = field(default_factory=dict)
    """The questions of each task, or item of a map, by the name of the question."""
    memos: dict[str, dict[str, str]] = field(default_factory=dict)
    """The JSON of what each task, or item of a map, has remembered, by name."""
    children: dict[str, RunHeader] = field(default_factory=dict)
    """How the child of each subgraph's task stands, if it has begun."""
    heard: bool = False
    """An answer came."""


@dataclass(slots=True)
class Position:
    """The checkpoint after a committed step, in memory."""

    step: int
    """The last committed step; -1 before step 0."""
    values: dict[str, Any]
    """The state, one value per field; replaced by each step, never changed."""
    ready: Sequence[str] = ()
    """The keys of the tasks that run next, in order."""
    held: Arrivals = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    texts: dict[str, str | None] = field(default_factory=dict)
    """The JSON of fields that are short; None for long ones; absent when nobody has looked."""
    saved: Saved = field(default_factory=Saved)
    """What is known of the last snapshot."""
    sends: Mapping[str, Sent] = field(default_factory=dict)
    """Those of the tasks that run next that come of Sends, by key."""
    open: OpenStep | None = None
    """What is stored of the next step; None: it has not begun."""

    def opened(self) -> OpenStep:
        """Give what is stored of the next step, from the first thing on."""
        if self.open is None:
            self.open = OpenStep()
        return self.open


def node_of(key: str, sends: Mapping[str, Sent]) -> str:
    """Give the node of a task."""
    return sends[key].node if key in sends else key


def restore(plan: Plan, records: RunRecords, step: int | None = None) -> Position:
    """Take up a stored run where it stands, or stood.

    Args:
        plan: Today's graph.
        records: The run, its tail at least.
        step: A committed step, as if nothing had come after it; None: the last one, with what is
            stored of the open step.

    Raises:
        GraphChangedError: What runs next is not in today's graph any more.
        StateError: The stored state does not fit today's state class.
    """
    last = records.steps[-1 if step is None else step - records.steps[0].step]
    _refuse_changes(plan, records, last)
    values, saved = taken_up(plan.schema, records, last.step)
    return Position(
        step=last.step,
        values=values,
        ready=list(last.ready),
        held={join: [tuple(a) for a in arrived] for join, arrived in last.held.items()},  # type: ignore[misc]  # JSON gives lists
        counters=counters_at(records, last.step),
        saved=saved,
        sends=dict(last.sends),
        open=_open_step(records) if step is None else None,
    )


def _open_step(records: RunRecords) -> OpenStep | None:
    found, step = OpenStep(), records.header.step + 1
    found.kept = {task.key: task for task in records.kept}
    for attempt in (a for a in records.attempts if a.step == step):
        found.attempts[attempt.key] = max(found.attempts.get(attempt.key, 0), attempt.attempt)
        task = attempt.key.partition("[")[0]
        if task not in found.kept:
            found.failed[task] = attempt
    for item in (i for i in records.items if i.step == step):
        found.items.setdefault(item.key, {})[item.ix] = item
    for question in (q for q in records.questions if q.step == step):
        found.questions.setdefault(question.key, {})[question.name] = question
    for memo in (m for m in records.memos if m.step == step):
        found.memos.setdefault(memo.key, {})[memo.name] = memo.value_json
    for child in (c.header for c in records.children if c.header.parent_step == step):
        found.children[str(child.parent_key)] = child
    found.heard = records.header.heard == step
    return None if found == OpenStep() else found


def _refuse_changes(plan: Plan, records: RunRecords, last: StepRecord) -> None:
    version, today = records.header.graph_version, plan.definition.version
    if version != today:
        raise GraphChangedError(
            f"run {records.header.run_id} began with version {version} of graph {plan.name!r};"
            f" this is version {today}. Finish it with the old version, or begin anew."
        )
    arrived = [source for arrivals in last.held.values() for source, _ in arrivals]
    for name in (*(node_of(key, last.sends) for key in last.ready), *last.held, *arrived):
        if name not in plan.nodes:
            raise GraphChangedError(
                f"run {records.header.run_id} stands before node {name!r}, which graph"
                f" {plan.name!r} does not have any more.{did_you_mean(name, plan.nodes)}"
                " Put the node back under this name to go on; the run can still be read and drawn."
            )
