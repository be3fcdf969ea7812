"""A disk that is full, broken, read-only, locked or gone: a typed error, nothing lost, and on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphflow import END, START, StateGraph, append
from graphflow.checkpoint import sqlite_file
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointError, DatabaseUnavailableError, GraphflowError
from graphflow.records import Ending
from graphflow.testing.failpoints import raise_at, seen_points
from graphflow.testing.leases import VERBS, begin_run, do_verb
from graphflow.testing.records import a_question, a_step
from tests.rig.forge import dump

WRITES = (*VERBS, "begin", "take", "stop")
READS = ("load", "runs", "find", "spent")
ERRORS = {
    "SQLITE_FULL": "disk is full",
    "SQLITE_IOERR_WRITE": "disk reports an error",
    "SQLITE_READONLY_DBMOVED": "read-only",
    "SQLITE_NOMEM": "not enough memory",
    "SQLITE_BUSY": "locked by another process",
}


class Run:
    """A run that is held, with an open question, and what is done to it."""

    def __init__(self, db: Path) -> None:
        self.db = db
        self.store = SqliteCheckpointer(db)
        self.step = 2
        self.lease: Any = begin_run(self.store)
        self.store.commit(self.lease, a_step(1), None, None)
        self.store.ask(self.lease, a_question(2))

    def do(self, verb: str) -> None:
        """Call a verb of the store."""
        if verb == "begin":
            begin_run(self.store, "run-2")
        elif verb == "take":
            self.lease = self.store.take("run-1", this_process())
        elif verb == "stop":
            self.store.stop("run-1", Ending("cancelled"))
        elif verb == "runs":
            self.store.runs()
        elif verb in READS:
            getattr(self.store, verb)("run-1")
        else:
            do_verb(self.store, self.lease, verb, self.step)


@pytest.fixture
def run(db: Path) -> Iterator[Run]:
    """Begin it."""
    made = Run(db)
    yield made
    made.store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for other writers a moment only."""
    monkeypatch.setattr(sqlite_file, "_PATIENCE", 0.05)


@pytest.mark.parametrize("verb", WRITES)
def test_an_error_of_the_disk_at_any_statement_stores_nothing(run: Run, verb: str) -> None:
    """At each statement of each verb, each error is typed, stores nothing, and is forgotten."""
    before = dump(run.db)
    undone = raise_at("commit.before", ZeroDivisionError())
    with seen_points() as points, undone, pytest.raises(ZeroDivisionError):
        run.do(verb)
    assert dump(run.db) == before
    for point, count in points.items():
        if point == "rollback":
            continue
        for passage in range(1, count + 1):
            for name, words in ERRORS.items():
                error = sqlite3.OperationalError("as SQLite says")
                error.sqlite_errorname = name  # as SQLite does
                typed = pytest.raises(DatabaseUnavailableError, match=words)
                with raise_at(point, error, passage), typed:
                    run.do(verb)
                assert dump(run.db) == before, (point, passage, name)
    run.do(verb)
    assert dump(run.db) != before


