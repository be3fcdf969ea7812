"""Several processes that want one run, and one that was thought dead."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from threading import Event, current_thread

import pytest

from graphflow import END, START, StateGraph
from graphflow.errors import LeaseLostError, RunBusyError
from graphflow.testing.processes import living_process
from tests.chaos import amount
from tests.rig.client import Rig
from tests.rig.forge import rows
from tests.rig.ledger import Ledger, read
from tests.rig.scenarios import Rounds, dump, sides

RACES = amount(40, 1_000)
FREEZING = ("node.before", "node.after", "acknowledge")
FREEZES = amount(10, 100)
BODIES = (6, 12)
"""Of the run of an even number, and of an odd one, which has branches."""


@pytest.mark.chaos
@pytest.mark.slow
def test_check_13_one_of_several_processes_advances_a_run(
    rig: Rig, quick_folder: Path, tell: Callable[[str], None]
) -> None:
    """Of 2 to 8 processes that resume a run at once one does; the others learn who, since when."""
    chance = random.Random(13)
    refused = done = processes = 0
    for number in range(RACES):
        job = {
            "database": quick_folder / f"{number // 50}.db",
            "ledger": quick_folder / f"{number}.ledger",
            "rounds": number,
        }
        killed = {} if number % 2 else {"crash_at": ("commit.after", 1), "scenario": "resume"}
        rig.do(**job, scenario="begin")
        if killed:  # a dead owner is raced for as a run is that nobody has
            assert rig.do(**job, **killed)["code"] == -9
        racers = chance.choice((2, 2, 2, 3, 4, 8))
        answers = rig.do(**job, scenario="resume", racers=racers)["racers"]
        found = [answer["found"] for answer in answers]
        begun = Counter(read(job["ledger"]))
        assert set(begun.values()) == {1}
        assert len(begun) == BODIES[number % 2]
        pids = {line.split()[1] for line in job["ledger"].read_text().splitlines()}
        assert len(pids) == 1, "two processes advanced one run"
        for one in (one for one in found if "busy" in one):
            assert one["holder"].split(":")[2] in pids
            assert f"process {pids.copy().pop()} on host" in one["busy"]
            assert datetime.fromisoformat(one["since"]).tzinfo is not None
            assert one["since"] in one["busy"]
        assert any(one.get("status") == "done" for one in found)
        refused += sum("busy" in one for one in found)
        done += sum("busy" not in one for one in found) - 1
        processes += racers
    tell(
        f"races: {RACES} of {processes} processes, 0 bodies doubled; {refused} were refused, "
        f"{done} came when it was done"
    )


@pytest.mark.chaos
@pytest.mark.slow
def test_a_frozen_holder_is_replaced_by_hand_and_its_late_commit_refused(
    rig: Rig, quick_folder: Path, tell: Callable[[str], None]
) -> None:
    """A frozen process keeps its run until it is taken over; what it writes then is refused."""
    chance = random.Random(4)
    for number in range(FREEZES):
        job = {
            "database": quick_folder / f"{number}.db",
            "ledger": quick_folder / f"{number}.ledger",
            "rounds": number,
        }
        rig.do(**job, scenario="begin")
        # Where bodies run in threads, one that is frozen may freeze a transaction of another
        point = "acknowledge" if number % 2 else chance.choice(FREEZING)
        answer = rig.do(
            **job,
            scenario="resume",
            freeze_at=(point, chance.randint(1, 5)),
            then=[{**plain(job), "scenario": name} for name in ("resume", "take_over")],
            raises="LeaseLostError",
        )
        polite, taken = (one["found"] for one in answer["then"])
        assert "busy" in polite
        assert "take_over=True" in polite["busy"]
        assert (taken["status"], taken["epoch"]) == ("done", 3)
        assert answer["raised"] == "LeaseLostError", answer
        assert "was taken over" in answer["error"] or "has ended as 'done'" in answer["error"]
        assert dump(job["database"]) == taken["dump"], "a late commit was stored"
        begun = Counter(one[:3] for one in read(job["ledger"]))
        assert sum(begun.values()) - len(begun) <= 2  # one per branch that was frozen
    tell(f"frozen holders: {FREEZES} of {FREEZES} late commits refused, nothing of them stored")


def plain(job: dict[str, object]) -> dict[str, object]:
    """Give a job whose paths are words."""
    return {key: value if isinstance(value, int) else str(value) for key, value in job.items()}


def test_a_holder_frozen_in_a_transaction_locks_the_database(rig: Rig, quick_folder: Path) -> None:
    """Nobody can take a run over while the database itself is locked: that is said, and ends."""
    job = {"database": quick_folder / "r.db", "ledger": quick_folder / "ledger", "rounds": 0}
    rig.do(**job, scenario="begin")
    answer = rig.do(
        **job,
        scenario="resume",
        freeze_at=("insert.steps", 3),
        then=[{**plain(job), "scenario": "hurried_take_over"}],
    )
    assert "has been locked by another process for 0.2 s" in answer["then"][0]["found"]["error"]
    assert answer["found"]["status"] == "done"


def test_taking_over_says_who_lost_the_run(tmp_path: Path) -> None:
    """A run of a living process is busy, with its holder and since when; taken over, it goes on."""
    flow = sides(Ledger(tmp_path / "ledger")).compile(tmp_path / "runs.db")
    flow.start({}, run_id="a")
    with living_process() as other:
        flow.store.take("a", other)
        with pytest.raises(RunBusyError) as busy:
            flow.resume("a")
        assert busy.value.holder == other
        assert busy.value.since is not None
        assert busy.value.since in str(busy.value)
        assert flow.get("a").status == "running"
        assert flow.resume("a", take_over=True).status == "done"
    flow.close()
    assert rows(tmp_path / "runs.db", "select epoch, owner from runs") == [(3, None)]


@pytest.mark.parametrize("file", [None, "runs.db"])
def test_a_kernel_takes_its_own_run_back(tmp_path: Path, file: str | None) -> None:
    """A run that hangs in another thread of this process is busy; taken over, it goes on here."""
    hangs, goes_on = Event(), Event()
    ran: list[str] = []

    def slow(state: Rounds) -> dict[str, int]:
        ran.append(current_thread().name)
        if not hangs.is_set():
            hangs.set()
            goes_on.wait()
        return {"rounds": 1}

    graph = StateGraph(Rounds, name="slow")
    graph.add_node("slow", slow)
    graph.add_edge(START, "slow")
    graph.add_edge("slow", END)
    flow = graph.compile(tmp_path / file if file else None)
    with ThreadPoolExecutor(1, "cell") as cells:
        first = cells.submit(flow.run, {}, run_id="a")
        hangs.wait()
        with pytest.raises(RunBusyError, match="in this process already"):
            flow.resume("a")
        assert flow.resume("a", take_over=True).state.rounds == 1
        goes_on.set()
        with pytest.raises(LeaseLostError):
            first.result()
    assert len(ran) == 2
    assert flow.get("a").status == "done"
    assert flow.get("a").header.step == 1
    flow.close()
