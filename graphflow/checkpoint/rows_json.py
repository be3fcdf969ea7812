"""The JSON inside columns: names, arrows, evidence, choices and Sends as text, and back.

Written by hand: it takes a third of what an encoder takes, in every step. Values that users gave
stand in it exactly as they were written, so that they come back byte for byte.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import get_args

from graphflow.records import Arrow, ArrowKind, Evidence, Sent

__all__ = [
    "arrows_from",
    "arrows_json",
    "chosen_from",
    "chosen_json",
    "evidence_from",
    "evidence_json",
    "fired_from",
    "held_from",
    "known_names_json",
    "names_from",
    "names_json",
    "ready_from",
    "ready_json",
]

_KINDS = frozenset(get_args(ArrowKind))
_quoted = encode_basestring
_scan = json.JSONDecoder().raw_decode


def names_json(names: Sequence[str]) -> str:
    """Write a list of names."""
    return "[" + ",".join(map(_quoted, names)) + "]" if names else "[]"


# The steps of a loop repeat the same few lists and texts
@lru_cache(maxsize=1024)
def known_names_json(names: tuple[str, ...]) -> str:
    """Write a list of names that is likely to come again."""
    return names_json(names)


@lru_cache(maxsize=1024)
def names_from(text: str) -> tuple[str, ...]:
    """Read a list of names."""
    return _names(json.loads(text))


@lru_cache(maxsize=1024)
def arrows_json(arrows: tuple[Arrow, ...]) -> str:
    """Write arrows as lists of source, target and kind."""
    quoted = [f"[{_quoted(a.source)},{_quoted(a.target)},{_quoted(a.kind)}]" for a in arrows]
    return "[" + ",".join(quoted) + "]"


@lru_cache(maxsize=1024)
def arrows_from(text: str) -> tuple[Arrow, ...]:
    """Read what `arrows_json` wrote."""
    found = tuple(Arrow(*_names(arrow)) for arrow in json.loads(text))  # type: ignore[arg-type]  # the kind is looked at here
    for arrow in found:
        if arrow.kind not in _KINDS:
            raise ValueError(f"{arrow.kind!r} is no kind of arrow")
    return found


def fired_from(text: str) -> dict[str, tuple[str, ...]]:
    """Read the joins that run next."""
    return {join: _names(of) for join, of in json.loads(text).items()}


def held_from(text: str) -> dict[str, tuple[tuple[str, int], ...]]:
    """Read the joins that wait."""
    return {
        join: tuple((_name(s), _step(n)) for s, n in of) for join, of in json.loads(text).items()
    }


def ready_json(ready: Sequence[str], sends: Mapping[str, Sent]) -> str:
    """Write the tasks that run next: a key, or of a Send a list of key, node and input."""
    if not sends:
        return known_names_json(tuple(ready))
    return "[" + ",".join([_ready_one(key, sends.get(key)) for key in ready]) + "]"


def _ready_one(key: str, sent: Sent | None) -> str:
    if sent is None:
        return _quoted(key)
    return f"[{_quoted(key)},{_quoted(sent.node)},{sent.input_json}]"


def ready_from(text: str) -> tuple[tuple[str, ...], dict[str, Sent]]:
    """Read what `ready_json` wrote.

    Returns:
        The keys, and the Sends among them.
    """
    if "[" not in text[1:]:
        return names_from(text), {}
    keys: list[str] = []
    sends: dict[str, Sent] = {}
    at = 1
    while at < len(text) - 1:
        if text[at] == "[":
            key, at = _scan(text, at + len("["))
            node, at = _scan(text, at + len(","))
            given, at = _text_at(text, at + len(","))
            sends[_name(key)] = _sent(node, given)
            at += len("]")
        else:
            key, at = _scan(text, at)
        keys.append(_name(key))
        at += len(",")
    return tuple(keys), sends


def chosen_json(chosen: Sequence[str | Sent]) -> str:
    """Write what was chosen: one target as it is, several and Sends as a list."""
    # A plain name reads best in a query; a list begins with a bracket, so a name must not.
    if len(chosen) == 1 and isinstance(chosen[0], str) and not chosen[0].startswith("["):
        return chosen[0]
    return "[" + ",".join(map(_choice, chosen)) + "]"


def _choice(one: str | Sent) -> str:
    if isinstance(one, str):
        return _quoted(one)
    return f'{{"send":{_quoted(one.node)},"input":{one.input_json}}}'


def chosen_from(text: str) -> tuple[str | Sent, ...]:
    """Read what `chosen_json` wrote."""
    if not text.startswith("["):
        return (text,)
    if "{" not in text:
        return names_from(text)
    found: list[str | Sent] = []
    at = 1
    while at < len(text) - 1:
        if text[at] == "{":
            node, at = _scan(text, at + len('{"send":'))
            given, at = _text_at(text, at + len(',"input":'))
            found.append(_sent(node, given))
            at += len("}")
        else:
            name, at = _scan(text, at)
            found.append(_name(name))
        at += len(",")
    return tuple(found)


def evidence_json(evidence: Sequence[Evidence]) -> str:
    """Write evidence."""
    parts = []
    for name, step, value_json, counter in evidence:
        kind = "counter" if counter else "field"
        value = "" if value_json is None else f',"value":{value_json}'
        parts.append(f'{{"{kind}":{_quoted(name)}{value},"step":{step}}}')
    return f"[{','.join(parts)}]"


def evidence_from(text: str) -> tuple[Evidence, ...]:
    """Read what `evidence_json` wrote."""
    found = []
    at = 1
    while at < len(text) - 1:
        counter = text.startswith('{"counter":', at)
        name, at = _scan(text, at + len('{"counter":' if counter else '{"field":'))
        value = None
        if text.startswith(',"value":', at):
            value, at = _text_at(text, at + len(',"value":'))
        step, at = _scan(text, at + len(',"step":'))
        found.append(Evidence(_name(name), _step(step), value, counter))
        at += len("},")
    return tuple(found)


def _names(found: object) -> tuple[str, ...]:
    if type(found) is not list:
        raise TypeError(f"{found!r} is no list of names")
    return tuple(map(_name, found))


def _name(found: object) -> str:
    if type(found) is not str:
        raise TypeError(f"{found!r} is no name")
    return found


def _sent(node: object, given: str) -> Sent:
    if not given.startswith("{"):
        raise TypeError(f"{given[:60]} is no object of fields")
    return Sent(_name(node), given)


def _step(found: object) -> int:
    if type(found) is not int or not 0 <= found < 2**53:
        raise TypeError(f"{found!r} is no step")
    return found


def _text_at(text: str, start: int) -> tuple[str, int]:
    """Cut out one value as it was written; say also where it ends."""
    end = _scan(text, start)[1]
    return text[start:end], end
