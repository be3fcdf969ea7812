"""Questions to humans: question nodes, `ctx.ask`, `ctx.memo`, deadlines, escalations (S15)."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from graphflow import (
    END,
    START,
    Context,
    Escalate,
    Flow,
    Limits,
    Retry,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.answering import find_open
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.cli.onward import ways_on
from graphflow.cli.options import Place
from graphflow.errors import (
    AnswerError,
    DefinitionError,
    GraphChangedError,
    GraphflowError,
    RunBusyError,
    RunError,
    RunNotFoundError,
)
from graphflow.records import wall_ms
from graphflow.testing.processes import ended_process

ROOT = Path(__file__).parent.parent


class Reply(BaseModel):
    text: str
    stars: int = Field(default=3, ge=1, le=5)

    @field_validator("text")
    @classmethod
    def polite(cls, value: str) -> str:
        if "!" in value:
            raise ValueError("do not shout")
        return value


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("it must be even")
    return value


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    reply: str = ""
    n: int = 0
    topic: Literal["billing", "technical"] | None = None
    rich: Reply | None = None
    items: list[int] = Field(default_factory=list)
    results: list[str] = Field(default_factory=list)


def graph_of(*starts: str, **bodies: Any) -> StateGraph[State]:
    """Make a graph whose nodes stand side by side from START to END."""
    graph = StateGraph(State, name="asks")
    for name, body in bodies.items():
        graph.add_node(name, body)
    for name in (*starts, *bodies):
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


def question(name: str = "q", **how: Any) -> StateGraph[State]:
    """Make a graph of one question and a node after it."""
    graph = StateGraph(State, name="asks")
    graph.add_question(name, **{"prompt": "Your reply?", "into": "reply", **how})
    graph.add_node("after", lambda s: {"log": ["after"]})
    graph.add_edge(START, name)
    graph.add_edge(name, "after")
    graph.add_edge("after", END)
    return graph


def asking(body: Any, store: Any, **rules: Any) -> Flow[State]:
    """Make a flow of one node."""
    graph = StateGraph(State, name="asks")
    graph.add_node("one", body, **rules)
    graph.add_edge(START, "one")
    graph.add_edge("one", END)
    return graph.compile(store)


# ------------------------------------------------------------------------------ question nodes


def test_a_question_pauses_and_its_answer_goes_on(store: Any) -> None:
    """A question node pauses the run with reason question; its answer is the node's update."""
    flow = question().compile(store)
    run = flow.run({}, run_id="r")

    assert (run.status, run.reason, run.open) == ("paused", "question", {"q": "asking"})
    assert [(q.id, q.prompt, q.kind, q.answer_json) for q in run.questions] == [
        ("q", "Your reply?", "question", None)
    ]
    run = flow.answer("r", "fine")
    assert (run.status, run.state.reply, run.path) == ("done", "fine", ["q", "after"])
    assert flow.get("r").questions[0].answered_by == "person"


def test_the_words_are_made_of_the_state(store: Any) -> None:
    """A prompt may be a function of the state; what it is made of is asked once and kept."""
    flow = question(prompt=lambda s: f"n is {s.n}").compile(store)

    assert flow.run({"n": 7}).questions[0].prompt == "n is 7"


@pytest.mark.parametrize(
    "prompt", [lambda s: 1 / 0, lambda s: None, lambda s: s.nothing], ids=["raises", "none", "typo"]
)
def test_a_prompt_that_fails_is_the_questions_failure(prompt: Any, store: Any) -> None:
    """The run fails at the question, names it, and asks nothing."""
    flow = question(prompt=prompt).compile(store)
    with pytest.raises(RunFailedError, match="q"):
        flow.run({}, run_id="r")

    run = flow.get("r")
    assert (run.status, run.open, list(run.questions)) == ("failed", {"q": "failed"}, [])


@pytest.mark.parametrize(
    ("into", "wrong", "right", "field"),
    [
        ("n", "many", 4, ""),
        ("n", None, 0, ""),
        ("topic", "weather", "billing", ""),
        ("rich", {"text": "no", "stars": 9}, {"text": "yes", "stars": 5}, "stars"),
        ("rich", {"stars": 3}, Reply(text="yes"), "text"),
        ("rich", {"text": "loud!"}, {"text": "calm"}, "text"),
    ],
)
def test_a_wrong_answer_leaves_the_run_paused(
    into: str, wrong: Any, right: Any, field: str, store: Any
) -> None:
    """An answer is validated before the run wakes; a wrong one names the field, nothing changes."""
    flow = question(into=into).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match="question stays open") as caught:
        flow.answer("r", wrong)

    assert field in caught.value.field
    run = flow.get("r")
    assert (run.status, run.reason, run.questions[0].answer_json) == ("paused", "question", None)
    run = flow.answer("r", right)
    expected = Reply.model_validate(right) if into == "rich" else right
    assert (run.status, getattr(run.state, into)) == ("done", expected)


def _more(value: int, info: ValidationInfo) -> int:
    if value <= info.data["even"]:
        raise ValueError("it is no more than the even one")
    return value


class Strict(BaseModel):
    bounded: int = Field(0, le=5)
    even: Annotated[int, AfterValidator(_even)] = 0
    more: Annotated[int, AfterValidator(_more)] = 1
    named: str = "Nobody"
    low: int = 0
    high: int = 9
    maybe: int | None = Field(None, le=5)
    log: Annotated[list[str], append] = Field(default_factory=lambda: ["one"], max_length=2)

    @field_validator("named")
    @classmethod
    def capital(cls, value: str) -> str:
        if not value.istitle():
            raise ValueError("write it with a capital")
        return value

    @model_validator(mode="after")
    def in_order(self) -> Strict:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def asks_for(state: type[BaseModel], how: str, into: str) -> StateGraph[Any]:
    """Make a graph of one node that asks for a field: as a question, or when it has failed."""
    graph = StateGraph(state, name="asks")
    if how == "escalation":
        graph.add_node("q", lambda s: 1 / 0, escalate=Escalate(into=into))
    else:
        graph.add_question("q", prompt="?", into=into)
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    return graph


@pytest.mark.parametrize(
    ("how", "into", "wrong", "right"),
    [
        ("question", "bounded", 9, 5),
        ("question", "even", 3, -4),
        ("question", "more", 0, 1),
        ("question", "named", "ann", "Ann"),
        ("question", "low", 20, 3),
        ("question", "maybe", 9, 1),
        ("question", "log", ["two", "three"], ["two"]),
        ("escalation", "named", "ann", "Ann"),
        ("escalation", "more", -1, 7),
        ("child", "named", "ann", "Ann"),
    ],
)
def test_an_answer_is_held_against_all_that_the_state_says(
    how: str, into: str, wrong: Any, right: Any, store: Any
) -> None:
    """Bounds and validators of the field and of the whole state count before the run wakes."""
    graph, key = asks_for(Strict, how, into), "q"
    if how == "child":
        child, key = graph, "s/q"
        graph = StateGraph(Strict, name="parent")
        graph.add_node("s", child, output={into: into})
        graph.add_edge(START, "s")
        graph.add_edge("s", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match="question stays open"):
        flow.answer("r", wrong, key=key)
    with pytest.raises(AnswerError, match="question stays open"):
        flow.answer("r", wrong, key=key, resume=False)

    assert [one.id for one in find_open(flow.store, flow.get("r").records)] == [key]
    assert flow.answer("r", right, key=key).status == "done"


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: int = 0


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


class Paid(BaseModel):
    by: Card | Cash = Field(default_factory=Cash, discriminator="kind")
    maybe: Annotated[Card | Cash | None, Field(discriminator="kind")] = None


@pytest.mark.parametrize("into", ["by", "maybe"])
@pytest.mark.parametrize("how", ["question", "escalation"])
def test_an_answer_is_one_of_several_models(how: str, into: str, store: Any) -> None:
    """What the field says tells them apart; one that is none of them leaves the question open."""
    graph = asks_for(Paid, how, into)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    for wrong in ({"kind": "cheque"}, None):
        with pytest.raises(AnswerError, match="question stays open"):
            flow.answer("r", wrong)
    assert getattr(flow.answer("r", {"kind": "card", "number": 5}).state, into) == Card(number=5)


