"""Budgets: calls, tokens and seconds; of a run, of a node; the edge, the pause, and going on."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Budget,
    Context,
    Defaults,
    Retry,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.errors import DefinitionError
from graphflow.testing.llm import FakeLLM

LONG = 20.0
"""Seconds that a test waits for what comes at once, before it is red instead of hanging."""


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    items: list[int] = Field(default_factory=list)
    results: list[str] = Field(default_factory=list)
    name: str = ""
    n: int = 0


@pytest.fixture
def llm() -> FakeLLM:
    """A model that answers two words: with a prompt of three words a call is five tokens."""
    return FakeLLM(answer=lambda payload: "fine thanks")


def calls(name: str, times: int = 1, ran: list[str] | None = None) -> Callable[..., Any]:
    """Make a body that asks the model so often."""

    def body(state: State, ctx: Context) -> Any:
        if ran is not None:
            ran.append(name)
        for _ in range(times):
            ctx.llm.sync.chat("how are you")
        return {"log": [name]}

    return body


def line(*bodies: tuple[str, Callable[..., Any]], **rules: Any) -> StateGraph[State]:
    """Make a chain of nodes."""
    graph = StateGraph(State, name="line", defaults=rules.pop("defaults", None))
    before = START
    for name, body in bodies:
        graph.add_node(name, body, **rules.get(name, {}))
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


def fan(*bodies: tuple[str, Callable[..., Any]], **rules: Any) -> StateGraph[State]:
    """Make nodes side by side."""
    graph = StateGraph(State, name="fan")
    for name, body in bodies:
        graph.add_node(name, body, **rules.get(name, {}))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


# ------------------------------------------------------------------------------------- of a run


@pytest.mark.parametrize("face", ["run", "arun"])
def test_a_call_beyond_the_budget_is_not_made_and_the_run_pauses(
    store: Any, llm: FakeLLM, face: str
) -> None:
    """budget:calls; what is done stays done; resumed with more it goes on from there."""
    ran: list[str] = []
    graph = line(*((name, calls(name, 1, ran)) for name in "abc"))
    flow = graph.compile(store, llm=llm.client())
    run = (
        flow.run({}, run_id="r", budget=Budget(calls=2))
        if face == "run"
        else asyncio.run(flow.arun({}, run_id="r", budget=Budget(calls=2)))
    )

    assert (run.status, run.reason) == ("paused", "budget:calls")
    assert (run.state.log, len(llm.requests), run.usage.calls) == (["a", "b"], 2, 2)
    run = (
        flow.resume("r", budget=Budget(calls=3))
        if face == "run"
        else asyncio.run(flow.aresume("r", budget=Budget(calls=3)))
    )
    assert (run.status, run.state.log, len(llm.requests)) == ("done", ["a", "b", "c"], 3)
    assert ran == ["a", "b", "c", "c"]


def test_a_resume_without_more_pauses_at_once_and_counts_what_was_used(
    store: Any, llm: FakeLLM
) -> None:
    """The budget is the run's: it is stored, and what was used before counts."""
    flow = line(*((name, calls(name)) for name in "abc")).compile(store, llm=llm.client())
    flow.run({}, run_id="r", budget=Budget(calls=1))
    assert flow.resume("r").reason == "budget:calls"
    assert json.loads(flow.get("r").header.budget_json)["calls"] == 1
    run = flow.resume("r", budget=Budget(calls=2))
    assert (run.reason, run.state.log) == ("budget:calls", ["a", "b"])
    assert flow.resume("r", budget=Budget(calls=3)).status == "done"
    assert len(llm.requests) == 3


def test_the_budget_of_compile_holds_for_each_run(store: Any, llm: FakeLLM) -> None:
    """Each run has its own; `run(budget=)` goes before it."""
    graph = line(("a", calls("a", 2)))
    flow = graph.compile(store, llm=llm.client(), budget=Budget(calls=1))
    assert flow.run({}).reason == "budget:calls"
    assert flow.run({}).reason == "budget:calls"
    assert flow.run({}, budget=Budget(calls=2)).status == "done"


