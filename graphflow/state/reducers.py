"""How an update to a field combines with its old value."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, TypeVar

__all__ = ["BuiltIn", "Reducer", "Replace", "add", "append", "fold", "merge", "union"]

T = TypeVar("T")


class Reducer:
    """Combines a field's old value with what nodes return for it.

    Mark a field with it: ``notes: Annotated[list[str], append]``. A function of your own must be
    pure and is wrapped: ``best: Annotated[float, Reducer(max)]``. It gets what a node returned as
    a value of the field's type if it fits it, else as plain JSON.

    Args:
        fn: ``fn(old, update) -> new``; must change neither.

    Raises:
        TypeError: `fn` cannot be called.
    """

    def __init__(self, fn: Callable[[Any, Any], Any]) -> None:
        if not callable(fn):
            raise TypeError(f"Reducer(fn) takes a function fn(old, update) -> new, not {fn!r}")
        self.fn = fn
        self.name = getattr(fn, "__name__", type(fn).__name__)

    def __call__(self, old: Any, update: Any) -> Any:
        """Reduce; a field that is still None takes the update as it is."""
        return update if old is None else self.fn(old, update)

    def __repr__(self) -> str:
        return f"Reducer({self.name})"


class BuiltIn(Reducer):
    """A reducer whose work can be repeated on the stored JSON, without the user's code.

    Args:
        name: What it is called in the stored spec.
        fn: ``fn(old, updates) -> new``; takes all updates of a step at once.
    """

    def __init__(self, name: str, fn: Callable[[Any, Sequence[Any]], Any]) -> None:
        super().__init__(lambda old, update: fn(old, (update,)))
        self.name, self._fn = name, fn

    def all(self, old: Any, updates: Sequence[Any]) -> Any:
        """Reduce several updates, in order; as calling it for each, but copying `old` once."""
        if old is None and updates:
            old, updates = updates[0], updates[1:]
        return self._fn(old, updates) if updates else old

    def __repr__(self) -> str:
        return self.name


def _append(old: Any, updates: Sequence[Any]) -> Any:
    grown = list(old)
    for update in updates:
        grown.extend(update)
    return grown if isinstance(old, list) else type(old)(grown)


def _add(old: Any, updates: Sequence[Any]) -> Any:
    return reduce(operator.add, updates, old)  # sum() of floats depends on Python's version


def _merge(old: Any, updates: Sequence[Any]) -> Any:
    merged = dict(old)
    for update in updates:
        merged.update(update)
    return merged


def _union(old: Any, updates: Sequence[Any]) -> Any:
    return old.union(*updates)


append = BuiltIn("append", _append)
"""Items are added at the end: of a list or tuple. A node returns a list of the new items."""
add = BuiltIn("add", _add)
"""Numbers (or timedeltas) are summed. A node returns what is to be added."""
merge = BuiltIn("merge", _merge)
"""Keys are set: of a dict. A node returns a dict of the new keys."""
union = BuiltIn("union", _union)
"""Members are added: to a set or frozenset. A node returns the new members."""


@dataclass(frozen=True, slots=True)
class Replace(Generic[T]):
    """An update that sets a field with a reducer: ``{"notes": Replace([])}``."""

    value: T


def fold(name: str, old: Any, update: Any) -> Any:
    """Repeat a built-in reducer on plain JSON values.

    Args:
        name: append, add, merge or union.
        old: The field's JSON value; lists and dicts are changed in place and returned.
        update: The JSON value of the update.

    Returns:
        The new JSON value. A union keeps its members in order of arrival.
    """
    if old is None:
        return update
    if name == "add":
        return old + update
    if name == "merge":
        old.update(update)
    elif name == "append":
        old.extend(update)
    else:
        old.extend(item for item in update if item not in old)
    return old