def test_a_default_that_the_state_refuses_leaves_the_question_open(store: Any) -> None:
    """It would fail the run for good; so the resume says it, and a person can answer still."""
    graph = StateGraph(Strict, name="strict")
    graph.add_question("q", prompt="?", into="low", deadline=1e-6, default=20)
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match=r"default cannot be taken.*low is above high.*open"):
        flow.resume("r")

    assert flow.get("r").status == "paused"
    assert flow.answer("r", 3).state.low == 3


def test_an_answer_is_taken_beside_a_default_that_the_state_refuses(store: Any) -> None:
    """It was stored, so it is not refused for the other question, which stays open."""
    graph = StateGraph(Strict, name="strict")
    graph.add_question("late", prompt="?", into="low", deadline=1e-6, default=20)
    graph.add_question("other", prompt="?", into="named")
    for name in ("late", "other"):
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    run = flow.answer("r", "Ann", key="other")
    assert (run.status, list(run.open_questions)) == ("paused", ["late"])
    with pytest.raises(AnswerError, match="default cannot be taken"):
        flow.resume("r")
    assert flow.answer("r", 3, key="late").state.named == "Ann"


def test_the_bound_of_a_field_is_told_with_its_question(store: Any) -> None:
    """Who answers sees it in the schema; and a default beyond it is refused when compiled."""

    def flow_of(default: int) -> Flow[Strict]:
        graph = StateGraph(Strict, name="strict")
        graph.add_question("q", prompt="?", into="bounded", deadline=60, default=default)
        graph.add_edge(START, "q")
        graph.add_edge("q", END)
        return graph.compile(store)

    with pytest.raises(DefinitionError, match="default=9 is no answer"):
        flow_of(9)

    assert '"maximum": 5' in flow_of(5).run({}).questions[0].schema_json


def test_the_answers_type_may_be_narrower_than_the_field(store: Any) -> None:
    """`answer=` says the type; it is checked instead of the field's."""
    flow = question(answer=Literal["yes", "no"]).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError):
        flow.answer("r", "maybe")

    assert flow.answer("r", "yes").state.reply == "yes"


class Maybe(BaseModel):
    sure: bool | None = None
    n: int = 0


@pytest.mark.parametrize("asked", ["question", "escalation"])
def test_none_is_no_answer_unless_it_was_asked_for(store: Any, asked: str) -> None:
    """A value that was forgotten is refused, though the field may be None; `answer=` allows it."""

    def flow_of(**how: Any) -> Flow[Maybe]:
        graph = StateGraph(Maybe, name=f"maybe{len(how)}")
        if asked == "question":
            graph.add_question("q", prompt="Sure?", into="sure", **how)
        else:
            graph.add_node("q", lambda s: 1 / 0, escalate=Escalate(into="sure", **how))
        graph.add_edge(START, "q")
        graph.add_edge("q", END)
        return graph.compile(store)

    flow = flow_of()
    run = flow.run({}, run_id="r")
    assert '"null"' not in run.questions[0].schema_json
    with pytest.raises(AnswerError, match="stays open"):
        flow.answer("r", None)
    assert flow.answer("r", False).state.sure is False

    flow = flow_of(answer=bool | None)
    flow.run({}, run_id="s")
    assert flow.answer("s", None).state.sure is None


def test_none_as_the_default_of_a_deadline_is_an_answer(store: Any) -> None:
    """It was said where the question is asked."""
    graph = StateGraph(Maybe, name="late")
    graph.add_question("q", prompt="Sure?", into="sure", deadline=0.01, default=None)
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    while run.status == "paused":
        run = flow.resume("r")
    assert (run.status, run.state.sure) == ("done", None)


def test_the_run_of_a_subgraph_is_answered_through_its_root(store: Any) -> None:
    """Who names the child's run is told the run and the key."""
    child = StateGraph(Maybe, name="sub")
    child.add_question("q", prompt="Sure?", into="sure")
    child.add_edge(START, "q")
    child.add_edge("q", END)
    graph = StateGraph(Maybe, name="o")
    graph.add_node("s", child, output={"sure": "sure"})
    graph.add_edge(START, "s")
    graph.add_edge("s", END)
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    child_id = run.children["1:s"].run_id
    with pytest.raises(RunNotFoundError) as refused:
        flow.answer(child_id, True)
    assert "is the run of a subgraph, within run r: name 'r', and answer it with key='s/q'" in str(
        refused.value
    )
    assert flow.answer("r", True, key="s/q").state.sure is True


def test_a_function_makes_the_update_of_the_answer(store: Any) -> None:
    """`into` may be a function of the answer that gives an update."""
    flow = question(answer=int, into=lambda a: {"n": a * 2, "log": ["told"]}).compile(store)
    flow.run({}, run_id="r")

    assert (run := flow.answer("r", 21)).state.n == 42
    assert run.state.log == ["told", "after"]


def test_a_function_that_cannot_take_the_answer_fails_the_node(store: Any) -> None:
    """A wrong update of `into` is the question's failure; a resume tries it again."""
    broken = [True]

    def into(answer: Any) -> dict[str, Any]:
        if broken:
            return {"no_such_field": answer}
        return {"reply": answer}

    flow = question(answer=str, into=into).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError, match="no_such_field"):
        flow.answer("r", "kept")
    assert flow.get("r").status == "failed"

    broken.clear()
    assert flow.resume("r").state.reply == "kept"


def test_a_question_that_is_not_resumed(store: Any) -> None:
    """`resume=False` stores the answer, and the run stays paused until it is resumed."""
    flow = question().compile(store)
    flow.run({}, run_id="r")
    run = flow.answer("r", "later", resume=False)

    assert (run.status, run.reason) == ("paused", "question")
    assert run.questions[0].answer_json == '"later"'
    assert run.state.reply == ""
    assert flow.resume("r").state.reply == "later"


def test_an_answer_to_a_run_whose_process_died(store: Any) -> None:
    """Stored and not resumed, it leaves the run interrupted: it never seems to be advanced."""
    flow = question().compile(store)
    flow.run({}, run_id="r")
    flow.store.take("r", ended_process())
    assert flow.get("r").status == "stale"
    run = flow.answer("r", "later", resume=False)

    assert (run.status, run.reason, run.header.owner) == ("paused", "interrupted", None)
    assert [header.run_id for header in flow.runs(status="paused")] == ["r"]
    assert ways_on(run.records, Place("a.py:graph", None)) == ["graphflow resume a.py:graph r"]
    assert flow.resume("r").state.reply == "later"


def test_an_answer_inside_a_run_whose_process_died(store: Any) -> None:
    """That of a subgraph stands as its parent, and goes on with the answer of another question."""
    graph = graph_of("sub", "q")
    graph.add_node("sub", small(), input={"given": "n"}, output={"log": "log"})
    graph.add_question("q", prompt="?", into="reply")
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    flow.store.take("r", ended_process())
    run = flow.answer("r", "inner", key="sub/ask", resume=False)

    assert (run.status, run.reason) == ("paused", "interrupted")
    assert run.open == {"sub": "asking", "q": "asking"}
    assert flow.answer("r", "own").status == "done"


def test_a_question_in_a_loop_is_asked_each_time(store: Any) -> None:
    """Each step's question is its own; the answer of an earlier round is not used again."""
    graph = StateGraph(State, name="chat")
    graph.add_question("ask", prompt=lambda s: f"turn {len(s.log)}", into=lambda a: {"log": [a]})
    graph.add_edge(START, "ask")
    graph.add_conditional_edges(
        "ask", lambda s: END if s.log[-1] == "bye" else "ask", ["ask", END], name="again"
    )
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    for word in ("a", "b", "bye"):
        assert run.status == "paused"
        run = flow.answer("r", word)

    assert (run.status, run.state.log) == ("done", ["a", "b", "bye"])
    assert [q.prompt for q in run.questions] == ["turn 0", "turn 1", "turn 2"]


