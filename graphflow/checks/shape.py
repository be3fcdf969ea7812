"""Rules for the form of a graph: what START reaches, where loops end, which joins come together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from graphflow.checks.problem import Found, Problem, listed, shown
from graphflow.checks.subject import Subject
from graphflow.definition import Definition
from graphflow.names import END, START
from graphflow.plan import reach

if TYPE_CHECKING:
    import networkx

__all__ = ["form"]

Arrows: TypeAlias = dict[str, list[str]]
"""Where START, each node and END lead to."""


def form(subject: Subject) -> Found:
    """Look at everything that follows from the arrows alone.

    Source:
        Dominators and components: networkx.
    """
    graph, arrows = subject.graph, _arrows(subject.graph)
    reached = reach({START}, arrows) - {START}
    yield from _reach(graph, arrows, reached)
    yield from _ways_out(graph)
    if arrows[START]:
        yield from _joins(graph, reached)
    yield from _fallbacks(graph, arrows)
    if subject.shape.ends:
        yield from _two_ways_in(subject, arrows)
        yield from _loops(graph, arrows)


def _arrows(graph: Definition) -> Arrows:
    """Map START, the nodes and END to where each leads; wrong names are left out."""
    after, targets = graph.successors(), {END, *graph.nodes}
    arrows = {name: [t for t in after[name] if t in targets] for name in (START, *graph.nodes)}
    return {**arrows, END: []}


def _reach(graph: Definition, arrows: Arrows, reached: set[str]) -> Found:
    """GF107 to GF110: there are nodes, START reaches all of them, and END."""
    if not graph.nodes:
        yield Problem("GF107", "the graph has no nodes", "Add one: @graph.node")
        return
    if not arrows[START]:
        first = next(iter(graph.nodes))
        fix = f"Write graph.add_edge(START, {first!r})"
        yield Problem("GF108", "nothing leaves START, so nothing would run", fix)
        return
    for name in graph.nodes:
        if name not in reached:
            yield Problem(
                "GF109",
                f"START cannot reach node {name!r}",
                f"Add an edge or a router target to it, or graph.remove_node({name!r})",
            )
    if END not in reached and not _names_unknown(graph):
        fix = "Add an edge from the last node to END"
        yield Problem("GF110", "no way leads from START to END", fix)


def _names_unknown(graph: Definition) -> bool:
    """Tell whether a way to END may be hidden behind a wrong name, which is told already."""
    known, after = {END, *graph.nodes}, graph.successors()
    return not all(known.issuperset(after[name]) for name in graph.nodes)


def _ways_out(graph: Definition) -> Found:
    """GF111: something leaves each node, if only to where another problem says that nothing is."""
    after, routed = graph.successors(), {router.source for router in graph.routers}
    for name in graph.nodes:
        if not after[name] and name not in routed:
            fix = f"Write graph.add_edge({name!r}, END) if the branch ends there"
            yield Problem("GF111", f"nothing leaves node {name!r}", fix)


def _joins(graph: Definition, reached: set[str]) -> Found:
    """GF303: START reaches the sources of each join."""
    sources: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.kind == "join" and edge.source in graph.nodes:
            sources.setdefault(edge.target, []).append(edge.source)
    for join, its in sources.items():
        lost = [name for name in its if name not in reached]
        if not lost:
            continue
        end = "it never runs" if join not in reached else "it runs without"
        yield Problem(
            "GF303",
            f"the join {shown(join)} can never collect the arrow of {listed(lost)}, which START"
            f" cannot reach: {end}",
            "Lead a way to each of its sources, or leave that source out of the list",
            "warning",
        )


def _fallbacks(graph: Definition, arrows: Arrows) -> Found:
    """GF307: what runs in a node's place reaches the joins that the node feeds."""
    joins = graph.joins()
    for node in graph.nodes.values():
        if not (node.fallback or node.on_budget):
            continue
        fed = [e.target for e in graph.edges if e.source == node.name and e.target in joins]
        for option, other in (("fallback", node.fallback), ("on_budget", node.on_budget)):
            if other is None or other not in arrows or other == node.name:
                continue
            reached = reach({other}, arrows)
            for join in dict.fromkeys(fed):
                if join not in reached:
                    yield Problem(
                        "GF307",
                        f"node {node.name!r}: when {option}={shown(other)} runs in its place, the"
                        f" join {join!r} runs without it: no way leads there",
                        f"Write graph.add_edge({other!r}, {join!r}) if the join should wait",
                        "warning",
                    )


def _loops(graph: Definition, arrows: Arrows) -> Found:
    """GF201: something can end each loop."""
    import networkx

    shape: networkx.DiGraph[str] = networkx.DiGraph(arrows)
    endless: set[str] = set()
    for part in networkx.strongly_connected_components(shape):
        if _is_loop(shape, part) and all(
            t in part for name in part for t in shape.successors(name)
        ):
            endless |= part
            yield _endless(graph, part, "has no way out")
    fixed = _fixed(graph)
    for part in networkx.strongly_connected_components(fixed):
        if _is_loop(fixed, part) and not part & endless:
            yield _endless(graph, part, "goes round for ever: all its arrows are fixed")


def _is_loop(shape: networkx.DiGraph[str], part: set[str]) -> bool:
    return len(part) > 1 or any(shape.has_edge(name, name) for name in part)


def _endless(graph: Definition, part: set[str], words: str) -> Problem:
    names = [name for name in graph.nodes if name in part]
    return Problem(
        "GF201",
        f"the loop {' -> '.join(names)} {words}",
        "Let a router, a gate or a Command decide in it whether to go on; until then only the"
        " limits of the run stop it",
        "warning",
    )


def _fixed(graph: Definition) -> networkx.DiGraph[str]:
    """Give the arrows that are always taken: the edges of nodes that cannot fall back."""
    import networkx

    fixed: networkx.DiGraph[str] = networkx.DiGraph()
    for edge in graph.edges:
        node = graph.nodes.get(edge.source)
        if node and edge.target in graph.nodes and not (node.fallback or node.on_budget):
            fixed.add_edge(edge.source, edge.target)
    return fixed


def _two_ways_in(subject: Subject, arrows: Arrows) -> Found:
    """GF202: a loop is entered at its head (S10)."""
    # A node that leads to itself is entered nowhere else
    ends = {head: of - {head} for head, of in subject.shape.ends.items() if of != {head}}
    if not ends:
        return
    import networkx  # 0.1 s to import

    dominator = networkx.immediate_dominators(networkx.DiGraph(arrows), START)
    for head in subject.graph.nodes:
        back = ends.get(head, set()) & dominator.keys()
        if any(head not in _dominators(dominator, source) for source in back):
            yield Problem(
                "GF202",
                f"the loop that {head!r} heads can be entered past it",
                "What a round is then depends on the order of declaration, and a join in it may"
                " run early; lead all ways in through one node",
                "warning",
            )


def _dominators(dominator: dict[str, str], node: str) -> Iterator[str]:
    """Give a node and all nodes that every way from START to it leads through."""
    yield node
    while node != START:
        node = dominator[node]
        yield node
