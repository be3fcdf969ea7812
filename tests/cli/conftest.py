"""A folder with a graph in it, and the command line called in this process or in its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from graphflow.cli.main import cli

ROOT = Path(__file__).parents[2]

TOY = """
from typing import Annotated, Literal
from pydantic import BaseModel
from graphflow import END, START, StateGraph, append

class State(BaseModel):
    text: str
    n: int = 0
    log: Annotated[list[str], append] = []

graph = StateGraph(State, name="toy")

@graph.node
def count(state: State):
    print("a node prints")
    if state.text == "fail":
        raise ValueError("no such thing: \\x1b[31mred\\x1b[0m")
    if state.text == "leave":
        raise SystemExit(0)
    return {"n": state.n + 1, "log": [f"n = {state.n}"]}

@graph.node
def finish(state: State):
    return {"log": ["finished"]}

@graph.decision("count")
def enough(state: State) -> Literal["count", "finish"]:
    if state.text == "router":
        raise KeyError("no key")
    if state.text == "forever":
        return "count"
    return "finish" if state.n >= 3 else "count"

graph.add_edge(START, "count")
graph.add_edge("finish", END)
"""

CHAIN = """
import os, time
from pathlib import Path
from pydantic import BaseModel
from graphflow import END, START, StateGraph

class State(BaseModel):
    text: str = ""
    n: int = 0

graph = StateGraph(State, name="chain")

def node(i):
    def body(state: State):
        with open("ledger.txt", "a") as ledger:
            print(state.text, i, file=ledger, flush=True)
        gate = Path(f"hold-{state.text}{i}")
        while gate.exists():
            time.sleep(0.005)
        return {"n": state.n + 1}
    return body

for i in range(10):
    graph.add_node(f"n{i}", node(i))
    graph.add_edge(START if i == 0 else f"n{i - 1}", f"n{i}")
graph.add_edge("n9", END)
"""
"""Ten nodes; each writes its number into ledger.txt, then waits while its hold-file exists."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with toy.py and chain.py, as the working directory; nothing is set."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "chain.py").write_text(CHAIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRAPHFLOW_DB", raising=False)
    monkeypatch.delenv("GRAPHFLOW_TARGET", raising=False)
    path, modules = [*sys.path], {*sys.modules}
    yield tmp_path
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def call(folder):
    """Call the command line in this process; exceptions that it does not know come through."""

    def call(*words, **more):
        return CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False, **more)

    return call


@pytest.fixture
def document(call):
    """Call a command that has to end well with --json, and give its document."""

    def document(*words, code=0):
        result = call(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return document


@pytest.fixture
def environment(folder):
    """The environment of a process of its own."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def start(environment):
    """Start the command line in a process of its own; what still runs at the end is killed."""
    started = []

    def start(*words, **more):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "graphflow", *map(str, words)]
        process = subprocess.Popen(command, env=environment, **{**pipes, **more})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def shell(start):
    """Run the command line in a process of its own, to its end."""

    def shell(*words, stdin=None, **more):
        process = start(*words, stdin=subprocess.PIPE, **more)
        out, err = process.communicate(stdin, timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return shell