def test_a_budget_of_nothing_forbids_the_first_call(store: Any, llm: FakeLLM) -> None:
    """Budget(calls=0): a dry run; nodes without a model run."""
    flow = line(("a", lambda s: {"log": ["a"]}), ("b", calls("b"))).compile(store, llm=llm.client())
    run = flow.run({}, budget=Budget(calls=0))
    assert (run.reason, run.state.log, llm.requests) == ("budget:calls", ["a"], [])


def test_a_budget_that_is_just_enough_is_not_reached(store: Any, llm: FakeLLM) -> None:
    """Only what goes beyond it pauses."""
    flow = line(("a", calls("a", 3))).compile(store, llm=llm.client())
    assert flow.run({}, budget=Budget(calls=3, tokens=15)).status == "done"


def test_tokens_are_counted_as_the_server_does(store: Any, llm: FakeLLM) -> None:
    """A call is not made when none are left: five per call, so three calls with a budget of 11."""
    flow = line(*((name, calls(name)) for name in "abcd")).compile(store, llm=llm.client())
    run = flow.run({}, run_id="r", budget=Budget(tokens=11))
    assert (run.reason, run.state.log) == ("budget:tokens", ["a", "b", "c"])
    assert run.usage.input_tokens + run.usage.output_tokens == 15
    assert flow.resume("r").reason == "budget:tokens"
    run = flow.resume("r", budget=Budget(tokens=16))
    assert (run.status, run.usage.input_tokens + run.usage.output_tokens) == ("done", 20)


def test_calls_that_have_no_bound_may_exceed_the_budget_and_that_is_told(
    store: Any, llm: FakeLLM
) -> None:
    """Without max_tokens a call is counted when it ends: the last one may go beyond (README)."""
    flow = line(*((name, calls(name)) for name in "ab")).compile(store, llm=llm.client())
    run = flow.run({}, budget=Budget(tokens=6))
    assert (run.status, run.usage.calls) == ("done", 2)
    assert "10 tok · over its budget of 6 tok" in str(run)
    assert "over its budget" not in str(flow.run({}, budget=Budget(tokens=10)))


def test_what_a_budget_stopped_has_not_failed(store: Any, llm: FakeLLM) -> None:
    """Paused, and resumed with more: no failure, no retry, nothing to recover from."""
    flow = line(("a", calls("a", 2))).compile(store, llm=llm.client())
    run = flow.run({}, run_id="r", budget=Budget(calls=1))
    assert "a      limit · budget: calls used up" in str(run)
    run = flow.resume("r", budget=Budget(calls=2))

    assert (run.status, run.recovered, run.attempts) == ("done", False, [])
    assert [attempt.is_over_budget for attempt in run.records.attempts] == [True]
    assert not any(words in str(run) for words in ("recovered", "retry", "↻"))


def test_a_failure_beside_a_used_up_budget_is_told_apart(store: Any, llm: FakeLLM) -> None:
    """The run has failed; the node that its budget stopped says so, and no more."""

    def broken(state: State) -> Any:
        raise LookupError("no such thing")

    flow = fan(("a", calls("a", 2)), ("b", broken), a={"budget": Budget(calls=1)}).compile(
        store, llm=llm.client()
    )
    with pytest.raises(RunFailedError) as failed:
        flow.run({})
    told = str(failed.value.run)
    assert "a      limit · budget: calls used up" in told
    assert "b      failed · LookupError: no such thing" in told


def test_a_call_that_may_take_more_tokens_than_are_left_is_not_made(
    store: Any, llm: FakeLLM
) -> None:
    """max_tokens is reserved before the call, and given back when it took less."""

    def body(state: State, ctx: Context) -> Any:
        ctx.llm.sync.chat("how are you", max_tokens=8)
        ctx.llm.sync.chat("how are you", max_tokens=8)
        return {"log": ["a"]}

    flow = line(("a", body)).compile(store, llm=llm.client())
    assert flow.run({}, budget=Budget(tokens=12)).reason == "budget:tokens"
    assert len(llm.requests) == 1
    assert flow.run({}, budget=Budget(tokens=13)).status == "done"


