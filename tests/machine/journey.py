"""A graph whose every step can be foreseen, however often its run stops, and its code changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from graphflow import END, START, Context, Decision, StateGraph, append

__all__ = ["FAULTS", "NAMES", "ON", "RAN", "Choice", "Foreseen", "foreseen", "graph", "told"]

NAMES: dict[int, dict[str, str]] = {
    1: {},
    2: {"west": "occident", "ask": "enquire", "left": "rest"},
    3: {"west": "occident", "ask": "inquire", "left": "rest", "east": "orient", "said": "heard"},
}
"""What nodes and fields are called that had another name at first, in three states of the code: the
second has version 2 and a migration, the third keeps that version."""
FIELDS = ("rounds", "done", "left", "notes", "said")
RAN: Counter[tuple[str, int, str]] = Counter()
"""How often each body came to its end: in which run and step, and what it was called at first."""
FAULTS: set[str] = set()
"""The bodies that fail once."""
Choice = tuple[str, ...]
ON: Choice = ("west", "east")


@dataclass
class Foreseen:
    """What a run does that nothing stops, in the names of the first code.

    Attributes:
        nodes: Of each step, what runs in it.
        values: Of each step, the values after it.
    """

    nodes: list[list[str]] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The last step."""
        return len(self.nodes) - 1

    def asks(self, step: int) -> bool:
        """Tell whether a step is a question."""
        return step <= self.last and self.nodes[step] == ["ask"]


@cache
def foreseen(rounds: int, forced: tuple[tuple[int, Choice], ...] = ()) -> Foreseen:
    """Say what a run does; each question is answered by its step.

    Args:
        rounds: Its input.
        forced: What is chosen after which steps, whatever the router says.
    """
    found = Foreseen()
    values: dict[str, Any] = dict(zip(FIELDS, (rounds, 0, 0, [], ""), strict=True))
    ran: Choice = ()
    follows: Choice = ON
    while True:
        step, done = len(found.nodes), values["done"]
        if ran == ON:
            pair = [f"west {done}", _long(f"east {done} {values['said']}", done)]
            values = values | {"notes": values["notes"] + pair, "left": rounds - done}
            follows = ("both",)
        elif ran == ("both",):
            values = values | {"done": done + 1}
            follows = dict(forced).get(step, _onward(done + 1, rounds))
        elif ran == ("ask",):
            values = values | {"said": f"answer {step}"}
            follows = ON
        found.nodes.append(sorted(ran))
        found.values.append(values)
        if not follows:
            return found
        ran = follows


def told(values: Mapping[str, Any], code: int, mood: str) -> dict[str, Any]:
    """Give values as they are in a state of the code."""
    names = NAMES[code]
    found = {names.get(name, name): value for name, value in values.items()}
    return found | ({"mood": mood} if code > 1 else {}) | ({"seen": 0} if code > 2 else {})


@cache
def graph(code: int = 1) -> StateGraph[Any]:
    """Make a loop: two tasks side by side, their join, and in every second round a question."""
    name = {role: NAMES[code].get(role, role) for role in (*ON, "both", "ask", *FIELDS)}
    made: StateGraph[Any] = StateGraph(_state(code, name), name="trip", version=min(code, 2))
    bodies: dict[str, Callable[[Any, Context], Any]] = {
        "west": lambda state, ctx: {
            "notes": [ctx.memo("found", lambda: f"west {state.done}", type=str)],
            name["left"]: state.rounds - state.done,
        },
        "east": lambda state, _: {
            "notes": [_long(f"east {state.done} {getattr(state, name['said'])}", state.done)]
        },
        "both": lambda state, _: {"done": state.done + 1},
    }
    for role, body in bodies.items():
        made.add_node(name[role], _counted(role, body))
    made.add_question(name["ask"], prompt="where to?", answer=str, into=name["said"])
    for role in ON:
        made.add_edge(START, name[role])
        made.add_edge(name["ask"], name[role])
    made.add_edge([name[role] for role in ON], "both")

    def onward(state: Any) -> Any:
        chosen = [name[role] for role in _onward(state.done, state.rounds)]
        return Decision(chosen or END, reason=f"{state.done} of {state.rounds}")

    made.add_conditional_edges("both", onward, [*(name[role] for role in (*ON, "ask")), END])
    _past(made, code)
    return made


def _onward(done: int, rounds: int) -> Choice:
    if done >= rounds:
        return ()
    return ("ask",) if done % 2 else ON


def _long(text: str, done: int) -> str:
    return text + "x" * (200 * (done % 2))


def _state(code: int, name: Mapping[str, str]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        "rounds": (int, ...),
        "done": (int, 0),
        name["left"]: (int, 0),
        "notes": (Annotated[list[str], append], Field(default_factory=list)),
        name["said"]: (str, ""),
    }
    fields |= {"mood": (str, "calm")} if code > 1 else {}
    fields |= {"seen": (int, 0)} if code > 2 else {}
    return create_model("Trip", **fields)


def _past(made: StateGraph[Any], code: int) -> None:
    """Say what the code was before."""
    if code > 1:
        made.renamed("west", "occident")
        made.renamed("ask", "enquire")
        made.renamed_field("left", "rest")
        made.migration(1, 2)(lambda values: {**values, "mood": f"met at {values['done']}"})
    if code > 2:
        made.renamed("enquire", "inquire")
        made.renamed("east", "orient")
        made.renamed_field("said", "heard")


def _counted(role: str, body: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Any]:
    def call(state: Any, ctx: Context) -> Any:
        if role in FAULTS:
            FAULTS.remove(role)
            raise ValueError(f"{role} stumbled")
        found = body(state, ctx)
        RAN[ctx.run_id, ctx.step, role] += 1
        return found

    return call
