"""How TARGET finds a graph, and what it says when it does not."""

import pytest

from graphflow.cli.target import load_graph
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
        "makers.py:Box.inner",
        "pack.inner.graphs:graph",
        "pack/inner/graphs.py:graph",
    ],
)
def test_a_graph_is_found(target):
    """A module, a file, a file in a package, a nested attribute and a function are all found."""
    assert load_graph(target).name == "toy"


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
        ("toy:State", "is no StateGraph"),
        ("toy:State", "Graphs there: 'graph'"),
        ("toy.py", "Known: toy.py:graph"),
        ("toy", "Known: toy:graph"),
        ("a-b:graph", "'a-b' is not the name of a module"),
        ("makers:flow", "name the graph that it was compiled from"),
        ("makers:needs", "takes arguments (missing a required argument: 'x')"),
        ("makers:gives", "returned no StateGraph but of type int"),
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
        load_graph(target)
    assert said in str(caught.value)
    assert "importlib" not in str(caught.value)


def test_a_wrong_target_exits_2(call, folder):
    """A target that cannot be imported exits 2, without a traceback of graphflow's."""
    result = call("run", "raises.py:graph", *HI)
    assert result.exit_code == 2
    assert "cli" not in result.stderr
    assert not (folder / "graphflow.db").exists()


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
