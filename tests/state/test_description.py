"""What is stored of a state class, and when that differs."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, create_model

from graphflow.state.description import described, type_words
from graphflow.state.schema import StateSchema


class Part(BaseModel):
    size: int
    unit: str = "mm"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def field(of: Any) -> dict[str, Any]:
    """Describe a field of a type."""
    state = create_model("State", x=(of, ...))
    found: dict[str, Any] = described(StateSchema(state))["fields"]["x"]
    return found


def other_part(**fields: Any) -> type[BaseModel]:
    """Make another class by the name of `Part`."""
    return create_model("Part", **fields)


def test_the_shape_is_that_of_the_type() -> None:
    """Two types of one form have one shape, whatever they are called and wherever they are from."""
    same = create_model("Piece", size=(int, ...), unit=(str, "cm"))
    assert field(Part)["shape"] == field(same)["shape"]
    assert field(list[Part])["shape"] == field(list[same])["shape"]  # type: ignore[valid-type]  # it is a class


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (int, str),
        (list[str], list[int]),
        (int | None, int),
        (Annotated[int, Field(ge=0)], int),
        (Annotated[str, Field(max_length=3)], Annotated[str, Field(max_length=4)]),
        (Literal["a", "b"], Literal["a", "c"]),
        (Colour, Enum("Colour", {"RED": "red", "GREEN": "green"})),
        (Part, other_part(size=(int, ...))),
        (Part, other_part(size=(float, ...), unit=(str, "mm"))),
        (list[Part], list[other_part(size=(int, ...), units=(str, "mm"))]),  # type: ignore[misc]  # it is a class
    ],
)
def test_another_type_has_another_shape(one: Any, other: Any) -> None:
    """Types, bounds, choices, members and the fields of models in them make a shape."""
    assert field(one)["shape"] != field(other)["shape"]


def test_words_of_types_name_no_modules() -> None:
    """A script and a module say the same of a state; what is quoted stays as it is."""
    assert field(list[Part] | None)["type"] == "list[Part] | None"
    assert field(dict[str, datetime])["type"] == "dict[str, datetime]"
    assert field(Literal["a.b", "c"])["type"] == "Literal['a.b', 'c']"


def test_words_of_types_name_no_places_in_memory() -> None:
    """A function in a type has another place in each process, and the type is the same."""
    assert type_words(Annotated[int, AfterValidator(abs)]) == type_words(
        Annotated[int, AfterValidator(abs)]
    )
    one, other = (list[Annotated[int, AfterValidator(lambda n: n)]] for _ in range(2))
    assert type_words(one) == type_words(other)
    assert field(one) == field(other)
    assert type_words(Literal["a at 0x1"]) == "Literal['a at 0x1']"
