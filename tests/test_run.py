"""The reading side of a run: states, differences, arrows, usage; in memory and in a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Limits,
    Reducer,
    Replace,
    Run,
    RunFailedError,
    StateGraph,
    add,
    append,
    merge,
    union,
)
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import RunExistsError, RunNotFoundError, StateError
from graphflow.records import TaskRecord, wall_ms
from graphflow.run import Usage
from tests.rig.forge import rows


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    total: Annotated[int, add] = 0
    table: Annotated[dict[str, int], merge] = Field(default_factory=dict)
    tags: Annotated[set[str], union] = Field(default_factory=set)
    best: Annotated[float, Reducer(max)] = 0.0
    when: datetime | None = None
    name: str = "none"


WHEN = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
UPDATES: dict[str, dict[str, Any]] = {
    "a": {"log": ["a"], "total": 2, "table": {"x": 1}, "tags": {"red"}, "best": 0.5},
    "b": {"log": ["b1", "b2"], "total": -5, "table": {"x": 3, "y": 2}, "tags": {"red", "blue"}},
    "c": {"log": Replace(["new"]), "best": 0.3, "when": WHEN, "name": "c"},
    "d": {},
}


def graph_of(**updates: Any) -> StateGraph[State]:
    """Make a chain of nodes that write these updates."""
    graph = StateGraph(State, name="chain")
    before = START
    for name, update in updates.items():
        graph.add_node(name, lambda s, update=update: update)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Both stores; each test must see the same."""
    made = (
        MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(tmp_path / "r.db")
    )
    yield made
    made.close()


def test_the_state_after_each_step(store: Any) -> None:
    """state_at gives instances of the user's class; the last is `state`, live and reloaded."""
    flow = graph_of(**UPDATES).compile(store)
    run = flow.run({"name": "given"}, run_id="r")
    again = flow.get("r")

    for seen in (run, again):
        assert seen.state_at(0) == State(name="given")
        assert seen.state_at(2) == State(
            log=["a", "b1", "b2"],
            total=-3,
            table={"x": 3, "y": 2},
            tags={"red", "blue"},
            best=0.5,
            name="given",
        )
        assert seen.state_at(4) == seen.state_at(3) == seen.state
        assert (seen.state.log, seen.state.best, seen.state.when) == (["new"], 0.5, WHEN)
    assert run.values == again.values
    assert run.state == again.state
    assert type(again.state) is State


def test_what_a_step_changed(store: Any) -> None:
    """diff: per changed field its JSON value before and after; step 0 is from nothing."""
    run = graph_of(**UPDATES).compile(store).run({})

    assert run.diff(0)["name"] == (None, "none")
    assert run.diff(0).keys() == State.model_fields.keys()
    assert run.diff(2)["total"] == (2, -3)
    assert run.diff(2)["log"] == (["a"], ["a", "b1", "b2"])
    assert run.diff(3).keys() == {"log", "when", "name"}
    assert run.diff(4) == {}


@pytest.mark.parametrize("step", [-1, 5, 99])
def test_a_step_that_is_not_there(store: Any, step: int) -> None:
    """It says which there are."""
    run = graph_of(**UPDATES).compile(store).run({})

    for look in (run.state_at, run.values_at, run.diff):
        with pytest.raises(RunNotFoundError, match="0 to 4"):
            look(step)


def test_which_arrows_ran(store: Any) -> None:
    """took: the arrow itself, not that both nodes ran."""
    graph = graph_of(a={}, b={}, c={})
    graph.add_conditional_edges("a", lambda s: [], ["c", END], name="never")
    run = graph.compile(store).run({})

    assert run.took(START, "a")
    assert run.took("a", "b")
    assert run.took("c", END)
    assert not run.took("a", "c")
    assert not run.took("b", "a")


def test_a_run_that_needed_a_second_try_is_recovered(store: Any) -> None:
    """recovered: done, although an execution failed."""
    broken = [True]

    def body(state: State) -> None:
        if broken:
            broken.clear()
            raise ValueError("once")

    graph = StateGraph(State, name="g")
    graph.add_node("a", body)
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="r")
    failed = caught.value.run
    assert isinstance(failed, Run)
    assert (failed.status, failed.error, failed.recovered) == ("failed", "ValueError: once", False)

    run = flow.resume("r")
    assert run.recovered
    assert run.error is None
    assert run.reason is None
    assert [(a.node, a.attempt, a.error_type, a.error) for a in run.attempts] == [
        ("a", 1, "ValueError", "once")
    ]
    assert not flow.run({}).recovered


def test_a_run_says_what_it_was_when_it_was_made(store: Any) -> None:
    """`flow.get` looks again; what one holds does not change under one's hands."""
    graph = StateGraph(State, name="g")
    graph.add_node("a", lambda s: {"total": 1})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: END if s.total > 3 else "a", ["a", END])
    flow = graph.compile(store)
    first = flow.run({}, limits=Limits(steps=2))
    second = flow.resume(first.run_id, limits=Limits(steps=100, visits=25))

    assert second.status == "done"
    assert first.state.total == 2
    assert (first.status, first.values["total"], len(first.path)) == ("paused", 2, 2)


