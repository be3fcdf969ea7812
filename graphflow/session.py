"""One run in this process: its lease, and what the engine's effects do to the store."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, Self, assert_never

from graphflow import failpoints
from graphflow.checkpoint.owner import this_process
from graphflow.claims import claim, holder_of, unclaim
from graphflow.clock import now
from graphflow.context import Context
from graphflow.engine.effects import Ask, Commit, Fail, Finish, Keep, KeepItem
from graphflow.engine.tasks import Task
from graphflow.errors import CheckpointError, LeaseLostError, RunError
from graphflow.records import (
    AttemptRecord,
    CallRecord,
    Ending,
    QuestionRecord,
    RunHeader,
    RunRecords,
)
from graphflow.redaction import redact_effect, redactor
from graphflow.standing import end_of, latest, task_of
from graphflow.surroundings import TaskSurroundings

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer, Lease
    from graphflow.engine.effects import Outcome, Steps
    from graphflow.engine.position import Position
    from graphflow.shared import Shared
    from graphflow.spending import Account

__all__ = ["Child", "Session", "as_before", "interrupt"]

Stored = Commit | Keep | KeepItem | Fail | Ask | Finish


class Child(Protocol):
    """The child of a subgraph's task, ready to be advanced."""

    position: Position

    def drive(self, drive: Callable[[Steps, Session, int], Outcome]) -> Outcome | None:
        """Have it advanced by a driver; None when it is over."""

    async def adrive(
        self, drive: Callable[[Steps, Session, int], Awaitable[Outcome]]
    ) -> Outcome | None:
        """Have it advanced by a driver that awaits; None when it is over."""

    def last_values(self) -> dict[str, Any]:
        """Give the last state of a run that is over."""


