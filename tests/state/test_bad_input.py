"""What a node or a caller gives wrongly is refused at once, in words that say what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    computed_field,
    field_validator,
    model_validator,
)

from graphflow.errors import InputError, InvalidUpdateError, StateError
from graphflow.state.reducers import Reducer, Replace, add, append, merge, union
from graphflow.state.schema import StateSchema
from graphflow.state.update import combine, find_conflict, judge, revive


class Point(BaseModel):
    x: int = 0


class Point3(Point):
    z: int = 0


class Text(str):
    """A str of the user's own."""

    __slots__ = ()


class Size(Enum):
    small = 1


class Ticket(BaseModel):
    text: str = ""
    count: int = 0
    notes: Annotated[list[str], append] = Field(default_factory=list)
    maybe: Annotated[list[str] | None, append] = None
    total: Annotated[int, add] = 0
    table: Annotated[dict[str, int], merge] = Field(default_factory=dict)
    seen: Annotated[set[str], union] = Field(default_factory=set)
    best: Annotated[float, Reducer(max)] = 0
    few: Annotated[list[int], Field(max_length=2), append] = Field(default_factory=list)
    point: Point = Field(default_factory=Point)
    points: Annotated[list[Point], append] = Field(default_factory=list)
    data: JsonValue = None
    sizes: dict[Size, int] = Field(default_factory=dict)
    either: int | str = 0
    when: datetime | None = None
    renamed: int = Field(0, alias="oldName")
    fixed: int = Field(0, frozen=True)
    low: int = 0
    high: int = 9

    @field_validator("count")
    @classmethod
    def lucky(cls, value):
        if value == 13:
            raise KeyError("unlucky")
        if value == 14:
            raise ValueError("no fourteen")
        return value

    @model_validator(mode="after")
    def ordered(self):
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


SCHEMA = StateSchema(Ticket)
START, _ = SCHEMA.initial({})


