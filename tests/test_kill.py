"""SIGKILL at random points of a run: nothing that was committed is lost or done again."""

from __future__ import annotations

import importlib.util
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos import amount

SCRIPT = Path(__file__).parent / "killed_graph.py"
SPEC = importlib.util.spec_from_file_location("killed_graph", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
killed = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(killed)

KILLS = amount(50, 500)
INSIDE = 4 * KILLS // 5
KILLS_PER_RUN = 5


@pytest.mark.chaos
@pytest.mark.slow
def test_fifty_kills_lose_nothing_and_repeat_nothing(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """Of 50 kills at least 40 fall inside a run; the ledger and the rows agree after each."""
    chance = random.Random(20261122)
    inside, kills, repeated = 0, 0, 0
    place = 0
    while kills < KILLS:
        place += 1
        run_id = f"run-{place}"
        database, ledger = tmp_path / "runs.db", tmp_path / f"{run_id}.ledger"
        marks = sorted(chance.sample(range(2, 8 * killed.ROUNDS - 6), KILLS_PER_RUN))
        for mark in marks:
            if not kill_after(database, ledger, run_id, mark, chance):
                continue
            kills += 1
            done = committed(database, run_id)
            inside += 0 < done < killed.STEPS
            ledger.write_text(ledger.read_text() + f"killed {done} -\n")
        repeated += finish_and_compare(database, ledger, run_id)

    tell(f"kills: {kills}, {inside} inside, 0 lost, 0 doubled, {repeated} bodies ran again")
    assert inside >= INSIDE
    assert repeated <= 2 * kills  # at most one per kill and active branch


def kill_after(
    database: Path, ledger: Path, run_id: str, lines: int, chance: random.Random
) -> bool:
    """Start or go on with a run, and kill it once its ledger has so many lines.

    Returns:
        False when the run ended before.
    """
    command = [sys.executable, str(SCRIPT), str(database), str(ledger), run_id]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        reached = wait_for_lines(process, ledger, lines)
        for _ in range(chance.randrange(2000)):  # somewhere in what follows the line
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode in {-signal.SIGKILL, 0}, process.stderr and process.stderr.read()
        return reached and process.returncode == -signal.SIGKILL


def wait_for_lines(process: subprocess.Popen[bytes], ledger: Path, lines: int) -> bool:
    """Watch the ledger until it has so many lines, or the process has ended."""
    while process.poll() is None:
        if ledger.exists() and len(ledger.read_text().splitlines()) >= lines:
            return True
    return False


def finish_and_compare(database: Path, ledger: Path, run_id: str) -> int:
    """Resume a run to its end; compare the ledger with the rows; count repeated bodies."""
    with killed.ledger_flow(database, ledger) as flow:
        run = flow.resume(run_id)
        assert run.status == "done"
        assert [step.step for step in run.steps] == list(range(killed.STEPS + 1))
        assert run.state.rounds == killed.ROUNDS
        ran = Counter((step.step, task.node) for step in run.steps for task in step.tasks)
        assert set(ran.values()) == {1}
        assert sorted(run.state.log) == sorted(f"{step} {node}" for step, node in ran)
    begun = check_ledger(ledger)
    assert set(begun) == set(ran)
    return sum(begun.values()) - len(begun)


def check_ledger(ledger: Path) -> Counter[tuple[int, str]]:
    """Read the ledger: no body of a committed step may begin again after a kill."""
    begun: Counter[tuple[int, str]] = Counter()
    ended: set[tuple[int, str]] = set()
    done = 0
    for word, step, node in entries(ledger):
        if word == "killed":
            done = step
        elif word == "begin":
            assert step > done, f"{node} of the committed step {step} ran again"
            begun[step, node] += 1
        else:
            ended.add((step, node))
    assert set(begun) == ended
    return begun


def entries(ledger: Path) -> Iterator[tuple[str, int, str]]:
    """Read the lines of a ledger."""
    for line in ledger.read_text().splitlines():
        word, step, node = line.split()
        yield word, int(step), node


def committed(database: Path, run_id: str) -> int:
    """Read the last committed step straight from the table; -1 when there is no run."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "select max(step) from steps join runs on runs.id = steps.run where run_id = ?",
            (run_id,),
        ).fetchone()
    return -1 if row[0] is None else int(row[0])
