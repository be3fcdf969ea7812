"""The facts of a run: what is stored, drawn, read back and tested.

Values are JSON text here, written once by the state's codec, so that a checkpointer stores
them and a renderer reads them without knowing the user's classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from graphflow.errors import BudgetSignal

__all__ = [
    "Arrow",
    "ArrowKind",
    "AttemptRecord",
    "CallRecord",
    "DecisionRecord",
    "Ending",
    "Evidence",
    "ItemRecord",
    "MemoRecord",
    "QuestionRecord",
    "RunHeader",
    "RunRecords",
    "RunStatus",
    "Sent",
    "Snapshot",
    "Spent",
    "StepRecord",
    "TaskRecord",
    "wall_ms",
]

RunStatus = Literal["running", "paused", "failed", "done", "cancelled", "stale"]
ArrowKind = Literal["edge", "join", "choice", "send", "goto", "fallback"]


class Arrow(NamedTuple):
    """An arrow that ran."""

    source: str
    target: str
    kind: ArrowKind
    """edge: fixed; join: of a list edge; choice: a router's; goto: a node's or gate's own; send: of
    a Send; fallback: instead of the arrows of a task that failed."""


class Sent(NamedTuple):
    """A Send among the targets that were chosen: a task of its own with a private input."""

    node: str
    input_json: str
    """What is laid over the state for this task: one JSON object."""


class Evidence(NamedTuple):
    """One thing a router or gate read before it decided."""

    name: str
    """A field of the state, or a counter: "tries", "visits"."""
    step: int
    """The step that wrote the field last; 0 is the input."""
    value_json: str | None
    """The value when its JSON is at most 256 bytes; None: read it back with `state_at(step)`."""
    counter: bool = False


class DecisionRecord(NamedTuple):
    """One call of a router, or the choice of a gate or of Command(goto=)."""

    source: str
    """The node that was left."""
    router: str
    """The name of the routing function; of a gate, the gate's."""
    options: tuple[str, ...]
    """The declared targets."""
    chosen: tuple[str | Sent, ...]
    """The targets taken, in the order of the answer; empty when none was."""
    reason: str
    """Never empty: the router's words, else the evidence in words."""
    answer: str | None = None
    """What was answered when that is not the target's name: a gate's "passed", "failed" or
    "otherwise"; the key of a mapping of answers to nodes."""
    confidence: float | None = None
    evidence: tuple[Evidence, ...] = ()
    details_json: str | None = None
    """What the router itself gave as `Decision(evidence=)`."""
    kind: Literal["router", "gate", "goto"] = "router"

    @property
    def targets(self) -> tuple[str, ...]:
        """The nodes that were chosen, each once; a Send counts as its node."""
        names = [item if isinstance(item, str) else item.node for item in self.chosen]
        return tuple(dict.fromkeys(names))


@dataclass(slots=True)
class TaskRecord:
    """One node's execution within a step, complete."""

    ix: int
    """Its place in the step's order."""
    key: str
    """`draft`; `work#0`, `work#1` for Sends."""
    node: str
    update_json: str | None
    """What the node returned, as one JSON object; None when it returned None."""
    started_at: str
    """UTC, ISO 8601, microseconds."""
    duration_ms: float
    attempts: int = 1
    """Executions of the body so far, this one included."""
    reads: tuple[str, ...] = ()
    """The fields that the body read, in the order of the state class."""
    goto: DecisionRecord | None = None
    """The decision the node made itself."""
    replaces: tuple[str, ...] = ()
    """The fields of the update that were given as Replace: set, not reduced."""
    fell_back: str | None = None
    """The node that runs instead of what follows, as it failed for good: it has no update then."""
    items: int | None = None
    """How many items a map had."""


@dataclass(slots=True)
class ItemRecord:
    """One item of a map, complete. Its step need not be committed."""

    step: int
    key: str
    """The map's task."""
    ix: int
    """The item's place, from 0."""
    result_json: str
    started_at: str
    duration_ms: float
    attempts: int = 1


@dataclass(slots=True)
class QuestionRecord:
    """A question to a human, and its answer once there is one."""

    step: int
    key: str
    """The task that asks."""
    node: str
    name: str
    """The key of `ctx.ask`; empty when the node itself is the question, or has been escalated."""
    kind: Literal["question", "ask", "escalation"]
    prompt: str
    schema_json: str
    """The JSON schema of an answer."""
    asked_at: str
    details_json: str | None = None
    """Of an escalation: ``{"error_type", "error", "attempts", "calls", "tokens"}``."""
    deadline: str | None = None
    """UTC, ISO 8601: from then on the default answers."""
    default_json: str | None = None
    answer_json: str | None = None
    answered_at: str | None = None
    answered_by: str | None = None
    """Who answered: "person", or "deadline"."""

    @property
    def id(self) -> str:
        """What an answer names it by: `ask_human`, `deploy:approve`."""
        return f"{self.key}:{self.name}" if self.name else self.key


@dataclass(slots=True)
class MemoRecord:
    """The result of work inside a body, stored before the body is complete."""

    step: int
    key: str
    """The task."""
    name: str
    value_json: str
    stored_at: str


@dataclass(slots=True)
class AttemptRecord:
    """One execution of a node's body that failed, or was stopped by a budget."""

    step: int
    key: str
    node: str
    attempt: int
    """From 1."""
    started_at: str
    duration_ms: float
    error_type: str
    error: str
    traceback: str

    @property
    def is_over_budget(self) -> bool:
        """Whether a budget stopped it: then nothing has failed."""
        return self.error_type == BudgetSignal.__name__


