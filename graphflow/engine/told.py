"""What a run has committed of the values that code can change in place.

A list that a body has changed in place, which nobody notices, must not be stored: snapshots are
made of what was committed. Of values in which nothing can be changed there is nothing to keep.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from graphflow.history import States
from graphflow.records import RunRecords
from graphflow.state.merge import Judged, Merged
from graphflow.state.reducers import append, fold
from graphflow.state.schema import StateSchema
from graphflow.stored import unreadable

__all__ = ["Told", "told_in", "told_of"]

_Result: TypeAlias = tuple[Any, Judged]
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class Told:
    """The JSON of the fields of a run that can be changed in place, as it was committed."""

    before: dict[str, list[str]] = field(default_factory=dict)
    """Per field: its JSON at the last snapshot, in one piece or followed by what was appended."""
    since: dict[str, list[str]] = field(default_factory=dict)
    """Per field that was written since: what its reducer took, in order."""
    anew: set[str] = field(default_factory=set)
    """Of those, the fields of which `since` has the whole value, then what was reduced into it."""
    stored: Callable[[], Told] | None = None
    """Reads what is stored of the steps before those that were taken; called when needed."""

    def take(self, schema: StateSchema[Any], merged: Merged, results: Iterable[_Result]) -> None:
        """Take what a step has written.

        Args:
            schema: The state's.
            merged: The state after it.
            results: Its tasks and their updates, in merge order.
        """
        told, since = schema.told, self.since
        for name, text in merged.texts.items():
            if name not in told:
                continue
            if text is None:
                text = merged.derived.get(name)  # noqa: PLW2901 - what a fork reduced in
            if text is not None:
                since[name] = [text]
                self.anew.add(name)
                continue
            parts = since.setdefault(name, [])
            for _, judged in results:
                if name in judged.texts:
                    parts.append(judged.texts[name])

    def read(self) -> None:
        """Read what is stored of the steps before."""
        if self.stored is None:
            return
        earlier, self.stored = self.stored(), None
        self.before = earlier.before
        for name in earlier.since.keys() - self.anew:
            self.since[name] = earlier.since[name] + self.since.get(name, [])
            if name in earlier.anew:
                self.anew.add(name)

    def added(self, schema: StateSchema[Any], name: str) -> str | None:
        """Give the JSON of what was appended to a field since; None: more was done to it."""
        if name in self.anew or schema.reducers.get(name) is not append:
            return None
        return _joined(self.since[name])

    def text(self, schema: StateSchema[Any], name: str) -> str:
        """Give the JSON of a field."""
        parts = self.since.get(name, [])
        if name not in self.anew:
            parts = self.before[name] + parts
        reducer = schema.reducers.get(name)
        if reducer is None or len(parts) == 1:
            return parts[-1]
        if reducer is append:
            return _joined(parts)
        value = None
        for part in parts:
            value = fold(reducer.name, value, json.loads(part))
        return _encode(value)

    def settle(self, texts: Mapping[str, str], added: Mapping[str, str]) -> None:
        """Begin anew at a snapshot.

        Args:
            texts: The JSON of fields that it has whole.
            added: The JSON of what was appended to others.
        """
        for name, text in texts.items():
            self.before[name] = [text]
        for name, text in added.items():
            self.before[name].append(text)
        self.since, self.anew = {}, set()


def told_in(schema: StateSchema[Any], text: str) -> Told:
    """Begin with the JSON of a whole state; it is read when needed.

    Args:
        schema: The state's.
        text: The JSON.
    """
    return Told(stored=lambda: Told(_texts(schema, json.loads(text))))


def told_of(schema: StateSchema[Any], records: RunRecords, first: int, step: int) -> Told:
    """Begin with stored steps; they are read when needed.

    Args:
        schema: The state's.
        records: The run, its tail at least.
        first: The step of the last snapshot.
        step: The step after which the run goes on.
    """
    return Told(stored=lambda: _stored(schema, records, first, step))


def _stored(schema: StateSchema[Any], records: RunRecords, first: int, step: int) -> Told:
    states = States(records)
    then = states.handed_on(first) if first == step else states.go_to(first)
    run_id = records.header.run_id
    told = Told(_texts(schema, then, run_id, first))
    lists = {n: (then[n], len(then[n])) for n in told.before if isinstance(then[n], list)}
    now = states.handed_on(step)
    for name, text in _texts(schema, now, run_id, step).items():
        if text == told.before[name]:
            continue
        value, length = lists.get(name, (None, 0))
        # A list that was only appended to is still the same one
        if value is now[name] and schema.reducers.get(name) is append:
            told.since[name] = [_encode(value[length:])]
        else:
            told.since[name] = text
            told.anew.add(name)
    return told


def _texts(
    schema: StateSchema[Any], values: Mapping[str, Any], run_id: str = "", step: int = -1
) -> dict[str, list[str]]:
    try:
        return {name: [_encode(values[name])] for name in schema.told}
    except KeyError as error:  # its class fills a gap with a default, which was never committed
        raise unreadable(run_id, step, "a field of the state", error) from error


def _joined(lists: list[str]) -> str:
    """Make one JSON list of several; a null holds nothing."""
    items = [text[1:-1] for text in lists if text not in {"[]", "null"}]
    return f"[{','.join(items)}]" if items else lists[-1]
