"""Copies of a whole database, and giving back the space that is free in it.

A copy is made from a snapshot that SQLite keeps for one reader, so that writers go on meanwhile and
the copy never begins anew; the log grows as long as it takes.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from graphflow.checkpoint.sqlite_errors import SQLITE_SAYS, locked, translated
from graphflow.checkpoint.writers_lock import WritersLock
from graphflow.errors import DatabaseUnavailableError
from graphflow.upkeep import Vacuumed

__all__ = ["copy_database", "put_in_place", "vacuum"]

_PATIENCE: Final = 10.0  # seconds to wait for others
_PAGES: Final = 512  # that are copied at once: Ctrl-C is heard between


@contextmanager
def copy_database(source: Path, target: Path) -> Iterator[Path]:
    """Copy a database beside the place where the copy is to be, for somebody to look at it.

    Args:
        source: The database.
        target: Where the copy is to be; nothing is there.

    Yields:
        Where the copy is until it is put in place; after an error it is removed.

    Raises:
        DatabaseUnavailableError: Something is there already, or the copy cannot be written.
    """
    if target.exists():
        raise _in_the_way(target)
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise _in_the_way(part) from None
    except OSError as error:
        raise DatabaseUnavailableError(f"{part} cannot be made: {error.strerror}") from error
    try:
        _copy(source, part)
        yield part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        for end in ("-wal", "-shm", "-journal"):
            part.with_name(part.name + end).unlink(missing_ok=True)


def put_in_place(part: Path, target: Path) -> None:
    """Give a copy its name, unless something has it by now.

    Raises:
        DatabaseUnavailableError: Something has.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        raise _in_the_way(target) from None
    except OSError:  # a file system without links
        if target.exists():
            raise _in_the_way(target) from None
        part.rename(target)
    part.unlink(missing_ok=True)
    with suppress(OSError):  # not every system syncs a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def vacuum(path: Path) -> Vacuumed:
    """Write a database anew without the space that is free in it; see `SqliteCheckpointer`."""
    try:
        lock = WritersLock(path, _PATIENCE)
        try:
            with lock.opening(), closing(_connect(path, "mode=rw")) as conn:
                before = _length(conn, path)
                conn.execute("VACUUM")
                conn.execute("PRAGMA busy_timeout = 0")  # no writer waits for a reader here
                busy, *_ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            lock.close()
    except TimeoutError:
        raise locked(path, _PATIENCE) from None
    except SQLITE_SAYS as error:
        raise translated(error, path, _PATIENCE) from error
    return Vacuumed(before, path.stat().st_size, is_read=bool(busy))


def _length(conn: sqlite3.Connection, path: Path) -> int:
    """Say how long a database is with what only its log has so far."""
    (pages,), (size,) = (conn.execute(f"PRAGMA page_{it}").fetchone() for it in ("count", "size"))
    return int(max(pages * size, path.stat().st_size))


def _copy(source: Path, part: Path) -> None:
    culprit = source
    try:
        with closing(_begun(source)) as old, closing(_connect(part, "mode=rw")) as new:
            culprit = part
            old.backup(new, pages=_PAGES)
    except SQLITE_SAYS as error:
        raise translated(error, culprit, _PATIENCE) from error


def _begun(source: Path, how: str = "mode=ro") -> sqlite3.Connection:
    """Open a database in one transaction: else each commit of another begins a copy anew."""
    conn = _connect(source, how)
    try:
        conn.execute("BEGIN")
        conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        conn.close()
        # Without a log and on a read-only disk, SQLite cannot make the index of the log
        cannot = isinstance(error, sqlite3.OperationalError) and how == "mode=ro"
        if not cannot or Path(f"{source.resolve()}-wal").exists():
            raise
        return _begun(source, "immutable=1")
    return conn


def _connect(path: Path, how: str) -> sqlite3.Connection:
    name = f"{path.absolute().as_uri()}?{how}"
    conn = sqlite3.connect(name, uri=True, timeout=_PATIENCE, isolation_level=None)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
        conn.execute(f"PRAGMA {pragma}")
    return conn


def _in_the_way(path: Path) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"{path} is there already, and nothing was written: take another name, or remove it."
    )
