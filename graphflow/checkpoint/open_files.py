"""The database files that this process has open: one connection for each."""

import os
import sqlite3
from pathlib import Path
from threading import RLock

from graphflow.checkpoint.sqlite_file import Durability, SqliteFile
from graphflow.errors import DatabaseUnavailableError

__all__ = ["open_file", "release_file"]


class _Registry:
    """The files that this process has open."""

    def __init__(self) -> None:
        self.files: dict[tuple[int, int], SqliteFile] = {}
        self.of_parent: list[sqlite3.Cursor] = []
        self.lock = RLock()  # a checkpointer may be collected, and so released, during an opening

    def after_fork(self) -> None:
        """In a forked child: touch nothing of the parent's connections."""
        self.lock = RLock()
        for file in self.files.values():
            # Closing one here could empty the log under the parent's feet
            self.of_parent += file.leave_to_parent()


_registry = _Registry()
os.register_at_fork(after_in_child=_registry.after_fork)


def open_file(
    path: Path, durability: Durability, new_lock: tuple[str, str] | None = None
) -> SqliteFile:
    """Open a file, or share the connection that this process has; make a file if there is none.

    Args:
        path: The file; its folder exists.
        durability: See `SqliteCheckpointer`.
        new_lock: Of a file that is made: the salt and the check of its key.

    Returns:
        The connection; call `release_file` when done.

    Raises:
        NotADatabaseError: It is something else. It is left as it was.
        DatabaseUnavailableError: It cannot be opened.
    """
    with _registry.lock:
        try:
            if not path.exists():
                # Opened and closed before any connection is: closing any of its descriptors
                # would drop the locks of all connections of this process.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            raise DatabaseUnavailableError(f"{path} cannot be made: {error.strerror}") from error
        info = path.stat()
        file = _registry.files.get((info.st_dev, info.st_ino))
        if file is None or file.is_closed:
            file = _registry.files[info.st_dev, info.st_ino] = SqliteFile(
                path, durability, new_lock
            )
        file.users += 1
    file.require(durability)
    return file


def release_file(file: SqliteFile) -> None:
    """Say that one checkpointer is done with a file; after the last one it is closed."""
    with _registry.lock:
        file.users -= 1
        if file.users:
            return
        for key in [key for key, known in _registry.files.items() if known is file]:
            del _registry.files[key]
        file.close()
