"""Making records of rows, and checking that they are what was written.

A run's digest covers what never changes of it, and its seal what does (see `sqlite_seal`); that of
each step continues from the one before, and covers the step's rows, how many rows of other tables
belong to it, and the last digests of its children; a snapshot, a kept task and every other row have
their own. A long value is held to the digest by which columns refer to it. What a run that is being
advanced has added to its open step is not counted.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.digest import Hash, compact, digest, snapshot_digest
from graphflow.checkpoint.owner import is_alive
from graphflow.checkpoint.refusals import corrupt
from graphflow.checkpoint.rows import (
    Row,
    adoption_from,
    attempt_from,
    call_from,
    item_from,
    memo_from,
    question_from,
    task_from,
)
from graphflow.checkpoint.shapes import check_given, spec_from
from graphflow.checkpoint.shapes import check_row as check_shape
from graphflow.checkpoint.standing import as_seen, in_order, uses_below
from graphflow.checkpoint.stored_chain import chained, check_row, joined
from graphflow.checkpoint.stored_rows import Part, Stored
from graphflow.errors import CheckpointCorruptError
from graphflow.records import (
    GraphUse,
    RunHeader,
    RunRecords,
    Snapshot,
    Spent,
    StepRecord,
    TaskRecord,
)
from graphflow.stored import UNREADABLE, parsed, unreadable

__all__ = ["checked", "unsealed"]

_T = TypeVar("_T")


def checked(
    stored: Stored, columns: Columns, lives: Callable[[str], bool] = is_alive
) -> RunRecords:
    """Make records of rows.

    Args:
        stored: The rows.
        columns: How the database stores values.
        lives: Tells whether the owner of a run lives.

    Raises:
        CheckpointCorruptError: A row is not what was written, or one is missing.
    """
    return _records(stored, _seen_root(stored, columns, lives), columns, lives)


def _records(
    stored: Stored, root: RunHeader | None, columns: Columns, lives: Callable[[str], bool]
) -> RunRecords:
    if not stored.is_sealed:
        raise unsealed(stored.header.run_id)
    _check_fixed(stored, columns.digest_of)
    header = as_seen(_given(stored, columns), root, lives)
    if not stored.parts:
        return RunRecords(header, {})
    for part in stored.parts:
        part.values = columns.sound(part.values)
    steps = chained(stored.parts, columns)
    graphs = _graphs(stored, columns)
    own = stored.parts[-1]
    if not own.is_tail:
        _check_counts(stored.parts)
    kept = [row for row in own.tasks if row[0] > header.step]
    return RunRecords(
        header,
        graphs[-1].spec,
        steps,
        [_kept(own, row, columns) for row in kept],
        _loose(stored, columns, "attempt", attempt_from),
        _loose(stored, columns, "call", call_from),
        _snapshots(stored.parts, columns),
        _loose(stored, columns, "item", item_from),
        _loose(stored, columns, "question", question_from),
        _loose(stored, columns, "memo", memo_from),
        _children(stored, root or header, (steps, graphs), columns, lives),
        graphs if len(graphs) > 1 else [],
        _used_before(stored.parts[0]),
    )


def _given(stored: Stored, columns: Columns) -> RunHeader:
    given = columns.given_header(stored.header, columns.sound(stored.values))
    try:
        check_given(given)
    except UNREADABLE as error:
        raise unreadable(given.run_id, -1, "what is known of it", error) from error
    return given


def _children(
    stored: Stored,
    root: RunHeader,
    own: tuple[Sequence[StepRecord], Sequence[GraphUse]],
    columns: Columns,
    lives: Callable[[str], bool],
) -> list[RunRecords]:
    found = [
        _records(child, _seen_root(child, columns, lives) or root, columns, lives)
        for child in stored.children
    ]
    return in_order(found, *own) if found else found


def _seen_root(stored: Stored, columns: Columns, lives: Callable[[str], bool]) -> RunHeader | None:
    return stored.root and as_seen(columns.given_ending(stored.root), lives=lives)


def _used_before(part: Part) -> Spent | None:
    """Say what the steps had used that were pruned."""
    if part.anchor is None:
        return None
    _, _, calls, tokens, ms, *_ = part.anchor
    return Spent(calls, tokens, ms / 1e3)


def _check_fixed(stored: Stored, by: Hash) -> None:
    """Check what never changes of a run and those that it forks."""
    for part in stored.parts:
        if digest("run", part.fixed, by) != part.digest:
            raise corrupt(part.run_id, -1, "what was stored when it began has changed")
        if part.anchor is not None:
            check_row(part.run_id, part.anchor[0], "anchor", part.anchor, by)


def _graphs(stored: Stored, columns: Columns) -> list[GraphUse]:
    """List the graphs that wrote the steps of a run, oldest first.

    Raises:
        CheckpointCorruptError: A graph, or that the run came to it, is not what was written.
    """
    found: list[GraphUse] = []
    for part in stored.parts:
        _, _, version, name, *_, fork_step, _ = part.fixed
        spec = _spec(stored, part, name, columns.digest_of)
        uses = [GraphUse(fork_step or 0, name, version, spec), *_adopted(stored, part, columns)]
        found += uses_below(uses, part.below)
    return found


def _adopted(stored: Stored, part: Part, columns: Columns) -> list[GraphUse]:
    found: list[GraphUse] = []
    for step_digest, *row in part.adoptions:
        step, place, *_ = row
        before = found[-1].adoption if found else None
        follows = before.place + 1 if before is not None and before.step == step else 0
        if place != follows or step_digest is None:
            raise corrupt(part.run_id, step, "how it came to another graph is not all there")
        given = columns.given("adoptions", part.run_id, step, tuple(row), part.values)
        adoption = _made(part.run_id, step, "adoption", adoption_from, given[:-1])
        adoption.digest = given[-1]
        spec = _spec(stored, part, adoption.graph_digest, columns.digest_of)
        version, name = adoption.graph_version, adoption.graph_digest
        found.append(GraphUse(adoption.step + 1, name, version, spec, adoption))
    last = found[-1].adoption.digest if found and found[-1].adoption is not None else None
    if part.below is None and part.adopted != last:
        raise corrupt(part.run_id, -1, "how it came to another graph is not all there")
    return found


def _spec(stored: Stored, part: Part, name: str, by: Hash) -> Any:
    graph = stored.graphs.get(name)
    if graph is None or digest("graph", graph[:-1], by) != graph[-1]:
        raise corrupt(part.run_id, -1, "its graph has changed")
    try:
        return spec_from(graph[3])
    except UNREADABLE as error:
        raise unreadable(part.run_id, -1, "its graph", error) from error


def _check_counts(parts: Sequence[Part]) -> None:
    """Check that no row of another table is missing; one may have come too late to be counted."""
    found: Counter[tuple[str, int]] = Counter()
    for part in parts:
        for kind, rows in part.loose.items():
            found.update((f"{kind}s", row[0]) for row in rows)
        found.update(("snapshots", row[1]) for row in part.snapshots)
    for part in parts:
        for step, _, _, counts, _ in part.steps:
            if counts is not None:
                _check_rows(part.run_id, step, counts, found)


def _check_rows(run_id: str, step: int, counts: str, found: Mapping[tuple[str, int], int]) -> None:
    rows = parsed(counts, run_id=run_id, step=step, column="rows_json")
    if type(rows) is not dict or set(map(type, rows.values())) != {int}:
        raise corrupt(run_id, step, "its rows_json has changed")
    for table, count in rows.items():
        if found[table, step] < count:
            raise corrupt(run_id, step, f"its {table} are not all there")


def _kept(part: Part, row: Row, columns: Columns) -> TaskRecord:
    run_id = part.run_id
    step, own, _, *pieces = row
    text = joined(*pieces)
    if columns.digest_of(f'["task",[{compact(run_id)},{step},{text[1:]}]') != own:
        raise corrupt(run_id, step, "a stored task of it has changed")
    given = columns.given("tasks", run_id, step, json.loads(text), part.values)
    return _made(run_id, step, "task", task_from, given)


def _loose(stored: Stored, columns: Columns, kind: str, make: Callable[[Row], _T]) -> list[_T]:
    found = []
    for part in stored.parts:
        for row in part.loose.get(kind, ()):
            check_row(part.run_id, row[0], kind, row, columns.digest_of)
            given = columns.given(f"{kind}s", part.run_id, row[0], row[:-1], part.values)
            found.append(_made(part.run_id, row[0], kind, make, given))
    return found


def _made(run_id: str, step: int, kind: str, make: Callable[[Row], _T], row: Row) -> _T:
    """Make a record of a row, once its form has been looked at."""
    try:
        check_shape(f"{kind}s", row)
        return make(row)
    except UNREADABLE as error:
        raise unreadable(run_id, step, f"a stored {kind} of it", error) from error


def _snapshots(parts: Sequence[Part], columns: Columns) -> list[Snapshot]:
    found: list[Snapshot] = []
    for part in parts:
        for of_step, *row in part.snapshots:
            snapshot = Snapshot(*row)
            before = found[-1].step if found else part.saved
            if of_step is None or snapshot.since not in (None, before):
                raise corrupt(part.run_id, snapshot.step, "its snapshot has no place")
            texts = (snapshot.state_json, snapshot.counters_json, snapshot.added_json or "")
            if any(type(text) is not str for text in texts) or (
                snapshot_digest(of_step, snapshot, columns.digest_of) != snapshot.digest
            ):
                raise corrupt(part.run_id, snapshot.step, "its snapshot has changed")
            found.append(columns.given_snapshot(part.run_id, snapshot, part.values))
    if parts[0].saved is not None:  # a range of steps goes on from a snapshot before it
        return found
    first = next(step[0] for part in parts for step in part.steps)
    if not found or found[0].since is not None or first not in {s.step for s in found}:
        raise corrupt(parts[-1].run_id, first, "its snapshot is missing")
    return found


def unsealed(run_id: str) -> CheckpointCorruptError:
    """Say that a run does not stand as it was written."""
    return corrupt(run_id, -1, "how it stands, or what its open step has, has changed")
