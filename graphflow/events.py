"""What happens in a run, told while it happens: the events of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from graphflow.records import (
    AttemptRecord,
    DecisionRecord,
    QuestionRecord,
    RunStatus,
    StepRecord,
    TaskRecord,
)

__all__ = [
    "AttemptEvent",
    "CustomEvent",
    "DecisionEvent",
    "DoneEvent",
    "Event",
    "NodeEvent",
    "QuestionEvent",
    "RunEvent",
    "StepEvent",
    "TokenEvent",
]


@dataclass(frozen=True, slots=True)
class _Event:
    run_id: str
    """The run; of what happens in a subgraph, the child's."""


@dataclass(frozen=True, slots=True)
class RunEvent(_Event):
    """A run, or a child of it, is being advanced from here on."""

    type: ClassVar[Literal["run"]] = "run"
    graph: str
    step: int
    """The last committed step; -1 when it begins."""


@dataclass(frozen=True, slots=True)
class NodeEvent(_Event):
    """A task begins (`task` is None then), or is complete; a map is told of as a whole."""

    type: ClassVar[Literal["node"]] = "node"
    step: int
    key: str
    node: str
    attempt: int
    task: TaskRecord | None = None


@dataclass(frozen=True, slots=True)
class AttemptEvent(_Event):
    """An execution failed, or a budget stopped it; it has been recorded."""

    type: ClassVar[Literal["attempt"]] = "attempt"
    attempt: AttemptRecord


@dataclass(frozen=True, slots=True)
class DecisionEvent(_Event):
    """A decision of a committed step."""

    type: ClassVar[Literal["decision"]] = "decision"
    step: int
    decision: DecisionRecord


@dataclass(frozen=True, slots=True)
class StepEvent(_Event):
    """A step has been committed; its decisions follow."""

    type: ClassVar[Literal["step"]] = "step"
    step: StepRecord


@dataclass(frozen=True, slots=True)
class TokenEvent(_Event):
    """A piece of a model's answer."""

    type: ClassVar[Literal["token"]] = "token"
    step: int
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class CustomEvent(_Event):
    """What a node gave to `ctx.emit`."""

    type: ClassVar[Literal["custom"]] = "custom"
    step: int
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class QuestionEvent(_Event):
    """A question has been asked and recorded."""

    type: ClassVar[Literal["question"]] = "question"
    question: QuestionRecord


@dataclass(frozen=True, slots=True)
class DoneEvent(_Event):
    """Nobody advances the run any more; the last event of a stream is that of the run itself."""

    type: ClassVar[Literal["done"]] = "done"
    status: RunStatus
    reason: str | None
    error: str | None = None


Event: TypeAlias = (
    RunEvent | StepEvent | NodeEvent | AttemptEvent | DecisionEvent | TokenEvent | CustomEvent
    | QuestionEvent | DoneEvent
)  # fmt: skip