def test_parallel_calls_cannot_overdraw_a_budget(store: Any) -> None:
    """Eight nodes at once and a budget of three: three calls, five wait, three are kept."""
    started = threading.Barrier(8)
    llm = FakeLLM(answer=lambda payload: "fine thanks")

    def body(state: State, ctx: Context) -> Any:
        if ctx.attempt == 1 and not resumed.is_set():
            started.wait(LONG)
        ctx.llm.sync.chat("how are you")
        return {"log": [ctx.node]}

    resumed = threading.Event()
    flow = fan(*((f"n{i}", body) for i in range(8))).compile(store, llm=llm.client())
    run = flow.run({}, run_id="r", budget=Budget(calls=3))
    assert (run.status, run.reason, len(llm.requests)) == ("paused", "budget:calls", 3)
    resumed.set()
    run = flow.resume("r", budget=Budget(calls=8))
    assert (run.status, len(llm.requests)) == ("done", 8)
    assert run.state.log == [f"n{i}" for i in range(8)]


def test_a_task_that_waits_for_a_budget_is_among_the_open_ones(store: Any, llm: FakeLLM) -> None:
    """run.open says "limit" of it, as of a child at its limit."""
    flow = fan(("a", calls("a")), ("b", calls("b", 5))).compile(store, llm=llm.client())
    run = flow.run({}, budget=Budget(calls=2))
    assert run.reason == "budget:calls"
    assert run.open == {"a": "done", "b": "limit"}


def test_the_pause_for_a_budget_cannot_be_swallowed(store: Any, llm: FakeLLM) -> None:
    """`except Exception` does not see it; `except BaseException` around a call is an error."""

    def careful(state: State, ctx: Context) -> Any:
        try:
            ctx.llm.sync.chat("how are you")
        except Exception:  # noqa: BLE001 - the rule
            return {"log": ["swallowed"]}
        return {"log": ["a"]}

    def careless(state: State, ctx: Context) -> Any:
        try:
            ctx.llm.sync.chat("how are you")
        except BaseException:  # noqa: BLE001 - the rule
            return {"log": ["swallowed"]}
        return {"log": ["a"]}

    flow = line(("a", careful)).compile(store, llm=llm.client())
    assert flow.run({}, budget=Budget(calls=0)).reason == "budget:calls"
    flow = line(("a", careless)).compile(store, llm=llm.client())
    with pytest.raises(RunFailedError, match="'a' caught the pause"):
        flow.run({}, budget=Budget(calls=0))


def test_a_failed_call_counts(store: Any) -> None:
    """A request that was refused has been made: it counts, as it does in `usage`."""
    llm = FakeLLM([500, "fine"])

    def body(state: State, ctx: Context) -> Any:
        try:
            ctx.llm.sync.chat("how are you")
        except ConnectionError:
            ctx.llm.sync.chat("how are you")
        return {"log": ["a"]}

    flow = line(("a", body)).compile(store, llm=llm.client())
    run = flow.run({}, run_id="r", budget=Budget(calls=1))
    assert (run.reason, len(llm.requests)) == ("budget:calls", 1)


# --------------------------------------------------------------------------- calls are given back


def test_the_calls_of_a_task_that_runs_again_are_given_back(store: Any) -> None:
    """A retry makes its calls again: they count once; tokens were really used."""
    llm = FakeLLM(answer=lambda payload: "fine thanks")
    failures = [TimeoutError("first"), TimeoutError("second")]

    def body(state: State, ctx: Context) -> Any:
        ctx.llm.sync.chat("how are you")
        if failures:
            raise failures.pop()
        return {"log": ["a"]}

    flow = line(("a", body), ("b", calls("b")), a={"retry": Retry(wait=0)}).compile(
        store, llm=llm.client()
    )
    run = flow.run({}, budget=Budget(calls=2))
    assert (run.status, run.usage.calls, run.recovered) == ("done", 4, True)


