"""Rules for the names of nodes: edges, routers, gates and fallbacks lead to nodes that exist."""

from __future__ import annotations

from graphflow.checks.problem import Found, Problem, arrow, shown, unknown_node
from graphflow.checks.subject import Subject
from graphflow.definition import NodeDef
from graphflow.names import END, START

__all__ = ["edges", "gates", "joins", "nodes", "routers"]


def edges(subject: Subject) -> Found:
    """GF101, GF102: both ends of an edge are nodes, or START at its begin, or END at its end."""
    graph = subject.graph
    sources, targets = {START, *graph.nodes}, {END, *graph.nodes}
    for edge in graph.edges:
        for end, allowed in ((edge.source, sources), (edge.target, targets)):
            if end in allowed:
                continue
            if end in {START, END}:
                side = "leave END" if end == END else "lead to START"
                fix = "END is only a target, START only a source"
                yield Problem("GF102", f"an edge cannot {side}: {arrow(edge)}", fix)
            else:
                yield unknown_node(graph, f"edge {arrow(edge)}", end)


def routers(subject: Subject) -> Found:
    """GF101, GF103: a router stands after a node, and declares nodes as its targets."""
    graph = subject.graph
    sources, targets = {START, *graph.nodes}, {END, *graph.nodes}
    for router in graph.routers:
        if router.source not in sources:
            yield unknown_node(graph, f"router {router.name!r}", router.source)
        where = f"router {router.name!r} after {shown(router.source)}"
        if not router.targets:
            yield Problem(
                "GF103",
                f"{where} does not declare where it may lead",
                "Annotate it, -> Literal['draft', 'ask_human'], or pass targets=['draft', ...]",
            )
        for target in router.targets or ():
            if target not in targets:
                yield unknown_node(graph, where, target)


def nodes(subject: Subject) -> Found:
    """GF101, GF306: a node's own targets, its fallback and its on_budget are other nodes."""
    targets = {END, *subject.graph.nodes}
    for node in subject.graph.nodes.values():
        where = f"{node.kind} {node.name!r}"
        for target in node.targets:
            if target not in targets:
                yield unknown_node(subject.graph, where, target)
        for option, target in _instead(node):
            if target == node.name:
                yield Problem(
                    "GF306",
                    f"{where}: {option}={target!r} is the node itself",
                    "Name the node that runs in its place",
                )
            elif target not in targets:
                yield unknown_node(subject.graph, f"{where}, {option}", target)


def _instead(node: NodeDef) -> list[tuple[str, str]]:
    ways = [("fallback", node.fallback), ("on_budget", node.on_budget)]
    return [(option, target) for option, target in ways if target]


def joins(subject: Subject) -> Found:
    """GF104: a join waits for nodes, not for START."""
    for edge in subject.graph.edges:
        if edge.kind == "join" and edge.source == START:
            fix = f"Write graph.add_edge(START, {edge.target!r})"
            yield Problem(
                "GF104", f"START cannot be among the sources of a join: {arrow(edge)}", fix
            )


def gates(subject: Subject) -> Found:
    """GF105: `tries` and `otherwise` come together."""
    for node in subject.graph.nodes.values():
        gate = node.gate
        if gate is not None and (gate.tries is None) != (gate.otherwise is None):
            yield Problem(
                "GF105",
                f"gate {node.name!r} has {'tries' if gate.tries else 'otherwise'} without"
                f" {'otherwise' if gate.tries else 'tries'}",
                "Pass both: tries=3, otherwise='template'",
            )
