"""What follows a failure: retry, timeout, fallback, escalation, breaker; and what siblings keep."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import math
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    CircuitBreaker,
    Context,
    Defaults,
    Escalate,
    Limits,
    Retry,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.errors import AnswerError, CircuitOpenError, NodeTimeoutError, RunError

SCRIPT = Path(__file__).parent / "killed_fan.py"
SPEC = importlib.util.spec_from_file_location("killed_fan", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
killed = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(killed)

LONG = 20.0
"""Seconds that a test waits for what comes at once, before it is red instead of hanging."""


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    items: list[int] = Field(default_factory=list)
    results: list[int] = Field(default_factory=list)
    name: str = ""
    n: int = 0


class Refused(Exception):
    """What a client raises for an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status


class Bodies:
    """Bodies that raise what they are told, in order, and then succeed; counts what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def body(self, name: str, *errors: Exception) -> Callable[[State], Any]:
        """Make a body."""
        left = list(errors)

        def act(state: State) -> Any:
            self.ran.append(name)
            if left:
                raise left.pop(0)
            return {"log": [name]}

        return act


@pytest.fixture
def bodies() -> Bodies:
    """Scripted bodies."""
    return Bodies()


def one(body: Callable[..., Any], **rules: Any) -> StateGraph[State]:
    """Make a graph of node `a`, and of `b` that others may lead to."""
    graph = StateGraph(State, name="one", defaults=rules.pop("defaults", None))
    graph.add_node("a", body, **rules)
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    if "b" in {rules.get("fallback"), rules.get("on_budget")}:
        graph.add_node("b", lambda s: {"log": ["b"]})
        graph.add_edge("b", END)
    return graph


def fan(nodes: dict[str, Callable[..., Any]], **rules: Any) -> StateGraph[State]:
    """Make nodes side by side, and their join `last`."""
    graph = StateGraph(State, name="fan")
    for name, body in nodes.items():
        graph.add_node(name, body, **rules.get(name, {}))
        graph.add_edge(START, name)
    graph.add_node("last", lambda s: {"log": ["last"]})
    graph.add_edge(list(nodes), "last")
    graph.add_edge("last", END)
    return graph


def told(run: Any) -> list[tuple[str, int, str]]:
    """Give the failed executions: task, attempt, error."""
    return [(a.key, a.attempt, a.error_type) for a in run.attempts]


# ---------------------------------------------------------------------------------------- retry


def test_check_22_a_404_is_not_retried_and_a_timeout_is(store: Any, bodies: Bodies) -> None:
    """By default what may go away by itself is repeated: a timeout, a 503; not a 404, not a bug."""
    for error, times in (
        (TimeoutError("slow"), 2),
        (ConnectionError("gone"), 2),
        (Refused(503), 2),
        (Refused(429), 2),
        (Refused(404), 1),
        (Refused(401), 1),
        (ValueError("wrong"), 1),
        (KeyError("bug"), 1),
    ):
        bodies.ran.clear()
        graph = one(bodies.body("a", error), retry=Retry(attempts=3, wait=0))
        run_id = f"{type(error).__name__}{getattr(error, 'status_code', '')}"
        if times == 1:
            with pytest.raises(RunFailedError):
                graph.compile(store).run({}, run_id=run_id)
        else:
            assert graph.compile(store).run({}, run_id=run_id).recovered
        assert bodies.ran == ["a"] * times, error


def test_all_attempts_are_recorded_and_a_run_that_needed_them_says_so(
    store: Any, bodies: Bodies
) -> None:
    """Each failed execution: task, number, error, words, traceback; the task counts them all."""
    body = bodies.body("a", TimeoutError("first"), ConnectionError("second"))
    run = one(body, retry=Retry(attempts=3, wait=0)).compile(store).run({})

    assert (run.status, run.recovered, run.state.log) == ("done", True, ["a"])
    assert told(run) == [("a", 1, "TimeoutError"), ("a", 2, "ConnectionError")]
    assert [a.error for a in run.attempts] == ["first", "second"]
    assert all("in act" in a.traceback for a in run.attempts)
    assert all(a.started_at and a.step == 1 and a.node == "a" for a in run.attempts)
    assert run.steps[1].tasks[0].attempts == 3


def test_a_run_without_failures_has_not_recovered(store: Any, bodies: Bodies) -> None:
    """`recovered` is False where nothing failed, and where nothing was mended."""
    flow = one(bodies.body("a")).compile(store)
    assert not flow.run({}).recovered
    with pytest.raises(RunFailedError) as failed:
        one(bodies.body("a", ValueError("no"))).compile(store).run({})
    assert not failed.value.run.recovered


def test_retries_that_are_used_up_fail_the_run_and_a_resume_has_new_ones(
    store: Any, bodies: Bodies
) -> None:
    """Attempts are numbered on over resumes; the ladder begins anew."""
    errors = [TimeoutError(f"{n}") for n in range(1, 4)]
    flow = one(bodies.body("a", *errors), retry=Retry(attempts=2, wait=0)).compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({}, run_id="r")
    assert failed.value.__cause__ is errors[1]
    assert (failed.value.run.status, failed.value.run.reason) == ("failed", "task")
    assert failed.value.run.error == "TimeoutError: 2"
    assert failed.value.run.open == {"a": "failed"}

    run = flow.resume("r")
    assert [number for _, number, _ in told(run)] == [1, 2, 3]
    assert run.recovered
    assert run.steps[1].tasks[0].attempts == 4


def test_the_wait_before_a_retry_is_the_servers(store: Any) -> None:
    """A retry waits as long as asked; an interrupt may end the wait, siblings go on meanwhile."""
    first, sibling = threading.Event(), threading.Event()

    def slow_to_come_back(state: State) -> None:
        if not first.is_set():
            first.set()
            raise TimeoutError("later")
        assert sibling.is_set()

    def sibling_body(state: State) -> None:
        assert first.wait(LONG)
        sibling.set()

    nodes = {"a": slow_to_come_back, "b": sibling_body}
    run = fan(nodes, a={"retry": Retry(wait=0.2)}).compile(store).run({})
    assert run.recovered


def test_tenacity_objects_are_accepted(store: Any, bodies: Bodies) -> None:
    """`stop`, `wait` and `on` may be tenacity's."""
    import tenacity

    retry = Retry(
        stop=tenacity.stop_after_attempt(4),
        wait=tenacity.wait_fixed(0),
        on=tenacity.retry_if_exception_message(match="busy"),
    )
    busy = [ValueError("busy") for _ in range(3)]
    assert one(bodies.body("a", *busy), retry=retry).compile(store).run({}).recovered
    assert bodies.ran == ["a"] * 4

    with pytest.raises(RunFailedError, match="other"):
        one(bodies.body("x", ValueError("other")), retry=retry).compile(store).run({})
    assert bodies.ran.count("x") == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_retry_of_a_single_node_and_of_one_beside_others(
    store: Any, bodies: Bodies, *, is_async: bool
) -> None:
    """The same with one node, several, in `run` and `arun`."""

    async def waits(state: State) -> Any:
        await asyncio.sleep(0)
        return plain(state)

    plain = bodies.body("a", TimeoutError())
    body = waits if is_async else plain
    nodes = {"a": body, "b": bodies.body("b"), "c": bodies.body("c", ConnectionError())}
    rules = {name: {"retry": Retry(wait=0)} for name in nodes}
    flow = fan(nodes, **rules).compile(store)
    run = asyncio.run(flow.arun({})) if is_async else flow.run({})

    assert run.state.log == ["a", "b", "c", "last"]
    assert sorted(told(run)) == [("a", 1, "TimeoutError"), ("c", 1, "ConnectionError")]


