"""Rules for nodes that can run in the same step: two of them must not write one field (S3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from graphflow.checks.branches import run_together
from graphflow.checks.problem import Found, Problem, listed
from graphflow.checks.subject import Subject

__all__ = ["written_twice"]

Pair: TypeAlias = frozenset[str]

_SHOWN = 3


def written_twice(subject: Subject) -> Found:
    """GF301, GF302: a field without a reducer has one writer in a step.

    GF302 is certain: fixed arrows of one node lead to two nodes whose definitions name the field.
    GF301 follows the arrows and the updates that are seen in the source; it speaks only where one
    of the two nodes writes the field whatever happens: two that write it under conditions may
    well exclude each other.
    """
    writers = _writers(subject)
    nodes = frozenset(node for names in writers.values() for node in names)
    found = run_together(subject, nodes) if nodes else set()
    certain = _certain(subject, found)
    for field, names in writers.items():
        both = [pair for pair in found if pair <= names.keys() and any(names[n] for n in pair)]
        sure = [pair for pair in both if pair in certain and pair <= _declaring(subject, field)]
        if both:
            yield _problem(subject, field, sure or both, certain=bool(sure))


def _writers(subject: Subject) -> dict[str, dict[str, bool]]:
    """Give the fields that have several writers and no reducer.

    Returns:
        Of each, the nodes that write it, and whether they do whatever happens.
    """
    found: dict[str, dict[str, bool]] = {}
    reducers = subject.schema.reducers if subject.schema else {}
    for part in subject.usage.parts:
        if part.node is not None:
            for field in part.writes.may - reducers.keys():
                found.setdefault(field, {})[part.node] = field in part.writes.always
    return {
        f: names for f, names in sorted(found.items()) if len(names) > 1 and any(names.values())
    }


def _declaring(subject: Subject, field: str) -> set[str]:
    return {str(part.node) for part in subject.usage.parts if field in part.declared}


def _certain(subject: Subject, found: set[Pair]) -> set[Pair]:
    """Give the pairs of nodes that fixed arrows of one source lead to, and that are no joins."""
    joins = subject.graph.joins()
    before: dict[str, set[str]] = {}
    for edge in subject.graph.edges:
        if edge.target not in joins:
            before.setdefault(edge.target, set()).add(edge.source)
    return {pair for pair in found if set.intersection(*(before.get(n, set()) for n in pair))}


def _problem(subject: Subject, field: str, pairs: Sequence[Pair], *, certain: bool) -> Problem:
    order = list(subject.graph.nodes)
    first = sorted(sorted(pair, key=order.index) for pair in pairs)
    words = ", ".join(map(listed, first[:_SHOWN]))
    more = f" (and {len(first) - _SHOWN} more pairs)" if len(first) > _SHOWN else ""
    can = "run" if certain else "can run"
    return Problem(
        "GF302" if certain else "GF301",
        f"nodes {words}{more} {can} in the same step and write {field!r}, which has no reducer",
        f"Give it one, {field}: Annotated[..., append]; or let one node write it; or lead from the"
        " one node to the other",
        "error" if certain else "warning",
    )
