"""How questions are told: what is asked and since when, who answered, and what."""

from __future__ import annotations

from json import loads
from typing import Any

from graphflow.records import QuestionRecord
from graphflow.render.wording import clean, clock, cut, listed, one_line

__all__ = ["answer_words", "asked_tips", "since"]


def since(question: QuestionRecord, begun: str) -> str:
    """Say since when a question waits: `since 14:02 UTC`.

    Args:
        question: An open one.
        begun: When the run began, ISO 8601: the day is told when it is another one.
    """
    return f"since {clock(question.asked_at, begun)}"


def answer_words(question: QuestionRecord, begun: str) -> tuple[str, str]:
    """Say who answered and when, and what: `person 14:05 UTC`, `"yes"`."""
    at = f" {clock(question.answered_at, begun)}" if question.answered_at else ""
    return f"{question.answered_by or 'answered'}{at}", cut(question.answer_json or "")


def asked_tips(question: QuestionRecord) -> list[str]:
    """Tell a question in full."""
    what = {"question": "question", "ask": "asks", "escalation": "escalated"}[question.kind]
    name = f" {one_line(question.name)}" if question.name else ""
    tips = [f"step {question.step}: {what}{name}: {clean(question.prompt)}"]
    if question.details_json is not None:
        details = loads(question.details_json)
        tips.append(f"  {details.get('error_type')}: {clean(str(details.get('error')))}")
    if question.answer_json is None:
        until = f", until {question.deadline[:16]}" if question.deadline else ""
        then = "" if question.default_json is None else f": then {one_line(question.default_json)}"
        tips.append(f"  open since {question.asked_at[:16]}{until}{then}")
        expected = _expected(loads(question.schema_json or "{}"))
        return [*tips, f"  an answer is {expected}"] if expected else tips
    by = question.answered_by or "?"
    at = (question.answered_at or "")[:16]
    return [*tips, f"  answered by {by} {at}: {one_line(question.answer_json)}"]


def _expected(schema: Any) -> str:
    """Say what an answer may be, as far as one word says it: `string`, `"yes" | "no"`."""
    if not isinstance(schema, dict):
        return ""
    if "enum" in schema:
        return cut(" | ".join(map(repr, listed(schema["enum"]))), 80)
    if "anyOf" in schema:
        return cut(" | ".join(filter(None, map(_expected, listed(schema["anyOf"])))), 80)
    kind = schema.get("type") or schema.get("title") or ""
    return f"of type {one_line(str(kind))}" if kind and not isinstance(kind, list) else ""
