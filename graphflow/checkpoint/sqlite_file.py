"""One SQLite file as graphflow opens it: one connection per process, its transactions, its care.

All checkpointers of a process on one file share a connection. It is in WAL mode, syncs every
commit unless told otherwise, and copies the log into the file itself, under the writers' lock.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, Final, TypeVar

from graphflow import failpoints
from graphflow.checkpoint.guard import limit
from graphflow.checkpoint.owner import is_alive
from graphflow.checkpoint.sqlite_connect import Durability, How, to_read, to_write
from graphflow.checkpoint.sqlite_errors import SQLITE_SAYS, locked, translated
from graphflow.checkpoint.sqlite_group import Place, Teller, Verbs, do_all, settle_all, take_group
from graphflow.checkpoint.sqlite_points import telling
from graphflow.checkpoint.writers_lock import WritersLock, lock_of
from graphflow.errors import DatabaseUnavailableError, GraphflowError
from graphflow.stored import MAX_BYTES

__all__ = ["SqliteFile"]

_T = TypeVar("_T")
_PATIENCE: Final = 10.0  # seconds to wait for another writer
_LONG_LOG: Final = 1_000_000  # bytes; a new file has had them after some ninety small steps
_LOOK_EVERY: Final = 32  # commits; one of a small step writes some 15 kB to the log
_NAP: Final = 0.5  # seconds until a thread looks again whether it can go on, woken or not
_FAILURES: Final = (sqlite3.Error, MemoryError)  # after which SQLite may have undone all itself


class SqliteFile:
    """The connection of this process to one file.

    Attributes:
        path: The file.
        users: How many checkpointers share it.
        transactions: How many were committed through this connection.
        is_closed: The last one has closed it.
        lives: Tells whether a process that writes to it lives.
    """

    def __init__(
        self, path: Path, durability: Durability, new_lock: tuple[str, str] | None = None
    ) -> None:
        self.path = path
        self.users = self.transactions = self._allowed = 0
        self.is_closed = self._is_frozen = False
        real = os.path.realpath(path)
        self._lock_path, self._wal, self._name = lock_of(real), Path(f"{real}-wal"), str(path)
        self.lives = partial(is_alive, lock=self._lock_path)
        self._durability, self._new_lock, self._max_bytes = durability, new_lock, MAX_BYTES
        info = path.stat()
        self._inode, self._device = info.st_ino, info.st_dev
        folder = Path(real).parent  # where SQLite has the log, by whichever link it is opened
        self._read_only = not (os.access(path, os.W_OK) and os.access(folder, os.W_OK))
        self._lock = Lock()
        self._writers: WritersLock | None = None
        self._queue: deque[Place] = deque()
        self._verbs: Verbs | None = None
        # One cursor for all: making one for each statement takes half a microsecond
        self._cursor: sqlite3.Cursor | None = self._open()

    def write(self, work: Callable[[sqlite3.Cursor], _T], teller: Teller | None = None) -> _T:
        """Do something in one transaction: all of it is durable then, or none.

        Threads that write while another one commits share the next transaction.

        Args:
            work: What to do; an exception from it undoes all that it did.
            teller: Is told once it is durable.

        Returns:
            What `work` returned.

        Raises:
            DatabaseUnavailableError: Locked, read-only, full or gone.
            CheckpointCorruptError: SQLite found the file damaged.
        """
        verbs = self._verbs
        try:
            if verbs is not None and verbs.thread == get_ident():
                result: _T = verbs.write(work, teller)
                return result
            if self._queue or self._lock.locked():
                return self._queue_up(Place(work, teller, is_portable=True))  # type: ignore[no-any-return]  # a Place holds works of any kind
            with self._lock:
                return self._transact(work, None if teller is None else teller.done)
        except SQLITE_SAYS as error:
            raise translated(error, self.path, _PATIENCE) from error
        finally:
            if self._queue:
                self._wake_next()

    def together(self, verbs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Call functions whose verbs share one transaction; see `Checkpointer.together`."""
        around = self._verbs
        if around is not None and around.thread == get_ident():
            return around.call(verbs)
        group = Verbs(verbs)

        def work(cursor: sqlite3.Cursor) -> list[Any]:
            self._verbs = group
            try:
                return group(cursor)
            finally:
                self._verbs = None

        try:
            result: list[Any] = self._queue_up(Place(work, group, is_portable=False))
        except Exception as error:  # noqa: BLE001 - it is given to each of them
            group.take_back()
            if isinstance(error, SQLITE_SAYS):
                error = translated(error, self.path, _PATIENCE)
            return [error] * len(verbs)
        except BaseException:
            group.take_back()
            raise
        return result

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
        verbs = self._verbs
        try:
            if verbs is not None and verbs.thread == get_ident():
                return verbs.read(work)
            with self._lock:
                cursor = self._ready()
                try:  # Ctrl-C may come as soon as the transaction has begun
                    cursor.execute("BEGIN")
                    return work(cursor)
                finally:
                    if cursor.connection.in_transaction:
                        cursor.execute("ROLLBACK")
                    if self._is_frozen:  # somebody may begin to write: the next reader looks again
                        self._disconnect()
        except SQLITE_SAYS as error:
            raise translated(error, self.path, _PATIENCE) from error
        finally:
            if self._queue:
                self._wake_next()

    def require(self, durability: Durability) -> None:
        """Sync every commit from now on, if one of the checkpointers wants that."""
        if durability == "full" != self._durability:
            with self._lock:
                self._durability = durability
                self._ready().execute("PRAGMA synchronous = FULL")

    def allow(self, max_bytes: int) -> None:
        """Take texts of up to so many bytes, or what another checkpointer allows if it is more."""
        with self._lock:
            self._max_bytes = self._allowed = max(self._allowed, max_bytes)
            limit(self._ready().connection, self._max_bytes)

    def close(self) -> None:
        """Close the connection; the last one to do so empties the log into the file.

        Where another process keeps the lock, the log stays as it is for whoever closes last:
        all that was committed is in it.
        """
        with self._lock:
            self.is_closed = True
            try:
                self._disconnect(is_last=True)
            except TimeoutError:
                # SQLite itself copies the log only if nobody else has the file open
                self._hang_up()
            finally:
                self._let_go()

    def rest(self) -> bool:
        """Before a fork: close the connection, and let no thread open it until `go_on`.

        SQLite knows by notes in memory which locks this process has on the file. A child with a
        copy of them would believe that it has the same, and others would delete its log.

        Returns:
            False when that could not be: the connection is in use, also by this thread.
        """
        if not self._lock.acquire(timeout=0 if self._is_mine() else _PATIENCE):
            return False
        try:
            self._disconnect()
        except BaseException as error:
            self._lock.release()
            if not isinstance(error, Exception):
                raise
            return False  # the next verb says what is wrong
        return True

    def go_on(self) -> None:
        """In the parent, after a fork: connect again, or have the next verb say what is wrong."""
        try:
            with suppress(GraphflowError, OSError):
                self._ready()
        finally:
            self._lock.release()

    def begin_anew(self) -> list[sqlite3.Cursor]:
        """In the child, after a fork: let go of all that is the parent's.

        Returns:
            The parent's connection, if it could not `rest`: to be kept, and never closed.
        """
        parents = [self._cursor] if self._cursor else []
        self._let_go()  # the parent still holds its locks
        self._cursor, self._lock = None, Lock()
        self._queue, self._verbs = deque(), None
        return parents

    def _disconnect(self, *, is_last: bool = False) -> None:
        """Close the connection, under the writers' lock; remove that if nobody needs it any more.

        Raises:
            TimeoutError: The lock was not to be had; the connection is open still.
        """
        writers = self._writers
        if writers is None:
            self._hang_up()
            return
        with writers:
            writers.renew()
            failpoints.come_to("close.before")
            self._hang_up()
            failpoints.come_to("close.after")
            if is_last and not self._wal.exists():
                writers.remove()

    def _hang_up(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.connection.close()

    def _let_go(self) -> None:
        writers, self._writers = self._writers, None
        if writers is not None:
            writers.close()

    def _is_mine(self) -> bool:
        verbs = self._verbs
        return verbs is not None and verbs.thread == get_ident()

    def _transact(
        self, work: Callable[[sqlite3.Cursor], _T], settle: Callable[[], object] | None
    ) -> _T:
        """Do something in one transaction, and settle it when that is committed."""
        cursor, writers = self._ready(), self._writers
        if writers is None:
            raise DatabaseUnavailableError(
                f"{self.path} cannot be written: the file or its folder is read-only. "
                "Nothing was stored; make both writable, or take another file."
            )
        is_complete = False
        try:
            with writers:
                try:
                    cursor.execute("BEGIN IMMEDIATE")
                    result = work(cursor)
                    is_complete = True
                    cursor.execute("COMMIT")
                    if settle is not None:
                        settle()
                except BaseException as error:
                    if cursor.connection.in_transaction:
                        cursor.execute("ROLLBACK")
                    elif is_complete and not isinstance(error, _FAILURES) and settle is not None:
                        settle()  # Ctrl-C came when it was durable already
                    raise
                self.transactions += 1
                if not self.transactions % _LOOK_EVERY:
                    self._shorten_log(cursor, writers)
                return result
        except TimeoutError:
            raise locked(self.path, _PATIENCE) from None

    def _queue_up(self, place: Place) -> Any:
        """Wait until a work is done: by the thread that commits next, or by this one."""
        try:
            self._queue.append(place)  # Ctrl-C may come from here on
            failpoints.come_to("group.wait")
            while not place.is_settled:
                if self._lock.locked():
                    place.wait(_NAP)
                    continue
                try:
                    with self._lock:
                        self._lead(place)
                finally:
                    self._wake_next()
        except BaseException:
            self._withdraw(place)
            raise
        if place.error is not None:
            raise place.error
        return place.result

    def _lead(self, own: Place) -> None:
        """Do all works that wait, in one transaction; the lock is held."""
        if own.is_settled:
            return
        group: list[Place] = []
        try:
            group = take_group(self._queue, own)
            if len(group) == 1:
                own.result = self._transact(own.work, own.settle)
            else:
                failpoints.come_to("group.lead")
                self._transact(partial(do_all, places=group), partial(settle_all, group))
        except Exception as error:
            if own.is_settled:
                raise
            settle_all(group, error)
        except BaseException:
            # Ctrl-C here: either all is settled, or nothing is stored and the others go on without
            others = [place for place in group if not (place.is_settled or place is own)]
            self._queue.extendleft(reversed(others))
            own.is_settled = True
            raise

    def _withdraw(self, place: Place) -> None:
        """Let go of a work whose thread was interrupted: it is withdrawn, or it is done.

        Withdrawn when nobody has begun with it. Otherwise it is waited for: it is done or has
        failed then, and the lease knows which.
        """
        while not place.is_settled:
            try:
                self._queue.remove(place)
                place.is_settled = True
            except ValueError:
                place.wait(_NAP)
        self._wake_next()

    def _wake_next(self) -> None:
        with suppress(IndexError):
            self._queue[0].turn.put(None)

    def _ready(self) -> sqlite3.Cursor:
        if self.is_closed:
            words = f"{self.path} has been closed here; compile the graph with it again."
            raise DatabaseUnavailableError(words, is_gone=True)
        try:
            # A file that was deleted can still be written, and everything in it is lost
            info = os.stat(self._name)  # noqa: PTH116 - on the hot path; a Path costs three times as much
            if info.st_ino == self._inode and info.st_dev == self._device:
                if self._cursor is None:
                    self._cursor = self._open()
                return self._cursor if failpoints.hit is None else telling(self._cursor)
        except FileNotFoundError:
            pass
        raise DatabaseUnavailableError(
            f"{self.path} was deleted or replaced while it was open; nothing was stored. "
            "Put it back, or compile the graph with it again to begin a new one.",
            is_gone=True,
        )

    def _shorten_log(self, cursor: sqlite3.Cursor, writers: WritersLock) -> None:
        try:
            writers.renew()
            if self._wal.stat().st_size >= _LONG_LOG:
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except FileNotFoundError:
            # Somebody has removed the log: closing copies what is in it, and the next verb opens
            # the file with another one. Only a kill before this would have lost it.
            self._hang_up()
        except (OSError, sqlite3.Error, DatabaseUnavailableError):
            # The step is committed, and must not seem to have failed: the log only stays long,
            # and a disk that is full or broken will say so at the next commit.
            return

    def _open(self) -> sqlite3.Cursor:
        how = How(self._durability, self._new_lock, self._max_bytes, _PATIENCE, _LONG_LOG)
        if self._read_only:
            conn, self._is_frozen = to_read(self.path, how, self._wal)
            return conn.cursor()
        if self._writers is None:
            self._writers = WritersLock(self.path, _PATIENCE, self._lock_path)
        try:
            return to_write(self.path, how, self._writers, self._wal).cursor()
        except BaseException:
            self._let_go()
            raise
