"""The JSON form of a state's values, exact in both directions.

What a value looks like in JSON is the user's schema in pydantic's hands, with two settings: bytes
are base64, and infinities and nan are strings. Whether a type is exact by construction is read
off its schema once; every other value is decoded again while its node is being judged, and what
comes back must be the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, time
from functools import partial
from sys import maxsize
from typing import Any

from pydantic_core import CoreConfig, PydanticOmit, SchemaSerializer, SchemaValidator

from graphflow.state.words import shown, what_is_wrong

__all__ = [
    "WRAPPERS", "FieldCodec", "Schema", "StateCodec", "inner_type", "is_informed", "leaves", "same",
    "with_definitions",
]  # fmt: skip

Schema = dict[str, Any]

_CONFIG: CoreConfig = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "ser_json_inf_nan": "strings",
    "ser_json_temporal": "iso8601",
}
_STRICTLY: Any = {"by_alias": False, "round_trip": True, "warnings": "error"}
_BY_NAME: Any = {"by_alias": False, "by_name": True}
_SHELLS = frozenset({"default", "nullable", "list", "tuple", "set", "frozenset", "dict"})
_EXACT = frozenset({"int", "bool", "str", "float", "none", "literal"})
_QUIET = frozenset(
    {"date", "datetime", "time", "timedelta", "uuid", "decimal", "bytes", "enum", "complex"}
)
_LONGEST_INT = 4000  # pydantic reads integers of up to 4,300 digits
_CONFIGURED = frozenset({"model", "dataclass", "typed-dict"})
_ATOMS = frozenset({str, int, bool, bytes, type(None)})
_SEQUENCES, _SETS, _CLOCKS = (list, tuple, deque), (set, frozenset), (datetime, time)
_NO_SCHEMAS = frozenset(
    {"metadata", "default", "config", "serialization", "function", "json_schema_input_schema"}
)
"""Parts of a schema that hold none of the schemas that values are validated with."""
WRAPPERS = frozenset({"default", "nullable", "function-before", "function-after", "function-wrap"})
"""Schemas around a field's type that leave it what it is."""


def leaves(
    schema: Any, definitions: Mapping[str, Schema], *, without: Iterable[str] = ()
) -> Iterator[Schema]:
    """Walk a core schema: every schema in it, definitions that it refers to included.

    Args:
        schema: A core schema, or any part of one.
        definitions: The definitions by reference.
        without: Parts to leave out: `fields` of inner models, or what is for Python input only.

    Yields:
        Each schema, those around others first, each definition once.
    """
    skipped = _NO_SCHEMAS.union(without)
    visited: set[str] = set()
    open_parts = [schema]
    while open_parts:
        part = open_parts.pop()
        if not isinstance(part, dict):
            open_parts.extend(reversed(part) if isinstance(part, list | tuple) else ())
        elif not isinstance(part.get("type"), str):  # fields or choices, by name
            open_parts.extend(part.values())
        elif part["type"] != "definition-ref":
            yield part
            open_parts.extend(value for key, value in part.items() if key not in skipped)
        elif part["schema_ref"] not in visited:
            visited.add(part["schema_ref"])
            open_parts.append(definitions[part["schema_ref"]])


def with_definitions(schema: Schema, definitions: Mapping[str, Schema]) -> Any:
    """Put a schema together with the definitions that it refers to."""
    refs = {part.get("ref") for part in leaves(schema, definitions)} & definitions.keys()
    if not refs:
        return schema
    needed = [part for ref, part in definitions.items() if ref in refs]
    return {"type": "definitions", "schema": schema, "definitions": needed}


