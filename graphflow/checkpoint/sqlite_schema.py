"""The tables of a database of runs: what they are, how they came, and whether they are ours.

Measured for 1,000 steps of one task of 200 bytes and one decision (SQLite 3.40.1; median per
step): steps, tasks and decisions WITHOUT ROWID take 28 us on tmpfs and 145 on disk, with rowids 34
and 160; the file is as long, 0.66 MB. (From 20 kB a task rowids win by a tenth.) Rows that are
long or few, of calls and snapshots, have rowids.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graphflow.errors import NotADatabaseError

if TYPE_CHECKING:
    from sqlite3 import Connection

    from sqlite_utils import Database

__all__ = ["prepare"]

_SET: Final = "graphflow"

_TABLES: Final = (
    """
    CREATE TABLE graphs (
        digest TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        spec_json TEXT NOT NULL,
        created_at TEXT NOT NULL,
        row_digest TEXT NOT NULL
    )""",
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        graph TEXT NOT NULL,
        graph_version INTEGER NOT NULL,
        graph_digest TEXT NOT NULL REFERENCES graphs(digest),
        status TEXT NOT NULL,
        reason TEXT,
        error_type TEXT,
        error TEXT,
        created_at TEXT NOT NULL,
        ended_at TEXT,
        thread_id TEXT,
        input_json TEXT NOT NULL,
        limits_json TEXT NOT NULL,
        tags_json TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        owner TEXT,
        taken_at TEXT,
        parent_run INTEGER REFERENCES runs(id),
        parent_step INTEGER,
        parent_task TEXT,
        fork_of INTEGER REFERENCES runs(id),
        fork_step INTEGER,
        fork_json TEXT,
        digest TEXT NOT NULL
    )""",
    "CREATE INDEX runs_created_at ON runs(created_at)",
    """
    CREATE TABLE steps (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        committed_at TEXT NOT NULL,
        arrows_json TEXT NOT NULL,
        fired_json TEXT NOT NULL,
        held_json TEXT NOT NULL,
        ready_json TEXT NOT NULL,
        derived_json TEXT,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE tasks (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        ix INTEGER NOT NULL,
        key TEXT NOT NULL,
        node TEXT NOT NULL,
        update_json TEXT,
        started_at TEXT NOT NULL,
        duration_ms REAL NOT NULL,
        attempts INTEGER NOT NULL,
        reads_json TEXT NOT NULL,
        replaces_json TEXT NOT NULL,
        goto_json TEXT,
        digest TEXT,
        PRIMARY KEY (run, step, ix)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE decisions (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        ix INTEGER NOT NULL,
        source TEXT NOT NULL,
        router TEXT NOT NULL,
        kind TEXT NOT NULL,
        options_json TEXT NOT NULL,
        chosen TEXT NOT NULL,
        answer TEXT,
        reason TEXT NOT NULL,
        confidence REAL,
        evidence_json TEXT NOT NULL,
        details_json TEXT,
        PRIMARY KEY (run, step, ix),
        FOREIGN KEY (run, step) REFERENCES steps(run, step)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE attempts (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        key TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        node TEXT NOT NULL,
        started_at TEXT NOT NULL,
        duration_ms REAL NOT NULL,
        error_type TEXT NOT NULL,
        error TEXT NOT NULL,
        traceback TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step, key, attempt)
    )""",
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        key TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        started_at TEXT NOT NULL,
        duration_ms REAL NOT NULL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        cached_tokens INTEGER,
        request_json TEXT NOT NULL,
        response_json TEXT,
        error TEXT,
        digest TEXT NOT NULL
    )""",
    "CREATE INDEX calls_run_step_key ON calls(run, step, key)",
    """
    CREATE TABLE snapshots (
        run INTEGER NOT NULL,
        step INTEGER NOT NULL,
        state_json TEXT NOT NULL,
        counters_json TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step),
        FOREIGN KEY (run, step) REFERENCES steps(run, step)
    )""",
)

_VIEWS: Final = {
    "path": """
        SELECT runs.run_id, tasks.step, tasks.key, tasks.node,
            (SELECT group_concat(coalesce(answer, chosen), '; ') FROM decisions
                WHERE run = tasks.run AND step = tasks.step AND source = tasks.node) AS decision,
            (SELECT group_concat(reason, '; ') FROM decisions
                WHERE run = tasks.run AND step = tasks.step AND source = tasks.node) AS reason,
            tasks.attempts, round(tasks.duration_ms, 3) AS ms,
            (SELECT sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) FROM calls
                WHERE run = tasks.run AND step = tasks.step AND key = tasks.key) AS tokens
        FROM tasks
            JOIN steps ON steps.run = tasks.run AND steps.step = tasks.step
            JOIN runs ON runs.id = tasks.run
        ORDER BY tasks.run, tasks.step, tasks.ix""",
    "run_summary": """
        SELECT run_id, graph, graph_version, status, reason, error_type, error,
            (SELECT max(step) FROM steps WHERE run = runs.id) AS steps,
            (SELECT count(*) FROM tasks WHERE run = runs.id) AS tasks,
            (SELECT count(*) FROM decisions WHERE run = runs.id) AS decisions,
            (SELECT count(*) FROM attempts WHERE run = runs.id) AS failures,
            (SELECT count(*) FROM calls WHERE run = runs.id) AS calls,
            (SELECT sum(input_tokens) FROM calls WHERE run = runs.id) AS input_tokens,
            (SELECT sum(output_tokens) FROM calls WHERE run = runs.id) AS output_tokens,
            (SELECT round(sum(duration_ms), 3) FROM tasks WHERE run = runs.id) AS task_ms,
            created_at, ended_at, thread_id, tags_json
        FROM runs
        ORDER BY created_at DESC, id DESC""",
    "failures": """
        SELECT runs.run_id, attempts.step, attempts.key, attempts.node, attempts.attempt,
            attempts.error_type, attempts.error,
            EXISTS (SELECT 1 FROM tasks WHERE run = attempts.run AND step = attempts.step
                AND key = attempts.key) AS recovered,
            attempts.started_at, round(attempts.duration_ms, 3) AS ms
        FROM attempts JOIN runs ON runs.id = attempts.run
        ORDER BY attempts.started_at""",
}


def _create_tables(db: "Database") -> None:
    for statement in _TABLES:
        db.execute(statement)


def _create_views(db: "Database") -> None:
    for name, sql in _VIEWS.items():
        db.create_view(name, sql, replace=True)


# A released migration never changes; a change of the tables is one more at the end.
_MIGRATIONS: Final[tuple[tuple[str, Callable[["Database"], None]], ...]] = (
    ("m001_tables", _create_tables),
    ("m002_views", _create_views),
)


def prepare(conn: "Connection", path: Path, *, may_write: bool) -> None:
    """Make the tables of a new database, or see that an existing one is ours and of today.

    Args:
        conn: Open on the file, not in a transaction.
        path: The file, for messages.
        may_write: Whether tables may be made.

    Raises:
        NotADatabaseError: It is somebody else's, or of a newer graphflow. It is left as it was.
    """
    known = [name for name, _ in _MIGRATIONS]
    applied = _applied(conn, path)
    newer = sorted(set(applied) - set(known))
    if newer:
        raise NotADatabaseError(
            f"{path} was written by a newer graphflow (it has {', '.join(newer)}): "
            "`pip install -U graphflow-agents`"
        )
    if applied == known:
        return
    if not may_write:
        raise NotADatabaseError(
            f"{path} is of an older graphflow or empty, and it is read-only here: make it "
            "writable, so that its tables can be brought up to date"
        )
    _migrate(conn)


def _applied(conn: "Connection", path: Path) -> list[str]:
    names = {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    if "_sqlite_migrations" in names:
        found = conn.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id", (_SET,)
        )
        applied = [name for (name,) in found]
        if applied:
            return applied
    if names:
        shown = ", ".join(sorted(names)[:5])
        raise NotADatabaseError(
            f"{path} is a database, but not of graphflow (it has {shown}); it was left as it is. "
            "Give the runs a file of their own."
        )
    return []


def _migrate(conn: "Connection") -> None:
    from sqlite_utils import Database, Migrations  # 60-170 ms to import, and only here

    migrations = Migrations(_SET)
    for name, function in _MIGRATIONS:
        migrations(name=name)(function)
    conn.execute("BEGIN IMMEDIATE")
    try:
        # Plugins of other programs and settings of the connection stay out
        migrations.apply(Database(conn, recursive_triggers=False, execute_plugins=False))
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
