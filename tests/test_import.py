"""What `import graphflow` loads, and how long it takes."""

import json
import subprocess
import sys

import pytest

HEAVY = ["click", "graphviz", "httpx", "networkx", "rich", "sqlite_utils", "tenacity"]
LAZY = ["asyncio", "sqlite3"]  # pydantic does not load these either


def run(code: str) -> str:
    """Run code in an interpreter of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """All modules that `import graphflow` loads, each as its outermost package."""
    modules = json.loads(run("import graphflow, json, sys; print(json.dumps([*sys.modules]))"))
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("library", HEAVY)
def test_import_leaves_the_library_alone(loaded, library):
    """`import graphflow` loads no library but pydantic; the others come when they are used."""
    assert library not in loaded


@pytest.mark.parametrize("module", LAZY)
def test_import_leaves_the_slow_parts_of_python_alone(loaded, module):
    """`import graphflow` does not load the parts of Python that only a run needs."""
    assert module not in loaded


def test_import_takes_at_most_twice_pydantics_time():
    """`import graphflow` takes at most twice as long as `from pydantic import BaseModel`."""
    timed = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    pairs = [
        (
            float(run(timed.format("import graphflow"))),
            float(run(timed.format("from pydantic import BaseModel"))),
        )
        for _ in range(7)
    ]
    ours, pydantics = (min(times) for times in zip(*pairs, strict=True))
    assert ours <= 2 * pydantics, f"{ours * 1e3:.0f} ms : {pydantics * 1e3:.0f} ms"
