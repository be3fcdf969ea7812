"""Whether values of a type fit a field of a state: tried with examples, before anything runs."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ValidationError

from graphflow.state.reducers import BuiltIn
from graphflow.state.schema import StateField
from graphflow.state.words import shown

__all__ = ["examples_of", "may_be_list", "misfit", "never_fits"]

_PLAIN: Mapping[Any, Any] = {
    None: None,
    NoneType: None,
    bool: True,
    int: 7,
    float: 0.5,
    complex: 1j,
    str: "some words",
    bytes: b"some bytes",
    Decimal: Decimal("0.5"),
    datetime.date: datetime.date(2024, 2, 29),
    datetime.datetime: datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
    datetime.time: datetime.time(12, 30),
    datetime.timedelta: datetime.timedelta(minutes=5),
    uuid.UUID: uuid.UUID(int=7),
    Path: Path("some") / "path",
}
_BOXES: Mapping[Any, Callable[[Any], Any]] = {
    list: lambda item: [item],
    set: lambda item: {item},
    frozenset: lambda item: frozenset({item}),
}
_MOST = 20  # examples of one type
_OF_TYPE = frozenset({"literal_error", "enum", "int_from_float", "is_instance_of"})
"""Pydantic's errors that speak of a type, beside those that say so in their names."""


def misfit(field: StateField, of: Any) -> str | None:
    """Say why some values of a type do not fit a field; constraints such as `gt=0` do not count.

    Args:
        field: The field.
        of: The type.

    Returns:
        An example and what is wrong with it; None when all examples fit, or there are none.
    """
    return next((words for words in _tried(field, of) if words), None)


def never_fits(field: StateField, of: Any) -> str | None:
    """Say why no value of a type fits a field.

    Returns:
        As `misfit`; None when one fits, or there are no examples.
    """
    words = list(_tried(field, of))
    return words[0] if words and all(words) else None


def may_be_list(of: Any) -> bool:
    """Tell whether values of a type may be lists or tuples: not of one that is known otherwise."""
    origin, args = get_origin(of), get_args(of)
    if origin is Annotated:
        return may_be_list(args[0])
    if origin in {Union, UnionType}:
        return any(map(may_be_list, args))
    if isinstance(of, type) and issubclass(of, BaseModel | enum.Enum):
        return False
    return (origin or of) not in {*_PLAIN, Literal, set, frozenset, dict}


def examples_of(of: Any) -> Iterator[Any]:  # noqa: C901 - a case per kind of type
    """Make a value of each kind that a type has; none of a type that is not known here."""
    origin, args = get_origin(of), get_args(of)
    if origin is Annotated:
        yield from examples_of(args[0])
    elif origin is Literal:
        yield from args
    elif origin in {Union, UnionType}:
        for part in args:
            yield from examples_of(part)
    elif origin is dict and len(args) == 2:
        for key, value in zip(examples_of(args[0]), examples_of(args[1]), strict=False):
            yield {key: value}
    elif origin in _BOXES and args:
        yield from map(_BOXES[origin], examples_of(args[0]))
    elif of in {list, dict, set, frozenset}:
        yield of()
    elif isinstance(of, type) and issubclass(of, enum.Enum):
        yield from of
    elif isinstance(of, type) and issubclass(of, BaseModel):
        yield of.model_construct()
    elif of in _PLAIN:
        yield _PLAIN[of]


def _tried(field: StateField, of: Any) -> Iterator[str | None]:
    """Try each example: what is wrong with it, or None."""
    if field.reducer is not None and not (isinstance(field.reducer, BuiltIn) and field.free):
        return  # such a reducer may take what is no value of its field
    try:
        examples = list(islice(examples_of(of), _MOST))
    except TypeError:  # a type that cannot be hashed, or items that no set can hold
        return
    for example in examples:
        try:
            field.check(example, {})
        except ValidationError as error:
            kinds = [part["type"] for part in error.errors(include_url=False)]
            yield _words(example, error) if all(map(_speaks_of_type, kinds)) else None
        except Exception:  # noqa: BLE001 - a validator of the user's looks at the other fields
            yield None
        else:
            yield None


def _speaks_of_type(kind: str) -> bool:
    return kind in _OF_TYPE or kind.endswith(("_type", "_parsing"))


def _words(example: Any, error: ValidationError) -> str:
    message = error.errors(include_url=False)[0]["msg"]
    return f"{shown(example)}, say: {message[:1].lower()}{message[1:]}"
