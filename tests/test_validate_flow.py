"""What the way of values through a graph tells before it runs: codes GF301 to GF311."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import graphflow.checks
import graphflow.validate
from graphflow import END, START, StateGraph, append
from graphflow.policy import Defaults, Escalate
from graphflow.retry import Retry
from graphflow.routing import Command, Decision, Route, Send
from graphflow.validate import Problem


class State(BaseModel):
    text: str = "hello"
    fixed: str = Field("", frozen=True)
    n: int = 0
    m: int = 0
    words: list[str] = Field(default_factory=list)
    notes: Annotated[list[str], append] = Field(default_factory=list)
    topic: Literal["a", "b"] | None = None
    late: str | None = None
    count: int = 0

    @property
    def shout(self) -> str:
        return str(self.late).upper()


def writes_n(state: State) -> dict[str, int]:
    """Write one field."""
    return {"n": 1}


def writes_m(state: State) -> dict[str, int]:
    """Write another one."""
    return {"m": state.n}


def perhaps_n(state: State) -> dict[str, int] | None:
    """Write it under a condition."""
    if state.text == "a":
        return {"n": 2}
    return None


def notes(state: State) -> dict[str, list[str]]:
    """Write a field with a reducer."""
    return {"notes": ["x"]}


def nothing(state: State) -> None:
    """Write nothing."""


Nodes = dict[str, Callable[..., Any]]


def graph_of(nodes: Nodes, *edges: tuple[Any, str], **options: Any) -> StateGraph[Any]:
    """Make a graph of functions and edges."""
    graph = StateGraph(State, name="g", **options)
    for name, fn in nodes.items():
        graph.add_node(name, fn)
    for source, target in edges:
        graph.add_edge(source, target)
    return graph


def codes(graph: StateGraph[Any]) -> list[str]:
    """Give the codes of all problems."""
    return [problem.code for problem in graph.check()]


def only(graph: StateGraph[Any]) -> Problem:
    """Give the one problem of a graph."""
    (problem,) = graph.check()
    return problem


# --------------------------------------------------------------------------- two writers: GF301, 2


def side_by_side(one: Any = writes_n, other: Any = writes_n) -> StateGraph[Any]:
    """Make START lead to a and b."""
    return graph_of({"a": one, "b": other}, (START, "a"), (START, "b"), ("a", END), ("b", END))


def test_two_writers_side_by_side() -> None:
    """The nodes, the field, and how to mend it."""
    problem = only(side_by_side())

    assert (problem.code, problem.level) == ("GF301", "warning")
    assert problem.message == (
        "nodes 'a' and 'b' can run in the same step and write 'n', which has no reducer"
    )
    assert "n: Annotated[..., append]" in problem.fix


@pytest.mark.parametrize(
    ("one", "other", "warned"),
    [
        (writes_n, writes_m, False),
        (notes, notes, False),
        (writes_n, perhaps_n, True),
        (perhaps_n, perhaps_n, False),
        (writes_n, nothing, False),
        (writes_n, lambda s: Command(update={"n": 2}), True),
        (writes_n, lambda s: dict(make()), False),
    ],
)
def test_it_needs_two_writers_of_one_field(one: Any, other: Any, *, warned: bool) -> None:
    """Without a reducer, and one of them must write it whatever happens."""
    assert codes(side_by_side(one, other)) == ["GF301"] * warned


def make() -> dict[str, int]:
    """Make an update that nobody can see."""
    return {"n": 1}


def test_two_that_write_under_conditions_are_let_be() -> None:
    """Even when a third node always writes the field, in another step."""
    graph = side_by_side(perhaps_n, perhaps_n)
    graph.add_node("c", writes_n)
    graph.add_edge(["a", "b"], "c")
    graph.add_edge("c", END)
    assert codes(graph) == []


def chosen(router: Any, targets: Any = ("a", "b")) -> StateGraph[Any]:
    """Make a router choose between a and b, which write one field."""
    graph = graph_of(
        {"h": nothing, "a": writes_n, "b": writes_n}, (START, "h"), ("a", END), ("b", END)
    )
    graph.add_conditional_edges("h", router, targets, name="router")
    return graph


def by_route(state: State) -> Route[Literal["a", "b"]]:
    """Answer one of two."""
    if state.n > 1:
        return Decision("a", reason="large")
    return "b"


def by_list(state: State) -> list[Literal["a", "b"]]:
    """Answer what cannot be followed."""
    return make()  # type: ignore[return-value]  # nobody runs it


def grown(state: State) -> Any:
    """Answer a list that grows."""
    found = ["a"]
    if state.n:
        found.append("b")
    return found


@pytest.mark.parametrize(
    ("router", "targets", "warned"),
    [
        (by_route, None, False),
        (lambda s: "a" if s.n else "b", ("a", "b"), False),
        (lambda s: ["a", "b"], ("a", "b"), True),
        (lambda s: ["a"] if s.n else ["b"], ("a", "b"), False),
        (lambda s: s.n > 1, {True: "a", False: "b"}, False),
        (lambda s: [True, False], {True: "a", False: "b"}, True),
        (lambda s: make(), ("a", "b"), False),
        (by_list, None, True),
        (grown, ("a", "b"), True),
        (lambda s: [Send("a", {"m": i}) for i in range(3)], ("a", "b"), False),
        (lambda s: [Send("a", {}), Send("b", {})], ("a", "b"), True),
        (lambda s: Decision(["a", "b"], reason="both"), ("a", "b"), True),
    ],
)
def test_the_answers_of_a_router_exclude_each_other(
    router: Any, targets: Any, *, warned: bool
) -> None:
    """Unless it is seen, or annotated, to answer lists."""
    assert codes(chosen(router, targets)) == ["GF301"] * warned


def test_a_node_that_goes_to_both() -> None:
    """The Commands of a node are looked at as a router's answers are."""
    for goto, warned in (
        (lambda s: Command(goto=["a", "b"]), True),
        (lambda s: Command(goto="a"), False),
    ):
        graph = graph_of({"a": writes_n, "b": writes_n}, ("a", END), ("b", END))
        graph.add_node("h", goto, targets=["a", "b"])
        graph.add_edge(START, "h")
        assert codes(graph) == ["GF301"] * warned


