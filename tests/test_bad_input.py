"""What is wrong is refused at the culprit, in words that help; the run is intact and goes on."""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import re
import threading
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Budget,
    CircuitBreaker,
    Command,
    Context,
    Decision,
    Defaults,
    Escalate,
    Flow,
    Limits,
    Retry,
    Run,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.errors import (
    AnswerError,
    AssignmentError,
    ConflictError,
    DefinitionError,
    InputError,
    InvalidGraphError,
    InvalidUpdateError,
    NodeTimeoutError,
    RouterError,
    RunError,
    StateError,
)
from graphflow.testing.llm import FakeLLM

LONG = 20.0
"""Seconds that a test waits for what comes at once, before it is red instead of hanging."""


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    items: list[int] | None = None
    results: list[int] = Field(default_factory=list)
    topic: str = ""
    n: int = 0


class Inner(BaseModel):
    text: str
    size: int = 0


class Mended:
    """Something that is wrong until it is mended."""

    def __init__(self, wrong: Any, right: Any) -> None:
        self.answer, self._right = wrong, right
        self.calls = 0

    def mend(self) -> None:
        """Answer rightly from now on."""
        self.answer = self._right

    def __call__(self, state: Any) -> Any:
        self.calls += 1
        return self.answer(state) if callable(self.answer) else self.answer


def graph_of(body: Callable[..., Any], **more: Any) -> StateGraph[State]:
    """Make `first`, then `a` with a body, then `last`."""
    graph = StateGraph(State, name="bad")
    graph.add_node("first", lambda s: {"log": ["first"]})
    graph.add_node("a", body, **more)
    graph.add_node("last", lambda s: {"log": ["last"]})
    graph.add_edge(START, "first")
    graph.add_edge("first", "a")
    graph.add_edge("a", "last")
    graph.add_edge("last", END)
    return graph


def routed(answer: Any, targets: Any = ("a", "last", END)) -> StateGraph[State]:
    """Make `first` with a router to `a`, `last` or END."""
    graph = StateGraph(State, name="bad")
    for name in ("first", "a", "last"):
        graph.add_node(name, lambda s, ctx: {"log": [ctx.node]})
    graph.add_edge(START, "first")
    graph.add_conditional_edges("first", answer, targets, name="route")
    graph.add_edge("a", END)
    graph.add_edge("last", END)
    return graph


def fails(flow: Flow[State], kind: type[Exception], *words: str) -> Run[State]:
    """Run it: it fails with this error and these words, and stands where it stood before."""
    with pytest.raises(RunFailedError) as failed:
        flow.run({"topic": "old"}, run_id="r")
    error = failed.value
    for word in words:
        assert word in str(error), (word, str(error))
    assert "flow.resume('r')" in str(error)
    assert isinstance(error.__cause__, kind), repr(error.__cause__)
    run = flow.get("r")
    assert (run.status, run.state.topic) == ("failed", "old")
    assert (run.status, run.error) == (error.run.status, error.run.error)
    return run


# --------------------------------------------------------------------------------- what nodes do


@pytest.mark.parametrize(("update", "field", "words"), [
    ({"topc": "x"}, "topc", ["no field 'topc'", "Did you mean 'topic'?"]),
    ({"topic": 3}, "topic", ["topic = 3", "valid string"]),
    ({"n": "many"}, "n", ["n = 'many'", "valid integer"]),
    ({"n": None}, "n", ["n = None"]),
    ({"log": "one"}, "log", ["log = 'one'", "a list of the new items"]),
    ({"log": None}, "log", ["log = None"]),
    ({3: "x"}, "3", ["no field 3"]),
])  # fmt: skip
def test_check_12_an_unknown_key_or_wrong_type_fails_its_writer(
    store: Any, update: Any, field: str, words: list[str]
) -> None:
    """The error names graph, node, step, field and value; nothing of the update is taken."""
    body = Mended(update, {"log": ["a"]})
    flow = graph_of(body).compile(store)
    place = ("graph 'bad'", "node 'a'", "step 2")
    run = fails(flow, InvalidUpdateError, *place, *words)
    assert (run.state.log, run.path) == (["first"], ["first"])
    assert run.attempts[0].node == "a"

    body.mend()
    run = flow.resume("r")
    assert (run.state.log, body.calls) == (["first", "a", "last"], 2)


@pytest.mark.parametrize(("returned", "words"), [
    (lambda s: s, ["the state itself", "return only what changes"]),
    (State(topic="x"), ["the state itself"]),
    (Inner(text="x"), ["a Inner"]),
    ("topic", ["'topic' (str)"]),
    (["topic"], ["(list)"]),
    (3, ["3 (int)"]),
    (True, ["True (bool)"]),
    (iter(()), ["an iterator"]),
    (Send("last"), ["return {"]),
])  # fmt: skip
def test_what_is_no_update_fails_the_node(store: Any, returned: Any, words: list[str]) -> None:
    """A node returns a dict, None or a Command: not the state, nor anything else."""
    body = Mended(returned, None)
    flow = graph_of(body).compile(store)
    fails(flow, InvalidUpdateError, "node 'a'", "step 2", *words)
    body.mend()
    assert flow.resume("r").state.log == ["first", "last"]


def test_a_plain_node_that_returns_a_coroutine(store: Any) -> None:
    """It says to write async def, and leaves no coroutine behind."""

    async def inner() -> None:
        return None

    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        flow = graph_of(lambda s: inner()).compile(store)
        fails(flow, InvalidUpdateError, "node 'a'", "a coroutine", "async def")
        gc.collect()
    assert left == []


