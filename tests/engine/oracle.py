"""The execution rules written a second time, from their text alone, to be compared with the engine.

It shares nothing with the package: graphs are plain data (`Shape`), reachability is networkx's,
and a run is a list of dicts. It is slow and obvious on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

START, END = "__start__", "__end__"

__all__ = ["Form", "Gate", "Node", "Router", "Shape", "simulate"]


@dataclass(frozen=True)
class Gate:
    """Passes when the length of the log, modulo `modulo`, is in `good`."""

    modulo: int
    good: tuple[int, ...]
    passed: str
    failed: str
    otherwise: str | None = None
    tries: int | None = None
    feedback: bool = False


@dataclass(frozen=True)
class Node:
    """A node that writes its name to the log; with `goto` it chooses, with `gate` it judges."""

    name: str
    defer: bool = False
    targets: tuple[str, ...] = ()
    goto: tuple[tuple[str, ...], ...] = ()
    """What it answers the first, second, ... time that it is in the log; the last one repeats."""
    gate: Gate | None = None


@dataclass(frozen=True)
class Router:
    """Answers by how often its source is in the log; the last answer repeats."""

    source: str
    targets: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Shape:
    """A graph as data; `edges` are (source, target) or (tuple of sources, target)."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str | tuple[str, ...], str], ...]
    routers: tuple[Router, ...]
    steps: int = 30
    visits: int = 8

    def node(self, name: str) -> Node:
        """Find a node."""
        return next(node for node in self.nodes if node.name == name)


@dataclass
class Form:
    """What follows from a graph's form: joins, ranks, heads of loops, and who can reach whom."""

    shape: Shape
    order: dict[str, int] = field(init=False)
    joins: set[str] = field(init=False)
    arrows: nx.DiGraph[str] = field(init=False)
    rank: dict[str, int] = field(init=False)
    loops: dict[str, set[str]] = field(init=False)

    def __post_init__(self) -> None:
        names = [START, *(n.name for n in self.shape.nodes)]
        self.order = {name: i for i, name in enumerate(names)}
        listed = {t for s, t in self.shape.edges if isinstance(s, tuple) and t != END}
        self.joins = listed | {n.name for n in self.shape.nodes if n.defer}
        self.arrows = nx.DiGraph()
        self.arrows.add_nodes_from(names)
        self.arrows.add_edges_from((s, t) for s, t in self._declared() if t != END)
        self.rank = self._ranks()
        self.loops = {}
        for u, v in self.arrows.edges:
            if u in self.rank and v in self.rank and self.rank[v] <= self.rank[u]:
                self.loops.setdefault(v, {v}).update(self._between(v, u))

    def _declared(self) -> list[tuple[str, str]]:
        found = []
        for source, target in self.shape.edges:
            found += [(s, target) for s in (source if isinstance(source, tuple) else (source,))]
        found += [(r.source, t) for r in self.shape.routers for t in r.targets]
        for node in self.shape.nodes:
            found += [(node.name, t) for t in node.targets]
            if node.gate:
                ways = (node.gate.passed, node.gate.failed, node.gate.otherwise)
                found += [(node.name, t) for t in ways if t]
        return found

    def _ranks(self) -> dict[str, int]:
        """Number the nodes by the reversed finishing order of a depth-first walk from START."""
        finished: list[str] = []
        entered: set[str] = set()

        def walk(node: str) -> None:
            entered.add(node)
            for after in sorted(self.arrows.successors(node), key=self.order.__getitem__):
                if after not in entered:
                    walk(after)
            finished.append(node)

        walk(START)
        return {node: i for i, node in enumerate(reversed(finished))}

    def _between(self, head: str, end: str) -> set[str]:
        """List what `head` reaches and what reaches `end` without passing `head`."""
        if head == end:
            return {head}
        rest = self.arrows.subgraph(set(self.arrows) - {head})
        reaching = nx.ancestors(rest, end) | {end}
        return (nx.descendants(self.arrows, head) | {head}) & reaching

    def waited_for(self, join: str) -> set[str]:
        """List the other nodes with a path to the join that begins no later round of its loops."""
        kept = nx.DiGraph()
        kept.add_nodes_from(self.arrows)
        for u, v in self.arrows.edges:
            back = u in self.rank and v in self.rank and self.rank[v] <= self.rank[u]
            next_round = back and v != join and join in self.loops.get(v, set())
            if not next_round and u != join:
                kept.add_edge(u, v)
        return set(nx.ancestors(kept, join)) - {join}

    def waits(self, join: str, ready: Sequence[str], held: Sequence[str]) -> bool:
        """Tell whether a join with an arrival waits, next to these ready and held nodes."""
        live = set(ready)
        live |= {h for h in held if h != join and join not in self.loops.get(h, set())}
        return bool(live & self.waited_for(join))


