"""The engine: a pure generator that says what to run and what to commit.

It does no I/O, reads no clock and awaits nothing. A driver answers its effects: it runs the
bodies, stores the records, and sends back what came of it. So there is one logic for sync and
async, for a script, a notebook and a worker.

The life of a step (S1): its tasks run on one frozen state; their updates are judged as they
arrive and merged in declaration order; each router of the nodes that ran decides once on the
merged state; then state, records and the next frontier are committed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphflow.engine.close import Change, close_step
from graphflow.engine.effects import Commit, Doing, Finish, Keep, Outcome, Run, Steps
from graphflow.engine.position import Position, node_of
from graphflow.engine.running import StepRun, run_step
from graphflow.engine.snapshots import snapshot_of
from graphflow.engine.tasks import Ended, Result, judge_task, limit_reached, make_task, text_of
from graphflow.errors import InvalidUpdateError, StepError, failures
from graphflow.plan import Plan
from graphflow.policy import Limits
from graphflow.records import Ending, StepRecord

__all__ = ["Bounds", "Forked", "advance"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a run goes on, and how."""

    limits: Limits
    commits: int | None = None
    """Stop after so many commits; None: do not stop."""
    again: bool = True
    """Whether what failed, or stands at a limit, is run again; not for an answer (S15)."""
    has_more: bool = True
    """Whether a larger budget was given: else what has used it up would use as much again."""
    pause_before: frozenset[str] = frozenset()
    """Pause before a step in which one of these nodes would run."""
    pause_after: frozenset[str] = frozenset()
    """Pause after a step in which one of these nodes ran."""
    is_past_pause: bool = False
    """The run paused before its next step, and is resumed."""


@dataclass(slots=True)
class Forked:
    """The first step of a fork: the tasks' results as they are, and what is changed (S18)."""

    results: list[Result]
    change: Change


def advance(plan: Plan, position: Position, bounds: Bounds, forked: Forked | None = None) -> Steps:
    """Run a graph on from where it stands, until it is done, fails, or must pause.

    Args:
        plan: The graph.
        position: Where the run stands; moved on as steps are committed.
        bounds: How far to go.
        forked: Of a fork that begins, its first step.

    Yields:
        Effects; a driver answers Run and Wait with an Ended, the others with None.

    Returns:
        How it ended.
    """
    left, is_past_pause = bounds.commits, bounds.is_past_pause
    while left is None or left > 0:
        change = None
        if forked is not None:
            found: Sequence[Result] | Outcome = forked.results
            change, forked = forked.change, None
        else:
            found = yield from _results(plan, position, bounds, is_past_pause=is_past_pause)
            is_past_pause = False
        if isinstance(found, Outcome):
            return found
        told = () if position.open is None else position.open.kept
        try:
            record = close_step(plan, position, found, change)
        except StepError as error:
            kept = found if change is None else ()  # a fork that cannot begin keeps nothing
            return (yield from _give_up(position, kept, error))
        ending = _ending(position, bounds, record)
        snapshot = snapshot_of(
            plan.schema,
            position.saved,
            record,
            position.values,
            position.counters,
            always=change is not None,
        )
        yield Commit(record, snapshot, ending, told)
        if ending is not None:
            return Outcome(ending)
        if left is not None:
            left -= 1
    return Outcome(None)


def _results(
    plan: Plan, position: Position, bounds: Bounds, *, is_past_pause: bool
) -> Doing[Sequence[Result] | Outcome]:
    """Run the tasks of the next step; give all their results, or how the run ends without."""
    if position.step < 0:
        return ()
    ready = position.ready
    if position.open is None:
        reason = _stop_before(position, bounds, is_past_pause=is_past_pause)
        if reason is not None:
            return (yield from _finish(Ending("paused", reason)))
    first: Ended | None = None
    if len(ready) == 1 and position.open is None:
        task = make_task(plan, position, 0, ready[0])
        if task.node.is_simple:  # the way of most steps, cut short
            first = yield Run(task)
            if (result := _judged(plan, position, first)) is not None:
                return [result]
    step = StepRun(plan, position, again=bounds.again, has_more=bounds.has_more)
    yield from run_step(step, position.ready, first)
    if step.is_complete:
        return [step.results[key] for key in ready]
    return (yield from _stop_inside(position, step))


def _judged(plan: Plan, position: Position, ended: Ended) -> Result | None:
    """Judge the only task of a step; None when it is not complete."""
    if ended.error is None and not ended.signals:
        try:
            return judge_task(plan, position, ended)
        except InvalidUpdateError as error:
            ended.error = error
    return None


def _stop_before(position: Position, bounds: Bounds, *, is_past_pause: bool) -> str | None:
    """Say why the next step does not begin."""
    reason = limit_reached(position, bounds.limits)
    if reason is None and bounds.pause_before and not is_past_pause:
        for key in position.ready:
            node = node_of(key, position.sends)
            if node in bounds.pause_before:
                return f"before:{node}"
    return reason


def _stop_inside(position: Position, step: StepRun) -> Steps:
    """End a run whose step stays open: failed, else asking, else at a limit (S15)."""
    errors = {key: step.errors[key] for key in position.ready if key in step.errors}
    if step.failed:
        ending = _failure(errors) if errors else _failed_before(position, step)
        return (yield from _finish(ending, errors))
    waiting = [step.waiting[key] for key in position.ready if key in step.waiting]
    reason = "question" if "asking" in waiting else waiting[0]
    return (yield from _finish(Ending("paused", reason)))


def _ending(position: Position, bounds: Bounds, record: StepRecord) -> Ending | None:
    if not position.ready and not position.held:
        return Ending("done")
    if bounds.pause_after:
        for task in record.tasks:
            if task.node in bounds.pause_after:
                return Ending("paused", f"after:{task.node}")
    return None


def _give_up(position: Position, results: Sequence[Result], error: StepError) -> Steps:
    """End a run whose step cannot close; all results are kept, so that no body runs again."""
    if results:
        kept = position.opened().kept
        for task, _ in results:
            if task.key not in kept:
                kept[task.key] = task
                yield Keep(position.step + 1, task)
    words = Ending("failed", error.reason, type(error).__name__, str(error))
    return (yield from _finish(words, {"": error}))


def _failure(errors: dict[str, Exception]) -> Ending:
    kinds = dict.fromkeys(type(error).__name__ for error in errors.values())
    words = text_of(*errors.values()) if len(errors) == 1 else failures(errors)
    return Ending("failed", "task", ", ".join(kinds), words)


def _failed_before(position: Position, step: StepRun) -> Ending:
    """Say what failed before, when nothing of it has run again."""
    stored = position.open.failed if position.open else {}
    records = [stored[key] for key in position.ready if key in step.failed and key in stored]
    kinds = ", ".join(dict.fromkeys(record.error_type for record in records))
    return Ending("failed", "task", kinds, "; ".join(f"{r.key}: {r.error}" for r in records))


def _finish(ending: Ending, errors: dict[str, Exception] | None = None) -> Steps:
    yield Finish(ending)
    return Outcome(ending, errors or {})
