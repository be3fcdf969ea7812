"""Which nodes may run in the same step: followed from START, over all that routers may choose."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from typing import Any, TypeAlias

from graphflow.checks.subject import Subject
from graphflow.dataflow.answers import Answers, answers_of, gotos_of
from graphflow.definition import NodeDef, RouterDef
from graphflow.names import END, START

__all__ = ["run_together"]

Names: TypeAlias = frozenset[str]
Pair: TypeAlias = frozenset[str]

_MOST = 10_000
"""How many ways from one step to the next, and pairs of nodes, are looked at."""


def run_together(subject: Subject, nodes: frozenset[str]) -> set[Pair]:
    """Give the pairs among some nodes that can run in one step.

    The answers of one router exclude each other, unless it is seen or annotated to answer lists.
    Small graphs are followed exactly; in others two ways at a time are, which may take a join to
    run earlier than a third way lets it. In very large ones some pairs may not be found.
    """
    branches = _Branches(subject, nodes)
    exact = branches.every_step()
    return branches.two_ways() if exact is None else exact


class _Branches:
    def __init__(self, subject: Subject, nodes: frozenset[str]) -> None:
        self._subject, self._shape, self._nodes = subject, subject.shape, nodes
        self._joins = subject.graph.joins()
        self._waits = {join: self._shape.waits(join) for join in self._joins}
        self._parts: dict[str, list[list[Names]]] = {name: [] for name in self._shape.after}
        self._note_parts(subject)

    def every_step(self) -> set[Pair] | None:
        """Follow all that may run at once; None when that is too much."""
        found: set[Pair] = set()
        start = (frozenset({START}), frozenset[str]())
        todo, seen, cost = [start], {start}, 0
        while todo:
            running, held = todo.pop()
            cost += len(running & self._nodes) ** 2
            for arrived in product(*map(self._outcomes, sorted(running))):
                cost += 1
                if cost > _MOST:
                    return None
                step = self._settled(frozenset().union(*arrived), held)
                if step not in seen:
                    seen.add(step)
                    todo.append(step)
            found |= self._pairs(running)
        return found

    def two_ways(self) -> set[Pair]:
        """Follow two ways at a time, from each place where they part."""
        todo = [step for name in self._reached() for step in self._parting(name)]
        seen = set(todo)
        while todo and len(seen) < _MOST:
            running, held = todo.pop()
            ways = [self._shape.after[name] for name in sorted(running)]
            for arrived in product(*ways, *([name] for name in held)):
                step = self._settled(frozenset(arrived), held)
                if len(arrived) == 2 and len(step[0] | step[1]) == 2 and step not in seen:
                    seen.add(step)
                    todo.append(step)
        return {pair for running, _ in seen for pair in self._pairs(running)}

    def _pairs(self, running: Names) -> set[Pair]:
        return {frozenset(pair) for pair in combinations(running & self._nodes, 2)}

    def _note_parts(self, subject: Subject) -> None:
        """Note what leaves each node: its edges, and each router with its alternatives."""
        fixed: dict[str, set[str]] = {}
        for edge in subject.graph.edges:
            fixed.setdefault(edge.source, set()).add(edge.target)
        for name, parts in self._parts.items():
            parts.append([frozenset(subject.graph.nodes.keys() & fixed.get(name, ()))])
            node = subject.graph.nodes.get(name)
            if node is not None and node.targets:
                parts.append(_of_node(subject, node))
        for router in subject.graph.routers:
            if router.source in self._parts:
                self._parts[router.source].append(_of_router(subject, router))

    def _settled(self, arrived: Names, held: Names) -> tuple[Names, Names]:
        """Say which nodes run next, and which joins wait for them (S9, S11)."""
        ready, waiting = arrived - self._joins, held | (arrived & self._joins)
        fired = frozenset(j for j in waiting if not self._must_wait(j, ready, waiting))
        return ready | fired, waiting - fired

    def _must_wait(self, join: str, ready: Names, waiting: Names) -> bool:
        waits, loops = self._waits[join], self._shape.loops
        others = (h for h in waiting if h != join and join not in loops.get(h, ()))
        return not waits.isdisjoint(ready) or not waits.isdisjoint(others)

    def _outcomes(self, name: str) -> Iterator[Names]:
        """Give the nodes that the end of a node may lead to at once."""
        for parts in product(*self._parts[name]):
            yield frozenset().union(*parts)
        node = self._subject.graph.nodes.get(name)
        for instead in (node.fallback, node.on_budget) if node else ():
            if instead in self._shape.after:
                yield frozenset({str(instead)})

    def _reached(self) -> list[str]:
        reached, todo = {START}, [START]
        while todo:
            new = set(self._shape.after[todo.pop()]) - reached
            reached |= new
            todo += new
        return [name for name in self._shape.after if name in reached]

    def _parting(self, name: str) -> Iterator[tuple[Names, Names]]:
        parts = self._parts[name]
        at_once = [group for part in parts for group in part]
        pairs = {frozenset(pair) for group in at_once for pair in combinations(group, 2)}
        for one, other in combinations(parts, 2):
            lefts, rights = frozenset().union(*one), frozenset().union(*other)
            pairs |= {frozenset(pair) for pair in product(lefts, rights)}
        for pair in pairs:
            if len(pair) == 2:
                yield self._settled(pair, frozenset())


def _of_router(subject: Subject, router: RouterDef) -> list[Names]:
    answers = answers_of(subject.sources, router.fn)
    several = answers.anything or (answers.unclear and _says_several(router.fn))
    groups = answers.groups
    if router.answers is not None:
        named: dict[Any, str] = dict(router.answers)
        groups = frozenset(frozenset(named.get(a, a) for a in group) for group in groups)
    found = Answers(groups, several, answers.unclear)
    return _alternatives(subject, router.targets or (), found)


def _of_node(subject: Subject, node: NodeDef) -> list[Names]:
    """Give the alternatives of a gate, or of the Commands of a node, which need not return any."""
    if node.kind != "node":
        return _alternatives(subject, node.targets, Answers(unclear=False))
    found = _alternatives(subject, node.targets, gotos_of(subject.sources, node.fn))
    return [frozenset(), *found]


def _alternatives(subject: Subject, targets: Iterable[str], answers: Answers) -> list[Names]:
    known = frozenset(subject.graph.nodes.keys() & targets)
    ends = [frozenset[str]()] if END in targets or not known else []
    groups = [known & {str(name) for name in group} for group in answers.groups]
    every = [known] if answers.anything else []
    return list(dict.fromkeys([*ends, *every, *groups, *(frozenset({name}) for name in known)]))


_LISTS = re.compile(r"\b(list|List|Sequence|Iterable|tuple|Tuple|set|frozenset)\[")


def _says_several(fn: Any) -> bool:
    """Tell whether a router is annotated to answer lists; `Route` says that it may, as all may."""
    try:
        said = getattr(inspect.unwrap(fn), "__annotations__", {}).get("return", "")
    except ValueError:  # wrapped in itself
        return False
    text = said if isinstance(said, str) else str(said)
    return _LISTS.search(text) is not None and not re.search(r"\b(Route|Send)\b", text)
