"""The tables of a database of runs: how they came, and whether they are ours."""

from collections.abc import Callable, Mapping, Sequence
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
)
from graphflow.checkpoint.sqlite_views import VIEWS, VIEWS_3, VIEWS_10
from graphflow.errors import NotADatabaseError

if TYPE_CHECKING:
    from sqlite3 import Connection

    from sqlite_utils import Database

__all__ = ["prepare"]

_SET: Final = "graphflow"


def _change(
    statements: Sequence[str] = (), views: Mapping[str, str] | None = None
) -> Callable[["Database"], None]:
    """Make a migration of statements, and of views that replace those of their names."""

    def migrate(db: "Database") -> None:
        for statement in statements:
            db.execute(statement)
        for name, sql in (views or {}).items():
            db.create_view(name, sql, replace=True)

    return migrate


# A released migration never changes; a change of the tables is one more at the end.
_MIGRATIONS: Final[tuple[tuple[str, Callable[["Database"], None]], ...]] = (
    ("m001_tables", _change(TABLES)),
    ("m002_views", _change(views=VIEWS)),
    ("m003_families_and_pauses", _change(CHANGES_3, VIEWS_3)),
    ("m004_partial_snapshots", _change(CHANGES_4)),
    ("m005_seals", _change(CHANGES_5)),
    ("m006_adoptions", _change(CHANGES_6)),
    ("m007_shared_values", _change(CHANGES_7)),
    ("m008_pruning", _change(CHANGES_8)),
    ("m009_encryption", _change(CHANGES_9)),
    ("m010_updates_of_texts", _change(views=VIEWS_10)),
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
