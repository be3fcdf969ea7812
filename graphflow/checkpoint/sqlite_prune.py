"""Dropping runs, and the oldest steps of runs: in transactions of bounded length.

What is dropped is gone for everybody with the first transaction; its rows go with those that
follow. A run that is dropped becomes its own parent then, under a name that nobody uses; one that
is cut gets an anchor, before which nothing is read. A prune that was interrupted is finished by
the next one.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.digest import Hash, storable
from graphflow.checkpoint.pruning import Plan, RunFacts, plan
from graphflow.checkpoint.refusals import check_idle, part_of, still_shared
from graphflow.checkpoint.sqlite_cut import cut_run, facts_of
from graphflow.checkpoint.sqlite_links import check_forks
from graphflow.checkpoint.sqlite_size import bytes_of, family_of
from graphflow.checkpoint.sqlite_sweep import (
    BRIEF,
    Gone,
    before_step,
    count_steps,
    hide,
    sweep,
    sweep_steps,
    write_briefly,
)
from graphflow.errors import CheckpointCorruptError
from graphflow.records import RunStatus
from graphflow.upkeep import Pruned, Wish

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["delete_run", "prune"]

_FORKS: Final = "SELECT id, run_id FROM runs WHERE fork_of = ?"
# Not by way of a header: what is damaged can be dropped too
_STATUS: Final = "SELECT run_id, status FROM runs WHERE id = ?"
_STANDS: Final = (
    "SELECT id, (SELECT run_id FROM runs parent WHERE parent.id = runs.parent_run), status, owner, "
    "taken_at FROM runs WHERE run_id = ?"
)
_HIDDEN: Final = "SELECT id FROM runs WHERE parent_run = id ORDER BY id DESC"
_LEFT: Final = (
    "SELECT run, step FROM anchors "
    "WHERE EXISTS (SELECT 1 FROM steps WHERE run = anchors.run AND step < anchors.step)"
)
_UNUSED: Final = (
    "DELETE FROM graphs WHERE digest NOT IN (SELECT graph_digest FROM runs) "
    "AND digest NOT IN (SELECT graph_digest FROM adoptions)"
)


def prune(file: "SqliteFile", wish: Wish, columns: Columns, *, dry_run: bool) -> Pruned:
    """Drop what is asked for; see `Checkpointer.prune`.

    Args:
        file: The database.
        wish: What is asked for.
        columns: How it stores values.
        dry_run: Only say what would be dropped.
    """
    if not dry_run:
        _finish(file)
    runs = file.read(partial(facts_of, lives=file.lives, by=columns.digest_of))
    planned, known = plan(runs, wish), {run.number: run for run in runs}
    if dry_run:
        return file.read(partial(_foreseen, known=known, planned=planned))
    gone = list(_drop(file, planned.drop, wish.over))
    if gone:
        file.write(lambda cursor: cursor.execute(_UNUSED).rowcount)
    cut, damaged = [], []
    for number, first in planned.cuts.items():
        try:
            found = cut_run(file, known[number], first, wish, columns)
        except CheckpointCorruptError:
            damaged.append(known[number].run_id)
            continue
        cut += [] if found is None else [(found, first)]
    every = [*gone, *(one for one, _ in cut)]
    return Pruned(
        tuple(one.run_id for one in gone),
        {one.run_id: first for one, first in cut},
        sum(one.steps for one in every),
        sum(one.bytes for one in every),
        tuple(damaged),
        tuple(known[number].run_id for number in planned.held),
    )


def delete_run(file: "SqliteFile", run_id: str, by: Hash) -> bool:
    """Delete a run and its children; see `Checkpointer.delete`.

    Args:
        file: The database.
        run_id: The run.
        by: Digests texts; see `digest`.

    Returns:
        False when there is no such run.
    """

    def work(cursor: "Cursor") -> Gone | None:
        found = cursor.execute(_STANDS, (storable(run_id),)).fetchone()
        if found is None:
            return None
        number, parent, *stands = found
        if parent is not None:
            raise part_of(run_id, parent)
        check_idle(run_id, *stands, lives=file.lives)
        family = family_of(cursor, number)
        if forks := _forks(cursor, family):
            raise still_shared(run_id, forks)
        check_forks(cursor, run_id, family, by)
        return hide(cursor, run_id, family)

    gone = file.write(work)
    if gone is None:
        return False
    sweep(file, gone.hidden)
    file.write(lambda cursor: cursor.execute(_UNUSED).rowcount)
    return True


def _foreseen(cursor: "Cursor", known: Mapping[int, RunFacts], planned: Plan) -> Pruned:
    """Say what a plan would drop."""
    steps = size = 0
    for number in planned.drop:
        family = family_of(cursor, number)
        steps += count_steps(cursor, family)
        size += sum(bytes_of(cursor, family).values())
    for number, first in planned.cuts.items():
        more_steps, more_size = before_step(cursor, number, first)
        steps, size = steps + more_steps, size + more_size
    cut = {known[number].run_id: first for number, first in planned.cuts.items()}
    gone, held = (
        tuple(known[number].run_id for number in numbers)
        for numbers in (planned.drop, planned.held)
    )
    return Pruned(gone, cut, steps, size, held=held)


def _finish(file: "SqliteFile") -> None:
    """Remove what an interrupted prune has left."""
    hidden, left = file.read(
        lambda cursor: (cursor.execute(_HIDDEN).fetchall(), cursor.execute(_LEFT).fetchall())
    )
    for number, first in left:
        sweep_steps(file, number, first)
    sweep(file, [number for (number,) in hidden])


def _drop(file: "SqliteFile", roots: Sequence[int], over: frozenset[RunStatus]) -> Iterator[Gone]:
    """Drop runs with their children: as many in one transaction as take a short time."""
    todo = list(roots)
    while todo:
        done, gone = write_briefly(file, partial(_drop_some, roots=tuple(todo), over=over))
        del todo[:done]
        yield from gone
        for one in gone:
            sweep(file, one.hidden)


def _drop_some(
    cursor: "Cursor", roots: Sequence[int], over: frozenset[RunStatus]
) -> tuple[int, list[Gone]]:
    begin, gone, done = perf_counter(), [], 0
    while not done or (done < len(roots) and perf_counter() - begin < BRIEF):
        number = roots[done]
        row = cursor.execute(_STATUS, (number,)).fetchone()
        if row is not None and row[1] in over:
            family = family_of(cursor, number)
            if not _forks(cursor, family):  # somebody may have forked it since
                gone.append(hide(cursor, str(row[0]), family))
        done += 1
    return done, gone


def _forks(cursor: "Cursor", family: Sequence[int]) -> list[str]:
    """Name the runs that were forked from runs of a family."""
    own = set(family)
    rows = [row for number in family for row in cursor.execute(_FORKS, (number,))]
    return [str(name) for number, name in rows if number not in own]
