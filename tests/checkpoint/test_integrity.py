"""Digests: whatever was changed in the file is found, and named by run and step."""

import sqlite3
from pathlib import Path

import pytest

from graphflow.checkpoint import sqlite_schema
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointCorruptError
from graphflow.records import Ending
from graphflow.testing.families import begin_child
from graphflow.testing.records import (
    NEW_SPEC_JSON,
    SPEC_JSON,
    TIME,
    a_fork,
    a_goto,
    a_header,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_adoption,
)
from tests.rig.forge import change, store_loose

FREE = {"runs": ["id"], "calls": ["id"]}
KEYS = {
    "attempts": ("run", "step", "key", "attempt"),
    "calls": ("id",),
    "items": ("run", "step", "key", "ix"),
    "questions": ("run", "step", "key", "name"),
    "memos": ("run", "step", "key", "name"),
    "adoptions": ("run", "step", "place"),
    "graphs": ("digest",),
}
"""What tells the rows of a table apart, where it is not run, step and ix."""
LOOSE = ("attempts", "calls", "items", "questions", "memos")
TABLES = ("graphs", "runs", "steps", "tasks", "decisions", "snapshots", "adoptions", *LOOSE)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Make a database with rows in every table: two runs, three steps, an open fourth."""
    db = tmp_path_factory.mktemp("full") / "runs.db"
    store = SqliteCheckpointer(db)
    for run_id in ("run-1", "run-2"):
        lease = store.begin(a_header(run_id), SPEC_JSON, a_step(0), a_snapshot(0), None)
        for step in (1, 2, 3):
            store_loose(store, lease, step)
            given = a_question(step, answer_json='"yes"', answered_at=TIME, answered_by="person")
            store.answer(lease, given)
            snapshot = {1: a_snapshot(1), 2: a_snapshot(2, since=1)}.get(step)
            done = a_step(step, tasks=2, joins=True, sends=True)
            if step == 3:
                done.heard = True
                done.tasks = (a_task(0, fell_back="template"), a_task(1, items=2))
            store.commit(lease, done, snapshot, None)
            if step != 2:
                store.adopt(lease, an_adoption(step, nodes={"a": "b"}), NEW_SPEC_JSON, ())
        store.adopt(lease, an_adoption(3, graph_digest="7" * 64, frontier=None), SPEC_JSON, ())
        store.keep(lease, 4, a_task(0, goto=a_goto(), items=3))
        store_loose(store, lease, 4)
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
    sqlite_schema.prepare(store, Path(":memory:"), may_write=True)
    for table in TABLES:
        for row in store.execute(f"PRAGMA table_info({table})"):
            if row[1] not in FREE.get(table, ()):
                yield table, row[1]
    store.close()


def changed(column, value):
    """Change a value a little, to what could stand there as well: nothing but a digest tells."""
    if column.endswith("_at"):
        return "2026-11-23T14:11:00.123456+00:00"
    if column.endswith("_json"):
        return "{}" if value is None else value + " "
    if value is None:
        return 1 if column.endswith(("_run", "_step", "_tokens")) else "x"
    return value + "x" if isinstance(value, str) else value + 1


@pytest.mark.parametrize(("table", "column"), list(columns()))
def test_a_changed_value_is_found(full, table, column):
    """A change of any column of any row is found, in the run and at the step where it is."""
    conn = sqlite3.connect(full)
    where = {"graphs": "1", "runs": "run_id = 'run-1'"}.get(table, "run = 1")
    if column == "run":
        where += " AND step < 4"  # the open step of a run that goes on: nothing counts its rows
    rows = conn.execute(f"SELECT {column}, * FROM {table} WHERE {where}").fetchall()
    names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
    conn.close()
    before = full.read_bytes()
    for old, *row in rows:
        keys = [name for name in names if name in KEYS.get(table, ("run_id", "run", "step", "ix"))]
        same = " AND ".join(f"{name} = ?" for name in keys) or "1"
        at = [row[names.index(name)] for name in keys]
        # A row that is moved must not meet another one
        new = 77 if column in ("run", "step", "ix", "place") else changed(column, old)
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
        ("DELETE FROM adoptions WHERE run = 1 AND step = 1", 2),
        ("DELETE FROM adoptions WHERE run = 1 AND place = 1", -1),
        ("DELETE FROM adoptions WHERE run = 1 AND step = 3 AND place = 0", 3),
        ("DELETE FROM adoptions WHERE run = 1 AND step = 3", -1),
        ("UPDATE runs SET adopted = NULL WHERE id = 1", -1),
        ("INSERT INTO adoptions SELECT 1, 2, place, graph_digest, graph_version, adopted_at, "
         "nodes_json, state_json, counters_json, fired_json, held_json, ready_json, children_json, "
         "digest FROM adoptions WHERE run = 2 AND step = 1", 2),
        ("DELETE FROM snapshots WHERE run = 1 AND step = 1", 1),
        ("DELETE FROM snapshots WHERE run = 1 AND step = 2", 2),
        ("DELETE FROM calls WHERE run = 1 AND step = 2", 2),
        ("DELETE FROM memos WHERE run = 1 AND step = 3", 3),
        ("UPDATE runs SET status = 'done' WHERE id = 1", -1),
        ("UPDATE runs SET budget_json = '{}', seal = substr(seal, 2) WHERE id = 1", -1),
        ("UPDATE tasks SET update_json = CAST(update_json AS BLOB) WHERE run = 1", -1),
        ("UPDATE tasks SET duration_ms = 'long' WHERE run = 1 AND step = 1", 1),
        ("UPDATE tasks SET duration_ms = CAST('1' AS BLOB) WHERE run = 1 AND step = 1", 1),
        ("UPDATE calls SET model = CAST(model AS BLOB) WHERE run = 1", 1),
    ],
)  # fmt: skip
def test_missing_and_swapped_rows_are_found(full, sql, step):
    """Rows that are missing, swapped or of another run are found."""
    change(full, sql)
    with pytest.raises(CheckpointCorruptError, match=r"run-1|BLOB") as caught:
        SqliteCheckpointer(full).load("run-1")
    assert caught.value.step == step
    assert caught.value.run_id == "run-1" or "BLOB" in str(caught.value)


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


@pytest.mark.parametrize("table", ["tasks", "snapshots", *LOOSE])
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
        ("UPDATE snapshots SET state_json = '' WHERE run = 1 AND step = 2", True),
        ("UPDATE snapshots SET state_json = '{}' WHERE run = 1 AND step = 1", True),
        ("UPDATE snapshots SET state_json = '{}' WHERE run = 1 AND step = 0", False),
        ("UPDATE tasks SET update_json = '{}' WHERE run = 1 AND step = 4", True),
        ("UPDATE attempts SET error = '' WHERE run = 1 AND step = 4", True),
        ("UPDATE items SET result_json = '' WHERE run = 1 AND step = 4", True),
        ("UPDATE questions SET prompt = '' WHERE run = 1 AND step = 4", True),
        ("UPDATE memos SET value_json = '' WHERE run = 1 AND step = 4", True),
        ("UPDATE items SET result_json = '' WHERE run = 1 AND step = 3", False),
        ("UPDATE questions SET answer_json = NULL WHERE run = 1 AND step = 3", False),
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


@pytest.mark.parametrize(
    "sql",
    [
        *(f"DELETE FROM {table} WHERE run = 1 AND step = 4" for table in (*LOOSE, "tasks")),
        "DELETE FROM steps WHERE run = 1 AND step = 3",
        "UPDATE runs SET reason = 'limit:steps' WHERE id = 1",
        "UPDATE runs SET status = 'done' WHERE id = 1",
    ],
)
@pytest.mark.parametrize("tail", [False, True])
def test_a_run_at_rest_misses_nothing(full, sql, tail):
    """Of a run that nobody advances every row is counted, those of its open step too."""
    store = SqliteCheckpointer(full)
    store.end(store.take("run-1", this_process()), Ending("paused", reason="question"))
    store.load("run-1", tail=tail)
    change(full, sql)
    with pytest.raises(CheckpointCorruptError, match="run-1"):
        store.load("run-1", tail=tail)
    if "steps" not in sql:
        with pytest.raises(CheckpointCorruptError, match="how it stands"):
            store.take("run-1", this_process())
    if "steps" not in sql and "done" not in sql:
        with pytest.raises(CheckpointCorruptError, match="how it stands"):
            store.stop("run-1", Ending("cancelled"))
    store.close()


def test_an_owner_can_be_taken_out_by_hand(full):
    """A run that was freed by hand is read and taken; one whose owner was changed is damaged."""
    store = SqliteCheckpointer(full)
    change(full, "UPDATE runs SET owner = NULL WHERE id = 1")
    change(full, "UPDATE runs SET owner = 'x' || owner WHERE id = 2")
    assert store.load("run-1").header.owner is None
    store.take("run-1", this_process())
    with pytest.raises(CheckpointCorruptError, match="how it stands"):
        store.take("run-2", this_process(), take_over=True)
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


# -- questions, children and forks ------------------------------------------------------------


@pytest.mark.parametrize("column", ["answer_json", "answered_at", "answered_by"])
def test_a_lost_answer_is_found(full, column):
    """An answer whose parts are gone is found, and a damaged question is not answered."""
    change(full, f"UPDATE questions SET {column} = NULL WHERE run = 1 AND step = 3")
    change(full, "UPDATE questions SET prompt = '' WHERE run = 2 AND step = 4")
    store = SqliteCheckpointer(full)
    with pytest.raises(CheckpointCorruptError, match="step 3 of run 'run-1'"):
        store.load("run-1")
    lease = store.take("run-2", this_process())
    with pytest.raises(CheckpointCorruptError, match="step 4 of run 'run-2'"):
        store.answer(lease, a_question(4, answer_json='"yes"', answered_by="person"))
    store.close()


@pytest.fixture
def family(db):
    """Make a run with two children in its second step, and a fork of it at the third."""
    store = SqliteCheckpointer(db)
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    store.commit(lease, a_step(1), None, None)
    for key in ("work#0", "work#1"):
        child = begin_child(store, lease, 2, key)
        for step in (1, 2):
            store.commit(child, a_step(step), None, None)
        store.end(child, Ending("done"))
    store.commit(lease, a_step(2, tasks=2), a_snapshot(2), None)
    store.commit(lease, a_step(3), None, None)
    fork = store.begin(a_fork("fork", "run-1", 3), SPEC_JSON, a_step(3), a_snapshot(3), None)
    store.commit(fork, a_step(4), None, None)
    assert store.load("fork").children == store.load("run-1").children
    store.close()
    return db


@pytest.mark.parametrize(
    ("sql", "run_id", "step"),
    [
        ("DELETE FROM steps WHERE run = 2 AND step = 2", "run-1", 2),
        ("DELETE FROM runs WHERE id = 3", "run-1", 2),
        ("UPDATE runs SET parent_task = 'x' WHERE id = 3", "run-1/2:work#1", -1),
        ("UPDATE runs SET parent_step = 1 WHERE id = 3", "run-1", 1),
        ("UPDATE tasks SET node = 'x' WHERE run = 3 AND step = 1", "run-1/2:work#1", 1),
    ],
)
def test_a_damaged_child_is_found_with_its_parent(family, sql, run_id, step):
    """What is missing of a child is found by the digest of its parent's step."""
    change(family, sql)
    store = SqliteCheckpointer(family)
    for whole in ("run-1", "fork"):
        with pytest.raises(CheckpointCorruptError) as caught:
            store.load(whole)
        assert (caught.value.run_id, caught.value.step) == (run_id, step)
    store.close()


