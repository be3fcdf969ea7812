"""A torn log: whatever is left of the -wal file, the database opens to what was committed once."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from graphflow.checkpoint import sqlite_file
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.records import SPEC_JSON, a_header, a_memo, a_snapshot, a_step, a_task
from tests.chaos import amount
from tests.power.tables import dump, dump_of_nothing

FRAME = 24 + 2048  # a header and a page
HEADER = 32
STEPS = 40
Tell = Callable[[str], None]


class Taken(NamedTuple):
    """A database and its log as they lay on the disk while it was open."""

    database: bytes
    log: bytes
    states: list[str]
    """How its tables had stood until then."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> list[Taken]:
    """Make a run with a log that was begun anew several times; give moments of it.

    No moment is between a checkpoint and the next commit: what has been copied from the log has
    been synced in the log, and is there however the machine ends.
    """
    folder = tmp_path_factory.mktemp("lived")
    path, moments, states = folder / "runs.db", [], [dump_of_nothing()]

    def note() -> None:
        states.append(store._file.read(lambda cursor: dump(cursor.execute)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_file, "_LONG_LOG", 60_000)
        patch.setattr(sqlite_file, "_LOOK_EVERY", 8)
        store = SqliteCheckpointer(path)
        store.runs()
        note()
        lease = store.begin(a_header(owner=None), SPEC_JSON, a_step(0), a_snapshot(0), None)
        note()
        for step in range(1, STEPS + 1):
            store.memo(lease, a_memo(step))
            note()
            store.keep(lease, step, a_task(1))
            note()
            store.commit(lease, a_step(step, tasks=2), a_snapshot(step), None)
            note()
            if step in (1, 4, 20, 40):
                assert store._file.transactions % 8
                # By another process: closing a file of one's own drops SQLite's locks on it
                subprocess.run(["cp", path, f"{path}-wal", folder.parent], check=True)
                copied = folder.parent / "runs.db"
                moments.append(
                    Taken(
                        copied.read_bytes(),
                        copied.with_name("runs.db-wal").read_bytes(),
                        states[:],
                    )
                )
        store.close()
    return moments


def torn(log: bytes, chance: Random) -> tuple[str, bytes | None]:
    """Tear a log; say how. None: it is gone."""
    frames = (len(log) - HEADER) // FRAME
    place = chance.randrange(len(log) + 1)
    junk = chance.randbytes(chance.randrange(1, 3 * FRAME))
    first = HEADER + chance.randrange(frames) * FRAME
    frame = log[first : first + FRAME * chance.randrange(1, 4)]
    at = HEADER + chance.randrange(frames) * FRAME
    return chance.choice(
        [
            ("cut off", log[:place]),
            ("cut off between frames", log[: HEADER + place // FRAME * FRAME]),
            ("cut off, then junk", log[:place] + junk),
            ("junk behind", log + junk),
            ("frames twice at the end", log + frame),
            ("frames over others", log[:at] + frame + log[at + len(frame) :]),
            ("frames put between", log[:at] + frame + log[at:]),
            ("a hole of zeros", log[:place] + bytes(600) + log[place + 600 :]),
            ("junk in the middle", log[:place] + junk + log[place + len(junk) :]),
            ("gone", None),
            ("whole", log),
        ]
    )


@pytest.mark.chaos
def test_a_torn_log_is_a_clean_prefix(lived: list[Taken], tmp_path: Path, tell: Tell) -> None:
    """Cut, junk, frames twice, a junk index: no hole, all verifies, and the run goes on."""
    chance, many = Random(20261130), amount(60, 300)
    lost = []
    for number in range(many):
        database, log, states = chance.choice(lived)
        how, left = torn(log, chance)
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "runs.db"
        path.write_bytes(database)
        if left is not None:
            path.with_name("runs.db-wal").write_bytes(left)
        if chance.random() < 0.5:
            junk = chance.choice([b"", bytes(32_768), chance.randbytes(32_768)])
            path.with_name("runs.db-shm").write_bytes(junk)
        lost.append(look_at(path, states, f"{number}: {how}"))
    assert 0 in lost
    assert max(lost) > 5
    tell(f"torn logs: {many}, the last {max(lost)} commits lost at most, no hole")


def look_at(path: Path, states: list[str], where: str) -> int:
    """Open a database, see that it is sound and was so before, and go on with its run.

    Returns:
        How many commits are gone.
    """
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)], where
        found = dump(conn.execute)
    assert found in states, where
    store = SqliteCheckpointer(path)
    if store.runs():
        last = store.load("run-1").header.step
        lease = store.take("run-1", "here")
        store.commit(lease, a_step(last + 1, tasks=2), a_snapshot(last + 1), None)
        assert store.load("run-1").header.step == last + 1, where
    store.close()
    return len(states) - 1 - states.index(found)
