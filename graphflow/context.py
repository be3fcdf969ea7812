"""What a node may take beside the state: who it is, and the chat model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphflow.engine.tasks import Task
    from graphflow.llm.chat import Chat
    from graphflow.llm.client import ChatClient
    from graphflow.records import CallRecord

__all__ = ["Context"]


class Context:
    """A node's surroundings; a node takes it as its second parameter.

    Attributes:
        run_id: The run.
        node: The node.
        step: The number that the step will be committed under.
        attempt: Which execution of the body this is, from 1: failed ones before it count. One that
            a crash cut off left no record, and does not.
    """

    __slots__ = ("_client", "_is_async", "_key", "_record", "attempt", "node", "run_id", "step")

    def __init__(
        self,
        run_id: str,
        task: Task,
        client: Callable[[], ChatClient],
        record: Callable[[CallRecord], None],
    ) -> None:
        self.run_id, self.node = run_id, task.node.name
        self.step, self.attempt = task.step, task.attempt
        self._key, self._is_async = task.key, task.node.is_async
        self._client, self._record = client, record

    @property
    def idempotency_key(self) -> str:
        """The same for each execution of this task: hand it to services that must act once."""
        return f"{self.run_id}:{self.step}:{self._key}"

    @property
    def llm(self) -> Chat:
        """The chat model; each call is recorded with this task.

        In an ``async def`` node ``await ctx.llm.chat(...)``; in a plain one
        ``ctx.llm.sync.chat(...)``.

        Raises:
            NoModelError: No model is set up; the message says how.
        """
        from graphflow.llm.chat import Chat

        return Chat(
            self._client(),
            self._record,
            step=self.step,
            key=self._key,
            attempt=self.attempt,
            sync_node=None if self._is_async else self.node,
        )
