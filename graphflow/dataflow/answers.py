"""Which nodes a router names at once, and what its Sends carry, as its source says."""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphflow.dataflow.source import Function, Sources, returned
from graphflow.dataflow.writes import Keys, called_name, keys_in, keyword
from graphflow.names import END

__all__ = ["Answers", "answers_of", "gotos_of"]

Group: TypeAlias = frozenset[Hashable]

_UNKNOWN = Keys(complete=False)
_MOST = 64  # combinations of alternatives in one list


@dataclass(frozen=True, slots=True)
class Answers:
    """What a router answers, or a node as the `goto` of its Commands.

    Attributes:
        groups: What comes at once: the answers in one list, or a single one.
        anything: Any of the targets may come at once: the answer is a list that is put together.
        unclear: Some answer cannot be followed; the function's annotation may say more.
        given: The fields that its Sends set.
    """

    groups: frozenset[Group] = frozenset()
    anything: bool = False
    unclear: bool = True
    given: Keys = _UNKNOWN


def answers_of(sources: Sources, fn: Callable[..., Any]) -> Answers:
    """Look at what a router returns."""
    return sources.judge(fn, _look_at_returns, Answers())


def gotos_of(sources: Sources, fn: Callable[..., Any]) -> Answers:
    """Look at the Commands of a node."""
    return sources.judge(fn, _look_at_gotos, Answers())


def _look_at_returns(function: Function) -> Answers:
    values = [value for value in returned(function) if value is not None]
    if function.wrapped:
        return Answers()
    assigned = [
        part.value
        for part in function.own
        if isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign) and part.value
    ]
    return _answers(function, values, [*values, *assigned])


def _look_at_gotos(function: Function) -> Answers:
    calls = [call for call in _calls(function) if called_name(call) == "Command"]
    values = [value for call in calls for value in keyword(call, "goto")]
    spread = any(given.arg is None for call in calls for given in call.keywords)
    found = _answers(function, values, values)
    return Answers(found.groups, found.anything, found.unclear or spread, found.given)


def _answers(function: Function, values: Sequence[ast.expr], hiding: Sequence[ast.expr]) -> Answers:
    groups = _Groups(function)
    found = frozenset(group for value in values for group in groups.of(value))
    given = Keys()
    for call in _calls(function):
        if called_name(call) == "Send":
            given = given.and_also(_sent(call))
    if any(_may_hide_a_send(value, function.state) for value in hiding):
        given = Keys(given.may, given.always, complete=False)
    return Answers(found, groups.anything, groups.unclear, given)


def _calls(function: Function) -> Iterator[ast.Call]:
    return (part for part in function.every if isinstance(part, ast.Call))


def _sent(call: ast.Call) -> Keys:
    """Give the fields that `Send(node, {...})` sets."""
    spread = any(isinstance(arg, ast.Starred) for arg in call.args)
    if spread or any(given.arg is None for given in call.keywords):
        return _UNKNOWN
    values = [*call.args[1:2], *keyword(call, "update")]
    return next(map(keys_in, values), Keys())


class _Groups:
    """Collects what comes at once."""

    def __init__(self, function: Function) -> None:
        self.anything = self.unclear = False
        self._made: dict[str, list[ast.expr]] = {}
        self._grown: set[str] = set()
        self._open: set[str] = set()
        for part in function.own:
            match part:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._made.setdefault(name, []).append(value)
                case ast.AugAssign(target=ast.Name(id=name)):
                    self._grown.add(name)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)):
                    if attr in {"append", "extend", "insert", "add", "update"}:
                        self._grown.add(name)

    def of(self, value: ast.expr) -> list[Group]:  # noqa: C901 - a case per syntax
        """Give the alternatives of an answer, each with all that it names."""
        match value:
            case ast.Constant(value=None):
                return []
            case ast.Constant(value=answer):
                return [frozenset({answer})]
            case ast.Name(id="END") | ast.Attribute(attr="END"):
                return [frozenset({END})]
            case ast.IfExp(body=yes, orelse=no):
                return [*self.of(yes), *self.of(no)]
            case ast.BoolOp(values=values):
                return [group for part in values for group in self.of(part)]
            case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
                return self._together(elts)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._together([left, right])
            case ast.ListComp(elt=elt) | ast.SetComp(elt=elt) | ast.GeneratorExp(elt=elt):
                return self._each(elt)
            case ast.Call():
                return self._called(value)
            case ast.Name(id=name):
                return self._of_variable(name)
        self.unclear = True
        return []

    def _together(self, parts: Iterable[ast.expr]) -> list[Group]:
        found: list[Group] = [frozenset()]
        for part in parts:
            more = self.of(part.value if isinstance(part, ast.Starred) else part)
            found = [one | other for one in found for other in more or [frozenset()]]
            if len(found) > _MOST:
                self.anything = True
                return []
        return found

    def _each(self, elt: ast.expr) -> list[Group]:
        """Look at `[Send("grade", ...) for ...]`: one node often, or several nodes."""
        was_unclear, self.unclear = self.unclear, False
        groups = self.of(elt)
        if self.unclear or len(set(groups)) > 1:
            self.anything = True
        self.unclear = was_unclear
        return groups

    def _called(self, call: ast.Call) -> list[Group]:
        name = called_name(call)
        if name in {"Send", "Decision"}:
            values = [*call.args[:1], *keyword(call, "node"), *keyword(call, "goto")]
            return [group for value in values for group in self.of(value)]
        if name in {"list", "tuple", "set", "sorted"} and call.args:
            if isinstance(call.args[0], ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.List):
                return self.of(call.args[0])
            self.anything = True
            return []
        self.unclear = True
        return []

    def _of_variable(self, name: str) -> list[Group]:
        if name in self._grown:
            self.anything = True
            return []
        if name not in self._made or name in self._open:
            self.unclear = True
            return []
        self._open.add(name)
        found = [group for value in self._made[name] for group in self.of(value)]
        self._open.remove(name)
        return found


_MAKE_NO_SEND = frozenset(
    {"abs", "all", "any", "bool", "dict", "enumerate", "float", "format", "frozenset", "getattr",
     "hasattr", "int", "isinstance", "len", "list", "max", "min", "range", "repr", "reversed",
     "round", "set", "sorted", "str", "sum", "tuple", "zip"}
)  # fmt: skip


def _may_hide_a_send(value: ast.AST, state: str | None) -> bool:
    """Tell whether a value may hold a Send that is made elsewhere, by a function it calls."""
    if isinstance(value, ast.Call):
        name = called_name(value)
        if name == "Send":
            return False
        if name == "Decision":
            inner = [*value.args[:1], *keyword(value, "goto")]
            return any(_may_hide_a_send(part, state) for part in inner)
        of_state = isinstance(value.func, ast.Attribute) and _is_of(value.func.value, state)
        if not of_state and not (isinstance(value.func, ast.Name) and name in _MAKE_NO_SEND):
            return True
    return any(_may_hide_a_send(part, state) for part in ast.iter_child_nodes(value))


def _is_of(owner: ast.expr, state: str | None) -> bool:
    """Tell whether a method belongs to a field's value, or to a literal."""
    while isinstance(owner, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name):
            return owner.value.id == state
        owner = owner.func if isinstance(owner, ast.Call) else owner.value
    return isinstance(owner, ast.Constant | ast.JoinedStr)