@pytest.mark.parametrize("is_inside", [False, True], ids=["node", "subgraph"])
def test_a_resume_without_more_makes_no_calls(is_inside: bool, store: Any, llm: FakeLLM) -> None:
    """However often: what used the budget up would use as much again, and get no further."""
    ran = list[str]()
    graph = line(("a", calls("a", times=3, ran=ran)))
    if is_inside:
        outer = StateGraph(State, name="outer")
        outer.add_node("sub", graph, input={}, output={"log": "log"})
        outer.add_edge(START, "sub")
        outer.add_edge("sub", END)
        graph = outer
    flow = graph.compile(store, llm=llm.client())
    reason = "budget:calls:sub" if is_inside else "budget:calls"
    assert flow.run({}, run_id="r", budget=Budget(calls=2)).reason == reason

    for _ in range(3):
        run = flow.resume("r")
        assert (run.status, run.reason) == ("paused", reason)
    assert (len(llm.requests), ran) == (2, ["a"])

    assert flow.resume("r", budget=Budget(calls=3)).status == "done"
    assert (len(llm.requests), ran) == (5, ["a", "a"])


def test_the_calls_of_a_failed_task_are_given_back_to_a_resume(store: Any) -> None:
    """Also over a failure and a resume, in this process or another."""
    llm = FakeLLM(answer=lambda payload: "fine thanks")
    broken = [True]

    def body(state: State, ctx: Context) -> Any:
        ctx.llm.sync.chat("how are you")
        if broken:
            raise ValueError("broken")
        return {"log": ["b"]}

    flow = line(("a", calls("a")), ("b", body)).compile(store, llm=llm.client())
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r", budget=Budget(calls=2))
    with pytest.raises(RunFailedError):
        flow.resume("r")
    broken.clear()
    assert flow.resume("r").status == "done"
    assert flow.get("r").usage.calls == 4


def test_the_calls_of_a_task_that_asked_are_given_back(store: Any, llm: FakeLLM) -> None:
    """A body that is run again for an answer makes its calls again."""

    def body(state: State, ctx: Context) -> Any:
        ctx.llm.sync.chat("how are you")
        return {"name": ctx.ask("who", "Who?", answer=str)}

    flow = line(("a", body)).compile(store, llm=llm.client())
    flow.run({}, run_id="r", budget=Budget(calls=1))
    run = flow.answer("r", "me")
    assert (run.status, run.state.name, len(llm.requests)) == ("done", "me", 2)


def test_a_kept_sibling_keeps_its_calls(store: Any, llm: FakeLLM) -> None:
    """What is complete and kept has used its calls: a resume does not get them again."""
    broken = [True]

    def fails(state: State, ctx: Context) -> Any:
        if broken:
            raise ValueError("broken")
        return calls("b", 2)(state, ctx)

    flow = fan(("a", calls("a")), ("b", fails)).compile(store, llm=llm.client())
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r", budget=Budget(calls=2))
    broken.clear()
    assert flow.resume("r").reason == "budget:calls"
    assert flow.resume("r", budget=Budget(calls=3)).status == "done"


# ----------------------------------------------------------------------------------- of a node


def test_a_nodes_budget_is_of_one_execution(store: Any, llm: FakeLLM) -> None:
    """Each Send has its own; one that needs more pauses the run, the others are kept."""
    graph = StateGraph(State, name="sent")

    def body(state: State, ctx: Context) -> Any:
        for _ in range(state.n):
            ctx.llm.sync.chat("how are you")
        return {"log": [f"{state.n}"]}

    graph.add_node("w", body, budget=Budget(calls=2), on_budget="cheap")
    graph.add_node("cheap", lambda s: {"log": [f"cheap {s.n}"]})
    graph.add_conditional_edges(
        START, lambda s: [Send("w", {"n": n}) for n in (1, 2, 3)], ["w"], name="each"
    )
    graph.add_edge("w", END)
    graph.add_edge("cheap", END)
    run = graph.compile(store, llm=llm.client()).run({})

    assert (run.status, run.state.log) == ("done", ["1", "2", "cheap 3"])
    assert (len(llm.requests), run.usage.calls) == (5, 5)


def test_a_node_without_an_edge_pauses_and_names_no_loss(store: Any, llm: FakeLLM) -> None:
    """budget:calls; compiled with a larger one the same run goes on."""
    body = calls("a", 3)
    flow = line(("a", body), a={"budget": Budget(calls=2)}).compile(store, llm=llm.client())
    assert flow.run({}, run_id="r").reason == "budget:calls"
    more = line(("a", body), a={"budget": Budget(calls=3)}).compile(store, llm=llm.client())
    assert more.resume("r").status == "done"


