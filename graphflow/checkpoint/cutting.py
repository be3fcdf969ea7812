"""Cutting off the oldest steps of a run: the snapshots that it begins with then."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from graphflow.errors import CheckpointError
from graphflow.history import counters_at, values_at
from graphflow.records import RunRecords, Snapshot

__all__ = ["cut_off", "snapshots_for"]

_write: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, check_circular=False
).encode


def snapshots_for(records: RunRecords, first: int) -> list[Snapshot]:
    """Make the snapshots that a run needs whose first step is another one.

    Args:
        records: The run, whole.
        first: The step that will be its first; the state after it is stored as a whole.

    Returns:
        Those that are not stored so: that of the first step, and the one after it if that
        continues an older one.

    Raises:
        CheckpointError: The state would be another one with them. Nothing has changed.
    """
    known = {snapshot.step: snapshot for snapshot in records.snapshots}
    if first in known and known[first].since is None:
        return []
    values = values_at(records, first)
    found = [Snapshot(first, _write(values), counters_at(records, first).to_json())]
    after = next((snapshot for snapshot in records.snapshots if snapshot.step > first), None)
    if after is not None and after.since is not None and after.since != first:
        found.append(_continued(records, after, first, values))
    _check(records, cut_off(records, first, found))
    return found


def cut_off(records: RunRecords, first: int, snapshots: list[Snapshot]) -> RunRecords:
    """Give the steps and the snapshots of a run from a step on.

    Args:
        records: The run, whole.
        first: The first step that is left.
        snapshots: Those that replace stored ones.
    """
    known = {snapshot.step: snapshot for snapshot in records.snapshots if snapshot.step >= first}
    known.update({snapshot.step: snapshot for snapshot in snapshots})
    steps = [step for step in records.steps if step.step >= first]
    chosen = [known[step] for step in sorted(known)]
    graphs = records.graphs
    return RunRecords(records.header, records.spec, steps, snapshots=chosen, graphs=graphs)


def _continued(
    records: RunRecords, after: Snapshot, first: int, values: Mapping[str, Any]
) -> Snapshot:
    """Make a snapshot continue that of a later step than it did."""
    since = after.since or 0
    if any(since <= use.first - 1 < after.step for use in records.graphs if use.adoption):
        # Between them the state was put into other words
        return Snapshot(after.step, _write(values_at(records, after.step)), after.counters_json)
    before = values_at(records, since)
    added = {
        name: items[len(values[name]) - len(before[name]) :]
        for name, items in json.loads(after.added_json or "{}").items()
    }
    return replace(after, since=first, added_json=_write(added), digest="")


def _check(records: RunRecords, cut: RunRecords) -> None:
    ends = {snapshot.step for snapshot in cut.snapshots[:2]} | {records.steps[-1].step}
    for step in ends:
        same = values_at(records, step) == values_at(cut, step)
        if not same or counters_at(records, step) != counters_at(cut, step):
            raise CheckpointError(
                f"the state of run {records.header.run_id!r} after step {step} would be another "
                f"one without the steps before {cut.steps[0].step}. Nothing was dropped; please "
                "report this."
            )
