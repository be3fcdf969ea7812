"""Rows as they were read, each held to its digest: that of a step continues the one before.

The steps of a part are put together and digested all at once, table by table, which takes half as
long as to do it step by step.
"""

import json
from collections.abc import Sequence
from itertools import count, groupby
from math import isfinite
from operator import itemgetter
from typing import TypeVar

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.digest import Hash, compact, digest
from graphflow.checkpoint.refusals import corrupt
from graphflow.checkpoint.rows import Row
from graphflow.checkpoint.stored_rows import Part
from graphflow.checkpoint.stored_step import StoredStep
from graphflow.records import StepRecord

__all__ = ["chained", "check_row", "joined", "step_text"]

_T = TypeVar("_T")


def chained(parts: Sequence[Part], columns: Columns) -> list[StepRecord]:
    """Make the steps of a run, and see that they are what was written, and all there.

    Args:
        parts: What it and those that it forks give, oldest first.
        columns: How the database stores values.

    Raises:
        CheckpointCorruptError: A step is not what was written, or one is missing.
    """
    steps: list[StepRecord] = []
    for part in parts:
        expected = steps[-1].step + 1 if steps else part.first
        previous = part.previous
        if expected == 0:
            previous = part.digest
        elif steps:
            previous = steps[-1].digest
        steps += _steps(part, columns, expected, previous)
        expected = steps[-1].step + 1 if steps else part.first
        if part.below not in (None, expected):
            raise corrupt(part.run_id, expected, "it is missing")
    if not steps:
        raise corrupt(parts[-1].run_id, 0, "it has no steps")
    return steps


def check_row(run_id: str, step: int, kind: str, row: Row, by: Hash) -> None:
    """Check a row that has a digest of its own, which is its last value.

    Raises:
        CheckpointCorruptError: It is not what was written.
    """
    if digest(kind, (run_id, *row[:-1]), by) != row[-1]:
        raise corrupt(run_id, step, f"a stored {kind} of it has changed")


def joined(before: str, real: float | None, after: str | None) -> str:
    """Put the JSON of a row together: all of its columns, with one number among them.

    Args:
        before: What stands before the number; all of the row when there is none.
        real: The number.
        after: What comes after it.
    """
    if after is None:
        return before
    number = repr(real) if type(real) is float and isfinite(real) else compact(real)
    return f"{before[:-1]},{number},{after[1:]}"


def step_text(previous: str | None, step: StoredStep, heads: Sequence[Row] = ()) -> str:
    """Write what the digest of a step covers.

    Args:
        previous: The digest before.
        step: The step.
        heads: Its children, with the digest of the last step of each; see `sqlite_rows.HEADS`.
    """
    tasks, decisions = ",".join(step.task_rows), ",".join(step.decision_rows)
    ends = f",{compact([head[1:] for head in heads])}" if heads else ""
    return f'["step",["{previous}",{step.row},[{tasks}],[{decisions}]{ends}]]'


def _steps(part: Part, columns: Columns, expected: int, previous: str | None) -> list[StoredStep]:
    run_id, rows, by = part.run_id, part.steps, columns.digest_of
    if previous is None and rows:
        raise corrupt(run_id, expected, "it is missing")
    steps = _made(part)
    links, heads = _links(part, by), _by_step(part.heads, part.heads)
    before = [previous, *[links.get(row[0], row[1]) if links else row[1] for row in rows]]
    # The digest of a kept task is cleared when its step is committed
    kept = {row[0] for row in part.tasks if row[1] is not None}
    for at, step, link in zip(count(expected), steps, before, strict=False):
        if step.step != at:
            raise corrupt(run_id, at, "it is missing")
        text = step_text(link, step, heads.get(at, ()))
        if by(text) != step.digest or at in kept:
            raise corrupt(run_id, at, "its rows have changed, or are not all there")
        if columns.is_secret or ("$" in text and "$shared" in text):  # the first takes no time
            _refer(step, part, columns)
    return steps


def _made(part: Part) -> list[StoredStep]:
    """Put the rows of each step together."""
    updates = [row for row in part.tasks if row[2] is not None]
    given = _by_step(updates, [row[2] for row in updates])
    tasks = _by_step(
        part.tasks, [joined(before, ms, after) for _, _, _, before, ms, after in part.tasks]
    )
    decisions = _by_step(
        part.decisions,
        [
            before if after is None else joined(before, real, after)
            for _, before, real, after in part.decisions
        ],
    )
    run_id, of = part.run_id, StoredStep.of
    return [
        of(run_id, row, given.get(row[0]) or [], tasks.get(row[0], ()), decisions.get(row[0], ()))
        for row in part.steps
    ]


def _by_step(rows: Sequence[Row], pieces: Sequence[_T]) -> dict[int, list[_T]]:
    """Group what was made of rows, which are in the order of their steps."""
    steps = [row[0] for row in rows]
    found = {step: [piece] for step, piece in zip(steps, pieces, strict=True)}
    if len(found) < len(rows):  # a step has several
        pairs = zip(steps, pieces, strict=True)
        return {step: [piece for _, piece in of] for step, of in groupby(pairs, itemgetter(0))}
    return found


def _links(part: Part, by: Hash) -> dict[int, str]:
    """Give the digests that the steps after an adoption continue from."""
    for step_digest, *row in part.adoptions:
        rows = (part.run_id, step_digest, *row[:-1])
        if step_digest is not None and digest("adoption", rows, by) != row[-1]:
            raise corrupt(part.run_id, row[0], "how it came to another graph has changed")
    return {row[1]: row[-1] for row in part.adoptions}


def _refer(step: StoredStep, part: Part, columns: Columns) -> None:
    """Let a step be read through the columns; see that no long value is missing."""
    for table, rows in step.rows():
        # Only rows that refer to some are looked into now
        for row in (row for row in rows if "$shared" in row or "&" in row):
            columns.check(table, part.run_id, step.step, json.loads(row), part.values)

    def given(table: str, row: Row) -> Row:
        return columns.given(table, part.run_id, step.step, row, part.values)

    step.read_through(given)