def test_answers_let_a_chat_go_beyond_the_limits(store: Any) -> None:
    """The limits count since the run last heard from outside (S14)."""
    graph = StateGraph(State, name="chat")
    graph.add_question("ask", prompt="?", into=lambda a: {"log": [a]})
    graph.add_node("think", lambda s: {"n": s.n + 1})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "think")
    graph.add_conditional_edges("think", lambda s: "ask", ["ask", END], name="again")
    flow = graph.compile(store, limits=Limits(steps=3, visits=2))
    run = flow.run({}, run_id="r")
    for _ in range(6):
        assert (run.status, run.reason) == ("paused", "question")
        run = flow.answer("r", "word")

    assert run.state.n == 6


# ------------------------------------------------------------------------- several at once


def test_two_questions_of_one_step_are_open_at_once(store: Any) -> None:
    """Both are asked; the first answer is kept, the second lets the run go on, in any order."""
    graph = graph_of("a", "b")
    graph.add_question("a", prompt="a?", into="reply")
    graph.add_question("b", prompt="b?", into="n")
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    assert [q.id for q in run.questions] == ["a", "b"]

    run = flow.answer("r", 5, key="b")
    assert (run.status, run.open, run.state.n) == ("paused", {"a": "asking", "b": "done"}, 0)
    run = flow.answer("r", "x", key="a")
    assert (run.status, run.state.reply, run.state.n) == ("done", "x", 5)


def test_which_question_must_be_said_when_several_are_open(store: Any) -> None:
    """Without a key the answer is refused, and the open ones are named."""
    graph = graph_of("a", "b")
    graph.add_question("a", prompt="a?", into="reply")
    graph.add_question("b", prompt="b?", into="n")
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match=r"several open questions.*'a', 'b'"):
        flow.answer("r", "x")

    assert [q.answer_json for q in flow.get("r").questions] == [None, None]


def test_a_wrong_key_is_refused_with_the_nearest(store: Any) -> None:
    """There is no such question: the message names the one that was probably meant."""
    flow = question("ask_human").compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match="Did you mean 'ask_human'"):
        flow.answer("r", "x", key="ask_humam")

    assert flow.get("r").status == "paused"


def test_a_failed_sibling_stays_failed_when_a_question_is_answered(store: Any) -> None:
    """The answer is kept; only `resume` runs what failed again (S15)."""
    fails = [True]

    def body(state: State) -> dict[str, Any]:
        if fails:
            raise ValueError("not yet")
        return {"log": ["body"]}

    graph = graph_of("q", body=body, fine=lambda s: {"log": ["fine"]})
    graph.add_question("q", prompt="?", into="reply")
    flow = graph.compile(store)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    assert flow.get("r").open == {"q": "asking", "body": "failed", "fine": "done"}

    run = flow.answer("r", "kept")
    assert (run.status, run.open["q"], run.open["body"]) == ("failed", "done", "failed")
    assert len(run.attempts) == 1
    fails.clear()
    run = flow.resume("r")
    assert (run.state.reply, sorted(run.state.log)) == ("kept", ["body", "fine"])


def test_siblings_of_a_question_run_once(store: Any) -> None:
    """They finish, are kept, and are not run again when the answer comes."""
    ran: list[str] = []
    graph = graph_of("q", a=lambda s: ran.append("a"), b=lambda s: ran.append("b"))
    graph.add_question("q", prompt="?", into="reply")
    flow = graph.compile(store)
    assert flow.run({}, run_id="r").open == {"q": "asking", "a": "done", "b": "done"}
    flow.resume("r")
    flow.answer("r", "x")

    assert sorted(ran) == ["a", "b"]


# ------------------------------------------------------------------------------------ ctx.ask


def test_two_questions_of_one_body_and_work_before_them(store: Any) -> None:
    """Keyed answers are used once each, memoised work is not repeated, a wrong key is refused."""
    worked: list[str] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        draft = ctx.memo("draft", lambda: worked.append("draft") or "a draft", type=str)
        first = ctx.ask("tone", f"Tone of {draft}?", answer=Literal["warm", "cool"])
        count = ctx.ask("count", "How many?", answer=int)
        return {"reply": f"{draft} {first}", "n": count}

    flow = asking(body, store)
    run = flow.run({}, run_id="r")
    assert [q.id for q in run.questions] == ["one:tone"]
    with pytest.raises(AnswerError, match="one:tone"):
        flow.answer("r", 3, key="one:count")
    with pytest.raises(AnswerError):
        flow.answer("r", "hot", key="tone")
    run = flow.answer("r", "warm", key="tone")
    assert (run.status, [q.id for q in run.questions]) == ("paused", ["one:tone", "one:count"])
    with pytest.raises(AnswerError):
        flow.answer("r", "many")
    run = flow.answer("r", 3)

    assert (run.status, run.state.reply, run.state.n) == ("done", "a draft warm", 3)
    assert worked == ["draft"]
    assert run.attempts == []


def test_an_answer_that_the_run_cannot_go_on_with_is_not_stored(store: Any) -> None:
    """The graph has changed: that is said first; the old graph takes the answer as before."""

    def body(state: State, ctx: Context) -> dict[str, Any]:
        return {"reply": ctx.ask("it", "?", answer=str)}

    flow = asking(body, store)
    flow.run({}, run_id="r")
    other = StateGraph(State, name=flow.name)
    other.add_node("renamed", body)
    other.add_edge(START, "renamed")
    other.add_edge("renamed", END)

    with pytest.raises(GraphChangedError):
        other.compile(store).answer("r", "lost?")
    assert flow.answer("r", "once", resume=False).reason == "question"
    with pytest.raises(AnswerError, match=r"all its questions are answered.*flow\.resume\('r'\)"):
        flow.answer("r", "twice")
    assert flow.resume("r").state.reply == "once"


def test_open_questions_are_named_as_answers_name_them(store: Any) -> None:
    """Of a body and inside of a subgraph; what is answered is not among them."""

    def body(state: State, ctx: Context) -> dict[str, Any]:
        return {"reply": ctx.ask("it", "which?", answer=str)}

    inner = StateGraph(State, name="inner")
    inner.add_question("approve", prompt="sure?", answer=bool, into=lambda yes: None)
    inner.add_edge(START, "approve")
    inner.add_edge("approve", END)
    graph = StateGraph(State, name="outer")
    graph.add_node("a", body)
    graph.add_node("sub", inner, input={}, output={})
    for node in ("a", "sub"):
        graph.add_edge(START, node)
        graph.add_edge(node, END)
    flow = graph.compile(store)

    run = flow.run({}, run_id="r")
    prompts = {key: asked.prompt for key, asked in run.open_questions.items()}
    assert prompts == {"a:it": "which?", "sub/approve": "sure?"}
    for key, value in {"sub/approve": True, "a:it": "this"}.items():
        run = flow.answer("r", value, key=key)
        assert key not in flow.get("r").open_questions
    assert (run.status, run.state.reply, run.open_questions) == ("done", "this", {})


def test_check_15_two_questions_after_a_side_effect(store: Any) -> None:
    """What was done before them is done once; each answer is used once, and by its key alone."""
    done: list[str] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        number = ctx.memo("book", lambda: done.append("booked") or len(done))
        first = ctx.ask("first", "first?", answer=str)
        second = ctx.ask("second", "second?", answer=str)
        return {"reply": f"{number} {first} {second}"}

    flow = asking(body, store)
    assert flow.run({}, run_id="r").reason == "question"
    with pytest.raises(AnswerError, match="no open question 'second'"):
        flow.answer("r", "b", key="second")
    assert flow.answer("r", "a", key="first").reason == "question"
    assert flow.answer("r", "b", key="second").state.reply == "1 a b"
    assert done == ["booked"]


def test_the_order_of_keyed_questions_may_change(store: Any) -> None:
    """Answers belong to keys, not to positions: the body may ask in another order next time."""
    turn = [0]

    def body(state: State, ctx: Context) -> dict[str, Any]:
        turn[0] += 1
        keys = ("a", "b") if turn[0] % 2 else ("b", "a")
        return {"log": [f"{key}={ctx.ask(key, key)}" for key in keys]}

    flow = asking(body, store)
    run = flow.run({}, run_id="r")
    while run.status == "paused":
        open_ = next(q for q in run.questions if q.answer_json is None)
        run = flow.answer("r", f"for {open_.name}")

    assert sorted(run.state.log) == ["a=for a", "b=for b"]


