"""What a server says instead of an answer, as errors that know whether asking again may help."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from graphflow.errors import ModelAnswerError, ModelError, ModelUnavailableError
from graphflow.llm.wire import beginning

__all__ = ["broken_off", "error_in", "refused", "seconds_until", "silent", "unreachable"]

_PASSING = (408, 425, 429)
_HINTS = {
    401: " Check OPENAI_API_KEY.",
    403: " Check OPENAI_API_KEY, and whether it may use this model.",
    404: " Check the base URL (most end in /v1) and the model's name.",
}


def refused(where: str, status: int, reason: str, text: str, after: str | None) -> ModelError:
    """Make the error of an HTTP status that is no success.

    Args:
        where: The URL, for the message.
        status: The status.
        reason: Its words.
        text: The body.
        after: The header Retry-After.

    Returns:
        A ModelUnavailableError when asking later may help (408, 425, 429, 5xx), else a
        ModelAnswerError.
    """
    message = f"{where} answered {status} {reason}: {beginning(text)}."
    wait = seconds_until(after, datetime.now(UTC))
    if _passes(status):
        later = f" Retry after {after}." if after else ""
        return ModelUnavailableError(f"{message}{later}", status=status, retry_after=wait)
    return ModelAnswerError(f"{message}{_HINTS.get(status, '')}", status=status, retry_after=wait)


def error_in(where: str, piece: Mapping[str, Any]) -> ModelError | None:
    """Find the error that a server puts into the middle of a stream, whose status was 200.

    Unless it blames the request, it is a ModelUnavailableError: the request had been accepted.
    """
    found = piece.get("error") or (piece if piece.get("object") == "error" else None)
    if not found:
        return None
    holder = found if isinstance(found, dict) else {}
    status = _status(holder.get("code"))
    message = f"{where} broke off the answer with an error: {beginning(_words(found))}"
    at_fault = holder.get("type") == "invalid_request_error" if status is None else False
    if at_fault or not (status is None or _passes(status)):
        return ModelAnswerError(message, status=status)
    return ModelUnavailableError(message, status=status)


def unreachable(where: str, what: str) -> ModelUnavailableError:
    """Make the error of a connection that did not come about, or brought nothing."""
    return ModelUnavailableError(
        f"{where} cannot be reached: {what}. "
        "Start the server, or set OPENAI_BASE_URL to the one that runs."
    )


def silent(where: str, seconds: float) -> ModelUnavailableError:
    """Make the error of a server that sends nothing for too long."""
    return ModelUnavailableError(
        f"{where} sent nothing for {seconds:g} s: the server is overloaded or the answer too "
        "long. Give ChatClient(timeout=) more seconds, or lower max_tokens."
    )


def broken_off(where: str, what: str) -> ModelUnavailableError:
    """Make the error of a stream that ended before the answer did."""
    return ModelUnavailableError(
        f"{where} broke off in the middle of the answer: {what}. Ask again."
    )


def seconds_until(after: str | None, now: datetime) -> float | None:
    """Read the header Retry-After: seconds, or a date of HTTP.

    Args:
        after: The header; None when there is none.
        now: The time, with its zone.

    Returns:
        Seconds, at least 0; None when it says nothing that can be read.

    Source:
        https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    """
    if after is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", after.strip()):
        return float(after)
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(after)
    except (ValueError, OverflowError):
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())


def _passes(status: int) -> bool:
    return status in _PASSING or status >= 500


def _status(code: object) -> int | None:
    """Take an error's code when it is an HTTP status: others are words, or the server's own."""
    if isinstance(code, str) and re.fullmatch("[0-9]{3}", code):
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _words(found: object) -> str:
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
