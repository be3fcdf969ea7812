"""What keeps a class from being a state: everything that could not be stored and read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_core import SchemaValidator

from graphflow.state.codec import (
    WRAPPERS,
    Schema,
    inner_type,
    is_informed,
    leaves,
    with_definitions,
)
from graphflow.state.reducers import BuiltIn, Reducer
from graphflow.state.secrets import Secret
from graphflow.state.words import shown, what_is_wrong

__all__ = ["WORK", "Parts", "is_open_tuple", "parts_of", "problems_of", "reducer_of"]

_RECORDS = frozenset({"model", "dataclass", "typed-dict"})
_LIVE = {
    "callable": "a function cannot be stored; name it, and look it up in the node",
    "generator": "an iterator cannot be stored; use a list",
    "is-instance": "pydantic has no JSON form of this class; use a model, or a type that has one",
    "is-subclass": "a class cannot be stored; name it, and look it up in the node",
}
_ARRAYS = frozenset({"list", "tuple", "set", "frozenset"})
WORK: dict[str, tuple[str, set[str]]] = {
    "append": ("adds items to a list or tuple", {"list", "tuple"}),
    "merge": ("sets keys of a dict", {"dict"}),
    "union": ("adds members to a set or frozenset", {"set", "frozenset"}),
    "add": ("sums numbers or timedeltas", {"int", "float", "decimal", "timedelta", "complex"}),
}
"""What each built-in reducer does, and the types it does it to."""
_KNOWN = frozenset().union(
    _RECORDS, *(kinds for _, kinds in WORK.values()), {"str", "bool", "bytes", "datetime", "date"}
)
_BARE: dict[str, tuple[str, ...]] = {
    "list": ("items_schema",),
    "set": ("items_schema",),
    "frozenset": ("items_schema",),
    "dict": ("keys_schema", "values_schema"),
}
"""What a container's schema lacks when its items may be anything."""


class Parts:
    """A model's core schema, taken apart.

    Attributes:
        fields: The schema of each field.
        definitions: What they refer to, by reference.
        config: The model's configuration.
        rules: The after- and wrap-validators around the model; None when there are none.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        schema: Any = model.__pydantic_core_schema__
        self.definitions: dict[str, Schema] = {}
        self.config: Any = {}
        self.rules: Schema | None = None
        while schema["type"] != "model-fields":
            if schema["type"] == "definitions":
                self.definitions |= {part["ref"]: part for part in schema["definitions"]}
            elif schema["type"] == "model":
                self.config = dict(schema.get("config") or {})
            elif schema["type"] in {"function-after", "function-wrap"} and self.rules is None:
                self.rules = _for_instances(schema)
            is_ref = schema["type"] == "definition-ref"
            schema = self.definitions[schema["schema_ref"]] if is_ref else schema["schema"]
        self.fields = {name: _stored(part) for name, part in schema["fields"].items()}


def parts_of(model: type[BaseModel]) -> Parts | None:
    """Take a model's core schema apart; None when it is no schema of fields."""
    try:
        return Parts(model)
    except KeyError:  # a schema of the user's own making leads nowhere
        return None


def problems_of(model: Any) -> list[str]:
    """Say everything that keeps a class from being a state.

    Returns:
        One sentence per problem; empty when the class can be a state.
    """
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return [f"the state must be a pydantic model (a subclass of BaseModel), not {model!r}"]
    if model.__pydantic_root_model__:
        return [f"{model.__name__} is a RootModel: a state needs named fields; use a BaseModel"]
    if not model.__pydantic_complete__:
        model.model_rebuild(raise_errors=False)
    if not model.__pydantic_complete__:
        return [
            f"{model.__name__} is not complete: an annotation names a class that is not defined"
            f" where {model.__name__} is. Define it, and call {model.__name__}.model_rebuild()"
        ]
    parts = parts_of(model)
    if parts is None:
        return [f"{model.__name__} brings a core schema of its own: a state needs plain fields"]
    return [*_record_problems(model), *_problems(model, parts)]


