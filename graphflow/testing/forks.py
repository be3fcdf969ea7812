"""What every checkpointer promises of forks: runs that share the first steps of another."""

# ruff: noqa: S101 - tests are made of assert

from dataclasses import replace

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import CheckpointError, RunExistsError, RunNotFoundError
from graphflow.records import Ending, StepRecord
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    SPEC_JSON,
    a_call,
    a_failure,
    a_fork,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
    facts,
)

__all__ = ["ForkContract"]


class ForkContract:
    """The part of `CheckpointerContract` that is about forks."""

    def test_a_fork_shares_the_steps_before(self, store: Checkpointer) -> None:
        """A fork reads as one run: the steps that it shares, its first step, and its own."""
        _origin(store, steps=5)
        lease = _fork(store, "fork", "run-1", 3)
        assert (lease.run_id, lease.epoch, lease.root) == ("fork", 1, "")
        store.commit(lease, a_step(4, tasks=2), None, Ending("done"))
        records = store.load("fork")
        steps = [a_step(0), a_step(1), a_step(2), _changed(3), a_step(4, tasks=2)]
        assert facts(records.steps) == facts(steps)
        assert [s.step for s in records.snapshots] == [0, 2, 3]
        header = records.header
        assert (header.fork_of, header.fork_step, header.step) == ("run-1", 3, 4)
        assert header.fork_json == a_fork("fork", "run-1", 3).fork_json
        assert facts(store.load("run-1").steps[3]) == facts(a_step(3))
        assert [h.run_id for h in store.runs()] == ["fork", "run-1"]

    def test_a_fork_at_the_first_step(self, store: Checkpointer) -> None:
        """A fork at step 0 shares no step."""
        _origin(store, steps=2)
        lease = _fork(store, "fork", "run-1", 0)
        store.commit(lease, a_step(1, tasks=3), None, None)
        records = store.load("fork")
        assert facts(records.steps) == facts([_changed(0), a_step(1, tasks=3)])
        assert facts(records.snapshots) == facts([a_snapshot(0)])

    def test_a_fork_goes_on_from_its_tail(self, store: Checkpointer) -> None:
        """The tail of a fork begins with its own first step; taken, it goes on."""
        _origin(store, steps=5)
        store.end(_fork(store, "fork", "run-1", 3), Ending("paused", "limit:steps"))
        tail = store.load("fork", tail=True)
        assert facts(tail.steps) == facts([_changed(3)])
        assert facts(tail.snapshots) == facts([a_snapshot(3)])
        lease = store.take("fork", this_process())
        store.commit(lease, a_step(4), a_snapshot(4), None)
        assert [step.step for step in store.load("fork").steps] == [0, 1, 2, 3, 4]
        assert [step.step for step in store.load("fork", tail=True).steps] == [4]

    @pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
    def test_a_fork_of_a_fork(self, store: Checkpointer, step: int) -> None:
        """A fork of a fork, before, at or after that one's first step, reads as one run."""
        _origin(store, steps=5)
        middle = _fork(store, "middle", "run-1", 3)
        for number in (4, 5):
            store.commit(middle, a_step(number, tasks=2), None, None)
        fork = _fork(store, "fork", "middle", step)
        store.commit(fork, a_step(step + 1, tasks=4), None, None)
        before = [a_step(0), a_step(1), a_step(2), _changed(3), *(a_step(4, tasks=2),) * 2]
        shared = [replace(s, step=n) for n, s in enumerate(before[:step])]
        expected = [*shared, _changed(step), a_step(step + 1, tasks=4)]
        assert facts(store.load("fork").steps) == facts(expected)

    def test_what_led_to_the_first_step_is_shared(self, store: Checkpointer) -> None:
        """Attempts, calls, items, questions and memos are shared up to the first step."""
        lease = begin_run(store)
        for step in (1, 2, 3):
            store.fail(lease, a_failure(step))
            store.call(lease, a_call(step))
            store.keep_item(lease, an_item(step, 0))
            store.ask(lease, a_question(step))
            store.memo(lease, a_memo(step))
            if step < 3:
                store.end(begin_child(store, lease, step), Ending("done"))
                store.commit(lease, a_step(step), None, None)
        begin_child(store, lease, 3)
        fork = _fork(store, "fork", "run-1", 2)
        store.fail(fork, a_failure(3, key="own"))
        records = store.load("fork")
        assert records.attempts == [a_failure(1), a_failure(2), a_failure(3, key="own")]
        assert records.calls == [a_call(1), a_call(2)]
        assert records.items == [an_item(1, 0), an_item(2, 0)]
        assert records.questions == [a_question(1), a_question(2)]
        assert records.memos == [a_memo(1), a_memo(2)]
        assert [child.header.parent_step for child in records.children] == [1, 2]
        tail = store.load("fork", tail=True)
        assert tail.attempts == [a_failure(3, key="own")]
        assert [*tail.items, *tail.questions, *tail.memos, *tail.children] == []

    def test_a_shared_child_stands_as_its_own_root(self, store: Checkpointer) -> None:
        """A child that a run went on without stands as that run does, read from a fork too."""
        lease = begin_run(store)
        child = begin_child(store, lease, 1)
        store.commit(lease, a_step(1), a_snapshot(1), Ending("failed", "task"))
        _fork(store, "fork", "run-1", 1)
        for run_id in ("run-1", "fork"):
            assert store.load(run_id).children[0].header.status == "failed"
        assert store.load(child.run_id).header.status == "failed"

    def test_what_is_shared_is_spent_by_the_origin(self, store: Checkpointer) -> None:
        """A fork has spent what it did itself, and not what it shares."""
        lease = begin_run(store)
        for step in (1, 2):
            store.call(lease, a_call(step))
            store.commit(lease, a_step(step), None, None)
        fork = _fork(store, "fork", "run-1", 2)
        assert store.spent("fork").tokens == store.spent("fork").seconds == 0
        store.call(fork, a_call(3))
        store.commit(fork, a_step(3), None, None)
        spent = store.spent("fork")
        assert (spent.calls, spent.tokens) == (1, 150)
        assert spent.seconds == pytest.approx(0.00125)
        assert store.spent("run-1").calls == 2

    def test_what_cannot_be_forked(self, store: Checkpointer) -> None:
        """Only a committed step of a run that is there can be forked, under a new id."""
        store.keep(_origin(store, steps=2), 3, a_task(0))
        for step in (3, -1, None):
            header = replace(a_fork("fork", "run-1", 0), fork_step=step)
            with pytest.raises(CheckpointError, match="cannot be forked"):
                store.begin(header, SPEC_JSON, a_step(3), a_snapshot(3), None)
        with pytest.raises(CheckpointError, match="step 2"):
            store.begin(a_fork("fork", "run-1", 1), SPEC_JSON, a_step(2), a_snapshot(2), None)
        with pytest.raises(RunNotFoundError, match="nothing"):
            _fork(store, "fork", "nothing", 1)
        with pytest.raises(RunExistsError, match="run-1"):
            _fork(store, "run-1", "run-1", 1)
        assert [header.run_id for header in store.runs()] == ["run-1"]


def _origin(store: Checkpointer, steps: int) -> Lease:
    lease = begin_run(store)
    for step in range(1, steps + 1):
        store.commit(lease, a_step(step), a_snapshot(2) if step == 2 else None, None)
    return lease


def _changed(step: int) -> StepRecord:
    """Make the first step of a fork: the tasks as they were, another way on."""
    return replace(a_step(step), ready=("other",))


def _fork(store: Checkpointer, run_id: str, origin: str, step: int) -> Lease:
    header = a_fork(run_id, origin, step, created_at="2027-01-01T00:00:00.000000+00:00")
    return store.begin(header, SPEC_JSON, _changed(step), a_snapshot(step), None)
