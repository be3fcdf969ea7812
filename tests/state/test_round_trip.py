"""The live state is the state that a reload gives, types included, for every supported type."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import uuid
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    StrictFloat,
    StringConstraints,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic import dataclasses as pydantic_dataclasses
from typing_extensions import TypeAliasType, TypedDict

from graphflow.errors import StateError
from graphflow.history import values_at
from graphflow.records import RunHeader, RunRecords, Snapshot, StepRecord, TaskRecord
from graphflow.state.description import described
from graphflow.state.reducers import Reducer, Replace, add, append, merge, union
from graphflow.state.schema import StateSchema
from graphflow.state.update import combine, find_conflict, judge, revive

T = TypeVar("T")

NO_COUNTERS = '{"since":0,"visits":{},"tries":{},"writers":{}}'
QUICK = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow], database=None
)


class Book:
    """A run as the engine and the checkpointer keep it: live values, and records beside them."""

    def __init__(self, model: type[BaseModel], start: Any) -> None:
        self.schema = StateSchema(model)
        self.values, text = self.schema.initial(start)
        header = RunHeader("r", "g", 1, "", "running", "", "{}")
        self.records = RunRecords(header, {"state": described(self.schema)})
        self.records.steps.append(StepRecord(0, [], [], [], {}, {}, [], None))
        self.records.snapshots.append(Snapshot(0, text, NO_COUNTERS))

    def step(self, *updates: dict[str, Any] | None, revived: bool = False, snap: bool = False):
        """Judge, merge and record one step, as the engine does."""
        judged = [judge(self.schema, self.values, update) for update in updates]
        tasks = [self._task(ix, *pair) for ix, pair in enumerate(zip(updates, judged, strict=True))]
        if revived:
            judged = [
                revive(self.schema, task.update_json, task.replaces, self.values) for task in tasks
            ]
        named = [(task.key, one) for task, one in zip(tasks, judged, strict=True)]
        assert find_conflict(self.schema, named) is None
        before, was = self.values, portrait(self.values)
        merged = combine(self.schema, self.values, judged)
        if revived:
            assert portrait(merged.values) == portrait(self._merged_live(updates))
        assert portrait(before) == was, "the state before the step was changed"
        derived = self.schema.codec.join(merged.derived.items()) if merged.derived else None
        number = len(self.records.steps)
        self.records.steps.append(StepRecord(number, tasks, [], [], {}, {}, [], derived))
        self.values = merged.values
        for name, text in merged.texts.items():
            if text is not None:
                read = self.schema.codec.fields[name].read(text, self.values)
                assert portrait(read) == portrait(self.values[name])
        if snap:
            text = self.schema.codec.text(self.values)
            self.records.snapshots.append(Snapshot(number, text, NO_COUNTERS))
        return merged

    def _merged_live(self, updates):
        live = [judge(self.schema, self.values, update) for update in updates]
        return combine(self.schema, self.values, live).values

    def _task(self, ix, update, judged):
        text = None if update is None else self.schema.codec.join(judged.texts.items())
        replaces = tuple(n for n, v in judged.values.items() if type(v) is Replace)
        return TaskRecord(ix, f"t{ix}", "t", text, "", 0.0, replaces=replaces)

    def reloaded(self):
        """Read the state back as a resumed run does."""
        plain = values_at(self.records, len(self.records.steps) - 1)
        return self.schema.read(json.dumps(plain))

    def check(self):
        """Compare what lives with what was stored."""
        assert portrait(self.values) == portrait(self.reloaded())


def portrait(value: Any) -> Any:
    """Describe a value so that two are equal exactly when type and content are, nan included."""
    return type(value).__qualname__, content(value)


def content(value: Any) -> Any:
    """Describe what is in a value."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, dt.datetime | dt.time):
        return value.replace(tzinfo=None), value.utcoffset(), value.fold
    if isinstance(value, list | tuple):
        return [portrait(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((portrait(item) for item in value), key=repr)
    if isinstance(value, Decimal):
        return value.as_tuple()
    named = named_parts(value)
    return value if named is None else [(portrait(key), portrait(part)) for key, part in named]


def named_parts(value: Any) -> list[tuple[Any, Any]] | None:
    """Give the items of a dict, or the fields of an object that has fields."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, BaseModel):
        return list(vars(value).items())
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return [(name, getattr(value, name)) for name in names]
    return None


# ------------------------------------------------------------------------------- the types


class Color(enum.Enum):
    red = "r"
    two = 2
    half = 0.5


class Level(enum.IntEnum):
    low = 1
    high = 2


class Mode(enum.StrEnum):
    fast = "fast"
    slow = "slow"


class Point(BaseModel):
    x: float = 0  # pydantic leaves this default an int
    y: int = 0
    label: str | None = None


class Tree(BaseModel):
    value: int
    children: list[Tree] = Field(default_factory=list)
    parent: Optional["Tree"] = None


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog", "default"] = "dog"
    seen: dt.datetime | None = None


class Box(BaseModel, Generic[T]):
    item: T
    more: list[T] = Field(default_factory=list)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    a: int = 0
    b: tuple[str, ...] = ()


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    f: float = 0.0
    when: dt.date | None = None
    ids: set[uuid.UUID] = Field(default_factory=set)
    table: dict[int, bytes] = Field(default_factory=dict)


class Aliased(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    first: int = Field(0, alias="firstOne")
    second: str = Field("", validation_alias="in", serialization_alias="out")


class Awkward(BaseModel):
    """Fields named like the parts of a schema."""

    type: str = ""
    ref: int = 0
    default: bytes = b""
    config: float = 0.0
    metadata: dt.date | None = None
    schema_ref: str = ""
    serialization: set[int] = Field(default_factory=set)
    cls: Decimal = Decimal(0)
    function: int = 0


class Computed(BaseModel):
    side: float = 1.0

    @computed_field
    @property
    def area(self) -> float:
        return self.side**2


class Serialized(BaseModel):
    when: dt.datetime

    @field_serializer("when")
    def at(self, when: dt.datetime) -> str:
        return when.strftime("%Y-%m-%dT%H:%M:%S.%f%z")


class Nested(BaseModel):
    """A model whose validator looks at another of its own fields."""

    low: int = 0
    high: int = 0

    @field_validator("high")
    @classmethod
    def above(cls, value, info):
        return max(value, info.data["low"])


@dataclasses.dataclass
class Plain:
    a: int
    b: list[dt.date] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Slotted:
    a: float = 0.0
    b: Color = Color.red


@pydantic_dataclasses.dataclass
class Validated:
    a: Annotated[int, Field(ge=0)]
    b: bytes = b""


class Pair(NamedTuple):
    left: int
    right: dt.time | None = None


class Movie(TypedDict, total=False):
    name: str
    year: int
    shown: dt.date


class Renamed(TypedDict):
    a: Annotated[int, Field(alias="aA")]


Tags = TypeAliasType("Tags", "list[Annotated[str, Field(max_length=9)]]")

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.floats(allow_nan=True, allow_infinity=True)
integers = st.integers() | st.just(2**70) | st.just(-(2**70))
zones = st.sampled_from([dt.UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns")])
offsets = zones | st.integers(-1439, 1439).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
EARLY = dt.datetime(1950, 1, 1)  # noqa: DTZ001 - naive on purpose
moments = st.datetimes(EARLY, timezones=st.none() | offsets)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.just(Decimal("1E+5"))
points = st.builds(Point, x=numbers, y=integers, label=st.none() | words) | st.builds(Point)
trees = st.recursive(
    st.builds(Tree, value=integers),
    lambda inner: st.builds(Tree, value=integers, children=st.lists(inner, max_size=2)),
    max_leaves=4,
)
pets = st.builds(Cat, lives=integers) | st.builds(
    Dog, kind=st.sampled_from(["dog", "default"]), seen=st.none() | moments
)
jsons = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def dicts(keys, values):
    """Draw small dicts."""
    return st.dictionaries(keys, values, max_size=3)


def lists(items):
    """Draw small lists."""
    return st.lists(items, max_size=3)


KINDS: dict[str, tuple[Any, Any]] = {
    "int": (int, integers),
    "bool": (bool, st.booleans()),
    "str": (str, words),
    "float": (float, numbers | st.just(-0.0) | st.integers(-5, 5)),
    "strict float": (StrictFloat, numbers),
    "none": (None, st.none()),
    "optional": (int | None, st.none() | integers),
    "bytes": (bytes, st.binary(max_size=9)),
    "datetime": (dt.datetime, moments),
    "date": (dt.date, st.dates()),
    "time": (dt.time, st.times(timezones=st.none() | st.just(dt.UTC))),
    "timedelta": (dt.timedelta, st.timedeltas()),
    "decimal": (Decimal, decimals),
    "decimal of an int": (Decimal, st.integers(-9, 9)),
    "fraction": (Fraction, st.fractions()),
    "complex": (complex, st.complex_numbers(allow_nan=False, max_magnitude=9)),
    "uuid": (uuid.UUID, st.uuids()),
    "path": (Path, st.sampled_from([Path("a/b"), Path("/x"), Path()])),
    "ip": (IPv4Address, st.ip_addresses(v=4)),
    "enum": (Color, st.sampled_from(Color)),
    "int enum": (Level, st.sampled_from(Level)),
    "str enum": (Mode, st.sampled_from(Mode)),
    "literal": (Literal["a", 1] | None, st.sampled_from(["a", 1, None])),
    "literal of enums": (Literal[Mode.fast, Level.low], st.sampled_from([Mode.fast, Level.low])),
    "list": (list[str], lists(words)),
    "list of moments": (list[dt.datetime], lists(moments)),
    "set": (set[int], st.sets(integers, max_size=4)),
    "frozenset": (frozenset[Mode], st.frozensets(st.sampled_from(Mode))),
    "set of tuples": (set[tuple[int, str]], st.sets(st.tuples(integers, words), max_size=3)),
    "fixed tuple": (tuple[int, bytes, str], st.tuples(integers, st.binary(max_size=3), words)),
    "open tuple": (tuple[float, ...], lists(numbers).map(tuple)),
    "empty tuple": (tuple[()], st.just(())),
    "dict": (dict[str, int], dicts(words, integers)),
    "dict by int": (dict[int, float], dicts(integers, numbers)),
    "dict by bool": (dict[bool, str], dicts(st.booleans(), words)),
    "dict by date": (dict[dt.date, int], dicts(st.dates(), integers)),
    "dict by uuid": (dict[uuid.UUID, None], dicts(st.uuids(), st.none())),
    "dict by bytes": (dict[bytes, int], dicts(st.binary(max_size=4), integers)),
    "dict by int enum": (dict[Level, str], dicts(st.sampled_from(Level), words)),
    "dict by str enum": (dict[Mode, Point], dicts(st.sampled_from(Mode), points)),
    "dict of lists": (dict[str, list[Decimal]], dicts(words, lists(decimals))),
    "number": (int | float, integers | numbers.filter(math.isfinite)),
    "int or str": (int | str, integers | words),
    "bool or int": (bool | int, st.booleans() | integers),
    "json": (JsonValue, jsons),
    "json in a dict": (dict[str, JsonValue], dicts(words, jsons)),
    "model": (Point, points),
    "model or none": (Point | None, st.none() | points),
    "model or str": (Point | str, points | words),
    "list of models": (list[Point], lists(points)),
    "recursive": (Tree, trees),
    "discriminated": (Annotated[Cat | Dog, Field(discriminator="kind")], pets),
    "list of unions": (list[Annotated[Cat | Dog, Field(discriminator="kind")]], lists(pets)),
    "generic": (Box[dt.date], st.builds(Box[dt.date], item=st.dates(), more=lists(st.dates()))),
    "frozen model": (Frozen, st.builds(Frozen, a=integers, b=lists(words).map(tuple))),
    "set of frozen models": (set[Frozen], st.sets(st.builds(Frozen, a=integers), max_size=3)),
    "strict model": (
        Strict,
        st.builds(
            Strict,
            f=numbers,
            when=st.none() | st.dates(),
            ids=st.sets(st.uuids(), max_size=2),
            table=dicts(integers, st.binary(max_size=3)),
        ),
    ),
    "aliases": (Aliased, st.builds(Aliased, firstOne=integers)),
    "fields named like schemas": (
        Awkward,
        st.builds(
            Awkward,
            type=words,
            default=st.binary(max_size=3),
            config=numbers,
            metadata=st.none() | st.dates(),
            serialization=st.sets(integers, max_size=2),
            cls=decimals,
        ),
    ),
    "computed field": (Computed, st.builds(Computed, side=st.floats(-9, 9))),
    "field serializer": (
        Serialized,
        st.builds(Serialized, when=st.datetimes(EARLY)),
    ),
    "own informed validator": (Nested, st.builds(Nested, low=integers, high=integers)),
    "dataclass": (Plain, st.builds(Plain, a=integers, b=lists(st.dates()))),
    "slotted dataclass": (Slotted, st.builds(Slotted, a=numbers, b=st.sampled_from(Color))),
    "pydantic dataclass": (
        Validated,
        st.builds(Validated, a=st.integers(0, 9), b=st.binary(max_size=3)),
    ),
    "named tuple": (Pair, st.builds(Pair, left=integers, right=st.none() | st.times())),
    "typed dict": (
        Movie,
        st.fixed_dictionaries({}, optional={"name": words, "year": integers, "shown": st.dates()}),
    ),
    "typed dict with an alias": (Renamed, st.builds(dict, aA=integers)),
    "alias type": (Tags, lists(words)),
    "constrained int": (
        Annotated[int, Field(ge=0, multiple_of=3)],
        st.integers(0, 9).map(lambda n: 3 * n),
    ),
    "constrained str": (
        Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)],
        words,
    ),
    "constrained list": (Annotated[list[int], Field(max_length=3)], lists(integers)),
    "after validator": (Annotated[int, AfterValidator(abs)], integers),
    "before validator": (
        Annotated[list[str], BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)],
        lists(words) | st.just("a,b"),
    ),
    "plain serializer": (
        Annotated[
            int,
            PlainSerializer(hex),
            BeforeValidator(lambda v: int(v, 16) if isinstance(v, str) else v),
        ],
        integers,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_live_is_reloaded(kind):
    """Whatever a field of this type holds, and whoever wrote it, a reload gives it exactly."""
    annotation, strategy = KINDS[kind]
    model = create_model("State", x=(annotation, ...), n=(int, 0))

    @QUICK
    @given(strategy, lists(strategy), st.booleans(), st.booleans())
    def holds(start, values, revived, snap):
        book = Book(model, {"x": start})
        book.check()
        for value in values:
            book.step({"x": value}, {"n": len(values)}, revived=revived, snap=snap)
            book.check()

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_inside_other_types(kind):
    """The same in a list that grows, in a dict that is merged, and in a model."""
    annotation, strategy = KINDS[kind]
    inner = create_model("Inner", x=(annotation, ...))
    model = create_model(
        "State",
        grown=(Annotated[list[annotation], append], Field(default_factory=list)),
        keyed=(Annotated[dict[str, annotation], merge], Field(default_factory=dict)),
        held=(inner | None, None),
    )

    @QUICK
    @given(lists(strategy), st.booleans(), st.booleans())
    def holds(values, revived, snap):
        book = Book(model, {"grown": values})
        book.step(
            {"grown": values, "keyed": {str(ix): value for ix, value in enumerate(values)}},
            {"grown": values[:1], "keyed": dict.fromkeys(["0"], values[-1]) if values else {}},
            {"held": {"x": values[0]} if values else None},
            revived=revived,
            snap=snap,
        )
        book.check()
        book.step({"grown": Replace(values), "keyed": Replace({})}, revived=revived)
        book.step({"grown": values})
        book.check()

    holds()


# ---------------------------------------------------------------------- a model with everything


def keep_longer(old, new):
    """Keep the longer one, the old one of two equals."""
    return new if len(new) > len(old) else old


def careless(old, new):
    """Change the old value in place, as one should not."""
    old.extend(item for item in new if item not in old)
    return old


class Rich(BaseModel):
    model_config = ConfigDict(validate_assignment=True, str_strip_whitespace=True)

    text: str = ""
    when: dt.datetime | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Field(default_factory=Cat)
    tree: Tree | None = None
    low: int = 0
    high: int = 0
    slug: str = ""
    count: Annotated[int, add] = 0
    score: Annotated[float, add] = 0
    money: Annotated[Decimal, add] = Decimal(0)
    spent: Annotated[dt.timedelta, add] = dt.timedelta(0)
    floor: Annotated[int, Field(ge=-(10**6)), add] = 0
    notes: Annotated[list[str], append] = Field(default_factory=list)
    days: Annotated[list[dt.date] | None, append] = None
    tail: Annotated[tuple[int, ...], append] = ()
    pets: Annotated[list[Annotated[Cat | Dog, Field(discriminator="kind")]], append] = []
    bounded: Annotated[list[Point], Field(max_length=99), append] = Field(default_factory=list)
    spaced: Annotated[list[int], append] = Field(default_factory=list)
    table: Annotated[dict[str, Point], merge] = Field(default_factory=dict)
    amounts: Annotated[dict[Decimal, int], merge] = Field(default_factory=dict)
    seen: Annotated[set[str], union] = Field(default_factory=set)
    odd: Annotated[frozenset[float], union] = frozenset()
    instants: Annotated[set[dt.datetime], union] = Field(default_factory=set)
    best: Annotated[float, Reducer(max)] = 0
    longest: Annotated[str | None, Reducer(keep_longer)] = None
    last: Annotated[Point | None, Reducer(lambda _, new: new)] = None
    unique: Annotated[list[str], Reducer(careless)] = Field(default_factory=list)
    made: list[str] = Field(default_factory=lambda data: [data["text"]])
    total: int = 0
    log: list[str] = Field(default_factory=list)

    @field_validator("high")
    @classmethod
    def not_below_low(cls, value, info):
        return max(value, info.data["low"])

    @field_validator("slug")
    @classmethod
    def from_text(cls, value, info):
        return value or info.data["text"][:3].strip()

    @field_validator("spaced", mode="before")
    @classmethod
    def split(cls, value):
        return value.split() if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def legacy(cls, data):
        return {**data, "text": data["body"]} if isinstance(data, dict) and "body" in data else data

    @model_validator(mode="after")
    def summed(self):
        object.__setattr__(self, "total", self.count + len(self.notes))
        return self

    @model_validator(mode="wrap")
    @classmethod
    def logged(cls, data, handler):
        made = handler(data)
        if made.text and made.text not in made.log:
            made.log.append(made.text)  # in place
        return made

    @field_serializer("when", "text", "count")
    def shown(self, value):
        """Look nice where people read it; what is stored is the value itself."""
        return f"{self.text}: {value}"

    @computed_field
    @property
    def shout(self) -> str:
        return self.text.upper()


small = st.integers(-99, 99)
PLAIN_FIELDS = {
    "text": words,
    "when": st.none() | moments,
    "pet": pets,
    "tree": st.none() | trees,
    "low": small,
    "high": small,
    "slug": words,
    "made": lists(words),
}
REDUCED_FIELDS = {
    "count": integers,
    "score": st.floats(-9, 9) | small,
    "money": st.decimals(-9, 9, places=2),
    "spent": st.timedeltas(dt.timedelta(-9), dt.timedelta(9)),
    "floor": small,
    "notes": lists(words),
    "days": lists(st.dates()),
    "tail": lists(integers).map(tuple),
    "pets": lists(pets),
    "bounded": lists(points),
    "spaced": lists(small) | st.just("1 2"),
    "table": dicts(words, points),
    "amounts": dicts(st.sampled_from(["1", "1.0", "2", "2.00"]).map(Decimal), small),
    "seen": st.sets(words, max_size=3) | lists(words),
    "odd": st.frozensets(st.floats(allow_nan=False), max_size=3),
    "instants": st.sets(moments, max_size=3),
    "best": st.floats(allow_nan=False) | small,
    "longest": words,
    "last": st.none() | points,
    "unique": lists(words),
}
WHOLE_FIELDS = REDUCED_FIELDS | {"days": st.none() | REDUCED_FIELDS["days"]}


@st.composite
def steps(draw):
    """Draw the updates of one step: only one of its tasks writes a field without a reducer."""
    updates = []
    for ix in range(draw(st.integers(1, 3))):
        names = draw(st.lists(st.sampled_from(sorted(REDUCED_FIELDS)), max_size=4, unique=True))
        update = {name: draw(REDUCED_FIELDS[name]) for name in names}
        if names and draw(st.integers(0, 4)) == 0:
            update[names[0]] = Replace(draw(WHOLE_FIELDS[names[0]]))
        if ix == 0:
            plain = draw(st.lists(st.sampled_from(sorted(PLAIN_FIELDS)), max_size=3, unique=True))
            update |= {name: draw(PLAIN_FIELDS[name]) for name in plain}
        updates.append(draw(st.sampled_from([update, update, None])))
    return updates, draw(st.booleans()), draw(st.booleans())


@settings(QUICK, max_examples=150)
@given(st.fixed_dictionaries({}, optional={**PLAIN_FIELDS, **WHOLE_FIELDS}), lists(steps()))
def test_a_run_of_everything(start, run):
    """After any steps, with all reducers and validators at once, live is what a reload gives."""
    book = Book(Rich, start)
    book.check()
    for updates, revived, snap in run:
        book.step(*updates, revived=revived, snap=snap)
        book.check()
        state = book.schema.instance(book.values)
        assert state.total == state.count + len(state.notes)
        assert state.high >= state.low


def test_a_stored_lone_surrogate_is_refused() -> None:
    """What no state can hold, and a damaged or hostile record may, is the state's error."""

    class Words(BaseModel):
        text: str = ""

    with pytest.raises(StateError, match="does not fit today's Words"):
        StateSchema(Words).read_values({"text": "\ud800"})
