"""The private input of a Send: fields that are set over the state for one task (S6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ValidationError

from graphflow.errors import InvalidUpdateError, StateError, did_you_mean
from graphflow.state.merge import Values
from graphflow.state.schema import StateSchema
from graphflow.state.secrets import secret_in
from graphflow.state.words import shown, what_is_wrong

__all__ = ["input_text", "lay_over"]


def input_text(schema: StateSchema[Any], values: Values, update: Mapping[str, Any]) -> str:
    """Validate and encode what a Send lays over the state; nothing is reduced.

    Args:
        schema: The state class.
        values: The state that the task will see.
        update: The fields that it sets.

    Returns:
        One JSON object.

    Raises:
        InvalidUpdateError: It names an unknown field, or a value does not fit.
    """
    texts: dict[str, str] = {}
    for name, value in update.items():
        field = schema.fields.get(name)
        if field is None:
            raise InvalidUpdateError(
                f"{schema.model.__name__} has no field {name!r}."
                f"{did_you_mean(str(name), schema.fields)}",
                field=str(name),
            )
        try:
            fitting = field.check(value, values)
        except Exception as error:  # whatever the user's validators raise
            words = what_is_wrong(error, below=field.below)
            raise InvalidUpdateError(f"{name} = {shown(value)}: {words}", field=name) from error
        texts[name] = field.stored(fitting, values, given=value)[1]
        if words := secret_in(texts[name]):
            raise InvalidUpdateError(f"{name}: {words}", field=name)
    return schema.codec.join(texts.items())


def lay_over(schema: StateSchema[Any], values: Values, text: str) -> Values:
    """Set the fields of a stored input over a state.

    Raises:
        StateError: The input does not fit today's state class.
    """
    read = schema.codec.read_some
    if read is not None:
        try:
            return {**values, **read(text)}
        except ValidationError:  # to be told in the words of the field
            pass
    return _lay_over_one_by_one(schema, values, text)


def _lay_over_one_by_one(schema: StateSchema[Any], values: Values, text: str) -> Values:
    import json

    over = dict(values)
    for name, value in json.loads(text).items():
        if name not in schema.fields:
            raise StateError(f"today's {schema.model.__name__} has no field {name!r}")
        try:
            over[name] = schema.fields[name].codec.read(json.dumps(value), over)
        except Exception as error:  # whatever the user's validators raise
            raise StateError(
                f"the stored input {name} = {shown(value)} does not fit today's"
                f" {schema.model.__name__}: {what_is_wrong(error, below=1)}"
            ) from error
    return over