def nested(depth: int) -> Any:
    """Nest lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def forgotten() -> None:
    """Be returned without being awaited."""


def yielding() -> Iterator[dict[str, int]]:
    """Yield an update instead of returning it."""
    yield {"count": 1}


def refusal(update: Any, schema: StateSchema[Any] = SCHEMA, seen: Any = None) -> str:
    """Give the words with which an update is refused."""
    with pytest.raises(InvalidUpdateError) as caught:
        judge(schema, START if seen is None else seen, update)
    return str(caught.value)


NO_UPDATE = "return {'text': ...}, or None to change nothing"
WRONG_UPDATES: dict[str, tuple[Any, str]] = {
    "unknown field": ({"txt": ""}, "Ticket has no field 'txt'. Did you mean 'text'?"),
    "alias": (
        {"oldName": 1},
        "Ticket has no field 'oldName'. It is an alias: in updates the field is called 'renamed'.",
    ),
    "key that is no string": ({5: 1}, "Ticket has no field 5. Known: 'best', 'count', 'data',"),
    "wrong type": ({"text": 5}, "text = 5: Input should be a valid string"),
    "None": ({"text": None}, "text = None: Input should be a valid string"),
    "validator": ({"count": 14}, "count = 14: Value error, no fourteen"),
    "validator that breaks": ({"count": 13}, "count = 13: KeyError: 'unlucky'"),
    "inside a model": (
        {"point": {"x": "a"}},
        "point = {'x': 'a'}: x: Input should be a valid integer, unable to parse",
    ),
    "an item, not a list": (
        {"notes": "a"},
        "notes = 'a': Input should be a valid list (append takes a list of the new items)",
    ),
    "a wrong item": ({"notes": ["a", 1]}, "notes = ['a', 1]: 1: Input should be a valid string"),
    "None for append": (
        {"maybe": None},
        "maybe = None: append has nothing to take; leave the field out to change nothing, or"
        " return Replace(None) to set it",
    ),
    "add": ({"total": "a"}, "total = 'a': Input should be a valid integer, unable to parse"),
    "merge": (
        {"table": ["a"]},
        "table = ['a']: Input should be a valid dictionary (merge takes a dict of the new keys)",
    ),
    "union": ({"seen": "abc"}, "seen = 'abc': Input should be a valid set (union takes the new"),
    "bounds of the result": (
        {"few": [1, 2, 3]},
        "few: append of [] and [1, 2, 3]: List should have at most 2 items after validation",
    ),
    "item of a bounded list": (
        {"few": ["a"]},
        "few = ['a']: 0: Input should be a valid integer, unable to parse string as an integer"
        " (append takes a list of the new items)",
    ),
    "Replace": ({"notes": Replace("a")}, "notes = 'a': Input should be a valid list"),
    "reducer that raises": (
        {"best": "a"},
        "best: Reducer(max) of 0.0 and 'a': TypeError: '>' not supported between instances",
    ),
    "operand that is no JSON": (
        {"best": object},
        "best = <class 'object'>: Input should be a valid number; it is no plain JSON either",
    ),
    "operand that changes": (
        {"best": {1}},
        "best = {1}: Input should be a valid number; as plain JSON it would come back as [1]",
    ),
    "lone surrogate": (
        {"text": "a\ud800"},
        "text = 'a\\ud800': it cannot be written as JSON: Error serializing to JSON:"
        " UnicodeEncodeError",
    ),
    "lone surrogate in a list": (
        {"notes": ["\udfff"]},
        "notes = ['\\udfff']: it cannot be written as JSON",
    ),
    "lone surrogate as a key": (
        {"table": {"\ud800": 1}},
        "table = {'\\ud800': 1}: it does not survive being stored: it would come back as",
    ),
    "subclass of a model": (
        {"point": Point3(x=1, z=2)},
        "point = Point3(x=1, z=2): it does not survive being stored: it would come back as"
        " Point(x=1), a Point",
    ),
    "subclass in a list": (
        {"points": [Point(), Point3()]},
        "it does not survive being stored: it would come back as [Point(x=0), Point(x=0)]",
    ),
    "huge int": ({"count": 10**4999}, "it does not survive being stored: Invalid JSON: number"),
    "huge int to add": ({"total": -(10**4999)}, "it does not survive being stored"),
    "inf in JSON": (
        {"data": [math.inf]},
        "data = [inf]: it does not survive being stored: it would come back as ['Infinity']",
    ),
    "set in JSON": ({"data": {1}}, "data = {1}: input was not a valid JSON value"),
    "deep JSON": ({"data": nested(200)}, "it does not survive being stored: Invalid JSON: recurs"),
    "number of an enum as key": (
        {"sizes": {Size.small: 1}},
        "it does not survive being stored: 1.[key]: Input should be 1",
    ),
    "offset with seconds": (
        {"when": datetime(2000, 1, 1, tzinfo=timezone(timedelta(seconds=1)))},
        "it does not survive being stored: it would come back as datetime.datetime(2000, 1, 1",
    ),
    "frozen field": (
        {"fixed": 1},
        "fixed = 1: the field is frozen (Field(frozen=True)): only the input of a run sets it",
    ),
    "rule of the model": (
        {"low": 10},
        "the next state breaks a rule of Ticket: Value error, low must not be above high",
    ),
    "repr that raises": ({"text": Broken()}, "text = <Broken instance at "),
    "the state itself": (
        Ticket(),
        f"it returned the state itself; return only what changes: {NO_UPDATE}",
    ),
    "a view": (
        SCHEMA.view(START),
        f"it returned the state itself; return only what changes: {NO_UPDATE}",
    ),
    "another model": (
        Point(),
        f"it returned a Point; name the field that it belongs to: {NO_UPDATE}",
    ),
    "an iterator": (
        yielding(),
        f"it returned an iterator: a node returns its update once, it does not yield: {NO_UPDATE}",
    ),
    "a list": (["text"], f"it returned ['text'] (list): {NO_UPDATE}"),
    "a string": ("text", f"it returned 'text' (str): {NO_UPDATE}"),
    "a bool": (True, f"it returned True (bool): {NO_UPDATE}"),
}


@pytest.mark.parametrize("case", WRONG_UPDATES)
def test_a_wrong_update(case):
    """The error names the field and the value, and says what is wrong with it."""
    update, words = WRONG_UPDATES[case]
    assert words in refusal(update)


def test_a_forgotten_await():
    """A coroutine is named as one, and Python's own warning does not come later."""
    assert refusal(forgotten()) == (
        "it returned a coroutine that nobody awaited; make the node `async def` and await it:"
        f" {NO_UPDATE}"
    )


