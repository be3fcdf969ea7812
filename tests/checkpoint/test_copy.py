"""Copying runs from one store into another: all that was recorded arrives."""

import pytest

from graphflow.checkpoint.copy import copy_run
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointError, RunExistsError
from graphflow.records import Ending
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    SPEC_JSON,
    a_call,
    a_failure,
    a_fork,
    a_goto,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
    facts,
)


@pytest.fixture
def origin():
    """Make a store with a run that has everything: children, questions, an open step."""
    store = MemoryCheckpointer()
    lease = begin_run(store, budget_json='{"calls":5}')
    for step in (1, 2):
        child = begin_child(store, lease, step)
        store.ask(child, a_question(1))
        store.answer(child, a_question(1, answer_json='"yes"', answered_by="person"))
        leaf = begin_child(store, child, 1)
        store.call(leaf, a_call(1))
        store.commit(leaf, a_step(1), None, Ending("done"))
        store.commit(child, a_step(1), a_snapshot(1), Ending("done"))
        store.keep_item(lease, an_item(step, 0))
        store.memo(lease, a_memo(step))
        store.fail(lease, a_failure(step))
        store.commit(lease, a_step(step, sends=True), a_snapshot(step), None)
    begin_child(store, lease, 3, "work#1")
    store.ask(lease, a_question(3))
    store.keep(lease, 3, a_task(0, goto=a_goto(), items=2))
    store.call(lease, a_call(3))
    store.end(lease, Ending("paused", "question"))
    return store


def told(records):
    """Reduce records to what a copy must tell again: when a run ended is that of the copy."""
    found = facts(records)
    for each in (found, *found["children"]):
        each["header"]["ended_at"] = None
        for child in each["children"]:
            child["header"]["ended_at"] = None
    return found


def test_a_run_arrives_whole(origin, store):
    """A copy has all records of a run and its children, and can go on."""
    records = origin.load("run-1")
    copy_run(records, store)
    assert told(store.load("run-1")) == told(records)
    assert store.spent("run-1") == origin.spent("run-1")
    lease = store.take("run-1", this_process())
    store.take("run-1/3:work#1", this_process(), under=lease)
    store.answer(lease, a_question(3, answer_json='"yes"', answered_by="person"))
    store.commit(lease, a_step(3, tasks=2), None, Ending("done"))


def test_a_fork_becomes_a_run_of_its_own(origin, store):
    """A fork that is copied alone has all its steps, and children of its own."""
    header = a_fork("fork", "run-1", 2)
    lease = origin.begin(header, SPEC_JSON, a_step(2, tasks=2), a_snapshot(2), None)
    origin.commit(lease, a_step(3), None, Ending("done"))
    records = origin.load("fork")
    copy_run(records, store)
    copied = store.load("fork")
    assert facts(copied.steps) == facts(records.steps)
    assert (copied.header.fork_of, copied.header.fork_step, copied.header.status) == (
        None, None, "done",
    )  # fmt: skip
    assert [c.header.run_id for c in copied.children] == ["fork/1:work#0", "fork/2:work#0"]
    assert copied.children[0].children[0].header.run_id == "fork/1:work#0/1:work#0"
    copy_run(origin.load("run-1"), store)
    assert [header.run_id for header in store.runs()] == ["run-1", "fork"]


def test_a_copy_is_made_once_and_wholly(origin, store):
    """A run that is there is not copied again; what cannot be copied whole leaves nothing."""
    copy_run(origin.load("run-1"), store)
    with pytest.raises(RunExistsError, match=r"has a run 'run-1' already.*take another file"):
        copy_run(origin.load("run-1"), store)
    half = origin.load("run-1/1:work#0")
    half.header.run_id, half.steps[1].step = "half", 7
    with pytest.raises(CheckpointError, match="step 7"):
        copy_run(half, store)
    assert [header.run_id for header in store.runs()] == ["run-1"]


def test_a_copy_takes_one_transaction(origin, db):
    """However long a run is, its copy waits for the disk once."""
    store = SqliteCheckpointer(db)
    store.runs()
    before = store._file.transactions
    copy_run(origin.load("run-1"), store)
    assert store._file.transactions == before + 1
    store.close()
