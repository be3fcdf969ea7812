"""Threads that do one job after another, and lose none to Ctrl-C.

The standard library's pool registers a thread after it has started it: Ctrl-C in between leaves
one that nobody ends. Here nothing depends on who knows of a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

__all__ = ["Threads"]


class Threads:
    """Threads that are started as they are needed, and wait for more.

    They do not hold up the end of the process: who submits a job waits for it.

    Args:
        most: How many there are at most; further jobs wait for one that is free.
    """

    def __init__(self, most: int) -> None:
        self._most, self._started = most, 0
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._free: SimpleQueue[None] = SimpleQueue()

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done; it raises nothing."""
        self._jobs.put(job)
        try:
            self._free.get_nowait()
        except Empty:
            if self._started < self._most:
                self._started += 1
                threading.Thread(target=self._serve, name="graphflow", daemon=True).start()

    def close(self) -> None:
        """End the threads, after what was submitted."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # what it holds is not kept alive by a thread that waits
            self._free.put(None)
