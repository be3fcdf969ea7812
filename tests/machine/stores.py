"""The stores that are driven beside the model: one in memory, and one file with two connections."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.protocol import Checkpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["Stores"]

_EMPTY: list[bytes] = []


class Stores:
    """A store in memory, and a file that two connections share as two processes would."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="machine-"))
        self.memory = MemoryCheckpointer()
        self._turns = self._crashes = 0
        self._path = self.folder / "runs.db"
        self._path.write_bytes(_empty_database())
        self._open()

    def each(self) -> list[tuple[str, Checkpointer]]:
        """Give the stores that the next verb is for: of the file, one connection or the other."""
        self._turns += 1
        return [("memory", self.memory), ("file", self.files[self._turns % 3 == 0])]

    def crash(self) -> None:
        """Go on with what lies on the disk now, as after the end of all processes."""
        self._crashes += 1
        before, self._path = self._path, self.folder / f"runs-{self._crashes}.db"
        for end in ("", "-wal"):  # no process has it open but this one, which lets go of it
            if before.with_name(before.name + end).exists():
                shutil.copy(f"{before}{end}", f"{self._path}{end}")
        self._close()
        self._open()

    def reopen(self) -> None:
        """Close the file, and open it again."""
        self._close()
        self._open()

    def in_a_killed_process(self, verb: Callable[[Checkpointer], Any]) -> None:
        """Call a verb in a process of its own, which is killed as soon as the verb has returned."""
        child = os.fork()
        if child == 0:
            try:
                verb(self.files[0])
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the verb has failed in the other process"

    def drop(self) -> None:
        """Let go of everything."""
        self._close()
        shutil.rmtree(self.folder)

    def _open(self) -> None:
        one = SqliteCheckpointer(self._path, durability="normal")
        two = SqliteCheckpointer(self._path, durability="normal")
        # Apart from the registry of open files, which would give it the same connection
        self._second = two._file = SqliteFile(self._path, "normal")
        self.files = (one, two)

    def _close(self) -> None:
        self._second.close()
        for store in self.files:
            store.close()


def _empty_database() -> bytes:
    if not _EMPTY:
        folder = Path(mkdtemp(prefix="machine-"))
        store = SqliteCheckpointer(folder / "runs.db")
        store.runs()
        store.close()
        _EMPTY.append((folder / "runs.db").read_bytes())
        shutil.rmtree(folder)
    return _EMPTY[0]
