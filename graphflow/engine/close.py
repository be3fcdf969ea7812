"""Closing a step: merge the updates, make the decisions, work out what runs next (S3, S4, S11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from graphflow.engine.decide import LONGEST, decide, pinned
from graphflow.engine.frontier import settle
from graphflow.engine.position import Position
from graphflow.engine.tasks import Result
from graphflow.errors import ConflictError, InvalidUpdateError, StepError
from graphflow.history import count
from graphflow.names import END, START
from graphflow.plan import Plan, PlanNode
from graphflow.records import (
    Arrow,
    ArrowKind,
    DecisionRecord,
    Evidence,
    Sent,
    StepRecord,
    TaskRecord,
)
from graphflow.state.reducers import append
from graphflow.state.update import Judged, Merged, combine, find_conflict

__all__ = ["Change", "close_step"]


@lru_cache(maxsize=1024)
def _known(arrows: tuple[Arrow, ...]) -> tuple[Arrow, ...]:
    """Give one tuple for equal arrows: steps repeat a few, and runs in memory keep them all."""
    return arrows


@dataclass(slots=True)
class Change:
    """What a fork changes in the step that it commits anew (S18)."""

    update: Judged | None = None
    """Reduced in after the updates of the tasks."""
    choose: dict[tuple[str, str], Any] = field(default_factory=dict)
    """The answers of routers that are not asked, by (source, router)."""


@dataclass(slots=True)
class _Leaving:
    """All that leaves the nodes of a step."""

    decisions: list[DecisionRecord]
    arrows: list[Arrow]
    """As they are recorded."""
    arriving: list[Arrow]
    """Those of them that lead to plain tasks; the same list, as long as nothing was sent."""
    sent: list[Sent]

    def take(self, source: str, target: str | Sent, kind: ArrowKind) -> None:
        """Take an arrow, or send."""
        if isinstance(target, str):
            arrow = Arrow(source, target, kind)
            self.arrows.append(arrow)
            if self.arriving is not self.arrows:
                self.arriving.append(arrow)
            return
        if self.arriving is self.arrows:
            self.arriving = self.arrows.copy()
        self.arrows.append(Arrow(source, target.node, "send" if kind != "fallback" else kind))
        self.sent.append(target)


def close_step(
    plan: Plan, position: Position, results: Sequence[Result], change: Change | None = None
) -> StepRecord:
    """Close the next step of a run.

    Args:
        plan: The graph.
        position: Moved on to the step when it closes; left as it was when it does not.
        results: All tasks of the step, in merge order; none for step 0.
        change: What a fork changes.

    Raises:
        StepError: Updates conflict, or a router fails; the tasks' results stay good.
    """
    step = position.step + 1
    merged = _merge(plan, position, step, results, change)
    if step == 0:  # before the routers, who could change it in place
        position.saved.first = plan.schema.codec.text(merged.values)
    before, position.values = position.values, merged.values
    overwritten = _note_written(plan, position, step, merged)
    try:
        leaving = _leave(plan, position, results, change)
    except StepError:
        position.values = before
        position.counters.writers.update(overwritten)
        position.seen.clear()
        raise
    arriving, sent, held = leaving.arriving, leaving.sent, position.held
    ready, fired, held, sends = settle(plan, arriving, sent, held, step)
    record = StepRecord(
        step,
        tuple([task for task, _ in results]),
        tuple(leaving.decisions),
        _known(tuple(leaving.arrows)),
        fired,
        held,
        ready,
        plan.schema.codec.join(merged.derived.items()) if merged.derived else None,
        sends=sends,
        heard=position.open is not None and position.open.heard,
    )
    if step > 0 and plan.schema.told:
        position.saved.told.take(plan.schema, merged, results)
    position.step, position.ready, position.held = step, ready, held
    position.sends, position.open = sends, None
    count(position.counters, record)
    return record


def _merge(
    plan: Plan,
    position: Position,
    step: int,
    results: Sequence[Result],
    change: Change | None,
) -> Merged:
    updates = [judged for _, judged in results]
    if len(updates) > 1:
        _refuse_conflicts(plan, step, results)
    try:
        merged = combine(plan.schema, position.values, updates)
        if change is not None and change.update is not None:
            return _changed(plan, merged, change.update)
        return merged
    except InvalidUpdateError as error:
        tasks = [
            task.key for task, judged in results if not error.field or error.field in judged.values
        ]
        raise StepError(
            f"graph {plan.name!r}, step {step}: the updates of {', '.join(tasks)} together: {error}"
        ) from error


def _changed(plan: Plan, merged: Merged, update: Judged) -> Merged:
    """Reduce a fork's update in; what it wrote does not follow from the tasks' updates."""
    update.trial = None  # made on the state before the step
    changed = combine(plan.schema, merged.values, [update])
    derived = {**merged.derived, **changed.derived}
    for name in changed.texts:
        derived[name] = plan.schema.codec.fields[name].text(changed.values[name])
    return Merged(changed.values, {**merged.texts, **changed.texts}, derived)


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


def _note_written(plan: Plan, position: Position, step: int, merged: Merged) -> dict[str, int]:
    """Note who wrote the fields that a step writes, and what evidence says of them.

    Returns:
        Who wrote them before.
    """
    seen, writers = position.seen, position.counters.writers
    before = {}
    for name, text in merged.texts.items():
        before[name], writers[name] = writers.get(name, 0), step
        if text is not None:
            seen[name] = Evidence(name, step, text if len(text.encode()) <= LONGEST else None)
        elif name in seen:
            known = seen.pop(name)
            if known.value_json is None and plan.schema.reducers[name] is append:
                seen[name] = Evidence(name, step, None)  # a long list that grows stays long
    return before


def _leave(
    plan: Plan, position: Position, results: Sequence[Result], change: Change | None
) -> _Leaving:
    """Take all arrows that leave the nodes that ran: edges, the nodes' own and routers'."""
    arrows: list[Arrow] = []
    leaving = _Leaving([], arrows, arrows, [])
    if len(results) == 1 and results[0][0].fell_back is None:  # as in most steps
        task = results[0][0]
        _leave_node(plan, position, leaving, plan.nodes[task.node], (task,), change=change)
        return leaving
    by_node: dict[str, list[TaskRecord]] = {}
    for task, _ in results:
        by_node.setdefault(task.node, []).append(task)
    for name, tasks in by_node.items() or [(START, [])]:
        node = plan.nodes[name]
        for task in tasks:
            if task.fell_back is not None:
                leaving.take(name, _instead(position, task, task.fell_back), "fallback")
        if tasks and all(task.fell_back is not None for task in tasks):
            continue  # its own edges and routers do not run (S16)
        _leave_node(plan, position, leaving, node, tasks, change=change)
    return leaving


def _leave_node(
    plan: Plan,
    position: Position,
    leaving: _Leaving,
    node: PlanNode,
    tasks: Sequence[TaskRecord],
    *,
    change: Change | None,
) -> None:
    leaving.arrows += node.arrows
    if leaving.arriving is not leaving.arrows:
        leaving.arriving += node.arrows
    for task in tasks:
        if task.goto is not None:
            leaving.decisions.append(task.goto)
            for chosen in task.goto.chosen:
                leaving.take(node.name, chosen, "goto")
    for router in node.routers:
        way = router.source, router.name
        if change is not None and way in change.choose:
            decision = pinned(plan, position, router, change.choose[way])
        else:
            decision = decide(plan, position, router)
        leaving.decisions.append(decision)
        for chosen in decision.chosen:
            leaving.take(node.name, chosen, "choice")


def _instead(position: Position, task: TaskRecord, target: str) -> str | Sent:
    """Say where a task falls back to: of a Send, with the same private input (S16)."""
    send = position.sends.get(task.key)
    return target if send is None or target == END else Sent(target, send.input_json)
