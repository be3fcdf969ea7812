"""Finds nodes and routers that change a nested value of the state in place.

A view cannot see `state.items.append(1)`: the change would be live, but never stored. With
``compile(check="mutation")`` the fields that a body read are compared before and after.
"""

from __future__ import annotations

from graphflow.engine.position import Position
from graphflow.errors import InvalidUpdateError
from graphflow.plan import Plan

__all__ = ["Watch"]


class Watch:
    """The state as it was before a body ran.

    Args:
        plan: The graph.
        position: Where the run stands; its values are about to be shown to a body.
    """

    __slots__ = ("_plan", "_position", "_texts")

    def __init__(self, plan: Plan, position: Position) -> None:
        fields = plan.schema.codec.fields
        self._plan, self._position = plan, position
        self._texts = {name: fields[name].text(value) for name, value in position.values.items()}

    def check(self, reads: set[str]) -> None:
        """Put back what was changed in place, and say so.

        Args:
            reads: The fields that the body read.

        Raises:
            InvalidUpdateError: Something was changed.
        """
        fields, values = self._plan.schema.codec.fields, self._position.values
        found = [n for n in sorted(reads) if fields[n].text(values[n]) != self._texts[n]]
        if not found:
            return
        back = {name: fields[name].read(self._texts[name]) for name in found}
        self._position.values = {**values, **back}
        names = ", ".join(f"state.{name}" for name in found)
        raise InvalidUpdateError(
            f"it changed {names} in place; return the new value in an update instead",
            field=found[0],
        )
