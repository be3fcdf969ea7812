"""The states of a run one after another, as instances: only what changed is decoded again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic

from pydantic_core import ValidationError

from graphflow.state.schema import S, StateSchema
from graphflow.state.view import instance

__all__ = ["Instances"]


class Instances(Generic[S]):
    """Makes an instance of each state; no two of them share what can be changed in place.

    Args:
        schema: Their class.
    """

    def __init__(self, schema: StateSchema[S]) -> None:
        self._schema, self._names = schema, frozenset(schema.names)
        self._values: dict[str, Any] = {}
        self._given = schema.codec.given_some
        self._copied = [field for field in schema.fields.values() if field.is_mutable]

    def next(self, values: Mapping[str, Any], changed: set[str] | None) -> S:
        """Make an instance of the state that comes now.

        Args:
            values: The plain JSON values of all fields.
            changed: Those that may differ from the call before, at least; None: all.

        Raises:
            StateError: They do not fit the class.
        """
        known, self._values = self._values, {}
        if changed is None or not known or not changed <= self._names or self._given is None:
            known = self._schema.read_values(values)
        elif changed:
            try:
                known.update(self._given({name: values[name] for name in changed}))
            except ValidationError:  # to decode all of them says it in words
                known = self._schema.read_values(values)
        self._values = known
        copies = {field.name: field.copy(known[field.name], known) for field in self._copied}
        own = known | copies if copies else known
        made: S = instance(self._schema.model, own, set(self._names))
        return made
