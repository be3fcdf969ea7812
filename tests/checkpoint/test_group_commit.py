"""Group commit: threads that write while another one commits share the next transaction."""

import os
import signal
from threading import Event, Thread

import pytest

from graphflow.checkpoint import sqlite_file
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    CheckpointError,
    DatabaseUnavailableError,
    LeaseLostError,
)
from graphflow.records import Ending
from graphflow.testing.failpoints import raise_at
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import a_snapshot, a_step, facts

LONG = 20  # seconds: whoever waits longer has been forgotten


@pytest.fixture(autouse=True)
def no_naps(monkeypatch):
    """Let nobody look again by himself: whoever is not woken hangs, and fails the test."""
    monkeypatch.setattr(sqlite_file, "_NAP", 10.0 * LONG)


@pytest.fixture
def threads():
    """Start threads; all must have ended with the test, and what they raised is given back."""
    started = []

    def start(work):
        outcome = []

        def run():
            try:
                outcome.append(work())
            except Exception as error:  # noqa: BLE001 - the test looks at it
                outcome.append(error)

        thread = Thread(target=run, daemon=True)
        started.append(thread)
        thread.start()
        return outcome

    yield start
    for thread in started:
        thread.join(LONG)
        assert not thread.is_alive(), "a thread hangs"


@pytest.fixture
def hold(store, threads):
    """Hold the file in a transaction until the function that this gives is called."""
    store.runs()
    held = []

    def start(verb=store._file.write):
        begun, let_go = Event(), Event()
        held.append(let_go)
        threads(lambda: verb(lambda _: (begun.set(), let_go.wait(LONG))))
        assert begun.wait(LONG)
        return let_go.set

    yield start
    for let_go in held:
        let_go.set()


def until_queued(store, count):
    """Wait until so many threads wait for their turn."""
    for _ in range(LONG * 1000):
        if len(store._file._queue) >= count:
            return
        Event().wait(0.001)
    raise AssertionError("nobody came")


def commit(store, lease, step, ending=None):
    """Make a function that commits one step."""
    return lambda: store.commit(lease, a_step(step), None, ending)


def joined(outcome):
    """Wait for what came of a thread's work."""
    for _ in range(LONG * 1000):
        if outcome:
            return outcome[0]
        Event().wait(0.001)
    raise AssertionError("it never ended")


def test_many_threads_lose_nothing_and_share_commits(db, threads):
    """32 threads with 50 runs each: every step is there, with fewer transactions than commits."""
    store = SqliteCheckpointer(db)
    store.runs()
    before = store._file.transactions

    def work(name):
        for n in range(50):
            lease = begin_run(store, run_id=f"run-{name}-{n}")
            store.commit(lease, a_step(1), None, None)
            store.commit(lease, a_step(2), None, Ending("done"))

    outcomes = [threads(lambda name=name: work(name)) for name in range(32)]
    assert [joined(outcome) for outcome in outcomes] == [None] * 32
    commits = 32 * 50 * 3
    assert store._file.transactions - before < commits / 2
    steps = facts([a_step(0), a_step(1), a_step(2)])
    headers = store.runs()
    assert len(headers) == 32 * 50
    for header in headers:
        assert header.status == "done"
        assert facts(store.load(header.run_id).steps) == steps
    store.close()


def test_together_and_threads_side_by_side(store, threads):
    """Batches of `together` and verbs of other threads do not mix, and none is forgotten."""

    def alone(name):
        for n in range(20):
            lease = begin_run(store, run_id=f"run-{name}-{n}")
            store.commit(lease, a_step(1), None, Ending("done"))

    def batches(name):
        for n in range(20):
            ids = [f"run-{name}-{n}-{one}" for one in range(5)]
            leases = store.together([lambda i=i: begin_run(store, run_id=i) for i in ids])
            ends = [commit(store, lease, 1, Ending("done")) for lease in leases]
            assert store.together(ends) == [None] * 5

    def reads():
        for _ in range(50):
            for header in store.runs(limit=3):
                store.load(header.run_id)

    kinds = [alone, batches, alone, batches]
    outcomes = [threads(lambda k=kind, n=name: k(n)) for name, kind in enumerate(kinds)]
    outcomes.append(threads(reads))
    assert [joined(outcome) for outcome in outcomes] == [None] * 5
    headers = store.runs()
    assert len(headers) == 2 * 20 + 2 * 20 * 5
    assert {(header.status, header.step) for header in headers} == {("done", 1)}


def write_half(cursor):
    """Write something, and fail."""
    cursor.execute("INSERT INTO memos VALUES (1, 1, 'half', '', '', '', '')")
    raise ZeroDivisionError