def test_a_node_that_assigns_to_the_state(store: Any) -> None:
    """The assignment itself raises, and says to return an update; the state is as it was."""

    def body(state: State) -> None:
        state.topic = "new"

    fails(graph_of(body).compile(store), AssignmentError, "topic", "return")


def test_a_node_that_changes_the_state_in_place(store: Any) -> None:
    """With check="mutation" the culprit is named; what follows sees the old state."""

    def body(state: State) -> None:
        state.log.append("in place")

    flow = graph_of(body).compile(store, check="mutation")
    run = fails(flow, InvalidUpdateError, "node 'a'", "log")
    assert run.state.log == ["first"]


def test_two_writers_of_one_field(store: Any) -> None:
    """Both are named with the field; mended by a reducer no body runs again."""
    ran: list[str] = []

    def build(state: Any) -> StateGraph[Any]:
        graph = StateGraph(state, name="two")
        for name in ("a", "b"):
            graph.add_node(name, lambda s, ctx: ran.append(ctx.node) or {"notes": [ctx.node]})
            graph.add_edge(START, name)
            graph.add_edge(name, END)
        return graph

    class Without(BaseModel):
        notes: list[str] = Field(default_factory=list)

    class With(BaseModel):
        notes: Annotated[list[str], append] = Field(default_factory=list)

    with pytest.raises(RunFailedError) as failed:
        build(Without).compile(store).run({}, run_id="r")
    for words in ("graph 'two'", "step 1", "'a' and 'b'", "'notes'", "reducer"):
        assert words in str(failed.value)
    assert isinstance(failed.value.__cause__, ConflictError)
    assert failed.value.run.open == {"a": "done", "b": "done"}
    run = build(With).compile(store).resume("r")
    assert (run.state.notes, sorted(ran)) == (["a", "b"], ["a", "b"])


def test_two_sends_of_one_node_that_write_one_field(store: Any) -> None:
    """The tasks are named, not only the node, even if the values are equal (S3)."""
    graph = StateGraph(State, name="two")
    graph.add_node("w", lambda s: {"n": 1})
    graph.add_conditional_edges(START, lambda s: [Send("w"), Send("w")], ["w"], name="both")
    graph.add_edge("w", END)
    with pytest.raises(RunFailedError, match="'w#0' and 'w#1' both write 'n'"):
        graph.compile(store).run({})


# --------------------------------------------------------------------------- what nodes raise


class Strange(BaseException):
    """Not an Exception."""


class Interrupted(BaseException):
    """A name that somebody else's library may give an exception, too."""


@pytest.mark.parametrize("error", [Strange("odd"), Interrupted("odd")])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_a_base_exception_of_the_bodys_own_is_its_failure(
    store: Any, error: BaseException, *, is_async: bool, several: bool
) -> None:
    """It fails the task like any other: recorded, named, siblings kept, resumable."""
    broken = [True]

    def plain(state: State) -> Any:
        if broken:
            raise error
        return {"log": ["a"]}

    async def waits(state: State) -> Any:
        return plain(state)

    graph = graph_of(waits if is_async else plain)
    if several:
        graph.add_node("b", lambda s: {"log": ["b"]})
        graph.add_edge("first", "b")
        graph.add_edge("b", END)
    flow = graph.compile(store)
    name = type(error).__name__
    run = fails(flow, RunError, "a:", f"raised {name}", "odd")
    assert run.open == ({"a": "failed", "b": "done"} if several else {"a": "failed"})
    broken.clear()
    assert flow.resume("r").status == "done"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_process_goes_on_and_leaves_a_run_that_resumes(
    store: Any, error: type[BaseException]
) -> None:
    """Ctrl-C and exit() are not swallowed; the run is paused, and nothing is lost."""
    broken = [True]

    def body(state: State) -> Any:
        if broken:
            raise error
        return {"log": ["a"]}

    flow = graph_of(body).compile(store)
    with pytest.raises(error):
        flow.run({"topic": "old"}, run_id="r")
    run = flow.get("r")
    assert (run.status, run.reason, run.state.log) == ("paused", "interrupted", ["first"])
    broken.clear()
    assert flow.resume("r").state.log == ["first", "a", "last"]


def test_a_group_of_failures_beside_a_question(store: Any) -> None:
    """Of a TaskGroup in which one asks and one fails, the failure is the node's failure."""

    async def asks(ctx: Context) -> None:
        ctx.ask("who", "Who?")

    async def raises() -> None:
        raise ValueError("the real failure")

    async def body(state: State, ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asks(ctx))
            group.create_task(raises())

    run = fails(graph_of(body).compile(store), ExceptionGroup, "the real failure")
    assert run.questions == []


def test_a_group_of_base_exceptions_is_a_failure_too(store: Any) -> None:
    """BaseExceptionGroup of a strange one: the task fails, and says of what."""

    def body(state: State) -> None:
        raise BaseExceptionGroup("several", [Strange("odd"), ValueError("even")])

    fails(graph_of(body).compile(store), RunError, "a:", "BaseExceptionGroup")


