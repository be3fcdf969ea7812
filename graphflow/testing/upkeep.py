"""What every checkpointer promises of its care: deleting, pruning, sizes."""

# ruff: noqa: S101 - tests are made of assert

from dataclasses import replace

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import CheckpointError, RunBusyError, RunNotFoundError, RunSharedError
from graphflow.history import States
from graphflow.records import Adoption, Ending, RunStatus, Snapshot, StepRecord
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    TIME,
    a_call,
    a_failure,
    a_fork,
    a_header,
    a_memo,
    a_question,
    a_step,
    a_task,
    an_item,
    facts,
)
from graphflow.upkeep import Wish

__all__ = ["UpkeepContract", "begin_counting", "count_on", "fork_counting"]

SPEC = '{"name":"triage","state":{"fields":{"notes":{"reducer":"append"},"n":{"reducer":null}}}}'
"""The graph of runs that count: each step appends a note, and sets `n`."""


class UpkeepContract:
    """The part of `CheckpointerContract` that is about the care of a store."""

    # -- delete -----------------------------------------------------------------------------

    def test_a_deleted_run_is_gone(self, store: Checkpointer) -> None:
        """A run that is deleted is not there, nor are its children; others stay as they are."""
        lease = begin_run(store)
        child = begin_child(store, lease, 1)
        store.end(lease, Ending("failed", "task", "ValueError", "no"))
        begin_run(store, run_id="other")
        before = facts(store.load("other"))
        store.delete("run-1")
        for gone in ("run-1", child.run_id):
            with pytest.raises(RunNotFoundError):
                store.load(gone)
            with pytest.raises(RunNotFoundError):
                store.find(gone)
        assert [header.run_id for header in store.runs()] == ["other"]
        assert facts(store.load("other")) == before
        with pytest.raises(RunNotFoundError, match="run-1"):
            store.delete("run-1")

    def test_a_lease_of_a_deleted_run_fits_no_other(self, store: Checkpointer, dead: str) -> None:
        """A new run, also under the same id, takes nothing from who held the one that is gone."""
        lease = begin_run(store, owner=dead)
        store.delete("run-1")
        for run_id in ("run-2", "run-1"):
            begin_run(store, run_id=run_id)
            with pytest.raises(RunNotFoundError, match="deleted"):
                store.commit(lease, a_step(1), None, None)
            with pytest.raises(RunNotFoundError, match="deleted"):
                store.keep(lease, 1, a_task(0))
            assert facts(store.load(run_id).steps) == facts([a_step(0)])
            assert store.load(run_id).kept == []

    def test_a_run_that_is_advanced_is_not_deleted(self, store: Checkpointer, other: str) -> None:
        """While a process that lives advances a run, this one included, it stays."""
        for owner in (other, this_process()):
            begin_run(store, run_id=f"run-{owner}", owner=owner)
            with pytest.raises(RunBusyError, match="Nothing was deleted"):
                store.delete(f"run-{owner}")
            assert store.load(f"run-{owner}").header.status == "running"

    def test_a_run_that_is_shared_is_not_deleted(self, store: Checkpointer) -> None:
        """While a fork of a run or of its child is there, both stay; the error names the forks."""
        lease = begin_run(store)
        child = begin_child(store, lease, 1)
        store.end(child, Ending("done"))
        store.commit(lease, a_step(1), None, Ending("done"))
        for origin in ("run-1", child.run_id):
            header = a_fork("fork", origin, 0)
            end = Ending("done")
            store.begin(header, SPEC, a_step(0), Snapshot(0, "{}", "{}"), end)
            with pytest.raises(RunSharedError, match="fork"):
                store.delete("run-1")
            store.delete("fork")
        with pytest.raises(RunSharedError, match="part of run 'run-1'"):
            store.delete(child.run_id)
        assert len(store.load("run-1").children) == 1
        store.delete("run-1")
        assert store.runs() == []

    # -- size -------------------------------------------------------------------------------

    def test_the_size_of_a_run(self, store: Checkpointer) -> None:
        """A run takes what its rows and its children's take; what a fork shares is the origin's."""
        lease = begin_counting(store, "run-1")
        sizes = [store.size("run-1").bytes]
        count_on(store, lease, 3)
        sizes.append(store.size("run-1").bytes)
        store.call(lease, a_call(4))
        sizes.append(store.size("run-1").bytes)
        begin_child(store, lease, 4)
        sizes.append(store.size("run-1").bytes)
        assert sizes == sorted(set(sizes))
        size = store.size("run-1")
        assert size.bytes == sum(size.tables.values())
        assert {"runs", "steps", "tasks", "calls", "snapshots"} <= {*size.tables}
        fork_counting(store, "fork", "run-1", 3)
        assert store.size("run-1") == size
        assert store.size("fork").bytes < size.bytes
        with pytest.raises(RunNotFoundError, match="nothing"):
            store.size("nothing")

    # -- verify -----------------------------------------------------------------------------

    def test_what_nobody_touched_is_sound(self, store: Checkpointer) -> None:
        """Nothing is found in what was written, forked, pruned and deleted in the usual ways."""
        lease = begin_counting(store, "run-1")
        for step in range(1, 6):
            store.call(lease, a_call(step))
            store.end(begin_child(store, lease, step), Ending("done"))
            count_on(store, lease, step)
        store.keep(lease, 6, a_task(0))
        count_on(store, fork_counting(store, "fork", "run-1", 4), 9, Ending("done"))
        for change in (lambda: None, lambda: store.prune(Wish(steps=2))):
            change()
            assert list(store.verify()) == []
            assert list(store.verify("fork")) == []
        store.delete("fork")
        assert list(store.verify()) == []
        with pytest.raises(RunNotFoundError, match="fork"):
            list(store.verify("fork"))

    # -- prune: whole runs ------------------------------------------------------------------

    def test_prune_drops_what_is_over_and_old(self, store: Checkpointer) -> None:
        """Runs that are over go, but for the newest of each graph, and those that ended late."""
        statuses: list[RunStatus] = ["done", "failed", "cancelled", "paused", "done", "done"]
        for n, status in enumerate(statuses):
            created = f"2026-11-22T14:11:0{n}.000000+00:00"
            header = a_header(f"run-{n}", created_at=created, graph="odd" if n == 4 else "even")
            end = Ending(status, "task" if status == "failed" else None)
            store.begin(header, SPEC, a_step(0), Snapshot(0, "{}", "{}"), end)
        assert _left(store, Wish(keep=1, graph="none")) == "012345"
        assert _left(store, Wish(keep=1, before="2000")) == "012345"
        assert store.prune(Wish(keep=3), dry_run=True).runs == ("run-0",)
        assert _left(store, Wish(keep=1, graph="odd")) == "012345"
        assert _left(store, Wish(keep=2)) == "1345"
        assert _left(store, Wish(before="9999", failed=True, graph="even")) == "34"
        assert _left(store, Wish(keep=0)) == "3"

    def test_prune_drops_nothing_that_is_open(
        self, store: Checkpointer, other: str, dead: str
    ) -> None:
        """Runs that run, are paused, stale or failed stay, and so does what they share."""
        for name, owner in (("running", other), ("stale", dead)):
            begin_run(store, run_id=name, owner=owner)
        store.end(begin_run(store, run_id="paused"), Ending("paused"))
        store.end(begin_run(store, run_id="failed"), Ending("failed"))
        everything = {header.run_id for header in store.runs()}
        assert store.prune(Wish(keep=0, before="9999", steps=0)).runs == ()
        assert {header.run_id for header in store.runs()} == everything

    def test_prune_does_not_forget_a_fork(self, store: Checkpointer) -> None:
        """A run stays while a fork of it, of its forks or of its child stays; all else goes."""
        for name in ("open", "over"):
            lease = begin_counting(store, name)
            child = begin_child(store, lease, 1)
            store.end(child, Ending("done"))
            count_on(store, lease, 4, Ending("done"))
            store.end(fork_counting(store, f"{name}-fork", name, 2), Ending("done"))
            last = fork_counting(store, f"{name}-last", f"{name}-fork", 2)
            of_child = fork_counting(store, f"{name}-child", child.run_id, 0)
            for lease in (last, of_child):
                store.end(lease, Ending("paused" if name == "open" else "done"))
        before = {h.run_id: facts(store.load(h.run_id)) for h in store.runs()}
        foreseen = store.prune(Wish(keep=0), dry_run=True)
        gone = store.prune(Wish(keep=0))
        assert gone == foreseen
        assert {*gone.runs} == {"over", "over-fork", "over-last", "over-child"}
        for name in ("open", "open-fork", "open-last", "open-child"):
            assert facts(store.load(name)) == before[name]

    # -- prune: the oldest steps ------------------------------------------------------------

    def test_prune_drops_the_oldest_steps(self, store: Checkpointer) -> None:
        """A run keeps its newest steps, and one more; what they say and come to stays the same."""
        lease = begin_counting(store, "run-1")
        for step in range(1, 9):
            store.fail(lease, a_failure(step))
            store.call(lease, a_call(step))
            store.keep_item(lease, an_item(step, 0))
            store.ask(lease, a_question(step))
            store.memo(lease, a_memo(step))
            store.end(begin_child(store, lease, step), Ending("done"))
            count_on(store, lease, step)
        store.end(lease, Ending("paused", "question"))
        before, size, spent = store.load("run-1"), store.size("run-1"), store.spent("run-1")
        foreseen = store.prune(Wish(steps=3), dry_run=True)
        assert facts(store.load("run-1")) == facts(before)
        assert store.prune(Wish(steps=3)) == foreseen
        assert foreseen.cut == {"run-1": 5}
        assert foreseen.steps == 5 + 4  # its own, and those of its children
        assert foreseen.bytes > size.bytes - store.size("run-1").bytes > 0
        after = store.load("run-1")
        assert [step.step for step in after.steps] == [5, 6, 7, 8]
        assert facts(after.steps) == facts(before.steps[5:])
        assert after.header == before.header
        for records in (after.attempts, after.calls, after.items, after.questions, after.memos):
            assert [record.step for record in records] == [5, 6, 7, 8]
        assert [child.header.parent_step for child in after.children] == [5, 6, 7, 8]
        assert store.spent("run-1").calls == spent.calls
        assert store.spent("run-1").tokens == spent.tokens
        assert store.spent("run-1").seconds == pytest.approx(spent.seconds)
        assert after.before is not None
        assert after.before.tokens == 4 * 150
        assert store.prune(Wish(steps=3)).cut == {}

    @pytest.mark.parametrize("steps", [0, 1, 4, 6])
    def test_a_run_that_was_cut_goes_on(self, store: Checkpointer, steps: int) -> None:
        """After a prune a run is taken, commits, and is pruned again; its tail is as before."""
        lease = begin_counting(store, "run-1")
        for step in range(1, 9):
            count_on(store, lease, step, snapshot=step if step % 3 == 0 else None)
        store.end(lease, Ending("paused", "interrupted"))
        tail = store.load("run-1", tail=True)
        store.prune(Wish(steps=steps))
        cut = store.load("run-1", tail=True)
        assert facts(cut.steps[-1]) == facts(tail.steps[-1])
        lease = store.take("run-1", this_process())
        count_on(store, lease, 9, Ending("done"))
        records = store.load("run-1")
        assert [step.step for step in records.steps] == list(range(8 - steps, 10))
        assert records.snapshots[0].step == 8 - steps
        assert records.snapshots[0].since is None
        store.prune(Wish(steps=0))
        assert [step.step for step in store.load("run-1").steps] == [9]

    def test_a_lease_outlives_a_prune(self, store: Checkpointer) -> None:
        """Who advances a run commits on after its oldest steps have gone, snapshots too."""
        lease = begin_counting(store, "run-1")
        for step in range(1, 7):
            count_on(store, lease, step, snapshot=step if step in {2, 4} else None)
        assert store.prune(Wish(steps=0)).cut == {"run-1": 4}  # the newest snapshot stays
        count_on(store, lease, 7)
        store.commit(lease, _counted(8), Snapshot(8, '{"n":8}', '{"since":8}', since=4), None)
        count_on(store, lease, 9)
        for tail in (False, True):
            records = store.load("run-1", tail=tail)
            assert [s.step for s in records.snapshots] == [4, 8]
        assert [step.step for step in store.load("run-1").steps] == [4, 5, 6, 7, 8, 9]

    def test_a_fork_keeps_what_it_shares(self, store: Checkpointer) -> None:
        """What a fork needs for its own newest steps stays with the run that it forks."""
        count_on(store, begin_counting(store, "run-1"), 9, Ending("done"))
        fork = fork_counting(store, "fork", "run-1", 6)
        count_on(store, fork, 7, Ending("done"))
        before = facts(store.load("fork").steps)
        assert isinstance(before, list)
        assert store.prune(Wish(steps=5)).cut == {"run-1": 2}
        assert facts(store.load("fork").steps) == before[2:]
        assert store.prune(Wish(steps=1)).cut == {"run-1": 5}  # to fork step 6 again
        assert [step.step for step in store.load("fork").steps] == [5, 6, 7]
        assert store.prune(Wish(steps=0)).cut == {"fork": 7, "run-1": 9}
        assert [step.step for step in store.load("fork").steps] == [7]
        assert facts(store.load("fork").steps) == before[7:]

    def test_a_fork_that_lost_its_first_step_goes_on(self, store: Checkpointer) -> None:
        """A fork continues from its own steps, though the run that it forks has these steps too."""
        count_on(store, begin_counting(store, "run-1"), 6)
        fork = fork_counting(store, "fork", "run-1", 2)
        count_on(store, fork, 5)
        store.end(fork, Ending("paused", "interrupted"))
        before = facts(store.load("fork").steps)
        assert isinstance(before, list)
        store.prune(Wish(steps=1))
        for tail in (True, False):
            assert facts(store.load("fork", tail=tail).steps) == before[4:]
        count_on(store, store.take("fork", this_process()), 6, Ending("done"))
        assert [step.step for step in store.load("fork").steps] == [4, 5, 6]

    def test_a_fork_of_the_first_step_shares_nothing(self, store: Checkpointer) -> None:
        """A fork of step 0 is read as before, however much the run that it forks has lost."""
        count_on(store, begin_counting(store, "run-1"), 6, Ending("done"))
        fork = fork_counting(store, "fork", "run-1", 0)
        count_on(store, fork, 2)
        fork_counting(store, "other", "fork", 1)
        before = [facts(store.load(name).steps) for name in ("fork", "other")]
        assert store.prune(Wish(steps=3)).cut == {"run-1": 3}
        assert [facts(store.load(name).steps) for name in ("fork", "other")] == before
        assert store.load("fork").before is None

    def test_what_was_pruned_is_not_forked(self, store: Checkpointer) -> None:
        """A fork needs the state before its first step: without that it is refused."""
        count_on(store, begin_counting(store, "run-1"), 5, Ending("done"))
        store.prune(Wish(steps=2))
        for step in (0, 2, 3):
            with pytest.raises(CheckpointError, match="pruned"):
                fork_counting(store, "fork", "run-1", step)
        fork_counting(store, "fork", "run-1", 4)
        assert [step.step for step in store.load("fork").steps] == [3, 4]

    @pytest.mark.parametrize("steps", [2, 3, 4, 5, 6])
    def test_a_cut_knows_the_graph_of_what_is_left(self, store: Checkpointer, steps: int) -> None:
        """A run that came to another graph is cut before, at and after that; its past stays so."""
        lease = begin_counting(store, "run-1")
        for step, name in ((3, "one"), (5, "two")):
            count_on(store, lease, step)
            adoption = Adoption(step, 0, name, 2, TIME, {}, f'{{"notes":["{name}"],"n":{step}}}')
            store.adopt(lease, adoption, SPEC.replace("triage", name), ())
        count_on(store, lease, 8)
        store.end(lease, Ending("paused"))
        before, states = store.load("run-1"), States(store.load("run-1"))
        texts = {step.step: states.text_at(step.step) for step in before.steps}
        for wish in (Wish(steps=steps), Wish(steps=1)):
            foreseen = store.prune(wish, dry_run=True)
            assert store.prune(wish) == foreseen
            assert list(store.verify()) == []
            for tail in (False, True):
                records = store.load("run-1", tail=tail)
                states = States(records)
                for at in (step.step for step in records.steps):
                    assert states.text_at(at) == texts[at]
                    assert records.use_after(at).digest == before.use_after(at).digest
        lease = store.take("run-1", this_process())
        count_on(store, lease, 9, Ending("done"))
        assert list(store.verify()) == []

    def test_a_child_that_was_forked_holds_its_parent(self, store: Checkpointer) -> None:
        """The step stays that a child belongs to, while a fork of the child is there."""
        lease = begin_counting(store, "run-1")
        count_on(store, lease, 2)
        child = begin_child(store, lease, 3)
        store.end(child, Ending("done"))
        count_on(store, lease, 7, Ending("done"))
        store.end(fork_counting(store, "fork", child.run_id, 0), Ending("done"))
        assert store.prune(Wish(steps=1)).cut == {"run-1": 3}
        store.delete("fork")
        assert store.prune(Wish(steps=1)).cut == {"run-1": 6}
        assert store.load("run-1").children == []


