"""How a record stands in columns: each record as the tuple of its values, and back.

The tuples are what a database stores and what the digests cover. Their order is that of the
names in `COLUMNS`.
"""

import json
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Final

from graphflow.checkpoint.column_names import COLUMNS, LATER
from graphflow.checkpoint.rows_json import (
    arrows_json,
    chosen_from,
    chosen_json,
    evidence_from,
    evidence_json,
    fired_from,
    held_from,
    known_names_json,
    names_from,
    ready_from,
    ready_json,
)
from graphflow.records import (
    Adoption,
    AttemptRecord,
    CallRecord,
    DecisionRecord,
    Frontier,
    ItemRecord,
    MemoRecord,
    QuestionRecord,
    StepRecord,
    TaskRecord,
)

__all__ = [
    "COLUMNS",
    "LATER",
    "Row",
    "adoption_from",
    "adoption_row",
    "as_written",
    "attempt_from",
    "attempt_row",
    "call_from",
    "call_row",
    "closed_task",
    "counted_step",
    "decision_from",
    "decision_row",
    "item_from",
    "item_row",
    "memo_from",
    "memo_row",
    "question_from",
    "question_row",
    "step_row",
    "task_from",
    "task_row",
]

Row = tuple[Any, ...]
"""Text, numbers and None."""

_GOTO: Final = COLUMNS["tasks"].split().index("goto_json")
_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def as_written(table: str, row: Row) -> Row:
    """Cut off the later columns of a row that was read, if none of them is set (see `LATER`)."""
    for names in reversed(LATER[table]):
        before = len(row) - len(names.split())
        if any(value is not None for value in row[before:]):
            break
        row = row[:before]
    return row


def step_row(step: StepRecord) -> Row:
    """Put a step into columns, without its tasks and decisions."""
    row = (
        step.step,
        step.committed_at,
        arrows_json(tuple(step.arrows)),
        _json({join: list(of) for join, of in step.fired.items()}) if step.fired else "{}",
        _json({join: list(of) for join, of in step.held.items()}) if step.held else "{}",
        ready_json(step.ready, step.sends),
        step.derived_json,
    )
    return (*row, 1) if step.heard else row


def counted_step(row: Row, rows: Mapping[str, int]) -> Row:
    """Note in a step's row how many rows of other tables belong to it.

    Args:
        row: As `step_row` made it, or this.
        rows: By table.
    """
    size = len(COLUMNS["steps"].split())
    heard = row[size] if len(row) > size else None
    if rows:
        return (*row[:size], heard, _json(rows))
    return row[:size] if heard is None else (*row[:size], heard)


def task_row(task: TaskRecord, *, is_open: bool = False) -> Row:
    """Put a task into columns.

    Args:
        task: The task.
        is_open: Its step is not committed yet. Only then is its own decision stored with it:
            a committed step has it among its decisions.
    """
    goto = task.goto if is_open else None
    row = (
        task.ix,
        task.key,
        task.node,
        task.update_json,
        task.started_at,
        _real(task.duration_ms),
        task.attempts,
        known_names_json(task.reads),
        known_names_json(task.replaces),
        _json(decision_row(0, goto)) if goto else None,
    )
    if task.fell_back is not None or task.items is not None:
        return (*row, task.fell_back, task.items)
    return row


def closed_task(row: Row) -> Row:
    """Give the row of a task that was kept as it is once its step is committed."""
    return (*row[:_GOTO], None, *row[_GOTO + 1 :])


def task_from(row: Sequence[Any]) -> TaskRecord:
    """Make a task of its row."""
    ix, key, node, update, started_at, ms, attempts, reads, replaces, goto, *later = row
    fell_back, items = later or (None, None)
    return TaskRecord(
        ix,
        key,
        node,
        update,
        started_at,
        ms,
        attempts,
        names_from(reads),
        decision_from(tuple(json.loads(goto))) if goto else None,
        names_from(replaces),
        fell_back,
        items,
    )


