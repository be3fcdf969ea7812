"""A folder with a graph in it, and the command line called in this process or in its own."""

import errno
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

ASKING = """
from typing import Literal
from pydantic import BaseModel
from graphflow import END, START, StateGraph

class Inner(BaseModel):
    n: int = 0
    ok: bool = False

class State(BaseModel):
    n: int = 0
    ok: bool = False
    reply: str = ""
    items: list[int] = [1, 2, 3]
    doubled: list[int] = []

inner = StateGraph(Inner, name="inner")

@inner.node
def look(state: Inner, ctx):
    if state.n < 0:
        raise ValueError("below zero")
    ctx.emit({"seen": state.n})
    if state.n > 10 and ctx.ask("sure", "Sure?", answer=Literal["yes", "no"]) == "no":
        return {"n": 10}
    return {"n": state.n + 1}

inner.add_question("approve", prompt="Is it good?", answer=bool, into="ok")
inner.add_edge(START, "look")
inner.add_edge("look", "approve")
inner.add_edge("approve", END)

graph = StateGraph(State, name="asking")
graph.add_map("double", lambda item: item * 2, over="items", into="doubled")
graph.add_node("sub", inner, input={"n": "n"}, output={"n": "n", "ok": "ok"})
graph.add_question(
    "reply", prompt=lambda state: f"Reply to {state.n}?", into="reply", deadline=3600, default="-"
)
graph.add_node("finish", lambda state: None)

@graph.decision("double")
def way(state: State) -> Literal["sub", "reply", "finish"]:
    return ["sub", "reply"] if state.n < 100 else "reply"

graph.add_edge(START, "double")
graph.add_edge("sub", "finish")
graph.add_edge("reply", "finish")
graph.add_edge("finish", END)
"""
"""A map, then beside each other a question and a subgraph which asks, then an end."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with toy.py, chain.py and asking.py as the working directory; nothing set."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "chain.py").write_text(CHAIN)
    (tmp_path / "asking.py").write_text(ASKING)
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
def documents(call):
    """Call a command with --json that writes a document per line, and give its exit code too."""

    def documents(*words):
        result = call(*words, "--json")
        return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]

    return documents


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
def on_terminal(environment):
    """Run the command line on a terminal, and give its exit code and all that stood there."""
    pty = pytest.importorskip("pty", reason="terminals of POSIX")

    def on_terminal(*words, typed=""):
        main, side = pty.openpty()
        command = [sys.executable, "-m", "graphflow", *words]
        process = subprocess.Popen(command, env=environment, stdin=side, stdout=side, stderr=side)
        os.close(side)
        os.write(main, typed.encode())
        text = b"".join(iter(lambda: read_terminal(main), b"")).decode()
        os.close(main)
        return process.wait(timeout=30), text

    return on_terminal


def read_terminal(main):
    """Read what is there; nothing once the other side has gone."""
    try:
        return os.read(main, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # what Linux says then
            raise
        return b""


@pytest.fixture
def shell(start):
    """Run the command line in a process of its own, to its end."""

    def shell(*words, stdin=None, **more):
        process = start(*words, stdin=subprocess.PIPE, **more)
        out, err = process.communicate(stdin, timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return shell
