"""Finds what is wrong with a graph before it runs: all problems at once, each with a fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from graphflow.definition import Definition, GateDef, NodeDef
from graphflow.errors import did_you_mean
from graphflow.names import END, START
from graphflow.plan import Shape
from graphflow.state.problems import problems_of
from graphflow.state.schema import StateSchema

if TYPE_CHECKING:
    import networkx

__all__ = ["Problem", "find_problems"]


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


def find_problems(graph: Definition) -> list[Problem]:
    """Check a graph.

    Returns:
        All problems, errors first; empty when there are none.

    Source:
        Dominators and reachability: networkx.
    """
    rules: list[Callable[[Definition], Found]] = [_state, _names, _routers, _lists, _gates]
    problems = [problem for rule in rules for problem in rule(graph)]
    shape = _shape(graph)
    for look in (_reach, _ways_out, _loops):
        problems += look(graph, shape)
    return sorted(problems, key=lambda problem: problem.level)


def _state(graph: Definition) -> Found:
    for words in problems_of(graph.state):
        yield Problem("GF001", words, "The state must be read back exactly as it was stored")


def _names(graph: Definition) -> Found:
    for edge in graph.edges:
        for end, allowed in (
            (edge.source, {START, *graph.nodes}),
            (edge.target, {END, *graph.nodes}),
        ):
            if end in allowed:
                continue
            if end in {START, END}:
                side = "leave END" if end == END else "lead to START"
                fix = "END is only a target, START only a source"
                yield Problem("GF102", f"an edge cannot {side}: {_arrow(edge)}", fix)
            else:
                yield _unknown(graph, f"edge {_arrow(edge)}", end)
    for router in graph.routers:
        if router.source not in {START, *graph.nodes}:
            yield _unknown(graph, f"router {router.name!r}", router.source)


def _routers(graph: Definition) -> Found:
    for router in graph.routers:
        where = f"router {router.name!r} after {_shown(router.source)}"
        if not router.targets:
            yield Problem(
                "GF103",
                f"{where} does not declare where it may lead",
                "Annotate it, -> Literal['draft', 'ask_human'], or pass targets=['draft', ...]",
            )
        for target in router.targets or ():
            if target not in {END, *graph.nodes}:
                yield _unknown(graph, where, target)
    for node in graph.nodes.values():
        for target in node.targets:
            if target not in {END, *graph.nodes}:
                yield _unknown(graph, f"{node.kind} {node.name!r}", target)


def _lists(graph: Definition) -> Found:
    for edge in graph.edges:
        if edge.kind == "join" and edge.source == START:
            fix = f"Write graph.add_edge(START, {edge.target!r})"
            yield Problem(
                "GF104", f"START cannot be among the sources of a join: {_arrow(edge)}", fix
            )


def _gates(graph: Definition) -> Found:
    fields = getattr(graph.state, "model_fields", {})
    for node in graph.nodes.values():
        gate = node.gate
        if gate is None:
            continue
        if (gate.tries is None) != (gate.otherwise is None):
            yield Problem(
                "GF105",
                f"gate {node.name!r} has {'tries' if gate.tries else 'otherwise'} without"
                f" {'otherwise' if gate.tries else 'tries'}",
                "Pass both: tries=3, otherwise='template'",
            )
        if gate.feedback is None:
            continue
        fix = f"Declare it: {gate.feedback}: list[str] = Field(default_factory=list)"
        if gate.feedback not in fields:
            words = (
                f"the state has no field {gate.feedback!r}.{did_you_mean(gate.feedback, fields)}"
            )
            yield Problem("GF106", f"gate {node.name!r}: {words}", fix)
        elif not _takes_reasons(graph.state, gate):
            words = f"the field {gate.feedback!r} takes neither a list of str nor a str"
            yield Problem("GF106", f"gate {node.name!r}: {words}", fix)


def _takes_reasons(state: type, gate: GateDef) -> bool:
    """Try whether a gate's feedback fits its field."""
    if problems_of(state):
        return True  # told already
    codec = StateSchema(state).codec.fields[str(gate.feedback)]
    try:
        codec.read('"a reason"' if gate.as_text else '["a reason"]')
    except ValueError:
        return False
    return True


def _shape(graph: Definition) -> networkx.DiGraph[str]:
    import networkx  # 0.1 s to import

    shape: networkx.DiGraph[str] = networkx.DiGraph()
    shape.add_nodes_from([START, *graph.nodes, END])
    for source in (START, *graph.nodes):
        known = [t for t in graph.successors(source) if t == END or t in graph.nodes]
        shape.add_edges_from((source, target) for target in known)
    return shape


def _reach(graph: Definition, shape: networkx.DiGraph[str]) -> Found:
    import networkx

    if not graph.nodes:
        yield Problem("GF107", "the graph has no nodes", "Add one: @graph.node")
        return
    if not any(shape.successors(START)):
        first = next(iter(graph.nodes))
        fix = f"Write graph.add_edge(START, {first!r})"
        yield Problem("GF108", "nothing leaves START, so nothing would run", fix)
        return
    reached = networkx.descendants(shape, START)
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
    known = {END, *graph.nodes}
    return any(target not in known for name in graph.nodes for target in graph.successors(name))


def _ways_out(graph: Definition, shape: networkx.DiGraph[str]) -> Found:
    for name, node in graph.nodes.items():
        if not any(shape.successors(name)) and not _undeclared(graph, node):
            fix = f"Write graph.add_edge({name!r}, END) if the branch ends there"
            yield Problem("GF111", f"nothing leaves node {name!r}", fix)


def _undeclared(graph: Definition, node: NodeDef) -> bool:
    """Tell whether something leaves the node that another problem already speaks of."""
    return any(r.source == node.name for r in graph.routers) or bool(graph.successors(node.name))


def _loops(graph: Definition, shape: networkx.DiGraph[str]) -> Found:
    import networkx

    yield from _two_ways_in(graph, shape)
    for part in networkx.strongly_connected_components(shape):
        if len(part) == 1 and not any(shape.has_edge(name, name) for name in part):
            continue
        names = [name for name in graph.nodes if name in part]
        if all(target in part for name in part for target in shape.successors(name)):
            yield Problem(
                "GF201",
                f"the loop {' -> '.join(names)} has no way out",
                "Let a router or gate in it lead on; until then only the limits stop it",
                "warning",
            )


def _two_ways_in(graph: Definition, shape: networkx.DiGraph[str]) -> Found:
    """Find the heads of loops that can be entered past their head (S10)."""
    import networkx

    rank, dominator = Shape(graph).rank, networkx.immediate_dominators(shape, START)
    for head in graph.nodes:
        back = [
            source
            for source in shape.predecessors(head)
            if source in dominator and head in dominator and rank[head] <= rank[source]
        ]
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


def _unknown(graph: Definition, where: str, name: str) -> Problem:
    hint = did_you_mean(name, [*graph.nodes, "END"]).strip()
    return Problem("GF101", f"{where}: there is no node {name!r}", hint or "Add it")


def _arrow(edge: Any) -> str:
    return f"{_shown(edge.source)} -> {_shown(edge.target)}"


def _shown(name: str) -> str:
    return {START: "START", END: "END"}.get(name, repr(name))
