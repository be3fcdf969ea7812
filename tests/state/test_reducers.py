"""The laws of the built-in reducers, and that they can be replayed on the stored JSON."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from graphflow.state.reducers import Reducer, Replace, add, append, fold, merge, union
from graphflow.state.schema import StateSchema
from graphflow.state.update import combine, judge

QUICK = settings(deadline=None, max_examples=60, database=None)
words = st.text(max_size=3)
LAWS: dict[str, tuple[Any, Any, Any]] = {
    "append to a list": (append, list[str], st.lists(words, max_size=3)),
    "append to a tuple": (append, tuple[int, ...], st.lists(st.integers(), max_size=3).map(tuple)),
    "add ints": (add, int, st.integers()),
    "add timedeltas": (add, dt.timedelta, st.timedeltas(dt.timedelta(-9), dt.timedelta(9))),
    "merge": (merge, dict[str, int], st.dictionaries(words, st.integers(), max_size=3)),
    "union of sets": (union, set[UUID], st.sets(st.uuids(), max_size=3)),
    "union of frozensets": (union, frozenset[str], st.frozensets(words, max_size=3)),
}
FOLDED = [law for law in LAWS if law != "add timedeltas"]


@pytest.mark.parametrize("law", LAWS)
def test_associative(law):
    """Reducing step by step, or all at once, or from the right gives the same."""
    reducer, _, values = LAWS[law]

    @QUICK
    @given(values, values, values)
    def holds(a, b, c):
        kept = copy.deepcopy((a, b, c))
        expected = reducer(reducer(a, b), c)
        assert reducer(a, reducer(b, c)) == expected
        assert reducer.all(a, [b, c]) == expected
        assert reducer.all(a, []) == a
        assert type(expected) is type(a)
        assert (a, b, c) == kept, "an operand was changed"

    holds()


@pytest.mark.parametrize("law", LAWS)
def test_none_takes_the_update(law):
    """A field that is None takes the first update as it is."""
    reducer, _, values = LAWS[law]

    @QUICK
    @given(values, values)
    def holds(a, b):
        assert reducer(None, a) is a
        assert reducer.all(None, [a, b]) == reducer(a, b)

    holds()


@pytest.mark.parametrize("law", FOLDED)
def test_fold_is_the_reducer_on_json(law):
    """Replaying on JSON and reading gives what reducing the values gives."""
    reducer, annotation, values = LAWS[law]
    adapter = TypeAdapter(annotation)

    @QUICK
    @given(st.none() | values, st.lists(values, max_size=4))
    def holds(start, updates):
        live = start
        folded = None if start is None else json.loads(adapter.dump_json(start))
        for update in updates:
            live = reducer(live, update)
            folded = fold(reducer.name, folded, json.loads(adapter.dump_json(update)))
        if live is None:
            assert folded is None
        else:
            assert adapter.validate_json(json.dumps(folded)) == live

    holds()


def test_merge_keeps_the_place_of_a_key():
    """A key that is set again keeps its place, live and replayed."""
    assert list(merge({"a": 1, "b": 2}, {"c": 3, "a": 4})) == ["a", "b", "c"]
    assert list(fold("merge", {"a": 1, "b": 2}, {"c": 3, "a": 4})) == ["a", "b", "c"]


def test_floats_are_added_in_order():
    """The sum of floats does not depend on how many updates are added at once."""
    numbers = [1e16, 1.0, -1e16, 1.0]
    assert add.all(0.5, numbers) == ((((0.5 + 1e16) + 1.0) - 1e16) + 1.0)


def test_names():
    """A reducer shows itself as it is written."""
    assert [repr(r) for r in (append, add, merge, union)] == ["append", "add", "merge", "union"]
    assert repr(Reducer(max)) == "Reducer(max)"
    assert Reducer(max).name == "max"
    assert Reducer(max)(None, 1) == 1
    assert Reducer(max)(2, 1) == 2


class State(BaseModel):
    notes: Annotated[list[str], append] = Field(default_factory=list)
    total: Annotated[int, add] = 0
    amounts: Annotated[dict[Decimal, int], merge] = Field(default_factory=dict)
    names: Annotated[dict[str, int], merge] = Field(default_factory=dict)
    odd: Annotated[set[float], union] = Field(default_factory=set)
    best: Annotated[int, Reducer(max)] = 0
    text: str = ""


SCHEMA = StateSchema(State)
START, _ = SCHEMA.initial({"notes": ["a"], "total": 1})


def merged(*updates: dict[str, Any], start: dict[str, Any] = START) -> Any:
    """Judge updates and combine them."""
    return combine(SCHEMA, start, [judge(SCHEMA, start, update) for update in updates])


def test_updates_merge_in_order():
    """Updates of one step reduce in the order of its tasks."""
    found = merged({"notes": ["b"], "total": 2}, {"notes": ["c", "d"]}, {"total": -7, "text": "x"})
    assert found.values == START | {"notes": ["a", "b", "c", "d"], "total": -4, "text": "x"}
    assert found.texts == {"notes": None, "total": None, "text": '"x"'}
    assert found.derived == {}
    assert START["notes"] == ["a"]


def test_replace_forgets_what_came_before():
    """A Replace sets the field; what later tasks return is reduced into it. It is stored whole."""
    found = merged({"notes": ["b"]}, {"notes": Replace(["r"])}, {"notes": ["c"]})
    assert found.values["notes"] == ["r", "c"]
    assert found.derived == {"notes": '["r","c"]'}
    assert merged({"best": 9}, {"best": Replace(2)}, {"best": 1}).values["best"] == 2


def test_what_does_not_replay_is_stored_whole():
    """Where equal values have different JSON, or the other way round, the whole field is stored."""
    assert merged({"amounts": {Decimal("1.0"): 1}}).derived == {"amounts": '{"1.0":1}'}
    assert merged({"odd": {1.5}}).derived == {"odd": "[1.5]"}
    assert merged({"best": 3}).derived == {"best": "3"}
    assert merged({"names": {"a": 1}}).derived == {}


def test_a_step_does_not_read_what_it_does_not_write():
    """Values that a step leaves alone are the same objects after it."""
    start = START | {"names": {"a": 1}}
    found = merged({"total": 1}, start=start)
    assert all(found.values[name] is start[name] for name in start if name != "total")


def test_an_append_to_a_long_list_copies_it_once():
    """However many tasks append, the old list is copied once."""

    class Counting(list):
        walks = 0

        def __iter__(self):
            Counting.walks += 1
            return super().__iter__()

    long = Counting(["x"])
    updates = [judge(SCHEMA, START, {"notes": [str(ix)]}) for ix in range(20)]
    found = combine(SCHEMA, START | {"notes": long}, updates)
    assert len(found.values["notes"]) == 21
    assert Counting.walks == 1
