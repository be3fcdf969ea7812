"""What every checkpointer promises of children: runs that are a task of another run's step."""

# ruff: noqa: S101 - tests are made of assert

from dataclasses import replace
from typing import Any

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import (
    CheckpointError,
    LeaseLostError,
    RunBusyError,
    RunExistsError,
    RunNotFoundError,
)
from graphflow.records import Ending
from graphflow.testing.leases import VERBS, begin_run, do_verb
from graphflow.testing.records import (
    SPEC_JSON,
    a_call,
    a_child,
    a_failure,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
    facts,
)

__all__ = ["FamilyContract", "begin_child"]

_CHILD = "run-1/1:work#0"


class FamilyContract:
    """The part of `CheckpointerContract` that is about children."""

    def test_a_child_is_read_with_its_parent(self, store: Checkpointer) -> None:
        """A run is read with its children's records, by step and task; so is a child alone."""
        root = begin_run(store)
        for step in (1, 2):
            for key in ("work#1", "work#0"):
                child = begin_child(store, root, step, key)
                store.commit(child, a_step(1), None, Ending("done"))
            tasks = a_step(step, tasks=2, sends=True)
            store.commit(root, tasks, None, None)
        records = store.load("run-1")
        assert [child.header.run_id for child in records.children] == [
            f"run-1/{step}:work#{n}" for step in (1, 2) for n in (0, 1)
        ]
        child_records = records.children[0]
        assert child_records == store.load(_CHILD)
        assert child_records.spec == {"name": "triage"}
        assert facts(child_records.steps) == facts([a_step(0), a_step(1)])
        header = child_records.header
        assert (header.parent, header.parent_step, header.parent_key) == ("run-1", 1, "work#0")
        assert (header.status, header.owner, header.epoch) == ("done", None, 1)

    def test_children_stand_in_the_order_of_their_tasks(self, store: Checkpointer) -> None:
        """Children are listed as the tasks of their step are, not as they began."""
        keys = [f"work#{n}" for n in range(12)]
        root = begin_run(store, first=replace(a_step(0), ready=tuple(keys)))
        for key in keys[::-1]:
            begin_child(store, root, 1, key)
        for tail in (True, False):
            children = store.load("run-1", tail=tail).children
            assert [child.header.parent_key for child in children] == keys
        store.commit(root, a_step(1, tasks=12), None, None)
        assert [child.header.parent_key for child in store.load("run-1").children] == keys

    def test_the_tail_has_headers_of_open_children(self, store: Checkpointer) -> None:
        """The tail has the children of the open step, and nothing but their headers."""
        root = begin_run(store)
        begin_child(store, root, 1)
        store.commit(root, a_step(1), a_snapshot(1), None)
        child = begin_child(store, root, 2)
        store.commit(child, a_step(1), None, Ending("paused", "question"))
        (found,) = store.load("run-1", tail=True).children
        assert found.header == store.load("run-1/2:work#0").header
        assert (found.header.status, found.header.reason) == ("paused", "question")
        assert (found.header.step, found.steps, found.spec) == (1, [], {})

    def test_grandchildren(self, store: Checkpointer) -> None:
        """A child has children too; all of them carry the root's epoch."""
        root = begin_run(store)
        child = begin_child(store, root, 1)
        leaf = begin_child(store, child, 1)
        assert (child.root, child.epoch, leaf.root, leaf.epoch) == ("run-1", 1, "run-1", 1)
        store.commit(leaf, a_step(1), None, Ending("done"))
        store.commit(child, a_step(1), None, Ending("done"))
        store.commit(root, a_step(1), None, Ending("done"))
        (outer,) = store.load("run-1").children
        (inner,) = outer.children
        assert inner.header.run_id == f"{_CHILD}/1:work#0"
        assert facts(inner.steps[1:]) == facts([a_step(1)])

    def test_a_child_is_no_run_of_its_own(self, store: Checkpointer) -> None:
        """Children are not listed, and only found by their whole id."""
        root = begin_run(store)
        begin_child(store, root, 1)
        assert [header.run_id for header in store.runs()] == ["run-1"]
        assert store.find("run-1") == "run-1"
        assert store.find("run") == "run-1"
        assert store.find(_CHILD) == _CHILD
        with pytest.raises(RunNotFoundError, match="run-1/1"):
            store.find("run-1/1")

    # -- leases ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("verb", VERBS)
    def test_who_takes_the_root_takes_the_children(self, store: Checkpointer, verb: str) -> None:
        """A child's lease is lost with that of its root, from one generation to the next."""
        root = begin_run(store)
        child = begin_child(store, root, 1)
        leaf = begin_child(store, child, 1)
        for lease in (child, leaf):
            store.ask(lease, a_question(1))
        store.take("run-1", this_process())
        before = store.load("run-1")
        for lease in (child, leaf):
            with pytest.raises(LeaseLostError, match="run-1"):
                do_verb(store, lease, verb, 1)
        with pytest.raises(LeaseLostError, match="run-1"):
            begin_child(store, root, 1, "work#1")
        with pytest.raises(LeaseLostError, match="run-1"):
            store.take(_CHILD, this_process(), under=root)
        assert store.load("run-1") == before

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_child_ends_with_its_root(self, store: Checkpointer, verb: str) -> None:
        """Nothing is written to the child of a run that has ended."""
        root = begin_run(store)
        child = begin_child(store, root, 1)
        store.ask(child, a_question(1))
        store.end(root, Ending("paused", "question"))
        before = store.load("run-1")
        with pytest.raises(LeaseLostError, match="run-1"):
            do_verb(store, child, verb, 1)
        assert store.load("run-1") == before

    def test_a_child_that_ended_is_let_go_of(self, store: Checkpointer) -> None:
        """A child's lease does not outlive the child; its parent's goes on."""
        root = begin_run(store)
        child = begin_child(store, root, 1)
        store.end(child, Ending("paused", "question"))
        before = store.load("run-1")
        for verb in VERBS:
            with pytest.raises(LeaseLostError, match=r"1:work#0.*paused"):
                do_verb(store, child, verb, 1)
        assert store.load("run-1") == before
        store.commit(root, a_step(1), None, None)

    def test_a_child_is_taken_with_its_parent(self, store: Checkpointer) -> None:
        """A child is taken under its parent's lease: it runs again, and has no owner."""
        root = begin_run(store)
        child = begin_child(store, root, 1)
        store.keep(child, 1, a_task(1))
        store.end(child, Ending("failed", "task", "ValueError", "no"))
        store.end(root, Ending("failed", "task"))
        root = store.take("run-1", this_process())
        child = store.take(
            _CHILD, this_process(), under=root, limits_json='{"steps":7}', budget_json='{"calls":1}'
        )
        assert (child.run_id, child.root, child.epoch) == (_CHILD, "run-1", 2)
        header = store.load(_CHILD).header
        assert (header.status, header.owner, header.epoch) == ("running", None, 2)
        assert (header.reason, header.error, header.ended_at) == (None, None, None)
        assert (header.limits_json, header.budget_json) == ('{"steps":7}', '{"calls":1}')
        store.commit(child, a_step(1, tasks=2), None, None)
        assert store.load(_CHILD).kept == []

    def test_a_child_is_not_taken_alone(self, store: Checkpointer) -> None:
        """A child cannot be taken or begun but under the lease of its own parent."""
        root = begin_run(store)
        begin_child(store, root, 1)
        other = begin_run(store, run_id="run-2")
        before = store.load("run-1")
        with pytest.raises(RunBusyError, match=r"resume\('run-1'\)"):
            store.take(_CHILD, this_process())
        with pytest.raises(CheckpointError, match="run-1"):
            store.take(_CHILD, this_process(), under=other)
        with pytest.raises(CheckpointError, match="run-1"):
            store.take("run-2", this_process(), under=root)
        for header, under in ((a_child("run-1", 1, "x"), other), (a_child("run-1", 1, "x"), None)):
            with pytest.raises(CheckpointError, match="run-1"):
                store.begin(header, SPEC_JSON, a_step(0), a_snapshot(0), None, under=under)
        with pytest.raises(RunExistsError, match="1:work#0"):
            begin_child(store, root, 1)
        assert store.load("run-1") == before
        assert store.load("run-2").children == []

    def test_a_child_belongs_to_the_open_step(self, store: Checkpointer) -> None:
        """Once its parent has committed the step, a child takes no more steps and none begins."""
        root = begin_run(store)
        child = begin_child(store, root, 1)
        store.commit(child, a_step(1), None, None)
        store.commit(root, a_step(1), None, None)
        before = store.load("run-1")
        with pytest.raises(LeaseLostError, match="step 1 of its parent"):
            store.commit(child, a_step(2), a_snapshot(2), None)
        with pytest.raises(LeaseLostError, match="step 1"):
            begin_child(store, root, 1, "work#1")
        with pytest.raises(CheckpointError, match="step 3"):
            begin_child(store, root, 3)
        assert store.load("run-1") == before
        store.call(child, a_call(2))  # what a late body has spent is known all the same
        store.fail(child, a_failure(2))

    def test_a_step_closes_over_children_from_before(self, store: Checkpointer) -> None:
        """Who takes a run commits a step whose child had ended before, and all is read back."""
        root = begin_run(store)
        store.end(begin_child(store, root, 1), Ending("done"))
        root = store.take("run-1", this_process())
        store.commit(root, a_step(1), a_snapshot(1), None)
        store.commit(root, a_step(2), None, None)
        assert store.load("run-1").header.step == 2
        assert store.load("run-1", tail=True).header.step == 2

    # -- how children stand ---------------------------------------------------------------------

    def test_a_child_is_stale_as_its_root_is(self, store: Checkpointer, dead: str) -> None:
        """A child that runs is stale when its root's owner has died."""
        root = begin_run(store, owner=dead)
        child = begin_child(store, root, 1)
        begin_child(store, child, 1)
        done = begin_child(store, root, 1, "work#1")
        store.end(done, Ending("done"))
        records = store.load("run-1")
        assert [c.header.status for c in records.children] == ["stale", "done"]
        assert records.children[0].children[0].header.status == "stale"
        assert store.load(_CHILD).header.status == "stale"
        assert store.load("run-1", tail=True).children[0].header.status == "stale"
        store.take("run-1", this_process())
        assert store.load(_CHILD).header.status == "running"

    def test_a_child_stands_as_its_root_does(self, store: Checkpointer) -> None:
        """A child that was running when its root was let go of stands as that one."""
        root = begin_run(store)
        begin_child(store, root, 1)
        store.end(root, Ending("paused", "interrupted"))
        for header in (store.load("run-1").children[0].header, store.load(_CHILD).header):
            assert (header.status, header.reason) == ("paused", "interrupted")
        root = store.take("run-1", this_process())
        store.commit(root, a_step(1), None, Ending("done"))
        assert store.load(_CHILD).header.status == "cancelled"

    def test_children_are_stopped_with_their_parent(self, store: Checkpointer) -> None:
        """Stopping a run ends its open children too; those that are done or passed stay."""
        root = begin_run(store)
        store.end(begin_child(store, root, 1), Ending("failed", "task"))
        store.commit(root, a_step(1), None, None)
        keys = ("work#0", "work#1", "work#2")
        first, second, third = (begin_child(store, root, 2, key) for key in keys)
        leaf = begin_child(store, second, 1)
        store.end(first, Ending("done"))
        store.end(third, Ending("paused", "question"))
        store.stop("run-1", Ending("cancelled", "by hand"))
        children = store.load("run-1").children
        stands = [(child.header.status, child.header.reason) for child in children]
        cancelled = ("cancelled", "by hand")
        assert stands == [("failed", "task"), ("done", None), cancelled, cancelled]
        assert store.load(leaf.run_id).header.status == "cancelled"

    # -- what a family has used -----------------------------------------------------------------

    def test_calls_and_tokens_add_up(self, store: Checkpointer) -> None:
        """Calls of complete tasks and items count, tokens of all calls do, with the children's."""
        root = begin_run(store)
        with pytest.raises(RunNotFoundError, match="nothing"):
            store.spent("nothing")
        store.call(root, a_call(1))
        store.call(root, a_call(1, key="work#1", output_tokens=None))
        assert (store.spent("run-1").calls, store.spent("run-1").tokens) == (0, 270)
        store.keep(root, 1, a_task(1))
        assert store.spent("run-1").calls == 1
        store.commit(root, a_step(1, tasks=2), None, None)
        assert (store.spent("run-1").calls, store.spent("run-1").tokens) == (2, 270)
        child = begin_child(store, root, 2)
        leaf = begin_child(store, child, 1)
        store.call(leaf, a_call(1))
        store.call(leaf, a_call(1, key="score[1]"))
        store.call(leaf, a_call(1, key="score[11]"))
        store.keep_item(leaf, an_item(1, 1))
        store.keep(leaf, 1, a_task(0))
        assert (store.spent("run-1").calls, store.spent("run-1").tokens) == (4, 720)
        assert (store.spent(leaf.run_id).calls, store.spent(leaf.run_id).tokens) == (2, 450)
        store.keep(leaf, 1, a_task(1, key="score", items=12))
        assert store.spent("run-1").calls == 5

    def test_times_add_up_once(self, store: Checkpointer) -> None:
        """The time of each body counts once: not a map's beside its items, nor a subgraph's."""
        root = begin_run(store)
        store.fail(root, a_failure(1, duration_ms=1000.0))
        store.commit(root, _timed(1, a_task(0, duration_ms=200.0)), None, None)
        assert store.spent("run-1").seconds == pytest.approx(1.2)
        store.keep_item(root, an_item(2, 0, duration_ms=10.0))
        store.fail(root, a_failure(2, key="score[1]", node="score", duration_ms=5.0))
        mapped = a_task(0, key="score", items=1, duration_ms=99_000.0)
        fell = a_task(1, fell_back="template", duration_ms=99_000.0)
        store.fail(root, a_failure(2, key="work#1", duration_ms=20.0))
        store.commit(root, _timed(2, mapped, fell), None, None)
        assert store.spent("run-1").seconds == pytest.approx(1.235)
        child = begin_child(store, root, 3)
        store.fail(root, a_failure(3, duration_ms=99_000.0))  # the child failed, not a body
        store.commit(child, _timed(1, a_task(0, duration_ms=100.0)), None, Ending("done"))
        store.commit(root, _timed(3, a_task(0, duration_ms=99_000.0)), None, None)
        assert store.spent("run-1").seconds == pytest.approx(1.335)
        assert store.spent(child.run_id).seconds == pytest.approx(0.1)


def begin_child(
    store: Checkpointer, under: Lease, step: int, key: str = "work#0", **more: Any
) -> Lease:
    """Begin the run of a task of another run's open step."""
    header = a_child(under.run_id, step, key, **more)
    return store.begin(header, SPEC_JSON, a_step(0), a_snapshot(0), None, under=under)


def _timed(step: int, *tasks: Any) -> Any:
    made = a_step(step)
    made.tasks = tasks
    return made
