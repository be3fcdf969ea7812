"""Anchors: what stands for the steps of a run that were pruned, and what the next one continues."""

from typing import TYPE_CHECKING

from graphflow.checkpoint.digest import Hash, digest
from graphflow.clock import now
from graphflow.records import Spent

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["store_anchor"]


def store_anchor(
    cursor: "Cursor",
    number: int,
    place: tuple[int, str],
    used: Spent,
    *,
    by: Hash,
    adopted_on: str | None = None,
) -> None:
    """Let a run begin with a later step than it did.

    Args:
        cursor: In a transaction.
        number: The number of the run in its table.
        place: The first step that it still has, and the digest of what that continues from.
        used: What the steps had used that it does not have.
        by: Digests texts; see `digest`.
        adopted_on: The digest of the one of these after which it came to its graph, if it did.
    """
    (run_id,) = cursor.execute("SELECT run_id FROM runs WHERE id = ?", (number,)).fetchone()
    row = (*place, used.calls, used.tokens, used.seconds * 1e3 + 0.0, now(), adopted_on)
    cursor.execute(
        "INSERT OR REPLACE INTO anchors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, *row, digest("anchor", (run_id, *row), by)),
    )
