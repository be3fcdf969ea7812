"""Snapshots: what a run that is taken up again reads instead of all of its steps.

Most have only what changed since the one before: a list that grows is stored twice, as updates and
in snapshots, however long it gets. One has the whole state when the others would add up to twice
that. So a run is taken up in the time that its state takes, and its file grows with its updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphflow.engine.told import Told, told_in, told_of
from graphflow.history import Counters, States, snapshots_before
from graphflow.records import RunRecords, Snapshot, StepRecord
from graphflow.state.schema import StateSchema

__all__ = ["Saved", "restated", "snapshot_of", "taken_up"]

_STEP: Final = 512  # bytes that are read of a step beside its updates
_FEW: Final = 40_960  # bytes: below, reading them again costs half a millisecond


@dataclass(slots=True)
class Saved:
    """What a position remembers of the last snapshot."""

    step: int = 0
    grown: int = 0
    """Bytes of steps since then."""
    size: int = 0
    """Bytes of that snapshot."""
    chain: int = 0
    """Bytes of that snapshot and of those that it continues."""
    whole: int = 0
    """Bytes of the whole state, if the fields that are not appended to stay as long as they are."""
    first: str = ""
    """The JSON of the state after step 0, until that has been taken."""
    told: Told = field(default_factory=Told)
    """What was committed of the fields whose values can be changed in place."""
    stands_alone: bool = False
    """What the steps since then continue is no snapshot: the next one has the whole state."""


def snapshot_of(
    schema: StateSchema[Any],
    saved: Saved,
    record: StepRecord,
    values: Mapping[str, Any],
    counters: Counters,
    *,
    always: bool = False,
) -> Snapshot | None:
    """Take a snapshot when the steps since the last one outgrow it; of a first step always.

    Args:
        schema: The state's.
        saved: What is known of the last snapshot; moved on.
        record: The step.
        values: The state after it.
        counters: The counters after it.
        always: It is the first step of a fork.
    """
    saved.grown += _size(record)
    is_first = always or record.step == 0
    if not is_first and (saved.grown <= _FEW or saved.grown <= 2 * saved.size):
        return None
    is_whole = is_first or saved.stands_alone
    found = None if is_whole else _part(schema, saved, record.step, values, counters)
    if found is None:
        text = _first(schema, saved) if saved.first else _whole(schema, saved.told, values)
        found = Snapshot(record.step, text, counters.to_json())
        saved.chain, saved.whole, saved.stands_alone = 0, len(found.state_json), False
    saved.step, saved.grown = record.step, 0
    saved.size = _length(found)
    saved.chain += saved.size
    return found


def taken_up(
    schema: StateSchema[Any], records: RunRecords, step: int
) -> tuple[dict[str, Any], Saved]:
    """Give the state after a stored step, and what a position remembers of the last snapshot.

    Args:
        schema: The state's.
        records: The run, its tail at least.
        step: A committed step.

    Raises:
        StateError: The stored state does not fit today's state class.
    """
    chain = snapshots_before(records, step)
    newest, states = chain[-1], States(records)
    for use in reversed(records.graphs):
        on = use.adoption
        if on is not None and on.state_json is not None and newest.step <= on.step <= step:
            values = schema.read_values(states.handed_on(step))
            saved = restated(on.step, on.state_json, records, step)
            saved.told = told_of(schema, records, step, step)
            return values, saved
    values = schema.read_values(states.go_to(step))
    saved = Saved(
        newest.step,
        sum(_size(s) for s in records.steps if newest.step < s.step <= step),
        _length(newest),
        sum(map(_length, chain)),
        len(chain[0].state_json) + sum(len(part.added_json or "") for part in chain),
        told=told_of(schema, records, newest.step, step),
    )
    return values, saved


def restated(at: int, state_json: str, records: RunRecords, step: int) -> Saved:
    """Say what a position remembers when the state of a step was told in other words since.

    Args:
        at: That step.
        state_json: The state in the words of now.
        records: The run, its tail at least.
        step: The step that the position is after.
    """
    grown = sum(_size(s) for s in records.steps if at < s.step <= step)
    return Saved(at, grown, len(state_json), stands_alone=True)


def _size(record: StepRecord) -> int:
    """Say how many bytes are read of a step, about."""
    return _STEP + sum(map(len, record.updates())) + len(record.derived_json or "")


def _length(snapshot: Snapshot) -> int:
    texts = (snapshot.state_json, snapshot.added_json or "", snapshot.counters_json)
    return sum(map(len, texts))


def _first(schema: StateSchema[Any], saved: Saved) -> str:
    text, saved.first = saved.first, ""
    saved.told = told_in(schema, text)
    return text


def _whole(schema: StateSchema[Any], told: Told, values: Mapping[str, Any]) -> str:
    """Give the JSON of a whole state."""
    told.read()
    texts = {name: told.text(schema, name) for name in schema.told}
    told.settle(texts, {})
    every = schema.codec.fields.items()
    return schema.codec.join(
        [(name, texts[name] if name in texts else f.text(values[name])) for name, f in every]
    )


def _part(
    schema: StateSchema[Any],
    saved: Saved,
    step: int,
    values: Mapping[str, Any],
    counters: Counters,
) -> Snapshot | None:
    """Give what changed since the last snapshot; None when the whole state is better."""
    told = saved.told
    texts: dict[str, str] = {}
    added: dict[str, str] = {}
    told.read()
    for name, codec in schema.codec.fields.items():
        if name in told.since:
            more = told.added(schema, name)
            if more is None:
                texts[name] = told.text(schema, name)
            else:
                added[name] = more
        elif name not in schema.told and counters.writers.get(name, 0) > saved.step:
            texts[name] = codec.text(values[name])
    join = schema.codec.join
    found = Snapshot(step, join(texts.items()), counters.to_json(), since=saved.step)
    found.added_json = join(added.items())
    saved.whole += len(found.added_json)
    is_long = saved.chain + _length(found) > 2 * (saved.whole + len(found.counters_json))
    if is_long:
        return None
    told.settle({name: text for name, text in texts.items() if name in schema.told}, added)
    return found
