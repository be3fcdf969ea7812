"""What an adapter of an engine is: one generator per case."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeAlias

from benchmarks.work import growth

__all__ = ["AsyncSetUp", "DurablePeer", "Facts", "Peer", "SetUp", "bytes_of"]

Facts: TypeAlias = dict[str, float]
SetUp: TypeAlias = Iterator[Callable[[], Any] | Facts]
AsyncSetUp: TypeAlias = AsyncIterator[Callable[[], Coroutine[Any, Any, Any]] | Facts]


class Peer:
    """An engine as the harness asks it.

    A case is a method that is a generator: what stands before its first `yield` sets it up, what
    is yielded is called and timed, and what follows cleans up; a second `yield` may give facts
    about it. An async generator yields an async function. A case that is missing shows as n/a.

    Args:
        folder: Where the databases go; the system's folder for temporary files when left out.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions are shown."""
    importing: ClassVar[str]
    """The statement that a user of these cases begins with."""
    settings: ClassVar[str]
    """What of the engine's choices matters for the figures."""

    def __init__(self, folder: str | None = None) -> None:
        self._scratch = TemporaryDirectory(prefix=f"bench-{self.name}-", dir=folder)
        self._count = 0
        self._filled: dict[str, Path] = {}

    def close(self) -> None:
        """Remove all files."""
        self._scratch.cleanup()

    def new_database(self) -> Path:
        """Name a database file that is not there yet."""
        self._count += 1
        return Path(self._scratch.name, f"{self._count}.db")

    def imports(self, _n: int) -> SetUp:
        """Import the engine in a new process; the time is the import's own."""
        code = (
            "import time; wall, cpu = time.perf_counter(), time.process_time()\n"
            f"{self.importing}\n"
            "print(time.perf_counter() - wall, time.process_time() - cpu)"
        )

        def work() -> Facts:
            done = subprocess.run(  # noqa: S603 - our own interpreter and code
                [sys.executable, "-c", code], check=True, capture_output=True, text=True
            )
            wall, cpu = map(float, done.stdout.split())
            return {"seconds": wall, "cpu": cpu}

        yield work


class DurablePeer(Peer):
    """An engine that stores each step in SQLite."""

    def stored_loop(
        self, kind: str, n: int, path: Path
    ) -> AbstractContextManager[Callable[[], Any]]:
        """Open a database, and close it: what is given runs the loop of n steps in between.

        Args:
            kind: "small", or "msgs" for a list that grows by one message a step.
            n: Steps.
            path: A file that is not there yet.
        """
        raise NotImplementedError

    def ckpt_small(self, n: int) -> SetUp:
        """Run the loop with each step stored."""
        return self._stored("small", n)

    def ckpt_msgs(self, n: int) -> SetUp:
        """Run the loop with a growing list, each step stored."""
        return self._stored("msgs", n)

    def filled(self, kind: str, n: int) -> Path:
        """Give a database of n steps; it is made once."""
        if kind not in self._filled:
            path = self._filled[kind] = self.new_database()
            with self.stored_loop(kind, n, path) as work:
                work()
        return self._filled[kind]

    def _stored(self, kind: str, n: int) -> SetUp:
        path = self.new_database()
        growth()
        with self.stored_loop(kind, n, path) as work:
            yield work
        yield {"bytes": bytes_of(path), **growth()}


def bytes_of(path: Path) -> int:
    """Give the size of a database, everything folded into its file; and remove it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    files = [file for file in path.parent.glob(f"{path.name}*") if file.is_file()]
    size = sum(file.stat().st_size for file in files if not file.name.endswith((".owner", "-shm")))
    for file in files:
        file.unlink()
    return size
