"""What every checkpointer promises of adoptions: runs that go on with another graph."""

# ruff: noqa: S101 - tests are made of assert

from dataclasses import replace

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import CheckpointError
from graphflow.records import Ending, RunRecords
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    NEW_SPEC_JSON,
    SPEC_JSON,
    a_call,
    a_failure,
    a_fork,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_adoption,
    an_item,
    facts,
)
from graphflow.upkeep import Wish

__all__ = ["AdoptionContract"]

_FOLDED = '{"name":"triage","state":{"fields":{"notes":{"reducer":"append"}}}}'
_OLD, _NEW = {"name": "triage"}, {"name": "triage", "version": 2}


class AdoptionContract:
    """The part of `CheckpointerContract` that is about adoptions."""

    def test_an_adoption_is_read_back(self, store: Checkpointer) -> None:
        """A run names the graphs that wrote its steps, with the checkpoints between them."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, None)
        _adopt(store, lease, 1)
        for step in (2, 3):
            store.commit(lease, a_step(step, tasks=step), a_snapshot(step), None)
        whole, tail = store.load("run-1"), store.load("run-1", tail=True)
        for records in (whole, tail):
            assert records.spec == _NEW
            assert [(u.first, u.version, u.spec) for u in records.graphs] == [
                (0, 1, _OLD), (2, 2, _NEW),
            ]  # fmt: skip
            assert facts(records.graphs[1].adoption) == facts(an_adoption(1))
            assert records.header.graph_version == 1
        assert facts(tail.steps) == facts([a_step(3, tasks=3)])
        assert facts(whole.steps[1:]) == facts([a_step(1), a_step(2, tasks=2), a_step(3, tasks=3)])

    def test_a_run_that_stayed_with_its_graph(self, store: Checkpointer) -> None:
        """Of a run that was never adopted there is one graph."""
        begin_run(store)
        records = store.load("run-1")
        assert (records.graphs, [use.first for use in records.uses]) == ([], [0])

    def test_the_checkpoint_is_told_once_more(self, store: Checkpointer) -> None:
        """What runs next is as the graph says that the run goes on with; the step is as it was."""
        lease = begin_run(store)
        _adopt(store, lease, 0)
        records = store.load("run-1", tail=True)
        left = an_adoption(0).frontier
        assert left is not None
        assert facts(records.last.ready) == facts(left.ready)
        assert facts(records.last.held) == facts(left.held)
        assert facts(records.last.sends) == facts(left.sends)
        assert facts(records.steps[0]) == facts(a_step(0))

    def test_several_adoptions_after_one_step(self, store: Checkpointer) -> None:
        """A run may change its graph more than once before its next step; all are in order."""
        lease = begin_run(store)
        _adopt(store, lease, 0)
        lease = store.take("run-1", this_process())
        _adopt(store, lease, 0, graph_digest="7" * 64, nodes={}, spec_json=SPEC_JSON)
        store.commit(lease, a_step(1), None, None)
        for tail in (False, True):
            records = store.load("run-1", tail=tail)
            found = [u.adoption for u in records.graphs if u.adoption is not None]
            assert [(a.step, a.place) for a in found] == [(0, 0), (0, 1)]
            assert records.spec == _OLD

    def test_what_the_open_step_has_is_named_anew(self, store: Checkpointer) -> None:
        """Rows of the open step get the names of now; those of the steps before stay."""
        lease = begin_run(store)
        for step in (1, 2):
            for key in ("work", "work#0", "other"):
                store.fail(lease, a_failure(step, key=key, node=key[:4].replace("othe", "other")))
                store.call(lease, a_call(step, key=key))
                store.memo(lease, a_memo(step, key=key))
                store.ask(lease, a_question(step, key=key, node=key.partition("#")[0]))
            store.keep_item(lease, an_item(step, 0, key="work"))
            if step == 1:
                store.commit(lease, a_step(1), None, None)
        store.fail(lease, a_failure(2, key="work#0[3]"))
        store.keep(lease, 2, a_task(0, key="work", node="work"))
        store.keep(lease, 2, a_task(1, key="other", node="other"))
        kept = [a_task(0, key="labour", node="labour"), a_task(1, key="other", node="other")]
        store.adopt(lease, an_adoption(1), NEW_SPEC_JSON, kept)
        _check_names(store.load("run-1"))
        assert facts(store.load("run-1").kept) == facts(kept)
        store.answer(lease, a_question(2, key="labour", answer_json='"yes"'))
        done = replace(a_step(2), tasks=tuple(kept))
        store.commit(lease, done, None, Ending("done"))
        _check_names(store.load("run-1"))
        assert facts(store.load("run-1").steps[2].tasks) == facts(kept)

    def test_names_that_move_up_together(self, store: Checkpointer) -> None:
        """Where a node gets a name that another one gives up, each row follows its own node."""
        lease = begin_run(store)
        for place, key in enumerate(("c", "a", "b")):
            store.fail(lease, a_failure(1, key=key, node=key))
            store.memo(lease, a_memo(1, key=key))
            store.ask(lease, a_question(1, key=key, node=key, prompt=f"of {key}"))
            store.keep_item(lease, an_item(1, 0, key=key))
            store.keep(lease, 1, a_task(place, key=key, node=key))
        kept = [a_task(place, key=key, node=key) for place, key in enumerate("dbc")]
        nodes = {"a": "b", "b": "c", "c": "d"}
        store.adopt(lease, an_adoption(0, nodes=nodes), NEW_SPEC_JSON, kept)
        records = store.load("run-1")
        asked = {(q.key, q.node): q.prompt for q in records.questions}
        assert asked == {("d", "d"): "of c", ("b", "b"): "of a", ("c", "c"): "of b"}
        for rows in (records.attempts, records.memos, records.items):
            assert sorted(row.key for row in rows) == ["b", "c", "d"]
        assert facts(records.kept) == facts(kept)

    def test_dropped_items_are_gone(self, store: Checkpointer) -> None:
        """Items of the open step that no longer hold go with their memos; others stay."""
        lease = begin_run(store)
        for step in (1, 2):
            for ix in range(3):
                store.keep_item(lease, an_item(step, ix, key="work"))
                store.memo(lease, a_memo(step, key=f"work[{ix}]"))
            store.fail(lease, a_failure(step, key="work[1]"))
            if step == 1:
                store.commit(lease, a_step(1), None, None)
        _adopt(store, lease, 1, dropped=("work[1]", "work[2]"))
        records = store.load("run-1")
        assert facts(records.graphs[1].adoption) == facts(an_adoption(1))
        left = [(1, 0), (1, 1), (1, 2), (2, 0)]
        assert sorted((item.step, item.ix) for item in records.items) == left
        memos = sorted((memo.step, memo.key[-2]) for memo in records.memos)
        assert memos == [(step, str(ix)) for step, ix in left]
        assert [attempt.step for attempt in records.attempts] == [1, 2]

    def test_an_open_child_belongs_to_its_task(self, store: Checkpointer) -> None:
        """The run of a subgraph stands under the key that its task has now, to the end."""
        lease = begin_run(store, first=replace(a_step(0), ready=("work#1", "work#0")))
        first, second = (begin_child(store, lease, 1, f"work#{n}") for n in (0, 1))
        keys = {"run-1/1:work#0": "labour#0", "run-1/1:work#1": "labour#1"}
        left = replace_ready(("labour#1", "labour#0"))
        _adopt(store, lease, 0, children=keys, frontier=left)
        expected = ["labour#1", "labour#0"]
        for tail in (False, True):
            children = store.load("run-1", tail=tail).children
            assert [child.header.parent_key for child in children] == expected
        for child in (first, second):
            store.commit(child, a_step(1), None, Ending("done"))
        tasks = tuple(a_task(n, key=key) for n, key in enumerate(expected))
        store.commit(lease, replace(a_step(1), tasks=tasks), None, None)
        children = store.load("run-1").children
        assert [child.header.parent_key for child in children] == expected

    def test_a_child_adopts_too(self, store: Checkpointer) -> None:
        """A child goes on with another graph under the lease of its parent."""
        lease = begin_run(store)
        child = begin_child(store, lease, 1, "work")
        _adopt(store, child, 0)
        store.commit(child, a_step(1), None, Ending("done"))
        store.commit(lease, a_step(1), None, Ending("done"))
        (found,) = store.load("run-1").children
        assert [use.version for use in found.graphs] == [1, 2]
        assert store.load("run-1").graphs == []

    @pytest.mark.parametrize("step", [0, 1, 2, 3])
    def test_a_fork_before_and_after_an_adoption(self, store: Checkpointer, step: int) -> None:
        """A fork has the graphs of the steps that it shares, then the one it began with."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, None)
        _adopt(store, lease, 1)
        store.commit(lease, a_step(2), a_snapshot(2), None)
        store.commit(lease, a_step(3), None, None)
        header = a_fork("fork", "run-1", step, graph_version=3)
        fork = store.begin(header, SPEC_JSON, a_step(step), a_snapshot(step), None)
        store.commit(fork, a_step(step + 1), None, None)
        records = store.load("fork")
        shared = {0: [], 1: [1], 2: [1, 2], 3: [1, 2]}[step]
        assert [u.version for u in records.uses] == [*shared, 3]
        assert records.uses[-1].first == step
        _adopt(store, fork, step + 1)
        assert [u.version for u in store.load("fork").graphs][-2:] == [3, 2]
        assert [u.version for u in store.load("fork", tail=True).graphs] == [3, 2]

    def test_a_fork_shares_children_under_the_keys_of_now(self, store: Checkpointer) -> None:
        """A child that led to the first step of a fork belongs to the task that this step has."""
        lease = begin_run(store)
        child = begin_child(store, lease, 1, "work")
        _adopt(store, lease, 0, children={child.run_id: "labour"})
        store.end(child, Ending("done"))
        task = a_task(0, key="labour", node="labour")
        store.commit(lease, replace(a_step(1), tasks=(task,)), None, None)
        store.begin(a_fork("fork", "run-1", 1), SPEC_JSON, a_step(1), a_snapshot(1), None)
        for run_id in ("run-1", "fork"):
            (found,) = store.load(run_id).children
            assert found.header.parent_key == "labour"
        assert list(store.verify()) == []

    def test_a_fork_of_a_fork_before_its_first_step(self, store: Checkpointer) -> None:
        """A fork has no graph of a run that gives it none of its steps; it is read as it is."""
        lease = begin_run(store)
        for step in (1, 2, 3):
            store.commit(lease, a_step(step), None, None)
        late = a_fork("late", "run-1", 3, graph_version=2, graph_digest="8" * 64)
        store.begin(late, NEW_SPEC_JSON, a_step(3), a_snapshot(3), None)
        for step in (0, 1, 2):
            early = a_fork(f"early-{step}", "late", step, graph_version=3)
            store.begin(early, SPEC_JSON, a_step(step), a_snapshot(step), None)
            uses = [(use.first, use.version) for use in store.load(early.run_id).uses]
            assert uses == [(0, 1), (step, 3)] if step else [(0, 3)]

    def test_a_cut_counts_the_adoptions_that_go(self, store: Checkpointer) -> None:
        """What a prune says it drops has the adoptions too, and so has the size of a run."""
        lease = begin_run(store)
        sizes = [store.size("run-1").bytes]
        for step, text in ((1, "x" * 3000), (3, "é")):
            for n in range(step - 1 or 1, step + 1):
                store.commit(lease, a_step(n), a_snapshot(n), None)
            state = f'{{"text":"{text}","notes":[]}}'
            _adopt(store, lease, step, spec_json=_FOLDED, state_json=state, nodes={})
            sizes.append(store.size("run-1").bytes)
        store.commit(lease, a_step(4), a_snapshot(4), Ending("done"))
        assert sizes[1] > sizes[0] + 3000
        size, foreseen = store.size("run-1").bytes, store.prune(Wish(steps=0), dry_run=True)
        assert store.prune(Wish(steps=0)) == foreseen
        assert foreseen.bytes >= size - store.size("run-1").bytes > 3000

    def test_only_the_last_step_is_gone_on_from(self, store: Checkpointer) -> None:
        """An adoption of another step is refused, and stores nothing."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, None)
        for step in (0, 2):
            with pytest.raises(CheckpointError, match=f"after step {step}"):
                _adopt(store, lease, step)
        assert store.load("run-1").graphs == []

    def test_an_adoption_with_what_follows_or_without(self, store: Checkpointer) -> None:
        """Inside `together` an adoption is undone like everything else of a verb that fails."""
        lease = begin_run(store)
        store.fail(lease, a_failure(1))
        before = facts(store.load("run-1"))

        def both() -> None:
            _adopt(store, lease, 0)
            _adopt(store, lease, 7)

        (result,) = store.together([both])
        assert isinstance(result, CheckpointError)
        assert facts(store.load("run-1")) == before
        _adopt(store, lease, 0)
        store.commit(lease, a_step(1), None, None)
        assert [use.first for use in store.load("run-1").graphs] == [0, 1]


def replace_ready(ready: tuple[str, ...]) -> object:
    """Make what an adoption says of the tasks that run next."""
    left = an_adoption(0).frontier
    return left and left._replace(ready=ready, sends={})


def _adopt(
    store: Checkpointer, lease: Lease, step: int, *, spec_json: str = NEW_SPEC_JSON, **more: object
) -> None:
    store.adopt(lease, an_adoption(step, **more), spec_json, ())


def _check_names(records: RunRecords) -> None:
    """Check that what belongs to step 2 has the names of now, and what belongs to step 1 not."""
    for step, (task, sent) in {1: ("work", "work#0"), 2: ("labour", "labour#0")}.items():
        failed = [(a.key, a.node) for a in records.attempts if a.step == step]
        items = [(f"{sent}[3]", task)] if step == 2 else []
        assert sorted(failed) == sorted([(task, task), (sent, task), ("other", "other"), *items])
        keys = sorted([task, sent, "other"])
        assert sorted(c.key for c in records.calls if c.step == step) == keys
        assert sorted(m.key for m in records.memos if m.step == step) == keys
        asked = sorted((q.key, q.node) for q in records.questions if q.step == step)
        assert asked == sorted([(task, task), (sent, task), ("other", "other")])
        assert [i.key for i in records.items if i.step == step] == [task]
