"""Database files that somebody prepared, or that others may read."""

from __future__ import annotations

import ast
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphflow.checkpoint import guard
from graphflow.checkpoint.digest import storable
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Lease
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    CheckpointTooLargeError,
    GraphflowError,
    InputError,
    NotADatabaseError,
    RunNotFoundError,
)
from graphflow.records import Ending, MemoRecord
from graphflow.testing.records import (
    SPEC_JSON,
    a_header,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
)
from tests.checkpoint import golden

CHECKPOINT = Path(guard.__file__).parent


def test_a_planted_trigger_never_runs(db: Path) -> None:
    """A file with a trigger on any table is refused before anything is written."""
    golden.write(db).close()
    conn = sqlite3.connect(db)
    tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    for table in tables:
        if not table.startswith("sqlite_"):
            conn.execute(
                f"CREATE TRIGGER t_{table} AFTER INSERT ON {table} BEGIN DELETE FROM runs; END"
            )
            conn.commit()
            before = conn.execute("SELECT count(*) FROM runs").fetchone()
            with pytest.raises(NotADatabaseError, match=f"trigger 't_{table}'"):
                SqliteCheckpointer(db)
            assert conn.execute("SELECT count(*) FROM runs").fetchone() == before
            conn.execute(f"DROP TRIGGER t_{table}")
            conn.commit()
    conn.close()
    SqliteCheckpointer(db).close()


def test_planted_views_columns_and_tables_do_nothing(db: Path) -> None:
    """Views in the place of ours and columns that compute are not looked at; functions are none."""
    golden.write(db).close()
    conn = sqlite3.connect(db)
    conn.execute("DROP VIEW path")
    conn.execute("CREATE VIEW path AS SELECT load_extension('/tmp/x.so') AS run_id")
    conn.execute(
        "ALTER TABLE tasks ADD COLUMN y TEXT GENERATED ALWAYS AS (hex(zeroblob(9))) VIRTUAL"
    )
    conn.commit()
    store = SqliteCheckpointer(db)
    assert store.load("done").header.status == "done"
    conn.execute("CREATE VIRTUAL TABLE f USING fts5(x)")
    conn.commit()
    conn.close()
    store.close()
    with pytest.raises(NotADatabaseError, match="virtual table 'f"):
        SqliteCheckpointer(db)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_files_are_the_owners_alone(db: Path, mask: int) -> None:
    """The database, its log, its index and its lock have mode 0600 whatever the umask is."""
    before = os.umask(mask)
    try:
        store = SqliteCheckpointer(db)
        store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
        found = {path.name: path.stat().st_mode & 0o777 for path in db.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert {"runs.db", "runs.db-wal", "runs.db-shm"} <= found.keys()
    assert set(found.values()) == {0o600}, found


def a_memo_too_long(
    db: Path, length: int, *, max_bytes: int
) -> tuple[SqliteCheckpointer, Lease, MemoRecord]:
    """Begin a run in a store with a bound, and see that a memo above that is refused."""
    store = SqliteCheckpointer(db, max_bytes=max_bytes)
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    memo = a_memo(1)
    memo.value_json = '"' + "x" * length + '"'
    with pytest.raises(CheckpointTooLargeError, match="max_bytes"):
        store.memo(lease, memo)
    return store, lease, memo


def test_a_long_value_is_refused_by_size(db: Path) -> None:
    """What is longer than allowed is neither written nor read; who allows more reads it."""
    store, lease, memo = a_memo_too_long(db, 60_000, max_bytes=50_000)
    assert store.load("run-1").memos == []
    generous = SqliteCheckpointer(db, max_bytes=200_000)
    store.memo(lease, memo)
    assert generous.load("run-1").memos == [memo]
    generous.close()
    store.close()
    with pytest.raises(CheckpointTooLargeError, match="max_bytes"):
        SqliteCheckpointer(db, max_bytes=50_000).load("run-1")


def test_a_bound_below_the_default_holds(db: Path) -> None:
    """A smaller bound than the default is kept; no number, or one no table fits in, is none."""
    store, lease, memo = a_memo_too_long(db, 20_000, max_bytes=10_000)
    other = SqliteCheckpointer(db)
    store.memo(lease, memo)
    other.close()
    store.close()
    with pytest.raises(CheckpointTooLargeError, match="max_bytes"):
        SqliteCheckpointer(db, max_bytes=10_000).load("run-1")
    for wrong in (1000, "x", True, 2**31):
        with pytest.raises(ValueError, match="max_bytes="):
            SqliteCheckpointer(db, max_bytes=wrong)  # type: ignore[arg-type]  # on purpose


# -- SQL is made of constants ----------------------------------------------------------------------


def strings_of(tree: ast.AST) -> set[str]:
    """Name what a function is given or makes: no SQL may be built of it."""
    return {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}


HANDLES = {"execute", "executemany", "executescript"}


@pytest.mark.parametrize("path", sorted(CHECKPOINT.glob("*.py")), ids=lambda p: p.stem)
def test_sql_has_no_values_in_it(path: Path) -> None:
    """What is given to `execute` is a constant, or built of constants and our own names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        given_in = strings_of(function) - {"self", "cursor", "conn", "sql"}
        for call in ast.walk(function):
            is_sql = isinstance(call, ast.Call) and getattr(call.func, "attr", "") in HANDLES
            if not is_sql or not call.args:
                continue
            for part in ast.walk(call.args[0]):
                if isinstance(part, ast.FormattedValue):
                    names = {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
                    assert not names & (given_in - OWN_NAMES), (path.stem, call.lineno, names)


OWN_NAMES = {"table", "column", "lease", "table_name"}
"""Parameters that never come from outside: names of our tables and columns, and a lease's fence."""

HOSTILE = st.one_of(
    st.sampled_from([
        "'; DROP TABLE runs; --", "%", "_", "a%b_c", "\x00", "a\x00b", "\U0001f4a9", "x" * 10_000,
        "*", "?", "[a-z]", "\\", '"', "''", "0", "-1", "NULL", "run-1", "run-1/2:work", "\u202e",
        "\ud800",
    ]),
    st.text(max_size=30),
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)  # fmt: skip
@given(run_id=HOSTILE, graph=HOSTILE, thread=HOSTILE, words=HOSTILE)
def test_hostile_names_are_only_names(tmp_path: Path, run_id: str, graph: str, thread: str,
                                      words: str) -> None:  # fmt: skip
    """Ids, graphs, threads and words of any kind are stored as they are, and find themselves."""
    db = tmp_path / "names.db"
    db.unlink(missing_ok=True)
    store = SqliteCheckpointer(db)
    header = a_header(run_id, graph=graph, thread_id=thread, owner=this_process())
    try:
        lease = store.begin(header, SPEC_JSON, a_step(0), a_snapshot(0), None)
    except GraphflowError:
        store.close()
        return
    known = lease.run_id
    store.ask(lease, a_question(1, prompt=words))
    store.end(lease, Ending("paused", words))
    assert known in [h.run_id for h in store.runs()]
    assert store.load(known).header.graph_version == 1
    if known == run_id:
        assert [h.run_id for h in store.runs(graph=graph) if h.run_id == run_id] == [run_id]
    for prefix in (words, run_id[:3]):
        try:
            found = store.find(prefix)
        except RunNotFoundError:
            continue
        except InputError:
            assert prefix == ""
            continue
        assert found.startswith(storable(prefix))
    store.close()
