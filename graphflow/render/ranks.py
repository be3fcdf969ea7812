"""Where the arrows of a graph lead to: its loops, its length, and its main way."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from graphflow.names import END, START
from graphflow.render.ways import Way

__all__ = ["loops", "main_way", "order", "reaches"]


def order(names: Sequence[str], ways: Sequence[Way]) -> dict[str, int]:
    """Rank the nodes: the reversed finishing order of a depth-first walk from START (S10).

    Args:
        names: All nodes in the order of declaration, START first.
        ways: All arrows, in any order.

    Returns:
        Node -> rank; only arrows that close a loop lead to a rank that is not higher.
    """
    onward: defaultdict[str, list[str]] = defaultdict(list)
    place = {name: i for i, name in enumerate(names)}
    for way in sorted(ways, key=lambda way: place[way.target]):
        onward[way.source].append(way.target)
    seen: set[str] = set()
    finished: list[str] = []
    for root in names:
        finished += _walk(root, onward, seen)
    # What START cannot reach finishes last, and so comes before what it leads to.
    return {name: rank for rank, name in enumerate(reversed(finished))}


def _walk(root: str, onward: dict[str, list[str]], seen: set[str]) -> list[str]:
    if root in seen:
        return []
    seen.add(root)
    finished = []
    stack = [(root, iter(onward[root]))]
    while stack:
        name, rest = stack[-1]
        following = next((t for t in rest if t not in seen), None)
        if following is None:
            finished.append(name)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(onward[following])))
    return finished


def loops(way: Way, rank: Mapping[str, int]) -> bool:
    """Tell whether an arrow closes a loop."""
    return rank[way.target] <= rank[way.source]


def reaches(
    ways: Sequence[Way], rank: Mapping[str, int], inside: Mapping[str, int]
) -> tuple[int, dict[str, int]]:
    """Measure the graph without the arrows that close loops.

    Args:
        ways: All arrows.
        rank: What `order` gave.
        inside: The arrows of the longest way through each subgraph.

    Returns:
        The arrows of the longest way from START, and per node those of the longest way to END
        (below 0 where none leads there).
    """
    onward: defaultdict[str, list[str]] = defaultdict(list)
    for way in ways:
        if not loops(way, rank):
            onward[way.source].append(way.target)
    ranked = sorted(rank, key=rank.__getitem__)
    depth = dict.fromkeys(ranked, 0)
    for name in ranked:
        depth[name] += inside.get(name, 0)
        for target in onward[name]:
            depth[target] = max(depth[target], depth[name] + 1)
    left: dict[str, int] = {}
    for name in reversed(ranked):
        ends = 0 if name == END else -len(ranked) - 1
        left[name] = max((left[t] + 1 for t in onward[name]), default=ends)
    return max(depth.values(), default=0), left


def main_way(ways: Sequence[Way], rank: Mapping[str, int], left: Mapping[str, int]) -> set[int]:
    """Choose the arrows that a drawing keeps on one line.

    The way goes where the run went last; where nothing ran, by a gate's `passed`, else by the
    longest way to END. Where a way forks into arrows that all run, none of them is the main one.

    Args:
        ways: All arrows.
        rank: What `order` gave.
        left: What `reaches` gave.

    Returns:
        Positions in `ways`.
    """
    outgoing: defaultdict[str, list[int]] = defaultdict(list)
    incoming: defaultdict[str, set[str]] = defaultdict(set)
    for i, way in enumerate(ways):
        if not loops(way, rank):
            outgoing[way.source].append(i)
            incoming[way.target].add(way.source)
    chosen: set[int] = set()
    name, forked = START, False
    while outgoing[name]:
        best = max(outgoing[name], key=lambda i: _pull(ways[i], left))
        fixed = {ways[i].target for i in outgoing[name] if not ways[i].chosen}
        forked = forked or len(fixed) > 1
        name = ways[best].target
        if not forked:
            chosen.add(best)
        elif len(incoming[name]) > 1:
            forked = False  # the branches have met again
    return chosen


def _pull(way: Way, left: Mapping[str, int]) -> tuple[int, bool, int]:
    return max(way.steps, default=-1), way.answer == "passed", left[way.target]