@pytest.mark.parametrize("error", [StopIteration(3), StopAsyncIteration()])
@pytest.mark.parametrize("where", ["node", "over", "into", "router", "item"])
def test_stop_iteration_stops_no_engine(store: Any, error: Exception, where: str) -> None:
    """The engine is a generator: what a user's function raises must not end it."""

    def raising(_: Any) -> Any:
        raise error

    graph = StateGraph(State, name="stop")
    if where in {"over", "into", "item"}:
        functions: dict[str, Any] = {"over": lambda s: [1], "into": "results"}
        functions |= {where: raising} if where != "item" else {}
        graph.add_map("a", raising if where == "item" else (lambda i: i), **functions)
    else:
        graph.add_node("a", raising if where == "node" else lambda s: None)
    graph.add_edge(START, "a")
    if where == "router":
        graph.add_conditional_edges("a", raising, [END], name="route")
    else:
        graph.add_edge("a", END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError, match=type(error).__name__):
        flow.run({}, run_id="r")
    assert flow.get("r").status == "failed"


@pytest.mark.parametrize(
    "where", ["node", pytest.param("router"), "over", "into", "item", "check", "output"]
)
def test_an_error_whose_text_cannot_be_made_is_still_a_failure(store: Any, where: str) -> None:
    """Whatever its own __str__ does."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def raising(_: Any) -> Any:
        raise Mute

    graph = StateGraph(State, name="mute")
    if where in {"over", "into", "item"}:
        functions: dict[str, Any] = {"over": lambda s: [1], "into": "results"}
        functions |= {where: raising} if where != "item" else {}
        graph.add_map("a", raising if where == "item" else (lambda i: i), **functions)
    elif where == "output":
        graph.add_node("a", graph_of(lambda s: None), output=raising)
    else:
        graph.add_node("a", raising if where == "node" else lambda s: None)
    graph.add_edge(START, "a")
    if where == "router":
        graph.add_conditional_edges("a", raising, [END], name="route")
    elif where == "check":
        graph.add_gate("g", after="a", checks=[raising], passed=END, failed=END)
    else:
        graph.add_edge("a", END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError, match="Mute"):
        flow.run({}, run_id="r")
    assert flow.get("r").status == "failed"


@pytest.mark.parametrize("face", ["run", "arun"])
def test_a_node_that_never_returns(store: Any, face: str) -> None:
    """With a timeout it is left behind; the error names node and limit; the run resumes."""
    release, broken = threading.Event(), [True]

    def body(state: State) -> Any:
        if broken:
            release.wait(LONG)
        return {"log": ["a"]}

    flow = graph_of(body, timeout=0.05).compile(store)
    with pytest.raises(RunFailedError, match="node 'a' took longer than its timeout") as failed:
        flow.run({}, run_id="r") if face == "run" else asyncio.run(flow.arun({}, run_id="r"))
    assert isinstance(failed.value.__cause__, NodeTimeoutError)
    broken.clear()
    run = flow.resume("r")
    release.set()
    assert run.state.log == ["first", "a", "last"]


# ------------------------------------------------------------------------- where routers lead


@pytest.mark.parametrize(("answer", "words"), [
    (None, ["returned None", "[] for none"]),
    ("lst", ["'lst'", "none of its declared targets", "Did you mean 'last'?"]),
    ("first", ["'first'", "none of its declared targets"]),
    (3, ["answered 3"]),
    (True, ["answered True"]),
    ({"a": 1}, ["answered {'a': 1}"]),
    (["a", None], ["returned None"]),
    (["a", "lst"], ["'lst'"]),
    ([["a"]], ["answered ['a']"]),
    (Decision("lst"), ["'lst'"]),
    (Command(goto="a"), ["answered Command"]),
    (Send("lst"), ["'lst'", "Did you mean 'last'?"]),
    (Send(END), ["sent to END, which is no node", "END without a Send"]),
    (Send("a", {"tpic": "x"}), ["sent 'a'", "no field 'tpic'", "Did you mean 'topic'?"]),
    (Send("a", {"n": "many"}), ["sent 'a'", "n = 'many'"]),
    (Decision("a", evidence={"x": object()}), ["evidence"]),
])  # fmt: skip
def test_check_11_a_router_that_answers_what_it_may_not(
    store: Any, answer: Any, words: list[str]
) -> None:
    """The error names graph, router and node; bodies are kept; a mended router goes on."""
    route = Mended(answer, "last")
    flow = routed(route).compile(store)
    run = fails(flow, RouterError, "graph 'bad'", "router 'route' after 'first'", *words)
    assert run.reason is not None
    assert run.reason.startswith("router first")
    assert run.open == {"first": "done"}

    route.mend()
    assert flow.resume("r").state.log == ["first", "last"]


def test_check_11_a_declared_target_that_does_not_exist_is_a_compile_error() -> None:
    """With a did-you-mean: a router's, a Command's, an edge's, a fallback's, on_budget's."""
    graph = routed(lambda s: "a", targets=["a", "lst"])
    graph.add_node("b", lambda s: None, fallback="frist", targets=["las"], on_budget="lats")
    graph.add_edge("a", "b")
    graph.add_edge("b", "endd")
    with pytest.raises(InvalidGraphError) as found:
        graph.compile()
    text = str(found.value)
    for wrong, meant in (("lst", "last"), ("frist", "first"), ("las", "last"), ("lats", "last")):
        assert f"no node {wrong!r}" in text
        assert f"Did you mean {meant!r}?" in text
    assert "no node 'endd'" in text


