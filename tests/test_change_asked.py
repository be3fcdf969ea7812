"""What a node asked that asks in another way now: nobody answers it, and the node runs again."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Defaults, Escalate, RunFailedError, StateGraph
from graphflow.answering import answer_question, find_open
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.errors import AnswerError, GraphChangedError, MigrationError

VERDICT = Escalate()
VALUE = Escalate(into="b")
KINDS = ("plain", "question", "gate", "map", "graph")


class State(BaseModel):
    b: str = ""
    items: list[str] = ["x"]
    out: list[str] = []


def breaks(state: Any) -> Any:
    raise OSError("down")


def asks(state: Any, ctx: Any) -> Any:
    return {"b": ctx.ask("ok", "Go on?", answer=str)}


def plain(state: Any) -> Any:
    return {"b": "plain"}


def joined(*names: str, graph: StateGraph[State] | None = None) -> StateGraph[State]:
    """Run nodes side by side."""
    made = graph or StateGraph(State, name="g")
    for name in names:
        made.add_edge(START, name)
        made.add_edge(name, END)
    return made


def of(kind: str, fn: Any = plain, *, beside: bool = False, **rules: Any) -> StateGraph[State]:
    """Make a graph of one node `n` of a kind, and perhaps a question beside it."""
    graph = StateGraph(State, name="g")
    if kind == "plain":
        graph.add_node("n", fn, **rules)
    elif kind == "question":
        graph.add_question("n", prompt="Which?", into="b", answer=str)
    elif kind == "map":
        graph.add_map("n", lambda item: item * 2, over="items", into="out", **rules)
    elif kind == "graph":
        inner = StateGraph(State, name="inner")
        inner.add_node("it", lambda state: {"b": "below"})
        graph.add_node("n", joined("it", graph=inner), input={}, output={"b": "b"}, **rules)
    if kind == "gate":
        graph.add_node("m", plain)
        graph.add_gate("n", after="m", checks=[lambda state: True], passed=END, failed=END)
        graph.add_edge(START, "m")
    if beside:
        graph.add_question("q", prompt="Beside?", into="out", answer=list[str])
    names = [*([] if kind == "gate" else ["n"]), *(["q"] if beside else [])]
    return joined(*names, graph=graph)


def kinds_asked(store: Any) -> list[tuple[str, str, str | None]]:
    """Tell what is stored of the run's questions."""
    return [(one.kind, one.name, one.answer_json) for one in store.load("r").questions]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", ["ask", "escalation"])
def test_what_another_kind_of_node_asked_holds_no_run(asked: str, kind: str) -> None:
    """`resume` runs the node as what it is now, and only that asks; what was asked is kept."""
    store = MemoryCheckpointer()
    before = of("plain", asks) if asked == "ask" else of("plain", breaks, escalate=VERDICT)
    assert list(before.compile(store).run({}, run_id="r").open_questions) == [
        "n:ok" if asked == "ask" else "n"
    ]
    flow = of(kind).compile(store)
    if asked == "ask" and kind == "plain":  # it may ask that still
        assert flow.answer("r", "yes").values["b"] == "plain"
        return
    with pytest.raises(AnswerError, match=r"no answer any more|no open question"):
        flow.answer("r", "retry", key="n:ok" if asked == "ask" else "n")
    run = flow.resume("r")
    if kind == "question":
        (key,) = run.open_questions
        assert run.open == {"n": "asking"}
        run = flow.answer("r", "this", key="n")
        assert run.values["b"] == "this"
        assert key.startswith("n")
    assert (run.status, run.open_questions) == ("done", {})
    assert kinds_asked(store)[0] == (asked, "ok" if asked == "ask" else "", None)


@pytest.mark.parametrize(
    ("before", "after"), [(VERDICT, None), (VALUE, None), (VERDICT, VALUE), (VALUE, VERDICT)]
)
@pytest.mark.parametrize("answered", [False, True])
def test_an_escalation_that_is_another_now(before: Any, after: Any, answered: bool) -> None:
    """No answer is taken for another: the node runs again, and asks what it asks now."""
    store = MemoryCheckpointer()

    def graph(escalate: Any) -> Any:
        if answered:
            return of("plain", breaks, escalate=escalate)
        made = StateGraph(State, name="g", defaults=Defaults(escalate=escalate))
        made.add_node("n", breaks)
        return joined("n", graph=made)

    flow = graph(before).compile(store)
    flow.run({}, run_id="r")
    if answered:
        flow.answer("r", "skip", resume=False)
    flow = graph(after).compile(store)
    verdict = flow.verdict("r")
    assert verdict.kind == "compatible"
    assert "node 'n': what a person is asked when it has failed has changed" in str(verdict)
    assert "what it asked when it failed" in str(verdict)
    if after is None:
        with pytest.raises(RunFailedError, match="down"):
            flow.resume("r")
        assert flow.get("r").open == {"n": "failed"}
        return
    run = flow.resume("r")
    assert (run.status, list(run.open_questions)) == ("paused", ["n:#2"])
    done = flow.answer("r", "skip", key="n")
    assert (done.status, done.values["b"]) == ("done", "skip" if after is VALUE else "")
    assert kinds_asked(store) == [
        ("escalation", "", '"skip"' if answered else None), ("escalation", "#2", '"skip"'),
    ]  # fmt: skip


