"""The lock of the writers: nobody writes a database without it (SQLite's WAL-reset fault)."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from graphflow.checkpoint import sqlite_connect, sqlite_file
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.checkpoint.writers_lock import has_wal_reset_fault
from graphflow.errors import DatabaseUnavailableError
from graphflow.testing.records import SPEC_JSON, a_header, a_snapshot, a_step, facts
from tests.chaos import amount

HAMMER = Path(__file__).with_name("hammer.py")
Tell = Callable[[str], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a database."""
    return tmp_path / "runs.db"


@contextmanager
def opened(path: Path) -> Iterator[tuple[SqliteCheckpointer, Callable[[int], None]]]:
    """Open a database with a run; give the store, and what commits a step."""
    store = SqliteCheckpointer(path)
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    yield store, lambda step: store.commit(lease, a_step(step), None, None)
    store.close()


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock that the next writer will ask for."""
    with path.with_name(path.name + "-lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize(
    ("version", "is_faulty"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_versions_with_the_fault(version: tuple[int, ...], is_faulty: bool) -> None:
    """SQLite from 3.7.0 to 3.51.2 counts as faulty, and no other."""
    assert has_wal_reset_fault(version) == is_faulty


def test_all_writing_is_done_under_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables, commits, checkpoints, closing: each write, sync and delete finds the lock taken."""
    pytest.importorskip("apsw", reason="SQLite is watched through apsw (extra `test`)")
    from tests.power.recorded import Log, recorded_sqlite3

    without: list[str] = []

    class Watching(Log):
        def do(self, kind, action):
            super().do(kind, action)
            if not kind.startswith("open ") and not is_held(path):
                without.append(kind)

    log = Watching()
    monkeypatch.setattr(sqlite_connect, "sqlite3", recorded_sqlite3("watched", log))
    monkeypatch.setattr(sqlite_file, "_LONG_LOG", 30_000)
    monkeypatch.setattr(sqlite_file, "_LOOK_EVERY", 3)
    with opened(path) as (_, commit):
        for step in range(1, 15):
            commit(step)
    assert log.kinds.count("sync runs.db") > 4  # tables, checkpoints, and the one at the end
    assert log.kinds[-1] == "remove runs.db-wal"
    assert without == []


def test_a_lock_that_was_removed_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever removes the lock's file does not part the writers for long, nor at the end."""
    monkeypatch.setattr(sqlite_file, "_LOOK_EVERY", 2)
    lock = path.with_name("runs.db-lock")
    with opened(path) as (store, commit):
        commit(1)
        lock.unlink()
        lock.touch()  # as another process makes it that opens the database now
        for step in (2, 3):
            commit(step)
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            monkeypatch.setattr(store._file._writers, "_seconds", 0.01)
            with pytest.raises(DatabaseUnavailableError, match="locked by another process"):
                commit(4)
        commit(4)
        lock.unlink()
    assert [file.name for file in path.parent.iterdir()] == ["runs.db"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where files cannot be locked nothing is written, and the error says so."""

    def flock(*_: int) -> None:
        raise OSError(number, "cannot be done")

    with opened(path) as (store, commit):
        commit(1)
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", flock)
            with pytest.raises(DatabaseUnavailableError, match=r"cannot lock files.*local disk"):
                commit(2)
        commit(2)
        assert store.load("run-1").header.step == 2


def test_a_lock_that_may_not_be_opened(path: Path) -> None:
    """A lock that cannot be opened is named, and the database stays as it was."""
    with opened(path):
        pass
    path.with_name("runs.db-lock").mkdir()
    before = path.read_bytes()
    with pytest.raises(DatabaseUnavailableError, match=r"runs\.db-lock"):
        SqliteCheckpointer(path)
    assert path.read_bytes() == before


@pytest.mark.chaos
def test_processes_that_hammer_one_file_leave_it_sound(path: Path, tell: Tell) -> None:
    """Commits, checkpoints, closes and opens of several processes damage nothing, with readers."""
    SqliteCheckpointer(path).runs()
    writers, seconds = [f"run-{n}" for n in range(4)], amount(3, 60)
    processes = [
        subprocess.Popen(
            [sys.executable, HAMMER, path, what, str(seconds)], stdout=subprocess.PIPE, text=True
        )
        for what in [*writers, "--read"]
    ]
    said = [process.communicate(timeout=seconds + 60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 5
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store = SqliteCheckpointer(path)
    for run_id, last in zip(writers, said, strict=False):
        steps = [a_step(n, tasks=n % 3 + 1) for n in range(1, int(last) + 1)]
        assert facts(store.load(run_id).steps[1:]) == facts(steps)
    store.close()
    counts = list(map(int, said))
    tell(f"hammered for {seconds} s: {sum(counts[:4])} commits, {counts[4]} reads, sound")