def reducer_of(model: type[BaseModel], name: str) -> Reducer | None:
    """Give the reducer of a field: the last one in its Annotated."""
    found = [m for m in model.model_fields[name].metadata if isinstance(m, Reducer)]
    return found[-1] if found else None


def _stored(schema: Schema) -> Schema:
    """Copy a field's schema without its @field_serializer: it needs an instance to run."""
    if schema.get("serialization", {}).get("is_field_serializer"):
        schema = {key: value for key, value in schema.items() if key != "serialization"}
    if "schema" in schema and schema["type"] in {"model-field", *WRAPPERS}:
        return {**schema, "schema": _stored(schema["schema"])}
    return schema


def _for_instances(schema: Schema) -> Schema:
    """Copy the validators around a model, so that they take an instance of it as it is."""
    copied = {key: value for key, value in schema.items() if key != "ref"}
    if copied["type"] == "model":
        copied["config"] = {**(copied.get("config") or {}), "revalidate_instances": "never"}
    else:
        copied["schema"] = _for_instances(copied["schema"])
    return copied


def _problems(model: type[BaseModel], parts: Parts) -> Iterator[str]:
    for name, info in model.model_fields.items():
        schema = parts.fields[name]["schema"]
        found = [
            *_metadata_problems(info),
            *_reducer_problems(reducer_of(model, name), schema, parts.definitions),
            *_type_problems(schema, parts.definitions),
        ]
        if not found:
            found = list(_default_problems(schema, parts))
        yield from (f"{model.__name__}.{name}: {words}" for words in dict.fromkeys(found))


def _record_problems(model: type[Any]) -> Iterator[str]:
    """Say what a model, the state or one inside it, would lose when it is stored."""
    if model.model_config.get("extra") == "allow":
        yield f"{model.__name__} has extra='allow': fields must be declared to be stored"
    if model.__private_attributes__:
        names = ", ".join(model.__private_attributes__)
        yield f"{model.__name__} has private attributes ({names}) that would not be stored"
    for name, info in model.model_fields.items():
        if info.exclude or getattr(info, "exclude_if", None):
            option = "exclude=True" if info.exclude else "exclude_if"
            yield f"{model.__name__}.{name} has {option} and would not be stored; remove it"
        inner = [get_origin(part) or part for part in _inner_annotations(info.annotation)]
        types = [part for part in inner if isinstance(part, type)]
        if any(isinstance(mark, Secret) for mark in info.metadata):
            types = [kind for kind in types if not _is_secret(kind)]
            if info.annotation is not SecretStr:
                yield f"{model.__name__}.{name}: a Secret is a SecretStr, which is shown nowhere"
        yield from (f"{model.__name__}.{name}: {words}" for words in _unwanted(types))


def _unwanted(types: Iterable[type]) -> Iterator[str]:
    from pydantic import ImportString  # slow to import, and loaded by now

    for kind in types:
        if _is_secret(kind):
            yield (
                "a secret does not belong in what is stored; read it from the environment: put it"
                " into deps, or write Annotated[SecretStr, Secret('API_KEY')]"
            )
        elif issubclass(kind, ImportString):
            yield "it would import what a database names; store the name as a str"


def _is_secret(kind: Any) -> bool:
    from pydantic import Secret as AnySecret
    from pydantic import SecretBytes, SecretStr

    return isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | AnySecret)


def _metadata_problems(info: Any) -> Iterator[str]:
    for extra in info.metadata:
        if _is_function(extra) or (isinstance(extra, type) and issubclass(extra, Reducer)):
            yield (
                f"{shown(extra)} in Annotated is no reducer; write append, add, merge, union, or"
                " Reducer(fn)"
            )
    for part in _inner_annotations(info.annotation):
        if isinstance(part, Reducer):
            yield (
                f"the reducer {part!r} stands inside the type, where it does nothing; put it"
                f" around all of it: Annotated[..., {part!r}]"
            )


def _is_function(extra: Any) -> bool:
    kinds = {"function", "builtin_function_or_method", "method", "partial"}
    return callable(extra) and type(extra).__name__ in kinds


