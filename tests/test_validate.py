"""What is wrong with a graph is found before it runs: all at once, each with a code and a fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import graphflow.validate
from graphflow import END, START, StateGraph
from graphflow.errors import InvalidGraphError
from graphflow.validate import Problem


class State(BaseModel):
    n: int = 0
    words: list[str] = Field(default_factory=list)


def graph_of(nodes: str, *edges: tuple[Any, str], state: Any = State) -> StateGraph[Any]:
    """Make a graph: nodes by their names, edges between them."""
    graph = StateGraph(state, name="g")
    for name in nodes.split():
        graph.add_node(name, lambda s: None)
    for source, target in edges:
        graph.add_edge(source, target)
    return graph


def route(
    graph: StateGraph[Any], source: str, *targets: str, name: str = "route"
) -> StateGraph[Any]:
    """Add a router."""
    graph.add_conditional_edges(source, lambda s: targets[0], targets, name=name)
    return graph


def gated(**options: Any) -> StateGraph[Any]:
    """Make a graph with a gate."""
    graph = graph_of("a t", (START, "a"), ("t", END))
    ways: dict[str, Any] = {"passed": END, "failed": "a", "tries": 2, "otherwise": "t"}
    graph.add_gate("q", after="a", checks=[lambda s: True], **{**ways, **options})
    return route(graph, "a", "t")


def renamed_to(name: str) -> StateGraph[Any]:
    """Make a graph that says that a node was renamed."""
    graph = graph_of("draft", *LINE)
    graph.renamed("old", name)
    return graph


def migrated_to(version: int) -> StateGraph[Any]:
    """Make a graph, of version 1, with a migration to a version."""
    graph = graph_of("draft", *LINE)
    graph.migration(1, version)(lambda values: values)
    return graph


class Open(BaseModel):
    what: Any = None


LINE = ((START, "draft"), ("draft", END))

CASES: dict[str, tuple[Callable[[], StateGraph[Any]], str, str, str]] = {
    "a state that cannot be read back": (
        lambda: graph_of("draft", *LINE, state=Open),
        "GF001",
        "Open.what",
        "read back",
    ),
    "no model": (
        lambda: graph_of("draft", *LINE, state=dict),
        "GF001",
        "must be a pydantic model",
        "read back",
    ),
    "an edge to nowhere": (
        lambda: graph_of("draft", *LINE, ("draft", "drafts")),
        "GF101",
        "edge 'draft' -> 'drafts': there is no node 'drafts'",
        "Did you mean 'draft'?",
    ),
    "an edge from nowhere": (
        lambda: graph_of("draft", *LINE, ("drafts", "draft")),
        "GF101",
        "there is no node 'drafts'",
        "Did you mean 'draft'?",
    ),
    "a list edge from nowhere": (
        lambda: graph_of("draft", *LINE, (["draft", "drat"], "draft")),
        "GF101",
        "there is no node 'drat'",
        "Did you mean 'draft'?",
    ),
    "END in words": (
        lambda: graph_of("draft", *LINE, ("draft", "end")),
        "GF101",
        "there is no node 'end'",
        "END",
    ),
    "a router to nowhere": (
        lambda: route(graph_of("draft", *LINE), "draft", "darft"),
        "GF101",
        "router 'route' after 'draft': there is no node 'darft'",
        "Did you mean 'draft'?",
    ),
    "a router after nowhere": (
        lambda: route(graph_of("draft", *LINE), "drat", "draft"),
        "GF101",
        "router 'route': there is no node 'drat'",
        "Did you mean 'draft'?",
    ),
    "a gate to nowhere": (
        lambda: gated(passed="tt"),
        "GF101",
        "gate 'q': there is no node 'tt'",
        "Did you mean 't'?",
    ),
    "an edge from END": (
        lambda: graph_of("draft", *LINE, (END, "draft")),
        "GF102",
        "an edge cannot leave END: END -> 'draft'",
        "END is only a target",
    ),
    "an edge to START": (
        lambda: graph_of("draft", *LINE, ("draft", START)),
        "GF102",
        "an edge cannot lead to START: 'draft' -> START",
        "START only a source",
    ),
    "a router without targets": (
        lambda: undeclared(),  # noqa: PLW0108 - it is defined below
        "GF103",
        "router 'where_to' after 'draft' does not declare where it may lead",
        "-> Literal['draft', 'ask_human']",
    ),
    "START among the sources of a join": (
        lambda: graph_of("draft b", *LINE, ([START, "draft"], "b"), ("b", END)),
        "GF104",
        "START cannot be among the sources of a join: START -> 'b'",
        "graph.add_edge(START, 'b')",
    ),
    "tries without otherwise": (
        lambda: gated(otherwise=None),
        "GF105",
        "gate 'q' has tries without otherwise",
        "tries=3, otherwise='template'",
    ),
    "otherwise without tries": (
        lambda: gated(tries=None),
        "GF105",
        "gate 'q' has otherwise without tries",
        "tries=3, otherwise='template'",
    ),
    "feedback into no field": (
        lambda: gated(feedback="wordz"),
        "GF106",
        "the state has no field 'wordz'. Did you mean 'words'?",
        "list[str]",
    ),
    "no nodes": (lambda: graph_of(""), "GF107", "the graph has no nodes", "@graph.node"),
    "nothing leaves START": (
        lambda: graph_of("draft", ("draft", END)),
        "GF108",
        "nothing leaves START",
        "graph.add_edge(START, 'draft')",
    ),
    "a node that START cannot reach": (
        lambda: graph_of("draft lost", *LINE, ("lost", END)),
        "GF109",
        "START cannot reach node 'lost'",
        "graph.remove_node('lost')",
    ),
    "no way to END": (
        lambda: graph_of("draft b", (START, "draft"), ("draft", "b"), ("b", "draft")),
        "GF110",
        "no way leads from START to END",
        "to END",
    ),
    "a node without a way out": (
        lambda: graph_of("draft b", *LINE, ("draft", "b")),
        "GF111",
        "nothing leaves node 'b'",
        "graph.add_edge('b', END)",
    ),
    "a node renamed to nothing": (
        lambda: renamed_to("graft"),
        "GF112",
        "graph.renamed('old', 'graft'): there is no node 'graft'",
        "Did you mean 'draft'?",
    ),
    "a migration past the version": (
        lambda: migrated_to(3),
        "GF113",
        "migration 1 -> 3 leads past version 1",
        "StateGraph(..., version=3)",
    ),
    "a loop without a way out": (
        lambda: route(graph_of("a b", (START, "a"), ("a", "b"), ("b", "a")), START, END),
        "GF201",
        "the loop a -> b has no way out",
        "only the limits of the run stop it",
    ),
    "a loop of fixed arrows": (
        lambda: graph_of("a b", (START, "a"), ("a", "b"), ("b", "a"), ("b", END)),
        "GF201",
        "the loop a -> b goes round for ever: all its arrows are fixed",
        "Let a router, a gate or a Command decide",
    ),
    "a loop with two ways in": (
        lambda: route(
            graph_of("a b", (START, "a"), (START, "b"), ("a", "b"), ("b", "a")), "b", END
        ),
        "GF202",
        "can be entered",
        "through one node",
    ),
}


def undeclared() -> StateGraph[Any]:
    """Add a router whose annotation says nothing."""

    def where_to(state: State) -> str:
        return END

    graph = graph_of("draft", *LINE)
    graph.add_conditional_edges("draft", where_to)
    return graph


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_the_problem_is_found(case: str) -> None:
    """Its code, what is wrong and where, and what to write; errors keep it from compiling."""
    make, code, message, fix = CASES[case]
    graph = make()

    found = [p for p in graph.check() if p.code == code]
    assert found, graph.check()
    assert any(message in p.message and fix in p.fix for p in found), found
    level = "warning" if code.startswith("GF2") else "error"
    assert {p.level for p in found} == {level}
    assert code in (graphflow.validate.__doc__ or "")
    if level == "error":
        with pytest.raises(InvalidGraphError) as caught:
            graph.compile()
        assert list(caught.value.problems) == graph.check()
        assert code in str(caught.value)
        assert message in str(caught.value)


def test_all_problems_come_at_once() -> None:
    """One compile names them all, errors before warnings."""
    graph = graph_of("a b lost", (START, "a"), ("a", "b"), ("b", "a"), ("a", "nowhere"))
    graph.add_edge(END, "a")
    graph.add_conditional_edges("b", lambda s: END)

    problems = graph.check()
    codes = {p.code for p in problems}
    assert codes >= {"GF101", "GF102", "GF103", "GF109", "GF111", "GF201"}
    levels = [p.level for p in problems]
    assert levels == sorted(levels)
    with pytest.raises(InvalidGraphError) as caught:
        graph.compile()
    assert all(str(p) in str(caught.value) for p in problems if p.level == "error")


def sensible() -> list[StateGraph[Any]]:
    """Make graphs that are all right."""
    supervisor = graph_of("boss w1 w2", (START, "boss"), (["w1", "w2"], "boss"))
    diamond = graph_of(
        "a b c d", (START, "a"), ("a", "b"), ("a", "c"), (["b", "c"], "d"), ("d", END)
    )
    nested = graph_of("a b c", (START, "a"), ("a", "b"), ("b", "c"))
    route(route(nested, "b", "b", "c"), "c", "a", END)
    itself = route(graph_of("a", (START, "a")), "a", "a", END)
    routed = graph_of("a b", ("a", END), ("b", END))
    goto = graph_of("b", ("b", END))
    goto.add_node("a", lambda s: None, targets=["b", END])
    goto.add_edge(START, "a")
    return [
        graph_of("a", (START, "a"), ("a", END)),
        diamond,
        route(supervisor, "boss", "w1", "w2", END),
        nested,
        itself,
        route(routed, START, "a", "b", END),
        goto,
        gated(),
        gated(tries=None, otherwise=None, feedback="words"),
    ]


@pytest.mark.parametrize("place", range(len(sensible())))
def test_sensible_graphs_have_no_problems(place: int) -> None:
    """Neither errors nor warnings: loops, diamonds, supervisors, gates, gotos, START's routers."""
    graph = sensible()[place]

    assert graph.check() == []
    assert graph.compile().name == "g"


