"""What is recorded of each decision: options, chosen, reason, evidence; and how gates decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from graphflow import END, START, Command, Decision, Replace, Route, Run, StateGraph, append, merge
from graphflow.errors import DefinitionError, InvalidUpdateError, RouterError, RunFailedError


class Ticket(BaseModel):
    text: str = ""
    score: float = 0.0
    drafts: int = 0
    feedback: list[str] = Field(default_factory=list)
    words: str = ""
    notes: Annotated[list[str], append] = Field(default_factory=list)
    table: Annotated[dict[str, str], merge] = Field(default_factory=dict)


def decide(router: Callable[[Ticket], Any], update: dict[str, Any], targets: Any) -> Run[Ticket]:
    """Run a graph of one node, whose router is the one given, and two ways on."""
    graph = StateGraph(Ticket, name="decide")
    graph.add_node("a", lambda state: update)
    for name in ("b", "c"):
        graph.add_node(name, lambda state: None)
        graph.add_edge(name, END)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("a", "c")
    graph.add_conditional_edges("a", router, targets, name="route")
    return graph.compile().run({})


def fails(router: Callable[[Ticket], Any], targets: Any = ("b", "c")) -> RouterError:
    """Run a router that must fail, and give its error."""
    with pytest.raises(RunFailedError) as caught:
        decide(router, {}, targets)
    run, cause = caught.value.run, caught.value.__cause__
    assert isinstance(cause, RouterError)
    assert isinstance(run, Run)
    assert run.status == "failed"
    assert (run.reason or "").startswith("router a: ")
    assert run.error
    assert "'decide'" in str(cause)
    assert "'route'" in str(cause)
    assert "'a'" in str(cause)
    return cause


def test_the_evidence_is_what_the_router_read() -> None:
    """Per field that was read: its name, the step that wrote it, and its JSON."""
    run = decide(
        lambda s: "b" if s.score > 0.5 and s.text == "" else "c", {"score": 0.9}, ["b", "c"]
    )

    decision = run.decisions[0]
    assert decision.chosen == ("b",)
    assert decision.options == ("b", "c")
    seen = [(e.name, e.step, json.loads(e.value_json or "?")) for e in decision.evidence]
    assert seen == [("text", 0, ""), ("score", 1, 0.9)]
    assert decision.reason == 'text = "", score = 0.9'


@pytest.mark.parametrize(("size", "kept"), [(254, True), (255, False)])
def test_evidence_carries_values_of_up_to_256_bytes(size: int, kept: bool) -> None:
    """A value of 256 bytes of JSON is carried, a longer one is read back from its step."""
    text = "x" * size
    run = decide(lambda s: "b" if s.text else "c", {"text": text}, ["b", "c"])

    (evidence,) = run.decisions[0].evidence
    assert evidence.value_json == (json.dumps(text) if kept else None)
    assert evidence.step == 1
    assert run.state_at(evidence.step).text == text
    assert run.decisions[0].reason == "text of step 1"


def test_evidence_counts_bytes_not_characters() -> None:
    """100 characters of three bytes each are 302 bytes of JSON: too many."""
    run = decide(lambda s: "b" if s.text else "c", {"text": "\u20ac" * 100}, ["b", "c"])

    assert run.decisions[0].evidence[0].value_json is None


def test_a_router_that_reads_nothing_has_a_reason_too() -> None:
    """The reason is never empty."""
    run = decide(lambda s: "b", {}, ["b", "c"])

    assert run.decisions[0].reason == "always: it read no field"
    assert run.decisions[0].evidence == ()


def test_a_router_that_looks_at_the_whole_state_read_every_field() -> None:
    """A dump notes all fields."""
    run = decide(lambda s: "b" if s.model_dump() else "c", {}, ["b", "c"])

    assert [e.name for e in run.decisions[0].evidence] == list(Ticket.model_fields)


def test_a_decision_in_words_keeps_them() -> None:
    """reason, confidence and details are recorded beside the evidence."""
    said = Decision("c", reason="sure", confidence=0.93, evidence={"top": [1, 2.5], "q": None})

    (decision,) = decide(lambda s: said if s.score == 0 else "b", {}, ["b", "c"]).decisions

    assert (decision.reason, decision.confidence) == ("sure", 0.93)
    assert json.loads(decision.details_json or "") == {"top": [1, 2.5], "q": None}
    assert [e.name for e in decision.evidence] == ["score"]


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("b", ("b",)),
        (["c", "b", "c"], ("c", "b")),
        ([], ()),
        (("b",), ("b",)),
        (END, (END,)),
        (Decision(["b", "c"]), ("b", "c")),
        (Decision([]), ()),
    ],
)
def test_answers_of_a_router(answer: Any, chosen: tuple[str, ...]) -> None:
    """A name, END, a list (each once), a tuple, a Decision of them, or [] for no arrow."""
    run = decide(lambda s: answer, {}, ["b", "c", END])

    assert run.decisions[0].chosen == chosen
    arrows = [a.target for a in run.steps[1].arrows if a.kind == "choice"]
    assert tuple(arrows) == chosen


def test_a_mapping_of_answers() -> None:
    """The targets are the mapping's values; the answer's own word is recorded."""
    run = decide(lambda s: s.score > 1, {}, {True: "b", False: "c"})

    (decision,) = run.decisions
    assert (decision.chosen, decision.answer, decision.options) == (("c",), "False", ("b", "c"))


def test_two_answers_of_a_mapping_that_lead_to_one_node() -> None:
    """They are one option, and one arrow."""
    run = decide(lambda s: ["x", "y"], {}, {"x": "b", "y": "b", "z": "c"})

    (decision,) = run.decisions
    assert decision.options == ("b", "c")
    assert decision.chosen == ("b",)
    assert decision.answer == "x, y"


@pytest.mark.parametrize("answer", ["bb", 7, {}, {"b": 1}, object(), ["b", "d"], [["b"]], b"b"])
def test_an_undeclared_answer_is_the_routers_error(answer: Any) -> None:
    """It names the graph, the router, the node, the answer and what is declared."""
    error = fails(lambda s: answer)

    assert "none of its declared targets ['b', 'c']" in str(error)


def test_an_undeclared_answer_says_what_was_meant() -> None:
    """Did you mean."""
    graph_error = fails(lambda s: "bravo", ["b", "c"])
    assert "answered 'bravo'" in str(graph_error)
    assert "Did you mean 'draft'?" in str(fails_with_names("drafts"))


@pytest.mark.parametrize("answer", [END, "END", [END], Decision(END)])
def test_an_undeclared_end_says_what_to_add(answer: Any) -> None:
    """Nobody has written `__end__`, which no message shows."""
    error = str(fails(lambda s: answer, ["b", "c"]))
    assert "answered END, which is none of its declared targets ['b', 'c']. Add END to" in error
    assert "__end__" not in error


def fails_with_names(answer: str) -> Exception:
    """Run a router among nodes with longer names."""
    graph = StateGraph(Ticket)
    graph.add_node("draft", lambda s: None)
    graph.add_conditional_edges("draft", lambda s: answer, ["draft", END], name="route")
    graph.add_edge(START, "draft")
    with pytest.raises(RunFailedError) as caught:
        graph.compile().run({})
    assert caught.value.__cause__ is not None
    return caught.value.__cause__  # type: ignore[return-value]  # an exception, not a base one


def test_none_is_no_answer() -> None:
    """None says that a return was forgotten; [] is how to take no arrow."""
    error = fails(lambda s: None)

    assert "returned None; return a target, END, or [] for none" in str(error)


def test_an_unhashable_answer_of_a_mapping() -> None:
    """It is none of the declared ones, and says so instead of failing on its hash."""
    assert "none of its declared targets" in str(fails(lambda s: {"x": 1}, {"x": "b", "y": "c"}))


def test_a_router_that_raises_is_named() -> None:
    """The error's type and words, and the error itself as the cause."""
    error = fails(lambda s: 1 / 0)

    assert "raised ZeroDivisionError: division by zero" in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_router_cannot_assign_to_the_state() -> None:
    """It is told to return an update from a node instead."""

    def route(state: Ticket) -> str:
        state.score = 1.0
        return "b"

    assert "cannot be assigned" in str(fails(route))


