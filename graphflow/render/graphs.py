"""The graphs that a run was on: what of earlier ones is still drawn, and what changed between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from graphflow.change.compare import alike
from graphflow.records import GraphUse, RunRecords
from graphflow.render.wording import counted, one_line

__all__ = ["GONE", "changes_of", "changes_told", "with_gone"]

GONE: Final = "gone"
"""Is said in the spec of a node that ran, and that the last graph does not have."""
_WAYS: Final = frozenset({"targets", "gate", "fallback", "on_budget"})
_MOST: Final = 4  # renamed nodes that are named


def with_gone(spec: Mapping[str, Any], records: RunRecords) -> Mapping[str, Any]:
    """Add the nodes of earlier graphs that ran: without what they might have led to.

    Args:
        spec: The graph, see `Definition.spec`.
        records: A run of it.
    """
    if not records.graphs:
        return spec
    known = {node["name"] for node in spec.get("nodes", ())}
    ran = {task.node for step in records.steps for task in step.tasks} - known
    found = {
        node["name"]: {key: of for key, of in node.items() if key not in _WAYS} | {GONE: True}
        for use in records.graphs
        for node in use.spec.get("nodes", ())
        if node["name"] in ran
    }
    return {**spec, "nodes": [*spec.get("nodes", ()), *found.values()]} if found else spec


def changes_of(records: RunRecords) -> tuple[str, ...]:
    """Say in a line each how a run came to other graphs."""
    return tuple(
        f"after step {after.first - 1}: {', '.join(_change(before, after))}"
        for before, after in pairwise(records.graphs)
        if _differ(before, after)
    )


def changes_told(records: RunRecords) -> str:
    """Say in a few words that the graph of a run changed; empty when it did not."""
    steps = [
        after.first - 1
        for before, after in pairwise(records.graphs)
        if after.adoption is not None and _differ(before, after)
    ]
    if not steps:
        return ""
    return f"graph changed after step {steps[0]}" + (
        f" and {counted(len(steps) - 1, 'more time')}" if len(steps) > 1 else ""
    )


def _differ(before: GraphUse, after: GraphUse) -> bool:
    """Tell whether graphs differ, and not only in how much a graphflow writes down of them."""
    if before.digest == after.digest:
        return False
    nodes = [use.spec.get("nodes", ()) for use in (before, after)]
    return _said(before) != _said(after) or not alike(*nodes)


def _said(use: GraphUse) -> tuple[object, ...]:
    fields = use.spec.get("state", {}).get("fields", {})
    told = {name: (field.get("type"), field.get("reducer")) for name, field in fields.items()}
    return use.version, told, *(use.spec.get(part) for part in ("edges", "routers"))


def _change(before: GraphUse, after: GraphUse) -> Iterator[str]:
    if before.version != after.version:
        yield f"version {before.version} → {after.version}"
    adoption = after.adoption
    if adoption is None:
        yield "the fork was made with another graph"
        return
    yield from _renamed([(old, new) for old, new in adoption.nodes.items()])
    if adoption.state_json is not None:
        yield "state in today's fields"
    if before.version == after.version and not adoption.nodes and adoption.state_json is None:
        yield "other code or arrows"


def _renamed(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for old, new in pairs[:_MOST]:
        yield f"{one_line(old)} is {one_line(new)}"
    if len(pairs) > _MOST:
        yield f"{len(pairs) - _MOST} more names"