def test_a_loop_in_a_loop_with_two_ways_in() -> None:
    """H -> a, h -> b, a <-> b, b -> h: the inner loop is entered at a and at b."""
    graph = graph_of(
        "h a b",
        (START, "h"),
        ("h", "a"),
        ("h", "b"),
        ("a", "b"),
        ("b", END),
    )

    assert [p.code for p in route(graph, "b", "a", "h").check()] == ["GF202"]


def test_two_loops_with_one_head_are_fine() -> None:
    """Each back arrow's head dominates its source: one way in."""
    graph = graph_of("h a b", (START, "h"), ("a", "h"), ("b", "h"))

    assert route(graph, "h", "a", "b", END).check() == []


def test_a_wrong_name_is_one_problem() -> None:
    """`add_edge("draft", "end")` is wrong once."""
    graph = graph_of("draft", (START, "draft"), ("draft", "end"))

    assert [p.code for p in graph.check()] == ["GF101"]


def test_a_join_by_a_wrong_name_is_told() -> None:
    """It is not waited for either, where the ways of two writers are followed."""
    graph = graph_of("", (START, "a"), (START, "b"))
    for name in "ab":
        graph.add_node(name, lambda s: {"n": 1})
        graph.add_edge(name, END)
    graph.add_edge(["a", "b"], "judge")

    assert [p.code for p in graph.check()] == ["GF101", "GF101", "GF301"]


