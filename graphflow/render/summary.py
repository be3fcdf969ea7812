"""A run in one line: how it stands, where, and what it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import loads
from typing import Any

from graphflow.records import RunHeader, RunRecords
from graphflow.render.graphs import changes_told
from graphflow.render.history import tally, took
from graphflow.render.parts import NodeState, PictureNode
from graphflow.render.wording import counted, cut, number, one_line

__all__ = ["summary_of"]

_ID = 12
"""Characters of the id of the run that was forked: those that tell the time, and two more."""


def summary_of(records: RunRecords, nodes: Sequence[PictureNode]) -> str:
    """Say in one line how a run stands and what it took.

    Args:
        records: Of the run.
        nodes: Those of its picture.
    """
    header = records.header
    parts = [header.status + (" (recovered)" if records.recovered else _where(header, nodes))]
    if header.fork_of:
        parts.append(_fork(header))
    if changed := changes_told(records):
        parts.append(changed)
    parts.append(_steps(records))
    ms, tokens = sum(took(records, lambda step, _: step).values()), sum(n.tokens for n in nodes)
    parts.append(tally(ms, tokens))
    bound = _dict(loads(header.budget_json)).get("tokens")
    if bound is not None and tokens > bound:
        parts.append(f"over its budget of {number(bound)} tok")
    if retries := _retries(nodes):
        parts.append(counted(retries, "retry"))
    return " · ".join(parts)


def _steps(records: RunRecords) -> str:
    if not records.steps:
        return counted(0, "step")
    first, last = records.steps[0].step, records.steps[-1].step
    return counted(last, "step") + (f", those before {first} pruned" if first else "")


def _retries(nodes: Sequence[PictureNode]) -> int:
    return sum(n.retries + (_retries(n.inside.nodes) if n.inside else 0) for n in nodes)


def _fork(header: RunHeader) -> str:
    """Say where a fork comes from, and what was changed there."""
    made = loads(header.fork_json or "{}")
    chosen = [f"{router} → {answer}" for router, answer in _dict(made.get("choose")).items()]
    changed = ", ".join([*_dict(made.get("update")), *chosen])
    with_ = f" with {cut(one_line(changed), 30)}" if changed else ""
    return f"fork of {cut(header.fork_of or '', _ID + 1)} at step {header.fork_step}{with_}"


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _where(header: RunHeader, nodes: Sequence[PictureNode]) -> str:
    """Say where a run stopped, and why if it paused."""
    if header.status == "done":
        return ""
    if at := list(_paths(nodes, "failed")):
        return f" at {cut(', '.join(at), 40)}"
    if at := list(_paths(nodes, "asking")):
        return f" at {cut(', '.join(at), 40)} (asks)"
    paused = [node for node in nodes if node.state == "paused"]
    if paused:
        place = "in" if paused[0].mark == "limit" else "before"
        before = cut(", ".join(node.label for node in paused), 40)
        return f" {place} {before}" + (f" ({paused[0].why})" if paused[0].why else "")
    return f" ({cut(header.reason, 60)})" if header.reason else ""


def _paths(nodes: Sequence[PictureNode], state: NodeState) -> Iterator[str]:
    """Name the nodes in a state: of a subgraph those in it, as `research/read`."""
    for node in nodes:
        if node.state == state:
            within = list(_paths(node.inside.nodes, state)) if node.inside else []
            yield from (f"{node.label}/{name}" for name in within) if within else [node.label]