def test_defaults_hold_for_nodes_that_say_nothing(store: Any, bodies: Bodies) -> None:
    """Defaults(retry=) of the graph; the node's own rule goes before it."""
    defaults = Defaults(retry=Retry(attempts=2, wait=0))
    flow = one(bodies.body("a", TimeoutError()), defaults=defaults).compile(store)
    assert flow.run({}).recovered

    graph = one(bodies.body("b", TimeoutError()), defaults=defaults, retry=Retry(attempts=1))
    with pytest.raises(RunFailedError):
        graph.compile(store).run({})
    assert bodies.ran == ["a", "a", "b"]


def test_a_predicate_that_raises_fails_the_task_not_the_engine(store: Any, bodies: Bodies) -> None:
    """A broken `on=` is reported as the task's failure; siblings are kept; a resume goes on."""

    def broken(error: Exception) -> bool:
        raise LookupError("broken predicate")

    nodes = {"a": bodies.body("a", TimeoutError("first")), "b": bodies.body("b")}
    flow = fan(nodes, a={"retry": Retry(on=broken)}).compile(store)
    with pytest.raises(RunFailedError, match="broken predicate") as failed:
        flow.run({}, run_id="r")
    assert failed.value.run.status == "failed"
    assert failed.value.run.open == {"a": "failed", "b": "done"}
    assert flow.resume("r").status == "done"
    assert bodies.ran.count("b") == 1


