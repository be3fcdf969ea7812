"""Digests: whatever was changed in the file is found, and named by run and step."""

import sqlite3

import pytest

from graphflow.checkpoint import sqlite_schema
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointCorruptError
from graphflow.testing.records import (
    SPEC_JSON,
    a_call,
    a_failure,
    a_goto,
    a_header,
    a_snapshot,
    a_step,
    a_task,
)

FREE = {
    # These change during a run, and no digest covers them; a row that is gone is another matter
    "runs": ["id", "status", "reason", "error_type", "error", "ended_at", "limits_json", "epoch",
             "owner", "taken_at"],
    "calls": ["id", "run"],
    "attempts": ["run"],
    "snapshots": ["run"],
}  # fmt: skip
TABLES = ("graphs", "runs", "steps", "tasks", "decisions", "attempts", "calls", "snapshots")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Make a database with rows in every table: two runs, three steps, an open fourth."""
    db = tmp_path_factory.mktemp("full") / "runs.db"
    store = SqliteCheckpointer(db)
    for run_id in ("run-1", "run-2"):
        lease = store.begin(a_header(run_id), SPEC_JSON, a_step(0), a_snapshot(0), None)
        for step in (1, 2, 3):
            store.fail(lease, a_failure(step))
            store.call(lease, a_call(step))
            snapshot = a_snapshot(step) if step == 2 else None
            store.commit(lease, a_step(step, tasks=2, joins=True), snapshot, None)
        store.keep(lease, 4, a_task(0, goto=a_goto()))
        store.fail(lease, a_failure(4))
    store.close()
    return db.read_bytes()


@pytest.fixture
def full(db, content):
    """Copy that database, to be damaged."""
    db.write_bytes(content)
    return db


def columns():
    """List every column of every table, but those that no digest covers."""
    store = sqlite3.connect(":memory:")
    for statement in sqlite_schema._TABLES:
        store.execute(statement)
    for table in TABLES:
        for row in store.execute(f"PRAGMA table_info({table})"):
            if row[1] not in FREE.get(table, ()):
                yield table, row[1]
    store.close()


def change(db, sql, *values):
    """Change the file behind the checkpointer's back."""
    conn = sqlite3.connect(db)
    conn.execute(sql, values)
    conn.commit()
    conn.close()


def changed(value):
    """Change a value a little."""
    if value is None:
        return 1
    return value + "x" if isinstance(value, str) else value + 1


@pytest.mark.parametrize(("table", "column"), list(columns()))
def test_a_changed_value_is_found(full, table, column):
    """A change of any column of any row is found, in the run and at the step where it is."""
    conn = sqlite3.connect(full)
    where = {"graphs": "1", "runs": "run_id = 'run-1'"}.get(table, "run = 1")
    if (table, column) == ("tasks", "run"):
        where += " AND step < 4"  # a kept task that is gone was never kept
    rows = conn.execute(f"SELECT {column}, * FROM {table} WHERE {where}").fetchall()
    names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
    conn.close()
    before = full.read_bytes()
    for old, *row in rows:
        keys = [name for name in names if name in ("run_id", "run", "step", "ix", "key", "attempt")]
        same = " AND ".join(f"{name} = ?" for name in keys) or "1"
        at = [row[names.index(name)] for name in keys]
        # A row that is moved must not meet another one
        new = 77 if column in ("run", "step", "ix") else changed(old)
        change(full, f"UPDATE {table} SET {column} = ? WHERE {same}", new, *at)
        run_id = "run-1x" if column == "run_id" else "run-1"
        with pytest.raises(CheckpointCorruptError, match=run_id) as caught:
            SqliteCheckpointer(full).load(run_id)
        assert caught.value.run_id == run_id
        if "step" in names and column not in ("step", "run"):
            step = row[names.index("step")]
            assert caught.value.step == step or (table, column) == ("steps", "digest")
        full.write_bytes(before)