@pytest.mark.parametrize("whose", ["run", "node", "defaults"])
def test_the_edge_is_taken_whichever_budget_is_used_up(
    store: Any, llm: FakeLLM, whose: str
) -> None:
    """on_budget: an arrow in place of the node's own, recorded as a fallback with its cause."""
    graph = StateGraph(
        State,
        name="edge",
        defaults=Defaults(budget=Budget(calls=1)) if whose == "defaults" else None,
    )
    rules: dict[str, Any] = {"budget": Budget(calls=1)} if whose == "node" else {}
    graph.add_node("a", calls("a", 2), on_budget="b", **rules)
    graph.add_node("b", lambda s: {"log": ["b"]})
    graph.add_node("c", lambda s: {"log": ["c"]})
    graph.add_edge(START, "a")
    graph.add_edge("a", "c")
    graph.add_edge("b", END)
    graph.add_edge("c", END)
    flow = graph.compile(store, llm=llm.client())
    run = flow.run({}, budget=Budget(calls=1) if whose == "run" else None)

    assert (run.status, run.path, run.state.log) == ("done", ["a", "b"], ["b"])
    assert [tuple(arrow) for arrow in run.steps[1].arrows] == [("a", "b", "fallback")]
    assert run.steps[1].tasks[0].fell_back == "b"
    assert run.recovered  # another node ran instead
    assert (run.attempts, len(run.records.attempts)) == ([], 1)  # nothing failed
    whose_budget = "the run's" if whose == "run" else "the node's"
    assert run.records.attempts[0].error == f"calls: {whose_budget} budget (calls=1) is used up"
    drawn = next(node for node in run.draw().picture.nodes if node.name == "a")
    assert (drawn.state, drawn.words) == ("over_budget", ("1 · budget: calls used up",))


def test_the_edge_of_a_map(store: Any, llm: FakeLLM) -> None:
    """An item that would go beyond takes the map to its on_budget node (S16)."""

    def item(n: int, ctx: Context) -> str:
        for _ in range(n):
            ctx.llm.sync.chat("how are you")
        return f"{n}"

    graph = StateGraph(State, name="mapped")
    graph.add_map("m", item, over="items", into="results", budget=Budget(calls=1), on_budget="b")
    graph.add_node("b", lambda s: {"log": ["b"]})
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    graph.add_edge("b", END)
    flow = graph.compile(store, llm=llm.client())
    assert flow.run({"items": [1, 1]}).state.results == ["1", "1"]
    assert flow.run({"items": [1, 2, 1]}).path == ["m", "b"]


def test_the_edge_of_a_subgraph(store: Any, llm: FakeLLM) -> None:
    """A child that would go beyond the run's budget takes the node to its on_budget node."""
    graph = StateGraph(State, name="outer")
    graph.add_node("sub", line(("x", calls("x", 2))), output={"log": "log"}, on_budget="b")
    graph.add_node("b", lambda s: {"log": ["b"]})
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    graph.add_edge("b", END)
    run = graph.compile(store, llm=llm.client()).run({}, budget=Budget(calls=1))
    assert (run.status, run.path) == ("done", ["sub", "b"])


# ------------------------------------------------------------------------------------ subgraphs


def test_subgraphs_share_the_budget_and_the_reason_names_the_path(store: Any, llm: FakeLLM) -> None:
    """What a child uses the run has used; resumed with more the child goes on where it stood."""
    ran: list[str] = []
    child = line(("x", calls("x", 1, ran)), ("y", calls("y", 1, ran)))
    graph = line(("a", calls("a", 1, ran)))
    graph.remove_edge("a", END)
    graph.add_node("sub", child, output={"log": "log"})
    graph.add_edge("a", "sub")
    graph.add_edge("sub", END)
    flow = graph.compile(store, llm=llm.client())
    run = flow.run({}, run_id="r", budget=Budget(calls=2))

    assert (run.status, run.reason, run.open) == ("paused", "budget:calls:sub", {"sub": "limit"})
    assert run.usage.calls == 2
    run = flow.resume("r", budget=Budget(calls=3))
    assert (run.status, run.state.log) == ("done", ["a", "x", "y"])
    assert ran == ["a", "x", "y", "y"]


