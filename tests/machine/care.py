"""The care of a store as rules: deleting, pruning, sizes, looking for damage, copies."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from graphflow.checkpoint.protocol import Checkpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.history import counters_at
from graphflow.testing.records import a_memo
from graphflow.upkeep import Pruned, Wish
from tests.machine.driver import StoreDriver, begun, leases, seldom, small

__all__ = ["CareRules"]


class CareRules(StoreDriver):
    """What is done for a store, beside its runs."""

    @rule(which=begun, is_meant=small)
    def delete(self, which: Any, is_meant: int) -> None:
        """Delete a run; not too often."""
        run_id = self.name(which)
        if is_meant == 0:
            self.both(lambda: self.model.delete(run_id), lambda store, _: store.delete(run_id))

    @rule(
        keep=st.integers(0, 6),
        graph=st.sampled_from([None, "triage", "other"]),
        failed=st.booleans(),
        is_meant=small,
    )
    def prune(self, keep: int, graph: str | None, failed: bool, is_meant: int) -> None:
        """Drop runs that are over; not too often."""
        if is_meant == 0:
            self.prune_as(Wish(keep=keep, graph=graph, failed=failed))

    @rule(
        steps=st.integers(0, 5),
        keep=st.sampled_from([None, None, 3]),
        graph=st.sampled_from([None, None, "triage", "other"]),
        is_meant=small,
    )
    def cut(self, steps: int, keep: int | None, graph: str | None, is_meant: int) -> None:
        """Drop the oldest steps of runs; not too often. What is left says what it said."""
        if is_meant < 2:
            before = {name: self.counters(store) for name, store in self.stores.each()}
            self.prune_as(Wish(steps=steps, keep=keep, graph=graph))
            for name, store in self.stores.each():
                after = self.counters(store)
                assert after == {at: before[name][at] for at in after}, name

    def prune_as(self, wish: Wish) -> None:
        """Prune everywhere: what was foreseen is dropped, and makes room."""
        sizes = {name: self.sizes(store) for name, store in self.stores.each()}
        foreseen = {name: store.prune(wish, dry_run=True) for name, store in self.stores.each()}
        wanted, found = self.both(
            lambda: self.model.prune(wish), lambda store, _: store.prune(wish)
        )
        for name, store in self.stores.each():
            pruned: Pruned = found[name]
            assert pruned == foreseen[name], name
            assert (set(pruned.runs), dict(pruned.cut)) == wanted, (name, wanted, pruned)
            freed = sum(sizes[name].values()) - sum(self.sizes(store).values())
            assert pruned.bytes >= freed, name
            assert pruned.cut or pruned.bytes == freed, name

    @precondition(lambda self: self.grips)
    @rule(lease=leases)
    def weigh(self, lease: Any) -> None:
        """What a run and its children take grows with what is stored of it; of others it stays."""
        grip = self.grip(lease)
        if not self.is_good(grip):
            return
        before = {name: self.sizes(store) for name, store in self.stores.each()}
        memo = a_memo(grip.run.last + 1, name=f"weighed {self.next()}")
        self.both(
            lambda: self.model.memo(grip.held, memo),
            lambda store, name: store.memo(grip.leases[name], memo),
        )
        root = grip.run.root.header.run_id
        for name, store in self.stores.each():
            after = self.sizes(store)
            assert after.pop(root) > before[name].pop(root), name
            assert after == before[name], name

    @rule(which=begun)
    def look_for_damage(self, which: Any) -> None:
        """Nothing is found in what only the verbs have written."""
        run_id = self.name(which)
        for name, store in self.stores.each():
            assert list(store.verify()) == [], name
        self.both(lambda: self.model.spent(run_id), lambda store, _: list(store.verify(run_id)))
        self.both(lambda: self.model.spent(run_id), lambda store, _: store.size(run_id))

    @rule(is_meant=seldom)
    def copy(self, is_meant: bool) -> None:
        """A copy of the file has all that there is; seldom, as it takes long."""
        if is_meant:
            path = self.stores.folder / f"copy-{self.next()}.db"
            self.stores.files[0].backup(path)
            copy = SqliteCheckpointer(path, durability="normal")
            try:
                self.compare_all({"copy": copy})
                assert len(copy.runs()) == len(self.model.listed(None, None))
            finally:
                copy.close()

    def sizes(self, store: Checkpointer) -> dict[str, int]:
        """Say how much each run takes that is no part of another."""
        roots = [run.header.run_id for run in self.model.listed(None, None)]
        return {run_id: store.size(run_id).bytes for run_id in roots}

    def counters(self, store: Checkpointer) -> dict[tuple[str, int], Any]:
        """Read what was counted up to each step of each run."""
        found = {}
        for run_id in self.model.runs:
            records = store.load(run_id)
            for step in records.steps:
                found[run_id, step.step] = counters_at(records, step.step)
        return found