class Session:
    """Advances one run: stores what the engine commits.

    Use it in a ``with``: it makes sure that this process advances a run once at a time, and that
    an interrupted run can be resumed.

    Args:
        store: Where the run is stored.
        header: The run; of a new one, as it will be stored with its first step.
        shared: What it shares with its children.
        open_child: Opens the child of a task of this run.
        spec_json: The graph's spec, for a new run.
        parent: Of a child, the session under whose lease it is advanced.
        again: Whether what failed in the open step is run again.

    Attributes:
        has_begun: Whether the run is stored.
        is_entered: Whether it has come to its ``with``, which lets go of the run.
        thread: Whose it is.
    """

    def __init__(
        self,
        store: Checkpointer,
        header: RunHeader,
        shared: Shared,
        open_child: Callable[[Session, Task], Child],
        *,
        spec_json: str = "",
        parent: Session | None = None,
        again: bool = True,
    ) -> None:
        self.store, self.header, self.shared = store, header, shared
        self._spec_json, self._open_child, self._parent = spec_json, open_child, parent
        self._lease: Lease | None = None
        self.is_entered, self.thread = False, 0
        self.has_begun = not spec_json
        self.again = again
        self._memos: dict[str, dict[str, str]] = {}
        self._used: dict[str, tuple[int, int]] = {}
        self._latest: dict[str, datetime] = {}  # when tasks of the open step failed or asked last
        self._begun: set[str] = set()  # the maps of the open step that have been told of

    def take(
        self,
        *,
        limits_json: str | None,
        budget_json: str | None = None,
        take_over: bool = False,
    ) -> RunRecords | None:
        """Take the run, which is stored, in order to advance it.

        Args:
            limits_json: Its limits from now on; None: as they are.
            budget_json: Its budget from now on; None: as it is.
            take_over: Whether to take it from who advances it.

        Returns:
            The tail of its records, read under the lease; None of a child.

        Raises:
            RunBusyError: It is being advanced, here or by another process.
        """
        self._claim(take_over=take_over)
        try:
            run_id, under = self.header.run_id, self._parent.lease if self._parent else None
            self._lease = self.store.take(
                run_id,
                this_process(),
                limits_json=limits_json,
                budget_json=budget_json,
                under=under,
                take_over=take_over,
            )
            if self._parent is not None:  # nobody else can have had a child meanwhile
                return None
            return self.store.load(run_id, tail=True)
        except BaseException:
            with suppress(CheckpointError, RunError):  # what went wrong first is told
                self.release(as_before(self.header))
            self._unclaim()
            raise

    def adopt(self, position: Position, spec_json: str) -> None:
        """Store that the run goes on with another graph, if it does; it has been taken.

        Args:
            position: Where it stands.
            spec_json: The graph.
        """
        if position.adoption is not None:
            kept = position.open.kept.values() if position.open is not None else ()
            self.store.adopt(self.lease, position.adoption, spec_json, list(kept))
            position.adoption = None

    def know(self, records: RunRecords) -> None:
        """Learn from the records of a run that is taken what is stored of its open step."""
        self._latest = latest(records)

    def __enter__(self) -> Self:
        self._claim()
        self.is_entered = True
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            # Ctrl-C, a cancelled task, an error of our own: the run stands where its last step
            # was committed. After a store's error there is nothing to write to.
            broken = error is None or isinstance(error, CheckpointError | LeaseLostError)
            if self._lease is not None and not broken:
                words = f"interrupted ({type(error).__name__}); resume it to go on"
                ending = Ending("paused", "interrupted", error=words)
                with suppress(LeaseLostError):  # somebody took it meanwhile: the error goes on
                    self.store.end(self._lease, ending)
            told = error is not None and not isinstance(error, CheckpointError)
            if told and self.shared.channel is not None and self.has_begun:
                self._tell_end()
        finally:
            self._unclaim()

    def release(self, ending: Ending | None = None) -> None:
        """Let go of a run that is to be advanced further later; it stands as it did."""
        if self._lease is not None:
            self.store.end(self._lease, ending or Ending("running"))
            self._lease = None
        self._unclaim()

    def _tell_end(self) -> None:
        """Tell who listens how the run stands, after it was interrupted or taken away."""
        header = self.store.load(self.header.run_id, tail=True).header
        self.tell(Finish(Ending(header.status, header.reason, header.error_type, header.error)))

    def let_go(self, outcome: Outcome) -> None:
        """Let go of a run that was asked to stop after so many commits, while it is still held."""
        if outcome.ending is None and self._lease is not None:
            self.store.end(self._lease, Ending("running"))
            self._lease = None

    @property
    def lease(self) -> Lease:
        """The right to write."""
        if self._lease is None:
            raise AssertionError("a run begins with a commit")
        return self._lease

    def answer(self, effect: Stored) -> None:
        """Do what an effect says: store it, then tell who listens."""
        self.store_effect(effect)
        if failpoints.hit is not None:
            failpoints.hit("acknowledge")
        if self.shared.channel is not None:
            self.tell(effect)

    def store_effect(self, effect: Stored) -> None:
        """Do to the store what an effect says; with an ending, let go of the run."""
        redact = redactor(self.shared.redact)
        if redact is not None:
            redact_effect(effect, redact)
        if isinstance(effect, Commit):
            self._commit(effect)
            if effect.ending is not None:
                self._lease = None
        elif isinstance(effect, Finish):
            if self._lease is not None:  # else a router failed: no run has begun
                self.store.end(self._lease, effect.ending)
                self._lease = None
        else:
            self._store_part(effect)

    def _store_part(self, effect: Keep | KeepItem | Fail | Ask) -> None:
        """Store a part of the step that is open."""
        if isinstance(effect, Keep):
            effect.task.started_at = effect.task.started_at or now()
            self.store.keep(self.lease, effect.step, effect.task)
        elif isinstance(effect, KeepItem):
            self.store.keep_item(self.lease, effect.item)
        elif isinstance(effect, Fail):
            self._date_failure(effect.attempt)
            self.store.fail(self.lease, effect.attempt)
        elif isinstance(effect, Ask):
            self._date(effect)
            self._say_spent(effect.question)
            self.store.ask(self.lease, effect.question)
        else:
            assert_never(effect)

    def _date(self, effect: Ask) -> None:
        """Say when a question was asked, and until when it waits."""
        question, task = effect.question, task_of(effect.question.key)
        asked = datetime.fromisoformat(question.asked_at or now())
        asked = self._latest[task] = max(asked, self._latest.get(task, asked))
        question.asked_at = asked.isoformat(timespec="microseconds")
        if effect.lasts is not None:
            question.deadline = (asked + effect.lasts).isoformat()

    def _date_failure(self, attempt: AttemptRecord) -> None:
        """Say when an execution began that has failed."""
        attempt.started_at = attempt.started_at or now()
        end, task = end_of(attempt), task_of(attempt.key)
        before = self._latest.get(task)
        if before is not None and end <= before:  # the clock was set back meanwhile
            later = before + timedelta(microseconds=1) - end
            began = datetime.fromisoformat(attempt.started_at) + later
            attempt.started_at, end = began.isoformat(timespec="microseconds"), end + later
        self._latest[task] = end

    @property
    def is_bare(self) -> bool:
        """Whether nobody listens, no budget is kept, and no test waits at a fail point."""
        shared = self.shared
        return shared.channel is None and shared.ledger.budget is None and failpoints.hit is None

    def begins(self, step: int) -> None:
        """Tell who listens that the run is being advanced."""
        if self.shared.channel is not None:
            from graphflow.events import RunEvent

            self.shared.channel.put(RunEvent(self.header.run_id, self.header.graph, step))

    def begins_task(self, task: Task) -> None:
        """Tell who listens that a body begins."""
        if self.shared.channel is not None:
            from graphflow.events import NodeEvent

            key, name = task.key.partition("[")[0], task.node.name
            if task.item is not None and key in self._begun:
                return  # a map is told of once
            self._begun.add(key)
            run_id = self.header.run_id
            self.shared.channel.put(NodeEvent(run_id, task.step, key, name, task.attempt))

    def store_answer(self, question: QuestionRecord) -> None:
        """Store an answer; the run is held."""
        self.store.answer(self.lease, question)

    def open_child(self, task: Task) -> Child:
        """Open the child of a subgraph's task."""
        return self._open_child(self, task)

    def account(self, task: Task) -> Account | None:
        """Open the account of an execution; None when no budget is kept."""
        own = task.node.rules.budget
        if own is None and self.shared.ledger.budget is None:
            return None
        return self.shared.ledger.account((self.header.run_id, task.step, task.key), own)

    def surroundings(self, task: Task, account: Account | None) -> TaskSurroundings:
        """Give what surrounds an execution."""
        return TaskSurroundings(self, task, account)

    def context(self, task: Task, around: TaskSurroundings) -> Context[object]:
        """Make the context of a task."""
        return Context(self.header.run_id, task, around)

    def used(self, call: CallRecord) -> None:
        """Count a model call of the open step."""
        calls, tokens = self._used.get(call.key, (0, 0))
        tokens += (call.input_tokens or 0) + (call.output_tokens or 0)
        self._used[call.key] = calls + 1, tokens

    def memos(self, task: Task) -> dict[str, str]:
        """Give the JSON of what a task of the open step has remembered, by name."""
        return self._memos.setdefault(task.key, dict(task.memos or {}))

    def _commit(self, effect: Commit) -> None:
        step, header = effect.step, self.header
        step.committed_at = now()
        for task in step.tasks:
            if not task.started_at:  # it had no body: an answer, a map of nothing
                task.started_at = step.committed_at
        if self._memos or self._used or self._begun or self._latest:
            self._memos, self._used, self._begun, self._latest = {}, {}, set(), {}
        if step.step > 0 and (self._lease is not None or header.fork_step != step.step):
            self.store.commit(self.lease, step, effect.snapshot, effect.ending)
            return
        if effect.snapshot is None:
            raise AssertionError("a first step comes with a snapshot")
        under = self._parent.lease if self._parent else None
        self._lease = self.store.begin(
            header, self._spec_json, step, effect.snapshot, effect.ending, under=under
        )
        self.has_begun = True

    def _say_spent(self, question: QuestionRecord) -> None:
        """Add to an escalation what its task has spent."""
        if question.kind == "escalation":
            calls, tokens = self._used.get(question.key, (0, 0))
            details = json.loads(question.details_json or "{}")
            details["spent"] = {"calls": calls, "tokens": tokens}
            question.details_json = json.dumps(details)

    def tell(self, effect: Stored) -> None:
        """Tell who listens what has been stored."""
        if self.shared.channel is not None:
            from graphflow.telling import events_of

            for event in events_of(self.header.run_id, effect):
                self.shared.channel.put(event)

    def _claim(self, *, take_over: bool = False) -> None:
        claim(self.store, self.header.run_id, self, take_over=take_over)

    def _unclaim(self) -> None:
        unclaim(self.store, self.header.run_id, self)


def as_before(header: RunHeader) -> Ending:
    """Say how a run stood, to let go of it as if it had not been taken.

    One that another process had in its hands is interrupted: without an owner it would seem to run.
    """
    if header.owner is not None:
        return Ending("paused", "interrupted", error="interrupted; resume it to go on")
    status = "running" if header.status == "stale" else header.status
    return Ending(status, header.reason, header.error_type, header.error)


def interrupt(store: Checkpointer, run_id: str) -> None:
    """End the wait for a run, if this process advances it."""
    session = holder_of(store, run_id)
    if isinstance(session, Session):
        session.shared.interrupt()
