"""Side by side and nested: Sends, deferred joins, maps, subgraphs, dependencies, defaults."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Command,
    Context,
    Defaults,
    Limits,
    Retry,
    RunFailedError,
    Send,
    StateGraph,
    add,
    append,
)
from graphflow.errors import InputError, NodeTimeoutError

LONG = 20.0
"""Seconds that a test waits for what comes at once, before it is red instead of hanging."""


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    total: Annotated[int, add] = 0
    items: list[int] = Field(default_factory=list)
    results: list[int] = Field(default_factory=list)
    name: str = ""
    n: int = 0


class Inner(BaseModel):
    """The state of a child: other fields, one of them required."""

    text: str
    words: Annotated[list[str], append] = Field(default_factory=list)
    size: int = 0


def note(name: str) -> Callable[[State], Any]:
    """Make a body that writes its name."""
    return lambda state: {"log": [name]}


def graph_of(*names: str, state: Any = State, **more: Any) -> StateGraph[Any]:
    """Make nodes that write their names; arrows are the test's."""
    graph = StateGraph(state, **{"name": "graph", **more})
    for name in names:
        graph.add_node(name, note(name))
    return graph


def splitting() -> StateGraph[Inner]:
    """Make a child that splits a text, and counts."""
    graph = StateGraph(Inner, name="splitting")
    graph.add_node("split", lambda s: {"words": s.text.split()})
    graph.add_node("count", lambda s: {"size": len(s.words)})
    graph.add_edge(START, "split")
    graph.add_edge("split", "count")
    graph.add_edge("count", END)
    return graph


def around(child: StateGraph[Any], state: Any = State, **how: Any) -> StateGraph[Any]:
    """Make a graph whose only node `sub` is a child."""
    graph = StateGraph(state, name="outer")
    graph.add_node("sub", child, **how)
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    return graph


# ---------------------------------------------------------------------------------------- Sends


def test_each_send_is_a_task_with_an_input_of_its_own(store: Any) -> None:
    """Laid over the state for that task alone; results in the order they were sent (S2, S6)."""
    graph = graph_of("plan")
    graph.add_node("w", lambda s, ctx: {"log": [f"{ctx.key} {s.name} {s.n}"], "total": s.n})
    graph.add_node("after", lambda s: {"log": [f"after {s.n}"]})
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda s: [Send("w", {"n": n}) for n in (3, 1, 2)], ["w"], name="each"
    )
    graph.add_edge("w", "after")
    graph.add_edge("after", END)
    run = graph.compile(store).run({"name": "x"})

    assert run.state.log == ["plan", "w#0 x 3", "w#1 x 1", "w#2 x 2", "after 0"]
    assert (run.state.total, run.state.n) == (6, 0)
    assert [task.key for task in run.steps[2].tasks] == ["w#0", "w#1", "w#2"]
    assert [tuple(a) for a in run.steps[1].arrows] == [("plan", "w", "send")] * 3


def test_sends_really_run_side_by_side(store: Any) -> None:
    """Plain ones in threads, async ones in one loop: each must be running before any ends."""
    barrier, meeting = threading.Barrier(10), asyncio.Barrier(10)

    def meet(state: State) -> Any:
        barrier.wait(LONG)
        return {"total": 1}

    async def ameet(state: State) -> Any:
        async with asyncio.timeout(LONG):
            await meeting.wait()
        return {"total": 1}

    for body in (meet, ameet):
        graph = StateGraph(State, name="meet")
        graph.add_node("w", body)
        graph.add_conditional_edges(START, lambda s: [Send("w")] * 10, ["w"], name="ten")
        graph.add_edge("w", END)
        assert graph.compile(store).run({}).state.total == 10


def test_a_node_may_send_by_command(store: Any) -> None:
    """Command(goto=[Send, name]): with the update, targets declared on the node (S5)."""
    graph = StateGraph(State, name="goto")

    def plan(state: State) -> Command:
        sends = [Send("w", {"n": n}) for n in state.items]
        return Command(update={"name": "planned"}, goto=[*sends, "beside"], reason="one per item")

    graph.add_node("plan", plan, targets=["w", "beside"])
    graph.add_node("w", lambda s: {"log": [f"{s.name} {s.n}"]})
    graph.add_node("beside", note("beside"))
    graph.add_node("last", note("last"), defer=True)
    graph.add_edge(START, "plan")
    graph.add_edge("w", "last")
    graph.add_edge("beside", "last")
    graph.add_edge("last", END)
    run = graph.compile(store).run({"items": [5, 6]})

    assert run.state.log == ["planned 5", "planned 6", "beside", "last"]
    (decision,) = run.decisions
    assert (decision.kind, decision.reason, decision.targets) == (
        "goto", "one per item", ("w", "beside"),
    )  # fmt: skip


