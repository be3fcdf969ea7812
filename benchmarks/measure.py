"""Takes one measurement of a case: wall clock, CPU time, and what memory grew by."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from benchmarks.peer import Facts, SetUp

__all__ = ["fsync_us", "measured"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def measured(case: SetUp | AsyncIterator[Any]) -> Facts:
    """Set a case up, time it, and clean up after it.

    Args:
        case: The generator that a peer's method gave.

    Returns:
        `seconds`, `cpu` (of all threads), `grew_mb` and `peak_mb` (resident memory, where Linux
        tells it), and the facts that the case gave.
    """
    if isinstance(case, AsyncIterator):
        return asyncio.run(_measured_async(case))
    watch = _Watch()
    work = next(case)
    assert callable(work), "a case yields its work first"  # noqa: S101 - an adapter's mistake
    watch.start()
    said = work()
    facts = watch.stop()
    if isinstance(said, dict):
        facts |= said
    for more in case:
        assert isinstance(more, dict), "and then facts"  # noqa: S101
        facts |= more
    return facts


async def _measured_async(case: AsyncIterator[Any]) -> Facts:
    watch = _Watch()
    work: Callable[[], Any] = await anext(case)
    watch.start()
    await work()
    facts = watch.stop()
    async for more in case:
        facts |= more
    return facts


class _Watch:
    """A stopwatch for time and memory."""

    def start(self) -> None:
        gc.collect()
        _forget_peak()
        self._before = _resident_mb()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def stop(self) -> Facts:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        facts = {"seconds": wall, "cpu": cpu}
        after = _resident_mb()
        if after:
            facts["grew_mb"] = after["VmRSS"] - self._before["VmRSS"]
            facts["peak_mb"] = after["VmHWM"] - self._before["VmRSS"]
        return facts


def _resident_mb() -> dict[str, float]:
    """Read how much memory is resident, now (VmRSS) and at most (VmHWM); nothing elsewhere."""
    if not _STATUS.exists():
        return {}
    rows = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="utf-8").splitlines())
    return {name: int(rows[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}


def _forget_peak() -> None:
    """Let VmHWM count from here."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:  # no such file, or not allowed: the peak is then that of the whole process
        return


def fsync_us(folder: str | None, times: int = 20) -> float:
    """Measure what the disk takes for 4 KB that must be durable.

    Args:
        folder: Where.
        times: How often it is measured.

    Returns:
        The median, in microseconds.
    """
    found = []
    with NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(times):
            begin = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            found.append(time.perf_counter() - begin)
    return statistics.median(found) * 1e6
