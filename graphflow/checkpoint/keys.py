"""The key of an encrypted database: who gives it, and in which form."""

import base64
import binascii
import os
from collections.abc import Callable
from typing import Final

from graphflow.errors import WrongKeyError

__all__ = ["VARIABLE", "Key", "hidden", "key_of"]

Key = bytes | Callable[[], bytes]
"""32 bytes, or a function that gives them each time a database is opened."""
VARIABLE: Final = "GRAPHFLOW_KEY"
_SIZE: Final = 32
_MAKE: Final = "`python -c 'import secrets; print(secrets.token_hex(32))'` makes one"


class _Hidden(bytes):
    """A key whose repr does not show it, wherever a traceback prints what variables hold."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a key>"


def hidden(given: Key | None) -> Key | None:
    """Give the same key, which does not show itself in a repr."""
    return _Hidden(given) if isinstance(given, bytes) else given


def key_of(given: Key | None) -> bytes | None:
    """Get the key: the one that is given, else that of the environment.

    Args:
        given: Where to get it from; None: the variable `GRAPHFLOW_KEY`, as 64 hexadecimal digits
            or in base64.

    Returns:
        32 bytes; None when there is no key.

    Raises:
        WrongKeyError: What was given is no key. The message does not repeat it.
    """
    if given is None:
        text = os.environ.get(VARIABLE, "").strip()
        return _decoded(text) if text else None
    key = given() if callable(given) else given
    if not isinstance(key, bytes) or len(key) != _SIZE:
        size = f"{len(key)} bytes" if isinstance(key, bytes) else f"a {type(key).__name__}"
        raise WrongKeyError(f"a key is {_SIZE} bytes, and this is {size}; {_MAKE}, in hexadecimal")
    return _Hidden(key)


def _decoded(text: str) -> bytes:
    try:
        if len(text) == 2 * _SIZE:
            return _Hidden.fromhex(text)
        # Base64 has two alphabets; both are understood
        key = _Hidden(base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True))
    except (ValueError, binascii.Error):
        key = _Hidden()
    if len(key) != _SIZE:
        raise WrongKeyError(
            f"{VARIABLE} is no key: write {_SIZE} bytes as {2 * _SIZE} hexadecimal digits, or in "
            f"base64; {_MAKE}"
        ) from None
    return key
