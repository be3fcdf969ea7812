"""A state class, compiled once: how its fields are validated, encoded, reduced and seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic_core import SchemaValidator, ValidationError, to_json

from graphflow.errors import InputError, InvalidUpdateError, StateError, did_you_mean
from graphflow.state.codec import (
    FieldCodec,
    Schema,
    StateCodec,
    inner_type,
    leaves,
    same,
    with_definitions,
)
from graphflow.state.problems import WORK, Parts, is_open_tuple, problems_of, reducer_of
from graphflow.state.reducers import BuiltIn, append
from graphflow.state.secrets import is_secret
from graphflow.state.view import instance, view_class
from graphflow.state.words import shown, what_is_wrong

__all__ = ["S", "StateField", "StateSchema", "problems_of", "schema_of"]

S = TypeVar("S", bound=BaseModel)
"""A state class."""

_ITEMS = {"type", "items_schema", "variadic_item_index", "keys_schema", "values_schema"}
_FREE = _ITEMS | {"strict", "metadata", "ref"}
"""What may be said of a container whose items can be validated apart from each other."""
_CANONICAL = frozenset({"str", "int", "enum", "date", "uuid", "bytes"})
"""Types whose values are equal exactly when their JSON is."""
_SCALARS = frozenset({"str", "int", "float", "bool", "none", "literal", "enum", "bytes", "decimal"})
_IMMUTABLE = _SCALARS | {
    "date", "datetime", "time", "timedelta", "uuid", "complex", "url", "default", "nullable",
}  # fmt: skip
_SAME: Any = object()


class StateField:
    """One field of a state.

    Attributes:
        name: Its name.
        codec: Its JSON form.
        reducer: How updates to it combine; None: they replace its value.
        frozen: Only the input of a run sets it.
        free: The items of an update can be validated apart from the old value, and the result of
            the reducer needs no validation.
        replays: The reducer's work can be repeated on the stored JSON, without the user's code.
        plain: An update that is neither None nor a Replace needs no more than to be validated and
            encoded: no code of the user's, no look at other fields, and nothing is lost in JSON.
        validate: Validates a value of a field that is plain.
        below: How many parts of a validation error's location name the field itself.
        unchecked: Pydantic does not validate its default, and it may need that.
        operand: What the built-in reducer takes, where that is not a valid value of the field.
    """

    __slots__ = (
        "_assign", "_copying", "below", "codec", "free", "frozen", "name", "operand", "plain",
        "reducer", "replays", "unchecked", "validate",
    )  # fmt: skip

    def __init__(self, model: type[BaseModel], name: str, parts: Parts, whole: StateCodec) -> None:
        self.name, self.codec, schema = name, whole.fields[name], parts.fields[name]
        self.reducer = reducer_of(model, name)
        inner = inner_type(schema["schema"], parts.definitions)
        self.free = self.replays = False
        self.operand: FieldCodec | None = None
        if isinstance(self.reducer, BuiltIn):
            self.free = _is_free(schema["schema"], self.reducer.name, parts)
            self.replays = self.free and _replays(inner, self.reducer.name, parts.definitions)
            if not self.free and inner["type"] in WORK[self.reducer.name][1]:
                bare = {key: value for key, value in inner.items() if key in _ITEMS}
                self.operand = FieldCodec(name, {"schema": bare}, whole)
        self._copying = _copying(schema["schema"], inner, parts.definitions)
        wrapped = with_definitions(schema["schema"], parts.definitions)
        self.validate = SchemaValidator(wrapped, parts.config).validate_python
        self._assign: Any = None
        self.frozen = bool(schema.get("frozen"))
        own = self.codec.informed or not self.codec.exact
        self.plain = not own and not self.frozen and (self.reducer is None or self.free)
        if self.codec.informed:
            thawed = {other: {**part, "frozen": False} for other, part in parts.fields.items()}
            every: Any = {"type": "model-fields", "fields": thawed}
            among = with_definitions(every, parts.definitions)
            self._assign = SchemaValidator(among, parts.config).validate_assignment
        validated = parts.config.get("validate_default", False)
        self.unchecked = not schema["schema"].get("validate_default", validated)
        if self.unchecked and self.plain:
            self.unchecked = not _is_left_alone(schema["schema"].get("default"), self.validate)
        self.below = 0 if self._assign is None else 1

    def check(self, value: Any, others: Mapping[str, Any]) -> Any:
        """Validate a value as the model would.

        Args:
            value: The value.
            others: The state, for validators that look at other fields.

        Raises:
            ValidationError: It does not fit. A validator of the user's may raise anything.
        """
        if self._assign is None:
            return self.validate(value)
        return self._assign(dict(others), self.name, value)[0][self.name]

    def stored(
        self, value: Any, others: Mapping[str, Any], *, given: Any = _SAME
    ) -> tuple[Any, str]:
        """Encode a validated value, and give it as a reload gives it.

        Args:
            value: The value.
            others: The state, for validators that look at other fields.
            given: What it was made of, for the error.

        Raises:
            InvalidUpdateError: It cannot be stored, or would come back as something else.
        """
        try:
            text = self.codec.text(value)
            return self.codec.settle(value, text, others), text
        except Exception as error:  # whatever the user's serializers and __eq__ raise
            words = str(error) if type(error) is ValueError else what_is_wrong(error)
            raise self.refusal(value if given is _SAME else given, words) from error

    def refusal(self, value: Any, words: str) -> InvalidUpdateError:
        """Say that a value is wrong."""
        return InvalidUpdateError(f"{self.name} = {shown(value)}: {words}", field=self.name)

    def copy(self, value: Any, others: Mapping[str, Any]) -> Any:
        """Copy a valid value as far as it can be changed in place."""
        if self._copying == "shared" or value is None:
            return value
        if self._copying == "flat":
            return value.copy()
        return self.codec.read(self.codec.text(value), others)  # much quicker than deepcopy

    @property
    def is_mutable(self) -> bool:
        """Whether there may be something in a value that can be changed in place."""
        return self._copying != "shared"

    def is_unchanged(self, value: Any, copied: Any) -> bool:
        """Tell whether a copy is still what it was made of."""
        if value is copied:
            return True
        if self._copying == "flat":
            return type(copied) is type(value) and bool(copied == value)
        try:
            if self._copying == "deep" and self.codec.text(value) == self.codec.text(copied):
                return True  # much quicker than to compare piece by piece
        except ValueError:
            return False
        return same(value, copied)


class StateSchema(Generic[S]):
    """A state class, compiled once.

    Attributes:
        parts: The user's class, taken apart.
        model: That class.
        names, fields: Its fields, in order, and by name.
        reducers: The fields that have a reducer.
        replays: Of those, the fields whose JSON can be reduced again without the user's code.
        risky: The fields whose reducer can fail on an update that fits.
        informed: The fields whose validators may look at the fields before them, in order.
        secrets: The fields whose values are never stored.
        told: The fields whose values can be changed in place, or are appended to.
        tries: An update can fail though its fields fit, so it is tried while its node is judged.
        codec: The JSON form.
        view: Makes the view of a dict of values.
        rules: Runs the after- and wrap-model-validators on an instance; None when there are none.
    """

    def __init__(self, model: type[S]) -> None:
        if found := problems_of(model):
            raise StateError("; ".join(found))
        parts = self.parts = Parts(model)
        self.model = model
        self.names = tuple(model.model_fields)
        self.codec = StateCodec(parts.fields, parts.definitions, parts.config)
        self.fields = {name: StateField(model, name, parts, self.codec) for name in self.names}
        self.reducers = {n: f.reducer for n, f in self.fields.items() if f.reducer is not None}
        self.replays = {name for name, field in self.fields.items() if field.replays}
        self.risky = self.reducers.keys() - self.replays
        self.told = {n for n, f in self.fields.items() if f.is_mutable or f.reducer is append}
        self.informed = tuple(n for n in self.names if self.fields[n].codec.informed)
        self.secrets = tuple(n for n, info in model.model_fields.items() if is_secret(info))
        self.rules: Any = None
        if parts.rules is not None:
            wrapped = with_definitions(parts.rules, parts.definitions)
            self.rules = SchemaValidator(wrapped, _use_prebuilt=False).validate_python
        self.tries = bool(self.rules or self.informed or self.risky)
        self.view = view_class(model)
        self._place = {name: place for place, name in enumerate(self.names)}.__getitem__
        self._input_names = _input_names(model)

    def instance(self, values: Mapping[str, Any]) -> S:
        """Make an instance of the user's class from validated values."""
        made: S = instance(self.model, values, set(self.names))
        return made

    def initial(self, given: Any) -> tuple[dict[str, Any], str]:
        """Validate the input of a run.

        Args:
            given: A mapping of fields, or an instance of the state class.

        Returns:
            The values of all fields, as a reload would give them, and their JSON.

        Raises:
            InputError: A field is missing, unknown, or wrong.
        """
        name = self.model.__name__
        if isinstance(given, Mapping):
            self._refuse_unknown(given)
        elif not isinstance(given, self.model):
            raise InputError(
                f"the input of a run is a dict of {name}'s fields or a {name},"
                f" not {shown(given)} ({type(given).__name__})"
            )
        elif lost := type(given).model_fields.keys() - self.fields.keys():
            raise InputError(
                f"the input is a {type(given).__name__}, which has fields that {name} does not"
                f" have ({', '.join(sorted(lost))}); give a {name} or a dict"
            )
        try:
            state = self.model.model_validate(given, by_alias=True, by_name=True)
        except Exception as error:  # whatever the user's validators raise
            words = what_is_wrong(error, values=True)
            raise InputError(f"the input does not fit {name}: {words}") from error
        if not isinstance(state, self.model):
            raise InputError(f"a validator of {name} returned {shown(state)}: it must return self")
        return self._settle(self._values_of(state))

    def read(self, text: str | bytes) -> dict[str, Any]:
        """Decode stored values of all fields.

        Raises:
            StateError: They do not fit today's state class.
        """
        try:
            return self.codec.read(text)
        except Exception as error:  # whatever the user's validators raise
            raise StateError(
                f"the stored state does not fit today's {self.model.__name__}:"
                f" {what_is_wrong(error, values=True)}."
                " Give new fields a default, and keep the types of old ones."
            ) from error

    def read_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Decode the plain JSON values of all fields; see `read`."""
        if self.codec.given_some is not None and len(values) == len(self.names):
            with suppress(ValidationError):  # what does not fit is said below
                given: dict[str, Any] = self.codec.given_some(values)
                if len(given) == len(self.names):
                    return given
        try:
            text: str | bytes = to_json(values, inf_nan_mode="constants")
        except ValueError:  # half of a surrogate pair, which the codec will refuse
            text = json.dumps(values)
        return self.read(text)

    def alias(self, name: str) -> str | None:
        """Give the other name that a field may have in an input."""
        alias = self.model.model_fields[name].validation_alias
        return alias if isinstance(alias, str) else None

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Sort names of fields as the class declares them, each once."""
        few = names if type(names) is set else set(names)
        return sorted(few, key=self._place) if len(few) > 1 else list(few)

    def _values_of(self, state: S) -> dict[str, Any]:
        """Take the values out of an instance; its defaults are validated, as pydantic did not."""
        given = state.model_fields_set
        values: dict[str, Any] = {}
        for name, field in self.fields.items():
            try:
                value = getattr(state, name)
                is_default = field.unchecked and name not in given
                values[name] = field.check(value, values) if is_default else value
            except Exception as error:  # whatever the user's validators raise
                words = what_is_wrong(error)
                raise InputError(f"{self.model.__name__}.{name}: {words}") from error
        return values

    def _settle(self, values: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Encode all fields, and give the values as a reload would give them."""
        name = self.model.__name__
        try:
            text = self.codec.text_of_all(values)
            back = self.codec.read(text)
        except Exception as error:  # whatever the user's validators raise
            words = what_is_wrong(error, values=True)
            raise InputError(f"the input of {name} cannot be stored: {words}") from error
        for field, value in values.items():
            if value is not back[field] and not same(value, back[field]):
                raise InputError(
                    f"{name}.{field} = {shown(value)}: it does not survive being stored: it would"
                    f" come back as {shown(back[field])} ({type(back[field]).__name__})"
                )
        return back, text

    def _refuse_unknown(self, given: Mapping[Any, Any]) -> None:
        if self._input_names is None:
            return
        for key in given:
            if key not in self._input_names:
                raise InputError(
                    f"the input has a field {key!r} that {self.model.__name__} does not have."
                    + did_you_mean(str(key), self._input_names)
                )


_known: dict[type[BaseModel], tuple[object, StateSchema[Any]]] = {}


def schema_of(model: type[S]) -> StateSchema[S]:
    """Give a state class, compiled: once, as long as pydantic does not build it anew.

    Raises:
        StateError: It cannot be a state.
    """
    built, schema = _known.get(model, (None, None)) if isinstance(model, type) else (None, None)
    if schema is None or built is not model.__dict__.get("__pydantic_core_schema__"):
        schema = StateSchema(model)
        if len(_known) >= 64:  # of cells that were run again
            _known.clear()
        _known[model] = model.__dict__.get("__pydantic_core_schema__"), schema
    return schema


def _input_names(model: type[BaseModel]) -> set[str] | None:
    """Give all names that an input may use; None when a validator says what its keys mean."""
    decorators = model.__pydantic_decorators__.model_validators.values()
    if any(validator.info.mode in {"before", "wrap"} for validator in decorators):
        return None
    names = set(model.model_fields)
    for info in model.model_fields.values():
        names |= _outer_names(info.validation_alias)
    return names


def _outer_names(alias: str | AliasPath | AliasChoices | None) -> set[str]:
    if alias is None or isinstance(alias, str):
        return {alias} if alias else set()
    if isinstance(alias, AliasPath):
        return {str(alias.path[0])}
    return set().union(*map(_outer_names, alias.choices))


def _is_free(schema: Schema, op: str, parts: Parts) -> bool:
    while schema["type"] in {"default", "nullable"}:
        schema = schema["schema"]
    if not schema.keys() <= _FREE:
        return False
    if op == "append":
        return schema["type"] == "list" or (schema["type"] == "tuple" and is_open_tuple(schema))
    if op == "add":
        return (
            schema["type"] in {"int", "float", "timedelta"} and "allow_inf_nan" not in parts.config
        )
    return schema["type"] in {"dict"} if op == "merge" else schema["type"] in {"set", "frozenset"}


def _replays(inner: Schema, op: str, definitions: Mapping[str, Schema]) -> bool:
    if op == "add":
        return bool(inner["type"] == "int")
    if op == "append":
        return True
    members = inner["keys_schema"] if op == "merge" else inner["items_schema"]
    return all(part["type"] in _CANONICAL for part in leaves(members, definitions))


def _copying(schema: Schema, inner: Schema, definitions: Mapping[str, Schema]) -> str:
    """Choose how a value is copied: shared when nothing in it can be changed in place."""
    kinds = [part["type"] for part in leaves(schema, definitions)]
    nested = [kind for kind in kinds if kind not in _IMMUTABLE]
    if nested == [inner["type"]] and inner["type"] in {"list", "dict", "set"}:
        return "flat"
    return "deep" if set(nested) - {"tuple", "frozenset"} else "shared"


def _is_left_alone(default: Any, validate: Callable[[Any], Any]) -> bool:
    """Tell whether validation gives a default as it is, so that it need not run for each run."""
    if type(default) not in {int, str, bool, float}:
        return False
    fitting = validate(default)  # `problems_of` has seen that it fits
    return type(fitting) is type(default) and bool(fitting == default)
