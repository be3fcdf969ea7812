"""What the stored steps add up to: the values and the counters after any step.

Reads records and the graph's stored spec only, never the user's code.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from graphflow.records import Adoption, RunRecords, Snapshot, StepRecord
from graphflow.state.reducers import fold
from graphflow.stored import UNREADABLE, parsed, unreadable

__all__ = [
    "Counters",
    "States",
    "count",
    "counters_at",
    "reducers_of",
    "snapshots_before",
    "values_at",
    "values_now",
]

T = TypeVar("T")

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


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
        return _encode(
            {
                "since": self.since,
                "visits": self.visits,
                "tries": self.tries,
                "writers": self.writers,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Counters:
        """Read it back.

        Raises:
            ValueError: It is no counters' JSON.
        """
        found = cls(**json.loads(text))
        counts = [found.since]
        for of in (found.visits, found.tries, found.writers):
            counts += of.values()
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("a counter is no count")
        return found


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


class States:
    """The states after the steps of a run, each made from the one that was asked for before it.

    So all of them, in order, take no longer than the changes from the first one to the last. Any
    thread may ask.

    Args:
        records: The run; its steps from a snapshot on.
    """

    def __init__(self, records: RunRecords) -> None:
        self._records, self._lock = records, Lock()
        self._reducers = reducers_of(records.spec)
        self._uses = [(use.first, reducers_of(use.spec)) for use in records.graphs]
        self._begins = {use.first for use in records.graphs[1:]}
        self._restated = [
            adoption
            for use in records.graphs
            if (adoption := use.adoption) is not None and adoption.state_json is not None
        ]
        self._step: int | None = None
        self._values: dict[str, Any] = {}
        self._changed: set[str] | None = None
        self._reader: object = None

    def text_at(self, step: int) -> str:
        """Give the state after a committed step, from the first snapshot's on, as JSON text."""
        with self._lock:
            return _encode(self.go_to(step))

    def read_at(
        self, step: int, read: Callable[[dict[str, Any]], T], *, is_handed_on: bool = False
    ) -> T:
        """Read the values after a committed step, from the first snapshot's on.

        Args:
            step: The step.
            read: Makes something of them that does not change with them.
            is_handed_on: Whether in the words of the graph that goes on after it.
        """
        with self._lock:
            return read(self.handed_on(step) if is_handed_on else self.go_to(step))

    def next_at(self, step: int, read: Callable[[dict[str, Any], set[str] | None], T]) -> T:
        """Read the values as `read_at` does, knowing which of them are still what they were.

        Args:
            step: The step.
            read: Is also given the names of the fields that were set since it was called last;
                None: any may be.
        """
        with self._lock:
            values = self.go_to(step)
            found = read(values, self._changed if read == self._reader else None)
            self._changed, self._reader = set(), read
            return found

    def go_to(self, step: int) -> dict[str, Any]:
        """Give the values after a step; the next call changes them, lists and dicts included.

        Raises:
            CheckpointCorruptError: What is stored does not add up to a state.
        """
        try:
            return self._go_to(step)
        except UNREADABLE as error:
            run_id = self._records.header.run_id
            raise unreadable(run_id, step, "the state after it", error) from error

    def _go_to(self, step: int) -> dict[str, Any]:
        at, self._step = self._step, None  # an interrupt leaves them half changed
        if at is None or at != step - 1 or step in self._begins:
            at = self._start(at, step)
        for record in _between(self._records, at, step):
            self._apply(record)
        self._step = step
        return self._values

    def handed_on(self, step: int) -> dict[str, Any]:
        """Give the values after a step, in the words of the graph that goes on after it.

        The next call changes them, lists and dicts included.
        """
        for adoption in reversed(self._restated):
            if adoption.step == step:
                return self._parsed(adoption, "state_json")
        return self.go_to(step)

    def _start(self, at: int | None, step: int) -> int:
        """Begin with what is stored last before a step, unless the values at hand are later."""
        chain = snapshots_before(self._records, step)
        begun = max((a.step for a in self._restated if a.step < step), default=-1)
        if begun >= chain[-1].step:
            if at is None or not begun < at <= step:
                self._values, self._changed = self.handed_on(begun), None
                return begun
        elif at is None or not chain[-1].step <= at <= step:
            self._values, self._changed = self._parsed(chain[0], "state_json"), None
            for snapshot in chain[1:]:
                self._continue(snapshot)
            return chain[-1].step
        return at

    def _continue(self, snapshot: Snapshot) -> None:
        values = self._values
        values.update(self._parsed(snapshot, "state_json"))
        for name, items in self._parsed(snapshot, "added_json").items():
            values[name] = fold("append", values[name], items)

    def _parsed(self, stored: Snapshot | Adoption, column: str) -> dict[str, Any]:
        run_id, text = self._records.header.run_id, getattr(stored, column) or "{}"
        found = parsed(text, column, run_id, stored.step)
        try:
            return dict(found)
        except UNREADABLE as error:
            raise unreadable(run_id, stored.step, column, error) from error

    def _apply(self, record: StepRecord) -> None:
        values, changed = self._values, self._changed
        if self._begins:
            at = bisect(self._uses, record.step, key=lambda use: use[0])
            self._reducers = self._uses[max(at, 1) - 1][1]
        where = self._records.header.run_id, record.step
        extra = record.derived_json
        derived = parsed(extra, "an update of it", *where) if extra else {}
        for text in record.updates():
            update = parsed(text, "an update of it", *where)
            if changed is not None:
                changed.update(update)
            for name, value in update.items():
                if name not in derived:
                    reducer = self._reducers[name]
                    values[name] = value if reducer is None else fold(reducer, values[name], value)
        if derived:
            values.update(derived)
            self._changed = None


