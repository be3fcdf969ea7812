"""What routers and nodes answer: Decision, Command, Send, Route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = ["Command", "Decision", "Route", "Send"]

R = TypeVar("R", bound=str)
R_co = TypeVar("R_co", bound=str, covariant=True)


class Send:
    """A task of its own for a node, with an input that only this task sees.

    ``[Send("grade", {"essay": essay}) for essay in state.essays]`` runs `grade` once per essay,
    side by side.

    Args:
        node: The node.
        update: Fields of the state for this task: set over the state's, not reduced.

    Raises:
        TypeError: The update is no mapping, or the node no name.
    """

    __slots__ = ("node", "update")

    def __init__(self, node: str, update: Mapping[str, Any] | None = None) -> None:
        if not isinstance(node, str) or not isinstance(update, Mapping | None):
            raise TypeError(
                f"Send({node!r}, {update!r}): pass a node's name and a dict of fields of the state"
            )
        self.node, self.update = node, dict(update or {})

    def __repr__(self) -> str:
        return f"Send({self.node!r}, {self.update!r})"


class Decision(Generic[R_co]):
    """A router's answer in its own words.

    Args:
        goto: The next node, END, a Send, or several of them; an empty list takes no arrow.
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
        goto: R_co | Send | Sequence[R_co | Send],
        *,
        reason: str = "",
        confidence: float | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(reason, str):
            raise TypeError(f"reason={reason!r}: it must be a str")
        if confidence is not None and not _is_share(confidence):
            raise ValueError(f"confidence={confidence!r}: it must be between 0 and 1")
        self.goto, self.reason = goto, reason.strip()
        self.confidence, self.evidence = confidence, evidence

    def __repr__(self) -> str:
        return f"Decision({self.goto!r}, reason={self.reason!r})"


def _is_share(confidence: float) -> bool:
    try:
        return 0 <= confidence <= 1
    except TypeError as error:
        words = f"confidence={confidence!r}: it must be a number between 0 and 1"
        raise TypeError(words) from error


Route: TypeAlias = R | Decision[R] | Send | Sequence[R | Send]
"""What a router returns: ``-> Route[Literal["draft", "ask_human"]]``."""


class Command:
    """A node's update together with where to go next.

    The targets are declared on the node: ``add_node("plan", plan, targets=["act", END])``.

    Args:
        update: What the node changes, as it would return it without a Command.
        goto: The next node, END, a Send, or several of them; these arrows add to the node's edges.
        reason: Why; recorded with the decision.

    Raises:
        TypeError: The reason is not a str.
    """

    __slots__ = ("goto", "reason", "update")

    def __init__(
        self,
        *,
        update: Mapping[str, Any] | None = None,
        goto: str | Send | Sequence[str | Send] = (),
        reason: str = "",
    ) -> None:
        if not isinstance(reason, str):
            raise TypeError(f"reason={reason!r}: it must be a str")
        self.update, self.goto, self.reason = update, goto, reason

    def __repr__(self) -> str:
        return f"Command(update={self.update!r}, goto={self.goto!r})"
