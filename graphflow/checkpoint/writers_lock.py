"""The lock that all graphflow writers of a database share, across processes.

SQLite from 3.7.0 to 3.51.2 can damage a database in WAL mode when one connection commits while
another checkpoints for the second time ("WAL-reset bug"). So whoever opens the database to write,
commits, checkpoints or closes holds this lock. Readers open with `mode=ro` and never need it.

It is taken whatever the version here is: another process on the same file may have another one.
That costs a microsecond and a half per commit.

Source:
    https://www.sqlite.org/wal.html#walresetbug
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from graphflow.checkpoint.owner import leave_mark
from graphflow.errors import DatabaseUnavailableError

__all__ = ["WritersLock", "has_wal_reset_fault", "lock_of"]

_FIRST: Final = (3, 7, 0)  # the first with a WAL
_MENDED: Final = (3, 51, 3)


def has_wal_reset_fault(version: tuple[int, ...]) -> bool:
    """Tell whether a version of SQLite counts as one with the WAL-reset fault.

    Distributions may have mended an older one without changing its number: it counts as faulty.

    Args:
        version: As `sqlite3.sqlite_version_info` gives it.
    """
    return _FIRST <= version < _MENDED


def lock_of(real: str) -> Path:
    """Name the lock file of a database: beside the file itself, by whichever link it is opened.

    Args:
        real: The path of the file without links; to follow them takes a call for each folder.
    """
    return Path(f"{real}-lock")


class WritersLock:
    """An advisory lock on `FILE-lock`; the kernel releases it when its process dies.

    The file is there while somebody has the database open, and says that its writers live (see
    `owner`). It is no part of the database's own file, where SQLite would lose its locks when we
    close ours.

    Args:
        database: The file.
        seconds: How long to wait for it.
        path: What `lock_of` says of that file, when that was asked already.

    Raises:
        TimeoutError: It was not to be had in time (from `with`).
        DatabaseUnavailableError: The file system has no locks, or refuses the file.
    """

    def __init__(self, database: Path, seconds: float, path: Path | None = None) -> None:
        self.path = path or lock_of(os.path.realpath(database))
        self._database = database
        self._seconds = seconds
        self._fd = self._open()

    def __enter__(self) -> None:
        fd = self._fd
        try:
            if not self._try(fd):
                self._wait(fd)
        except BaseException:
            # Ctrl-C may come when the lock has just been given
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Hold the lock while the database is opened.

        It sees that the file is the one that the next writer will lock: whoever closed the
        database last has removed it. While somebody has the database open, nobody does.
        """
        while True:
            with self:
                if self._is_there():
                    yield
                    return
            before, self._fd = self._fd, self._open()
            os.close(before)

    def renew(self) -> None:
        """While the lock is held: hold that of today's file, if somebody has removed the file.

        Others may have made a new one since, and would not wait for us any more. Where the database
        has gone too, there is nothing left to damage.
        """
        while not self._is_there() and self._database.exists():
            fd = self._open()
            try:
                if not self._try(fd):
                    self._wait(fd)
            except BaseException:
                os.close(fd)
                raise
            os.close(self._fd)
            self._fd = fd

    def remove(self) -> None:
        """Remove the file: nobody else has the database open, and we hold the lock."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, but not of a lock that the parent of this process holds."""
        os.close(self._fd)

    def _open(self) -> int:
        # Who may use the database may use the lock
        mode = stat.S_IMODE(self._database.stat().st_mode)
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        except OSError as error:
            raise DatabaseUnavailableError(
                f"{self._database} cannot be opened to write: {self.path.name} beside it, which "
                f"graphflow's writers lock, cannot be {self._what_to_do(error)}"
            ) from error
        leave_mark(fd)
        return fd

    def _what_to_do(self, error: OSError) -> str:
        if not self.path.exists():
            return (
                f"made ({error.strerror}). Nothing was stored; let whoever writes the database"
                f" write its folder {self.path.parent} too."
            )
        return (
            f"opened ({error.strerror}). Nothing was stored; let whoever writes the database read"
            " and write that file too, or remove it when nobody has the database open."
        )

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _try(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise DatabaseUnavailableError(
                f"{self._database} cannot be written safely: its file system cannot lock files "
                f"({error.strerror}). Nothing was stored; put the database on a local disk."
            ) from error
        return True

    def _wait(self, fd: int) -> None:
        # Not in the kernel, which would not give up after a time
        pause, deadline = 0.0005, time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
            if self._try(fd):
                return
        raise TimeoutError(str(self.path))
