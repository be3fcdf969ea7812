"""Digests of what is stored, so that a changed byte is found when it is read.

A digest is the SHA-256, in hex, of one compact JSON array of the stored columns. JSON keeps text,
numbers, null and nesting apart, so two different rows never have the same bytes. Without a key
this finds damage, not tampering. Of a database with a key it is the HMAC-SHA256, which nobody can
make who does not have the key (see `Columns.digest_of`).
"""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar, cast

from graphflow.records import Snapshot

__all__ = ["Hash", "compact", "digest", "digest_of", "sealed", "snapshot_digest", "storable"]

_Rows = TypeVar("_Rows", bound=tuple[object, ...])

# What should be text and was made bytes by damage must not look as it did
compact = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, check_circular=False, default=repr
).encode
"""Write a value as the digests cover it."""


def digest_of(text: str) -> str:
    """Digest rows that are written already, as the JSON array of their kind and them."""
    return sha256(text.encode()).hexdigest()


Hash = Callable[[str], str]
"""Digests a text: `digest_of`, or with a key what stands for it."""


def digest(kind: str, rows: tuple[object, ...], by: Hash) -> str:
    """Digest rows.

    Args:
        kind: What they are; rows of two kinds never have the same digest.
        rows: A tuple of text, numbers and None, or of such tuples.
        by: Digests the text that is made of them; see `Columns.digest_of`.

    Returns:
        64 hexadecimal digits.

    Raises:
        UnicodeEncodeError: A text holds half of a surrogate pair.
    """
    return by(compact((kind, rows)))


def sealed(kind: str, rows: _Rows, by: Hash) -> tuple[_Rows, str]:
    """Digest rows that are about to be stored.

    Args:
        kind: As in `digest`.
        rows: As in `digest`.
        by: As in `digest`.

    Returns:
        The rows as they can be stored (see `storable`), and their digest.
    """
    try:
        return rows, digest(kind, rows, by)
    except UnicodeEncodeError:
        mended = cast("_Rows", _mended(rows))
        return mended, digest(kind, mended, by)


def snapshot_digest(step: str, snapshot: Snapshot, by: Hash) -> str:
    """Digest a snapshot.

    Its state follows the JSON array as it is, and then what it adds: both may be long, and to write
    them as JSON strings would take four times as long as to digest them.

    Args:
        step: The digest of the step whose state it is.
        snapshot: The snapshot.
        by: As in `digest`.

    Returns:
        64 hexadecimal digits.
    """
    head: tuple[object, ...] = ("snapshot", step, snapshot.step, snapshot.counters_json)
    state, added = snapshot.state_json, snapshot.added_json
    if (snapshot.since, added) == (None, None):  # so the digests of those from before stay true
        return by(f"{compact(head)}{state}")
    return by(f"{compact((*head, snapshot.since, len(state)))}{state}{added}")


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
