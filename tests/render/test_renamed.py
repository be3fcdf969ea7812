"""Runs whose nodes were renamed under them are drawn as one graph, in today's names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel

from graphflow import END, START, Send, StateGraph, append
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.render.picture import picture


class Case(BaseModel):
    parts: list[str] = []
    answer: str = ""
    log: Annotated[list[str], append] = []


def graph_of(names: dict[str, str]) -> StateGraph[Case]:
    """Make the graph; `names` says what its nodes are called."""
    read, work, ask, tell = (names.get(name, name) for name in ("read", "work", "ask", "tell"))
    graph = StateGraph(Case, name="case")
    graph.add_node(read, lambda s: {"log": [read]})
    graph.add_node(work, lambda s: {"log": [work]})
    graph.add_question(ask, prompt="Why?", into="answer")
    graph.add_node(tell, lambda s: {"log": [tell]})

    def parts(state: Case) -> list[Any]:
        return [Send(work, {"answer": part}) for part in state.parts]

    graph.add_conditional_edges(read, parts, [work])
    graph.add_edge(START, read)
    graph.add_edge([work], ask)
    graph.add_edge(ask, tell)
    graph.add_edge(tell, END)
    for old, new in names.items():
        graph.renamed(old, new)
    return graph


def test_a_renamed_node_is_one_node() -> None:
    """The arrow to the old name leads to the new one; sends, joins and questions too."""
    store = MemoryCheckpointer()
    plain = graph_of({}).compile(MemoryCheckpointer())
    waiting = graph_of({}).compile(store).run({"parts": ["a", "b"]})
    names = {"work": "study", "ask": "inquire", "tell": "say"}

    run = graph_of(names).compile(store).answer(waiting.run_id, "because")
    straight = plain.answer(plain.run({"parts": ["a", "b"]}).run_id, "because")

    def ways(of: Any) -> list[tuple[str, str, str]]:
        drawn = picture(of.records.spec, of.records)
        return [(a.source, a.target, a.state) for a in drawn.arrows]

    def now(name: str) -> str:
        return names.get(name, name)

    assert ways(run) == [(now(a), now(b), state) for a, b, state in ways(straight)]
    assert {node.name for node in picture(run.records.spec, run.records).nodes} == {
        *(START, "read", "study", "inquire", "say", END)
    }
    assert "study \N{MULTIPLICATION SIGN}2" in str(run)
    assert run.path == ["read", "work", "work", "inquire", "say"]  # what was committed stays


def test_renamed_twice_and_given_away() -> None:
    """A node renamed twice has its last name, also when its first one is another node's by then."""

    def chat(first: str, then: str, *renames: tuple[str, str]) -> StateGraph[Case]:
        graph = StateGraph(Case, name="chat")
        graph.add_question(first, prompt="A?", into="answer")
        graph.add_question(then, prompt="B?", into="answer")
        graph.add_edge(START, first)
        graph.add_edge(first, then)
        graph.add_edge(then, END)
        for old, new in renames:
            graph.renamed(old, new)
        return graph

    store = MemoryCheckpointer()
    chat("a", "b").compile(store).run({}, run_id="r")
    chat("x", "b", ("a", "x")).compile(store).answer("r", "one")
    run = chat("y", "a", ("x", "y"), ("b", "a")).compile(store).answer("r", "two")

    drawn = picture(run.records.spec, run.records)

    assert run.status == "done"
    assert [(a.source, a.target, a.state) for a in drawn.arrows] == [
        (START, "y", "ran"),
        ("y", "a", "ran"),
        ("a", END, "ran"),
    ]
