"""Streams: typed events, their order, back-pressure, leaving early, exceptions, tokens."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Context,
    Flow,
    Limits,
    Retry,
    Run,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.channel import Channel
from graphflow.errors import InputError, RouterError, RunBusyError, RunNotFoundError
from graphflow.events import CustomEvent, DoneEvent, NodeEvent, RunEvent, StepEvent
from graphflow.testing.llm import FakeLLM
from tests.rig import shapes


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0
    items: list[int] = Field(default_factory=list)
    results: list[int] = Field(default_factory=list)


def say(word: str) -> Any:
    """Make a body that writes a word."""
    return lambda s: {"log": [word]}


line, wide = partial(shapes.line, State), partial(shapes.wide, State)


def loop(until: int) -> StateGraph[State]:
    """Make a node that counts, and goes round until enough."""
    graph = StateGraph(State, name="loop")
    graph.add_node("count", lambda s: {"n": s.n + 1})
    graph.add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda s: END if s.n >= until else "count", ["count", END], name="enough"
    )
    return graph


MANY = Limits(steps=100_000, visits=100_000)


async def collect(stream: Any) -> list[Any]:
    """Read an async stream to its end."""
    return [event async for event in stream]


def read(flow: Flow[State], face: str, *args: Any, **more: Any) -> list[Any]:
    """Read a stream to its end, by either face."""
    if face == "stream":
        return list(flow.stream(*args, **more))
    return asyncio.run(collect(flow.astream(*args, **more)))


@pytest.fixture(params=["stream", "astream"])
def face(request: pytest.FixtureRequest) -> str:
    """Both faces; each test must see the same."""
    return str(request.param)


# ------------------------------------------------------------------------- what is told, when


def test_a_small_run_from_begin_to_end(face: str, store: Any) -> None:
    """Each step: its nodes begin and end, it is committed, its decisions follow; done at last."""
    flow = loop(2).compile(store)
    events = read(flow, face, {}, run_id="r")

    assert [event.type for event in events] == [
        "run",
        "step",
        "node", "node", "step", "decision",
        "node", "node", "step", "decision",
        "done",
    ]  # fmt: skip
    assert events[0] == RunEvent("r", "loop", -1)
    assert [e.step.step for e in events if e.type == "step"] == [0, 1, 2]
    nodes = [(e.step, e.key, e.attempt, e.task is None) for e in events if e.type == "node"]
    begin_and_end = [(step, "count", 1, begins) for step in (1, 2) for begins in (True, False)]
    assert nodes == begin_and_end
    assert events[-1] == DoneEvent("r", "done", None, None)


def check_consistency(events: list[Any], run: Run[Any], *, questions: bool = True) -> None:
    """Hold a stream of a whole run against its records."""
    own = [event for event in events if event.run_id == run.run_id]
    of = {kind: [e for e in own if e.type == kind] for kind in {e.type for e in own}}
    steps = [event.step for event in of["step"]]
    assert [s.step for s in steps] == [s.step for s in run.steps]
    assert [list(s.arrows) for s in steps] == [list(s.arrows) for s in run.steps]
    decided = [(e.step, e.decision) for e in of.get("decision", [])]
    assert decided == [(s.step, d) for s in run.steps for d in s.decisions]
    ended = [(e.step, e.key, e.task.update_json) for e in of.get("node", []) if e.task is not None]
    tasks = [(s.step, t.key, t.update_json) for s in run.steps for t in s.tasks]
    assert sorted(ended) == sorted(tasks)
    assert [e.attempt for e in of.get("attempt", [])] == list(run.attempts)
    if questions:
        assert [e.question.id for e in of.get("question", [])] == [q.id for q in run.questions]
    assert [type(e) for e in own].count(DoneEvent) == 1
    assert (own[-1].type, own[-1].status, own[-1].reason) == ("done", run.status, run.reason)
    committed = -1
    for event in own:
        if event.type == "step":
            committed = event.step.step
        elif event.type in {"node", "custom", "token"}:
            assert event.step == committed + 1
        elif event.type == "decision":
            assert event.step == committed


def test_every_type_of_event_agrees_with_the_records(face: str, store: Any) -> None:
    """All types of events, with Sends and maps: told once, in order, as stored."""
    tried = Counter[str]()

    def flaky(state: State) -> dict[str, Any]:
        tried["flaky"] += 1
        if tried["flaky"] < 3:
            raise ConnectionError("no")
        return {"log": ["flaky"]}

    async def speak(state: State, ctx: Context) -> dict[str, Any]:
        await ctx.emit({"progress": 0.5})
        return {"log": [(await ctx.llm.chat("go on")).text]}

    graph = StateGraph(State, name="all")
    graph.add_node("first", lambda s: {"items": [1, 2, 3]})
    graph.add_node("flaky", flaky, retry=Retry(attempts=3, wait=0))
    graph.add_node("speak", speak)
    graph.add_node("w", say("w"))
    graph.add_map("m", lambda item: item * 2, over="items", into="results")
    graph.add_question("q", prompt="?", into=lambda a: {"log": [a]})
    graph.add_edge(START, "first")
    graph.add_conditional_edges(
        "first", lambda s: [Send("w"), Send("w"), "flaky", "speak"],
        ["w", "flaky", "speak"], name="spread",
    )  # fmt: skip
    graph.add_edge(["w", "flaky", "speak"], "m")
    graph.add_edge("m", "q")
    graph.add_edge("q", END)
    flow = graph.compile(store, llm=FakeLLM(script=["one two three"]).client())
    events = read(flow, face, {}, run_id="r")
    check_consistency(events, flow.get("r"))
    kinds = Counter(event.type for event in events)
    assert kinds.keys() == {
        "run", "node", "attempt", "decision", "step", "token", "custom", "question", "done"
    }  # fmt: skip
    assert events[-1].reason == "question"
    assert "".join(e.text for e in events if e.type == "token") == "one two three"

    flow.answer("r", "said", resume=False)
    rest = read(flow, face, run_id="r")
    assert rest[0] == RunEvent("r", "all", 3)
    assert [e.type for e in rest] == ["run", "node", "step", "done"]
    assert flow.get("r").state.log[-1] == "said"


def test_each_task_that_begins_ends(face: str, store: Any) -> None:
    """Of each task, also of maps, items and subgraphs, begin and end are told alike."""
    graph = wide(a=say("a"))
    graph.add_map("m", lambda item: item, over="items", into="results")
    graph.add_node("sub", line(x=say("x")), input={}, output={"n": "n"})
    for name in ("m", "sub"):
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store)
    nodes = [e for e in read(flow, face, {"items": [1, 2]}, run_id="r") if e.type == "node"]
    begun = sorted((e.run_id, e.key) for e in nodes if e.task is None)
    ended = sorted((e.run_id, e.key) for e in nodes if e.task is not None)

    assert begun == ended


def test_a_task_kept_before_its_step_closed_is_told_once(face: str, store: Any) -> None:
    """It ends when it is stored, and is not told again with its step."""
    flow = wide(a=say("a"), b=say("b"), c=say("c")).compile(store)
    events = read(flow, face, {}, run_id="r")

    ended = Counter(e.key for e in events if e.type == "node" and e.task is not None)
    assert ended == {"a": 1, "b": 1, "c": 1}


def test_an_event_is_told_when_it_is_stored(store: Any) -> None:
    """Whoever hears of a step, or of a question, finds it in the records."""
    graph = line(a=say("a"), b=say("b"))
    graph.remove_edge("b", END)
    graph.add_question("q", prompt="?", into="n")
    graph.add_edge("b", "q")
    graph.add_edge("q", END)
    flow = graph.compile(store)
    for event in flow.stream({}, run_id="r"):
        if event.type == "step":
            assert len(flow.get("r").steps) > event.step.step
        if event.type == "question":
            assert [q.id for q in flow.get("r").questions] == ["q"]
        if event.type == "done":
            assert flow.get("r").status == event.status == "paused"


@pytest.mark.parametrize("how", ["limit", "failed", "question", "breakpoint", "done"])
def test_the_last_event_says_how_the_run_stands(how: str, face: str, store: Any) -> None:
    """Exactly one done event of the run itself, and it is the last."""
    if how == "question":
        graph = StateGraph(State, name="line")
        graph.add_question("a", prompt="?", into="n")
        graph.add_edge(START, "a")
        graph.add_edge("a", END)
    else:
        graph = line(a=(lambda s: 1 / 0) if how == "failed" else say("a"), b=say("b"))
    flow = graph.compile(store, pause_before=["b"] if how == "breakpoint" else [])
    limits = Limits(steps=1) if how == "limit" else None
    events = read(flow, face, {}, run_id="r", limits=limits)
    run = flow.get("r")

    assert (events[-1].status, events[-1].reason) == (run.status, run.reason)
    assert events[-1].error == run.error
    assert [e.type for e in events].count("done") == 1


@pytest.mark.parametrize("again", ["by id", "by input"])
def test_a_stream_of_a_run_that_is_over(again: str, face: str, store: Any) -> None:
    """Nothing is run; one event says how it stands."""
    flow = line(a=say("a")).compile(store)
    flow.run({}, run_id="r")
    events = read(flow, face, *([] if again == "by id" else [{}]), run_id="r")

    assert [e.type for e in events][-1:] == ["done"]
    assert events[-1].status == "done"


def test_going_on_in_a_stream(face: str, store: Any) -> None:
    """Without an input the run with this id goes on; limits count."""
    flow = loop(6).compile(store)
    flow.run({}, run_id="r", limits=Limits(steps=2))
    events = read(flow, face, run_id="r", limits=Limits(steps=9))

    assert events[0] == RunEvent("r", "loop", 2)
    assert (events[-1].status, flow.get("r").state.n) == ("done", 6)


# -------------------------------------------------------------------------------- subgraphs


def test_events_of_a_subgraph(face: str, store: Any) -> None:
    """They carry the child's id, stand between those of the parent, and agree with its records."""
    graph = line(a=say("a"))
    graph.remove_edge("a", END)
    graph.add_node("sub", loop(2), input={}, output={"n": "n"})
    graph.add_edge("a", "sub")
    graph.add_edge("sub", END)
    flow = graph.compile(store)
    events = read(flow, face, {}, run_id="r")
    run = flow.get("r")
    child = run.children["2:sub"]

    check_consistency(events, run)
    check_consistency(events, child)
    places = [i for i, e in enumerate(events) if e.run_id == child.run_id]
    assert places == list(range(places[0], places[-1] + 1))
    assert events[-1].run_id == "r"


