"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from graphflow import END, START, Command, Decision, Route, Send, StateGraph, append
from graphflow.cli.main import cli


class Ticket(BaseModel):
    sure: float = 0.9
    reply: str = ""
    notes: Annotated[list[str], append] = []


def triage() -> StateGraph[Ticket]:
    graph = StateGraph(Ticket, name="triage")
    graph.add_node("classify", lambda s: {"notes": ["seen"]})
    graph.add_node("draft", lambda s: {"reply": "We are sorry."})
    graph.add_node("send", lambda s: {"notes": ["sent"]})
    graph.add_node("ask_human", lambda s: {"notes": ["left to a person"]})

    @graph.decision("classify")
    def route(state: Ticket) -> Route[Literal["draft", "ask_human"]]:
        return Decision("draft", reason="sure enough") if state.sure > 0.8 else "ask_human"

    graph.add_edge(START, "classify")
    graph.add_edge("draft", "send")
    graph.add_edge("send", END)
    graph.add_edge("ask_human", END)
    return graph


def test_a_fork_parts_where_another_way_was_chosen() -> None:
    """The first step that differs, both decisions, both ways, and the fields that differ."""
    flow = triage().compile()
    first = flow.run({}, run_id="first")
    other = flow.fork("first", 1, choose={"route": "ask_human"})

    found = first.compare(other)

    assert found.parted == 1
    assert not found.is_same
    (parting,) = found.decisions
    assert (parting.source, parting.router) == ("classify", "route")
    assert parting.left is not None
    assert parting.right is not None
    assert (parting.left.chosen, parting.right.chosen) == (("draft",), ("ask_human",))
    assert found.paths == (["classify", "draft", "send"], ["classify", "ask_human"])
    assert found.fields == {
        "reply": ("We are sorry.", ""),
        "notes": (["seen", "sent"], ["seen", "left to a person"]),
    }


def test_what_is_printed() -> None:
    """Printed it says how far both are the same, and sets both sides in columns."""
    flow = triage().compile()
    first = flow.run({}, run_id="first")
    flow.run({"sure": 0.5}, run_id="other")

    lines = str(first.compare(flow.get("other"))).splitlines()

    assert lines[0] == "other in step 0"
    assert lines[1].split("|")[1].strip() == "other"
    assert [line.split()[0] for line in lines[2:]] == ["ran", "sure", "reply", "notes"]
    assert len({line.index("|") for line in lines[1:]}) == 1
    assert lines[-1].split("|")[1].strip() == "1 item, then ['left to a person']"


def test_runs_of_the_same_way_are_the_same(tmp_path: Path) -> None:
    """Two runs with the same updates and decisions have no parting, wherever they are stored."""
    one = triage().compile().run({})
    two = triage().compile(tmp_path / "runs.db").run({})

    found = one.compare(two)

    assert (found.parted, found.fields, found.is_same) == (None, {}, True)
    assert str(found).startswith("both have the same steps\n")


def test_a_run_that_stopped_earlier_parts_where_it_stopped() -> None:
    """Of the shorter run nothing ran from there on."""
    flow = triage().compile(pause_before=["send"])
    done = triage().compile().run({})

    found = done.compare(flow.run({}))

    assert found.parted == 3
    assert found.paths == (["send"], [])


def test_a_graph_of_its_own_is_compared_too() -> None:
    """Fields and routers of one side only stand with None on the other."""

    class Other(BaseModel):
        more: int = 1

    graph = StateGraph(Other, name="other")
    graph.add_node("only", lambda s: {"more": 2})
    graph.add_edge(START, "only")
    graph.add_edge("only", END)

    found = triage().compile().run({}).compare(graph.compile().run({}))

    assert found.parted == 0
    assert found.fields["more"] == (None, 2)
    assert found.fields["reply"] == ("We are sorry.", None)


ORDERS = st.lists(st.tuples(st.sampled_from(["left", "right"]), st.integers(0, 2)), max_size=6)


@given(ORDERS, ORDERS)
def test_runs_part_at_the_first_difference(
    one: list[tuple[str, int]], two: list[tuple[str, int]]
) -> None:
    """Runs told what to do part in the first step whose orders differ; comparing turns round."""
    flow = walker().compile()
    runs = [flow.run({"todo": orders}) for orders in (one, two)]

    found, turned = runs[0].compare(runs[1]), runs[1].compare(runs[0])

    if one == two:
        assert found.is_same
    else:
        assert found.parted == 0  # the inputs differ
    assert found.parted == turned.parted
    assert found.fields == {name: sides[::-1] for name, sides in turned.fields.items()}
    assert found.paths == turned.paths[::-1]
    assert runs[0].compare(runs[0]).is_same


class Walk(BaseModel):
    todo: list[tuple[str, int]] = []
    done: Annotated[list[int], append] = []


def walker() -> StateGraph[Walk]:
    graph = StateGraph(Walk, name="walker")

    def step(state: Walk) -> dict[str, Any]:
        return {"done": [state.todo[len(state.done)][1]]}

    def way(state: Walk) -> str:
        left = state.todo[len(state.done) :]
        return left[0][0] if left else END

    for name in ("left", "right"):
        graph.add_node(name, step)
        graph.add_conditional_edges(name, way, ["left", "right", END])
    graph.add_conditional_edges(START, way, ["left", "right", END])
    return graph


