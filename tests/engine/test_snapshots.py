"""Snapshots: a run is taken up without reading all of its steps, and its file stays linear."""

import random
from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphflow import END, START, Limits, Reducer, Replace, StateGraph, append, merge
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.engine import snapshots
from graphflow.engine.position import restore
from graphflow.history import values_at
from graphflow.plan import Plan
from graphflow.records import RunRecords
from graphflow.state.schema import StateSchema

FAR = Limits(10**6, 10**6)


class State(BaseModel):
    n: int = 0
    text: str = ""
    notes: Annotated[list[str], append] = []
    pair: Annotated[tuple[int, ...], append] = ()
    maybe: Annotated[list[int] | None, append] = None
    scores: Annotated[dict[str, int], merge] = {}
    best: Annotated[int, Reducer(max)] = 0


def an_update(chance: random.Random, n: int) -> dict[str, Any]:
    """Make an update of some fields."""
    every: dict[str, Any] = {
        "text": "x" * chance.randrange(200),
        "notes": chance.choice([[], ["é" * n], ["a", "b"], Replace(["new"]), Replace([])]),
        "pair": chance.choice([(n,), (), Replace((1, 2))]),
        "maybe": chance.choice([[n], Replace(None), Replace([0])]),
        "scores": {str(n % 5): n},
        "best": chance.randrange(100),
    }
    return {"n": n, **{name: every[name] for name in chance.sample(sorted(every), 2)}}


