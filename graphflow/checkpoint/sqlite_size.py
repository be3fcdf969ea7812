"""How much runs take in the database: the bytes of their rows, table by table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from graphflow.upkeep import Size

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["OF_RUNS", "OF_STEPS", "bytes_of", "children_of", "family_of", "size_of"]

OF_STEPS: Final = (
    *("decisions", "snapshots", "tasks", "attempts", "calls", "items", "questions", "memos"),
    "steps",
)
"""The tables whose rows belong to a step of a run; what refers to another one comes before it."""
OF_RUNS: Final = ("adoptions", *OF_STEPS, "anchors", "runs")
"""All tables whose rows belong to a run; what refers to another one comes before it."""

_FAMILY: Final = (
    "WITH RECURSIVE family(run) AS (SELECT id FROM runs WHERE id = ? "
    "UNION ALL SELECT child.id FROM family JOIN runs child "
    "ON child.parent_run = family.run AND child.id > family.run) SELECT run FROM family"
)
_CHILDREN: Final = "SELECT id FROM runs WHERE parent_run = ?1 AND id > ?1 AND parent_step < ?2"
_SHARED: Final = (
    "SELECT coalesce(sum(length(CAST(value_json AS BLOB))), 0) "
    "FROM value_uses JOIN shared_values ON id = value WHERE run = ? AND NOT EXISTS "
    "(SELECT 1 FROM value_uses other WHERE other.value = id AND other.run < value_uses.run)"
)
"""The long values that a run has used before any other run that still does."""
_LAST: Final = (
    "(SELECT max(step) FROM adoptions last WHERE last.run = adoptions.run AND last.step < ?)"
)
"""Of a cut: the adoption by which the first step is written that is left, stays."""
_OF: Final = (
    "CASE typeof({0}) WHEN 'text' THEN length(CAST({0} AS BLOB)) WHEN 'null' THEN 0 ELSE 8 END"
)


def size_of(cursor: "Cursor", run_id: str) -> Size | None:
    """Say how much a run and its children take; None when there is no such run."""
    row = cursor.execute("SELECT id FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        return None
    family = family_of(cursor, row[0])
    tables = bytes_of(cursor, family)
    tables["shared_values"] = sum(cursor.execute(_SHARED, (run,)).fetchone()[0] for run in family)
    return Size(run_id, {name: size for name, size in tables.items() if size})


def family_of(cursor: "Cursor", number: int) -> list[int]:
    """List a run and its children, by their numbers; a parent comes before its children."""
    return sorted(run for (run,) in cursor.execute(_FAMILY, (number,)))


def children_of(cursor: "Cursor", number: int, below: int) -> list[int]:
    """List the children that belong to steps of a run before another one, and their children."""
    children = cursor.execute(_CHILDREN, (number, below)).fetchall()
    return [run for (child,) in children for run in family_of(cursor, child)]


def bytes_of(cursor: "Cursor", numbers: Sequence[int], below: int | None = None) -> dict[str, int]:
    """Add up the bytes of the rows of runs.

    Args:
        cursor: In a transaction.
        numbers: Those of the runs in their table.
        below: Only what goes when this step becomes the first one; None: all.

    Returns:
        The bytes in each table.
    """
    found = {}
    for table in OF_RUNS if below is None else ("adoptions", *OF_STEPS):
        each = _sums.get(table) or _sum_of(cursor, table)
        place = "id = ?" if table == "runs" else "run = ?"
        if below is not None:
            place += f" AND step < {_LAST if table == 'adoptions' else '?'}"
        sql = f"SELECT coalesce(sum({each}), 0) FROM {table} WHERE {place}"  # noqa: S608 - our own names, and those of the columns of our own tables
        more = () if below is None else (below,)
        found[table] = sum(cursor.execute(sql, (run, *more)).fetchone()[0] for run in numbers)
    return found


_sums: dict[str, str] = {}
"""The bytes of a row of each table as SQL; the tables of all files that are open are the same."""


def _sum_of(cursor: "Cursor", table: str) -> str:
    names = [name for _, name, *_ in cursor.execute(f"PRAGMA table_info({table})")]
    _sums[table] = " + ".join(map(_OF.format, names))
    return _sums[table]
