"""Whether the links between runs are what was written: nothing is dropped that one may hide."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import Hash, digest
from graphflow.checkpoint.sqlite_rows import FIXED
from graphflow.errors import CheckpointCorruptError
from graphflow.names import to_type
from graphflow.stored import UNREADABLE

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["IS_LINKED", "check_forks", "is_as_written", "unsure"]

_SHARES: Final = (
    "NOT EXISTS (SELECT 1 FROM steps WHERE run = runs.id AND step = 0) "
    "AND NOT EXISTS (SELECT 1 FROM anchors WHERE run = runs.id)"
)
"""Whether the first steps of a run are another's: it lacks them, and they were not pruned."""
IS_LINKED: Final = (
    "(coalesce(parent_run, parent_step, parent_task, fork_of, fork_step, fork_json) IS NOT NULL "
    f"OR instr(run_id, '/') OR ({_SHARES}))"
)
"""Whether a run is, or may have been, a child or a fork; also if some or all links are gone."""
_FIXED: Final = f"SELECT digest, {FIXED} FROM runs WHERE id = ?"  # noqa: S608 - our own names of columns
_FORKS: Final = (
    "SELECT id, run_id FROM runs WHERE parent_run IS NOT id "  # noqa: S608 - our own words
    f"AND (coalesce(fork_of, fork_step, fork_json) IS NOT NULL OR ({_SHARES}))"
)


def is_as_written(cursor: "Cursor", number: int, by: Hash) -> bool:
    """Tell whether what never changes of a run, its links among it, is what was written.

    Args:
        cursor: In a transaction.
        number: The number of the run.
        by: Digests texts; see `digest`.
    """
    own, *fixed = cursor.execute(_FIXED, (number,)).fetchone()
    try:
        return bool(digest("run", tuple(fixed), by) == own)
    except UNREADABLE:
        return False


def check_forks(cursor: "Cursor", run_id: str, family: Collection[int], by: Hash) -> None:
    """Refuse to delete a run while it is unknown of some fork which run that shares.

    One that is damaged itself may go: what shares its steps cannot be loaded anyway.

    Args:
        cursor: In a transaction.
        run_id: The run.
        family: Its number, and those of its children.
        by: Digests texts; see `digest`.

    Raises:
        CheckpointCorruptError: There is such a fork.
    """
    if not all(is_as_written(cursor, number, by) for number in family):
        return
    for number, fork in cursor.execute(_FORKS).fetchall():
        if number not in family and not is_as_written(cursor, number, by):
            raise unsure(
                str(fork), "what was stored when it began has changed", f"Run {run_id} stays"
            )


def unsure(
    run_id: str, words: str, then: str = "Nothing was dropped", *, is_child: bool = True
) -> CheckpointCorruptError:
    """Say that nobody knows what a damaged run shares with others.

    Args:
        run_id: The damaged run.
        words: What is wrong with it.
        then: What was not done for that reason.
        is_child: Whether it stands as the run of a subgraph, if its id is that of one.
    """
    # The run of a subgraph goes with its root, which its id begins with
    root = run_id.partition("/")[0] if is_child else run_id
    return CheckpointCorruptError(
        f"run {run_id!r} is damaged: {words}. {then}, as it may share what would go:"
        f" {to_type('delete', root)}, or restore it from a backup, and do this again.",
        run_id=run_id,
    )
