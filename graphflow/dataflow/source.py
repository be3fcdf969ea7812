"""Finds the syntax tree of a function, wherever it was written: a file, a cell, a lambda."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Function", "Sources", "bound_names", "parameters", "returned"]

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
R = TypeVar("R")

_DEEPEST = 8  # of partials, methods and decorators around one function


@dataclass(frozen=True, slots=True)
class Function:
    """A function that was found in its source.

    Attributes:
        node: Its syntax tree.
        body: Its statements; of a lambda the one expression.
        state: The name of its first parameter, as its caller sees it; None when that has none.
        wrapped: A decorator stands around it, and may change what it returns.
        every: All parts of its syntax.
        own: The same without what is inside of functions in it.
        key: Tells two functions apart: the code, and which parameter is the first.
    """

    node: FunctionNode
    body: Sequence[ast.AST]
    state: str | None
    wrapped: bool
    every: Sequence[ast.AST]
    own: Sequence[ast.AST]
    key: tuple[CodeType, int]


class Sources:
    """The sources of a graph's functions: each file is parsed once, each function judged once."""

    def __init__(self) -> None:
        self._files: dict[str, dict[int, list[FunctionNode]]] = {}
        self._found: dict[int, tuple[object, Function | None]] = {}
        self._judged: dict[tuple[object, ...], Any] = {}

    def judge(self, fn: Callable[..., Any], look: Callable[[Function], R], otherwise: R) -> R:
        """Look at a function's source.

        Args:
            fn: The function; also a method, a partial, a decorated one, an object with __call__.
            look: Looks at it.
            otherwise: What is known of a function without a source.
        """
        before = _seen_before(fn)
        if look not in before:
            function = self.find(fn)
            if function is None:
                return otherwise
            key = (look, *function.key, function.wrapped)
            if key not in self._judged:
                try:
                    self._judged[key] = look(function)
                except RecursionError:  # an expression as deep as the stack
                    self._judged[key] = otherwise
            before[look] = self._judged[key]
        found: R = before[look]
        return found

    def find(self, fn: Callable[..., Any]) -> Function | None:
        """Find a function; None when there is no source, or several could be it."""
        if id(fn) not in self._found:
            self._found[id(fn)] = (fn, self._find(fn))  # it is kept, so that its id stays its own
        return self._found[id(fn)][1]

    def _find(self, fn: Callable[..., Any]) -> Function | None:
        try:
            plain, skipped, wrapped = _unwrapped(fn)
        except Exception:  # noqa: BLE001 - whatever a user's object raises when it is looked at
            return None
        if plain is None:
            return None
        code = plain.__code__
        node = self._node(code, plain.__globals__)
        if node is None:
            return None
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
        state = names[skipped] if skipped < len(names) else None
        every, own = tuple(ast.walk(node)), tuple(_own_nodes(node))
        return Function(node, body, state, wrapped, every, own, (code, skipped))

    def _node(self, code: CodeType, scope: dict[str, Any]) -> FunctionNode | None:
        file = code.co_filename
        if file not in self._files:
            self._files[file] = _functions("".join(linecache.getlines(file, scope)))
        fitting = [
            node for node in self._files[file].get(code.co_firstlineno, ()) if _is(node, code)
        ]
        if len(fitting) > 1:
            places = set(code.co_positions())
            fitting = [node for node in fitting if _stands_at(node, places)]
        return fitting[0] if len(fitting) == 1 else None


_seen: WeakKeyDictionary[FunctionType, tuple[CodeType, dict[object, Any]]] = WeakKeyDictionary()


def _seen_before(fn: object) -> dict[object, Any]:
    """Give what was seen of a function when another graph was checked that has it.

    Its source can only have changed since: it says no more of this function. What is no plain one,
    or has been decorated, can be another each time.
    """
    if type(fn) is not FunctionType or hasattr(fn, "__wrapped__"):
        return {}
    code, seen = _seen.get(fn, (None, {}))
    if code is not fn.__code__:
        seen = {}
        _seen[fn] = fn.__code__, seen
    return seen


def returned(function: Function) -> list[ast.expr | None]:
    """Give what a function returns, at each of its returns; None stands for a bare one."""
    if isinstance(function.node, ast.Lambda):
        return [function.node.body]
    return [part.value for part in function.own if isinstance(part, ast.Return)]


def bound_names(part: ast.AST) -> Iterator[str]:
    """Give the names that one piece of syntax binds, its own parts left out."""
    match part:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)) | ast.ExceptHandler(name=str(name)):
            yield name
        case ast.Import(names=imported) | ast.ImportFrom(names=imported):
            yield from ((one.asname or one.name).partition(".")[0] for one in imported)
        case ast.Global(names=said) | ast.Nonlocal(names=said):
            yield from said
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name


def parameters(args: ast.arguments) -> frozenset[str]:
    """Give the names of all parameters."""
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return frozenset(arg.arg for arg in every if arg is not None)


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without the functions and classes inside it, which are given themselves."""
    todo = list(ast.iter_child_nodes(node))
    while todo:
        part = todo.pop()
        yield part
        if not isinstance(part, FunctionNode | ast.ClassDef):
            todo.extend(ast.iter_child_nodes(part))


def _unwrapped(fn: Any) -> tuple[FunctionType | None, int, bool]:
    """Take off what stands around a function.

    Returns:
        The function, or None; how many of its parameters are given already; whether a decorator
        was taken off.
    """
    skipped, wrapped = 0, False
    for _ in range(_DEEPEST):
        if isinstance(fn, functools.partial):
            if fn.keywords:
                return None, 0, False  # the state may be one of them
            skipped, fn = skipped + len(fn.args), fn.func
        elif inspect.ismethod(fn):
            skipped, fn = skipped + 1, fn.__func__
        elif isinstance(fn, FunctionType) and not hasattr(fn, "__wrapped__"):
            return fn, skipped, wrapped
        elif hasattr(fn, "__wrapped__"):
            fn, wrapped = fn.__wrapped__, True
        elif isinstance(fn, type) or not isinstance(type(fn).__call__, FunctionType):
            break
        else:
            skipped, fn = skipped + 1, type(fn).__call__
    return None, 0, False


@functools.lru_cache(maxsize=8)  # a flow that is compiled again and again parses its file once
def _functions(text: str) -> dict[int, list[FunctionNode]]:
    """Parse a file, and give its functions by the line where each begins."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # cells may await
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were given when the file was imported
            tree: ast.AST = compile(text, "<source>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[int, list[FunctionNode]] = {}
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
            line = min([node.lineno, *(decorator.lineno for decorator in decorators)])
            found.setdefault(line, []).append(node)
    return found


def _is(node: FunctionNode, code: CodeType) -> bool:
    """Compare names and parameters: the file may have changed since it was imported."""
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    names = tuple(arg.arg for arg in every)
    return code.co_name == name and code.co_varnames[: len(names)] == names


def _stands_at(
    node: FunctionNode, places: set[tuple[int | None, int | None, int | None, int | None]]
) -> bool:
    """Tell several functions in one line apart by the columns of their code."""
    body = node.body if isinstance(node, ast.Lambda) else node.body[-1]
    return (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset) in places
