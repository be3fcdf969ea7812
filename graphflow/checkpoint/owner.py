"""Who advances a run: the name of this process, and whether a named process still lives."""

import os
from functools import lru_cache
from pathlib import Path

__all__ = ["describe", "is_alive", "is_here", "this_process"]


def this_process() -> str:
    """Name this process so that no other process, now or later, has the same name.

    Returns:
        ``host:boot:pid:start``. `boot` is the kernel's id of this start of the machine, `start`
        the process's start in clock ticks since then; both are empty where there is no /proc.
    """
    return _name(os.getpid())


def is_alive(owner: str) -> bool:
    """Tell whether a process may still be at work.

    Args:
        owner: What `this_process()` gave there.

    Returns:
        False only when it is certainly gone: this machine was started again since, no process
        has its number, or one that was started at another time has it. A process of another
        machine counts as alive, and so does a name of another form.
    """
    try:
        _, boot, number, start = owner.split(":")
        pid = int(number)
    except ValueError:
        return True
    if not is_here(owner):
        return True
    if boot != _boot():
        return False
    now = _start(pid)
    if now is None or not start:
        return _has_number(pid)
    return now == start


def is_here(owner: str) -> bool:
    """Tell whether an owner is, or was, a process of this machine."""
    return owner.partition(":")[0] == _host()


def describe(owner: str) -> str:
    """Say an owner in words.

    Args:
        owner: What `this_process()` gave there.

    Returns:
        `process 4711 on host name`, or the owner as it is when it has another form.
    """
    parts = owner.split(":")
    return f"process {parts[2]} on host {parts[0]}" if len(parts) == 4 else repr(owner)


@lru_cache(maxsize=1)
def _name(pid: int) -> str:
    # Keyed by the process id, because a fork copies the cache.
    return f"{_host()}:{_boot()}:{pid}:{_start(pid) or ''}"


def _host() -> str:
    return os.uname().nodename  # the socket module would say the same, after 3 ms of imports


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _start(pid: int) -> str | None:
    """Read when a process started; None when there is no telling, "dead" for a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return "dead" if fields[0] in "ZX" else fields[19]


def _has_number(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
