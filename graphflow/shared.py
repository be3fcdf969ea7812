"""What a run and its children share while this process advances them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphflow.channel import Channel
    from graphflow.deps import Deps
    from graphflow.llm.client import ChatClient
    from graphflow.policy import Limits
    from graphflow.spending import Ledger

__all__ = ["Interrupted", "Shared"]


class Interrupted(BaseException):
    """Somebody of this process ends the wait for a run: a cancelled run, or a closed stream."""


@dataclass(slots=True)
class Shared:
    """The surroundings of a run: what its bodies are given, and who listens."""

    client: Callable[[], ChatClient]
    deps: Deps
    ledger: Ledger
    channel: Channel | None = None
    limits: Limits | None = None
    """New limits, also for children that are open."""
    is_interrupted: bool = False
    crews: list[Callable[[], None]] = field(default_factory=list)
    """Wakes who waits for running tasks."""
    _stopped: threading.Event | None = None

    def interrupt(self) -> None:
        """End the wait for the run; it stands where its last step was committed."""
        self.is_interrupted = True
        if self._stopped is not None:
            self._stopped.set()
        for wake in list(self.crews):
            wake()

    def sleep(self, seconds: float) -> None:
        """Wait before an execution is repeated; an interrupt ends the wait.

        Raises:
            Interrupted: It did.
        """
        if self._stopped is None:
            self._stopped = threading.Event()
        if self.is_interrupted or self._stopped.wait(seconds):
            raise Interrupted