def test_events_of_subgraphs_side_by_side(face: str, store: Any) -> None:
    """Each child's own are in order, whatever comes between."""
    graph = StateGraph(State, name="wide")
    for name in ("one", "two", "three"):
        graph.add_node(name, loop(3), input={}, output={"log": "log"})
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store)
    events = read(flow, face, {}, run_id="r")
    for child in flow.get("r").children.values():
        check_consistency(events, child)
    check_consistency(events, flow.get("r"))


def test_a_question_in_a_subgraph_is_told(face: str, store: Any) -> None:
    """The child's question, the child's pause, the parent's pause."""
    child = StateGraph(State, name="child")
    child.add_question("q", prompt="?", into="n")
    child.add_edge(START, "q")
    child.add_edge("q", END)
    graph = StateGraph(State, name="parent")
    graph.add_node("sub", child, input={}, output={"n": "n"})
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    flow = graph.compile(store)
    events = read(flow, face, {}, run_id="r")

    tail = [(e.type, e.run_id) for e in events[-3:]]
    assert tail == [("question", "r/1:sub"), ("done", "r/1:sub"), ("done", "r")]


# ------------------------------------------------------------------------------ ctx.emit


def test_emit_from_plain_async_and_threads(face: str, store: Any) -> None:
    """All that was emitted comes, in order per task, with run, step and key."""

    def plain(state: State, ctx: Context) -> None:
        for value in range(100):
            ctx.emit(("plain", value))

    async def later(state: State, ctx: Context) -> None:
        for value in range(100):
            await ctx.emit(("later", value))

    def own_thread(state: State, ctx: Context) -> None:
        thread = threading.Thread(target=plain_in_thread, args=(ctx,))
        thread.start()
        thread.join()

    def plain_in_thread(ctx: Context) -> None:
        for value in range(100):
            ctx.emit(("thread", value))

    flow = wide(plain=plain, later=later, own_thread=own_thread).compile(store)
    events = [e for e in read(flow, face, {}, run_id="r") if e.type == "custom"]
    for key, word in (("plain", "plain"), ("later", "later"), ("own_thread", "thread")):
        own = [e for e in events if e.key == key]
        assert [e.value for e in own] == [(word, value) for value in range(100)]
        assert {(e.run_id, e.step) for e in own} == {("r", 1)}


