"""Designing a graph: nodes, edges, routers and gates, by call and by decorator."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Command, Context, RunFailedError, StateGraph, append
from graphflow.errors import DefinitionError, InputError


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0


def nothing(state: State) -> None:
    """Change nothing."""


def line() -> StateGraph[State]:
    """Make START -> a -> b -> END."""
    graph = StateGraph(State, name="line")
    graph.add_node("a", nothing)
    graph.add_node("b", nothing)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", END)
    return graph


def test_decorators_keep_the_function() -> None:
    """The function is returned as it is, and can be called in a test."""
    graph = StateGraph(State)

    @graph.node
    def first(state: State) -> dict[str, Any]:
        return {"log": ["first"]}

    @graph.node(name="second", targets=[END])
    async def other(state: State, ctx: Context) -> Command:
        return Command(update={"log": [f"second of {ctx.node}"]}, goto=END)

    @graph.decision("first")
    def go_on(state: State) -> Literal["second"]:
        return "second"

    graph.add_edge(START, "first")

    assert first(State()) == {"log": ["first"]}
    assert go_on(State()) == "second"
    assert graph.compile().run({}).state.log == ["first", "second of second"]


def test_the_name_is_the_states_by_default() -> None:
    """A graph can be named."""
    assert StateGraph(State).name == "State"
    assert StateGraph(State, name="other").name == "other"
    assert "0 nodes" in repr(StateGraph(State))


@pytest.mark.parametrize("name", ["", "  ", START, END, "START", "END", None, 3])
def test_names_that_cannot_be(name: Any) -> None:
    """Empty ones, START, END, and what is no text."""
    with pytest.raises(DefinitionError, match="cannot be the name"):
        StateGraph(State).add_node(name, nothing)


def test_a_script_cannot_define_a_node_twice() -> None:
    """The second would silently replace the first."""
    graph = line()

    with pytest.raises(DefinitionError, match=r"has a node 'a' already.*remove_node\('a'\)"):
        graph.add_node("a", nothing)
    with pytest.raises(DefinitionError):
        graph.add_gate("a", after="b", checks=[lambda s: True], passed=END, failed="b")


def test_a_script_cannot_define_a_router_twice() -> None:
    """Two lambdas after one node have one name; one of them would be lost."""
    graph = line()
    graph.add_conditional_edges("a", lambda s: [], ["b"])
    try:
        graph.add_conditional_edges("a", lambda s: END, [END])
    except DefinitionError:
        return
    assert len(graph.definition.routers) == 2


def test_two_routers_after_one_node_run_in_order() -> None:
    """Each is called once per step; their arrows add up (S4)."""
    graph = line()
    graph.add_node("c", nothing)
    graph.add_edge("c", END)
    graph.add_conditional_edges("a", lambda s: "c", ["c"], name="one")
    graph.add_conditional_edges("a", lambda s: ["c", END], ["c", END], name="two")

    run = graph.compile().run({})
    assert [d.router for d in run.decisions] == ["one", "two"]
    assert run.path == ["a", "b", "c"]


def test_the_same_edge_twice_is_one() -> None:
    """It adds nothing."""
    graph = line()
    graph.add_edge("a", "b")

    assert len(graph.definition.edges) == 3


def test_a_list_edge_of_one_source_makes_a_join() -> None:
    """`add_edge(["a"], "b")` too (S8)."""
    graph = StateGraph(State)
    for name in "ab":
        graph.add_node(name, nothing)
    graph.add_edge(START, "a")
    graph.add_edge(["a"], "b")
    graph.add_edge("b", END)

    assert graph.compile().run({}).steps[1].fired == {"b": ["a"]}


@pytest.mark.parametrize(
    "add",
    [
        lambda g: g.add_edge(nothing, "b"),
        lambda g: g.add_edge("a", nothing),
        lambda g: g.add_edge([], "b"),
        lambda g: g.add_edge(["a", nothing], "b"),
        lambda g: g.add_node("c", nothing, targets="end"),
        lambda g: g.add_conditional_edges("a", lambda s: "b", "b"),
        lambda g: g.add_node("c", 5),
        lambda g: g.add_node("c", None),
        lambda g: g.add_conditional_edges("a", "b"),
    ],
    ids=["function-source", "function-target", "no-source", "function-in-list", "targets-str",
         "router-targets-str", "node-5", "node-none", "router-str"],
)  # fmt: skip
def test_wrong_types_are_refused_at_once(add: Any) -> None:
    """A function for its name, a str for a list, a value for a function: said where written."""
    with pytest.raises(DefinitionError):
        add(line())


def test_remove_node_takes_its_arrows_along() -> None:
    """And says so when there is none of this name."""
    graph = line()
    graph.add_conditional_edges("a", lambda s: END, [END])
    graph.remove_node("a")

    assert [(e.source, e.target) for e in graph.definition.edges] == [("b", END)]
    assert graph.definition.routers == []
    with pytest.raises(DefinitionError, match=r"Did you mean 'b'|Known: 'b'"):
        graph.remove_node("bb")


def test_remove_edge() -> None:
    """One arrow; one that is not there is an error."""
    graph = line()
    graph.remove_edge("a", "b")

    assert ("a", "b") not in [(e.source, e.target) for e in graph.definition.edges]
    with pytest.raises(DefinitionError, match="'a' -> 'b'"):
        graph.remove_edge("a", "b")


def test_gates_without_sense_are_refused() -> None:
    """No checks, or no try."""
    for wrong in ({"checks": []}, {"checks": [lambda s: True], "tries": 0}):
        with pytest.raises(DefinitionError, match="gate 'q'"):
            line().add_gate("q", after="a", passed=END, failed="a", otherwise="b", **wrong)


class Callable_:
    """An object that can be called."""

    def __call__(self, state: State, ctx: Context) -> dict[str, Any]:
        return {"log": [ctx.node]}

    def method(self, state: State, ctx: Context) -> dict[str, Any]:
        return {"log": [ctx.node]}

    async def coroutine(self, state: State) -> dict[str, Any]:
        return {"log": ["coroutine"]}


def with_default(state: State, times: int = 2) -> dict[str, Any]:
    """Take a parameter of its own."""
    return {"log": [str(times)]}


def other_names(s: State, c: Any) -> dict[str, Any]:
    """Name the parameters otherwise."""
    return {"log": [c.node]}


def annotated_default(state: State, ctx: Context = None) -> dict[str, Any]:  # type: ignore[assignment]  # on purpose
    """Have a default for the context."""
    return {"log": [ctx.node]}


def optional(state: State, ctx: Context | None = None) -> dict[str, Any]:
    """Have an optional context."""
    return {"log": [ctx.node if ctx else "none"]}


@pytest.mark.parametrize(
    ("fn", "word"),
    [
        (Callable_(), "n"),
        (Callable_().method, "n"),
        (Callable_().coroutine, "coroutine"),
        (with_default, "2"),
        (other_names, "n"),
        (annotated_default, "n"),
        (optional, "n"),
        (functools.partial(with_default, times=5), "5"),
        (functools.partial(Callable_().method), "n"),
        (lambda s: {"log": ["lambda"]}, "lambda"),
    ],
)
def test_what_a_node_may_be(fn: Any, word: str) -> None:
    """Any callable; the context goes to a second parameter without a default, or a Context."""
    graph = StateGraph(State)
    graph.add_node("n", fn)
    graph.add_edge(START, "n")
    graph.add_edge("n", END)

    assert graph.compile().run({}).state.log == [word]


def test_a_router_may_be_an_object() -> None:
    """Its name is that of its class, its targets are those of its __call__."""

    class Pick:
        def __call__(self, state: State) -> Literal["b"]:
            return "b"

    graph = line()
    graph.remove_edge("a", "b")
    graph.add_conditional_edges("a", Pick())

    (decision,) = graph.compile().run({}).decisions
    assert (decision.router, decision.chosen) == ("Pick", ("b",))


def test_the_order_of_nodes_is_that_of_their_declaration() -> None:
    """Merge, path and records follow it (S2)."""
    graph = StateGraph(State)
    for name in "zya":
        graph.add_node(name, lambda s, name=name: {"log": [name]})
    for name in "ayz":
        graph.add_edge(START, name)
        graph.add_edge(name, END)

    run = graph.compile().run({})
    assert run.path == ["z", "y", "a"]
    assert run.state.log == ["z", "y", "a"]


def test_a_compiled_flow_keeps_the_graph_it_was_made_of() -> None:
    """Its spec does not change with the graph."""
    graph = line()
    flow = graph.compile()
    before = flow.run({}).records.spec
    graph.remove_node("b")

    assert [n["name"] for n in before["nodes"]] == ["a", "b"]
    assert flow.runs()[0].path == ["a", "b"]


def test_the_spec_is_plain_json() -> None:
    """Nodes, edges and routers as they were declared."""
    import json

    graph = line()
    graph.add_conditional_edges("a", lambda s: True, {True: "b", False: END}, name="route")
    spec = json.loads(json.dumps(graph.compile().run({}).records.spec))

    assert spec["edges"] == [[START, "a", "edge"], ["a", "b", "edge"], ["b", END, "edge"]]
    assert spec["routers"][0]["answers"] == {"True": "b", "False": END}
    assert spec["state"]["fields"]["log"]["reducer"] == "append"


def test_start_and_end_may_be_spelled_out() -> None:
    """In a Literal, a list, an edge, a goto, a gate and an answer; they are recorded alike."""

    def route(state: State) -> Literal["b", "END"]:
        return "END"

    graph = StateGraph(State)
    graph.add_node("a", lambda s: Command(goto="END"), targets=["END"])
    graph.add_node("b", nothing)
    graph.add_edge("START", "a")
    graph.add_conditional_edges("a", route)
    graph.add_gate("q", after="b", checks=[lambda s: True], passed="END", failed="b")
    run = graph.compile().run({})

    assert [d.chosen for d in run.decisions] == [(END,), (END,)]
    assert run.took("START", "a")
    assert run.took("a", "END")


def test_flows_of_a_graph_share_its_memory() -> None:
    """A node is mended in its cell, the graph compiled again, and the failed run goes on."""
    graph = line()
    broken = [True]

    def fails(state: State) -> None:
        if broken:
            raise RuntimeError("not yet")

    graph.remove_node("b")
    graph.add_node("b", fails)
    graph.add_edge("a", "b")
    graph.add_edge("b", END)
    with pytest.raises(RunFailedError):
        graph.compile().run({}, run_id="r")
    broken.clear()

    assert graph.compile().resume("r").path == ["a", "b"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: StateGraph(State()),
        lambda: StateGraph(State, name=5),
        lambda: line().compile(3),
        lambda: line().compile(limits=5),
        lambda: line().compile(check="mutations"),
        lambda: line().compile().run({}, limits=5),
        lambda: line().compile().run({}, run_id=7),
        lambda: line().add_gate("q", after="b", checks="abc", passed=END, failed="a"),
        lambda: line().add_gate("q", after="b", checks=[5], passed=END, failed="a"),
    ],
    ids=range(9),
)
def test_arguments_of_the_wrong_kind_are_refused(wrong: Any) -> None:
    """Where they are written, with what to pass instead."""
    with pytest.raises((DefinitionError, InputError)):
        wrong()
