"""What follows from a graph's form alone: joins, ranks, heads of loops, and who can reach whom.

Part of the oracle: it shares nothing with the package; reachability is networkx's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import networkx as nx

__all__ = ["Form", "answers_of", "listed"]

Graph = Mapping[str, Any]


def listed(answer: Any) -> list[Any]:
    """Give an answer of a router as a list."""
    return list(answer) if isinstance(answer, list) else [answer]


def answers_of(node: Mapping[str, Any]) -> list[str]:
    """List where a node may lead by itself: its gotos, a gate's ways, its fallback."""
    found = list(node.get("goto", {}).get("targets", ()))
    gate = node.get("gate", {})
    found += [gate[way] for way in ("passed", "failed", "otherwise") if gate.get(way)]
    return [*found, node["fallback"]] if "fallback" in node else found


class Form:
    """A graph's joins, and for whom each of them waits.

    Args:
        graph: A graph as the vectors write it: nodes, edges, routers.
    """

    def __init__(self, graph: Graph) -> None:
        names = ["START", *(node["name"] for node in graph["nodes"])]
        self.order = {name: i for i, name in enumerate(names)}
        joined = {t for s, t in graph["edges"] if isinstance(s, list) and t != "END"}
        self.joins = joined | {n["name"] for n in graph["nodes"] if n.get("defer")}
        self.arrows: nx.DiGraph[str] = nx.DiGraph()
        self.arrows.add_nodes_from(names)
        self.arrows.add_edges_from((s, t) for s, t in _declared(graph) if t != "END")
        self.rank = self._ranks()
        self.loops: dict[str, set[str]] = {}
        for u, v in self.arrows.edges:
            if self._is_back(u, v):
                self.loops.setdefault(v, {v}).update(self._between(v, u))

    def _is_back(self, u: str, v: str) -> bool:
        return u in self.rank and v in self.rank and self.rank[v] <= self.rank[u]

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

        walk("START")
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
        kept: nx.DiGraph[str] = nx.DiGraph()
        kept.add_nodes_from(self.arrows)
        for u, v in self.arrows.edges:
            next_round = self._is_back(u, v) and v != join and join in self.loops.get(v, set())
            if not next_round and u != join:
                kept.add_edge(u, v)
        return set(nx.ancestors(kept, join)) - {join}

    def waits(self, join: str, ready: Sequence[str], held: Sequence[str]) -> bool:
        """Tell whether a join with an arrival waits, next to these ready and held nodes."""
        live = set(ready)
        live |= {h for h in held if h != join and join not in self.loops.get(h, set())}
        return bool(live & self.waited_for(join))


def _declared(graph: Graph) -> Iterator[tuple[str, str]]:
    for source, target in graph["edges"]:
        yield from ((s, target) for s in listed(source))
    for router in graph["routers"]:
        yield from ((router["source"], t) for t in router["targets"])
    for node in graph["nodes"]:
        yield from ((node["name"], t) for t in answers_of(node))
