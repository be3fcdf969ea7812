"""A state class is compiled once, and the states of a run are decoded one from the other."""

from __future__ import annotations

import json
import random
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from graphflow.errors import StateError
from graphflow.state.instances import Instances
from graphflow.state.schema import StateSchema, schema_of


class Kinds(BaseModel):
    """One field of each kind that is exact by construction."""

    whole: int = 0
    real: float = 0.0
    flag: bool = False
    text: str | None = None
    mood: Literal["good", "bad", 3] = "good"
    items: list[int] = []
    pair: tuple[str, float] = ("", 0.0)
    some: tuple[int, ...] = ()
    names: set[str] = set()
    few: frozenset[int] = frozenset()
    by_name: dict[str, list[float]] = {}
    short: Annotated[str, Field(max_length=5)] = ""


class Strict(Kinds):
    """The same, where pydantic takes nothing for something else."""

    model_config = ConfigDict(strict=True)
    exactly: Annotated[tuple[int, ...], Field(strict=True)] = ()


def types_of(value: Any) -> Any:
    """Give a value with the types of all its parts."""
    if isinstance(value, dict):
        return {key: types_of(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [types_of(part) for part in value]
    if isinstance(value, set | frozenset):
        return type(value), {types_of(part) for part in value}
    return type(value), repr(value)


SCHEMAS = [StateSchema(Kinds), StateSchema(Strict)]
VALUES = st.fixed_dictionaries(
    {name: st.from_type(field.annotation) for name, field in Strict.model_fields.items()}  # type: ignore[arg-type]  # annotations of fields are types
)


@settings(deadline=None, max_examples=60)
@given(VALUES)
def test_what_was_parsed_is_decoded_as_its_json_is(drawn: dict[str, Any]) -> None:
    """Whether pydantic parses the JSON itself or is given what was parsed: the values are equal."""
    for schema in SCHEMAS:
        values = {name: drawn[name] for name in schema.names} | {"short": "abc"}
        text = schema.codec.text(values)

        told = schema.read_values(json.loads(text))

        assert types_of(told) == types_of(schema.codec.read(text))


@pytest.mark.parametrize(
    "wrong",
    [
        {"whole": "x"},
        {"items": {}},
        {"short": "too long"},
        {"pair": ["a"]},
        {"mood": 4},
        {"text": "\ud800"},
        {"names": ["a", "\ud800"]},
        {"by_name": {"\ud800": []}},
    ],
)
def test_what_does_not_fit_is_refused_in_the_same_words(wrong: dict[str, Any]) -> None:
    """A changed field of a stored state that does not fit is told as when all are decoded."""
    schema, values = StateSchema(Kinds), json.loads(Kinds().model_dump_json())
    instances = Instances(schema)
    instances.next(values, None)
    with pytest.raises(StateError) as whole:
        schema.read(json.dumps(values | wrong))

    with pytest.raises(StateError) as found:
        instances.next(values | wrong, set(wrong))

    assert str(found.value) == str(whole.value)
    assert instances.next(values, set()) == Kinds()


def test_one_state_after_another_is_as_if_it_were_alone() -> None:
    """Only fields that were set are decoded again, and no two states share what can change."""
    schema, rng, values = (
        StateSchema(Kinds),
        random.Random(7),
        json.loads(Kinds().model_dump_json()),
    )
    instances, made = Instances(schema), list[Kinds]()
    for step in range(50):
        name = rng.choice(["whole", "real", "items", "names", "by_name"])
        new = {"items": [step], "names": [str(step)], "by_name": {"a": [step]}}.get(name, step)
        values[name] = new
        made.append(instances.next(values, {name} if step else None))

        assert made[-1] == schema.instance(schema.read_values(values))

        made[-1].items.append(-1)
        made[-1].names.add("mine")
        made[-1].by_name["mine"] = []
    assert all(state.items[-1:] == [-1] and state.items.count(-1) == 1 for state in made)


def test_a_class_is_compiled_once_unless_pydantic_builds_it_anew() -> None:
    """The same class gives the same schema; a rebuilt one a new one; what is none is refused."""
    local = type("Local", (BaseModel,), {"__annotations__": {"n": int}, "n": 0})
    first = schema_of(local)
    assert schema_of(local) is first

    local.model_rebuild(force=True)

    assert schema_of(local) is not first
    with pytest.raises(StateError, match="pydantic model"):
        schema_of(3)  # type: ignore[type-var]  # what a user may pass
