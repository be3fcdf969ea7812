"""Graphs of two simple shapes, of any bodies: one after the other, or side by side."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

from graphflow import END, START, StateGraph

__all__ = ["line", "wide"]

S = TypeVar("S", bound=BaseModel)


def line(state: type[S], /, **bodies: Any) -> StateGraph[S]:
    """Make a chain of nodes."""
    graph = StateGraph(state, name="line")
    names = list(bodies)
    for name, body in bodies.items():
        graph.add_node(name, body)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph


def wide(state: type[S], /, **bodies: Any) -> StateGraph[S]:
    """Make nodes side by side."""
    graph = StateGraph(state, name="wide")
    for name, body in bodies.items():
        graph.add_node(name, body)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph
