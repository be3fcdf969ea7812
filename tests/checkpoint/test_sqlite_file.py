"""The database file: how it is made, shared, read by others, and what can be wrong with it."""

import fcntl
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import BaseModel

from graphflow import END, START, StateGraph
from graphflow.checkpoint import sqlite_file, writers_lock
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.checkpoint.sqlite_errors import translated
from graphflow.errors import (
    CheckpointCorruptError,
    DatabaseUnavailableError,
    NotADatabaseError,
    RunNotFoundError,
)
from graphflow.records import Ending
from graphflow.testing.processes import ended_process
from graphflow.testing.records import SPEC_JSON, a_header, a_snapshot, a_step, a_task
from tests.rig.forge import change


class Count(BaseModel):
    n: int = 0


def begin(store, run_id="run-1", **more):
    """Begin a run."""
    return store.begin(a_header(run_id, **more), SPEC_JSON, a_step(0), a_snapshot(0), None)


@pytest.fixture
def impatient(monkeypatch):
    """Wait for other writers a moment only."""
    monkeypatch.setattr(sqlite_file, "_PATIENCE", 0.05)


# -- paths ----------------------------------------------------------------------------------


def test_the_file_is_made_by_the_first_verb_and_is_private(db):
    """Naming a file makes none; the first verb does, and only its owner may read it."""
    store = SqliteCheckpointer(db)
    assert not db.exists()
    assert store.runs() == []
    assert stat.S_IMODE(db.stat().st_mode) == 0o600
    begin(store)
    for name in ("runs.db-wal", "runs.db-lock"):
        assert stat.S_IMODE(db.with_name(name).stat().st_mode) == 0o600
    store.close()


def test_nothing_is_left_beside_the_file(db):
    """The log, its index and the lock go when the last one closes."""
    one, two = SqliteCheckpointer(db), SqliteCheckpointer(str(db))
    begin(one)
    begin(two, "run-2")
    one.close()
    assert [h.run_id for h in two.runs()] == ["run-2", "run-1"]
    two.close()
    assert [path.name for path in db.parent.iterdir()] == ["runs.db"]


def test_a_link_leads_to_the_file_wherever_it_is(db, tmp_path):
    """A link may be there before its file; what stands beside the file is found there."""
    (tmp_path / "far").mkdir()
    db.symlink_to(tmp_path / "far" / "real.db")
    with closing(SqliteCheckpointer(db)) as store:
        begin(store)
        names = {file.path.name for file in store.health().files}
        assert names == {"real.db", "real.db-wal", "real.db-shm", "real.db-lock"}
        store.backup(tmp_path / "copy.db")
    with closing(SqliteCheckpointer(tmp_path / "copy.db")) as copy:
        assert [header.run_id for header in copy.runs()] == ["run-1"]
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["real.db"]


@pytest.mark.parametrize("to", ["loop.db", "nowhere/runs.db"])
def test_a_link_that_leads_nowhere_is_said_to(tmp_path, to):
    """A place where no file can be is a typed error that names it."""
    (tmp_path / "loop.db").symlink_to(tmp_path / to)
    with pytest.raises(DatabaseUnavailableError, match=r"loop\.db cannot be made"):
        SqliteCheckpointer(tmp_path / "loop.db").runs()
    with pytest.raises(DatabaseUnavailableError, match="cannot be opened: File name too long"):
        SqliteCheckpointer(tmp_path / ("long" * 99))


@pytest.mark.parametrize("verb", ["delete", "size", "verify", "load", "spent", "find"])
def test_an_id_that_utf8_cannot_hold_is_none_of_a_run(store, verb):
    """Such a word, as an argument of the shell may be, is looked for like any other."""
    with pytest.raises(RunNotFoundError, match="there is no run"):
        getattr(store, verb)("\udcff")


def test_a_dropped_checkpointer_closes_its_file(db):
    """A checkpointer that nobody holds lets go of its file."""
    begin(SqliteCheckpointer(db))
    assert [path.name for path in db.parent.iterdir()] == ["runs.db"]


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    """A path may begin with a tilde."""
    monkeypatch.setenv("HOME", str(tmp_path))
    store = SqliteCheckpointer("~/runs.db")
    begin(store)
    store.close()
    assert (tmp_path / "runs.db").exists()


