"""Events on their way from a run to whoever listens: a buffer that makes the run wait when full."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from graphflow.events import Event

__all__ = ["Channel"]


class Channel:
    """A buffer of events, between any two threads or event loops.

    Putting never blocks, so that nothing is lost and no event loop stands still; who puts then
    waits for room: `room` in a thread, `aroom` in a loop.

    Args:
        size: How many events may wait before the run does.

    Attributes:
        is_closed: Nobody listens any more, or nothing comes any more.
    """

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._events: deque[Event] = deque()
        # Not a Condition: Ctrl-C inside of one, which is written in Python, may leave it locked
        self._lock = threading.RLock()
        self._wakers: list[Callable[[], None]] = []
        self.is_closed = False

    def put(self, event: Event) -> None:
        """Add an event; nothing happens when nobody listens any more."""
        with self._lock:
            if not self.is_closed:
                self._events.append(event)
                self._notify()

    def room(self) -> None:
        """Wait until the listener has caught up."""
        self._wait_while(self._is_full)

    async def aroom(self) -> None:
        """Wait until the listener has caught up, without holding up the loop."""
        while (waker := self._waker(self._is_full)) is not None:
            await waker

    def close(self) -> None:
        """Say that nobody listens any more, or that nothing comes any more."""
        with self._lock:
            self.is_closed = True
            self._notify()

    def __iter__(self) -> Iterator[Event]:
        while True:
            self._wait_while(self._is_idle)
            with self._lock:
                if not self._events:
                    return
                event = self._events.popleft()
                self._notify()
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while (waker := self._waker(self._is_idle)) is not None:
                await waker
            with self._lock:
                if not self._events:
                    return
                event = self._events.popleft()
                self._notify()
            yield event

    def _is_full(self) -> bool:
        return len(self._events) >= self._size and not self.is_closed

    def _is_idle(self) -> bool:
        return not self._events and not self.is_closed

    def _wait_while(self, blocked: Callable[[], bool]) -> None:
        """Hold up the thread as long as it is blocked."""
        while True:
            gate = threading.Lock()
            with self._lock:
                if not blocked():
                    return
                gate.acquire()
                self._wakers.append(gate.release)
            gate.acquire()

    def _waker(self, blocked: Callable[[], bool]) -> asyncio.Future[None] | None:
        """Give what the running loop is to await as long as it is blocked."""
        import asyncio

        with self._lock:
            if not blocked():
                return None
            loop = asyncio.get_running_loop()
            waker = loop.create_future()
            self._wakers.append(lambda: _wake(loop, waker))
            return waker

    def _notify(self) -> None:
        wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()


def _wake(loop: asyncio.AbstractEventLoop, waker: asyncio.Future[None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(lambda: None if waker.done() else waker.set_result(None))
