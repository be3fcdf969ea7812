"""An attribute that is worked out when it is first read, without a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["once"]

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - a decorator, as `cached_property` is
    """Turn a method into an attribute that is worked out when it is first read.

    `functools.cached_property` of Python 3.11 holds one lock for all objects of a class meanwhile:
    a child that is forked then finds it held for ever. Here two threads may both work it out, and
    get the same.

    Args:
        work: The method; its docstring becomes the attribute's.
    """

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work, self.__doc__ = work, work.__doc__
        self._name = work.__name__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object | None, kind: type) -> Self | T:
        if owner is None:
            return self
        found: T = owner.__dict__.setdefault(self._name, self._work(owner))
        return found
