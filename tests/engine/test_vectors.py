"""The golden cases of the execution rules: each must be seen exactly, however it is run."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("vectors", HERE / "vectors.py")
assert SPEC is not None
assert SPEC.loader is not None
vectors = importlib.util.module_from_spec(SPEC)
sys.modules["vectors"] = vectors
SPEC.loader.exec_module(vectors)

CASES = json.loads((HERE.parent / "data" / "semantics_vectors.json").read_text())["cases"]
NOW = [case for case in CASES if not vectors.unsupported(case)]


def compare(case: dict[str, Any], played: Any) -> None:
    """Play a case and compare each action with what it expects."""
    for action in case["actions"]:
        seen = played.seen(played.act(action))
        expected = action["expect"]
        for step in seen["steps"] + expected["steps"]:
            step["arrows"] = sorted(step["arrows"])
        for key, value in expected.items():
            if key == "held":
                continue
            assert value == seen[key], f"{case['name']}, {action['do']}: {key}"


def test_the_vectors_of_this_stage_are_all_there() -> None:
    """78 of the 135 cases need nothing of a later stage; a lost case would be a lost rule."""
    assert len(CASES) == 135
    assert len(NOW) == 78


@pytest.mark.parametrize("bodies", ["sync", "async"])
@pytest.mark.parametrize("case", NOW, ids=lambda case: case["name"])
def test_case_in_memory(case: dict[str, Any], bodies: str) -> None:
    """In one go, in memory, plain and async bodies alike."""
    store = MemoryCheckpointer()

    compare(case, vectors.Case(case, lambda: store, run=bodies))


@pytest.mark.parametrize("case", NOW, ids=lambda case: case["name"])
def test_case_reopened_before_each_action(case: dict[str, Any], tmp_path: Path) -> None:
    """From the file alone: nothing of a run lives in memory."""
    compare(case, vectors.Case(case, reopening(tmp_path)))


@pytest.mark.parametrize("case", NOW, ids=lambda case: case["name"])
def test_case_stopped_after_each_step(case: dict[str, Any], tmp_path: Path) -> None:
    """Stopped after every commit and taken up from the file, the path and state are the same."""
    if any(action.get("max_steps") for action in case["actions"]):
        pytest.skip("the case itself says where to stop")

    compare(case, vectors.Case(case, reopening(tmp_path), one_step_at_a_time=True))


def reopening(folder: Path) -> Callable[[], SqliteCheckpointer]:
    """Give a function that closes the store it gave before and opens the file anew."""
    last: list[SqliteCheckpointer] = []

    def opened() -> SqliteCheckpointer:
        for store in last:
            store.close()
        last[:] = [SqliteCheckpointer(folder / "runs.db")]
        return last[0]

    return opened
