"""How far a run may go, and what happens to a node that fails: as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import isinf
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from graphflow.breaker import CircuitBreaker
    from graphflow.retry import Retry

__all__ = ["Budget", "Defaults", "Escalate", "Limits"]


class _Default(int):
    """A bound that was not given: another one that is known goes before it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a run, counted since it last heard from outside: its start or an answer.

    Reaching one pauses the run before the next step begins; `resume(run_id, limits=...)` goes on.
    A bound that is left out stays what it is: of a run that is resumed its own, of a new one the
    flow's.

    Attributes:
        steps: Committed steps, without step 0.
        visits: Steps in which one node ran.

    Raises:
        ValueError: A bound is no whole number, or below 1.
    """

    steps: int = _Default(100)
    visits: int = _Default(25)

    def __post_init__(self) -> None:
        _check_whole(self, 1, "steps", "visits")

    def over(self, old: Limits) -> Limits:
        """Give these limits; what was left out of them is that of others.

        Args:
            old: The limits that held until now.
        """
        bounds = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(old, **{n: b for n, b in bounds.items() if not isinstance(b, _Default)})


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run, or one execution of a node, may use. None: as much as it likes.

    When it does not allow the next call, that is not made: the run pauses there, or the node takes
    its `on_budget` edge. `resume(run_id, budget=...)` goes on with more.

    Attributes:
        calls: Model calls. Those of a task that runs again are given back.
        tokens: Tokens read and written. The `max_tokens` of a call are reserved before it is made:
            with more than are left it is not. What it really took, with what it read, is
            counted when it ends; so the calls under way then may exceed the budget, those without
            `max_tokens` by any number. The next one is not made.
        seconds: Time of the nodes' bodies, those side by side added up.

    Raises:
        ValueError: A bound is negative, calls or tokens are no whole number, or none is given.
    """

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.calls is self.tokens is self.seconds is None:
            raise ValueError("Budget(): say calls=, tokens= or seconds=")
        given = [name for name in ("calls", "tokens") if getattr(self, name) is not None]
        _check_whole(self, 0, *given)
        if self.seconds is None:
            return
        is_number = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not (is_number and self.seconds >= 0):
            raise ValueError(f"Budget(seconds={self.seconds!r}): must be a number, at least 0")
        if isinf(self.seconds):
            object.__setattr__(self, "seconds", None)  # no bound, and no JSON either


@dataclass(frozen=True, slots=True)
class Escalate:
    """Asks a human when a node has failed for good.

    Without `into` the answer is "retry" (the node runs again), "skip" (the run goes on without
    its update) or "fail" (the run fails). With it, the answer is what the node could not give.

    Attributes:
        into: The field that takes the answer.
        answer: The type of the answer; by default that of the field, without None.
        prompt: The words of the question; by default the error's.

    Raises:
        TypeError: `into` is no name, or the prompt neither words nor a function that gives them.
    """

    into: str | None = None
    answer: Any = None
    prompt: str | Callable[[Any], str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.into, str | None):
            raise TypeError(f"Escalate(into={self.into!r}): pass the name of a field, or nothing")
        if not isinstance(self.prompt, str | None) and not callable(self.prompt):
            raise TypeError(
                f"Escalate(prompt={self.prompt!r}): pass a str, or a function of the state"
            )


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for each node of a graph that does not say otherwise itself.

    Attributes:
        retry: How failed executions are repeated.
        timeout: Seconds that one execution may take.
        escalate: What is asked when a node has failed for good.
        breaker: Shared by all nodes that have no own one.
        budget: What one task may use.
    """

    retry: Retry | None = None
    timeout: float | None = None
    escalate: Escalate | None = None
    breaker: CircuitBreaker | None = None
    budget: Budget | None = None


Effects = Literal["external"]
"""What a node does to the world: "external": something that must not happen twice."""


def _check_whole(bounds: Limits | Budget, lowest: int, *names: str) -> None:
    for name in names:
        value = getattr(bounds, name)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not (is_whole and value >= lowest):
            raise ValueError(
                f"{type(bounds).__name__}({name}={value!r}): must be a whole number, at least"
                f" {lowest}"
            )