def test_the_tail_knows_the_children_of_its_steps(family):
    """A step after the snapshot is checked with its children, one before it is not read."""
    store = SqliteCheckpointer(family)
    assert [step.step for step in store.load("run-1", tail=True).steps] == [2, 3]
    change(family, "DELETE FROM steps WHERE run = 2 AND step = 2")
    with pytest.raises(CheckpointCorruptError, match="step 2 of run 'run-1'"):
        store.load("run-1", tail=True)
    assert [step.step for step in store.load("fork", tail=True).steps] == [3, 4]
    store.close()


@pytest.mark.parametrize(
    ("sql", "run_id", "step"),
    [
        ("UPDATE tasks SET node = 'x' WHERE run = 1 AND step = 1", "run-1", 1),
        ("DELETE FROM steps WHERE run = 1 AND step = 2", "run-1", 2),
        ("DELETE FROM steps WHERE run = 4 AND step = 3", "fork", 3),
        ("UPDATE runs SET fork_step = 2 WHERE id = 4", "fork", -1),
        ("UPDATE runs SET fork_of = 4 WHERE id = 4", "fork", -1),
        ("UPDATE runs SET fork_of = NULL WHERE id = 4", "fork", -1),
        ("UPDATE runs SET input_json = '{}' WHERE id = 1", "run-1", -1),
    ],
)
def test_damage_in_what_a_fork_shares_is_found(family, sql, run_id, step):
    """Damage of the steps that a fork shares is found, in the run where it is."""
    change(family, sql)
    store = SqliteCheckpointer(family)
    with pytest.raises(CheckpointCorruptError) as caught:
        store.load("fork")
    assert (caught.value.run_id, caught.value.step) == (run_id, step)
    store.close()


