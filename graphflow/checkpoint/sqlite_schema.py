"""The tables of a database of runs: how they came, and whether they are ours."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.guard import refuse_strange_parts
from graphflow.checkpoint.sqlite_tables import (
    CHANGES_3,
    CHANGES_4,
    CHANGES_5,
    CHANGES_6,
    CHANGES_7,
    CHANGES_8,
    CHANGES_9,
    TABLES,
    VIEWS,
    VIEWS_3,
)
from graphflow.errors import NotADatabaseError

if TYPE_CHECKING:
    from sqlite3 import Connection

    from sqlite_utils import Database

__all__ = ["prepare"]

_SET: Final = "graphflow"


def _create_tables(db: "Database") -> None:
    for statement in TABLES:
        db.execute(statement)


def _create_views(db: "Database") -> None:
    for name, sql in VIEWS.items():
        db.create_view(name, sql, replace=True)


def _add_families_and_pauses(db: "Database") -> None:
    for statement in CHANGES_3:
        db.execute(statement)
    for name, sql in VIEWS_3.items():
        db.create_view(name, sql, replace=True)


def _add_partial_snapshots(db: "Database") -> None:
    for statement in CHANGES_4:
        db.execute(statement)


def _add_seals(db: "Database") -> None:
    for statement in CHANGES_5:
        db.execute(statement)


def _add_adoptions(db: "Database") -> None:
    for statement in CHANGES_6:
        db.execute(statement)


def _add_shared_values(db: "Database") -> None:
    for statement in CHANGES_7:
        db.execute(statement)


def _add_pruning(db: "Database") -> None:
    for statement in CHANGES_8:
        db.execute(statement)


def _add_encryption(db: "Database") -> None:
    for statement in CHANGES_9:
        db.execute(statement)


# A released migration never changes; a change of the tables is one more at the end.
_MIGRATIONS: Final[tuple[tuple[str, Callable[["Database"], None]], ...]] = (
    ("m001_tables", _create_tables),
    ("m002_views", _create_views),
    ("m003_families_and_pauses", _add_families_and_pauses),
    ("m004_partial_snapshots", _add_partial_snapshots),
    ("m005_seals", _add_seals),
    ("m006_adoptions", _add_adoptions),
    ("m007_shared_values", _add_shared_values),
    ("m008_pruning", _add_pruning),
    ("m009_encryption", _add_encryption),
)


def prepare(
    conn: "Connection", path: Path, *, may_write: bool, new_lock: tuple[str, str] | None = None
) -> None:
    """Make the tables of a new database, or see that an existing one is ours and of today.

    Args:
        conn: Open on the file, not in a transaction.
        path: The file, for messages.
        may_write: Whether tables may be made.
        new_lock: The salt and the check of the key that a new database gets; None: it gets none.

    Raises:
        NotADatabaseError: It is somebody else's, or of a newer graphflow. It is left as it was.
    """
    known = [name for name, _ in _MIGRATIONS]
    refuse_strange_parts(conn, path)
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
    _migrate(conn, path, new_lock)


def _applied(conn: "Connection", path: Path) -> list[str]:
    # What should be text and was made bytes by damage is still told as text
    found = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    names = {str(name) for (name,) in found}
    if "_sqlite_migrations" in names:
        found = conn.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id", (_SET,)
        )
        applied = [str(name) for (name,) in found]
        if applied:
            return applied
    if names:
        shown = ", ".join(sorted(names)[:5])
        raise NotADatabaseError(
            f"{path} is a database, but not of graphflow (it has {shown}); it was left as it is. "
            "Give the runs a file of their own."
        )
    return []


def _migrate(conn: "Connection", path: Path, new_lock: tuple[str, str] | None) -> None:
    from sqlite_utils import Database, Migrations  # 60-170 ms to import, and only here

    migrations = Migrations(_SET)
    for name, function in _MIGRATIONS:
        migrations(name=name)(function)
    conn.execute("BEGIN IMMEDIATE")
    try:
        is_new = not _applied(conn, path)
        # Plugins of other programs and settings of the connection stay out
        migrations.apply(Database(conn, recursive_triggers=False, execute_plugins=False))
        if is_new and new_lock is not None:
            conn.execute("INSERT INTO encryption (salt, key_check) VALUES (?, ?)", new_lock)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
