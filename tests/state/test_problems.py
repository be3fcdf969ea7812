"""What cannot be a state is told before anything runs, with the way out; sensible states pass."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    HttpUrl,
    ImportString,
    InstanceOf,
    Json,
    JsonValue,
    PastDatetime,
    PositiveInt,
    PrivateAttr,
    RootModel,
    SecretBytes,
    SecretStr,
    SkipValidation,
    StringConstraints,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import core_schema
from typing_extensions import TypeAliasType, TypedDict

from graphflow.errors import StateError
from graphflow.state.description import described
from graphflow.state.reducers import Reducer, add, append, merge, union
from graphflow.state.schema import StateSchema, problems_of

T = TypeVar("T")


class Point(BaseModel):
    x: int = 0


class Circle(BaseModel):
    r: int = 0


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Private(BaseModel):
    _cache: int = PrivateAttr(0)


class Excluded(BaseModel):
    a: int = Field(0, exclude=True)


class Root(RootModel[int]):
    pass


class Box(BaseModel, Generic[T]):
    item: T


class Movie(TypedDict):
    name: str


@dataclasses.dataclass
class Plain:
    a: int = 0


class Color(Enum):
    red = "r"


class Level(IntEnum):
    low = 1


class Tree(BaseModel):
    children: list[Tree] = Field(default_factory=list)


class Live:
    pass


class Own:
    """A type with a JSON form of its own."""

    def __init__(self, number: int) -> None:
        self.number = number

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda o: o.number),
        )


ANY = "Any does not say what to read back; use a type, or pydantic.JsonValue"
UNION = "a union of models needs a discriminator: Field(discriminator='kind')"
NO_JSON = "pydantic has no JSON form of this class; use a model, or a type that has one"
STORED = "a secret does not belong in what is stored; read it from the environment"
NO_CLASS = "a class cannot be stored; name it, and look it up in the node"
NO_FUNCTION = "a function cannot be stored; name it, and look it up in the node"
INSIDE = (
    "the reducer append stands inside the type, where it does nothing; put it around all of it:"
    " Annotated[..., append]"
)
NO_REDUCER = "in Annotated is no reducer; write append, add, merge, union, or Reducer(fn)"

REFUSED: dict[str, tuple[Any, str]] = {
    "Any": (Any, f"State.x: {ANY}"),
    "object": (object, f"State.x: {ANY}"),
    "list": (list, f"State.x: {ANY}"),
    "list of Any": (list[Any], f"State.x: {ANY}"),
    "tuple": (tuple, f"State.x: {ANY}"),
    "set": (set, f"State.x: {ANY}"),
    "frozenset": (frozenset, f"State.x: {ANY}"),
    "dict": (dict, f"State.x: {ANY}"),
    "dict of Any": (dict[str, Any], f"State.x: {ANY}"),
    "SkipValidation": (SkipValidation[int], f"State.x: {ANY}"),
    "generic without its parameter": (Box, f"State.x: {ANY}"),
    "Any inside a model": (create_model("Inner", a=(Any, None)), f"State.x: {ANY}"),
    "union": (Point | Circle, f"State.x: {UNION}"),
    "union with none": (Point | Circle | None, f"State.x: {UNION}"),
    "list of a union": (list[Point | Circle], f"State.x: {UNION}"),
    "union of lists": (list[Point] | tuple[Circle, ...], f"State.x: {UNION}"),
    "union of records": (Point | Movie, f"State.x: {UNION}"),
    "union of a recursive model": (Tree | Point, f"State.x: {UNION}"),
    "RootModel": (Root, "a RootModel inside a state is not read back exactly; use its type itself"),
    "extra": (Open, "State.x: Open has extra='allow': fields must be declared to be stored"),
    "extra in a list": (list[Open], "State.x: Open has extra='allow'"),
    "private": (Private, "State.x: Private has private attributes (_cache) that would not be"),
    "exclude": (Excluded, "State.x: Excluded.a has exclude=True and would not be stored; remove"),
    "SecretStr": (SecretStr, f"State.x: {STORED}"),
    "SecretBytes": (SecretBytes | None, f"State.x: {STORED}"),
    "secret inside a model": (
        create_model("Inner", key=(SecretStr, ...)),
        f"State.x: Inner.key: {STORED}",
    ),
    "ImportString": (ImportString, "it would import what a database names; store the name"),
    "FutureDate": (FutureDate, "what lies ahead now need not when the run is resumed; check it"),
    "Literal of enum": (Literal[Color.red], "pydantic does not read a Literal of enum members"),
    "function": (Callable[[int], int], f"State.x: {NO_FUNCTION}"),
    "class": (type[int], f"State.x: {NO_CLASS}"),
    "iterable": (Iterable[int], "State.x: an iterator cannot be stored; use a list"),
    "arbitrary": (Live, f"State.x: {NO_JSON}"),
    "arbitrary or none": (Live | None, f"State.x: {NO_JSON}"),
    "InstanceOf": (InstanceOf[Live], f"State.x: {NO_JSON}"),
    "operator.add": (
        Annotated[list[int], operator.add],
        f"State.x: <built-in function add> {NO_REDUCER}",
    ),
    "max": (Annotated[int, max], f"State.x: <built-in function max> {NO_REDUCER}"),
    "lambda": (Annotated[int, lambda a, _: a], NO_REDUCER),
    "partial": (Annotated[int, functools.partial(max, 1)], NO_REDUCER),
    "Reducer itself": (Annotated[int, Reducer], NO_REDUCER),
    "reducer inside an optional": (Annotated[list[int], append] | None, f"State.x: {INSIDE}"),
    "reducer of the items": (list[Annotated[list[int], append]], f"State.x: {INSIDE}"),
    "reducer in an alias": (TypeAliasType("N", Annotated[list[int], append]), f"State.x: {INSIDE}"),
    "append to an int": (
        Annotated[int, append],
        "append adds items to a list or tuple, and this is an int; use add",
    ),
    "append to a str": (
        Annotated[str, append],
        "append adds items to a list or tuple, and this is a str; use Reducer(fn)",
    ),
    "append to a fixed tuple": (
        Annotated[tuple[int, int], append],
        "and this is a tuple of fixed length; use Reducer(fn)",
    ),
    "append to a set": (Annotated[set[int], append], "and this is a set; use union"),
    "add to a list": (
        Annotated[list[int] | None, add],
        "add sums numbers or timedeltas, and this is a list; use append",
    ),
    "add to a datetime": (Annotated[dt.datetime, add], "and this is a datetime; use Reducer(fn)"),
    "merge into a list": (
        Annotated[list[int], merge],
        "merge sets keys of a dict, and this is a list; use append",
    ),
    "merge into a model": (Annotated[Point, merge], "and this is a model; use Reducer(fn)"),
    "union of a list": (
        Annotated[list[int], union],
        "union adds members to a set or frozenset, and this is a list; use append",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    """Each has one sentence, which names the field and the way out."""
    annotation, words = REFUSED[case]
    config = ConfigDict(arbitrary_types_allowed=True)
    model = create_model("State", x=(annotation, ...), fine=(int, 0), __config__=config)
    problems = problems_of(model)
    assert len(problems) == 1
    assert words in problems[0]
    assert problems[0].startswith("State.x")
    with pytest.raises(StateError) as caught:
        StateSchema(model)
    assert str(caught.value) == problems[0]


ACCEPTED: dict[str, Any] = {
    "scalars": int | float | str | bool | None,
    "decimal": Decimal,
    "past": PastDatetime,
    "aware": AwareDatetime,
    "uuid": UUID,
    "path": Path,
    "url": AnyUrl,
    "http url": HttpUrl,
    "enum": Color,
    "literal": Literal["a", 1, Level.low],
    "json": JsonValue,
    "json text": Json[list[int]],
    "dict of json": dict[str, JsonValue],
    "list": list[Point],
    "sequence": Sequence[int],
    "mapping": Mapping[str, int],
    "deque": collections.deque[int],
    "counter": collections.Counter[str],
    "defaultdict": collections.defaultdict[str, list[int]],
    "fixed tuple": tuple[int, str],
    "typed dict": Movie,
    "dataclass": Plain,
    "generic": Box[int],
    "recursive": Tree,
    "own type": Own,
    "model or none": Point | None,
    "model or str": Point | str,
    "model or list of it": Point | list[Point],
    "discriminated": Annotated[Cat | Dog, Field(discriminator="kind")],
    "discriminated or none": Annotated[Cat | Dog, Field(discriminator="kind")] | None,
    "constrained": Annotated[str, StringConstraints(pattern=r"^\w+$")],
    "positive": PositiveInt,
    "append": Annotated[list[int], append],
    "append to none": Annotated[list[int] | None, append],
    "append, bounded": Annotated[list[int], Field(max_length=3), append],
    "append to a tuple": Annotated[tuple[int, ...], append],
    "append to a sequence": Annotated[Sequence[int], append],
    "append to a deque": Annotated[collections.deque[int], append],
    "add": Annotated[Decimal, add],
    "add to a union": Annotated[int | float, add],
    "add to a counter": Annotated[collections.Counter[str], add],
    "merge": Annotated[dict[str, Point], merge],
    "union of sets": Annotated[frozenset[str], union],
    "reducer of one's own": Annotated[Point | None, Reducer(lambda old, new: new or old)],
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case):
    """A type that is read back exactly is not refused, and compiles."""
    model = create_model("State", x=(ACCEPTED[case], ...))
    assert problems_of(model) == []
    StateSchema(model)


class Busy(BaseModel):
    """Validators, serializers, aliases and configuration of all kinds."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, regex_engine="python-re", use_enum_values=True
    )
    word: Annotated[str, Field(pattern=r"(?<!x)y$")] = "y"
    color: Color = Field(Color.red, validate_default=True)
    named: int = Field(0, alias="other", description="d", title="t", examples=[1])
    tree: Tree | None = None
    ratio: float = 0
    mode: Literal["a", "b"] = "a"

    @field_validator("named")
    @classmethod
    def check(cls, value, info):
        return value

    @field_serializer("named")
    def nice(self, value):
        return str(value)

    @model_serializer(mode="wrap")
    def all(self, handler):
        return handler(self)

    @model_validator(mode="before")
    @classmethod
    def early(cls, data):
        return data

    @model_validator(mode="wrap")
    @classmethod
    def around(cls, data, handler):
        return handler(data)

    @model_validator(mode="after")
    def late(self):
        return self


