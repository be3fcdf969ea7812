"""Which live nodes a join waits for, from the graph and the last step alone (S9, S10, S20)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from graphflow.records import StepRecord
from graphflow.render.ranks import loops
from graphflow.render.ways import Way
from graphflow.render.wording import node_of

__all__ = ["awaited"]

Links = Mapping[str, Collection[str]]


def awaited(
    step: StepRecord, ways: Sequence[Way], rank: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Say for which nodes each held join waits.

    Args:
        step: The last committed step.
        ways: All arrows of the graph.
        rank: What `ranks.order` gave.

    Returns:
        Held join -> the live nodes that can still reach it in this round: those that run next,
        then other held joins.
    """
    if not step.held:
        return {}
    after, before = _links(ways), _links(ways, back=True)
    rounds = _rounds(after, before, ways, rank)
    # A join that fires was itself a held one when the others were judged
    ready = dict.fromkeys(node_of(key, rank) for key in step.ready if key not in step.fired)
    found = {}
    for join in step.held:
        waits = _waits(join, before, rounds, rank)
        held = [h for h in (*step.fired, *step.held) if h != join and join not in rounds.get(h, ())]
        found[join] = tuple(dict.fromkeys(name for name in (*ready, *held) if name in waits))
    return found


def _links(ways: Sequence[Way], *, back: bool = False) -> Links:
    links: defaultdict[str, set[str]] = defaultdict(set)
    for way in ways:
        source, target = (way.target, way.source) if back else (way.source, way.target)
        links[source].add(target)
    return links


def _rounds(after: Links, before: Links, ways: Sequence[Way], rank: Mapping[str, int]) -> Links:
    """Find the nodes of each loop by its head: what it reaches, and what reaches it back."""
    ends: defaultdict[str, set[str]] = defaultdict(set)
    for way in ways:
        if loops(way, rank):
            ends[way.target].add(way.source)
    return {
        head: (_reach({head}, after) & _reach(sources - {head}, before, stop=head)) | {head}
        for head, sources in ends.items()
    }


def _reach(start: set[str], links: Links, stop: str | None = None) -> set[str]:
    seen, todo = set(start), list(start)
    while todo:
        new = [name for name in links.get(todo.pop(), ()) if name not in seen and name != stop]
        seen.update(new)
        todo += new
    return seen


def _waits(join: str, before: Links, rounds: Links, rank: Mapping[str, int]) -> set[str]:
    """Give the other nodes that can reach a join without beginning a later round."""
    seen: set[str] = set()
    todo = [join]
    while todo:
        node = todo.pop()
        for source in before.get(node, ()):
            later = node != join and rank[node] <= rank[source] and join in rounds.get(node, ())
            if source != join and source not in seen and not later:
                seen.add(source)
                todo.append(source)
    return seen
