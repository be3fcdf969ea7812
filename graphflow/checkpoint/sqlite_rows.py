"""Reading the rows of a range of a run's steps: what SQLite is asked, and what it gives."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.rows import COLUMNS, LATER, Row
from graphflow.checkpoint.sqlite_lineage import ANCHOR, link_before
from graphflow.checkpoint.sqlite_values import used_by
from graphflow.checkpoint.stored_rows import Part
from graphflow.stored import unreadable

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["FIXED", "HEADS", "LOOSE", "Span", "part_of", "saved_before", "tail_of"]

FIXED: Final = (
    "run_id, graph, graph_version, graph_digest, created_at, thread_id, input_json, tags_json, "
    "parent_run, parent_step, parent_task, fork_of, fork_step, fork_json"
)
"""The columns of a run that never change, and that its digest covers."""


def _select(table: str, columns: str, order: str) -> str:
    start = f"SELECT {columns} FROM {table}"  # noqa: S608 - built from our own names of columns
    return f"{start} WHERE run = ? AND step >= ? AND step < ? ORDER BY {order}"


def _alone(table: str, order: str) -> str:
    return _select(table, ", ".join([*COLUMNS[table].split(), "digest"]), order)


def _in_json(table: str, real: str = "") -> str:
    """Have SQLite write a row as JSON, in half the time that it takes to read and write it here.

    Args:
        table: Its table.
        real: A number that stands between what is before and what is after it, since SQLite does
            not write all digits of one. When there is none, all of the row stands before it, and
            nothing after.
    """
    names = COLUMNS[table].split()
    whole = _array(table, names)
    if not real:
        return whole
    at = names.index(real)
    before, after = _array("", names[:at]), _array(table, names[at + 1 :])
    return (
        f"CASE WHEN {real} IS NULL THEN {whole} ELSE {before} END, {real}, "
        f"CASE WHEN {real} IS NOT NULL THEN {after} END"
    )


def _array(table: str, names: list[str]) -> str:
    """Write columns as an array, with the later ones of the table when any of them is set."""
    array = f"json_array({', '.join(names)})"
    for later in map(str.split, LATER.get(table, ())):
        names = names + later
        any_set = " OR ".join(f"{name} IS NOT NULL" for name in later)
        array = f"CASE WHEN {any_set} THEN json_array({', '.join(names)}) ELSE {array} END"
    return array


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
LOOSE: Final = {
    "attempt": _alone("attempts", "step, started_at, key, attempt"),
    "call": _alone("calls", "step, started_at, id"),
    "item": _alone("items", "step, key, ix"),
    "question": _alone("questions", "step, asked_at, rowid"),
    "memo": _alone("memos", "step, key, name"),
}
"""By kind: rows that stand alone, each with a digest of its own; in an order that it covers, as far
as they have different times."""
_ONE_OF: Final = "EXISTS (SELECT 1 FROM {}s WHERE run = ?1 AND step >= ?2 AND step < ?3)"
_ANY: Final = f"SELECT {', '.join(map(_ONE_OF.format, LOOSE))}"
"""Which kinds there are: most steps have none of any."""
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
_END: Final = 2**62  # after any step


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a run's steps.

    Attributes:
        first: The first one.
        below: The one before which it ends; None: it has no end.
        is_shared: A fork goes on from the last of them: it shares the results of the first step
            that it commits anew, and what led to them.
        open_step: Of a tail: that is the only one of which the rows that stand alone are read, and
            no calls. None: they are read of all.
    """

    first: int
    below: int | None = None
    is_shared: bool = False
    open_step: int | None = None

    @property
    def steps(self) -> tuple[int, int]:
        """The steps themselves."""
        return self.first, _END if self.below is None else self.below

    @property
    def children(self) -> tuple[int, int]:
        """The steps of which children are read."""
        first, end = self.steps
        return first, end + self.is_shared

    @property
    def loose(self) -> tuple[int, int]:
        """The steps of which rows that stand alone are read."""
        first, end = self.children
        return first if self.open_step is None else self.open_step, end


def part_of(
    cursor: "Cursor",
    number: int,
    span: Span,
    previous: str | None = None,
    anchor: Row | None = None,
) -> Part:
    """Read what a range of a run's steps is made of, and checked by.

    Args:
        cursor: In a transaction.
        number: The number of the run in its table.
        span: The range.
        previous: The digest that the first step continues from; of step 0 nothing.
        anchor: What stands for the steps before it, when those were pruned.
    """
    snapshots = cursor.execute(_SNAPSHOTS, (number, *span.steps)).fetchall()
    return _part(cursor, number, span, snapshots, (previous, anchor))


def saved_before(cursor: "Cursor", number: int, step: int) -> int | None:
    """Read which step before another one has the last snapshot."""
    (saved,) = cursor.execute(_SAVED_BEFORE, (number, step)).fetchone()
    return saved  # type: ignore[no-any-return]  # of damaged rows anything, and it is only compared


def tail_of(cursor: "Cursor", number: int, run_id: str, open_step: int) -> Part:
    """Read what it takes to go on with a run: its newest snapshot, and what came after.

    Args:
        cursor: In a transaction.
        number: The number of the run in its table.
        run_id: The run, for messages.
        open_step: The step after its last one.
    """
    newest = cursor.execute(_NEWEST, (number,)).fetchall()
    first = newest[-1][1] if newest else 0
    if type(first) is not int or first < 0:
        raise unreadable(run_id, -1, "a snapshot's step", TypeError(repr(first)[:60]))
    link, anchor = link_before(cursor, number, first) if first else None, None
    if first and link is None:
        anchor = cursor.execute(ANCHOR, (number,)).fetchone()
        link = anchor[1] if anchor is not None and anchor[0] == first else None
    span = Span(first, open_step=open_step)
    part = _part(cursor, number, span, newest, (link, anchor))
    for row in part.adoptions:
        if row[1] == first - 1:
            part.previous = row[-1]
    return part


def _part(
    cursor: "Cursor",
    number: int,
    span: Span,
    snapshots: list[Row],
    before: tuple[str | None, Row | None],
) -> Part:
    adopted, digest, *fixed = cursor.execute(_FIXED, (number,)).fetchone()
    own = (number, *span.steps)
    part = Part(
        fixed[0],
        tuple(fixed),
        digest,
        span.below,
        cursor.execute(_STEPS, own).fetchall(),
        cursor.execute(_TASKS, own).fetchall(),
        cursor.execute(_DECISIONS, own).fetchall(),
        snapshots,
        _loose(cursor, number, span),
        cursor.execute(HEADS, (number, *span.children)).fetchall(),
        is_tail=span.open_step is not None,
        first=span.first,
        previous=before[0],
        adopted=adopted,
        anchor=before[1],
    )
    if adopted is not None:  # of most runs there are none
        part.adoptions = cursor.execute(_ADOPTIONS, own).fetchall()
    part.values = used_by(cursor, number, part.rows())
    return part


def _loose(cursor: "Cursor", number: int, span: Span) -> dict[str, list[Row]]:
    where = (number, *span.loose)
    kinds = [
        kind
        for kind, some in zip(LOOSE, cursor.execute(_ANY, where).fetchone(), strict=True)
        if some and (kind != "call" or span.open_step is None)
    ]
    return {kind: cursor.execute(LOOSE[kind], where).fetchall() for kind in kinds}