def test_a_way_and_a_longer_way() -> None:
    """Only nodes of one step count: a runs before c, unless a loop delays it."""
    nodes: Nodes = {"a": writes_n, "b": nothing, "c": writes_n}
    edges = [(START, "a"), (START, "b"), ("b", "c"), ("a", END), ("c", END)]
    assert codes(graph_of(nodes, *edges)) == []

    delayed = graph_of(nodes, *edges)
    delayed.add_conditional_edges("a", lambda s: "a" if s.n else END, ["a", END])
    assert codes(delayed) == ["GF301"]


def test_a_join_runs_alone() -> None:
    """It waits for the branches that write what it writes."""
    nodes: Nodes = {"a": writes_n, "b": writes_m, "c": nothing, "j": writes_n}
    graph = graph_of(nodes, (START, "a"), (START, "b"), ("b", "c"), (["a", "c"], "j"), ("j", END))
    assert codes(graph) == []


def test_a_fallback_excludes_what_follows() -> None:
    """One of the two runs."""
    graph = graph_of({"b": writes_n, "c": writes_n}, ("b", END), ("c", END))
    graph.add_node("a", nothing, fallback="c")
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    assert codes(graph) == []


def test_what_follows_a_fallback_counts() -> None:
    """The node that runs instead runs beside what runs beside the failed one."""
    graph = graph_of({"b": nothing, "c": writes_n, "f": writes_n}, (START, "b"), ("b", "c"))
    graph.add_node("a", nothing, fallback="f")
    for source, target in ((START, "a"), ("a", END), ("c", END), ("f", END)):
        graph.add_edge(source, target)
    assert codes(graph) == ["GF301"]


def test_a_gate_leads_one_way() -> None:
    """Passed, failed and otherwise exclude each other."""
    graph = graph_of(
        {"a": writes_n, "b": writes_n, "c": writes_n}, (START, "a"), ("b", END), ("c", END)
    )
    graph.add_gate(
        "q", after="a", checks=[lambda s: True], passed="b", failed="a", tries=2, otherwise="c"
    )
    assert codes(graph) == []