def test_a_single_send_needs_no_list(store: Any) -> None:
    """Send(...) alone, from a router and from a Command."""
    graph = StateGraph(State, name="single")
    graph.add_node("a", lambda s: Command(goto=Send("w", {"n": 2})), targets=["w"])
    graph.add_node("w", lambda s: {"log": [str(s.n)]})
    graph.add_conditional_edges(START, lambda s: Send("a", {"n": 1}), ["a"], name="first")
    graph.add_edge("w", END)
    assert graph.compile(store).run({}).state.log == ["2"]


def test_a_plain_task_and_sends_of_one_node_in_one_step(store: Any) -> None:
    """The plain task first, then its Sends; its router decides once (S2, S4)."""
    decided: list[int] = []
    graph = StateGraph(State, name="both")
    graph.add_node("w", lambda s, ctx: {"log": [f"{ctx.key} {s.n}"]})

    def route(state: State) -> str:
        decided.append(len(state.log))
        return END

    graph.add_conditional_edges(
        START, lambda s: [Send("w", {"n": 1}), "w", Send("w", {"n": 2})], ["w"], name="three"
    )
    graph.add_conditional_edges("w", route, [END])
    run = graph.compile(store).run({})
    assert run.state.log == ["w 0", "w#0 1", "w#1 2"]
    assert decided == [3]


def test_many_failures_are_told_in_a_few_words(store: Any) -> None:
    """A hundred branches that fail alike: the message names the first, and counts the others."""

    class State(BaseModel):
        n: int = 0

    def work(state: State) -> None:
        raise ValueError("no luck")

    graph = StateGraph(State)
    graph.add_node("source", lambda _: None)
    graph.add_node("work", work)
    graph.add_edge(START, "source")
    graph.add_conditional_edges(
        "source", lambda _: [Send("work", {"n": n}) for n in range(100)], ["work"], name="all"
    )
    graph.add_edge("work", END)
    flow = graph.compile(store)

    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="r")

    assert "work#0: ValueError: no luck; work#1" in str(caught.value)
    assert "work#7: ValueError: no luck; and 92 more." in str(caught.value)
    assert len(caught.value.run.attempts) == 100
    assert "and 92 more" in str(flow.store.load("r").header.error)


def test_a_failed_send_is_run_again_alone_with_its_own_input(store: Any) -> None:
    """The others are kept; its private input is what it was."""
    ran: list[int] = []

    def body(state: State) -> Any:
        ran.append(state.n)
        if state.n == 1 and ran.count(1) == 1:
            raise ValueError("one")
        return {"log": [str(state.n)]}

    graph = StateGraph(State, name="sent")
    graph.add_node("w", body)
    graph.add_conditional_edges(
        START, lambda s: [Send("w", {"n": n}) for n in range(3)], ["w"], name="each"
    )
    graph.add_edge("w", END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError, match="w#1: ValueError: one") as failed:
        flow.run({}, run_id="r")
    assert failed.value.run.open == {"w#0": "done", "w#1": "failed", "w#2": "done"}
    assert flow.resume("r").state.log == ["0", "1", "2"]
    assert sorted(ran) == [0, 1, 1, 2]


def test_sends_to_a_map_a_question_and_a_subgraph(store: Any) -> None:
    """Any kind of node takes a Send, each with its private input."""
    graph = StateGraph(State, name="kinds")
    graph.add_map(
        "m", lambda item: item * 10, over="items", into=lambda found: {"total": sum(found)}
    )
    graph.add_question(
        "q", prompt=lambda s: f"who is {s.n}?", into=lambda a: {"log": [a]}, answer=str
    )
    graph.add_node("sub", splitting(), input={"text": "name"}, output=lambda c: {"log": c.words})
    graph.add_conditional_edges(
        START,
        lambda s: [
            Send("m", {"items": [1, 2]}),
            Send("m", {"items": [3]}),
            Send("q", {"n": 1}),
            Send("q", {"n": 2}),
            Send("sub", {"name": "a b"}),
            Send("sub", {"name": "c"}),
        ],
        ["m", "q", "sub"],
        name="all",
    )
    for name in ("m", "q", "sub"):
        graph.add_edge(name, END)
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    assert [(q.id, q.prompt) for q in run.questions] == [
        ("q#0", "who is 1?"), ("q#1", "who is 2?"),
    ]  # fmt: skip
    assert sorted(run.children) == ["1:sub#0", "1:sub#1"]
    flow.answer("r", "two", key="q#1")
    run = flow.answer("r", "one", key="q#0")
    assert (run.state.total, run.state.log) == (60, ["one", "two", "a", "b", "c"])