@pytest.mark.parametrize(
    ("type_", "wrong", "right", "given"),
    [
        (int, "x", 3, 3),
        (bool, "perhaps", True, True),
        (Literal["yes", "no"], "maybe", "yes", "yes"),
        (list[int], ["a"], [1], [1]),
        (Reply, {"stars": 1}, {"text": "ok"}, Reply(text="ok")),
        (Reply, {"text": "ok", "stars": 0}, Reply(text="ok", stars=2), Reply(text="ok", stars=2)),
        (date, "2026-11-22T", "2026-11-22", date(2026, 11, 22)),
        (date, 3.5, "2026-11-22", date(2026, 11, 22)),
    ],
)
def test_answers_to_ask_are_typed(
    type_: Any, wrong: Any, right: Any, given: Any, store: Any
) -> None:
    """The answer is validated before the run wakes, and handed to the body as its type."""
    seen: list[Any] = []

    def body(state: State, ctx: Context) -> None:
        seen.append(ctx.ask("it", "?", answer=type_))

    flow = asking(body, store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError):
        flow.answer("r", wrong)
    assert (flow.get("r").status, seen) == ("paused", [])

    assert flow.answer("r", right).status == "done"
    assert seen == [given]


@pytest.mark.parametrize(
    ("type_", "value"),
    [(date, date(2026, 11, 22)), (list[Reply], [Reply(text="ok")]), (tuple[int, str], (1, "a"))],
    ids=["date", "models", "tuple"],
)
def test_an_answer_to_ask_may_be_the_object_itself(type_: Any, value: Any, store: Any) -> None:
    """Who answers from Python gives what the body is to get."""
    seen: list[Any] = []
    flow = asking(lambda s, ctx: seen.append(ctx.ask("it", "?", answer=type_)), store)
    flow.run({}, run_id="r")
    flow.answer("r", value)

    assert seen == [value]


def test_an_answer_that_only_the_body_can_judge(store: Any) -> None:
    """A validator that no JSON schema tells of refuses the answer: the run can still go on."""

    def body(state: State, ctx: Context) -> dict[str, Any]:
        return {"rich": ctx.ask("it", "?", answer=Reply)}

    flow = asking(body, store)
    flow.run({}, run_id="r")
    with pytest.raises((AnswerError, RunFailedError), match="do not shout"):
        flow.answer("r", {"text": "loud!"})  # it is best refused before the run wakes
    if flow.get("r").status == "failed":
        flow.resume("r")

    assert flow.answer("r", {"text": "calm"}).state.rich == Reply(text="calm")


@pytest.mark.parametrize("answer", [None, "", 0, [], False])
def test_an_empty_answer_is_an_answer(answer: Any, store: Any) -> None:
    """A null and other empty values end the waiting."""
    seen: list[Any] = []
    flow = asking(lambda s, ctx: seen.append(ctx.ask("it", "?")), store)
    flow.run({}, run_id="r")

    assert flow.answer("r", answer).status == "done"
    assert seen == [answer]


@pytest.mark.parametrize("key", ["", "  ", "a#1", "a/b", "a:b", "m[0]", 3])
def test_a_key_that_cannot_be_one(key: str, store: Any) -> None:
    """It is the node's error; nothing is asked."""
    flow = asking(lambda s, ctx: ctx.ask(key, "?"), store)
    with pytest.raises(RunFailedError, match=r"AnswerError: ctx\.ask.*must be a name"):
        flow.run({}, run_id="r")

    assert list(flow.get("r").questions) == []


def test_one_key_asks_for_one_type(store: Any) -> None:
    """A body that asks for another type under the same key would get the first one's answer."""

    def body(state: State, ctx: Context) -> dict[str, Any]:
        first = ctx.ask("k", "How many?", answer=int)
        return {"n": first + ctx.ask("k", "How many?", answer=kinds.pop())}

    kinds: list[Any] = [int, Literal["x"]]
    flow = asking(body, store)
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError) as failed:
        flow.answer("r", 3)
    assert isinstance(failed.value.__cause__, AnswerError)
    for word in ("ctx.ask('k', answer=typing.Literal['x'])", "answer=<class 'int'> before"):
        assert word in str(failed.value)
    assert flow.resume("r").state.n == 6  # the same type may be asked for twice


def test_one_key_asks_one_thing(store: Any) -> None:
    """Other words under the same key are refused: a yes to one thing is no yes to another."""

    def body(state: State, ctx: Context) -> dict[str, Any]:
        log = [ctx.ask(key.format(x), f"Delete {x}?", answer=str) for x in "AB"]
        return {"log": [*log, ctx.ask(key.format("B"), "Delete B?", answer=str)]}

    key = "ok"
    flow = asking(body, store)
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError) as failed:
        flow.answer("r", "yes")
    assert isinstance(failed.value.__cause__, AnswerError)
    for word in ("'Delete B?'", "'Delete A?' before", "as f'ok-{item}'"):
        assert word in str(failed.value)

    key = "ok-{}"
    assert flow.resume("r").questions[-1].prompt == "Delete A?"
    flow.answer("r", "yes", key="one:ok-A")
    run = flow.answer("r", "no", key="one:ok-B")
    assert run.state.log == ["yes", "no", "no"]  # the same question has the same answer


def test_ask_in_async_nodes(store: Any) -> None:
    """An async body asks as a plain one does, in `run` and `arun`."""

    async def body(state: State, ctx: Context) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"reply": ctx.ask("it", "?", answer=str)}

    flow = asking(body, store)
    flow.run({}, run_id="r")
    assert flow.answer("r", "one").state.reply == "one"

    async def main() -> str:
        assert (await flow.arun({}, run_id="a")).reason == "question"
        return (await flow.aanswer("a", "two")).state.reply

    assert asyncio.run(main()) == "two"


def test_ask_in_a_task_group(store: Any) -> None:
    """The pause is unwrapped from exception groups: all that was asked at once is open at once."""

    async def one(ctx: Context, key: str) -> str:
        return ctx.ask(key, "?", answer=str)

    async def body(state: State, ctx: Context) -> dict[str, Any]:
        async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
            tasks = [inner.create_task(one(ctx, "a")), inner.create_task(one(ctx, "b"))]
            tasks.append(outer.create_task(one(ctx, "c")))
        return {"log": [task.result() for task in tasks]}

    flow = asking(body, store)
    run = flow.run({}, run_id="r")
    assert (run.status, run.reason) == ("paused", "question")
    assert sorted(q.name for q in run.questions) == ["a", "b", "c"]
    for key in "cab":
        run = flow.answer("r", key.upper(), key=key)

    assert (run.status, run.state.log) == ("done", ["A", "B", "C"])
    assert run.attempts == []


def test_a_failure_beside_a_pause_in_a_task_group_is_told_as_it_is(store: Any) -> None:
    """One child asks and another fails: the failure is the body's, nobody swallowed a pause."""

    async def ask(ctx: Context) -> None:
        ctx.ask("it", "?")

    async def fail() -> None:
        raise LookupError("its own failure")

    async def body(state: State, ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(ctx))
            group.create_task(fail())

    flow = asking(body, store)
    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="r")

    assert "caught the pause" not in str(caught.value)
    assert "its own failure" in flow.get("r").attempts[0].traceback


@pytest.mark.parametrize("error", [Exception, RuntimeError, GraphflowError])
def test_check_16_except_exception_around_a_pause_does_not_catch_it(error: Any, store: Any) -> None:
    """`except Exception` in a node around a question cannot swallow it."""

    def body(state: State, ctx: Context) -> dict[str, Any]:
        try:
            return {"reply": ctx.ask("it", "?", answer=str)}
        except error:
            return {"reply": "swallowed"}

    flow = asking(body, store)
    assert flow.run({}, run_id="r").reason == "question"
    assert flow.answer("r", "real").state.reply == "real"


