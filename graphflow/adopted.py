"""The graphs that a run was on: each wrote some of its steps, and its words are those of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphflow.decided import Sent

__all__ = ["Adoption", "Frontier", "GraphUse"]


class Frontier(NamedTuple):
    """What a step leaves to be done; see the fields of `StepRecord`."""

    ready: Sequence[str]
    fired: Mapping[str, Sequence[str]]
    held: Mapping[str, Sequence[tuple[str, int]]]
    sends: Mapping[str, Sent]


@dataclass(slots=True)
class Adoption:
    """A run goes on with another graph: its checkpoint once more, in the words of that graph.

    What is stored of the open step is in those words too, from then on.
    """

    step: int
    """The committed step after which it does."""
    place: int
    """Of several after one step, which: 0, 1, ..."""
    graph_digest: str
    graph_version: int
    adopted_at: str
    nodes: Mapping[str, str]
    """The nodes that have another name now: {before: now}."""
    state_json: str | None = None
    """All fields; None: the state is as it was."""
    counters_json: str | None = None
    """None: they are as they were."""
    frontier: Frontier | None = None
    """None: it is as it was."""
    children: Mapping[str, str] = field(default_factory=dict)
    """The runs of subgraphs in the open step whose task has another key now: {run id: key}."""
    dropped: Sequence[str] = ()
    """The items of maps, `map[3]`, whose results and memos go with it: they run again. It is said
    where the adoption is stored, and not stored itself."""
    digest: str = ""


@dataclass(slots=True)
class GraphUse:
    """The steps of a run that one graph wrote."""

    first: int
    """The first of them; it may not be committed yet."""
    digest: str
    version: int
    spec: Mapping[str, Any]
    """See `definition.Definition.spec`."""
    adoption: Adoption | None = None
    """How the run came to it; None of the graph with which the run, or the fork, began."""