def test_the_budget_of_a_node_that_is_a_graph_bounds_its_child(store: Any, llm: FakeLLM) -> None:
    """What was said of one node is kept, or refused when it is said; not forgotten."""
    graph = StateGraph(State, name="outer")
    try:
        graph.add_node("sub", line(("x", calls("x", 3))), budget=Budget(calls=1))
    except DefinitionError:
        return
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    run = graph.compile(store, llm=llm.client()).run({})
    assert (run.status, len(llm.requests)) == ("paused", 1)


# -------------------------------------------------------------------------------------- seconds


@pytest.mark.parametrize("face", ["run", "arun"])
def test_a_body_that_outlasts_the_seconds_is_left_behind(store: Any, face: str) -> None:
    """budget:seconds: paused, the late result dropped; with more the node runs again."""
    release, threads = threading.Event(), list[threading.Thread]()

    def slow(state: State) -> Any:
        threads.append(threading.current_thread())
        assert release.wait(LONG)
        return {"log": ["a"]}

    flow = line(("a", slow)).compile(store)
    budget = Budget(seconds=0.1)
    run = (
        flow.run({}, run_id="r", budget=budget)
        if face == "run"
        else asyncio.run(flow.arun({}, run_id="r", budget=budget))
    )
    assert (run.status, run.reason, run.state.log) == ("paused", "budget:seconds", [])
    release.set()
    threads[0].join(LONG)
    assert flow.get("r").state.log == []
    run = flow.resume("r", budget=Budget(seconds=LONG))
    assert (run.status, run.state.log) == ("done", ["a"])


def test_the_seconds_of_all_bodies_add_up(store: Any) -> None:
    """Those of committed steps count after a resume, too."""
    clock = threading.Event()

    def works(state: State) -> Any:
        clock.wait(0.15)
        return {"n": state.n + 1}

    flow = line(("a", works), ("b", works), ("c", works)).compile(store)
    run = flow.run({}, run_id="r", budget=Budget(seconds=0.22))
    assert (run.reason, run.state.n) == ("budget:seconds", 1)
    assert flow.resume("r").state.n == 1
    assert flow.resume("r", budget=Budget(seconds=LONG)).state.n == 3


def test_a_body_that_was_left_behind_is_counted_once(store: Any) -> None:
    """The time of a timed-out execution is what was waited for; what it does later is not."""
    release, threads = threading.Event(), list[threading.Thread]()
    finished: list[float] = []

    def slow(state: State) -> Any:
        threads.append(threading.current_thread())
        assert release.wait(LONG)

    def after(state: State) -> Any:
        threading.Event().wait(0.4)
        release.set()
        threads[0].join(LONG)
        return {"log": ["b"]}

    graph = line(("a", slow), ("b", after), ("c", lambda s: {"log": ["c"]}), a={
        "timeout": 0.2, "fallback": "b",
    })  # fmt: skip
    run = graph.compile(store).run({}, budget=Budget(seconds=1.1))
    finished.append(run.duration_ms)
    assert (run.status, run.state.log) == ("done", ["b", "c"]), finished


def test_no_seconds_at_all_begin_no_body(store: Any) -> None:
    """Budget(seconds=0), of the run or of the node: nothing of the body runs."""
    ran: list[str] = []
    begun = threading.Event()

    def body(state: State) -> Any:
        ran.append("a")
        begun.set()

    flow = line(("a", body)).compile(store)
    assert flow.run({}, budget=Budget(seconds=0)).reason == "budget:seconds"
    assert ran == []
    flow = line(("a", body), a={"budget": Budget(seconds=0)}).compile(store)
    run = flow.run({})
    assert (run.status, run.reason) == ("paused", "budget:seconds")
    assert not begun.wait(0.2)


