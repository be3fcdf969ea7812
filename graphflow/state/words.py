"""How values and pydantic's errors read in our messages."""

from __future__ import annotations

from reprlib import Repr

from pydantic_core import ValidationError

__all__ = ["first_field", "shown", "what_is_wrong"]

_LONGEST = 80  # characters

_repr = Repr()
_repr.maxlist = _repr.maxtuple = _repr.maxset = _repr.maxfrozenset = _repr.maxdict = 8
_repr.maxstring = _repr.maxother = _repr.maxlong = _LONGEST


def shown(value: object) -> str:
    """Give a value as a message shows it: its repr, at most 80 characters; never raises."""
    try:
        text = _repr.repr(value)
    except Exception as error:  # noqa: BLE001 - a broken __repr__ must not hide the error
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def what_is_wrong(error: Exception, *, below: int = 0, values: bool = False) -> str:
    """Give an error in one line.

    Args:
        error: A ValidationError, or whatever a user's validator raised.
        below: How many parts of each location to leave out, because the message says them.
        values: Whether to show the values that are wrong, too.
    """
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    parts = []
    for item in error.errors(include_url=False, include_context=False):
        where = ".".join(map(str, item["loc"][below:]))
        got = f" (got {shown(item['input'])})" if values and item["type"] != "missing" else ""
        parts.append(f"{where}: {item['msg']}{got}" if where else f"{item['msg']}{got}")
    return "; ".join(parts)


def first_field(error: BaseException | None) -> str:
    """Name the first field that is wrong: `address.zip`; empty when that is not known."""
    if not isinstance(error, ValidationError):
        return ""
    return ".".join(map(str, error.errors(include_url=False, include_context=False)[0]["loc"]))