def test_a_problem_reads_as_one_line() -> None:
    """The code, what is wrong, what to write."""
    problem = Problem("GF111", "nothing leaves node 'a'", "Write graph.add_edge('a', END)")

    assert str(problem) == "GF111 nothing leaves node 'a'. Write graph.add_edge('a', END)"


def test_targets_are_read_from_annotations() -> None:
    """A Literal, a list of one, a Union of them."""

    def one(state: State) -> Literal["a", "__end__"]:
        return "a"

    def several(state: State) -> list[Literal["a", "b"]] | Literal["__end__"]:
        return ["a"]

    graph = graph_of("a b", (START, "a"), ("b", END))
    graph.add_conditional_edges("a", one)
    graph.add_conditional_edges("a", several)

    assert [r.targets for r in graph.definition.routers] == [("a", END), ("a", "b", END)]
    assert graph.check() == []


def test_a_large_graph_is_checked_quickly() -> None:
    """A chain of 1,000 nodes with skips: no recursion, no quadratic look."""
    graph = StateGraph(State, name="big")
    names = [f"n{i}" for i in range(1000)]
    for name in names:
        graph.add_node(name, lambda s: None)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    for source, target in zip(names, names[10:], strict=False):
        graph.add_edge(source, target)

    assert graph.check() == []
