"""A graph whose every step can be foreseen, however often its run stops and goes on."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from graphflow import START, Context, StateGraph, append
from graphflow.checkpoint.memory import MemoryCheckpointer

__all__ = ["Straight", "graph", "straight"]


class Trip(BaseModel):
    """What the graph works on."""

    rounds: int
    done: int = 0
    left: int = 0
    notes: Annotated[list[str], append] = Field(default_factory=list)
    said: str = ""


class Straight(BaseModel):
    """What a run does that nothing stops: of each step what ran in it, and the values after it."""

    nodes: list[list[str]]
    values: list[dict[str, Any]]

    @property
    def last(self) -> int:
        """The last step."""
        return len(self.nodes) - 1

    def asks(self, step: int) -> bool:
        """Tell whether a step is a question."""
        return step <= self.last and self.nodes[step] == ["ask"]


@cache
def graph() -> StateGraph[Trip]:
    """Make a loop: two tasks side by side, their join, and in every second round a question."""
    made = StateGraph(Trip, name="trip")

    @made.node
    def west(state: Trip, ctx: Context) -> Any:
        found = ctx.memo("found", lambda: f"west {state.done}", type=str)
        return {"notes": [found], "left": state.rounds - state.done}

    @made.node
    def east(state: Trip) -> Any:
        return {"notes": [f"east {state.done} {state.said}" + "x" * (200 * (state.done % 2))]}

    made.add_node("both", lambda state: {"done": state.done + 1})
    made.add_question("ask", prompt="where to?", answer=str, into="said")
    made.add_edge(START, "west")
    made.add_edge(START, "east")
    made.add_edge(["west", "east"], "both")

    @made.decision("both")
    def onward(state: Trip) -> list[Literal["west", "east", "ask", "__end__"]]:
        if state.done >= state.rounds:
            return ["__end__"]
        return ["ask"] if state.done % 2 else ["west", "east"]

    made.add_edge("ask", "west")
    made.add_edge("ask", "east")
    return made


@cache
def straight(rounds: int) -> Straight:
    """Run it without a stop; each question is answered by its step."""
    flow = graph().compile(MemoryCheckpointer())
    run = flow.run({"rounds": rounds})
    while run.status == "paused":
        run = flow.answer(run.run_id, f"answer {len(run.steps)}")
    assert run.status == "done"
    return Straight(
        nodes=[sorted(task.node for task in step.tasks) for step in run.steps],
        values=[run.state_at(step.step).model_dump() for step in run.steps],
    )