def swallow_and_return(state: State, ctx: Context) -> dict[str, Any]:
    try:
        return {"reply": ctx.ask("it", "?")}
    except BaseException:  # noqa: BLE001 - the mistake that is looked for
        return {"reply": "swallowed"}


def swallow_in_finally(state: State, ctx: Context) -> dict[str, Any]:
    try:
        ctx.ask("it", "?")
    finally:
        return {"reply": "swallowed"}  # noqa: B012 - the mistake that is looked for


def swallow_and_raise(state: State, ctx: Context) -> None:
    try:
        ctx.ask("it", "?")
    except BaseException:  # noqa: BLE001 - the mistake that is looked for
        raise ValueError("another") from None


async def swallow_in_gather(state: State, ctx: Context) -> dict[str, Any]:
    async def ask() -> None:
        ctx.ask("it", "?")

    await asyncio.gather(ask(), return_exceptions=True)
    return {"reply": "swallowed"}


@pytest.mark.parametrize(
    "body", [swallow_and_return, swallow_in_finally, swallow_and_raise, swallow_in_gather]
)
def test_a_body_that_swallows_the_pause_is_an_error(body: Any, store: Any) -> None:
    """The node fails with words that say what to do; its update is not taken."""
    flow = asking(body, store)
    with pytest.raises(RunFailedError, match=r"caught the pause of ctx\.ask\('it'\)"):
        flow.run({}, run_id="r")

    run = flow.get("r")
    assert (run.status, run.state.reply) == ("failed", "")


def test_a_pause_is_no_failure(store: Any) -> None:
    """Retries, fallbacks and escalations do not see it."""
    ran: list[int] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        ran.append(ctx.attempt)
        return {"reply": ctx.ask("it", "?", answer=str)}

    flow = asking(body, store, retry=Retry(attempts=5, on=Exception), escalate=Escalate())
    assert flow.run({}, run_id="r").reason == "question"
    assert ran == [1]
    assert flow.answer("r", "x").state.reply == "x"
    assert ran == [1, 1]


def test_a_pause_does_not_hold_up_siblings(store: Any) -> None:
    """All tasks of the step finish; then the run pauses."""
    ran: list[str] = []
    bodies: dict[str, Any] = {
        "a": lambda s, ctx: ctx.ask("it", "?") and None,
        "b": lambda s: ran.append("b"),
        "c": lambda s, ctx: ctx.ask("it", "?") and None,
    }
    flow = graph_of(**bodies).compile(store)
    run = flow.run({}, run_id="r")

    assert run.open == {"a": "asking", "b": "done", "c": "asking"}
    assert sorted(q.id for q in run.questions) == ["a:it", "c:it"]
    with pytest.raises(AnswerError, match="several open questions"):
        flow.answer("r", 1, key="it")
    flow.answer("r", 1, key="c:it")
    assert flow.answer("r", 1, key="it").status == "done"
    assert ran == ["b"]


def test_open_questions_stand_in_the_order_of_the_tasks(store: Any) -> None:
    """Whichever body asked first, the order is that of declaration (S2)."""

    def first(state: State, ctx: Context) -> None:
        while not flow.get("r").questions:  # until the other one has asked
            threading.Event().wait(0.001)
        ctx.ask("it", "?")

    flow = graph_of(a=first, b=lambda s, ctx: ctx.ask("it", "?") and None).compile(store)
    run = flow.run({}, run_id="r")

    assert [q.id for q in run.questions] == ["a:it", "b:it"]
    with pytest.raises(AnswerError, match=r"\['a:it', 'b:it'\]"):
        flow.answer("r", 1)


# ------------------------------------------------------------------- in Sends, maps, subgraphs


def sends(
    target: Callable[[StateGraph[State]], None], *inputs: dict[str, Any]
) -> StateGraph[State]:
    """Make a graph that sends to a node `w`."""
    graph = StateGraph(State, name="sends")
    graph.add_node("first", lambda s: None)
    target(graph)
    graph.add_edge(START, "first")
    graph.add_conditional_edges(
        "first", lambda s: [Send("w", given) for given in inputs], ["w"], name="spread"
    )
    graph.add_edge("w", END)
    return graph


def test_questions_in_sends_are_told_apart(store: Any) -> None:
    """Each Send of a question node asks its own; ids are w#0, w#1; words come of its own input."""

    def question_node(graph: StateGraph[State]) -> None:
        graph.add_question("w", prompt=lambda s: f"n={s.n}", into=lambda a: {"log": [a]})

    flow = sends(question_node, {"n": 1}, {"n": 2}, {"n": 3}).compile(store)
    run = flow.run({}, run_id="r")
    assert [(q.id, q.prompt) for q in run.questions] == [
        ("w#0", "n=1"), ("w#1", "n=2"), ("w#2", "n=3")
    ]  # fmt: skip
    for key in ("w#2", "w#0", "w#1"):
        run = flow.answer("r", key, key=key)

    assert (run.status, run.state.log) == ("done", ["w#0", "w#1", "w#2"])


def test_asks_in_sends_are_told_apart(store: Any) -> None:
    """Each Send's body has its own answers and memos."""
    worked: list[int] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        double = ctx.memo("double", lambda: worked.append(state.n) or state.n * 2)
        return {"log": [f"{double}{ctx.ask('ok', f'{double}?', answer=str)}"]}

    flow = sends(lambda graph: graph.add_node("w", body), {"n": 1}, {"n": 2}).compile(store)
    run = flow.run({}, run_id="r")
    assert {(q.id, q.prompt) for q in run.questions} == {("w#0:ok", "2?"), ("w#1:ok", "4?")}
    flow.answer("r", "b", key="w#1:ok")
    run = flow.answer("r", "a")

    assert (run.status, run.state.log) == ("done", ["2a", "4b"])
    assert sorted(worked) == [1, 2]


def test_asks_in_a_map(store: Any) -> None:
    """An item asks under its own key; the other items' results are stored and not made again."""
    ran: list[int] = []

    def item(value: int, ctx: Context) -> str:
        ran.append(value)
        if value % 2:
            return f"{value}:{ctx.ask('ok', f'{value}?', answer=str)}"
        return str(value)

    graph = graph_of("m")
    graph.add_map("m", item, over="items", into="results")
    flow = graph.compile(store)
    run = flow.run({"items": [1, 2, 3, 4]}, run_id="r")
    assert (run.reason, run.open) == ("question", {"m": "asking"})
    assert sorted(q.id for q in run.questions) == ["m[0]:ok", "m[2]:ok"]
    run = flow.answer("r", "three", key="m[2]:ok")
    assert run.reason == "question"
    run = flow.answer("r", "one")

    assert run.state.results == ["1:one", "2", "3:three", "4"]
    assert sorted(ran) == [1, 1, 2, 3, 3, 4]


class Small(BaseModel):
    given: int = 0
    said: str = ""
    log: Annotated[list[str], append] = Field(default_factory=list)


def small(**how: Any) -> StateGraph[Small]:
    """Make a graph that asks, as a node of another."""
    graph = StateGraph(Small, name="small")
    graph.add_node("before", lambda s: {"log": [f"before {s.given}"]})
    graph.add_question("ask", **{"prompt": lambda s: f"{s.given}?", "into": "said", **how})
    graph.add_node("after", lambda s: {"log": [f"after {s.said}"]})
    for source, target in (START, "before"), ("before", "ask"), ("ask", "after"), ("after", END):
        graph.add_edge(source, target)
    return graph


def test_a_question_in_a_subgraph(store: Any) -> None:
    """Its id has the path; the answer continues inside the child, which goes on to its end."""
    graph = graph_of("sub")
    graph.add_node("sub", small(), input={"given": "n"}, output={"reply": "said", "log": "log"})
    flow = graph.compile(store)
    run = flow.run({"n": 4}, run_id="r")
    assert (run.status, run.reason, run.open) == ("paused", "question", {"sub": "asking"})
    child = run.children["1:sub"]
    assert (child.status, child.reason, child.questions[0].prompt) == ("paused", "question", "4?")
    with pytest.raises(AnswerError, match="sub/ask"):
        flow.answer("r", "x", key="sub/aks")
    with pytest.raises(AnswerError):
        flow.answer("r", 7, key="sub/ask")

    run = flow.answer("r", "fine", key="sub/ask")
    assert (run.status, run.state.reply) == ("done", "fine")
    assert run.state.log == ["before 4", "after fine"]
    assert run.children["1:sub"].status == "done"


