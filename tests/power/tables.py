"""All that a database holds, in a few letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import sha256
from typing import Any

__all__ = ["dump", "dump_of_nothing"]


def dump(execute: Callable[[str], Iterable[Any]]) -> str:
    """Digest all rows of all tables."""
    found = sha256()
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    for (name,) in list(execute(sql)):
        columns = ", ".join(f'"{row[1]}"' for row in list(execute(f"PRAGMA table_info({name})")))
        rows = list(execute(f"SELECT * FROM {name} ORDER BY {columns}"))
        found.update(repr((name, [tuple(row) for row in rows])).encode())
    return found.hexdigest()


def dump_of_nothing() -> str:
    """Digest a database without tables."""
    with closing(sqlite3.connect(":memory:")) as conn:
        return dump(conn.execute)