@pytest.mark.filterwarnings("ignore:coroutine")
def test_an_async_router_is_refused_when_it_is_added() -> None:
    """A router is a pure function; that is clear before anything runs."""

    async def route(state: Ticket) -> str:
        return "b"

    graph = StateGraph(Ticket)
    graph.add_node("b", lambda s: None)
    graph.add_edge("b", END)
    with pytest.raises(DefinitionError, match="route"):
        graph.add_conditional_edges(START, route, ["b"])


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_router_that_returns_a_coroutine() -> None:
    """The run fails at the router, not later."""

    async def other() -> str:
        return "b"

    answer = other()
    assert "declared targets" in str(fails(lambda s: answer))
    answer.close()


def test_routes_are_read_from_the_annotation() -> None:
    """`-> Route[Literal[...]]` declares the targets."""

    def route(state: Ticket) -> Route[Literal["b", "c"]]:
        return Decision("b", reason="because")

    (decision,) = decide(route, {}, None).decisions
    assert decision.options == ("b", "c")


def test_start_may_have_a_router() -> None:
    """Its decision belongs to step 0, and sees the input."""
    graph = StateGraph(Ticket)
    graph.add_node("a", lambda s: None)
    graph.add_edge("a", END)
    graph.add_conditional_edges(START, lambda s: "a" if s.text else END, ["a", END], name="route")

    run = graph.compile().run({"text": "hello"})

    (decision,) = run.steps[0].decisions
    assert (decision.source, decision.chosen) == (START, ("a",))
    assert decision.evidence[0][:2] == ("text", 0)
    assert graph.compile().run({}).path == []