def test_the_error_carries_its_field_and_its_cause():
    """The field is an attribute; the cause is the validator's own error."""
    with pytest.raises(InvalidUpdateError) as caught:
        judge(SCHEMA, START, {"count": 13})
    assert caught.value.field == "count"
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_long_value_is_cut():
    """A message stays short, however large the value is."""
    assert len(refusal({"count": "x" * 100_000})) < 300
    assert len(refusal({"count": list(range(100_000))})) < 300


def test_what_is_fine():
    """Coercions that pydantic makes are made, and a Replace of a plain field just sets it."""
    given = {"text": Text("a"), "count": "5", "notes": ("b",), "seen": ["c"], "total": True}
    judged = judge(SCHEMA, START, given | {"either": Replace("x"), "best": 3})
    assert judged.values == {
        "text": "a", "count": 5, "notes": ["b"], "seen": {"c"}, "total": 1, "either": "x",
        "best": 3.0,
    }  # fmt: skip
    assert [type(v).__name__ for v in judged.values.values()] == [
        "str", "int", "list", "set", "int", "str", "float",
    ]  # fmt: skip


@pytest.mark.parametrize("update", [None, {}])
def test_no_change(update):
    """A node that changes nothing leaves the state as it is; no rule runs."""
    old = START | {"low": 99}
    assert combine(SCHEMA, old, [judge(SCHEMA, old, update)]).values == old


def test_fields_that_are_legal_only_together():
    """Rules of the model see all fields of an update at once."""
    assert judge(SCHEMA, START, {"low": 20, "high": 30}).trial is not None


def test_updates_that_break_a_rule_only_together():
    """What each task may do alone can break a rule together: the merge says so."""
    both = [judge(SCHEMA, START, {"low": 5}), judge(SCHEMA, START, {"high": 4})]
    with pytest.raises(InvalidUpdateError, match="breaks a rule of Ticket: Value error, low must"):
        combine(SCHEMA, START, both)


def test_bounds_that_break_only_together():
    """So can a bounded list."""
    both = [judge(SCHEMA, START, {"few": [1]}), judge(SCHEMA, START, {"few": [2, 3]})]
    with pytest.raises(InvalidUpdateError, match=r"few: append of \[\] and \[1\], \[2, 3\]: List"):
        combine(SCHEMA, START, both)


def test_a_conflict_names_the_first_field():
    """Of several conflicts the first in the order of the class is told, with its tasks."""
    one, two = judge(SCHEMA, START, {"count": 1}), judge(SCHEMA, START, {"count": 1, "text": ""})
    three = judge(SCHEMA, START, {"text": "", "notes": ["a"]})
    found = find_conflict(SCHEMA, [("a", one), ("b", two), ("c", three)])
    assert found == ("text", ["b", "c"])
    assert find_conflict(SCHEMA, [("a", one), ("c", three)]) is None


# ------------------------------------------------------------------- validators that misbehave


class Careless(BaseModel):
    mode: str = ""
    number: int = 0
    items: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def act(self):
        if self.mode == "forgets":
            return None
        if self.mode == "breaks":
            raise RuntimeError("boom")
        if self.mode == "junk":
            self.number = "many"
        if self.mode == "in place":
            self.items.append("new")
        return self


def test_a_rule_that_forgets_self():
    """An after-validator that returns nothing is named."""
    schema = StateSchema(Careless)
    start, _ = schema.initial({})
    words = refusal({"mode": "forgets"}, schema, start)
    assert words == "a validator of Careless returned None: a model validator must return self"
    with pytest.raises(InputError, match="a validator of Careless returned None: it must return"):
        schema.initial({"mode": "forgets"})


def test_a_rule_that_breaks():
    """Whatever a rule raises is the node's error."""
    schema = StateSchema(Careless)
    start, _ = schema.initial({})
    words = refusal({"mode": "breaks"}, schema, start)
    assert words == "the next state breaks a rule of Careless: RuntimeError: boom"


