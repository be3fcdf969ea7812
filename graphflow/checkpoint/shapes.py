"""What stored data must look like: the types of columns, and the form of the JSON in them.

Digests find damage. They do not find what somebody wrote on purpose, who can make digests too: so
nothing that was read is used before it has been seen to be of the form that graphflow writes.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any, Final, get_args

from graphflow.checkpoint.column_names import COLUMNS, LATER
from graphflow.policy import Budget, Limits
from graphflow.records import ArrowKind, DamagedHeader, RunHeader, RunStatus
from graphflow.stored import MAX_DEPTH, UNREADABLE, is_deep

__all__ = ["check_given", "check_header", "check_row", "spec_from", "what_is_left"]

Check = Callable[[Any], bool]
_MOST: Final = 2**53  # a count; steps of a run, tokens of a call
_LONGEST: Final = 1e13  # milliseconds: three centuries
_FIRST, _LAST = 1000, 5000  # years
_KEY: Final = re.compile(r"[^\[\]]*(\[[0-9]{1,15}\])?")  # of a task, or of an item of a map


def check_row(table: str, row: Sequence[Any]) -> None:
    """Check the types of a row's columns.

    Args:
        table: Its table.
        row: The values of `COLUMNS[table]`, perhaps with later ones.

    Raises:
        ValueError: A column holds what it never does; the message says which.
    """
    kinds = _KINDS[table]
    if not len(COLUMNS[table].split()) <= len(row) <= len(kinds):
        raise ValueError(f"{len(row)} columns in a row of {table}")
    for (name, check), value in zip(kinds, row, strict=False):
        if not check(value):
            raise ValueError(f"{name} = {repr(value)[:60]}")


def check_header(header: RunHeader, row: Sequence[Any]) -> None:
    """Check what is known of a run without its steps.

    Args:
        header: The run.
        row: The same, as it was read.

    Raises:
        ValueError: It is not what graphflow writes; the message says what.
    """
    types = tuple(map(type, row))
    for name, check in _HEADER.items() if types not in _known else _VARYING:
        if not check(getattr(header, name)):
            raise ValueError(f"{name} = {repr(getattr(header, name))[:60]}")
    _check_same(header.limits_json, header.budget_json)
    if len(_known) < _MOST_KNOWN:
        _known.add(types)


def what_is_left(row: Sequence[Any], error: str) -> DamagedHeader:
    """Give a header for a list of runs when a column of it is not what graphflow writes.

    Args:
        row: As it was read.
        error: What is wrong with it.
    """
    whole = zip(RunHeader.__dataclass_fields__, row, strict=False)
    known = {name: value for name, value in whole if name in _SHOWN and _HEADER[name](value)}
    return DamagedHeader(**{**_NOTHING, "run_id": str(row[0]), **known, "error": error})


def check_given(header: RunHeader) -> None:
    """Check the values in a header, once its long ones are in their places.

    Raises:
        ValueError: They are not what graphflow writes; the message says which.
    """
    if not _are_words(header.tags_json):
        raise ValueError("tags_json")
    if header.fork_json is not None and not _is_fork(header.fork_json):
        raise ValueError("fork_json")
    if is_deep(header.input_json):  # it may be long, and few look at it
        raise ValueError("input_json")


@lru_cache(maxsize=256)  # a flow writes the same for most of its runs
def _check_same(limits: str, budget: str) -> None:
    if is_deep(limits) or is_deep(budget):
        raise ValueError("limits or budget are nested")
    Limits(**json.loads(limits))
    bound = json.loads(budget)
    if any(value is not None for value in bound.values()):
        Budget(**bound)


@lru_cache(maxsize=64)
def spec_from(text: str) -> dict[str, Any]:
    """Read the spec of a graph.

    Raises:
        ValueError: It is none.
    """
    if is_deep(text):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    found = json.loads(text)
    if not _spec(found):
        raise ValueError("it is not of the form that `Definition.spec` says")
    return dict(found)


# -- checks ---------------------------------------------------------------------------------------


def _text(value: Any) -> bool:
    return type(value) is str


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _flag(value: Any) -> bool:
    return type(value) is bool


def _real(value: Any) -> bool:
    return _number(value) and 0 <= value <= _LONGEST


def _time(value: Any) -> bool:
    try:
        found = datetime.fromisoformat(value)
    except UNREADABLE:
        return False
    return found.tzinfo is not None and _FIRST <= found.year <= _LAST


def _key(value: Any) -> bool:
    return type(value) is str and _KEY.fullmatch(value) is not None


def _answer(value: Any) -> bool:
    """Check what was chosen for a fork: what a router answers, with Sends as objects."""
    if type(value) is list:
        return all(map(_answer, value))
    return type(value) is not dict or _send(value)


def _anything(_: Any) -> bool:
    return True


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _one_of(*known: str) -> Check:
    return lambda value: type(value) is str and value in known


def _list_of(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _row_of(*checks: Check) -> Check:
    def fits(value: Any) -> bool:
        return (
            type(value) is list
            and len(value) == len(checks)
            and all(check(part) for check, part in zip(checks, value, strict=True))
        )

    return fits


def _object_of(check: Check) -> Check:
    return lambda value: type(value) is dict and all(map(check, value.values()))


def _with(needed: dict[str, Check], more: dict[str, Check]) -> Check:
    """Check an object; keys that are not named may hold anything."""

    def fits(value: Any) -> bool:
        return (
            type(value) is dict
            and needed.keys() <= value.keys()
            and all(check(value[name]) for name, check in (needed | more).items() if name in value)
        )

    return fits


def json_of(check: Check) -> Check:
    """Check a JSON text, and what it says."""

    def fits(value: Any) -> bool:
        if type(value) is not str or is_deep(value):
            return False
        try:
            return check(json.loads(value))
        except UNREADABLE:
            return False

    return fits


_NAMES: Final = _list_of(_text)
_JSON: Final = json_of(_anything)
_OBJECT: Final = json_of(_object_of(_anything))
_ARROW: Final = _one_of(*get_args(ArrowKind))

_state = _with(
    {"fields": _object_of(_with({"reducer": _or_none(_text)}, {"type": _text}))}, {"class": _text}
)
_gate = _with(
    {},
    {
        **dict.fromkeys(("passed", "failed", "otherwise"), _or_none(_text)),
        "tries": _or_none(_count),
    },
)
_node = _with(
    {"name": _text},
    {
        **dict.fromkeys(("kind", "code"), _text),
        **dict.fromkeys(("fallback", "on_budget", "effects"), _or_none(_text)),
        "defer": _flag,
        "targets": _NAMES,
        "gate": _or_none(_gate),
        "graph": lambda value: value is None or _spec(value),
        "map": _or_none(_with({"over": _text, "into": _text}, {"result": _text})),
        "question": _or_none(_with({"into": _text}, {"answer": _text})),
        "passes": _or_none(_object_of(lambda value: _text(value) or _object_of(_text)(value))),
        "escalate": _or_none(_with({"into": _or_none(_text)}, {})),
        "timeout": lambda value: value is None or type(value) in (int, float),
    },
)
_router = _with(
    {
        **dict.fromkeys(("source", "name", "code"), _text),
        "targets": _or_none(_NAMES),
        "answers": _or_none(_object_of(_text)),
    },
    {},
)
_spec: Check = _with(
    {},
    {
        "name": _text,
        "version": _count,
        "state": _state,
        "nodes": _list_of(_node),
        "edges": _list_of(_row_of(_text, _text, _text)),
        "routers": _list_of(_router),
    },
)
_send = _with({"send": _text, "input": _object_of(_anything)}, {})
_spent = _with({}, {"calls": _count, "tokens": _count, "seconds": _real})
_fork = _with(
    {},
    {
        "update": _object_of(_anything),
        "replaces": _NAMES,
        "choose": _object_of(_answer),
        "spent": lambda value: _spent(value) and value.keys() <= {"calls", "tokens", "seconds"},
    },
)

_is_fork: Final = json_of(
    lambda value: _fork(value) and ("update" not in value or "replaces" in value)
)
_are_words: Final = lru_cache(maxsize=256)(json_of(_object_of(_text)))
_HEADER: Final[dict[str, Check]] = {
    **dict.fromkeys(("run_id", "graph", "graph_digest"), _text),
    **dict.fromkeys(
        ("reason", "error_type", "error", "thread_id", "owner", "parent", "parent_key", "fork_of"),
        _or_none(_text),
    ),
    **dict.fromkeys(("parent_step", "fork_step", "heard"), _or_none(_count)),
    **dict.fromkeys(("graph_version", "epoch"), _count),
    "status": _one_of(*get_args(RunStatus)),
    "step": lambda value: value == -1 or _count(value),
    "created_at": _time,
    "ended_at": _or_none(_time),
    **dict.fromkeys(("input_json", "limits_json", "budget_json", "tags_json"), _text),
    "fork_json": _or_none(_text),
}

_SHOWN: Final = {"run_id", "graph", "graph_version", "graph_digest", "status", "created_at", "step"}
_NOTHING: Final = {
    **dict.fromkeys(("graph", "graph_digest", "created_at"), ""),
    "graph_version": 0,
    "status": "failed",
    "input_json": "null",
}
"""What a header says that cannot be read."""

_known: set[tuple[type, ...]] = set()
"""The types of the columns of headers that were found to be right."""
_MOST_KNOWN: Final = 256
_VARYING: Final = [
    (name, check)
    for name, check in _HEADER.items()
    if name
    in {
        "status",
        "step",
        "created_at",
        "ended_at",
        "fork_json",
        "parent_step",
        "fork_step",
        "heard",
        "graph_version",
        "epoch",
    }
]
"""What is to be looked at even when the types are right."""

_MAYBE_TEXT: Final = "goto_json answer fell_back answered_by response_json error rows_json"
_BY_COLUMN: Final[dict[str, Check]] = {
    **dict.fromkeys(("step", "ix", "attempt", "attempts"), _count),
    **dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "items"), _or_none(_count)),
    **dict.fromkeys(("started_at", "committed_at", "asked_at", "stored_at", "adopted_at"), _time),
    **dict.fromkeys(("place", "graph_version"), _count),
    **dict.fromkeys(("nodes_json", "children_json"), json_of(_object_of(_text))),
    **dict.fromkeys(("deadline", "answered_at"), _or_none(_time)),
    **dict.fromkeys(("update_json", "derived_json"), _or_none(_OBJECT)),
    **dict.fromkeys(("answer_json", "default_json"), _or_none(_JSON)),
    **dict.fromkeys(_MAYBE_TEXT.split(), _or_none(_text)),
    "details_json": _or_none(_JSON),
    "key": _key,
    "schema_json": json_of(lambda value: type(value) in (dict, bool)),
    "duration_ms": _real,
    "confidence": _or_none(_number),
    "heard": _or_none(_count),
}
_BY_TABLE: Final[dict[tuple[str, str], Check]] = {
    ("attempts", "error"): _text,
    **{
        ("adoptions", name): _or_none(_text)
        for name in ("state_json", "counters_json", "fired_json", "held_json", "ready_json")
    },
    ("decisions", "kind"): _one_of("router", "gate", "goto"),
    ("questions", "kind"): _one_of("question", "ask", "escalation"),
    ("questions", "details_json"): _or_none(_OBJECT),
}
_KINDS: Final[dict[str, list[tuple[str, Check]]]] = {
    table: [
        (name, _BY_TABLE.get((table, name)) or _BY_COLUMN.get(name, _text))
        for name in " ".join([columns, *LATER.get(table, ())]).split()
    ]
    for table, columns in COLUMNS.items()
}