def test_many_writers_are_one_problem() -> None:
    """The first few pairs are named, the others counted."""
    names = [f"w{i}" for i in range(6)]
    edges = [edge for name in names for edge in ((START, name), (name, END))]
    problem = only(graph_of(dict.fromkeys(names, writes_n), *edges))

    assert problem.message.startswith(
        "nodes 'w0' and 'w1', 'w0' and 'w2', 'w0' and 'w3' (and 12 more pairs) can run"
    )


def test_a_wide_graph_is_checked_quickly() -> None:
    """Hundreds of writers side by side, and a long chain of writers."""
    names = [f"w{i}" for i in range(150)]
    edges = [edge for name in names for edge in ((START, name), (name, END))]
    assert codes(graph_of(dict.fromkeys(names, writes_n), *edges)) == ["GF301"]

    chain = list(zip([START, *names], [*names, END], strict=True))
    assert codes(graph_of(dict.fromkeys(names, writes_n), *chain)) == []


def test_two_questions_for_one_field_are_an_error() -> None:
    """Fixed arrows of one node, and both name the field: they always meet."""
    graph = StateGraph(State, name="g")
    for name in ("a", "b"):
        graph.add_question(name, prompt="?", into="late")
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    problem = only(graph)

    assert (problem.code, problem.level) == ("GF302", "error")
    assert "nodes 'a' and 'b' run in the same step and write 'late'" in problem.message


# ----------------------------------------------------------------------- joins and fallbacks: GF303


def test_a_join_of_what_nothing_reaches() -> None:
    """It runs without that source, or never."""
    graph = graph_of(
        {"a": nothing, "lost": nothing, "j": nothing},
        (START, "a"),
        (["a", "lost"], "j"),
        ("j", END),
    )
    found = {problem.code: problem for problem in graph.check()}

    assert found.keys() == {"GF109", "GF303"}
    assert found["GF303"].level == "warning"
    assert "the join 'j' can never collect the arrow of 'lost'" in found["GF303"].message
    assert found["GF303"].message.endswith("it runs without")

    graph = graph_of(
        {"a": nothing, "x": nothing, "y": nothing, "j": nothing},
        (START, "a"), ("a", END), (["x", "y"], "j"), ("j", END),
    )  # fmt: skip
    (problem,) = [problem for problem in graph.check() if problem.code == "GF303"]
    assert "the arrow of 'x' and 'y'" in problem.message
    assert problem.message.endswith("it never runs")


def falling(**ways: str) -> StateGraph[Any]:
    """Make a diamond of which one branch may fall back."""
    graph = graph_of(
        {"b": nothing, "f": nothing, "j": nothing}, (START, "b"), ("j", END), ("f", END)
    )
    graph.add_node("a", nothing, **ways)
    graph.add_edge(START, "a")
    graph.add_edge(["a", "b"], "j")
    return graph


def test_a_fallback_past_a_join() -> None:
    """The join would run without it."""
    for option in ("fallback", "on_budget"):
        problem = only(falling(**{option: "f"}))
        assert (problem.code, problem.level) == ("GF307", "warning")
        assert (
            f"node 'a': when {option}='f' runs in its place, the join 'j' runs without"
            in problem.message
        )
        assert "graph.add_edge('f', 'j')" in problem.fix

    graph = falling(fallback="f")
    graph.add_edge("f", "j")
    assert codes(graph) == []
    assert codes(falling(fallback="j", on_budget="b")) == ["GF109"]  # f has no way in


def test_a_fallback_is_another_node() -> None:
    """Not itself, and one that exists."""
    for option in ("fallback", "on_budget"):
        problem = next(p for p in falling(**{option: "a"}).check() if p.code == "GF306")
        assert problem.message == f"node 'a': {option}='a' is the node itself"
        problem = next(p for p in falling(**{option: "ff"}).check() if p.code == "GF101")
        assert problem.message == f"node 'a', {option}: there is no node 'ff'"
        assert problem.fix == "Did you mean 'f'?"


# ------------------------------------------------------------------------------ reading: GF304, 11