@pytest.mark.parametrize("verb", WRITES)
def test_an_interrupt_at_any_statement_leaves_all_or_nothing(run: Run, verb: str) -> None:
    """Ctrl-C at any statement of a verb stores all of it or nothing, and the lease knows."""
    undone = raise_at("commit.before", ZeroDivisionError())
    with seen_points() as points, undone, pytest.raises(ZeroDivisionError):
        run.do(verb)
    before = dump(run.db)
    for point, count in points.items():
        for passage in range(1, count + 1) if point != "rollback" else ():
            with raise_at(point, KeyboardInterrupt(), passage), pytest.raises(KeyboardInterrupt):
                run.do(verb)
            assert dump(run.db) == before, (point, passage)
    with raise_at("commit.after", KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        run.do(verb)
    after = dump(run.db)
    assert after != before
    if verb == "commit":  # the lease knows that it is stored
        run.store.commit(run.lease, a_step(3), None, None)
        assert run.store.load("run-1").header.step == 3


# -- what happens to the file ----------------------------------------------------------------


@contextmanager
def moved_away(db: Path) -> Iterator[None]:
    """Move the database away, and back."""
    aside = db.parent / "aside"
    aside.mkdir()
    parts = [path for path in db.parent.glob("runs.db*") if not path.name.endswith("-lock")]
    for path in parts:
        path.rename(aside / path.name)
    yield
    for path in parts:
        (aside / path.name).replace(path)
    aside.rmdir()


@contextmanager
def replaced(db: Path) -> Iterator[None]:
    """Put another database in its place, and take it away again."""
    with moved_away(db):
        with closing(sqlite3.connect(db)) as connection:
            connection.execute("create table strange (a)")
        yield
        db.unlink()


@contextmanager
def without_folder(db: Path) -> Iterator[None]:
    """Rename its folder, and name it back."""
    aside = db.parent.with_name("elsewhere")
    db.parent.rename(aside)
    yield
    aside.rename(db.parent)


@contextmanager
def locked(db: Path) -> Iterator[None]:
    """Have another program hold it for longer than anybody waits."""
    with closing(sqlite3.connect(db, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


Fault = Callable[[Path], Any]
FAULTS: tuple[Fault, ...] = (moved_away, replaced, without_folder, locked)


@pytest.mark.parametrize("verb", [*WRITES, *READS])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_out_of_reach(
    tmp_path: Path, impatient: None, fault: Fault, verb: str
) -> None:
    """While a database is gone or locked each verb says so and stores nothing; then it works."""
    (tmp_path / "folder").mkdir()
    run = Run(tmp_path / "folder" / "runs.db")
    before = dump(run.db)
    with fault(run.db):
        if fault is locked and verb in READS:
            run.do(verb)
        else:
            with pytest.raises(DatabaseUnavailableError, match=r"deleted or replaced|locked"):
                run.do(verb)
    assert dump(run.db) == before
    run.do(verb)
    run.store.close()


class Words(BaseModel):
    words: Annotated[list[str], append] = []


def struck_graph(strike: Callable[[], None], ran: list[int]) -> StateGraph[Words]:
    """Make a loop of nine steps, in whose fifth something happens to the disk."""
    graph = StateGraph(Words, name="struck")

    def node(state: Words) -> dict[str, Any]:
        ran.append(len(state.words))
        if len(state.words) == 4 and ran.count(4) == 1:
            strike()
        return {"words": ["word " * 2000]}

    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges(
        "node", lambda s: END if len(s.words) == 9 else "node", ["node", END]
    )
    return graph


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_goes_on_after_the_fault(tmp_path: Path, impatient: None, fault: Fault) -> None:
    """A run whose disk fails ends with a typed error, keeps its steps, and resumes afterwards."""
    (tmp_path / "folder").mkdir()
    db = tmp_path / "folder" / "runs.db"
    strokes: list[Any] = []
    ran: list[int] = []

    def strike() -> None:
        strokes.append(fault(db))
        strokes[0].__enter__()

    flow = struck_graph(strike, ran).compile(db)
    with pytest.raises(CheckpointError):
        flow.run({}, run_id="a")
    strokes[0].__exit__(None, None, None)
    assert flow.get("a").header.step == 4
    assert flow.resume("a").status == "done"
    assert ran == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]
    flow.close()


def test_a_run_goes_on_when_the_disk_has_room_again(small_disk: Any) -> None:
    """A full disk ends a run with a typed error, and takes nothing from it."""
    folder, _ = small_disk
    ran: list[int] = []

    def strike() -> None:
        with pytest.raises(OSError, match="No space"):
            (folder / "filler").write_bytes(b"x" * 2**21)

    flow = struck_graph(strike, ran).compile(folder / "runs.db")
    with pytest.raises(
        DatabaseUnavailableError, match=r"disk is full.*flow\.resume\('a'\) goes on"
    ):
        flow.run({}, run_id="a")
    (folder / "filler").unlink()
    done = flow.get("a").header.step
    assert flow.resume("a").status == "done"
    assert ran == [*range(done + 1), *range(done, 9)]
    flow.close()


@pytest.mark.parametrize("verb", [*WRITES, *READS])
def test_a_file_that_was_cut_off(db: Path, verb: str) -> None:
    """A file that was cut off under us gives typed errors only; put back, it has all it had."""
    run = Run(db)
    for step in range(2, 40):
        run.store.commit(run.lease, a_step(step), None, None)
    run.store.close()
    run.step = 40
    whole = db.with_name("whole.db")
    shutil.copy(db, whole)
    run.store = SqliteCheckpointer(db)
    run.lease = run.store.take("run-1", this_process())
    with db.open("r+b") as file:
        file.truncate(8192)
    with suppress(GraphflowError):
        run.do(verb)
    run.store.close()
    for path in db.parent.glob("runs.db-*"):
        path.unlink()
    shutil.copy(whole, db)
    store = SqliteCheckpointer(db)
    assert [step.step for step in store.load("run-1").steps] == list(range(40))
    store.close()


def test_a_log_that_was_removed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the log is removed under us, what is in it is copied into the file at the next look."""
    monkeypatch.setattr(sqlite_file, "_LOOK_EVERY", 4)
    run.db.with_name("runs.db-wal").unlink()
    for step in range(2, 10):
        run.store.commit(run.lease, a_step(step), None, None)
    copied = run.db.with_name("copied.db")  # as it is after a kill: without what is open here
    for part in ("", "-wal"):
        shutil.copy(f"{run.db}{part}", f"{copied}{part}")
    for path in (copied, run.db):
        store = SqliteCheckpointer(path)
        assert [step.step for step in store.load("run-1").steps] == list(range(10))
        store.close()
    run.store.commit(run.lease, a_step(10), None, None)
    assert run.store.load("run-1").header.step == 10