@pytest.mark.parametrize(("goto", "words"), [
    ("lst", ["goto='lst'", "Did you mean 'last'?", "targets=[...]"]),
    (None, ["goto=None"]),
    (3, ["goto=3"]),
    (["last", "lst"], ["goto='lst'"]),
    (Send("lst"), ["goto='lst'"]),
    pytest.param(Send(END), ["END"]),
    pytest.param(Send("END"), ["END"]),
    (Send("last", {"tpic": 1}), ["no field 'tpic'", "Did you mean 'topic'?"]),
    (Send("last", {"n": "many"}), ["n = 'many'"]),
])  # fmt: skip
def test_check_11_a_command_that_goes_where_it_may_not(
    store: Any, goto: Any, words: list[str]
) -> None:
    """It fails in the node that said it, with what to declare; mended the run goes on."""
    body = Mended(Command(update={"log": ["a"]}, goto=goto), None)
    flow = graph_of(body, targets=["last", END]).compile(store)
    run = fails(flow, InvalidUpdateError, "graph 'bad'", "node 'a'", "step 2", *words)
    assert run.state.log == ["first"]
    body.mend()
    assert flow.resume("r").state.log == ["first", "last"]


def test_a_router_that_raises(store: Any) -> None:
    """The cause is its own error; no body runs again."""

    def broken(state: State) -> Any:
        raise LookupError("the router's own")

    route = Mended(broken, "a")
    flow = routed(route).compile(store)
    with pytest.raises(RunFailedError, match="raised LookupError: the router's own") as failed:
        flow.run({}, run_id="r")
    assert isinstance(failed.value.__cause__, RouterError)
    assert isinstance(failed.value.__cause__.__cause__, LookupError)
    route.mend()
    assert flow.resume("r").state.log == ["first", "a"]


def test_a_router_of_start_that_fails_begins_no_run(store: Any) -> None:
    """The error itself is raised; nothing is stored; the id is free."""
    route = Mended(None, "a")
    graph = StateGraph(State, name="bad")
    graph.add_node("a", lambda s: {"log": ["a"]})
    graph.add_conditional_edges(START, route, ["a"], name="route")
    graph.add_edge("a", END)
    flow = graph.compile(store)
    with pytest.raises(RouterError, match="returned None"):
        flow.run({}, run_id="r")
    assert flow.runs() == []
    route.mend()
    assert flow.run({}, run_id="r").status == "done"


def test_a_router_that_gives_a_coroutine_leaves_none_behind(store: Any) -> None:
    """An async function in disguise: an error in words, no warning later."""

    async def inner() -> str:
        return "a"

    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        fails(routed(lambda s: inner()).compile(store), RouterError, "coroutine")
        gc.collect()
    assert left == []


def test_a_router_that_assigns_to_the_state(store: Any) -> None:
    """A router is a pure function: the assignment raises in it."""

    def route(state: State) -> str:
        state.n = 3
        return "a"

    fails(routed(route).compile(store), RouterError, "AssignmentError", "n")


# ------------------------------------------------------------------------------------- answers


def asking(**more: Any) -> StateGraph[State]:
    """Make a question, and a node after it."""
    graph = StateGraph(State, name="asking")
    graph.add_question("q", prompt="How many?", into="n", **more)
    graph.add_node("last", lambda s: {"log": ["last"]})
    graph.add_edge(START, "q")
    graph.add_edge("q", "last")
    graph.add_edge("last", END)
    return graph


@pytest.mark.parametrize("wrong", ["many", None, 1.5, [1], {"n": 1}, object()])
def test_an_answer_of_the_wrong_type_leaves_the_run_waiting(store: Any, wrong: Any) -> None:
    """The error names question and run; the question stays open; a right one goes on."""
    flow = asking().compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match=r"'q' of run r does not fit.*stays open"):
        flow.answer("r", wrong)
    run = flow.get("r")
    assert (run.status, run.reason, run.open) == ("paused", "question", {"q": "asking"})
    assert flow.answer("r", 3).state.n == 3


def test_a_second_answer_and_one_to_a_finished_run(store: Any) -> None:
    """The first right one wins; what comes later is refused, and nothing is stored."""
    flow = asking().compile(store)
    flow.run({}, run_id="r")
    flow.answer("r", 3, resume=False)
    with pytest.raises(
        AnswerError, match=r"run r waits for no answer any more.*Nothing was stored"
    ):
        flow.answer("r", 4)
    with pytest.raises(AnswerError):
        flow.answer("r", 4, key="q")
    run = flow.resume("r")
    assert (run.status, run.state.n) == ("done", 3)
    with pytest.raises(AnswerError, match="it is done"):
        flow.answer("r", 5)
    assert flow.get("r").state.n == 3


def test_an_answer_to_a_question_that_nobody_asked(store: Any) -> None:
    """By key: did-you-mean; to a failed or cancelled run: it says how the run stands."""
    flow = asking().compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match=r"no open question 'qq'.*Did you mean 'q'"):
        flow.answer("r", 3, key="qq")
    flow.cancel("r")
    with pytest.raises(AnswerError, match="it is cancelled"):
        flow.answer("r", 3)

    broken = graph_of(lambda s: 1 / 0).compile(store)
    with pytest.raises(RunFailedError):
        broken.run({}, run_id="f")
    with pytest.raises(AnswerError, match="it is failed"):
        broken.answer("f", 3)


def test_an_into_that_makes_a_wrong_update_of_an_answer(store: Any) -> None:
    """The question node fails, and is named; mended the answer that is stored is taken."""
    into = Mended(lambda value: {"nn": value}, lambda value: {"n": value})
    graph = StateGraph(State, name="asking")
    graph.add_question("q", prompt="?", into=into, answer=int)
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError, match=r"node 'q', step 1.*no field 'nn'"):
        flow.answer("r", 3)
    assert flow.get("r").status == "failed"
    into.mend()
    run = flow.resume("r")
    assert (run.status, run.state.n) == ("done", 3)