def test_an_empty_list_of_sends_takes_no_arrow(store: Any) -> None:
    """`[]` ends that branch; the join of the others does not wait for it (S12)."""
    graph = graph_of("plan", "beside", "w", "last")
    graph.add_edge(START, "plan")
    graph.add_edge(START, "beside")
    graph.add_conditional_edges("plan", lambda s: [], ["w"], name="none")
    graph.add_edge(["w", "beside"], "last")
    graph.add_edge("last", END)
    run = graph.compile(store).run({})
    assert run.state.log == ["plan", "beside", "last"]


# ---------------------------------------------------------------------------------------- joins


def test_a_deferred_node_waits_for_branches_of_unequal_length(store: Any) -> None:
    """`defer=True` makes a join: one run, when the last live task is through."""
    graph = graph_of("a", "b1", "b2", "b3")
    graph.add_node("last", note("last"), defer=True)
    for source, target in (
        (START, "a"), (START, "b1"), ("b1", "b2"), ("b2", "b3"), ("a", "last"), ("b3", "last"),
        ("last", END),
    ):  # fmt: skip
        graph.add_edge(source, target)
    run = graph.compile(store).run({})
    assert run.state.log == ["a", "b1", "b2", "b3", "last"]
    assert {join: list(of) for join, of in run.steps[3].fired.items()} == {"last": ["a", "b3"]}
    assert list(run.steps[1].held) == ["last"]


def test_a_join_over_sends_of_unequal_length_runs_once(store: Any) -> None:
    """It waits for the slowest chain of a Send."""
    graph = StateGraph(State, name="uneven")
    graph.add_node("w", lambda s: Command(goto="more" if s.n > 1 else []), targets=["more"])
    graph.add_node("more", note("more"))
    graph.add_node("last", note("last"))
    graph.add_conditional_edges(
        START, lambda s: [Send("w", {"n": n}) for n in (1, 2)], ["w"], name="each"
    )
    graph.add_edge(["w", "more"], "last")
    graph.add_edge("last", END)
    assert graph.compile(store).run({}).state.log == ["more", "last"]


def test_a_deferred_question_map_and_subgraph_are_joins(store: Any) -> None:
    """`defer=` works for each kind of node."""
    graph = graph_of("a", "b", "c")
    graph.add_map("m", lambda i: i, over="items", into="results", defer=True)
    graph.add_node("sub", splitting(), input={"text": "name"}, output={"n": "size"}, defer=True)
    graph.add_question("q", prompt="?", into=lambda a: {"log": [a]}, answer=str, defer=True)
    for source, target in ((START, "a"), (START, "b"), ("b", "c")):
        graph.add_edge(source, target)
    for join in ("m", "sub", "q"):
        graph.add_edge("a", join)
        graph.add_edge("c", join)
        graph.add_edge(join, END)
    flow = graph.compile(store)
    flow.run({"items": [4], "name": "x y"}, run_id="r")
    run = flow.answer("r", "yes")
    assert run.path == ["a", "b", "c", "m", "sub", "q"]
    assert (run.state.results, run.state.n) == ([4], 2)


# ----------------------------------------------------------------------------------------- maps


class Counted:
    """Counts who is inside, and holds each until as many are as should be at most."""

    def __init__(self, most: int) -> None:
        self.lock, self.inside, self.seen = threading.Lock(), 0, list[int]()
        self.both = threading.Barrier(most), asyncio.Barrier(most)

    def note(self, by: int) -> None:
        """Note that one goes in, or out."""
        with self.lock:
            self.inside += by
            self.seen.append(self.inside)

    def plain(self, item: int) -> int:
        """Go in, meet the others, go out together."""
        self.note(1)
        self.both[0].wait(LONG)
        self.note(-1)
        self.both[0].wait(LONG)
        return item * item

    async def waits(self, item: int) -> int:
        """Do the same in a coroutine."""
        self.note(1)
        async with asyncio.timeout(LONG):
            await self.both[1].wait()
            self.note(-1)
            await self.both[1].wait()
        return item * item


