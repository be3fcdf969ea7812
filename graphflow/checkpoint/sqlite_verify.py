"""Looking through a database for damage: run by run, and a piece of a run at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.digest import digest, storable
from graphflow.checkpoint.refusals import corrupt
from graphflow.checkpoint.sqlite_check import checked, unsealed
from graphflow.checkpoint.sqlite_headers import header_of
from graphflow.checkpoint.sqlite_kin import Kin
from graphflow.checkpoint.sqlite_lineage import ANCHOR, ORIGIN, link_before, older
from graphflow.checkpoint.sqlite_read import stored_run, stored_span
from graphflow.checkpoint.sqlite_rows import Span
from graphflow.checkpoint.sqlite_seal import is_sealed
from graphflow.checkpoint.sqlite_size import OF_STEPS, family_of
from graphflow.errors import CheckpointCorruptError, CheckpointError
from graphflow.records import RunHeader
from graphflow.stored import UNREADABLE, readable, unreadable
from graphflow.upkeep import Finding

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["knows", "verify"]

_SPAN: Final = 256  # steps that are read at once
_ALL: Final = "SELECT id FROM runs WHERE parent_run IS NOT id ORDER BY id"
_RELATED: Final = (
    "SELECT id, run_id, parent_run, fork_of, fork_step, "
    "EXISTS (SELECT 1 FROM anchors WHERE run = runs.id) FROM runs WHERE parent_run IS NOT id"
)
_HIDDEN: Final = "SELECT count(*) FROM runs WHERE parent_run IS id"
_LINK: Final = (
    "SELECT coalesce((SELECT digest FROM adoptions WHERE run = steps.run AND step = steps.step "
    "ORDER BY place DESC LIMIT 1), digest) FROM steps WHERE run = ? AND step = ?"
)
_NEXT: Final = "SELECT min(step) FROM steps WHERE run = ? AND step >= ?"
_Links = dict[tuple[int, int], str | None]
"""What the first steps of runs continue from, by the number of the run and that step."""
_LEFTOVER: Final = (
    "a prune was interrupted and has left rows that nobody reads: the next `graphflow prune` "
    "removes them"
)


def verify(file: "SqliteFile", run_id: str | None, columns: Columns) -> Iterator[Finding]:
    """Look for damage; see `Checkpointer.verify`.

    Args:
        file: The database.
        run_id: Only this run and its children; it is there.
        columns: How the database stores values.
    """
    try:
        if run_id is None:
            yield from file.read(_of_file)
            numbers = [number for (number,) in file.read(lambda c: c.execute(_ALL).fetchall())]
        else:
            numbers = file.read(partial(_family, run_id=run_id))
    except CheckpointError as error:
        yield Finding("problem", str(error))
        return
    damaged: dict[int, list[Finding]] = {}
    links: _Links = {}
    for number in numbers:
        found = _found(file, number, columns, links)
        problems = [one for one in found if one.kind == "problem"]
        if problems:
            damaged[number] = problems
        yield from found
    if damaged or run_id is not None:
        kin = Kin(file.read(lambda cursor: cursor.execute(_RELATED).fetchall()), damaged)
        yield from _of_kin(file, kin, numbers if run_id is not None else kin.near(), columns)


def _found(file: "SqliteFile", number: int, columns: Columns, links: _Links) -> list[Finding]:
    try:
        return file.read(partial(_of_run, number=number, columns=columns, links=links))
    except (CheckpointError, *UNREADABLE) as error:  # SQLite cannot read its pages, say
        return [_refusal(_name(file, number), error)]


def _of_kin(
    file: "SqliteFile", kin: Kin, numbers: Sequence[int], columns: Columns
) -> Iterator[Finding]:
    """Name the runs whose own rows are sound and that cannot be loaded: as others are damaged."""
    for number in numbers:
        if number in kin.damaged or kin.is_sound(number):
            continue
        words = kin.shared_damage(number)
        if words is None:
            error = _as_loaded(file, number, columns)
            kin.note(number, error)
            words = None if error is None else str(error)
        if words is not None:
            yield Finding("problem", words, _name(file, number))


def _as_loaded(file: "SqliteFile", number: int, columns: Columns) -> CheckpointError | None:
    """Load a run whose own rows are sound: what it shares or has as its children may not be."""
    name = _name(file, number)
    try:
        with readable(name):
            stored = file.read(partial(stored_run, run_id=name, tail=False, by=columns.digest_of))
            if stored is not None:
                checked(stored, columns, file.lives)
    except CheckpointError as error:
        return error
    return None


def _refusal(name: str, error: Exception) -> Finding:
    is_told = isinstance(error, CheckpointError)
    told = error if is_told else unreadable(name, -1, "a row of it", error)
    return Finding("problem", str(told), name)


def knows(cursor: "Cursor", run_id: str) -> bool:
    """Tell whether a run is there."""
    return bool(_family(cursor, run_id))


def _family(cursor: "Cursor", run_id: str) -> list[int]:
    row = cursor.execute("SELECT id FROM runs WHERE run_id = ?", (storable(run_id),)).fetchone()
    return family_of(cursor, row[0]) if row else []


def _name(file: "SqliteFile", number: int) -> str:
    sql = "SELECT run_id FROM runs WHERE id = ?"
    try:
        row = file.read(lambda cursor: cursor.execute(sql, (number,)).fetchone())
    except CheckpointError:
        return f"number {number}"
    return str(row[0]) if row else f"number {number}"


def _of_file(cursor: "Cursor") -> list[Finding]:
    """Check what concerns no run alone: the pages, and rows of runs that are not there."""
    found = [
        Finding("problem", f"SQLite's own check: {words}")
        for (words,) in cursor.execute("PRAGMA integrity_check(20)")
        if words != "ok"
    ]
    lost: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in cursor.execute("PRAGMA foreign_key_check"):
        lost[table, parent] = lost.get((table, parent), 0) + 1
    found += [
        Finding("problem", f"{count} rows of {table} refer to rows of {parent} that are not there")
        for (table, parent), count in lost.items()
    ]
    if cursor.execute(_HIDDEN).fetchone()[0]:
        found.append(Finding("warning", _LEFTOVER))
    return found


def _of_run(cursor: "Cursor", number: int, columns: Columns, links: _Links) -> list[Finding]:
    """Check the rows of one run, without those that it shares as a fork."""
    header = header_of(cursor, number)
    if header is None:  # it was deleted meanwhile
        return []
    found: dict[int, Finding] = {}
    for error in _damages(cursor, number, header, columns, links):
        found.setdefault(error.step, Finding("problem", str(error), header.run_id, error.step))
    return [*found.values(), *_strays(cursor, number, header)]


def _damages(
    cursor: "Cursor", number: int, header: RunHeader, columns: Columns, links: _Links
) -> Iterator[CheckpointCorruptError]:
    if not is_sealed(cursor, number, columns.digest_of):
        yield unsealed(header.run_id)
    anchor = cursor.execute(ANCHOR, (number,)).fetchone()
    first = (header.fork_step or 0) if anchor is None else anchor[0]
    if anchor is not None:
        row = (header.run_id, *anchor[:-1])
        if digest("anchor", row, columns.digest_of) != anchor[-1]:
            yield corrupt(header.run_id, first, "what stands for the steps before it has changed")
    previous = (
        str(anchor[1]) if anchor is not None else _link_of_first(cursor, number, first, links)
    )
    alone = replace(header, owner=None)
    while first <= max(header.step, 0):
        below = None if first + _SPAN > header.step else first + _SPAN
        try:
            span = Span(first, below)
            checked(stored_span(cursor, alone, number, span, previous), columns)
            if below is None:
                return
            first = below
        except CheckpointCorruptError as error:
            yield error
            if error.step < first and (error.step < 0 or below is None):
                return  # it holds for all of its steps, or for the rest of them
            first = error.step + 1 if error.step >= first else below or 0
            first = _next(cursor, number, first)
        previous = _link(cursor, number, first - 1)


def _link_of_first(cursor: "Cursor", number: int, first: int, links: _Links) -> str | None:
    """Give the digest that the first of a run's own steps continues from; None of step 0."""
    if not first:
        return None
    origin = older(cursor, ORIGIN, number)
    known = origin and (origin[0], first)  # of a fork of a fork at the same step it is the same
    link = links[known] if known in links else link_before(cursor, number, first)
    links[number, first] = link
    return link