# -------------------------------------------------------------------------------------- timeout


@pytest.mark.parametrize("face", ["run", "arun"])
def test_check_23_a_sync_node_over_its_limit_is_left_behind(store: Any, face: str) -> None:
    """It is no longer waited for, that is recorded, and its late result is dropped."""
    release, threads = threading.Event(), list[threading.Thread]()

    def slow(state: State) -> Any:
        threads.append(threading.current_thread())
        assert release.wait(LONG)
        return {"log": ["late"]}

    flow = one(slow, timeout=0.05, fallback="b").compile(store)
    run = flow.run({}) if face == "run" else asyncio.run(flow.arun({}))

    assert (run.state.log, run.recovered) == (["b"], True)
    assert told(run) == [("a", 1, "NodeTimeoutError")]
    assert "'a' took longer than its timeout of 0.05 s" in run.attempts[0].error
    release.set()
    threads[0].join(LONG)
    again = flow.get(run.run_id)
    assert (again.state.log, told(again)) == (["b"], told(run))


def test_a_late_result_finds_no_loop_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """When the event loop of `arun` is closed already, the late body ends in silence."""
    release, threads = threading.Event(), list[threading.Thread]()

    def slow(state: State) -> Any:
        threads.append(threading.current_thread())
        assert release.wait(LONG)
        return {"log": ["late"]}

    with caplog.at_level(logging.DEBUG):
        asyncio.run(one(slow, timeout=0.05, fallback="b").compile().arun({}))
        release.set()
        threads[0].join(LONG)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("face", ["run", "arun"])
def test_an_async_node_over_its_limit_is_cancelled(store: Any, face: str) -> None:
    """The body gets a CancelledError, in which it can clean up."""
    cleaned = threading.Event()

    async def slow(state: State) -> Any:
        try:
            await asyncio.sleep(LONG)
        finally:
            cleaned.set()

    flow = one(slow, timeout=0.05).compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({}) if face == "run" else asyncio.run(flow.arun({}))
    assert isinstance(failed.value.__cause__, NodeTimeoutError)
    assert cleaned.is_set()


def test_a_timeout_of_the_bodys_own_is_the_bodys(store: Any) -> None:
    """A TimeoutError that the body raises is not taken for the node's timeout."""

    def plain(state: State) -> None:
        raise TimeoutError("the server's")

    async def waits(state: State) -> None:
        raise TimeoutError("the server's")

    for body in (plain, waits):
        with pytest.raises(RunFailedError) as failed:
            one(body, timeout=LONG).compile(store).run({})
        assert type(failed.value.__cause__) is TimeoutError


def test_a_timeout_is_retried_but_not_of_external_effects(store: Any) -> None:
    """A timeout is transient; what acts on the world may have acted, and is not repeated."""
    for effects, times in ((None, 2), ("external", 1)):
        release, ran = threading.Event(), list[int]()

        def slow(state: State, ran: list[int] = ran, release: threading.Event = release) -> Any:
            ran.append(1)
            if len(ran) == 1:
                assert release.wait(LONG)
            return {"log": ["a"]}

        graph = one(slow, timeout=0.1, retry=Retry(wait=0), effects=effects, fallback="b")
        run = graph.compile(store).run({})
        release.set()
        assert len(ran) == times
        assert run.state.log == (["a"] if times == 2 else ["b"])


def test_an_external_effect_is_still_retried_after_other_errors(store: Any, bodies: Bodies) -> None:
    """Only a timeout leaves open whether it has acted."""
    body = bodies.body("a", ConnectionError("refused"))
    assert one(body, retry=Retry(wait=0), effects="external").compile(store).run({}).recovered


@pytest.mark.parametrize("face", ["run", "arun"])
def test_a_timeout_without_end_waits_without_end(store: Any, face: str) -> None:
    """`timeout=math.inf` lifts the graph's default; it is no error that a body meets."""

    def body(state: State) -> Any:
        threading.Event().wait(0.1)
        return {"log": ["a"]}

    graph = one(body, timeout=math.inf, defaults=Defaults(timeout=0.01))
    flow = graph.compile(store)
    run = flow.run({}) if face == "run" else asyncio.run(flow.arun({}))
    assert (run.state.log, run.recovered) == (["a"], False)


