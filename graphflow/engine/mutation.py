"""Finds nodes and routers that change a nested value of the state in place.

A view cannot see `state.items.append(1)`: the change would be live, but never stored. With
``compile(check="mutation")`` the fields that a body read are compared before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphflow.errors import InvalidUpdateError
from graphflow.plan import Plan

__all__ = ["Watch"]


class Watch:
    """A body's own copy of the state, compared when the body has run.

    Args:
        plan: The graph.
        values: The state that the body is to see.

    Attributes:
        values: What the body is to see.
    """

    __slots__ = ("_fields", "_texts", "values")

    def __init__(self, plan: Plan, values: Mapping[str, Any]) -> None:
        codec = plan.schema.codec
        self._fields = codec.fields
        self._texts = {n: codec.fields[n].text(value) for n, value in values.items()}
        self.values = codec.read(codec.join(self._texts.items()))

    def check(self, reads: set[str]) -> None:
        """Say what was changed in place.

        Args:
            reads: The fields that the body read.

        Raises:
            InvalidUpdateError: Something was.
        """
        found = [name for name in sorted(reads) if self._differs(name)]
        if found:
            names = ", ".join(f"state.{name}" for name in found)
            raise InvalidUpdateError(
                f"it changed {names} in place; return the new value in an update instead",
                field=found[0],
            )

    def _differs(self, name: str) -> bool:
        try:
            return self._fields[name].text(self.values[name]) != self._texts[name]
        except ValueError:  # something was put in that has no JSON form
            return True
