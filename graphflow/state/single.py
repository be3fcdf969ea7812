"""A value that is no field of a state: an answer, a memo, the result of a map's item."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from pydantic_core import to_json

from graphflow.errors import StateError
from graphflow.state.schema import StateField, StateSchema
from graphflow.state.words import what_is_wrong

__all__ = ["Single", "plain_text"]


class Single:
    """Validates a value of one type, and gives its JSON form and back, as a state's field does.

    Args:
        of: The type; None and Any stand for plain JSON.

    Raises:
        StateError: Values of this type could not be stored and read back.
    """

    def __init__(self, of: Any = None) -> None:
        self.of: Any = None if of is Any else of

    def store(self, value: Any) -> tuple[Any, str]:
        """Validate a value.

        Returns:
            The value as a reload gives it, and its JSON.

        Raises:
            StateError: It does not fit, or cannot be stored.
        """
        try:
            fitting = self._field.check(value, {})
        except Exception as error:  # whatever a user's validators raise
            raise StateError(what_is_wrong(error, values=True)) from error
        return self._field.stored(fitting, {}, given=value)

    def read(self, text: str) -> Any:
        """Decode a stored value.

        Raises:
            StateError: It does not fit today's type.
        """
        try:
            return self._field.codec.read(text)
        except Exception as error:  # whatever a user's validators raise
            raise StateError(what_is_wrong(error, values=True)) from error

    @cached_property
    def schema_json(self) -> str:
        """The JSON schema of a value."""
        schema = self._schema.model.model_json_schema()
        value = schema["properties"]["value"]
        value.pop("title", None)
        return json.dumps({**value, **({"$defs": schema["$defs"]} if "$defs" in schema else {})})

    @cached_property
    def _schema(self) -> StateSchema[Any]:
        from pydantic import JsonValue, create_model

        of: Any = JsonValue if self.of is None else self.of
        return StateSchema(create_model("Value", value=(of, ...)))

    @property
    def _field(self) -> StateField:
        return self._schema.fields["value"]


def plain_text(value: Any) -> str:
    """Write any value as JSON: a model, a date or a tuple as pydantic would.

    Raises:
        StateError: It has no JSON form.
    """
    try:
        return to_json(value, inf_nan_mode="strings").decode()
    except ValueError as error:
        raise StateError(f"it has no JSON form: {error}") from error