def decision_row(ix: int, decision: DecisionRecord) -> Row:
    """Put a decision into columns.

    Args:
        ix: Its place among the decisions of the step.
        decision: The decision.
    """
    confidence = decision.confidence
    return (
        ix,
        decision.source,
        decision.router,
        decision.kind,
        known_names_json(decision.options),
        chosen_json(decision.chosen),
        decision.answer,
        decision.reason,
        # Not-a-number is null to a database
        None if confidence is None or isnan(confidence) else _real(confidence),
        evidence_json(decision.evidence),
        decision.details_json,
    )


def decision_from(row: Sequence[Any]) -> DecisionRecord:
    """Make a decision of its row."""
    _, source, router, kind, options, chosen, answer, reason, confidence, evidence, details = row
    return DecisionRecord(
        source,
        router,
        names_from(options),
        chosen_from(chosen),
        reason,
        answer,
        confidence,
        evidence_from(evidence),
        details,
        kind,
    )


def attempt_row(attempt: AttemptRecord) -> Row:
    """Put an attempt into columns."""
    return (
        attempt.step,
        attempt.key,
        attempt.attempt,
        attempt.node,
        attempt.started_at,
        _real(attempt.duration_ms),
        attempt.error_type,
        attempt.error,
        attempt.traceback,
    )


def attempt_from(row: Row) -> AttemptRecord:
    """Make an attempt of its row."""
    step, key, attempt, node, *rest = row
    return AttemptRecord(step, key, node, attempt, *rest)


def call_row(call: CallRecord) -> Row:
    """Put a model call into columns."""
    return (
        call.step,
        call.key,
        call.attempt,
        call.kind,
        call.model,
        call.started_at,
        _real(call.duration_ms),
        call.input_tokens,
        call.output_tokens,
        call.cached_tokens,
        call.request_json,
        call.response_json,
        call.error,
    )


def call_from(row: Row) -> CallRecord:
    """Make a model call of its row."""
    return CallRecord(*row)


def item_row(item: ItemRecord) -> Row:
    """Put an item of a map into columns."""
    return (
        item.step,
        item.key,
        item.ix,
        item.result_json,
        item.started_at,
        _real(item.duration_ms),
        item.attempts,
    )


def item_from(row: Row) -> ItemRecord:
    """Make an item of its row."""
    return ItemRecord(*row)


def question_row(question: QuestionRecord) -> Row:
    """Put a question into columns."""
    return (
        question.step,
        question.key,
        question.name,
        question.node,
        question.kind,
        question.prompt,
        question.schema_json,
        question.asked_at,
        question.details_json,
        question.deadline,
        question.default_json,
        question.answer_json,
        question.answered_at,
        question.answered_by,
    )


def question_from(row: Row) -> QuestionRecord:
    """Make a question of its row."""
    step, key, name, node, *rest = row
    return QuestionRecord(step, key, node, name, *rest)


def memo_row(memo: MemoRecord) -> Row:
    """Put the result of work inside a body into columns."""
    return (memo.step, memo.key, memo.name, memo.value_json, memo.stored_at)


def memo_from(row: Row) -> MemoRecord:
    """Make the result of work inside a body of its row."""
    return MemoRecord(*row)


def adoption_row(adoption: Adoption) -> Row:
    """Put an adoption into columns."""
    left = adoption.frontier
    return (
        adoption.step,
        adoption.place,
        adoption.graph_digest,
        adoption.graph_version,
        adoption.adopted_at,
        _json(dict(adoption.nodes)),
        adoption.state_json,
        adoption.counters_json,
        left and _json({join: list(of) for join, of in left.fired.items()}),
        left and _json({join: list(of) for join, of in left.held.items()}),
        left and ready_json(left.ready, left.sends),
        _json(dict(adoption.children)),
    )


def adoption_from(row: Row) -> Adoption:
    """Make an adoption of its row, which may end with its digest."""
    step, place, graph, version, at, nodes, state, counters, *texts = row[:12]
    fired, held, ready, children = texts
    left = None
    if ready is not None:
        keys, sends = ready_from(ready)
        left = Frontier(keys, fired_from(fired), held_from(held), sends)
    named, moved = json.loads(nodes), json.loads(children)
    found = Adoption(step, place, graph, version, at, named, state, counters, left, moved)
    found.digest = row[12] if len(row) > 12 else ""
    return found


def _real(number: float) -> float:
    return number + 0.0  # a float, and not minus zero, which SQLite does not store
