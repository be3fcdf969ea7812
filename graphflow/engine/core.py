"""The engine: a pure generator that says what to run and what to commit.

It does no I/O, reads no clock and awaits nothing. A driver answers its effects: it runs the
bodies, stores the records, and sends back what came of it. So there is one logic for sync and
async, for a script, a notebook and a worker.

The life of a step (S1): its tasks run on one frozen state; their updates are judged as they
arrive and merged in declaration order; each router of the nodes that ran decides once on the
merged state; then state, records and the next frontier are committed together.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphflow.engine.close import Result, close_step, snapshot_of
from graphflow.engine.position import Position
from graphflow.engine.tasks import (
    Ended,
    Task,
    attempt_record,
    judge_task,
    limit_reached,
    tasks_of,
    text_of,
)
from graphflow.errors import InvalidUpdateError, StepError
from graphflow.plan import Plan
from graphflow.policy import Limits
from graphflow.records import AttemptRecord, Ending, Snapshot, StepRecord, TaskRecord
from graphflow.state.update import revive

__all__ = ["Commit", "Effect", "Fail", "Finish", "Keep", "Outcome", "Start", "Wait", "advance"]


@dataclass(slots=True)
class Start:
    """Run these tasks side by side; answer with the first `Ended`."""

    tasks: list[Task]


@dataclass(slots=True)
class Wait:
    """Answer with the next `Ended` of the tasks that were started."""


@dataclass(slots=True)
class Keep:
    """Store a complete task of a step that is still open."""

    step: int
    task: TaskRecord


@dataclass(slots=True)
class Fail:
    """Store a failed execution."""

    attempt: AttemptRecord


@dataclass(slots=True)
class Commit:
    """Commit a step; with an ending, the run ends with it."""

    step: StepRecord
    snapshot: Snapshot | None
    ending: Ending | None


@dataclass(slots=True)
class Finish:
    """End the run without a step: it failed, or is paused."""

    ending: Ending


Effect: TypeAlias = Start | Wait | Keep | Fail | Commit | Finish


@dataclass(slots=True)
class Outcome:
    """Why the engine stopped."""

    ending: Ending | None
    """None: it was asked to stop after so many commits."""
    errors: dict[str, Exception] = field(default_factory=dict)
    """What failed, by task, in the order of the step; an error of the step itself under ""."""


Steps: TypeAlias = Generator[Effect, Any, Outcome]


def advance(plan: Plan, position: Position, limits: Limits, *, commits: int | None = None) -> Steps:
    """Run a graph on from where it stands, until it is done, fails, or must pause.

    Args:
        plan: The graph.
        position: Where the run stands; moved on as steps are committed.
        limits: The run's limits.
        commits: Stop after so many commits; None: do not stop.

    Yields:
        Effects; a driver answers Start and Wait with an Ended, the others with None.

    Returns:
        How it ended.
    """
    while commits is None or commits > 0:
        results: list[Result] = []
        if position.step >= 0:
            reason = limit_reached(position, limits)
            if reason is not None:
                return (yield from _finish(Ending("paused", reason)))
            results, errors = yield from _run_tasks(plan, position)
            if errors:
                return (yield from _finish(_failure(errors), errors))
        try:
            record = close_step(plan, position, results)
        except StepError as error:
            return (yield from _give_up(position, results, error))
        done = not position.ready and not position.held
        ending = Ending("done") if done else None
        yield Commit(record, snapshot_of(plan, position, record), ending)
        if ending is not None:
            return Outcome(ending)
        if commits is not None:
            commits -= 1
    return Outcome(None)


def _run_tasks(
    plan: Plan, position: Position
) -> Generator[Effect, Any, tuple[list[Result], dict[str, Exception]]]:
    """Run the open tasks of a step to their ends; give all results in order, and the failures."""
    tasks, several = tasks_of(plan, position), len(position.ready) > 1
    judged = {
        key: (task, revive(plan.schema, task.update_json, task.replaces, position.values))
        for key, task in position.kept.items()
    }
    errors: dict[str, Exception] = {}
    for left in range(len(tasks), 0, -1):
        ended: Ended = yield (Start(tasks) if left == len(tasks) else Wait())
        key, error = ended.task.key, ended.error
        if error is None:
            try:
                judged[key] = judge_task(plan, position, ended)
            except InvalidUpdateError as wrong:
                error = wrong
        if error is not None:
            errors[key] = error
            position.attempts[key] = ended.task.attempt
            yield Fail(attempt_record(ended, error))
        elif several and (left > 1 or errors):
            position.kept[key] = judged[key][0]
            yield Keep(position.step + 1, judged[key][0])
    if errors:
        return [], {key: errors[key] for key in position.ready if key in errors}
    return [judged[key] for key in position.ready], errors


def _give_up(position: Position, results: list[Result], error: StepError) -> Steps:
    """End a run whose step cannot close; all results are kept, so that no body runs again."""
    for task, _ in results:
        if task.key not in position.kept:
            position.kept[task.key] = task
            yield Keep(position.step + 1, task)
    words = Ending("failed", error.reason, type(error).__name__, str(error))
    return (yield from _finish(words, {"": error}))


def _failure(errors: dict[str, Exception]) -> Ending:
    kinds = dict.fromkeys(type(error).__name__ for error in errors.values())
    if len(errors) == 1:
        words = [text_of(error) for error in errors.values()]
    else:
        words = [f"{key}: {type(e).__name__}: {text_of(e)}" for key, e in errors.items()]
    return Ending("failed", "task", ", ".join(kinds), "; ".join(words))


def _finish(ending: Ending, errors: dict[str, Exception] | None = None) -> Steps:
    yield Finish(ending)
    return Outcome(ending, errors or {})
