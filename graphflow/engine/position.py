"""Where a run stands: all that the engine needs to go on (S17)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphflow.change.judge import judge
from graphflow.change.lapsed import has_lapsed
from graphflow.change.moved import node_in
from graphflow.change.verdict import changed
from graphflow.engine.frontier import Arrivals
from graphflow.engine.snapshots import Saved, restated, taken_up
from graphflow.engine.told import told_in
from graphflow.errors import StateError
from graphflow.history import Counters, counters_at
from graphflow.plan import Plan
from graphflow.records import (
    Adoption,
    AttemptRecord,
    Evidence,
    Frontier,
    ItemRecord,
    QuestionRecord,
    RunHeader,
    RunRecords,
    Sent,
    TaskRecord,
)
from graphflow.standing import end_of, went_on
from graphflow.stored import unreadable

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
    lapsed: dict[str, int] = field(default_factory=dict)
    """How many more each has asked that nobody has to answer, since it asks in another way now."""
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
    seen: dict[str, Evidence] = field(default_factory=dict)
    """What evidence says of fields; absent when nobody has looked since they were written."""
    saved: Saved = field(default_factory=Saved)
    """What is known of the last snapshot."""
    sends: Mapping[str, Sent] = field(default_factory=dict)
    """Those of the tasks that run next that come of Sends, by key."""
    open: OpenStep | None = None
    """What is stored of the next step; None: it has not begun."""
    adoption: Adoption | None = None
    """What is to be stored before anything else: the run has been on another graph so far."""

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
        GraphChangedError: It cannot go on with today's graph; `verdict` says why.
        CheckpointCorruptError: It stands at a node that its graph never had.
    """
    last = records.steps[-1].step if step is None else step
    if records.use_after(last).digest != plan.digest:
        return _carried(plan, records, last, step)
    record = records.checkpoint(last)
    try:
        values, saved = taken_up(plan.schema, records, last)
    except StateError as error:
        raise changed(judge(plan, records, step).verdict, error) from error
    left = Frontier(record.ready, record.fired, record.held, record.sends)
    position = _position(last, values, left, counters_at(records, last), saved)
    position.open = _open_step(plan, records) if step is None else None
    _check_nodes(plan, records.header.run_id, position)
    return position


def _check_nodes(plan: Plan, run_id: str, position: Position) -> None:
    """Refuse a run that stands at a node which its graph, today's, never had: it is damaged."""
    names = {node_of(key, position.sends) for key in position.ready}
    names |= {source for came in position.held.values() for source, _ in came}
    if position.open is not None:
        names |= {task.node for task in position.open.kept.values()}
    for name in (names | position.held.keys()) - plan.nodes.keys():
        raise unreadable(run_id, position.step + 1, "a node that it is the work of", KeyError(name))


def _carried(plan: Plan, records: RunRecords, last: int, step: int | None) -> Position:
    """Take up a run that another graph has advanced so far."""
    judged = judge(plan, records, step)
    carried = judged.carried
    if carried is None:
        raise changed(judged.verdict, judged.cause)
    values, state_json = carried.values, carried.adoption.state_json
    if state_json is None:  # then the snapshots are continued
        values, saved = taken_up(plan.schema, records, last)
    else:
        saved = restated(last, state_json, records, last)
        saved.told = told_in(plan.schema, state_json)
    position = _position(last, values, carried.frontier, carried.counters, saved)
    position.open = _open_step(plan, carried.records) if step is None else None
    position.adoption = carried.adoption
    return position


def _position(
    step: int, values: dict[str, Any], left: Frontier, counters: Counters, saved: Saved
) -> Position:
    held: Arrivals = {join: [(name, at) for name, at in came] for join, came in left.held.items()}
    return Position(
        step=step,
        values=values,
        ready=list(left.ready),
        held=held,
        counters=counters,
        saved=saved,
        sends=dict(left.sends),
    )


def _open_step(plan: Plan, records: RunRecords) -> OpenStep | None:
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
        if has_lapsed(question, plan.said(question.node)):
            found.lapsed[question.key] = found.lapsed.get(question.key, 0) + 1
            continue
        found.questions.setdefault(question.key, {})[question.name] = question
        failed = found.failed.get(question.key)
        if failed is not None and went_on(question, end_of(failed)):
            del found.failed[question.key]
    for memo in (m for m in records.memos if m.step == step):
        found.memos.setdefault(memo.key, {})[memo.name] = memo.value_json
    found.children = _children(plan, records, step)
    found.heard = records.header.heard == step
    return None if found == OpenStep() else found


def _children(plan: Plan, records: RunRecords, step: int) -> dict[str, RunHeader]:
    """Give the runs of subgraphs in the open step, but of nodes that are subgraphs no more."""
    found = {}
    for child in (c.header for c in records.children if c.header.parent_step == step):
        node = plan.nodes.get(node_in(str(child.parent_key)))
        if node is not None and node.child is not None:
            found[str(child.parent_key)] = child
    return found
