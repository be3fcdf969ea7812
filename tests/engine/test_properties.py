"""The execution rules on random graphs: by an oracle, and under disorder, stops and crashes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from itertools import pairwise
from random import Random

import networkx as nx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.engine.oracle import START, Form, Node, Shape, simulate
from tests.engine.shapes import Bench, facts, shapes

EXAMPLES = int(os.environ.get("GRAPHFLOW_EXAMPLES", "0"))
"""Per property; for a long search `GRAPHFLOW_EXAMPLES=4000 pytest tests/engine`."""

many = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
randoms = st.integers(0, 2**32).map(Random)


@many
@given(shapes())
def test_the_engine_takes_the_path_of_the_rules(shape: Shape) -> None:
    """Each step agrees with the oracle: tasks, decisions, arrows, firings, held, ready (S1-S12)."""
    expected, ending, log = simulate(shape)
    bench = Bench(shape).to_the_end()

    for step, rule in zip(bench.steps, expected, strict=True):
        assert facts(step) == rule
    assert bench.reason == ending
    assert bench.position.values["log"] == log


@many
@given(shapes(), randoms)
def test_the_order_of_completion_and_of_edges_changes_nothing(shape: Shape, random: Random) -> None:
    """Same records and state whatever ends first and whatever edge was added first (S2)."""
    plain = Bench(shape).to_the_end()
    mixed = Bench(shape, random, shuffled_edges=True).to_the_end()

    assert mixed.steps == plain.steps
    assert mixed.reason == plain.reason
    assert mixed.position.values == plain.position.values


def test_an_edge_and_a_list_edge_between_two_nodes_are_recorded_in_one_order() -> None:
    """Both arrows of one pair of nodes come in the same order, whichever was added first (S2)."""
    nodes = (Node("a"), Node("b"))
    one = Shape(nodes, ((START, "a"), ("a", "b"), (("a",), "b")), ())
    other = Shape(nodes, ((START, "a"), (("a",), "b"), ("a", "b")), ())

    assert Bench(one).to_the_end().steps == Bench(other).to_the_end().steps


@many
@given(shapes(), randoms)
def test_a_stop_after_every_commit_changes_nothing(shape: Shape, random: Random) -> None:
    """Restored from JSON at each commit: the same records, state and snapshots (S17)."""
    plain = Bench(shape).to_the_end()
    stopped = Bench(shape, random).to_the_end(stops=True)

    assert stopped.steps == plain.steps
    assert stopped.reason == plain.reason
    assert stopped.position.values == plain.position.values
    assert stopped.stored.snapshots == plain.stored.snapshots


@many
@given(shapes(), randoms)
def test_a_crash_inside_a_step_runs_no_stored_body_again(shape: Shape, random: Random) -> None:
    """Dropped after some stored effects, again and again: same path; what was kept stays (S17)."""
    plain = Bench(shape).to_the_end()
    crashed = Bench(shape, random)

    while crashed.go(crash_after=random.randrange(4)) is None:
        if not crashed.stored.steps:
            crashed = Bench(shape, random)
            continue
        kept = {read["key"] for read in kept_of(crashed)}
        before, step = crashed.bodies.copy(), len(crashed.stored.steps)
        crashed.position = crashed.restored()
        outcome = crashed.go(commits=1, crash_after=random.randrange(4))
        assert all(crashed.bodies[step, key] == before[step, key] for key in kept)
        if outcome is not None and outcome.ending is not None:
            break
        crashed.position = crashed.restored()

    assert crashed.steps == plain.steps
    assert crashed.reason == plain.reason


@many
@given(shapes(), randoms)
def test_failures_that_are_resumed_change_nothing(shape: Shape, random: Random) -> None:
    """Bodies that fail a few times, resumed each time: the path is that without failures (S15)."""
    fails = frozenset((n.name, random.randint(1, 4)) for n in shape.nodes for _ in range(2))
    plain = Bench(shape).to_the_end()
    failing = Bench(shape, random, fails=fails).to_the_end()

    assert failing.steps == plain.steps
    assert failing.reason == plain.reason
    for (number, key), count in failing.bodies.items():
        failed = [a for a in attempts_of(failing) if (a["step"], a["key"]) == (number, key)]
        assert count <= len(failed) + 1, f"{key} of step {number} ran again after it was complete"


@many
@given(shapes())
def test_no_arrival_is_lost_and_joins_run_once_per_round(shape: Shape) -> None:
    """Each arrival is used by one firing; a join fires once per round (section 2, 1 to 3)."""
    bench, form = Bench(shape).to_the_end(), Form(shape)
    steps = [facts(step) for step in bench.steps]

    fired_at = firings(form, steps)
    if bench.reason == "done":
        assert not steps[-1]["held"]
    for join, times in fired_at.items():
        if not any(join in part for part in cycles(form)):
            assert len(times) == 1, f"{join} is in no loop and ran {len(times)} times"
        for first, second in pairwise(times):
            assert_new_round(form, steps, join, first, second)


def firings(form: Form, steps: list[dict]) -> dict[str, list[int]]:
    """List the steps at which each join fired, and see that each arrival is used or held."""
    held: dict[str, dict[str, int]] = {}
    fired_at: dict[str, list[int]] = defaultdict(list)
    for step in steps:
        arrived = {j: dict(of) for j, of in held.items()}
        for source, target, _ in step["arrows"]:
            if target in form.joins:
                arrived.setdefault(target, {}).setdefault(source, step["step"])
        after = {**{j: set(of) for j, of in step["held"].items()}, **step["fired"]}
        assert after == {j: set(of) for j, of in arrived.items()}
        assert not step["held"].keys() & step["fired"].keys()
        assert step["ready"] or not step["held"], "nothing ready, something held"
        held = step["held"]
        for join in step["fired"]:
            fired_at[join].append(step["step"])
    return fired_at


def cycles(form: Form) -> list[set[str]]:
    """List the sets of nodes that lie on a cycle."""
    parts = nx.strongly_connected_components(form.arrows)
    return [p for p in parts if len(p) > 1 or any(form.arrows.has_edge(n, n) for n in p)]


def assert_new_round(form: Form, steps: list[dict], join: str, first: int, second: int) -> None:
    """Follow each chain of causes of the second firing back: it meets a new run of j or a head."""
    heads = {join} | {h for h, loop in form.loops.items() if join in loop}
    todo = [
        (source, step["step"])
        for step in steps[first + 1 : second + 1]
        for source, target, _ in step["arrows"]
        if target == join
    ]
    seen = set(todo)
    while todo:
        node, number = todo.pop()
        if number > first and node in heads:
            continue
        assert number > first, f"{join} fired at {first} and {second} in one round, by {node}"
        assert node != START
        causes = causes_of(form, steps, node, number)
        todo += [cause for cause in causes if cause not in seen]
        seen |= causes


def causes_of(form: Form, steps: list[dict], node: str, number: int) -> set[tuple[str, int]]:
    """List the tasks whose arrows made a node run in a step."""
    since = number - 1
    if node in form.joins:
        while since > 0 and node in steps[since - 1]["held"]:
            since -= 1
    return {
        (source, step["step"])
        for step in steps[since:number]
        for source, target, _ in step["arrows"]
        if target == node
    }


def kept_of(bench: Bench) -> list[dict]:
    """Read the kept tasks."""
    return [json.loads(text) for text in bench.stored.kept.values()]


def attempts_of(bench: Bench) -> list[dict]:
    """Read the failed executions."""
    return [json.loads(text) for text in bench.stored.attempts]
