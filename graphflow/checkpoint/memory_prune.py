"""Dropping runs in memory, and the oldest steps of runs; how much they take."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from graphflow.checkpoint.cutting import snapshots_for
from graphflow.checkpoint.memory_run import MemoryRun
from graphflow.checkpoint.pruning import RunFacts, plan
from graphflow.checkpoint.refusals import check_idle, part_of, still_shared
from graphflow.checkpoint.rows import (
    Row,
    adoption_row,
    attempt_row,
    call_row,
    decision_row,
    item_row,
    memo_row,
    question_row,
    step_row,
    task_row,
)
from graphflow.checkpoint.spending import spent_in
from graphflow.checkpoint.standing import as_seen
from graphflow.records import Spent
from graphflow.upkeep import Pruned, Size, Wish

__all__ = ["delete_run", "prune", "size_of"]

_NEVER = 2**62  # after any step


def delete_run(runs: dict[str, MemoryRun], run: MemoryRun) -> None:
    """Delete a run and its children; see `Checkpointer.delete`."""
    run_id = run.header.run_id
    if run.parent is not None:
        raise part_of(run_id, run.parent.header.run_id)
    check_idle(run_id, run.header.status, run.header.owner, run.since)
    family = _family(run)
    forks = [
        found.header.run_id
        for found in runs.values()
        if found.origin is not None and any(found.origin is one for one in family)
    ]
    if forks:
        raise still_shared(run_id, forks)
    _forget(runs, family)


def prune(runs: dict[str, MemoryRun], wish: Wish, *, dry_run: bool) -> Pruned:
    """Drop what is asked for; see `Checkpointer.prune`."""
    known = list(runs.values())
    planned = plan(list(_facts(known)), wish)
    families = [_family(known[number]) for number in planned.drop]
    gone = Counter[str]()
    for family in families:
        gone += _much(family)
    for number, first in planned.cuts.items():
        gone += _much([known[number]], first)
        gone += _much(_children_before(known[number], first))
    if not dry_run:
        for family in families:
            _forget(runs, family)
        for number, first in planned.cuts.items():
            _cut(runs, known[number], first)
    return Pruned(
        tuple(known[number].header.run_id for number in planned.drop),
        {known[number].header.run_id: first for number, first in planned.cuts.items()},
        gone.pop("", 0),
        sum(gone.values()),
        held=tuple(known[number].header.run_id for number in planned.held),
    )


def size_of(run: MemoryRun) -> Size:
    """Say how much a run and its children take; see `Checkpointer.size`."""
    found = _much(_family(run))
    del found[""]
    return Size(run.header.run_id, dict(found))


def _facts(runs: Sequence[MemoryRun]) -> Iterator[RunFacts]:
    # A parent was begun before its children, and a run before its forks
    numbers = {id(run): number for number, run in enumerate(runs)}
    for number, run in enumerate(runs):
        header = run.header
        yield RunFacts(
            number,
            header.run_id,
            header.graph,
            as_seen(header).status,
            header.created_at,
            header.ended_at,
            None if run.parent is None else numbers[id(run.parent)],
            header.parent_step,
            None if run.origin is None else numbers[id(run.origin)],
            header.fork_step,
            run.steps[0].step,
            header.step,
            run.snapshots[-1].step,
        )


def _family(run: MemoryRun) -> list[MemoryRun]:
    return [run, *(one for child in run.children for one in _family(child))]


def _children_before(run: MemoryRun, step: int) -> list[MemoryRun]:
    return [
        one
        for child in run.children
        if (child.header.parent_step or 0) < step
        for one in _family(child)
    ]


def _forget(runs: dict[str, MemoryRun], family: Iterable[MemoryRun]) -> None:
    for run in family:
        del runs[run.header.run_id]


def _cut(runs: dict[str, MemoryRun], run: MemoryRun, first: int) -> None:
    """Let a run begin with a later step."""
    new = {snapshot.step: snapshot for snapshot in snapshots_for(run.records(), first)}
    used = spent_in(run.own_records())
    _forget(runs, _children_before(run, first))
    run.children = [c for c in run.children if (c.header.parent_step or 0) >= first]
    run.steps = [step for step in run.steps if step.step >= first]
    kept = {snapshot.step: snapshot for snapshot in run.snapshots if snapshot.step >= first} | new
    run.snapshots = [kept[step] for step in sorted(kept)]
    last = _last_adopted(run, first)
    run.adoptions = [pair for pair in run.adoptions if pair[0].step >= last]
    run.attempts = [attempt for attempt in run.attempts if attempt.step >= first]
    run.calls = [call for call in run.calls if call.step >= first]
    run.items = {place: item for place, item in run.items.items() if item.step >= first}
    run.questions = {at: asked for at, asked in run.questions.items() if asked.step >= first}
    run.memos = {place: memo for place, memo in run.memos.items() if memo.step >= first}
    run.before = None
    left = spent_in(run.own_records())
    calls, tokens = used.calls - left.calls, used.tokens - left.tokens
    run.before = Spent(calls, tokens, used.seconds - left.seconds)


def _much(runs: Iterable[MemoryRun], below: int = _NEVER) -> Counter[str]:
    """Add up the bytes of the rows of runs before a step, by table, and under "" their steps."""
    found = Counter[str]()
    for run in runs:
        for table, rows in _rows(run, below).items():
            found[table] += sum(map(_bytes, rows))
        found[""] += sum(step.step < below for step in run.steps)
        if below == _NEVER:
            header = run.header
            found["runs"] += _bytes((header.run_id, header.input_json, header.fork_json))
    return found


def _rows(run: MemoryRun, below: int) -> Mapping[str, Iterable[Row]]:
    steps = [step for step in run.steps if step.step < below]
    kept = run.kept.values() if below == _NEVER else ()
    snapshots = [s for s in run.snapshots if s.step < below]
    gone = below if below == _NEVER else _last_adopted(run, below)
    return {
        "adoptions": [adoption_row(told) for told, _ in run.adoptions if told.step < gone],
        "steps": map(step_row, steps),
        "tasks": map(task_row, [*(task for step in steps for task in step.tasks), *kept]),
        "decisions": [decision_row(0, d) for step in steps for d in step.decisions],
        "attempts": [attempt_row(one) for one in run.attempts if one.step < below],
        "calls": [call_row(one) for one in run.calls if one.step < below],
        "snapshots": [(s.state_json, s.counters_json, s.added_json) for s in snapshots],
        "items": [item_row(one) for one in run.items.values() if one.step < below],
        "questions": [question_row(one) for one in run.questions.values() if one.step < below],
        "memos": [memo_row(one) for one in run.memos.values() if one.step < below],
    }


def _last_adopted(run: MemoryRun, first: int) -> int:
    """Find the step of the adoption by which a step was written; those before it go in a cut."""
    return max((known.step for known, _ in run.adoptions if known.step < first), default=0)


def _bytes(row: Row) -> int:
    return sum(
        len(value.encode("utf-8", "replace")) if isinstance(value, str) else 8
        for value in row
        if value is not None
    )
