"""What SQLite reports, as graphflow's errors that say what to do."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from graphflow.errors import (
    CheckpointCorruptError,
    CheckpointError,
    CheckpointTooLargeError,
    DatabaseUnavailableError,
    NotADatabaseError,
)

__all__ = ["SQLITE_SAYS", "locked", "translated"]

SQLITE_SAYS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What its module raises; the words of SQLite on a damaged schema may be no UTF-8."""

_UNAVAILABLE: Final = {
    "SQLITE_READONLY": "cannot be written: the file or its folder is read-only, or another user's",
    "SQLITE_FULL": "cannot grow: the disk is full. Free some space, then go on",
    "SQLITE_CANTOPEN": "cannot be opened: check that the file and its folder may be read and "
    "written",
    "SQLITE_PERM": "cannot be opened: the file may not be read",
    "SQLITE_AUTH": "cannot be opened: access was refused",
    "SQLITE_IOERR": "cannot be read or written: the disk reports an error; see the system's log",
    "SQLITE_NOLFS": "cannot grow: the file system takes no longer files",
    "SQLITE_NOMEM": "cannot be used: there is not enough memory",
    "SQLITE_PROTOCOL": "cannot be locked: the file system does not support it; use a local disk",
}


_DAMAGE: Final = ("decode to UTF-8", "can't decode byte", "JSON cannot hold BLOB")


def locked(path: Path, seconds: float) -> DatabaseUnavailableError:
    """Say that somebody else kept the database for too long."""
    return DatabaseUnavailableError(
        f"{path} has been locked by another process for {seconds:g} s; nothing was stored. "
        f"`fuser {path}` names who has it open; try again when it is done."
    )


def translated(
    error: sqlite3.Error | UnicodeDecodeError, path: Path, seconds: float
) -> CheckpointError:
    """Turn an error of SQLite into one of graphflow's.

    Args:
        error: What SQLite reported.
        path: The file.
        seconds: How long a lock was waited for.
    """
    name = getattr(error, "sqlite_errorname", None) or ""
    kind = "_".join(name.split("_")[:2])  # without the extended part: SQLITE_IOERR_WRITE
    if kind in ("SQLITE_BUSY", "SQLITE_LOCKED"):
        return locked(path, seconds)
    if kind in _UNAVAILABLE:
        words = _read_only(path) if kind == "SQLITE_READONLY" else _UNAVAILABLE[kind]
        return DatabaseUnavailableError(f"{path} {words}. Nothing was stored. ({error})")
    if kind == "SQLITE_NOTADB":
        return NotADatabaseError(
            f"{path} is not a SQLite database; it was left as it is. Give the runs another file."
        )
    if kind == "SQLITE_CORRUPT" or any(words in str(error) for words in _DAMAGE):
        return CheckpointCorruptError(
            f"{path} is damaged ({error}). Restore it from a backup, or save what can be read: "
            f"`sqlite3 {path} .recover`"
        )
    if kind == "SQLITE_TOOBIG":
        return CheckpointTooLargeError(
            f"{path}: a text is longer than may be stored or read; nothing was stored. Keep it "
            "in a file and its path in the state, or raise SqliteCheckpointer(max_bytes=)."
        )
    if kind == "SQLITE_ERROR":
        return NotADatabaseError(f"{path} has not the tables of graphflow: {error}")
    return CheckpointError(f"{path}: {error}")


def _read_only(path: Path) -> str:
    """Name what may not be written: a file beside the database may have had another mode."""
    real = path.resolve()  # the files beside it stand there, by whichever link it is opened
    parts = [real, *(real.with_name(real.name + end) for end in ("-wal", "-shm")), real.parent]
    shut = [part for part in parts if part.exists() and not os.access(part, os.W_OK)]
    if not shut:
        return _UNAVAILABLE["SQLITE_READONLY"]
    names = " and ".join(map(str, shut))
    return f"cannot be written: {names} may not be; `chmod u+w` makes what is yours writable"
