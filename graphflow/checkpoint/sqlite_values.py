"""The table of long values: each stored once, whichever runs use it, and kept while one does."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["fetched", "forget_runs", "recount_uses", "store_values", "used_by"]

# In a row that was read as JSON, each quotation mark of a column follows a backslash; what is
# encrypted has the addresses behind it
_ANYWHERE: Final = re.compile(r'(?:\$shared\\?":\\?"|&)([0-9a-f]{64})')
_NAMED: Final = (
    "SELECT digest, value_json FROM shared_values WHERE digest IN (SELECT value FROM json_each(?))"
)
_STORE: Final = "INSERT OR IGNORE INTO shared_values (digest, value_json) VALUES (?, ?)"
_USE: Final = (
    "INSERT OR IGNORE INTO value_uses (run, value) SELECT ?, id FROM shared_values WHERE digest = ?"
)
_SWEEP: Final = (
    "DELETE FROM shared_values WHERE id = ? "
    "AND NOT EXISTS (SELECT 1 FROM value_uses WHERE value = shared_values.id)"
)
_COLUMNS: Final = {
    "runs": "input_json tags_json fork_json",
    "steps": "ready_json derived_json",
    "tasks": "update_json goto_json",
    "decisions": "chosen details_json",
    "calls": "request_json response_json",
    "items": "result_json",
    "questions": "schema_json details_json default_json answer_json",
    "memos": "value_json",
    "adoptions": "state_json ready_json",
    "snapshots": "state_json added_json",
}


def store_values(cursor: "Cursor", run: int, values: Mapping[str, str]) -> None:
    """Store long values, those that are not there yet, and that a run uses them.

    Args:
        cursor: In a transaction, in which the columns that refer to them are written too.
        run: The number of the run in its table.
        values: By digest.
    """
    for digest, value in values.items():
        cursor.execute(_STORE, (digest, value))
        cursor.execute(_USE, (run, digest))


def used_by(cursor: "Cursor", run: int, rows: Iterable[Sequence[object]]) -> dict[str, str]:
    """Read the long values that rows of a run refer to; what is missing is left out.

    Args:
        cursor: In a transaction.
        run: The number of the run in its table.
        rows: As they were read, their columns as text or as JSON.
    """
    # Most runs have none, and their rows need not be searched
    if not cursor.execute("SELECT 1 FROM value_uses WHERE run = ? LIMIT 1", (run,)).fetchone():
        return {}
    return fetched(cursor, [text for row in rows for text in row])


def fetched(cursor: "Cursor", texts: Iterable[object]) -> dict[str, str]:
    """Read the long values that texts refer to; what is missing is left out."""
    may_refer = [t for t in texts if type(t) is str and ("$" in t or "&" in t)]
    named = {digest for text in may_refer for digest in _ANYWHERE.findall(text)}
    return dict(cursor.execute(_NAMED, (json.dumps([*named]),))) if named else {}


def forget_runs(cursor: "Cursor", runs: Iterable[int]) -> int:
    """Forget what runs use, before their rows are deleted; remove the values that no run uses then.

    Args:
        cursor: In a transaction.
        runs: Their numbers in the table.

    Returns:
        How many values were removed.
    """
    used: set[int] = set()
    for run in runs:
        rows = cursor.execute("SELECT value FROM value_uses WHERE run = ?", (run,))
        used.update(value for (value,) in rows)
        cursor.execute("DELETE FROM value_uses WHERE run = ?", (run,))
    return _sweep(cursor, used)


def recount_uses(cursor: "Cursor", run: int) -> int:
    """Note which values a run still uses, after some of its rows were deleted; remove the others.

    Args:
        cursor: In a transaction.
        run: The number of the run in its table.

    Returns:
        How many values were removed.
    """
    rows = cursor.execute(
        "SELECT id, digest FROM value_uses JOIN shared_values ON id = value WHERE run = ?", (run,)
    )
    used = {digest: value for value, digest in rows}
    if not used:
        return 0
    for text in _texts_of(cursor, run):
        for digest in _ANYWHERE.findall(text):
            used.pop(digest, None)
    for value in used.values():
        cursor.execute("DELETE FROM value_uses WHERE run = ? AND value = ?", (run, value))
    return _sweep(cursor, used.values())


def _texts_of(cursor: "Cursor", run: int) -> Iterable[str]:
    for table, names in _COLUMNS.items():
        key = "id" if table == "runs" else "run"
        for name in names.split():
            rows = cursor.execute(
                f"SELECT {name} FROM {table} WHERE {key} = ? "  # noqa: S608 - our own names
                f"AND (instr({name}, '$shared') OR instr({name}, '&'))",
                (run,),
            )
            yield from (str(text) for (text,) in rows)


def _sweep(cursor: "Cursor", values: Iterable[int]) -> int:
    return sum(cursor.execute(_SWEEP, (value,)).rowcount for value in list(values))
