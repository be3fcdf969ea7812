"""A kill at every named point, in every scenario: nothing is lost, nothing is done twice."""

from __future__ import annotations

import ast
import importlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from graphflow import END, START, StateGraph, failpoints
from graphflow.checkpoint.sqlite_points import point_of
from graphflow.errors import DatabaseUnavailableError, RunFailedError
from graphflow.testing.failpoints import POINTS, crash_at, raise_at, seen_points
from tests.chaos import IS_FULL
from tests.rig.client import Killed, Rig
from tests.rig.forge import rows
from tests.rig.scenarios import SCENARIOS

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "graphflow" / "checkpoint").glob("*.py"))

UNREACHED: dict[str, str] = {}
"""Point -> why no scenario comes to it. Empty is the aim."""

_census: dict[str, Counter[str]] = {}


def points_of(rig: Rig, scenario: str, folder: Path) -> dict[str, object]:
    """Run a scenario without a kill, and count what it comes to; the same for all who ask."""
    answer = Killed(rig, folder / "whole", scenario).go(counts=True)
    _census[scenario] = Counter(answer["points"])
    return answer["found"]  # type: ignore[no-any-return]


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_every_point(
    rig: Rig, quick_folder: Path, scenario: str, tell: Callable[[str], None]
) -> None:
    """Killed at any point, and once more while it is resumed, a run comes to the same end."""
    expected = points_of(rig, scenario, quick_folder)
    chance = random.Random(scenario)
    points = {name: n for name, n in _census[scenario].items() if not is_of_a_node(name)}
    kills = repeated = most = 0
    for name, passages in points.items():
        every = range(1, passages + 1)
        for passage in every if IS_FULL else [chance.choice(every)]:
            killed = Killed(rig, quick_folder / f"{name}-{passage}", scenario)
            killed.go(crash_at=(name, passage))
            assert_cut(killed, name)
            killed.go(crash_at=(chance.choice(list(points)), chance.randint(1, 3)))
            answer = killed.go()
            assert answer["found"] == expected, (name, passage)
            kills, repeated = kills + killed.kills, repeated + killed.repeated
            most = max(most, killed.most)
    tell(
        f"kills at {len(points)} points of {scenario!r}: {kills}, 0 lost, 0 doubled, "
        f"{repeated} bodies ran again, {most} at once at most"
    )


def is_of_a_node(name: str) -> bool:
    """Tell whether a point is that of one node: the same place as that of all nodes."""
    return name.startswith("node.") and name.count(".") > 1


def assert_cut(killed: Killed, name: str) -> None:
    """Check that a lone body is not run again when what came of it was committed."""
    if killed.name == "line" and killed.kills and name in {"commit.after", "acknowledge"}:
        assert killed.most == 0


@pytest.mark.slow
def test_every_point_has_a_case(rig: Rig, quick_folder: Path) -> None:
    """A new point, statement that writes, or table needs a scenario that comes there."""
    for scenario in SCENARIOS:
        if scenario not in _census or scenario == "line":
            points_of(rig, scenario, quick_folder / scenario)
    all_tables = tables(quick_folder / "line" / "whole" / "runs.db")
    reached = {name for counts in _census.values() for name in counts if not is_of_a_node(name)}
    known = POINTS.keys() | set(written_points()) | {f"insert.{name}" for name in all_tables}
    assert known - reached == UNREACHED.keys()


def written_points() -> Iterator[str]:
    """Find the points of all statements that the checkpointer's modules have."""
    for path in SOURCES:
        module = importlib.import_module(f"graphflow.checkpoint.{path.stem}")
        for value in vars(module).values():
            yield from points_in(value)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant):
                yield from points_in(node.value)


def points_in(value: object) -> Iterator[str]:
    """Give the points of a statement, or of those in a tuple."""
    if isinstance(value, tuple):
        for one in value:
            yield from points_in(one)
    if isinstance(value, str) and re.match(r"(INSERT|UPDATE|DELETE|WITH)\b.*\w", value):
        found = point_of(value)
        if found is not None and "." in found:
            yield found


