"""Named points of a run at which a test ends the process, or has an error raised.

Nothing is there while nobody asks: the places look at `hit`, which is None. SQL statements are
points of their own, by what they do and to which table (`checkpoint.sqlite_points`), so the
statements themselves know nothing of it. Tests use `graphflow.testing.failpoints`.
"""

import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Final

__all__ = ["POINTS", "VARIABLE", "come_to", "killer", "parse", "set_hit"]

VARIABLE: Final = "GRAPHFLOW_FAIL_AT"
"""The environment variable that names a point, and at which passage to die there."""

POINTS: Final[dict[str, str]] = {
    "node.before": "a body is about to begin; also node.before.NAME, of one node",
    "node.after": "a body has returned, and nobody has looked at its update; also node.after.NAME",
    "acknowledge": "something is stored, and the engine has not heard of it yet",
    "begin": "a transaction is about to begin",
    "commit.before": "all rows of a transaction are written, and it is not committed",
    "commit.after": "a transaction has been committed, and nobody knows yet",
    "rollback": "a transaction is about to be undone",
    "schema": "a statement of a migration is about to make or change a table",
    "checkpoint.before": "the write-ahead log is about to be copied into the file",
    "checkpoint.after": "it has been copied",
    "close.before": "the file is about to be closed",
    "close.after": "it is closed, and its lock is still held",
    "group.wait": "a thread waits for another one to commit for it",
    "group.lead": "a thread is about to commit what several threads wait for",
    "group.told": "one of several threads is about to be told that its work is stored",
    "loop.lead": "the commits of several runs of an event loop are about to share a transaction",
    "loop.told": "one of these runs is about to be told",
}
"""The points and what they mean. Beside them, `insert.TABLE`, `delete.TABLE` and
`update.TABLE.COLUMN` (the first one that is set): each statement that writes, before it does."""

hit: Callable[[str], None] | None = None
"""What is called at every point with its name; None: nothing is."""


def set_hit(function: Callable[[str], None] | None) -> None:
    """Say what is called at every point from now on."""
    global hit  # noqa: PLW0603 - one None check per point is all that it may cost
    hit = function


def come_to(point: str) -> None:
    """Say that a point is come to; on a hot path look at `hit` first."""
    if hit is not None:
        hit(point)


def parse(text: str) -> tuple[str, int]:
    """Read `commit.after:3`: a point and a passage, the first one when it is left out.

    Raises:
        ValueError: It is something else.
    """
    name, _, number = text.partition(":")
    passage = int(number or "1") if (number or "1").isdecimal() else 0
    if not name or passage < 1:
        raise ValueError(
            f"{VARIABLE}={text!r}: name a point and a passage, as {VARIABLE}=commit.after:3"
        )
    return name, passage


def killer(name: str, passage: int, how: signal.Signals = signal.SIGKILL) -> Callable[[str], None]:
    """Make what ends this process without warning at the n-th passage of a point.

    Args:
        name: The point.
        passage: From 1.
        how: The signal that it sends itself.
    """
    passages = count(1)  # threads take turns with it without a lock

    def kill(point: str) -> None:
        if point == name and next(passages) == passage:
            os.kill(os.getpid(), how)

    return kill


if VARIABLE in os.environ:
    set_hit(killer(*parse(os.environ[VARIABLE])))
