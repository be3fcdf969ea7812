"""The work that every engine does: its states, its amounts, and what must come out."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from pydantic import BaseModel, create_model

__all__ = [
    "CHAIN",
    "FAN",
    "FAN_TOTAL",
    "MESSAGE_BYTES",
    "NAP",
    "SHORT_NAP",
    "THREAD_NODES",
    "Fan",
    "Messages",
    "Small",
    "Wide",
    "expect",
    "growth",
    "message",
]

CHAIN = 10
"""Nodes of the chain."""
FAN = 100
"""Tasks side by side."""
FAN_TOTAL = sum(range(FAN))
NAP = 0.010
"""Seconds that a task of the sleeping fan-outs sleeps."""
SHORT_NAP = 0.001
"""Seconds that a node of the concurrent runs sleeps."""
THREAD_NODES = 5
"""Nodes of each of the concurrent runs."""
MESSAGE_BYTES = 200


class Small(BaseModel):
    """A counter, its limit, and a field that nobody touches."""

    n: int = 0
    limit: int = 0
    label: str = "small"


class Messages(BaseModel):
    """A counter and a list that grows by one message a step."""

    n: int = 0
    limit: int = 0
    messages: list[str] = []


class Fan(BaseModel):
    """What the tasks of a fan-out give, and its sum."""

    results: list[int] = []
    total: int = 0


_FIELDS: dict[str, Any] = {f"f{i}": (int, i) for i in range(25)}
_FIELDS |= {f"f{i}": (str, f"value-{i}") for i in range(25, 50)}
Wide: Any = create_model("Wide", **_FIELDS)
"""Fifty fields, of which f0 counts."""

_written: list[float] = []


def message(i: int) -> str:
    """Write the message of a step, and note when."""
    _written.append(perf_counter())
    return f"{i:08d}".ljust(MESSAGE_BYTES, "x")


def growth() -> dict[str, float]:
    """Say how much longer the last 100 messages took than the first, and forget them."""
    times, width = _written.copy(), 100
    _written.clear()
    if len(times) < 3 * width:
        return {}
    first = (times[width] - times[5]) / (width - 5)
    last = (times[-1] - times[-1 - width]) / width
    return {"late_to_early": last / first}


def expect(found: object, wanted: object) -> None:
    """Refuse to measure an engine that did not do the work.

    Raises:
        AssertionError: It did not.
    """
    if found != wanted:
        raise AssertionError(f"the result is {found!r}, not {wanted!r}")