def test_a_nodes_seconds_lead_to_its_edge_not_to_a_retry(store: Any) -> None:
    """A budget that is used up is no timeout: it is not tried again."""
    release, ran = threading.Event(), list[int]()

    def slow(state: State) -> Any:
        ran.append(1)
        assert release.wait(LONG)

    graph = line(("a", slow), a={
        "budget": Budget(seconds=0.1), "retry": Retry(wait=0), "on_budget": "b",
    })  # fmt: skip
    graph.add_node("b", lambda s: {"log": ["b"]})
    graph.add_edge("b", END)
    run = graph.compile(store).run({})
    release.set()
    assert (run.state.log, ran) == (["b"], [1])


def test_seconds_without_end_are_no_bound(store: Any) -> None:
    """Budget(seconds=math.inf) is no error that a body meets."""
    flow = line(("a", lambda s: threading.Event().wait(0.1) or None)).compile(store)
    run = flow.run({}, budget=Budget(seconds=math.inf))
    assert run.status == "done"
    assert flow.resume(run.run_id).status == "done"


# --------------------------------------------------------------------------------- beside others


def test_an_answer_does_not_run_what_waits_for_a_budget(store: Any, llm: FakeLLM) -> None:
    """Only a resume runs it again (S15); the answer is kept."""
    ran: list[str] = []
    graph = fan(("a", calls("a", 2, ran)))
    graph.add_question("q", prompt="who?", into="name")
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    flow = graph.compile(store, llm=llm.client())
    run = flow.run({}, run_id="r", budget=Budget(calls=1))
    assert (run.status, run.reason) == ("paused", "question")

    run = flow.answer("r", "me")
    assert (run.status, run.reason) == ("paused", "budget:calls")
    assert ran == ["a"]
    run = flow.resume("r", budget=Budget(calls=2))
    assert (run.status, run.state.name, run.state.log) == ("done", "me", ["a"])


def test_a_failure_beside_a_used_up_budget_fails_the_run(store: Any, llm: FakeLLM) -> None:
    """`failed` goes before `paused`; a resume with more runs both."""
    broken = [True]

    def fails(state: State) -> Any:
        if broken:
            raise ValueError("broken")
        return {"log": ["b"]}

    flow = fan(("a", calls("a", 2)), ("b", fails)).compile(store, llm=llm.client())
    with pytest.raises(RunFailedError, match="broken"):
        flow.run({}, run_id="r", budget=Budget(calls=1))
    broken.clear()
    assert flow.resume("r", budget=Budget(calls=2)).state.log == ["a", "b"]


def test_a_fork_has_the_budget_of_the_run_that_it_forks(store: Any, llm: FakeLLM) -> None:
    """What the shared steps have used counts, now and when the fork is resumed."""
    flow = line(*((name, calls(name)) for name in "abc")).compile(store, llm=llm.client())
    flow.run({}, run_id="r", budget=Budget(calls=2))
    fork = flow.fork("r", 1)
    assert (fork.reason, fork.state.log) == ("budget:calls", ["a", "b"])
    fork = flow.resume(fork.run_id)
    assert (fork.reason, fork.state.log) == ("budget:calls", ["a", "b"])


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [
    {}, {"calls": -1}, {"tokens": -5}, {"seconds": -0.1}, {"calls": True}, {"calls": "many"},
    {"seconds": float("nan")},
])  # fmt: skip
def test_what_is_no_budget_is_refused(bad: dict[str, Any]) -> None:
    """A bound that could not be meant is refused where it is written, and named."""
    with pytest.raises((ValueError, TypeError), match=next(iter(bad), "say calls=")):
        Budget(**bad)


def test_a_budget_of_the_wrong_kind_is_refused_and_says_what_to_pass(
    store: Any, llm: FakeLLM
) -> None:
    """run, resume and compile; the run stays as it was."""
    graph = line(("a", calls("a", 2)))
    flow = graph.compile(store, llm=llm.client())
    wrong: Any = 5
    with pytest.raises(DefinitionError, match=r"pass Budget\(calls="):
        flow.run({}, budget=wrong)
    flow.run({}, run_id="r", budget=Budget(calls=1))
    with pytest.raises(DefinitionError, match=r"pass Budget\(calls="):
        flow.resume("r", budget=wrong)
    with pytest.raises(DefinitionError, match=r"pass Budget\(calls="):
        graph.compile(store, budget=wrong)
    assert flow.resume("r", budget=Budget(calls=2)).status == "done"
