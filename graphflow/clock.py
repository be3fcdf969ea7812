"""The time of day as the records write it."""

import time
from datetime import UTC, datetime

__all__ = ["now"]

_second: tuple[int, str] = (-1, "")


def now() -> str:
    """Tell the time.

    Returns:
        UTC, ISO 8601, with microseconds: ``2026-11-22T14:11:00.123456+00:00``.
    """
    global _second  # noqa: PLW0603 - the text of the current second: it is asked for twice a step
    second, rest = divmod(time.time_ns(), 1_000_000_000)
    known, text = _second
    if known != second:
        text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _second = (second, text)
    return f"{text}.{rest // 1000:06d}+00:00"
