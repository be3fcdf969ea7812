"""Rules for the fields that a graph names: they exist, and take what is put into them."""

from __future__ import annotations

from types import GenericAlias
from typing import Any

from graphflow.checks.problem import Found, Problem
from graphflow.checks.subject import Subject
from graphflow.definition import GateDef, MapDef, QuestionDef
from graphflow.errors import StateError, did_you_mean
from graphflow.policy import Escalate
from graphflow.state.fit import may_be_list, misfit
from graphflow.state.schema import StateField, StateSchema
from graphflow.state.single import Single, type_of_field

__all__ = ["asked", "feedback", "mapped", "no_such_field", "state"]


def state(subject: Subject) -> Found:
    """GF001: the state can be stored and read back."""
    for words in subject.state_problems:
        yield Problem("GF001", words, "The state must be read back exactly as it was stored")


def feedback(subject: Subject) -> Found:
    """GF106: a gate's feedback goes into a field that takes reasons."""
    fields = getattr(subject.graph.state, "model_fields", {})
    for node in subject.graph.nodes.values():
        if node.gate is None or node.gate.feedback is None:
            continue
        name = node.gate.feedback
        fix = f"Declare it: {name}: list[str] = Field(default_factory=list)"
        if name not in fields:
            words = f"the state has no field {name!r}.{did_you_mean(name, fields)}"
            yield Problem("GF106", f"gate {node.name!r}: {words}", fix)
        elif subject.schema and not _takes_reasons(subject.schema.fields[name], node.gate):
            words = f"the field {name!r} takes neither a list of str nor a str"
            yield Problem("GF106", f"gate {node.name!r}: {words}", fix)


def _takes_reasons(field: StateField, gate: GateDef) -> bool:
    """Try whether a gate's feedback fits its field."""
    try:
        field.codec.read('"a reason"' if gate.as_text else '["a reason"]')
    except ValueError:
        return False
    return True


def asked(subject: Subject) -> Found:
    """GF308, GF309: answers of humans go into fields that take them."""
    schema = subject.schema
    if schema is None:
        return
    for node in subject.graph.nodes.values():
        if node.question is not None:
            yield from _question(schema, f"question {node.name!r}", node.question)
        if node.escalate is not None:
            yield from _escalation(schema, f"{node.kind} {node.name!r}", node.escalate)
    if subject.graph.defaults.escalate is not None:
        yield from _escalation(schema, "Defaults", subject.graph.defaults.escalate)


def _question(schema: StateSchema[Any], where: str, question: QuestionDef) -> Found:
    if isinstance(question.into, str):
        yield from _into(schema, where, question.into, question.answer)
    of = question.answer
    if of is None:
        of = type_of_field(schema.model, question.into, may_be_none=True)
    try:
        if question.has_default:
            Single(of).store(question.default)
    except StateError as error:
        yield Problem(
            "GF309",
            f"{where}: default={question.default!r} is no answer: {error}",
            "Give a default of the answer's type",
        )


def _escalation(schema: StateSchema[Any], where: str, escalate: Escalate) -> Found:
    if escalate.into is not None:
        yield from _into(schema, f"{where}, escalate", escalate.into, escalate.answer)


def _into(schema: StateSchema[Any], where: str, name: str, answer: Any) -> Found:
    """Check that answers of a type go into a field."""
    field = schema.fields.get(name)
    if field is None:
        yield no_such_field(schema, f"{where}: into={name!r}", name)
    elif field.frozen:
        yield _frozen(where, name)
    elif answer is not None and (words := misfit(field, answer)):
        yield Problem(
            "GF309",
            f"{where}: an answer ({_type(answer)}) does not fit the field {name!r}: {words}",
            f"Leave answer= out: it is the type of {name!r} then; or choose another field",
        )


def mapped(subject: Subject) -> Found:
    """GF308, GF309: a map takes the items of a field, and puts a list of results into one."""
    schema = subject.schema
    for node in subject.graph.nodes.values():
        if node.map is None or schema is None:
            continue
        where = f"map {node.name!r}"
        if isinstance(node.map.over, str):
            yield from _over(schema, where, node.map.over)
        if isinstance(node.map.into, str):
            yield from _results(schema, where, node.map, node.map.into)


def _over(schema: StateSchema[Any], where: str, name: str) -> Found:
    field = schema.fields.get(name)
    if field is None:
        yield no_such_field(schema, f"{where}: over={name!r}", name)
    elif not may_be_list(_annotation(schema, name)):
        yield Problem(
            "GF309",
            f"{where}: over={name!r} is no list ({_type(_annotation(schema, name))})",
            "Name a field that holds a list, or pass a function of the state that gives one",
        )


def _results(schema: StateSchema[Any], where: str, items: MapDef, name: str) -> Found:
    field = schema.fields.get(name)
    if field is None:
        yield no_such_field(schema, f"{where}: into={name!r}", name)
        return
    if field.frozen:
        yield _frozen(where, name)
        return
    of: Any = list if items.result is None else GenericAlias(list, (items.result,))
    if words := misfit(field, of):
        yield Problem(
            "GF309",
            f"{where}: the results ({_type(of)}) do not fit the field {name!r}: {words}",
            f"Declare it as a list of results, {name}: list[...], or pass a function as into=",
        )


def no_such_field(schema: StateSchema[Any], where: str, name: str) -> Problem:
    """Say that a state has no field of a name."""
    return Problem(
        "GF308",
        f"{where}: {schema.model.__name__} has no field {name!r}",
        did_you_mean(name, schema.names).strip() or "Declare it",
    )


def _frozen(where: str, name: str) -> Problem:
    return Problem(
        "GF309",
        f"{where}: the field {name!r} is frozen: only the input of a run sets it",
        "Choose another field, or declare it without frozen=True",
    )


def _annotation(schema: StateSchema[Any], name: str) -> Any:
    return schema.model.model_fields[name].annotation


def _type(of: Any) -> str:
    return of.__name__ if type(of) is type else str(of).replace("typing.", "")
