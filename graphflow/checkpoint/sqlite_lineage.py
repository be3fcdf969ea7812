"""Where the steps of a run lie: its own, those of runs that it forks, what was pruned."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["ANCHOR", "ORIGIN", "lineage", "link_before", "older"]

ANCHOR: Final = (
    "SELECT step, link, calls, tokens, ms, pruned_at, adopted_on, digest FROM anchors WHERE run = ?"
)
"""What stands for the steps of a run that were pruned: the first one that it still has, the digest
of what that continues from, what they had used, when they went, the digest of the one after which
the run came to the graph of those that are left (if it did), and the digest of all that."""

ORIGIN: Final = "SELECT fork_of, fork_step FROM runs WHERE id = ?"


def link_before(cursor: "Cursor", run: int, step: int) -> str | None:
    """Read the digest that a step continues from: that of the step before.

    Args:
        cursor: In a transaction.
        run: The number of the run in the table; the step before may be one of those it forks.
        step: From 1.

    Returns:
        The digest; None when the step before is missing, or was pruned.
    """
    while True:
        row = cursor.execute(
            "SELECT digest FROM steps WHERE run = ? AND step = ?", (run, step - 1)
        ).fetchone()
        if row:
            return str(row[0])
        origin = older(cursor, ORIGIN, run)
        # From its first step on a fork has steps of its own, also when they were pruned
        if origin is None or step > origin[1]:
            return None
        run = origin[0]


def lineage(cursor: "Cursor", number: int) -> list[tuple[int, int | None, tuple[Any, ...] | None]]:
    """List a run and those that it forks, as far as it still shares steps of them, oldest first.

    Returns:
        Of each its number, where the steps end that it gives, and its anchor: only the first can
        have one.
    """
    below: int | None = None
    found: list[tuple[int, int | None, tuple[Any, ...] | None]] = []
    while True:
        origin = older(cursor, ORIGIN, number)
        anchor = cursor.execute(ANCHOR, (number,)).fetchone()
        if anchor is not None and below is not None and anchor[0] >= below:
            anchor = None  # it gives no steps here, and lacks none
        found.append((number, below, anchor))
        if anchor is not None or origin is None:
            return found[::-1]
        number, step = origin
        below = step if below is None else min(below, step)


def older(cursor: "Cursor", sql: str, number: int) -> tuple[int, int] | None:
    """Read the number of the run that a run comes of, and a step.

    It is older than that run; what says otherwise is damaged, and could go in a circle.
    """
    found = cursor.execute(sql, (number,)).fetchone()
    if found is None or any(type(one) is not int for one in found) or found[0] >= number:
        return None
    return found  # type: ignore[no-any-return]  # two numbers, as was seen