def reads_late(state: State) -> dict[str, str]:
    """Read a field that comes after those that are written."""
    return {"text": str(state.late)}


def by_property(state: State) -> dict[str, str]:
    """Read it through a property of the class."""
    return {"text": state.shout}


def reads_notes(state: State) -> dict[str, str]:
    """Read a field with a reducer."""
    return {"late": " ".join(state.notes)}


def line(*fns: Any) -> StateGraph[Any]:
    """Make a line of nodes."""
    names = [f"n{i}" for i in range(len(fns))]
    chain = zip([START, *names], [*names, END], strict=True)
    return graph_of(dict(zip(names, fns, strict=True)), *chain)


def test_a_field_that_nothing_writes() -> None:
    """Who reads it, what it then holds, and how to say that it is an input."""
    problem = only(line(writes_n, reads_late))

    assert (problem.code, problem.level) == ("GF304", "warning")
    assert problem.message == (
        "node 'n1' reads 'late', and nothing writes it: it keeps what the input gives, or its"
        " default"
    )
    assert problem.fix.startswith("Return 'late' from a node; if it is an input, declare it before")


def writes_late(state: State) -> dict[str, str]:
    """Write the field."""
    return {"late": "x"}


@pytest.mark.parametrize(
    ("fns", "warned"),
    [
        ((writes_n, reads_late), True),
        ((writes_n, by_property), True),
        ((writes_n, reads_notes), True),
        ((reads_notes,), True),
        ((reads_late, writes_late), False),
        ((writes_n, reads_late, lambda s: make()), False),
        ((writes_n, reads_late, lambda s: {"n": 1, **make()}), False),
        ((writes_n, lambda s: {"n": len(s.fixed + s.text)}), False),
        ((writes_n, lambda s: {"n": s.count}), False),
        ((writes_n, lambda s: {"n": len(s.words)}), False),
    ],
)
def test_what_is_written_or_an_input_is_fine(fns: Any, *, warned: bool) -> None:
    """Inputs stand first, are required or frozen, or have another default than None."""
    assert codes(line(*fns)) == ["GF304"] * warned


def test_what_a_send_gives_is_written() -> None:
    """Also when it cannot be seen what the Send carries."""
    for router, warned in (
        (lambda s: [Send("b", {"late": w}) for w in s.text.split()], False),
        (lambda s: make(), False),
        (lambda s: [Send("b", {"m": 1})], True),
    ):
        graph = graph_of({"a": writes_n, "b": reads_late}, (START, "a"), ("b", END))
        graph.add_conditional_edges("a", router, ["b"], name="router")
        assert codes(graph) == ["GF304"] * warned


def test_what_a_parent_gives_is_an_input() -> None:
    """Of a subgraph, those fields that its parent sets, or may set."""
    child = line(writes_n, reads_late)
    for given, warned in (
        ({}, True),
        ({"n": "n"}, True),
        ({"late": "text"}, False),
        (lambda s: {"late": "x"}, False),
        (lambda s: {"n": 1}, True),
        (lambda s: make(), False),
    ):
        graph = StateGraph(State, name="g")
        graph.add_node("sub", child, input=given)
        graph.add_edge(START, "sub")
        graph.add_edge("sub", END)
        assert codes(graph) == ["GF304"] * warned


def test_a_field_that_is_not_there() -> None:
    """Read, returned or sent: with the name that was meant."""
    cases: list[tuple[Any, str, str]] = [
        (lambda s: {"n": s.notez}, "reads state.notez, and State has no such field", "'notes'"),
        (lambda s: {"m": 1, "nots": 2}, "returns 'nots', and State has no such field", "'notes'"),
        (lambda s: {"fixed": "x"}, "returns 'fixed', which is frozen", "frozen=True"),
    ]
    for fn, message, fix in cases:
        problem = only(line(fn))
        assert (problem.code, problem.level) == ("GF311", "warning")
        assert f"node 'n0' {message}" in problem.message
        assert fix in problem.fix

    graph = graph_of({"a": writes_n, "b": nothing}, (START, "a"), ("b", END))
    graph.add_conditional_edges("a", lambda s: [Send("b", {"lat": 1})], ["b"], name="router")
    assert only(graph).message == "router 'router' sends 'lat', and State has no such field"