def test_one_that_fails_fails_alone(store, threads, hold):
    """Of the works in one transaction, one that fails stores nothing, and the others are stored."""
    good, bad, last = (begin_run(store, run_id=name) for name in ("good", "bad", "last"))
    store.take("bad", this_process())
    before = store._file.transactions
    let_go = hold()
    works = [commit(store, lease, 1) for lease in (good, bad)]
    works += [lambda: store._file.write(write_half), commit(store, last, 1)]
    outcomes = [threads(work) for work in works]
    until_queued(store, 4)
    let_go()
    kinds = [type(joined(outcome)) for outcome in outcomes]
    assert kinds == [type(None), LeaseLostError, ZeroDivisionError, type(None)]
    assert store._file.transactions == before + 2
    assert [store.load(name).header.step for name in ("good", "bad", "last")] == [1, 0, 1]
    assert [memo for name in ("good", "bad") for memo in store.load(name).memos] == []
    store.commit(good, a_step(2), None, None)


def test_what_fails_beside_it_does_not_call_functions_twice(store, threads, hold):
    """When a transaction begins anew without a work that failed, `together` does not call again."""
    leases = [begin_run(store, run_id=name) for name in ("one", "two")]
    called = []

    def one():
        called.append("one")
        store.commit(leases[0], a_step(1), None, None)
        store.commit(leases[0], a_step(2), None, Ending("done"))
        return "one"

    def two():
        called.append("two")
        store.commit(leases[1], a_step(2), None, None)

    let_go = hold()
    many = threads(lambda: store.together([one, two]))
    until_queued(store, 1)
    bad = threads(lambda: store._file.write(write_half))
    until_queued(store, 2)
    let_go()
    first, second = joined(many)
    assert (first, type(second), called) == ("one", CheckpointError, ["one", "two"])
    assert type(joined(bad)) is ZeroDivisionError
    assert [store.load(name).header.step for name in ("one", "two")] == [2, 0]
    assert store.load("one").header.status == "done"
    store.commit(leases[1], a_step(1), None, None)


def test_each_who_waits_is_woken(store, threads, hold):
    """Whoever lets go of the file wakes who waits: after a read, and after `together`."""
    leases = [begin_run(store, run_id=f"run-{n}") for n in range(4)]
    let_go = hold(store._file.read)
    outcomes = [
        threads(lambda lease=lease: store.together([commit(store, lease, 1)])) for lease in leases
    ]
    until_queued(store, 4)
    let_go()
    assert [joined(outcome) for outcome in outcomes] == [[None]] * 4


def test_no_child_begins_in_a_step_that_closes(store, threads, hold):
    """A child that begins while its parent commits the step is refused, or the step knows it."""
    for n, child_first in enumerate((False, True)):
        lease = begin_run(store, run_id=f"run-{n}")
        works = [commit(store, lease, 1), lambda lease=lease: begin_child(store, lease, 1)]
        let_go = hold()
        outcomes = []
        for place, work in enumerate(works[::-1] if child_first else works, 1):
            outcomes.append(threads(work))
            until_queued(store, place)
        let_go()
        results = [joined(outcome) for outcome in outcomes]
        assert isinstance(results[1], LeaseLostError) != child_first
        assert len(store.load(f"run-{n}").children) == child_first


def break_commit(cursor):
    """Write what only the COMMIT refuses: a row that refers to none."""
    cursor.execute("PRAGMA defer_foreign_keys = ON")
    cursor.execute("INSERT INTO memos VALUES (77, 1, '', '', '', '', '')")


def test_a_failed_commit_fails_for_all(store, threads, hold):
    """When the COMMIT fails all threads are told, nothing is stored, and all can go on."""
    names = ("one", "two", "three")
    leases = [begin_run(store, run_id=name) for name in names]
    let_go = hold()
    outcomes = [threads(commit(store, lease, 1)) for lease in leases]
    outcomes.append(threads(lambda: store._file.write(break_commit)))
    until_queued(store, 4)
    let_go()
    assert all(isinstance(joined(outcome), CheckpointError) for outcome in outcomes)
    assert [store.load(name).header.step for name in names] == [0, 0, 0]
    for lease in leases:
        store.commit(lease, a_step(1), a_snapshot(1), None)
    assert [store.load(name).header.step for name in names] == [1, 1, 1]


def test_a_failed_commit_of_together_fails_for_all(store):
    """When the COMMIT of `together` fails each verb gets the error, and no lease knows a thing."""
    lease = begin_run(store)
    results = store.together(
        [commit(store, lease, 1), commit(store, lease, 2), lambda: store._file.write(break_commit)]
    )
    assert len(results) == 3
    assert all(isinstance(result, CheckpointError) for result in results)
    assert store.load("run-1").header.step == 0
    store.commit(lease, a_step(1), None, None)