def test_a_closed_checkpointer_says_so(store):
    """After close() every verb says that the file has been closed here."""
    begin(store)
    store.close()
    with pytest.raises(DatabaseUnavailableError, match="closed here"):
        store.runs()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (":memory:", "leave the path out for records in memory"),
        (".", "is a folder"),
        ("", "^'' is a folder"),
        ("/dev/null", "/dev/null is a pipe or a device"),
        ("no/such/runs.db", "mkdir -p"),
        ("a\0b.db", r"'a\\x00b.db' cannot be the path of a file: there is a NUL character"),
        ("a\0/b.db", r"'a\\x00/b.db' cannot be the path of a file: there is a NUL character"),
        ("\ud800.db", r"'\\ud800.db' cannot be .* half of a surrogate pair"),
    ],
)
def test_a_path_that_cannot_be_a_file(tmp_path, monkeypatch, path, words):
    """A path where there can be no file is refused at once, with what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatabaseUnavailableError, match=words):
        SqliteCheckpointer(path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_file_that_is_to_be_made(tmp_path):
    """The folder that a link leads into is named when it is not there; else it is followed."""
    link, folder = tmp_path / "link.db", tmp_path / "disk"
    link.symlink_to(folder / "runs.db")
    with pytest.raises(DatabaseUnavailableError, match=f"mkdir -p {folder}"):
        SqliteCheckpointer(link)
    folder.mkdir()
    with closing(SqliteCheckpointer(link)) as store:
        begin(store)
    assert (folder / "runs.db").exists()


def test_a_copy_cannot_be_made_at_a_path_that_no_file_has(store, tmp_path):
    """A backup to a path with a NUL character is refused in the same words."""
    begin(store)
    with pytest.raises(DatabaseUnavailableError, match="there is a NUL character in it"):
        store.backup(tmp_path / "a\0b.db")


def test_a_missing_file_is_not_made_when_it_must_exist(db):
    """create=False refuses a file that is not there and makes none."""
    with pytest.raises(DatabaseUnavailableError, match="there is no file"):
        SqliteCheckpointer(db, create=False)
    assert not db.exists()


def test_an_unknown_durability_is_refused(db):
    """Only the two durabilities can be asked for."""
    with pytest.raises(ValueError, match="'full' or 'normal'"):
        SqliteCheckpointer(db, durability="off")


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_sets_how_commits_are_synced(db, durability, level):
    """Full syncs each commit, and wins when two checkpointers of a process differ."""
    store = SqliteCheckpointer(db, durability=durability)
    store.runs()
    assert store._file._cursor.execute("PRAGMA synchronous").fetchone() == (level,)
    other = SqliteCheckpointer(db)
    assert other._file is store._file
    assert store._file._cursor.execute("PRAGMA synchronous").fetchone() == (2,)
    other.close()
    store.close()


# -- files of other kinds -------------------------------------------------------------------


def test_a_file_that_is_no_database(db):
    """A file of another kind is refused and left as it was."""
    db.write_text("this is my diary\n" * 100)
    with pytest.raises(NotADatabaseError, match="is not a SQLite database"):
        SqliteCheckpointer(db)
    assert db.read_text() == "this is my diary\n" * 100
    assert [path.name for path in db.parent.iterdir()] == ["runs.db"]


def test_a_database_of_somebody_else(db):
    """A database with other tables, even of our names, is refused and left as it was."""
    change(db, "CREATE TABLE runs (km REAL)")
    before = db.read_bytes()
    with pytest.raises(NotADatabaseError, match=r"not of graphflow \(it has runs\)"):
        SqliteCheckpointer(db)
    assert db.read_bytes() == before
    assert [path.name for path in db.parent.iterdir()] == ["runs.db"]


def test_a_database_of_a_newer_graphflow(db, store):
    """A database with migrations that this version does not know is refused."""
    store.runs()
    store.close()
    change(
        db,
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
        "VALUES ('graphflow', 'm999_future', '')",
    )
    with pytest.raises(NotADatabaseError, match=r"newer graphflow.*pip install -U"):
        SqliteCheckpointer(db)


def test_tables_without_their_columns(db, store):
    """A database whose tables were changed says which column is missing."""
    begin(store)
    store.close()
    conn = sqlite3.connect(db)
    conn.execute("DROP VIEW run_summary")
    conn.execute("ALTER TABLE runs DROP COLUMN tags_json")
    conn.close()
    with pytest.raises(NotADatabaseError, match="tags_json"):
        SqliteCheckpointer(db).runs()


def test_an_empty_file_becomes_a_database(db):
    """An empty file, as mktemp makes it, is taken."""
    db.touch()
    store = SqliteCheckpointer(db)
    begin(store)
    store.close()
    again = SqliteCheckpointer(db)
    assert [header.run_id for header in again.runs()] == ["run-1"]
    again.close()


# -- when it cannot be used -----------------------------------------------------------------


def test_a_full_disk_loses_nothing(small_disk):
    """On a full disk a commit is refused, what is committed stays, and the run can go on."""
    folder, _ = small_disk
    store = SqliteCheckpointer(folder / "runs.db")
    lease = begin(store)
    filler = folder / "filler"
    step, failure = 0, None
    while failure is None and step < 500:
        if step == 5:
            filler.write_bytes(b"x" * 300_000)
        try:
            store.commit(lease, _large(step + 1), None, None)
            step += 1
        except DatabaseUnavailableError as error:
            failure = str(error)
    assert "disk is full" in failure
    assert [s.step for s in store.load("run-1").steps] == list(range(step + 1))
    filler.unlink()
    store.commit(lease, a_step(step + 1), None, Ending("done"))
    store.close()
    again = SqliteCheckpointer(folder / "runs.db")
    assert again.load("run-1").header.step == step + 1
    again.close()


def _large(step):
    made = a_step(step)
    made.tasks = (a_task(0, update_json='{"notes":["' + "x" * 20_000 + '"]}'),)
    return made


def test_a_read_only_disk_can_be_read(small_disk):
    """A database on a read-only disk can be read, and a write says what is the matter."""
    folder, remount = small_disk
    store = SqliteCheckpointer(folder / "runs.db")
    begin(store)
    store.close()
    remount("ro")
    store = SqliteCheckpointer(folder / "runs.db")
    assert store.load("run-1").header.step == 0
    with pytest.raises(DatabaseUnavailableError, match="read-only"):
        store.take("run-1", this_process())
    store.close()
    with pytest.raises(DatabaseUnavailableError, match="cannot be made"):
        SqliteCheckpointer(folder / "new.db").runs()
    remount("rw")


def test_a_database_that_another_program_locks(db, store, impatient):
    """A lock that somebody holds for too long is named; the commit works when it is gone."""
    lease = begin(store)
    store.close()
    store = SqliteCheckpointer(db)
    holder = sqlite3.connect(db, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailableError, match="locked by another process"):
        store.commit(lease, a_step(1), None, None)
    assert store.load("run-1").header.step == 0
    holder.execute("ROLLBACK")
    holder.close()
    store.commit(lease, a_step(1), None, None)
    assert store.load("run-1").header.step == 1
    store.close()


def test_a_write_asks_for_the_file_before_it_reads(db, store):
    """No other program writes between what a verb reads and what it stores."""
    begin(store)
    other = sqlite3.connect(db, isolation_level=None, timeout=0)

    def work(cursor):
        cursor.execute("SELECT count(*) FROM runs").fetchone()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    store._file.write(work)
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()


def test_writers_wait_for_each_other(db, store, impatient):
    """Whoever commits, opens or closes waits for the writers' lock; reading does not."""
    lease = begin(store)
    with db.with_name("runs.db-lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatabaseUnavailableError, match="locked by another process"):
            sqlite_file.SqliteFile(db, "full")
        with pytest.raises(DatabaseUnavailableError, match="locked by another process"):
            SqliteCheckpointer(db).commit(lease, a_step(1), None, None)
        assert store.load("run-1").header.step == 0


LEAVING = """
import sys
from graphflow.checkpoint import sqlite_file
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.leases import begin_run
from graphflow.testing.records import a_step
sqlite_file._PATIENCE = 0.05
store = SqliteCheckpointer(sys.argv[1])
store.commit(begin_run(store), a_step(1), None, None)
print("stored", flush=True)
sys.stdin.readline()
"""


def test_who_leaves_while_another_holds_the_lock(db, store, impatient):
    """Closing, and the end of a program, say nothing of a lock that others keep; all is there."""
    child = subprocess.Popen(
        [sys.executable, "-c", LEAVING, db],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "stored\n"
    other = SqliteCheckpointer(db)
    other.runs()
    with db.with_name("runs.db-lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert child.communicate("go\n", timeout=30) == ("", "")
        assert child.returncode == 0
        other.close()
        store.close()
    again = SqliteCheckpointer(db)
    assert again.load("run-1").header.step == 1
    again.close()


def test_a_folder_that_went_before_the_store(tmp_path):
    """Closing a store whose folder has gone, as that of a test does, says nothing."""
    folder = tmp_path / "gone"
    folder.mkdir()
    store = SqliteCheckpointer(folder / "runs.db")
    begin(store)
    shutil.rmtree(folder)
    store.close()
    assert not folder.exists()


def test_a_file_that_was_deleted(db, store):
    """A file that was deleted or replaced under us takes no more commits, and can begin anew."""
    lease = begin(store)
    for path in list(db.parent.iterdir()):
        path.unlink()
    with pytest.raises(DatabaseUnavailableError, match="deleted or replaced"):
        store.commit(lease, a_step(1), None, None)
    new = SqliteCheckpointer(db)
    begin(new, "run-2")
    with pytest.raises(DatabaseUnavailableError, match="deleted or replaced"):
        store.load("run-1")
    assert [h.run_id for h in new.runs()] == ["run-2"]
    new.close()


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_run_whose_file_went_is_not_said_to_be_there(db, is_closed):
    """Nobody is told to resume a run of a file that was deleted, or closed, under it."""
    graph = StateGraph(Count, name="count")
    graph.add_node("a", lambda _: flow.close() if is_closed else db.unlink())
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    flow = graph.compile(db)
    with pytest.raises(DatabaseUnavailableError, match="compile the graph with it again") as told:
        flow.run({}, run_id="x")
    assert "resume" not in str(told.value)


def test_a_lock_that_cannot_be_made_is_not_said_to_be_there(db, store, monkeypatch):
    """Where the folder cannot be written, the words name it, and no file that is not there."""
    store.runs()
    store.close()
    db.with_name("runs.db-lock").unlink(missing_ok=True)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(writers_lock.os, "open", refuse)
    with pytest.raises(DatabaseUnavailableError) as told:
        writers_lock.WritersLock(db, 1.0, db.with_name("runs.db-lock"))
    assert "cannot be made (Permission denied). Nothing was stored; let whoever" in str(told.value)
    assert f"write its folder {db.parent} too" in str(told.value)
    assert "remove it" not in str(told.value)


def test_a_lock_that_cannot_be_opened_again_is_let_go_of_once(db, store, monkeypatch):
    """Who closes it afterwards closes no file twice, which may be another's by then."""
    store.runs()
    lock = writers_lock.WritersLock(db, 1.0)
    lock.path.unlink()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as during:
        during.setattr(writers_lock.os, "open", refuse)
        with pytest.raises(DatabaseUnavailableError), lock.opening():
            pass
    lock.close()


def test_what_may_not_be_written_is_named(db, store, monkeypatch):
    """A log that a reader made read-only is named, by the error and by what doctor finds."""
    begin(store)
    log = db.with_name("runs.db-shm")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != log)
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorname = "SQLITE_READONLY"
    words = str(translated(error, db, 1.0))
    assert f"cannot be written: {log} may not be; `chmod u+w`" in words
    assert store.health().findings == ()
    log.chmod(0o400)
    (found,) = store.health().findings
    assert found.words == (
        f"{log} cannot be written (mode 0400), so that the database cannot either:"
        f" `chmod 600 {log}`"
    )


def test_a_damaged_file_is_named(db, store):
    """What SQLite itself finds damaged is reported with the way to a rescue."""
    lease = begin(store)
    for step in range(1, 60):
        store.commit(lease, a_step(step), None, None)
    store.close()
    content = bytearray(db.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    db.write_bytes(content)
    with pytest.raises(CheckpointCorruptError, match="recover"):
        SqliteCheckpointer(db).load("run-1")


# -- living with others ---------------------------------------------------------------------


def test_the_log_stays_short(db, monkeypatch):
    """The log is copied into the file when it has grown, and does not grow for ever."""
    monkeypatch.setattr(sqlite_file, "_LONG_LOG", 100_000)
    store = SqliteCheckpointer(db, durability="normal")
    lease = begin(store)
    log, lengths = db.with_name("runs.db-wal"), []
    for step in range(1, 301):
        store.commit(lease, a_step(step), None, None)
        lengths.append(log.stat().st_size)
    assert max(lengths) < 1_000_000
    assert min(lengths[100:]) < 100_000
    store.close()


def test_reading_goes_on_while_others_write(db, store):
    """A reader of another program sees whole steps and hinders nobody."""
    lease = begin(store)
    reader = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM steps").fetchone() == (1,)
    for step in (1, 2, 3):
        store.commit(lease, a_step(step), None, None)
    assert reader.execute("SELECT count(*) FROM steps").fetchone() == (1,)
    reader.rollback()
    assert reader.execute("SELECT count(*) FROM steps").fetchone() == (4,)
    reader.close()


_FORK = """
import os, sys
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.records import *
store = SqliteCheckpointer(sys.argv[1])
begin = lambda run: store.begin(a_header(run), SPEC_JSON, a_step(0), a_snapshot(0), None)
lease = begin("parent")
child = os.fork()
if not child:
    lease = begin("child")
for step in range(1, 40):
    store.commit(lease, a_step(step), None, None)
if child:
    assert os.waitpid(child, 0)[1] == 0
    store.commit(lease, a_step(40), None, None)
store.close()
"""


def test_a_forked_process_opens_its_own_connection(db, python):
    """Parent and child go on side by side after a fork, on two connections."""
    assert python(_FORK, db).wait(30) == 0
    store = SqliteCheckpointer(db)
    assert {h.run_id: h.step for h in store.runs()} == {"child": 39, "parent": 40}
    assert store._file._cursor.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [path.name for path in db.parent.iterdir() if "-" in path.name] != []
    store.close()


_LEFT_BEHIND = """
import os, subprocess, sys
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.records import *
store, told = SqliteCheckpointer(sys.argv[1]), os.pipe()
begin = lambda run: store.begin(a_header(run), SPEC_JSON, a_step(0), a_snapshot(0), None)
begin("parent")
if os.fork():
    os.read(told[0], 1)
    store.close()
    sys.exit()
parent, lease = os.getppid(), begin("child")
os.write(told[1], b".")
while os.getppid() == parent:
    os.sched_yield()
other = "import sys; from graphflow.checkpoint.sqlite import *; SqliteCheckpointer(sys.argv[1])"
for step in range(1, 4):
    subprocess.run([sys.executable, "-c", other, sys.argv[1]], check=True)
    store.commit(lease, a_step(step), None, None)
os.kill(os.getpid(), 9)
"""


def test_a_forked_process_keeps_its_log_when_its_parent_has_gone(db, python):
    """Others who come and go see that it has the file open, and do not take its log along."""
    python(_LEFT_BEHIND, db).communicate(timeout=60)
    store = SqliteCheckpointer(db)
    assert {h.run_id: h.step for h in store.runs()} == {"child": 3, "parent": 0}
    store.close()


_FORKS = """
import os, sys
from threading import Thread
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.records import *
store = SqliteCheckpointer(sys.argv[1])
begin = lambda run: store.begin(a_header(run), SPEC_JSON, a_step(0), a_snapshot(0), None)

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    return os.waitpid(child, 0)[1]

def commit(lease):
    for step in range(1, 40):
        store.commit(lease, a_step(step), None, None)

threads = [Thread(target=commit, args=(begin(run),)) for run in ("one", "two")]
for thread in threads:
    thread.start()
assert [fork() for _ in range(5)] == [0] * 5
for thread in threads:
    thread.join()
assert store.together([fork, lambda: begin("three")])[0] == 0
store.close()
"""


def test_threads_wait_for_a_fork_and_a_transaction_does_not(db, python):
    """What threads commit while another forks is all there; who forks inside `together` goes on."""
    assert python(_FORKS, db).wait(60) == 0
    store = SqliteCheckpointer(db)
    assert {h.run_id: h.step for h in store.runs()} == {"one": 39, "two": 39, "three": 0}
    store.close()


_FROZEN = """
import os, sys
from graphflow.checkpoint.sqlite import SqliteCheckpointer
store = SqliteCheckpointer(sys.argv[1])
store.load("run-1")  # all modules are there now
store.close()
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
store = SqliteCheckpointer(sys.argv[1])
for _ in sys.stdin:
    print([len(store.load(header.run_id).steps) for header in store.runs()], flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
def test_who_may_only_read_sees_what_is_written_later(python):
    """Where a reader cannot even make the index of the log, it reads the file anew each time."""
    with TemporaryDirectory(dir="/tmp") as folder:
        db = Path(folder, "runs.db")
        db.parent.chmod(0o755)
        store = SqliteCheckpointer(db)
        begin(store)
        store.close()
        db.chmod(0o644)
        reader = python(_FROZEN, db)

        def seen():
            reader.stdin.write("\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        assert seen() == "[1]"
        with closing(SqliteCheckpointer(db)) as store:
            lease = begin(store, "run-2")
            for step in range(1, 100):
                store.commit(lease, a_step(step), None, None)
        assert seen() == "[100, 1]"


_LAZY = """
import sys
import graphflow.checkpoint.sqlite as module
assert not {"sqlite3", "sqlite_utils"} & sys.modules.keys(), "imported too early"
module.SqliteCheckpointer(sys.argv[1]).runs()
assert "sqlite_utils" not in sys.modules, "imported for a database that has its tables"
"""


def test_libraries_are_imported_when_they_are_needed(db, store, python):
    """Importing the module loads no SQLite, and an existing database needs no sqlite-utils."""
    store.runs()
    assert python(_LAZY, db).wait(30) == 0


def test_a_module_imports_nothing_that_runs_text():
    """Nothing on the way from the file to the records can run code that it reads."""
    folder = Path(sqlite_file.__file__).parent
    for path in folder.glob("*.py"):
        text = path.read_text()
        for word in ("pickle", "eval(", "exec(", "importlib", "__import__", "marshal"):
            assert word not in text, f"{path.name} has {word}"


def test_a_list_of_the_newest_runs_reads_no_others(store):
    """SQLite does as much for a list of five of 60 runs as for one of five of 30."""
    done = []
    for many in (30, 60):
        for number in range(many - 30, many):
            begin(store, f"run-{number:02}")
        done.append([work_of(store, **how) for how in ({}, {"status": "running"}, {"graph": "g"})])
    assert done[0][:2] == done[1][:2]
    assert done[0] < done[1]  # to find that there is none takes a look at each


def work_of(store, **how):
    """Count SQLite's own steps for a list of five runs, which is the beginning of the whole one."""
    steps = []
    connection = store._file._cursor.connection
    connection.set_progress_handler(lambda: steps.append(1), 1)
    newest = store.runs(limit=5, **how)
    connection.set_progress_handler(None, 0)
    assert newest == store.runs(**how)[:5]
    return len(steps)


def test_a_list_goes_on_past_runs_that_stand_otherwise(store):
    """Whether an owner lives shows only when it is looked for: the list has as many as asked."""
    for number in range(40):
        lease = begin(store, f"run-{number:02}")
        if number % 9 == 4:
            store.end(lease, Ending("running"))
            store.take(f"run-{number:02}", ended_process())
    stale = ["run-31", "run-22", "run-13", "run-04"]
    for limit in (1, 2, 4, 5, None):
        found = store.runs(status="stale", limit=limit)
        assert [header.run_id for header in found] == stale[:limit]
        others = [header.run_id for header in store.runs(status="running", limit=limit)]
        assert others == [f"run-{n:02}" for n in reversed(range(40)) if n % 9 != 4][:limit]
