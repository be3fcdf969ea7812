"""What a drawing shows, decided once: a graph, and the path that a run took through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphflow.names import END, START
from graphflow.records import RunRecords, RunStatus
from graphflow.render import ranks
from graphflow.render.arrows import arrows_of
from graphflow.render.graphs import changes_of, with_gone
from graphflow.render.history import facts_of
from graphflow.render.labels import arrow_ids, node_ids
from graphflow.render.nodes import Told, ran_node, static_node, terminal
from graphflow.render.parts import Picture, PictureArrow, PictureNode, PictureStep
from graphflow.render.path import path_of
from graphflow.render.renamed import in_todays_names
from graphflow.render.shape import Shape, shape_of
from graphflow.render.stops import Stop, most_telling, status_within, stops_of
from graphflow.render.summary import summary_of
from graphflow.render.ways import count, declared
from graphflow.render.wording import node_of, one_line

__all__ = ["Picture", "PictureArrow", "PictureNode", "PictureStep", "picture"]

_LONGEST_ROW = 9
"""Arrows, START's and END's included, that go from left to right; longer graphs go downwards."""

Spec = Mapping[str, Any]


def picture(spec: Spec, records: RunRecords | None = None) -> Picture:
    """Decide what a drawing shows.

    An arrow is shown as run when the records of the steps hold it, and only then; every arrow
    that the graph allows is shown, run or not. A subgraph is shown in its node, with all that ran
    in it, however often it did.

    Args:
        spec: The graph, see `Definition.spec`.
        records: What a run of it did; None for the graph alone.

    Returns:
        A picture, for `dot`, `mermaid` and `text`.
    """
    if records is None:
        return _build(_Seen(spec, None))[0]
    records = in_todays_names(records)
    status, spec = records.header.status, with_gone(spec, records)
    drawn, _ = _build(_Seen(spec, ((records, status),)))
    path = tuple(path_of(records, spec, status))
    summary, changes = summary_of(records, drawn.nodes), changes_of(records)
    return replace(drawn, status=status, summary=summary, path=path, changes=changes)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A graph, and the runs of it that are shown at once."""

    spec: Spec
    runs: Sequence[tuple[RunRecords, RunStatus]] | None
    """Each with how it stands; None for the graph alone."""
    within: str = ""
    """Of a subgraph, what the ids of its parts begin with."""


def _build(seen: _Seen) -> tuple[Picture, int]:
    """Make a picture, and measure its longest way."""
    ways = declared(seen.spec)
    for records, _ in seen.runs or ():
        count(ways, records.steps)
    shape = shape_of(seen.spec, ways)
    ids = dict(zip(shape.names, node_ids(shape.names, seen.within), strict=True))
    inner = {
        name: _build(_Seen(node["graph"], _children(seen, shape, name), f"{ids[name][2:]}."))
        for name, node in shape.specs.items()
        if node.get("graph")
    }
    lengths = {name: length for name, (_, length) in inner.items()}
    longest, left = ranks.reaches(ways, shape.rank, lengths)
    straight = ranks.main_way(ways, shape.rank, left)
    names = arrow_ids([(way.source, way.target) for way in ways], seen.within)
    runs = None if seen.runs is None else len(seen.runs)
    drawn = Picture(
        title=one_line(str(seen.spec.get("name") or "graph")),
        direction="LR" if longest <= _LONGEST_ROW else "TB",
        nodes=_nodes(seen, shape, ids, {name: inside for name, (inside, _) in inner.items()}),
        arrows=arrows_of(shape, names, straight, runs, _untaken(seen)),
        untaken=_untaken(seen),
    )
    return drawn, longest


def _untaken(seen: _Seen) -> str:
    """Say that an arrow did not run, as far as can be told when steps were pruned."""
    begun = [records.steps[0].step for records, _ in seen.runs or () if records.steps]
    first = max(begun, default=0)
    return f"not taken since step {first}" if first > 0 else "not taken"


def _children(
    seen: _Seen, shape: Shape, name: str
) -> tuple[tuple[RunRecords, RunStatus], ...] | None:
    """Find the runs of a subgraph."""
    if seen.runs is None:
        return None
    return tuple(
        (child, status_within(child, records, status))
        for records, status in seen.runs
        for child in records.children
        if node_of(child.header.parent_key or "", shape.rank) == name
    )


def _nodes(
    seen: _Seen, shape: Shape, ids: Mapping[str, str], inside: Mapping[str, Picture]
) -> tuple[PictureNode, ...]:
    joins = _joins(shape)
    told = [
        Told(name, ids[name], shape.specs.get(name), joins.get(name), inside=inside.get(name))
        for name in shape.names
    ]
    if seen.runs is None:
        routers = seen.spec.get("routers", ())
        aimless = {r["source"]: r["name"] for r in routers if not r.get("targets")}
        return tuple(static_node(one, aimless.get(one.name)) for one in told)
    facts = facts_of((records for records, _ in seen.runs), shape.rank)
    stops = most_telling(_latest(seen, shape))
    ended = any(way.target == END and way.steps for way in shape.ways)
    begun = any(records.steps for records, _ in seen.runs)
    created = seen.runs[0][0].header.created_at if seen.runs else ""
    return tuple(
        _terminal(one, begun=begun, ended=ended)
        if one.name in (START, END)
        else ran_node(
            replace(
                one,
                fact=facts.get(one.name),
                stop=stops.get(one.name),
                several=len(seen.runs) > 1,
                begun=created,
            )
        )
        for one in told
    )


def _terminal(told: Told, *, begun: bool, ended: bool) -> PictureNode:
    ran = begun and (ended or told.name == START)
    return terminal(told.name, told.id, "ran" if ran else "not_reached")


def _joins(shape: Shape) -> dict[str, list[str]]:
    """List the joins, with the nodes that arrows may come from."""
    found = {way.target for way in shape.ways if way.kind == "join"}
    found |= {name for name, node in shape.specs.items() if node.get("defer")}
    sources: dict[str, list[str]] = {name: [] for name in found - {END}}
    for way in shape.ways:
        if way.target in sources:
            sources[way.target].append(way.source)
    return sources


def _latest(seen: _Seen, shape: Shape) -> list[dict[str, Stop]]:
    """Say how the last run of the graph stands; of a subgraph all runs of one step are the last."""
    if not seen.runs:
        return []
    last = seen.runs[-1][0].header.parent_step
    return [
        stops_of(records, shape, status)
        for records, status in seen.runs
        if records.header.parent_step == last
    ]