def inner_type(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Take defaults, `| None` and validator functions off a schema."""
    while True:
        if schema["type"] == "definition-ref":
            schema = definitions[schema["schema_ref"]]
        elif schema["type"] in WRAPPERS:
            schema = schema["schema"]
        else:
            return schema


def same(left: Any, right: Any) -> bool:
    """Tell whether a value came back as it was: equal, and of the same types, all the way down.

    Args:
        left: What it was. An int in the place of an equal float is fine: it was a default.
        right: What came back.
    """
    if left.__class__ is not right.__class__:  # a view answers as the user's class here
        return type(left) is int and type(right) is float and left == right
    if type(right) in _ATOMS:
        return bool(left == right)
    if isinstance(right, _SEQUENCES):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(right, dict):
        return _same_items(left, right)
    if isinstance(right, _SETS):
        return _same_members(left, right)
    if isinstance(right, _CLOCKS):  # in an hour that comes twice, == wants the same time zone
        equal = left == right or left.replace(tzinfo=None) == right.replace(tzinfo=None)
        return equal and bool(left.utcoffset() == right.utcoffset())
    fields = getattr(right, "__pydantic_fields__", None) or getattr(
        right, "__dataclass_fields__", None
    )
    if fields:
        return all(same(getattr(left, name, None), getattr(right, name, None)) for name in fields)
    return bool(left == right) or bool(left != left and right != right)  # noqa: PLR0124 - nan differs from itself


def _same_items(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    pairs = zip(left.items(), right.items(), strict=True)
    if all(same(a, b) for pair in pairs for a, b in zip(*pair, strict=True)):
        return True
    return _typed(left) == _typed(right) and all(same(left[key], right[key]) for key in right)


def _same_members(left: Collection[Any], right: Collection[Any]) -> bool:
    if len(left) != len(right):
        return False
    typed = _typed(right)
    return all(
        (type(item), item) in typed or any(same(item, other) for other in right) for item in left
    )


def _typed(members: Iterable[Any]) -> set[tuple[type, Any]]:
    return {(type(item), item) for item in members}


class FieldCodec:
    """One field's JSON form.

    Attributes:
        exact: Every validated value comes back as it was, unless its text `is_doubtful`.
        certain: The length in characters up to which no text is.
        informed: Its validators may look at the fields before it.
        encode: Gives a validated value's JSON in bytes; raises as pydantic does.
        quiet: It takes no user's code to encode a value, and nothing in one can be unexpected.
        key: How its text begins in a JSON object.
    """

    __slots__ = (
        "_close", "_has_ints", "_has_keys", "_open", "_read", "certain", "encode", "exact",
        "informed", "key", "name", "quiet",
    )  # fmt: skip

    def __init__(self, name: str, schema: Schema, whole: StateCodec) -> None:
        inner = configured(schema["schema"])
        found = list(leaves(schema["schema"], whole.definitions))
        own = leaves(schema["schema"], whole.definitions, without=("fields",))
        self.exact = all(map(_is_exact, found))
        self.informed = any(map(is_informed, own))
        self.quiet = all(_is_exact(part) or _is_quiet(part) for part in found)
        kinds = {part["type"] for part in found}
        self._has_ints, self._has_keys = "int" in kinds, "dict" in kinds
        self.certain = -1 if self._has_keys else _LONGEST_INT if self._has_ints else maxsize
        self.name, self.key = name, _quoted(name) + ":"
        encode = whole.serializer(inner)
        # To ask for what is unexpected costs most of the time.
        self.encode = encode if self.quiet else partial(encode, **_STRICTLY)
        # As deep in brackets as it is stored: how deep brackets may be nested is limited.
        self._open, self._close = "[", "]"
        self._read = whole.validator({"type": "tuple", "items_schema": [inner]}).validate_json
        if self.informed:
            before = list(whole.fields)
            self._open = "{" + "".join(f"{_quoted(other)}:0," for other in before) + self.key
            self._close = "}"
            fields = {other: _given(other) for other in before} | {name: configured(schema)}
            self._read = whole.validator({"type": "model-fields", "fields": fields}).validate_json

    def text(self, value: Any) -> str:
        """Encode a validated value.

        Raises:
            ValueError: The value has no exact JSON form; the message says why.
        """
        try:
            text: bytes = self.encode(value)
            return text.decode()
        except ValueError as error:
            raise ValueError(f"it cannot be written as JSON: {error}") from error

    def read(self, text: str, others: Mapping[str, Any] | None = None) -> Any:
        """Decode a value of the field.

        Args:
            text: Its JSON.
            others: The values of the fields before it, for validators that look at them.
        """
        read = self._read(self._open + text + self._close, context=others, **_BY_NAME)
        return read[0][self.name] if self.informed else read[0]

    def settle(self, value: Any, text: str, others: Mapping[str, Any]) -> Any:
        """Give a validated value as a reload will give it.

        Args:
            value: The value.
            text: Its JSON.
            others: The values of the fields before it, for validators that look at them.

        Raises:
            ValueError: A reload would give something else; the message says what.
        """
        if self.exact and not self.is_doubtful(text):
            return value
        try:
            back = self.read(text, others)
        except Exception as error:  # whatever the user's validators raise
            words = what_is_wrong(error, below=1)
            raise ValueError(f"it does not survive being stored: {words}") from error
        if not same(value, back):
            words = f"it would come back as {shown(back)}"
            if type(value) is not type(back):
                words += f", a {type(back).__name__}"
            raise ValueError(f"it does not survive being stored: {words}")
        return back

    def is_doubtful(self, text: str) -> bool:
        """Tell whether an exact type's text may hold what is not read back."""
        if self._has_keys and "\ufffd" in text:  # or a lone surrogate in a key
            return True
        return self._has_ints and len(text) > _LONGEST_INT


class StateCodec:
    """The JSON form of all fields of a state class.

    Args:
        fields: The schema of each field, in order.
        definitions: What they refer to.
        config: The configuration of the state class.

    Attributes:
        read_some: Decodes a JSON object of any fields; None: they must be read one by one.
        given_some: Gives the same of what such an object was parsed to.
    """

    def __init__(
        self,
        fields: Mapping[str, Schema],
        definitions: Mapping[str, Schema],
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.definitions = definitions
        self._stored = {ref: configured(part) for ref, part in definitions.items()}
        # What is stored was checked when it was written; a field that has gone is left out.
        lenient = {"strict": False, "extra_fields_behavior": "ignore"}
        self._config: Any = {**(config or {}), **lenient, **_CONFIG}
        self.fields: dict[str, FieldCodec] = {}
        for name, schema in fields.items():
            self.fields[name] = FieldCodec(name, schema, self)
        stored = {name: configured(schema) for name, schema in fields.items()}
        self._read_all = self.validator({"type": "model-fields", "fields": stored}).validate_json
        members = {name: _member(schema) for name, schema in stored.items()}
        self._encode_all = self.serializer({"type": "typed-dict", "fields": members})
        self.read_some: Any = None
        self.given_some: Any = None
        if all(field.exact for field in self.fields.values()):
            some = {name: _member(schema, required=False) for name, schema in stored.items()}
            whole = {"type": "typed-dict", "extra_behavior": "forbid", "fields": some}
            self.read_some = self.validator(whole).validate_json
            if not definitions:
                self.given_some = self.validator(_encodable(whole)).validate_python
        self._quiet = all(field.quiet for field in self.fields.values())
        self._keys = {name: field.key for name, field in self.fields.items()}

    def serializer(self, schema: Schema) -> Any:
        """Make the encoder of a schema that is `configured`."""
        wrapped = with_definitions(schema, self._stored)
        return SchemaSerializer(wrapped, self._config, _use_prebuilt=False).to_json

    def validator(self, schema: Schema) -> SchemaValidator:
        """Make the decoder of a schema that is `configured`."""
        whole = with_definitions(schema, self._stored)
        return SchemaValidator(whole, self._config, _use_prebuilt=False)

    def text(self, values: Mapping[str, Any]) -> str:
        """Encode some or all fields as one JSON object."""
        if self._quiet and len(values) == len(self.fields):
            text: bytes = self._encode_all(values)
            return text.decode()
        return self.join((name, self.fields[name].text(value)) for name, value in values.items())

    def join(self, texts: Iterable[tuple[str, str]]) -> str:
        """Make one JSON object of (field, JSON text) pairs."""
        keys = self._keys
        return "{" + ",".join([keys[name] + text for name, text in texts]) + "}"

    def text_of_all(self, values: Mapping[str, Any]) -> str:
        """Encode all fields; of values that may not be valid, with a ValueError for those."""
        text: bytes = self._encode_all(values, **_STRICTLY)
        return text.decode()

    def read(self, text: str | bytes) -> dict[str, Any]:
        """Decode a JSON object of all fields.

        Raises:
            ValidationError: The JSON does not fit the state class.
        """
        values, _, _ = self._read_all(text, **_BY_NAME)
        return dict(values)


def configured(schema: Any) -> Any:
    """Copy a schema with our JSON settings laid over the config of every model in it."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(configured, schema))
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if not isinstance(kind, str):  # fields or choices, by name
        return {name: configured(part) for name, part in schema.items()}
    copied = {key: v if key in _NO_SCHEMAS else configured(v) for key, v in schema.items()}
    if kind in _CONFIGURED:
        copied["config"] = {**(schema.get("config") or {}), **_CONFIG}
    elif kind == "float":
        copied["strict"] = False  # infinities and nan are strings
    return copied


def _is_exact(schema: Schema) -> bool:
    kind = schema["type"]
    if "serialization" in schema:
        return False
    if kind == "literal":
        return all(type(value) in {int, str, type(None)} for value in schema["expected"])
    if kind == "dict":
        return (schema.get("keys_schema") or {}).get("type") == "str"
    return kind in _EXACT or kind in _SHELLS


def _is_quiet(schema: Schema) -> bool:
    return schema["type"] in _QUIET | _SHELLS and "serialization" not in schema


def is_informed(schema: Schema) -> bool:
    """Tell whether a schema is a validator function that may look at other fields."""
    function = schema.get("function")
    return isinstance(function, dict) and function.get("type") == "with-info"


def _given(name: str) -> Schema:
    """Stand in for a field: its value comes from the context, whatever the JSON says."""

    def take(_: Any, info: Any) -> Any:
        if name not in (info.context or {}):
            raise PydanticOmit
        return info.context[name]

    function = {"type": "with-info", "function": take}
    return {"type": "model-field", "schema": {"type": "function-plain", "function": function}}


def _encodable(schema: Any) -> Any:
    """Copy a schema, with texts that hold no half of a surrogate pair: no JSON holds one."""
    if isinstance(schema, list):
        return list(map(_encodable, schema))
    if not isinstance(schema, dict):
        return schema
    copied = {key: v if key in _NO_SCHEMAS else _encodable(v) for key, v in schema.items()}
    # With any bound, pydantic looks at the text
    return {"min_length": 0, **copied} if schema.get("type") == "str" else copied


def _member(schema: Schema, *, required: bool = True) -> Schema:
    inner = schema["schema"]
    while inner["type"] == "default" and not required:  # it would fill in what is not there
        inner = inner["schema"]
    return {"type": "typed-dict-field", "schema": inner, "required": required}


def _quoted(name: str) -> str:
    return SchemaSerializer({"type": "str"}).to_json(name).decode()
