"""What runs next: arrows arrive, joins wait or fire (S7 to S12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphflow.names import END
from graphflow.plan import Plan
from graphflow.records import Arrow, Sent

__all__ = ["Arrivals", "Frontier", "settle"]

Arrivals = Mapping[str, Sequence[tuple[str, int]]]
"""Joins that wait: (source, step) of each arrival, in order."""


Frontier = tuple[Sequence[str], Mapping[str, Sequence[str]], Arrivals, Mapping[str, Sent]]
"""What follows a step: the keys of the tasks that run next, in order; the joins among them, with
the sources they collected; the joins that wait; the tasks that come of Sends."""


_NONE: Final[Mapping[str, Any]] = {}  # one for all steps: the records of a run in memory are kept


def settle(
    plan: Plan,
    arrows: Sequence[Arrow],
    sent: Sequence[Sent],
    held: Arrivals,
    step: int,
) -> Frontier:
    """Work out the frontier after a step.

    Args:
        plan: The graph.
        arrows: The arrows that ran in this step, but for those of Sends.
        sent: The Sends, in order.
        held: The joins that were waiting before.
        step: The step's number.
    """
    if not plan.joins and not held and not sent:
        if len(arrows) == 1:
            return plan.alone[arrows[0].target], _NONE, _NONE, _NONE
        return plan.ordered({a.target for a in arrows} - {END}), _NONE, _NONE, _NONE
    waiting = {join: list(arrived) for join, arrived in held.items()}
    ready = set()
    for arrow in arrows:
        if arrow.target in plan.joins:
            arrived = waiting.setdefault(arrow.target, [])
            if all(source != arrow.source for source, _ in arrived):
                arrived.append((arrow.source, step))
        elif arrow.target != END:
            ready.add(arrow.target)
    live = ready | {send.node for send in sent}
    firing = [
        join
        for join in waiting
        if not plan.must_wait(join, live, [other for other in waiting if other != join])
    ]
    fired = {
        join: plan.ordered(source for source, _ in waiting.pop(join))
        for join in plan.ordered(firing)
    }
    keys, sends = _keys(plan, ready | fired.keys(), sent)
    return keys, fired, waiting, sends


def _keys(plan: Plan, nodes: set[str], sent: Sequence[Sent]) -> tuple[list[str], dict[str, Sent]]:
    """Order the tasks of the next step: in one node the plain task, then its Sends (S2)."""
    sends: dict[str, Sent] = {}
    counts: dict[str, int] = {}
    for send in sent:
        number = counts[send.node] = counts.get(send.node, -1) + 1
        sends[f"{send.node}#{number}"] = send
    keys: list[str] = []
    for node in plan.ordered(nodes | counts.keys()):
        keys += [node] if node in nodes else []
        keys += [f"{node}#{number}" for number in range(counts.get(node, -1) + 1)]
    return keys, sends
