"""Ends without warning, and two processes that want one run."""

import random
import signal

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.records import SPEC_JSON, a_header, a_snapshot, a_step, a_task, facts

_START = """
import sys
from graphflow.checkpoint import sqlite_file
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import GraphflowError
from graphflow.testing.records import *
store = SqliteCheckpointer(sys.argv[1])
"""

_COMMITS = (
    _START
    + """
sqlite_file._LONG_LOG, sqlite_file._LOOK_EVERY = 40_000, 4
lease = store.take("run-1", this_process())
step = store.load("run-1", tail=True).header.step
while True:
    step += 1
    try:
        if not step % 3:
            store.keep(lease, step, a_task(1))
        snapshot = a_snapshot(step) if not step % 50 else None
        store.commit(lease, a_step(step, tasks=2), snapshot, None)
    except GraphflowError as error:
        print(error, flush=True)
        raise
    print(step, flush=True)
"""
)


def test_a_kill_loses_no_acknowledged_step(db, python):
    """After SIGKILL at any moment every acknowledged step is there, once, and the run goes on."""
    store = SqliteCheckpointer(db)
    store.begin(a_header(owner=None), SPEC_JSON, a_step(0), a_snapshot(0), None)
    store.close()
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(20):
        process = python(_COMMITS, db)
        for _ in range(chance.randrange(1, 60)):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines(keepends=True)  # what is buffered here, too
        process.wait()
        acknowledged = max([acknowledged, *(int(line) for line in rest if line.endswith("\n"))])
        store = SqliteCheckpointer(db)
        records = store.load("run-1", tail=True)
        assert records.header.status == "stale"
        # One more may be committed, whose acknowledgement was not sent any more
        assert acknowledged <= records.header.step <= acknowledged + 1
        acknowledged = records.header.step
        store.close()
    store = SqliteCheckpointer(db)
    steps = store.load("run-1").steps
    assert [step.step for step in steps] == list(range(acknowledged + 1))
    assert facts(steps[1:]) == facts([a_step(s, tasks=2) for s in range(1, acknowledged + 1)])
    assert store._file._cursor.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


_RACE = (
    _START
    + """
print("ready", flush=True)
sys.stdin.readline()
for run in sys.argv[2:]:
    try:
        lease = store.take(run, this_process())
        store.commit(lease, a_step(1), None, None)
        print("took", flush=True)
    except GraphflowError as error:
        print(type(error).__name__, flush=True)
sys.stdin.readline()
"""
)


def test_two_processes_race_for_runs(db, python):
    """Of two processes that take a run at the same time one gets it; the other is told so."""
    store = SqliteCheckpointer(db)
    runs = [f"run-{n}" for n in range(40)]
    for run_id in runs:
        header = a_header(run_id, owner=None)
        store.begin(header, SPEC_JSON, a_step(0), a_snapshot(0), None)
    racers = [python(_RACE, db, *runs) for _ in range(2)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    results = [[racer.stdout.readline().strip() for _ in runs] for racer in racers]
    for run_id, answers in zip(runs, zip(*results, strict=True), strict=True):
        assert sorted(answers) == ["RunBusyError", "took"], run_id
        records = store.load(run_id)
        assert (records.header.epoch, records.header.step) == (2, 1)
    store.close()


_LATE = (
    _START
    + """
lease = store.begin(a_header(owner=sys.argv[2]), SPEC_JSON, a_step(0), a_snapshot(0), None)
store.commit(lease, a_step(1), None, None)
print("committed", flush=True)
sys.stdin.readline()
try:
    store.commit(lease, a_step(2), a_snapshot(2), None)
except GraphflowError as error:
    print(type(error).__name__, error, flush=True)
"""
)


def test_a_late_commit_is_refused(db, python):
    """A process that was thought dead cannot commit once another has taken its run."""
    gone = python("from graphflow.checkpoint.owner import this_process; print(this_process())")
    dead = gone.communicate()[0].strip()
    late = python(_LATE, db, dead)
    assert late.stdout.readline() == "committed\n"
    store = SqliteCheckpointer(db)
    lease = store.take("run-1", this_process())
    late.stdin.write("go\n")
    late.stdin.flush()
    answer = late.stdout.readline()
    assert answer.startswith("LeaseLostError run 'run-1' was taken over (epoch 2")
    assert "Nothing of this write was stored" in answer
    records = store.load("run-1")
    assert [step.step for step in records.steps] == [0, 1]
    assert [snapshot.step for snapshot in records.snapshots] == [0]
    store.commit(lease, a_step(2), None, None)
    assert facts(store.load("run-1").steps[2:]) == facts([a_step(2)])
    store.close()


def test_an_interrupted_write_leaves_nothing(db, monkeypatch):
    """An exception in the middle of a commit, as Ctrl-C raises it, rolls all of it back."""
    store = SqliteCheckpointer(db)
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    store.keep(lease, 1, a_task(1))
    before = store.load("run-1")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("graphflow.checkpoint.sqlite_write.snapshot_digest", interrupt)
        try:
            store.commit(lease, a_step(1, tasks=2), a_snapshot(1), None)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("it was not interrupted")
    assert store.load("run-1") == before
    store.commit(lease, a_step(1, tasks=2), a_snapshot(1), None)
    assert facts(store.load("run-1").steps[1:]) == facts([a_step(1, tasks=2)])
    store.close()
