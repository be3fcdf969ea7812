"""A process that commits, copies the log, closes and opens again, until it is told to stop.

    python hammer.py DATABASE RUN_ID SECONDS
    python hammer.py DATABASE --read SECONDS

It prints the last step that was acknowledged, or how often it has read.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from random import Random

from graphflow.checkpoint import sqlite_file
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.records import SPEC_JSON, a_header, a_snapshot, a_step


def write(path: str, run_id: str, until: float) -> int:
    """Advance a run, with a connection of a few commits each time."""
    sqlite_file._LONG_LOG, sqlite_file._LOOK_EVERY = 20_000, 2
    chance, step = Random(run_id), 0
    store = SqliteCheckpointer(path)
    header = a_header(run_id, owner=None)
    lease = store.begin(header, SPEC_JSON, a_step(0), a_snapshot(0), None)
    while time.monotonic() < until:
        for _ in range(chance.randrange(1, 12)):
            step += 1
            store.commit(lease, a_step(step, tasks=step % 3 + 1), None, None)
        store.close()
        store = SqliteCheckpointer(path)
        lease = store.take(run_id, this_process())
    store.close()
    return step


def read(path: str, until: float) -> int:
    """Read as other programs do: each time whole steps, and a sound file."""
    times = 0
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    while time.monotonic() < until:
        conn.execute("BEGIN")
        rows = conn.execute("SELECT count(*), max(step) + 1 FROM steps GROUP BY run").fetchall()
        assert all(count == last for count, last in rows), rows
        if not times % 5:
            assert conn.execute("PRAGMA quick_check").fetchone() == ("ok",)
        conn.rollback()
        times += 1
        if not times % 7:
            conn.close()
            conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    conn.close()
    return times


if __name__ == "__main__":
    database, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    end = time.monotonic() + seconds
    done = read(database, end) if name == "--read" else write(database, name, end)
    print(done)  # noqa: T201 - the parent reads it