def test_emit_without_a_listener_does_nothing(store: Any) -> None:
    """Outside a stream it costs nothing, and may be awaited or not."""

    async def later(state: State, ctx: Context) -> None:
        ctx.emit(1)
        await ctx.emit(2)

    flow = wide(plain=lambda s, ctx: ctx.emit(1) and None, later=later).compile(store)

    assert flow.run({}).status == "done"


def test_emit_that_is_not_awaited_still_comes(face: str, store: Any) -> None:
    """In an async node awaiting only waits for room."""

    async def later(state: State, ctx: Context) -> None:
        for value in range(200):
            ctx.emit(value)

    flow = wide(later=later).compile(store)
    events = read(flow, face, {}, run_id="r")

    assert [e.value for e in events if e.type == "custom"] == list(range(200))


def test_emit_from_a_map(face: str, store: Any) -> None:
    """The key says which item."""

    def item(value: int, ctx: Context) -> int:
        ctx.emit(value)
        return value

    graph = StateGraph(State, name="map")
    graph.add_map("m", item, over="items", into="results")
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    flow = graph.compile(store)
    events = read(flow, face, {"items": [5, 6]}, run_id="r")

    assert sorted((e.key, e.value) for e in events if e.type == "custom") == [
        ("m[0]", 5), ("m[1]", 6)
    ]  # fmt: skip


