"""Two runs side by side: where they part, what was decided there, and what came of it.

Reads records only: the runs may be of any process, and their code may be gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

from graphflow.change.values import same_json
from graphflow.history import values_at, values_now
from graphflow.records import DecisionRecord, RunRecords, Sent, StepRecord
from graphflow.render.wording import columns, counted, cut, label_of

__all__ = ["Comparison", "Parting", "compare"]

_WIDE = 48
"""Characters of one side."""
_ARROW = " → "


class Parting(NamedTuple):
    """One router, gate or node that chose another way in the two runs."""

    source: str
    """The node that was left."""
    router: str
    left: DecisionRecord | None
    """None: it did not decide in this run."""
    right: DecisionRecord | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two runs differ. Print it to read it."""

    runs: tuple[str, str]
    """Their ids: left and right."""
    parted: int | None
    """The first step that is not the same in both; None when there is none."""
    decisions: tuple[Parting, ...]
    """What was decided differently in that step."""
    paths: tuple[list[str], list[str]]
    """The nodes that ran from that step on."""
    fields: dict[str, tuple[Any, Any]]
    """The fields whose last values differ, as JSON values; None where there is no such field."""
    statuses: tuple[str, str]
    """How they stand."""
    since: int = 0
    """The first step that both still have: those before have been pruned, and are not compared."""

    @property
    def is_same(self) -> bool:
        """Whether both runs have the same steps, as far as they are still there."""
        return self.parted is None

    def __str__(self) -> str:
        rows = [("", *self.runs), *self._rows()]
        label, left = (max(columns(row[i]) for row in rows) for i in (0, 1))
        lines = [f"  {_pad(a, label)}  {_pad(b, left)} | {c}".rstrip() for a, b, c in rows]
        return "\n".join([self._head(), *lines])

    def _head(self) -> str:
        since = f" from step {self.since} on" if self.since else ""
        if self.parted is None:
            return f"both have the same steps{since}"
        if self.parted == self.since:
            return f"other in step {self.parted}{', the first that both still have' * bool(since)}"
        return f"the same{since} up to step {self.parted - 1}, other in step {self.parted}"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for parting in self.decisions:
            way = f"{label_of(parting.source)}: {cut(parting.router)}"
            yield way, _decided(parting.left), _decided(parting.right)
        if any(self.paths):
            left, right = (_nodes(path) for path in self.paths)
            yield "ran", left, right
        for name, sides in self.fields.items():
            left, right = _values(*sides)
            yield cut(name), left, right
        if self.statuses[0] != self.statuses[1]:
            yield "status", *self.statuses


def compare(left: RunRecords, right: RunRecords) -> Comparison:
    """Lay two runs side by side.

    Steps are the same when the same tasks ran in them with the same updates, the same was decided,
    and inputs and the updates of forks are the same. Times, attempts and the words of reasons do
    not count.

    Args:
        left: One run, whole.
        right: The other.
    """
    first = max(left.steps[0].step, right.steps[0].step)  # the oldest steps may have been pruned
    parted = _parting(left, right, first)
    decisions: tuple[Parting, ...] = ()
    paths: tuple[list[str], list[str]] = [], []
    if parted is not None:
        decisions = tuple(_partings(_step(left, parted), _step(right, parted)))
        paths = _path(left, parted), _path(right, parted)
    return Comparison(
        (left.header.run_id, right.header.run_id),
        parted,
        decisions,
        paths,
        _differing(values_now(left), values_now(right)),
        (left.header.status, right.header.status),
        first,
    )


def _parting(left: RunRecords, right: RunRecords, first: int) -> int | None:
    begun = {first, *_begun(left), *_begun(right)}
    pairs = zip_longest(_from(left, first), _from(right, first))
    for number, (one, other) in enumerate(pairs, first):
        if one is None or other is None or _essence(one) != _essence(other):
            return number
        if number in begun and not same_json(values_at(left, number), values_at(right, number)):
            return number
    return None


def _begun(records: RunRecords) -> list[int]:
    """List the steps whose state does not follow from updates: of inputs, forks, migrations."""
    whole = [snapshot.step for snapshot in records.snapshots if snapshot.since is None]
    return whole + [use.first for use in records.uses]


def _essence(step: StepRecord) -> tuple[object, ...]:
    """Give what makes a step another one."""
    return (
        [(task.key, task.update_json, task.fell_back) for task in step.tasks],
        [(d.source, d.router, d.chosen, d.answer) for d in step.decisions],
        step.derived_json,
        list(step.ready),
        dict(step.sends),
    )


def _partings(left: StepRecord | None, right: StepRecord | None) -> Iterator[Parting]:
    one, other = _by_router(left), _by_router(right)
    for source, router in dict.fromkeys((*one, *other)):
        for sides in zip_longest(one.get((source, router), ()), other.get((source, router), ())):
            if _way(sides[0]) != _way(sides[1]):
                yield Parting(source, router, *sides)


def _by_router(step: StepRecord | None) -> dict[tuple[str, str], list[DecisionRecord]]:
    """List what each router decided; of a node's goto there is one for each of its tasks."""
    found: dict[tuple[str, str], list[DecisionRecord]] = {}
    for decision in step.decisions if step is not None else ():
        found.setdefault((decision.source, decision.router), []).append(decision)
    return found


def _way(decision: DecisionRecord | None) -> tuple[object, ...] | None:
    return decision and (decision.chosen, decision.answer)


def _from(records: RunRecords, step: int) -> Sequence[StepRecord]:
    return records.steps[step - records.steps[0].step :]


def _step(records: RunRecords, step: int) -> StepRecord | None:
    return next(iter(_from(records, step)), None)


def _path(records: RunRecords, step: int) -> list[str]:
    return [task.node for one in _from(records, step) for task in one.tasks]


def _differing(left: dict[str, Any], right: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (left.get(name), right.get(name))
        for name in dict.fromkeys((*left, *right))
        if name not in left or name not in right or not same_json(left[name], right[name])
    }


def _decided(decision: DecisionRecord | None) -> str:
    if decision is None:
        return "-"
    names = [label_of(c.node if isinstance(c, Sent) else c) for c in decision.chosen]
    return cut(f"→ {', '.join(names) or 'no arrow'}: {decision.reason}", _WIDE)


def _nodes(path: Sequence[str]) -> str:
    told = _ARROW.join(map(label_of, path))
    if len(told) > _WIDE:
        return f"{cut(told, _WIDE - 12)} ({counted(len(path), 'task')})"
    return told or "nothing"


def _values(left: Any, right: Any) -> tuple[str, str]:
    """Say two values; of two lists only what comes after the items that they share."""
    shared = 0
    if isinstance(left, list) and isinstance(right, list):
        pairs = zip(left, right, strict=False)
        other = (i for i, (a, b) in enumerate(pairs) if not same_json(a, b))
        shared = next(other, min(len(left), len(right)))
    if not shared:
        return cut(repr(left), _WIDE), cut(repr(right), _WIDE)
    head = f"{counted(shared, 'item')}, then "
    return cut(head + repr(left[shared:]), _WIDE), cut(head + repr(right[shared:]), _WIDE)


def _pad(text: str, wide: int) -> str:
    return text + " " * (wide - columns(text))
