"""What a step, a resume and a history cost, as laws that hold without a clock: counts and bytes."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, PlainSerializer

from benchmarks.fsyncs import fsyncs_per_step
from graphflow import END, START, Flow, Limits, StateGraph, append
from graphflow.checkpoint import stored_step
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.history import States

FAR = Limits(steps=10**9, visits=10**9)
MESSAGE = "x" * 200


class Talk(BaseModel):
    n: int = 0
    limit: int = 0
    messages: Annotated[list[str], append] = []


def say(state: Talk) -> dict[str, Any]:
    return {"n": state.n + 1, "messages": [f"{state.n:08d}" + MESSAGE[8:]]}


def blind(state: Talk) -> str:
    return "say" if state.n < state.limit else END


def reading(state: Talk) -> str:
    return "say" if len(state.messages) < state.limit else END


def talk(store: Any, router: Callable[[Talk], str] = reading) -> Flow[Talk]:
    graph = StateGraph(Talk, name="talk")
    graph.add_node("say", say)
    graph.add_edge(START, "say")
    graph.add_conditional_edges("say", router, ["say", END])
    return graph.compile(store, limits=FAR)


@contextmanager
def said(path: Path, steps: int, router: Callable[[Talk], str] = reading) -> Iterator[Flow[Talk]]:
    """Give a flow on a file that has one run, `t`, of so many steps."""
    with talk(SqliteCheckpointer(path, durability="normal"), router) as flow:
        flow.run({"limit": steps}, run_id="t")
        yield flow


@pytest.mark.parametrize("router", [blind, reading])
def test_check_02_the_file_of_a_growing_list_is_small_and_linear(
    tmp_path: Path, router: Callable[[Talk], str]
) -> None:
    """1,000 steps of 200 bytes make at most 1 MB, 10,000 ten times that, read by routers or not."""
    sizes = []
    for steps in (1_000, 10_000):
        path = tmp_path / f"{steps}.db"
        with said(path, steps, router):
            pass
        sizes.append(path.stat().st_size)
    assert sizes[0] <= 1_000_000
    assert sizes[1] <= 10 * sizes[0]


def test_check_03_a_step_is_one_transaction_of_three_rows(tmp_path: Path) -> None:
    """A step of one task is one transaction, which stores the step, its task and its decision."""
    store = SqliteCheckpointer(tmp_path / "runs.db")
    with talk(store) as flow:
        flow.run({"limit": 1})  # stores the graph too
        file = store._file
        before, begun = file.transactions, Counter[str]()
        file.read(
            lambda cursor: cursor.connection.set_trace_callback(
                lambda sql: begun.update([sql.split(" (")[0]])
            )
        )
        flow.run({"limit": 50})
        file.read(lambda cursor: cursor.connection.set_trace_callback(None))
    assert file.transactions - before == 51  # the input is step 0
    assert begun["BEGIN IMMEDIATE"] == begun["COMMIT"] == 51
    assert {sql: n for sql, n in begun.items() if n >= 50} == {
        "BEGIN IMMEDIATE": 51,
        "COMMIT": 51,
        "INSERT OR IGNORE INTO steps": 51,
        "INSERT INTO tasks": 50,
        "INSERT INTO decisions": 50,
    }
    assert sum(n for n in begun.values() if n < 50) <= 12  # what begins and ends a run


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace counts the fsyncs")
def test_check_03_a_step_is_one_fsync() -> None:
    """Of a loop on disk each step is synced once; what copies the log adds a few in a hundred."""
    try:
        found = fsyncs_per_step("graphflow")
    except CalledProcessError as error:
        pytest.skip(f"strace may not look at processes here: {error.stderr[:200]}")
    assert 1 <= found <= 1.1


calls: Counter[str] = Counter()


def _noted(what: str) -> Callable[[int], int]:
    def note(value: int) -> int:
        calls[what] += 1
        return value

    return note


class Item(BaseModel):
    n: Annotated[int, AfterValidator(_noted("validated")), PlainSerializer(_noted("encoded"))] = 0


class Stock(BaseModel):
    n: int = 0
    limit: int = 0
    items: list[Item] = []


@pytest.mark.parametrize("is_stored", [False, True], ids=["memory", "sqlite"])
def test_check_04_what_a_step_does_not_change_is_not_touched(
    tmp_path: Path, is_stored: bool
) -> None:
    """With 1,000 nested models in the state, steps that change an int validate and encode none."""
    graph = StateGraph(Stock, name="stock")
    graph.add_node("bump", lambda state: {"n": state.n + 1})
    graph.add_edge(START, "bump")
    graph.add_conditional_edges(
        "bump", lambda state: "bump" if state.n < state.limit else END, ["bump", END]
    )
    found = []
    for steps in (1, 300):
        with graph.compile(tmp_path / f"{steps}.db" if is_stored else None, limits=FAR) as flow:
            calls.clear()
            state = flow.run({"limit": steps, "items": [{"n": n} for n in range(1_000)]}).state
            found.append(dict(calls))
        assert (state.n, len(state.items)) == (steps, 1_000)
    assert found[0] == found[1]


def test_check_05_the_head_is_loaded_from_its_tail(tmp_path: Path) -> None:
    """Taking up a run reads its state about once and a few steps, however many it has."""
    for steps in (1_000, 3_000):
        with said(tmp_path / f"{steps}.db", steps) as flow:
            tail = flow.store.load("t", tail=True)
            texts = [s.state_json + (s.added_json or "") for s in tail.snapshots]
            texts += [text for step in tail.steps for text in step.updates()]
            state = len(flow.get("t").state.model_dump_json())
        assert len(tail.steps) <= 150
        assert sum(map(len, texts)) <= 1.2 * state


def test_check_05_a_history_is_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All states are read with one load; each step is applied once, and no task is made."""
    done: Counter[str] = Counter()
    load, apply, task = SqliteCheckpointer.load, States._apply, stored_step.task_from

    def loaded(*args: Any, **options: Any) -> Any:
        done["loads"] += not options.get("tail")
        return load(*args, **options)

    def applied(*args: Any) -> None:
        done["applied"] += 1
        apply(*args)

    def made(*args: Any) -> Any:
        done["tasks"] += 1
        return task(*args)

    with said(tmp_path / "runs.db", 1_000) as flow:
        monkeypatch.setattr(SqliteCheckpointer, "load", loaded)
        monkeypatch.setattr(States, "_apply", applied)
        monkeypatch.setattr(stored_step, "task_from", made)
        run = flow.get("t")
        states = [run.state_at(step.step) for step in run.steps]
    assert [state.n for state in states] == list(range(1_001))
    assert done == {"loads": 1, "applied": 1_000}