def test_a_prompt_that_is_no_text(store: Any) -> None:
    """It fails the question node, in words; a resume asks again."""
    prompt = Mended(None, "How many?")
    graph = StateGraph(State, name="asking")
    graph.add_question("q", prompt=prompt, into="n")
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError, match=r"the prompt of 'q' is None; it must be a str"):
        flow.run({}, run_id="r")
    prompt.mend()
    assert flow.resume("r").reason == "question"
    assert flow.answer("r", 3).state.n == 3


# ---------------------------------------------------------------------------------------- maps


def mapped(fn: Callable[..., Any], over: Any = "items", into: Any = "results", **more: Any) -> Any:
    """Make a map."""
    graph = StateGraph(State, name="mapped")
    graph.add_map("m", fn, over=over, into=into, **more)
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    return graph


def test_a_map_over_none(store: Any) -> None:
    """The field is named, and what a map needs; mended by a fork it goes on."""
    flow = mapped(lambda i: i).compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({}, run_id="r")
    for words in ("graph 'mapped'", "node 'm'", "step 1", "'items' is None", "a list or a tuple"):
        assert words in str(failed.value)
    assert flow.get("r").status == "failed"
    run = flow.fork("r", 0, update={"items": [1]})
    assert (run.status, run.state.results) == ("done", [1])


@pytest.mark.parametrize("items", [3, "abc", {"a": 1}, {1, 2}, iter([1])])
def test_a_map_over_what_is_no_list(store: Any, items: Any) -> None:
    """A set has no order, a str is one thing: a list or a tuple is needed."""
    with pytest.raises(RunFailedError, match=r"node 'm', step 1: `over`.*a list or a tuple"):
        mapped(lambda i: i, over=lambda s: items).compile(store).run({})


@pytest.mark.parametrize("function", ["over", "into"])
def test_a_map_whose_over_or_into_fails_never_gets_the_state_as_an_item(
    store: Any, function: str
) -> None:
    """A retry of the map calls what failed again: the body runs on items only, each once."""
    seen: list[Any] = []
    failures = [ConnectionError("first")]

    def flaky(given: Any) -> Any:
        if failures:
            raise failures.pop()
        return [1, 2] if function == "over" else {"results": given}

    graph = mapped(
        lambda item: seen.append(item) or item,
        retry=Retry(wait=0),
        **({"over": flaky} if function == "over" else {"over": lambda s: [1, 2], "into": flaky}),
    )
    flow = graph.compile(store)
    try:
        run = flow.run({}, run_id="r")
    except RunFailedError:
        run = flow.resume("r")
    assert (run.state.results, sorted(seen, key=str)) == ([1, 2], [1, 2])


@pytest.mark.parametrize(("result", "words"), [
    ("many", ["'many'", "item 1"]),
    (None, ["None", "item 1"]),
    (Command(goto="m"), ["item 1"]),
    ({"results": [1]}, ["item 1"]),
])  # fmt: skip
def test_an_items_result_of_the_wrong_type(store: Any, result: Any, words: list[str]) -> None:
    """It is named with item, node and step; the other items are kept."""
    ran: list[int] = []
    answer = Mended(result, 1)

    def act(item: int) -> Any:
        ran.append(item)
        return answer(item) if item == 1 else item

    flow = mapped(act).compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({"items": [0, 1, 2]}, run_id="r")
    for word in ("graph 'mapped'", "node 'm'", "step 1", *words):
        assert word in str(failed.value), (word, str(failed.value))
    answer.mend()
    assert flow.resume("r").state.results == [0, 1, 2]
    assert sorted(ran) == [0, 1, 1, 2]


def test_an_item_that_gives_a_coroutine_leaves_none_behind(store: Any) -> None:
    """It says to write async def, as a node does."""

    async def inner(item: int) -> int:
        return item

    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        with pytest.raises(RunFailedError, match="async def"):
            mapped(lambda i: inner(i)).compile(store).run({"items": [1]})  # noqa: PLW0108 - in disguise
        gc.collect()
    assert left == []


# ----------------------------------------------------------------------------------- subgraphs


def child() -> StateGraph[Inner]:
    """Make a child whose field `text` is required."""
    graph = StateGraph(Inner, name="child")
    graph.add_node("x", lambda s: {"size": len(s.text)})
    graph.add_edge(START, "x")
    graph.add_edge("x", END)
    return graph


def outer(**how: Any) -> StateGraph[State]:
    """Make a graph around the child."""
    graph = StateGraph(State, name="outer")
    graph.add_node("sub", child(), **how)
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    return graph


def test_a_subgraph_that_is_not_given_what_it_requires_does_not_compile() -> None:
    """A mapping is checked before anything runs: missing, unknown, and of another type."""
    for how, words in (
        ({}, "'text'"),
        ({"input": {}}, "'text'"),
        ({"input": {"txt": "topic"}}, "Did you mean 'text'?"),
        ({"input": {"text": "topc"}}, "Did you mean 'topic'?"),
        ({"input": {"text": "topic"}, "output": {"n": "sise"}}, "Did you mean 'size'?"),
        ({"input": {"text": "topic"}, "output": {"nn": "size"}}, "Known: |Did you mean"),
        ({"input": {"text": "n"}}, "text"),
    ):
        with pytest.raises(InvalidGraphError, match=words) as found:
            outer(**how).compile()
        assert "'sub'" in str(found.value)