def test_what_a_fork_does_not_share_may_be_damaged(family):
    """Damage of steps that a fork does not share does not keep it from being read."""
    change(family, "UPDATE tasks SET node = 'x' WHERE run = 1 AND step = 3")
    store = SqliteCheckpointer(family)
    assert [step.step for step in store.load("fork").steps] == [0, 1, 2, 3, 4]
    store.close()


@pytest.mark.parametrize("column", ["parent_run", "fork_of"])
def test_circles_are_damage(family, column):
    """Runs that are each other's parents or origins are found damaged, and hang nobody."""
    for one, other in ((1, 4), (4, 1), (2, 3), (3, 2)):
        change(family, f"UPDATE runs SET {column} = ?, fork_step = 2 WHERE id = ?", other, one)
    store = SqliteCheckpointer(family)
    for run_id in ("run-1", "fork", "run-1/2:work#0"):
        with pytest.raises(CheckpointCorruptError):
            store.load(run_id)
        store.spent(run_id)
        store.stop(run_id, Ending("cancelled"))
    store.close()
    conn = sqlite3.connect(family)
    assert conn.execute("SELECT count(*) FROM run_summary").fetchone() is not None
    conn.close()


@pytest.mark.parametrize("ending", [None, Ending("paused", "question")])
@pytest.mark.parametrize("tables", [["memos"], ["tasks"], ["steps", "tasks", "decisions"]])
def test_the_end_of_a_run_is_counted_when_it_is_let_go_of(db, ending, tables):
    """Whole rows that are gone from it are missed then, and not while it is advanced."""
    store = SqliteCheckpointer(db, durability="normal")
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    store.commit(lease, a_step(1), None, None)
    store.commit(lease, a_step(2), None, None)
    at = 2 if "steps" in tables else 3
    if at == 3:
        store_loose(store, lease, 3)
        store.keep(lease, 3, a_task(0))
    if ending is not None:
        store.end(lease, ending)
    store.close()
    for table in tables:
        change(db, f"DELETE FROM {table} WHERE step = ?", at)
    store = SqliteCheckpointer(db, durability="normal")
    if ending is None:
        assert store.load("run-1").header.step == (2 if at == 3 else 1)
        assert list(store.verify()) == []
    else:
        with pytest.raises(CheckpointCorruptError):
            store.load("run-1")
    store.close()
