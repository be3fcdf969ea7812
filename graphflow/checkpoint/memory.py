"""Runs kept in lists, for as long as the process lives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any

from graphflow.checkpoint.memory_prune import delete_run, prune, size_of
from graphflow.checkpoint.memory_run import Mark, MemoryRun
from graphflow.checkpoint.owner import is_alive
from graphflow.checkpoint.protocol import Ending, Lease
from graphflow.checkpoint.refusals import (
    answered_already,
    check_answer,
    check_family,
    check_free,
    check_open,
    check_prefix,
    lost,
    never_asked,
    not_committed,
    not_found,
    not_the_last,
    of_a_family,
    out_of_order,
    parent_went_on,
    pruned,
    run_exists,
    the_one,
)
from graphflow.checkpoint.spending import spent_in
from graphflow.checkpoint.standing import as_seen, copied
from graphflow.clock import now
from graphflow.locks import lock_for
from graphflow.records import (
    Adoption,
    AttemptRecord,
    CallRecord,
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

__all__ = ["MemoryCheckpointer"]

_WHERE = "memory"


@dataclass(slots=True)
class MemoryLease(Lease):
    """A lease of one run, and of none that has its id later."""

    run: MemoryRun | None = field(default=None, repr=False)


class MemoryCheckpointer:
    """A checkpointer without a file. It digests nothing: nothing can change behind its back."""

    def __init__(self) -> None:
        self._runs: dict[str, MemoryRun] = {}
        self._lock = lock_for(self)  # verbs are called inside `together`
        self._marks: dict[str, Mark | None] | None = None
        """Inside `together`: how each run stood that is changed; None of one that was begun."""

    def __repr__(self) -> str:
        return f"MemoryCheckpointer({len(self._runs)} runs)"

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
        """Create a run with its first step; see `Checkpointer.begin`."""
        check_family(header, under)
        run_id = header.run_id
        run = MemoryRun(copied(header), spec_json, now(), before=before)
        run.header.status, run.header.step = "running", -1 if before is None else step.step - 1
        lease = MemoryLease(run_id, header.epoch, run=run)
        with self._lock:
            if header.fork_of is not None:
                run.origin = self._origin(header)
                run.header.step = (header.fork_step or 0) - 1
            if run_id in self._runs:
                raise run_exists(run_id)
            if under is not None:
                run.parent = self._held(under)
                check_open(under.run_id, header.parent_step or 0, run.parent.header.step)
                run.header.owner, run.header.epoch = None, under.epoch
                lease = MemoryLease(run_id, under.epoch, under.root or under.run_id, run)
            check_open(run_id, step.step, run.header.step)
            if run.parent is not None:
                run.parent.children.append(run)
            if self._marks is not None:
                self._marks[run_id] = None
            run.close(step, snapshot, ending)
            self._runs[run_id] = run
        return lease

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
        """Take a run in order to advance it; see `Checkpointer.take`."""
        with self._lock:
            run = self._run(run_id)
            header = run.header
            if under is not None:
                check_family(header, under)
                self._held(under)
                lease = MemoryLease(run_id, under.epoch, under.root or under.run_id, run)
            elif header.parent is not None:
                raise of_a_family(run_id, header.parent)
            else:
                lives = (lambda _: False) if take_over else is_alive
                check_free(header, owner, run.since, lives)
                lease = MemoryLease(run_id, header.epoch + 1, run=run)
            self._note(run)
            run.since = now()
            header.epoch, header.owner = lease.epoch, None if lease.root else owner
            header.status = "running"
            header.reason = header.error_type = header.error = header.ended_at = None
            if limits_json is not None:
                header.limits_json = limits_json
            if budget_json is not None:
                header.budget_json = budget_json
            return lease

    def commit(
        self, lease: Lease, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
    ) -> None:
        """Commit a step; see `Checkpointer.commit`."""
        with self._lock:
            run = self._held(lease)
            header = run.header
            if step.step != header.step + 1:
                raise out_of_order(lease.run_id, step.step, header.step)
            if run.parent is not None and run.parent.header.step >= (header.parent_step or 0):
                raise parent_went_on(lease.run_id, header.parent_step)
            run.close(step, snapshot, ending)

    def keep(self, lease: Lease, step: int, task: TaskRecord) -> None:
        """Store a complete task of a step that is still open; see `Checkpointer.keep`."""
        with self._lock:
            self._open(lease, step).kept[task.ix] = task

    def keep_item(self, lease: Lease, item: ItemRecord) -> None:
        """Store a complete item of a map; see `Checkpointer.keep_item`."""
        with self._lock:
            self._open(lease, item.step).items[item.step, item.key, item.ix] = item

    def ask(self, lease: Lease, question: QuestionRecord) -> None:
        """Store a question; see `Checkpointer.ask`."""
        with self._lock:
            asked = self._open(lease, question.step).questions
            asked.setdefault((question.step, question.key, question.name), question)

    def answer(self, lease: Lease, question: QuestionRecord) -> None:
        """Store the answer of a question; see `Checkpointer.answer`."""
        check_answer(lease.run_id, question)
        place = (question.step, question.key, question.name)
        with self._lock:
            run = self._held(lease)
            asked = run.questions.get(place)
            if asked is None:
                raise never_asked(lease.run_id, question)
            if asked.answer_json is not None:
                raise answered_already(lease.run_id, asked)
            run.questions[place] = replace(
                asked,
                answer_json=question.answer_json,
                answered_at=question.answered_at or now(),
                answered_by=question.answered_by,
            )
            run.header.heard = run.header.step + 1
            while run.parent is not None:
                run = run.parent
                self._note(run)
                run.header.heard = run.header.step + 1

    def memo(self, lease: Lease, memo: MemoRecord) -> None:
        """Store the result of work inside a body; see `Checkpointer.memo`."""
        with self._lock:
            self._open(lease, memo.step).memos[memo.step, memo.key, memo.name] = memo

    def fail(self, lease: Lease, attempt: AttemptRecord) -> None:
        """Store a failed execution; see `Checkpointer.fail`."""
        with self._lock:
            self._held(lease).attempts.append(attempt)

    def call(self, lease: Lease, call: CallRecord) -> None:
        """Store a model call; see `Checkpointer.call`."""
        with self._lock:
            self._held(lease).calls.append(call)

    def adopt(
        self, lease: Lease, adoption: Adoption, spec_json: str, kept: Sequence[TaskRecord]
    ) -> None:
        """Store that a run goes on with another graph; see `Checkpointer.adopt`."""
        with self._lock:
            run = self._held(lease)
            if adoption.step != run.header.step:
                raise not_the_last(lease.run_id, adoption.step, run.header.step)
            run.adopt(adoption, spec_json, kept)

    def end(self, lease: Lease, ending: Ending) -> None:
        """Set the run's status without a step; see `Checkpointer.end`."""
        with self._lock:
            self._held(lease).end(ending)

    def stop(self, run_id: str, ending: Ending) -> None:
        """End a run whoever advances it; see `Checkpointer.stop`."""
        with self._lock:
            run = self._run(run_id)
            if self._marks is not None:
                self._note_family(run)
            run.stop(ending)

    def together(self, verbs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Call verbs so that all of them are seen at once; see `Checkpointer.together`."""
        results: list[Any] = []
        done: list[dict[str, Mark | None]] = []
        with self._lock:
            outer = self._marks
            try:
                for verb in verbs:
                    self._marks = {}
                    done.append(self._marks)
                    try:
                        results.append(verb())
                    except Exception as error:  # noqa: BLE001 - it is this function's result
                        self._undo(done.pop())
                        results.append(error)
            except BaseException:
                for marks in reversed(done):
                    self._undo(marks)
                raise
            finally:
                self._marks = outer
            if outer is not None:
                for marks in done:
                    outer |= marks | outer  # how it stood first counts
        return results

    def load(self, run_id: str, *, tail: bool = False) -> RunRecords:
        """Read a run; see `Checkpointer.load`."""
        with self._lock:
            return self._run(run_id).records(tail=tail)

    def spent(self, run_id: str) -> Spent:
        """Add up what a run and its children used; see `Checkpointer.spent`."""
        with self._lock:
            return spent_in(self._run(run_id).own_records())

    def runs(
        self, *, status: RunStatus | None = None, graph: str | None = None, limit: int | None = None
    ) -> list[RunHeader]:
        """List runs, newest first; see `Checkpointer.runs`."""
        lives = cache(is_alive)
        with self._lock:
            # In this order whatever the clock said when they were begun
            roots = (run.header for run in reversed(self._runs.values()) if run.parent is None)
            seen = (
                as_seen(header, lives=lives) for header in roots if graph in (None, header.graph)
            )
            chosen = islice((header for header in seen if status in (None, header.status)), limit)
            return [copied(header) for header in chosen]

    def find(self, prefix: str) -> str:
        """Find the one run id that begins with a prefix; see `Checkpointer.find`."""
        check_prefix(prefix)
        with self._lock:
            if prefix in self._runs:
                return prefix
            roots = (run_id for run_id, run in self._runs.items() if run.parent is None)
            found = [run_id for run_id in roots if run_id.startswith(prefix)]
        return the_one(prefix, sorted(found), _WHERE)

    def delete(self, run_id: str) -> None:
        """Delete a run and its children; see `Checkpointer.delete`."""
        with self._lock:
            delete_run(self._runs, self._run(run_id))

    def prune(self, wish: Wish, *, dry_run: bool = False) -> Pruned:
        """Drop old runs, and the oldest steps of others; see `Checkpointer.prune`."""
        with self._lock:
            return prune(self._runs, wish, dry_run=dry_run)

    def size(self, run_id: str) -> Size:
        """Say how much a run and its children take; see `Checkpointer.size`."""
        with self._lock:
            return size_of(self._run(run_id))

    def verify(self, run_id: str | None = None) -> Iterator[Finding]:
        """Find nothing: what is in memory does not change behind its back."""
        if run_id is not None:
            with self._lock:
                self._run(run_id)
        return iter(())

    def close(self) -> None:
        """Do nothing: there is no file to let go of."""

    def _run(self, run_id: str) -> MemoryRun:
        run = self._runs.get(run_id)
        if run is None:
            raise not_found(run_id, _WHERE)
        return run

    def _held(self, lease: Lease) -> MemoryRun:
        """Find the run of a lease that is good, in order to change it."""
        run = self._runs.get(lease.run_id)
        # When it was deleted, another one may have its id by now
        if run is None or (isinstance(lease, MemoryLease) and lease.run is not run):
            raise lost(lease.run_id, lease.epoch, None)
        root = run if run.parent is None else run.root()
        if root.header.epoch != lease.epoch or root.header.status != "running":
            raise lost(root.header.run_id, lease.epoch, root.header)
        if run is not root and run.header.status != "running":
            raise lost(lease.run_id, run.header.epoch, run.header)
        if self._marks is not None:
            self._note(run)
        return run

    def _open(self, lease: Lease, step: int) -> MemoryRun:
        run = self._held(lease)
        check_open(lease.run_id, step, run.header.step)
        return run

    def _origin(self, header: RunHeader) -> MemoryRun:
        """Find the run that is forked."""
        origin, step = self._run(header.fork_of or ""), header.fork_step
        if step is None or not 0 <= step <= origin.header.step:
            raise not_committed(origin.header.run_id, step, origin.header.step)
        records = origin.records()
        if records.before is not None and step <= records.steps[0].step:
            raise pruned(origin.header.run_id, step, records.steps[0].step + 1)
        return origin

    def _note(self, run: MemoryRun) -> None:
        """Inside `together`, note how a run stands before it is changed."""
        if self._marks is not None and run.header.run_id not in self._marks:
            self._marks[run.header.run_id] = run.mark()

    def _note_family(self, run: MemoryRun) -> None:
        self._note(run)
        for child in run.children:
            self._note_family(child)

    def _undo(self, marks: dict[str, Mark | None]) -> None:
        for run_id, mark in marks.items():
            if mark is None:
                del self._runs[run_id]
            else:
                self._runs[run_id].reset(mark)