def _inner_annotations(annotation: Any) -> Iterator[Any]:
    """Walk an annotation: all types in it, and what Annotated says inside it."""
    open_parts, visited = [annotation], set()
    while open_parts:
        part = open_parts.pop()
        alias = getattr(part, "__value__", None)  # of `type Notes = ...`
        if id(part) in visited or get_origin(part) is Literal:
            continue
        visited.add(id(part))
        yield part
        inner = get_args(part) if alias is None else (alias,)
        open_parts.extend(inner)
        if get_origin(part) is Annotated:
            yield from inner[1:]


def _reducer_problems(
    reducer: Reducer | None, schema: Schema, definitions: Mapping[str, Schema]
) -> Iterator[str]:
    if not isinstance(reducer, BuiltIn):
        return
    work, kinds = WORK[reducer.name]
    inner = inner_type(schema, definitions)
    if inner["type"] in kinds and (inner["type"] != "tuple" or is_open_tuple(inner)):
        return
    if inner["type"] in _KNOWN:
        kind = "tuple of fixed length" if inner["type"] == "tuple" else inner["type"]
        article = "an" if kind == "int" else "a"
        fitting = [name for name, (_, fit) in WORK.items() if inner["type"] in fit]
        meant = fitting[0] if fitting and fitting[0] != reducer.name else "Reducer(fn)"
        yield f"{reducer!r} {work}, and this is {article} {kind}; use {meant}"


def is_open_tuple(schema: Schema) -> bool:
    """Tell whether a tuple's schema takes any number of items of one type."""
    return len(schema["items_schema"]) == 1 and schema.get("variadic_item_index") == 0


def _type_problems(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[str]:
    stub: Schema = {"type": "none"}  # of JsonValue, whose Any is a matter of Python input only
    known = {
        ref: stub if ref.startswith("pydantic.types.JsonValue") else part
        for ref, part in definitions.items()
    }
    for part in leaves(schema, known, without=("python_schema",)):
        if part["type"] == "model" and not part.get("root_model"):
            yield from _record_problems(part["cls"])
        elif words := _type_problem(part, known):
            yield words


def _type_problem(part: Schema, definitions: Mapping[str, Schema]) -> str | None:
    kind = part["type"]
    if kind == "any" or any(key not in part for key in _BARE.get(kind, ())):
        return "Any does not say what to read back; use a type, or pydantic.JsonValue"
    if part.get("now_op") == "future":
        return "what lies ahead now need not when the run is resumed; check it in a node"
    if kind == "literal" and any(map(_is_plain_member, part["expected"])):
        return "pydantic does not read a Literal of enum members back; use the enum itself"
    if kind == "union" and _is_open_union(part, definitions):
        return "a union of models needs a discriminator: Field(discriminator='kind')"
    if kind == "model":
        return "a RootModel inside a state is not read back exactly; use its type itself"
    return _LIVE.get(kind)


def _is_plain_member(value: Any) -> bool:
    return isinstance(value, Enum) and not isinstance(value, str | int)


def _is_open_union(part: Schema, definitions: Mapping[str, Schema]) -> bool:
    """Tell whether two choices have records in the same place of their JSON."""
    choices = [c[0] if isinstance(c, tuple) else c for c in part["choices"]]
    shapes = [
        inner_type(choice, definitions)["type"] in _ARRAYS
        for choice in choices
        if any(leaf["type"] in _RECORDS for leaf in leaves(choice, definitions))
    ]
    return len(shapes) > len(set(shapes))


def _default_problems(schema: Schema, parts: Parts) -> Iterator[str]:
    """Say whether the default would not be read back: pydantic does not validate it."""
    if schema["type"] != "default" or "default" not in schema:
        return
    inner, default = schema["schema"], schema["default"]
    if inner["type"] == type(default).__name__ and inner.keys() <= {"type", "metadata"}:
        return
    if any(map(is_informed, leaves(inner, parts.definitions, without=("fields",)))):
        return  # what it looks at is known when a run begins
    validator = SchemaValidator(with_definitions(inner, parts.definitions), parts.config)
    try:
        validator.validate_python(default)
    except Exception as error:  # noqa: BLE001 - whatever a user's validator raises
        yield f"its default {shown(default)} does not fit it: {what_is_wrong(error)}"
