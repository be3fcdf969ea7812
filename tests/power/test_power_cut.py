"""Power cuts: what was synced is there, and what was acknowledged was synced."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("apsw", reason="the disk is recorded through apsw (extra `test`)")

from graphflow.checkpoint import sqlite_connect
from tests.chaos import amount
from tests.power.cutting import cut_often, record
from tests.power.journeys import JOURNEYS

Tell = Callable[[str], None]


@pytest.mark.chaos
@pytest.mark.parametrize("name", JOURNEYS)
def test_full_loses_nothing_that_was_acknowledged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    """Whatever a power cut leaves of what was not synced, no acknowledged write is missing."""
    recording = record(tmp_path, JOURNEYS[name], "full", monkeypatch)
    many = amount(25, 250)
    cut_often(recording, JOURNEYS[name], tmp_path, many)
    tell(f"power cuts, full, {name}: {many} of {len(recording.log.entries)} moments, 0 lost")


@pytest.mark.chaos
@pytest.mark.parametrize("name", JOURNEYS)
def test_normal_loses_the_last_commits_at_most(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    """With durability="normal" the last commits may be missing, with no hole, and all goes on."""
    recording = record(tmp_path, JOURNEYS[name], "normal", monkeypatch)
    many = amount(12, 125)
    lost = cut_often(recording, JOURNEYS[name], tmp_path, many)
    assert name != "loop" or max(lost) > 0  # else it was not cut where it matters
    tell(f"power cuts, normal, {name}: {many}, the last {max(lost)} commits lost at most, no hole")


def test_the_rig_sees_a_store_that_does_not_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that leaves syncs to the system loses steps or its file, and the rig finds it."""
    set_up = sqlite_connect._set_up

    def carelessly(conn: Any, path: Path, how: sqlite_connect.How) -> None:
        set_up(conn, path, how)
        conn.execute("PRAGMA synchronous = OFF")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_connect, "_set_up", carelessly)
        recording = record(tmp_path, JOURNEYS["loop"], "full", patch)
    with pytest.raises((AssertionError, sqlite3.DatabaseError)):
        cut_often(recording, JOURNEYS["loop"], tmp_path, 50)


def test_the_log_is_emptied_while_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rig cuts in and around checkpoints: the file itself is written while runs go on."""
    recording = record(tmp_path, JOURNEYS["loop"], "full", monkeypatch)
    kinds = recording.log.kinds
    first, last = kinds.index("acknowledged"), len(kinds) - kinds[::-1].index("acknowledged")
    assert kinds[first:last].count("sync runs.db") >= 3
    assert kinds.count("remove runs.db-wal") == 1
