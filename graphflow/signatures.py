"""What a function's signature says: async or not, with a context or not, and where it leads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

__all__ = ["declared_targets", "is_async", "takes_context"]


def is_async(fn: Callable[..., Any]) -> bool:
    """Tell whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def takes_context(fn: Callable[..., Any]) -> bool:
    """Tell whether a node wants a context: a second parameter without a default, or a Context."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some built-in callables do not tell
        return False
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if len(positional) < 2:
        return False
    second = positional[1]
    words = getattr(second.annotation, "__name__", str(second.annotation))
    return second.default is second.empty or re.search(r"\bContext\b", words) is not None


def declared_targets(router: Callable[..., Any]) -> tuple[str, ...] | None:
    """Read a router's targets from its return annotation.

    Returns:
        The strings of all Literals in it, or None when it has none or it cannot be resolved
        (a name that is local to a function).
    """
    fn = inspect.unwrap(router)
    fn = fn if isinstance(fn, FunctionType) else type(fn).__call__
    annotation = getattr(fn, "__annotations__", {}).get("return")
    if isinstance(annotation, str):
        probe = FunctionType(_probe.__code__, fn.__globals__)
        probe.__annotations__ = {"return": annotation}
        try:
            annotation = get_type_hints(probe)["return"]
        except (NameError, AttributeError, TypeError):
            return None
    return tuple(dict.fromkeys(_literals(annotation))) or None


def _probe() -> None:
    """Carries a return annotation alone: those of the parameters may be local names."""


def _literals(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (value for value in get_args(annotation) if isinstance(value, str))
    else:
        for part in get_args(annotation):
            yield from _literals(part)
