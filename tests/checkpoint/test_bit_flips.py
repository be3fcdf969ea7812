"""One bit of a database is another one: that is found, or it changes nothing that is read."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointCorruptError, GraphflowError
from graphflow.records import Ending
from graphflow.testing.records import (
    a_goto,
    a_header,
    a_snapshot,
    a_step,
    a_task,
)
from tests.chaos import amount
from tests.checkpoint import golden
from tests.rig.forge import SPEC, change, store_loose

FLIPS = amount(1_000, 5_000)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make a database of runs of all kinds, and one with rows in every table."""
    db = tmp_path_factory.mktemp("flips") / "runs.db"
    golden.write(db).close()
    store = SqliteCheckpointer(db)
    lease = store.begin(a_header("by hand"), SPEC, a_step(0), a_snapshot(0), None)
    for step in (1, 2, 3):
        store_loose(store, lease, step)
        if step < 3:
            snapshot = a_snapshot(2, since=0) if step == 2 else None
            store.commit(lease, a_step(step, tasks=2, joins=True, sends=True), snapshot, None)
    store.keep(lease, 3, a_task(0, goto=a_goto(), items=3))
    store.end(lease, Ending("paused", "question"))
    store.close()
    return db.read_bytes()


def read_all(db: Path, names: list[str]) -> dict[str, Any]:
    """Load all runs; of one that is found damaged, the error."""
    found: dict[str, Any] = {}
    try:
        store = SqliteCheckpointer(db)
    except GraphflowError as error:
        return dict.fromkeys(names, error)
    try:
        for name in names:
            try:
                records = store.load(name)
                # What is made of rows when somebody looks at it
                found[name] = (records, [(s.tasks, s.decisions, s.ready) for s in records.steps])
            except GraphflowError as error:
                found[name] = error
    finally:
        store.close()
    return found


def judged(before: dict[str, Any], after: dict[str, Any]) -> str:
    if any(isinstance(one, GraphflowError) for one in after.values()):
        return "found"
    return "harmless" if before == after else "silent"


def flipped(rng: random.Random, value: Any) -> Any:
    """Flip one bit of a value, as it would stand in the file."""
    if isinstance(value, float):
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        return struct.unpack("<d", struct.pack("<Q", bits ^ 1 << rng.randrange(64)))[0]
    if isinstance(value, int):
        size = max(1, (value.bit_length() + 8) // 8)
        return int.from_bytes(
            (value ^ 1 << rng.randrange(8 * size - 1)).to_bytes(size + 1, "little", signed=True),
            "little",
            signed=True,
        )
    raw = bytearray(value.encode())
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw)


def cells(db: Path) -> dict[tuple[str, str], list[tuple[Any, list[Any], list[str]]]]:
    """List the cells of every column of every table that have bits, with what names their rows."""
    conn = sqlite3.connect(db)
    tables = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    found = {}
    for (table,) in tables:
        if table.startswith(("sqlite_", "_sqlite")):
            continue
        info = conn.execute(f"PRAGMA table_info({table})").fetchall()
        keys = [row[1] for row in info if row[5]]
        for column in (row[1] for row in info):
            rows = conn.execute(f"SELECT {column}, {', '.join(keys)} FROM {table}").fetchall()
            having = [(value, key, keys) for value, *key in rows if value not in (None, "")]
            if having:
                found[table, column] = having
    conn.close()
    return found


@pytest.mark.chaos
def test_check_08_bit_flips_in_cells(content: bytes, db: Path) -> None:
    """A flipped bit in any column of any table is found, or nothing that is read has changed."""
    db.write_bytes(content)
    rng, places = random.Random(8), cells(db)
    names = [h.run_id for h in SqliteCheckpointer(db).runs()]
    before = read_all(db, names)
    assert not any(isinstance(one, GraphflowError) for one in before.values())
    counts: Counter[str] = Counter()
    silent: list[object] = []
    for flip in range(FLIPS // 2):
        table, column = list(places)[flip % len(places)]
        value, key, keys = rng.choice(places[table, column])
        new = flipped(rng, value)
        db.write_bytes(content)
        conn = sqlite3.connect(db)
        at = " AND ".join(f"{name} IS ?" for name in keys)
        put = "CAST(? AS TEXT)" if isinstance(new, bytes) else "?"
        try:
            conn.execute(f"UPDATE {table} SET {column} = {put} WHERE {at}", (new, *key))
            conn.commit()
        except sqlite3.IntegrityError:  # there is a row of that key
            continue
        finally:
            conn.close()
        verdict = judged(before, read_all(db, names))
        counts[verdict] += 1
        if verdict == "silent":
            silent.append((table, column, key, value, new))
    assert not silent, silent[:5]
    assert counts["found"] > FLIPS // 4, counts


@pytest.mark.chaos
def test_check_08_bit_flips_in_the_file(content: bytes, db: Path) -> None:
    """A flipped bit anywhere in the file is found, or nothing that is read has changed."""
    db.write_bytes(content)
    rng = random.Random(9)
    names = [h.run_id for h in SqliteCheckpointer(db).runs()]
    before = read_all(db, names)
    counts: Counter[str] = Counter()
    silent: list[object] = []
    for _ in range(FLIPS // 2):
        raw = bytearray(content)
        at, bit = rng.randrange(len(raw)), rng.randrange(8)
        raw[at] ^= 1 << bit
        for rest in db.parent.glob(f"{db.name}-*"):
            rest.unlink()
        db.write_bytes(raw)
        verdict = judged(before, read_all(db, names))
        counts[verdict] += 1
        if verdict == "silent":
            silent.append((at, bit))
    assert not silent, (len(silent), silent[:5])
    assert counts["found"] > FLIPS // 20, counts


def test_check_08_earlier_steps_are_still_readable(content: bytes, db: Path) -> None:
    """After damage in a step, the run can be read up to the step before it."""
    db.write_bytes(content)
    whole = SqliteCheckpointer(db).load("done")
    change(
        db,
        'UPDATE tasks SET update_json = \'{"log":["other"]}\' WHERE step = 5 '
        "AND run = (SELECT id FROM runs WHERE run_id = 'done')",
    )
    store = SqliteCheckpointer(db)
    with pytest.raises(CheckpointCorruptError) as caught:
        store.load("done")
    assert (caught.value.run_id, caught.value.step) == ("done", 5)
    earlier = store.load_until("done", 4)
    assert [s.step for s in earlier.steps] == [0, 1, 2, 3, 4]
    assert earlier.steps == whole.steps[:5]
    assert all(r.step <= 5 for r in earlier.calls + earlier.attempts)
    with pytest.raises(CheckpointCorruptError):
        store.load_until("done", 5)
    store.close()