# -------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("is_async", [False, True])
def test_tokens_come_as_the_model_speaks(is_async: bool, face: str, store: Any) -> None:
    """Each piece is an event of its task; together they are the answer that the node gets."""

    def plain(state: State, ctx: Context) -> dict[str, Any]:
        return {"log": [ctx.llm.sync.chat("tell").text]}

    async def later(state: State, ctx: Context) -> dict[str, Any]:
        return {"log": [(await ctx.llm.chat("tell")).text]}

    text = " ".join(f"word{i}" for i in range(150))
    flow = wide(a=later if is_async else plain).compile(
        store, llm=FakeLLM(script=[text, text]).client()
    )
    events = read(flow, face, {}, run_id="r")
    tokens = [e for e in events if e.type == "token"]

    assert len(tokens) > 100
    assert "".join(t.text for t in tokens) == text == flow.get("r").state.log[0]
    assert {(t.key, t.step) for t in tokens} == {("a", 1)}
    assert flow.run({}).state.log == [text]


# ---------------------------------------------------------------------------- back-pressure


def waiting(channels: list[Channel]) -> Iterator[int]:
    """Say how many events wait in each channel that was made."""
    return (len(channel._events) for channel in channels)


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> list[Channel]:
    """All channels that the test makes."""
    made: list[Channel] = []
    init = Channel.__init__

    def keep(self: Channel, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        made.append(self)

    monkeypatch.setattr(Channel, "__init__", keep)
    return made


def emits(kind: str, count: int) -> Any:
    """Make a body that emits much."""

    def plain(state: State, ctx: Context) -> None:
        for value in range(count):
            ctx.emit(value)

    async def later(state: State, ctx: Context) -> None:
        for value in range(count):
            await ctx.emit(value)

    return plain if kind == "plain" else later


@pytest.mark.parametrize("kind", ["plain", "later", "steps", "several", "tokens"])
def test_what_waits_is_bounded(kind: str, face: str, channels: list[Channel], store: Any) -> None:
    """A reader that is slower than the run: never more waits than the buffer, and one per task."""
    most, count = [0], 1000
    llm = None
    if kind == "steps":
        graph = loop(count)
    elif kind == "several":
        graph = wide(**{f"n{i}": emits("plain" if i % 2 else "later", 100) for i in range(10)})
    elif kind == "tokens":

        async def chat(state: State, ctx: Context) -> None:
            await ctx.llm.chat("tell")

        graph = wide(a=chat)
        llm = FakeLLM(script=[" ".join(["word"] * count)]).client()
    else:
        graph = wide(a=emits(kind, count))
    flow = graph.compile(store, limits=MANY, llm=llm)

    def look() -> None:
        most[0] = max(most[0], *waiting(channels))

    async def main() -> None:
        async for _ in flow.astream({}, run_id="r"):
            look()
            await asyncio.sleep(0)

    if face == "stream":
        for _ in flow.stream({}, run_id="r"):
            look()
    else:
        asyncio.run(main())

    assert flow.get("r").status == "done"
    assert 0 < most[0] <= 64 + 3 * (10 if kind == "several" else 1)


@pytest.mark.parametrize("kind", ["plain", "later"])
def test_a_reader_that_stops_stops_the_run(kind: str, channels: list[Channel], store: Any) -> None:
    """When nobody reads on the run stands still with a full buffer, and goes on with the reader."""
    emitted: list[int] = []
    full = threading.Event()

    def note(value: int) -> int:
        emitted.append(value)
        if len(emitted) >= 60:
            full.set()
        return value

    def plain(state: State, ctx: Context) -> None:
        for value in range(500):
            ctx.emit(note(value))

    async def later(state: State, ctx: Context) -> None:
        for value in range(500):
            await ctx.emit(note(value))

    flow = wide(a=plain if kind == "plain" else later).compile(store)
    stream = flow.stream({}, run_id="r")
    next(stream)
    assert full.wait(20)
    for _ in range(200):  # give it every chance to run ahead
        threading.Event().wait(0.001)
    assert len(emitted) <= 70
    assert len(list(stream)) > 490
    assert len(emitted) == 500


def test_a_thousand_tasks_at_once_do_not_flood(channels: list[Channel], store: Any) -> None:
    """Their beginnings wait for the reader too, or are bounded by what runs at once."""
    most = [0]
    graph = StateGraph(State, name="map")
    graph.add_map("m", lambda item: item, over="items", into="results", max_concurrency=8)
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    for _ in graph.compile(store).stream({"items": list(range(1000))}):
        most[0] = max(most[0], *waiting(channels))

    assert most[0] <= 64 + 2 * 8


# ---------------------------------------------------------------------------- leaving early


class Endless:
    """A body that waits until it is cancelled, unless it is told to be free."""

    def __init__(self) -> None:
        self.is_free = False

    async def __call__(self, state: State, ctx: Context) -> dict[str, Any]:
        await ctx.emit("inside")
        if not self.is_free:
            await asyncio.Event().wait()
        return {"log": ["body"]}


@pytest.mark.parametrize("at", ["run", "step", "node", "custom"])
def test_leaving_the_loop_early_leaves_a_run_that_resumes(at: str, store: Any) -> None:
    """The run is paused with reason interrupted, stands at its last step, and goes on."""
    body = Endless()
    flow = line(a=say("a"), body=body, b=say("b")).compile(store)
    for event in flow.stream({}, run_id="r"):
        if event.type == at:
            break

    if at == "run" and not flow.runs():
        return  # it was left before its first commit: there is no run
    run = flow.get("r")
    assert (run.status, run.reason) == ("paused", "interrupted")
    body.is_free = True
    assert flow.resume("r").state.log == ["a", "body", "b"]


def test_leaving_at_each_event(store: Any) -> None:
    """Wherever the reader leaves, the run is paused or over, and a resume ends it alike."""
    graph = line(a=say("a"), b=say("b"))
    total = len(list(graph.compile(store).stream({})))
    for place in range(total):
        flow, run_id = graph.compile(store), f"r{place}"
        stream = flow.stream({}, run_id=run_id)
        for _ in range(place + 1):
            next(stream)
        stream.close()
        if not [r for r in flow.runs() if r.run_id == run_id]:
            assert place == 0
            continue
        assert flow.get(run_id).status in {"paused", "done"}
        assert flow.resume(run_id).state.log == ["a", "b"]


def test_leaving_a_run_whose_body_emits(store: Any) -> None:
    """A plain body that waits for room is let go; it is waited for, and then the run is paused."""
    ended: list[int] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        for value in range(1000):
            ctx.emit(value)
        ended.append(1)
        return {"log": ["body"]}

    flow = line(body=body).compile(store)
    for event in flow.stream({}, run_id="r"):
        if event.type == "custom":
            break
    assert ended == [1]
    assert flow.get("r").status in {"paused", "done"}
    assert flow.resume("r").state.log == ["body"]


def test_an_error_in_the_readers_loop_leaves_a_run_that_resumes(store: Any) -> None:
    """As `break` does; the error goes on."""
    body = Endless()
    flow = line(a=say("a"), body=body).compile(store)

    def reader() -> None:
        for event in flow.stream({}, run_id="r"):
            if event.type == "custom":
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reader()

    gc.collect()
    assert flow.get("r").reason == "interrupted"
    body.is_free = True
    assert flow.resume("r").state.log == ["a", "body"]


def test_aclose_leaves_a_run_that_resumes(store: Any) -> None:
    """After aclose() the run is let go: it is paused, and can be taken at once."""
    body = Endless()
    flow = line(a=say("a"), body=body, b=say("b")).compile(store)

    async def main() -> Run[State]:
        stream = flow.astream({}, run_id="r")
        async for event in stream:
            if event.type == "custom":
                break
        await stream.aclose()
        assert flow.get("r").reason == "interrupted"
        body.is_free = True
        return await flow.aresume("r")

    assert asyncio.run(main()).state.log == ["a", "body", "b"]


def test_a_cancelled_reader_leaves_a_run_that_resumes(store: Any) -> None:
    """Cancelling the asyncio task that reads interrupts the run."""
    body = Endless()
    flow = line(a=say("a"), body=body, b=say("b")).compile(store)

    async def main() -> None:
        heard = asyncio.Event()

        async def reader() -> None:
            async for event in flow.astream({}, run_id="r"):
                if event.type == "custom":
                    heard.set()

        reading = asyncio.create_task(reader())
        await heard.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(main())
    assert flow.get("r").reason == "interrupted"
    body.is_free = True
    assert flow.resume("r").state.log == ["a", "body", "b"]


def test_a_stream_that_is_never_read(store: Any) -> None:
    """The run begins with the first event: without a reader there is no run."""
    flow = line(a=say("a")).compile(store)
    stream = flow.stream({}, run_id="r")
    del stream
    gc.collect()

    assert flow.runs() == []


def test_a_run_that_is_streamed_is_busy(store: Any) -> None:
    """Nobody else advances it meanwhile; afterwards it is free."""
    body = Endless()
    flow = line(a=say("a"), body=body).compile(store)
    stream = flow.stream({}, run_id="r")
    for event in stream:
        if event.type == "custom":
            with pytest.raises(RunBusyError):
                flow.resume("r")
            break
    stream.close()

    body.is_free = True

    assert flow.resume("r").status == "done"


# ------------------------------------------------------------------------------ exceptions


def test_a_failed_run_raises_nothing(face: str, store: Any) -> None:
    """Its attempts and its end are told; the run can be resumed."""
    flow = wide(a=lambda s: 1 / 0, b=say("b")).compile(store)
    events = read(flow, face, {}, run_id="r")

    assert [e.attempt.error_type for e in events if e.type == "attempt"] == ["ZeroDivisionError"]
    assert (events[-1].status, events[-1].reason) == ("failed", "task")
    assert "ZeroDivisionError" in events[-1].error
    with pytest.raises(RunFailedError):
        flow.resume("r")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (({"n": "many"},), InputError),
        (({"m": 1},), InputError),
        ((), InputError),
        ((None,), InputError),
    ],
)
def test_a_stream_that_cannot_begin(given: Any, error: Any, face: str, store: Any) -> None:
    """The error comes with the first event, and leaves no run."""
    flow = line(a=say("a")).compile(store)
    with pytest.raises(error):
        read(flow, face, *given)

    assert flow.runs() == []


