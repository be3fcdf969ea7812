"""What a node's context gives: the run behind `ctx.llm`, `ctx.memo`, `ctx.emit` and `ctx.deps`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from graphflow.errors import PauseSignal
from graphflow.records import CallRecord, MemoRecord, RunHeader
from graphflow.redaction import Pieces, redact_call, redact_value, redactor

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer, Lease
    from graphflow.engine.tasks import Task
    from graphflow.events import Event
    from graphflow.llm.chat import Chat
    from graphflow.shared import Shared
    from graphflow.spending import Account

__all__ = ["Held", "TaskSurroundings"]


class Held(Protocol):
    """A run that this process holds."""

    store: Checkpointer
    header: RunHeader
    shared: Shared

    @property
    def lease(self) -> Lease:
        """The right to write."""

    def memos(self, task: Task) -> dict[str, str]:
        """Give the JSON of what a task of the open step has remembered, by name."""

    def used(self, call: CallRecord) -> None:
        """Count a model call."""


class TaskSurroundings:
    """The surroundings of one execution of a task.

    Args:
        session: The run.
        task: The task.
        account: What the execution uses, when a budget is kept.

    Attributes:
        signals: The pauses that the body has been told of.
        is_left: The body took too long, and was left behind: what it does now is dropped.
    """

    def __init__(self, session: Held, task: Task, account: Account | None) -> None:
        self._session, self._task, self._account = session, task, account
        self.signals: list[PauseSignal] = []
        self.is_left = False

    def chat(self) -> Chat:
        """Give the chat model, whose calls are recorded with the task."""
        from graphflow.llm.chat import Chat

        task, account = self._task, self._account
        return Chat(
            self._session.shared.client(),
            self._record,
            step=task.step,
            key=task.key,
            attempt=task.attempt,
            sync_node=None if task.node.is_async else task.node.name,
            admit=None if account is None else self._admit,
            emit=None if self._session.shared.channel is None else self._token,
            sieve=self._sieve,
        )

    def deps(self) -> Any:
        """Give the dependencies."""
        return self._session.shared.deps.get()

    def memos(self) -> dict[str, str]:
        """Give the JSON of what the task has remembered, by name."""
        if self.is_left:
            return {}
        return self._session.memos(self._task)

    def remember(self, memo: MemoRecord) -> None:
        """Store the result of work."""
        if self.is_left:
            return
        self._session.store.memo(self._session.lease, memo)

    def emit(self, value: Any) -> Awaitable[None]:
        """Tell who listens; a plain node waits for room at once."""
        from graphflow.events import CustomEvent

        task, run_id = self._task, self._session.header.run_id
        redact = redactor(self._session.shared.redact)
        if redact is not None:
            value = redact_value(value, redact)
        return self._put(CustomEvent(run_id, task.step, task.key, value))

    def _sieve(self) -> Pieces | None:
        redact = redactor(self._session.shared.redact)
        return None if redact is None else Pieces(redact)

    def _token(self, text: str) -> Awaitable[None]:
        from graphflow.events import TokenEvent

        task, run_id = self._task, self._session.header.run_id
        return self._put(TokenEvent(run_id, task.step, task.key, text))

    def _put(self, event: Event) -> Awaitable[None]:
        channel = self._session.shared.channel
        if channel is None or self.is_left:
            return _Room(None)
        channel.put(event)
        if self._task.node.is_async:
            return _Room(channel.aroom)
        channel.room()
        return _Room(None)

    def _admit(self, tokens: int) -> None:
        if self._account is None:
            return
        try:
            self._account.admit(tokens)
        except PauseSignal as signal:
            self.signals.append(signal)
            raise

    def _record(self, call: CallRecord) -> None:
        if self._account is not None:
            self._account.settle(call)
        self._session.used(call)
        redact = redactor(self._session.shared.redact)
        if redact is not None:
            redact_call(call, redact)
        self._session.store.call(self._session.lease, call)


class _Room:
    """Waits for room when it is awaited; unlike a coroutine it may also be left alone."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Awaitable[None]] | None) -> None:
        self._wait = wait

    def __await__(self) -> Any:
        if self._wait is not None:
            yield from self._wait().__await__()
