"""What is known of runs without their steps, read from the table of runs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import storable
from graphflow.checkpoint.rows import Row
from graphflow.checkpoint.shapes import check_header, what_is_left
from graphflow.checkpoint.sqlite_lineage import older
from graphflow.checkpoint.sqlite_values import fetched
from graphflow.errors import CheckpointCorruptError
from graphflow.records import RunHeader, RunStatus
from graphflow.stored import UNREADABLE, unreadable

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["header_of", "headers", "ids_from", "number_of", "numbered", "root_of", "values_of"]

_HEADER: Final = (
    "SELECT run_id, graph, graph_version, graph_digest, status, created_at, input_json, reason, "
    "error_type, error, ended_at, thread_id, limits_json, tags_json, epoch, owner, "
    "coalesce((SELECT max(step) FROM steps WHERE run = runs.id), -1), "
    "(SELECT run_id FROM runs parent WHERE parent.id = runs.parent_run), parent_step, parent_task, "
    "(SELECT run_id FROM runs origin WHERE origin.id = runs.fork_of), fork_step, fork_json, "
    "budget_json, heard, id FROM runs"
)
"""The columns of a header, and the number of the run."""
_LISTED: Final = (
    f"{_HEADER} WHERE parent_run IS NULL AND (?1 IS NULL OR status = ?1) "
    "AND (?2 IS NULL OR graph = ?2) AND id < ?3 ORDER BY id DESC LIMIT ?4"
)
_NEWEST: Final = 2**63 - 1  # no run has this number


def headers(
    cursor: "Cursor", status: RunStatus | None, graph: str | None, many: int | None = None
) -> Iterator[tuple[RunHeader, dict[str, str]]]:
    """Read the headers of runs that have no parent, newest first, and the long values of each.

    Args:
        cursor: In a transaction.
        status: Only those that stand so in the table.
        graph: Only those of this graph.
        many: How many are probably wanted: so many rows are read at once, then twice as many.
    """
    for *row, _ in _listed(cursor, (status, graph and storable(graph)), many):
        try:
            header = _header(row)
        except CheckpointCorruptError as error:  # the others are listed all the same
            yield what_is_left(row, str(error)), {}
        else:
            yield header, values_of(cursor, header)


def _listed(
    cursor: "Cursor", which: tuple[str | None, str | None], many: int | None
) -> Iterator[Row]:
    below, page = _NEWEST, -1 if many is None else max(many, 1)
    while True:
        rows = cursor.execute(_LISTED, (*which, below, page)).fetchall()
        yield from rows
        if len(rows) != page:
            return
        below, page = rows[-1][-1], 2 * page


def header_of(cursor: "Cursor", run: int | str) -> RunHeader | None:
    """Read one header, as it is stored.

    Args:
        cursor: In a transaction.
        run: The run's id, or its number in the table.
    """
    found = numbered(cursor, run)
    return found and found[0]


def numbered(cursor: "Cursor", run: int | str) -> tuple[RunHeader, int] | None:
    """Read one header as `header_of` does, and the number of the run."""
    column, named = ("id", run) if isinstance(run, int) else ("run_id", storable(run))
    row = cursor.execute(f"{_HEADER} WHERE {column} = ?", (named,)).fetchone()
    return None if row is None else (_header(row[:-1]), row[-1])


def _header(row: Row | list[object]) -> RunHeader:
    header = RunHeader(*row)
    try:
        check_header(header, row)
    except UNREADABLE as error:
        raise unreadable(str(row[0]), -1, "what is known of it", error) from error
    return header


def root_of(cursor: "Cursor", number: int) -> RunHeader | None:
    """Read the header of the root of a run; of a run without a parent it is its own.

    Args:
        cursor: In a transaction.
        number: The number of the run in the table.
    """
    while True:
        parent = older(cursor, "SELECT parent_run, id FROM runs WHERE id = ?", number)
        if parent is None:
            return header_of(cursor, number)
        number = parent[0]


def ids_from(cursor: "Cursor", prefix: str, limit: int) -> list[str]:
    """Read the first of the run ids that begin with a prefix, in order.

    A child is only found by its whole id.
    """
    rows = cursor.execute(
        "SELECT run_id FROM runs WHERE run_id >= ?1 AND run_id < ?2 "
        "AND (parent_run IS NULL OR run_id = ?1) ORDER BY run_id LIMIT ?3",
        (storable(prefix), storable(prefix) + "\U0010ffff", limit),
    )
    return [run_id for (run_id,) in rows]


def number_of(cursor: "Cursor", run_id: str) -> int:
    """Read the number of a run that is there."""
    (number,) = cursor.execute(
        "SELECT id FROM runs WHERE run_id = ?", (storable(run_id),)
    ).fetchone()
    return int(number)


def values_of(cursor: "Cursor", header: RunHeader) -> dict[str, str]:
    """Read the long values that a header refers to."""
    return fetched(cursor, (header.input_json, header.tags_json, header.fork_json))
