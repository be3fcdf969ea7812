"""Digests of what is stored, so that a changed byte is found when it is read.

A digest is the SHA-256, in hex, of one compact JSON array of the stored columns. JSON keeps text,
numbers, null and nesting apart, so two different rows never have the same bytes. Without a key
this finds damage, not tampering.
"""

import json
from hashlib import sha256
from typing import TypeVar, cast

__all__ = ["digest", "sealed", "snapshot_digest", "storable"]

_Rows = TypeVar("_Rows", bound=tuple[object, ...])

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def digest(kind: str, rows: tuple[object, ...]) -> str:
    """Digest rows.

    Args:
        kind: What they are; rows of two kinds never have the same digest.
        rows: A tuple of text, numbers and None, or of such tuples.

    Returns:
        64 hexadecimal digits.

    Raises:
        UnicodeEncodeError: A text holds half of a surrogate pair.
    """
    return sha256(_encode((kind, rows)).encode()).hexdigest()


def sealed(kind: str, rows: _Rows) -> tuple[_Rows, str]:
    """Digest rows that are about to be stored.

    Args:
        kind: As in `digest`.
        rows: As in `digest`.

    Returns:
        The rows as they can be stored (see `storable`), and their digest.
    """
    try:
        return rows, digest(kind, rows)
    except UnicodeEncodeError:
        mended = cast("_Rows", _mended(rows))
        return mended, digest(kind, mended)


def snapshot_digest(step: str, number: int, counters_json: str, state_json: str) -> str:
    """Digest a snapshot.

    Args:
        step: The digest of the step whose state it is.
        number: The number of that step.
        counters_json: The counters.
        state_json: The state. It follows the JSON array as it is: it may be long, and to write
            it as a JSON string would take longer than to digest it.

    Returns:
        64 hexadecimal digits.
    """
    head = _encode(("snapshot", step, number, counters_json))
    return sha256((head + state_json).encode()).hexdigest()


def storable(text: str) -> str:
    r"""Replace what UTF-8 cannot hold.

    Returns:
        The text; half of a surrogate pair, as error messages and file names may hold one, is
        written as ``\ud800``.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _mended(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, tuple):
        return tuple(map(_mended, value))
    return value