def begin_counting(store: Checkpointer, run_id: str) -> Lease:
    """Begin a run each of whose steps appends a note and sets `n`."""
    first = replace(_counted(0), tasks=(), decisions=())
    state = Snapshot(0, '{"notes":[],"n":0}', '{"since":0}')
    return store.begin(a_header(run_id), SPEC, first, state, None)


def count_on(
    store: Checkpointer,
    lease: Lease,
    upto: int,
    ending: Ending | None = None,
    *,
    snapshot: int | None = None,
) -> None:
    """Commit the steps up to one.

    Args:
        store: Where the run is.
        lease: Of a run that was begun with `begin_counting`.
        upto: The last step.
        ending: How the run ends with it.
        snapshot: The step that has a snapshot: the whole state.
    """
    first = store.load(lease.run_id, tail=True).header.step + 1
    for step in range(first, upto + 1):
        saved = None
        if step == snapshot:
            notes = ",".join(f'"note {n}"' for n in range(1, step + 1))
            saved = Snapshot(step, f'{{"notes":[{notes}],"n":{step}}}', f'{{"since":{step}}}')
        store.commit(lease, _counted(step), saved, ending if step == upto else None)


def fork_counting(store: Checkpointer, run_id: str, origin: str, step: int) -> Lease:
    """Fork a run that counts; the fork has a note less."""
    header = a_fork(run_id, origin, step, created_at="2027-01-01T00:00:00.000000+00:00")
    state = Snapshot(step, f'{{"notes":[],"n":{step}}}', f'{{"since":{step}}}')
    return store.begin(header, SPEC, replace(_counted(step), ready=("other",)), state, None)


def _counted(step: int) -> StepRecord:
    task = a_task(0, update_json=f'{{"notes":["note {step}"],"n":{step}}}', replaces=())
    return replace(a_step(step), tasks=(task,) if step else ())


def _left(store: Checkpointer, wish: Wish) -> str:
    """Prune, as foreseen, and give the ends of the ids that are left."""
    foreseen = store.prune(wish, dry_run=True)
    assert store.prune(wish) == foreseen
    return "".join(sorted(header.run_id[-1] for header in store.runs()))