def values_at(records: RunRecords, step: int) -> dict[str, Any]:
    """Give the plain JSON values of the state after a step.

    Args:
        records: The run; its steps from the last snapshot before `step` on.
        step: A committed step.

    Returns:
        One JSON value per field.
    """
    return States(records).go_to(step)


def values_now(records: RunRecords) -> dict[str, Any]:
    """Give the plain JSON values of the state as the run goes on with it.

    Args:
        records: The run, its tail at least.
    """
    return States(records).handed_on(records.steps[-1].step)


def reducers_of(spec: Mapping[str, Any]) -> dict[str, str | None]:
    """Give the names of the reducers that the steps of a graph were folded with, by field."""
    fields = spec.get("state", {}).get("fields", {})
    return {name: field["reducer"] for name, field in fields.items()}


def counters_at(records: RunRecords, step: int) -> Counters:
    """Give the counters after a step, in the words of the graph that goes on after it.

    Raises:
        CheckpointCorruptError: What is stored is none.
    """
    snapshot = snapshots_before(records, step)[-1]
    start, text = snapshot.step, snapshot.counters_json
    for use in records.graphs:
        told = use.adoption
        if told is not None and told.counters_json is not None and start <= told.step <= step:
            start, text = told.step, told.counters_json
    try:
        counters = Counters.from_json(text)
    except UNREADABLE as error:
        raise unreadable(records.header.run_id, start, "its counters", error) from error
    for record in _between(records, start, step):
        count(counters, record)
        counters.writers.update(dict.fromkeys(_written(record), record.step))
    return counters


def _written(record: StepRecord) -> set[str]:
    texts = [task.update_json for task in record.tasks] + [record.derived_json]
    return {name for text in texts if text is not None for name in json.loads(text)}


def _between(records: RunRecords, after: int, upto: int) -> Sequence[StepRecord]:
    first = records.steps[0].step
    return records.steps[after + 1 - first : upto + 1 - first]


def snapshots_before(records: RunRecords, step: int) -> Sequence[Snapshot]:
    """Give the last snapshot up to a step, after those that it continues."""
    end = bisect(records.snapshots, step, key=lambda s: s.step)
    first = end - 1
    while records.snapshots[first].since is not None:
        first -= 1
    return records.snapshots[first:end]
