"""Planted faults: each of them is seen by a test."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import IS_FULL
from tests.mutants.planted import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
_NAMES = [mutant.name for mutant in MUTANTS]
Tell = Callable[[str], None]


def plant(mutant: Mutant, package: Path) -> set[Path]:
    """Plant a fault in a copy of the package; give the files that it changes."""
    for name, old, new in mutant.edits:
        text = (package / name).read_text()
        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
        (package / name).write_text(text.replace(old, new))
    return {package / name for name, _, _ in mutant.edits}


@pytest.mark.parametrize("mutant", MUTANTS, ids=_NAMES)
def test_each_fault_can_be_planted(mutant: Mutant, tmp_path: Path) -> None:
    """The lines that are changed are there, and what comes of them is Python."""
    for name in {name for name, _, _ in mutant.edits}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "graphflow" / name, tmp_path / name)
    for file in plant(mutant, tmp_path):
        ast.parse(file.read_text())


def test_no_fault_is_named_twice() -> None:
    """Each fault has a name of its own."""
    assert len(set(_NAMES)) == len(_NAMES) >= 20


@pytest.mark.chaos
@pytest.mark.parametrize("mutant", MUTANTS if IS_FULL else MUTANTS[:1], ids=lambda one: one.name)
def test_each_fault_is_seen(mutant: Mutant, tmp_path: Path, tell: Tell) -> None:
    """With a fault in a copy of the code, one of the tests that should see it fails."""
    copy = tmp_path / "copy"
    for name in ("graphflow", "graphs", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    plant(mutant, copy / "graphflow")
    first = _first_failure(copy, mutant.tests)
    assert first is not None, f"no test sees it: {mutant.name}"
    tell(f"mutant: {mutant.name} -> {first}")


def _first_failure(copy: Path, tests: tuple[str, ...]) -> str | None:
    """Run tests in a copy of the code; name the first one that fails."""
    more = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "GRAPHFLOW_CHAOS": ""}
    arguments = [part for test in tests for part in _arguments(test)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=copy,
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else None


def _arguments(test: str) -> list[str]:
    return ["-k", test.removeprefix("-k ")] if test.startswith("-k ") else [test]