def test_what_a_late_body_remembers_is_not_a_later_visits(store: Any) -> None:
    """A memo that a left-behind body makes is its own step's: a later visit makes its own."""
    release, threads, ran = threading.Event(), list[threading.Thread](), list[int]()
    graph = StateGraph(State, name="late")

    def work(state: State, ctx: Context) -> Any:
        ran.append(ctx.step)
        if len(ran) == 1:
            threads.append(threading.current_thread())
            assert release.wait(LONG)
        else:
            release.set()
            threads[0].join(LONG)
        return {"log": [ctx.memo("word", lambda: f"made in {ctx.step}", type=str)]}

    graph.add_node("work", work, timeout=0.2, fallback="again")
    graph.add_node("again", lambda s: None)
    graph.add_edge(START, "work")
    graph.add_edge("again", "work")
    graph.add_edge("work", END)

    assert graph.compile(store).run({}).state.log == ["made in 3"]


# ------------------------------------------------------------------------------------- fallback


def test_a_fallback_replaces_the_nodes_own_arrows(store: Any, bodies: Bodies) -> None:
    """After the retries one arrow goes to the fallback node; the node's own do not run (S16)."""
    graph = StateGraph(State, name="instead")
    errors = [TimeoutError("1"), TimeoutError("2")]
    graph.add_node("a", bodies.body("a", *errors), retry=Retry(attempts=2, wait=0), fallback="b")
    graph.add_node("b", bodies.body("b"))
    graph.add_node("c", bodies.body("c"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "c")
    graph.add_edge("b", END)
    graph.add_edge("c", END)
    run = graph.compile(store).run({})

    assert (run.path, run.recovered) == (["a", "b"], True)
    assert [tuple(arrow) for arrow in run.steps[1].arrows] == [("a", "b", "fallback")]
    assert run.steps[1].tasks[0].fell_back == "b"
    assert run.steps[1].tasks[0].update_json is None
    assert len(run.attempts) == 2


def test_only_the_fallen_sends_take_the_fallback(store: Any) -> None:
    """The fallback of a Send is a Send of the same private input (S16)."""
    graph = StateGraph(State, name="sent")
    graph.add_node("plan", lambda s: None)

    def odd(state: State) -> Any:
        if state.n % 2:
            raise ValueError(f"{state.n} is odd")
        return {"log": [f"even {state.n}"]}

    graph.add_node("odd", odd, fallback="rescue")
    graph.add_node("rescue", lambda s: {"log": [f"rescued {s.n}"]})
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda s: [Send("odd", {"n": n}) for n in range(4)], ["odd"], name="each"
    )
    graph.add_edge("odd", END)
    graph.add_edge("rescue", END)
    run = graph.compile(store).run({})

    assert run.state.log == ["even 0", "even 2", "rescued 1", "rescued 3"]
    assert run.path == ["plan", "odd", "odd", "odd", "odd", "rescue", "rescue"]


def test_a_map_falls_back_as_a_whole(store: Any) -> None:
    """An item that fails after its retries takes the map to its fallback; both are recorded."""
    ran: list[int] = []

    def act(item: int) -> int:
        ran.append(item)
        if item == 1:
            raise TimeoutError("item 1")
        return item

    graph = StateGraph(State, name="mapped")
    retry = Retry(attempts=2, wait=0)
    graph.add_map("m", act, over="items", into="results", retry=retry, fallback="b")
    graph.add_node("b", lambda s: {"log": ["b"]})
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    graph.add_edge("b", END)
    run = graph.compile(store).run({"items": [0, 1, 2]})

    assert (run.path, run.state.results) == (["m", "b"], [])
    assert sorted(ran) == [0, 1, 1, 2]
    assert told(run) == [("m[1]", 1, "TimeoutError"), ("m[1]", 2, "TimeoutError")]


def test_a_fallback_that_fails_has_its_own_ladder(store: Any, bodies: Bodies) -> None:
    """From a to b to c: each falls back on the next."""
    graph = StateGraph(State, name="ladder")
    graph.add_node("a", bodies.body("a", ValueError("a")), fallback="b")
    graph.add_node("b", bodies.body("b", ValueError("b")), fallback="c")
    graph.add_node("c", bodies.body("c"))
    graph.add_edge(START, "a")
    for name in "abc":
        graph.add_edge(name, END)
    run = graph.compile(store).run({})
    assert (run.path, run.state.log) == (["a", "b", "c"], ["c"])


def test_a_fallback_to_end_ends_the_branch(store: Any, bodies: Bodies) -> None:
    """`fallback=END` of a plain task and of a Send: the branch ends, the run is done (S12)."""
    graph = StateGraph(State, name="over")
    graph.add_node("a", bodies.body("a", ValueError("1"), ValueError("2")), fallback=END)
    graph.add_node("b", bodies.body("b"))
    graph.add_conditional_edges(START, lambda s: ["a", Send("a")], ["a"], name="both")
    graph.add_edge("a", "b")
    graph.add_edge("b", END)
    run = graph.compile(store).run({})
    assert (run.status, run.path) == ("done", ["a", "a"])


