"""How a record stands in columns: each record as the tuple of its values, and back.

The tuples are what a database stores and what the digests cover. Their order is that of the
names in `COLUMNS`.
"""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from math import isnan
from typing import Any, Final

from graphflow.records import (
    Arrow,
    AttemptRecord,
    CallRecord,
    DecisionRecord,
    Evidence,
    StepRecord,
    TaskRecord,
)

__all__ = [
    "COLUMNS",
    "Row",
    "attempt_from",
    "attempt_row",
    "call_from",
    "call_row",
    "decision_from",
    "decision_row",
    "step_from",
    "step_row",
    "task_from",
    "task_row",
]

Row = tuple[Any, ...]
"""Text, numbers and None."""

COLUMNS: Final = {
    "steps": "step committed_at arrows_json fired_json held_json ready_json derived_json",
    "tasks": "ix key node update_json started_at duration_ms attempts reads_json "
    "replaces_json goto_json",
    "decisions": "ix source router kind options_json chosen answer reason confidence "
    "evidence_json details_json",
    "attempts": "step key attempt node started_at duration_ms error_type error traceback",
    "calls": "step key attempt kind model started_at duration_ms input_tokens output_tokens "
    "cached_tokens request_json response_json error",
}
"""The columns that the rows of a table hold, in order, without those that place the row."""

_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_quoted = encode_basestring
_scan = json.JSONDecoder().raw_decode


def step_row(step: StepRecord) -> Row:
    """Put a step into columns, without its tasks and decisions."""
    return (
        step.step,
        step.committed_at,
        _arrows_json(step.arrows),
        _json({join: list(of) for join, of in step.fired.items()}) if step.fired else "{}",
        _json({join: list(of) for join, of in step.held.items()}) if step.held else "{}",
        _names_json(step.ready),
        step.derived_json,
    )


def step_from(row: Row, tasks: Iterable[Row], decisions: Iterable[Row], digest: str) -> StepRecord:
    """Make a step of its rows."""
    number, committed_at, arrows, fired, held, ready, derived = row
    return StepRecord(
        number,
        tuple(map(task_from, tasks)),
        tuple(map(decision_from, decisions)),
        _arrows_from(arrows),
        {} if fired == "{}" else {join: tuple(of) for join, of in json.loads(fired).items()},
        {} if held == "{}" else _held_from(held),
        _names_from(ready),
        derived,
        committed_at,
        digest,
    )


def task_row(task: TaskRecord, *, is_open: bool = False) -> Row:
    """Put a task into columns.

    Args:
        task: The task.
        is_open: Its step is not committed yet. Only then is its own decision stored with it:
            a committed step has it among its decisions.
    """
    goto = task.goto if is_open else None
    return (
        task.ix,
        task.key,
        task.node,
        task.update_json,
        task.started_at,
        _real(task.duration_ms),
        task.attempts,
        _names_json(task.reads),
        _names_json(task.replaces),
        _json(decision_row(0, goto)) if goto else None,
    )


def task_from(row: Row) -> TaskRecord:
    """Make a task of its row."""
    ix, key, node, update, started_at, ms, attempts, reads, replaces, goto = row
    return TaskRecord(
        ix,
        key,
        node,
        update,
        started_at,
        ms,
        attempts,
        _names_from(reads),
        decision_from(tuple(json.loads(goto))) if goto else None,
        _names_from(replaces),
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
        _names_json(decision.options),
        _chosen(decision.chosen),
        decision.answer,
        decision.reason,
        # Not-a-number is null to a database
        None if confidence is None or isnan(confidence) else _real(confidence),
        _evidence_json(decision.evidence),
        decision.details_json,
    )


def decision_from(row: Row) -> DecisionRecord:
    """Make a decision of its row."""
    _, source, router, kind, options, chosen, answer, reason, confidence, evidence, details = row
    return DecisionRecord(
        source,
        router,
        _names_from(options),
        _names_from(chosen) if chosen.startswith("[") else (chosen,),
        reason,
        answer,
        confidence,
        _evidence_from(evidence),
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


def _real(number: float) -> float:
    return number + 0.0  # a float, and not minus zero, which SQLite does not store


def _chosen(names: Sequence[str]) -> str:
    # A plain name reads best in a query; a list begins with a bracket, so a name must not.
    if len(names) == 1 and not names[0].startswith("["):
        return names[0]
    return _names_json(names)


def _names_json(names: Sequence[str]) -> str:
    # By hand, here and below: it takes a third of what an encoder takes, in every step
    return "[" + ",".join(map(_quoted, names)) + "]" if names else "[]"


def _arrows_json(arrows: Sequence[Arrow]) -> str:
    quoted = [f"[{_quoted(a.source)},{_quoted(a.target)},{_quoted(a.kind)}]" for a in arrows]
    return "[" + ",".join(quoted) + "]"


# The steps of a loop repeat the same few texts
@lru_cache(maxsize=1024)
def _names_from(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=1024)
def _arrows_from(text: str) -> tuple[Arrow, ...]:
    return tuple(Arrow(*arrow) for arrow in json.loads(text))


def _held_from(text: str) -> dict[str, tuple[tuple[str, int], ...]]:
    return {join: tuple((s, n) for s, n in of) for join, of in json.loads(text).items()}


def _evidence_json(evidence: Sequence[Evidence]) -> str:
    return "[" + ",".join(map(_one_json, evidence)) + "]"


def _one_json(one: Evidence) -> str:
    kind = "counter" if one.counter else "field"
    value = "" if one.value_json is None else f',"value":{one.value_json}'
    return f'{{"{kind}":{_quoted(one.name)}{value},"step":{one.step}}}'


def _evidence_from(text: str) -> tuple[Evidence, ...]:
    """Read what `_evidence_json` wrote, with each value's text exactly as it was."""
    found = []
    at = 1
    while at < len(text) - 1:
        counter = text.startswith('{"counter":', at)
        name, at = _scan(text, at + len('{"counter":' if counter else '{"field":'))
        value = None
        if text.startswith(',"value":', at):
            start = at + len(',"value":')
            _, at = _scan(text, start)
            value = text[start:at]
        step, at = _scan(text, at + len(',"step":'))
        found.append(Evidence(name, step, value, counter))
        at += len("},")
    return tuple(found)
