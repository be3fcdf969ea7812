"""A ledger: one line for each body that begins, written outside of the database.

    begin PROCESS RUN STEP KEY ATTEMPT

The key is the task's; of an item `m[2]`, of a memo `task!name`. A line is one write to a file that
is opened to append, so that lines of threads and processes do not mix, and a kill loses none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Begun", "Ledger", "read"]


class Begun(NamedTuple):
    """A body that began."""

    run: str
    step: int
    key: str
    attempt: int


class Ledger:
    """Where the bodies of a process write.

    Args:
        path: The file.
        pipe: Gets a blank when the first body begins.
    """

    def __init__(self, path: Path, pipe: int | None = None) -> None:
        self._pipe = pipe
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begin(self, ctx: object, more: str = "") -> None:
        """Say that a body begins."""
        if self._pipe is not None:
            os.write(self._pipe, b" ")
            self._pipe = None
        place = f"{ctx.run_id} {ctx.step} {ctx.key}{more} {ctx.attempt}"  # type: ignore[attr-defined]
        os.write(self._file, f"begin {os.getpid()} {place}\n".encode())


def read(path: Path) -> Iterator[Begun]:
    """Read the lines of a ledger."""
    for line in path.read_text().splitlines() if path.exists() else ():
        _, _, run, step, key, attempt = line.split()
        yield Begun(run, int(step), key, int(attempt))
