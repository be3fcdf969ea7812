"""Copies a run's records into another store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.checkpoint.spending import used_before
from graphflow.clock import now
from graphflow.definition import canonical
from graphflow.errors import RunExistsError
from graphflow.records import Adoption, Ending, GraphUse, RunHeader, RunRecords

__all__ = ["copy_run"]


class _OfStep(Protocol):
    step: int


_T = TypeVar("_T", bound=_OfStep)


def copy_run(records: RunRecords, target: Checkpointer) -> None:
    """Write all records of a run and its children into a store, or nothing.

    A fork becomes a run of its own with all its steps, and so does a child that is copied alone.

    Args:
        records: The run, whole.
        target: Where to; it must not have a run with this id.

    Raises:
        RunExistsError: It has one.
    """
    alone = replace(
        records.header,
        parent=None,
        parent_step=None,
        parent_key=None,
        fork_of=None,
        fork_step=None,
        fork_json=None,
    )
    (result,) = target.together([partial(_copy, records, alone, target, None)])
    if isinstance(result, RunExistsError):
        where = getattr(target, "path", target)
        raise RunExistsError(
            f"{where} has a run {records.header.run_id!r} already, which was left as it is; take"
            " another file, or delete the run there first."
        ) from result
    if isinstance(result, BaseException):
        raise result


def _copy(
    records: RunRecords, header: RunHeader, target: Checkpointer, under: Lease | None
) -> None:
    snapshots = {snapshot.step: snapshot for snapshot in records.snapshots}
    first = records.steps[0].step
    begun = [use for use in records.uses if use.first <= first or use is records.uses[0]][-1]
    later = [use for use in records.uses if use.first > first]
    header = replace(header, graph_digest=begun.digest, graph_version=begun.version)
    lease = target.begin(
        replace(header, status="running", ended_at=None),
        canonical(begun.spec),
        records.steps[0],
        snapshots[first],
        None,
        under=under,
        before=used_before(records),
    )
    for step in records.steps[1:]:
        _copy_uses(later, step.step - 1, lease, target)
        _copy_open(records, step.step, lease, target)
        target.commit(lease, step, snapshots.get(step.step), None)
    open_step = records.steps[-1].step + 1
    _copy_uses(later, open_step - 1, lease, target)
    _copy_open(records, open_step, lease, target)
    for task in records.kept:
        target.keep(lease, open_step, task)
    for attempt in records.attempts:
        target.fail(lease, attempt)
    for call in records.calls:
        target.call(lease, call)
    target.end(lease, Ending(header.status, header.reason, header.error_type, header.error))


def _copy_uses(later: Sequence[GraphUse], step: int, lease: Lease, target: Checkpointer) -> None:
    """Copy that the run came to another graph after a step, as a fork did that began there."""
    for use in later:
        if use.first == step + 1:
            adoption = use.adoption or Adoption(step, 0, use.digest, use.version, now(), {})
            target.adopt(lease, adoption, canonical(use.spec), ())


def _copy_open(records: RunRecords, step: int, lease: Lease, target: Checkpointer) -> None:
    """Copy what a step kept while it was open."""
    for item in _of(step, records.items):
        target.keep_item(lease, item)
    for memo in _of(step, records.memos):
        target.memo(lease, memo)
    for asked in _of(step, records.questions):
        target.ask(lease, replace(asked, answer_json=None, answered_at=None, answered_by=None))
        if asked.answer_json is not None:
            target.answer(lease, asked)
    for child in records.children:
        if child.header.parent_step == step:
            # Of a fork, the children of the steps that it shares have another run's id
            own = lease.run_id + child.header.run_id.removeprefix(child.header.parent or "")
            _copy(child, replace(child.header, run_id=own, parent=lease.run_id), target, lease)


def _of(step: int, records: Sequence[_T]) -> Iterable[_T]:
    return [record for record in records if record.step == step]
