"""What a checkpointer must do: its verbs over the records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from graphflow.records import (
    Adoption,
    AttemptRecord,
    CallRecord,
    Ending,
    ItemRecord,
    MemoRecord,
    QuestionRecord,
    RunHeader,
    RunRecords,
    RunStatus,
    Snapshot,
    Spent,
    StepRecord,
    TaskRecord,
)
from graphflow.upkeep import Finding, Pruned, Size, Wish

__all__ = ["Checkpointer", "Ending", "Lease"]


@dataclass(slots=True)
class Lease:
    """The right to advance one run, until somebody else takes the run.

    A store puts what it needs between commits into a subclass.
    """

    run_id: str
    epoch: int
    """The run's epoch when it was taken. A write with an older one is refused.

    Of a child it is the epoch of the root, the run that has no parent: a process advances a run
    and its children, or none of them.
    """
    root: str = ""
    """The root of a child; of a root itself empty."""


class Checkpointer(Protocol):
    """Stores the records of runs.

    Each verb is one transaction: all of it is durable when the call returns, or none of it is.
    Every write is fenced: it raises LeaseLostError, and stores nothing, when the run's epoch is
    no longer the lease's, or the run has ended. A step number is committed once.

    A child is advanced under the lease of its root: it is fenced by the root's epoch and end too.
    It has no owner of its own. Once its parent has committed the step that it is a part of, it
    takes no more steps.

    A record that was given belongs to the store: whoever gave it does not change it any more. A
    record that was read may be the store's own; the lists around records are the reader's.

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
        *,
        under: Lease | None = None,
        before: Spent | None = None,
    ) -> Lease:
        """Create a run with its first step: step 0, or of a fork the step that it forks.

        The steps of a fork before that one are those of the run it comes from, and are not
        copied.

        Args:
            header: `epoch` and `owner` are taken from it; the lease has that epoch. With `parent`
                it is a child, with `fork_of` a fork.
            spec_json: The graph; its digest is `header.graph_digest`.
            step: The first step.
            snapshot: The state after it.
            ending: Given when the run is over at once.
            under: Of a child, the lease of its parent, which fences this write too. The child's
                own lease has the epoch and the root of that one.
            before: Of a copy whose oldest steps were pruned, what these had used. The first step
                is any then.

        Raises:
            RunExistsError: The run id is taken.
            RunNotFoundError: The run that it forks is not there.
            CheckpointError: That run has not committed the step, or what came before it was
                pruned; `under` is missing or not the parent's; the parent's open step is another
                one.
        """
        ...

    def take(
        self,
        run_id: str,
        owner: str,
        *,
        limits_json: str | None = None,
        budget_json: str | None = None,
        under: Lease | None = None,
        take_over: bool = False,
    ) -> Lease:
        """Take a run in order to advance it: raise its epoch, name its owner, set it running.

        Args:
            run_id: The whole id.
            owner: The process, as `owner.this_process()` gives it.
            limits_json: New limits for the run.
            budget_json: A new budget for the run.
            under: Of a child, the lease of its parent: the child is set running, and has no epoch
                and no owner of its own.
            take_over: Whether to take it from an owner that lives, too: what that one writes
                afterwards is refused.

        Raises:
            RunNotFoundError: There is no such run.
            RunOverError: It is done or cancelled.
            RunBusyError: Its owner is another process that lives and `take_over` is False, or it
                is a child and `under` is missing.
            CheckpointError: `under` is not the lease of its parent.
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

    def keep_item(self, lease: Lease, item: ItemRecord) -> None:
        """Store a complete item of a map, in a step that is still open.

        One that is there already (step, key, ix) is replaced.
        """
        ...

    def ask(self, lease: Lease, question: QuestionRecord) -> None:
        """Store a question of the open step; one that is there already (step, key, name) stays."""
        ...

    def answer(self, lease: Lease, question: QuestionRecord) -> None:
        """Store the answer of a question, and that the run heard from outside.

        `heard` of the run and of all its parents is set to the step that each has open, in the
        same transaction.

        Args:
            lease: Of the run that asked.
            question: `step`, `key` and `name` say which; only the answer is taken from it.

        Raises:
            AnswerError: It is answered already, or was never asked; the first answer stays.
        """
        ...

    def memo(self, lease: Lease, memo: MemoRecord) -> None:
        """Store the result of work inside a body of the open step.

        One that is there already (step, key, name) is replaced.
        """
        ...

    def fail(self, lease: Lease, attempt: AttemptRecord) -> None:
        """Store a failed execution of a node's body."""
        ...

    def call(self, lease: Lease, call: CallRecord) -> None:
        """Store a model call."""
        ...

    def adopt(
        self, lease: Lease, adoption: Adoption, spec_json: str, kept: Sequence[TaskRecord]
    ) -> None:
        """Store that a run goes on with another graph after its last committed step.

        All that is stored of the open step gets the names of `adoption.nodes`: in keys (`old`,
        `old#0`, `old[3]`) and as nodes. The results and memos of the items in `adoption.dropped`,
        named by their keys of before, go in the same transaction. What is stored of the steps
        before stays as it is. A fork of the run at a step after this one has the adoption too.

        Args:
            lease: Of the run.
            adoption: `step` is the last committed one; `place` and `digest` are the store's.
            spec_json: The graph that the run goes on with; its digest is
                `adoption.graph_digest`.
            kept: The complete tasks of the open step, all of them, as they are from now on.

        Raises:
            CheckpointError: `adoption.step` is not the last committed step.
        """
        ...

    def end(self, lease: Lease, ending: Ending) -> None:
        """Set the run's status without a step, and let go of it."""
        ...

    def stop(self, run_id: str, ending: Ending) -> None:
        """End a run whoever advances it: raise its epoch, and set its status.

        Whatever its owner writes from then on is refused. Its children of the open step get the
        same ending. A run or child that is done stays so.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def together(self, verbs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Call verbs of this store so that all of them share one transaction, and one fsync.

        Each sees what those before it have stored, and so does what it reads.

        Args:
            verbs: Functions without arguments; each calls verbs that write. All are called in the
                thread that calls this.

        Returns:
            For each, in order, what it returned, or the exception it raised: that one has stored
            nothing then, and its leases know of nothing. An error of the transaction itself is
            given to all of them.
        """
        ...

    def load(self, run_id: str, *, tail: bool = False) -> RunRecords:
        """Read a run.

        All of a fork has the steps that it shares too; of its first step also the attempts, calls,
        items, questions, memos and children that led to it. A child that is stored as running
        stands as its root does.

        Args:
            run_id: The whole id.
            tail: Read only what it takes to go on: the newest snapshot and those that it
                continues, its own step and those after it; of the open step its tasks, items,
                attempts, questions and memos, and the headers of its children; no calls.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def spent(self, run_id: str) -> Spent:
        """Add up the calls of a run and its children, and the time of their bodies.

        The calls of tasks and items that are not complete do not count as calls, their tokens do.
        The time of a map is that of its items, the time of a subgraph that of its run, and the time
        of a task that fell back that of its attempts. What a fork shares counts for the run that
        it forks.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def runs(
        self, *, status: RunStatus | None = None, graph: str | None = None, limit: int | None = None
    ) -> list[RunHeader]:
        """List runs, the one that was begun last first; children are no runs of their own here.

        The clock has no say in the order: it may have been set back.
        """
        ...

    def find(self, prefix: str) -> str:
        """Find the one run id that begins with a prefix; of a child it is the whole id.

        Raises:
            RunNotFoundError: None does, or several do (the message lists them).
            InputError: It is empty, or no str.
        """
        ...

    def delete(self, run_id: str) -> None:
        """Delete a run and its children. Its id can be used again, its leases cannot.

        Raises:
            RunNotFoundError: There is no such run.
            RunBusyError: A process that lives advances it, this one included.
            RunSharedError: A fork of it or of a child of it is there, or it is a child.
        """
        ...

    def prune(self, wish: Wish, *, dry_run: bool = False) -> Pruned:
        """Drop runs that are over, and the oldest steps of those that stay.

        A run goes with its children, and never while it is open or a fork of it stays. It goes when
        it ended before `wish.before`, and is not among the `wish.keep` newest of its graph, as far
        as these are given; with neither no run goes.

        With `wish.steps` = N, each run that stays keeps at least its newest N steps, and these can
        be read and forked as before. It loses older ones with all that belongs to them, but what
        a fork shares for its own newest N, or forks its first step from. Of a run that is being
        advanced the newest snapshot stays. What it had used stays known (see `spent`).

        A run is gone, or cut, at once; the space that it took may be freed in several transactions.

        Args:
            wish: What to drop.
            dry_run: Only say what would be dropped.
        """
        ...

    def size(self, run_id: str) -> Size:
        """Say how much a run and its children take.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def verify(self, run_id: str | None = None) -> Iterator[Finding]:
        """Look for damage in all that is stored, run by run.

        Args:
            run_id: Only this run and its children; None: all.

        Yields:
            What was found, as soon as it is: of each damage the run and the step. Damage of one run
            hides none of another. What is counted nowhere is not missed: a whole run, and whole
            rows at the end of one whose process died while it advanced it.

        Raises:
            RunNotFoundError: There is no such run.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections. Closing twice is harmless."""
        ...
