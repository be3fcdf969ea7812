"""JSON as it is read back from a store: measured before it is parsed, and refused in words.

How long a stored text may be is the store's to say; how deep it may be nested is said here, once
for reading and writing. A value nested deeper than that fails in the node that returned it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final

from pydantic_core import from_json

from graphflow.errors import CheckpointCorruptError, CheckpointTooLargeError, GraphflowError

__all__ = [
    "LEAST_BYTES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "UNREADABLE",
    "is_deep",
    "parsed",
    "readable",
    "too_deep",
    "unreadable",
]

MAX_DEPTH: Final = 200
"""How many brackets may be open at once: what pydantic's parser takes too, and Python's by far."""

LEAST_BYTES: Final = 10_000
"""The least that may be allowed of one: the descriptions of the tables have 2,400."""
MAX_BYTES: Final = 256_000_000
"""How long one stored text may be. SQLite itself refuses a longer one before it gives it."""

UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What can go wrong in making something of records that no graphflow has written."""

_NO_BRACKETS: Final = bytes(code for code in range(256) if code not in b"[]{}")
_STEPS: Final = {ord(sign): step for sign, step in (("[", 1), ("{", 1), ("]", -1), ("}", -1))}
_USUAL: Final = 8


def is_deep(text: str) -> bool:
    """Tell whether a JSON text is nested deeper than `MAX_DEPTH`.

    Nearly all are too short for that, or have too few brackets, which is seen at once.

    Raises:
        TypeError: It is no text: of bytes, the parser would guess the encoding, and import it.
    """
    if type(text) is not str:
        raise TypeError("it is no text")
    if len(text) <= 2 * MAX_DEPTH or text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    # Without quotes that are escaped, every other part between quotes is a string
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    left = "".join(outside).encode("utf-8", "replace").translate(None, _NO_BRACKETS)
    # A level is taken off by removing all pairs that have nothing between them
    for _ in range(_USUAL):
        left = left.replace(b"[]", b"").replace(b"{}", b"")
    depths = accumulate(map(_STEPS.__getitem__, left))
    return _USUAL + max(depths, default=-_USUAL) > MAX_DEPTH


def parsed(text: Any, column: str, run_id: str = "", step: int = -1) -> Any:
    """Parse a stored JSON text.

    Args:
        text: The text; of damaged rows anything.
        column: Where it stands.
        run_id: Whose it is, when that is known.
        step: Of which step; -1: of none.

    Raises:
        CheckpointTooLargeError: It is nested too deep.
        CheckpointCorruptError: It is no JSON.
    """
    # Pydantic's parser takes half the time, and stops by itself at `MAX_DEPTH`, with the brackets
    # that are put around the text here; what it takes, Python's takes too, and gives the same.
    if type(text) is str:
        try:
            (found,) = from_json(f"[{text}]")
            return found
        except ValueError:  # deep, or no JSON: it is said below which
            pass
    try:
        if is_deep(text):
            raise too_deep(run_id, step, column)
        return json.loads(text)
    except UNREADABLE as error:
        raise unreadable(run_id, step, column, error) from error


def too_deep(run_id: str, step: int, column: str) -> CheckpointTooLargeError:
    """Say that a stored text is nested too deep."""
    return CheckpointTooLargeError(
        f"{_where(run_id, step)}: {column} is nested more than {MAX_DEPTH} deep, which graphflow"
        " never writes; nothing of it was parsed. Restore the run from a backup.",
        run_id=run_id,
        step=step,
        column=column,
    )


def unreadable(run_id: str, step: int, what: str, error: BaseException) -> CheckpointCorruptError:
    """Say that something that is stored is not what graphflow writes.

    Args:
        run_id: Whose it is.
        step: Of which step; -1: of none.
        what: What it is.
        error: What went wrong with it.
    """
    words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return CheckpointCorruptError(
        f"{_where(run_id, step)} is damaged: {what} cannot be read ({words}). Other runs can still"
        " be read; restore this one from a backup.",
        run_id=run_id,
        step=step,
    )


@contextmanager
def readable(run_id: str) -> Iterator[None]:
    """Say of a run that it is damaged where Python fails at what its rows hold.

    Args:
        run_id: The run.

    Raises:
        CheckpointCorruptError: Something failed that nothing more exact was said of.
    """
    try:
        yield
    except GraphflowError:
        raise
    except UNREADABLE as error:
        raise unreadable(run_id, -1, "a row of it", error) from error


def _where(run_id: str, step: int) -> str:
    if not run_id:
        return "a stored run"
    return f"step {step} of run {run_id!r}" if step >= 0 else f"run {run_id!r}"
