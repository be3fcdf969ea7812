"""The facts of a run: what is stored, drawn, read back and tested.

Values are JSON text here, written once by the state's codec, so that a checkpointer stores
them and a renderer reads them without knowing the user's classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from graphflow.adopted import Adoption, Frontier, GraphUse
from graphflow.decided import Arrow, ArrowKind, DecisionRecord, Evidence, Sent
from graphflow.errors import BudgetSignal

__all__ = [
    "Adoption",
    "Arrow",
    "ArrowKind",
    "AttemptRecord",
    "CallRecord",
    "DecisionRecord",
    "Ending",
    "Evidence",
    "Frontier",
    "GraphUse",
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


@dataclass(slots=True)
class DamagedHeader(RunHeader):
    """What is left of a header that is not what was written: in a list of runs; `error` says more.

    What cannot be read is empty in it, its status "failed".
    """


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
    """The graph that the run is on: see `definition.Definition.spec`."""
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
    graphs: list[GraphUse] = field(default_factory=list)
    """The graphs that wrote its steps, oldest first; empty: that of `spec` wrote all of them."""
    before: Spent | None = None
    """What the oldest steps had used, when they were pruned: `steps` begins after them."""

    @property
    def uses(self) -> Sequence[GraphUse]:
        """The graphs that wrote its steps, oldest first."""
        if self.graphs:
            return self.graphs
        header = self.header
        return (GraphUse(0, header.graph_digest, header.graph_version, self.spec),)

    def use_after(self, step: int) -> GraphUse:
        """Give the graph that goes on after a committed step, as far as it has."""
        fitting = [use for use in self.uses if use.first <= step + (use.adoption is not None)]
        return fitting[-1] if fitting else self.uses[0]

    def use_of(self, step: int) -> GraphUse:
        """Give the graph that wrote a committed step."""
        return [use for use in self.uses if use.first <= step or use is self.uses[0]][-1]

    def adoptions(self, step: int) -> list[Adoption]:
        """Give the adoptions after a step, in order."""
        found = [use.adoption for use in self.graphs if use.adoption is not None]
        return [adoption for adoption in found if adoption.step == step]

    def checkpoint(self, step: int) -> StepRecord:
        """Give a committed step, with what runs next in the words of the graph that goes on."""
        record = self.steps[step - self.steps[0].step]
        if self.graphs:
            for adoption in self.adoptions(step):
                if adoption.frontier is not None:
                    record = replace(record, **adoption.frontier._asdict())
        return record

    @property
    def last(self) -> StepRecord:
        """The last committed step, with what runs next in the words of the graph that goes on."""
        return self.checkpoint(self.steps[-1].step)

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
