"""What somebody can do who knows how graphflow digests rows: change them, and digest them again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from graphflow.checkpoint.column_names import COLUMNS
from graphflow.checkpoint.digest import compact, digest, digest_of, snapshot_digest
from graphflow.checkpoint.sqlite_rows import LOOSE, Span, part_of
from graphflow.checkpoint.sqlite_seal import seal_run
from graphflow.checkpoint.stored_chain import joined, step_text
from graphflow.checkpoint.stored_rows import Part
from graphflow.checkpoint.stored_step import StoredStep
from graphflow.records import Snapshot
from tests.checkpoint import golden

__all__ = ["forge", "forged", "reseal", "written"]

TABLES = {"attempt": "attempts", "call": "calls", "item": "items", "question": "questions",
          "memo": "memos"}  # fmt: skip
KEYS = {
    "attempts": ("step", "key", "attempt"),
    "items": ("step", "key", "ix"),
    "questions": ("step", "key", "name"),
    "memos": ("step", "key", "name"),
}


class Resealer:
    """Digests all rows of a database anew, whatever they hold."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.cursor = conn.cursor()
        self.chains: dict[int, list[tuple[int, str]]] = {}

    def all(self) -> None:
        """Digest everything."""
        cursor = self.cursor
        for row in cursor.execute("SELECT * FROM graphs").fetchall():
            cursor.execute(
                "UPDATE graphs SET row_digest = ? WHERE digest IS ?",
                (digest("graph", row[:-1], digest_of), row[0]),
            )
        numbers = [n for (n,) in cursor.execute("SELECT id FROM runs ORDER BY id").fetchall()]
        for number in numbers:
            self.chain(number)
        for number in numbers:
            seal_run(cursor, number, digest_of)

    def chain(self, number: int) -> list[tuple[int, str]]:
        """Digest a run and all that it needs; give the numbers and digests of its steps."""
        if number in self.chains:
            return self.chains[number]
        self.chains[number] = []
        part = part_of(self.cursor, number, Span(0))
        own = digest("run", part.fixed, digest_of)
        self.cursor.execute("UPDATE runs SET digest = ? WHERE id = ?", (own, number))
        origin, at = part.fixed[11], part.fixed[12]
        previous = own
        if isinstance(origin, int) and isinstance(at, int) and at > 0:
            before = [d for step, d in self.chain(origin) if step == at - 1]
            previous = before[0] if before else own
        self.chains[number] = self._steps(number, part, previous)
        self._kept(number, part)
        self._loose(number, part)
        self._snapshots(number)
        return self.chains[number]

    def _steps(self, number: int, part: Part, previous: str) -> list[tuple[int, str]]:
        found = []
        for own_row in part.steps:
            step = own_row[0]
            made = StoredStep.of(
                part.run_id,
                own_row,
                [],
                [joined(*t[3:]) for t in part.tasks if t[0] == step],
                [joined(*d[1:]) for d in part.decisions if d[0] == step],
            )
            own = digest_of(step_text(previous, made, self._heads(number, step)))
            self.cursor.execute(
                "UPDATE steps SET digest = ? WHERE run = ? AND step IS ?", (own, number, step)
            )
            found.append((step, own))
            previous = self._adoptions(number, part, step, own) or own
        return found

    def _adoptions(self, number: int, part: Part, step: int, of_step: str) -> str | None:
        last = None
        for _, *row in part.adoptions:
            if row[0] == step:
                last = digest("adoption", (part.run_id, of_step, *row[:-1]), digest_of)
                self.cursor.execute(
                    "UPDATE adoptions SET digest = ? WHERE run = ? AND step IS ? AND place IS ?",
                    (last, number, *row[:2]),
                )
                self.cursor.execute("UPDATE runs SET adopted = ? WHERE id = ?", (last, number))
        return last

    def _heads(self, number: int, step: int) -> list[tuple[int, str, str | None]]:
        children = self.cursor.execute(
            "SELECT id, run_id FROM runs WHERE parent_run = ? AND id > parent_run "
            "AND parent_step IS ? ORDER BY run_id",
            (number, step),
        ).fetchall()
        found = []
        for child, name in children:
            chain = self.chain(child)
            found.append((step, name, chain[-1][1] if chain else None))
        return found

    def _kept(self, number: int, part: Part) -> None:
        last = part.steps[-1][0] if part.steps else -1
        rows = self.cursor.execute(
            "SELECT step, ix FROM tasks WHERE run = ? AND step > ? ORDER BY step, ix",
            (number, last),
        ).fetchall()
        kept = [t for t in part.tasks if isinstance(t[0], int) and t[0] > last]
        for (step, ix), row in zip(rows, kept, strict=False):
            text = joined(*row[3:])
            own = digest_of(f'["task",[{compact(part.run_id)},{step},{text[1:]}]')
            self.cursor.execute(
                "UPDATE tasks SET digest = ? WHERE run = ? AND step IS ? AND ix IS ?",
                (own, number, step, ix),
            )

    def _loose(self, number: int, part: Part) -> None:
        for kind, sql in LOOSE.items():
            table = TABLES[kind]
            ids = self.cursor.execute(
                f"SELECT rowid FROM {table} WHERE run = ? ORDER BY id"
                if table == "calls"
                else f"SELECT 1 FROM {table} WHERE run = ?",
                (number,),
            ).fetchall()
            for place, row in enumerate(
                self.cursor.execute(sql, (number, -(2**62), 2**62)).fetchall()
            ):
                own = digest(kind, (part.run_id, *row[:-1]), digest_of)
                if table == "calls":
                    self.cursor.execute(
                        "UPDATE calls SET digest = ? WHERE id = ?", (own, *ids[place])
                    )
                else:
                    names = KEYS[table]
                    where = " AND ".join(f"{n} IS ?" for n in names)
                    at = COLUMNS[table].split()
                    self.cursor.execute(
                        f"UPDATE {table} SET digest = ? WHERE run = ? AND {where}",
                        (own, number, *(row[at.index(n)] for n in names)),
                    )

    def _snapshots(self, number: int) -> None:
        digests = dict(self.chains[number])
        for row in self.cursor.execute(
            "SELECT step, state_json, counters_json, digest, since, added_json FROM snapshots "
            "WHERE run = ?",
            (number,),
        ).fetchall():
            snapshot = Snapshot(*row)
            try:
                own = snapshot_digest(str(digests.get(row[0])), snapshot, digest_of)
            except TypeError:
                continue
            self.cursor.execute(
                "UPDATE snapshots SET digest = ? WHERE run = ? AND step IS ?", (own, number, row[0])
            )


def reseal(conn: sqlite3.Connection) -> None:
    """Digest all rows of a database anew."""
    Resealer(conn).all()


def forge(path: Path, sql: str, *values: Any) -> None:
    """Change what is stored, with digests that fit; there is something to change."""
    with closing(sqlite3.connect(path)) as conn, conn:
        assert conn.execute(sql, values).rowcount, sql
        reseal(conn)


@contextmanager
def forged(path: Path, sql: str, *values: Any) -> Iterator[Any]:
    """Change what is stored of the golden runs, and give the flow that has it then."""
    path.write_bytes(_golden_file())
    forge(path, sql, *values)
    with golden.order_graph().compile(path) as flow:
        yield flow


def written(path: Path) -> sqlite3.Connection:
    """Write the golden runs, and open what was made."""
    path.write_bytes(_golden_file())
    return sqlite3.connect(path)


@cache
def _golden_file() -> bytes:
    """Write the golden runs once."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        golden.write(path).close()
        return path.read_bytes()