def test_questions_in_subgraphs_that_were_sent(store: Any) -> None:
    """sub#0/ask and sub#1/ask are answered one by one; each child goes on by itself."""
    graph = StateGraph(State, name="sends")
    graph.add_node("first", lambda s: None)
    graph.add_node("w", small(), input={"given": "n"}, output={"log": "log"})
    graph.add_edge(START, "first")
    graph.add_conditional_edges(
        "first", lambda s: [Send("w", {"n": 1}), Send("w", {"n": 2})], ["w"], name="spread"
    )
    graph.add_edge("w", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match=r"'w#0/ask', 'w#1/ask'"):
        flow.answer("r", "x")
    run = flow.answer("r", "b", key="w#1/ask")
    assert run.open == {"w#0": "asking", "w#1": "done"}
    run = flow.answer("r", "a", key="ask")

    assert run.state.log == ["before 1", "after a", "before 2", "after b"]


def test_a_question_two_graphs_deep(store: Any) -> None:
    """The path names each graph on the way."""
    middle = StateGraph(Small, name="middle")
    middle.add_node("in", small(), input={"given": "given"}, output={"said": "said"})
    middle.add_edge(START, "in")
    middle.add_edge("in", END)
    graph = graph_of("sub")
    graph.add_node("sub", middle, input={"given": "n"}, output={"reply": "said"})
    flow = graph.compile(store)
    flow.run({"n": 1}, run_id="r")

    assert flow.answer("r", "deep", key="sub/in/ask").state.reply == "deep"


def test_a_question_in_a_subgraph_beside_one_in_the_parent(store: Any) -> None:
    """Both are open at once, and are answered in any order."""
    graph = graph_of("sub", "q")
    graph.add_node("sub", small(), input={"given": "n"}, output={"log": "log"})
    graph.add_question("q", prompt="?", into="reply")
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    assert run.open == {"sub": "asking", "q": "asking"}
    run = flow.answer("r", "mine", key="q")
    assert run.open == {"sub": "asking", "q": "done"}
    assert flow.answer("r", "its").state.reply == "mine"


def test_an_answer_stored_for_a_child_without_resuming(store: Any) -> None:
    """`resume=False` of a subgraph's question: the run stays paused, a resume goes on inside."""
    graph = graph_of("sub")
    graph.add_node("sub", small(), input={"given": "n"}, output={"reply": "said"})
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    run = flow.answer("r", "later", resume=False)
    assert (run.status, run.reason, run.open) == ("paused", "question", {"sub": "asking"})

    assert flow.resume("r").state.reply == "later"


# -------------------------------------------------------------------------- who, and how often


def test_the_first_right_answer_wins(store: Any) -> None:
    """A second answer is refused and changes nothing."""
    flow = question().compile(store)
    flow.run({}, run_id="r")
    flow.answer("r", "first", resume=False)
    with pytest.raises(AnswerError, match="waits for no answer any more"):
        flow.answer("r", "second")

    assert flow.resume("r").state.reply == "first"


@pytest.mark.parametrize("state", ["done", "cancelled", "failed", "limit"])
def test_an_answer_to_a_run_that_asks_nothing(state: str, store: Any) -> None:
    """It is refused with how the run stands."""
    if state == "failed":
        flow: Flow[State] = asking(lambda s: 1 / 0, store)
        with pytest.raises(RunFailedError):
            flow.run({}, run_id="r")
    else:
        flow = question().compile(store)
        flow.run({}, run_id="r", limits=Limits(steps=1))
        if state == "cancelled":
            flow.cancel("r")
        else:
            flow.answer("r", "x")
        if state == "done":
            flow.resume("r", limits=Limits(steps=5))
    status = "paused" if state == "limit" else state
    with pytest.raises(AnswerError, match=rf"asks nothing: it is {status}"):
        flow.answer("r", "late")

    assert flow.get("r").status == status


