"""Answers held against the JSON schema that is stored with their question, which is not trusted.

Only a body knows the type that it asks for, and holds the answer against that itself. So what would
take too long here is left to it: nothing is fetched, and no schema of a strange database keeps who
answers waiting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from graphflow.errors import AnswerError
from graphflow.records import QuestionRecord
from graphflow.render.wording import cut
from graphflow.state.pattern import is_found
from graphflow.state.single import plain_text
from graphflow.stored import parsed, unreadable

__all__ = ["by_schema"]

_FEW: Final = 10_000
_Check: TypeAlias = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


def by_schema(question: QuestionRecord, value: Any) -> str:
    """Validate an answer by the schema of its question.

    Args:
        question: As it is stored.
        value: The answer.

    Returns:
        Its JSON.

    Raises:
        AnswerError: It does not fit.
        CheckpointCorruptError: The schema is none, or refers to another document.
    """
    text = plain_text(value)
    schema = parsed(question.schema_json, column="schema_json")
    _refuse_far_schemas(question, schema)
    try:
        found = list(_validator(schema, _FEW + len(text)).iter_errors(json.loads(text)))
    except Exception as error:  # whatever a schema that nobody wrote leads to
        raise unreadable("", question.step, "the schema of its question", error) from error
    errors = sorted(found, key=lambda e: list(map(str, e.path)))
    if errors:
        where, words = ".".join(map(str, errors[0].path)), _words(errors[0])
        raise AnswerError(f"{where}: {words}" if where else words, field=where)
    return text


def _words(error: Any) -> str:
    """Say what is wrong; a value of another type as JSON has it, for whoever typed it."""
    if error.validator != "type":
        return str(error.message)
    given = cut(json.dumps(error.instance, ensure_ascii=False), 80)
    say = ": say true or false" if error.validator_value == "boolean" else ""
    return f"{given} is not of type {json.dumps(error.validator_value)}{say}"


def _validator(schema: Any, most: int) -> Any:
    """Make what validates by a schema, without what may take a time that nobody foresees.

    Args:
        schema: The schema.
        most: How often its references are followed: two in each part would double the work.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    left = iter(range(most))

    def follow(validator: Any, to: Any, instance: Any, within: Any) -> Iterator[Any]:
        if next(left, None) is None:
            raise ValueError(f"it refers to its parts more than {most} times")
        yield from Draft202012Validator.VALIDATORS["$ref"](validator, to, instance, within)

    checks: Mapping[str, _Check] = {
        "$ref": follow,
        "$dynamicRef": follow,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        # They go through the schema once more, by ways of their own; the body's type does it, too
        "unevaluatedItems": _left_to_the_body,
        "unevaluatedProperties": _left_to_the_body,
    }
    kind = extend(Draft202012Validator, checks)
    return kind(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _pattern(_validator: Any, pattern: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not is_found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Any, instance: Any, _schema: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        for name in instance:
            if is_found(pattern, name):
                yield from validator.descend(instance[name], inner, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, others: Any, instance: Any, schema: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in instance:
        if name not in known and not any(is_found(pattern, name) for pattern in patterns):
            yield from validator.descend(instance[name], others, path=name)


def _left_to_the_body(*_: Any) -> None:
    """Find nothing."""


def _refuse_far_schemas(question: QuestionRecord, schema: Any) -> None:
    """Refuse a stored schema that refers to another document: it would be fetched."""
    parts = [schema]
    while parts:
        part = parts.pop()
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        parts.extend(inner)
        for name in ("$ref", "$dynamicRef") if isinstance(part, dict) else ():
            where = part.get(name)
            if isinstance(where, str) and not where.startswith("#"):
                error = ValueError(f"it names {where!r}")
                raise unreadable("", question.step, "the schema of its question", error)
