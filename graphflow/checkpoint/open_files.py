"""The database files that this process has open: one connection for each."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import RLock, get_ident

from graphflow.checkpoint.sqlite_connect import Durability
from graphflow.checkpoint.sqlite_file import SqliteFile
from graphflow.errors import DatabaseUnavailableError

__all__ = ["open_file", "release_file"]


class _Registry:
    """The files that this process has open."""

    def __init__(self) -> None:
        self.files: dict[tuple[int, int], SqliteFile] = {}
        self.resting: dict[int, list[SqliteFile]] = {}
        """Those that rest while a thread forks, by that thread."""
        self.of_parent: list[sqlite3.Cursor] = []
        self.lock = RLock()  # a checkpointer may be collected, and so released, during an opening

    def before_fork(self) -> None:
        """Close all connections: a child must have no copy of them. None is opened until then."""
        asked: list[SqliteFile] = []
        resting = self.resting[get_ident()] = []
        self.lock.acquire()
        while files := [file for file in self.files.values() if file not in asked]:
            for file in files:  # none is closed meanwhile
                file.users += 1
            asked += files
            self.lock.release()  # who uses a file may want it, to release another one
            try:
                resting.extend(file for file in files if file.rest())
            finally:
                self.lock.acquire()
        for file in asked:
            if file not in resting:
                release_file(file)

    def after_in_parent(self) -> None:
        """Open them again."""
        self.lock.release()
        for file in self.resting.pop(get_ident(), ()):
            file.go_on()
            release_file(file)

    def after_in_child(self) -> None:
        """Let go of what is the parent's."""
        self.lock = RLock()
        for file in self.files.values():
            self.of_parent += file.begin_anew()
        for file in self.resting.pop(get_ident(), ()):
            release_file(file)
        self.resting.clear()


_registry = _Registry()
os.register_at_fork(
    before=_registry.before_fork,
    after_in_parent=_registry.after_in_parent,
    after_in_child=_registry.after_in_child,
)


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
                with suppress(FileExistsError):
                    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                    os.close(os.open(os.path.realpath(path), flags, 0o600))
            info = path.stat()
        except OSError as error:
            raise DatabaseUnavailableError(f"{path} cannot be made: {error.strerror}") from error
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
