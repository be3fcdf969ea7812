"""What the source of a function says of the fields that it reads and writes."""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import json
import textwrap
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pydantic
import pytest
from pydantic import BaseModel

import graphflow
from graphflow.dataflow.answers import answers_of, gotos_of
from graphflow.dataflow.reads import Reads, reads_of
from graphflow.dataflow.source import Sources
from graphflow.dataflow.writes import Keys, writes_of
from graphflow.names import END
from graphflow.routing import Command, Decision, Send

make: Any = None  # what the functions below call; none of them is run


def written(text: str) -> Callable[..., Any]:
    """Make a function `f` of a text, whose source is found as that of a notebook's cell is."""
    import linecache

    text = textwrap.dedent(text)
    file = f"<cell {abs(hash(text))}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"Command": Command, "Send": Send, "Decision": Decision, "END": END}
    exec(compile(text, file, "exec", dont_inherit=True), scope)  # noqa: S102 - a text of the test
    return scope["f"]


READS: dict[str, tuple[str, set[str], set[str], bool]] = {
    "a field": ("return state.a", {"a"}, set(), False),
    "a field of a field": ("return state.a.b.c", {"a"}, set(), False),
    "a method of a field": ("state.a.append(state.b)", {"a", "b"}, set(), False),
    "in an f-string": ("return f'{state.a:>{state.b}}'", {"a", "b"}, set(), False),
    "an alias": ("s = state; return s.a", {"a"}, set(), False),
    "an alias of an alias": ("s = state; t = s; return t.a", {"a"}, set(), False),
    "a lambda inside": ("return sorted(state.a, key=lambda x: state.b)", {"a", "b"}, set(), False),
    "another state in a lambda": (
        "return max(make, key=lambda state: state.z)",
        set(),
        set(),
        False,
    ),
    "in a comprehension": (
        "return [x + state.a for x in state.b if state.c]",
        {"a", "b", "c"},
        set(),
        False,
    ),
    "a function inside": ("def g(y=state.a): return state.b\nreturn g", {"a", "b"}, set(), False),
    "getattr": ("return getattr(state, 'a')", {"a"}, set(), False),
    "getattr with a default": ("return getattr(state, 'a', state.b)", {"b"}, {"a"}, False),
    "hasattr": ("return hasattr(state, 'a') and state.a", {"a"}, {"a"}, False),
    "getattr of a variable": ("return getattr(state, make)", set(), set(), True),
    "isinstance": ("return isinstance(state, int) and state.a", {"a"}, set(), False),
    "is None": ("return state is None or state.a", {"a"}, set(), False),
    "match": (
        "match state:\n case object(a=1, b=x): return state.c\n case _: return 0",
        {"a", "b", "c"},
        set(),
        False,
    ),
    "match of a field": ("match state.a:\n case 1: return state.b", {"a", "b"}, set(), False),
    "match of several": (
        "match state:\n case object(a=1) | object(b=2): pass",
        {"a", "b"},
        set(),
        False,
    ),
    "match with a name": ("match state:\n case x: return x", set(), set(), True),
    "handed on": ("return make(state, state.a)", {"a"}, set(), True),
    "returned": ("return state", set(), set(), True),
    "in a list": ("return [state]", set(), set(), True),
    "compared": ("return state == make", set(), set(), True),
    "another name as well": ("state = make(); return state.a", set(), set(), True),
    "a loop's name as well": ("s = state\nfor s in make: s.z", set(), set(), True),
    "assigned": ("state.a = state.b", {"b"}, set(), False),
    "nothing": ("return None", set(), set(), False),
}


@pytest.mark.parametrize("case", READS)
def test_reads(case: str) -> None:
    """Every attribute of the state, under any of its names; used as a whole, it may be any."""
    body, names, asked, whole = READS[case]
    found = reads_of(Sources(), written(f"def f(state):\n{textwrap.indent(body, ' ')}"))

    assert (found.names, found.asked, found.whole) == (names, asked, whole)


def test_the_state_may_have_any_name() -> None:
    """It is the first parameter."""
    found = reads_of(
        Sources(), written("async def f(ticket, state, *, x=1): return ticket.a, state.b")
    )

    assert found.names == {"a"}
    assert found.of_anything == {"a", "b"}


