"""A value that is no field of a state: an answer, a memo, the result of a map's item."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic_core import to_json

from graphflow.errors import StateError
from graphflow.once import once
from graphflow.state.problems import reducer_of
from graphflow.state.schema import StateField, StateSchema, schema_of
from graphflow.state.secrets import is_secret, secret_in
from graphflow.state.words import what_is_wrong

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Single", "plain_text", "type_of_field"]


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
            StateError: It does not fit, cannot be stored, or has the value of a secret in it.
        """
        try:
            fitting = self._field.check(value, {})
        except Exception as error:  # whatever a user's validators raise
            raise StateError(what_is_wrong(error, values=True)) from error
        stored = self._field.stored(fitting, {}, given=value)
        if words := secret_in(stored[1]):
            raise StateError(words)
        return stored

    def read(self, text: str) -> Any:
        """Decode a stored value.

        Raises:
            StateError: It does not fit today's type.
        """
        try:
            return self._field.codec.read(text)
        except Exception as error:  # whatever a user's validators raise
            raise StateError(what_is_wrong(error, values=True)) from error

    @once
    def schema_json(self) -> str:
        """The JSON schema of a value."""
        schema = self._schema.model.model_json_schema()
        value = schema["properties"]["value"]
        value.pop("title", None)
        return json.dumps({**value, **({"$defs": schema["$defs"]} if "$defs" in schema else {})})

    @once
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
        StateError: It has no JSON form, or the value of a secret in it.
    """
    try:
        text = to_json(value, inf_nan_mode="strings").decode()
    except ValueError as error:
        raise StateError(f"it has no JSON form: {error}") from error
    if words := secret_in(text):
        raise StateError(words)
    return text


def type_of_field(model: type[BaseModel], name: object, *, may_be_none: bool = False) -> Any:
    """Give the type of the answers that go into a field.

    Args:
        model: The state class.
        name: The field; anything else stands for plain JSON.
        may_be_none: Whether None is an answer; else a person has to say something, though the
            field may be None.

    Returns:
        The field's type with all that is said of its values, such as a bound; None: plain JSON.
    """
    info = model.model_fields.get(name) if isinstance(name, str) else None
    if info is None:
        return None
    of: Any = info.annotation if may_be_none else _without_none(info.annotation)
    if info.discriminator is not None:
        from pydantic import Field

        of = Annotated[of, Field(discriminator=info.discriminator)]
    # What is said of the whole of a field need not hold for what a reducer adds to it
    if not info.metadata or is_secret(info) or reducer_of(model, str(name)) is not None:
        return of
    if schema_of(model).fields[str(name)].codec.informed:  # there are no other fields here
        return of
    return Annotated[of, *info.metadata]


def _without_none(of: Any) -> Any:
    parts = [part for part in get_args(of) if part is not NoneType]
    is_optional = get_origin(of) in {Union, UnionType} and NoneType in get_args(of) and parts
    return reduce(or_, parts) if is_optional else of
