"""How a database of runs fares: its settings, its files, its place, and how many runs it has."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.disk import FileFacts, facts_of, file_system, is_network
from graphflow.checkpoint.writers_lock import has_wal_reset_fault
from graphflow.records import DamagedHeader, RunHeader
from graphflow.upkeep import Finding

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["Health", "health_of", "wal_reset_words"]

_SYNCHRONOUS: Final = {0: "off", 1: "normal", 2: "full", 3: "extra"}
_PRIVATE: Final = 0o077
_WRITABLE: Final = 0o200


@dataclass(frozen=True, slots=True)
class Health:
    """How a database of runs fares.

    Attributes:
        sqlite: The version of the library: `3.40.1`.
        journal_mode: `wal`.
        synchronous: `full` or `normal`: what this process asks for when it writes.
        page_size: Bytes of a page.
        files: The database, its log and its lock, as far as they are there.
        file_system: Its kind; None where the system does not say.
        runs: How many there are, by status; children are no runs of their own here.
        wal_reset: What the library's fault means for this database, in words.
        findings: What should be different.
    """

    sqlite: str
    journal_mode: str
    synchronous: str
    page_size: int
    files: tuple[FileFacts, ...]
    file_system: str | None
    runs: dict[str, int]
    wal_reset: str
    findings: tuple[Finding, ...]


def health_of(file: "SqliteFile", runs: Sequence[RunHeader]) -> Health:
    """Look at a database.

    Args:
        file: The database.
        runs: Its runs, as they are seen.

    Raises:
        DatabaseUnavailableError: Locked or gone.
        CheckpointCorruptError: SQLite found the file damaged.
    """
    path = file.path.resolve()  # the files beside it stand there, by whichever link it is opened
    names = (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-lock")))
    files = tuple(found for found in map(facts_of, names) if found is not None)
    kind = file_system(path)
    mode, synchronous, page_size = file.read(_settings)
    return Health(
        sqlite=sqlite3.sqlite_version,
        journal_mode=mode,
        synchronous=_SYNCHRONOUS.get(synchronous, str(synchronous)),
        page_size=page_size,
        files=files,
        file_system=kind,
        runs=dict(Counter(map(_status, runs))),
        wal_reset=wal_reset_words(sqlite3.sqlite_version_info, path.name),
        findings=(
            *_on_network(kind, str(path)),
            *map(_readable, filter(_is_open, files)),
            *_shut(files),
            *_damaged(runs),
        ),
    )


def wal_reset_words(version: tuple[int, ...], name: str) -> str:
    """Say what SQLite's WAL-reset fault means for a database.

    Args:
        version: Of the library.
        name: The name of the file.

    Source:
        https://www.sqlite.org/wal.html#walresetbug
    """
    serialised = f"graphflow's writers are serialised by {name}-lock"
    if not has_wal_reset_fault(version):
        return (
            "this library does not have SQLite's WAL-reset fault (of 3.7.0 to 3.51.2). "
            f"{serialised} all the same: another process may use an older library"
        )
    return (
        "this library has SQLite's WAL-reset fault (of 3.7.0 to 3.51.2), unless its distribution "
        f"has mended it: {serialised}, so that they cannot meet it. Open the file with "
        f'other programs read-only: `sqlite3 "file:{name}?mode=ro"`'
    )


def _settings(cursor: sqlite3.Cursor) -> tuple[str, int, int]:
    asked = ("journal_mode", "synchronous", "page_size")
    mode, synchronous, size = (cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in asked)
    return mode, synchronous, size


def _status(run: RunHeader) -> str:
    return "damaged" if isinstance(run, DamagedHeader) else run.status


def _damaged(runs: Sequence[RunHeader]) -> Iterator[Finding]:
    for run in runs:
        if isinstance(run, DamagedHeader):
            yield Finding("problem", run.error or "", run.run_id)


def _on_network(kind: str | None, path: str) -> list[Finding]:
    if not is_network(kind):
        return []
    words = (
        f"{path} lies on a network file system ({kind}): writers on two machines would damage it, "
        "and it cannot promise that a commit survives. Move it to a local disk."
    )
    return [Finding("problem", words)]


def _is_open(file: FileFacts) -> bool:
    return bool(file.mode & _PRIVATE)


def _shut(files: Sequence[FileFacts]) -> Iterator[Finding]:
    """Find what cannot be written beside a database that can: a reader may have made it."""
    if files and files[0].mode & _WRITABLE:
        for file in files[1:]:
            if not file.mode & _WRITABLE:
                words = (
                    f"{file.path} cannot be written (mode {file.mode:04o}), so that the database"
                    f" cannot either: `chmod 600 {file.path}`"
                )
                yield Finding("problem", words)


def _readable(file: FileFacts) -> Finding:
    words = f"others may read {file.path} (mode {file.mode:04o}): `chmod 600 {file.path}`"
    return Finding("warning", words)
