"""A parallel graph, two of whose four nodes fail, run by a process that is killed meanwhile.

    python killed_fan.py DATABASE LEDGER RUN_ID

`good1` and `good2` succeed; `bad1` fails at once, `bad2` when it is allowed to. Each body appends
its name to the ledger when it begins. When the two good ones and the first failure are stored,
the process says "ready" and waits to be killed, inside the body of `bad2`.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from graphflow import END, START, StateGraph, append
from graphflow.flow import Flow


class Found(BaseModel):
    """What the four nodes find."""

    log: Annotated[list[str], append] = []


def fan(ledger: Path, broken: set[str], last: Callable[[], None]) -> StateGraph[Found]:
    """Make the graph.

    Args:
        ledger: Where each body writes that it begins.
        broken: The nodes that fail.
        last: Called in the body of `bad2`.
    """
    graph = StateGraph(Found, name="killed_fan")

    def work(name: str) -> Callable[[Found], Any]:
        def body(state: Found) -> Any:
            handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(handle, f"{name}\n".encode())
            os.close(handle)
            if name == "bad2":
                last()
            if name in broken:
                raise ValueError(f"{name} is broken")
            return {"log": [name]}

        return body

    names = ("good1", "bad1", "good2", "bad2")
    for name in names:
        graph.add_node(name, work(name))
        graph.add_edge(START, name)
    graph.add_node("join", lambda s: {"log": ["join"]})
    graph.add_edge(names, "join")
    graph.add_edge("join", END)
    return graph


def main(database: Path, ledger: Path, run_id: str) -> None:
    """Run it until it is killed."""
    flows: list[Flow[Found]] = []

    def wait_to_be_killed() -> None:
        while True:
            run = flows[0].get(run_id)
            if {"good1", "good2", "bad1"} <= run.open.keys():
                break
        print("ready", flush=True)  # noqa: T201 - the parent waits for it
        threading.Event().wait()

    flows.append(fan(ledger, {"bad1", "bad2"}, wait_to_be_killed).compile(database))
    flows[0].run({}, run_id=run_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