def test_a_start_router_that_fails_raises_its_own_error() -> None:
    """There is no run yet, so the router's error itself is raised."""
    graph = StateGraph(Ticket)
    graph.add_node("a", lambda s: None)
    graph.add_edge("a", END)
    graph.add_conditional_edges(START, lambda s: 1 / 0, ["a"], name="route")

    with pytest.raises(RouterError, match="ZeroDivisionError"):
        graph.compile().run({})


@pytest.mark.parametrize(
    "words",
    [
        {"reason": 5},
        {"confidence": "high"},
        {"confidence": 2},
    ],
)
def test_a_decision_of_wrong_types_is_the_routers_error(words: Any) -> None:
    """Reason is text, confidence a number from 0 to 1: what else would be stored as it is."""
    assert "raised" in str(fails(lambda s: Decision("b", **words)))


def test_a_blank_reason_is_none() -> None:
    """The evidence in words is the reason then."""
    run = decide(lambda s: Decision("b" if s.score == 0 else "c", reason=" "), {}, ["b", "c"])

    assert run.decisions[0].reason == "score = 0.0"


def test_a_set_of_answers_is_in_declared_order() -> None:
    """The path depends on the graph, the input and the answers only (section 2, 4)."""
    names = [f"n{i}" for i in range(30)]
    graph = StateGraph(Ticket)
    graph.add_node("a", lambda s: None)
    graph.add_edge(START, "a")
    for name in names:
        graph.add_node(name, lambda s: None)
        graph.add_edge(name, END)
    graph.add_conditional_edges("a", lambda s: set(names), names)

    assert list(graph.compile().run({}).decisions[0].chosen) == names


def test_evidence_is_the_same_after_a_stop() -> None:
    """A dict that was long and became short is carried, stopped between or not (S17)."""
    graph = StateGraph(Ticket)
    graph.add_node("long", lambda s: {"table": {"k": "x" * 300}})
    graph.add_node("short", lambda s: {"table": {"k": ""}})
    graph.add_edge(START, "long")
    graph.add_edge("long", "short")
    graph.add_conditional_edges("long", lambda s: [END] * (not s.table), [END], name="look")
    graph.add_conditional_edges("short", lambda s: [END] * bool(s.table), [END], name="look")
    flow = graph.compile()

    whole = flow.run({})
    run_id = flow.start({}).run_id
    while (stopped := flow.advance(run_id, steps=1)).status != "done":
        pass

    assert whole.decisions == stopped.decisions


WRITES = st.fixed_dictionaries(
    {},
    optional={
        "words": st.sampled_from(["", "x", "y" * 300]),
        "notes": st.sampled_from([["n"], ["m" * 300], Replace([]), Replace(["k" * 300])]),
        "table": st.sampled_from([{"k": ""}, {"k": "v" * 300}, Replace({})]),
    },
)


@given(st.lists(WRITES, min_size=1, max_size=8))
def test_evidence_is_of_the_last_write(updates: list[dict[str, Any]]) -> None:
    """It names the step that wrote the field last, and has the JSON of what is short now."""
    graph = StateGraph(Ticket)
    graph.add_node("a", lambda s: {"drafts": s.drafts + 1, **updates[s.drafts]})
    graph.add_edge(START, "a")
    ways = "words", "notes", "table"
    graph.add_conditional_edges(
        "a",
        lambda s: END if [getattr(s, name) for name in ways] and s.drafts == len(updates) else "a",
        ["a", END],
    )
    run = graph.compile().run({})

    writers = dict.fromkeys(ways, 0)
    for step, (update, decision) in enumerate(zip(updates, run.decisions, strict=True), start=1):
        writers.update(dict.fromkeys(update, step))
        state = run.state_at(step).model_dump_json(include=set(ways))
        texts = {
            name: json.dumps(of, separators=(",", ":")) for name, of in json.loads(state).items()
        }
        expected = {n: (writers[n], t if len(t) <= 256 else None) for n, t in texts.items()}
        seen = {e.name: (e.step, e.value_json) for e in decision.evidence if e.name in ways}
        assert seen == expected


