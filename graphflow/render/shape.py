"""The form of a graph as its spec gives it: names, arrows and ranks, worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphflow.names import END, START
from graphflow.render.ranks import order
from graphflow.render.ways import Way, declared

__all__ = ["Shape", "shape_of"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of a graph."""

    specs: Mapping[str, Mapping[str, Any]]
    """Node -> its spec."""
    names: list[str]
    """START, the nodes, what arrows name without its being a node (yet), and END."""
    ways: list[Way]
    """All arrows, in the order of declaration."""
    rank: Mapping[str, int]
    """What `ranks.order` gave."""


def shape_of(spec: Mapping[str, Any], ways: list[Way] | None = None) -> Shape:
    """Work out the form of a graph.

    Args:
        spec: See `Definition.spec`.
        ways: Its arrows, with those that ran without being declared; None: the declared ones.
    """
    found = declared(spec) if ways is None else ways
    specs = {node["name"]: node for node in spec.get("nodes", ())}
    named = [*specs, *(end for way in found for end in (way.source, way.target))]
    names = [START, *dict.fromkeys(n for n in named if n not in (START, END)), END]
    return Shape(specs, names, found, order(names, found))
