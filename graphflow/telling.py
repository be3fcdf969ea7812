"""What listeners are told when an effect of the engine has been stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from graphflow.engine.effects import Ask, Commit, Fail, Finish, Keep, KeepItem
from graphflow.events import (
    AttemptEvent,
    DecisionEvent,
    DoneEvent,
    Event,
    NodeEvent,
    QuestionEvent,
    StepEvent,
)
from graphflow.records import Ending, StepRecord, TaskRecord

__all__ = ["events_of"]


def events_of(
    run_id: str, effect: Commit | Keep | KeepItem | Fail | Ask | Finish
) -> Iterator[Event]:
    """Give the events of what has just been stored.

    A task that was kept before its step closed has been told of then, and is not told again.
    """
    if isinstance(effect, Commit):
        yield from _of_step(run_id, effect.step, effect.told)
        if effect.ending is not None:
            yield _done(run_id, effect.ending)
    elif isinstance(effect, Keep):
        yield _ended(run_id, effect.step, effect.task)
    elif isinstance(effect, Fail):
        yield AttemptEvent(run_id, effect.attempt)
    elif isinstance(effect, Ask):
        yield QuestionEvent(run_id, effect.question)
    elif isinstance(effect, Finish):
        yield _done(run_id, effect.ending)


def _of_step(run_id: str, step: StepRecord, told: Collection[str]) -> Iterator[Event]:
    for task in step.tasks:
        if task.items == 0:  # nothing of it ran, and so nothing was told
            yield NodeEvent(run_id, step.step, task.key, task.node, 1)
        if task.key not in told:
            yield _ended(run_id, step.step, task)
    yield StepEvent(run_id, step)
    for decision in step.decisions:
        yield DecisionEvent(run_id, step.step, decision)


def _ended(run_id: str, step: int, task: TaskRecord) -> NodeEvent:
    return NodeEvent(run_id, step, task.key, task.node, task.attempts, task)


def _done(run_id: str, ending: Ending) -> DoneEvent:
    words = f"{ending.error_type}: {ending.error}" if ending.error_type else ending.error
    return DoneEvent(run_id, ending.status, ending.reason, words)