WRITES: dict[str, tuple[str, Keys]] = {
    "a dict": ("return {'a': 1, 'b': 2}", Keys({"a", "b"}, {"a", "b"})),
    "nothing": ("make()", Keys()),
    "None": ("return None", Keys()),
    "a bare return": ("return", Keys()),
    "an empty dict": ("return {}", Keys()),
    "dict()": ("return dict(a=1, b=2)", Keys({"a", "b"}, {"a", "b"})),
    "dict of a dict": ("return dict({'a': 1}, b=2)", Keys({"a", "b"}, {"a", "b"})),
    "dict of pairs": ("return dict(make)", Keys(complete=False)),
    "a dict in a dict": ("return {**{'a': 1}, 'b': {'c': 3}}", Keys({"a", "b"}, {"a", "b"})),
    "two dicts": ("return {'a': 1} | {'b': 2}", Keys({"a", "b"}, {"a", "b"})),
    "a Command": ("return Command(update={'a': 1}, goto='x')", Keys({"a"}, {"a"})),
    "a Command without an update": ("return Command(goto='x')", Keys()),
    "a Command of another module": (
        "return graphflow.Command(update={'a': 1})",
        Keys({"a"}, {"a"}),
    ),
    "a Command of anything": ("return Command(**make)", Keys(complete=False)),
    "one or the other": ("return {'a': 1, 'b': 2} if make else {'a': 3}", Keys({"a", "b"}, {"a"})),
    "or nothing": ("return make and {'a': 1} or {}", Keys({"a"}, set(), complete=False)),
    "two returns": ("if make: return {'a': 1}\nreturn {'a': 2, 'b': 3}", Keys({"a", "b"}, {"a"})),
    "both ways": (
        "if make: return {'a': 1}\nelse: return {'a': 2, 'b': 3}",
        Keys({"a", "b"}, {"a"}),
    ),
    "falls off the end": ("if make: return {'a': 1}", Keys({"a"}, set())),
    "raises else": ("if make: return {'a': 1}\nraise ValueError", Keys({"a"}, {"a"})),
    "only raises": ("raise ValueError", Keys()),
    "try": (
        "try: return {'a': 1}\nexcept ValueError: return {'a': 2, 'b': 3}",
        Keys({"a", "b"}, {"a"}),
    ),
    "try, and falls off": ("try: return {'a': 1}\nexcept ValueError: pass", Keys({"a"}, set())),
    "match": (
        "match make:\n case 1: return {'a': 1}\n case _: return {'a': 2}",
        Keys({"a"}, {"a"}),
    ),
    "match, and falls off": ("match make:\n case 1: return {'a': 1}", Keys({"a"}, set())),
    "a loop": ("for x in make: return {'a': 1}", Keys({"a"}, set())),
    "a with": ("with make: return {'a': 1}", Keys({"a"}, set())),
    "a variable": ("u = {'a': 1}; return u", Keys({"a"}, {"a"})),
    "a variable with a type": ("u: dict = {'a': 1}; return u", Keys({"a"}, {"a"})),
    "a variable declared first": (
        "u: dict\nif make: u = {'a': 1}\nelse: u = {'a': 2}\nreturn u",
        Keys({"a"}, {"a"}),
    ),
    "a key set": ("u = {'a': 1}; u['b'] = 2; return u", Keys({"a", "b"}, {"a"})),
    "a key set perhaps": ("u = {}\nif make: u['b'] = 2\nreturn u", Keys({"b"}, set())),
    "any key set": ("u = {'a': 1}; u[make] = 2; return u", Keys({"a"}, {"a"}, complete=False)),
    "update by name": ("u = {'a': 1}; u.update(b=2, c=3); return u", Keys({"a", "b", "c"}, {"a"})),
    "update by a dict": (
        "u = {'a': 1}; u.update({'b': 2}, **{'c': 3}); return u",
        Keys({"a", "b", "c"}, {"a"}),
    ),
    "update by anything": (
        "u = {'a': 1}; u.update(make); return u",
        Keys({"a"}, {"a"}, complete=False),
    ),
    "setdefault": (
        "u = {'a': 1}; u.setdefault('b', []).append(1); return u",
        Keys({"a", "b"}, {"a"}),
    ),
    "|=": ("u = {'a': 1}; u |= {'b': 2}; return u", Keys({"a", "b"}, {"a"})),
    "+=": ("u = {'a': 1}; u += make; return u", Keys({"a"}, {"a"}, complete=False)),
    "more than before": ("u = {'a': 1}; u = {**u, 'b': 2}; return u", Keys({"a", "b"}, {"a"})),
    "a key taken": ("u = {'a': 1}; u.pop('a'); return u", Keys({"a"}, set())),
    "a key deleted": ("u = {'a': 1}; del u['a']; return u", Keys({"a"}, set())),
    "made anew": ("u = {'a': 1, 'b': 2}\nif make: u = {'a': 2}\nreturn u", Keys({"a", "b"}, {"a"})),
    "handed on": ("u = {'a': 1}; make(u); return u", Keys({"a"}, {"a"}, complete=False)),
    "only read": ("u = {'a': 1}; print(u, u['a'], len(u)); return u", Keys({"a"}, {"a"})),
    "another name for it": (
        "u = {'a': 1}; v = u; v['b'] = 2; return u",
        Keys({"a"}, {"a"}, complete=False),
    ),
    "in a list": ("u = {'a': 1}; w = [u]; return u", Keys({"a"}, {"a"}, complete=False)),
    "in a function inside": (
        "u = {'a': 1}\ndef g(): u['b'] = 2\ng(); return u",
        Keys({"a"}, {"a"}, complete=False),
    ),
    "a loop's variable": ("u = {'a': 1}\nfor u in make: pass\nreturn u", Keys(complete=False)),
    "global": ("global u\nu = {'a': 1}; return u", Keys(complete=False)),
    "walrus": ("return (u := {'a': 1})", Keys({"a"}, {"a"})),
    "a parameter": ("ctx = {'a': 1}; return ctx", Keys(complete=False)),
    "made elsewhere": ("return make()", Keys(complete=False)),
    "a comprehension": ("return {k: 1 for k in make}", Keys(complete=False)),
    "a key that is no text": ("return {make: 1, 'a': 2}", Keys({"a"}, {"a"}, complete=False)),
    "a returned function's": ("def g(): return {'z': 1}\nreturn {'a': g}", Keys({"a"}, {"a"})),
    "yields": ("yield {'a': 1}", Keys(complete=False)),
}