# ------------------------------------------------------------------------------------ escalation


def test_escalate_asks_and_retry_runs_the_node_again(store: Any, bodies: Bodies) -> None:
    """Failed for good: a question with the error and the attempts; "retry" runs it again."""
    errors = [ValueError("one"), ValueError("two")]
    flow = one(bodies.body("a", *errors), escalate=Escalate()).compile(store)
    run = flow.run({}, run_id="r")

    assert (run.status, run.reason, run.open) == ("paused", "question", {"a": "asking"})
    (question,) = run.questions
    assert (question.kind, question.node) == ("escalation", "a")
    assert "ValueError: one" in question.prompt
    details = json.loads(question.details_json or "{}")
    assert (details["error_type"], details["error"], details["attempts"]) == (
        "ValueError", "one", 1,
    )  # fmt: skip

    run = flow.answer("r", "retry")
    assert run.status == "paused"
    assert "two" in next(q for q in run.questions if q.answer_json is None).prompt
    run = flow.answer("r", "retry")
    assert (run.status, run.recovered, run.state.log) == ("done", True, ["a"])
    assert [number for _, number, _ in told(run)] == [1, 2]


def test_an_escalation_says_what_was_spent(store: Any) -> None:
    """The question carries error, attempts and spend, so that a human can decide."""
    from graphflow.testing.llm import FakeLLM

    def asks(state: State, ctx: Context) -> None:
        ctx.llm.sync.chat("three words here")
        raise ValueError("after a call")

    llm = FakeLLM(["two words"]).client()
    run = one(asks, escalate=Escalate()).compile(store, llm=llm).run({})
    details = json.loads(run.questions[0].details_json or "{}")
    assert details["spent"]["calls"] == 1
    assert details["spent"]["tokens"] == 5


def test_escalate_skip_goes_on_without_the_update(store: Any, bodies: Bodies) -> None:
    """The run goes on along the node's own arrows."""
    nodes = {"a": bodies.body("a", ValueError("no")), "b": bodies.body("b")}
    flow = fan(nodes, a={"escalate": Escalate()}).compile(store)
    flow.run({}, run_id="r")
    run = flow.answer("r", "skip")
    assert (run.status, run.state.log, run.recovered) == ("done", ["b", "last"], True)
    assert bodies.ran == ["a", "b"]


def test_escalate_fail_fails_the_run_and_a_resume_tries_again(store: Any, bodies: Bodies) -> None:
    """The answer "fail" is a decision about now; a resume runs the node again."""
    flow = one(bodies.body("a", ValueError("no")), escalate=Escalate()).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError, match="'a' failed"):
        flow.answer("r", "fail")
    assert flow.get("r").status == "failed"
    assert flow.resume("r").status == "done"


def test_escalate_into_takes_the_answer_in_the_nodes_place(store: Any, bodies: Bodies) -> None:
    """The answer is of the field's type, and is what the node could not give."""
    flow = one(bodies.body("a", ValueError("no")), escalate=Escalate(into="n")).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match="many"):
        flow.answer("r", "many")
    assert flow.get("r").status == "paused"
    run = flow.answer("r", 7)
    assert (run.status, run.state.n) == ("done", 7)
    assert bodies.ran == ["a"]


def test_an_escalation_takes_one_of_three_words(store: Any, bodies: Bodies) -> None:
    """Another answer leaves the run paused, and names the three."""
    flow = one(bodies.body("a", ValueError("no")), escalate=Escalate()).compile(store)
    flow.run({}, run_id="r")
    for wrong in ("again", 1, None, ["retry"]):
        with pytest.raises(AnswerError, match="retry, skip, fail"):
            flow.answer("r", wrong)
    assert flow.get("r").status == "paused"


def test_a_prompt_that_raises_does_not_lose_the_failure(store: Any, bodies: Bodies) -> None:
    """A broken Escalate(prompt=) fails the task with both errors said; siblings are kept."""

    def broken(state: State) -> str:
        raise LookupError("broken prompt")

    nodes = {"a": bodies.body("a", ValueError("first")), "b": bodies.body("b")}
    flow = fan(nodes, a={"escalate": Escalate(prompt=broken)}).compile(store)
    with pytest.raises(RunFailedError, match="broken prompt") as failed:
        flow.run({}, run_id="r")
    assert failed.value.run.open == {"a": "failed", "b": "done"}