@pytest.mark.parametrize(
    "fn",
    [
        lambda s: {"n": len(s.model_dump())},
        lambda s: {"n": getattr(s, "other", 0)},
        lambda s: {"n": s.other} if hasattr(s, "other") else None,
        lambda s: {"text": s.__class__.__name__, "late": s.shout},
        lambda s: {"words": s.model_fields_set},
    ],
)
def test_what_every_model_has_is_no_field(fn: Any) -> None:
    """Methods and properties, and what is asked for first."""
    assert codes(line(fn)) == []


# ----------------------------------------------------------------------------------- retries: GF305


def pays(state: State, ctx: Any) -> None:
    """Act on the world."""
    make()


def pays_once(state: State, ctx: Any) -> None:
    """Act on the world with a key that lets it act once."""
    print(ctx.idempotency_key)  # noqa: T201 - it is never run


@pytest.mark.parametrize(
    ("rules", "defaults", "words"),
    [
        ({"retry": Retry(attempts=3)}, None, "its retry executes it up to 3 times"),
        ({}, Retry(attempts=2), "the retry of Defaults executes it up to 2 times"),
        ({"retry": Retry(stop=lambda state: True)}, None, "until stop= says so"),
        ({"retry": Retry(attempts=1)}, Retry(attempts=2), ""),
        ({}, None, ""),
    ],
)
def test_what_acts_on_the_world_is_not_repeated(rules: Any, defaults: Any, words: str) -> None:
    """It may act twice; whoever uses the idempotency key has thought of it."""
    for fn in (pays, pays_once):
        graph = StateGraph(State, name="g", defaults=Defaults(retry=defaults))
        graph.add_node("pay", fn, effects="external", **rules)
        graph.add_edge(START, "pay")
        graph.add_edge("pay", END)
        if words and fn is pays:
            problem = only(graph)
            assert (problem.code, problem.level) == ("GF305", "warning")
            assert problem.message.startswith("node 'pay' has effects='external', and")
            assert words in problem.message
            assert "ctx.idempotency_key" in problem.fix
        else:
            assert codes(graph) == []


# ----------------------------------------------------------------------------- fields: GF308, GF309


def asking(**options: Any) -> StateGraph[Any]:
    """Make a graph with a question."""
    graph = StateGraph(State, name="g")
    graph.add_question("ask", **{"prompt": "?", **options})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def mapping(**options: Any) -> StateGraph[Any]:
    """Make a graph with a map."""
    graph = StateGraph(State, name="g")
    graph.add_map("score", lambda item: item, **options)
    graph.add_edge(START, "score")
    graph.add_edge("score", END)
    return graph


def escalating(defaults: Defaults | None = None, **options: Any) -> StateGraph[Any]:
    """Make a graph with an escalation."""
    graph = StateGraph(State, name="g", defaults=defaults or Defaults())
    graph.add_node("a", nothing, **options)
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    return graph


class Child(BaseModel):
    need: str
    also: int
    free: str = ""
    out: int = 0
    mixed: int | str = 0


def nested(state: Any = Child, **options: Any) -> StateGraph[Any]:
    """Make a graph with a graph as its node."""
    child = StateGraph(state, name="child")
    child.add_node("inner", lambda s: {"out": len(s.need) + s.also} if s.free else None)
    child.add_edge(START, "inner")
    child.add_edge("inner", END)
    graph = StateGraph(State, name="g")
    graph.add_node("sub", child, **{"input": {"need": "text", "also": "n"}, **options})
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    return graph