@pytest.mark.parametrize("face", ["run", "arun"])
@pytest.mark.parametrize("is_async", [False, True])
def test_max_concurrency_is_really_reached_and_never_passed(
    store: Any, face: str, *, is_async: bool
) -> None:
    """Three at once: each third meets two others, and a fourth is never among them."""
    counted = Counted(3)
    graph = StateGraph(State, name="mapped")
    body = counted.waits if is_async else counted.plain
    graph.add_map("m", body, over="items", into="results", max_concurrency=3)
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    flow = graph.compile(store)
    given = {"items": list(range(12))}
    run = flow.run(given) if face == "run" else asyncio.run(flow.arun(given))

    assert run.state.results == [n * n for n in range(12)]
    assert max(counted.seen) == 3
    assert run.steps[1].tasks[0].items == 12


@pytest.mark.parametrize("face", ["run", "arun"])
def test_what_has_ended_is_taken_up_before_the_next_item_ends(store: Any, face: str) -> None:
    """A result is stored when it is there, not when a body that began later has ended (S13)."""
    stored: list[int] = []

    def act(item: int) -> int:
        if item == 2:  # begins when one of the first two has ended: both are stored soon
            for _ in range(2000):
                found = [r.ix for r in store.load("r", tail=True).items]
                if sorted(found) == [0, 1]:
                    break
                threading.Event().wait(0.001)
            stored.extend(found)
        else:
            both.wait(LONG)
        return item

    both = threading.Barrier(2)
    graph = StateGraph(State, name="mapped")
    graph.add_map("m", act, over="items", into="results", max_concurrency=2)
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    flow = graph.compile(store)
    given = {"items": [0, 1, 2]}
    if face == "run":
        flow.run(given, run_id="r")
    else:
        asyncio.run(flow.arun(given, run_id="r"))
    assert sorted(stored) == [0, 1]


def test_max_concurrency_of_one_runs_in_order(store: Any) -> None:
    """One after another, by index."""
    order: list[int] = []
    graph = StateGraph(State, name="mapped")
    graph.add_map(
        "m", lambda i: order.append(i) or i, over="items", into="results", max_concurrency=1
    )
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    assert graph.compile(store).run({"items": [3, 1, 2]}).state.results == [3, 1, 2]
    assert order == [3, 1, 2]


def test_a_map_keeps_its_results_and_runs_only_what_is_missing(store: Any) -> None:
    """All failing items are reported together; a resume runs only these (S13)."""
    ran: list[int] = []
    broken = {1, 3}

    def act(item: int, ctx: Context) -> int:
        ran.append(item)
        assert ctx.key == f"m[{item}]"
        if item in broken:
            raise ValueError(f"item {item}")
        return item * 2

    graph = StateGraph(State, name="mapped")
    graph.add_map("m", act, over="items", into="results")
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({"items": [0, 1, 2, 3]}, run_id="r")
    cause = failed.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert sorted(map(str, cause.exceptions)) == ["item 1", "item 3"]
    assert "item 1" in str(failed.value)
    assert "item 3" in str(failed.value)

    broken.remove(1)
    ran.clear()
    with pytest.raises(RunFailedError, match="item 3"):
        flow.resume("r")
    assert sorted(ran) == [1, 3]
    broken.clear()
    ran.clear()
    run = flow.resume("r")
    assert (run.state.results, ran) == ([0, 2, 4, 6], [3])
    assert sorted({a.key for a in run.attempts}) == ["m[1]", "m[3]"]


def test_the_rules_of_a_map_hold_for_each_item(store: Any) -> None:
    """Retry and timeout per item; one slow item does not end the others."""
    release = threading.Event()
    tried: list[int] = []

    def act(item: int) -> int:
        tried.append(item)
        if item == 0 and tried.count(0) == 1:
            raise ConnectionError("first")
        if item == 1:
            assert release.wait(LONG)
        return item

    graph = StateGraph(State, name="mapped")
    graph.add_map(
        "m", act, over="items", into="results", timeout=0.3,
        retry=Retry(wait=0, on=ConnectionError),
    )  # fmt: skip
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError) as failed:
        flow.run({"items": [0, 1, 2]}, run_id="r")
    assert isinstance(failed.value.__cause__, NodeTimeoutError)
    release.set()
    assert flow.resume("r").state.results == [0, 1, 2]
    assert sorted(tried) == [0, 0, 1, 1, 2]


