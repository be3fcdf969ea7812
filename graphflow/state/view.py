"""The state as nodes and routers see it: read-only, and it notes which fields are read.

The view's class is a subclass of the user's model, so that methods, computed fields, `match` and
isinstance work; a property per field notes the read. What acts on the whole object (dump, repr,
==, copy, iteration, vars) notes every field and acts on a plain instance, so that no view leaks.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphflow.errors import AssignmentError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["instance", "plain", "reads_of", "view_class"]

_set = object.__setattr__
_new = object.__new__

_WHOLE = (
    "model_dump",
    "model_dump_json",
    "model_copy",
    "copy",
    "dict",
    "json",
    "__repr__",
    "__str__",
    "__repr_args__",
    "__rich_repr__",
    "__pretty__",
    "__iter__",
    "__eq__",
    "__hash__",
    "__copy__",
    "__deepcopy__",
    "__replace__",
    "__reduce_ex__",
    "__getstate__",
)


class _View:
    """Goes before the user's class, whose __init_subclass__ must not fire for a view."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        """Stop here."""


_VALUES, _READS, _CACHED = _SLOTS = (
    "__graphflow_values__",
    "__graphflow_reads__",
    "__graphflow_cached__",
)
"""The fields are not in an instance's __dict__: that answers with a copy, to note who asks."""


def instance(model: type[BaseModel], values: Mapping[str, Any], fields_set: set[str]) -> Any:
    """Make an instance of the model without validating: the values come from a validated state.

    Args:
        model: The user's class.
        values: One value per field.
        fields_set: The fields that count as set.
    """
    made = _new(model)
    _set(made, "__dict__", dict(values))
    _set(made, "__pydantic_fields_set__", fields_set)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


def plain(view: Any) -> Any:
    """Make a plain instance of the user's model from a view; every field counts as read."""
    values = _all_values(view)
    return instance(view.__class__, values, set(values))


def reads_of(view: Any) -> set[str]:
    """Give the live set of the names of the fields read so far from a view."""
    reads: set[str] = getattr(view, _READS)
    return reads


def view_class(model: type[BaseModel]) -> Callable[[dict[str, Any]], Any]:
    """Make the view of a state class.

    Args:
        model: The user's state class.

    Returns:
        A function that makes a view of a dict of field values; the dict is shared, and must not
        be changed while the view is in use.
    """
    made = _make_class(model)
    set_values = vars(made)[_VALUES].__set__
    set_reads = vars(made)[_READS].__set__

    def make(values: dict[str, Any]) -> Any:
        view = _new(made)
        set_values(view, values)
        set_reads(view, set())
        return view

    return make


def _make_class(model: type[BaseModel]) -> type[BaseModel]:
    fields = model.model_fields
    members: dict[str, Any] = {
        "__slots__": _SLOTS,
        "__module__": model.__module__,
        "__qualname__": model.__qualname__,
        "__doc__": model.__doc__,
        "__class__": property(lambda _: model),
        "__dict__": property(_all_values),
        "__pydantic_fields_set__": property(lambda _: set(fields)),
        "__pydantic_extra__": None,
        "__pydantic_private__": None,
        "__setattr__": _refuse(model),
        "__delattr__": _refuse(model),
        # Whoever makes another one of `type(self)` gets one of the user's class.
        "__new__": lambda _, *args, **options: model(*args, **options),
        "model_construct": model.model_construct,
    }
    members.update({name: _whole(name) for name in _WHOLE if _acts_on_whole(model, name)})
    members.update({name: _noted(name) for name in fields})
    members.update(_cached(model))
    if model.__hash__ is None:
        members["__hash__"] = None
    # Not the metaclass itself: pydantic would build a schema for the subclass.
    made: type[BaseModel] = ABCMeta.__new__(type(model), model.__name__, (_View, model), members)
    return made


def _all_values(view: Any) -> dict[str, Any]:
    values: dict[str, Any] = getattr(view, _VALUES)
    getattr(view, _READS).update(values)
    return values.copy()


def _noted(name: str) -> property:
    def read(self: Any) -> Any:
        self.__graphflow_reads__.add(name)
        return self.__graphflow_values__[name]

    return property(read)


def _cached(model: type[BaseModel]) -> dict[str, property]:
    """Keep what is cached on the view: a `__dict__` that answers with copies keeps nothing."""
    found = {}
    for owner in reversed(model.__mro__):
        for name, member in vars(owner).items():
            if isinstance(member, cached_property):
                found[name] = property(_once(name, member.func))
            else:
                found.pop(name, None)
    return found


def _once(name: str, compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        try:
            kept = object.__getattribute__(self, _CACHED)
        except AttributeError:  # the first one of this view
            kept = {}
            _set(self, _CACHED, kept)
        if name not in kept:
            kept[name] = compute(self)
        return kept[name]

    return read


def _acts_on_whole(model: type[BaseModel], name: str) -> bool:
    return callable(getattr(model, name, None))


def _whole(name: str) -> Callable[..., Any]:
    def delegate(self: Any, *args: Any, **options: Any) -> Any:
        others = [plain(a) if issubclass(type(a), _View) else a for a in args]
        return getattr(plain(self), name)(*others, **options)

    delegate.__name__ = name
    return delegate


def _refuse(model: type[BaseModel]) -> Callable[..., None]:
    def refuse(_: Any, name: str, *_value: Any) -> None:
        start = f"{model.__name__}.{name} cannot be assigned: the state is replaced, never changed."
        if name in model.model_fields:
            raise AssignmentError(f"{start} Return an update instead: return {{{name!r}: ...}}")
        meant = did_you_mean(name, model.model_fields)
        raise AssignmentError(f"{start} It has no field {name!r}.{meant}")

    return refuse
