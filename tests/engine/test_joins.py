"""The laws of joins, read off the records of random runs: nothing lost, once a round, no hang."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from random import Random
from typing import Any

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.names import END
from graphflow.records import Arrow, RunRecords, StepRecord
from tests.engine.form import Form
from tests.engine.journeys import finish
from tests.engine.shapes import cases, many
from tests.engine.vectors import Player

randoms = st.integers(0, 2**32).map(Random)
Cause = tuple[str, int]
"""A node, and the step in which it ran."""


@many(50)
@given(cases(), randoms)
def test_no_arrival_is_lost_and_joins_run_once_a_round(
    case: Mapping[str, Any], random: Random
) -> None:
    """Each arrival is used by one firing; a round is one firing; none hangs (section 2, 1 to 3)."""
    store = MemoryCheckpointer()
    run = finish(Player(case, lambda: store), random)

    for graph, records in runs_of(case, run.records):
        form = Form(graph)
        fired_at = firings(form, records)
        if records.header.status == "done":
            assert not records.steps[-1].held
        for join, times in fired_at.items():
            if not any(join in part for part in cycles(form)):
                assert len(times) == 1, f"{join} is in no loop and ran {len(times)} times"
            for first, second in pairwise(times):
                assert_new_round(form, records.steps, join, first, second)


def runs_of(
    graph: Mapping[str, Any], records: RunRecords
) -> Iterator[tuple[Mapping[str, Any], RunRecords]]:
    """Give a run and its children, each with its graph."""
    yield graph, records
    nodes = {node["name"]: node for node in graph["nodes"]}
    for child in records.children:
        name = str(child.header.parent_key).partition("#")[0]
        yield from runs_of(nodes[name]["graph"], child)


def firings(form: Form, records: RunRecords) -> dict[str, list[int]]:
    """List the steps at which each join fired, and see that each arrival is used or held."""
    held: dict[str, dict[str, int]] = {}
    fired_at: dict[str, list[int]] = defaultdict(list)
    for step in records.steps:
        arrived = {join: dict(of) for join, of in held.items()}
        for arrow in arriving(step):
            if arrow.target in form.joins:
                arrived.setdefault(arrow.target, {}).setdefault(arrow.source, step.step)
        held = {join: dict(of) for join, of in step.held.items()}
        assert not held.keys() & step.fired.keys()
        assert arrived.keys() == held.keys() | step.fired.keys()
        for join, of in arrived.items():
            assert held.get(join, of) == of, f"an arrival at {join} is lost or made up"
            assert set(step.fired.get(join, of)) == of.keys()
        assert step.ready or not held, "nothing ready, something held"
        assert set(step.fired) <= set(step.ready)
        for join in step.fired:
            fired_at[join].append(step.step)
    return fired_at


def arriving(step: StepRecord) -> Iterator[Arrow]:
    """List the arrows that arrive somewhere: those of Sends do not, nor those of fallen Sends."""
    fallen = {task.key for task in step.tasks if task.fell_back}
    for arrow in step.arrows:
        if arrow.kind == "send" or (arrow.kind == "fallback" and arrow.source not in fallen):
            continue
        if arrow.target != END:
            yield arrow


def cycles(form: Form) -> list[set[str]]:
    """List the sets of nodes that lie on a cycle."""
    parts = nx.strongly_connected_components(form.arrows)
    return [p for p in parts if len(p) > 1 or any(form.arrows.has_edge(n, n) for n in p)]


def assert_new_round(
    form: Form, steps: list[StepRecord], join: str, first: int, second: int
) -> None:
    """Follow each chain of causes of the second firing back: it meets a new run of j or a head."""
    heads = {join} | {head for head, loop in form.loops.items() if join in loop}
    todo = [
        (arrow.source, step.step)
        for step in steps[first + 1 : second + 1]
        for arrow in arriving(step)
        if arrow.target == join
    ]
    seen = set(todo)
    while todo:
        node, number = todo.pop()
        if number > first and node in heads:
            continue
        assert number > first, f"{join} fired at {first} and {second} in one round, by {node}"
        causes = causes_of(steps, node, number) - seen
        todo += causes
        seen |= causes


def causes_of(steps: list[StepRecord], node: str, number: int) -> set[Cause]:
    """List the tasks whose arrows made a node run in a step."""
    before = steps[number - 1]
    causes = {
        (arrow.source, before.step)
        for arrow in before.arrows
        if arrow.target == node and (node not in before.held or arrow.kind in {"send", "fallback"})
    }
    if node in before.fired:
        since = number - 1
        while since > 0 and node in steps[since - 1].held:
            since -= 1
        causes |= {
            (arrow.source, step.step)
            for step in steps[since:number]
            for arrow in arriving(step)
            if arrow.target == node
        }
    return causes
