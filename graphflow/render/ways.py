"""The arrows that a graph allows, and how often each of them ran."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphflow.records import Arrow, DecisionRecord, StepRecord

__all__ = ["OVER_BUDGET", "Pending", "Way", "count", "decisions_of", "declared", "instead"]

OVER_BUDGET: Final = "over budget"
"""What leads along an `on_budget` arrow."""

_FAMILY = {"edge": "fixed", "join": "fixed", "fallback": "fallback"}  # the others are chosen


@dataclass(slots=True, eq=False)
class Way:
    """A possible arrow. Two answers that lead to one node are two ways."""

    source: str
    target: str
    kind: str
    answer: str | None = None
    """What leads there when that is not the target's name."""
    gate: bool = False
    steps: list[int] = field(default_factory=list)
    """The step of every time it ran; a step stands here as often as the arrow is recorded."""
    sends: int = 0
    """How many of these times were Sends."""
    decisions: list[tuple[int, DecisionRecord]] = field(default_factory=list)

    @property
    def chosen(self) -> bool:
        """Whether somebody decides over it."""
        return self.kind not in _FAMILY


def declared(spec: Mapping[str, Any]) -> list[Way]:
    """List every arrow that the graph allows, in the order in which it was declared.

    Args:
        spec: See `Definition.spec`.

    Returns:
        Edges, then what routers, gates and nodes may choose; each once.
    """
    ways = [Way(source, target, kind) for source, target, kind in spec.get("edges", ())]
    for router in spec.get("routers", ()):
        ways += _router_ways(router)
    for node in spec.get("nodes", ()):
        ways += _node_ways(node)
    once = {(w.source, w.target, w.kind, w.answer): w for w in reversed(ways)}
    return list(reversed(once.values()))


def _router_ways(router: Mapping[str, Any]) -> Iterable[Way]:
    answers: Mapping[str, str] = router.get("answers") or {}
    source = router["source"]
    for answer, target in answers.items():
        yield Way(source, target, "choice", None if answer == target else answer)
    for target in router.get("targets") or ():
        if target not in answers.values():
            yield Way(source, target, "choice")


def _node_ways(node: Mapping[str, Any]) -> Iterable[Way]:
    name, gate = node["name"], node.get("gate") or {}
    for answer in ("passed", "failed", "otherwise"):
        if gate.get(answer) is not None:
            yield Way(name, gate[answer], "goto", answer, gate=True)
    for target in () if gate else node.get("targets") or ():
        yield Way(name, target, "goto")
    fallback, on_budget = node.get("fallback"), node.get("on_budget")
    if fallback:
        yield Way(name, fallback, "fallback")
    if on_budget and on_budget != fallback:  # one arrow says both
        yield Way(name, on_budget, "fallback", OVER_BUDGET)


def instead(node: Mapping[str, Any], target: str) -> str:
    """Say what leads from a node to the one that runs instead of what follows it."""
    over = node.get("on_budget") == target != node.get("fallback")
    return OVER_BUDGET if over else "fallback"


def decisions_of(step: StepRecord) -> list[DecisionRecord]:
    """List all decisions of a step: the nodes' own, then the routers'."""
    own = [task.goto for task in step.tasks if task.goto is not None]
    if not own:
        return list(step.decisions)
    return [*own, *(d for d in step.decisions if not any(d is o or d == o for o in own))]


def count(ways: list[Way], steps: Iterable[StepRecord]) -> None:
    """Note on each way the steps in which it ran, and why.

    Args:
        ways: What `declared` lists. An arrow that ran without being declared is added.
        steps: Committed steps of one run, oldest first. Only their arrows count, never the nodes
            visited.
    """
    between: defaultdict[tuple[str, str], list[Way]] = defaultdict(list)
    for way in ways:
        between[way.source, way.target].append(way)
    for step in steps:
        pending = Pending(decisions_of(step))
        for arrow in step.arrows:
            decision = pending.take(arrow)
            here = between[arrow.source, arrow.target]
            way = _way(here, arrow, decision) or Way(arrow.source, arrow.target, arrow.kind)
            if not way.steps and way not in here:
                here.append(way)
                ways.append(way)
            way.steps.append(step.step)
            way.sends += arrow.kind == "send"
            if decision is not None:
                way.decisions.append((step.step, decision))


class Pending:
    """The decisions of a step: each took one arrow to each node it chose, and one per Send."""

    def __init__(self, decisions: list[DecisionRecord]) -> None:
        self._takers: defaultdict[tuple[str, str], list[DecisionRecord]] = defaultdict(list)
        for decision in decisions:
            for target in decision.chosen:
                name = target if isinstance(target, str) else target.node
                self._takers[decision.source, name].append(decision)

    def take(self, arrow: Arrow) -> DecisionRecord | None:
        """Find the decision that took an arrow; the last one stays for arrows without their own."""
        takers = self._takers.get((arrow.source, arrow.target))
        if not takers or arrow.kind in _FAMILY:
            return None
        own = arrow.kind == "goto"
        best = min(range(len(takers)), key=lambda i: (takers[i].kind != "router") != own)
        return takers.pop(best) if len(takers) > 1 else takers[0]


def _way(here: list[Way], arrow: Arrow, decision: DecisionRecord | None) -> Way | None:
    """Find the way that an arrow went: of its kind, else of its family; by its answer."""
    family = _FAMILY.get(arrow.kind, "chosen")
    fitting = [w for w in here if _FAMILY.get(w.kind, "chosen") == family]
    answer = (decision.answer if decision else None) or arrow.target
    words = answer.split(", ")  # several answers at once
    kind: str = arrow.kind
    if kind == "send" and decision is not None:  # declared as a choice, or as a node's own target
        kind = "choice" if decision.kind == "router" else "goto"

    def distance(way: Way) -> tuple[bool, bool, bool]:
        own = way.answer or way.target
        return way.kind != kind, own != answer, own not in words

    return min(fitting, key=distance, default=None)