@dataclass(slots=True)
class CallRecord:
    """One request to a chat model, answered or not."""

    step: int
    key: str
    """The task that made it."""
    attempt: int
    kind: str
    """chat, parse or choose."""
    model: str
    """Its name as the server gave it; as it was asked for when the server did not answer."""
    started_at: str
    duration_ms: float
    input_tokens: int | None
    """The server's own count, cached ones included; None when it gave none."""
    output_tokens: int | None
    cached_tokens: int | None
    """Those of the input tokens that the server had in its cache."""
    request_json: str
    response_json: str | None
    error: str | None = None


@dataclass(slots=True)
class StepRecord:
    """One committed step: all its tasks, the decisions on the merged state, and what runs next."""

    step: int
    """0 is the input; then 1, 2, ... without a gap."""
    tasks: Sequence[TaskRecord]
    """In merge order. Step 0 has none."""
    decisions: Sequence[DecisionRecord]
    arrows: Sequence[Arrow]
    fired: Mapping[str, Sequence[str]]
    """Each join that runs next, with the sources it collected."""
    held: Mapping[str, Sequence[tuple[str, int]]]
    """Each join that waits: (source, step) of what has arrived."""
    ready: Sequence[str]
    """The task keys of the next step, in order."""
    derived_json: str | None
    """Fields whose new value does not follow from the updates by the reducers alone: a custom
    reducer's result, a Replace, what a model validator changed. One JSON object."""
    committed_at: str = ""
    digest: str = ""
    """SHA-256 over all rows of the step and the previous step's digest, in hex."""
    sends: Mapping[str, Sent] = field(default_factory=dict)
    """Those of the next step's tasks that come of Sends, by key."""
    heard: bool = False
    """An answer came while the step was open: the limits count from this step on."""

    def updates(self) -> Sequence[str]:
        """Give the JSON of what its tasks returned, in merge order."""
        return [task.update_json for task in self.tasks if task.update_json is not None]


@dataclass(slots=True)
class Snapshot:
    """The state after a step, and the counters that the steps before it add up to."""

    step: int
    state_json: str
    """All fields; with `since` those that were set after that."""
    counters_json: str
    digest: str = ""
    since: int | None = None
    """The step of the snapshot that this one continues; None when it has the whole state."""
    added_json: str | None = None
    """With `since`: what was appended to fields after that. One JSON object of lists."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run stands when nobody advances it any more."""

    status: RunStatus
    reason: str | None = None
    error_type: str | None = None
    error: str | None = None


@dataclass(slots=True)
class RunHeader:
    """What is known of a run without its steps."""

    run_id: str
    graph: str
    graph_version: int
    graph_digest: str
    status: RunStatus
    created_at: str
    input_json: str
    reason: str | None = None
    """Why it paused or failed: "limit:steps", "limit:visits:NODE", "interrupted", "task",
    "conflict ...", "router ..."."""
    error_type: str | None = None
    error: str | None = None
    ended_at: str | None = None
    thread_id: str | None = None
    limits_json: str = "{}"
    tags_json: str = "{}"
    epoch: int = 1
    """How often the run was taken; a commit with an older epoch is refused."""
    owner: str | None = None
    """The process that advances it; None when none does."""
    step: int = -1
    """The last committed step."""
    parent: str | None = None
    """Of a child: the run of the graph that its graph is a node of."""
    parent_step: int | None = None
    parent_key: str | None = None
    """The task of the parent's step that this run is."""
    fork_of: str | None = None
    """Of a fork: the run whose steps before `fork_step` are also its own."""
    fork_step: int | None = None
    fork_json: str | None = None
    """What was changed at that step: ``{"update", "replaces", "choose"}``, and under "spent"
    what the steps that it shares have used."""
    budget_json: str = "{}"
    heard: int | None = None
    """The open step in which an answer came; None when none did."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run and its children have used so far."""

    calls: int = 0
    tokens: int = 0
    """Read and written."""
    seconds: float = 0.0
    """The time of the nodes' bodies, those side by side added up."""


@dataclass(slots=True)
class RunRecords:
    """All records of one run, oldest first."""

    header: RunHeader
    spec: Mapping[str, Any]
    """The graph as it was: see `definition.GraphSpec.to_json`."""
    steps: list[StepRecord] = field(default_factory=list)
    kept: list[TaskRecord] = field(default_factory=list)
    """Complete tasks of the open step."""
    attempts: list[AttemptRecord] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    items: list[ItemRecord] = field(default_factory=list)
    questions: list[QuestionRecord] = field(default_factory=list)
    memos: list[MemoRecord] = field(default_factory=list)
    children: "list[RunRecords]" = field(default_factory=list)
    """The runs of its subgraphs, by step and task. Of a tail: those of the open step, and nothing
    but their headers."""

    @property
    def recovered(self) -> bool:
        """Whether it is done although something failed on the way, in a subgraph too.

        A node that ran instead of another counts; a budget that made the run pause does not.
        """
        return self.header.status == "done" and _stumbled(self)


def _stumbled(records: RunRecords) -> bool:
    return (
        any(not attempt.is_over_budget for attempt in records.attempts)
        or any(task.fell_back is not None for step in records.steps for task in step.tasks)
        or any(map(_stumbled, records.children))
    )


def wall_ms(ran: Sequence[TaskRecord | ItemRecord | AttemptRecord]) -> float:
    """Say how long bodies took by the clock: those side by side count once.

    Returns:
        Milliseconds in which at least one of them ran; not what lies between them.
    """
    if len(ran) < 2:
        return sum(one.duration_ms for one in ran)
    begun = sorted((datetime.fromisoformat(one.started_at), one.duration_ms) for one in ran)
    total, end = 0.0, begun[0][0]
    for start, ms in begun:
        left = ms - max(0.0, (end - start).total_seconds() * 1e3)
        if left > 0:
            total, end = total + left, start + timedelta(milliseconds=ms)
    return total
