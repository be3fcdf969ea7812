"""Has the warm process do jobs, and compares the ledger with the rows after each."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.rig.ledger import Begun, read

__all__ = ["Killed", "Rig", "Rows"]

ROOT = Path(__file__).parent.parent.parent

_DONE = """
select run_id, step, key, 0 from tasks t join runs on runs.id = t.run
union all select run_id, step, key || '[' || ix || ']', 0 from items t join runs on runs.id = t.run
union all select run_id, step, key || '!' || name, 0 from memos t join runs on runs.id = t.run
union all select run_id, step, key, attempt from attempts t join runs on runs.id = t.run
"""
_DROPPING = {"by_hand", "upkeep"}
"""Scenarios that delete what is stored: they are compared by what they find in the end."""

_STEPS = "select run_id, max(step) from steps join runs on runs.id = steps.run group by run_id"


@dataclass
class Rows:
    """What a database says straight from its tables."""

    done: set[tuple[str, int, str, int]] = field(default_factory=set)
    """Run, step, key and, of a failed execution, its attempt (else 0)."""
    steps: dict[str, int] = field(default_factory=dict)
    """Run -> its last committed step."""

    @classmethod
    def of(cls, database: Path) -> Self:
        """Read them."""
        if not database.exists():
            return cls()
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            names = {n for (n,) in connection.execute("select name from sqlite_master")}
            if not {"tasks", "items", "memos", "attempts"} <= names:
                return cls()
            return cls(set(connection.execute(_DONE)), dict(connection.execute(_STEPS)))

    def has(self, begun: Begun) -> bool:
        """Tell whether what came of a body is stored."""
        place = begun.run, begun.step, begun.key
        return (*place, 0) in self.done or (*place, begun.attempt) in self.done


class Rig:
    """The warm process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.rig.server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def do(self, **job: Any) -> dict[str, Any]:
        """Have a job done; see `tests.rig.server.do`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job, default=str) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        for one in (answer, *answer.get("racers", ()), *answer.get("then", ())):
            is_expected = one.get("raised") == job.get("raises", "nothing")
            assert "error" not in one or is_expected, one["error"]
        return answer


class Killed:
    """Runs of one scenario that are killed, again and again, and at last come to their end.

    Attributes:
        kills: How many kills fell before the end.
        repeated: How many bodies began once more.
        most: How many bodies one kill interrupted at most.
    """

    def __init__(self, rig: Rig, folder: Path, scenario: str, rounds: int = 3) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database, self.ledger = folder / "runs.db", folder / "ledger"
        self.name = scenario
        self.kills = self.repeated = self.most = 0
        self._rig = rig
        self._job = {"scenario": scenario, "rounds": rounds}
        self._job |= {"database": str(self.database), "ledger": str(self.ledger)}
        self._rows = Rows()
        self._cut: Counter[Begun] = Counter()  # how often each body was cut off

    def go(self, **job: Any) -> dict[str, Any]:
        """Go on until the end, or until it is killed as the job says; compare."""
        before = len(list(read(self.ledger)))
        answer = self._rig.do(**self._job, **job)
        assert answer["code"] in {0, -9}, answer
        self._compare(list(read(self.ledger)), before, was_killed=answer["code"] != 0)
        return answer

    @property
    def is_inside(self) -> bool:
        """Whether some step is committed, and some body was cut off or not begun."""
        return any(step > 0 for step in self._rows.steps.values())

    def forget(self) -> None:
        """Remove the files: memory is not for hundreds of databases."""
        shutil.rmtree(self.database.parent)

    def _compare(self, begun: list[Begun], before: int, *, was_killed: bool) -> None:
        for one in begun[before:]:
            assert not self._rows.has(one), f"{one} was committed, and ran again"
        rows = Rows.of(self.database)
        if self.name in _DROPPING:
            self.kills, self._rows = self.kills + was_killed, rows
            return
        lost = self._rows.done - rows.done
        assert not lost, f"lost: {lost}"
        for run, step in self._rows.steps.items():
            assert rows.steps[run] >= step
        for one in begun:
            # The body of a step begins when the step before is acknowledged
            assert rows.steps.get(one.run, -1) >= one.step - 1, f"{one} began too early"
        counts = Counter(begun)
        for one, count in counts.items():
            assert count <= 1 + self._cut[one], f"{one} began {count} times"
        self.repeated = sum(counts.values()) - len(counts)
        cut = {one for one in counts if not rows.has(one)}
        if was_killed:
            self.kills += 1
            self.most = max(self.most, len(cut))
            self._cut.update(cut)
        else:
            assert not cut, f"bodies of which nothing came: {cut}"
        self._rows = rows
