"""The questions of runs: those of their subgraphs too, by the keys that an answer names them by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from graphflow.answering import find_open, open_questions
from graphflow.errors import DAMAGED, RunNotFoundError
from graphflow.records import DamagedHeader, QuestionRecord, RunHeader, RunRecords
from graphflow.render.wording import cut, listed, one_line

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer

__all__ = ["Asked", "all_asked", "expected", "is_answered", "open_asked", "typed_answer"]

_OVER = {"done", "cancelled"}
_KINDS = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a run.

    Attributes:
        header: The run, the one that has no parent.
        key: What an answer names it by: `ask_human`, `sub#0/approve:sure`.
        question: The question.
        is_open: Whether it waits for an answer.
    """

    header: RunHeader
    key: str
    question: QuestionRecord
    is_open: bool


def all_asked(records: RunRecords) -> list[Asked]:
    """List the questions of a run and of its subgraphs, answered ones too.

    Args:
        records: All records of the run.
    """
    waiting = {id(found.question) for found in open_questions(records)}
    return [
        Asked(records.header, key, question, id(question) in waiting)
        for key, question in _within(records, "")
    ]


def _within(records: RunRecords, path: str) -> Iterator[tuple[str, QuestionRecord]]:
    for question in records.questions:
        yield f"{path}{question.id}", question
    for child in records.children:
        yield from _within(child, f"{path}{child.header.parent_key}/")


def open_asked(store: Checkpointer, header: RunHeader) -> list[Asked]:
    """List the questions of a run that wait for an answer; reads no more than its end."""
    if header.status in _OVER and not isinstance(header, DamagedHeader):
        return []
    found = find_open(store, store.load(header.run_id, tail=True))
    return [Asked(header, one.id, one.question, is_open=True) for one in found]


def is_answered(store: Checkpointer, header: RunHeader) -> bool:
    """Tell whether a run is paused at questions that are all answered: it is to be resumed."""
    heard = header.heard == header.step + 1  # most runs need no second look
    is_paused = (header.status, header.reason) == ("paused", "question")
    try:
        return heard and is_paused and not open_asked(store, header)
    except (*DAMAGED, RunNotFoundError):
        return False  # whoever reads the run is told


def expected(question: QuestionRecord) -> str:
    """Say what an answer may be: `string`, `"retry" | "skip" | "fail"`, else the JSON schema."""
    schema = json.loads(question.schema_json)
    return _told(schema) or one_line(question.schema_json)


def _told(schema: Any) -> str:
    if not isinstance(schema, dict) or "$ref" in schema or "properties" in schema:
        return ""
    if "enum" in schema or "const" in schema:
        values = listed(schema.get("enum", [schema.get("const")]))
        return " | ".join(cut(json.dumps(value, ensure_ascii=False)) for value in values)
    if "anyOf" in schema:
        parts = [_told(part) for part in listed(schema["anyOf"])]
        return " | ".join(parts) if all(parts) else ""
    if not schema:
        return "any JSON"
    kind, items = schema.get("type"), schema.get("items")
    if kind == "array" and items is not None:
        return f"array of {_told(items)}" if _told(items) else ""
    # What else it says, such as a minimum, takes the schema itself
    plain = set(schema) <= {"type", "title", "description", "default"}
    return one_line(kind) if plain and isinstance(kind, str) else ""


def typed_answer(text: str, question: QuestionRecord) -> Any:
    """Read what was typed as an answer: as JSON, unless it can only be meant as a text.

    Args:
        text: As it was typed.
        question: What it answers.

    Returns:
        The text itself when the answer is a string, or what was typed is no JSON, or JSON of a
        kind that the question does not take while it does take a string.
    """
    kinds = _kinds(json.loads(question.schema_json))
    if kinds == {"string"}:
        return text
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    kind = _KINDS[type(value)]
    fits = kind in kinds or (kind == "integer" and "number" in kinds)
    return text if "string" in kinds and not fits else value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _kinds(schema: Any) -> set[str]:
    """Give the kinds of JSON that a schema takes; empty when that takes more than a look."""
    if not isinstance(schema, dict):
        return set()
    if "enum" in schema or "const" in schema:
        values = listed(schema.get("enum", [schema.get("const")]))
        return {_KINDS[type(value)] for value in values}
    if "anyOf" in schema:
        parts = [_kinds(part) for part in listed(schema["anyOf"])]
        return set().union(*parts) if all(parts) else set()
    kind = schema.get("type")
    return {kind} if isinstance(kind, str) else set()
