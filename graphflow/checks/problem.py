"""What a check finds: a code that stays, what is wrong and where, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from graphflow.definition import Definition, EdgeDef
from graphflow.errors import did_you_mean
from graphflow.names import END, START

__all__ = ["Found", "Problem", "arrow", "listed", "shown", "unknown_node"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a graph.

    Attributes:
        code: Stays the same over versions: `GF101`.
        message: What is wrong, and where.
        fix: What to write instead.
        level: An error keeps the graph from being compiled; a warning does not.
    """

    code: str
    message: str
    fix: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.code} {self.message}. {self.fix}"


Found: TypeAlias = Iterator[Problem]


def unknown_node(graph: Definition, where: str, name: str) -> Problem:
    """Say that there is no node of a name."""
    hint = did_you_mean(name, [*graph.nodes, "END"]).strip()
    return Problem("GF101", f"{where}: there is no node {name!r}", hint or "Add it")


def arrow(edge: EdgeDef) -> str:
    """Write an edge as it is read: `'draft' -> END`."""
    return f"{shown(edge.source)} -> {shown(edge.target)}"


def shown(name: str) -> str:
    """Write the name of a node, of START or of END."""
    return {START: "START", END: "END"}.get(name, repr(name))


def listed(names: Iterable[str]) -> str:
    """Write several names: `'a', 'b' and 'c'`."""
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last}" if first else last
