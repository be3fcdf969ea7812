"""What a checkpointer must do: nine verbs over the records."""

from dataclasses import dataclass
from typing import Protocol

from graphflow.records import (
    AttemptRecord,
    CallRecord,
    Ending,
    RunHeader,
    RunRecords,
    RunStatus,
    Snapshot,
    StepRecord,
    TaskRecord,
)

__all__ = ["Checkpointer", "Ending", "Lease"]


@dataclass(slots=True)
class Lease:
    """The right to advance one run, until somebody else takes the run.

    A store puts what it needs between commits into a subclass.
    """

    run_id: str
    epoch: int
    """The run's epoch when it was taken. A write with an older one is refused."""


class Checkpointer(Protocol):
    """Stores the records of runs.

    Each verb is one transaction: all of it is durable when the call returns, or none of it is.
    Every write is fenced: it raises LeaseLostError, and stores nothing, when the run's epoch is
    no longer the lease's. A step number is committed once.

    Raises:
        LeaseLostError: Another process has taken the run.
        DatabaseUnavailableError: Locked, read-only, full or gone; nothing of the call is stored.
        CheckpointCorruptError: What was read is not what was written.
    """

    def begin(
        self,
        header: RunHeader,
        spec_json: str,
        step: StepRecord,
        snapshot: Snapshot,
        ending: Ending | None,
    ) -> Lease:
        """Create a run with its step 0.

        Args:
            header: `epoch` and `owner` are taken from it; the lease has that epoch.
            spec_json: The graph; its digest is `header.graph_digest`.
            step: Step 0.
            snapshot: The state of step 0.
            ending: Given when the run is over at once.

        Raises:
            RunExistsError: The run id is taken.
        """
        ...

    def take(self, run_id: str, owner: str, *, limits_json: str | None = None) -> Lease:
        """Take a run in order to advance it: raise its epoch, name its owner, set it running.

        Args:
            run_id: The whole id.
            owner: The process, as `owner.this_process()` gives it.
            limits_json: New limits for the run.

        Raises:
            RunNotFoundError: There is no such run.
            RunBusyError: Its owner is another process that lives.
        """
        ...

    def commit(
        self, lease: Lease, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
    ) -> None:
        """Commit a step, with its tasks and decisions; with an ending also end the run.

        Tasks of the step that were kept before are not written again.
        """
        ...

    def keep(self, lease: Lease, step: int, task: TaskRecord) -> None:
        """Store a complete task of a step that is still open."""
        ...

    def fail(self, lease: Lease, attempt: AttemptRecord) -> None:
        """Store a failed execution of a node's body."""
        ...

    def call(self, lease: Lease, call: CallRecord) -> None:
        """Store a model call."""
        ...

    def end(self, lease: Lease, ending: Ending) -> None:
        """Set the run's status without a step, and let go of it."""
        ...

    def load(self, run_id: str, *, tail: bool = False) -> RunRecords:
        """Read a run.

        Args:
            run_id: The whole id.
            tail: Read only what it takes to go on: the newest snapshot, the steps after it and
                the snapshot's own step, the open step's tasks and attempts, no calls.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def runs(
        self, *, status: RunStatus | None = None, graph: str | None = None, limit: int | None = None
    ) -> list[RunHeader]:
        """List runs, newest first."""
        ...

    def find(self, prefix: str) -> str:
        """Find the one run id that begins with a prefix.

        Raises:
            RunNotFoundError: None does, or several do (the message lists them).
        """
        ...

    def close(self) -> None:
        """Let go of files and connections. Closing twice is harmless."""
        ...
