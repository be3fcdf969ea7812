"""The names of processes, and whether a named process still lives."""

import os
import signal
import subprocess
import sys

import pytest

from graphflow.checkpoint.owner import describe, is_alive, this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import RunBusyError
from graphflow.records import Ending

_HOLDS = """
import sys
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
store = SqliteCheckpointer(sys.argv[1])
store.runs() if store.path.exists() else store._open()
print(this_process(), flush=True)
sys.stdin.read()
"""
_FORKS = """
import os, sys, time
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
store = SqliteCheckpointer(sys.argv[1])
store._open()
name = this_process()
reader, writer = os.pipe()
if not os.fork():
    os.write(writer, this_process().encode())
    sys.stdout = None
    os.close(1)
    while True:
        time.sleep(60)
print(name, os.read(reader, 1000).decode(), flush=True)
os._exit(0)
"""
_BEGINS = """
import os, socket, sys
socket.sethostname(sys.argv[3])
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.records import *
store = SqliteCheckpointer(sys.argv[1])
store.begin(a_header(sys.argv[2]), SPEC_JSON, a_step(0), a_snapshot(0), None)
print("begun", flush=True)
sys.stdin.read()
os._exit(0)
"""
_SAY = (
    "from graphflow.checkpoint.owner import this_process; "
    "print(this_process(), flush=True); input()"
)


def test_this_process_lives():
    """A process names itself the same each time, and lives."""
    assert this_process() == this_process()
    assert is_alive(this_process())
    assert describe(this_process()) == f"process {os.getpid()} on host {os.uname().nodename}"


def test_another_process_lives_until_it_ends(python):
    """A process lives until it ends, a killed one that nobody waits for included."""
    process = python(_SAY)
    name = process.stdout.readline().strip()
    assert name != this_process()
    assert is_alive(name)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead now, but not waited for
    assert not is_alive(name)
    process.communicate()
    assert not is_alive(name)


def test_a_number_that_was_given_again():
    """A process that has the number of another, or ran before the machine started, is gone."""
    host, boot, pid, start, _, _ = this_process().split(":")
    assert not is_alive(f"{host}:{boot}:{pid}:{int(start) - 1}")
    assert not is_alive(f"{host}:another-boot:{pid}:{start}")
    assert is_alive(f"{host}:{boot}:{pid}:")  # no start known: the number must do


def test_a_process_of_another_name_space_is_known_by_its_lock(db, python):
    """Where numbers mean nothing, a locked byte beside the database says that a process lives."""
    lock = db.with_name("runs.db-lock")
    process = python(_HOLDS, db)
    name = process.stdout.readline().strip()
    foreign = name.replace(name.split(":")[4], "1")
    stranger = f"{foreign[:-15]}{'0' * 15}"
    assert is_alive(name, lock)
    assert is_alive(foreign, lock)
    assert not is_alive(stranger, lock)
    lock.chmod(0o400)
    assert is_alive(foreign, lock), "a reader has no need to write"
    process.kill()
    process.wait()
    assert not is_alive(foreign, lock)
    lock.unlink()
    assert not is_alive(foreign, lock), "nobody has the database open"
    assert is_alive(foreign), "without a lock file there is no telling"


def test_a_forked_child_does_not_hold_its_parent_s_mark(db, python):
    """A run is free as soon as its process has died, though a child of that process lives."""
    process = python(_FORKS, db)
    name, child = process.stdout.readline().split()
    foreign = name.replace(name.split(":")[4], "1")
    process.wait()
    assert is_alive(child)
    assert not is_alive(foreign, db.with_name("runs.db-lock"))
    os.kill(int(child.split(":")[2]), signal.SIGKILL)


def test_a_process_in_another_container_is_seen_until_it_dies(db, python):
    """A run is busy while its process in another name space lives, and free at once after that."""
    if subprocess.run(["unshare", "-u", "-p", "-f", "true"], check=False).returncode:
        pytest.skip("making a process name space needs root")
    for rename in (True, False):
        store = SqliteCheckpointer(db)
        run_id = f"run-{rename}"
        command = ["unshare", "-u", "-p", "-f", "--mount-proc", sys.executable, "-c", _BEGINS]
        with subprocess.Popen(
            [*command, db, run_id, "other" if rename else os.uname().nodename],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == "begun\n"
            assert store.load(run_id).header.status == "running"
            with pytest.raises(RunBusyError, match="process 1 on host"):
                store.take(run_id, this_process())
            store.close()
            store = SqliteCheckpointer(db)  # also for who opens it while the other one writes
            assert [h.run_id for h in store.runs(status="running")] == [run_id]
            process.communicate("")  # it ends without closing
        assert store.load(run_id).header.status == "stale"
        store.end(store.take(run_id, this_process()), Ending("done"))
        store.close()


def test_what_cannot_be_told_counts_as_alive():
    """Processes of other machines, and names of other forms, are never declared dead."""
    assert is_alive("elsewhere:boot:1:1")
    assert is_alive("worker 7")
    assert describe("worker 7") == "'worker 7'"