@pytest.mark.parametrize(("given", "words"), [
    ({}, ["'sub'", "text"]),
    ({"txt": "x"}, ["'sub'", "txt"]),
    ({"text": 3}, ["'sub'", "text"]),
    (None, ["'sub'", "must be a dict of the child's fields"]),
    ("text", ["'sub'", "must be a dict of the child's fields"]),
])  # fmt: skip
def test_a_function_that_gives_a_subgraph_the_wrong_input(
    store: Any, given: Any, words: list[str]
) -> None:
    """The node fails and is named; no child is stored; mended the same run goes on."""
    make = Mended(given, {"text": "right"})
    flow = outer(input=make, output={"n": "size"}).compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({}, run_id="r")
    for word in words:
        assert word in str(failed.value), (word, str(failed.value))
    run = flow.get("r")
    assert (run.status, run.open, run.children) == ("failed", {"sub": "failed"}, {})
    make.mend()
    run = flow.resume("r")
    assert (run.status, run.state.n) == ("done", 5)


@pytest.mark.parametrize(("update", "words"), [
    ({"nn": 1}, ["no field 'nn'"]),
    ({"n": "many"}, ["n = 'many'"]),
    (3, ["3 (int)"]),
])  # fmt: skip
def test_a_function_that_makes_a_wrong_update_of_a_subgraph(
    store: Any, update: Any, words: list[str]
) -> None:
    """The node is named with its step; mended the child is not run again."""
    make = Mended(update, {"n": 1})
    flow = outer(input={"text": "topic"}, output=make).compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({}, run_id="r")
    for word in ("node 'sub'", "step 1", *words):
        assert word in str(failed.value), (word, str(failed.value))
    make.mend()
    run = flow.resume("r")
    assert (run.status, run.state.n) == ("done", 1)
    assert len(run.children["1:sub"].steps) == 2


def test_an_output_that_raises_is_said_where_it_is(store: Any) -> None:
    """run.error names graph, node and step, like any other update that is wrong."""
    flow = outer(input={"text": "topic"}, output=lambda c: 1 / 0).compile(store)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    error = flow.get("r").error or ""
    assert "node 'sub', step 1" in error
    assert "ZeroDivisionError" in error


# --------------------------------------------------------------------------- what is passed in


@pytest.mark.parametrize(("rules", "words"), [
    ({"retries": 3}, "'a': there is no retries=.*Did you mean 'retry'"),
    ({"time_out": 3}, "Did you mean 'timeout'"),
    ({"fall_back": "b"}, "Did you mean 'fallback'"),
    ({"retry": 3}, r"retry=3; pass Retry\(attempts=3\)"),
    ({"retry": True}, "retry=True"),
    ({"timeout": 0}, "timeout=0; pass seconds"),
    ({"timeout": -1}, "timeout=-1"),
    ({"timeout": True}, "timeout=True"),
    pytest.param({"timeout": "3"}, "timeout='3'; pass seconds"),
    ({"timeout": float("nan")}, "timeout=nan"),
    ({"fallback": lambda s: None}, "pass the name of a node"),
    ({"escalate": True}, r"pass Escalate"),
    ({"breaker": 5}, r"pass CircuitBreaker"),
    ({"budget": 5}, r"pass Budget"),
    ({"on_budget": 5}, "pass the name of a node"),
    ({"effects": "internal"}, "it is 'external'"),
    ({"targets": "b"}, "pass a list of names"),
    ({"input": {}}, "input= is for a node that is a graph"),
    ({"output": {}}, "output= is for a node that is a graph"),
    ({"limits": Limits()}, "limits= is for a node that is a graph"),
])  # fmt: skip
def test_a_wrong_keyword_of_a_node_is_refused_where_it_is_written(
    rules: dict[str, Any], words: str
) -> None:
    """The node is named, what was meant, and what to pass; nothing is added."""
    graph = StateGraph(State, name="bad")
    with pytest.raises(DefinitionError, match=words) as found:
        graph.add_node("a", lambda s: None, **rules)
    assert "'a'" in str(found.value)
    with pytest.raises(DefinitionError, match=words):
        graph.node(name="a", **rules)(lambda s: None)
    if not {"input", "output", "limits", "targets"} & rules.keys():
        with pytest.raises(DefinitionError, match=words):
            graph.add_map("a", lambda i: i, over="items", into="results", **rules)
    assert graph.definition.nodes == {}


@pytest.mark.parametrize(("how", "words"), [
    ({"max_concurrency": 0}, "max_concurrency=0; at least 1"),
    pytest.param({"max_concurrency": "3"}, "max_concurrency='3'"),
    pytest.param({"max_concurrency": 2.5}, "max_concurrency=2.5"),
    ({"fn": 3}, "cannot be called"),
])  # fmt: skip
def test_a_wrong_keyword_of_a_map(how: dict[str, Any], words: str) -> None:
    """Refused where it is written, with the map's name."""
    graph = StateGraph(State, name="bad")
    given = {"fn": lambda i: i, "over": "items", "into": "results", **how}
    with pytest.raises(DefinitionError, match=words) as found:
        graph.add_map("m", **given)
    assert "'m'" in str(found.value)


