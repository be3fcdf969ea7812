"""The tasks of a step: what a driver is to run, and how what came of it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.definition import GateDef
from graphflow.engine.decide import evidence_of, gate_verdict, goto_of
from graphflow.engine.mutation import Watch
from graphflow.engine.position import OpenStep, Position, node_of
from graphflow.errors import InvalidUpdateError, PauseSignal, text_of
from graphflow.plan import Plan, PlanNode
from graphflow.policy import Limits
from graphflow.records import (
    AttemptRecord,
    DecisionRecord,
    Evidence,
    QuestionRecord,
    RunHeader,
    TaskRecord,
)
from graphflow.routing import Command
from graphflow.state.laid_over import lay_over
from graphflow.state.reducers import Replace
from graphflow.state.update import Judged, judge
from graphflow.state.view import reads_of

__all__ = [
    "ChildEnd",
    "Ended",
    "Result",
    "Task",
    "attempt_record",
    "complete",
    "item_task",
    "judge_task",
    "limit_reached",
    "make_task",
    "text_of",
    "where",
]


@dataclass(slots=True)
class Task:
    """One execution for a driver: of a node, of an item of a map, or of a subgraph's child."""

    ix: int
    """Its place in the step."""
    key: str
    """Of an item, with its place: `m[1]`."""
    node: PlanNode
    step: int
    attempt: int
    """From 1; executions that failed before count."""
    argument: Any
    """What the body is called with: a view of the state, or an item."""
    view: Any = None
    """The view, also of an item's map."""
    watch: Watch | None = None
    """Looks for changes in place, when the flow was compiled to."""
    delay: float = 0.0
    """Seconds to wait before."""
    is_retry: bool = False
    """It has just failed, and is run again."""
    private: str | None = None
    """What a Send laid over the state, as JSON."""
    item: int | None = None
    """The place of an item in its map."""
    questions: Mapping[str, QuestionRecord] | None = None
    """What it has asked, by name; None: nothing."""
    lapsed: int = 0
    """How many more it has asked that nobody has to answer any more."""
    memos: Mapping[str, str] | None = None
    """The JSON of what it has remembered, by name; None: nothing."""
    child: RunHeader | None = None
    """The child of a subgraph, if it has begun."""


@dataclass(slots=True)
class Ended:
    """What came of running a task once."""

    task: Task
    value: Any
    error: Exception | None
    started_at: str
    duration_ms: float
    signals: Sequence[PauseSignal] = ()
    """Why the body did not run to its end, when it waits for something."""


@dataclass(slots=True)
class ChildEnd:
    """How the child of a subgraph stands, when its driver lets go of it."""

    status: str
    reason: str | None
    values: dict[str, Any]
    """The state of the child; of a child that is done its last."""
    errors: Mapping[str, Exception]
    """What failed in it, by task."""
    words: str = ""
    """What failed in it, when it has failed before and nothing ran again."""


Result = tuple[TaskRecord, Judged]
"""A complete task: its record, and its update ready to be merged."""


def limit_reached(position: Position, limits: Limits) -> str | None:
    """Say which limit forbids the next step (S14): `limit:steps`, `limit:visits:NODE`, or None."""
    counters = position.counters
    if counters.since >= limits.steps:
        return "limit:steps"
    for key in position.ready:
        name = node_of(key, position.sends) if position.sends else key
        if counters.visits.get(name, 0) >= limits.visits:
            return f"limit:visits:{name}"
    return None


def make_task(plan: Plan, position: Position, ix: int, key: str) -> Task:
    """Make the task at a place of the next step."""
    sends, values, private = position.sends, position.values, None
    node = plan.nodes[node_of(key, sends) if sends else key]
    if key in sends:
        private = sends[key].input_json
        values = lay_over(plan.schema, values, private)
    watch = Watch(plan, values) if plan.watches else None
    view = plan.schema.view(values if watch is None else watch.values)
    task = Task(ix, key, node, position.step + 1, 1, view, view, watch, private=private)
    if position.open is not None:
        _take_up(task, position.open)
    return task


def item_task(task: Task, open_step: OpenStep | None, ix: int, item: Any) -> Task:
    """Make the task of one item of a map."""
    key = f"{task.key}[{ix}]"
    one = Task(task.ix, key, task.node, task.step, 1, item, task.view, item=ix)
    if open_step is not None:
        _take_up(one, open_step)
    return one


