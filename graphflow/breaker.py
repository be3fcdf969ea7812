"""A circuit breaker: a node that keeps failing is left alone for a while."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal

from graphflow.errors import CircuitOpenError
from graphflow.locks import lock_for

__all__ = ["CircuitBreaker"]

CircuitState = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Leaves a node alone after several failures in a row, and tries it again after a while.

    One object serves all runs, threads and event loops of a process: what it guards (a server, an
    account) is one thing, too. It is closed at first, and lets everything through. `failures`
    failures in a row open it, and every execution is refused. When it has cooled down it is
    half-open: one execution is let through as a probe, whose end closes or opens it again.
    A success closes it whenever it comes, also that of an execution that began long before.

    Args:
        failures: How many failures in a row open it.
        cool_down: Seconds that it stays open.
        clock: Gives the time in seconds.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `failures` is below 1, or `cool_down` negative or not finite.
    """

    def __init__(
        self,
        failures: int = 5,
        cool_down: float = 30.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(failures, cool_down, clock)
        self.failures, self.cool_down = failures, float(cool_down)
        self._clock = clock
        self._lock = lock_for(self)  # held for a few instructions only, never while waiting
        self._in_a_row = 0
        self._last = ""
        self._opened: float | None = None
        self._probing = False

    @property
    def state(self) -> CircuitState:
        """What it does now: "closed" lets all through, "open" none, "half-open" one."""
        with self._lock:
            return self._state()

    def admit(self) -> None:
        """Ask whether an execution may begin; one of the other three says how it ended.

        Raises:
            CircuitOpenError: It may not.
        """
        with self._lock:
            state = self._state()
            if state == "closed":
                return
            if state == "half-open" and not self._probing:
                self._probing = True
                return
            words = self._refusal()
        raise CircuitOpenError(words)

    def succeeded(self) -> None:
        """An execution succeeded."""
        with self._lock:
            self._in_a_row, self._last = 0, ""
            self._opened, self._probing = None, False

    def failed(self, error: BaseException) -> None:
        """An execution failed.

        Args:
            error: What it failed with; its class is named to those who are refused.
        """
        with self._lock:
            self._in_a_row += 1
            self._last = type(error).__name__
            opens = self._opened is None and self._in_a_row >= self.failures
            if opens or self._probing:
                self._opened, self._probing = self._clock(), False

    def abandoned(self) -> None:
        """An execution was cancelled, or paused: nothing was learnt, and the next one may try."""
        with self._lock:
            self._probing = False

    def __repr__(self) -> str:
        return (
            f"CircuitBreaker(failures={self.failures}, cool_down={self.cool_down:g}: {self.state})"
        )

    def _state(self) -> CircuitState:
        if self._opened is None:
            return "closed"
        return "half-open" if self._probing or self._left() <= 0 else "open"

    def _left(self) -> float:
        """Give the seconds until it has cooled down."""
        return 0.0 if self._opened is None else self._opened + self.cool_down - self._clock()

    def _refusal(self) -> str:
        times = "once" if self._in_a_row == 1 else f"{self._in_a_row} times in a row"
        next_try = (
            "one execution is trying it again now"
            if self._probing
            else f"it is tried again in {max(self._left(), 0.1):.1f} s"
        )
        return f"the node is left alone: it failed {times}, last with {self._last}; {next_try}"


def _check(failures: object, cool_down: object, clock: object) -> None:
    if isinstance(failures, bool) or not isinstance(failures, int):
        raise TypeError(f"CircuitBreaker(failures={failures!r}): it must be a whole number")
    if failures < 1:
        raise ValueError(f"CircuitBreaker(failures={failures}): must be at least 1")
    if isinstance(cool_down, bool) or not isinstance(cool_down, int | float):
        raise TypeError(f"CircuitBreaker(cool_down={cool_down!r}): it must be a number of seconds")
    if not 0 <= cool_down < math.inf:
        raise ValueError(f"CircuitBreaker(cool_down={cool_down}): must be seconds, 0 or more")
    if not callable(clock):
        raise TypeError(f"CircuitBreaker(clock={clock!r}): pass a function that gives seconds")
