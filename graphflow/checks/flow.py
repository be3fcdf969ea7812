"""Rules for the way of values through a graph, as far as the sources of its functions tell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.checks.problem import Found, Problem
from graphflow.checks.subject import Subject
from graphflow.dataflow.reads import reads_of
from graphflow.errors import did_you_mean
from graphflow.state.schema import StateSchema

__all__ = ["acting_twice", "fields", "unwritten"]


def fields(subject: Subject) -> Found:
    """GF311: what is seen to be read or returned is a field of the state."""
    schema = subject.schema
    if schema is None:
        return
    for part in subject.usage.parts:
        for name in sorted(part.missing):
            yield _no_field(schema, f"{part.name} reads state.{name}", name)
        written = part.writes.may - part.declared
        for name in sorted((written | part.given.may) - schema.fields.keys()):
            verb = "returns" if name in written else "sends"
            yield _no_field(schema, f"{part.name} {verb} {name!r}", name)
        for name in sorted(written & schema.fields.keys()):
            if schema.fields[name].frozen:
                yield Problem(
                    "GF311",
                    f"{part.name} returns {name!r}, which is frozen: only the input sets it",
                    "Return another field, or declare it without frozen=True",
                    "warning",
                )


def _no_field(schema: StateSchema[Any], words: str, name: str) -> Problem:
    hint = did_you_mean(name, schema.names).strip()
    return Problem(
        "GF311",
        f"{words}, and {schema.model.__name__} has no such field",
        hint or f"Declare it: {name}: ...",
        "warning",
    )


def unwritten(subject: Subject) -> Found:
    """GF304: what is read is written somewhere, or may well be an input.

    Any field may be an input, so that only those count which hardly are: they have a reducer, or
    are None until something writes them and stand after the first field that the graph writes.
    Nothing is claimed when the updates of a part cannot be followed.
    """
    schema, written = subject.schema, subject.usage.written
    if schema is None or not written.complete or schema.rules is not None:
        return
    names = list(schema.names)
    first = min((names.index(n) for n in written.may if n in schema.fields), default=len(names))
    for place, name in enumerate(names):
        readers = subject.usage.readers(name)
        if not readers or name in written.may | subject.given or schema.fields[name].frozen:
            continue
        if name in schema.reducers or (place > first and _is_to_come(schema, name)):
            yield Problem(
                "GF304",
                f"{_some(readers)} read{'s' * (len(readers) == 1)} {name!r}, and nothing writes it:"
                " it keeps what the input gives, or its default",
                f"Return {name!r} from a node; if it is an input, declare it before the fields"
                " that nodes write, without a reducer",
                "warning",
            )


def _is_to_come(schema: StateSchema[Any], name: str) -> bool:
    """Tell whether a field is None at first."""
    info = schema.model.model_fields[name]
    return info.default is None and info.default_factory is None


def _some(names: Sequence[str]) -> str:
    """Name the first few parts."""
    if len(names) > 3:
        return f"{names[0]} and {len(names) - 1} others"
    return " and ".join(names)


def acting_twice(subject: Subject) -> Found:
    """GF305: what acts on the world is not repeated blindly."""
    for node in subject.graph.nodes.values():
        retry = node.retry or subject.graph.defaults.retry
        if node.effects != "external" or retry is None or not retry.repeats:
            continue
        if "idempotency_key" in reads_of(subject.sources, node.fn).of_anything:
            continue
        times = "until stop= says so" if retry.stop else f"up to {retry.attempts} times"
        by = "its retry" if node.retry else "the retry of Defaults"
        yield Problem(
            "GF305",
            f"{node.kind} {node.name!r} has effects='external', and {by} executes it {times}: it"
            " may act more than once",
            "Pass ctx.idempotency_key to what it calls, which then acts once; or"
            " retry=Retry(attempts=1)",
            "warning",
        )
