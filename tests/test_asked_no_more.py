"""What is asked inside of a task that has fallen back since: nobody waits for it any more (S16)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from graphflow import END, START, Flow, StateGraph
from graphflow.answering import find_open, open_questions
from graphflow.cli.asked import all_asked
from graphflow.errors import AnswerError


class State(BaseModel):
    said: str | None = None


def breaks(state: State) -> None:
    raise OSError("gone")


def connect(graph: StateGraph[State], *names: str) -> None:
    """Run nodes side by side."""
    for name in names:
        graph.add_edge(START, name)
        graph.add_edge(name, END)


def asked(store: Any) -> Flow[State]:
    """Begin a run whose child asks with a deadline and fails, beside a question that is open."""
    child = StateGraph(State, name="child")
    child.add_question("q", prompt="in?", into="said", deadline=1e-6, default="late")
    child.add_node("x", breaks)
    connect(child, "q", "x")
    graph = StateGraph(State, name="parent")
    graph.add_node("sub", child, input={}, output={}, fallback="plain")
    graph.add_node("plain", lambda state: None)
    graph.add_question("q", prompt="out?", into="said")
    connect(graph, "sub", "q")
    graph.add_edge("plain", END)
    flow = graph.compile(store)
    assert flow.run({}, run_id="r").open == {"sub": "fallback", "q": "asking"}
    return flow


def test_it_is_not_listed(store: Any) -> None:
    """Neither from the end of a run nor from all its records; its words can still be read."""
    flow = asked(store)

    assert [one.id for one in find_open(store, store.load("r", tail=True))] == ["q"]
    assert [one.id for one in open_questions(store.load("r"))] == ["q"]
    told = [(one.key, one.is_open) for one in all_asked(flow.get("r").records)]
    assert told == [("q", True), ("sub/q", False)]


def test_it_takes_no_answer(store: Any) -> None:
    """Neither a person's, nor the default's when its deadline has passed."""
    flow = asked(store)

    with pytest.raises(AnswerError, match="no open question 'sub/q'"):
        flow.answer("r", "yes", key="sub/q")
    flow.resume("r")
    run = flow.answer("r", "yes")

    assert (run.status, run.path) == ("done", ["sub", "q", "plain"])
    assert [q.answer_json for q in run.children["1:sub"].questions] == [None]


def test_it_is_drawn_as_cancelled(store: Any) -> None:
    """While the run waits, and when it is done; what has failed in there stays failed."""
    flow = asked(store)

    for text in (flow.get("r").draw().text, flow.answer("r", "yes").draw().text):
        assert "q  cancelled" in text
        assert "x  failed · OSError: gone" in text