@pytest.mark.parametrize(("how", "words"), [
    ({"input": ["text"]}, "input"),
    ({"input": "text"}, "input"),
    ({"input": {"text": 3}}, "input"),
    ({"output": 3}, "output"),
    ({"output": {"n": None}}, "output"),
    ({"limits": 5}, "limits"),
    ({"targets": ["x"]}, "targets"),
    ({"inputs": {}}, "Did you mean 'input'"),
])  # fmt: skip
def test_a_wrong_keyword_of_a_subgraph(how: dict[str, Any], words: str) -> None:
    """Refused by add_node or compile in words that name the node; never a bare TypeError."""

    def build() -> None:
        graph = StateGraph(State, name="outer")
        graph.add_node("sub", child(), **{"input": {"text": "topic"}, **how})
        graph.add_edge(START, "sub")
        graph.add_edge("sub", END)
        graph.compile()

    with pytest.raises(DefinitionError, match=words) as found:
        build()
    assert "'sub'" in str(found.value)


@pytest.mark.parametrize("wrong", [
    {"retry": 3}, {"timeout": -1}, {"timeout": "3"}, {"escalate": True}, {"breaker": 5},
    {"budget": 5},
])  # fmt: skip
def test_wrong_defaults_are_refused_where_the_graph_is_made(wrong: dict[str, Any]) -> None:
    """As they are for one node: not first when a run fails."""
    with pytest.raises((DefinitionError, TypeError, ValueError), match=next(iter(wrong))):
        StateGraph(State, name="bad", defaults=Defaults(**wrong))


@pytest.mark.parametrize(("rules", "words"), [
    ({"fallback": "nobody"}, ["'a'", "fallback", "no node 'nobody'"]),
    ({"fallback": "lasd"}, ["'a'", "fallback", "Did you mean 'last'?"]),
    ({"fallback": "a"}, ["'a'", "is the node itself"]),
    ({"on_budget": "a"}, ["'a'", "is the node itself"]),
    ({"escalate": Escalate(into="nn")}, ["'a'", "'nn'"]),
    ({"escalate": Escalate(into="n", answer=str)}, ["'a'", "n"]),
])  # fmt: skip
def test_a_rule_that_leads_nowhere_does_not_compile(
    rules: dict[str, Any], words: list[str]
) -> None:
    """All such problems are found before anything runs."""
    with pytest.raises(InvalidGraphError) as found:
        graph_of(lambda s: None, **rules).compile()
    for word in words:
        assert word in str(found.value), (word, str(found.value))


@pytest.mark.parametrize("call", [
    lambda flow: flow.run({}, limits=5),
    lambda flow: flow.run({}, run_id=5),
    lambda flow: flow.run({}, run_id="a/b"),
    lambda flow: flow.run({}, run_id="a\nb"),
    lambda flow: flow.run({}, run_id="\x1b[0m"),
    lambda flow: flow.run({}, run_id=""),
    lambda flow: flow.batch([{}], run_ids=[""]),
    lambda flow: flow.batch({}),
    lambda flow: flow.batch({"topic": "x"}),
    lambda flow: flow.batch("topic"),
    lambda flow: flow.batch(State()),
    lambda flow: asyncio.run(flow.abatch({})),
    lambda flow: flow.run({"tpic": 1}),
    lambda flow: flow.run({"n": "many"}),
    lambda flow: flow.run(None),
    lambda flow: flow.run("topic"),
    lambda flow: flow.run(Inner(text="x")),
    pytest.param(lambda flow: flow.run({}, tags={"k": object()})),
    pytest.param(lambda flow: flow.run({}, tags="tag")),
])  # fmt: skip
def test_a_wrong_argument_of_run_begins_no_run(
    store: Any, call: Callable[[Flow[State]], Any]
) -> None:
    """Refused in words of ours, and nothing is stored."""
    flow = graph_of(lambda s: None).compile(store)
    with pytest.raises((DefinitionError, InputError, StateError, ExceptionGroup)) as found:
        call(flow)
    group = found.value.exceptions if isinstance(found.value, ExceptionGroup) else [found.value]
    assert all(isinstance(error, DefinitionError | InputError | StateError) for error in group)
    assert flow.runs() == []


@pytest.mark.parametrize(("wrong", "words"), [
    (lambda flow: flow.get(3), "3 is no run id; pass a run id, which is a str"),
    (lambda flow: flow.get(""), "'' is no run id; `graphflow runs` lists those that are there"),
    (lambda flow: flow.delete(""), "'' is no run id; `graphflow runs` lists those that are there"),
    (lambda flow: flow.resume(flow.get("r")), "is no run id; pass its id, 'r'"),
    (lambda flow: flow.runs(status="pausd"), "no run stands so. Did you mean 'paused'?"),
    (lambda flow: flow.runs(limit="3"), "runs(limit='3'): pass how many runs to list"),
    (lambda flow: flow.get("r").compare("r"), "compare('r'): pass a run, such as flow.get(run_id)"),
    (lambda flow: flow.get("r").state_at("1"), "step '1': pass the number of a committed step"),
    (lambda flow: flow.get("r").diff(True), "step True: pass the number of a committed step"),
    (lambda flow: flow.get("r").took("lost", "END"), "'lost' is no node of the run's graph."),
    (lambda flow: flow.get("r").took("STAR", "a"), "Did you mean 'START'?"),
    (lambda flow: flow.get("r").took("a", None), "None is no node of the run's graph"),
])  # fmt: skip
def test_a_slip_in_what_is_looked_up_is_said(
    store: Any, wrong: Callable[[Any], Any], words: str
) -> None:
    """What names nothing gives no empty answer, on which an `assert not` would pass."""
    flow = graph_of(lambda s: None).compile(store)
    flow.run({}, run_id="r")
    assert flow.get("r").took("START", "first")

    with pytest.raises(InputError, match=re.escape(words)):
        wrong(flow)


