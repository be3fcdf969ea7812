"""Rules for subgraphs: they get what they need, and give what their parent has room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphflow.checks.fields import no_such_field
from graphflow.checks.problem import Found, Problem, listed
from graphflow.checks.subject import Subject
from graphflow.dataflow.writes import writes_of
from graphflow.definition import ChildDef
from graphflow.errors import StateError
from graphflow.state.fit import never_fits
from graphflow.state.schema import StateSchema, schema_of
from graphflow.state.secrets import is_needed

__all__ = ["inputs", "outputs"]


def inputs(subject: Subject) -> Found:
    """GF308, GF309, GF310: a subgraph is given fields that it has, and all that it must have."""
    parent = subject.schema
    for name, child in _children(subject):
        inner, where = _schema(child), f"subgraph {name!r}"
        if parent is None or inner is None:
            continue
        if isinstance(child.input, Mapping):
            yield from _mapped(where, "input", (inner, child.input), (parent, child.input.values()))
            yield from _missing(where, inner, child.input, "error")
        else:
            given = writes_of(subject.sources, child.input)
            if given.complete:
                yield from _missing(where, inner, given.may, "warning")


def outputs(subject: Subject) -> Found:
    """GF308, GF309: a subgraph gives fields that it has, to fields that its parent has."""
    parent = subject.schema
    for name, child in _children(subject):
        inner, where = _schema(child), f"subgraph {name!r}"
        if parent is not None and inner is not None and isinstance(child.output, Mapping):
            sources = (inner, child.output.values())
            yield from _mapped(where, "output", (parent, child.output), sources)
            for mine in child.output:
                if mine in parent.fields and parent.fields[mine].frozen:
                    yield Problem(
                        "GF309",
                        f"{where}, output: the field {mine!r} is frozen: only the input sets it",
                        "Choose another field, or declare it without frozen=True",
                    )


def _children(subject: Subject) -> Iterable[tuple[str, ChildDef]]:
    return [(node.name, node.child) for node in subject.graph.nodes.values() if node.child]


def _schema(child: ChildDef) -> StateSchema[Any] | None:
    try:
        return schema_of(child.graph.state)
    except StateError:  # which another rule tells
        return None


def _mapped(
    where: str,
    option: str,
    into: tuple[StateSchema[Any], Iterable[str]],
    out_of: tuple[StateSchema[Any], Iterable[str]],
) -> Found:
    """Check a mapping of fields: each exists, and takes what is in the other."""
    (target, names), (source, others) = into, out_of
    for name, other in zip(names, others, strict=True):
        for schema, field in ((target, name), (source, other)):
            if field not in _names(schema):
                yield no_such_field(schema, f"{where}, {option}={{{name!r}: {other!r}}}", field)
        if name not in target.fields or other not in source.fields:
            continue
        of = source.model.model_fields[other].annotation
        if words := never_fits(target.fields[name], of):
            yield Problem(
                "GF309",
                f"{where}, {option}: {source.model.__name__}.{other} never fits"
                f" {target.model.__name__}.{name}: {words}",
                f"Give the two fields one type, or pass a function as {option}=",
            )


def _missing(where: str, inner: StateSchema[Any], given: Iterable[str], level: Any) -> Found:
    """Find what a subgraph must be given and is not."""
    if _fills_in(inner.model):
        return
    have, missing = set(given), []
    for name, info in inner.model.model_fields.items():
        if is_needed(info) and not have & {name, info.validation_alias}:
            missing.append(name)
    if missing:
        yield Problem(
            "GF310",
            f"{where} is not given {listed(missing)}, which {inner.model.__name__} requires",
            f"Add input={{{missing[0]!r}: '...'}}, or give the field a default",
            level,
        )


def _fills_in(model: Any) -> bool:
    """Tell whether a validator of the model may fill in what is missing."""
    validators = model.__pydantic_decorators__.model_validators.values()
    return any(validator.info.mode in {"before", "wrap"} for validator in validators)


def _names(schema: StateSchema[Any]) -> set[str]:
    aliases = (schema.alias(name) for name in schema.names)
    return {*schema.names, *(alias for alias in aliases if alias)}
