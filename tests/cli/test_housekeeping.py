"""`prune`, `delete` and `backup`: the commands that keep a database in order."""

import json

import pytest

from graphflow.cli.housekeeping import _told
from graphflow.upkeep import Pruned


@pytest.fixture
def runs(call):
    """A database with runs that are done, one that failed and one that is paused."""
    for n, text in enumerate(["hi", "hi", "hi", "fail", "forever"]):
        given = json.dumps({"text": text})
        call("run", "toy.py:graph", "--input", given, "--run-id", f"run-{n}", "--db", "a.db")


def ids(document):
    """List the runs that are there."""
    return [one["run_id"] for one in document("runs", "--db", "a.db")]


def test_prune_drops_old_runs(call, document, runs):
    """A dry run says what would go; then it goes, and failed runs only when that is asked for."""
    keep = ("prune", "--keep", 3, "--db", "a.db")
    foreseen = document(*keep, "--dry-run")
    assert foreseen["runs"] == ["run-1", "run-0"]
    assert "2 runs, 10 steps" in call(*keep, "--dry-run").stdout
    assert "would be dropped" in call(*keep, "--dry-run").stdout
    assert len(ids(document)) == 5
    assert document(*keep) == {**foreseen, "dry_run": False}
    assert ids(document) == ["run-4", "run-3", "run-2"]
    assert document("prune", "--older-than", "1d", "--db", "a.db")["runs"] == []
    assert document("prune", "--keep", 0, "--graph", "other", "--db", "a.db")["runs"] == []
    assert document("prune", "--keep", 0, "--failed", "--db", "a.db")["runs"] == ["run-3", "run-2"]
    assert ids(document) == ["run-4"]


def test_prune_says_what_forks_hold():
    """A prune that drops less than was asked for says why."""
    assert _told(Pruned(held=("a", "b")), dry_run=True) == [
        "2 runs would be kept: forks that stay share steps",
        "0 runs, 0 steps and 0 bytes would be dropped",
    ]


def test_prune_drops_old_steps(call, document, runs):
    """Runs lose their oldest steps, open ones too, and go on."""
    found = document("prune", "--steps", 2, "--db", "a.db")
    assert found["cut"]["run-0"] == 2
    assert "run-4" in found["cut"]
    told = call("show", "run-0", "--db", "a.db")
    assert told.exit_code == 0
    assert "those before 2 pruned" in told.stdout
    for words in (("--steps",), ("--json",)):
        assert call("show", "run-0", *words, "--db", "a.db").exit_code == 0
    again = call("resume", "toy.py:graph", "run-4", "--limit-visits", 40, "--db", "a.db")
    assert again.exit_code == 3, again.output
    assert document("doctor", "--verify", "--db", "a.db")["findings"] == []


def test_runs_says_what_each_takes(call, document, runs):
    """With --size the list has the bytes of each run; a pruned one takes less."""
    before = {one["run_id"]: one["bytes"] for one in document("runs", "--size", "--db", "a.db")}
    assert min(before.values()) > 500
    told = call("runs", "--size", "--db", "a.db").stdout
    assert " bytes " in told.splitlines()[1]
    call("prune", "--steps", 1, "--db", "a.db")
    after = {one["run_id"]: one["bytes"] for one in document("runs", "--size", "--db", "a.db")}
    assert after["run-0"] < before["run-0"]
    assert "bytes" not in document("runs", "--db", "a.db")[0]


def test_a_pruned_run_is_shown_up_to_a_step(call, runs):
    """`show --until` of a run without its oldest steps shows those that it has."""
    call("prune", "--steps", 3, "--db", "a.db")
    assert call("show", "run-4", "--until", 24, "--db", "a.db").exit_code == 0
    assert call("show", "run-4", "--until", 3, "--db", "a.db").exit_code == 2


def test_prune_wants_to_know_what(call, runs):
    """Nothing is dropped by default, and an age has a unit."""
    result = call("prune", "--db", "a.db")
    assert result.exit_code == 2
    assert "--keep, --older-than or --steps" in result.output
    result = call("prune", "--older-than", "30", "--db", "a.db")
    assert result.exit_code == 2
    assert "30d" in result.output


def test_prune_gives_the_space_back(call, document, runs, folder):
    """With --vacuum the file gets shorter."""
    call("prune", "--keep", 0, "--db", "a.db")
    before = (folder / "a.db").stat().st_size
    freed = document("prune", "--vacuum", "--db", "a.db")["vacuumed"]
    assert freed["after"] < freed["before"]
    assert (folder / "a.db").stat().st_size < before


def test_delete_deletes_one_run(call, document, runs):
    """A run is deleted by a beginning of its id; a fork keeps the one that it shares."""
    fork = document("fork", "toy.py:graph", "run-0", 2, "--db", "a.db")["run_id"]
    result = call("delete", "run-0", "--db", "a.db")
    assert result.exit_code == 1
    assert fork in result.output
    for one in (fork, "run-0"):
        assert "is deleted" in call("delete", one, "--db", "a.db").stdout
    assert ids(document) == ["run-4", "run-3", "run-2", "run-1"]
    assert call("delete", "run-0", "--db", "a.db").exit_code == 2


def test_backup_copies_the_database(call, document, runs, folder):
    """A copy has all runs, and overwrites nothing."""
    found = document("backup", "copy.db", "--db", "a.db")
    assert found["bytes"] == (folder / "copy.db").stat().st_size
    assert len(document("runs", "--db", "copy.db")) == 5
    assert call("backup", "copy.db", "--db", "a.db").exit_code == 2
