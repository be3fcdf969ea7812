"""Which nodes can run in one step: what the check says is held against what the engine does."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import combinations
from typing import Annotated, Any
from zlib import crc32

import pytest
from pydantic import BaseModel

from graphflow import END, START, Limits, StateGraph, add
from graphflow.checks.branches import run_together
from graphflow.checks.subject import Subject


class State(BaseModel):
    seed: int = 0
    steps: Annotated[int, add] = 0


def count(state: State) -> dict[str, int]:
    """Count, so that a router that comes by again may choose otherwise."""
    return {"steps": 1}


def chooser(name: str, targets: list[str]) -> Callable[[State], str]:
    """Make a router that chooses by a hash of what it reads."""

    def choose(state: State) -> str:
        return targets[crc32(f"{name} {state.seed} {state.steps}".encode()) % len(targets)]

    return choose


def drawn(place: int) -> StateGraph[State]:
    """Draw a small graph: edges, routers, and up to two joins."""
    draw = random.Random(place)
    names = [f"n{i}" for i in range(draw.choice([3, 4, 5]))]
    graph = StateGraph(State, name=f"drawn-{place}")
    for name in names:
        graph.add_node(name, count)
    graph.add_edge(START, names[0])
    graph.add_edge(START, draw.choice(names))
    for name in names:
        fixed = draw.random() < 0.5
        if fixed:
            for target in draw.sample([*names, END], draw.choice([1, 1, 2])):
                graph.add_edge(name, target)
        if not fixed or draw.random() < 0.3:
            targets = draw.sample([*names, END], 2)
            graph.add_conditional_edges(name, chooser(name, targets), targets)
    for _ in range(draw.choice([0, 1, 2])):
        graph.add_edge(draw.sample(names, 2), draw.choice(names))
    return graph


Pairs = set[frozenset[str]]


def seen(graph: StateGraph[State], runs: int) -> Pairs:
    """Run a graph often, and give the pairs of nodes that ran in one step."""
    found: Pairs = set()
    with graph.compile(limits=Limits(steps=12, visits=12)) as flow:
        for seed in range(runs):
            for step in flow.run({"seed": seed}).steps:
                nodes = {task.node for task in step.tasks}
                found |= {frozenset(pair) for pair in combinations(nodes, 2)}
    return found


def said(graph: StateGraph[Any]) -> Pairs:
    """Give the pairs that the check says can run in one step."""
    return run_together(Subject(graph.definition), frozenset(graph.definition.nodes))


def test_what_runs_together_was_said() -> None:
    """No pair that the engine ran is missing, and hardly one is said that it does not run."""
    told = met = 0
    for place in range(60):
        graph = drawn(place)
        if any(problem.level == "error" for problem in graph.check()):
            continue
        ran, pairs = seen(graph, 20), said(graph)
        assert ran <= pairs, place
        told, met = told + len(pairs), met + len(ran)
    assert told > 50
    assert met >= 0.85 * told  # some answers are not drawn in twenty runs


def test_two_ways_are_followed_where_all_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is missed either, as long as the pairs are few enough."""
    from graphflow.checks import branches

    for place in range(60):
        graph = drawn(place)
        exact = said(graph)
        with monkeypatch.context() as patched:
            patched.setattr(branches._Branches, "every_step", lambda self: None)
            assert exact <= said(graph)
