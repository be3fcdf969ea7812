"""Rules for what a graph says of its past: it leads to what the graph has today."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from graphflow.checks.problem import Found, Problem
from graphflow.checks.subject import Subject
from graphflow.errors import did_you_mean

__all__ = ["migrations", "renames"]


def renames(subject: Subject) -> Found:
    """GF112: what was renamed is there under its new name."""
    graph = subject.graph
    fields = getattr(graph.state, "model_fields", {})
    yield from _missing("renamed", "node", graph.changes.nodes, graph.nodes)
    yield from _missing("renamed_field", "field", graph.changes.fields, fields)


def _missing(verb: str, kind: str, renamed: Mapping[str, str], known: Collection[str]) -> Found:
    for old, new in renamed.items():
        if new not in known and new not in renamed:
            yield Problem(
                "GF112",
                f"graph.{verb}({old!r}, {new!r}): there is no {kind} {new!r}",
                did_you_mean(new, known).strip() or "Remove the line",
            )


def migrations(subject: Subject) -> Found:
    """GF113: migrations lead to the version of the graph, or to one before it."""
    graph = subject.graph
    for one in graph.changes.migrations.values():
        if one.after > graph.version:
            yield Problem(
                "GF113",
                f"{one.name} leads past version {graph.version}, which the graph has",
                f"Write StateGraph(..., version={one.after})",
            )