def test_a_question_that_became_a_node_which_escalates(store: Any) -> None:
    """What it asks when it fails is a question of its own, though the first has no name either."""
    of("question").compile(store).run({}, run_id="r")
    flow = of("plain", breaks, escalate=VALUE).compile(store)
    assert list(flow.resume("r").open_questions) == ["n:#2"]
    assert flow.answer("r", "mended").values["b"] == "mended"


def test_an_answer_beside_what_is_asked_no_more(store: Any) -> None:
    """A sibling is answered; what asked is run as what it is now, without another word."""
    run = of("plain", asks, beside=True).compile(store).run({}, run_id="r")
    assert list(run.open_questions) == ["n:ok", "q"]
    flow = of("graph", beside=True).compile(store)
    done = flow.answer("r", ["yes"])
    assert (done.status, done.values["b"], done.values["out"]) == ("done", "below", ["yes"])


def test_a_node_that_asks_again_as_before(store: Any) -> None:
    """When a graph is what it was, so is what it waits for."""
    of("plain", asks).compile(store).run({}, run_id="r")
    of("question").compile(store).resume("r")
    flow = of("plain", asks).compile(store)
    with pytest.raises(AnswerError, match="no open question 'n'"):
        flow.answer("r", "this", key="n")
    assert list(flow.get("r").open_questions) == ["n:ok"]
    assert flow.answer("r", "yes").values["b"] == "yes"


def test_an_answer_to_an_escalation_that_does_not_fit_any_more(store: Any) -> None:
    """The value that a person gave must fit the field that takes it now; else nothing is done."""

    class Before(BaseModel):
        b: str | None = None

    class Later(BaseModel):
        b: int | None = None

    def graph(state: Any) -> Any:
        made = StateGraph(state, name="g")
        made.add_node("n", breaks, escalate=VALUE)
        return joined("n", graph=made)

    flow = graph(Before).compile(store)
    flow.run({}, run_id="r")
    flow.answer("r", "words", resume=False)
    with pytest.raises(MigrationError, match='its answer, "words", does not fit'):
        graph(Later).compile(store).resume("r")


def test_an_answer_to_an_escalation_that_the_field_refuses(store: Any) -> None:
    """Stored before it was held against the field, it fails the node again, and is asked again."""

    class Short(BaseModel):
        b: str = Field("", max_length=3)

    graph = StateGraph(Short, name="g")
    graph.add_node("n", breaks, escalate=Escalate(into="b", answer=str))
    flow = joined("n", graph=graph).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match="at most 3 characters"):
        flow.answer("r", "too long")
    [asked] = find_open(flow.store, flow.get("r").records)
    answer_question(flow._opener, asked, '"too long"', "person")
    run = flow.resume("r")
    assert list(run.open_questions) == ["n:#2"]
    assert [(one.attempt, one.error_type) for one in run.attempts] == [
        (1, "OSError"), (2, "InvalidUpdateError"),
    ]  # fmt: skip
    assert flow.answer("r", "yes").values["b"] == "yes"


def test_what_is_asked_after_a_failure_belongs_to_the_graph() -> None:
    """A graph says whether a person answers by a verdict or by a value, and for which field."""
    told = [
        of("plain", breaks, escalate=escalate).compile()._plan.digest
        for escalate in (None, VERDICT, VALUE)
    ]
    assert len(set(told)) == 3


def test_who_names_a_question_of_today_hears_why_the_run_cannot_go_on() -> None:
    """A key that the run would have, if it could go on, is not called unknown: the way is told."""
    store = MemoryCheckpointer()
    of("question").compile(store).run({}, run_id="r")
    later = StateGraph(State, name="g", version=2)
    later.add_question("m", prompt="Which?", into="b", answer=str)
    later.renamed("n", "m")
    flow = joined("m", graph=later).compile(store)
    with pytest.raises(GraphChangedError, match=r"@graph.migration\(1, 2\)"):
        flow.answer("r", "this", key="m")
    with pytest.raises(GraphChangedError, match=r"@graph.migration\(1, 2\)"):
        flow.answer("r", "this", key="n")
    later.migration(1, 2)(dict)
    flow = later.compile(store)
    assert flow.answer("r", "this", key="m").values["b"] == "this"
