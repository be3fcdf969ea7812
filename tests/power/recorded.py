"""SQLite on a recorded disk: each write, sync and delete of a database, in order.

The store runs as it is, on a connection that looks as one of `sqlite3` and is one of apsw: only
apsw lets Python stand between SQLite and its files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw

from tests.power.disk import Disk
from tests.power.tables import dump

__all__ = ["Log", "recorded_sqlite3"]

_SYNC_NAMES = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class Log:
    """What happened, in order: each entry is a function that does it to a disk, or a note."""

    def __init__(self) -> None:
        self.entries: list[Callable[[Disk], None] | tuple[str, Any]] = []
        self.kinds: list[str] = []
        """Of each entry what it is: `write runs.db-wal`, `committed`."""
        self.syncs: list[int] = []
        """The places of the syncs among the entries."""

    def do(self, kind: str, action: Callable[[Disk], None]) -> None:
        """Note what is done to the disk."""
        self.kinds.append(kind)
        self.entries.append(action)

    def note(self, kind: str, what: Any) -> None:
        """Note what is known at this point."""
        self.kinds.append(kind)
        self.entries.append((kind, what))


class _File(apsw.VFSFile):
    def __init__(self, log: Log, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._log, self._name, self._flags = log, _short(name), flags[0]
        self._syncs_names = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _SYNC_NAMES)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        name, copy = self._name, bytes(data)
        self._log.do(f"write {name}", lambda disk: disk.names[name].write(offset, copy))

    def xTruncate(self, length: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(length)
        name = self._name
        self._log.do(f"truncate {name}", lambda disk: disk.names[name].truncate(length))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        self._log.syncs.append(len(self._log.entries))
        name, with_names = self._name, self._syncs_names
        self._syncs_names = False  # SQLite syncs the folder with the first sync of a new file

        def sync(disk: Disk) -> None:
            disk.names[name].sync()
            if with_names:
                disk.sync_names()

        self._log.do(f"sync {name}", sync)


class _Vfs(apsw.VFS):
    def __init__(self, name: str, log: Log) -> None:
        self._log = log
        super().__init__(name, "")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        short, path = _short(name), Path(_full(name))
        before = path.read_bytes() if path.exists() else None
        file = _File(self._log, name, flags)

        def make(disk: Disk) -> None:
            if short not in disk.names:
                disk.make(short, before or b"")

        self._log.do(f"open {short}", make)
        return file

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(name, syncdir)
        short = Path(name).name

        def remove(disk: Disk) -> None:
            if short in disk.names:
                disk.remove(short)
            if syncdir:
                disk.sync_names()

        self._log.do(f"remove {short}", remove)


def _full(name: apsw.URIFilename | str | None) -> str:
    assert name is not None, "only files with names are expected"
    return name if isinstance(name, str) else name.filename()


def _short(name: apsw.URIFilename | str | None) -> str:
    return Path(_full(name)).name


class _Cursor:
    """What the store uses of a cursor of `sqlite3`."""

    rowcount, lastrowid = -1, 0
    description: tuple[tuple[str, ...], ...] | None = None

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(self, sql: str, values: Sequence[Any] = ()) -> _Cursor:
        own = self.connection.own
        self._rows = iter(self.connection.run(lambda: self._all(own, sql, values)))
        self.rowcount, self.lastrowid = own.changes(), own.last_insert_rowid()
        if sql == "COMMIT":
            self.connection.log.note("committed", dump(own.execute))
        return self

    def _all(self, own: apsw.Connection, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        def look(cursor: apsw.Cursor, *_: Any) -> bool:
            self.description = cursor.get_description() or None
            return True

        cursor = own.cursor()
        cursor.exec_trace = look  # afterwards an empty result has no description any more
        return list(cursor.execute(sql, values if isinstance(values, dict) else tuple(values)))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> _Cursor:
        for row in rows:
            self.execute(sql, row)
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def close(self) -> None:
        self._rows = iter(())


class _Connection:
    """What the store uses of a connection of `sqlite3`."""

    row_factory = isolation_level = None

    def __init__(self, uri: str, vfs: str, log: Log, timeout: float) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
        self.own = self.run(lambda: apsw.Connection(uri, flags=flags, vfs=vfs))
        self.own.set_busy_timeout(int(timeout * 1000))
        self.log = log

    @property
    def in_transaction(self) -> bool:
        return self.own.in_transaction

    @property
    def total_changes(self) -> int:
        return self.own.total_changes()

    def setlimit(self, category: int, limit: int) -> int:
        return self.own.limit(category, limit)

    def cursor(self) -> _Cursor:
        return _Cursor(self)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> _Cursor:
        return _Cursor(self).execute(sql, values)

    def close(self) -> None:
        self.run(self.own.close)

    def run(self, call: Callable[[], Any]) -> Any:
        """Call something of apsw; its errors become those of `sqlite3`."""
        try:
            return call()
        except apsw.Error as error:
            kind = sqlite3.OperationalError
            if isinstance(error, apsw.ConstraintError):
                kind = sqlite3.IntegrityError
            said = kind(str(error))
            said.sqlite_errorcode = getattr(error, "extendedresult", 1)
            said.sqlite_errorname = type(error).__name__
            raise said from error


def recorded_sqlite3(name: str, log: Log) -> Any:
    """Make what the store takes for the module `sqlite3`: all that it opens is recorded.

    Args:
        name: A name of its own for the VFS.
        log: What happens is noted in it.
    """
    vfs = _Vfs(name, log)

    def connect(address: str, /, *, timeout: float, **_: Any) -> _Connection:
        return _Connection(address, name, log, timeout)

    return SimpleNamespace(
        connect=connect,
        vfs=vfs,
        Error=sqlite3.Error,
        OperationalError=sqlite3.OperationalError,
        Cursor=_Cursor,
        Connection=_Connection,
        sqlite_version_info=sqlite3.sqlite_version_info,
    )
