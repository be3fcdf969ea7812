"""What routers and nodes answer: Decision, Command, Route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = ["Command", "Decision", "Route"]

R = TypeVar("R", bound=str)
R_co = TypeVar("R_co", bound=str, covariant=True)


class Decision(Generic[R_co]):
    """A router's answer in its own words.

    Args:
        goto: The next node, END, or several of them; an empty list takes no arrow.
        reason: Why; without it the evidence in words is recorded.
        confidence: How sure, from 0 to 1.
        evidence: What else speaks for it, as JSON; the fields that were read are recorded anyway.

    Raises:
        TypeError: The reason is not a str, or the confidence not a number.
        ValueError: The confidence is not between 0 and 1.
    """

    __slots__ = ("confidence", "evidence", "goto", "reason")

    def __init__(
        self,
        goto: R_co | Sequence[R_co],
        *,
        reason: str = "",
        confidence: float | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(reason, str):
            raise TypeError(f"reason={reason!r}: it must be a str")
        if confidence is not None and not 0 <= confidence <= 1:
            raise ValueError(f"confidence={confidence!r}: it must be between 0 and 1")
        self.goto, self.reason = goto, reason.strip()
        self.confidence, self.evidence = confidence, evidence

    def __repr__(self) -> str:
        return f"Decision({self.goto!r}, reason={self.reason!r})"


Route: TypeAlias = R | Decision[R] | Sequence[R]
"""What a router returns: ``-> Route[Literal["draft", "ask_human"]]``."""


class Command:
    """A node's update together with where to go next.

    The targets are declared on the node: ``add_node("plan", plan, targets=["act", END])``.

    Args:
        update: What the node changes, as it would return it without a Command.
        goto: The next node, END, or several of them; these arrows add to the node's edges.
        reason: Why; recorded with the decision.

    Raises:
        TypeError: The reason is not a str.
    """

    __slots__ = ("goto", "reason", "update")

    def __init__(
        self,
        *,
        update: Mapping[str, Any] | None = None,
        goto: str | Sequence[str] = (),
        reason: str = "",
    ) -> None:
        if not isinstance(reason, str):
            raise TypeError(f"reason={reason!r}: it must be a str")
        self.update, self.goto, self.reason = update, goto, reason

    def __repr__(self) -> str:
        return f"Command(update={self.update!r}, goto={self.goto!r})"
