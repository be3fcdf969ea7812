"""Cutting off the oldest steps of a run, when nobody needs them any more."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from types import NoneType
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.cutting import snapshots_for
from graphflow.checkpoint.digest import Hash
from graphflow.checkpoint.pruning import RunFacts, cuts_of
from graphflow.checkpoint.rows import Row
from graphflow.checkpoint.sqlite_anchor import store_anchor
from graphflow.checkpoint.sqlite_check import checked
from graphflow.checkpoint.sqlite_headers import number_of, root_of
from graphflow.checkpoint.sqlite_lineage import ANCHOR
from graphflow.checkpoint.sqlite_links import IS_LINKED, is_as_written, unsure
from graphflow.checkpoint.sqlite_read import stored_run
from graphflow.checkpoint.sqlite_size import children_of
from graphflow.checkpoint.sqlite_spent import spent_by
from graphflow.checkpoint.sqlite_sweep import Gone, before_step, hide, sweep, sweep_steps
from graphflow.checkpoint.sqlite_values import store_values
from graphflow.checkpoint.sqlite_write import store_snapshot
from graphflow.errors import CheckpointCorruptError
from graphflow.records import Snapshot, Spent
from graphflow.stored import readable
from graphflow.upkeep import Wish

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["cut_run", "facts_of"]

_FACTS: Final = (
    "SELECT id, run_id, graph, status, owner, created_at, ended_at, parent_run, parent_step, "  # noqa: S608 - our own words
    "fork_of, fork_step, "
    "coalesce((SELECT step FROM anchors WHERE run = runs.id), fork_step, 0), "
    "coalesce((SELECT max(step) FROM steps WHERE run = runs.id), -1), "
    f"coalesce((SELECT max(step) FROM snapshots WHERE run = runs.id), -1), {IS_LINKED} "
    "FROM runs WHERE parent_run IS NOT id {more} ORDER BY id"
)
_NEAR: Final = (
    "AND id IN (WITH RECURSIVE near(run) AS (VALUES (?) "
    "UNION SELECT id FROM near JOIN runs ON parent_run = near.run AND id > near.run "
    "UNION SELECT id FROM near JOIN runs ON fork_of = near.run AND id > near.run) "
    "SELECT run FROM near)"
)
_LINK: Final = (
    "SELECT coalesce((SELECT digest FROM adoptions WHERE run = steps.run AND step = steps.step "
    "ORDER BY place DESC LIMIT 1), digest) FROM steps WHERE run = ? AND step = ?"
)
_ADOPTED: Final = "SELECT max(step) FROM adoptions WHERE run = ? AND step < ?"
_SNAPSHOTS: Final = "SELECT step, digest FROM snapshots WHERE run = ? ORDER BY step"
_NO_ANCHOR: Final = (0, "", 0, 0, 0.0, "", None, "")
_TRIES: Final = 3
_STEP_OF: Final = {"parent": "parent_step", "fork_of": "fork_step"}


_Stored = tuple[Snapshot, dict[str, str]]
"""A snapshot as it is to be stored, and the long values that it refers to."""


def facts_of(
    cursor: "Cursor", lives: Callable[[str], bool], near: int | None = None, *, by: Hash
) -> list[RunFacts]:
    """Read the facts of all runs, or of one family with its forks, and theirs.

    Raises:
        CheckpointCorruptError: What a run shares, or is a part of, is not what was written.
    """
    lives = cache(lives)
    more, given = ("", ()) if near is None else (_NEAR, (near,))
    found = []
    rows = cursor.execute(_FACTS.format(more=more), given).fetchall()
    for number, run_id, graph, status, owner, *rest, is_linked in rows:
        seen = status
        if status == "running" and owner is not None:
            seen = "running" if lives(owner) else "stale"
        # An id that is no text was damaged: its run is named as findings name it
        found.append(RunFacts(number, str(run_id), graph, seen, *rest))
        _check(found[-1])
        if is_linked and not is_as_written(cursor, number, by):
            words = "what was stored when it began has changed"
            raise unsure(found[-1].run_id, words, is_child=found[-1].parent is not None)
    if near is None:
        known = {run.number for run in found}
        for run in found:
            if run.fork_of is not None and run.fork_of not in known:
                raise _unknown(run, "fork_of", run.fork_of)
    return found


def _check(run: RunFacts) -> None:
    """Check what is decided by: of what shares nobody knows what, nothing can be dropped.

    Raises:
        CheckpointCorruptError: It is not what graphflow writes.
    """
    for name in ("parent", "fork_of"):
        number, step = getattr(run, name), getattr(run, _STEP_OF[name])
        if number is None:
            continue
        if type(number) is not int or number >= run.number:
            raise _unknown(run, name, number)
        if type(step) is not int or step < 0:
            raise _unknown(run, _STEP_OF[name], step)
    for name in ("first", "last", "saved"):
        if type(getattr(run, name)) is not int:
            raise _unknown(run, f"its {name} step", getattr(run, name))
    if type(run.ended_at) not in (str, NoneType):
        raise _unknown(run, "ended_at", run.ended_at)


def _unknown(run: RunFacts, name: str, value: object) -> CheckpointCorruptError:
    return unsure(run.run_id, f"{name} cannot be {repr(value)[:60]}")


def cut_run(
    file: "SqliteFile", run: RunFacts, first: int, wish: Wish, columns: Columns
) -> Gone | None:
    """Drop the oldest steps of a run; None when that cannot be any more."""
    by = columns.digest_of
    for _ in range(_TRIES):  # another process may take a snapshot meanwhile
        with readable(run.run_id):
            stored = file.read(partial(stored_run, run_id=run.run_id, tail=False, by=by))
            if stored is None:
                return None
            records = checked(stored, columns)
        known = [(row[1], row[4]) for row in stored.parts[-1].snapshots]
        if records.steps[0].step >= first:  # another process has cut it meanwhile
            return None
        snapshots = snapshots_for(records, first)
        new: list[tuple[Snapshot, dict[str, str]]] = []
        for snapshot in snapshots:
            values: dict[str, str] = {}
            stored_as = columns.snapshot(run.run_id, snapshot, values)
            new.append((stored_as, columns.stored_values(values)))
        is_now, gone = file.write(
            partial(_cut_if, run, first, (known, new), (wish, file.lives), by=by)
        )
        if gone is not None:
            sweep_steps(file, run.number, first)
            sweep(file, gone.hidden)
        if is_now:
            return gone
    return None


def _cut_if(
    run: RunFacts,
    first: int,
    snapshots: tuple[Sequence[Row], Sequence[_Stored]],
    asked: tuple[Wish, Callable[[str], bool]],
    cursor: "Cursor",
    *,
    by: Hash,
) -> tuple[bool, Gone | None]:
    """Cut a run if it still has the snapshots that were known when new ones were made."""
    known, new = snapshots
    if cursor.execute(_SNAPSHOTS, (run.number,)).fetchall() != known:
        return False, None
    return True, _cut_off(cursor, run, first, new, asked, by=by)


def _cut_off(
    cursor: "Cursor",
    run: RunFacts,
    first: int,
    snapshots: Sequence[_Stored],
    asked: tuple[Wish, Callable[[str], bool]],
    *,
    by: Hash,
) -> Gone | None:
    """Let a run begin with a later step, if nobody needs those before."""
    root = root_of(cursor, run.number)
    if root is None:
        return None
    wish, lives = asked
    near = facts_of(cursor, lives, number_of(cursor, root.run_id), by=by)
    run = next(found for found in near if found.number == run.number)
    # A fork that has begun meanwhile has lost nothing yet, whatever this prune could do to it
    latest = cuts_of(near, wish.steps or 0, wish.graph, run.number).get(run.number, -1)
    if not run.first < first <= latest:
        return None
    steps, size = before_step(cursor, run.number, first)
    for snapshot, values in snapshots:
        _replace_snapshot(cursor, run.number, snapshot, by)
        store_values(cursor, run.number, values)
    used = spent_by(cursor, run.run_id) or Spent()
    hidden = hide(cursor, run.run_id, children_of(cursor, run.number, first)).hidden
    _begin_with(cursor, run, first, used, by)
    return Gone(run.run_id, steps, size, hidden)


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