def test_escalate_of_defaults_holds_in_each_node(store: Any, bodies: Bodies) -> None:
    """Two that fail in one step ask two questions, answered one by one, by their keys."""
    graph = StateGraph(State, name="both", defaults=Defaults(escalate=Escalate()))
    for name in "ab":
        graph.add_node(name, bodies.body(name, ValueError(name)))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store)
    assert flow.run({}, run_id="r").open == {"a": "asking", "b": "asking"}
    with pytest.raises(AnswerError, match="several open questions"):
        flow.answer("r", "skip")
    assert flow.answer("r", "skip", key="a").open == {"a": "done", "b": "asking"}
    run = flow.answer("r", "retry")
    assert (run.status, run.state.log) == ("done", ["b"])
    assert bodies.ran == ["a", "b", "b"]


@pytest.mark.parametrize("kind", ["map", "subgraph", "send"])
def test_a_map_a_subgraph_and_a_send_escalate_too(store: Any, kind: str) -> None:
    """Answered "retry", only what is missing runs again: the item, the child's task, the Send."""
    ran: list[int] = []
    broken = [True]

    def act(number: int) -> int:
        ran.append(number)
        if number == 1 and broken:
            broken.clear()
            raise ValueError("one")
        return number

    graph = StateGraph(State, name="escalating")
    each = [Send("x", {"n": 0}), Send("x", {"n": 1})]
    if kind == "map":
        graph.add_map("x", act, over="items", into="results", escalate=Escalate())
        graph.add_edge(START, "x")
    elif kind == "send":
        graph.add_node("x", lambda s: {"log": [str(act(s.n))]}, escalate=Escalate())
        graph.add_conditional_edges(START, lambda s: each, ["x"], name="each")
    else:
        child = fan({
            "a": lambda s: {"log": [str(act(0))]}, "b": lambda s: {"log": [str(act(1))]},
        })  # fmt: skip
        graph.add_node("x", child, escalate=Escalate())
        graph.add_edge(START, "x")
    graph.add_edge("x", END)
    flow = graph.compile(store)
    run = flow.run({"items": [0, 1]}, run_id="r")
    assert (run.status, run.reason) == ("paused", "question")
    run = flow.answer("r", "retry")
    assert (run.status, run.recovered) == ("done", True)
    assert sorted(ran) == [0, 1, 1]


# ----------------------------------------------------------------------------- circuit breaker


def test_a_breaker_is_shared_by_runs_and_leads_to_the_fallback(store: Any, bodies: Bodies) -> None:
    """After two failures in a row no run executes the node; when cooled down one may try."""
    time = [0.0]
    breaker = CircuitBreaker(failures=2, cool_down=30, clock=lambda: time[0])
    errors = [ConnectionError("1"), ConnectionError("2")]
    flow = one(bodies.body("a", *errors), breaker=breaker, fallback="b").compile(store)

    for _ in range(2):
        assert flow.run({}).state.log == ["b"]
    assert breaker.state == "open"
    run = flow.run({})
    assert (run.state.log, bodies.ran) == (["b"], ["a", "a"])
    assert told(run) == [("a", 1, "CircuitOpenError")]
    time[0] = 31
    assert flow.run({}).state.log == ["a"]
    assert breaker.state == "closed"


def test_an_open_breaker_fails_a_node_at_once(store: Any, bodies: Bodies) -> None:
    """Being left alone is no transient error: it is not retried, and the error says how long."""
    breaker = CircuitBreaker(failures=1, cool_down=1000)
    flow = one(
        bodies.body("a", ConnectionError("down")), breaker=breaker, retry=Retry(attempts=1)
    ).compile(store)
    with pytest.raises(RunFailedError):
        flow.run({})
    with pytest.raises(RunFailedError, match="tried again in") as failed:
        flow.run({})
    assert isinstance(failed.value.__cause__, CircuitOpenError)
    assert bodies.ran == ["a"]


def test_a_timed_out_execution_counts_once(store: Any) -> None:
    """What the left-behind body does later changes nothing in the breaker any more."""
    breaker = CircuitBreaker(failures=2, cool_down=1000)
    release, threads = threading.Event(), list[threading.Thread]()

    def slow(state: State) -> None:
        threads.append(threading.current_thread())
        assert release.wait(LONG)
        raise ConnectionError("late")

    one(slow, timeout=0.05, breaker=breaker, fallback="b").compile(store).run({})
    release.set()
    threads[0].join(LONG)
    assert breaker.state == "closed"