def test_a_busy_class_is_accepted():
    """Whatever pydantic offers beside data, a state may use."""
    assert problems_of(Busy) == []
    values, text = StateSchema(Busy).initial({})
    assert values["color"] == "r"
    assert StateSchema(Busy).read(text) == values


def test_a_recursive_state():
    """The state class itself may be recursive."""
    assert problems_of(Tree) == []
    schema = StateSchema(Tree)
    values, text = schema.initial({"children": [{"children": []}]})
    assert schema.read(text) == values == {"children": [Tree()]}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (dict, "the state must be a pydantic model (a subclass of BaseModel), not <class 'dict'>"),
        (None, "the state must be a pydantic model (a subclass of BaseModel), not None"),
        (Movie, "the state must be a pydantic model"),
        (Root, "Root is a RootModel: a state needs named fields; use a BaseModel"),
        (Open, "Open has extra='allow': fields must be declared to be stored"),
        (Private, "Private has private attributes (_cache) that would not be stored"),
        (Excluded, "Excluded.a has exclude=True and would not be stored; remove it"),
    ],
)
def test_refused_classes(model, words):
    """So has each class that cannot be a state."""
    (problem,) = problems_of(model)
    assert problem.startswith(words)


def test_an_incomplete_class():
    """A class whose annotations cannot be resolved is told, with what to do."""

    class State(BaseModel):
        x: Unknown  # noqa: F821 - on purpose

    (problem,) = problems_of(State)
    assert problem.startswith("State is not complete: an annotation names a class that is not")
    assert "State.model_rebuild()" in problem


