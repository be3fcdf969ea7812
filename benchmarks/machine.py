"""What must be known of the machine to read the figures."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
import time
from pathlib import Path

from benchmarks.measure import fsync_us

__all__ = ["facts"]


def facts(folder: str | None) -> dict[str, str]:
    """List the facts that the figures depend on.

    Args:
        folder: Where the databases go.
    """
    where = folder or tempfile.gettempdir()
    return {
        "when": time.strftime("%Y-%m-%d %H:%M %Z"),
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "databases": f"{where} ({_file_system(Path(where))})",
        "4 KB + fsync there": f"{fsync_us(folder):.0f} us (median of 20)",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(folder: Path) -> str:
    """Name the file system of a folder: that of the longest mount point above it."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown file system"
    above = [(at, kind) for _, at, kind, *_ in mounts if folder.resolve().is_relative_to(at)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown file system"
