"""Ends of tasks that come from other threads: none is lost, whenever it comes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

FAN = """
import sys
from pydantic import BaseModel
from graphflow import END, START, StateGraph

class State(BaseModel):
    n: int = 0

sys.setswitchinterval(1e-6)
graph = StateGraph(State, name="fan")
for name in ("a", "b"):
    graph.add_node(name, lambda state: None)
    graph.add_edge(START, name)
    graph.add_edge(name, END)
flow = graph.compile()
for _ in range(1000):
    assert flow.run({}).status == "done"
"""


def test_an_end_that_comes_as_the_wait_begins_is_not_lost() -> None:
    """Threads that take turns all the time end every run; a hang becomes a failure."""
    done = subprocess.run(
        [sys.executable, "-c", FAN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
