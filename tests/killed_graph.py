"""A graph that writes a ledger, run by a process that is killed: see test_kill.py.

    python killed_graph.py DATABASE LEDGER RUN_ID

Each round runs `plan`, then `left` and `right` side by side, then their join. Each body appends a
line to the ledger when it begins and when it ends: "begin STEP NODE", "end STEP NODE".
"""

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel

from graphflow import END, START, Context, Limits, StateGraph, add, append
from graphflow.flow import Flow

ROUNDS = 12
STEPS = 3 * ROUNDS  # committed after step 0


class Rounds(BaseModel):
    """What the rounds add up to."""

    rounds: int = 0
    total: Annotated[int, add] = 0
    log: Annotated[list[str], append] = []


def ledger_graph(ledger: Path) -> StateGraph[Rounds]:
    """Make the graph; its bodies write to the ledger."""
    graph = StateGraph(Rounds, name="killed")

    def note(word: str, ctx: Context) -> None:
        line = f"{word} {ctx.step} {ctx.node}\n".encode()
        handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line)
        os.close(handle)

    def work(name: str, rounds: int) -> None:
        def body(state: Rounds, ctx: Context) -> dict[str, object]:
            note("begin", ctx)
            digest = str(state.total).encode()
            for _ in range(1500):
                digest = sha256(digest).digest()
            note("end", ctx)
            update = {"total": digest[0], "log": [f"{ctx.step} {name}"]}
            return {**update, "rounds": state.rounds + 1} if rounds else update

        graph.add_node(name, body)

    for name in ("plan", "left", "right"):
        work(name, rounds=0)
    work("join", rounds=1)

    def again(state: Rounds) -> str:
        return END if state.rounds >= ROUNDS else "plan"

    graph.add_edge(START, "plan")
    graph.add_edge("plan", "left")
    graph.add_edge("plan", "right")
    graph.add_edge(["left", "right"], "join")
    graph.add_conditional_edges("join", again, ["plan", END])
    return graph


def ledger_flow(database: Path, ledger: Path) -> Flow[Rounds]:
    """Compile it onto the database."""
    return ledger_graph(ledger).compile(database, limits=Limits(steps=1000, visits=1000))


if __name__ == "__main__":
    ledger_flow(Path(sys.argv[1]), Path(sys.argv[2])).run({}, run_id=sys.argv[3])