@pytest.mark.parametrize("wrong", [
    lambda: Send(3),
    lambda: Send("a", ["n"]),
    lambda: Send("a", "n"),
    lambda: Command(reason=3),
    lambda: Limits(steps=0),
    lambda: Limits(visits=True),
    lambda: Limits(visits=None),
    lambda: Limits(steps=1.5),
    lambda: Budget(calls=None),
    lambda: Budget(calls=1.5),
    lambda: Budget(calls="3"),
    lambda: Budget(calls=True),
    lambda: Budget(tokens=math.inf),
    lambda: Budget(tokens=-1),
    lambda: Budget(seconds=math.nan),
    lambda: Budget(seconds=-0.5),
    lambda: Budget(seconds="3"),
    lambda: Escalate(into=3),
    lambda: Escalate(prompt=3),
    lambda: Decision("a", confidence="high"),
    lambda: Decision("a", confidence=math.nan),
    lambda: Retry(attempts=0),
    lambda: Retry(attempts="3"),
    lambda: Retry(wait=-1),
    lambda: Retry(on=()),
    lambda: CircuitBreaker(failures=0),
    lambda: CircuitBreaker(cool_down="5"),
])  # fmt: skip
def test_values_that_make_no_sense_are_refused_when_made(wrong: Callable[[], Any]) -> None:
    """TypeError or ValueError, in words that show what was given."""
    with pytest.raises((TypeError, ValueError), match=r"\w+[(=]"):
        wrong()


@pytest.mark.parametrize(("wrong", "words"), [
    (lambda: Limits(steps=1.5), "Limits(steps=1.5): must be a whole number, at least 1"),
    (lambda: Budget(calls="3"), "Budget(calls='3'): must be a whole number, at least 0"),
    (lambda: Budget(seconds=math.nan), "Budget(seconds=nan): must be a number, at least 0"),
    (lambda: Decision("a", confidence="high"), "'high': it must be a number between 0 and 1"),
    (lambda: Escalate(into=3), "Escalate(into=3): pass the name of a field"),
])  # fmt: skip
def test_what_a_value_must_be_is_said(wrong: Callable[[], Any], words: str) -> None:
    """Not that it is too small, when it is no number."""
    with pytest.raises((TypeError, ValueError)) as found:
        wrong()
    assert words in str(found.value)


def nothing() -> None: ...
def three(state: State, ctx: Context, more: int) -> None: ...
def by_name(state: State, *, ctx: Context) -> None: ...
def two_by_name(state: State, ctx: Context, *, how: str) -> None: ...


@pytest.mark.parametrize("fn", [
    nothing, three, by_name, two_by_name, functools.partial(nothing), functools.partial(by_name, 3),
])  # fmt: skip
def test_a_function_that_cannot_be_a_body_is_refused_where_it_is_added(fn: Any) -> None:
    """The node is named, and how it would be called; nothing is added."""
    graph = StateGraph(State, name="bad")
    name = getattr(fn, "__name__", "partial")
    with pytest.raises(DefinitionError, match=rf"node 'a': it is called as {name}\(state\) or"):
        graph.add_node("a", fn)
    with pytest.raises(DefinitionError, match=rf"map 'm': it is called as {name}\(item\) or"):
        graph.add_map("m", fn, over="items", into="results")
    assert graph.definition.nodes == {}


@pytest.mark.parametrize("llm", ["nope", FakeLLM(script=[])])
def test_what_is_no_chat_client_does_not_compile(llm: Any) -> None:
    """Not first when a body asks for `ctx.llm`."""
    with pytest.raises(DefinitionError, match=r"compile\(llm=.*pass a ChatClient"):
        graph_of(lambda s: None).compile(llm=llm)


@pytest.mark.parametrize("how", [
    {"deadline": 5}, {"default": 3}, {"deadline": 5, "default": "many"}, {"into": "nn"},
    {"answer": str},
    pytest.param({"deadline": "tomorrow", "default": 3}),
    pytest.param({"deadline": -5, "default": 3}),
])  # fmt: skip
def test_a_question_that_cannot_be_asked(how: dict[str, Any]) -> None:
    """Refused by add_question or compile, with its name."""

    def build() -> None:
        graph = StateGraph(State, name="asking")
        graph.add_question("q", **{"prompt": "?", "into": "n", **how})
        graph.add_edge(START, "q")
        graph.add_edge("q", END)
        graph.compile()

    with pytest.raises(DefinitionError, match="'q'"):
        build()


def test_pauses_before_or_after_unknown_nodes() -> None:
    """compile(pause_before=) names what is not there, also inside a subgraph."""
    graph = outer(input={"text": "topic"})
    for wrong, meant in (("sbu", "sub"), ("sub/y", "x")):
        for option in ("pause_before", "pause_after"):
            with pytest.raises(DefinitionError, match=f"no node '{wrong[-1]}|{wrong}'") as found:
                graph.compile(**{option: [wrong]})
            assert f"'{meant}'" in str(found.value)


def test_names_that_would_be_read_as_a_tasks_key() -> None:
    """`# / [ ] :` are not allowed in the name of a node, of any kind."""
    graph = StateGraph(State, name="bad")
    for name in ("a#0", "a/b", "m[0]", "a:b", "", "  ", "END", START):
        for add in (
            lambda n: graph.add_node(n, lambda s: None),
            lambda n: graph.add_node(n, child()),
            lambda n: graph.add_map(n, lambda i: i, over="items", into="results"),
            lambda n: graph.add_question(n, prompt="?", into="n"),
        ):
            with pytest.raises(DefinitionError, match="cannot be the name of a node"):
                add(name)
