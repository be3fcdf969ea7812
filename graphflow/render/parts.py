"""The parts of a picture: plain data that every renderer says in its own language."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["ArrowState", "NodeKind", "NodeState", "Picture", "PictureArrow", "PictureNode"]
__all__ += ["PictureStep", "Taken"]

NodeKind = Literal["start", "end", "node", "gate"]
NodeState = Literal["static", "ran", "not_reached", "failed", "paused", "next"]
ArrowState = Literal["static", "ran", "untaken"]


@dataclass(frozen=True, slots=True)
class PictureNode:
    """A node as it is drawn. Its texts are clean and on one line, but neither cut nor escaped."""

    name: str
    """As the records have it; `label` is what is shown."""
    label: str
    kind: NodeKind
    state: NodeState
    join: bool = False
    visits: int = 0
    """Steps in which it ran."""
    steps: tuple[int, ...] = ()
    duration_ms: float = 0.0
    """Of all its tasks and failed attempts."""
    tokens: int = 0
    retries: int = 0
    mark: str = ""
    """One word for a state that is not plain: failed, paused, next, waits, ..."""
    why: str = ""
    """What the mark is about, in a few words."""
    words: tuple[str, ...] = ()
    """The small lines under the name."""
    tooltip: str = ""


@dataclass(frozen=True, slots=True)
class PictureArrow:
    """An arrow as it is drawn. Two kinds or two answers between the same nodes are two arrows."""

    source: str
    target: str
    kind: str
    """See `records.ArrowKind`."""
    state: ArrowState
    count: int = 0
    """How often it ran, from the records alone."""
    order: tuple[int, ...] = ()
    """The steps in which it ran; one stands twice when the arrow ran twice in it."""
    label: str = ""
    """What was answered there; empty on a fixed arrow."""
    reason: str = ""
    """Why it was taken the last time: the router's words, or the evidence."""
    loop: bool = False
    """It closes a loop."""
    back: bool = False
    """It closes a loop, or is a gate's `failed`."""
    fallback: bool = False
    main: bool = False
    """It lies on the way that is kept straight."""
    tooltip: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """An arrow that was taken in a step."""

    target: str
    """What is shown of the node; empty for an answer that took no arrow."""
    answer: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PictureStep:
    """One node in one step of the path."""

    step: int
    label: str
    mark: str = ""
    """failed, paused, next, kept, ...; empty in a committed step."""
    words: str = ""
    taken: tuple[Taken, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph, or the path that a run took through it."""

    title: str
    direction: Literal["LR", "TB"]
    nodes: tuple[PictureNode, ...]
    """START, the nodes in the order of declaration, END."""
    arrows: tuple[PictureArrow, ...]
    status: str = ""
    """Of the run; empty for a graph."""
    summary: str = ""
    """The run in one line; empty for a graph."""
    path: tuple[PictureStep, ...] = ()
    """What ran, in order; what is open comes last."""
