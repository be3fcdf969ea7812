"""Which fields the updates set that a function returns, as its source says."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphflow.dataflow.source import (
    Function,
    Sources,
    bound_names,
    parameters,
    returned,
)

__all__ = ["Keys", "called_name", "keys_in", "keyword", "writes_of"]

Names: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a dict, as far as they are seen.

    Attributes:
        may: Those that it may have.
        always: Of these, those that it always has.
        complete: Whether it certainly has no others.
    """

    may: Names = frozenset()
    always: Names = frozenset()
    complete: bool = True

    def and_also(self, other: Keys) -> Keys:
        """Give the keys of both in one dict."""
        complete = self.complete and other.complete
        return Keys(self.may | other.may, self.always | other.always, complete)

    def or_else(self, other: Keys) -> Keys:
        """Give the keys of the one or the other."""
        complete = self.complete and other.complete
        return Keys(self.may | other.may, self.always & other.always, complete)


_UNKNOWN = Keys(complete=False)


def writes_of(sources: Sources, fn: Callable[..., Any]) -> Keys:
    """Look at the updates that a function returns, plain or in a Command.

    Args:
        sources: Where its source is found.
        fn: A node, or what makes an update of an answer.

    Returns:
        The fields; of a function without a source nothing is known.
    """
    return sources.judge(fn, _look, _UNKNOWN)


def keys_in(value: ast.expr) -> Keys:
    """Give the keys of what an expression gives, by itself."""
    return _Dicts((), frozenset()).keys(value)