def test_two_threads_answer_at_once(store: Any) -> None:
    """One answer is stored, and the run has it; the other is refused."""
    for turn in range(20):
        flow = question().compile(store)
        flow.run({}, run_id=f"r{turn}")
        barrier, told = threading.Barrier(2), dict[str, BaseException | None]()

        def answer(word: str, turn: int = turn, flow: Flow[State] = flow) -> None:
            barrier.wait()  # noqa: B023 - joined within the turn
            try:
                flow.answer(f"r{turn}", word, resume=False)
                told[word] = None  # noqa: B023 - as above
            except (AnswerError, RunBusyError) as error:
                told[word] = error  # noqa: B023 - as above

        threads = [threading.Thread(target=answer, args=(word,)) for word in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [word for word, error in told.items() if error is None]
        assert len(winners) == 1
        assert flow.resume(f"r{turn}").state.reply == winners[0]


def test_two_threads_answer_two_questions_at_once(store: Any) -> None:
    """Both answers are stored; who gets an error can rely on it that its own was not."""
    for turn in range(20):
        graph = graph_of("a", "b")
        graph.add_question("a", prompt="a?", into="reply")
        graph.add_question("b", prompt="b?", into="n")
        flow = graph.compile(store)
        run_id = f"r{turn}"
        flow.run({}, run_id=run_id)
        barrier, refused = threading.Barrier(2), list[tuple[str, BaseException]]()

        def answer(key: str, value: Any, run_id: str = run_id, flow: Flow[State] = flow) -> None:
            barrier.wait()  # noqa: B023 - joined within the turn
            try:
                flow.answer(run_id, value, key=key)
            except RunBusyError as error:
                refused.append((key, error))  # noqa: B023 - as above

        threads = [threading.Thread(target=answer, args=pair) for pair in (("a", "x"), ("b", 5))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stored = {q.key for q in flow.get(run_id).questions if q.answer_json is not None}
        assert stored | {key for key, _ in refused} == {"a", "b"}
        for key, error in refused:
            assert key not in stored, f"{key!r} was stored, and yet: {error}"


def python(code: str, *arguments: str) -> str:
    """Run code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


OTHER = """
import sys
from tests.test_questions import question
from graphflow.errors import AnswerError
with question().compile(sys.argv[1]) as flow:
    run = flow.get("r")
    print(run.status, run.questions[0].prompt)
    try:
        flow.answer("r", 3)
    except AnswerError:
        print("refused")
    print(flow.answer("r", "from afar", resume=sys.argv[2] == "go").status)
"""


@pytest.mark.parametrize("how", ["go", "leave"])
def test_another_process_answers(how: str, tmp_path: Path) -> None:
    """Anyone can answer: another process validates, stores, and goes on or leaves it to us."""
    path = tmp_path / "runs.db"
    with question().compile(path) as flow:
        flow.run({}, run_id="r")
        told = python(OTHER, str(path), how).splitlines()
        assert told[:2] == ["paused Your reply?", "refused"]
        assert told[2] == ("done" if how == "go" else "paused")
        run = flow.resume("r")
        assert (run.status, run.state.reply) == ("done", "from afar")


def test_a_question_is_answered_after_the_file_was_closed(tmp_path: Path) -> None:
    """Days later: the run, its question and its memos come from the file alone."""
    worked: list[str] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        ctx.memo("work", lambda: worked.append("work"))
        return {"n": ctx.ask("n", "?", answer=int)}

    with asking(body, SqliteCheckpointer(tmp_path / "r.db")) as flow:
        flow.run({}, run_id="r")
    with asking(body, SqliteCheckpointer(tmp_path / "r.db")) as flow:
        assert flow.get("r").questions[0].id == "one:n"
        assert flow.answer("r", 4).state.n == 4
    assert worked == ["work"]


# ----------------------------------------------------------------------------------- ctx.memo


class Found(BaseModel):
    when: date
    pair: tuple[int, str]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_memo_is_not_made_again(is_async: bool, store: Any) -> None:
    """After a question and after a failure the stored result is given, of its type."""
    worked: list[int] = []
    seen: list[Any] = []
    value = Found(when=date(2026, 11, 22), pair=(1, "a"))

    def work() -> Found:
        worked.append(1)
        return value

    async def work_later() -> Found:
        await asyncio.sleep(0)
        return work()

    fails = [True]

    def rest(ctx: Context) -> dict[str, Any]:
        ctx.ask("it", "?")
        if fails:
            fails.clear()
            raise ValueError("once")
        return {"n": len(seen)}

    def plain(state: State, ctx: Context) -> dict[str, Any]:
        seen.append(ctx.memo("found", work, type=Found))
        return rest(ctx)

    async def later(state: State, ctx: Context) -> dict[str, Any]:
        seen.append(await ctx.memo("found", work_later, type=Found))
        return rest(ctx)

    flow = asking(later if is_async else plain, store)
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError):
        flow.answer("r", 1)
    assert flow.resume("r").state.n == 3
    assert worked == [1]
    assert seen == [value] * 3


def test_a_memo_is_not_made_again_by_a_retry(store: Any) -> None:
    """Within one process and one run the next attempt has it too."""
    worked: list[int] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        value = ctx.memo("work", lambda: worked.append(ctx.attempt) or 7, type=int)
        if ctx.attempt < 3:
            raise ConnectionError
        return {"n": value}

    flow = asking(body, store, retry=Retry(attempts=3, wait=0))

    assert flow.run({}).state.n == 7
    assert worked == [1]


def test_a_memo_belongs_to_its_step(store: Any) -> None:
    """In a loop each visit works anew; a memo of an earlier step is not found."""
    graph = StateGraph(State, name="loop")
    graph.add_node(
        "one", lambda s, ctx: {"log": [ctx.memo("x", lambda: str(len(s.log)), type=str)]}
    )
    graph.add_edge(START, "one")
    graph.add_conditional_edges(
        "one", lambda s: END if len(s.log) > 2 else "one", ["one", END], name="again"
    )

    assert graph.compile(store).run({}).state.log == ["0", "1", "2"]


def test_a_late_body_leaves_no_memo_for_the_next_step(store: Any) -> None:
    """What a body that ran out of time remembers too late is not given to a later step."""
    go, stored = threading.Event(), threading.Event()

    def one(state: State, ctx: Context) -> dict[str, Any]:
        if ctx.step == 1:
            assert go.wait(20)
            try:
                ctx.memo("x", lambda: "of the late body", type=str)
            finally:
                stored.set()
            return {}
        go.set()
        assert stored.wait(20)
        return {"reply": ctx.memo("x", lambda: "its own", type=str)}

    graph = StateGraph(State, name="late")
    graph.add_node("one", one, timeout=0.3, fallback="other")
    graph.add_node("other", lambda s: None)
    graph.add_edge(START, "one")
    graph.add_edge("one", END)
    graph.add_edge("other", "one")
    run = graph.compile(store).run({})

    assert (run.status, run.path, run.state.reply) == ("done", ["one", "other", "one"], "its own")


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: 0], ids=["object", "set", "function"])
def test_a_memo_that_cannot_be_stored(value: Any, store: Any) -> None:
    """It is the node's error, and names the memo."""
    flow = asking(lambda s, ctx: ctx.memo("thing", lambda: value), store)
    with pytest.raises(RunFailedError, match=r"ctx\.memo\('thing'\)"):
        flow.run({})


def test_a_memo_of_something_to_await(store: Any) -> None:
    """A plain function that gives a coroutine is told how to do it; nothing is left unawaited."""

    async def work() -> int:
        return 1

    def mistaken() -> Any:
        made.append(work())
        return made[0]

    made: list[Any] = []
    flow = asking(lambda s, ctx: ctx.memo("x", mistaken), store)
    with pytest.raises(RunFailedError, match="pass the async function"):
        flow.run({})
    gc.collect()
    assert made[0].cr_frame is None, "it was not closed"


MEMO_CRASH = """
import os, sys
from pathlib import Path
from tests.test_questions import asking
from graphflow.checkpoint.sqlite import SqliteCheckpointer
ledger = Path(sys.argv[2])
def work():
    ledger.write_text(ledger.read_text() + "worked ")
    return 5
def body(state, ctx):
    value = ctx.memo("work", work, type=int)
    if sys.argv[3] == "crash":
        os._exit(0)
    return {"n": value}
ledger.touch()
flow = asking(body, SqliteCheckpointer(sys.argv[1]))
run = flow.run({}, run_id="r") if sys.argv[3] == "crash" else flow.resume("r")
print(run.status, run.state.n, ledger.read_text())
"""


def test_a_memo_is_not_made_again_after_a_crash(tmp_path: Path) -> None:
    """The process dies behind the memo; another resumes, and has the result."""
    database, ledger = str(tmp_path / "r.db"), str(tmp_path / "ledger")
    assert python(MEMO_CRASH, database, ledger, "crash") == ""

    assert python(MEMO_CRASH, database, ledger, "resume") == "done 5 worked"


# ---------------------------------------------------------------------------------- deadlines


def test_a_deadline_answers_with_its_default(store: Any) -> None:
    """From then on anybody who resumes lets the default answer; it says that the deadline did."""
    flow = question(deadline=1e-6, default="silence").compile(store)
    assert flow.run({}, run_id="r").reason == "question"
    run = flow.resume("r")

    assert (run.status, run.state.reply) == ("done", "silence")
    assert run.questions[0].answered_by == "deadline"


def test_a_deadline_that_has_not_passed_waits(store: Any) -> None:
    """Before it, `resume` leaves the run paused; an answer counts as always."""
    flow = question(deadline=3600, default="silence").compile(store)
    flow.run({}, run_id="r")
    run = flow.resume("r")
    assert (run.status, run.questions[0].answer_json) == ("paused", None)
    assert run.questions[0].deadline is not None

    run = flow.answer("r", "in time")
    assert (run.state.reply, run.questions[0].answered_by) == ("in time", "person")


def test_an_answer_after_the_deadline_that_nobody_noticed(store: Any) -> None:
    """Nobody resumed since: the person's answer is the first, and wins."""
    flow = question(deadline=1e-6, default="silence").compile(store)
    flow.run({}, run_id="r")

    assert flow.answer("r", "late but first").state.reply == "late but first"


@pytest.mark.parametrize(
    "face",
    [
        "run",
        "advance",
        "stream",
        "aresume",
    ],
)
def test_each_way_of_going_on_knows_the_deadline(face: str, store: Any) -> None:
    """Going on with a run by its id, by any face, answers what is overdue."""
    flow = question(deadline=1e-6, default="silence").compile(store)
    flow.run({}, run_id="r")
    if face == "run":
        flow.run({}, run_id="r")
    elif face == "advance":
        flow.advance("r", steps=5)
    elif face == "stream":
        list(flow.stream(run_id="r"))
    else:
        asyncio.run(flow.aresume("r"))

    assert (flow.get("r").status, flow.get("r").state.reply) == ("done", "silence")


def test_a_deadline_in_a_subgraph(store: Any) -> None:
    """The parent's resume answers for the child; other questions stay open."""
    graph = graph_of("sub", "q")
    asked = small(deadline=1e-6, default="silence")
    graph.add_node("sub", asked, input={"given": "n"}, output={"log": "log"})
    graph.add_question("q", prompt="?", into="reply")
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    run = flow.resume("r")
    assert run.open == {"sub": "done", "q": "asking"}

    assert flow.answer("r", "x").state.log == ["before 0", "after silence"]


@pytest.mark.parametrize("how", [{"deadline": 5}, {"default": "x"}])
def test_a_deadline_and_a_default_belong_together(how: dict[str, Any]) -> None:
    """One without the other is refused where it is written."""
    with pytest.raises(DefinitionError, match="belong together"):
        question(**how)


def test_a_default_that_does_not_fit(store: Any) -> None:
    """It is found before the run waits for it: at compile, or when the question is asked."""
    with pytest.raises((GraphflowError, RunFailedError), match="many"):
        question(into="n", deadline=1e-6, default="many").compile(store).run({})


# -------------------------------------------------------------------------------- escalations


class Flaky:
    """A body that fails as often as told."""

    def __init__(self, fails: int) -> None:
        self.fails, self.ran = fails, 0

    def __call__(self, state: State) -> dict[str, Any]:
        self.ran += 1
        if self.ran <= self.fails:
            raise LookupError(f"failure {self.ran}")
        return {"reply": "worked", "log": ["body"]}


def test_an_escalation_tells_what_failed(store: Any) -> None:
    """When the retries are used up the run pauses with a question about the error."""
    body = Flaky(9)
    flow = asking(body, store, retry=Retry(attempts=2, on=LookupError, wait=0), escalate=Escalate())
    run = flow.run({}, run_id="r")
    asked = run.questions[0]

    assert (run.status, run.reason, run.open) == ("paused", "question", {"one": "asking"})
    assert (asked.kind, asked.id, body.ran) == ("escalation", "one", 2)
    assert "failure 2" in asked.prompt
    assert '"attempts": 2' in str(asked.details_json)
    assert len(run.attempts) == 2


def test_an_escalation_answered_retry(store: Any) -> None:
    """The node runs again, with all its retries; when it works the run goes on, recovered."""
    flow = asking(Flaky(1), store, escalate=Escalate())
    flow.run({}, run_id="r")
    run = flow.answer("r", "retry")

    assert (run.status, run.state.reply, run.recovered) == ("done", "worked", True)


def test_an_escalation_answered_retry_again_and_again(store: Any) -> None:
    """Each failure asks anew; each question has its own answer."""
    flow = asking(Flaky(3), store, escalate=Escalate())
    run = flow.run({}, run_id="r")
    for _ in range(3):
        assert (run.status, run.reason) == ("paused", "question")
        run = flow.answer("r", "retry")

    assert (run.status, len(run.questions), len(run.attempts)) == ("done", 3, 3)


def test_an_escalation_answered_skip(store: Any) -> None:
    """The run goes on without the node's update, and its edges are taken."""
    body = Flaky(9)
    graph = StateGraph(State, name="skip")
    graph.add_node("one", body, escalate=Escalate())
    graph.add_node("two", lambda s: {"log": ["two"]})
    for source, target in (START, "one"), ("one", "two"), ("two", END):
        graph.add_edge(source, target)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    run = flow.answer("r", "skip")

    assert (run.status, run.state.log, run.path) == ("done", ["two"], ["one", "two"])
    assert body.ran == 1


@pytest.mark.parametrize(("verdict", "retries"), [("skip", 1), ("retry", 2)])
def test_what_an_escalated_node_took_is_told_alike_everywhere(
    store: Any, verdict: str, retries: int
) -> None:
    """Two attempts are one retry, unless a third execution follows; their time counts."""
    flow = asking(
        Flaky(2), store, retry=Retry(attempts=2, on=LookupError, wait=0), escalate=Escalate()
    )
    flow.run({}, run_id="r")
    run = flow.answer("r", verdict)
    drawn = run.draw().picture
    node = next(node for node in drawn.nodes if node.name == "one")

    assert (run.status, run.recovered, node.retries) == ("done", True, retries)
    assert f"↻{retries}" in str(run)
    assert drawn.summary.endswith("1 retry" if retries == 1 else "2 retries")
    ran = [*run.attempts, *run.steps[1].tasks]
    assert node.duration_ms == wall_ms(ran) > 0
    assert run.steps[1].tasks[0].attempts == retries + 1


def test_an_escalation_answered_fail(store: Any) -> None:
    """The run fails as it would have; a resume runs the node again."""
    body = Flaky(1)
    flow = asking(body, store, escalate=Escalate())
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError, match="failure 1"):
        flow.answer("r", "fail")
    assert (flow.get("r").status, body.ran) == ("failed", 1)

    assert flow.resume("r").state.reply == "worked"


def test_an_escalation_answered_with_a_value(store: Any) -> None:
    """With `into` the answer is what the node could not give, typed as the field."""
    flow = asking(Flaky(9), store, escalate=Escalate(into="n"))
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError):
        flow.answer("r", "retry")

    assert flow.answer("r", 12).state.n == 12