def test_items_of_any_type_and_results_by_a_function(store: Any) -> None:
    """over= and into= may be functions; `result=` is the type that a reload gives back."""

    class Point(BaseModel):
        x: int

    graph = StateGraph(State, name="mapped")
    graph.add_map(
        "m",
        lambda word: Point(x=len(word)),
        over=lambda s: s.name.split(),
        into=lambda points: {"results": [p.x for p in points], "total": sum(p.x for p in points)},
        result=Point,
    )
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    run = graph.compile(store).run({"name": "a bb ccc"})
    assert (run.state.results, run.state.total) == ([1, 2, 3], 6)


def test_a_map_over_nothing_is_complete(store: Any) -> None:
    """No items: `[]`, and its arrows go once (S13)."""
    graph = graph_of("last")
    graph.add_map("m", lambda i: i, over="items", into="results")
    graph.add_edge(START, "m")
    graph.add_edge("m", "last")
    graph.add_edge("last", END)
    run = graph.compile(store).run({})
    assert (run.state.log, run.state.results, run.steps[1].tasks[0].items) == (["last"], [], 0)


def test_a_map_beside_nodes_and_another_map(store: Any) -> None:
    """All items and siblings run side by side in one step."""
    barrier = threading.Barrier(5)

    def meet(_: Any) -> int:
        barrier.wait(LONG)
        return 1

    graph = StateGraph(State, name="mapped")
    graph.add_map("m", meet, over="items", into="results")
    graph.add_map("k", meet, over="items", into=lambda found: {"total": len(found)})
    graph.add_node("a", lambda s: {"n": meet(s)})
    for name in ("m", "k", "a"):
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    run = graph.compile(store).run({"items": [7, 8]})
    assert (run.state.results, run.state.total, run.state.n) == ([1, 1], 2, 1)


# ------------------------------------------------------------------------------------ subgraphs


def test_a_subgraph_takes_and_gives_fields_by_name(store: Any) -> None:
    """input={its: ours}, output={ours: its}; its steps are its own run's (S19)."""
    graph = around(splitting(), input={"text": "name"}, output={"log": "words", "n": "size"})
    run = graph.compile(store).run({"name": "to be or"}, run_id="r")

    assert (run.state.log, run.state.n) == (["to", "be", "or"], 3)
    assert (run.path, len(run.steps)) == (["sub"], 2)
    child = run.children["1:sub"]
    assert (child.run_id, child.status, child.path) == ("r/1:sub", "done", ["split", "count"])
    assert child.values["words"] == ["to", "be", "or"]
    assert (child.header.parent, child.header.parent_key) == ("r", "sub")


def test_a_subgraph_takes_and_gives_by_functions(store: Any) -> None:
    """Functions of the parent's state and of the child's last one, an instance of its class."""

    def output(child: Inner) -> Any:
        assert isinstance(child, Inner)
        return {"log": [child.text.upper()], "total": child.size}

    graph = around(splitting(), input=lambda s: {"text": s.name + "!"}, output=output)
    run = graph.compile(store).run({"name": "x y"})
    assert (run.state.log, run.state.total) == (["X Y!"], 2)


def test_subgraphs_nest_and_run_side_by_side(store: Any) -> None:
    """Two children of children at once; questions in them by their path."""
    barrier = threading.Barrier(2)

    def meet(state: Inner) -> Any:
        barrier.wait(LONG)
        return {"words": [state.text]}

    inmost = StateGraph(Inner, name="inmost")
    inmost.add_node("meet", meet)
    inmost.add_question("ask", prompt="more?", into="size")
    inmost.add_edge(START, "meet")
    inmost.add_edge("meet", "ask")
    inmost.add_edge("ask", END)
    middle = StateGraph(Inner, name="middle")
    middle.add_node(
        "low", inmost, input={"text": "text"}, output={"words": "words", "size": "size"}
    )
    middle.add_edge(START, "low")
    middle.add_edge("low", END)
    graph = StateGraph(State, name="outer")
    graph.add_node("w", middle, input={"text": "name"}, output=lambda c: {
        "log": c.words, "total": c.size,
    })  # fmt: skip
    graph.add_conditional_edges(
        START, lambda s: [Send("w", {"name": name}) for name in "xy"], ["w"], name="two"
    )
    graph.add_edge("w", END)
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    assert (run.status, run.open) == ("paused", {"w#0": "asking", "w#1": "asking"})

    run = flow.answer("r", 3, key="w#1/low/ask")
    assert (run.status, run.open) == ("paused", {"w#0": "asking", "w#1": "done"})
    run = flow.answer("r", 4, key="w#0/low/ask")
    assert (run.status, run.state.log, run.state.total) == ("done", ["x", "y"], 7)


