"""Who advances a run: the name of this process, and whether a named process still lives.

A process of this machine is looked for by its number and start. One that cannot be seen from here,
in another container on the same disk, is known by a lock: each process that writes to a database
holds one byte of the file `FILE-lock` locked, far behind its end, at a place that only its name
gives. The kernel lets go of it when the process dies, whatever its name space.

Source:
    https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html
"""

import errno
import fcntl
import os
import struct
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["describe", "is_alive", "leave_mark", "this_process"]

_FLOCK = "hhqqi"  # type, whence, start, length, process
_HAS_LOCKS = hasattr(fcntl, "F_OFD_SETLK")  # Linux


class _Owner(NamedTuple):
    host: str
    boot: str
    pid: str
    start: str
    space: str = ""
    """The process name space; numbers mean something only within one."""
    mark: str = ""
    """Where in the lock file the process has its byte, in 15 hexadecimal digits."""

    def is_visible(self) -> bool:
        """Whether its number means here what it means there."""
        return (self.host, self.boot) == (_host(), _boot()) and self.space in ("", _space())


def this_process() -> str:
    """Name this process so that no other process, now or later, has the same name.

    Returns:
        ``host:boot:pid:start:space:mark``. `boot` is the kernel's id of this start of the machine,
        `start` the process's start in clock ticks since then, `space` its process name space; all
        three are empty where there is no /proc. `mark` is drawn at random.
    """
    return _name(os.getpid())


def leave_mark(lock_fd: int) -> None:
    """Lock this process's byte in a database's lock file, for as long as the file is open here.

    A forked child has to close the file, or it would go on holding its parent's byte.

    Args:
        lock_fd: The lock file, open to be written.
    """
    if _HAS_LOCKS:
        place = _flock(fcntl.F_WRLCK, int(this_process().rpartition(":")[2], 16))
        # On a file system without such locks, only processes of one machine see each other's end
        with suppress(OSError):
            fcntl.fcntl(lock_fd, fcntl.F_OFD_SETLK, place)


def is_alive(owner: str, lock: Path | None = None) -> bool:
    """Tell whether a process may still be at work.

    Args:
        owner: What `this_process()` gave there.
        lock: The lock file of the database that it writes to; None: there is none.

    Returns:
        False only when it is certainly gone: this machine was started again since, no process
        has its number, one that was started at another time has it, or, if it cannot be seen
        from here, its byte is not locked. A process of another machine counts as alive where
        there is no lock file, and so does a name of another form.
    """
    who = _parsed(owner)
    if who is None:
        return True
    if who.is_visible():
        now = _start(int(who.pid))
        return _has_number(int(who.pid)) if now is None or not who.start else now == who.start
    held = _holds_mark(lock, who.mark) if lock is not None and who.mark else None
    if held is not None:
        return held
    return who.host != _host() or who.boot == _boot()


def describe(owner: str) -> str:
    """Say an owner in words.

    Args:
        owner: What `this_process()` gave there.

    Returns:
        `process 4711 on host name`, or the owner as it is when it has another form.
    """
    who = _parsed(owner)
    return repr(owner) if who is None else f"process {who.pid} on host {who.host}"


def _parsed(owner: object) -> _Owner | None:
    """Take a name apart; None when it has another form: it may come from a strange file."""
    parts = owner.split(":") if isinstance(owner, str) else []
    if len(parts) not in (4, 6):  # 4 are those of the first release
        return None
    who = _Owner(*parts)
    is_one = who.pid.isascii() and who.pid.isdecimal() and len(who.pid) < 10
    has_mark = not who.mark or (len(who.mark) == 15 and set(who.mark) <= set("0123456789abcdef"))
    return who if is_one and has_mark else None


def _holds_mark(lock: Path, mark: str) -> bool | None:
    """Tell whether somebody holds a byte of a lock file; None when there is no telling."""
    if not _HAS_LOCKS:
        return None
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False  # nobody has the database open
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, int(mark, 16)))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            return None
        raise
    finally:
        os.close(fd)
    kind: int = struct.unpack_from("h", answer)[0]
    return kind != fcntl.F_UNLCK


def _flock(kind: int, place: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0)


@lru_cache(maxsize=1)
def _name(pid: int) -> str:
    mark = f"{int.from_bytes(os.urandom(8), 'big') >> 4:015x}"
    return ":".join(_Owner(_host(), _boot(), str(pid), _start(pid) or "", _space(), mark))


os.register_at_fork(after_in_child=_name.cache_clear)


def _host() -> str:
    return os.uname().nodename  # the socket module would say the same, after 3 ms of imports


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _space() -> str:
    try:
        return "".join(filter(str.isdecimal, str(Path("/proc/self/ns/pid").readlink())))
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