WRONG: dict[str, tuple[Callable[[], StateGraph[Any]], str, str, str]] = {
    "an answer into no field": (
        lambda: asking(into="topik"),
        "GF308",
        "question 'ask': into='topik': State has no field 'topik'",
        "Did you mean 'topic'?",
    ),
    "an answer of the wrong type": (
        lambda: asking(into="n", answer=str),
        "GF309",
        "question 'ask': an answer (str) does not fit the field 'n': 'some words', say",
        "Leave answer= out",
    ),
    "an answer that is not always one": (
        lambda: asking(into="topic", answer=Literal["a", "c"]),
        "GF309",
        "an answer (Literal['a', 'c']) does not fit the field 'topic': 'c', say",
        "Leave answer= out",
    ),
    "one answer for a list": (
        lambda: asking(into="notes", answer=str),
        "GF309",
        "does not fit the field 'notes'",
        "Leave answer= out",
    ),
    "an answer into a frozen field": (
        lambda: asking(into="fixed"),
        "GF309",
        "the field 'fixed' is frozen",
        "frozen=True",
    ),
    "a default that is no answer": (
        lambda: asking(into="n", deadline=60, default="soon"),
        "GF309",
        "question 'ask': default='soon' is no answer",
        "of the answer's type",
    ),
    "a map over no field": (
        lambda: mapping(over="wordz", into="notes"),
        "GF308",
        "map 'score': over='wordz': State has no field 'wordz'",
        "Did you mean 'words'?",
    ),
    "a map over a text": (
        lambda: mapping(over="text", into="notes"),
        "GF309",
        "map 'score': over='text' is no list (str)",
        "a field that holds a list",
    ),
    "a map into no field": (
        lambda: mapping(over="words", into="scores"),
        "GF308",
        "map 'score': into='scores': State has no field 'scores'",
        "Known:",
    ),
    "a map into a number": (
        lambda: mapping(over="words", into="n"),
        "GF309",
        "map 'score': the results (list) do not fit the field 'n'",
        "n: list[...]",
    ),
    "a map of the wrong results": (
        lambda: mapping(over="words", into="notes", result=int),
        "GF309",
        "the results (list[int]) do not fit the field 'notes': [7], say",
        "notes: list[...]",
    ),
    "an escalation into no field": (
        lambda: escalating(escalate=Escalate(into="xyz")),
        "GF308",
        "node 'a', escalate: into='xyz': State has no field 'xyz'",
        "Known: 'count'",
    ),
    "an escalation of the wrong type": (
        lambda: escalating(Defaults(escalate=Escalate(into="n", answer=str))),
        "GF309",
        "Defaults, escalate: an answer (str) does not fit the field 'n'",
        "Leave answer= out",
    ),
    "an input that the child does not know": (
        lambda: nested(input={"need": "text", "also": "n", "fre": "text"}),
        "GF308",
        "subgraph 'sub', input={'fre': 'text'}: Child has no field 'fre'",
        "Did you mean 'free'?",
    ),
    "an input that the parent does not have": (
        lambda: nested(input={"need": "texts", "also": "n"}),
        "GF308",
        "subgraph 'sub', input={'need': 'texts'}: State has no field 'texts'",
        "Did you mean 'text'?",
    ),
    "an input that never fits": (
        lambda: nested(input={"need": "text", "also": "words"}),
        "GF309",
        "subgraph 'sub', input: State.words never fits Child.also: ['some words'], say",
        "input=",
    ),
    "an input that is missing": (
        lambda: nested(input={"free": "text"}),
        "GF310",
        "subgraph 'sub' is not given 'need' and 'also', which Child requires",
        "input={'need': '...'}",
    ),
    "an output that the parent does not have": (
        lambda: nested(output={"xyz": "out"}),
        "GF308",
        "subgraph 'sub', output={'xyz': 'out'}: State has no field 'xyz'",
        "Known: 'count'",
    ),
    "an output that the child does not have": (
        lambda: nested(output={"n": "outs"}),
        "GF308",
        "subgraph 'sub', output={'n': 'outs'}: Child has no field 'outs'",
        "Did you mean 'out'?",
    ),
    "an output that never fits": (
        lambda: nested(output={"words": "out"}),
        "GF309",
        "subgraph 'sub', output: Child.out never fits State.words: 7, say",
        "output=",
    ),
    "an output into a frozen field": (
        lambda: nested(output={"fixed": "free"}),
        "GF309",
        "the field 'fixed' is frozen",
        "frozen=True",
    ),
}


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.replace(" ", "-"))
def test_what_does_not_fit_is_an_error(case: str) -> None:
    """Names of fields, and types of what is put into them: before the first run."""
    make_graph, code, message, fix = WRONG[case]
    (problem,) = [p for p in make_graph().check() if p.code == code]

    assert problem.level == "error"
    assert message in problem.message
    assert fix in problem.fix


