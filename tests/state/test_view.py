"""What nodes get answers as the user's class, notes each read exactly, and never leaks."""

from __future__ import annotations

import copy
import gc
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property, singledispatch
from operator import attrgetter
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    computed_field,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import to_json, to_jsonable_python

from graphflow.errors import AssignmentError, InvalidUpdateError
from graphflow.state.reducers import append
from graphflow.state.schema import StateSchema
from graphflow.state.update import judge
from graphflow.state.view import plain, reads_of, view_class

T = TypeVar("T")
ALL = {"text", "count", "notes"}
VALUES = {"text": "abc", "count": 2, "notes": ["n"]}
MADE: list[type] = []


class Ticket(BaseModel):
    text: str = ""
    count: int = 0
    notes: Annotated[list[str], append] = Field(default_factory=list)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        MADE.append(cls)

    @computed_field
    @property
    def loud(self) -> str:
        return self.text.upper()

    @property
    def twice(self) -> int:
        return 2 * self.count

    @cached_property
    def letters(self) -> list[str]:
        return sorted(self.text)

    def first(self) -> str:
        return self.text[: self.count]

    def again(self, **changes: Any) -> Ticket:
        return type(self)(**{"text": self.text, **changes})

    @classmethod
    def empty(cls) -> Ticket:
        return cls()

    @staticmethod
    def answer() -> int:
        return 42

    def _values(self) -> str:
        return "a method that is named like a detail of the view"


class Holder(BaseModel):
    ticket: Ticket


VIEW = view_class(Ticket)
STATE = Ticket(**VALUES)


def matched(state: Any) -> Any:
    """Match a state by its class and one field."""
    match state:
        case Ticket(count=2):
            return "two"
    return "other"


@singledispatch
def dispatched(_: Any) -> str:
    """Say what kind of thing it is."""
    return "anything"


@dispatched.register
def _(_: Ticket) -> str:
    return "a ticket"


EXACT: dict[str, tuple[Callable[[Any], Any], Any, set[str]]] = {
    "a field": (lambda s: s.text, "abc", {"text"}),
    "two fields": (lambda s: (s.count, s.text), (2, "abc"), {"text", "count"}),
    "nothing": (lambda _: None, None, set()),
    "getattr": (lambda s: getattr(s, "count", None), 2, {"count"}),
    "attrgetter": (attrgetter("notes"), ["n"], {"notes"}),
    "hasattr": (lambda s: hasattr(s, "text"), True, {"text"}),
    "a field that is not there": (lambda s: getattr(s, "nope", None), None, set()),
    "a method": (lambda s: s.first(), "ab", {"text", "count"}),
    "the class's own function": (Ticket.first, "ab", {"text", "count"}),
    "a property": (lambda s: s.twice, 4, {"count"}),
    "a computed field": (lambda s: s.loud, "ABC", {"text"}),
    "a cached property": (lambda s: s.letters, ["a", "b", "c"], {"text"}),
    "a class method": (lambda s: s.empty(), Ticket(), set()),
    "a static method": (lambda s: s.answer(), 42, set()),
    "match": (matched, "two", {"count"}),
    "isinstance": (lambda s: isinstance(s, Ticket) and isinstance(s, BaseModel), True, set()),
    "its class": (lambda s: s.__class__, Ticket, set()),
    "singledispatch": (dispatched, "a ticket", set()),
    "fields set": (lambda s: s.model_fields_set, ALL, set()),
    "extra": (lambda s: s.model_extra, None, set()),
    "a method named like a detail": (lambda s: s._values()[:8], "a method", set()),
    "another one of its type": (lambda s: s.again(), Ticket(text="abc"), {"text"}),
    "its type's constructor": (lambda s: type(s)(count=1), Ticket(count=1), set()),
    "its type's model_construct": (lambda s: type(s).model_construct(), Ticket(), set()),
    "its type's model_validate": (lambda s: type(s).model_validate({}), Ticket(), set()),
}

