"""SQL statements as fail points: a connection and a cursor that tell of each one that writes.

They stand in for sqlite3's own while `failpoints.hit` is set.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from graphflow import failpoints

__all__ = ["PointConnection", "PointCursor", "connection_kind", "point_of", "telling"]

_NAME: Final = r"[\"\[]?(\w+)"
_WRITES: Final = (
    (re.compile(rf"\bINSERT (?:OR \w+ )?INTO {_NAME}", re.IGNORECASE), "insert"),
    (re.compile(rf"\bDELETE FROM {_NAME}", re.IGNORECASE), "delete"),
    (re.compile(rf"\bUPDATE (?:OR \w+ )?{_NAME}\W? SET {_NAME}", re.IGNORECASE), "update"),
)
_ALONE: Final = (
    ("BEGIN IMMEDIATE", "begin"),
    ("COMMIT", "commit"),
    ("ROLLBACK", "rollback"),
    ("CREATE", "schema"),
    ("ALTER", "schema"),
    ("DROP", "schema"),
    ("VACUUM", "vacuum"),
    ("PRAGMA wal_checkpoint", "checkpoint"),
)
_HAVE_AN_END: Final = {"commit", "checkpoint"}


@lru_cache(maxsize=512)
def point_of(sql: str) -> str | None:
    """Name the point of a statement.

    Returns:
        `insert.steps`, `update.runs.epoch`, `commit`, ...; None of one that writes nothing.
    """
    text = sql.strip()
    for start, name in _ALONE:
        if text.upper().startswith(start.upper()):
            return name
    for pattern, verb in _WRITES:
        if found := pattern.search(text):
            return ".".join((verb, *found.groups()))
    return None


class PointCursor(sqlite3.Cursor):
    """Tells of each statement that writes, before it does; of a commit also after it."""

    def execute(self, sql: str, parameters: Any = (), /) -> "PointCursor":
        """Do as sqlite3's own does, and tell of it."""
        self._told(sql, lambda: super(PointCursor, self).execute(sql, parameters))
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> "PointCursor":
        """Do as sqlite3's own does, and tell of it."""
        self._told(sql, lambda: super(PointCursor, self).executemany(sql, parameters))
        return self

    _writes = False  # a transaction that only reads is rolled back, too

    def _told(self, sql: str, do: Callable[[], object]) -> None:
        point, hit = point_of(sql), failpoints.hit
        self._writes |= point == "begin"
        if point is None or hit is None or (point == "rollback" and not self._writes):
            do()
            return
        has_an_end = point in _HAVE_AN_END
        hit(f"{point}.before" if has_an_end else point)
        do()
        if has_an_end:
            hit(f"{point}.after")


class PointConnection(sqlite3.Connection):
    """A connection all of whose cursors tell."""

    def cursor(self, factory: Any = PointCursor) -> Any:
        """Make a cursor that tells."""
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Do as sqlite3's own does, with such a cursor."""
        return self.cursor().execute(sql, parameters)


def connection_kind() -> type[sqlite3.Connection]:
    """Give the class of a connection that is about to be opened."""
    return sqlite3.Connection if failpoints.hit is None else PointConnection


def telling(cursor: sqlite3.Cursor) -> sqlite3.Cursor:
    """Give a cursor of the same connection that tells."""
    return cursor.connection.cursor(PointCursor)