def test_a_locked_file_fails_for_all(db, store, threads, hold):
    """Whoever waits in one queue is told when the file cannot be had; a replaced file too."""
    lease, other = begin_run(store), begin_run(store, run_id="run-2")
    let_go = hold()
    outcomes = [threads(commit(store, one, 1)) for one in (lease, other)]
    until_queued(store, 2)
    db.unlink()
    let_go()
    for outcome in outcomes:
        assert isinstance(joined(outcome), DatabaseUnavailableError)
    together = store.together([commit(store, lease, 1)] * 2)
    assert [type(error) for error in together] == [DatabaseUnavailableError] * 2


# -- Ctrl-C -----------------------------------------------------------------------------------


def interrupt_main():
    """Do to the main thread what Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_wait_withdraws_the_work(store, threads, hold):
    """A thread that is interrupted before anybody began with its work has stored nothing."""
    lease = begin_run(store)
    let_go = hold()
    threads(lambda: (until_queued(store, 1), interrupt_main()))
    with pytest.raises(KeyboardInterrupt):
        store.commit(lease, a_step(1), None, None)
    assert not store._file._queue
    let_go()
    assert store.load("run-1").header.step == 0
    store.commit(lease, a_step(1), None, None)


def test_an_interrupted_wait_knows_what_was_done(store, threads, hold):
    """A thread that is interrupted while another does its work waits, and its lease knows."""
    lease = begin_run(store)
    let_go, working, go_on = hold(), Event(), Event()
    leader = threads(lambda: store._file.write(lambda _: (working.set(), go_on.wait(LONG))))
    until_queued(store, 1)

    def disturb():
        until_queued(store, 2)
        let_go()
        assert working.wait(LONG)
        interrupt_main()
        Event().wait(0.05)  # the interrupt is to come before the work is done, if it can
        go_on.set()

    threads(disturb)
    with pytest.raises(KeyboardInterrupt):
        store.commit(lease, a_step(1), None, None)
    assert joined(leader) == (None, True)
    assert store.load("run-1").header.step == 1
    store.commit(lease, a_step(2), None, None)


def test_an_interrupted_leader_leaves_the_others_their_work(store, threads, hold, monkeypatch):
    """When the thread that does all works is interrupted, its own is undone, the others' done."""
    lease, other = begin_run(store), begin_run(store, run_id="run-2")
    let_go = hold()
    outcome = []

    def come_second():
        until_queued(store, 1)
        outcome.append(threads(commit(store, other, 1)))
        until_queued(store, 2)
        let_go()

    def interrupt(*_):
        raise KeyboardInterrupt

    threads(come_second)
    with monkeypatch.context() as patch:
        patch.setattr("graphflow.checkpoint.sqlite_write.snapshot_digest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.commit(lease, a_step(1), a_snapshot(1), None)
    assert joined(outcome[0]) is None
    assert [store.load(name).header.step for name in ("run-1", "run-2")] == [0, 1]
    store.commit(lease, a_step(1), a_snapshot(1), None)
    store.commit(other, a_step(2), None, None)


@pytest.mark.parametrize("is_together", [False, True])
def test_an_interrupt_as_works_are_collected(store, threads, hold, is_together, monkeypatch):
    """Ctrl-C just when a work has left the queue, or come into it, leaves nobody waiting."""
    lease = begin_run(store)
    work = commit(store, lease, 1)
    verb = (lambda: store.together([work])) if is_together else work
    collect = sqlite_file.take_group

    def interrupted(queue, own):
        collect(queue, own)
        raise KeyboardInterrupt

    let_go = hold()
    threads(lambda: (until_queued(store, 1), let_go()))
    with monkeypatch.context() as during:
        during.setattr(sqlite_file, "take_group", interrupted)
        with pytest.raises(KeyboardInterrupt):
            verb()
    let_go = hold()
    with raise_at("group.wait", KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        verb()
    let_go()
    assert not store._file._queue
    assert store.load("run-1").header.step == 0
    store.commit(lease, a_step(1), None, None)


class InterruptedCommit:
    """A cursor during whose COMMIT Ctrl-C comes, after it has succeeded."""

    def __init__(self, cursor):
        self.cursor, self.connection = cursor, cursor.connection

    def execute(self, sql, *values):
        done = self.cursor.execute(sql, *values)
        if sql == "COMMIT":
            raise KeyboardInterrupt
        return done

    def executemany(self, sql, rows):
        return self.cursor.executemany(sql, rows)


@pytest.mark.parametrize("is_together", [False, True])
def test_an_interrupt_after_the_commit(store, is_together):
    """Ctrl-C when the step is durable already is raised, but the lease knows of the step."""
    lease = begin_run(store)
    cursor = store._file._cursor
    store._file._cursor = InterruptedCommit(cursor)
    call = commit(store, lease, 1)
    with pytest.raises(KeyboardInterrupt):
        store.together([call]) if is_together else call()
    store._file._cursor = cursor
    assert store.load("run-1").header.step == 1
    store.commit(lease, a_step(2), None, None)