def test_a_class_that_is_completed_late():
    """A class that can be completed by now is completed."""

    class State(BaseModel):
        model_config = ConfigDict(defer_build=True)
        x: int = 0

    assert problems_of(State) == []
    assert StateSchema(State).initial({})[0] == {"x": 0}


def test_a_class_with_a_schema_of_its_own():
    """A model that replaces its core schema has no fields to store."""

    class State(BaseModel):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            return core_schema.no_info_plain_validator_function(lambda value: value)

    assert problems_of(State) == [
        "State brings a core schema of its own: a state needs plain fields"
    ]


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (str, None, "State.x: its default None does not fit it: Input should be a valid string"),
        (
            Annotated[str, Field(min_length=1)],
            "",
            "State.x: its default '' does not fit it: String should have at least 1 character",
        ),
        (Tree, 5, "State.x: its default 5 does not fit it: Input should be a valid dictionary or"),
    ],
)
def test_a_default_that_does_not_fit(annotation, default, words):
    """Pydantic does not validate defaults, but a reload does: so they must fit."""
    (problem,) = problems_of(create_model("State", x=(annotation, default)))
    assert problem.startswith(words)


def test_all_problems_at_once():
    """A class with several problems is told all of them."""

    class State(BaseModel):
        model_config = ConfigDict(extra="allow")
        a: Any = None
        b: Annotated[list[int], operator.add]
        c: SecretStr

    assert len(problems_of(State)) == 4


@pytest.mark.parametrize("name", ["type", "ref", "default", "config", "metadata", "schema_ref"])
def test_fields_named_like_parts_of_a_schema(name):
    """Problems are found in fields whatever the fields are called."""
    inner = create_model("Inner", **{name: (Any, None)})
    assert problems_of(create_model("State", x=(inner, ...))) == [f"State.x: {ANY}"]
    assert problems_of(create_model("State", **{name: (Any, None)})) == [f"State.{name}: {ANY}"]


def test_reducer_takes_a_function():
    """Reducer says at once when it is given no function."""
    with pytest.raises(TypeError, match=r"Reducer\(fn\) takes a function fn\(old, update\) -> new"):
        Reducer(5)


def test_what_is_stored_of_a_state_class():
    """The spec names each field's type, its reducer, and whether its JSON replays."""

    class State(BaseModel):
        text: str
        notes: Annotated[list[str] | None, append] = None
        few: Annotated[list[str], Field(max_length=2), append] = Field(default_factory=list)
        total: Annotated[int, add] = 0
        ratio: Annotated[float, add] = 0.0
        best: Annotated[int, Reducer(max)] = 0

    fields = described(StateSchema(State))["fields"]
    shapes = [field.pop("shape") for field in fields.values()]
    assert len(set(shapes)) == 5  # both integers are alike
    assert fields["text"] == {"type": "str", "reducer": None, "replays": False, "required": True}
    notes = {"type": "list[str] | None", "reducer": "append", "replays": True, "required": False}
    assert fields["notes"] == notes
    assert fields["notes"]["type"] == "list[str] | None"
    replays = {name: field["replays"] for name, field in fields.items() if field["reducer"]}
    assert replays == {"notes": True, "few": False, "total": True, "ratio": False, "best": False}
