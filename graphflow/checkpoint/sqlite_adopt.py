"""Writing that a run goes on with another graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from graphflow.change.moved import moved, node_in
from graphflow.checkpoint.digest import digest, sealed
from graphflow.checkpoint.refusals import not_the_last
from graphflow.checkpoint.rows import (
    COLUMNS,
    Row,
    adoption_row,
    attempt_from,
    attempt_row,
    call_from,
    call_row,
    item_from,
    item_row,
    memo_from,
    memo_row,
    question_from,
    question_row,
)
from graphflow.checkpoint.sqlite_fence import SqliteLease, check_fence
from graphflow.checkpoint.sqlite_seal import seal_run
from graphflow.checkpoint.sqlite_values import fetched, store_values
from graphflow.checkpoint.sqlite_write import TaskWrite
from graphflow.checkpoint.stored_chain import check_row
from graphflow.records import Adoption, TaskRecord

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["AdoptWrite"]

_NAMES: Final = COLUMNS["adoptions"].replace(" ", ", ")
_MARKS: Final = ", ?" * len(COLUMNS["adoptions"].split())
_ADOPT: Final = f"INSERT INTO adoptions (run, {_NAMES}, digest) VALUES (?{_MARKS}, ?)"  # noqa: S608 - our own names of columns
_KNOWN: Final = "SELECT count(*) FROM adoptions WHERE run = ? AND step = ?"
_STEP: Final = "SELECT digest FROM steps WHERE run = ? AND step = ?"
_GRAPH: Final = "INSERT OR IGNORE INTO graphs VALUES (?, ?, ?, ?, ?, ?)"
_DROP_ITEM: Final = "DELETE FROM items WHERE run = ? AND step = ? AND key || '[' || ix || ']' = ?"
_DROP_MEMOS: Final = "DELETE FROM memos WHERE run = ? AND step = ? AND key = ?"
_MOVED: Final[dict[str, tuple[str, Callable[[Row], Any], Callable[[Any], Row]]]] = {
    "attempts": ("attempt", attempt_from, attempt_row),
    "calls": ("call", call_from, call_row),
    "items": ("item", item_from, item_row),
    "questions": ("question", question_from, question_row),
    "memos": ("memo", memo_from, memo_row),
}
_PLACE: Final = {
    "attempts": "key attempt",
    "calls": "id",
    "items": "key ix",
    "questions": "key name",
    "memos": "key name",
}
"""What finds a row of an open step."""


class AdoptWrite:
    """An adoption, ready to be written: called in a transaction."""

    __slots__ = ("_adoption", "_before", "_digest", "_kept", "_lease", "_spec_json")

    def __init__(
        self,
        lease: SqliteLease,
        adoption: Adoption,
        spec_json: str,
        kept: Sequence[TaskRecord],
    ) -> None:
        if adoption.step != lease.step:
            raise not_the_last(lease.run_id, adoption.step, lease.step)
        self._lease, self._adoption, self._spec_json = lease, adoption, spec_json
        self._kept = [TaskWrite(lease, lease.step + 1, task) for task in kept]
        self._before = lease.digest
        self._digest = ""

    def __call__(self, cursor: "Cursor") -> None:
        """Write it.

        Raises:
            LeaseLostError: The lease is no longer good.
            CheckpointCorruptError: What is stored of the open step is not what was written.
        """
        lease = self._lease
        check_fence(cursor, lease)
        self._store_graph(cursor)
        at = (lease.run, lease.step)
        (place,) = cursor.execute(_KNOWN, at).fetchone()
        (step,) = cursor.execute(_STEP, at).fetchone()
        row = adoption_row(replace(self._adoption, place=place))
        columns, found = lease.columns, dict[str, str]()
        row = columns.stored("adoptions", lease.run_id, lease.step, row, found)
        store_values(cursor, lease.run, columns.stored_values(found))
        stored, self._digest = sealed("adoption", (lease.run_id, step, *row), columns.digest_of)
        cursor.execute(_ADOPT, (lease.run, *stored[2:], self._digest))
        cursor.execute("UPDATE runs SET adopted = ? WHERE id = ?", (self._digest, lease.run))
        for key in self._adoption.dropped:
            cursor.execute(_DROP_ITEM, (lease.run, lease.step + 1, key))
            cursor.execute(_DROP_MEMOS, (lease.run, lease.step + 1, key))
        if self._adoption.nodes:
            for table in _MOVED:
                self._move(cursor, table)
        for task in self._kept:
            task(cursor)
        seal_run(cursor, lease.run, columns.digest_of)

    def done(self) -> None:
        """Tell the lease, once it is stored. Doing it twice is harmless."""
        self._lease.digest = self._digest
        for task in self._kept:
            task.done()

    def undo(self) -> None:
        """Tell the lease that the transaction came to nothing after all."""
        self._lease.digest = self._before
        for task in reversed(self._kept):
            task.undo()

    def _store_graph(self, cursor: "Cursor") -> None:
        adoption = self._adoption
        (name,) = cursor.execute(
            "SELECT graph FROM runs WHERE id = ?", (self._lease.run,)
        ).fetchone()
        row: Row = (
            *(adoption.graph_digest, name, adoption.graph_version),
            *(self._spec_json, adoption.adopted_at),
        )
        cursor.execute(_GRAPH, (*row, digest("graph", row, self._lease.columns.digest_of)))

    def _move(self, cursor: "Cursor", table: str) -> None:
        """Give the rows of a table that belong to the open step the names of now."""
        lease, nodes = self._lease, self._adoption.nodes
        kind, make, as_row = _MOVED[table]
        columns, at = lease.columns, (lease.run_id, lease.step + 1)
        names, own = COLUMNS[table].split(), _PLACE[table].split()
        found = cursor.execute(
            f"SELECT {', '.join([*own, *names])}, digest FROM {table} WHERE run = ? AND step = ?",  # noqa: S608 - our own names
            (lease.run, lease.step + 1),
        ).fetchall()
        change = (
            f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in names)}, digest = ? "  # noqa: S608 - our own names
            f"WHERE run = ? AND step = ? AND {' AND '.join(f'{name} = ?' for name in own)}"
        )
        changed = []
        for place, row in ((row[: len(own)], row[len(own) :]) for row in found):
            values = columns.sound(fetched(cursor, row))
            record = make(columns.given(table, *at, row[:-1], values))
            now = moved(record, nodes)
            if now is not record:
                check_row(*at, kind, row, columns.digest_of)
                # Its long values are stored already
                stored = columns.stored(table, *at, as_row(now), {})
                stored, check = sealed(kind, (lease.run_id, *stored), columns.digest_of)
                written = (*stored[1:], check, lease.run, lease.step + 1, *place)
                changed.append((_hops(node_in(record.key), nodes), written))
        for _, written in sorted(changed, key=itemgetter(0)):  # a taken name moves away first
            cursor.execute(change, written)


def _hops(name: str, nodes: Mapping[str, str]) -> int:
    """Count the renames that follow on one of a name: of `a` to `b` and `b` to `c` two on `a`."""
    count = 0
    while name in nodes and count < len(nodes):
        name, count = nodes[name], count + 1
    return count