def test_a_run_without_calls_used_nothing(store: Any) -> None:
    """Usage is the sum of the model calls."""
    run = graph_of(a={}).compile(store).run({})

    assert run.usage == Usage(0, 0, 0)
    assert list(run.calls) == []
    assert run.duration_ms >= 0


def test_a_run_in_memory_is_saved_as_it_is(tmp_path: Path) -> None:
    """save: the same records in a file; another with this id is refused."""
    path = tmp_path / "saved.db"
    flow = graph_of(**UPDATES).compile()
    run = flow.run({"name": "x"}, run_id="r", tags={"k": "v"})
    run.save(path)

    with graph_of(**UPDATES).compile(path) as other:
        copy = other.get("r")
        assert copy.values == run.values
        assert copy.path == run.path
        assert copy.state_at(2) == run.state_at(2)
        assert (copy.status, copy.header.tags_json) == ("done", run.header.tags_json)
        assert copy.records.spec == run.records.spec
        with pytest.raises(RunExistsError):
            run.save(path)
    assert rows(path, "select count(*) from steps") == [(5,)]


def test_a_paused_run_that_is_saved_goes_on_from_the_file(tmp_path: Path) -> None:
    """The copy is a run like any other."""
    path = tmp_path / "saved.db"
    graph = StateGraph(State, name="g")
    graph.add_node("a", lambda s: {"total": 1})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: END if s.total > 3 else "a", ["a", END])
    run = graph.compile().run({}, run_id="r", limits=Limits(steps=2))
    run.save(path)

    with graph.compile(path) as flow:
        assert flow.get("r").reason == "limit:steps"
        assert flow.resume("r", limits=Limits(steps=100, visits=25)).state.total == 4


def test_a_run_is_read_without_its_code(store: Any) -> None:
    """values, path, diff and decisions need no class; a state does, and says so."""
    graph_of(**UPDATES).compile(store).run({}, run_id="r")
    run: Run[Any] = Run(store, "r")

    assert run.path == ["a", "b", "c", "d"]
    assert run.values["total"] == -3
    assert run.diff(1)["best"] == (0.0, 0.5)
    with pytest.raises(StateError, match=r"flow\.get"):
        _ = run.state


def test_repr_and_print_never_raise(store: Any, tmp_path: Path) -> None:
    """Even of a run that is not there."""
    run = graph_of(**UPDATES).compile(store).run({}, run_id="r")
    assert "Run r: done" in repr(run)
    assert "a" in str(run)
    assert run._repr_mimebundle_()

    lost: Run[Any] = Run(store, "lost")
    assert "lost" in repr(lost)
    assert "text/plain" in lost._repr_mimebundle_()


def test_the_live_state_does_not_leak_into_the_run(store: Any) -> None:
    """Changing what `run.state` holds changes no record."""
    flow = graph_of(**UPDATES).compile(store)
    run = flow.run({}, run_id="r")
    run.state.log.append("mine")

    assert run.values["log"] == ["new"]
    assert flow.get("r").state.log == ["new"]


def test_a_long_run_is_read_back_at_every_step(store: Any) -> None:
    """Snapshots on the way change nothing of what is read."""
    graph = StateGraph(State, name="g")
    graph.add_node("a", lambda s: {"log": ["x" * 200], "total": 1, "best": s.total * 1.0})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: END if s.total >= 200 else "a", ["a", END])
    flow = graph.compile(store, limits=Limits(1000, 1000))
    run = flow.run({}, run_id="r")
    again = flow.get("r")

    assert 1 < len(again.records.snapshots) < 60
    assert again.state == run.state
    for step in (0, 1, 57, 123, 199, 200):
        state = again.state_at(step)
        assert (state.total, len(state.log), state.best) == (step, step, max(step - 1.0, 0.0))


def test_bodies_side_by_side_count_once() -> None:
    """A step takes as long as by the clock: not the sum of its bodies, nor what lies between."""

    def task(ix: int, second: int, ms: float) -> TaskRecord:
        return TaskRecord(ix, str(ix), str(ix), None, f"2026-01-01T00:00:{second:02}+00:00", ms)

    assert wall_ms([task(0, 0, 3000), task(1, 1, 3000)]) == 4000
    assert wall_ms([task(0, 0, 3000), task(1, 1, 1000)]) == 3000
    assert wall_ms([task(0, 0, 1000), task(1, 9, 1000)]) == 2000  # the second ran after a resume
    side_by_side = [task(ix, second, 2000) for second in (0, 30) for ix in (0, 1)]
    assert wall_ms(side_by_side) == 4000
    assert wall_ms([task(0, 0, 5)]) == 5
    assert wall_ms([]) == 0
