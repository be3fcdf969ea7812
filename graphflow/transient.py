"""Which errors may go away by themselves, and how long a server asks to be left alone."""

from __future__ import annotations

import errno
import math
import time
from typing import Any

from graphflow.errors import GraphflowError, ModelError, NodeTimeoutError

__all__ = ["is_transient", "leaves", "retry_after"]

_FAULTS = (ValueError, TypeError, KeyError, AttributeError, AssertionError)
_STATUSES = frozenset({408, 425, 429})
_CONNECTING = frozenset(
    {errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH}
)
_TRANSPORT = frozenset(
    {
        ("httpx", "TransportError"),
        ("httpcore", "NetworkError"),
        ("httpcore", "TimeoutException"),
        ("requests", "ConnectionError"),
        ("requests", "Timeout"),
        ("aiohttp", "ClientConnectionError"),
        ("openai", "APIConnectionError"),
        ("anthropic", "APIConnectionError"),
    }
)
"""Failed connections and timeouts of the common clients: package and class. None is imported."""
_NEVER = frozenset(
    {
        ("httpx", "UnsupportedProtocol"),
        ("httpx", "LocalProtocolError"),
        ("requests", "SSLError"),
        ("aiohttp", "ClientSSLError"),
    }
)
"""Of those, what a repeat does not mend: a wrong URL, a wrong certificate."""


def is_transient(error: BaseException) -> bool:
    """Tell whether an error may go away by itself.

    Transient are timeouts, failed connections, and the HTTP statuses 408, 425, 429 and 5xx (found
    as ``error.status``, ``.status_code``, ``.code`` or ``.response.status_code``). A node's own
    faults are not (ValueError, TypeError, KeyError, AttributeError, AssertionError), nor any other
    status, nor other errors of the system or of graphflow. A group is when all of it is.

    Args:
        error: What an execution failed with.
    """
    return all(map(_is_transient, leaves(error)))


def retry_after(error: BaseException) -> float:
    """Give the seconds that a server asks to be left alone: its Retry-After, a number or a date.

    Args:
        error: What an execution failed with: ``error.retry_after``, or the header of
            ``error.response`` or of the error itself. Of a group the longest.

    Returns:
        Seconds; 0 when nothing is asked for.
    """
    return max(map(_asked, leaves(error)))


def leaves(error: BaseException) -> list[BaseException]:
    """Give the errors in a group and the groups in it; of any other error, itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


def _is_transient(error: BaseException) -> bool:
    status = _status(error)
    if isinstance(error, ModelError) and status is not None:
        return _may_pass(status)  # one whose answer was no answer is a ValueError as well
    if isinstance(error, _FAULTS):
        return False
    if isinstance(error, GraphflowError) and not isinstance(error, ModelError | NodeTimeoutError):
        return False
    if status is not None:
        return _may_pass(status)
    return isinstance(error, TimeoutError | ConnectionError) or _failed_to_connect(error)


def _failed_to_connect(error: BaseException) -> bool:
    names = {(cls.__module__.partition(".")[0], cls.__name__) for cls in type(error).__mro__}
    if names & _TRANSPORT:
        return not names & _NEVER
    if not isinstance(error, OSError):
        return False
    reason = getattr(error, "reason", None)  # urllib's URLError wraps the system's error
    if isinstance(reason, BaseException) and reason is not error:
        return is_transient(reason)
    import socket  # only here: an error of it was raised, so it is loaded

    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return error.errno in _CONNECTING


def _may_pass(status: int) -> bool:
    return status in _STATUSES or 500 <= status <= 599


def _status(error: BaseException) -> int | None:
    """Find the HTTP status that an error carries under one of the usual names."""
    response = getattr(error, "response", None)
    for owner, name in (
        (error, "status"),
        (error, "status_code"),
        (error, "code"),
        (response, "status_code"),
        (response, "status"),
    ):
        value = getattr(owner, name, None)
        if isinstance(value, int) and 100 <= value <= 599:
            return int(value)
    return None


def _asked(error: BaseException) -> float:
    asked = getattr(error, "retry_after", None)
    if asked is None:
        response = getattr(error, "response", None)
        for headers in (getattr(response, "headers", None), getattr(error, "headers", None)):
            asked = _header(headers, "retry-after") if asked is None else asked
    if isinstance(asked, str):
        asked = _seconds_in(asked)
    if not isinstance(asked, int | float) or math.isnan(asked):
        return 0.0
    return max(0.0, float(asked))


def _header(headers: Any, name: str) -> Any:
    """Look a header up whatever the case of its letters; not all clients' mappings do."""
    if not hasattr(headers, "items"):
        return None
    return next((value for key, value in headers.items() if str(key).lower() == name), None)


def _seconds_in(text: str) -> float | None:
    """Read a Retry-After: a number of seconds, or a date as HTTP writes it."""
    try:
        return float(text)
    except ValueError:
        from email.utils import parsedate_to_datetime
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):  # what a server says is no reason to fail in another way
        return None
