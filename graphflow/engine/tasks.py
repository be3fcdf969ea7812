"""The tasks of a step: which ones run, whether a limit stops them, and what came of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphflow.definition import GateDef
from graphflow.engine.decide import evidence_of, gate_verdict, goto_of
from graphflow.engine.mutation import Watch
from graphflow.engine.position import Position
from graphflow.errors import InvalidUpdateError
from graphflow.plan import Plan, PlanNode
from graphflow.policy import Limits
from graphflow.records import AttemptRecord, DecisionRecord, Evidence, TaskRecord
from graphflow.routing import Command
from graphflow.state.reducers import Replace
from graphflow.state.update import Judged, judge
from graphflow.state.view import reads_of

__all__ = ["Ended", "Task", "attempt_record", "judge_task", "limit_reached", "tasks_of", "text_of"]


@dataclass(slots=True)
class Task:
    """One node's execution within a step, for a driver to run: ``node.fn(view)``."""

    ix: int
    """Its place in the step."""
    key: str
    node: PlanNode
    step: int
    attempt: int
    """From 1; executions that failed before count."""
    view: Any
    watch: Watch | None = None
    """Looks for changes in place, when the flow was compiled to."""


@dataclass(slots=True)
class Ended:
    """What came of running a task's body once."""

    task: Task
    value: Any
    error: Exception | None
    started_at: str
    duration_ms: float


def limit_reached(position: Position, limits: Limits) -> str | None:
    """Say which limit forbids the next step (S14): `limit:steps`, `limit:visits:NODE`, or None."""
    counters = position.counters
    if counters.since >= limits.steps:
        return "limit:steps"
    for name in position.ready:
        if counters.visits.get(name, 0) >= limits.visits:
            return f"limit:visits:{name}"
    return None


def tasks_of(plan: Plan, position: Position) -> list[Task]:
    """List the tasks of the next step that have not completed yet, in order."""
    step, kept, attempts = position.step + 1, position.kept, position.attempts
    tasks = []
    for ix, name in enumerate(position.ready):
        if name not in kept:
            watch = Watch(plan, position) if plan.watches else None
            view = plan.schema.view(position.values if watch is None else watch.values)
            attempt = attempts.get(name, 0) + 1
            tasks.append(Task(ix, name, plan.nodes[name], step, attempt, view, watch))
    return tasks


def judge_task(plan: Plan, position: Position, ended: Ended) -> tuple[TaskRecord, Judged]:
    """Judge what a body returned, at the culprit.

    Args:
        plan: The graph.
        position: What the task saw.
        ended: The task, without an error.

    Returns:
        The task's record, and its update ready to be merged.

    Raises:
        InvalidUpdateError: The update or the goto is not allowed; says graph, node, step, field.
    """
    task, node, update = ended.task, ended.task.node, ended.value
    reads, goto = reads_of(task.view), None
    try:
        if task.watch is not None:
            task.watch.check(reads)
        if node.gate is not None:
            goto, update = _gate(plan, position, task, node.gate, update)
        elif type(update) is Command:
            if update.goto != ():
                evidence = evidence_of(plan, position, reads)
                goto = goto_of(node, update.goto, update.reason, evidence)
            update = update.update
        judged = judge(plan.schema, position.values, update)
    except InvalidUpdateError as error:
        raise InvalidUpdateError(
            f"graph {plan.name!r}, node {node.name!r}, step {task.step}: {error}",
            node=node.name,
            step=task.step,
            field=error.field,
        ) from error.__cause__
    texts = judged.texts
    record = TaskRecord(
        task.ix,
        task.key,
        node.name,
        None if update is None else plan.schema.codec.join(texts.items()),
        ended.started_at,
        ended.duration_ms,
        task.attempt,
        tuple(plan.schema.in_order(reads)),
        goto,
        _replaced(judged) if plan.schema.reducers else (),
    )
    return record, judged


def attempt_record(ended: Ended, error: Exception) -> AttemptRecord:
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


def _replaced(judged: Judged) -> tuple[str, ...]:
    return tuple(name for name, value in judged.values.items() if type(value) is Replace)


def text_of(error: Exception) -> str:
    """Give an error's words, whatever its own __str__ does."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - the error's own __str__ fails: say that instead
        return f"(its text cannot be made: {type(broken).__name__})"


def _gate(
    plan: Plan, position: Position, task: Task, gate: GateDef, failures: list[str]
) -> tuple[DecisionRecord, dict[str, Any] | None]:
    tries = position.counters.tries.get(task.key, 0)
    seen = evidence_of(plan, position, reads_of(task.view))
    evidence = (*seen, Evidence("tries", position.step, str(tries), counter=True))
    verdict = gate_verdict(task.node.name, gate, failures, tries, evidence)
    if not failures or gate.feedback is None:
        return verdict, None
    return verdict, {gate.feedback: "; ".join(failures) if gate.as_text else failures}
