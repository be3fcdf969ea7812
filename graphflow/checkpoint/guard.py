"""What a file that may be hostile cannot do to who opens it."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphflow.errors import NotADatabaseError

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["guard", "limit", "refuse_strange_parts"]

_GUARDS: Final = ("trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = ON")
_RUNS: Final = (
    "SELECT type, name FROM sqlite_master WHERE type = 'trigger' "
    "OR (type = 'table' AND sql LIKE 'CREATE VIRTUAL%') ORDER BY name"
)


def guard(conn: "Connection", most: int) -> None:
    """Let a file neither run functions from its schema nor be trusted in its pages.

    Args:
        conn: To that file.
        most: See `limit`.
    """
    for pragma in _GUARDS:
        conn.execute(f"PRAGMA {pragma}")
    # Of a new file: a step changes a page of three tables each, and the log has whole pages
    conn.execute("PRAGMA page_size = 2048")
    limit(conn, most)
    if hasattr(conn, "setconfig"):  # from Python 3.12 on
        of: Any = sqlite3
        conn.setconfig(of.SQLITE_DBCONFIG_DEFENSIVE, True)
        conn.setconfig(of.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)


def limit(conn: "Connection", most: int) -> None:
    """Say how long one stored text, or row, may be, in bytes."""
    conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most)


def refuse_strange_parts(conn: "Connection", path: Path) -> None:
    """Refuse a file with parts that do something when a run is written.

    Raises:
        NotADatabaseError: It has a trigger or a virtual table. It is left as it was.
    """
    found = conn.execute(_RUNS).fetchall()
    if found:
        kind, name = found[0]
        what = "trigger" if kind == "trigger" else "virtual table"
        raise NotADatabaseError(
            f"{path} has a {what} {name!r}, which graphflow never makes and which would run when a "
            "run is written; the file was left as it is. Drop it if it is yours, or index a copy."
        )
