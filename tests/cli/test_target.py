"""How TARGET finds a graph, and what it says when it does not."""

import pytest

from graphflow.cli.target import load_target
from graphflow.errors import TargetError

HI = ("--input", '{"text": "hi"}')


@pytest.fixture(autouse=True)
def more(folder):
    """More modules: some that are wrong, and a package."""
    toy = (folder / "toy.py").read_text()
    (folder / "broken.py").write_text("x = 1\nimport not_there_at_all\n")
    (folder / "wrong.py").write_text("x = 1\nx = = 2\n")
    (folder / "raises.py").write_text("def deep():\n    return 1 / 0\n\ndeep()\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    (folder / "odd name.v2.py").write_text(toy)
    (folder / "json.py").write_text(toy)
    (folder / "makers.py").write_text(
        f"{toy}\n"
        "def make(): return graph\n"
        "def needs(x): return graph\n"
        "def gives(): return 3\n"
        "def fails(): return 1 / 0\n"
        "async def later(): return graph\n"
        "class Box: inner = graph\n"
        "flow = graph.compile()\n"
    )
    package = folder / "pack" / "inner"
    package.mkdir(parents=True)
    (folder / "pack" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "graphs.py").write_text("from .part import graph\nfrom pack.inner import part\n")
    (package / "part.py").write_text(toy)


@pytest.mark.parametrize(
    "target",
    [
        "toy:graph",
        "toy.py:graph",
        "./toy.py:graph",
        "odd name.v2.py:graph",
        "json.py:graph",
        "makers:make",
        "makers:flow",
        "makers.py:Box.inner",
        "pack.inner.graphs:graph",
        "pack/inner/graphs.py:graph",
    ],
)
def test_a_graph_is_found(target):
    """A module, a file, a file in a package, a nested attribute and a function are all found."""
    assert load_target(target).name == "toy"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("toi:graph", "there is no module 'toi'"),
        ("toi:graph", "Did you mean 'toy'?"),
        ("pack.iner:graph", "Did you mean 'inner'?"),
        ("toi.py:graph", "toi.py does not exist. Did you mean 'toy.py'?"),
        ("nowhere/toy.py:graph", "does not exist"),
        ("pack/:graph", "is a folder"),
        ("toy:grap", "toy has no 'grap'. Did you mean 'graph'?"),
        ("toy:State", "is no StateGraph or Flow"),
        ("toy:State", "Graphs there: 'graph'"),
        ("toy.py", "Known: toy.py:graph"),
        ("toy", "Known: toy:graph"),
        ("a-b:graph", "'a-b' is not the name of a module"),
        ("makers:needs", "takes arguments (missing a required argument: 'x')"),
        ("makers:gives", "returned no StateGraph or Flow but of type int"),
        ("makers:later", "async"),
        ("makers:fails", "in fails"),
        ("makers:fails", "ZeroDivisionError: division by zero"),
        ("broken:graph", 'broken.py", line 2'),
        ("broken:graph", "No module named 'not_there_at_all'"),
        ("broken.py:graph", "import not_there_at_all"),
        ("wrong:graph", 'wrong.py", line 2'),
        ("wrong.py:graph", "SyntaxError"),
        ("raises.py:graph", 'raises.py", line 2, in deep'),
        ("leaves:graph", "called sys.exit(0)"),
        (None, "no TARGET was given"),
    ],
)
def test_what_is_not_a_graph_says_what_to_type(target, said):
    """A target that is missing, broken or something else says which, and what was meant."""
    with pytest.raises(TargetError) as caught:
        load_target(target)
    assert said in str(caught.value)
    assert "importlib" not in str(caught.value)


def test_a_wrong_target_exits_2(call, folder):
    """A target that cannot be imported exits 2, without a traceback of graphflow's."""
    result = call("run", "raises.py:graph", *HI)
    assert result.exit_code == 2
    assert "cli" not in result.stderr
    assert not (folder / "graphflow.db").exists()


