"""Making records of rows, and checking that they are what was written.

A run's digest covers what never changes of it; that of each step continues from the one before,
and covers the step's rows and the last digests of its children; a snapshot, a kept task and every
other row have their own. What changes of a run (status, epoch, owner, limits, budget) has none.
That a whole attempt, call, item, question or memo is gone shows only where its row went: as damage
of another run, or as a foreign key to none.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from graphflow.checkpoint.digest import digest, snapshot_digest
from graphflow.checkpoint.rows import (
    Row,
    as_written,
    attempt_from,
    call_from,
    item_from,
    memo_from,
    question_from,
    step_from,
    task_from,
)
from graphflow.checkpoint.sqlite_read import Part, Stored
from graphflow.checkpoint.standing import as_seen, in_order
from graphflow.errors import CheckpointCorruptError
from graphflow.records import RunHeader, RunRecords, Snapshot, StepRecord, TaskRecord

__all__ = ["check_row", "checked", "corrupt"]

_T = TypeVar("_T")


def checked(stored: Stored) -> RunRecords:
    """Make records of rows.

    Raises:
        CheckpointCorruptError: A row is not what was written, or one is missing.
    """
    return _records(stored, stored.root and as_seen(stored.root))


def _records(stored: Stored, root: RunHeader | None) -> RunRecords:
    header = as_seen(stored.header, root)
    if not stored.parts:
        return RunRecords(header, {})
    spec_json = _check_fixed(stored)
    steps = _chain(stored.parts)
    own = stored.parts[-1]
    kept = [row for row in own.tasks if row[0] > header.step]
    return RunRecords(
        header,
        json.loads(spec_json),
        steps,
        [_kept(own.run_id, row) for row in kept],
        _loose(stored, "attempt", attempt_from),
        _loose(stored, "call", call_from),
        [_snapshot(part.run_id, row, steps) for part in stored.parts for row in part.snapshots],
        _loose(stored, "item", item_from),
        _loose(stored, "question", question_from),
        _loose(stored, "memo", memo_from),
        in_order([_records(child, root or header) for child in stored.children], steps),
    )


def check_row(run_id: str, step: int, kind: str, row: Row) -> None:
    """Check a row that has a digest of its own, which is its last value.

    Raises:
        CheckpointCorruptError: It is not what was written.
    """
    if digest(kind, (run_id, *row[:-1])) != row[-1]:
        raise corrupt(run_id, step, f"a stored {kind} of it has changed")


def _check_fixed(stored: Stored) -> str:
    """Check what never changes of a run and those that it forks; give its spec."""
    run_id = stored.header.run_id
    for part in stored.parts:
        if digest("run", part.fixed) != part.digest:
            raise corrupt(part.run_id, -1, "what was stored when it began has changed")
    graph = stored.graph
    if graph is None or digest("graph", graph[:-1]) != graph[-1]:
        raise corrupt(run_id, -1, "its graph has changed")
    return str(graph[3])


def _chain(parts: Sequence[Part]) -> list[StepRecord]:
    steps: list[StepRecord] = []
    for part in parts:
        expected = steps[-1].step + 1 if steps else part.first
        previous = part.previous
        if expected == 0:
            previous = part.digest
        elif steps:
            previous = steps[-1].digest
        steps += _steps(part, expected, previous)
        expected = steps[-1].step + 1 if steps else part.first
        if part.below not in (None, expected):
            raise corrupt(part.run_id, expected, "it is missing")
    if not steps:
        raise corrupt(parts[-1].run_id, 0, "it has no steps")
    return steps


def _steps(part: Part, expected: int, previous: str | None) -> Iterator[StepRecord]:
    run_id = part.run_id
    tasks, decisions, heads = map(_by_step, (part.tasks, part.decisions, part.heads))
    for step, stored in enumerate(part.steps, expected):
        number, own = stored[0], stored[-1]
        if number != step or previous is None:
            raise corrupt(run_id, step, "it is missing")
        row = as_written("steps", stored[:-1])
        # The digest of a kept task is cleared when its step is committed
        is_loose = any(task[-1] is not None for task in tasks[number])
        its = tuple([as_written("tasks", task[:-1]) for task in tasks[number]])
        rows: Row = (previous, row, its, tuple(decisions[number]))
        if number in heads:
            rows = (*rows, tuple(heads[number]))
        if is_loose or digest("step", rows) != own:
            raise corrupt(run_id, number, "its rows have changed, or are not all there")
        yield step_from(row, its, decisions[number], own)
        previous = own


def _by_step(rows: list[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row[1:])
    return found


def _kept(run_id: str, row: Row) -> TaskRecord:
    task = as_written("tasks", row[1:-1])
    check_row(run_id, row[0], "task", (row[0], *task, row[-1]))
    return task_from(task)


def _loose(stored: Stored, kind: str, make: Callable[[Row], _T]) -> list[_T]:
    found = []
    for part in stored.parts:
        for row in part.loose.get(kind, ()):
            check_row(part.run_id, row[0], kind, row)
            found.append(make(row[:-1]))
    return found


def _snapshot(run_id: str, row: Row, steps: list[StepRecord]) -> Snapshot:
    number, state_json, counters_json, own = row
    at = number - steps[0].step
    if not 0 <= at < len(steps):
        raise corrupt(run_id, number, "its snapshot has no step")
    if snapshot_digest(steps[at].digest, number, counters_json, state_json) != own:
        raise corrupt(run_id, number, "its snapshot has changed")
    return Snapshot(number, state_json, counters_json, own)


def corrupt(run_id: str, step: int, what: str) -> CheckpointCorruptError:
    """Say what is damaged.

    Args:
        run_id: The run.
        step: The step; -1 when it is no step's.
        what: What is the matter.
    """
    where = f"step {step} of run {run_id!r}" if step >= 0 else f"run {run_id!r}"
    return CheckpointCorruptError(
        f"{where} is damaged: {what} since it was written. Other runs can still be read; "
        "restore this one from a backup.",
        run_id=run_id,
        step=step,
    )