# --------------------------------------------------------------------------------------- Command


def go(answer: Any, targets: Any = ("b", END), *, name: str = "a") -> Run[Ticket]:
    """Run a node that answers with a Command."""
    graph = StateGraph(Ticket, name="go")
    graph.add_node(name, lambda s: answer, targets=targets)
    graph.add_node("b", lambda s: None)
    graph.add_edge(START, name)
    graph.add_edge(name, "b")
    graph.add_edge("b", END)
    return graph.compile().run({})


def test_a_goto_is_a_decision_of_the_node() -> None:
    """Recorded with the node's targets, its words, and what the body read."""
    run = go(Command(update={"score": 1.0}, goto=[END, "b", END], reason="tired"))

    (decision,) = run.decisions
    assert (decision.kind, decision.source, decision.options) == ("goto", "a", ("b", END))
    assert (decision.chosen, decision.reason) == ((END, "b"), "tired")
    assert run.state.score == 1.0
    assert run.path == ["a", "b"]


@pytest.mark.parametrize("goto", ["c", ["b", "c"], ["b", 5]])
def test_an_undeclared_goto_is_the_nodes_error(goto: Any) -> None:
    """It names graph, node, step and the targets, and says how to declare it."""
    with pytest.raises(RunFailedError) as caught:
        go(Command(goto=goto))

    error = caught.value.__cause__
    assert isinstance(error, InvalidUpdateError)
    assert (error.node, error.step) == ("a", 1)
    assert "graph 'go', node 'a', step 1" in str(error)
    assert "targets=[...]" in str(error)


def test_a_goto_to_an_undeclared_end_shows_no_dunder() -> None:
    """`add_node(..., targets=[...])` takes END as well."""
    graph = StateGraph(Ticket, name="go")
    graph.add_node("a", lambda s: Command(goto=END), targets=["b"])
    graph.add_node("b", lambda s: None)
    graph.add_edge(START, "a")
    graph.add_edge("b", END)
    with pytest.raises(RunFailedError, match=r"Command\(goto=END\) is not among .* \['b'\]"):
        graph.compile().run({})


@pytest.mark.parametrize("goto", [None, 5, [["b"]]])
def test_a_goto_that_is_no_name_is_the_nodes_error(goto: Any) -> None:
    """It fails at the node, and the run is failed, not left running."""
    with pytest.raises(RunFailedError) as caught:
        go(Command(goto=goto))

    assert isinstance(caught.value.__cause__, InvalidUpdateError)


def test_a_command_without_goto_decides_nothing() -> None:
    """`Command(update=...)` alone is an update."""
    assert go(Command(update={"score": 1.0})).decisions == []


# ----------------------------------------------------------------------------------------- gates


def long_enough(state: Ticket) -> bool | str:
    """Pass with the third draft."""
    return state.drafts >= 3 or f"{state.drafts} of 3"


def polite(state: Ticket) -> bool:
    """Pass without rude words."""
    return "damn" not in state.text


def gated(checks: Any = (long_enough,), **ways: Any) -> StateGraph[Ticket]:
    """Make a draft that a gate sends back until it passes."""
    graph = StateGraph(Ticket, name="gated")
    graph.add_node("draft", lambda s: {"drafts": s.drafts + 1})
    graph.add_node("template", lambda s: None)
    graph.add_edge(START, "draft")
    graph.add_edge("template", END)
    options = {"after": "draft", "checks": checks, "passed": END, "failed": "draft"}
    graph.add_gate("quality", **{**options, **ways})
    if "otherwise" not in ways:
        graph.add_conditional_edges("draft", lambda s: [], ["template"], name="never")
    return graph


def verdicts(run: Run[Ticket]) -> list[tuple[str | None, tuple[str, ...]]]:
    """List what the gates answered."""
    return [(d.answer, d.chosen) for d in run.decisions if d.kind == "gate"]


def test_a_gate_sends_back_until_it_passes() -> None:
    """failed, failed, passed; each with its reason and evidence."""
    run = gated().compile().run({})

    assert verdicts(run) == [("failed", ("draft",))] * 2 + [("passed", (END,))]
    first = next(d for d in run.decisions if d.kind == "gate")
    assert first.reason == "1 of 3"
    assert [(e.name, e.step, e.value_json, e.counter) for e in first.evidence] == [
        ("drafts", 1, "1", False),
        ("tries", 1, "0", True),
    ]
    assert [a.kind for s in run.steps for a in s.arrows if a.source == "quality"] == ["goto"] * 3


