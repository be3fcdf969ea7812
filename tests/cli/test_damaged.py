"""Commands about all runs go on when one run is damaged: they name it, and do the others."""

import json
import sqlite3
from contextlib import closing

import pytest

from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.records import DamagedHeader
from tests.hostile.sealing import reseal
from tests.rig.forge import change


@pytest.fixture(params=["status = 'xx'", "created_at = x'ff'", "graph_version = 'x'"])
def damaged(call, folder, request):
    """Two runs that wait for answers; of the first one what is known cannot be read."""
    for run_id in ("broken", "sound"):
        given = ("--input", '{"n": 200}', "--run-id", run_id, "--db", "runs.db")
        assert call("run", "asking.py:graph", *given).exit_code == 3
    change(folder / "runs.db", f"UPDATE runs SET {request.param} WHERE run_id = 'broken'")
    return folder / "runs.db"


def test_a_damaged_run_is_listed_with_the_others(call, damaged):
    """`runs` has a line for it that says so; --json an entry with its id and the error."""
    result = call("runs", "--db", damaged)
    assert result.exit_code == 0
    _, sound, broken, *_ = result.stdout.splitlines()
    assert sound.split()[:2] == ["sound", "paused"]
    assert broken.split()[:2] == ["broken", "damaged"]
    assert "run 'broken' is damaged: what is known of it cannot be read" in broken
    first, second = json.loads(call("runs", "--db", damaged, "--json").stdout)
    assert first["run_id"] == "sound"
    assert (second["run_id"], second["status"]) == ("broken", "damaged")
    assert "'broken' is damaged" in second["error"]


def test_a_damaged_run_is_told_once(call, damaged):
    """What the list of runs shows to be damaged is not told again when all is verified."""
    result = call("doctor", "--verify", "--db", damaged)
    assert result.exit_code == 1
    told = [line for line in result.stdout.splitlines() if "'broken' is damaged" in line]
    assert len(told) == 1


def test_a_damaged_run_keeps_nobody_from_the_questions(call, damaged):
    """`questions` lists those of the other runs, names the damaged one, and exits 1."""
    result = call("questions", "--db", damaged)
    assert result.exit_code == 1
    assert "sound  reply" in result.stdout
    assert "'broken' is damaged" in result.stderr
    assert call("questions", "sound", "--db", damaged).exit_code == 0
    (one,) = json.loads(call("questions", "--db", damaged, "--json").stdout)
    assert one["run_id"] == "sound"


def test_a_damaged_run_keeps_nobody_from_going_on(call, damaged):
    """`resume --all` goes on with the other runs, names the damaged one, and exits 1."""
    answer = ("answer", "asking.py:graph", "sound", "yes", "--key", "reply", "--no-resume")
    assert call(*answer, "--db", damaged).exit_code == 0
    result = call("resume", "asking.py:graph", "--all", "--db", damaged)
    assert result.exit_code == 1
    assert "'broken' is damaged" in result.stdout + result.stderr
    store = SqliteCheckpointer(damaged)
    sound, broken = store.runs()
    store.close()
    assert (sound.run_id, sound.status) == ("sound", "done")
    assert isinstance(broken, DamagedHeader)
    assert broken.run_id == "broken"


def test_doctor_names_a_damaged_run_without_verify(call, damaged):
    """Plain `doctor` finds a run of which nothing can be known, and exits 1."""
    result = call("doctor", "--db", damaged)
    assert result.exit_code == 1
    assert "problem run broken: run 'broken' is damaged" in result.stdout
    assert "1 damaged, 1 paused" in result.stdout


@pytest.fixture
def too_deep(call, folder):
    """Two runs that wait for answers; the state of the first one no parser may be given."""
    for run_id in ("broken", "sound"):
        given = ("--input", '{"n": 200}', "--run-id", run_id, "--db", "runs.db")
        assert call("run", "asking.py:graph", *given).exit_code == 3
    deep = "UPDATE snapshots SET state_json = ? WHERE run = (SELECT id FROM runs WHERE run_id = ?)"
    with closing(sqlite3.connect(folder / "runs.db")) as conn, conn:
        assert conn.execute(deep, ('{"n":' + 300 * "[" + 300 * "]" + "}", "broken")).rowcount
        reseal(conn)
    return folder / "runs.db"


def test_a_run_that_is_too_large_keeps_nobody_from_going_on(call, too_deep):
    """What is refused before it is parsed is told of its run alone, as damage is."""
    answer = ("answer", "asking.py:graph", "sound", "yes", "--key", "reply", "--no-resume")
    assert call(*answer, "--db", too_deep).exit_code == 0
    result = call("resume", "asking.py:graph", "--all", "--db", too_deep)
    assert result.exit_code == 1
    assert "of run 'broken': state_json is nested" in result.stdout + result.stderr
    assert json.loads(call("show", "sound", "--db", too_deep, "--json").stdout)["status"] == "done"


def test_a_run_that_is_too_large_keeps_nobody_from_being_judged(call, too_deep):
    """`doctor` judges the other runs, and names it as a problem."""
    result = call("doctor", "asking.py:graph", "--db", too_deep)
    assert result.exit_code == 1
    assert "problem run broken: step 0 of run 'broken': state_json is nested" in result.stdout
    assert "sound" in result.stdout
