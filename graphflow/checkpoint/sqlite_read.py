"""Reading runs from the tables, and checking that they are what was written.

A run's digest covers what never changes of it; that of each step continues from the one before
and covers the step's rows; a snapshot, a kept task, a failed attempt and a call have their own.
What changes of a run (status, epoch, owner, limits) has none. That a whole attempt or call is
gone shows only where its row went: as damage of another run, or as a foreign key to none.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import digest, snapshot_digest
from graphflow.checkpoint.owner import is_alive
from graphflow.checkpoint.rows import (
    COLUMNS,
    Row,
    attempt_from,
    call_from,
    step_from,
    task_from,
)
from graphflow.errors import CheckpointCorruptError
from graphflow.records import RunHeader, RunRecords, RunStatus, Snapshot, StepRecord

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["FIXED", "Stored", "checked", "header_of", "headers", "ids_from", "stored_run"]

FIXED: Final = (
    "run_id, graph, graph_version, graph_digest, created_at, thread_id, input_json, tags_json, "
    "parent_run, parent_step, parent_task, fork_of, fork_step, fork_json"
)
"""The columns of a run that never change, and that its digest covers."""

_HEADER: Final = (
    "SELECT run_id, graph, graph_version, graph_digest, status, created_at, input_json, reason, "
    "error_type, error, ended_at, thread_id, limits_json, tags_json, epoch, owner, "
    "coalesce((SELECT max(step) FROM steps WHERE run = runs.id), -1) FROM runs"
)


def _select(table: str, place: str, order: str, more: str = "") -> str:
    columns = ", ".join(filter(None, (*place.split(), *COLUMNS[table].split(), more)))
    start = f"SELECT {columns} FROM {table}"  # noqa: S608 - built from our own names of columns
    return f"{start} WHERE run = ? AND step >= ? ORDER BY {order}"


_STEPS: Final = _select("steps", "", "step", "digest")
_TASKS: Final = _select("tasks", "step", "step, ix", "digest")
_DECISIONS: Final = _select("decisions", "step", "step, ix")
_ATTEMPTS: Final = _select("attempts", "", "step, started_at, key, attempt", "digest")
_CALLS: Final = _select("calls", "", "id", "digest")
_FIXED: Final = f"SELECT id, digest, {FIXED} FROM runs WHERE run_id = ?"  # noqa: S608 - built from our own names of columns
_SNAPSHOTS: Final = (
    "SELECT step, state_json, counters_json, digest FROM snapshots WHERE run = ? ORDER BY step"
)


@dataclass(slots=True)
class Stored:
    """The rows of a run as they were read."""

    header: RunHeader
    fixed: Row
    digest: str
    graph: Row | None
    """The row of `graphs`; None when it is missing."""
    previous: str
    """The digest that the first of the steps continues from."""
    steps: list[Row]
    tasks: list[Row]
    decisions: list[Row]
    attempts: list[Row]
    calls: list[Row]
    snapshots: list[Row]


def headers(
    cursor: "Cursor", status: RunStatus | None, graph: str | None, limit: int | None
) -> list[RunHeader]:
    """Read the headers of runs, newest first."""
    # Whether a running run is stale shows only when its owner is looked for
    stored = "running" if status == "stale" else status
    rows = cursor.execute(
        f"{_HEADER} WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR graph = ?2) "
        "ORDER BY created_at DESC, id DESC",
        (stored, graph),
    )
    found: list[RunHeader] = []
    alive: dict[str, bool] = {}
    for row in rows:
        if limit is not None and len(found) >= limit:
            break
        header = _seen(RunHeader(*row), alive)
        if status in (None, header.status):
            found.append(header)
    return found


def header_of(cursor: "Cursor", run: int | str) -> RunHeader | None:
    """Read one header, as it is stored.

    Args:
        cursor: In a transaction.
        run: The run's id, or its number in the table.
    """
    column = "id" if isinstance(run, int) else "run_id"
    row = cursor.execute(f"{_HEADER} WHERE {column} = ?", (run,)).fetchone()
    return RunHeader(*row) if row else None


def ids_from(cursor: "Cursor", prefix: str, limit: int) -> list[str]:
    """Read the first of the run ids that begin with a prefix, in order."""
    rows = cursor.execute(
        "SELECT run_id FROM runs WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?",
        (prefix, prefix + "\U0010ffff", limit),
    )
    return [run_id for (run_id,) in rows]


def stored_run(cursor: "Cursor", run_id: str, *, tail: bool) -> Stored | None:
    """Read all rows of a run, or those that it takes to go on; None when there is no such run."""
    header = header_of(cursor, run_id)
    if header is None:
        return None
    number, own, *fixed = cursor.execute(_FIXED, (run_id,)).fetchone()
    graph = cursor.execute(
        "SELECT * FROM graphs WHERE digest = ?", (header.graph_digest,)
    ).fetchone()
    newest = " DESC LIMIT 1" if tail else ""
    snapshots = cursor.execute(_SNAPSHOTS + newest, (number,)).fetchall()
    first = snapshots[0][0] if tail and snapshots else 0
    before = cursor.execute(
        "SELECT digest FROM steps WHERE run = ? AND step = ?", (number, first - 1)
    ).fetchone()
    open_step = header.step + 1
    return Stored(
        header,
        tuple(fixed),
        own,
        graph,
        before[0] if before else own,
        cursor.execute(_STEPS, (number, first)).fetchall(),
        cursor.execute(_TASKS, (number, first)).fetchall(),
        cursor.execute(_DECISIONS, (number, first)).fetchall(),
        cursor.execute(_ATTEMPTS, (number, open_step if tail else 0)).fetchall(),
        [] if tail else cursor.execute(_CALLS, (number, 0)).fetchall(),
        snapshots,
    )


def checked(stored: Stored) -> RunRecords:
    """Make records of rows.

    Raises:
        CheckpointCorruptError: A row is not what was written, or one is missing.
    """
    header, run_id = stored.header, stored.header.run_id
    if digest("run", stored.fixed) != stored.digest:
        raise _corrupt(run_id, -1, "what was stored when it began has changed")
    graph = stored.graph
    if graph is None or digest("graph", graph[:-1]) != graph[-1]:
        raise _corrupt(run_id, -1, "its graph has changed")
    steps = list(_steps(stored))
    if not steps:
        raise _corrupt(run_id, 0, "it has no steps")
    kept = [row for row in stored.tasks if row[0] > header.step]
    for row in kept:
        _check_row(run_id, header.step + 1, "task", row)
    for row in stored.attempts:
        _check_row(run_id, row[0], "attempt", row)
    for row in stored.calls:
        _check_row(run_id, row[0], "call", row)
    return RunRecords(
        _seen(header, {}),
        json.loads(graph[3]),
        steps,
        [task_from(row[1:-1]) for row in kept],
        [attempt_from(row[:-1]) for row in stored.attempts],
        [call_from(row[:-1]) for row in stored.calls],
        [_snapshot(run_id, row, steps) for row in stored.snapshots],
    )


def _steps(stored: Stored) -> Iterator[StepRecord]:
    run_id = stored.header.run_id
    tasks, decisions = _by_step(stored.tasks), _by_step(stored.decisions)
    previous = stored.previous
    for expected, (*row, own) in enumerate(stored.steps, stored.steps[0][0] if stored.steps else 0):
        number = row[0]
        if number != expected:
            raise _corrupt(run_id, expected, "it is missing")
        # The digest of a kept task is cleared when its step is committed
        its = tuple(task[:-1] for task in tasks[number])
        rows = (previous, tuple(row), its, tuple(decisions[number]))
        loose = any(task[-1] is not None for task in tasks[number])
        if loose or digest("step", rows) != own:
            raise _corrupt(run_id, number, "its rows have changed, or are not all there")
        yield step_from(tuple(row), its, decisions[number], own)
        previous = own


def _by_step(rows: list[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for step, *row in rows:
        found[step].append(tuple(row))
    return found


def _check_row(run_id: str, step: int, kind: str, row: Row) -> None:
    if digest(kind, (run_id, *row[:-1])) != row[-1]:
        raise _corrupt(run_id, step, f"a stored {kind} of it has changed")


def _snapshot(run_id: str, row: Row, steps: list[StepRecord]) -> Snapshot:
    number, state_json, counters_json, own = row
    at = number - steps[0].step
    if not 0 <= at < len(steps):
        raise _corrupt(run_id, number, "its snapshot has no step")
    if snapshot_digest(steps[at].digest, number, counters_json, state_json) != own:
        raise _corrupt(run_id, number, "its snapshot has changed")
    return Snapshot(number, state_json, counters_json, own)


def _corrupt(run_id: str, step: int, what: str) -> CheckpointCorruptError:
    where = f"step {step} of run {run_id!r}" if step >= 0 else f"run {run_id!r}"
    return CheckpointCorruptError(
        f"{where} is damaged: {what} since it was written. Other runs can still be read; "
        "restore this one from a backup.",
        run_id=run_id,
        step=step,
    )


def _seen(header: RunHeader, alive: dict[str, bool]) -> RunHeader:
    """Say so when the owner of a running run has died."""
    if header.status != "running" or header.owner is None:
        return header
    if header.owner not in alive:
        alive[header.owner] = is_alive(header.owner)
    return header if alive[header.owner] else replace(header, status="stale")
