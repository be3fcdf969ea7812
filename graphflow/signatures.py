"""What was passed to define a graph: names that are names, and what a function's signature says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any, Literal, TypeGuard, get_args, get_origin, get_type_hints

from graphflow.errors import DefinitionError
from graphflow.names import named

__all__ = [
    "checked_body",
    "checked_function",
    "checked_name",
    "checked_names",
    "closed",
    "declared_targets",
    "is_async",
    "takes_context",
]


def is_async(fn: Callable[..., Any]) -> bool:
    """Tell whether calling it gives a coroutine."""
    if _is_bare(fn):
        return bool(fn.__code__.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def closed(value: object) -> bool:
    """Close a coroutine that nobody will await, which would warn later; tell whether it is one."""
    if not inspect.iscoroutine(value):
        return False
    value.close()
    return True


def takes_context(fn: Callable[..., Any]) -> bool:
    """Tell whether a node wants a context: a second parameter without a default, or a Context."""
    if _is_bare(fn) and not fn.__defaults__:
        return fn.__code__.co_argcount >= 2
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


def _takes_one_or_two(code: CodeType, defaults: object) -> bool:
    return code.co_argcount in (1, 2) and not (defaults or code.co_kwonlyargcount)


def _is_bare(fn: object) -> TypeGuard[FunctionType]:
    """Tell whether it is a function that nothing is around, so that its code says everything.

    `inspect` says the same, in ten times the time.
    """
    return type(fn) is FunctionType and not fn.__dict__


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
    return tuple(dict.fromkeys(map(named, _literals(annotation)))) or None


def _probe() -> None:
    """Carries a return annotation alone: those of the parameters may be local names."""


def _literals(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (value for value in get_args(annotation) if isinstance(value, str))
    else:
        for part in get_args(annotation):
            yield from _literals(part)


def checked_function(where: str, fn: object) -> None:
    """Refuse what cannot be called.

    Raises:
        DefinitionError: It cannot.
    """
    if not callable(fn):
        raise DefinitionError(f"{where}: {fn!r} cannot be called; pass a function of the state")


def checked_body(where: str, fn: Callable[..., Any], first: str) -> None:
    """Refuse what cannot be called as the body of a node is.

    Args:
        where: Whose body it is.
        fn: The body.
        first: What it is called with, before the context.

    Raises:
        DefinitionError: It cannot be called, or not so.
    """
    checked_function(where, fn)
    if _is_bare(fn) and _takes_one_or_two(fn.__code__, fn.__defaults__):
        return
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some built-in callables do not tell
        return
    try:
        signature.bind(*(None, None)[: 1 + takes_context(fn)])
    except TypeError as error:
        name = getattr(fn, "__name__", type(fn).__name__)
        raise DefinitionError(
            f"{where}: it is called as {name}({first}) or {name}({first}, ctx), and {name}"
            f"{signature} cannot be: {error}"
        ) from error


def checked_names(where: str, names: object) -> tuple[str, ...]:
    """Check a list of names, which is easily mixed up with one name.

    Returns:
        The names; START and END may have been spelled out.

    Raises:
        DefinitionError: It is no list of names.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DefinitionError(f"{where}: pass a list of names, such as ['draft', END]")
    return tuple(checked_name(where, name) for name in names)


def checked_name(where: str, name: object) -> str:
    """Check the name of a node, which is easily mixed up with its function.

    Returns:
        The name; START and END may have been spelled out.

    Raises:
        DefinitionError: It is no name.
    """
    if isinstance(name, str):
        return named(name)
    its = getattr(name, "__name__", None) if callable(name) else None
    hint = f"; did you mean its name, {its!r}?" if its is not None else ""
    raise DefinitionError(f"{where}: {name!r} is not the name of a node{hint}")