WHOLE: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "model_dump": (lambda s: s.model_dump(), VALUES | {"loud": "ABC"}),
    "model_dump of one field": (lambda s: s.model_dump(include={"text"}), {"text": "abc"}),
    "model_dump of what is set": (lambda s: s.model_dump(exclude_unset=True), STATE.model_dump()),
    "model_dump_json": (lambda s: s.model_dump_json(), STATE.model_dump_json()),
    "the class's model_dump": (Ticket.model_dump, STATE.model_dump()),
    "TypeAdapter.dump_python": (TypeAdapter(Ticket).dump_python, STATE.model_dump()),
    "TypeAdapter.dump_json": (TypeAdapter(Ticket).dump_json, STATE.model_dump_json().encode()),
    "to_json": (to_json, STATE.model_dump_json().encode()),
    "to_jsonable_python": (to_jsonable_python, STATE.model_dump()),
    "dumped within another model": (
        lambda s: Holder(ticket=s).model_dump(),
        {"ticket": STATE.model_dump()},
    ),
    "repr": (repr, repr(STATE)),
    "str": (str, str(STATE)),
    "format": (lambda s: f"{s}", str(STATE)),
    "dict": (dict, VALUES),
    "vars": (vars, VALUES),
    "__dict__": (lambda s: s.__dict__, VALUES),
    "iteration": (list, list(STATE)),
    "rich": (lambda s: list(s.__rich_repr__()), list(STATE.__rich_repr__())),
    "==": (lambda s: s == STATE, True),
    "== from the other side": (lambda s: s == STATE, True),
    "!=": (lambda s: s != STATE, False),
    "== another state": (lambda s: s == Ticket(), False),
    "== something else": (lambda s: s == 5, False),
    "in": (lambda s: s in [STATE], True),
    "copy": (copy.copy, STATE),
    "deepcopy": (copy.deepcopy, STATE),
    "model_copy": (lambda s: s.model_copy(), STATE),
    "model_copy with an update": (
        lambda s: s.model_copy(update={"count": 3}),
        Ticket(**VALUES | {"count": 3}),
    ),
    "pickle": (lambda s: pickle.loads(pickle.dumps(s)), STATE),  # noqa: S301 - our own bytes
    "plain": (plain, STATE),
}


def is_plain(value: Any) -> bool:
    """Tell whether neither a value nor what it holds is a view."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if isinstance(value, list):
        return all(map(is_plain, value))
    return not hasattr(type(value), "__graphflow_reads__")


@pytest.mark.parametrize("case", EXACT)
def test_reads_are_noted_exactly(case):
    """What reads some fields gives what the user's class gives, and notes these fields alone."""
    act, expected, reads = EXACT[case]
    view = VIEW(VALUES)
    value = act(view)
    assert value == expected
    assert reads_of(view) == reads
    assert is_plain(value)
    assert act(STATE) == expected


@pytest.mark.parametrize("case", WHOLE)
def test_whole_object_operations(case):
    """What acts on the whole object notes every field, and gives what the user's class gives."""
    act, expected = WHOLE[case]
    view = VIEW(VALUES)
    value = act(view)
    assert value == expected
    assert type(value) is type(expected)
    assert is_plain(value)
    assert reads_of(view) == ALL


def test_two_views_are_equal():
    """Two views compare as their states do; both note every field."""
    one, two = VIEW(VALUES), VIEW(VALUES | {"count": 3})
    assert one != two
    assert one == VIEW(VALUES)
    assert reads_of(one) == reads_of(two) == ALL


def test_what_a_copy_knows():
    """A copy counts its fields as set, and carries nothing of the view along."""
    view = VIEW(VALUES)
    copied = view.model_copy()
    assert type(copied) is Ticket
    assert copied.model_dump(exclude_unset=True) == STATE.model_dump()
    copied.count = 9
    assert view.count == 2


def test_the_copied_dict_is_a_copy():
    """Writing into vars(state) changes nothing."""
    view = VIEW(VALUES)
    vars(view)["count"] = 9
    assert view.count == VALUES["count"] == 2


@pytest.mark.parametrize("name", ["text", "letters"])
def test_assignment_is_refused(name):
    """Assigning says that the state is replaced, and by what."""
    view = VIEW(VALUES)
    with pytest.raises(AssignmentError, match=f"^Ticket.{name} cannot be assigned: the state is"):
        setattr(view, name, "x")
    with pytest.raises(AssignmentError, match="cannot be assigned"):
        delattr(view, name)
    with pytest.raises(AttributeError):
        object.__setattr__(view, name, "x")
    assert reads_of(view) == set()
    assert view.text == "abc"


