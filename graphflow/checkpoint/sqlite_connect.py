"""How a connection to a database of runs is opened: to write in it, or only to read it."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from graphflow.checkpoint.guard import guard
from graphflow.checkpoint.sqlite_errors import SQLITE_SAYS, locked, translated
from graphflow.checkpoint.sqlite_points import connection_kind
from graphflow.checkpoint.sqlite_schema import prepare
from graphflow.checkpoint.writers_lock import WritersLock
from graphflow.errors import DatabaseUnavailableError

__all__ = ["Durability", "How", "to_read", "to_write"]

Durability = Literal["full", "normal"]
_SYNCHRONOUS: Final = {
    "full": "PRAGMA synchronous = FULL",
    "normal": "PRAGMA synchronous = NORMAL",
}


@dataclass(frozen=True, slots=True)
class How:
    """How a file is opened.

    Attributes:
        durability: See `SqliteCheckpointer`.
        new_lock: Of a file without tables: the salt and the check of the key that it gets.
        most: How long one stored text, or row, may be, in bytes.
        patience: Seconds to wait for another writer.
        log: From how many bytes on the log is cut off when it has been copied.
    """

    durability: Durability
    new_lock: tuple[str, str] | None
    most: int
    patience: float
    log: int


def to_write(path: Path, how: How, writers: WritersLock, log: Path) -> sqlite3.Connection:
    """Connect to a file in order to write in it; its tables are made, or brought up to date.

    Args:
        path: The file, which exists.
        how: How it is opened.
        writers: The lock of its writers.
        log: Where SQLite has its log.

    Raises:
        NotADatabaseError: It is something else. It is left as it was.
        DatabaseUnavailableError: It is locked, or where SQLite cannot share memory.
    """
    try:
        with writers.opening():
            try:
                return _writable(path, how)
            except BaseException:
                if not log.exists():
                    writers.remove()
                raise
    except TimeoutError:
        raise locked(path, how.patience) from None
    except SQLITE_SAYS as error:
        raise translated(error, path, how.patience) from error


def to_read(path: Path, how: How, log: Path) -> tuple[sqlite3.Connection, bool]:
    """Connect to a file that cannot be written here.

    Args:
        path: The file, which exists.
        how: How it is opened.
        log: Where SQLite has its log.

    Returns:
        The connection, and whether it holds only as long as nobody writes: SQLite looks for no
        changes then.

    Raises:
        NotADatabaseError: It is something else, or has not the tables of today.
        DatabaseUnavailableError: It cannot be read.
    """
    try:
        try:
            return _readable(path, "mode=ro", how), False
        except sqlite3.OperationalError:
            # Without a log and on a read-only disk, SQLite cannot make the index of the log
            if log.exists():
                raise
            return _readable(path, "immutable=1", how), True
    except SQLITE_SAYS as error:
        raise translated(error, path, how.patience) from error


def _writable(path: Path, how: How) -> sqlite3.Connection:
    conn = _connected(path, "mode=rw", how)
    try:
        prepare(conn, path, may_write=True, new_lock=how.new_lock)
        _set_up(conn, path, how)
    except BaseException:
        conn.close()
        raise
    return conn


def _readable(path: Path, mode: str, how: How) -> sqlite3.Connection:
    conn = _connected(path, mode, how)
    try:
        prepare(conn, path, may_write=False)
    except BaseException:
        conn.close()
        raise
    return conn


def _connected(path: Path, mode: str, how: How) -> sqlite3.Connection:
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=how.patience,
        isolation_level=None,
        check_same_thread=False,
        factory=connection_kind(),
    )
    try:
        guard(conn, how.most)
    except BaseException:
        conn.close()
        raise
    return conn


def _set_up(conn: sqlite3.Connection, path: Path, how: How) -> None:
    (mode,) = conn.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise DatabaseUnavailableError(
            f"{path} is on a file system without shared memory, which graphflow needs; "
            "put it on a local disk."
        )
    conn.execute(_SYNCHRONOUS[how.durability])
    conn.execute("PRAGMA wal_autocheckpoint = 0")
    # A sync of what is written over takes half as long as one of what makes the file longer; so
    # the log is not cut off, unless it is long: its length still says when it must be copied
    longest = how.log - 1
    conn.execute(f"PRAGMA journal_size_limit = {longest}")
