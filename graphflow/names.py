"""The names everything agrees on: START, END, and the ids of runs."""

import os
import time
from typing import Final

__all__ = ["END", "RESERVED", "START", "named", "new_run_id", "spelled"]

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