class Positive(BaseModel):
    n: Annotated[int, Field(gt=10)] = 11
    s: Annotated[str, Field(pattern="^x")] = "x"
    maybe: str | None = None
    child: Child | None = None


FITTING: list[Callable[[], StateGraph[Any]]] = [
    lambda: asking(into="late"),
    lambda: asking(into="late", answer=str),
    lambda: asking(into="n", answer=bool),
    lambda: asking(into="late", answer=Literal["yes", "no"]),
    lambda: asking(into="topic", answer=Literal["a"]),
    lambda: asking(into="notes", answer=list[str]),
    lambda: asking(into="n", answer=Any),
    lambda: asking(into="n", deadline=60, default=3),
    lambda: asking(into=lambda answer: {"late": answer}, answer=str),
    lambda: asking(into=lambda answer: {"late": answer}, deadline=1, default=None),
    lambda: mapping(over="words", into="notes"),
    lambda: mapping(over="words", into="words", result=str),
    lambda: mapping(over=lambda s: s.text.split(), into=lambda results: {"n": len(results)}),
    lambda: escalating(escalate=Escalate()),
    lambda: escalating(escalate=Escalate(into="late")),
    nested,
    lambda: nested(input={"need": "late", "also": "n"}),
    lambda: nested(output={"n": "out", "late": "free"}),
    lambda: nested(output={"late": "mixed"}),
    lambda: nested(input=lambda s: {"need": s.text, "also": 1}, output=lambda c: {"n": c.out}),
    lambda: nested(input=lambda s: make()),
]


@pytest.mark.parametrize("place", range(len(FITTING)))
def test_what_fits_is_no_problem(place: int) -> None:
    """Neither errors nor warnings."""
    assert FITTING[place]().check() == []


def test_constraints_are_no_misfit() -> None:
    """Which answers a human gives is not known: only types are compared."""
    for into, answer in (("n", int), ("s", str), ("maybe", str), ("child", Child)):
        graph = StateGraph(Positive, name="g")
        graph.add_question("ask", prompt="?", into=into, answer=answer)
        graph.add_edge(START, "ask")
        graph.add_edge("ask", END)
        assert graph.check() == []


def test_a_function_that_gives_too_little() -> None:
    """What its source shows is a warning."""
    problem = only(nested(input=lambda s: {"need": s.text}))

    assert (problem.code, problem.level) == ("GF310", "warning")
    assert "subgraph 'sub' is not given 'also'" in problem.message


def test_the_problems_of_a_subgraph_come_with_its_name() -> None:
    """At any depth."""
    inner = StateGraph(State, name="inner")
    inner.add_node("x", writes_n)
    inner.add_edge(START, "x")
    middle = StateGraph(State, name="middle")
    middle.add_node("deep", inner)
    middle.add_edge(START, "deep")
    middle.add_edge("deep", END)
    graph = StateGraph(State, name="g")
    graph.add_node("sub", middle)
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)

    messages = [problem.message for problem in graph.check()]
    assert "subgraph 'sub': subgraph 'deep': nothing leaves node 'x'" in messages


# -------------------------------------------------------------------------------- all of it at once


def test_every_code_is_documented_and_shown() -> None:
    """What the rules can give stands in validate's docstring, and in a test."""
    here = Path(__file__)
    rules = Path(graphflow.checks.__file__).parent.glob("*.py")
    given = {code for path in rules for code in re.findall(r'"(GF\d{3})"', path.read_text("utf-8"))}
    told = set(re.findall(r"^    (GF\d+)  ", graphflow.validate.__doc__ or "", re.MULTILINE))
    tests = here.read_text("utf-8") + (here.parent / "test_validate.py").read_text("utf-8")

    assert given == told
    assert given == set(re.findall(r'"(GF\d{3})"', tests))


def test_the_examples_have_no_problems() -> None:
    """Not even warnings."""
    from graphs.support_triage import graph

    assert graph.check() == []
