"""Dropping runs, and the oldest steps of runs: in transactions of bounded length.

What is dropped is gone for everybody with the first transaction; its rows go with those that
follow. A run that is dropped becomes its own parent then, under a name that nobody uses; one that
is cut gets an anchor, before which nothing is read. A prune that was interrupted is finished by
the next one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.cutting import snapshots_for
from graphflow.checkpoint.digest import Hash
from graphflow.checkpoint.owner import is_alive
from graphflow.checkpoint.pruning import Plan, RunFacts, cuts_of, plan
from graphflow.checkpoint.refusals import check_idle, part_of, still_shared
from graphflow.checkpoint.rows import Row
from graphflow.checkpoint.sqlite_anchor import store_anchor
from graphflow.checkpoint.sqlite_check import checked
from graphflow.checkpoint.sqlite_lineage import ANCHOR
from graphflow.checkpoint.sqlite_read import header_of, number_of, root_of, stored_run
from graphflow.checkpoint.sqlite_size import OF_RUNS, OF_STEPS, bytes_of, children_of, family_of
from graphflow.checkpoint.sqlite_spent import spent_by
from graphflow.checkpoint.sqlite_values import forget_runs, recount_uses, store_values
from graphflow.checkpoint.sqlite_write import store_snapshot
from graphflow.checkpoint.standing import as_seen
from graphflow.clock import now
from graphflow.errors import CheckpointCorruptError
from graphflow.records import RunStatus, Snapshot, Spent
from graphflow.upkeep import Pruned, Wish

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["delete_run", "prune"]

_FACTS: Final = (
    "SELECT id, run_id, graph, status, owner, created_at, ended_at, parent_run, parent_step, "
    "fork_of, fork_step, "
    "coalesce((SELECT step FROM anchors WHERE run = runs.id), fork_step, 0), "
    "coalesce((SELECT max(step) FROM steps WHERE run = runs.id), -1), "
    "coalesce((SELECT max(step) FROM snapshots WHERE run = runs.id), -1) "
    "FROM runs WHERE parent_run IS NOT id {more} ORDER BY id"
)
_NEAR: Final = (
    "AND id IN (WITH RECURSIVE near(run) AS (VALUES (?) "
    "UNION SELECT id FROM near JOIN runs ON parent_run = near.run AND id > near.run "
    "UNION SELECT id FROM near JOIN runs ON fork_of = near.run AND id > near.run) "
    "SELECT run FROM near)"
)
_FORKS: Final = "SELECT id, run_id FROM runs WHERE fork_of = ?"
_HIDE: Final = (
    "UPDATE runs SET parent_run = id, run_id = ?, status = 'cancelled', owner = NULL, "
    "epoch = epoch + 1 WHERE id = ?"
)
_HIDDEN: Final = "SELECT id FROM runs WHERE parent_run = id ORDER BY id DESC"
_LEFT: Final = (
    "SELECT run, step FROM anchors "
    "WHERE EXISTS (SELECT 1 FROM steps WHERE run = anchors.run AND step < anchors.step)"
)
_RETIRE: Final = (
    "INSERT OR REPLACE INTO retired SELECT 1, max(?, coalesce((SELECT max(last) FROM retired), 0))"
)
_UNUSED: Final = (
    "DELETE FROM graphs WHERE digest NOT IN (SELECT graph_digest FROM runs) "
    "AND digest NOT IN (SELECT graph_digest FROM adoptions)"
)
_LINK: Final = (
    "SELECT coalesce((SELECT digest FROM adoptions WHERE run = steps.run AND step = steps.step "
    "ORDER BY place DESC LIMIT 1), digest) FROM steps WHERE run = ? AND step = ?"
)
_ADOPTED: Final = "SELECT max(step) FROM adoptions WHERE run = ? AND step < ?"
_SNAPSHOTS: Final = "SELECT step, digest FROM snapshots WHERE run = ? ORDER BY step"
_NO_ANCHOR: Final = (0, "", 0, 0, 0.0, "", None, "")
_FEW: Final = 500  # steps of a family that goes in one transaction
_BRIEF: Final = 0.02  # seconds that a transaction should take
_TRIES: Final = 3

_Stored = tuple[Snapshot, dict[str, str]]
"""A snapshot as it is to be stored, and the long values that it refers to."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """What one transaction has dropped: of whom, how much, and whose rows are still there."""

    run_id: str
    steps: int
    bytes: int
    hidden: Sequence[int] = ()


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
    runs = file.read(partial(_facts, lives=file.lives))
    planned, known = plan(runs, wish), {run.number: run for run in runs}
    if dry_run:
        return file.read(partial(_foreseen, known=known, planned=planned))
    gone = list(_drop(file, planned.drop, wish.over))
    if gone:
        file.write(lambda cursor: cursor.execute(_UNUSED).rowcount)
    cut, damaged = [], []
    for number, first in planned.cuts.items():
        try:
            found = _cut(file, known[number], first, wish, columns)
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
    )


def delete_run(file: "SqliteFile", run_id: str) -> bool:
    """Delete a run and its children; see `Checkpointer.delete`.

    Returns:
        False when there is no such run.
    """

    def work(cursor: "Cursor") -> _Gone | None:
        header = header_of(cursor, run_id)
        if header is None:
            return None
        if header.parent is not None:
            raise part_of(run_id, header.parent)
        number = number_of(cursor, run_id)
        (since,) = cursor.execute("SELECT taken_at FROM runs WHERE id = ?", (number,)).fetchone()
        check_idle(header, since, file.lives)
        family = family_of(cursor, number)
        if forks := _forks(cursor, family):
            raise still_shared(run_id, forks)
        return _hide(cursor, run_id, family)

    gone = file.write(work)
    if gone is None:
        return False
    _sweep(file, gone.hidden)
    file.write(lambda cursor: cursor.execute(_UNUSED).rowcount)
    return True


def _facts(
    cursor: "Cursor", near: int | None = None, lives: Callable[[str], bool] = is_alive
) -> list[RunFacts]:
    """Read the facts of all runs, or of one family with its forks, and theirs."""
    lives = cache(lives)
    more, given = ("", ()) if near is None else (_NEAR, (near,))
    found = []
    for number, run_id, graph, status, owner, *rest in cursor.execute(
        _FACTS.format(more=more), given
    ):
        seen = status
        if status == "running" and owner is not None:
            seen = "running" if lives(owner) else "stale"
        found.append(RunFacts(number, run_id, graph, seen, *rest))
    return found


def _foreseen(cursor: "Cursor", known: Mapping[int, RunFacts], planned: Plan) -> Pruned:
    """Say what a plan would drop."""
    steps = size = 0
    for number in planned.drop:
        family = family_of(cursor, number)
        steps += _count(cursor, family)
        size += sum(bytes_of(cursor, family).values())
    for number, first in planned.cuts.items():
        more_steps, more_size = _before(cursor, number, first)
        steps, size = steps + more_steps, size + more_size
    cut = {known[number].run_id: first for number, first in planned.cuts.items()}
    return Pruned(tuple(known[number].run_id for number in planned.drop), cut, steps, size)


def _before(cursor: "Cursor", number: int, first: int) -> tuple[int, int]:
    """Count the steps of a run before another one, with those of its children, and their bytes."""
    children = children_of(cursor, number, first)
    steps = _count(cursor, [number], first) + _count(cursor, children)
    size = sum(bytes_of(cursor, [number], first).values())
    return steps, size + sum(bytes_of(cursor, children).values())


def _finish(file: "SqliteFile") -> None:
    """Remove what an interrupted prune has left."""
    hidden, left = file.read(
        lambda cursor: (cursor.execute(_HIDDEN).fetchall(), cursor.execute(_LEFT).fetchall())
    )
    for number, first in left:
        _sweep_steps(file, number, first)
        file.write(partial(recount_uses, run=number))
    _sweep(file, [number for (number,) in hidden])


def _drop(file: "SqliteFile", roots: Sequence[int], over: frozenset[RunStatus]) -> Iterator[_Gone]:
    """Drop runs with their children: as many in one transaction as take a short time."""
    todo = list(roots)
    while todo:
        done, gone = file.write(partial(_drop_some, roots=tuple(todo), over=over))
        del todo[:done]
        yield from gone
        for one in gone:
            _sweep(file, one.hidden)


def _drop_some(
    cursor: "Cursor", roots: Sequence[int], over: frozenset[RunStatus]
) -> tuple[int, list[_Gone]]:
    begin, gone, done = perf_counter(), [], 0
    while done < len(roots) and perf_counter() - begin < _BRIEF:
        number = roots[done]
        header = header_of(cursor, number)
        if header is not None and as_seen(header).status in over:
            family = family_of(cursor, number)
            if not _forks(cursor, family):  # somebody may have forked it since
                gone.append(_hide(cursor, header.run_id, family))
        done += 1
    return done, gone


def _forks(cursor: "Cursor", family: Sequence[int]) -> list[str]:
    """Name the runs that were forked from runs of a family."""
    rows = [row for number in family for row in cursor.execute(_FORKS, (number,))]
    return [name for number, name in rows if number not in set(family)]


def _hide(cursor: "Cursor", run_id: str, family: Sequence[int]) -> _Gone:
    """Let runs be there for nobody; when they have few rows, these go at once."""
    steps, size = _count(cursor, family), sum(bytes_of(cursor, family).values())
    for number in reversed(family):
        cursor.execute(_HIDE, (f"deleted#{number} {now()}", number))
    if steps > _FEW:
        return _Gone(run_id, steps, size, family[::-1])
    for number in reversed(family):
        _remove(cursor, number)
    return _Gone(run_id, steps, size)


def _count(cursor: "Cursor", numbers: Sequence[int], below: int = 2**62) -> int:
    sql = "SELECT count(*) FROM steps WHERE run = ? AND step < ?"
    return sum(cursor.execute(sql, (number, below)).fetchone()[0] for number in numbers)


def _remove(cursor: "Cursor", number: int) -> None:
    """Remove all rows of a run."""
    forget_runs(cursor, [number])
    for table in OF_RUNS[:-1]:
        cursor.execute(f"DELETE FROM {table} WHERE run = ?", (number,))  # noqa: S608 - our own names
    cursor.execute("DELETE FROM runs WHERE id = ?", (number,))
    cursor.execute(_RETIRE, (number,))


def _sweep(file: "SqliteFile", hidden: Sequence[int]) -> None:
    """Remove the rows of runs that are there for nobody."""
    for number in hidden:
        _sweep_steps(file, number, 2**62)
        file.write(partial(_remove, number=number))


def _sweep_steps(file: "SqliteFile", number: int, below: int) -> None:
    """Remove the rows of the oldest steps of a run, in transactions of a short time."""
    span = 64
    while True:
        begin = perf_counter()
        if not file.write(partial(_remove_some, number=number, below=below, span=span)):
            return
        took = perf_counter() - begin
        span = max(1, span // 2) if took > 2 * _BRIEF else span * 2 if took < _BRIEF else span


def _remove_some(cursor: "Cursor", number: int, below: int, span: int) -> bool:
    (first,) = cursor.execute("SELECT min(step) FROM steps WHERE run = ?", (number,)).fetchone()
    if first is None or first >= below:
        return False
    for table in OF_STEPS:
        sql = f"DELETE FROM {table} WHERE run = ? AND step < ?"  # noqa: S608 - our own names
        cursor.execute(sql, (number, min(below, first + span)))
    return True


def _cut(
    file: "SqliteFile", run: RunFacts, first: int, wish: Wish, columns: Columns
) -> _Gone | None:
    """Drop the oldest steps of a run; None when that cannot be any more."""
    by = columns.digest_of
    for _ in range(_TRIES):  # another process may take a snapshot meanwhile
        stored = file.read(partial(stored_run, run_id=run.run_id, tail=False, by=by))
        if stored is None:
            return None
        known = [(row[1], row[4]) for row in stored.parts[-1].snapshots]
        snapshots = snapshots_for(checked(stored, columns), first)
        new: list[tuple[Snapshot, dict[str, str]]] = []
        for snapshot in snapshots:
            values: dict[str, str] = {}
            stored_as = columns.snapshot(run.run_id, snapshot, values)
            new.append((stored_as, columns.stored_values(values)))
        is_now, gone = file.write(partial(_cut_if, run, first, (known, new), wish, by=by))
        if gone is not None:
            _sweep_steps(file, run.number, first)
            file.write(partial(recount_uses, run=run.number))
            _sweep(file, gone.hidden)
        if is_now:
            return gone
    return None


def _cut_if(
    run: RunFacts,
    first: int,
    snapshots: tuple[Sequence[Row], Sequence[_Stored]],
    wish: Wish,
    cursor: "Cursor",
    *,
    by: Hash,
) -> tuple[bool, _Gone | None]:
    """Cut a run if it still has the snapshots that were known when new ones were made."""
    known, new = snapshots
    if cursor.execute(_SNAPSHOTS, (run.number,)).fetchall() != known:
        return False, None
    return True, _cut_off(cursor, run, first, new, wish, by=by)


def _cut_off(
    cursor: "Cursor",
    run: RunFacts,
    first: int,
    snapshots: Sequence[_Stored],
    wish: Wish,
    *,
    by: Hash,
) -> _Gone | None:
    """Let a run begin with a later step, if nobody needs those before."""
    root = root_of(cursor, run.number)
    if root is None:
        return None
    near = _facts(cursor, number_of(cursor, root.run_id))
    if first > cuts_of(near, wish.steps or 0, wish.graph).get(run.number, -1):
        return None
    steps, size = _before(cursor, run.number, first)
    for snapshot, values in snapshots:
        _replace_snapshot(cursor, run.number, snapshot, by)
        store_values(cursor, run.number, values)
    used = spent_by(cursor, run.run_id) or Spent()
    hidden = _hide(cursor, run.run_id, children_of(cursor, run.number, first)).hidden
    _begin_with(cursor, run, first, used, by)
    return _Gone(run.run_id, steps, size, hidden)


def _replace_snapshot(cursor: "Cursor", number: int, snapshot: Snapshot, by: Hash) -> None:
    place = (number, snapshot.step)
    cursor.execute("DELETE FROM snapshots WHERE run = ? AND step = ?", place)
    store_snapshot(cursor, number, snapshot, _digest_of(cursor, *place), by)


def _begin_with(cursor: "Cursor", run: RunFacts, first: int, used: Spent, by: Hash) -> None:
    """Store the anchor of a run, with what the steps before had used of all that it `used`."""
    number = run.number
    (link,) = cursor.execute(_LINK, (number, first - 1)).fetchone()
    _, _, calls, tokens, ms, _, adopted_on, _ = (
        cursor.execute(ANCHOR, (number,)).fetchone() or _NO_ANCHOR
    )
    (adopted,) = cursor.execute(_ADOPTED, (number, first)).fetchone()
    if adopted is not None and adopted >= run.first:
        adopted_on = _digest_of(cursor, number, adopted)
    if adopted is not None:  # the last one stays: by it the first step was written
        cursor.execute("DELETE FROM adoptions WHERE run = ? AND step < ?", (number, adopted))
    place = (first, link)
    store_anchor(
        cursor, number, place, Spent(calls, tokens, ms / 1e3), by=by, adopted_on=adopted_on
    )
    left = spent_by(cursor, run.run_id) or Spent()
    seconds = used.seconds - left.seconds + ms / 1e3
    more = Spent(used.calls - left.calls + calls, used.tokens - left.tokens + tokens, seconds)
    store_anchor(cursor, number, place, more, by=by, adopted_on=adopted_on)


def _digest_of(cursor: "Cursor", number: int, step: int) -> str:
    sql = "SELECT digest FROM steps WHERE run = ? AND step = ?"
    return str(cursor.execute(sql, (number, step)).fetchone()[0])