def test_a_stream_of_no_run(face: str, store: Any) -> None:
    """There is none by this id."""
    with pytest.raises(RunNotFoundError):
        read(line(a=say("a")).compile(store), face, run_id="nothing")


def test_a_failing_router_of_start(face: str, store: Any) -> None:
    """No run has begun: the router's error is raised."""
    graph = StateGraph(State, name="start")
    graph.add_node("a", say("a"))
    graph.add_edge("a", END)
    graph.add_conditional_edges(START, lambda s: 1 / 0, ["a"], name="bad")
    flow = graph.compile(store)
    with pytest.raises(RouterError):
        read(flow, face, {}, run_id="r")

    assert flow.runs() == []


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_a_body_reaches_the_reader(
    is_async: bool, error: type[BaseException], store: Any
) -> None:
    """The run is paused, and the reader gets what the body raised."""
    first = [True]

    def plain(state: State) -> dict[str, Any]:
        if first:
            first.clear()
            raise error
        return {"log": ["body"]}

    async def later(state: State) -> dict[str, Any]:
        return plain(state)

    flow = line(a=later if is_async else plain).compile(store)
    with pytest.raises(error):
        list(flow.stream({}, run_id="r"))

    assert flow.get("r").reason == "interrupted"
    assert flow.resume("r").state.log == ["body"]


def test_two_streams_at_once(store: Any) -> None:
    """Each reader hears its own run only."""
    flow = loop(20).compile(store, limits=MANY)
    one, two = flow.stream({}, run_id="one"), flow.stream({}, run_id="two")
    heard: dict[str, list[Any]] = {"one": [], "two": []}
    for first, second in zip(one, two, strict=True):
        heard["one"].append(first)
        heard["two"].append(second)

    for name, events in heard.items():
        assert {e.run_id for e in events} == {name}
        check_consistency(events, flow.get(name))


def test_events_are_data() -> None:
    """They are frozen and compare by value."""
    assert CustomEvent("r", 1, "a", 5) == CustomEvent("r", 1, "a", 5)
    assert NodeEvent("r", 1, "a", "a", 1).type == "node"
    assert StepEvent.type == "step"
    with pytest.raises(AttributeError):
        DoneEvent("r", "done", None).status = "failed"  # type: ignore[misc]  # that it cannot be set is the point
