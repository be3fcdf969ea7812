"""Loads hostile checkpoints in a process of its own, under an audit hook, and says what came of it.

    python -m tests.hostile.rig FOLDER SEED CASES

Each case changes a few cells of a real database, mostly with correct digests, and asks for the run
in every way that people can. What is no error of graphflow's is a crash; what Python audits beyond
the files of the database is a breach.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from graphflow import StateGraph
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import GraphflowError, did_you_mean
from graphflow.render.wording import clean
from graphflow.testing.records import (
    a_goto,
    a_header,
    a_snapshot,
    a_step,
    a_task,
)
from tests.checkpoint import golden
from tests.hostile.faces import commands, reads, turns
from tests.hostile.sealing import reseal
from tests.hostile.values import hostile_value
from tests.rig.forge import SPEC, store_loose

SECONDS = 20.0
"""In which a face must have answered, on a machine that does other things too."""
UNSEALABLE = (sqlite3.Error, TypeError, ValueError)
FORBIDDEN = (
    "compile", "ctypes.", "code.", "exec", "ftplib.", "http.", "import", "marshal.", "os.exec",
    "os.fork", "os.posix_spawn", "os.putenv", "os.remove", "os.rename", "os.spawn", "os.system",
    "os.truncate", "pickle.", "pty.", "shutil.", "socket.", "sqlite3.enable_load_extension",
    "sqlite3.load_extension", "subprocess.", "urllib.", "webbrowser.",
)  # fmt: skip


class Slow(BaseException):
    """A face took too long."""


class Watch:
    """An audit hook: it cannot be taken off, so it is for a process of its own."""

    def __init__(self, database: Path) -> None:
        self.database, self.is_on = str(database), False
        self.breaches: Counter[str] = Counter()
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            name = args[0].decode() if isinstance(args[0], bytes) else str(args[0])
            if not name.startswith((self.database, "/proc/")):
                self.breaches[f"open {name[:80]}"] += 1
        elif event == "sqlite3.connect":
            if self.database not in str(args[0]):
                self.breaches[f"connect {str(args[0])[:80]}"] += 1
        elif event.startswith(FORBIDDEN):
            self.breaches[f"{event} {str(args[:1])[:80]}"] += 1


class Rig:
    """A database with runs of all kinds, and somebody who changes it behind graphflow's back."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.db"
        golden.write(self.path).close()
        _write_by_hand(self.path)
        self.conn = sqlite3.connect(self.path, isolation_level=None)
        self.conn.execute("PRAGMA synchronous = OFF")
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT NULL"
        self.tables = {
            name: [row[1:6:4] for row in self.conn.execute(f"PRAGMA table_info({name})")]
            for (name,) in self.conn.execute(names)
            if not name.startswith(("sqlite_", "_sqlite"))
        }
        self.rows = {name: self.conn.execute(f"SELECT * FROM {name}").fetchall()
                     for name in self.tables}  # fmt: skip
        self.runs = {number: run_id for number, run_id, *_ in self.rows["runs"]}
        self.flow = golden.order_graph().compile(self.path)
        self.later = later_graph().compile(self.path)
        self.crashes: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def case(self, rng: random.Random) -> str | None:
        """Change something; give the run to look at, or None when SQLite refuses the change."""
        table = rng.choice([name for name, rows in self.rows.items() if rows])
        columns = [name for name, _ in self.tables[table]]
        row = list(rng.choice(self.rows[table]))
        keys = [name for name, is_key in self.tables[table] if is_key]
        self.conn.execute("BEGIN")
        try:
            for _ in range(rng.choice((1, 1, 1, 2))):
                self._change(rng, table, columns, keys, row)
            if rng.random() < 0.85:
                with suppress(*UNSEALABLE):
                    reseal(self.conn)
            self.conn.execute("COMMIT")
        except (sqlite3.Error, OverflowError, UnicodeError):
            self.conn.execute("ROLLBACK")
            return None
        return self._victim(rng, table, row)

    def _change(self, rng: random.Random, table: str, columns: Sequence[str], keys: Sequence[str],
                row: list[Any]) -> None:  # fmt: skip
        name = rng.choice(columns)
        if name in {"digest", "row_digest", "seal", "id", "run"} and rng.random() < 0.8:
            return
        at = columns.index(name)
        value = hostile_value(rng, row[at])
        where = " AND ".join(f"{key} IS ?" for key in keys)
        key = [row[columns.index(key)] for key in keys]
        self.conn.execute(f"UPDATE {table} SET {name} = ? WHERE {where}", (value, *key))
        row[at] = value

    def _victim(self, rng: random.Random, table: str, row: Sequence[Any]) -> str:
        if table == "runs" and isinstance(row[1], str):
            return row[1]
        number = row[0] if table not in {"runs", "graphs", "shared_values"} else None
        if isinstance(number, int) and number in self.runs:
            return self.runs[number]
        return rng.choice(list(self.runs.values()))

    def look(self, run_id: str, faces: Iterable[tuple[str, Any]]) -> bool:
        """Ask for a run in many ways; tell whether all of them answered."""
        answered = True
        for name, face in faces:
            try:
                signal.setitimer(signal.ITIMER_REAL, SECONDS)
                face()
            except GraphflowError:
                answered = False
            except BaseException as error:  # noqa: BLE001 - it is what the rig looks for
                signal.setitimer(signal.ITIMER_REAL, 0)
                if isinstance(error, ExceptionGroup) and _is_ours(error):
                    answered = False
                    continue
                self.crashes[f"{name} of {run_id}: {_told(error)}"] += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        return answered

    def restore(self) -> None:
        """Put the database back as it was."""
        self.conn.execute("PRAGMA foreign_keys = OFF")
        self.conn.execute("BEGIN IMMEDIATE")
        for table, columns in self.tables.items():
            self.conn.execute(f"DELETE FROM {table}")
            marks = ", ".join("?" * len(columns))
            self.conn.executemany(f"INSERT INTO {table} VALUES ({marks})", self.rows[table])
        self.conn.execute("COMMIT")


