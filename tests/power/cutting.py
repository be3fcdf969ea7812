"""Cuts the power of a recorded run at many moments, and looks at what is left each time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from graphflow.checkpoint import sqlite_backup, sqlite_connect, sqlite_file
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from tests.power.acknowledging import AcknowledgingStore, missing
from tests.power.disk import MODES, Disk, Mode
from tests.power.recorded import Log, recorded_sqlite3
from tests.power.tables import dump, dump_of_nothing

__all__ = ["cut_often", "record"]

_names = count()


@dataclass(slots=True)
class Recording:
    """A run of a journey on a recorded disk."""

    log: Log
    durability: str
    ends: Any
    stood: list[str]
    """How the tables stood: with nothing, and after each commit."""


@dataclass(slots=True)
class Cut:
    """What a power cut leaves, and what was known before it."""

    place: int
    """After so many entries of the log."""
    mode: Mode
    files: dict[str, bytes]
    begun: int
    """How many transactions were committed, as far as SQLite says."""
    safe: int
    """How many were committed when something was last acknowledged."""
    facts: list[Any] = field(default_factory=list)
    """What was acknowledged."""


def record(
    folder: Path, journey: Callable[[Any], Any], durability: str, patch: pytest.MonkeyPatch
) -> Recording:
    """Do a journey on a recorded disk; the log of the database is emptied often."""
    log = Log()
    with patch.context() as during:
        recorded = recorded_sqlite3(f"recorded-{next(_names)}", log)
        for module in (sqlite_connect, sqlite_backup):  # all that opens the file
            during.setattr(module, "sqlite3", recorded)
        during.setattr(sqlite_file, "_LONG_LOG", 30_000)
        during.setattr(sqlite_file, "_LOOK_EVERY", 3)
        path = folder / "runs.db"
        store = AcknowledgingStore(
            lambda facts: log.note("acknowledged", facts), path, durability=durability
        )
        ends = journey(store)
        store.close()
    notes = [entry for entry in log.entries if isinstance(entry, tuple)]
    commits = [what for kind, what in notes if kind == "committed"]
    return Recording(log, durability, ends, [dump_of_nothing(), *commits])


def cut_often(
    recording: Recording, journey: Callable[[Any], Any], folder: Path, many: int
) -> list[int]:
    """Cut the power of a recording so many times, and look at what is left.

    Returns:
        How many commits each cut has lost.
    """
    found = enumerate(cuts(recording.log, Random(20261130), many))
    return [look_at(cut, recording, folder / f"cut-{n}", journey) for n, cut in found]


def cuts(log: Log, chance: Random, many: int) -> Iterator[Cut]:
    """Cut the power: half of the times just before or after a sync, else anywhere."""
    places = [chance.choice(log.syncs) + chance.choice((0, 1)) for _ in range(many // 2)]
    places += [chance.randrange(len(log.entries) + 1) for _ in range(many - len(places))]
    places.sort()
    disk, begun, safe = Disk(), 0, 0
    facts: list[Any] = []
    at = 0
    for place in places:
        for entry in log.entries[at:place]:
            if not isinstance(entry, tuple):
                entry(disk)
            elif entry[0] == "committed":
                begun += 1
            elif entry[1] is None:
                facts = []
            else:
                safe = begun
                facts += entry[1]
        at = place
        mode = chance.choice(MODES)
        files = disk.after_a_cut(mode, chance)
        if chance.random() < 0.3:  # nobody syncs these two
            files["runs.db-shm"] = chance.randbytes(32_768)
            files["runs.db-lock"] = b""
        yield Cut(place, mode, files, begun, safe, list(facts))


def look_at(cut: Cut, recording: Recording, folder: Path, journey: Callable[[Any], Any]) -> int:
    """Open what a cut left with the store as everybody uses it, and go on.

    Returns:
        How many commits were lost that SQLite had made.
    """
    folder.mkdir()
    for name, content in cut.files.items():
        (folder / name).write_bytes(content)
    path = folder / "runs.db"
    where = f"cut at {cut.place} ({cut.mode}, {recording.durability})"
    found = dump_of_nothing()
    if path.exists():
        with closing(sqlite3.connect(path)) as conn:
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)], where
            found = dump(conn.execute)
            lost = missing(conn, cut.facts) if recording.durability == "full" else []
            assert not lost, f"{where}: acknowledged, and not there: {lost[:3]}"
    # A transaction may be on the disk whose COMMIT has not returned yet
    known = recording.stood[: cut.begun + 2]
    assert found in known, f"{where}: this is no state that was ever committed"
    stands = len(known) - 1 - known[::-1].index(found)
    if recording.durability == "full":
        assert stands >= cut.safe, f"{where}: {cut.safe - stands} acknowledged commits are lost"
    store = SqliteCheckpointer(path)
    for header in store.runs():
        store.load(header.run_id)
    ends = journey(store)
    assert ends == recording.ends, f"{where}: {ends}, not {recording.ends}"
    store.close()
    return max(cut.begun - stands, 0)
