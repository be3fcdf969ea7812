"""Reading the rows of runs from the tables: of one run, of those it forks, and of its children."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import Hash, storable
from graphflow.checkpoint.rows import COLUMNS, LATER, Row
from graphflow.checkpoint.shapes import check_header, what_is_left
from graphflow.checkpoint.sqlite_lineage import ANCHOR, lineage, link_before, older
from graphflow.checkpoint.sqlite_seal import is_sealed
from graphflow.checkpoint.sqlite_values import fetched, used_by
from graphflow.checkpoint.stored_rows import Part, Stored
from graphflow.errors import CheckpointCorruptError
from graphflow.records import RunHeader, RunStatus
from graphflow.stored import UNREADABLE, unreadable

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = [
    "FIXED",
    "HEADS",
    "header_of",
    "headers",
    "ids_from",
    "number_of",
    "own_part",
    "root_of",
    "stored_part",
    "stored_run",
]

FIXED: Final = (
    "run_id, graph, graph_version, graph_digest, created_at, thread_id, input_json, tags_json, "
    "parent_run, parent_step, parent_task, fork_of, fork_step, fork_json"
)
"""The columns of a run that never change, and that its digest covers."""

_HEADER: Final = (
    "SELECT run_id, graph, graph_version, graph_digest, status, created_at, input_json, reason, "
    "error_type, error, ended_at, thread_id, limits_json, tags_json, epoch, owner, "
    "coalesce((SELECT max(step) FROM steps WHERE run = runs.id), -1), "
    "(SELECT run_id FROM runs parent WHERE parent.id = runs.parent_run), parent_step, parent_task, "
    "(SELECT run_id FROM runs origin WHERE origin.id = runs.fork_of), fork_step, fork_json, "
    "budget_json, heard FROM runs"
)


def _select(table: str, columns: str, order: str) -> str:
    start = f"SELECT {columns} FROM {table}"  # noqa: S608 - built from our own names of columns
    return f"{start} WHERE run = ? AND step >= ? AND step < ? ORDER BY {order}"


def _alone(table: str, order: str) -> str:
    return _select(table, ", ".join([*COLUMNS[table].split(), "digest"]), order)


def _in_json(table: str, real: str = "") -> str:
    """Have SQLite write a row as JSON, in half the time that it takes to read and write it here.

    Args:
        table: Its table.
        real: A column that stands between what is before and what is after it: SQLite does not
            write all digits of a number.
    """
    short = COLUMNS[table].split()
    at = short.index(real) if real else 0
    after = short[at + 1 :] if real else short
    end = f"json_array({', '.join(after)})"
    for later in map(str.split, LATER.get(table, ())):
        after = after + later
        any_set = " OR ".join(f"{name} IS NOT NULL" for name in later)
        end = f"CASE WHEN {any_set} THEN json_array({', '.join(after)}) ELSE {end} END"
    return f"json_array({', '.join(short[:at])}), {real}, {end}" if real else end


_STEPS: Final = _select(
    "steps", f"step, digest, derived_json, rows_json, {_in_json('steps')}", "step"
)
_TASKS: Final = _select(
    "tasks", f"step, digest, update_json, {_in_json('tasks', 'duration_ms')}", "step, ix"
)
_DECISIONS: Final = _select("decisions", f"step, {_in_json('decisions', 'confidence')}", "step, ix")
_SNAPSHOT: Final = (
    "SELECT (SELECT digest FROM steps WHERE run = snapshots.run AND step = snapshots.step), "
    "step, state_json, counters_json, digest, since, added_json FROM snapshots WHERE run = ?1 AND "
)
_SNAPSHOTS: Final = f"{_SNAPSHOT} step >= ? AND step < ? ORDER BY step"
_NEWEST: Final = (
    f"{_SNAPSHOT} step >= coalesce((SELECT step FROM snapshots WHERE run = ?1 AND since IS NULL "  # noqa: S608 - our own words
    "ORDER BY step DESC LIMIT 1), 0) ORDER BY step"
)
"""The newest snapshot, after those that it continues."""
_SAVED_BEFORE: Final = "SELECT max(step) FROM snapshots WHERE run = ? AND step < ?"
_LOOSE: Final = {
    "attempt": _alone("attempts", "step, started_at, key, attempt"),
    "call": _alone("calls", "step, started_at, id"),
    "item": _alone("items", "step, key, ix"),
    "question": _alone("questions", "step, asked_at, rowid"),
    "memo": _alone("memos", "step, key, name"),
}
"""By kind: rows that stand alone, each with a digest of its own; in an order that it covers, as far
as they have different times."""
HEADS: Final = (
    "SELECT parent_step, run_id, "
    "(SELECT digest FROM steps WHERE run = child.id ORDER BY step DESC LIMIT 1) FROM runs child "
    "WHERE parent_run = ? AND id > parent_run AND parent_step >= ? AND parent_step < ? "
    "ORDER BY parent_step, run_id"
)
"""The children of a range of steps, with the digest of the last step of each."""
_FIXED: Final = f"SELECT adopted, digest, {FIXED} FROM runs WHERE id = ?"  # noqa: S608 - built from our own names of columns
_ADOPTIONS: Final = (
    "SELECT coalesce((SELECT digest FROM steps WHERE run = adoptions.run AND step = adoptions.step)"  # noqa: S608 - built from our own names of columns
    ", (SELECT adopted_on FROM anchors WHERE run = adoptions.run AND step > adoptions.step)), "
    f"{COLUMNS['adoptions'].replace(' ', ', ')}, digest FROM adoptions "
    "WHERE run = ?1 AND step >= coalesce((SELECT max(step) FROM adoptions "
    "WHERE run = ?1 AND step < ?2), ?2) AND step < ?3 ORDER BY step, place"
)
"""Those after a range of steps, and the last ones before it: by them the first of these steps
were written."""
_GRAPH_AT: Final = FIXED.split(", ").index("graph_digest")
_ADOPTED_AT: Final = 1 + COLUMNS["adoptions"].split().index("graph_digest")
_END: Final = 2**62  # after any step
_DEEPEST: Final = 64  # subgraphs in subgraphs


def headers(
    cursor: "Cursor", status: RunStatus | None, graph: str | None
) -> Iterator[tuple[RunHeader, dict[str, str]]]:
    """Read the headers of runs that have no parent, newest first, and the long values of each.

    Args:
        cursor: In a transaction.
        status: Only those that stand so in the table.
        graph: Only those of this graph.
    """
    rows = cursor.execute(
        f"{_HEADER} WHERE parent_run IS NULL AND (?1 IS NULL OR status = ?1) "
        "AND (?2 IS NULL OR graph = ?2) ORDER BY id DESC",
        (status, graph and storable(graph)),
    ).fetchall()
    for row in rows:
        try:
            header = _header(row)
        except CheckpointCorruptError as error:  # the others are listed all the same
            yield what_is_left(row, str(error)), {}
        else:
            yield header, _values_of(cursor, header)


def header_of(cursor: "Cursor", run: int | str) -> RunHeader | None:
    """Read one header, as it is stored.

    Args:
        cursor: In a transaction.
        run: The run's id, or its number in the table.
    """
    column, named = ("id", run) if isinstance(run, int) else ("run_id", storable(run))
    row = cursor.execute(f"{_HEADER} WHERE {column} = ?", (named,)).fetchone()
    return _header(row) if row else None


def _header(row: Row) -> RunHeader:
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


def stored_run(cursor: "Cursor", run_id: str, *, tail: bool, by: Hash) -> Stored | None:
    """Read all rows of a run, or those that it takes to go on; None when there is no such run."""
    header = header_of(cursor, run_id)
    if header is None:
        return None
    number = number_of(cursor, run_id)
    stored = _stored(cursor, header, by)
    if header.parent is not None:
        stored.root = root_of(cursor, number)
    _fill(cursor, stored, number, tail=tail, by=by)
    return stored


def number_of(cursor: "Cursor", run_id: str) -> int:
    """Read the number of a run that is there."""
    (number,) = cursor.execute(
        "SELECT id FROM runs WHERE run_id = ?", (storable(run_id),)
    ).fetchone()
    return int(number)


def _fill(
    cursor: "Cursor", stored: Stored, number: int, *, tail: bool, by: Hash, depth: int = 0
) -> None:
    header = stored.header
    if tail:
        stored.parts = [_tail_of(cursor, number, header.step + 1)]
        _read_graphs(cursor, stored)
        names = [name for step, name, _ in stored.parts[0].heads if step > header.step]
        stored.children = _children(cursor, names, by)
        return
    stored.parts = [_whole(cursor, *span) for span in lineage(cursor, number)]
    _read_graphs(cursor, stored)
    names = [name for part in stored.parts for _, name, _ in part.heads]
    stored.children = _children(cursor, names, by)
    if depth > _DEEPEST and stored.children:
        raise unreadable(header.run_id, -1, "its subgraphs", RecursionError("they are too many"))
    shared = {name for part in stored.parts[:-1] for _, name, _ in part.heads}
    for child in stored.children:
        of_child = number_of(cursor, child.header.run_id)
        if child.header.run_id in shared:
            child.root = root_of(cursor, of_child)
        _fill(cursor, child, of_child, tail=False, by=by, depth=depth + 1)


def _read_graphs(cursor: "Cursor", stored: Stored) -> None:
    """Read the graphs that the steps were written by."""
    for part in stored.parts:
        for name in (part.fixed[_GRAPH_AT], *(row[_ADOPTED_AT] for row in part.adoptions)):
            if name not in stored.graphs:
                row = cursor.execute("SELECT * FROM graphs WHERE digest = ?", (name,)).fetchone()
                if row is not None:
                    stored.graphs[name] = row


def _children(cursor: "Cursor", names: list[str], by: Hash) -> list[Stored]:
    found = (header_of(cursor, name) for name in names)
    return [_stored(cursor, header, by) for header in found if header is not None]


def _stored(cursor: "Cursor", header: RunHeader, by: Hash) -> Stored:
    return Stored(
        header,
        is_sealed=is_sealed(cursor, number_of(cursor, header.run_id), by),
        values=_values_of(cursor, header),
    )


def _values_of(cursor: "Cursor", header: RunHeader) -> dict[str, str]:
    return fetched(cursor, (header.input_json, header.tags_json, header.fork_json))


def _whole(cursor: "Cursor", number: int, below: int | None, anchor: Row | None) -> Part:
    first = 0 if anchor is None else anchor[0]
    own = (number, first, _END if below is None else below)
    # A fork shares the results of the first step that it commits anew, and what led to them
    shared = (number, first, _END if below is None else below + 1)
    adopted, digest, fixed = _fixed(cursor, number)
    part = Part(
        fixed[0],
        fixed,
        digest,
        below,
        cursor.execute(_STEPS, own).fetchall(),
        cursor.execute(_TASKS, own).fetchall(),
        cursor.execute(_DECISIONS, own).fetchall(),
        cursor.execute(_SNAPSHOTS, own).fetchall(),
        {kind: cursor.execute(sql, shared).fetchall() for kind, sql in _LOOSE.items()},
        cursor.execute(HEADS, shared).fetchall(),
        adopted=adopted,
        adoptions=_adoptions(cursor, number, adopted, first, own[2]),
        first=first,
        previous=None if anchor is None else anchor[1],
        anchor=anchor,
    )
    part.values = used_by(cursor, number, part.rows())
    return part


def own_part(
    cursor: "Cursor", number: int, span: tuple[int, int | None], previous: str | None
) -> Part:
    """Read what a range of a run's own steps is checked by.

    Args:
        cursor: In a transaction.
        number: The number of the run in its table.
        span: The first step, and the one before which the range ends; None: it has no end.
        previous: The digest that the first step continues from; of step 0 nothing.

    Returns:
        The part.
    """
    first, below = span
    own = (number, first, _END if below is None else below)
    adopted, digest, fixed = _fixed(cursor, number)
    (saved,) = cursor.execute(_SAVED_BEFORE, (number, first)).fetchone()
    part = Part(
        fixed[0],
        fixed,
        digest,
        below,
        cursor.execute(_STEPS, own).fetchall(),
        cursor.execute(_TASKS, own).fetchall(),
        cursor.execute(_DECISIONS, own).fetchall(),
        cursor.execute(_SNAPSHOTS, own).fetchall(),
        {kind: cursor.execute(sql, own).fetchall() for kind, sql in _LOOSE.items()},
        cursor.execute(HEADS, own).fetchall(),
        first=first,
        previous=previous,
        saved=saved,
        adopted=adopted,
        adoptions=_adoptions(cursor, number, adopted, first, own[2]),
    )
    part.values = used_by(cursor, number, part.rows())
    return part


def stored_part(cursor: "Cursor", header: RunHeader, part: Part) -> Stored:
    """Put a part of a run beside its header and its graphs, as if it were the whole run."""
    stored = Stored(header, parts=[part], values=_values_of(cursor, header))
    _read_graphs(cursor, stored)
    return stored


def _tail_of(cursor: "Cursor", number: int, open_step: int) -> Part:
    newest = cursor.execute(_NEWEST, (number,)).fetchall()
    first = newest[-1][1] if newest else 0
    adopted, digest, fixed = _fixed(cursor, number)
    if type(first) is not int or first < 0:
        raise unreadable(str(fixed[0]), -1, "a snapshot's step", TypeError(repr(first)[:60]))
    adoptions = _adoptions(cursor, number, adopted, first, _END)
    link, anchor = link_before(cursor, number, first) if first else None, None
    if first and link is None:
        anchor = cursor.execute(ANCHOR, (number,)).fetchone()
        link = anchor[1] if anchor is not None and anchor[0] == first else None
    for row in adoptions:
        if row[1] == first - 1:
            link = row[-1]
    own, rest = (number, first, _END), (number, open_step, _END)
    part = Part(
        fixed[0],
        fixed,
        digest,
        None,
        cursor.execute(_STEPS, own).fetchall(),
        cursor.execute(_TASKS, own).fetchall(),
        cursor.execute(_DECISIONS, own).fetchall(),
        newest,
        {
            kind: cursor.execute(sql, rest).fetchall()
            for kind, sql in _LOOSE.items()
            if kind != "call"
        },
        cursor.execute(HEADS, own).fetchall(),
        is_tail=True,
        first=first,
        previous=link,
        adopted=adopted,
        adoptions=adoptions,
        anchor=anchor,
    )
    part.values = used_by(cursor, number, part.rows())
    return part


def _adoptions(
    cursor: "Cursor", number: int, adopted: str | None, first: int, below: int
) -> list[Row]:
    """Read the adoptions after a range of steps; of most runs there are none."""
    if adopted is None:
        return []
    return cursor.execute(_ADOPTIONS, (number, first, below)).fetchall()


def _fixed(cursor: "Cursor", number: int) -> tuple[str | None, str, Row]:
    adopted, digest, *fixed = cursor.execute(_FIXED, (number,)).fetchone()
    return adopted, digest, tuple(fixed)
