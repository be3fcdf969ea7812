"""Reading runs: the parts that they are made of, those they fork, and their children."""

from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import Hash
from graphflow.checkpoint.rows import COLUMNS
from graphflow.checkpoint.sqlite_headers import numbered, root_of, values_of
from graphflow.checkpoint.sqlite_lineage import lineage
from graphflow.checkpoint.sqlite_rows import FIXED, Span, part_of, saved_before, tail_of
from graphflow.checkpoint.sqlite_seal import is_sealed
from graphflow.checkpoint.stored_rows import Stored
from graphflow.records import RunHeader
from graphflow.stored import unreadable

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["stored_run", "stored_span"]

_GRAPH_AT: Final = FIXED.split(", ").index("graph_digest")
_ADOPTED_AT: Final = 1 + COLUMNS["adoptions"].split().index("graph_digest")
_DEEPEST: Final = 64  # subgraphs in subgraphs


def stored_run(cursor: "Cursor", run_id: str, *, tail: bool, by: Hash) -> Stored | None:
    """Read all rows of a run, or those that it takes to go on; None when there is no such run."""
    found = numbered(cursor, run_id)
    if found is None:
        return None
    header, number = found
    stored = _stored(cursor, header, number, by)
    if header.parent is not None:
        stored.root = root_of(cursor, number)
    if tail:
        _fill_tail(cursor, stored, number, by)
    else:
        _fill(cursor, stored, number, by)
    return stored


def stored_span(
    cursor: "Cursor", header: RunHeader, number: int, span: Span, previous: str | None
) -> Stored:
    """Read a range of a run's own steps, as if it were the whole run.

    Args:
        cursor: In a transaction.
        header: The run.
        number: Its number in the table.
        span: The range.
        previous: The digest that the first step continues from; of step 0 nothing.
    """
    part = part_of(cursor, number, span, previous)
    part.saved = saved_before(cursor, number, span.first)
    stored = Stored(header, parts=[part], values=values_of(cursor, header))
    _read_graphs(cursor, stored)
    return stored


def _fill_tail(cursor: "Cursor", stored: Stored, number: int, by: Hash) -> None:
    header = stored.header
    part = tail_of(cursor, number, header.run_id, header.step + 1)
    stored.parts = [part]
    _read_graphs(cursor, stored)
    names = [name for step, name, _ in part.heads if step > header.step]
    stored.children = [child for child, _ in _children(cursor, names, by)]


def _fill(cursor: "Cursor", stored: Stored, number: int, by: Hash, depth: int = 0) -> None:
    for of, below, anchor in lineage(cursor, number):
        first, previous = (0, None) if anchor is None else (anchor[0], anchor[1])
        span = Span(first, below, is_shared=below is not None)
        stored.parts.append(part_of(cursor, of, span, previous, anchor))
    _read_graphs(cursor, stored)
    names = [name for part in stored.parts for _, name, _ in part.heads]
    children = _children(cursor, names, by)
    stored.children = [child for child, _ in children]
    if depth > _DEEPEST and children:
        run_id = stored.header.run_id
        raise unreadable(run_id, -1, "its subgraphs", RecursionError("they are too many"))
    shared = {name for part in stored.parts[:-1] for _, name, _ in part.heads}
    for child, of_child in children:
        if child.header.run_id in shared:
            child.root = root_of(cursor, of_child)
        _fill(cursor, child, of_child, by, depth + 1)


def _read_graphs(cursor: "Cursor", stored: Stored) -> None:
    """Read the graphs that the steps were written by."""
    for part in stored.parts:
        for name in (part.fixed[_GRAPH_AT], *(row[_ADOPTED_AT] for row in part.adoptions)):
            if name not in stored.graphs:
                row = cursor.execute("SELECT * FROM graphs WHERE digest = ?", (name,)).fetchone()
                if row is not None:
                    stored.graphs[name] = row


def _children(cursor: "Cursor", names: list[str], by: Hash) -> list[tuple[Stored, int]]:
    found = (numbered(cursor, name) for name in names)
    return [(_stored(cursor, *child, by), child[1]) for child in found if child is not None]


def _stored(cursor: "Cursor", header: RunHeader, number: int, by: Hash) -> Stored:
    sealed = is_sealed(cursor, number, by)
    return Stored(header, is_sealed=sealed, values=values_of(cursor, header))