def test_a_gate_gives_up_after_its_tries() -> None:
    """The second failure in a row leads to `otherwise`."""
    run = gated(tries=2, otherwise="template").compile().run({})

    assert verdicts(run) == [("failed", ("draft",)), ("otherwise", ("template",))]
    assert "try 2 of 2" in [d for d in run.decisions if d.kind == "gate"][-1].reason
    assert run.path[-1] == "template"


def test_one_try_goes_straight_to_otherwise() -> None:
    """tries=1: there is no second."""
    assert verdicts(gated(tries=1, otherwise="template").compile().run({})) == [
        ("otherwise", ("template",))
    ]


@pytest.mark.parametrize("stops", [False, True])
def test_tries_start_again_after_a_pass(stops: bool) -> None:
    """Failures in a row are counted; a pass in between sets them to none, also over a stop."""
    good = [False, True, False, True, False, False]

    def check(state: Ticket) -> bool | str:
        return good[state.drafts - 1] or "not yet"

    graph = gated((check,), passed="draft", tries=2, otherwise="template")
    flow = graph.compile()
    run = flow.start({}) if stops else flow.run({})
    while stops and run.status != "done":
        run = flow.advance(run.run_id, steps=1)

    answers = [answer for answer, _ in verdicts(run)]
    assert answers == ["failed", "passed", "failed", "passed", "failed", "otherwise"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("feedback", ["2 of 3"]),
        ("words", "2 of 3"),
        ("notes", ["1 of 3", "2 of 3"]),
    ],
)
def test_feedback_goes_where_the_node_can_read_it(field: str, value: Any) -> None:
    """A list is replaced, a str too, an append-field grows."""
    run = gated(feedback=field).compile().run({})

    assert getattr(run.state, field) == value


def test_all_reasons_of_a_failure_are_given() -> None:
    """Every check that does not hold is named; a False one by its function."""
    graph = gated((long_enough, polite), tries=1, otherwise="template", feedback="feedback")
    done = graph.compile().run({"text": "damn"})

    assert done.state.feedback == ["1 of 3", "polite does not hold"]
    assert (
        "1 of 3; polite does not hold" in next(d for d in done.decisions if d.kind == "gate").reason
    )


@pytest.mark.parametrize("verdict", [None, 1, "", [], 0.5])
def test_a_check_says_true_or_why(verdict: Any) -> None:
    """Anything else is the gate's error: a forgotten return must not pass or fail silently."""

    def odd(state: Ticket) -> Any:
        return verdict

    with pytest.raises(RunFailedError, match="check 'odd' returned") as caught:
        gated((odd,)).compile().run({})
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_check_that_raises_fails_the_gate() -> None:
    """The run fails at the gate with the check's own error, and can be resumed."""
    broken = [True]

    def check(state: Ticket) -> bool:
        if broken:
            raise KeyError("lost")
        return True

    flow = gated((check,)).compile()
    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="r")
    assert isinstance(caught.value.__cause__, KeyError)
    assert flow.get("r").attempts[0].node == "quality"
    broken.clear()
    assert flow.resume("r").status == "done"


def test_feedback_into_a_field_of_another_type_is_a_problem() -> None:
    """The gate could only fail when it first has something to say."""
    assert gated(feedback="score").check()


def test_a_gate_after_several_nodes() -> None:
    """`after` may name several nodes."""
    graph = StateGraph(Ticket)
    for name in ("a", "b"):
        graph.add_node(name, lambda s: None)
        graph.add_edge(START, name)
    graph.add_gate("g", after=["a", "b"], checks=[polite], passed=END, failed="a")

    assert graph.compile().run({}).path == ["a", "b", "g"]


def test_replace_is_not_mistaken_for_a_reduced_value() -> None:
    """After a Replace the evidence is the new value."""
    graph = StateGraph(Ticket)
    graph.add_node("a", lambda s: {"notes": ["x" * 300]})
    graph.add_node("b", lambda s: {"notes": Replace(["y"])})
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_conditional_edges("b", lambda s: [END] * bool(s.notes), [END], name="look")

    assert graph.compile().run({}).decisions[0].evidence[0].value_json == '["y"]'


class Odd:
    """An answer that cannot even be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    def __hash__(self) -> int:
        return 1


def test_an_answer_that_cannot_be_compared_is_the_routers_error() -> None:
    """Like an array of numpy: the run fails, it is not left running."""
    assert fails(lambda s: Odd())
