"""The parts of a picture: plain data that every renderer says in its own language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["ArrowState", "NodeKind", "NodeState", "Picture", "PictureArrow", "PictureNode"]
__all__ += ["PictureStep", "Taken", "walk"]

NodeKind = Literal["start", "end", "node", "gate", "question", "map", "graph"]
NodeState = Literal[
    "static",
    "ran",
    "not_reached",
    "failed",
    "fell_back",
    "over_budget",
    "asking",
    "paused",
    "next",
]
ArrowState = Literal["static", "ran", "untaken"]


@dataclass(frozen=True, slots=True)
class PictureNode:
    """A node as it is drawn. Its texts are clean and on one line, but neither cut nor escaped."""

    name: str
    """As the records have it; `label` is what is shown."""
    label: str
    kind: NodeKind
    state: NodeState
    id: str = ""
    """What a page finds it by: `n-draft`; in a subgraph `n-research.read`."""
    join: bool = False
    visits: int = 0
    """Steps in which it ran; of a node in a subgraph, over all runs of that."""
    steps: tuple[int, ...] = ()
    items: int | None = None
    """Of a map: how many it ran on, as far as is known."""
    duration_ms: float = 0.0
    """Of all its tasks and failed attempts, by the clock: what ran side by side counts once."""
    tokens: int = 0
    """Of a subgraph, those of all that ran in it."""
    retries: int = 0
    mark: str = ""
    """One word for a state that is not plain: failed, asks, paused, next, waits, ..."""
    why: str = ""
    """What the mark is about, in a few words."""
    words: tuple[str, ...] = ()
    """The small lines under the name."""
    tooltip: str = ""
    inside: Picture | None = None
    """Of a subgraph: what is in it."""


@dataclass(frozen=True, slots=True)
class PictureArrow:
    """An arrow as it is drawn. Two kinds or two answers between the same nodes are two arrows."""

    source: str
    target: str
    kind: str
    """See `records.ArrowKind`; of a choice that has led to Sends alone, send."""
    state: ArrowState
    id: str = ""
    """What a page finds it by: `e-draft-quality`, and `e-draft-quality-2` for a second one."""
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
    """It replaces the arrows of a task that failed for good, or used up its budget."""
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

    step: int | None
    """None: the head of one of several runs of a subgraph."""
    label: str
    mark: str = ""
    """failed, asks, paused, next, kept, ...; empty in a committed step."""
    words: str = ""
    taken: tuple[Taken, ...] = ()
    depth: int = 0
    """How many subgraphs it lies in; it follows the entry of the subgraph's task."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph, or the path that a run took through it."""

    title: str
    direction: Literal["LR", "TB"]
    nodes: tuple[PictureNode, ...]
    """START, the nodes in the order of declaration, END."""
    arrows: tuple[PictureArrow, ...]
    status: str = ""
    """Of the run; empty for a graph, and in a subgraph."""
    summary: str = ""
    """The run in one line; empty for a graph, and in a subgraph."""
    path: tuple[PictureStep, ...] = ()
    """What ran, in order; what is open comes last. Empty in a subgraph: the whole path tells it."""
    changes: tuple[str, ...] = ()
    """How the run came to other graphs, a line each."""
    untaken: str = "not taken"
    """What is said of the arrows that did not run: what was pruned may have taken them."""


def walk(picture: Picture) -> Iterator[Picture]:
    """Give a picture, then those of its subgraphs, each before what is in it."""
    yield picture
    for node in picture.nodes:
        if node.inside is not None:
            yield from walk(node.inside)
