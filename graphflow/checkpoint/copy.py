"""Copies a run's records into another store."""

from __future__ import annotations

from dataclasses import replace

from graphflow.checkpoint.protocol import Checkpointer
from graphflow.definition import canonical
from graphflow.records import Ending, RunRecords

__all__ = ["copy_run"]


def copy_run(records: RunRecords, target: Checkpointer) -> None:
    """Write all records of a run into a store.

    Args:
        records: The run, whole.
        target: Where to; it must not have a run with this id.

    Raises:
        RunExistsError: It has one.
    """
    header = records.header
    snapshots = {snapshot.step: snapshot for snapshot in records.snapshots}
    lease = target.begin(
        replace(header, status="running", ended_at=None),
        canonical(records.spec),
        records.steps[0],
        snapshots[0],
        None,
    )
    for step in records.steps[1:]:
        target.commit(lease, step, snapshots.get(step.step), None)
    for task in records.kept:
        target.keep(lease, records.steps[-1].step + 1, task)
    for attempt in records.attempts:
        target.fail(lease, attempt)
    for call in records.calls:
        target.call(lease, call)
    target.end(lease, Ending(header.status, header.reason, header.error_type, header.error))
