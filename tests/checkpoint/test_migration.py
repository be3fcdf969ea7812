"""Databases of the first release: they are read, resumed and shown by today's code."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointCorruptError, NotADatabaseError
from graphflow.records import Ending, Sent
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    SPEC_JSON,
    a_call,
    a_failure,
    a_fork,
    a_goto,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    facts,
)
from tests.rig.forge import change

OLD = Path(__file__).parent.parent / "data" / "runs_v1.db"
"""Written by version 0.1.0: a run that was paused by its limit, one that is done, and `open`, made
of the records of `graphflow.testing.records`, whose third step is open."""


@pytest.fixture
def old(db):
    """Copy that database, which is brought up to date when it is opened."""
    shutil.copy(OLD, db)
    return db


def test_an_old_run_is_read_as_it_was(old):
    """All records of a run from before are read, with the digests that they were given then."""
    written = sqlite3.connect(f"file:{OLD}?mode=ro&immutable=1", uri=True)
    digests = [own for (own,) in written.execute("SELECT digest FROM steps ORDER BY run, step")]
    written.close()
    store = SqliteCheckpointer(old)
    assert [h.run_id for h in store.runs()] == ["open", "done", "paused"]  # the last begun first
    records = store.load("open")
    assert facts(records.steps) == facts(
        [a_step(0), a_step(1, tasks=2, joins=True), a_step(2, tasks=2, joins=True)]
    )
    assert facts(records.kept) == facts([a_task(0, goto=a_goto())])
    assert records.attempts == [a_failure(1), a_failure(2), a_failure(3, key="work#1")]
    assert records.calls == [a_call(1), a_call(2)]
    assert [s.step for s in records.snapshots] == [0, 2]
    header = records.header
    assert (header.budget_json, header.heard, header.parent, header.fork_of) == (
        "{}", None, None, None,
    )  # fmt: skip
    found = [s.digest for name in ("paused", "done", "open") for s in store.load(name).steps]
    assert found == digests
    store.close()


def test_an_old_run_goes_on(old):
    """A run from before is taken and advanced with all that is new; its digests go on."""
    store = SqliteCheckpointer(old)
    lease = store.take("open", this_process(), budget_json='{"calls":9}')
    store.ask(lease, a_question(3))
    store.answer(lease, a_question(3, answer_json='"yes"', answered_by="person"))
    store.commit(begin_child(store, lease, 3), a_step(1), None, Ending("done"))
    step = a_step(3, tasks=2, sends=True)
    step.tasks = (step.tasks[0], a_task(1, items=2, fell_back="template"))
    step.heard = True
    store.commit(lease, step, a_snapshot(3), None)
    store.commit(lease, a_step(4), None, Ending("done"))
    records = store.load("open")
    assert [s.step for s in records.steps] == [0, 1, 2, 3, 4]
    assert records.steps[3].tasks[1].fell_back == "template"
    assert isinstance(records.steps[3].sends["work#0"], Sent)
    assert (records.header.heard, records.header.status) == (3, "done")
    assert store.load("open", tail=True).header == records.header
    fork = store.begin(a_fork("fork", "paused", 2), SPEC_JSON, a_step(2), a_snapshot(2), None)
    store.commit(fork, a_step(3), None, None)
    assert [s.step for s in store.load("fork").steps] == [0, 1, 2, 3]
    store.close()


def test_damage_from_before_is_found(old):
    """The migration seals nothing anew: what was damaged before it is still found."""
    change(old, "UPDATE tasks SET update_json = '{}' WHERE run = 1 AND step = 2")
    store = SqliteCheckpointer(old)
    with pytest.raises(CheckpointCorruptError, match="step 2 of run 'paused'"):
        store.load("paused")
    store.close()


def test_the_views_are_of_today(old):
    """The views of an old database are the new ones after it has been opened."""
    store = SqliteCheckpointer(old)
    begin_run(store)
    store.close()
    conn = sqlite3.connect(old)
    rows = conn.execute("SELECT run_id, children, unanswered, calls FROM run_summary").fetchall()
    assert rows == [("done", 0, 0, 0), ("paused", 0, 0, 0), ("run-1", 0, 0, 0), ("open", 0, 0, 2)]
    assert conn.execute("SELECT count(*) FROM path WHERE fell_back IS NULL").fetchone()[0] > 5
    assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
    conn.close()


def test_an_old_database_that_cannot_be_written(old, small_disk):
    """On a read-only disk an old database says that it must be brought up to date first."""
    folder, remount = small_disk
    shutil.copy(old, folder / "runs.db")
    remount("ro")
    with pytest.raises(NotADatabaseError, match="older graphflow"):
        SqliteCheckpointer(folder / "runs.db").runs()
    remount("rw")
