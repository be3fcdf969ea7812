"""What tasks of an open step have done already, in the words of today's state class."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from graphflow.change.values import StateChange, Values, same_json
from graphflow.records import TaskRecord
from graphflow.state.reducers import fold
from graphflow.stored import UNREADABLE, unreadable

__all__ = ["Updates"]

_REPLACED: Final = object()


@dataclass(frozen=True, slots=True)
class Updates:
    """Tells updates, and the inputs of Sends, in the words of today.

    An update is not a state, so no migration takes it. But the state with it is one: what the
    migrated states differ in, with the update and without, is the update today.

    Attributes:
        change: How states are told.
        before: The state that the tasks saw, as it was stored.
        now: The same in the words of today.
        where: The run and the step, for messages.
    """

    change: StateChange
    before: Mapping[str, Any]
    now: Values
    where: tuple[str, int]

    def task(self, task: TaskRecord) -> TaskRecord:
        """Give a complete task with its update in the words of today.

        Raises:
            Unfit: The state with the update does not fit today's state class.
            CheckpointCorruptError: The update is none of those that the graph took.
        """
        reads = tuple(name for read in task.reads if (name := self.change.names.find(read)))
        if task.update_json is None:
            return replace(task, reads=reads)
        given: Values = json.loads(task.update_json)
        found, replaced = self._told(given, task.replaces)
        return replace(
            task,
            reads=reads,
            update_json=json.dumps(found, separators=(",", ":")),
            replaces=tuple(replaced),
        )

    def sent(self, input_json: str) -> str:
        """Give the input of a Send, which is laid over the state, in the words of today.

        Raises:
            Unfit: The state with the input does not fit today's state class.
        """
        given: Values = json.loads(input_json)
        if not self.change.way:
            return _text(self._renamed(given))
        later = self.change.carry({**self.before, **given}, self.now)
        own = set(map(self._today, given))
        return _text({n: v for n, v in later.items() if n in own or not same_json(v, self.now[n])})

    def _today(self, name: str) -> str | None:
        return self.change.names.find(name)

    def _renamed(self, given: Values) -> Values:
        pairs = ((self._today(name), value) for name, value in given.items())
        return {name: value for name, value in pairs if name is not None}

    def _told(self, given: Values, replaces: tuple[str, ...]) -> tuple[Values, list[str]]:
        if not self.change.way and not any(map(self._is_reduced_otherwise, given)):
            renamed = [name for old in replaces if (name := self._today(old)) is not None]
            return self._renamed(given), renamed
        as_given = {n for n in given if n not in replaces and self._stays_an_operand(n)}
        after = dict(self.before)
        for name, value in given.items():
            if name not in as_given:
                after[name] = self._reduced(name, value, is_set=name in replaces)
        later = self.change.carry(after, self.now)
        found = self._renamed({name: given[name] for name in as_given})
        replaced = []
        own = {self._today(name): name for name in given}
        for name, value in later.items():
            if name in found or (name not in own and same_json(value, self.now[name])):
                continue
            operand = self._operand(name, value, self._field(own.get(name)).get("reducer"))
            found[name] = value if operand is _REPLACED else operand
            if operand is _REPLACED:
                replaced.append(name)
        return found, replaced

    def _stays_an_operand(self, name: str) -> bool:
        """Tell whether only a reducer of the user's own knows what was returned for a field."""
        field = self._field(name)
        is_own = field.get("reducer") is not None and not field.get("replays")
        return is_own and not self._is_reduced_otherwise(name)

    def _is_reduced_otherwise(self, name: str) -> bool:
        """Tell whether a reducer is gone or another one. What had none is given to a new one."""
        old, later = self._field(name).get("reducer"), self._today(name)
        if old is None or later is None:
            return False
        reducer = self.change.schema.reducers.get(later)
        return bool(reducer is None or reducer.name != old)

    def _field(self, name: str | None) -> Mapping[str, Any]:
        """Give what the stored spec says of a field."""
        found: Mapping[str, Any] = self.change.stored.get(name or "", {})
        return found

    def _reduced(self, name: str, value: Any, *, is_set: bool) -> Any:
        """Reduce as the graph did that the task ran in; what only its code can do is left."""
        field = self._field(name)
        if is_set or not field.get("replays") or name not in self.before:
            return value
        try:
            return fold(field["reducer"], copy.deepcopy(self.before[name]), value)
        except UNREADABLE as error:
            raise unreadable(*self.where, f"what a task did to {name!r}", error) from error

    def _operand(self, name: str, value: Any, was: str | None) -> Any:
        """Say what today's reducer must take to make a value; `_REPLACED` when nothing does.

        Args:
            name: The field.
            value: Its value.
            was: The reducer that it had; None: none, or the update did not set it.
        """
        reducer, old = self.change.schema.reducers.get(name), self.now[name]
        if reducer is None or was is None:
            return value
        if old is None or value is None or name not in self.change.schema.replays:
            return _REPLACED
        if reducer.name == "append" and same_json(value[: len(old)], old):
            return value[len(old) :]
        if reducer.name == "add":
            return value - old
        if reducer.name == "merge" and old.keys() <= value.keys():
            return {k: v for k, v in value.items() if k not in old or not same_json(old[k], v)}
        if reducer.name == "union" and all(one in value for one in old):
            return [one for one in value if one not in old]
        return _REPLACED


def _text(values: Values) -> str:
    return json.dumps(values, separators=(",", ":"))
