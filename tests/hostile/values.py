"""Values that no honest writer would store, and ways to change what one has stored."""

from __future__ import annotations

import json
import pickle
import random
from typing import Any


class _Runs:
    """Unpickled by a careless reader, it would call a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("executed",))


def _deep(levels: int, opening: str = "[", closing: str = "]", inner: str = "") -> str:
    return opening * levels + inner + closing * levels


CONSTRUCTORS = [
    {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "id"}},
    {"lc": 2, "type": "constructor", "id": ["subprocess", "Popen"], "args": [["id"]]},
    {"__class__": "os.system", "args": ["id"]},
    {"$ref": "#/../../etc/passwd"},
    {
        "py/object": "subprocess.Popen",
        "py/reduce": [{"py/type": "os.system"}, {"py/tuple": ["id"]}],
    },
    {"__type__": "builtins.eval", "value": "__import__('os')"},
    {"__reduce__": ["os.system", ["id"]]},
    {"!!python/object/apply:os.system": ["id"]},
    {"__proto__": {"x": 1}},
    {"@class": "java.lang.Runtime"},
]
BLOBS = [
    pickle.dumps(_Runs()),
    pickle.dumps(_Runs(), protocol=0),
    b"\xc7\x10\x05cos\nsystem\n(S'id'\ntR.",
    b"\x82\xa2lc\x01\xa4type\xabconstructor",
    b"\xff\xfe\x00\x01",
    b"\xed\xa0\x80",
    b"",
    b"\x00" * 64,
]
TEXTS = [
    "",
    " ",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "NaN",
    "[NaN]",
    '{"a":Infinity}',
    "{",
    "[",
    "]",
    '"',
    "\x00",
    "a\x00b",
    '"\\ud800"',
    '{"a":"\\ud800"}',
    "\ud7ff",
    "\u202egnp.exe",
    "\u2028",
    "__start__",
    "__end__",
    "no such node",
    "x" * 70_000,
    '"' + "x" * 70_000 + '"',
    "[" * 100_000,
    _deep(150),
    _deep(199),
    _deep(250),
    _deep(900),
    _deep(5_000),
    _deep(250, '{"a":', "}", "1"),
    _deep(3_000, '{"a":', "}", "1"),
    '{"a":1' + "0" * 5000 + "}",
    "1" + "0" * 400,
    "-" + "9" * 5000,
    '{"a":1,"a":2}',
    "[[]]",
    "[{}]",
    "[[1,2,3]]",
    '[["a","b","edge"]]',
    "{}",
    "[]",
    '{"":{}}',
    '[""]',
    "'; DROP TABLE runs; --",
    "%",
    "_",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "]]>",
    "--><svg onload=alert(1)>",
    "&#0;",
    "\x1b]0;title\x07\x1b[2J",
    "2026-11-22",
    "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59.999999+00:00",
    "2026-11-22T14:11:00",
    "2026-11-22T14:11:00+23:59",
    "cos\nsystem\n(S'id'\ntR.",
    "graph\nflow",
    "\N{PILE OF POO}" * 50,
    "running",
    "stale",
    "done",
    "paused",
    "failed",
    "edge",
    "gate",
    "goto",
    "choice",
    "send",
    "before:",
    "limit:",
    "limit:visits:",
    "budget:",
    "budget:calls",
    "question",
    "task",
    "conflict",
    "router",
    "interrupted",
    *(json.dumps(one) for one in CONSTRUCTORS),
    json.dumps(CONSTRUCTORS),
]
NUMBERS = [0, 1, -1, 2, 3, 7, 2**31, -(2**31), 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 1e308, -1e308,
           0.1, float("inf"), float("-inf"), 1e-320, 10**12]  # fmt: skip
PARTS: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    10**6,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    -0.0,
    "",
    "x",
    "\x00",
    "\ud800",
    "__start__",
    "__end__",
    "no such node",
    "a#1",
    "a[0]",
    "m[",
    "m[-1]",
    "m[999999999999]",
    "x" * 5000,
    [],
    {},
    [[]],
    [{}],
    [None],
    [0],
    [""],
    ["a", "b"],
    [["a", 1]],
    {"": None},
    {"a": {"a": {"a": 1}}},
    *CONSTRUCTORS,
    "2026-11-22",
    "9999-12-31T23:59:59+00:00",
    "running",
    "gate",
    "map",
    "graph",
    "question",
    "append",
    "add",
    "merge",
    "union",
    "<script>",
    "\u202e",
]


def hostile_value(rng: random.Random, old: Any) -> Any:
    """Give a value to put in the place of a stored one."""
    dice = rng.random()
    if isinstance(old, str) and dice < 0.6:
        changed = _changed_json(rng, old)
        if changed is not None:
            return changed
    if dice < 0.65:
        return None
    if dice < 0.75:
        return rng.choice(BLOBS)
    if dice < 0.85 or isinstance(old, int | float):
        return rng.choice(NUMBERS)
    return rng.choice(TEXTS)


def _changed_json(rng: random.Random, text: str) -> str | None:
    """Change a few parts of a JSON text; None when it is none, or too deep already."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        whole = _changed(rng, whole)
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=rng.random() < 0.5)


def _changed(rng: random.Random, part: Any) -> Any:
    if isinstance(part, dict) and part and rng.random() < 0.85:
        key = rng.choice(list(part))
        dice = rng.random()
        if dice < 0.15:
            return {name: value for name, value in part.items() if name != key}
        if dice < 0.25:
            name = rng.choice([p for p in PARTS if isinstance(p, str)])
            return {**part, name: rng.choice(PARTS)}
        return {**part, key: _changed(rng, part[key])}
    if isinstance(part, list) and part and rng.random() < 0.85:
        at = rng.randrange(len(part))
        dice = rng.random()
        if dice < 0.15:
            return part[:at] + part[at + 1 :]
        if dice < 0.25:
            return [*part, *part[at:]]
        if dice < 0.3:
            return part[::-1]
        return [*part[:at], _changed(rng, part[at]), *part[at + 1 :]]
    return rng.choice(PARTS)
