"""When a failed execution is repeated, and after how long."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from graphflow.transient import is_transient, leaves, retry_after

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["Retry", "is_transient"]

Wait: TypeAlias = "float | Callable[[RetryCallState], float]"
Stop: TypeAlias = "Callable[[RetryCallState], bool]"
On: TypeAlias = (
    "type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool]"
    " | Callable[[RetryCallState], bool]"
)

_FIRST, _FACTOR, _LONGEST, _JITTER = 0.5, 2.0, 60.0, 0.25
"""Seconds before the first repeat; times this after each; at most; a quarter more or less."""
_PATIENCE = 3600.0
"""Seconds that a server may ask for: a run that waits longer is better resumed later."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Repeats a node that failed.

    ``Retry()`` executes it three times at most, and only repeats what may go away by itself: see
    `is_transient`. It waits half a second, then a second, two, four ... up to a minute, each a
    quarter more or less, so that nodes which failed together do not come back together.

    Attributes:
        attempts: How often the node is executed at most, the first time included.
        wait: Seconds before each repeat, or a tenacity wait object:
            ``wait_exponential_jitter(initial=1, max=30)``.
        stop: A tenacity stop object, in place of `attempts`: ``stop_after_delay(60)``.
        on: What is repeated: a class of exceptions, several, a predicate ``fn(error)``, or a
            tenacity retry object, ``retry_if_exception_message(match="busy")``.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `attempts` is below 1, `wait` is negative or not finite, or `on` is empty.
    """

    attempts: int = 3
    wait: Wait | None = None
    stop: Stop | None = None
    on: On | None = None

    def __post_init__(self) -> None:
        _check_attempts(self.attempts)
        _check_wait(self.wait)
        _check_callable("stop", self.stop, "a tenacity stop object: stop_after_delay(60)")
        if isinstance(self.on, list | tuple | set | frozenset):
            object.__setattr__(self, "on", tuple(self.on))  # two equal ones must have equal hashes
        _check_on(self.on)

    @property
    def repeats(self) -> bool:
        """Whether a node may be executed more than once."""
        return self.stop is not None or self.attempts > 1

    def delay(self, error: Exception, attempt: int, elapsed: float) -> float | None:
        """Say after how many seconds to try again.

        A server's Retry-After (``error.retry_after``, or the header of ``error.response``) is the
        least that the default wait, or a number of seconds, waits. Of a server that asks for
        more than an hour nothing more is asked.

        Args:
            error: What the last execution failed with.
            attempt: How many executions have failed so far: 1 after the first.
            elapsed: Seconds since the first one began.

        Returns:
            Seconds; None: it is not tried again.

        Raises:
            Exception: What a predicate, or a wait or stop object, of the user's raises.
        """
        state = _CallState(error, attempt, elapsed)
        exhausted = self.stop is None and attempt >= self.attempts
        if exhausted or not self._matches(error, state):
            return None
        seconds = self._seconds(error, attempt, state)
        if seconds is None or self.stop is None:
            return seconds
        state().upcoming_sleep = seconds  # stop_before_delay looks at it
        return None if self.stop(state()) else seconds

    def _matches(self, error: Exception, state: _CallState) -> bool:
        on: Any = self.on
        if on is None:
            return is_transient(error)
        if isinstance(on, type | tuple):
            return all(isinstance(leaf, on) for leaf in leaves(error)) or isinstance(error, on)
        return bool(on(state() if _is_tenacity(on, "retry") else error))

    def _seconds(self, error: Exception, attempt: int, state: _CallState) -> float | None:
        if callable(self.wait):
            seconds = float(self.wait(state()))
            if not math.isfinite(seconds):
                raise ValueError(f"{_shown(self.wait)} answered {seconds} seconds")
            return max(0.0, seconds)
        seconds = _backoff(attempt) if self.wait is None else float(self.wait)
        asked = retry_after(error)
        return None if asked > _PATIENCE else max(seconds, asked)


def _backoff(attempt: int) -> float:
    import random  # 2 ms to import, and only failures need it

    doubled = min(_LONGEST, _FIRST * _FACTOR ** min(attempt - 1, 10))  # a power has no end
    return min(_LONGEST, doubled * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - no secret


class _CallState:
    """Makes what tenacity's objects look at, once, and only when one of them asks."""

    __slots__ = ("_attempt", "_elapsed", "_error", "_made")

    def __init__(self, error: Exception, attempt: int, elapsed: float) -> None:
        self._error, self._attempt, self._elapsed = error, attempt, elapsed
        self._made: RetryCallState | None = None

    def __call__(self) -> RetryCallState:
        if self._made is None:
            from tenacity import RetryCallState, Retrying

            made = RetryCallState(Retrying(), None, (), {})
            made.attempt_number = self._attempt
            made.set_exception((type(self._error), self._error, self._error.__traceback__))
            made.start_time, made.outcome_timestamp = 0.0, self._elapsed
            self._made = made
        return self._made


def _is_tenacity(value: object, kind: str) -> bool:
    """Tell whether it is a tenacity object of this kind; who made one has loaded tenacity."""
    base = getattr(sys.modules.get(f"tenacity.{kind}"), f"{kind}_base", None)
    return isinstance(base, type) and isinstance(value, base)


def _check_attempts(attempts: object) -> None:
    if isinstance(attempts, bool) or not isinstance(attempts, int):
        raise TypeError(f"Retry(attempts={attempts!r}): it must be a whole number")
    if attempts < 1:
        raise ValueError(
            f"Retry(attempts={attempts}): must be at least 1, which is one execution and no repeat"
        )


def _check_wait(wait: object) -> None:
    if isinstance(wait, int | float) and not isinstance(wait, bool):
        if not 0 <= wait < math.inf:
            raise ValueError(f"Retry(wait={wait}): must be seconds, 0 or more")
        return
    _check_callable("wait", wait, "a number of seconds, or a tenacity wait object: wait_fixed(2)")


def _check_callable(name: str, value: object, wanted: str) -> None:
    if value is None:
        return
    others = {"wait", "stop", "retry"} - {"retry" if name == "on" else name}
    fits = callable(value) and not isinstance(value, type) and not _is_async(value)
    if not fits or any(_is_tenacity(value, kind) for kind in others):
        given = f"the class {value.__name__}" if isinstance(value, type) else _shown(value)
        raise TypeError(f"Retry({name}=...) takes {wanted}, not {given}")


def _check_on(on: object) -> None:
    if on == ():
        raise ValueError("Retry(on=()): would repeat nothing; leave it out, or use attempts=1")
    classes = on if isinstance(on, tuple) else (on,) if isinstance(on, type) else ()
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise TypeError(f"Retry(on=...): {_shown(cls)} is no class of exceptions")
    if not classes:
        wanted = "a class of exceptions, several, a predicate fn(error), or a tenacity retry object"
        _check_callable("on", on, wanted)


def _is_async(value: object) -> bool:
    call = getattr(type(value), "__call__", None)  # noqa: B004 - the method itself is looked at
    return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(call)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"a {type(value).__name__}"
