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
    has_more: bool = True
    """Whether a larger budget was given, when the run is taken up."""
    redact: Callable[[str], str] | None = None
    """Takes out of texts beside the state what is not to be stored."""
    is_interrupted: bool = False
    _wakers: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def watch(self, wake: Callable[[], None]) -> None:
        """Have a function called once when somebody interrupts the run; at once if it is so."""
        with self._lock:
            self._wakers.append(wake)
            is_late = self.is_interrupted
        if is_late:
            wake()

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Have it called no more."""
        self._wakers.remove(wake)

    def interrupt(self) -> None:
        """End the wait for the run; it stands where its last step was committed."""
        with self._lock:
            if self.is_interrupted:
                return
            self.is_interrupted = True
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def sleep(self, seconds: float) -> None:
        """Wait before an execution is repeated; an interrupt ends the wait.

        Raises:
            Interrupted: It did.
        """
        came = threading.Event()
        self.watch(came.set)
        try:
            if came.wait(seconds):
                raise Interrupted
        finally:
            self.unwatch(came.set)
