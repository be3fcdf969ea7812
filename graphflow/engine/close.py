"""Closing a step: merge the updates, make the decisions, work out what runs next (S3, S4, S11)."""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.engine.decide import LONGEST, decide
from graphflow.engine.frontier import settle
from graphflow.engine.position import Position
from graphflow.errors import ConflictError, InvalidUpdateError, StepError
from graphflow.history import count
from graphflow.names import START
from graphflow.plan import Plan
from graphflow.records import Arrow, DecisionRecord, Snapshot, StepRecord, TaskRecord
from graphflow.state.reducers import append
from graphflow.state.update import Judged, Merged, combine, find_conflict

__all__ = ["close_step", "snapshot_of"]

Result = tuple[TaskRecord, Judged]

_SMALLEST_SNAPSHOT = 4096  # bytes of updates: below, reading them again costs next to nothing


def close_step(plan: Plan, position: Position, results: Sequence[Result]) -> StepRecord:
    """Close the next step of a run.

    Args:
        plan: The graph.
        position: Moved on to the step when it closes; left as it was when it does not.
        results: All tasks of the step, in merge order; none for step 0.

    Raises:
        StepError: Updates conflict, or a router fails; the tasks' results stay good.
    """
    step = position.step + 1
    merged = _merge(plan, position, step, results)
    before, position.values = position.values, merged.values
    writers = position.counters.writers
    overwritten = {name: writers.get(name, 0) for name in merged.texts}
    writers.update(dict.fromkeys(merged.texts, step))
    _remember_texts(plan, position, merged)
    try:
        decisions, arrows = _decide_all(plan, position, results)
    except StepError:
        position.values = before
        writers.update(overwritten)
        position.texts.clear()
        raise
    ready, fired, held = settle(plan, arrows, position.held, step)
    record = StepRecord(
        step,
        [task for task, _ in results],
        decisions,
        arrows,
        fired,
        held,
        ready,
        plan.schema.codec.join(merged.derived.items()) if merged.derived else None,
    )
    position.step, position.ready, position.held = step, ready, held
    count(position.counters, record)
    if position.kept or position.attempts:
        position.kept, position.attempts = {}, {}
    return record


def snapshot_of(plan: Plan, position: Position, record: StepRecord) -> Snapshot | None:
    """Take a snapshot when the updates since the last one outgrow it; of step 0 always.

    So all snapshots together stay within a constant factor of the updates, and loading reads at
    most about as many bytes of updates as the state has.
    """
    position.grown += len(record.derived_json or "") + sum(
        len(task.update_json or "") for task in record.tasks
    )
    due = position.grown > max(_SMALLEST_SNAPSHOT, 2 * position.snapshot_size)
    if not due and record.step > 0:
        return None
    text = plan.schema.codec.text(position.values)
    position.grown, position.snapshot_size = 0, len(text)
    return Snapshot(record.step, text, position.counters.to_json())


def _merge(plan: Plan, position: Position, step: int, results: Sequence[Result]) -> Merged:
    updates = [judged for _, judged in results]
    if len(updates) > 1:
        _refuse_conflicts(plan, step, results)
    try:
        return combine(plan.schema, position.values, updates)
    except InvalidUpdateError as error:
        tasks = [
            task.key for task, judged in results if not error.field or error.field in judged.values
        ]
        raise StepError(
            f"graph {plan.name!r}, step {step}: the updates of {', '.join(tasks)} together: {error}"
        ) from error


def _refuse_conflicts(plan: Plan, step: int, results: Sequence[Result]) -> None:
    conflict = find_conflict(plan.schema, [(task.key, judged) for task, judged in results])
    if conflict is not None:
        field, tasks = conflict
        raise ConflictError(
            f"graph {plan.name!r}, step {step}: {' and '.join(map(repr, tasks))} both write"
            f" {field!r}, which has no reducer. Give it one (Annotated[..., append]), or let one"
            " of them write it; then resume the run: no node runs again.",
            field=field,
            tasks=tasks,
        )


def _remember_texts(plan: Plan, position: Position, merged: Merged) -> None:
    """Keep the JSON of short fields for evidence; a long list that only grows stays long."""
    texts = position.texts
    for name, text in merged.texts.items():
        if text is not None:
            texts[name] = text if len(text.encode()) <= LONGEST else None
        elif texts.get(name, "") is not None or plan.schema.reducers[name] is not append:
            texts.pop(name, None)


def _decide_all(
    plan: Plan, position: Position, results: Sequence[Result]
) -> tuple[list[DecisionRecord], list[Arrow]]:
    """Take all arrows that leave the nodes that ran: edges, the nodes' own and routers'."""
    decisions: list[DecisionRecord] = []
    arrows: list[Arrow] = []
    leaving = [(plan.nodes[task.node], task.goto) for task, _ in results]
    for node, own in leaving or [(plan.nodes[START], None)]:
        arrows += [Arrow(node.name, target, kind) for target, kind in node.edges]
        if own is not None:
            decisions.append(own)
            arrows += [Arrow(node.name, target, "goto") for target in own.chosen]
        for router in node.routers:
            decision = decide(plan, position, router)
            decisions.append(decision)
            arrows += [Arrow(node.name, target, "choice") for target in decision.chosen]
    return decisions, arrows