def test_the_words_of_a_refused_assignment():
    """A field's name leads to the update; a wrong one to the field that was meant."""
    view = VIEW(VALUES)
    start = "cannot be assigned: the state is replaced, never changed."
    with pytest.raises(AssignmentError) as caught:
        view.count = 3
    assert str(caught.value) == (
        f"Ticket.count {start} Return an update instead: return {{'count': ...}}"
    )
    with pytest.raises(AssignmentError) as caught:
        view.cuont = 3
    assert str(caught.value) == (
        f"Ticket.cuont {start} It has no field 'cuont'. Did you mean 'count'?"
    )


def test_a_missing_attribute():
    """A wrong name fails as it does on the user's class."""
    with pytest.raises(AttributeError, match="'Ticket' object has no attribute 'nope'"):
        _ = VIEW(VALUES).nope


def test_making_a_view_class_is_quiet():
    """The user's __init_subclass__ does not fire for it."""
    before = list(MADE)
    view_class(Ticket)
    assert before == MADE


def test_no_registry_is_confused():
    """Asking about a view's type says no, and spoils no answer about the user's class."""

    class Better(Ticket):
        pass

    assert not isinstance(Better(), type(VIEW(VALUES)))
    assert not issubclass(Better, type(VIEW(VALUES)))
    assert isinstance(Better(), Ticket)
    assert issubclass(Better, Ticket)
    MADE.remove(Better)


def test_a_cached_property_is_the_view_s_own():
    """It is computed once per view, never written into the state, and never stale."""
    view = VIEW(VALUES)
    assert view.letters is view.letters
    assert VALUES.keys() == ALL
    assert VIEW(VALUES | {"text": "z"}).letters == ["z"]


def test_views_do_not_leak_into_updates():
    """A view put into an update becomes a plain state there, and all its fields are noted."""

    class Chain(BaseModel):
        value: int = 0
        before: list[Chain] = Field(default_factory=list)

    schema = StateSchema(Chain)
    values, _ = schema.initial({"value": 1})
    view = schema.view(values)
    judged = judge(schema, values, {"before": [view]})
    assert type(judged.values["before"][0]) is Chain
    assert judged.texts == {"before": '[{"value":1,"before":[]}]'}
    assert reads_of(view) == {"value", "before"}
    with pytest.raises(InvalidUpdateError, match="it returned the state itself"):
        judge(schema, values, view)


def test_views_are_collected_at_once():
    """A view is no part of a cycle: it goes with its last name."""
    import weakref

    gc.disable()
    try:
        view = VIEW(VALUES)
        seen = weakref.ref(view)
        view.letters, view.model_dump()
        del view
        assert seen() is None
    finally:
        gc.enable()


# ------------------------------------------------------------------------- peculiar classes


def viewed(model: type[BaseModel], **values: Any) -> Any:
    """Give a view of a state, as a run makes it."""
    schema = StateSchema(model)
    return schema.view(schema.initial(values)[0])


def test_a_frozen_model():
    """A frozen model's view hashes as the model; others are unhashable, as the model is."""

    class Frozen(BaseModel):
        model_config = ConfigDict(frozen=True)
        a: int = 0
        b: str = ""

    view = viewed(Frozen, a=1)
    assert hash(view) == hash(Frozen(a=1))
    assert {view: 1}[Frozen(a=1)] == 1
    assert reads_of(view) == {"a", "b"}
    with pytest.raises(AssignmentError, match=r"Frozen\.a cannot be assigned"):
        view.a = 2
    with pytest.raises(TypeError, match="unhashable type: 'Ticket'"):
        hash(VIEW(VALUES))


def test_validate_assignment():
    """A model that validates assignments is no less read-only."""

    class Validating(BaseModel):
        model_config = ConfigDict(validate_assignment=True)
        a: int = 0

    with pytest.raises(AssignmentError, match="Return an update instead"):
        viewed(Validating).a = 1


def test_a_generic_model():
    """A parametrised generic model answers as itself."""

    class Box(BaseModel, Generic[T]):
        item: T

    view = viewed(Box[int], item=1)
    assert isinstance(view, Box[int])
    assert isinstance(view, Box)
    assert view.model_copy(update={"item": 2}) == Box[int](item=2)
    assert reads_of(view) == {"item"}


def test_mixins_and_super():
    """Methods of mixins and super() read through the view."""

    class Named(ABC):
        @abstractmethod
        def name(self) -> str: ...

        def greet(self) -> str:
            return f"hello {self.name()}"

    class Parent(BaseModel):
        a: int = 1
        b: int = 2

        def total(self) -> int:
            return self.a

        def __len__(self) -> int:
            return self.a

    class Child(Parent, Named):
        c: int = 3

        def total(self) -> int:
            return super().total() + self.c

        def name(self) -> str:
            return f"child {self.c}"

    view = viewed(Child)
    assert view.total() == 4
    assert reads_of(view) == {"a", "c"}
    view = viewed(Child)
    assert view.greet() == "hello child 3"
    assert reads_of(view) == {"c"}
    assert isinstance(view, Named)
    assert len(view) == 1
    assert reads_of(view) == {"a", "c"}