def test_a_subgraph_sees_the_sends_input_and_siblings_see_nothing_of_it(store: Any) -> None:
    """Its input is taken from the frozen state with the Send's update over it (S19)."""
    seen: list[str] = []
    graph = StateGraph(State, name="outer")
    graph.add_node("sub", splitting(), input={"text": "name"}, output={"log": "words"})
    graph.add_node("beside", lambda s: seen.append(s.name))
    graph.add_conditional_edges(
        START, lambda s: [Send("sub", {"name": "private"}), "beside"], ["sub", "beside"], name="go"
    )
    graph.add_edge("sub", END)
    graph.add_edge("beside", END)
    run = graph.compile(store).run({"name": "shared"})
    assert (run.state.log, run.state.name, seen) == (["private"], "shared", ["shared"])


def test_a_subgraph_in_a_loop_begins_anew_each_time(store: Any) -> None:
    """A child per step; each has its own run and its own state."""
    graph = around(splitting(), input={"text": "name"}, output={"log": "words"})
    graph.remove_edge("sub", END)
    graph.add_conditional_edges(
        "sub", lambda s: END if len(s.log) >= 3 else "sub", ["sub", END], name="enough"
    )
    run = graph.compile(store).run({"name": "x"}, run_id="r")
    assert run.state.log == ["x", "x", "x"]
    assert [child.run_id for child in run.children.values()] == ["r/1:sub", "r/2:sub", "r/3:sub"]


def endless() -> StateGraph[State]:
    """Make a child that never ends by itself."""
    graph = StateGraph(State, name="endless")
    graph.add_node("spin", lambda s: {"n": s.n + 1})
    graph.add_edge(START, "spin")
    graph.add_conditional_edges(
        "spin", lambda s: END if s.n >= 9 else "spin", ["spin", END], name="on"
    )
    return graph


@pytest.mark.parametrize("outer", [None, Limits(steps=1000, visits=1000)])
def test_the_limits_of_a_subgraph_are_its_own(store: Any, outer: Limits | None) -> None:
    """add_node(limits=) bounds the child, whatever bounds the run that it begins in (S19)."""
    graph = around(endless(), output={"n": "n"}, limits=Limits(steps=4))
    flow = graph.compile(store)
    run = flow.run({}, run_id="r", limits=outer)
    assert (run.status, run.reason, run.open) == ("paused", "limit:steps:sub", {"sub": "limit"})
    assert run.children["1:sub"].values["n"] == 4
    run = flow.resume("r", limits=Limits(steps=100))
    assert (run.status, run.state.n) == ("done", 9)


def test_the_small_limits_of_a_run_do_not_bound_its_children(store: Any) -> None:
    """run(limits=) are the bounds of this run; the child counts for itself (S19)."""
    graph = around(endless(), output={"n": "n"})
    assert graph.compile(store).run({}, limits=Limits(steps=2)).status == "done"


