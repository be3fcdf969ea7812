"""A graph under examination, with what several rules need of it, worked out once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphflow.checks.usage import Usage, usage_of
from graphflow.dataflow.source import Sources
from graphflow.definition import Definition
from graphflow.errors import StateError
from graphflow.once import once
from graphflow.plan import Shape
from graphflow.state.problems import problems_of
from graphflow.state.schema import StateSchema, schema_of

__all__ = ["Subject"]


@dataclass(frozen=True)
class Subject:
    """A graph that rules look at.

    Attributes:
        graph: The graph.
        sources: Where the sources of its functions are found.
        given: The fields that its parent gives it.
    """

    graph: Definition
    sources: Sources = field(default_factory=Sources)
    given: frozenset[str] = frozenset()

    @once
    def state_problems(self) -> list[str]:
        """What keeps the state class from being one."""
        return [] if self.schema is not None else problems_of(self.graph.state)

    @once
    def schema(self) -> StateSchema[Any] | None:
        """The state; None when it cannot be one, which another rule tells."""
        try:
            return schema_of(self.graph.state)
        except StateError:
            return None

    @once
    def usage(self) -> Usage:
        """What the parts of the graph read and write; nothing when the state is none."""
        return Usage([]) if self.schema is None else usage_of(self.graph, self.sources)

    @once
    def shape(self) -> Shape:
        """The ranks and loops of the graph."""
        return Shape(self.graph)