def test_a_rule_that_sets_junk():
    """What a rule sets is validated like what a node returns."""
    schema = StateSchema(Careless)
    start, _ = schema.initial({})
    words = refusal({"mode": "junk"}, schema, start)
    assert words.startswith("a validator of Careless set number = 'many': Input should be a valid")


def test_a_rule_that_changes_in_place():
    """A change in place is a change: it joins the update, and the old state stays as it was."""
    schema = StateSchema(Careless)
    start, _ = schema.initial({"items": ["old"]})
    merged = combine(schema, start, [judge(schema, start, {"mode": "in place"})])
    assert merged.values["items"] == ["old", "new"]
    assert merged.derived == {"items": '["old","new"]'}
    assert start["items"] == ["old"]


def rounding(value):
    """Lose digits."""
    if value < 0:
        raise LookupError("negative")
    return round(value, 1)


def test_a_rule_that_changes_deep_inside():
    """So is a change of something that a field holds."""

    class State(BaseModel):
        points: Annotated[list[Point], append] = Field(default_factory=list)
        by_name: dict[str, list[int]] = Field(default_factory=dict)

        @model_validator(mode="after")
        def round_down(self):
            for point in self.points:
                point.x -= point.x % 10
            for numbers in self.by_name.values():
                numbers.sort()
            return self

    schema = StateSchema(State)
    start, _ = schema.initial({})
    update = {"points": [Point(x=17)], "by_name": {"a": [2, 1]}}
    merged = combine(schema, start, [judge(schema, start, update)])
    assert merged.values == {"points": [Point(x=10)], "by_name": {"a": [1, 2]}}
    assert merged.derived == {"points": '[{"x":10}]', "by_name": '{"a":[1,2]}'}
    again = combine(schema, merged.values, [judge(schema, merged.values, {"by_name": {}})])
    assert again.derived == {}


def test_rules_of_a_class_that_revalidates():
    """Rules see the state as it is, even where pydantic would validate instances again."""
    seen = []

    class State(BaseModel):
        model_config = ConfigDict(revalidate_instances="always")
        count: int = 0

        @field_validator("count")
        @classmethod
        def watch(cls, value):
            seen.append(value)
            return value

        @model_validator(mode="after")
        def rule(self):
            seen.append("rule")
            return self

    schema = StateSchema(State)
    start, _ = schema.initial({})
    seen.clear()
    judge(schema, start, {"count": 5})
    assert seen == [5, 5, 5, "rule"], "validated, read back, copied for the rule"


class Odd(BaseModel):
    grown: Annotated[int, Field(ge=0)] = 0
    rounded: Annotated[float, PlainSerializer(rounding)] = 0.0
    above: int = 0

    @field_validator("grown")
    @classmethod
    def more(cls, value):
        return value + (value > 0)

    @field_validator("above")
    @classmethod
    def strictly(cls, value, info):
        if value and value <= info.data["rounded"]:
            raise ValueError("not above rounded")
        return value


