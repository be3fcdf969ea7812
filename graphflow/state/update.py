"""What a node returned: judged at the culprit, or taken up again from the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from graphflow.errors import InvalidUpdateError, StateError, did_you_mean
from graphflow.state.codec import same
from graphflow.state.merge import Judged, Merged, Values, combine, find_conflict
from graphflow.state.reducers import BuiltIn, Replace
from graphflow.state.schema import StateField, StateSchema
from graphflow.state.secrets import has_secrets, secret_in
from graphflow.state.words import shown, what_is_wrong

__all__ = ["Judged", "Merged", "Update", "combine", "find_conflict", "judge", "revive"]

Update: TypeAlias = Mapping[str, Any] | None
"""What a node returns: the fields it changes, or None."""


_TAKES = {
    "append": "a list of the new items",
    "merge": "a dict of the new keys",
    "union": "the new members, as a set or list",
    "add": "what is to be added",
}


def judge(schema: StateSchema[Any], seen: Values, update: object) -> Judged:
    """Validate and encode what a node returned.

    Args:
        schema: The state class.
        seen: The values that the node saw.
        update: What it returned.

    Raises:
        InvalidUpdateError: It is no update, names an unknown field, or has a wrong value. The
            engine adds where.
    """
    if update is None:
        return Judged({}, {})
    if type(update) is not dict and not isinstance(update, Mapping):
        raise _no_update(schema, update)
    values: Values = {}
    texts: dict[str, str] = {}
    fields = schema.fields
    for name, value in _informed_last(schema, update) if schema.informed else update.items():
        field = fields.get(name)
        if field is None:
            raise _unknown(schema, name)
        if field.plain and value is not None and type(value) is not Replace:
            values[name], texts[name] = _fit_plain(field, value, seen)
        else:
            others = _overlaid(schema, seen, values) if field.codec.informed else seen
            values[name], texts[name] = _judge_field(field, value, others)
    if has_secrets():  # also those of other states: of the graph that this one is in
        _refuse_secrets(texts)
    judged = Judged(values, texts)
    if schema.tries and (schema.rules or schema.informed or not schema.risky.isdisjoint(values)):
        judged.trial = combine(schema, seen, [judged])
    return judged


def revive(
    schema: StateSchema[Any],
    update_json: str | None,
    replaces: Sequence[str],
    seen: Values | None = None,
) -> Judged:
    """Take up an update that was judged and stored before.

    Args:
        schema: The state class.
        update_json: The stored update.
        replaces: The fields that were given as Replace.
        seen: The values that the node saw, for validators that look at other fields.

    Raises:
        StateError: It does not fit today's state class.
    """
    values: Values = {}
    texts: dict[str, str] = {}
    stored = from_json(update_json) if update_json else {}
    if type(stored) is not dict:
        raise StateError(f"the stored update {shown(stored)} has no fields")
    for name, plain in _informed_last(schema, stored):
        text = to_json(plain).decode()
        try:
            field = schema.fields[name]
            others = _overlaid(schema, seen or {}, values)
            reads = _operand if field.reducer and name not in replaces else _value
            value = reads(field, text, others)
        except Exception as error:  # whatever the user's validators raise
            words = what_is_wrong(error, below=1)
            if name not in schema.fields:
                words = "it has no such field"
            raise StateError(
                f"the stored update {name} = {shown(plain)} does not fit today's"
                f" {schema.model.__name__}: {words}"
            ) from error
        values[name] = Replace(value) if field.reducer and name in replaces else value
        texts[name] = text
    return Judged(values, texts)


def _refuse_secrets(texts: Mapping[str, str]) -> None:
    """Refuse an update that would have the value of a secret stored in another field."""
    for name, text in texts.items():
        if words := secret_in(text):
            raise InvalidUpdateError(f"{name}: {words}", field=name)


def _judge_field(field: StateField, value: Any, others: Values) -> tuple[Any, str]:
    if field.frozen:
        words = "the field is frozen (Field(frozen=True)): only the input of a run sets it"
        raise field.refusal(value, words)
    if type(value) is Replace:
        fitting, text = _fit(field, value.value, others)
        return (Replace(fitting) if field.reducer else fitting), text
    if field.reducer is None:
        return _fit(field, value, others)
    if isinstance(field.reducer, BuiltIn) and value is None:
        raise InvalidUpdateError(
            f"{field.name} = None: {field.reducer!r} has nothing to take; leave the field out to"
            " change nothing, or return Replace(None) to set it",
            field=field.name,
        )
    return _fit(field, value, others) if field.free else _fit_operand(field, value, others)


def _fit_plain(field: StateField, value: Any, others: Values) -> tuple[Any, str]:
    """Do what `_fit` does for a plain field, by itself: most updates go this way."""
    try:
        fitting = field.validate(value)
    except Exception as error:  # whatever a value does that is iterated
        raise _unfit(field, value, error) from error
    try:
        text = field.codec.encode(fitting).decode()
    except ValueError:  # a lone surrogate
        return field.stored(fitting, others, given=value)
    if len(text) > field.codec.certain and field.codec.is_doubtful(text):
        return field.stored(fitting, others, given=value)
    return fitting, text


def _fit(field: StateField, value: Any, others: Values) -> tuple[Any, str]:
    """Validate a value for a field as the model would, and give it as a reload gives it."""
    try:
        fitting = field.check(value, others)
    except Exception as error:  # whatever the user's validators raise
        raise _unfit(field, value, error) from error
    return field.stored(fitting, others, given=value)


def _fit_operand(field: StateField, value: Any, others: Values) -> tuple[Any, str]:
    """Fit what a reducer takes where that need not be a valid value of the field."""
    try:
        fitting = field.check(value, others)
    except Exception as error:  # noqa: BLE001 - whatever a user's validator raises
        unfit = error
    else:
        return field.stored(fitting, others, given=value)
    try:
        text = to_json(value, by_alias=False, inf_nan_mode="strings", bytes_mode="base64").decode()
        back = _operand(field, text, others)
        if same(value, back):
            return back, text
        words = f"; as plain JSON it would come back as {shown(back)}"
    except Exception as error:  # noqa: BLE001 - whatever a user's validator raises
        words = f"; it is no plain JSON either: {error}"
    raise _unfit(field, value, unfit, words if field.operand is None else "") from unfit


def _value(field: StateField, text: str, others: Values) -> Any:
    return field.codec.read(text, others)


def _operand(field: StateField, text: str, others: Values) -> Any:
    """Read what a reducer takes: a value of the field, else its bare items, else plain JSON."""
    try:
        return field.codec.read(text, others)
    except Exception:  # noqa: BLE001 - whatever a user's validator raises
        return from_json(text) if field.operand is None else field.operand.read(text)


def _informed_last(
    schema: StateSchema[Any], update: Mapping[str, Any]
) -> Iterable[tuple[str, Any]]:
    """Order an update so that validators that look at other fields see those of the update."""
    late = schema.informed
    return sorted(update.items(), key=lambda item: late.index(item[0]) if item[0] in late else -1)


def _overlaid(schema: StateSchema[Any], seen: Values, update: Values) -> Values:
    plain = {name: value for name, value in update.items() if name not in schema.reducers}
    return {**seen, **plain}


def _unfit(field: StateField, value: Any, error: Exception, more: str = "") -> InvalidUpdateError:
    words = what_is_wrong(error, below=field.below) + more
    if isinstance(field.reducer, BuiltIn) and type(value) is not Replace:
        words += f" ({field.reducer!r} takes {_TAKES[field.reducer.name]})"
    return field.refusal(value, words)


def _unknown(schema: StateSchema[Any], name: Any) -> InvalidUpdateError:
    for field, info in schema.model.model_fields.items():
        if name in {info.alias, info.validation_alias}:
            meant = f" It is an alias: in updates the field is called {field!r}."
            break
    else:
        meant = did_you_mean(str(name), schema.names)
    return InvalidUpdateError(
        f"{schema.model.__name__} has no field {name!r}.{meant}", field=str(name)
    )


def _no_update(schema: StateSchema[Any], update: object) -> InvalidUpdateError:
    example = f"return {{{schema.names[0]!r}: ...}}" if schema.names else "return {}"
    if isinstance(update, schema.model):
        what = "the state itself; return only what changes"
    elif isinstance(update, BaseModel):
        what = f"a {type(update).__name__}; name the field that it belongs to"
    elif hasattr(update, "__await__"):
        what = "a coroutine that nobody awaited; make the node `async def` and await it"
        if hasattr(update, "close"):
            update.close()  # this error says it; Python's warning would come later, elsewhere
    elif hasattr(update, "__next__"):
        what = "an iterator: a node returns its update once, it does not yield"
    else:
        what = f"{shown(update)} ({type(update).__name__})"
    return InvalidUpdateError(f"it returned {what}: {example}, or None to change nothing")
