"""Seals: the digest of what changes of a run, and counts of the rows that could go unnoticed.

A run's seal covers how it stands, how it came to its graph, and while nobody advances it also its
last step and how many rows its open step has; a step says how many rows of other tables belong to
it. So a row that is gone is found, although the others still are what was written.

To count while a run is advanced would take one more write with each of its rows. So of a run whose
process died nobody misses whole rows at its end: its last steps, or those of the open step.
"""

from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import Hash, digest, digest_of

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["LOOSE", "first_seal", "is_sealed", "rows_of", "seal_run"]

LOOSE: Final = ("attempts", "calls", "items", "questions", "memos")
"""Tables of rows that stand alone."""

_STANDS: Final = (
    "SELECT owner, taken_at, seal, adopted, status, run_id, reason, error_type, error, ended_at, "
    "limits_json, budget_json, heard, epoch FROM runs WHERE id = ?"
)
_OWNER: Final = 64  # characters into a seal, the digest of its owner begins
_OF_STEP: Final = [f"(SELECT count(*) FROM {name} WHERE run = ?1 AND step = ?2)" for name in LOOSE]  # noqa: S608 - our own names
_ROWS: Final = f"SELECT {', '.join(_OF_STEP)}"
_LAST: Final = "SELECT step, digest FROM steps WHERE run = ? ORDER BY step DESC LIMIT 1"
_AFTER: Final = [
    f"(SELECT count(*) FROM {name} WHERE run = ?1 AND step > ?2)"  # noqa: S608 - our own names
    for name in (*LOOSE, "tasks")
]
_CHILDREN: Final = "(SELECT count(*) FROM runs WHERE parent_run = ?1 AND parent_step > ?2)"
_OPEN: Final = f"SELECT {', '.join(_AFTER)}, {_CHILDREN}"


def first_seal(
    run_id: str, more: tuple[str, str, int | None, int], owner: tuple[str | None, str], by: Hash
) -> str:
    """Give the seal of a run that begins.

    Args:
        run_id: The run.
        more: Its limits, its budget, where it heard, and its epoch.
        owner: Its owner, and when that took it.
        by: Digests texts; see `digest`.
    """
    stands = ("running", run_id, None, None, None, None, *more)
    return digest("standing", stands, by) + _of_owner((run_id, *owner), by)


def seal_run(cursor: "Cursor", number: int, by: Hash, last: tuple[int, str] | None = None) -> None:
    """Seal a run as it stands now.

    Args:
        cursor: In the transaction that changed it.
        number: The number of the run in its table.
        by: Digests texts; see `digest`.
        last: Its last step, and the digest of that, when they are known.
    """
    _, stands, owner = _parts(cursor, number, by, last)
    cursor.execute("UPDATE runs SET seal = ? WHERE id = ?", (stands + owner, number))


def is_sealed(cursor: "Cursor", number: int, by: Hash) -> bool:
    """Tell whether a run stands as it was written; of one from before seals nobody knows.

    Those are older than keys: where there is a key, every run has a seal.

    An owner may have been taken out by hand, which frees a run.
    """
    seal, stands, owner = _parts(cursor, number, by)
    if seal is None:
        return by is digest_of
    if not isinstance(seal, str) or seal[:_OWNER] != stands:
        return False
    return not owner or seal[_OWNER:] == owner


def rows_of(cursor: "Cursor", number: int, step: int) -> dict[str, int]:
    """Count the rows of other tables that belong to a step.

    Returns:
        Of each table that has any: how many.
    """
    counts = cursor.execute(_ROWS, (number, step)).fetchone()
    return {table: n for table, n in zip(LOOSE, counts, strict=True) if n}


def _parts(
    cursor: "Cursor", number: int, by: Hash, last: tuple[int, str] | None = None
) -> tuple[object, str, str]:
    """Give the seal that is stored, and both halves of the one that should be."""
    found = cursor.execute(_STANDS, (number,)).fetchone()
    owner, taken_at, seal, adopted, *stands = found
    status, run_id = stands[:2]
    if status != "running":
        stands += last or cursor.execute(_LAST, (number,)).fetchone() or (-1, "")
    if status not in ("running", "done"):  # of one that is done, no step is open
        stands += cursor.execute(_OPEN, (number, stands[-2])).fetchone()
    if adopted is not None:
        stands.append(adopted)
    own = _of_owner((run_id, owner, taken_at), by)
    return seal, digest("standing", tuple(stands), by), own


def _of_owner(taken: tuple[str, str | None, str | None], by: Hash) -> str:
    return "" if taken[1] is None else digest("owner", taken, by)
