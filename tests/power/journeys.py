"""Runs that use what a store can do; started again after a cut, they come to the same end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from graphflow import END, START, Context, Retry, StateGraph, append
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.flow import Flow
from graphflow.upkeep import Wish

__all__ = ["JOURNEYS", "Ends"]

Ends = dict[str, Any]
"""What each run has come to: its status and its values."""


class Work(BaseModel):
    """What all graphs here work on."""

    rounds: int = 0
    name: str = ""
    notes: Annotated[list[str], append] = Field(default_factory=list)
    items: list[int] = Field(default_factory=list)
    squares: list[int] = Field(default_factory=list)
    said: str = ""


class Word(BaseModel):
    """The state of a child."""

    text: str
    letters: Annotated[list[str], append] = Field(default_factory=list)


@cache
def looping() -> StateGraph[Work]:
    """Make a loop of as many rounds as are asked for."""
    graph = StateGraph(Work, name="looping")

    @graph.node
    def work(state: Work) -> Any:
        return {"rounds": state.rounds - 1, "notes": [f"{state.name} {state.rounds} " + "x" * 300]}

    @graph.decision("work")
    def again(state: Work) -> Literal["work", "__end__"]:
        return "work" if state.rounds > 0 else END

    graph.add_edge(START, "work")
    return graph


@cache
def wide() -> StateGraph[Work]:
    """Make a graph with side by side tasks, a memo, a map, a child, a retry and a question."""
    child = StateGraph(Word, name="spelling")
    child.add_node("spell", lambda word: {"letters": list(word.text)})
    child.add_edge(START, "spell")
    child.add_edge("spell", END)

    graph = StateGraph(Work, name="wide")

    @graph.node
    def memoed(state: Work, ctx: Context) -> Any:
        found = ctx.memo("found", lambda: f"{state.name} found", type=str)
        return {"notes": [found]}

    @graph.node(retry=Retry(attempts=3, wait=0, on=ValueError))
    def shaky(state: Work, ctx: Context) -> Any:
        if ctx.attempt < 2:
            raise ValueError("not yet")
        return {"notes": ["shaky"]}

    graph.add_map("squares", lambda n: n * n, over="items", into="squares")
    graph.add_node(
        "spelt", child, input={"text": "name"}, output=lambda word: {"notes": word.letters}
    )
    graph.add_question("ask", prompt="who?", answer=str, into="said")
    graph.add_node("last", lambda s: {"notes": [f"{s.said} {sum(s.squares)}"]})
    sides = ["memoed", "shaky", "squares", "spelt"]
    for side in sides:
        graph.add_edge(START, side)
    graph.add_edge(sides, "ask")
    graph.add_edge("ask", "last")
    graph.add_edge("last", END)
    return graph


def loop(store: Any) -> Ends:
    """Run a loop to its end, and then another one: the log is emptied in between."""
    flow = looping().compile(store)
    given = {"rounds": 12, "name": "loop"}
    return _ends([flow.run(given, run_id=f"loop-{n}") for n in range(2)])


def widely(store: Any) -> Ends:
    """Run to the question, answer it, and fork the run."""
    flow = wide().compile(store)
    run = flow.run({"name": "wide", "items": [1, 2, 3]}, run_id="wide")
    if run.status == "paused":
        run = flow.answer("wide", "me")
    other = looping().compile(store)
    if not any(run.run_id == "stopped" for run in other.runs()):
        other.start({"rounds": 3, "name": "stopped"}, run_id="stopped")
    if other.get("stopped").status != "cancelled":
        other.cancel("stopped")
    return _ends([run, other.get("stopped"), _fork(flow, "wide", 1)])


def _fork(flow: Flow[Work], run_id: str, step: int) -> Any:
    """Fork a run, or go on with the fork that is there."""
    there = [run for run in flow.runs() if run.header.fork_of == run_id]
    if not there:
        fork = flow.fork(run_id, step, update={"name": "other"})
    elif there[0].status == "done":
        return there[0]
    else:
        fork = flow.resume(there[0].run_id)
    return flow.answer(fork.run_id, "you") if fork.status == "paused" else fork


def crowd(store: Any) -> Ends:
    """Run several at once in threads: their commits share transactions."""
    flow = looping().compile(store)
    names = [f"crowd-{n}" for n in range(5)]
    given = [{"rounds": 4, "name": name} for name in names]
    return _ends(flow.batch(given, run_ids=names, concurrency=5))


def loop_of_many(store: Any) -> Ends:
    """Run several at once in an event loop: their commits share transactions."""
    flow = looping().compile(store)
    names = [f"many-{n}" for n in range(6)]
    given = [{"rounds": 3, "name": name} for name in names]
    return _ends(asyncio.run(flow.abatch(given, run_ids=names, concurrency=6)))


def kept_small(store: Any) -> Ends:
    """Run, drop the oldest steps and a whole run, and give the space back."""
    flow = looping().compile(store)
    runs = []
    for n in range(2):
        runs.append(flow.run({"rounds": 8, "name": f"small-{n}"}, run_id=f"small-{n}"))
        flow.run({"rounds": 2, "name": "extra"}, run_id=f"extra-{n}")
        store.prune(Wish(steps=3))
        store.delete(f"extra-{n}")
        if isinstance(store, SqliteCheckpointer):
            store.vacuum()
    return {run.run_id: (run.status, flow.get(run.run_id).values) for run in runs}


def _ends(runs: list[Any]) -> Ends:
    return {_name(run): (run.status, run.values) for run in runs}


def _name(run: Any) -> str:
    return f"fork of {run.header.fork_of}" if run.header.fork_of else run.run_id


JOURNEYS: dict[str, Callable[[Any], Ends]] = {
    "loop": loop,
    "widely": widely,
    "crowd": crowd,
    "loop_of_many": loop_of_many,
    "kept_small": kept_small,
}