def test_a_late_success_does_not_close_a_breaker(store: Any) -> None:
    """The node took too long: what it returns later is dropped, for the breaker too."""
    breaker = CircuitBreaker(failures=1, cool_down=1000)
    release, threads = threading.Event(), list[threading.Thread]()

    def slow(state: State) -> None:
        threads.append(threading.current_thread())
        assert release.wait(LONG)

    one(slow, timeout=0.05, breaker=breaker, fallback="b").compile(store).run({})
    release.set()
    threads[0].join(LONG)
    assert breaker.state == "open"


def test_a_pause_tells_a_breaker_nothing(store: Any) -> None:
    """An execution that asks neither opens nor closes it, and gives its probe back."""
    time = [0.0]
    breaker = CircuitBreaker(failures=1, cool_down=10, clock=lambda: time[0])
    breaker.failed(ValueError())
    time[0] = 11.0
    flow = one(
        lambda s, ctx: {"name": ctx.ask("who", "Who?", answer=str)}, breaker=breaker
    ).compile(store)
    flow.run({}, run_id="r")
    assert breaker.state == "half-open"
    assert flow.answer("r", "me").state.name == "me"
    assert breaker.state == "closed"


# ------------------------------------------------------------------------------------- siblings


@pytest.mark.parametrize("face", ["run", "arun"])
@pytest.mark.parametrize("is_async", [False, True])
def test_check_14_two_of_four_parallel_nodes_fail(
    store: Any, bodies: Bodies, face: str, *, is_async: bool
) -> None:
    """Both are reported, the siblings finish and are kept; a resume runs only the two."""
    both_failed = threading.Barrier(2)
    failing = threading.Semaphore(0)

    def bad(name: str) -> Callable[[State], Any]:
        act = bodies.body(name, ValueError(f"{name} is broken"))

        def body(state: State) -> Any:
            if not failing_over.is_set():
                both_failed.wait(LONG)
                failing.release()
            return act(state)

        return body

    def good(name: str) -> Callable[..., Any]:
        act = bodies.body(name)

        def plain(state: State) -> Any:
            assert failing.acquire(timeout=LONG)  # it ends after a sibling has begun to fail
            return act(state)

        async def waits(state: State) -> Any:
            return await asyncio.to_thread(plain, state)

        return waits if is_async else plain

    failing_over = threading.Event()
    flow = fan({"a": bad("a"), "b": good("b"), "c": bad("c"), "d": good("d")}).compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({}, run_id="r") if face == "run" else asyncio.run(flow.arun({}, run_id="r"))
    failing_over.set()

    error, run = failed.value, failed.value.run
    assert "a: ValueError: a is broken" in str(error)
    assert "c: ValueError: c is broken" in str(error)
    assert isinstance(error.__cause__, ExceptionGroup)
    assert sorted(map(str, error.__cause__.exceptions)) == ["a is broken", "c is broken"]
    assert run.open == {"a": "failed", "b": "done", "c": "failed", "d": "done"}
    assert sorted(told(run)) == [("a", 1, "ValueError"), ("c", 1, "ValueError")]
    assert run.state.log == []  # nothing merges before all are complete

    run = flow.resume("r")
    assert (run.status, run.state.log) == ("done", ["a", "b", "c", "d", "last"])
    assert sorted(bodies.ran) == ["a", "a", "b", "c", "c", "d"]


