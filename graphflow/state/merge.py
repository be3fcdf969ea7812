"""The updates of a step, merged in order into the next state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphflow.errors import InvalidUpdateError
from graphflow.state.codec import same
from graphflow.state.reducers import BuiltIn, Replace
from graphflow.state.schema import StateField, StateSchema
from graphflow.state.secrets import secret_in
from graphflow.state.words import shown, what_is_wrong

__all__ = ["Judged", "Merged", "Values", "combine", "find_conflict"]

Values: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Judged:
    """An update that fits: validated, and encoded."""

    values: Values
    """Per field: the new value, or what its reducer takes; a Replace is kept as one."""
    texts: dict[str, str]
    """The same as JSON, a Replace as its value."""
    trial: Merged | None = None
    """The update merged alone into the state that its task saw, where that could fail."""


@dataclass(slots=True)
class Merged:
    """The state after a step."""

    values: Values
    texts: dict[str, str | None]
    """The JSON of each written field; None: it was reduced, nobody has encoded the whole value."""
    derived: dict[str, str]
    """The JSON of the fields whose value does not follow from the updates alone."""


def find_conflict(
    schema: StateSchema[Any], updates: Sequence[tuple[str, Judged]]
) -> tuple[str, list[str]] | None:
    """Find the first field without a reducer that several tasks write.

    Args:
        schema: The state class.
        updates: (task, its update) in merge order.

    Returns:
        The field and the tasks that write it, or None.
    """
    written: set[str] = set()
    twice: set[str] = set()
    for _, judged in updates:
        for name in judged.values:
            if name not in schema.reducers:
                (twice if name in written else written).add(name)
    for name in schema.in_order(twice):
        return name, [task for task, judged in updates if name in judged.values]
    return None


def combine(schema: StateSchema[Any], old: Values, updates: Sequence[Judged]) -> Merged:
    """Reduce the updates of a step into the next state, in order.

    Args:
        schema: The state class.
        old: The values before the step; left as they are.
        updates: One per task, in merge order; no conflicts among them.

    Raises:
        InvalidUpdateError: The result breaks a rule of the state class.
    """
    if len(updates) == 1:
        judged = updates[0]
        if judged.trial is not None:
            return judged.trial
        if not schema.tries and not (schema.reducers and schema.reducers.keys() & judged.values):
            return Merged({**old, **judged.values}, {**judged.texts}, {})
    values = old.copy()
    texts: dict[str, str | None] = {}
    operands: dict[str, list[Any]] = {}
    reducers = schema.reducers
    for judged in updates:
        for name, value in judged.values.items():
            if name in reducers:
                operands.setdefault(name, []).append(value)
                texts[name] = None
            else:
                values[name], texts[name] = value, judged.texts[name]
    merged = Merged(values, texts, {})
    if operands or (texts and (schema.rules or schema.informed)):
        _finish(schema, merged, operands)
    return merged


def _finish(schema: StateSchema[Any], merged: Merged, operands: dict[str, list[Any]]) -> None:
    """Reduce, apply the model's own rules, and store what does not follow from the updates."""
    values = merged.values
    late = [name for name, given in operands.items() if _reduce(schema, values, name, given)]
    if schema.rules is not None:
        late += _apply_rules(schema, values)
    for name in schema.in_order(late) if late else ():
        _store(schema, merged, name, values[name])
    if schema.informed:
        first = min(map(schema.names.index, merged.texts))
        for name in schema.informed:
            if schema.names.index(name) >= first:
                _look_again(schema, merged, name)


def _reduce(schema: StateSchema[Any], values: Values, name: str, given: list[Any]) -> bool:
    """Reduce the updates to one field; tell whether the result must be stored whole."""
    field, new = schema.fields[name], values[name]
    is_replaced = Replace in map(type, given)
    if is_replaced:  # what came before does not count
        last = max(ix for ix, update in enumerate(given) if type(update) is Replace)
        new, given = given[last].value, given[last + 1 :]
    try:
        if isinstance(field.reducer, BuiltIn):
            new = field.reducer.all(new, given)
            if given and not field.free:
                new = field.check(new, values)
        else:
            new = _reduce_one_by_one(field, new, given, values)
    except Exception as error:  # whatever the user's reducers and validators raise
        words = what_is_wrong(error, below=field.below)
        raise InvalidUpdateError(
            f"{name}: {field.reducer!r} of {shown(values[name])} and"
            f" {', '.join(map(shown, given))}: {words}",
            field=name,
        ) from error
    values[name] = new
    return is_replaced or not field.replays


def _reduce_one_by_one(field: StateField, new: Any, given: list[Any], values: Values) -> Any:
    """Reduce with a reducer of the user's own, which sees only valid values of the field."""
    for update in given:
        # A copy: one that changes its old value in place would change the state before the step.
        old = new.copy() if type(new) in {list, dict, set} else new
        new = field.check(field.reducer(old, update), values)  # type: ignore[misc]  # it has one
    return new


def _apply_rules(schema: StateSchema[Any], values: Values) -> list[str]:
    """Run the model's own validators on the new state; give the fields that they changed."""
    model = schema.model.__name__
    copies = {name: field.copy(values[name], values) for name, field in schema.fields.items()}
    try:
        ruled = schema.rules(schema.instance(copies))
    except Exception as error:  # whatever the user's validators raise
        raise InvalidUpdateError(
            f"the next state breaks a rule of {model}: {what_is_wrong(error)}"
        ) from error
    if not isinstance(ruled, schema.model):
        raise InvalidUpdateError(
            f"a validator of {model} returned {shown(ruled)}: a model validator must return self"
        )
    changed = []
    for name, field in schema.fields.items():
        if not field.is_unchanged(values[name], getattr(ruled, name)):
            fitting = _ruled(schema, field, getattr(ruled, name), values)
            if not same(values[name], fitting):
                values[name] = fitting
                changed.append(name)
    return changed


def _ruled(schema: StateSchema[Any], field: StateField, value: Any, values: Values) -> Any:
    """Validate what a rule of the model has set."""
    try:
        return field.check(value, values)
    except Exception as error:  # whatever the user's validators raise
        words = what_is_wrong(error, below=field.below)
        raise InvalidUpdateError(
            f"a validator of {schema.model.__name__} set {field.name} = {shown(value)}: {words}"
        ) from error


def _store(schema: StateSchema[Any], merged: Merged, name: str, value: Any) -> None:
    """Encode a field whole, and keep it as a reload gives it."""
    field = schema.fields[name]
    merged.values[name], text = field.stored(value, merged.values)
    if words := secret_in(text):
        raise InvalidUpdateError(f"{name}: {words}", field=name)
    merged.texts[name] = merged.derived[name] = text


def _look_again(schema: StateSchema[Any], merged: Merged, name: str) -> None:
    """Let a validator that looks at other fields see them as a reload will show them.

    What it makes of its field then joins the state; a reload would make the same of it.
    """
    codec, value = schema.fields[name].codec, merged.values[name]
    try:
        text = codec.text(value)
        back = codec.read(text, merged.values)
    except Exception as error:  # whatever the user's validators raise
        raise InvalidUpdateError(
            f"{name} = {shown(value)} does not fit the other fields of the next state:"
            f" {what_is_wrong(error, below=1)}",
            field=name if name in merged.texts else "",
        ) from error
    if not same(value, back):
        _store(schema, merged, name, back)
