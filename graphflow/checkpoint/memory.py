"""Runs kept in lists, for as long as the process lives."""

import json
from copy import copy
from dataclasses import dataclass, field, replace
from threading import Lock

from graphflow.checkpoint.owner import is_alive
from graphflow.checkpoint.protocol import Ending, Lease
from graphflow.checkpoint.refusals import (
    check_free,
    how_it_ends,
    lost,
    not_found,
    out_of_order,
    run_exists,
    the_one,
)
from graphflow.clock import now
from graphflow.records import (
    AttemptRecord,
    CallRecord,
    RunHeader,
    RunRecords,
    RunStatus,
    Snapshot,
    StepRecord,
    TaskRecord,
)

__all__ = ["MemoryCheckpointer"]

_WHERE = "memory"


@dataclass(slots=True)
class _Run:
    """All of one run, as it was given."""

    header: RunHeader
    spec_json: str
    since: str
    """When it was taken."""
    steps: list[StepRecord] = field(default_factory=list)
    kept: dict[int, TaskRecord] = field(default_factory=dict)
    attempts: list[AttemptRecord] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


class MemoryCheckpointer:
    """A checkpointer without a file. It digests nothing: nothing can change behind its back."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"MemoryCheckpointer({len(self._runs)} runs)"

    def begin(
        self,
        header: RunHeader,
        spec_json: str,
        step: StepRecord,
        snapshot: Snapshot,
        ending: Ending | None,
    ) -> Lease:
        """Create a run with its step 0; see `Checkpointer.begin`."""
        lease = Lease(header.run_id, header.epoch)
        run = _Run(replace(header, status="running", step=-1), spec_json, now())
        _close_step(run, step, snapshot, ending)
        with self._lock:
            if header.run_id in self._runs:
                raise run_exists(header.run_id)
            self._runs[header.run_id] = run
        return lease

    def take(self, run_id: str, owner: str, *, limits_json: str | None = None) -> Lease:
        """Take a run in order to advance it; see `Checkpointer.take`."""
        with self._lock:
            run = self._run(run_id)
            header = run.header
            check_free(header, owner, run.since)
            header.epoch += 1
            header.owner, header.status, run.since = owner, "running", now()
            header.reason = header.error_type = header.error = header.ended_at = None
            if limits_json is not None:
                header.limits_json = limits_json
            return Lease(run_id, header.epoch)

    def commit(
        self, lease: Lease, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
    ) -> None:
        """Commit a step; see `Checkpointer.commit`."""
        with self._lock:
            run = self._held(lease)
            if step.step != run.header.step + 1:
                raise out_of_order(lease.run_id, step.step, run.header.step)
            _close_step(run, step, snapshot, ending)

    def keep(self, lease: Lease, step: int, task: TaskRecord) -> None:
        """Store a complete task of a step that is still open; see `Checkpointer.keep`."""
        with self._lock:
            run = self._held(lease)
            if step != run.header.step + 1:
                raise out_of_order(lease.run_id, step, run.header.step)
            run.kept[task.ix] = copy(task)

    def fail(self, lease: Lease, attempt: AttemptRecord) -> None:
        """Store a failed execution; see `Checkpointer.fail`."""
        with self._lock:
            self._held(lease).attempts.append(copy(attempt))

    def call(self, lease: Lease, call: CallRecord) -> None:
        """Store a model call; see `Checkpointer.call`."""
        with self._lock:
            self._held(lease).calls.append(copy(call))

    def end(self, lease: Lease, ending: Ending) -> None:
        """Set the run's status without a step; see `Checkpointer.end`."""
        with self._lock:
            _end(self._held(lease).header, ending)

    def load(self, run_id: str, *, tail: bool = False) -> RunRecords:
        """Read a run; see `Checkpointer.load`."""
        with self._lock:
            run = self._run(run_id)
            header = _seen(run.header)
            first = run.snapshots[-1].step if tail else 0
            return RunRecords(
                header,
                json.loads(run.spec_json),
                [_copy_step(step) for step in run.steps[first:]],
                [copy(run.kept[ix]) for ix in sorted(run.kept)],
                [copy(a) for a in run.attempts if not tail or a.step > header.step],
                [] if tail else list(map(copy, run.calls)),
                list(map(copy, run.snapshots[-1:] if tail else run.snapshots)),
            )

    def runs(
        self, *, status: RunStatus | None = None, graph: str | None = None, limit: int | None = None
    ) -> list[RunHeader]:
        """List runs, newest first; see `Checkpointer.runs`."""
        with self._lock:
            found = [_seen(run.header) for run in self._runs.values()]
        found = [h for h in found if status in (None, h.status) and graph in (None, h.graph)]
        found.reverse()  # of two runs of one time stamp, the one begun last comes first too
        return sorted(found, key=lambda h: h.created_at, reverse=True)[:limit]

    def find(self, prefix: str) -> str:
        """Find the one run id that begins with a prefix; see `Checkpointer.find`."""
        with self._lock:
            found = [run_id for run_id in self._runs if run_id.startswith(prefix)]
        return the_one(prefix, sorted(found), _WHERE)

    def close(self) -> None:
        """Do nothing: there is no file to let go of."""

    def _run(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            raise not_found(run_id, _WHERE)
        return run

    def _held(self, lease: Lease) -> _Run:
        run = self._run(lease.run_id)
        if run.header.epoch != lease.epoch or run.header.status != "running":
            raise lost(lease.run_id, lease.epoch, run.header)
        return run


def _close_step(
    run: _Run, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
) -> None:
    run.steps.append(_copy_step(step))
    run.header.step = step.step
    run.kept.clear()
    if snapshot is not None:
        run.snapshots.append(copy(snapshot))
    if ending is not None:
        _end(run.header, ending)


def _copy_step(step: StepRecord) -> StepRecord:
    """Copy a committed step; the decision that a task made itself is among the step's."""
    # By hand: copy.copy() takes two microseconds for each record, and this is every step's path.
    return StepRecord(
        step.step,
        tuple([_copy_task(task) for task in step.tasks]),
        tuple(step.decisions),
        tuple(step.arrows),
        {join: tuple(of) for join, of in step.fired.items()} if step.fired else {},
        {join: tuple(of) for join, of in step.held.items()} if step.held else {},
        tuple(step.ready),
        step.derived_json,
        step.committed_at or now(),
    )


def _copy_task(task: TaskRecord) -> TaskRecord:
    return TaskRecord(
        task.ix,
        task.key,
        task.node,
        task.update_json,
        task.started_at,
        task.duration_ms,
        task.attempts,
        task.reads,
        None,
        task.replaces,
    )


def _end(header: RunHeader, ending: Ending) -> None:
    header.status, header.ended_at = how_it_ends(ending)
    header.reason = ending.reason
    header.error_type, header.error = ending.error_type, ending.error
    header.owner = None


def _seen(header: RunHeader) -> RunHeader:
    """Copy a header, and say so when its owner has died."""
    is_stale = header.status == "running" and header.owner and not is_alive(header.owner)
    return replace(header, status="stale") if is_stale else copy(header)