def test_two_fail_two_succeed_killed_and_resumed(tmp_path: Path) -> None:
    """SIGKILL in the middle of the step: the succeeded run no more, both failures are reported."""
    database, ledger = tmp_path / "runs.db", tmp_path / "ledger"
    command = [sys.executable, str(SCRIPT), str(database), str(ledger), "r"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert sorted(ledger.read_text().split()) == ["bad1", "bad2", "good1", "good2"]

    broken = {"bad1", "bad2"}
    with killed.fan(ledger, broken, lambda: None).compile(database) as flow:
        run = flow.get("r")
        assert run.status == "stale"
        assert run.open == {"good1": "done", "bad1": "failed", "good2": "done"}

        with pytest.raises(RunFailedError) as failed:
            flow.resume("r")
        for name in broken:
            assert f"{name}: ValueError: {name} is broken" in str(failed.value)
        assert isinstance(failed.value.__cause__, ExceptionGroup)
        assert len(failed.value.__cause__.exceptions) == 2
        assert sorted(told(failed.value.run)) == [
            ("bad1", 1, "ValueError"), ("bad1", 2, "ValueError"), ("bad2", 1, "ValueError"),
        ]  # fmt: skip

        broken.clear()
        run = flow.resume("r")
        assert (run.status, run.recovered) == ("done", True)
        assert run.state.log == ["good1", "bad1", "good2", "bad2", "join"]
    begun = Counter(ledger.read_text().split())
    assert begun == {"good1": 1, "good2": 1, "bad1": 3, "bad2": 3}


def test_one_that_fails_again_is_the_only_one_that_runs_again(store: Any, bodies: Bodies) -> None:
    """Each resume runs what is missing, and only that."""
    nodes = {
        "a": bodies.body("a", ValueError("a1"), ValueError("a2")),
        "b": bodies.body("b", ValueError("b1")),
        "c": bodies.body("c"),
    }
    flow = fan(nodes).compile(store)
    for failing, ran in (("a1.*b1", "abc"), ("a2", "ab")):
        bodies.ran.clear()
        with pytest.raises(RunFailedError, match=failing):
            flow.run({}, run_id="r")
        assert sorted(bodies.ran) == list(ran)
    bodies.ran.clear()
    assert flow.resume("r").state.log == ["a", "b", "c", "last"]
    assert bodies.ran == ["a"]


def test_failures_in_a_subgraph_and_beside_it_are_reported_together(
    store: Any, bodies: Bodies
) -> None:
    """The child's tasks are named with their path; the child's good task is kept too."""
    child = fan({"x": bodies.body("x", ValueError("x!")), "y": bodies.body("y")})
    graph = StateGraph(State, name="outer")
    graph.add_node("sub", child, output={"log": "log"})
    graph.add_node("b", bodies.body("b", ValueError("b!")))
    for name in ("sub", "b"):
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError, match=r"sub/x: ValueError: x!.*b: ValueError: b!"):
        flow.run({}, run_id="r")
    assert flow.get("r").open == {"sub": "failed", "b": "failed"}

    run = flow.resume("r")
    assert run.status == "done"
    assert sorted(bodies.ran) == ["b", "b", "x", "x", "y"]
    assert run.recovered


def test_a_retry_of_a_subgraph_goes_on_in_the_child(store: Any, bodies: Bodies) -> None:
    """Retry(on=RunError) of the node takes its child up again; what was complete is kept."""
    child = fan({"x": bodies.body("x", ValueError("x!")), "y": bodies.body("y")})
    graph = StateGraph(State, name="outer")
    graph.add_question("q", prompt="go?", into="name")
    retry = Retry(attempts=2, wait=0, on=RunError)
    graph.add_node("sub", child, output={"log": "log"}, retry=retry)
    graph.add_edge(START, "q")
    graph.add_edge("q", "sub")
    graph.add_edge("sub", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    run = flow.answer("r", "yes")  # which does not run again what failed before the answer
    assert run.status == "done"
    assert sorted(bodies.ran) == ["x", "x", "y"]


def test_a_subgraph_that_failed_in_passing_is_transient(store: Any, bodies: Bodies) -> None:
    """The default retry judges a child's failure by what failed in it."""
    child = one(bodies.body("x", ConnectionError("gone")))
    graph = StateGraph(State, name="outer")
    graph.add_node("sub", child, output={"log": "log"}, retry=Retry(attempts=2, wait=0))
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    assert graph.compile(store).run({}).recovered


@pytest.mark.parametrize("rules", [
    {"timeout": 1.0}, {"breaker": CircuitBreaker()}, {"effects": "external"},
])  # fmt: skip
def test_a_rule_that_a_subgraph_does_not_keep_is_refused(rules: dict[str, Any]) -> None:
    """A rule that would silently do nothing is an error, when it is said."""
    from graphflow.errors import DefinitionError

    graph = StateGraph(State, name="outer")
    with pytest.raises(DefinitionError, match=next(iter(rules))):
        graph.add_node("sub", one(lambda s: None), **rules)


# ---------------------------------------------------------------------------------------- limits


def test_check_24_an_endless_loop_stops_early_and_names_the_loop(store: Any) -> None:
    """25 visits by default: paused, not lost; with larger limits the same run goes on."""
    graph = StateGraph(State, name="endless")
    graph.add_node("think", lambda s: {"n": s.n + 1})
    graph.add_node("act", lambda s: None)
    graph.add_edge(START, "think")
    graph.add_edge("think", "act")
    graph.add_conditional_edges(
        "act", lambda s: END if s.n >= 60 else "think", ["think", END], name="enough"
    )
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    assert (run.status, run.reason, run.state.n) == ("paused", "limit:visits:think", 25)
    assert flow.resume("r").reason == "limit:visits:think"

    run = flow.resume("r", limits=Limits(steps=1000, visits=1000))
    assert (run.status, run.state.n, len(run.steps)) == ("done", 60, 121)
