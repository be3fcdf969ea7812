"""What the stored steps add up to: the values and the counters after any step.

Reads records and the graph's stored spec only, never the user's code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphflow.records import RunRecords, Snapshot, StepRecord
from graphflow.state.reducers import fold

__all__ = ["Counters", "count", "counters_at", "values_at"]


@dataclass(slots=True)
class Counters:
    """What routers, gates and limits count."""

    since: int = 0
    """Steps committed since the run last heard from outside, without step 0."""
    visits: dict[str, int] = field(default_factory=dict)
    """Steps in which each node ran, since then."""
    tries: dict[str, int] = field(default_factory=dict)
    """Failures in a row of each gate."""
    writers: dict[str, int] = field(default_factory=dict)
    """The step that last wrote each field; a field that is not named was last written by 0."""

    def copy(self) -> Counters:
        """Copy it."""
        return Counters(self.since, dict(self.visits), dict(self.tries), dict(self.writers))

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(
            {
                "since": self.since,
                "visits": self.visits,
                "tries": self.tries,
                "writers": self.writers,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Counters:
        """Read it back."""
        return cls(**json.loads(text))


def count(counters: Counters, step: StepRecord) -> None:
    """Count a step's visits and tries in; step 0 counts nothing."""
    if step.step == 0:
        return
    if step.heard:
        counters.since = 0
        counters.visits.clear()
    counters.since += 1
    visits = counters.visits
    for name in {task.node for task in step.tasks}:
        visits[name] = visits.get(name, 0) + 1
    for decision in step.decisions:
        if decision.kind == "gate":
            failed = decision.answer == "failed"
            tries = counters.tries.get(decision.source, 0)
            counters.tries[decision.source] = tries + 1 if failed else 0


def values_at(records: RunRecords, step: int) -> dict[str, Any]:
    """Give the plain JSON values of the state after a step.

    Args:
        records: The run; its steps from the last snapshot before `step` on.
        step: A committed step.

    Returns:
        One JSON value per field.
    """
    start = _snapshot_before(records, step)
    values: dict[str, Any] = json.loads(start.state_json)
    fields = records.spec["state"]["fields"]
    for record in _between(records, start.step, step):
        _apply(values, record, fields)
    return values


def counters_at(records: RunRecords, step: int) -> Counters:
    """Give the counters after a step."""
    start = _snapshot_before(records, step)
    counters = Counters.from_json(start.counters_json)
    for record in _between(records, start.step, step):
        count(counters, record)
        counters.writers.update(dict.fromkeys(_written(record), record.step))
    return counters


def _written(record: StepRecord) -> set[str]:
    texts = [task.update_json for task in record.tasks] + [record.derived_json]
    return {name for text in texts if text is not None for name in json.loads(text)}


def _between(records: RunRecords, after: int, upto: int) -> Sequence[StepRecord]:
    first = records.steps[0].step
    return records.steps[after + 1 - first : upto + 1 - first]


def _snapshot_before(records: RunRecords, step: int) -> Snapshot:
    return max((s for s in records.snapshots if s.step <= step), key=lambda s: s.step)


def _apply(values: dict[str, Any], record: StepRecord, fields: Mapping[str, Any]) -> None:
    derived = json.loads(record.derived_json or "{}")
    for task in record.tasks:
        for name, update in json.loads(task.update_json or "{}").items():
            if name in derived:
                continue
            reducer = fields[name]["reducer"]
            values[name] = update if reducer is None else fold(reducer, values[name], update)
    values.update(derived)