@pytest.mark.parametrize("wrong", ["Retry", "", None, 3, ["retry"], {"a": 1}])
def test_a_verdict_that_is_none(wrong: Any, store: Any) -> None:
    """Only retry, skip and fail are taken; the message says so."""
    flow = asking(Flaky(9), store, escalate=Escalate())
    flow.run({}, run_id="r")
    with pytest.raises(AnswerError, match="retry, skip, fail"):
        flow.answer("r", wrong)

    assert flow.get("r").status == "paused"


def test_an_escalation_after_a_question_of_the_body(store: Any) -> None:
    """The body asked, was answered, and then failed: the escalation is a question of its own."""
    fails = [True]

    def body(state: State, ctx: Context) -> dict[str, Any]:
        said = ctx.ask("it", "?", answer=str)
        if fails:
            fails.clear()
            raise LookupError
        return {"reply": said}

    flow = asking(body, store, escalate=Escalate())
    flow.run({}, run_id="r")
    run = flow.answer("r", "said")
    assert [q.kind for q in run.questions] == ["ask", "escalation"]

    assert flow.answer("r", "retry").state.reply == "said"


def test_an_escalated_map(store: Any) -> None:
    """Its question is the map's; retry runs the missing items only."""
    ran: list[int] = []

    def item(value: int) -> str:
        ran.append(value)
        if value == 2 and ran.count(2) == 1:
            raise LookupError("item two")
        return str(value)

    graph = graph_of("m")
    graph.add_map("m", item, over="items", into="results", escalate=Escalate())
    flow = graph.compile(store)
    run = flow.run({"items": [1, 2, 3]}, run_id="r")
    assert [q.id for q in run.questions] == ["m"]
    run = flow.answer("r", "retry")

    assert run.state.results == ["1", "2", "3"]
    assert sorted(ran) == [1, 2, 2, 3]


def test_an_escalated_map_that_was_failed_on_purpose_resumes(store: Any) -> None:
    """After the verdict fail a resume runs the missing items, each with its own item."""
    ran: list[Any] = []

    def item(value: int) -> str:
        ran.append(value)
        if value == 2 and ran.count(2) == 1:
            raise LookupError("item two")
        return str(value)

    graph = graph_of("m")
    graph.add_map("m", item, over="items", into="results", escalate=Escalate())
    flow = graph.compile(store)
    flow.run({"items": [1, 2, 3]}, run_id="r")
    with pytest.raises(RunFailedError):
        flow.answer("r", "fail")

    assert flow.resume("r").state.results == ["1", "2", "3"]
    assert ran == [1, 2, 3, 2]


def test_an_escalated_subgraph_is_tried_again(store: Any) -> None:
    """The verdict retry runs what failed inside the child again."""
    body = Flaky(1)
    child = StateGraph(State, name="child")
    child.add_node("in", body)
    child.add_edge(START, "in")
    child.add_edge("in", END)
    graph = graph_of("sub")
    graph.add_node("sub", child, input={"n": "n"}, output={"reply": "reply"}, escalate=Escalate())
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    assert [q.id for q in run.questions] == ["sub"]
    run = flow.answer("r", "retry")

    assert (run.status, run.state.reply, body.ran) == ("done", "worked", 2)


def test_escalations_beside_others(store: Any) -> None:
    """A failed sibling without an escalation fails the run; both are told of."""
    graph = StateGraph(State, name="asks")
    graph.add_node("a", Flaky(9), escalate=Escalate())
    graph.add_node("b", Flaky(9))
    for name in "ab":
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    run = flow.get("r")

    assert run.open == {"a": "asking", "b": "failed"}
    assert flow.answer("r", "skip").open == {"a": "done", "b": "failed"}


def test_what_went_wrong_with_an_answer_is_a_graphflow_error() -> None:
    """One root catches all."""
    assert issubclass(AnswerError, GraphflowError)
    assert issubclass(RunBusyError, RunError)