@pytest.mark.parametrize(
    ("sql", "step"),
    [
        ("DELETE FROM steps WHERE run = 1 AND step = 2", 2),
        ("DELETE FROM steps WHERE run = 1", 0),
        ("DELETE FROM tasks WHERE run = 1 AND step = 2 AND ix = 1", 2),
        ("DELETE FROM decisions WHERE run = 1 AND step = 3", 3),
        ("UPDATE tasks SET ix = 1 - ix + 10 WHERE run = 1 AND step = 2", 2),
        ("UPDATE steps SET digest = (SELECT digest FROM steps WHERE run = 2 AND step = 1) "
         "WHERE run = 1 AND step = 1", 1),
        ("DELETE FROM graphs", -1),
    ],
)  # fmt: skip
def test_missing_and_swapped_rows_are_found(full, sql, step):
    """Rows that are missing, swapped or of another run are found."""
    change(full, sql)
    with pytest.raises(CheckpointCorruptError, match="run-1") as caught:
        SqliteCheckpointer(full).load("run-1")
    assert (caught.value.run_id, caught.value.step) == ("run-1", step)


def test_other_runs_still_load(full):
    """Damage in one run does not keep another from being read or advanced."""
    change(full, "UPDATE steps SET arrows_json = '[]' WHERE run = 1")
    store = SqliteCheckpointer(full)
    with pytest.raises(CheckpointCorruptError):
        store.load("run-1")
    assert store.load("run-2").header.step == 3
    assert len(store.runs()) == 2
    lease = store.take("run-2", this_process())
    store.commit(lease, a_step(4, tasks=2), None, None)
    assert store.load("run-2").header.step == 4
    store.close()


@pytest.mark.parametrize("table", ["tasks", "attempts", "calls", "snapshots"])
def test_a_row_that_went_elsewhere_is_found_there(full, table):
    """A loose row that is moved is damage of the run it went to, or a foreign key to none."""
    before = full.read_bytes()
    last = f"step = (SELECT max(step) FROM {table} WHERE run = 1)"
    change(full, f"DELETE FROM {table} WHERE run = 2 AND {last}")
    change(full, f"UPDATE {table} SET run = 2 WHERE run = 1 AND {last}")
    with pytest.raises(CheckpointCorruptError, match="run-2"):
        SqliteCheckpointer(full).load("run-2")
    full.write_bytes(before)
    change(full, f"UPDATE {table} SET run = 77 WHERE run = 1 AND {last}")
    conn = sqlite3.connect(full)
    assert table in {row[0] for row in conn.execute("PRAGMA foreign_key_check")}
    conn.close()


@pytest.mark.parametrize(
    ("sql", "is_found"),
    [
        ("UPDATE steps SET ready_json = '[]' WHERE run = 1 AND step = 3", True),
        ("UPDATE steps SET ready_json = '[]' WHERE run = 1 AND step = 2", True),
        ("UPDATE snapshots SET state_json = '{}' WHERE run = 1 AND step = 2", True),
        ("UPDATE tasks SET update_json = '{}' WHERE run = 1 AND step = 4", True),
        ("UPDATE attempts SET error = '' WHERE run = 1 AND step = 4", True),
        ("UPDATE steps SET ready_json = '[]' WHERE run = 1 AND step = 1", False),
        ("UPDATE calls SET model = '' WHERE run = 1", False),
    ],
)
def test_the_tail_is_checked_from_its_snapshot_on(full, sql, is_found):
    """Reading the tail checks what it reads, and only that."""
    change(full, sql)
    store = SqliteCheckpointer(full)
    if is_found:
        with pytest.raises(CheckpointCorruptError, match="run-1"):
            store.load("run-1", tail=True)
    else:
        assert [s.step for s in store.load("run-1", tail=True).steps] == [2, 3]
    store.close()


def test_the_chain_goes_on_after_a_take(full):
    """Who takes a run continues the digests where the last owner left them."""
    store = SqliteCheckpointer(full)
    lease = store.take("run-1", this_process())
    store.commit(lease, a_step(4, tasks=2), a_snapshot(4), None)
    store.commit(lease, a_step(5), None, None)
    digests = [step.digest for step in store.load("run-1").steps]
    assert len(set(digests)) == 6
    assert all(len(digest) == 64 for digest in digests)
    store.close()