DEPS = """
from pydantic import BaseModel
from graphflow import END, START, Context, Limits, StateGraph

class State(BaseModel):
    said: str = ""

class Deps:
    word = "hello"

graph = StateGraph(State, name="greets", deps=Deps)

@graph.node
def greet(state: State, ctx: Context[Deps]):
    return {"said": ctx.deps.word}

graph.add_edge(START, "greet")
graph.add_edge("greet", END)
flow = graph.compile("own.db", deps=Deps, limits=Limits(steps=7))
held = graph.compile("held.db", deps=Deps, pause_before=["greet"])
in_memory = graph.compile(deps=Deps)
"""


@pytest.fixture
def deps(folder):
    """A module with a graph that needs deps, and flows that bring them."""
    (folder / "needs.py").write_text(DEPS)


def test_a_graph_that_needs_deps_says_how_they_are_given(call, folder, deps):
    """A command line has no deps: it exits 2, says what to write, and makes no file."""
    result = call("run", "needs.py:graph")
    assert result.exit_code == 2
    assert "declares deps=Deps, which a command line cannot give" in result.stderr
    assert "needs.py:flow" in result.stderr
    assert not (folder / "graphflow.db").exists()
    assert call("check", "needs.py:graph").exit_code == 0


def test_a_flow_brings_its_deps_and_its_database(call, folder, deps, document):
    """A flow runs with its own deps, limits and file, which the next commands name."""
    result = call("run", "needs.py:flow", "--run-id", "mine")
    assert result.exit_code == 0, result.output
    assert "next: graphflow show mine --db own.db\n" in result.stdout
    assert not (folder / "graphflow.db").exists()
    found = document("show", "mine", "--db", "own.db")
    assert (found["state"]["said"], found["limits"]["steps"]) == ("hello", 7)


def test_a_flow_that_pauses_is_resumed_from_its_database(call, deps, document):
    """A breakpoint of a flow holds on the command line, and `resume` goes on past it."""
    result = call("run", "needs.py:held", "--run-id", "mine")
    assert result.exit_code == 3
    assert "paused: it was to stop before 'greet'" in result.stdout
    assert "next: graphflow resume needs.py:held mine --db held.db\n" in result.stdout
    assert "it was to stop before 'greet'" in call("runs", "--db", "held.db").stdout
    assert document("resume", "needs.py:held", "mine", "--db", "held.db")["status"] == "done"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "needs.py:in_memory"), "keeps its runs in memory"),
        (("run", "needs.py:flow", "--db", "b.db"), "keeps its runs in own.db: leave --db out"),
        (("resume", "needs.py:flow", "mine"), "own.db"),
    ],
)
def test_a_flow_that_cannot_be_used_says_why(call, folder, deps, words, said):
    """A flow in memory, another --db, or a file that is not there yet: exit 2, and no file."""
    result = call(*words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not list(folder.glob("*.db"))


def test_a_flow_can_be_checked_and_drawn(call, deps, document):
    """`check` and `draw` take a flow as they take a graph."""
    assert document("check", "needs.py:flow")["graph"] == "greets"
    assert "greet" in call("draw", "needs.py:flow").stdout


def test_the_environment_may_name_target_and_database(call, monkeypatch, folder):
    """GRAPHFLOW_TARGET and GRAPHFLOW_DB stand in, and the next commands leave them out."""
    monkeypatch.setenv("GRAPHFLOW_TARGET", "toy.py:graph")
    monkeypatch.setenv("GRAPHFLOW_DB", "env.db")
    result = call("run", "--input", '{"text": "fail"}', "--run-id", "mine")
    assert (folder / "env.db").exists()
    assert "next: graphflow resume mine\n" in result.stdout
    assert call("resume", "mine").exit_code == 1
    assert call("resume", "--all").exit_code == 1
    assert call("check").exit_code == 0
    assert "START" in call("draw").stdout
