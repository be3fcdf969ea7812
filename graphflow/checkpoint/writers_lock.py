"""The lock that all graphflow writers of a database share, across processes.

SQLite up to 3.51.2 can damage a database in WAL mode when one connection commits while another
checkpoints for the second time ("WAL-reset bug"). So whoever commits, checkpoints or closes
holds this lock. Readers open with `mode=ro` and never need it.

Source:
    https://www.sqlite.org/wal.html#walresetbug
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

__all__ = ["WritersLock"]


class WritersLock:
    """An advisory lock on `FILE-lock`; the kernel releases it when its process dies.

    The file is there while somebody has the database open. It is no part of the database's own
    file, where SQLite would lose its locks when we close ours.

    Raises:
        TimeoutError: It was not to be had in time (from `with`).
    """

    def __init__(self, database: Path, seconds: float) -> None:
        self.path = database.with_name(database.name + "-lock")
        self._database = database
        self._seconds = seconds
        self._fd = self._open()

    def __enter__(self) -> None:
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait()
        except BaseException:
            # Ctrl-C may come when the lock has just been given
            fcntl.flock(self._fd, fcntl.LOCK_UN)
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
            self.close()
            self._fd = self._open()

    def remove(self) -> None:
        """Remove the file: nobody else has the database open, and we hold the lock."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, but not of a lock that the parent of this process holds."""
        os.close(self._fd)

    def _open(self) -> int:
        # Who may use the database may use the lock
        mode = stat.S_IMODE(self._database.stat().st_mode)
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _wait(self) -> None:
        # Not in the kernel, which would not give up after a time
        pause, deadline = 0.0005, time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return
        raise TimeoutError(str(self.path))
