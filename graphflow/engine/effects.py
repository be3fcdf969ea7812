"""What the engine asks of its driver: to run tasks, and to store what came of them."""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from graphflow.engine.tasks import Task
from graphflow.records import (
    AttemptRecord,
    Ending,
    ItemRecord,
    QuestionRecord,
    Snapshot,
    StepRecord,
    TaskRecord,
)

__all__ = [
    "Ask",
    "Commit",
    "Doing",
    "Effect",
    "Fail",
    "Finish",
    "Keep",
    "KeepItem",
    "Outcome",
    "Run",
    "Start",
    "Steps",
    "Wait",
]

T = TypeVar("T")


@dataclass(slots=True)
class Run:
    """Run this task, the only one; answer with its `Ended`."""

    task: Task


@dataclass(slots=True)
class Start:
    """Run these tasks side by side, and beside those that run already."""

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
class KeepItem:
    """Store a complete item of a map."""

    item: ItemRecord


@dataclass(slots=True)
class Fail:
    """Store a failed execution."""

    attempt: AttemptRecord


@dataclass(slots=True)
class Ask:
    """Store a question; the driver says when it was asked, and until when it waits."""

    question: QuestionRecord
    lasts: timedelta | None = None


@dataclass(slots=True)
class Commit:
    """Commit a step; with an ending, the run ends with it."""

    step: StepRecord
    snapshot: Snapshot | None
    ending: Ending | None
    told: Collection[str] = ()
    """The keys of its tasks that were kept before."""


@dataclass(slots=True)
class Finish:
    """End the run without a step: it failed, or is paused."""

    ending: Ending


Effect: TypeAlias = Run | Start | Wait | Keep | KeepItem | Fail | Ask | Commit | Finish


@dataclass(slots=True)
class Outcome:
    """Why the engine stopped."""

    ending: Ending | None
    """None: it was asked to stop after so many commits."""
    errors: dict[str, Exception] = field(default_factory=dict)
    """What failed, by task, in the order of the step; an error of the step itself under ""."""


Steps: TypeAlias = Generator[Effect, Any, Outcome]
Doing: TypeAlias = Generator[Effect, Any, T]
"""A part of the engine's work that gives a T in the end."""
