"""Bodies beside one that ends the run's wait: they are waited for, and what they did is kept."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Flow, StateGraph, append

LONG = 20.0


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    items: list[int] = Field(default_factory=list)


def waits_for(ready: threading.Event) -> None:
    """Go on when the other body has ended the wait."""
    assert ready.wait(LONG)


def advance(flow: Flow[State], face: str, **fields: Any) -> None:
    """Begin run "r"."""
    if face == "run":
        flow.run(fields, run_id="r")
    else:
        asyncio.run(flow.arun(fields, run_id="r"))


class Wide:
    """Side by side: "early" has ended, "late" ends after "exit" has ended the run's wait."""

    def __init__(self, error: BaseException) -> None:
        self.ran = Counter[str]()
        self.error: BaseException | None = error
        self.late_runs, self.is_over = threading.Event(), threading.Event()

    def early(self, state: State) -> dict[str, Any]:
        """End at once."""
        self.ran["early"] += 1
        return {"log": ["early"]}

    def late(self, state: State) -> dict[str, Any]:
        """End after the wait has been ended."""
        self.ran["late"] += 1
        self.late_runs.set()
        waits_for(self.is_over)
        return {"log": ["late"]}

    def exit(self, state: State) -> dict[str, Any]:
        """End the wait the first time."""
        self.ran["exit"] += 1
        waits_for(self.late_runs)
        error, self.error = self.error, None
        if error is not None:
            threading.Timer(0.05, self.is_over.set).start()  # the wait has ended long before
            raise error
        return {"log": ["exit"]}

    def flow(self, store: Any) -> Flow[State]:
        """Make the graph."""
        graph = StateGraph(State, name="wide")
        for name in ("early", "late", "exit"):
            graph.add_node(name, getattr(self, name))
            graph.add_edge(START, name)
        graph.add_edge(["early", "late", "exit"], END)
        return graph.compile(store)


@pytest.mark.parametrize("face", ["run", "arun"])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "ctrl-c"])
def test_what_siblings_did_is_kept(error: BaseException, face: str, store: Any) -> None:
    """A body that leaves ends the wait; the others are waited for and do not run again."""
    wide = Wide(error)
    flow = wide.flow(store)

    with pytest.raises(type(error)):
        advance(flow, face)

    assert (flow.get("r").status, flow.get("r").reason) == ("paused", "interrupted")
    assert flow.get("r").open == {"early": "done", "late": "done"}
    assert flow.resume("r").state.log == ["early", "late", "exit"]
    assert wide.ran == {"early": 1, "late": 1, "exit": 2}


def test_a_step_that_is_complete_after_all_is_committed(store: Any) -> None:
    """Its bodies end after the wait for them has been ended: it closes, and no other begins."""
    inside, free, ran = threading.Barrier(3), threading.Event(), list[str]()

    def body(name: str) -> Any:
        def act(state: State) -> dict[str, Any]:
            inside.wait(LONG)
            waits_for(free)
            return {"log": [name]}

        return act

    graph = StateGraph(State, name="two")
    for name in ("a", "b"):
        graph.add_node(name, body(name))
        graph.add_edge(START, name)
    graph.add_node("after", lambda _: ran.append("after"))
    graph.add_edge(["a", "b"], "after")
    graph.add_edge("after", END)
    flow = graph.compile(store)

    stream = iter(flow.stream({}, run_id="r"))
    next(stream)
    inside.wait(LONG)
    threading.Timer(0.05, free.set).start()  # closing waits for the bodies
    stream.close()  # type: ignore[attr-defined]  # it is a generator

    run = flow.get("r")
    assert (run.status, run.reason, run.path, ran) == ("paused", "interrupted", ["a", "b"], [])
    assert flow.resume("r").state.log == ["a", "b"]
    assert ran == ["after"]


@pytest.mark.parametrize("face", ["run", "arun"])
def test_items_of_a_map_that_ended_are_kept(face: str, store: Any) -> None:
    """One item leaves; those beside it are waited for, and are not scored again."""
    ran, error = Counter[int](), [SystemExit(1)]
    meet = threading.Barrier(3)

    def score(item: int) -> str:
        ran[item] += 1
        if error:
            meet.wait(LONG)
            if item == 1:
                raise error.pop()
        return str(item)

    graph = StateGraph(State, name="mapped")
    graph.add_map("score", score, over="items", into="log", max_concurrency=3)
    graph.add_edge(START, "score")
    graph.add_edge("score", END)
    flow = graph.compile(store)

    with pytest.raises(SystemExit):
        advance(flow, face, items=[0, 1, 2])

    assert flow.resume("r").state.log == ["0", "1", "2"]
    assert ran == {0: 1, 1: 2, 2: 1}


def test_a_siblings_failure_is_kept_too(store: Any) -> None:
    """It is recorded, though nobody is told of it: the run was left for another reason."""
    meet, error = threading.Barrier(2), [SystemExit(1)]

    def leaves(state: State) -> None:
        if error:
            meet.wait(LONG)
            raise error.pop()

    def fails(state: State) -> dict[str, Any]:
        if not error:
            return {"log": ["mended"]}
        meet.wait(LONG)
        raise ValueError("no luck")

    graph = StateGraph(State, name="both")
    for name, body in {"leaves": leaves, "fails": fails}.items():
        graph.add_node(name, body)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    flow = graph.compile(store)

    with pytest.raises(SystemExit):
        flow.run({}, run_id="r")

    assert [(a.key, a.error) for a in flow.get("r").attempts] == [("fails", "no luck")]
    assert flow.resume("r").state.log == ["mended"]
