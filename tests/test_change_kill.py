"""Killed while a run goes over to another graph: nothing is lost, nothing is adopted by half."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from graphflow import RunFailedError
from graphflow.testing.failpoints import crash_at, in_child, seen_points
from tests.test_change import BROKEN, wide


def test_killed_at_every_point_of_an_adoption(tmp_path: Path) -> None:
    """At each point of a resume under another graph: the next one comes to the same end."""
    BROKEN.clear()
    BROKEN.add("b")
    with wide("a", "b", "c").compile(tmp_path / "first.db") as flow, pytest.raises(RunFailedError):
        flow.run({"n": 1}, run_id="r")
    BROKEN.clear()

    def go_on(db: Path) -> None:
        graph = wide("first", "slow", "c", join="together")
        for old, new in (("a", "first"), ("b", "slow"), ("j", "together")):
            graph.renamed(old, new)
        with graph.compile(db) as flow:
            done = flow.resume("r")
            assert done.path == ["first", "slow", "c", "together"]
            assert (done.state.log, done.state.reply) == (["a", "slow", "c", "together"], "a")
            assert [use.first for use in done.graphs] == [0, 1]
            assert [a.key for a in done.attempts] == ["slow"]

    def copied(name: str) -> Path:
        shutil.copy(tmp_path / "first.db", tmp_path / name)
        return tmp_path / name

    with seen_points() as counts:
        go_on(copied("seen.db"))
    assert counts["insert.adoptions"] == 1
    points = [(name, at) for name, count in counts.items() for at in (1, count)]
    for number, (point, passage) in enumerate(dict.fromkeys(points)):
        db = copied(f"{number}.db")

        def killed(db: Path = db, point: str = point, passage: int = passage) -> None:
            with crash_at(point, passage):
                go_on(db)

        assert in_child(killed) in {-signal.SIGKILL, 0}
        go_on(db)
