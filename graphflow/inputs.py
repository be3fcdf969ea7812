"""The input of a run: what was given of it, and whether a run that is there began with the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from graphflow.change.names import Names
from graphflow.errors import InputError, RunExistsError
from graphflow.history import values_at
from graphflow.plan import Plan
from graphflow.records import RunRecords
from graphflow.state.codec import same
from graphflow.state.schema import StateSchema
from graphflow.state.secrets import has_secrets, secret_in
from graphflow.stored import parsed, unreadable

__all__ = ["first_values", "given_fields", "refuse_other_input"]


def first_values(schema: StateSchema[Any], given: Any) -> dict[str, Any]:
    """Validate the input of a run; give the values of all fields.

    Args:
        schema: The state.
        given: A mapping of fields, or an instance of the state class.

    Raises:
        InputError: It does not fit the state, or has the value of a secret in it.
    """
    values, _ = schema.initial(given)
    if has_secrets():
        for name, field in schema.fields.items():
            words = "" if name in schema.secrets else secret_in(field.codec.text(values[name]))
            if words:
                raise InputError(f"{schema.model.__name__}.{name}: {words}")
    return values


def given_fields(schema: StateSchema[Any], given: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the fields that the input gave; the others have their defaults.

    Args:
        schema: The state.
        given: A mapping of fields, or an instance of the state class.
        values: The values that it came to.
    """
    names = given.keys() if isinstance(given, Mapping) else given.model_fields_set
    return {
        name: value
        for name, value in values.items()
        if name in names or schema.alias(name) in names
    }


def refuse_other_input(
    plan: Plan,
    stored: RunRecords,
    given: Mapping[str, Any],
    values: Mapping[str, Any],
    whole: Callable[[], RunRecords],
) -> None:
    """Refuse to go on with a run that began with another input.

    Args:
        plan: Today's graph.
        stored: The run that has the id.
        given: The fields that are given now.
        values: All fields, as they came to.
        whole: Reads all of its records.

    Raises:
        RunExistsError: It is a run of another graph, or began with another input.
    """
    if stored.header.graph != plan.name:
        raise RunExistsError(
            f"run {stored.header.run_id} exists: it is one of graph {stored.header.graph!r}."
            " Choose another run_id, or leave it out."
        )
    text, run_id = stored.header.input_json, stored.header.run_id
    before = parsed(text, column="input_json", run_id=run_id)
    if not isinstance(before, dict):
        raise unreadable(run_id, -1, "input_json", TypeError("it is no JSON object"))
    began = _read(plan, stored, before)
    if not same(began, given) and not _spells_out(plan, whole, began, given, values):
        raise RunExistsError(
            f"run {stored.header.run_id} exists and began with another input: {text[:200]}."
            " Choose another run_id, or leave it out."
        )


def _spells_out(
    plan: Plan,
    whole: Callable[[], RunRecords],
    began: Mapping[str, Any],
    given: Mapping[str, Any],
    values: Mapping[str, Any],
) -> bool:
    """Tell whether two inputs differ only in defaults, which one of them gives and one leaves out.

    What a default was then, the first step says; when that was pruned, or the graph has changed,
    it is not known, and the inputs are different.
    """
    fields = began.keys() | given.keys()
    if not all(same(began[name], values[name]) for name in began.keys() & values.keys()):
        return False
    records = whole()
    if records.uses[0].digest != plan.digest or records.steps[0].step > 0:
        return False
    then = plan.schema.read_values(values_at(records, 0))
    return all(same(began.get(name, then[name]), values[name]) for name in fields)


def _read(plan: Plan, stored: RunRecords, before: Mapping[str, Any]) -> dict[str, Any]:
    """Decode a stored input, as far as today's state class has its fields."""
    fields, spec = plan.schema.codec.fields, stored.uses[0].spec
    names = Names.of_fields(spec, fields, plan.definition.changes.fields)
    found: dict[str, Any] = {}
    for name, value in before.items():
        later = names.find(name)
        if later is not None:
            try:
                found[later] = fields[later].read(json.dumps(value), found)
            except Exception:  # noqa: BLE001 - a type has changed: then it is another input
                found[later] = value
    return found
