"""What every checkpointer promises of leases: who may advance a run, and what is too late."""

# ruff: noqa: S101 - tests are made of assert

from collections.abc import Callable
from typing import Any, Final

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import (
    CheckpointError,
    LeaseLostError,
    RunBusyError,
    RunNotFoundError,
    RunOverError,
)
from graphflow.records import Ending, StepRecord
from graphflow.testing.records import (
    NEW_SPEC_JSON,
    SPEC_JSON,
    a_call,
    a_failure,
    a_header,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_adoption,
    an_item,
)

__all__ = ["VERBS", "LeaseContract", "begin_run", "do_verb"]

VERBS: Final = (
    *("commit", "commit_and_end", "keep", "keep_item", "ask", "answer", "memo", "fail", "call"),
    *("adopt", "end"),
)
"""The verbs that write under a lease; see `do_verb`."""


class LeaseContract:
    """The part of `CheckpointerContract` that is about taking and losing runs."""

    def test_end_and_take_again(self, store: Checkpointer) -> None:
        """An ended run has no owner; taking it raises its epoch and clears what it ended with."""
        lease = begin_run(store)
        store.end(lease, Ending("paused", "limit:steps", error="too far"))
        paused = store.load("run-1").header
        assert (paused.status, paused.reason, paused.error) == ("paused", "limit:steps", "too far")
        assert (paused.owner, paused.ended_at, paused.epoch) == (None, None, 1)
        taken = store.take("run-1", this_process(), limits_json='{"steps":7}')
        header = store.load("run-1").header
        assert (header.status, header.owner, header.epoch) == ("running", this_process(), 2)
        assert (header.reason, header.error, header.error_type) == (None, None, None)
        assert header.limits_json == '{"steps":7}'
        assert taken.epoch == 2
        store.commit(taken, a_step(1), None, None)

    def test_a_run_is_let_go_of_while_it_runs(self, store: Checkpointer) -> None:
        """A run may be left running for another process to take; it is not stale then."""
        store.end(begin_run(store), Ending("running"))
        header = store.load("run-1").header
        assert (header.status, header.owner, header.ended_at) == ("running", None, None)
        assert store.take("run-1", this_process()).epoch == 2

    def test_taking_what_is_not_there(self, store: Checkpointer) -> None:
        """A run that does not exist cannot be taken or loaded."""
        with pytest.raises(RunNotFoundError, match="nothing"):
            store.take("nothing", this_process())
        with pytest.raises(RunNotFoundError, match="nothing"):
            store.load("nothing")

    def test_a_living_owner_keeps_its_run(self, store: Checkpointer, other: str) -> None:
        """A run that another living process advances cannot be taken; the message names it."""
        begin_run(store, owner=other)
        pid = other.split(":")[2]
        with pytest.raises(RunBusyError, match=pid):
            store.take("run-1", this_process())
        header = store.load("run-1").header
        assert (header.epoch, header.owner, header.status) == (1, other, "running")

    def test_a_dead_owner_is_replaced_at_once(self, store: Checkpointer, dead: str) -> None:
        """A run whose owner has died is stale, and anyone may take it."""
        begin_run(store, owner=dead)
        assert store.load("run-1").header.status == "stale"
        assert [h.run_id for h in store.runs(status="stale")] == ["run-1"]
        assert store.runs(status="running") == []
        lease = store.take("run-1", this_process())
        assert [h.run_id for h in store.runs(status="running")] == ["run-1"]
        store.commit(lease, a_step(1), None, None)

    def test_a_living_owner_is_replaced_by_hand(self, store: Checkpointer, other: str) -> None:
        """A run can be taken over from a process that lives; what that one writes is refused."""
        old = begin_run(store, owner=other)
        with pytest.raises(RunBusyError) as busy:
            store.take("run-1", this_process())
        assert busy.value.holder == other
        assert busy.value.since is not None
        assert busy.value.since in str(busy.value)
        new = store.take("run-1", this_process(), take_over=True)
        assert store.load("run-1").header.owner == this_process()
        for verb in VERBS:
            with pytest.raises(LeaseLostError, match="taken over"):
                do_verb(store, old, verb, 1)
        store.commit(new, a_step(1), None, None)

    @pytest.mark.parametrize("status", ["done", "cancelled"])
    def test_a_run_that_is_over_is_not_taken(self, store: Checkpointer, status: Any) -> None:
        """Who read a run before it was done or cancelled cannot wake it, not even by force."""
        lease = begin_run(store)
        if status == "done":
            store.commit(lease, a_step(1), None, Ending("done"))
        else:
            store.stop("run-1", Ending("cancelled"))
        before = store.load("run-1")
        for force in (False, True):
            with pytest.raises(RunOverError, match=status):
                store.take("run-1", this_process(), take_over=force)
        assert store.load("run-1") == before

    def test_a_process_takes_its_own_run_back(self, store: Checkpointer) -> None:
        """A process may take a run that it has, and the lease from before is lost."""
        old = begin_run(store)
        new = store.take("run-1", this_process())
        with pytest.raises(LeaseLostError):
            store.commit(old, a_step(1), None, None)
        store.commit(new, a_step(1), None, None)

    def test_a_new_budget(self, store: Checkpointer) -> None:
        """A run keeps its budget until it is taken with another."""
        lease = begin_run(store, budget_json='{"calls":3}')
        store.end(lease, Ending("paused", "budget:calls"))
        store.end(store.take("run-1", this_process()), Ending("paused", "budget:calls"))
        assert store.load("run-1").header.budget_json == '{"calls":3}'
        store.take("run-1", this_process(), budget_json='{"calls":9}')
        assert store.load("run-1").header.budget_json == '{"calls":9}'

    # -- stopping -------------------------------------------------------------------------------

    def test_a_run_is_stopped_whoever_has_it(self, store: Checkpointer, other: str) -> None:
        """A run that another process advances can be ended; what that one writes is refused."""
        lease = begin_run(store, owner=other)
        store.stop("run-1", Ending("cancelled", "cancelled by hand"))
        header = store.load("run-1").header
        assert (header.status, header.reason) == ("cancelled", "cancelled by hand")
        assert (header.owner, header.epoch) == (None, 2)
        assert header.ended_at is not None
        for verb in VERBS:
            with pytest.raises(LeaseLostError, match="cancelled"):
                do_verb(store, lease, verb, 1)
        assert store.load("run-1").header == header

    def test_what_is_done_is_not_stopped(self, store: Checkpointer) -> None:
        """A run that is done stays done, and one that is not there is named."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, Ending("done"))
        before = store.load("run-1")
        store.stop("run-1", Ending("cancelled"))
        assert store.load("run-1") == before
        with pytest.raises(RunNotFoundError, match="nothing"):
            store.stop("nothing", Ending("cancelled"))

    # -- the fence --------------------------------------------------------------------------

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_lost_lease_writes_nothing(self, store: Checkpointer, dead: str, verb: str) -> None:
        """No verb stores anything once another process has taken the run."""
        lease = begin_run(store, owner=dead)
        store.commit(lease, a_step(1), None, None)
        store.ask(lease, a_question(2))
        store.take("run-1", this_process())
        before = store.load("run-1")
        with pytest.raises(LeaseLostError, match="run-1"):
            do_verb(store, lease, verb, 2)
        assert store.load("run-1") == before

    def test_an_ended_run_is_let_go_of(self, store: Checkpointer) -> None:
        """A lease does not outlive the end of its run."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, Ending("done"))
        before = store.load("run-1")
        for verb in VERBS:
            with pytest.raises(LeaseLostError, match="done"):
                do_verb(store, lease, verb, 2)
        assert store.load("run-1") == before

    def test_a_step_is_committed_once(self, store: Checkpointer) -> None:
        """A step number that is there cannot be committed again, nor can one be left out."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, None)
        before = store.load("run-1")
        with pytest.raises(LeaseLostError, match="step 1"):
            store.commit(lease, a_step(1, tasks=2), None, None)
        with pytest.raises(CheckpointError, match="step 3"):
            store.commit(lease, a_step(3), None, None)
        assert store.load("run-1") == before
        store.commit(lease, a_step(2), None, None)


def begin_run(
    store: Checkpointer, run_id: str = "run-1", first: StepRecord | None = None, **more: Any
) -> Lease:
    """Begin a run that is made up."""
    header = a_header(run_id, **more)
    return store.begin(header, SPEC_JSON, first or a_step(0), a_snapshot(0), None)


def do_verb(store: Checkpointer, lease: Lease, verb: str, step: int) -> None:
    """Call a verb that writes, with a record that is made up.

    Args:
        store: The store.
        lease: Of the run.
        verb: One of `VERBS`.
        step: The step that is open.
    """
    answer = a_question(step, answer_json='"yes"', answered_by="person")
    verbs: dict[str, Callable[[], None]] = {
        "commit": lambda: store.commit(lease, a_step(step), a_snapshot(step), None),
        "commit_and_end": lambda: store.commit(lease, a_step(step), None, Ending("done")),
        "keep": lambda: store.keep(lease, step, a_task(0)),
        "keep_item": lambda: store.keep_item(lease, an_item(step, 0)),
        "ask": lambda: store.ask(lease, a_question(step, name="more")),
        "answer": lambda: store.answer(lease, answer),
        "memo": lambda: store.memo(lease, a_memo(step)),
        "fail": lambda: store.fail(lease, a_failure(step)),
        "call": lambda: store.call(lease, a_call(step)),
        "adopt": lambda: store.adopt(lease, an_adoption(step - 1), NEW_SPEC_JSON, ()),
        "end": lambda: store.end(lease, Ending("failed", "task")),
    }
    verbs[verb]()