def called_name(call: ast.Call) -> str:
    """Give the last part of what is called: `Send`, `graphflow.Send`, `Decision[str]`."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name
    return ""


def keyword(call: ast.Call, name: str) -> Iterator[ast.expr]:
    """Give the value of an argument, when it is there."""
    return (given.value for given in call.keywords if given.arg == name)


def _look(function: Function) -> Keys:
    yields = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in function.own)
    if yields or function.wrapped:
        return _UNKNOWN
    dicts = _Dicts(function.own, parameters(function.node.args))
    found = [Keys() if value is None else dicts.keys(value) for value in returned(function)]
    if not _ends(function.body):
        found.append(Keys())
    if not found:
        return Keys()  # it only raises
    every = found[0]
    for one in found[1:]:
        every = every.or_else(one)
    return every


def _ends(body: Sequence[ast.AST]) -> bool:
    """Tell whether a body certainly does not fall off its end."""
    match body[-1] if body else None:
        case ast.expr() | ast.Return() | ast.Raise():
            return True
        case ast.If(body=yes, orelse=no):
            return _ends(yes) and _ends(no)
        case ast.Try(body=tried, handlers=handlers, orelse=then, finalbody=last):
            ways = [then or tried, *(handler.body for handler in handlers)]
            return _ends(last) or all(map(_ends, ways))
        case ast.Match(cases=cases):
            last_one = cases[-1].pattern
            takes_all = isinstance(last_one, ast.MatchAs) and last_one.pattern is None
            return takes_all and all(_ends(case.body) for case in cases)
    return False


class _Dicts:
    """The local variables of a function that hold dicts.

    Args:
        own: The function's syntax, without that of functions inside it.
        given: Names that are bound elsewhere: its parameters.
    """

    def __init__(self, own: Sequence[ast.AST], given: Names) -> None:
        self._made: dict[str, list[ast.expr]] = {}
        self._added: dict[str, Keys] = {}
        self._declared: list[str] = []
        self._lossy: set[str] = set()
        self._open: dict[str, Keys] = {}
        self._unclear = set(given)
        for part in own:
            self._note_making(part)
        for part in own:
            self._note_adding(part)
            for name in _escaping(part):
                self._add(name, _UNKNOWN)
        bound = Counter(name for part in own for name in bound_names(part))
        bound.subtract(self._declared)
        self._unclear |= {n for n, made in self._made.items() if bound[n] > len(made)}

    def keys(self, value: ast.expr) -> Keys:  # noqa: C901 - a case per syntax
        """Give the keys of what an expression gives; None has none."""
        match value:
            case ast.Constant(value=None):
                return Keys()
            case ast.Dict(keys=keys, values=values):
                found = Keys()
                for key, part in zip(keys, values, strict=True):
                    found = found.and_also(self.keys(part) if key is None else _key(key))
                return found
            case ast.Call():
                return self._called(value)
            case ast.IfExp(body=yes, orelse=no):
                return self.keys(yes).or_else(self.keys(no))
            case ast.BoolOp(values=[first, *others]):
                found = self.keys(first)
                for other in others:
                    found = found.or_else(self.keys(other))
                return found
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.keys(left).and_also(self.keys(right))
            case ast.NamedExpr(value=inner):
                return self.keys(inner)
            case ast.Name(id=name):
                return self._of_variable(name)
        return _UNKNOWN

    def _called(self, call: ast.Call) -> Keys:
        """Give the keys of `dict(other, name=...)` and of `Command(update={...})`."""
        name = called_name(call)
        spread = any(given.arg is None for given in call.keywords)
        if name == "dict" and isinstance(call.func, ast.Name):
            return self._arguments(call)
        if name == "Command" and not call.args and not spread:
            return next(map(self.keys, keyword(call, "update")), Keys())
        return _UNKNOWN

    def _arguments(self, call: ast.Call) -> Keys:
        found = Keys()
        for arg in call.args:
            found = found.and_also(self.keys(arg))
        for given in call.keywords:
            one = self.keys(given.value) if given.arg is None else _only(given.arg)
            found = found.and_also(one)
        return found

    def _of_variable(self, name: str) -> Keys:
        if name in self._unclear or not self._made.get(name):
            return _UNKNOWN
        if name not in self._open:
            every = self._made_and_added(name, Keys()).may
            return self._made_and_added(name, Keys(every, every))
        return self._open[name]

    def _made_and_added(self, name: str, itself: Keys) -> Keys:
        """Give the keys of a variable; `x = {**x, ...}` makes it of itself."""
        self._open[name] = itself
        found, *others = (self.keys(value) for value in self._made[name])
        for other in others:
            found = found.or_else(other)
        del self._open[name]
        added = self._added.get(name, Keys())
        always = frozenset[str]() if name in self._lossy else found.always
        return Keys(found.may | added.may, always, found.complete and added.complete)

    def _add(self, name: str, keys: Keys) -> None:
        self._added[name] = self._added.get(name, Keys()).and_also(keys)

    def _note_making(self, part: ast.AST) -> None:
        match part:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                self._made.setdefault(name, []).append(value)
            case ast.AnnAssign(target=ast.Name(id=name)):
                self._declared.append(name)  # `update: Update`, made later

    def _note_adding(self, part: ast.AST) -> None:
        match part:
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self._made.setdefault(name, []).append(ast.Name(name, ast.Load()))
                self._add(name, self.keys(value) if isinstance(op, ast.BitOr) else _UNKNOWN)
            case ast.Subscript(value=ast.Name(id=name), slice=key, ctx=ast.Store()):
                self._add(name, _key(key))
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Del()):
                self._lossy.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="update")):
                self._add(name, self._arguments(part))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="setdefault")):
                self._add(name, _key(part.args[0]) if part.args else _UNKNOWN)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)):
                if attr in {"pop", "popitem", "clear"}:
                    self._lossy.add(name)


_READERS = frozenset(
    {"Command", "Send", "all", "any", "bool", "dict", "isinstance", "len", "list", "print", "repr",
     "set", "sorted", "str", "tuple", "type", "update"}
)  # fmt: skip
"""Functions that add no keys to a dict that they are given."""


def _escaping(part: ast.AST) -> Iterator[str]:
    """Give the variables that are handed to something that may add keys to them."""
    given: Sequence[ast.expr] = ()
    match part:
        case ast.Call(args=args, keywords=keywords) if called_name(part) not in _READERS:
            given = [*args, *(one.value for one in keywords)]
        case ast.Assign(value=value) | ast.NamedExpr(value=value):
            given = [value]  # a second name for the same dict
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
            given = elts
        case ast.Lambda() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from (inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name))
    for value in given:
        inner = value.value if isinstance(value, ast.Starred) else value
        if isinstance(inner, ast.Name):
            yield inner.id


def _key(key: ast.expr) -> Keys:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return _only(key.value)
    return _UNKNOWN


def _only(name: str) -> Keys:
    return Keys(frozenset({name}), frozenset({name}))