def test_new_limits_of_a_resume_are_not_those_of_children_begun_later(store: Any) -> None:
    """resume(limits=) is for the run and its *open* children (S14)."""
    graph = around(endless(), output={"n": "n"}, limits=Limits(steps=4))
    graph.remove_edge(START, "sub")
    graph.add_node("a", note("a"))
    graph.add_node("b", note("b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", "sub")
    flow = graph.compile(store)
    assert flow.run({}, run_id="r", limits=Limits(steps=1)).reason == "limit:steps"
    assert flow.resume("r", limits=Limits(steps=100)).reason == "limit:steps:sub"


def test_a_subgraph_of_a_subgraph_may_be_the_same_graph_twice(store: Any) -> None:
    """One graph as two nodes: two children, told apart by their tasks."""
    child = splitting()
    graph = StateGraph(State, name="outer")
    graph.add_node("p", child, input={"text": "name"}, output={"log": "words"})
    graph.add_node("q", child, input={"text": "name"}, output={"log": "words", "n": "size"})
    for name in "pq":
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    run = graph.compile(store).run({"name": "a b"})
    assert (run.state.log, run.state.n) == (["a", "b", "a", "b"], 2)


# ----------------------------------------------------------------------------------------- deps


class Database:
    """What nodes are given."""

    def __init__(self, name: str = "db") -> None:
        self.name = name
        self.loop: asyncio.AbstractEventLoop | None = None


def asking(body: Callable[..., Any] | None = None, **more: Any) -> StateGraph[State]:
    """Make a node that uses its dependencies."""
    graph = StateGraph(State, name="asking", **{"deps": Database, **more})
    graph.add_node("a", body or (lambda s, ctx: {"log": [ctx.deps.name]}))
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    return graph


def test_deps_are_given_to_run_or_compile_and_never_stored(store: Any) -> None:
    """What `run` is given goes before what `compile` was."""
    flow = asking().compile(store, deps=Database("compiled"))
    assert flow.run({}, run_id="r").state.log == ["compiled"]
    assert flow.run({}, deps=Database("run")).state.log == ["run"]
    assert "compiled" not in str(flow.get("r").records.header)


def test_a_factory_is_called_once_per_run_and_when_first_asked(store: Any) -> None:
    """Also with parallel nodes that ask at once; never when nobody asks."""
    made: list[Database] = []
    barrier = threading.Barrier(4)

    def make() -> Database:
        made.append(Database())
        return made[-1]

    def body(state: State, ctx: Context[Database]) -> Any:
        barrier.wait(LONG)
        return {"log": [str(id(ctx.deps))]}

    graph = StateGraph(State, name="asking", deps=Database)
    for number in range(4):
        graph.add_node(f"n{number}", body)
        graph.add_edge(START, f"n{number}")
        graph.add_edge(f"n{number}", END)
    run = graph.compile(store).run({}, deps=make)
    assert len(made) == 1
    assert set(run.state.log) == {str(id(made[0]))}

    asking(lambda s, ctx: None).compile(store).run({}, deps=make)
    assert len(made) == 1


def test_a_factory_of_loop_bound_things_runs_in_the_loop_of_the_node(store: Any) -> None:
    """In `arun` that is the caller's loop, in `run` the loop in which async nodes run."""
    made: list[Database] = []

    def make() -> Database:
        made.append(Database())
        made[-1].loop = asyncio.get_running_loop()
        return made[-1]

    async def body(state: State, ctx: Context[Database]) -> Any:
        assert ctx.deps.loop is asyncio.get_running_loop()
        return {"log": ["same"]}

    flow = asking(body).compile(store)
    assert flow.run({}, deps=make).state.log == ["same"]

    async def main() -> None:
        assert (await flow.arun({}, deps=make)).state.log == ["same"]
        assert made[-1].loop is asyncio.get_running_loop()

    asyncio.run(main())
    assert len(made) == 2


def test_missing_or_wrong_deps_are_refused_before_the_run_begins(store: Any) -> None:
    """The error names graph and type, and what to type; no run is stored."""
    flow = asking().compile(store)
    with pytest.raises(InputError, match=r"'asking' declares deps=Database, and none were given"):
        flow.run({}, run_id="r")
    with pytest.raises(InputError, match=r"deps=Database\(\.\.\.\)"):
        flow.run({}, run_id="r", deps="a string")
    assert flow.runs() == []


def test_missing_deps_of_a_resume_leave_the_run_as_it_was(store: Any) -> None:
    """Refused before anything is taken; with them it goes on."""
    broken = [True]

    def body(state: State, ctx: Context[Database]) -> Any:
        if broken:
            raise ValueError("broken")
        return {"log": [ctx.deps.name]}

    flow = asking(body).compile(store)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r", deps=Database())
    with pytest.raises(InputError, match="none were given"):
        flow.resume("r")
    assert flow.get("r").status == "failed"
    broken.clear()
    assert flow.resume("r", deps=Database("again")).state.log == ["again"]


def test_a_factory_that_makes_something_else_fails_the_node(store: Any) -> None:
    """The error names graph and type; the run can be resumed with a right one."""
    flow = asking().compile(store)
    with pytest.raises(RunFailedError, match="made 'a string', which is no Database") as failed:
        flow.run({}, run_id="r", deps=lambda: "a string")
    assert isinstance(failed.value.__cause__, InputError)
    assert flow.resume("r", deps=Database).status == "done"


def test_a_factory_that_raises_fails_the_node_and_is_called_again(store: Any) -> None:
    """With a retry the node gets another one."""
    errors = [ConnectionError("no connection")]

    def make() -> Database:
        if errors:
            raise errors.pop()
        return Database("second")

    graph = StateGraph(State, name="asking", deps=Database)
    graph.add_node("a", lambda s, ctx: {"log": [ctx.deps.name]}, retry=Retry(wait=0))
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    run = graph.compile(store).run({}, deps=make)
    assert (run.state.log, run.recovered) == (["second"], True)


def test_an_async_factory_is_refused_in_words(store: Any) -> None:
    """It would hand out a coroutine: say so, and leave no coroutine behind."""

    async def make() -> Database:
        return Database()

    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        with pytest.raises((InputError, RunFailedError), match="coroutine"):
            asking().compile(store).run({}, deps=make)
        gc.collect()
    assert [str(warning.message) for warning in left] == []


def test_a_subgraph_has_the_deps_of_its_run(store: Any) -> None:
    """Given once; the child's nodes ask for the same object."""
    graph = StateGraph(State, name="outer", deps=Database)
    graph.add_node("sub", asking(), output={"log": "log"})
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    assert graph.compile(store).run({}, deps=Database("shared")).state.log == ["shared"]


def test_a_subgraph_whose_deps_are_not_given_says_so(store: Any) -> None:
    """The child declares what it needs: with nothing, or something else, the error says whose."""
    graph = around(asking(), output={"log": "log"})
    for wrong in (None, "a string"):
        with pytest.raises((InputError, RunFailedError), match="'asking' declares deps=Database"):
            graph.compile(store).run({}, deps=wrong)
    assert graph.compile(store).run({}, deps=Database("x")).state.log == ["x"]


def test_deps_that_are_callable_objects_are_given_as_they_are(store: Any) -> None:
    """An instance of the declared type is no factory, even when it can be called."""

    class Service:
        def __call__(self) -> str:
            return "called"

    service = Service()
    graph = asking(lambda s, ctx: {"log": [str(ctx.deps is service)]}, deps=Service)
    assert graph.compile(store).run({}, deps=service).state.log == ["True"]


# ------------------------------------------------------------------------------------- defaults


def test_the_defaults_of_a_graph_hold_for_each_kind_of_node(store: Any) -> None:
    """Plain nodes, gates and the items of maps; not for the nodes of a subgraph."""
    failures = {"a": 1, "check": 1, "m": 1}

    def once(name: str, result: Any) -> Callable[[Any], Any]:
        def act(_: Any) -> Any:
            if failures.get(name, 0):
                failures[name] -= 1
                raise ConnectionError(name)
            return result

        return act

    defaults = Defaults(retry=Retry(attempts=2, wait=0), timeout=LONG)
    graph = StateGraph(State, name="defaults", defaults=defaults)
    graph.add_node("a", once("a", None))
    graph.add_map("m", once("m", 1), over="items", into="results")
    graph.add_edge(START, "a")
    graph.add_edge("a", "m")
    graph.add_gate("g", after="m", checks=[once("check", True)], passed=END, failed="a")
    run = graph.compile(store).run({"items": [1]})
    assert (run.status, run.recovered) == ("done", True)
    assert [a.key for a in run.attempts] == ["a", "m[0]", "g"]

    failures["a"] = 1
    child = graph_of()
    child.add_node("x", once("a", None))
    child.add_edge(START, "x")
    child.add_edge("x", END)
    outer = StateGraph(State, name="outer", defaults=defaults)
    outer.add_node("sub", child, retry=Retry(attempts=1))
    outer.add_edge(START, "sub")
    outer.add_edge("sub", END)
    with pytest.raises(RunFailedError, match="sub/x"):
        outer.compile(store).run({})


def test_the_timeout_of_defaults(store: Any) -> None:
    """Each node has it; a node's own goes before it; a subgraph is bounded by its nodes'."""
    release = threading.Event()

    def slow(state: State) -> None:
        assert release.wait(LONG)

    graph = StateGraph(State, name="slow", defaults=Defaults(timeout=0.05))
    graph.add_node("a", slow)
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    with pytest.raises(RunFailedError, match=r"timeout of 0\.05 s"):
        graph.compile(store).run({})
    release.set()
