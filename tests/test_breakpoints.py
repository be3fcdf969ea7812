"""Breakpoints: `pause_before` and `pause_after`, in loops, in subgraphs, with `advance`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Limits, RunFailedError, Send, StateGraph, append
from graphflow.errors import DefinitionError


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0


def say(word: str) -> Any:
    """Make a body that writes a word."""
    return lambda s: {"log": [word]}


def line(*names: str) -> StateGraph[State]:
    """Make a chain of nodes."""
    graph = StateGraph(State, name="line")
    for source, target in zip([START, *names], [*names, END], strict=True):
        if target != END:
            graph.add_node(target, say(target))
        graph.add_edge(source, target)
    return graph


def loop(until: int) -> StateGraph[State]:
    """Make two nodes that go round and round."""
    graph = StateGraph(State, name="loop")
    graph.add_node("a", lambda s: {"n": s.n + 1, "log": ["a"]})
    graph.add_node("b", say("b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_conditional_edges("b", lambda s: END if s.n >= until else "a", ["a", END], name="on")
    return graph


def test_pause_before_and_go_on_past_it(store: Any) -> None:
    """The run pauses before the step with the node in it; a resume runs it."""
    flow = line("a", "b", "c").compile(store, pause_before=["b"])
    run = flow.run({}, run_id="r")
    assert (run.status, run.reason, run.state.log) == ("paused", "before:b", ["a"])
    assert run.open == {}

    assert flow.resume("r").state.log == ["a", "b", "c"]


def test_pause_after_and_go_on_past_it(store: Any) -> None:
    """The run pauses when the step with the node in it is committed."""
    flow = line("a", "b", "c").compile(store, pause_after=["b"])
    run = flow.run({}, run_id="r")
    assert (run.status, run.reason, run.state.log) == ("paused", "after:b", ["a", "b"])

    assert flow.resume("r").state.log == ["a", "b", "c"]


def test_before_and_after_the_same_node(store: Any) -> None:
    """Both hold; and before the next node as well."""
    flow = line("a", "b").compile(store, pause_before=["a", "b"], pause_after=["a"])
    run, seen = flow.run({}, run_id="r"), []
    while run.status == "paused":
        seen.append((run.reason, run.state.log))
        run = flow.resume("r")

    assert seen == [("before:a", []), ("after:a", ["a"]), ("before:b", ["a"])]
    assert run.state.log == ["a", "b"]


def test_pause_after_the_last_node_is_done(store: Any) -> None:
    """There is nothing left to pause for."""
    assert line("a").compile(store, pause_after=["a"]).run({}).status == "done"


def test_a_loop_pauses_each_time(store: Any) -> None:
    """Again and again, before and after, each resume one round."""
    flow = loop(3).compile(store, pause_before=["b"], pause_after=["b"])
    run, seen = flow.run({}, run_id="r"), []
    while run.status == "paused":
        seen.append((run.reason, run.state.n))
        run = flow.resume("r")

    assert seen == [
        ("before:b", 1),
        ("after:b", 1),
        ("before:b", 2),
        ("after:b", 2),
        ("before:b", 3),
    ]
    assert run.state.log == ["a", "b"] * 3


def test_a_node_that_follows_itself(store: Any) -> None:
    """Going past one visit does not go past the next one."""
    graph = StateGraph(State, name="self")
    graph.add_node("a", lambda s: {"n": s.n + 1})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: END if s.n > 2 else "a", ["a", END], name="on")
    flow = graph.compile(store, pause_before=["a"])
    run, seen = flow.run({}, run_id="r"), []
    while run.status == "paused":
        seen.append(run.state.n)
        run = flow.resume("r")

    assert seen == [0, 1, 2]


def test_one_pause_for_a_step_of_several(store: Any) -> None:
    """Nodes of one step are one pause, which names the first; Sends count as their node."""
    graph = StateGraph(State, name="wide")
    graph.add_node("first", say("first"))
    for name in ("a", "b"):
        graph.add_node(name, say(name))
        graph.add_edge(name, END)
    graph.add_edge(START, "first")
    graph.add_conditional_edges(
        "first", lambda s: ["b", Send("a"), Send("a")], ["a", "b"], name="spread"
    )
    flow = graph.compile(store, pause_before=["a", "b"], pause_after=["a", "first"])
    run = flow.run({}, run_id="r")
    assert run.reason == "after:first"
    run = flow.resume("r")
    assert (run.status, run.reason) == ("paused", "before:a")

    assert flow.resume("r").state.log == ["first", "a", "a", "b"]


def test_advance_stops_at_breakpoints_and_goes_past_them(store: Any) -> None:
    """advance() pauses as run() does; the next advance goes past it."""
    flow = line("a", "b", "c").compile(store, pause_before=["b"], pause_after=["b"])
    flow.start({}, run_id="r")
    run = flow.advance("r", steps=5)
    assert (run.reason, run.state.log) == ("before:b", ["a"])
    run = flow.advance("r", steps=5)
    assert (run.reason, run.state.log) == ("after:b", ["a", "b"])
    run = flow.advance("r", steps=5)
    assert (run.status, run.state.log) == ("done", ["a", "b", "c"])


def test_advance_that_ends_before_a_breakpoint(store: Any) -> None:
    """It has used up its steps: the breakpoint is met by the next one."""
    flow = line("a", "b").compile(store, pause_before=["b"])
    flow.start({}, run_id="r")
    assert flow.advance("r", steps=1).status == "running"
    assert flow.advance("r", steps=1).reason == "before:b"
    assert flow.advance("r", steps=1).status == "done"


@pytest.mark.parametrize("steps", [0, -1])
def test_advancing_by_nothing_is_refused(steps: int, store: Any) -> None:
    """It could not be meant, and it would forget why the run paused."""
    flow = line("a", "b").compile(store, pause_before=["b"])
    flow.run({}, run_id="r")
    with pytest.raises(DefinitionError, match="steps"):
        flow.advance("r", steps=steps)

    assert flow.get("r").reason == "before:b"


def test_a_breakpoint_and_a_limit(store: Any) -> None:
    """The limit comes first; when it is raised the breakpoint is met; then the run goes on."""
    flow = line("a", "b").compile(store, pause_before=["b"], limits=Limits(steps=1))
    assert flow.run({}, run_id="r").reason == "limit:steps"
    assert flow.resume("r", limits=Limits(steps=9)).reason == "before:b"
    assert flow.resume("r").status == "done"


def test_a_node_that_fails_after_its_breakpoint(store: Any) -> None:
    """Its step is open: a resume tries it again, and does not pause before it again."""
    fails = [True]

    def body(state: State) -> dict[str, Any]:
        if fails:
            fails.clear()
            raise ValueError("once")
        return {"log": ["b"]}

    graph = line("a")
    graph.remove_edge("a", END)
    graph.add_node("b", body)
    graph.add_edge("a", "b")
    graph.add_edge("b", END)
    flow = graph.compile(store, pause_before=["b"])
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError):
        flow.resume("r")

    assert flow.resume("r").state.log == ["a", "b"]


def test_a_node_that_was_interrupted_after_its_breakpoint(store: Any) -> None:
    """The breakpoint was gone past: a resume runs the node, and asks for no second one."""
    interrupts = [True]

    def body(state: State) -> dict[str, Any]:
        if interrupts:
            interrupts.clear()
            raise KeyboardInterrupt
        return {"log": ["b"]}

    graph = line("a")
    graph.remove_edge("a", END)
    graph.add_node("b", body)
    graph.add_edge("a", "b")
    graph.add_edge("b", END)
    flow = graph.compile(store, pause_before=["b"])
    flow.run({}, run_id="r")
    with pytest.raises(KeyboardInterrupt):
        flow.resume("r")
    run = flow.resume("r")
    if run.reason == "before:b":  # met again: one more resume goes past it
        run = flow.resume("r")

    assert run.state.log == ["a", "b"]


def test_a_question_with_a_breakpoint(store: Any) -> None:
    """First the breakpoint, then the question, and after its answer the other breakpoint."""
    graph = line("a")
    graph.remove_edge("a", END)
    graph.add_question("q", prompt="?", into=lambda a: {"log": [a]})
    graph.add_node("z", say("z"))
    graph.add_edge("a", "q")
    graph.add_edge("q", "z")
    graph.add_edge("z", END)
    flow = graph.compile(store, pause_before=["q"], pause_after=["q"])
    assert flow.run({}, run_id="r").reason == "before:q"
    assert flow.resume("r").reason == "question"
    assert flow.answer("r", "said").reason == "after:q"
    assert flow.resume("r").state.log == ["a", "said", "z"]


def test_a_breakpoint_of_another_flow_of_the_same_graph(store: Any) -> None:
    """Breakpoints belong to the flow, not to the run."""
    graph = line("a", "b")
    graph.compile(store, pause_before=["b"]).run({}, run_id="r")

    assert graph.compile(store).resume("r").status == "done"


def test_arun_pauses_as_run_does(store: Any) -> None:
    """The same in an event loop."""
    flow = line("a", "b").compile(store, pause_before=["b"])

    async def main() -> None:
        assert (await flow.arun({}, run_id="r")).reason == "before:b"
        assert (await flow.aresume("r")).status == "done"

    asyncio.run(main())


def nested() -> StateGraph[State]:
    """Make a line in a line: a, sub (x, y), z."""
    graph = StateGraph(State, name="outer")
    graph.add_node("a", say("a"))
    graph.add_node("sub", line("x", "y"), input={}, output={"log": "log"})
    graph.add_node("z", say("z"))
    for source, target in (START, "a"), ("a", "sub"), ("sub", "z"), ("z", END):
        graph.add_edge(source, target)
    return graph


def test_breakpoints_in_a_subgraph(store: Any) -> None:
    """`sub/x` pauses inside the child; the reason has the path; resumes go on inside."""
    flow = nested().compile(store, pause_before=["sub/x", "sub/y"], pause_after=["sub/x", "sub"])
    run, seen = flow.run({}, run_id="r"), []
    while run.status == "paused":
        child = run.children.get("2:sub")
        seen.append((run.reason, child.values["log"] if child else None))
        run = flow.resume("r")

    assert seen == [
        ("before:sub/x", []),
        ("after:sub/x", ["x"]),
        ("before:sub/y", ["x"]),
        ("after:sub", ["x", "y"]),
    ]
    assert run.state.log == ["a", "x", "y", "z"]


def test_a_breakpoint_before_a_subgraph(store: Any) -> None:
    """The child has not begun."""
    flow = nested().compile(store, pause_before=["sub"])
    run = flow.run({}, run_id="r")
    assert (run.reason, dict(run.children)) == ("before:sub", {})
    assert flow.resume("r").status == "done"


def test_breakpoints_two_graphs_deep(store: Any) -> None:
    """`sub/in/x` names each graph on the way."""
    outer = StateGraph(State, name="outermost")
    outer.add_node("sub", nested(), input={}, output={"log": "log"})
    outer.add_edge(START, "sub")
    outer.add_edge("sub", END)
    flow = outer.compile(store, pause_before=["sub/sub/y"])
    assert flow.run({}, run_id="r").reason == "before:sub/sub/y"
    assert flow.resume("r").state.log == ["a", "x", "y", "z"]


def test_breakpoints_in_subgraphs_side_by_side(store: Any) -> None:
    """Each child pauses; a resume takes each of them past its own."""
    graph = StateGraph(State, name="wide")
    for name in ("one", "two"):
        graph.add_node(name, line("x", "y"), input={}, output={"log": "log"})
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store, pause_before=["one/x", "two/y"])
    run = flow.run({}, run_id="r")
    assert run.reason == "before:one/x"
    assert flow.resume("r").state.log == ["x", "y", "x", "y"]


@pytest.mark.parametrize("where", ["pause_before", "pause_after"])
@pytest.mark.parametrize(
    "name",
    [
        "bb",
        "sub/yy",
        "a/x",
        "sub/",
        START,
        END,
        "sub#0/x",
    ],
)
def test_a_breakpoint_at_no_node(where: str, name: str) -> None:
    """It is found at compile, and names what was probably meant."""
    with pytest.raises(DefinitionError, match="no node"):
        nested().compile(**{where: [name]})


@pytest.mark.parametrize("given", ["sub", 3, [3]])
def test_breakpoints_that_are_no_list_of_names(given: Any) -> None:
    """A str would be taken letter by letter: it is refused, or taken as the one name."""
    try:
        flow = nested().compile(pause_before=given)
    except DefinitionError:
        return
    assert flow.run({}).reason == "before:sub"