def applied(state: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """Apply an update in the plainest way."""
    after = dict(state)
    for name, value in update.items():
        old = state[name]
        if isinstance(value, Replace):
            after[name] = value.value
        elif name in ("notes", "pair", "maybe"):
            after[name] = value if old is None else old + value
        elif name == "scores":
            after[name] = old | value
        else:
            after[name] = max(old, value) if name == "best" else value
    return after


def a_loop(node: Any, state: Any = State) -> StateGraph[Any]:
    """Make a graph of one node that runs again and again."""
    graph = StateGraph(state, name="loop")
    graph.add_node("a", node)
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda _: "a", ["a", END])
    return graph


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("is_stored", [False, True])
def test_every_state_is_read_back(
    seed: int, is_stored: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was set, appended and replaced between snapshots and resumes, nothing is lost."""
    monkeypatch.setattr(snapshots, "_FEW", 1500)
    chance = random.Random(seed)
    updates = [an_update(chance, n) for n in range(1, 91)]
    expected = [State().model_dump()]
    for update in updates:
        expected.append(applied(expected[-1], update))
    store = SqliteCheckpointer(tmp_path / "r.db") if is_stored else MemoryCheckpointer()
    flow = a_loop(lambda state: updates[state.n]).compile(store)
    last = chance.randrange(1, 30)
    run = flow.run({}, run_id="r", limits=Limits(last, 10**6))
    while last < 90:
        last = min(90, last + chance.randrange(1, 30))
        run = flow.resume("r", limits=Limits(last, 10**6))
        assert run.state.model_dump() == expected[last]
    parts = run.records.snapshots
    assert {part.since is None for part in parts} == {True, False}
    order = list(range(91))
    for _ in range(2):
        assert [run.state_at(step).model_dump() for step in order] == [expected[n] for n in order]
        chance.shuffle(order)
    flow.close()


def records_of(state: Any, node: Any, steps: int) -> tuple[Plan, RunRecords, RunRecords]:
    """Run a loop in memory; give its plan, all of its records, and their tail."""
    store = MemoryCheckpointer()
    graph = a_loop(node, state)
    graph.compile(store).run({}, run_id="r", limits=Limits(steps, 10**6))
    plan = Plan(graph.definition, StateSchema(state))
    return plan, store.load("r"), store.load("r", tail=True)


def sizes(records: RunRecords) -> tuple[int, int]:
    """Add up the bytes of updates, and those of snapshots."""
    updates = sum(len(text) for step in records.steps for text in step.updates())
    parts = [len(s.state_json) + len(s.added_json or "") for s in records.snapshots]
    return updates, sum(parts)


class Messages(BaseModel):
    n: int = 0
    messages: Annotated[list[str], append] = []


class Document(BaseModel):
    n: int = 0
    text: str = ""


@pytest.mark.parametrize(("steps", "length"), [(300, 200), (1000, 200), (300, 20_000)])
def test_a_list_that_grows_is_stored_twice(steps: int, length: int) -> None:
    """Once in the updates, once in snapshots; the tail has all of it once, and few steps."""
    plan, whole, tail = records_of(
        Messages, lambda s: {"n": s.n + 1, "messages": ["x" * length]}, steps
    )
    updates, parts = sizes(whole)
    assert parts <= 1.1 * updates
    read = sum(sizes(tail))
    assert read <= 1.1 * sum(len(text) for text in whole.steps[-1].updates()) * steps
    assert len(tail.steps) <= 100
    assert len(restore(plan, tail).values["messages"]) == steps


@pytest.mark.parametrize(("steps", "length"), [(300, 10), (300, 1000), (100, 100_000)])
def test_a_text_that_is_written_anew(steps: int, length: int) -> None:
    """What is overwritten at every step is read a few times at most when the run is taken up."""
    _, whole, tail = records_of(Document, lambda s: {"n": s.n + 1, "text": "x" * length}, steps)
    updates, parts = sizes(whole)
    assert parts <= updates
    assert sum(sizes(tail)) <= max(6 * length, 64_000)
    assert len(tail.steps) <= 100


def test_a_first_step_has_the_whole_state() -> None:
    """Of a run, and of a fork: so neither needs another one's snapshots."""
    flow = a_loop(lambda s: {"n": s.n + 1, "messages": ["x" * 2000]}, Messages).compile()
    flow.run({}, run_id="r", limits=Limits(50, 10**6))
    fork = flow.fork("r", 40)
    own = [part for part in fork.records.snapshots if part.step >= 40]
    assert own[0].since is None
    assert own[0].step == 40
    fork = flow.resume(fork.run_id, limits=Limits(90, 10**6))
    assert len(fork.state.messages) == 90
    assert len(fork.state_at(41).messages) == 41


def test_an_end_is_no_loop() -> None:
    """A run of a few steps has the snapshot of its input alone."""
    graph = StateGraph(Messages, name="few")
    graph.add_node("a", lambda s: {"messages": ["x" * 10_000]})
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    assert [part.step for part in graph.compile().run({}).records.snapshots] == [0]


class Changeable(BaseModel):
    n: int = 0
    notes: Annotated[list[str], append] = []
    inner: Annotated[list[dict[str, int]], append] = []
    scores: Annotated[dict[str, int], merge] = {}
    plain: list[int] = [0]
    pair: Annotated[tuple[int, ...], append] = ()
    text: str = ""


def vandal(state: Changeable) -> None:
    """Change all that can be changed in place."""
    state.notes.append("in place")
    state.notes[0] = "in place"
    state.scores["in place"] = -1
    state.plain.append(-1)
    for inner in state.inner:
        inner["in place"] = -1


@pytest.mark.parametrize("seed", range(4))
def test_what_is_changed_in_place_is_in_no_snapshot(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot has what was committed, whatever bodies and routers have changed in place."""
    monkeypatch.setattr(snapshots, "_FEW", 1500)
    chance = random.Random(seed)

    def body(state: Changeable) -> dict[str, Any]:
        vandal(state)
        every: dict[str, Any] = {
            "notes": chance.choice([["é" * 9], [], Replace(["new"])]),
            "inner": [{"a": state.n}],
            "scores": {str(state.n % 5): state.n},
            "plain": [state.n],
            "pair": (state.n,),
            "text": "x" * chance.randrange(300),
        }
        return {"n": state.n + 1} | {name: every[name] for name in chance.sample(sorted(every), 3)}

    def again(state: Changeable) -> str:
        vandal(state)
        return "a"

    graph = StateGraph(Changeable, name="loop")
    graph.add_node("a", body)
    graph.add_conditional_edges(START, again, ["a"])
    graph.add_conditional_edges("a", again, ["a", END])
    flow = graph.compile()
    given = {"notes": ["first"]}
    run = flow.run(given, run_id="r", limits=Limits(chance.randrange(9, 60), 10**6))
    run = flow.resume("r", limits=Limits(100, 10**6))
    fork = flow.fork("r", chance.randrange(10, 90))
    assert {part.since is None for part in run.records.snapshots} == {True, False}
    assert run.state_at(0).notes == ["first"]
    for records in (run.records, fork.records):
        updates = replace(records, snapshots=records.snapshots[:1])
        for step in records.steps:
            assert values_at(records, step.step) == values_at(updates, step.step)