ODD: dict[str, tuple[Any, str]] = {
    "validator that changes each time": (
        {"grown": 1},
        "grown = 1: it does not survive being stored: it would come back as 3",
    ),
    "serializer that loses": (
        {"rounded": 0.25},
        "rounded = 0.25: it does not survive being stored: it would come back as 0.2",
    ),
    "serializer that breaks": (
        {"rounded": -1},
        "rounded = -1: it cannot be written as JSON: Error serializing to JSON: PydanticSeriali"
        "zationError: Error calling function `rounding`: LookupError: negative",
    ),
    "validator that sees the update": (
        {"above": 2, "rounded": 2},
        "above = 2: Value error, not above rounded",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_validators_that_misbehave(case):
    """A validator or serializer that is not stable makes an update the node's error."""
    update, words = ODD[case]
    schema = StateSchema(Odd)
    assert words in refusal(update, schema, schema.initial({})[0])


def test_a_field_whose_validator_looks_at_a_changed_one():
    """A node that makes another field's validator fail is told, as a reload would fail."""
    schema = StateSchema(Odd)
    start, _ = schema.initial({"rounded": 1, "above": 2})
    words = refusal({"rounded": 5}, schema, start)
    assert words == (
        "above = 2 does not fit the other fields of the next state: Value error, not above rounded"
    )
    judged = judge(schema, start, {"above": 7, "rounded": 5})
    assert combine(schema, start, [judged]).values == {"grown": 0, "rounded": 5.0, "above": 7}


class Slug(BaseModel):
    title: str = ""
    slug: str = ""
    notes: Annotated[list[str], append] = Field(default_factory=list)

    @field_validator("slug")
    @classmethod
    def of_title(cls, value, info):
        return info.data["title"].lower()


def test_a_field_that_follows_another():
    """What a validator makes of a changed field joins the update as derived."""
    schema = StateSchema(Slug)
    start, _ = schema.initial({"title": "Old"})
    merged = combine(schema, start, [judge(schema, start, {"title": "New"})])
    assert merged.values["slug"] == "new"
    assert merged.derived == {"slug": '"new"'}
    assert combine(schema, start, [judge(schema, start, {"notes": ["a"]})]).derived == {}


def test_a_frozen_field_that_looks_at_another():
    """Its default is validated like any; a node cannot set it."""

    class State(BaseModel):
        text: str = "a"
        head: str = Field("", frozen=True)

        @field_validator("head")
        @classmethod
        def of_text(cls, value, info):
            return value or info.data["text"]

    schema = StateSchema(State)
    start, _ = schema.initial({})
    assert start == {"text": "a", "head": "a"}
    assert "the field is frozen" in refusal({"head": "b"}, schema, start)


def test_a_reducer_that_changes_its_old_value():
    """It changes a copy: the state before the step stays, and nothing is reduced twice."""

    def extend(old, new):
        old.extend(new)
        return old

    class State(BaseModel):
        items: Annotated[list[int], Reducer(extend)] = Field(default_factory=list)

    schema = StateSchema(State)
    start, _ = schema.initial({"items": [1]})
    updates = [judge(schema, start, {"items": [2]}), judge(schema, start, {"items": [3]})]
    assert combine(schema, start, updates).values == {"items": [1, 2, 3]}
    assert start == {"items": [1]}


def test_a_reducer_that_takes_something_else():
    """A reducer of one's own gets plain JSON where that is no value of the field."""

    class State(BaseModel):
        counts: Annotated[dict[str, int], Reducer(lambda old, word: {**old, word: 1})] = {}

    schema = StateSchema(State)
    start, _ = schema.initial({})
    judged = judge(schema, start, {"counts": "a"})
    assert judged.texts == {"counts": '"a"'}
    assert combine(schema, start, [judged]).derived == {"counts": '{"a":1}'}
    assert revive(schema, '{"counts":"a"}', ()).values == {"counts": "a"}


def test_a_reducer_that_returns_a_wrong_type():
    """What a reducer returns must fit the field."""

    class State(BaseModel):
        best: Annotated[int, Reducer(lambda old, new: f"{old} {new}")] = 0

    schema = StateSchema(State)
    words = refusal({"best": 1}, schema, {"best": 0})
    assert words.startswith("best: Reducer(<lambda>) of 0 and 1: Input should be a valid integer")


# ------------------------------------------------------------------------- the input of a run


WRONG_INPUTS: dict[str, tuple[Any, str]] = {
    "unknown": (
        {"txt": ""},
        "the input has a field 'txt' that Ticket does not have. Did you mean 'text'?",
    ),
    "wrong": (
        {"count": "a"},
        "the input does not fit Ticket: count: Input should be a valid integer, unable to parse"
        " string as an integer (got 'a')",
    ),
    "rule": ({"low": 10}, "the input does not fit Ticket: Value error, low must not be above"),
    "validator that breaks": ({"count": 13}, "the input does not fit Ticket: KeyError: 'unlucky'"),
    "no dict": (5, "the input of a run is a dict of Ticket's fields or a Ticket, not 5 (int)"),
    "None": (None, "the input of a run is a dict of Ticket's fields or a Ticket, not None"),
    "another model": (Point(), "not Point(x=0) (Point)"),
    "subclass of a field's type": (
        {"point": Point3()},
        "Ticket.point = Point3(x=0, z=0): it does not survive being stored: it would come back as"
        " Point(x=0) (Point)",
    ),
    "surrogate": ({"text": "\ud800"}, "the input of Ticket cannot be stored"),
    "instance that was never validated": (
        Ticket.model_construct(text=5),
        "the input of Ticket cannot be stored: PydanticSerializationError",
    ),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_a_wrong_input(case):
    """A wrong input says which field is wrong, and what is expected."""
    given, words = WRONG_INPUTS[case]
    with pytest.raises(InputError) as caught:
        SCHEMA.initial(given)
    assert words in str(caught.value)


def test_a_missing_field():
    """A field without a default must be given."""

    class State(BaseModel):
        text: str
        made: list[int] = Field(default_factory=lambda: ["a"])

    schema = StateSchema(State)
    with pytest.raises(InputError, match=r"does not fit State: text: Field required$"):
        schema.initial({})
    with pytest.raises(InputError, match=r"State\.made: 0: Input should be a valid integer"):
        schema.initial({"text": ""})


def test_a_subclass_as_input():
    """An instance of a subclass is fine unless fields would be lost."""

    class Louder(Ticket):
        @computed_field
        @property
        def loud(self) -> str:
            return self.text.upper()

    class Longer(Ticket):
        more: int = 0

    assert SCHEMA.initial(Louder(text="a"))[0]["text"] == "a"
    with pytest.raises(InputError, match=r"Longer, which has fields that Ticket does not have \(m"):
        SCHEMA.initial(Longer())


def test_names_of_an_input():
    """A field may be given by its name, its alias, and each of its validation aliases."""

    class State(BaseModel):
        a: int = Field(0, alias="first")
        b: int = Field(0, validation_alias="second", serialization_alias="x")
        c: int = Field(0, validation_alias=AliasChoices("third", AliasPath("nested", "c")))

    schema = StateSchema(State)
    for given in ({"a": 1, "b": 2, "c": 3}, {"first": 1, "second": 2, "nested": {"c": 3}}):
        assert schema.initial(given)[0] == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(InputError, match="the input has a field 'x' that State does not have"):
        schema.initial({"x": 1})


def test_a_before_validator_reads_any_keys():
    """Where a validator takes the raw input, its keys are a matter of that validator."""

    class State(BaseModel):
        text: str = ""

        @model_validator(mode="before")
        @classmethod
        def legacy(cls, data):
            return {"text": data["body"]} if "body" in data else data

    assert StateSchema(State).initial({"body": "a"})[0] == {"text": "a"}


def test_defaults_are_as_a_reload_gives_them():
    """Pydantic does not validate defaults; a state holds what their JSON is read as."""

    class State(BaseModel):
        ratio: float = 0
        money: complex = 1
        names: tuple[str, ...] = Field(default_factory=list)
        point: Point = Field(default_factory=lambda: {"x": 1})

    values, text = StateSchema(State).initial({})
    assert values == {"ratio": 0.0, "money": 1 + 0j, "names": (), "point": Point(x=1)}
    assert type(values["ratio"]) is float
    assert text == '{"ratio":0.0,"money":"1+0j","names":[],"point":{"x":1}}'


# --------------------------------------------------------------------------- what was stored


def test_a_stored_state_that_does_not_fit():
    """The error names the field, and how to keep old runs readable."""
    with pytest.raises(StateError) as caught:
        SCHEMA.read('{"text":5}')
    assert str(caught.value) == (
        "the stored state does not fit today's Ticket: text: Input should be a valid string"
        " (got 5). Give new fields a default, and keep the types of old ones."
    )


def test_a_field_that_has_gone_or_come():
    """A stored field that the class has lost is left out; a new one takes its default."""

    class State(BaseModel):
        model_config = ConfigDict(extra="forbid")
        kept: int = 0
        new: str = "x"

    assert StateSchema(State).read('{"gone":1,"kept":2}') == {"kept": 2, "new": "x"}


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ('{"gone":1}', "the stored update gone = 1 does not fit today's Ticket: it has no such"),
        ('{"count":"a"}', "the stored update count = 'a' does not fit today's Ticket: Input sho"),
    ],
)
def test_a_stored_update_that_does_not_fit(stored, words):
    """An update kept in an open step is read with today's class, too."""
    with pytest.raises(StateError) as caught:
        revive(SCHEMA, stored, ())
    assert words in str(caught.value)
