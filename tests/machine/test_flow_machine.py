"""Flows against what a straight run does: stops of every kind, in any order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos import IS_FULL, amount
from tests.engine.shapes import many
from tests.machine.flow_machine import FlowMachine
from tests.machine.journey import NAMES, foreseen, graph, told


@pytest.mark.chaos
def test_whatever_stops_a_run_it_does_what_a_straight_run_does(
    tell: Callable[[str], None],
) -> None:
    """Resumed, answered, forked, pruned, crashed: the same steps, the same states, the same end."""
    examples = amount(12, 1_000)
    of_moves = settings(many(examples, shrinks=IS_FULL), stateful_step_count=30)
    run_state_machine_as_test(FlowMachine, settings=of_moves)
    tell(f"state machine of flows: {examples} examples of up to 30 moves, as a straight run")


@pytest.mark.parametrize("code", NAMES)
@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_a_straight_run_does_what_is_foreseen(code: int, rounds: int) -> None:
    """What the machine foresees is what a run does that nothing stops, whatever the code."""
    flow, path = graph(code).compile(), foreseen(rounds)
    run = flow.run({"rounds": rounds})
    while run.status == "paused":
        run = flow.answer(run.run_id, f"answer {len(run.steps)}")
    names = NAMES[code]
    nodes = [sorted(names.get(role, role) for role in step) for step in path.nodes]
    assert [sorted(task.node for task in step.tasks) for step in run.steps] == nodes
    values = [told(after, code, "calm") for after in path.values]
    assert [run.values_at(step.step) for step in run.steps] == values