def later_graph() -> StateGraph[golden.Order]:
    """Make the next version of the graph that the runs are on, with its migration."""
    graph = golden.order_graph(version=2)
    graph.migration(1, 2)(lambda values: values)
    return graph


def _write_by_hand(path: Path) -> None:
    """Add a run that has rows in every table."""
    store = SqliteCheckpointer(path)
    lease = store.begin(a_header("by hand"), SPEC, a_step(0), a_snapshot(0), None)
    for step in (1, 2):
        store_loose(store, lease, step)
        store.commit(lease, a_step(step, tasks=2, joins=True, sends=True), None, None)
    store.keep(lease, 3, a_task(0, goto=a_goto(), items=3))
    store_loose(store, lease, 3)
    store.close()


def _is_ours(error: BaseException) -> bool:
    if isinstance(error, ExceptionGroup):
        return all(map(_is_ours, error.exceptions))
    return isinstance(error, GraphflowError)


def _told(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/graphflow/" in frame.filename] or frames
    where = f"{ours[-1].filename.rpartition('/graphflow/')[2]}:{ours[-1].lineno}"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:120]}"


def _stop(*_: object) -> None:
    raise Slow


def main(folder: Path, seed: int, cases: int) -> dict[str, Any]:
    """Do it; give what is to be judged."""
    signal.signal(signal.SIGALRM, _stop)
    rig, rng = Rig(folder), random.Random(seed)
    watch = Watch(rig.path)
    for run_id in rig.runs.values():  # so that everything is imported that ever is
        rig.look(run_id, reads(rig.flow, run_id))
        rig.look(run_id, commands(rig.path, run_id))
        rig.look(run_id, turns(rig.flow, rig.later, run_id))
        rig.restore()
    clean("\u202e")  # the codec that spells it out is a module of its own
    did_you_mean("a", ["b"])  # and so are those that find a near word, and fill lines
    import_module("click._textwrap")
    rig.crashes.clear()
    done = 0
    while done < cases:
        run_id = rig.case(rng)
        if run_id is None:
            continue
        done += 1
        watch.is_on = True
        answered = rig.look(run_id, reads(rig.flow, run_id))
        if done % 5 == 0:
            rig.look(run_id, commands(rig.path, run_id))
        watch.is_on = False  # from here on the nodes of the graph run, which may do as they like
        if done % 10 == 0:
            ways = [*turns(rig.flow, rig.later, run_id)]
            rig.look(run_id, rng.sample(ways, len(ways)))  # each leaves another run to the next
        rig.counts["read" if answered else "refused"] += 1
        rig.restore()
    return {
        "counts": dict(rig.counts),
        "crashes": dict(rig.crashes.most_common(40)),
        "breaches": dict(watch.breaches.most_common(40)),
    }


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(found))
