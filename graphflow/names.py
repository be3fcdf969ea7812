"""The names everything agrees on: START, END, and the ids of runs."""

import os
import time
from collections.abc import Sequence
from typing import Final

__all__ = [
    "END",
    "RESERVED",
    "START",
    "in_order",
    "named",
    "new_run_id",
    "spelled",
    "to_type",
    "word",
]

START: Final = "__start__"
END: Final = "__end__"
RESERVED: Final = frozenset("#/[]:")
"""Not in the name of a node or a question: they part the keys of tasks, questions and runs."""

_SPELLED_OUT = {"START": START, "END": END}
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def named(name: str) -> str:
    """Give the name that is meant: "START" and "END" may be spelled out, as in a Literal."""
    return _SPELLED_OUT.get(name, name)


def spelled(name: str) -> str:
    """Spell a name for people: START and END as they are written in code."""
    return {START: "START", END: "END"}.get(name, name)


def new_run_id() -> str:
    """Make a run id: 26 characters that sort by the time they were made.

    Returns:
        48 bits of milliseconds since 1970 and 80 random bits, in base 32.

    Source:
        https://github.com/ulid/spec
    """
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -10, -10)])


def to_type(verb: str, run_id: str, *options: str, target: str = "") -> str:
    """Write a command about a run, as it can be typed, in the quotes of a message.

    Args:
        verb: `show`, `resume`, ...
        run_id: The run.
        options: What else is typed.
        target: TARGET, for a command that takes one.
    """
    words = in_order([target, run_id] if target else [run_id], options)
    return f"`{' '.join(map(word, ['graphflow', verb, *words]))}`"


def in_order(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Put the words of a command in an order in which none is read as an option.

    Args:
        words: Targets and runs.
        options: Options and their values.
    """
    if any(one.startswith("-") for one in words):
        return [*options, "--", *words]
    return [*words, *options]


def word(text: str) -> str:
    """Quote a word for a shell, on one line, whatever is in it."""
    from shlex import quote

    if text.isprintable():
        return quote(text)
    return f"$'{''.join(map(_spelled_out, text))}'"


def _spelled_out(char: str) -> str:
    if char in {"\\", "'"}:
        return f"\\{char}"
    if char.isprintable():
        return char
    if char.isascii():
        return char.encode("unicode_escape").decode()
    return f"\\U{ord(char):08x}"  # to a shell `\xa0` is a byte, and no character