def counting(version: int = 1) -> StateGraph[Walk]:
    """Make a graph of two nodes whose second version begins with another list."""
    graph = StateGraph(Walk, name="counting", version=version)
    for name, source in (("a", START), ("b", "a")):
        graph.add_node(name, lambda _state: {"done": [1]})
        graph.add_edge(source, name)
    graph.add_edge("b", END)
    if version == 2:
        graph.migration(1, 2)(lambda values: {**values, "done": [7, *values["done"]]})
    return graph


def test_what_a_migration_made_of_a_state_is_a_difference(tmp_path: Path) -> None:
    """Runs with the same updates part where one was migrated, which no step has done."""
    store = str(tmp_path / "runs.db")
    counting().compile(store).run({}, run_id="plain")
    counting().compile(store).start({}, run_id="migrated")
    counting().compile(store).advance("migrated", steps=1)
    flow = counting(version=2).compile(store)
    run = flow.resume("migrated")

    found = flow.get("plain").compare(run)

    assert (found.parted, found.fields) == (2, {"done": ([1, 1], [7, 1, 1])})
    assert run.diff(2) == {"done": ([7, 1], [7, 1, 1])}


def test_steps_that_were_pruned_are_not_called_the_same(tmp_path: Path) -> None:
    """Of runs that have lost their first steps only those that both have are compared."""
    with walker().compile(tmp_path / "runs.db") as flow:
        ways = {"one": "left", "two": "right", "three": "left"}
        for run_id, first in ways.items():
            orders = [(first, 0), ("left", 0), ("left", 1)]
            flow.run({"todo": orders}, run_id=run_id)
        flow.prune(steps=1)
        one, two, three = map(flow.get, ways)

        assert one.steps[0].step > 0
        assert str(one.compare(three)).startswith("both have the same steps from step 2 on")
        assert "other in step 2, the first that both still have" in str(one.compare(two))


def test_how_both_stand_is_said() -> None:
    """Runs that came to other ends after the same steps differ in their status."""
    flow = triage().compile(pause_before=["send"])
    paused = flow.run({})
    cancelled = flow.cancel(flow.run({}).run_id)

    found = paused.compare(cancelled)

    assert (found.is_same, found.statuses) == (True, ("paused", "cancelled"))
    assert str(found).splitlines()[-1].split() == ["status", "paused", "|", "cancelled"]


class Loose(BaseModel):
    value: JsonValue = 1
    items: list[JsonValue] = []


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), ([1], [True])])
def test_values_are_compared_as_they_are_stored(one: JsonValue, other: JsonValue) -> None:
    """What Python calls equal and JSON writes in another way is a change, and a difference."""
    graph = StateGraph(Loose, name="loose")
    graph.add_node("change", lambda _: {"value": other})
    graph.add_edge(START, "change")
    graph.add_edge("change", END)
    flow = graph.compile(pause_before=["change"])
    left, right = (flow.run({"value": value, "items": ["a", value]}) for value in (one, other))
    changed = flow.resume(left.run_id)

    found = left.compare(right)

    assert repr(changed.diff(1)) == repr({"value": (one, other)})
    assert found.parted == 0
    assert found.fields.keys() == {"value", "items"}
    assert f"1 item, then [{other!r}]" in str(found)
    assert left.compare(left).is_same


def test_each_goto_of_a_node_counts() -> None:
    """Tasks of one node choose for themselves: each choice that differs is a parting of its own."""

    class Turns(BaseModel):
        at: int = 0

    ways = {0: "left", 1: "left", 2: "right"}
    graph = StateGraph(Turns, name="turns")
    graph.add_conditional_edges(START, lambda _: [Send("turn", {"at": n}) for n in ways], ["turn"])
    graph.add_node(
        "turn", lambda state: Command(goto=ways[state.at]), targets=["left", "right", END]
    )
    for name in ("left", "right"):
        graph.add_node(name, lambda _: None)
        graph.add_edge(name, END)
    first = graph.compile().run({})
    ways.update({1: "right", 2: "left"})

    found = first.compare(graph.compile().run({}))

    assert found.parted == 1
    sides = [(one.left, one.right) for one in found.decisions]
    chosen = [tuple(side and side.chosen for side in pair) for pair in sides]
    assert chosen == [(("left",), ("right",)), (("right",), ("left",))]


def test_the_command(tmp_path: Path) -> None:
    """`graphflow diff` needs no code: two runs, or what one step changed; else it says how."""
    from click.testing import CliRunner

    with triage().compile(tmp_path / "runs.db") as flow:
        flow.run({}, run_id="first")
        flow.fork("first", 1, choose={"route": "ask_human"})
        forked = flow.runs()[0].run_id
    place = ["--db", str(tmp_path / "runs.db")]
    shell = CliRunner()

    two = shell.invoke(cli, ["diff", "first", forked, *place])
    step = shell.invoke(cli, ["diff", "first", "--step", "2", *place])
    nothing = shell.invoke(cli, ["diff", "first", *place])

    assert two.exit_code == 0, two.output
    assert "the same up to step 0, other in step 1" in two.output
    assert 'reply: "" → "We are sorry."' in step.output
    assert nothing.exit_code == 2
    assert "diff RUN OTHER" in nothing.output
