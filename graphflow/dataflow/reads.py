"""Which fields of the state a function reads, as its source says."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphflow.dataflow.source import Function, Sources, bound_names, parameters

__all__ = ["Reads", "reads_of"]

Names: TypeAlias = frozenset[str]
Read: TypeAlias = tuple[str, str]
"""("reads" | "asked" | "whole", name of the attribute)."""

_WHOLE: Read = ("whole", "")
_HARMLESS = frozenset({"isinstance", "type", "id", "callable"})
"""Functions that do not look into what they are given."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What a function reads.

    Attributes:
        names: The attributes of the state: fields, but also methods.
        asked: Those that it may read, or of which it asks whether they are there:
            ``getattr(state, "x", None)``.
        whole: It uses the state as a whole, or passes it on: it may read any field.
        of_anything: All attributes of whatever it holds: ``idempotency_key`` of its context.
    """

    names: Names = frozenset()
    asked: Names = frozenset()
    whole: bool = True
    of_anything: Names = frozenset()


def reads_of(sources: Sources, fn: Callable[..., Any]) -> Reads:
    """Look at what a function reads of its first parameter.

    Args:
        sources: Where its source is found.
        fn: A node, a router, a check.

    Returns:
        What is seen; of a function without a source nothing.
    """
    return sources.judge(fn, _look, Reads())


def _look(function: Function) -> Reads:
    found = [_WHOLE] if function.state is None else list(_all_reads(function, function.state))
    if function.wrapped:  # what its caller passes first need not be its first parameter
        found = [(kind if kind == "whole" else "asked", name) for kind, name in found]
    return Reads(
        frozenset(name for kind, name in found if kind == "reads"),
        frozenset(name for kind, name in found if kind == "asked"),
        any(kind == "whole" for kind, _ in found),
        frozenset(n.attr for n in function.every if isinstance(n, ast.Attribute)),
    )


def _all_reads(function: Function, state: str) -> Iterator[Read]:
    names = {state}
    aliases = list(_aliases(function.every))
    for _ in aliases:  # an alias of an alias of ...
        names |= {alias for alias, of in aliases if of in names}
    bound = [n for part in function.every[1:] for n in bound_names(part)]
    usual = [alias for alias, of in aliases if of in names]
    unclear = {name for name in names if bound.count(name) > usual.count(name)}
    if unclear:
        yield _WHOLE  # the name means something else in places
    for part in function.body:
        yield from _read(part, frozenset(names - unclear))


def _read(node: ast.AST, names: Names) -> Iterator[Read]:  # noqa: C901 - a case per syntax
    """Walk over what reads the state, which goes by these names."""
    rest: Iterable[ast.AST] = ast.iter_child_nodes(node)
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in names:
            rest = ()
            if isinstance(node.ctx, ast.Load):
                yield "reads", attr
        case ast.Call(func=ast.Name(id=how), args=[ast.Name(id=name), *more]) if name in names:
            rest = more if how in _HARMLESS else [*more, *node.keywords]
            if how not in _HARMLESS:
                yield _asked_for(how, more)
        case ast.Compare(left=ast.Name(id=name), ops=[ast.Is() | ast.IsNot()]) if name in names:
            rest = node.comparators
        case ast.Assign(targets=[ast.Name()], value=ast.Name(id=name)) if name in names:
            rest = ()  # an alias
        case ast.Match(subject=ast.Name(id=name), cases=cases) if name in names:
            yield from (read for case in cases for read in _matched(case.pattern))
            rest = [part for case in cases for part in (case.guard, *case.body) if part]
        case ast.Lambda(args=args) | ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args):
            names -= parameters(args)
        case ast.Name(id=name) if name in names:
            yield _WHOLE
    for part in rest:
        yield from _read(part, names)


def _asked_for(how: str, more: Sequence[ast.expr]) -> Read:
    """Look at `getattr(state, "name")`; any other function may do what it likes with the state."""
    match how, more:
        case "getattr", [ast.Constant(value=str(attr))]:
            return "reads", attr
        case "getattr" | "hasattr", [ast.Constant(value=str(attr)), *_]:
            return "asked", attr
    return _WHOLE


def _matched(pattern: ast.pattern) -> Iterator[Read]:
    """Look at `case Ticket(topic="billing")`."""
    match pattern:
        case ast.MatchClass(kwd_attrs=names, patterns=[]):
            yield from (("reads", name) for name in names)
        case ast.MatchOr(patterns=parts):
            yield from (read for part in parts for read in _matched(part))
        case ast.MatchAs(pattern=None, name=None):
            pass  # case _
        case _:
            yield _WHOLE


def _aliases(parts: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Give each `alias = name`."""
    for part in parts:
        match part:
            case ast.Assign(targets=[ast.Name(id=alias)], value=ast.Name(id=of)):
                yield alias, of
