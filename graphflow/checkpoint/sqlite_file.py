"""One SQLite file as graphflow opens it: one connection per process, its transactions, its care.

All checkpointers of a process on one file share a connection. It is in WAL mode, syncs every
commit unless told otherwise, and copies the log into the file itself, under the writers' lock.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock, RLock
from typing import Final, Literal, TypeVar

from graphflow.checkpoint.sqlite_errors import locked, translated
from graphflow.checkpoint.sqlite_schema import prepare
from graphflow.checkpoint.writers_lock import WritersLock
from graphflow.errors import DatabaseUnavailableError

__all__ = ["Durability", "SqliteFile", "open_file", "release_file"]

Durability = Literal["full", "normal"]

_T = TypeVar("_T")
_PATIENCE: Final = 10.0  # seconds to wait for another writer
_LONG_LOG: Final = 4_000_000  # bytes
_LOOK_EVERY: Final = 32  # commits; one of a small step writes some 15 kB to the log


class SqliteFile:
    """The connection of this process to one file.

    Attributes:
        path: The file.
        users: How many checkpointers share it.
        is_closed: The last one has closed it.
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        self.path = path
        self.users = 0
        self.is_closed = False
        self._durability = durability
        self._wal = path.with_name(path.name + "-wal")
        self._name = str(path)
        info = path.stat()
        self._inode, self._device = info.st_ino, info.st_dev
        self._read_only = not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        self._lock = Lock()
        self._writers: WritersLock | None = None
        self._commits = 0
        # One cursor for all: making one for each statement takes half a microsecond
        self._cursor: sqlite3.Cursor | None = self._open()

    def write(self, work: Callable[[sqlite3.Cursor], _T]) -> _T:
        """Do something in one transaction: all of it is durable then, or none.

        Args:
            work: What to do; an exception from it rolls everything back.

        Returns:
            What `work` returned.

        Raises:
            DatabaseUnavailableError: Locked, read-only, full or gone.
            CheckpointCorruptError: SQLite found the file damaged.
        """
        with self._lock:
            cursor, writers = self._ready(), self._writers
            if writers is None:
                raise DatabaseUnavailableError(
                    f"{self.path} cannot be written: the file or its folder is read-only. "
                    "Nothing was stored; make both writable, or take another file."
                )
            try:
                with writers:
                    try:
                        cursor.execute("BEGIN IMMEDIATE")
                        result = work(cursor)
                        cursor.execute("COMMIT")
                    except BaseException:
                        if cursor.connection.in_transaction:
                            cursor.execute("ROLLBACK")
                        raise
                    self._commits += 1
                    if not self._commits % _LOOK_EVERY:
                        self._shorten_log(cursor)
                    return result
            except TimeoutError:
                raise locked(self.path, _PATIENCE) from None
            except sqlite3.Error as error:
                raise translated(error, self.path, _PATIENCE) from error

    def read(self, work: Callable[[sqlite3.Cursor], _T]) -> _T:
        """Read something as it is at one moment, whatever others write meanwhile.

        Args:
            work: What to read.

        Returns:
            What `work` returned.

        Raises:
            DatabaseUnavailableError: Locked or gone.
            CheckpointCorruptError: SQLite found the file damaged.
        """
        with self._lock:
            cursor = self._ready()
            try:
                cursor.execute("BEGIN")
                try:
                    return work(cursor)
                finally:
                    if cursor.connection.in_transaction:
                        cursor.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise translated(error, self.path, _PATIENCE) from error

    def require(self, durability: Durability) -> None:
        """Sync every commit from now on, if one of the checkpointers wants that."""
        if durability == "full" != self._durability:
            with self._lock:
                self._durability = durability
                self._ready().execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Close the connection; the last one to do so empties the log into the file."""
        with self._lock:
            cursor, self._cursor, self.is_closed = self._cursor, None, True
            writers, self._writers = self._writers, None
            if cursor is None or writers is None:
                if cursor is not None:
                    cursor.connection.close()
                return
            try:
                with writers:
                    cursor.connection.close()
                    if not self._wal.exists():
                        writers.remove()
            except TimeoutError:
                raise locked(self.path, _PATIENCE) from None
            finally:
                writers.close()

    def leave_to_parent(self) -> list[sqlite3.Cursor]:
        """In a forked child: give the parent's connection away, to open an own one when needed."""
        parents = [self._cursor] if self._cursor else []
        if self._writers is not None:
            self._writers.close()
        self._cursor, self._writers, self._lock = None, None, Lock()
        return parents

    def _ready(self) -> sqlite3.Cursor:
        if self.is_closed:
            raise DatabaseUnavailableError(
                f"{self.path} has been closed here; compile the graph with it again."
            )
        if self._cursor is None:
            self._cursor = self._open()
        try:
            # A file that was deleted can still be written, and everything in it is lost
            info = os.stat(self._name)  # noqa: PTH116 - on the hot path; a Path costs three times as much
            if info.st_ino == self._inode and info.st_dev == self._device:
                return self._cursor
        except FileNotFoundError:
            pass
        raise DatabaseUnavailableError(
            f"{self.path} was deleted or replaced while it was open; nothing was stored. "
            "Put it back, or compile the graph with it again to begin a new one."
        )

    def _shorten_log(self, cursor: sqlite3.Cursor) -> None:
        try:
            if self._wal.stat().st_size > _LONG_LOG:
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (OSError, sqlite3.Error):
            # The step is committed, and must not seem to have failed: the log only stays long,
            # and a disk that is full or broken will say so at the next commit.
            return

    def _open(self) -> sqlite3.Cursor:
        try:
            if self._read_only:
                return self._connect_to_read().cursor()
            writers = WritersLock(self.path, _PATIENCE)
            try:
                with writers.opening():
                    conn = self._connect_to_write(writers)
            except BaseException:
                writers.close()
                raise
        except TimeoutError:
            raise locked(self.path, _PATIENCE) from None
        except sqlite3.Error as error:
            raise translated(error, self.path, _PATIENCE) from error
        self._writers = writers
        return conn.cursor()

    def _connect_to_write(self, writers: WritersLock) -> sqlite3.Connection:
        try:
            return self._connect("mode=rw")
        except BaseException:
            if not self._wal.exists():
                writers.remove()
            raise

    def _connect_to_read(self) -> sqlite3.Connection:
        try:
            return self._connect("mode=ro")
        except sqlite3.OperationalError:
            # Without a log and on a read-only disk, SQLite cannot make the index of the log
            if self._wal.exists():
                raise
            return self._connect("immutable=1")

    def _connect(self, mode: str) -> sqlite3.Connection:
        conn = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{mode}",
            uri=True,
            timeout=_PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # A hostile file must not run functions from its schema, nor be trusted in its pages
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = ON"):
                conn.execute(f"PRAGMA {pragma}")
            prepare(conn, self.path, may_write=not self._read_only)
            if not self._read_only:
                self._set_up(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    def _set_up(self, conn: sqlite3.Connection) -> None:
        (mode,) = conn.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise DatabaseUnavailableError(
                f"{self.path} is on a file system without shared memory, which graphflow needs; "
                "put it on a local disk."
            )
        conn.execute(f"PRAGMA synchronous = {self._durability.upper()}")
        conn.execute("PRAGMA wal_autocheckpoint = 0")
        conn.execute("PRAGMA journal_size_limit = 0")  # so that its length says what is in it


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


def open_file(path: Path, durability: Durability) -> SqliteFile:
    """Open a file, or share the connection that this process has; make a file if there is none.

    Args:
        path: The file; its folder exists.
        durability: See `SqliteCheckpointer`.

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
            file = _registry.files[info.st_dev, info.st_ino] = SqliteFile(path, durability)
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