@dataclass
class _Standing:
    """Where a simulated run stands."""

    log: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ready: list[str] = field(default_factory=list)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)


def simulate(shape: Shape) -> tuple[list[dict[str, Any]], str, list[str]]:
    """Run a graph.

    Returns:
        The steps (tasks, decisions, arrows as a sorted list, fired, held, ready), how it ended
        ("done" or a limit), and the log.
    """
    form, now, steps = Form(shape), _Standing(), []
    while True:
        if steps:
            if len(steps) - 1 >= shape.steps:
                return steps, "limit:steps", now.log
            for name in now.ready:
                if now.visits.get(name, 0) >= shape.visits:
                    return steps, f"limit:visits:{name}", now.log
        steps.append(_step(form, now, len(steps)))
        if not now.ready and not now.held:
            return steps, "done", now.log
        assert now.ready, "nothing ready, something held: the rules say that this cannot be"


def _step(form: Form, now: _Standing, number: int) -> dict[str, Any]:
    shape, ran = form.shape, list(now.ready) if number else [START]
    own = _bodies(shape, now, ran) if number else {}
    decisions, arrows = [], []
    for name in ran:
        arrows += _edges(shape, name)
        if name in own:
            decisions.append((name, *own[name]))
            arrows += [(name, t, "goto") for t in own[name][1]]
        for router in shape.routers:
            if router.source == name:
                chosen = _pick(router.answers, max(now.log.count(name), 1) - 1)
                decisions.append((name, "router", chosen))
                arrows += [(name, t, "choice") for t in chosen]
    fired = _settle(form, now, arrows, number)
    return {
        "step": number,
        "tasks": [] if ran == [START] else ran,
        "decisions": decisions,
        "arrows": sorted(arrows),
        "fired": fired,
        "held": {j: dict(of) for j, of in now.held.items()},
        "ready": list(now.ready),
    }


def _bodies(
    shape: Shape, now: _Standing, ran: Sequence[str]
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Run the bodies on one frozen state; give what they decided themselves."""
    seen, own = list(now.log), {}
    for name in ran:
        node = shape.node(name)
        now.visits[name] = now.visits.get(name, 0) + 1
        if node.gate:
            own[name] = _judge(node, node.gate, seen, now)
            continue
        now.log.append(name)
        if node.targets:
            own[name] = ("goto", _pick(node.goto, seen.count(name)))
    return own


def _edges(shape: Shape, name: str) -> list[tuple[str, str, str]]:
    found = []
    for source, target in shape.edges:
        if source == name:
            found.append((name, target, "edge"))
        elif isinstance(source, tuple) and name in source:
            found.append((name, target, "edge" if target == END else "join"))
    return found


def _judge(node: Node, gate: Gate, seen: list[str], now: _Standing) -> tuple[str, tuple[str, ...]]:
    if len(seen) % gate.modulo in gate.good:
        now.tries[node.name] = 0
        return "gate", (gate.passed,)
    if gate.feedback:
        now.notes.append("too short")
    tried = now.tries[node.name] = now.tries.get(node.name, 0) + 1
    if gate.tries is not None and tried >= gate.tries:
        assert gate.otherwise is not None
        now.tries[node.name] = 0
        return "gate", (gate.otherwise,)
    return "gate", (gate.failed,)


def _settle(
    form: Form, now: _Standing, arrows: list[tuple[str, str, str]], number: int
) -> dict[str, set[str]]:
    ready = set()
    for source, target, _ in arrows:
        if target == END:
            continue
        if target in form.joins:
            now.held.setdefault(target, {}).setdefault(source, number)
        else:
            ready.add(target)
    firing = [j for j in now.held if not form.waits(j, sorted(ready), list(now.held))]
    fired = {j: set(now.held.pop(j)) for j in firing}
    now.ready = sorted(ready | set(fired), key=form.order.__getitem__)
    return fired


def _pick(answers: Sequence[tuple[str, ...]], place: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(answers[min(place, len(answers) - 1)]))
