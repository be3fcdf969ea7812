"""What `import graphflow` loads, and how long it takes."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ["click", "graphviz", "httpx", "networkx", "rich", "sqlite_utils", "tenacity"]
LAZY = ["asyncio", "sqlite3"]  # pydantic does not load these either
RUNS = ["graphflow.checkpoint", "graphflow.engine", "graphflow.flow", "graphflow.run"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run code in an interpreter of its own, and give what it prints.

    Modules are compiled once, as an installation does it, whatever this process is told.
    """
    cache = {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("cache"))}
    env = {**os.environ, **cache, "PYTHONDONTWRITEBYTECODE": ""}

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout

    return run


@pytest.fixture(scope="module")
def loaded(run) -> set[str]:
    """All modules that `import graphflow` loads, and the packages that they are in."""
    modules = json.loads(run("import graphflow, json, sys; print(json.dumps([*sys.modules]))"))
    return {*modules, *(name.partition(".")[0] for name in modules)}


@pytest.mark.parametrize("library", HEAVY)
def test_import_leaves_the_library_alone(loaded, library):
    """`import graphflow` loads no library but pydantic; the others come when they are used."""
    assert library not in loaded


@pytest.mark.parametrize("module", LAZY)
def test_import_leaves_the_slow_parts_of_python_alone(loaded, module):
    """`import graphflow` does not load the parts of Python that only a run needs."""
    assert module not in loaded


@pytest.mark.parametrize("module", RUNS)
def test_import_leaves_the_engine_alone(loaded, module):
    """What only a compiled graph needs is loaded when one is compiled."""
    assert module not in loaded


def test_what_is_loaded_later_is_exported_like_the_rest(run):
    """`dir`, `import *` and `from graphflow import Flow` know the names that are loaded later."""
    found = run(
        "import graphflow; print({'Flow', 'Run'} <= {*dir(graphflow)});"
        "from graphflow import *; print(Flow.__name__, Run.__name__, graphflow.Flow is Flow)"
    )
    assert found.split() == ["True", "Flow", "Run", "True"]


def test_an_unknown_name_is_refused(run):
    """A name that is not there is the error that it is for any module, with the hint of Python."""
    found = run(
        "import graphflow\n"
        "try: graphflow.StateGrph\n"
        "except AttributeError as error: print(error, error.name, error.obj is graphflow)"
    )
    assert found.strip() == "module 'graphflow' has no attribute 'StateGrph' StateGrph True"


def test_compiling_a_graph_without_loops_leaves_networkx_alone(run):
    """The library that analyses loops takes longer to import than graphflow: only loops need it."""
    found = run(
        "import sys; from pydantic import BaseModel; from graphflow import END, START, StateGraph\n"
        "class State(BaseModel): n: int = 0\n"
        "graph = StateGraph(State)\n"
        "graph.add_node('a', lambda state: None)\n"
        "graph.add_edge(START, 'a'); graph.add_edge('a', END); graph.compile()\n"
        "print('networkx' in sys.modules)"
    )
    assert found.strip() == "False"


def test_import_takes_at_most_twice_pydantics_time(run):
    """`import graphflow` takes at most twice as long as `from pydantic import BaseModel`."""
    timed = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    imports = ["import graphflow", "from pydantic import BaseModel"]
    pairs = [[float(run(timed.format(code))) for code in imports] for _ in range(8)]
    ours, pydantics = (min(times) for times in zip(*pairs, strict=True))
    assert ours <= 2 * pydantics, f"{ours * 1e3:.0f} ms : {pydantics * 1e3:.0f} ms"