def tables(database: Path) -> set[str]:
    """List the tables of a database."""
    found = rows(database, "SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in found if not name.startswith("sqlite_")}


class Word(BaseModel):
    word: str = ""


def small_graph() -> StateGraph[Word]:
    """Make a graph of one node."""
    graph = StateGraph(Word, name="small")
    graph.add_node("say", lambda state: {"word": "said"})
    graph.add_edge(START, "say")
    graph.add_edge("say", END)
    return graph


def test_a_program_dies_where_its_environment_says(tmp_path: Path) -> None:
    """GRAPHFLOW_FAIL_AT ends a program at the n-th passage of a point, and nothing is lost."""
    program = (
        "import sys; from tests.test_failpoints import small_graph; "
        "small_graph().compile(sys.argv[1]).run({}, run_id='a')"
    )
    environment = {**os.environ, failpoints.VARIABLE: "insert.tasks"}
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "runs.db"],
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    flow = small_graph().compile(tmp_path / "runs.db")
    run = flow.get("a")
    assert (run.status, run.header.step) == ("stale", 0)
    assert flow.resume("a").state.word == "said"
    flow.close()


@pytest.mark.parametrize("text", ["", ":2", "commit.after:0", "commit.after:x", "commit.after:-1"])
def test_a_wrong_environment_is_refused(text: str) -> None:
    """What names no point and passage is told at once, with an example."""
    with pytest.raises(ValueError, match=r"GRAPHFLOW_FAIL_AT=commit.after:3"):
        failpoints.parse(text)
    assert failpoints.parse("commit.after:2") == ("commit.after", 2)
    assert failpoints.parse("begin") == ("begin", 1)


CRASHES = """
import sys
from graphflow.testing.failpoints import crash_at, in_child
from tests.test_failpoints import small_graph

def job():
    with crash_at("commit.after", passage=2):  # of the tables, of step 0
        small_graph().compile(sys.argv[1]).run({}, run_id="a")

def fails():
    raise ValueError("not today")

print(in_child(lambda: None), in_child(fails), in_child(job))
"""


def test_a_crash_in_a_child(tmp_path: Path) -> None:
    """`in_child` tells how a job ended: well, with an error, or killed where `crash_at` says."""
    done = subprocess.run(
        [sys.executable, "-c", CRASHES, tmp_path / "runs.db"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0", "1", "-9"]
    assert "ValueError: not today" in done.stderr
    flow = small_graph().compile(tmp_path / "runs.db")
    assert flow.get("a").header.step == 0
    assert flow.resume("a").state.word == "said"
    flow.close()


def test_an_error_before_a_statement_is_typed_and_stores_nothing(tmp_path: Path) -> None:
    """What a broken disk says at an INSERT is a typed error, and the run resumes."""
    flow = small_graph().compile(tmp_path / "runs.db")
    broken = sqlite3.OperationalError("disk I/O error")
    broken.sqlite_errorname = "SQLITE_IOERR_WRITE"  # as SQLite does
    with raise_at("insert.tasks", broken), pytest.raises(DatabaseUnavailableError):
        flow.run({}, run_id="a")
    assert flow.get("a").header.step == 0
    assert flow.resume("a").state.word == "said"
    flow.close()


def test_an_error_at_a_body_is_the_body_s(tmp_path: Path) -> None:
    """An error raised at `node.before.NAME` is what that node raises; a resume runs it again."""
    flow = small_graph().compile()
    failure = raise_at("node.before.say", ConnectionError("away"))
    with failure, pytest.raises(RunFailedError, match="away"):
        flow.run({}, run_id="a")
    assert flow.resume("a").state.word == "said"


def test_a_point_that_is_not_there_is_refused() -> None:
    """A misspelt point would never be come to: it is refused, with those that are there."""
    with pytest.raises(ValueError, match=r"no point 'comit.after'.*commit.after"):
        crash_at("comit.after").__enter__()
    with pytest.raises(ValueError, match="passage=0"):
        raise_at("begin", OSError(), passage=0).__enter__()


def test_points_nest_and_end_with_their_block() -> None:
    """An inner block adds to an outer one; after the block nothing is called."""
    flow = small_graph().compile()
    with seen_points() as outer:
        with seen_points() as inner:
            flow.run({})
        flow.run({})
    flow.run({})
    assert failpoints.hit is None
    assert (inner["node.before"], outer["node.before"]) == (1, 2)
    assert inner["node.after.say"] == 1
