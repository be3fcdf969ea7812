"""A graph made ready to run: frozen, with numbers for names, and which joins wait for what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from graphflow.definition import Definition, GateDef, NodeDef, canonical
from graphflow.names import END, START
from graphflow.once import once
from graphflow.policy import Defaults
from graphflow.records import Arrow, ArrowKind
from graphflow.state.description import described
from graphflow.state.schema import StateSchema, schema_of
from graphflow.state.single import Single, type_of_field

__all__ = ["Plan", "PlanNode", "PlanRouter", "Shape", "reach"]


@dataclass(frozen=True, slots=True)
class PlanRouter:
    """A router, ready to be called."""

    source: str
    name: str
    fn: Callable[[Any], Any]
    targets: tuple[str, ...]
    answers: Mapping[Any, str] | None


@dataclass(eq=False)
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
    arrows: tuple[Arrow, ...]
    """Its edges, in the declaration order of the targets, END last."""
    routers: tuple[PlanRouter, ...]
    rules: NodeDef
    """All that was said of it, with the graph's defaults where it says nothing itself."""
    is_plain: bool
    """A body that may be called in the caller's thread."""
    is_simple: bool
    """A body, and neither a question, nor a map, nor a subgraph."""
    is_bare: bool
    """A plain body that takes the state and nothing else, and is not watched over."""
    child: Plan | None
    """Of a subgraph."""
    state: type
    """The graph's state."""
    asks: dict[str, Single] = field(default_factory=dict)
    """The types of the questions that its body has asked in this process, by name."""

    @once
    def answer(self) -> Single:
        """How answers to its question, or to its escalation, are validated and stored."""
        if self.rules.question is not None:
            question = self.rules.question
            if question.answer is not None:
                return Single(question.answer)
            may_be_none = question.has_default and question.default is None
            return Single(type_of_field(self.state, question.into, may_be_none=may_be_none))
        if self.rules.escalate is None:
            return Single()
        asked, into = self.rules.escalate.answer, self.rules.escalate.into
        return Single(type_of_field(self.state, into) if asked is None else asked)

    @once
    def result(self) -> Single:
        """How the results of a map's items are validated and stored."""
        items = self.rules.map
        if items is None or items.result is not None:
            return Single(items.result if items else None)
        state: Any = self.state
        field = state.model_fields.get(items.into) if isinstance(items.into, str) else None
        parts = get_args(field.annotation) if field is not None else ()
        return Single(parts[0] if parts else None)


class Plan:
    """A compiled graph.

    Args:
        definition: The graph; it must have been checked.
        schema: Its state.
        watches: Whether bodies and routers are watched for changing the state in place.

    Attributes:
        nodes: By name, in declaration order; START is among them.
        joins: The names of the joins.
        alone: What runs next when one arrow leads to a node, or to END.
    """

    def __init__(
        self, definition: Definition, schema: StateSchema[Any], *, watches: bool = False
    ) -> None:
        self.name, self.schema, self.definition = definition.name, schema, definition
        self.watches = watches
        self.joins = definition.joins()
        order = {name: i for i, name in enumerate([START, *definition.nodes, END], start=-1)}
        edges, routers = _by_source(definition, order)
        nodes = (NodeDef(START, _nothing), *definition.nodes.values())
        self.nodes: dict[str, PlanNode] = {}
        for node in nodes:
            arrows = tuple(Arrow(node.name, *edge) for edge in edges.get(node.name, ()))
            leaving = arrows, tuple(routers.get(node.name, ()))
            self.nodes[node.name] = _plan_node(node, definition, order, *leaving, watches=watches)
        self.alone: dict[str, tuple[str, ...]] = {name: (name,) for name in self.nodes} | {END: ()}
        self._waits: dict[str, frozenset[str]] = {}
        self._order = order
        self._shape: Shape | None = None

    @once
    def spec_json(self) -> str:
        """The graph's spec, as it is stored with its runs."""
        return canonical(self.definition.spec(described(self.schema)))

    @once
    def spec(self) -> Mapping[str, Any]:
        """The same, read back."""
        found: Mapping[str, Any] = json.loads(self.spec_json)
        return found

    def said(self, name: str) -> Mapping[str, Any]:
        """Give what the spec says of a node; nothing of one that is gone."""
        return next((node for node in self.spec["nodes"] if node["name"] == name), {})

    @once
    def digest(self) -> str:
        """What tells the graph from others: the SHA-256 of its spec."""
        from hashlib import sha256

        return sha256(self.spec_json.encode()).hexdigest()

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


def _plan_node(
    node: NodeDef,
    definition: Definition,
    order: Mapping[str, int],
    arrows: tuple[Arrow, ...],
    routers: tuple[PlanRouter, ...],
    *,
    watches: bool,
) -> PlanNode:
    child = node.child.graph if node.child is not None else None
    rules = _with_defaults(node, definition)
    is_plain = rules.kind in {"node", "gate"} and not (rules.is_async or rules.timeout)
    return PlanNode(
        node.name,
        order[node.name],
        node.fn,
        node.gate,
        node.targets,
        node.is_async,
        node.takes_context,
        arrows,
        routers,
        rules,
        is_plain,
        rules.kind in {"node", "gate"},
        is_plain and not (rules.takes_context or rules.breaker or rules.budget),
        None if child is None else Plan(child, schema_of(child.state), watches=watches),
        definition.state,
    )


def _with_defaults(node: NodeDef, definition: Definition) -> NodeDef:
    """Fill in what a node does not say itself; a question has no body that could fail."""
    defaults = definition.defaults
    if node.kind == "question" or defaults == _NO_DEFAULTS:
        return node
    rules = node._replace(retry=node.retry or defaults.retry, escalate=definition.escalation(node))
    if node.kind == "graph":  # its own nodes have their own
        return rules
    return rules._replace(
        timeout=node.timeout or defaults.timeout,
        breaker=node.breaker or defaults.breaker,
        budget=node.budget or defaults.budget,
    )


_NO_DEFAULTS = Defaults()


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
        after = definition.successors()
        self.after = {
            name: sorted((t for t in after[name] if t in place), key=place.__getitem__)
            for name in names
        }
        self.before: dict[str, list[str]] = {name: [] for name in names}
        for source, targets in self.after.items():
            for target in targets:
                self.before[target].append(source)
        self.rank = self._ranks(names)

    @once
    def ends(self) -> dict[str, set[str]]:
        """The heads of the loops, each with the nodes that lead back to it (S10)."""
        ends: dict[str, set[str]] = {}
        for source, targets in self.after.items():
            for target in targets:
                if self.rank[target] <= self.rank[source]:
                    ends.setdefault(target, set()).add(source)
        return ends

    @once
    def loops(self) -> dict[str, frozenset[str]]:
        """The loop of each head: what it reaches, and what reaches it back (S10)."""
        return {head: self._loop(head, sources) for head, sources in self.ends.items()}

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

    def _loop(self, head: str, ends: set[str]) -> frozenset[str]:
        reached = reach({head}, self.after)
        back = reach(ends - {head}, self.before, stop=head)
        return frozenset((reached & back) | {head})


def reach(start: set[str], steps: Mapping[str, list[str]], stop: str | None = None) -> set[str]:
    """Give all names that some names lead to, and these; no way leads through `stop`."""
    seen, todo = set(start), list(start)
    while todo:
        for name in steps[todo.pop()]:
            if name not in seen and name != stop:
                seen.add(name)
                todo.append(name)
    return seen
