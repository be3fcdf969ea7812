"""Where a run stands: all that the engine needs to go on (S17)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphflow.engine.frontier import Arrivals
from graphflow.errors import GraphChangedError, did_you_mean
from graphflow.history import Counters, counters_at, values_at
from graphflow.plan import Plan
from graphflow.records import RunRecords, StepRecord, TaskRecord

__all__ = ["Position", "restore"]


@dataclass(slots=True)
class Position:
    """The checkpoint after a committed step, in memory."""

    step: int
    """The last committed step; -1 before step 0."""
    values: dict[str, Any]
    """The state, one value per field; replaced by each step, never changed."""
    ready: Sequence[str] = ()
    """The nodes that run next, in order."""
    held: Arrivals = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    texts: dict[str, str | None] = field(default_factory=dict)
    """The JSON of fields that are short; None for long ones; absent when nobody has looked."""
    grown: int = 0
    """Bytes of updates since the last snapshot."""
    snapshot_size: int = 0
    """Bytes of the last snapshot."""
    kept: dict[str, TaskRecord] = field(default_factory=dict)
    """The complete tasks of the open step, by key."""
    attempts: dict[str, int] = field(default_factory=dict)
    """How often the failed tasks of the open step have run, by key."""


def restore(plan: Plan, records: RunRecords) -> Position:
    """Take up a stored run where it stands.

    Args:
        plan: Today's graph.
        records: The run, its tail at least.

    Raises:
        GraphChangedError: What runs next is not in today's graph any more.
        StateError: The stored state does not fit today's state class.
    """
    last = records.steps[-1]
    _refuse_changes(plan, records, last)
    values = values_at(records, last.step)
    attempts: dict[str, int] = {}
    for attempt in records.attempts:
        if attempt.step == last.step + 1:
            attempts[attempt.key] = max(attempts.get(attempt.key, 0), attempt.attempt)
    newest = records.snapshots[-1]
    return Position(
        step=last.step,
        values=plan.schema.read(json.dumps(values)),
        ready=list(last.ready),
        held={join: [tuple(a) for a in arrived] for join, arrived in last.held.items()},  # type: ignore[misc]  # JSON gives lists
        counters=counters_at(records, last.step),
        grown=sum(_size(step) for step in records.steps if step.step > newest.step),
        snapshot_size=len(newest.state_json),
        kept={task.key: task for task in records.kept},
        attempts=attempts,
    )


def _size(step: StepRecord) -> int:
    return len(step.derived_json or "") + sum(len(task.update_json or "") for task in step.tasks)


def _refuse_changes(plan: Plan, records: RunRecords, last: StepRecord) -> None:
    version, today = records.header.graph_version, plan.definition.version
    if version != today:
        raise GraphChangedError(
            f"run {records.header.run_id} began with version {version} of graph {plan.name!r};"
            f" this is version {today}. Finish it with the old version, or begin anew."
        )
    arrived = [source for arrivals in last.held.values() for source, _ in arrivals]
    for name in (*last.ready, *last.held, *arrived):
        if name not in plan.nodes:
            raise GraphChangedError(
                f"run {records.header.run_id} stands before node {name!r}, which graph"
                f" {plan.name!r} does not have any more.{did_you_mean(name, plan.nodes)}"
                " Put the node back under this name to go on; the run can still be read and drawn."
            )
