"""What runs next: arrows arrive, joins wait or fire (S7 to S12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphflow.names import END
from graphflow.plan import Plan
from graphflow.records import Arrow

__all__ = ["Arrivals", "settle"]

Arrivals = dict[str, list[tuple[str, int]]]
"""Joins that wait: (source, step) of each arrival, in order."""


def settle(
    plan: Plan, arrows: Sequence[Arrow], held: Mapping[str, Sequence[tuple[str, int]]], step: int
) -> tuple[list[str], dict[str, list[str]], Arrivals]:
    """Work out the frontier after a step.

    Args:
        plan: The graph.
        arrows: The arrows that ran in this step.
        held: The joins that were waiting before.
        step: The step's number.

    Returns:
        The nodes that run next in declaration order, the joins that fire with the sources they
        collected, and the joins that wait.
    """
    if not plan.joins and not held:
        if len(arrows) == 1:
            target = arrows[0].target
            return ([] if target == END else [target]), {}, {}
        return plan.ordered({a.target for a in arrows} - {END}), {}, {}
    waiting: Arrivals = {join: list(arrived) for join, arrived in held.items()}
    ready = set()
    for arrow in arrows:
        if arrow.target in plan.joins:
            arrived = waiting.setdefault(arrow.target, [])
            if all(source != arrow.source for source, _ in arrived):
                arrived.append((arrow.source, step))
        elif arrow.target != END:
            ready.add(arrow.target)
    firing = [
        join
        for join in waiting
        if not plan.must_wait(join, ready, [other for other in waiting if other != join])
    ]
    fired = {
        join: plan.ordered(source for source, _ in waiting.pop(join))
        for join in plan.ordered(firing)
    }
    return plan.ordered(ready | fired.keys()), fired, waiting
