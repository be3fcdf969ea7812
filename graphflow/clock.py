"""The time of day as the records write it."""

from datetime import UTC, datetime
from time import time_ns

__all__ = ["now"]

_second: tuple[str, str] = ("", "")


def now() -> str:
    """Tell the time.

    Returns:
        UTC, ISO 8601, with microseconds: ``2026-11-22T14:11:00.123456+00:00``.
    """
    global _second  # noqa: PLW0603 - the text of the current second: it is asked for twice a step
    nanoseconds = str(time_ns())
    second, text = _second
    if second != nanoseconds[:-9]:
        second = nanoseconds[:-9]
        text = datetime.fromtimestamp(int(second), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _second = (second, text)
    return f"{text}.{nanoseconds[-9:-3]}+00:00"
