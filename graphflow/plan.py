"""A graph made ready to run: frozen, with numbers for names, and which joins wait for what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphflow.definition import Definition, GateDef, NodeDef
from graphflow.names import END, START
from graphflow.records import ArrowKind
from graphflow.state.schema import StateSchema

__all__ = ["Plan", "PlanNode", "PlanRouter", "Shape"]


@dataclass(frozen=True, slots=True)
class PlanRouter:
    """A router, ready to be called."""

    source: str
    name: str
    fn: Callable[[Any], Any]
    targets: tuple[str, ...]
    answers: Mapping[Any, str] | None


@dataclass(frozen=True, slots=True)
class PlanNode:
    """A node (or START) with everything that leaves it."""

    name: str
    order: int
    """Its place in the declaration; START is -1."""
    fn: Callable[..., Any]
    gate: GateDef | None
    targets: tuple[str, ...]
    is_async: bool
    takes_context: bool
    edges: tuple[tuple[str, ArrowKind], ...]
    """In the declaration order of the targets, END last."""
    routers: tuple[PlanRouter, ...]


class Plan:
    """A compiled graph.

    Args:
        definition: The graph; it must have been checked.
        schema: Its state.
        watches: Whether bodies and routers are watched for changing the state in place.

    Attributes:
        nodes: By name, in declaration order; START is among them.
        joins: The names of the joins.
    """

    def __init__(
        self, definition: Definition, schema: StateSchema[Any], *, watches: bool = False
    ) -> None:
        self.name, self.schema, self.definition = definition.name, schema, definition
        self.watches = watches
        self.joins = {e.target for e in definition.edges if e.kind == "join"}
        self.joins |= {node.name for node in definition.nodes.values() if node.defer}
        self.joins.discard(END)
        order = {name: i for i, name in enumerate([START, *definition.nodes, END], start=-1)}
        edges, routers = _by_source(definition, order)
        start = NodeDef(START, _nothing)
        self.nodes = {
            node.name: PlanNode(
                node.name,
                order[node.name],
                node.fn,
                node.gate,
                node.targets,
                node.is_async,
                node.takes_context,
                tuple(edges.get(node.name, ())),
                tuple(routers.get(node.name, ())),
            )
            for node in (start, *definition.nodes.values())
        }
        self._waits: dict[str, frozenset[str]] = {}
        self._order = order
        self._shape: Shape | None = None

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Sort names of nodes by declaration."""
        return sorted(names, key=self._order.__getitem__)

    def must_wait(self, join: str, ready: Iterable[str], held: Iterable[str]) -> list[str]:
        """Say for which live nodes a join with an arrival waits (S9, S10).

        Args:
            join: The join.
            ready: The nodes that run next.
            held: The other joins that have an arrival.

        Returns:
            Those live nodes that can still reach the join in this round; empty: it runs now.
        """
        if join not in self._waits:
            self._waits[join] = self.shape.waits(join)
        waits, loops = self._waits[join], self.shape.loops
        live = [name for name in ready if name in waits]
        return live + [h for h in held if h in waits and join not in loops.get(h, ())]

    @property
    def shape(self) -> Shape:
        """The ranks and loops of the graph; worked out when a join first needs them."""
        if self._shape is None:
            self._shape = Shape(self.definition)
        return self._shape


def _nothing(_: object) -> None:
    """START has no body."""


def _by_source(
    definition: Definition, order: Mapping[str, int]
) -> tuple[dict[str, list[tuple[str, ArrowKind]]], dict[str, list[PlanRouter]]]:
    edges: dict[str, list[tuple[str, ArrowKind]]] = {}
    for edge in sorted(definition.edges, key=lambda e: (order[e.target], e.kind)):
        kind: ArrowKind = "edge" if edge.target == END else edge.kind
        edges.setdefault(edge.source, []).append((edge.target, kind))
    routers: dict[str, list[PlanRouter]] = {}
    for r in definition.routers:
        router = PlanRouter(r.source, r.name, r.fn, tuple(r.targets or ()), r.answers)
        routers.setdefault(r.source, []).append(router)
    return edges, routers


class Shape:
    """Ranks, loops and reachability: all that joins need to know of the graph's form."""

    def __init__(self, definition: Definition) -> None:
        names = [START, *definition.nodes]
        place = {name: i for i, name in enumerate(names)}
        self.after = {
            name: sorted(
                (t for t in definition.successors(name) if t in place), key=place.__getitem__
            )
            for name in names
        }
        self.before: dict[str, list[str]] = {name: [] for name in names}
        for source, targets in self.after.items():
            for target in targets:
                self.before[target].append(source)
        self.rank = self._ranks(names)
        self.loops = self._loops()

    def waits(self, join: str) -> frozenset[str]:
        """Give the other nodes that can reach a join without beginning a later round (S9)."""
        rank, seen, todo = self.rank, set(), [join]
        while todo:
            node = todo.pop()
            for source in self.before[node]:
                later_round = (
                    node != join and rank[node] <= rank[source] and join in self.loops.get(node, ())
                )
                if source != join and source not in seen and not later_round:
                    seen.add(source)
                    todo.append(source)
        return frozenset(seen)

    def _ranks(self, names: list[str]) -> dict[str, int]:
        """Number the nodes by the reversed finishing order of a walk from START (S10)."""
        finished: list[str] = []
        seen: set[str] = set()
        for root in names:
            if root in seen:
                continue
            seen.add(root)
            stack = [(root, iter(self.after[root]))]
            while stack:
                node, successors = stack[-1]
                child = next((s for s in successors if s not in seen), None)
                if child is None:
                    finished.append(node)
                    stack.pop()
                else:
                    seen.add(child)
                    stack.append((child, iter(self.after[child])))
        return {name: i for i, name in enumerate(reversed(finished))}

    def _loops(self) -> dict[str, frozenset[str]]:
        """Find the loop of each head: what it reaches, and what reaches it back (S10)."""
        ends: dict[str, set[str]] = {}
        for source, targets in self.after.items():
            for target in targets:
                if self.rank[target] <= self.rank[source]:
                    ends.setdefault(target, set()).add(source)
        return {head: self._loop(head, sources) for head, sources in ends.items()}

    def _loop(self, head: str, ends: set[str]) -> frozenset[str]:
        reached = _reach({head}, self.after, stop=None)
        back = _reach(ends - {head}, self.before, stop=head)
        return frozenset((reached & back) | {head})


def _reach(start: set[str], steps: Mapping[str, list[str]], stop: str | None) -> set[str]:
    seen, todo = set(start), list(start)
    while todo:
        for name in steps[todo.pop()]:
            if name not in seen and name != stop:
                seen.add(name)
                todo.append(name)
    return seen