def _take_up(task: Task, stored: OpenStep) -> None:
    task.attempt = stored.attempts.get(task.key, 0) + 1
    task.questions = stored.questions.get(task.key)
    task.lapsed = stored.lapsed.get(task.key, 0)
    task.memos = stored.memos.get(task.key)
    task.child = stored.children.get(task.key)


def judge_task(plan: Plan, position: Position, ended: Ended) -> Result:
    """Judge what a body returned, at the culprit.

    Args:
        plan: The graph.
        position: What the task saw.
        ended: The task, without an error.

    Raises:
        InvalidUpdateError: The update or the goto is not allowed; says graph, node, step, field.
    """
    task, node, update = ended.task, ended.task.node, ended.value
    goto = None
    try:
        if task.watch is not None:
            task.watch.check(reads_of(task.view))
        if node.gate is not None:
            goto, update = _gate(plan, position, task, node.gate, update)
        elif type(update) is Command:
            if update.goto != ():
                evidence = evidence_of(plan, position, reads_of(task.view), task.private)
                goto = goto_of(plan, position, node, update, evidence)
            update = update.update
        judged = judge(plan.schema, position.values, update)
    except InvalidUpdateError as error:
        raise where(plan, task, error) from error.__cause__
    return _result(plan, ended, judged, is_empty=update is None, goto=goto)


def complete(
    plan: Plan,
    position: Position,
    ended: Ended,
    update: Any,
    *,
    items: int | None = None,
    fell_back: str | None = None,
) -> Result:
    """Complete a task whose update does not come of its body.

    Args:
        plan: The graph.
        position: What the task saw.
        ended: The task.
        update: An update, which may be wrong.
        items: How many items a map had.
        fell_back: The node that runs instead of what follows.

    Raises:
        InvalidUpdateError: The update is not allowed; says graph, node, step, field.
    """
    try:
        judged = judge(plan.schema, position.values, update)
    except InvalidUpdateError as error:
        raise where(plan, ended.task, error) from error.__cause__
    record, judged = _result(plan, ended, judged, is_empty=update is None)
    record.items, record.fell_back = items, fell_back
    return record, judged


def where(plan: Plan, task: Task, error: InvalidUpdateError) -> InvalidUpdateError:
    """Add to an error which graph, node and step it is of."""
    return InvalidUpdateError(
        f"graph {plan.name!r}, node {task.node.name!r}, step {task.step}: {error}",
        node=task.node.name,
        step=task.step,
        field=error.field,
    )


def attempt_record(ended: Ended, error: BaseException) -> AttemptRecord:
    """Record a failed execution: the error, and its traceback from the node's own code on."""
    from traceback import format_exception

    task = ended.task
    own = error.__traceback__ and (error.__traceback__.tb_next or error.__traceback__)
    return AttemptRecord(
        task.step,
        task.key,
        task.node.name,
        task.attempt,
        ended.started_at,
        ended.duration_ms,
        type(error).__name__,
        text_of(error),
        "".join(format_exception(type(error), error, own)),
    )


def _result(
    plan: Plan,
    ended: Ended,
    judged: Judged,
    *,
    is_empty: bool,
    goto: DecisionRecord | None = None,
) -> Result:
    task, schema = ended.task, plan.schema
    record = TaskRecord(
        task.ix,
        task.key,
        task.node.name,
        None if is_empty else schema.codec.join(judged.texts.items()),
        ended.started_at,
        ended.duration_ms,
        task.attempt,
        tuple(schema.in_order(reads_of(task.view))),
        goto,
        _replaced(judged) if schema.reducers else (),
    )
    return record, judged


def _replaced(judged: Judged) -> tuple[str, ...]:
    return tuple(name for name, value in judged.values.items() if type(value) is Replace)


def _gate(
    plan: Plan, position: Position, task: Task, gate: GateDef, failures: list[str]
) -> tuple[DecisionRecord, dict[str, Any] | None]:
    name = task.node.name
    tries = position.counters.tries.get(name, 0)
    seen = evidence_of(plan, position, reads_of(task.view), task.private)
    evidence = (*seen, Evidence("tries", position.step, str(tries), counter=True))
    verdict = gate_verdict(name, gate, failures, tries, evidence)
    if not failures or gate.feedback is None:
        return verdict, None
    return verdict, {gate.feedback: "; ".join(failures) if gate.as_text else failures}
