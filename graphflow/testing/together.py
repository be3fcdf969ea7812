"""What every checkpointer promises of `together`: many verbs in one transaction."""

# ruff: noqa: S101 - tests are made of assert

from collections.abc import Callable
from typing import Any

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import CheckpointError, LeaseLostError, RunExistsError
from graphflow.records import Ending
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    a_call,
    a_failure,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
    facts,
)

__all__ = ["TogetherContract"]


class TogetherContract:
    """The part of `CheckpointerContract` that is about verbs that share a transaction."""

    def test_verbs_together_do_as_they_do_alone(self, store: Checkpointer) -> None:
        """Each verb does what it does alone; the results come in order."""
        leases = [begin_run(store, run_id=f"run-{n}") for n in range(3)]
        results = store.together(
            [
                lambda: store.commit(leases[0], a_step(1), None, None),
                lambda: begin_run(store, run_id="new"),
                lambda: store.keep(leases[1], 1, a_task(0)),
                lambda: store.end(leases[2], Ending("paused", "interrupted")),
                lambda: "not a verb",
            ]
        )
        assert [results[0], results[2], results[3], results[4]] == [None, None, None, "not a verb"]
        store.commit(results[1], a_step(1), None, Ending("done"))
        assert facts(store.load("run-0").steps[1:]) == facts([a_step(1)])
        assert facts(store.load("run-1").kept) == facts([a_task(0)])
        assert store.load("run-2").header.status == "paused"
        assert store.load("new").header.status == "done"
        store.commit(leases[0], a_step(2), None, None)
        store.commit(leases[1], a_step(1), None, None)
        assert store.together([]) == []

    def test_a_verb_sees_those_before_it(self, store: Checkpointer) -> None:
        """A verb goes on from what the verbs before it stored, and so does a read."""
        lease = begin_run(store)
        seen: list[int] = []

        def begin_and_commit() -> Lease:
            child = begin_child(store, lease, 3)
            store.commit(child, a_step(1), None, Ending("done"))
            return child

        results = store.together(
            [
                lambda: store.keep(lease, 1, a_task(0)),
                lambda: store.commit(lease, a_step(1, tasks=2), a_snapshot(1), None),
                lambda: store.commit(lease, a_step(2), None, None),
                lambda: seen.append(store.load("run-1", tail=True).header.step),
                begin_and_commit,
                lambda: store.commit(lease, a_step(3), None, None),
            ]
        )
        assert not any(isinstance(result, Exception) for result in results)
        assert seen == [2]
        records = store.load("run-1")
        assert facts(records.steps[1:]) == facts([a_step(1, tasks=2), a_step(2), a_step(3)])
        assert [child.header.status for child in records.children] == ["done"]
        store.commit(lease, a_step(4), None, None)

    def test_a_verb_that_fails_fails_alone(self, store: Checkpointer, dead: str) -> None:
        """Of a function that raises nothing is stored, and its leases know of nothing."""
        good, bad = begin_run(store, run_id="good"), begin_run(store, run_id="bad")
        lost = begin_run(store, run_id="lost", owner=dead)
        store.take("lost", this_process())
        before = [store.load(run_id) for run_id in ("bad", "lost")]
        results = store.together(
            [
                lambda: store.commit(good, a_step(1), None, None),
                _every_verb_and_an_error(store, bad),
                lambda: store.commit(lost, a_step(1), a_snapshot(1), None),
                lambda: begin_run(store, run_id="good"),
                lambda: store.commit(good, a_step(2), None, None),
            ]
        )
        kinds = [type(result) for result in results]
        assert kinds == [type(None), ZeroDivisionError, LeaseLostError, RunExistsError, type(None)]
        assert [store.load(run_id) for run_id in ("bad", "lost")] == before
        assert [header.run_id for header in store.runs()] == ["lost", "bad", "good"]
        assert store.load("good").header.step == 2
        for step in (1, 2):
            store.commit(bad, a_step(step), None, None)
        assert facts(store.load("bad").steps[1:]) == facts([a_step(1), a_step(2)])

    def test_an_error_that_was_caught_stores_nothing_half(self, store: Checkpointer) -> None:
        """A function may catch what a verb raises: what its other verbs did is stored."""
        lease = begin_run(store)

        def commit_twice() -> str:
            store.commit(lease, a_step(1), None, None)
            with pytest.raises(CheckpointError, match="step 5"):
                store.commit(lease, a_step(5), None, None)
            return "went on"

        assert store.together([commit_twice]) == ["went on"]
        assert store.load("run-1").header.step == 1
        store.commit(lease, a_step(2), None, None)

    def test_an_interrupt_stores_nothing_of_it(self, store: Checkpointer) -> None:
        """Ctrl-C in one of the functions undoes all of them, and is raised."""
        lease = begin_run(store)
        before = store.load("run-1")

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.together([_every_verb(store, lease), interrupt])
        assert store.load("run-1") == before
        assert [header.run_id for header in store.runs()] == ["run-1"]
        store.commit(lease, a_step(1), None, None)

    def test_together_within_together(self, store: Checkpointer) -> None:
        """A function may call `together` again; its functions stand or fall with it."""
        lease = begin_run(store)

        def inner(fails: bool) -> Callable[[], Any]:
            def call() -> Any:
                step = store.load("run-1", tail=True).header.step + 1
                store.memo(lease, a_memo(step, name=f"fails: {fails}"))
                commits: list[Callable[[], None]] = [
                    lambda: store.commit(lease, a_step(step), None, None),
                    lambda: store.commit(lease, a_step(9), None, None),
                ]
                results = store.together(commits)
                assert [type(result) for result in results] == [type(None), CheckpointError]
                return 1 // (not fails)

            return call

        results = store.together([inner(False), inner(True), inner(False)])
        assert [type(result) for result in results] == [int, ZeroDivisionError, int]
        assert store.load("run-1").header.step == 2
        memos = [(memo.step, memo.name) for memo in store.load("run-1").memos]
        assert memos == [(1, "fails: False"), (2, "fails: False")]
        store.commit(lease, a_step(3), None, None)

    def test_one_that_fails_within_another_fails_alone(self, store: Checkpointer) -> None:
        """What comes before and after a function that fails half-way is stored, and only that."""
        lease, bad = begin_run(store), begin_run(store, run_id="bad")

        def outer() -> list[type[Any]]:
            store.keep(lease, 1, a_task(0))
            inner = [
                lambda: store.commit(lease, a_step(1, tasks=2), None, None),
                _every_verb_and_an_error(store, bad),
                lambda: store.commit(lease, a_step(2), a_snapshot(2), None),
            ]
            return [type(result) for result in store.together(inner)]

        results = store.together([lambda: begin_run(store, run_id="first"), outer, outer])
        assert results[1] == [type(None), ZeroDivisionError, type(None)]
        assert isinstance(results[2], LeaseLostError)  # step 1 is not open any more
        assert [header.run_id for header in store.runs()] == ["first", "bad", "run-1"]
        assert facts(store.load("run-1").steps[1:]) == facts([a_step(1, tasks=2), a_step(2)])
        assert store.load("bad").header.step == 0
        store.commit(results[0], a_step(1), None, None)
        store.commit(lease, a_step(3), None, None)
        store.commit(bad, a_step(1), None, None)


def _every_verb(store: Checkpointer, lease: Lease) -> Callable[[], None]:
    """Make a function that calls every verb."""

    def call() -> None:
        begin_run(store, run_id="begun")
        store.fail(lease, a_failure(1))
        store.call(lease, a_call(1))
        store.keep_item(lease, an_item(1, 0))
        store.memo(lease, a_memo(1))
        store.ask(lease, a_question(1))
        store.answer(lease, a_question(1, answer_json='"yes"', answered_by="person"))
        begin_child(store, lease, 1)
        store.keep(lease, 1, a_task(1))
        store.commit(lease, a_step(1, tasks=2), a_snapshot(1), None)
        store.commit(lease, a_step(2), None, Ending("paused", "limit:steps"))
        taken = store.take(lease.run_id, this_process(), limits_json="[]", budget_json="[]")
        store.commit(taken, a_step(3), None, None)
        store.stop(lease.run_id, Ending("cancelled"))

    return call


def _every_verb_and_an_error(store: Checkpointer, lease: Lease) -> Callable[[], None]:
    """Make a function that calls every verb, and then raises."""
    all_verbs = _every_verb(store, lease)

    def call() -> None:
        all_verbs()
        raise ZeroDivisionError

    return call
