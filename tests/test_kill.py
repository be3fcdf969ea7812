"""SIGKILL at random moments of runs: nothing that was committed is lost or done again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import amount
from tests.rig.client import Killed, Rig
from tests.rig.forge import rows
from tests.rig.ledger import Ledger, read
from tests.rig.scenarios import five

KILLS = amount(300, 3_000)
KILLS_PER_RUN = 5
SCENARIOS = {"line": 30, "sides": 15, "items": 15, "nest": 6, "batch": 4, "loop": 8, "people": 1}
"""Which are killed, and how often their loops go round."""

TIMES = amount(50, 200)


@pytest.mark.chaos
@pytest.mark.slow
def test_kills_at_random_lose_nothing_and_repeat_nothing(
    rig: Rig, quick_folder: Path, tell: Callable[[str], None]
) -> None:
    """Of 300 kills most fall inside a run; the ledger and the rows agree after each."""
    chance = random.Random(20261122)
    expected, seconds = {}, {}
    for name, rounds in SCENARIOS.items():
        answer = Killed(rig, quick_folder / name, name, rounds).go()
        expected[name], seconds[name] = answer["found"], answer["seconds"]
    kills = inside = repeated = place = 0
    while kills < KILLS:
        name = list(SCENARIOS)[place % len(SCENARIOS)]
        place += 1
        killed = Killed(rig, quick_folder / f"{name}-{place}", name, SCENARIOS[name])
        for _ in range(KILLS_PER_RUN):
            is_within = chance.random() < 0.9  # else perhaps before the first body
            after = chance.uniform(0, 0.8 if is_within else 0.1) * seconds[name]
            answer = killed.go(seconds=after, is_within=is_within)
            # As fast as the machine is now: most kills are to come before the end
            seconds[name] *= 0.8 if answer["code"] == 0 else 1.05
            if answer["code"] == 0:
                break
            inside += killed.is_inside
        assert killed.go()["found"] == expected[name]
        kills, repeated = kills + killed.kills, repeated + killed.repeated
        killed.forget()
    tell(
        f"kills at random: {kills} ({inside} of runs with steps; {place} jobs), 0 lost, 0 doubled, "
        f"{repeated} bodies ran again: {repeated / kills:.2f} per kill, at most 1 per branch"
    )
    assert inside >= 2 * KILLS // 3


@pytest.mark.chaos
@pytest.mark.slow
def test_check_06_a_kill_at_the_first_line_of_the_third_node(
    rig: Rig, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """Under default settings no finished node is lost, and the one in flight is known by name."""
    database, ledger = tmp_path / "runs.db", tmp_path / "ledger"
    job = {"scenario": "cut_off", "database": database, "ledger": ledger}
    for number in range(TIMES):
        assert rig.do(**job, rounds=number)["code"] == -9
    with five(Ledger(ledger)).compile(database) as flow:
        for number in range(TIMES):
            run = flow.get(f"run-{number}")
            assert (run.status, run.path) == ("stale", ["first", "second"])
            assert run.under_way == {"third": 1}
            assert "third   next · owner gone" in str(run)
            assert run.state.log == ["1 first", "2 second"]
    with five(Ledger(ledger), dies=False).compile(database) as flow:
        for number in range(TIMES):
            run = flow.resume(f"run-{number}")
            assert run.path == ["first", "second", "third", "fourth", "fifth"]
            assert run.under_way == {}
    begun = [(one.run, one.key) for one in read(ledger)]
    assert len(set(begun)) == len(begun) == 5 * TIMES
    tell(f"kills in the third node: {TIMES}, 0 finished nodes lost, 0 run again")


def test_check_07_a_kill_before_the_first_step_leaves_the_run_and_its_input(
    rig: Rig, tmp_path: Path
) -> None:
    """As soon as the first body begins, and at any point after that, the run has its row."""
    for number, point in enumerate(("node.before", "node.after", "insert.tasks", "commit.before")):
        database = tmp_path / f"{number}.db"
        job = {"scenario": "line", "database": database, "ledger": tmp_path / "ledger"}
        passage = 3 if point == "commit.before" else 1  # after those of the tables and of step 0
        assert rig.do(**job, rounds=7, crash_at=(point, passage))["code"] == -9
        found = rows(database, "select run_id, status, input_json from runs")
        assert found == [("one", "running", '{"most":7}')]