def _next(cursor: "Cursor", number: int, step: int) -> int:
    """Find where a run goes on: a damaged number may lie as far ahead as no run ever comes."""
    (found,) = cursor.execute(_NEXT, (number, step)).fetchone()
    return found if type(found) is int else step


def _link(cursor: "Cursor", number: int, step: int) -> str | None:
    row = cursor.execute(_LINK, (number, step)).fetchone()
    return str(row[0]) if row else None


def _strays(cursor: "Cursor", number: int, header: RunHeader) -> Iterator[Finding]:
    """Find rows of steps that a run does not have."""
    row = cursor.execute(ANCHOR, (number,)).fetchone()
    first = (header.fork_step or 0) if row is None else row[0]
    for table in OF_STEPS:
        early, late = cursor.execute(
            f"SELECT (SELECT count(*) FROM {table} WHERE run = ?1 AND step < ?2), "  # noqa: S608 - our own names
            f"(SELECT count(*) FROM {table} WHERE run = ?1 AND step > ?3)",
            (number, first, header.step + 1),
        ).fetchone()
        if early and row is not None:
            yield Finding("warning", _LEFTOVER, header.run_id)
            return
        if early or late:
            words = f"{early + late} rows of {table} belong to steps that it does not have"
            yield Finding("problem", words, header.run_id)
