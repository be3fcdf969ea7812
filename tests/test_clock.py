"""The clock may be set forward and back: what a run does and how it is seen does not hang on it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphflow import END, START, Context, Retry, StateGraph, append
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import LeaseLostError, RunBusyError, RunFailedError
from graphflow.names import new_run_id
from graphflow.records import Ending
from graphflow.testing.processes import living_process

HOUR = 3600 * 10**9


class Words(BaseModel):
    count: int = 0
    words: Annotated[list[str], append] = []


def set_clock(monkeypatch: pytest.MonkeyPatch, tell: Callable[[], int]) -> None:
    """Have graphflow ask another clock for the time of day."""
    monkeypatch.setattr("graphflow.clock.time_ns", tell)
    monkeypatch.setattr("graphflow.names.time", SimpleNamespace(time_ns=tell))


@pytest.fixture(params=["back", "wild", "stopped"])
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A clock that goes back an hour each time it is asked, one that jumps, one that stands."""
    chance, start, asked = random.Random(1), time.time_ns(), iter(range(10**9))
    clocks = {
        "back": lambda: start - next(asked) * HOUR,
        "wild": lambda: start + chance.randrange(-(10**5), 10**5) * HOUR,
        "stopped": lambda: start,
    }
    set_clock(monkeypatch, clocks[request.param])
    return request.param


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Both stores."""
    made: Any = MemoryCheckpointer()
    if request.param == "sqlite":
        made = SqliteCheckpointer(tmp_path / "runs.db")
    yield made
    made.close()


def asking_graph(failures: list[int]) -> StateGraph[Words]:
    """Make a graph whose first node fails, asks, and may fail again when it is answered."""
    graph = StateGraph(Words, name="asks")

    def asks(state: Words, ctx: Context) -> dict[str, Any]:
        if failures and failures.pop(0):
            raise ConnectionError("away")
        word = ctx.ask("word", "Which?", answer=str)
        if failures and failures.pop(0):
            raise ConnectionError("away again")
        return {"words": [word]}

    graph.add_node("asks", asks, retry=Retry(attempts=2, wait=0))
    graph.add_node("beside", lambda s: {"words": ["beside"]})
    graph.add_node("join", lambda s: {"count": len(s.words)})
    graph.add_edge(START, "asks")
    graph.add_edge(START, "beside")
    graph.add_edge(["asks", "beside"], "join")
    graph.add_edge("join", END)
    return graph


def test_a_question_after_a_failure_is_open_and_its_answer_goes_on(clock: str, store: Any) -> None:
    """A body that failed, was tried again and asked waits for its answer, and then goes on."""
    flow = asking_graph([1, 0]).compile(store)
    run = flow.run({})
    assert (run.status, run.open["asks"]) == ("paused", "asking")
    run = flow.get(run.run_id)
    assert list(run.open_questions) == ["asks:word"]
    run = flow.answer(run.run_id, "yes")
    assert (run.status, run.state.words, run.state.count) == ("done", ["yes", "beside"], 2)


def test_a_failure_after_an_answer_is_a_failure(clock: str, store: Any) -> None:
    """A body that asked, was answered and failed stands failed, and a resume runs it again."""
    failures = [0, 0, 1, 0, 1]
    flow = asking_graph(failures).compile(store)
    paused = flow.run({})
    assert paused.open["asks"] == "asking"
    with pytest.raises(RunFailedError, match="away again"):
        flow.answer(paused.run_id, "yes")
    run = flow.get(paused.run_id)
    assert (run.status, run.open["asks"]) == ("failed", "failed")
    assert not run.open_questions
    assert flow.resume(run.run_id).state.words == ["yes", "beside"]


def test_runs_are_listed_as_they_were_begun(clock: str, store: Any) -> None:
    """The run begun last comes first; each has an id of its own."""
    flow = asking_graph([]).compile(store)
    begun = [flow.start({}).run_id for _ in range(20)]
    assert len(set(begun)) == 20
    assert [run.run_id for run in flow.runs()] == begun[::-1]
    assert [run.run_id for run in flow.runs(limit=3)] == begun[:-4:-1]
    assert {len(new_run_id()) for _ in range(100)} == {26}


def test_a_loop_with_snapshots_is_resumed_and_forked(clock: str, store: Any) -> None:
    """Steps and snapshots follow each other by number: state, history and forks are as ever."""
    graph = StateGraph(Words, name="loop")
    graph.add_node("add", lambda s: {"count": s.count + 1, "words": ["word " * 2000]})
    graph.add_edge(START, "add")
    graph.add_conditional_edges("add", lambda s: END if s.count == 20 else "add", ["add", END])
    flow = graph.compile(store)
    run_id = flow.start({}).run_id
    for _ in range(4):
        flow.advance(run_id, steps=5)
    run = flow.get(run_id)
    assert run.header.step == 20
    assert [len(run.state_at(step).words) for step in range(21)] == list(range(21))
    assert len(run.records.snapshots) > 1
    assert flow.resume(run_id).status == "done"
    assert flow.get(run_id).duration_ms >= 0
    assert "loop · done" in str(flow.get(run_id))
    assert len(flow.fork(run_id, 10, update={"count": 18}).state.words) == 12


def test_a_lease_does_not_run_out(clock: str, store: Any) -> None:
    """A run stays with its living process, whatever time it is, until it is taken over."""
    flow = asking_graph([]).compile(store)
    run_id = flow.start({}).run_id
    with living_process() as other:
        old = store.take(run_id, other)
        with pytest.raises(RunBusyError):
            flow.resume(run_id)
        assert flow.get(run_id).status == "running"
        assert flow.resume(run_id, take_over=True).open["asks"] == "asking"
        with pytest.raises(LeaseLostError):
            store.end(old, Ending("done"))


@pytest.mark.parametrize("jump", [-10, 10])
def test_a_deadline_is_a_time_of_day(
    monkeypatch: pytest.MonkeyPatch, store: Any, jump: int
) -> None:
    """A deadline passes when the clock says so: early when it is set forward, late when back."""
    graph = StateGraph(Words, name="person")
    graph.add_question(
        "person",
        prompt="Which?",
        answer=list[str],
        into="words",
        deadline=timedelta(hours=5),
        default=["nobody"],
    )
    graph.add_edge(START, "person")
    graph.add_edge("person", END)
    flow = graph.compile(store)
    run = flow.run({})
    set_clock(monkeypatch, lambda: time.time_ns() + jump * HOUR)
    run = flow.resume(run.run_id)
    if jump > 0:
        assert (run.status, run.state.words) == ("done", ["nobody"])
    else:
        assert (run.status, list(run.open_questions)) == ("paused", ["person"])
        assert flow.answer(run.run_id, ["me"]).state.words == ["me"]