class Peculiar(BaseModel):
    a: int = 1
    b: list[int] = Field(default_factory=lambda: [5, 6])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.a == other.a

    def __hash__(self) -> int:
        return self.a

    def __iter__(self):
        return iter(self.b)

    def __getattr__(self, name: str) -> str:
        return f"no {name}"

    def __getitem__(self, ix: int) -> int:
        return self.b[ix]

    def __lt__(self, other: Peculiar) -> bool:
        return self.a < other.a

    def __call__(self) -> int:
        return self.a

    def __bool__(self) -> bool:
        return self.a > 0


def test_special_methods_of_the_users_own():
    """Own __eq__, __iter__, __getattr__, __getitem__, __contains__, __call__ and __lt__ work."""
    view = viewed(Peculiar)
    assert view[0] == 5
    assert reads_of(view) == {"b"}
    assert view() == 1
    assert view
    assert view.nope == "no nope"
    assert viewed(Peculiar) < Peculiar(a=2)
    assert (list(view), 6 in view, hash(view)) == ([5, 6], True, 1)
    assert view == Peculiar(b=[])
    assert Peculiar(b=[]) == view
    assert view != Peculiar(a=2)
    assert reads_of(view) == {"a", "b"}


def test_getattribute_of_the_users_own():
    """Even a model that watches its own attributes can be viewed."""
    asked: list[str] = []

    class Watching(BaseModel):
        a: int = 1

        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

    view = viewed(Watching)
    assert view.a == 1
    assert reads_of(view) == {"a"}
    assert "a" in asked
    assert view == Watching()


def test_slots():
    """A model with __slots__ of its own can be viewed; what is in them is no state."""

    class Slotted(BaseModel):
        __slots__ = ("scratch",)
        a: int = 1

    view = viewed(Slotted)
    assert view.a == 1
    assert not hasattr(view, "scratch")
    assert reads_of(view) == {"a"}
    with pytest.raises(AssignmentError, match="It has no field 'scratch'"):
        view.scratch = 1


@pytest.mark.filterwarnings("ignore:Field name .* shadows an attribute:UserWarning")
def test_fields_that_shadow():
    """A field may be called what a method of BaseModel is called."""
    names = ["copy", "json", "dict", "schema", "construct", "validate", "values", "items", "fields"]
    model = create_model("Shadowing", **{name: (int, ix) for ix, name in enumerate(names)})
    for ix, name in enumerate(names):
        view = viewed(model)
        assert getattr(view, name) == ix
        assert reads_of(view) == {name}
    assert viewed(model).model_dump()["copy"] == 0


def test_a_property_that_a_subclass_uncaches():
    """The subclass's plain property is what counts."""

    class Parent(BaseModel):
        a: int = 1

        @cached_property
        def b(self) -> int:
            return self.a

    class Child(Parent):
        @property
        def b(self) -> int:
            return -self.a

    assert (viewed(Parent).b, viewed(Child).b) == (1, -1)


def test_validators_and_unions_stay():
    """A state whose class validates a lot is viewed as it is."""

    class Cat(BaseModel):
        kind: Literal["cat"] = "cat"

    class Dog(BaseModel):
        kind: Literal["dog"] = "dog"

    class State(BaseModel):
        pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Field(default_factory=Cat)
        size: int = 0

        @field_validator("size")
        @classmethod
        def positive(cls, value: int) -> int:
            return abs(value)

        @model_validator(mode="after")
        def check(self):
            return self

    view = viewed(State, pet={"kind": "dog"}, size=-1)
    match view:
        case State(pet=Dog(), size=size):
            assert size == 1
        case _:
            pytest.fail("it did not match")


def test_what_a_view_cannot_hide():
    """The limits: type(), __subclasses__, and nested values that are changed in place."""
    view = VIEW(VALUES | {"notes": []})
    assert type(view) is not Ticket
    assert type(view) in Ticket.__subclasses__()
    assert Ticket.model_validate(view) is view
    view.notes.append("x")
    assert view.notes == ["x"]