@pytest.mark.parametrize("case", WRITES)
def test_writes(case: str) -> None:
    """The keys of the dicts that are returned: those that may be there, and those that must."""
    body, expected = WRITES[case]
    found = writes_of(Sources(), written(f"def f(state, ctx):\n{textwrap.indent(body, ' ')}"))

    assert found == expected


def group(*names: Any) -> frozenset[Any]:
    """Name answers that come at once."""
    return frozenset(names)


ANSWERS: dict[str, tuple[str, set[frozenset[Any]], bool, bool]] = {
    "a name": ("return 'a'", {group("a")}, False, False),
    "one or the other": (
        "return 'a' if state.x else END",
        {group("a"), group("__end__")},
        False,
        False,
    ),
    "several returns": (
        "if state.x: return 'a'\nreturn 'b'",
        {group("a"), group("b")},
        False,
        False,
    ),
    "True": ("return True", {group(True)}, False, False),
    "a list": ("return ['a', 'b']", {group("a", "b")}, False, False),
    "nobody": ("return []", {group()}, False, False),
    "a list of a choice": (
        "return ['a', 'b' if state.x else 'c']",
        {group("a", "b"), group("a", "c")},
        False,
        False,
    ),
    "lists added": (
        "return ['a'] + [Send('b', {}) for x in state.y]",
        {group("a", "b")},
        False,
        False,
    ),
    "a list in a list": ("return ['a', *['b']]", {group("a", "b")}, False, False),
    "a Decision": ("return Decision('a', reason='x')", {group("a")}, False, False),
    "a Decision of a type": (
        "return Decision[str](goto=['a', 'b'])",
        {group("a", "b")},
        False,
        False,
    ),
    "Sends of one node": (
        "return [Send('a', {'x': x}) for x in state.y]",
        {group("a")},
        False,
        False,
    ),
    "Sends of any node": ("return [Send(x, {}) for x in state.y]", set(), True, False),
    "names of a field": ("return [x for x in state.y]", set(), True, False),
    "a list of a field": ("return list(state.y)", set(), True, False),
    "a field": ("return state.x", set(), False, True),
    "a variable": ("x = 'a' if state.y else 'b'; return x", {group("a"), group("b")}, False, False),
    "a variable that grows": ("x = ['a']; x.append('b'); return x", set(), True, False),
    "made elsewhere": ("return make(state)", set(), False, True),
    "looked up": ("return make[state.x]", set(), False, True),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers(case: str) -> None:
    """Which answers come at once; a list that is put together may hold anything."""
    body, groups, anything, unclear = ANSWERS[case]
    found = answers_of(Sources(), written(f"def f(state):\n{textwrap.indent(body, ' ')}"))

    assert (found.groups, found.anything, found.unclear) == (groups, anything, unclear)


def test_gotos() -> None:
    """Those of all Commands of a node."""
    node = written("""
        def f(state):
            if state.x:
                return Command(goto=["a", Send("b", {"y": 1})], update={"z": 2})
            return Command(goto=END)
        """)
    found = gotos_of(Sources(), node)

    assert found.groups == {group("a", "b"), group("__end__")}
    assert found.given == Keys({"y"}, {"y"})
    assert not found.unclear


GIVEN: dict[str, tuple[str, Keys]] = {
    "a field": ("return [Send('a', {'x': 1})]", Keys({"x"}, {"x"})),
    "by name": ("return Send('a', update={'x': 1})", Keys({"x"}, {"x"})),
    "nothing": ("return Send('a')", Keys()),
    "in a loop": (
        "found = []\nfor x in state.y: found.append(Send('a', {'x': x}))\nreturn found",
        Keys({"x"}, {"x"}),
    ),
    "anything": ("return Send('a', make)", Keys(complete=False)),
    "spread": ("return Send(*make)", Keys(complete=False)),
    "what a call gives": ("return Send('a', {'x': make(state.y)})", Keys({"x"}, {"x"})),
    "made elsewhere": ("return make(state)", Keys(complete=False)),
    "made by a method": ("return make.sends(state.x)", Keys(complete=False)),
    "made by what a module holds": ("return make.here.sends(state.x)", Keys(complete=False)),
    "made before": ("found = make(state); return found", Keys(complete=False)),
    "no Send": ("return 'a' if state.text.lower().startswith('x') else 'b'", Keys()),
    "no Send in a Decision": ("return Decision('a', reason=make(state))", Keys()),
}


@pytest.mark.parametrize("case", GIVEN)
def test_what_sends_carry(case: str) -> None:
    """The fields that they set; a Send that is made elsewhere may set any."""
    body, given = GIVEN[case]
    found = answers_of(Sources(), written(f"def f(state):\n{textwrap.indent(body, ' ')}"))

    assert found.given == given


class State(BaseModel):
    a: int = 0


class Callable_:
    def __call__(self, state: State) -> dict[str, int]:
        return {"a": state.a}

    def method(self, state: State) -> dict[str, int]:
        return {"a": state.a}

    @classmethod
    def of_class(cls, state: State) -> dict[str, int]:
        return {"a": state.a}

    @staticmethod
    def static(state: State) -> dict[str, int]:
        return {"a": state.a}


def second(other: int, state: State) -> dict[str, int]:
    """Take the state second."""
    return {"a": state.a + other}


def passes_on(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function."""

    @functools.wraps(fn)
    def inner(*args: Any) -> Any:
        return fn(*args)

    return inner


@passes_on
def decorated(state: State) -> dict[str, int]:
    """Be wrapped."""
    return {"a": state.a}


two = (lambda s: {"a": s.a}), (lambda s: {"b": s.b})
FOUND: list[Callable[..., Any]] = [
    Callable_(),
    Callable_().method,
    Callable_().of_class,
    Callable_.static,
    functools.partial(second, 1),
    functools.partial(functools.partial(second), 1),
    two[0],
]


@pytest.mark.parametrize("fn", FOUND, ids=lambda fn: type(fn).__name__)
def test_every_kind_of_callable_is_found(fn: Callable[..., Any]) -> None:
    """Objects, methods, partials, lambdas: the state is the first argument that is left."""
    sources = Sources()

    assert reads_of(sources, fn).names == {"a"}
    assert writes_of(sources, fn) == Keys({"a"}, {"a"})


def test_two_lambdas_in_one_line_are_told_apart() -> None:
    """By their columns."""
    assert reads_of(Sources(), two[1]).names == {"b"}


def test_a_function_is_looked_at_once_for_all_graphs() -> None:
    """What was seen of it holds for other graphs too, until it is given other code."""
    first, other = written("def f(state): return state.a"), written("def f(state): return state.b")
    assert reads_of(Sources(), first) is reads_of(Sources(), first)

    first.__code__ = other.__code__

    assert reads_of(Sources(), first).names == {"b"}


def test_a_decorator_may_change_what_is_passed_and_returned() -> None:
    """What stands in the function is no more than a hint then."""
    assert reads_of(Sources(), decorated) == Reads(
        asked=frozenset({"a"}), whole=False, of_anything=frozenset({"a"})
    )
    assert writes_of(Sources(), decorated) == Keys(complete=False)
    assert answers_of(Sources(), decorated).unclear


class Evil:
    __wrapped__: Any

    def __call__(self, state: State) -> None:
        """Be called."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Endless:
    @property
    def __wrapped__(self) -> Any:
        return Endless()


SOURCELESS: list[Any] = [
    len,
    int,
    State,
    str.upper,
    "text".upper,
    json.loads.__call__,
    functools.partial(second, state=1),
    functools.partial(len),
    Evil(),
    Endless(),
    None,
    exec,
    eval("lambda state: state.a"),  # noqa: S307 - a text of the test
]


@pytest.mark.parametrize("fn", SOURCELESS, ids=lambda fn: type(fn).__name__)
def test_without_a_source_nothing_is_claimed(fn: Any) -> None:
    """Built-ins, classes, functions made of a text, objects that refuse to be looked at."""
    sources = Sources()

    assert reads_of(sources, fn) == Reads()
    assert writes_of(sources, fn) == Keys(complete=False)
    assert answers_of(sources, fn).unclear


def test_a_file_that_has_changed_is_not_believed() -> None:
    """The function that stands there now has another name, or other parameters."""
    import linecache

    fn = written("def f(state): return {'a': 1}")
    file = fn.__code__.co_filename
    for text in (
        "def g(state): return {'b': 1}\n",
        "def f(s): return {'b': 1}\n",
        "def f(state:\n",
    ):
        linecache.cache[file] = (len(text), None, [text], file)
        assert writes_of(Sources(), fn) == Keys(complete=False)


def test_an_expression_as_deep_as_the_stack_is_left_alone() -> None:
    """Nothing is claimed, and nothing raised."""
    deep = "+".join(["state.a"] * 1_500)
    fn = written(f"def f(state): return {{'a': {deep}}}")

    assert reads_of(Sources(), fn) == Reads()


@pytest.mark.parametrize(
    "module",
    [argparse, ast, inspect, json.decoder, typing, textwrap, pydantic.main, graphflow.errors],
    ids=lambda module: module.__name__,
)
def test_no_source_is_too_odd(module: ModuleType) -> None:
    """Every function of large modules is looked at without an error."""
    sources, count = Sources(), 0
    for owner in (module, *(c for c in vars(module).values() if inspect.isclass(c))):
        for fn in [fn for fn in vars(owner).values() if inspect.isfunction(fn)]:
            reads_of(sources, fn), writes_of(sources, fn)
            answers_of(sources, fn), gotos_of(sources, fn)
            count += sources.find(fn) is not None
    assert count or module is graphflow.errors


def test_each_file_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of many functions costs one parse per file."""
    parsed: list[str] = []
    original = compile

    def counted(*args: Any, **options: Any) -> Any:
        parsed.append(args[1])
        return original(*args, **options)

    monkeypatch.setattr("builtins.compile", counted)
    sources = Sources()
    for fn in FOUND:
        reads_of(sources, fn)
        writes_of(sources, fn)
    assert parsed.count("<source>") == 1
