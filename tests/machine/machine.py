"""A machine that draws verbs, does them to the model and to the stores, and compares all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from graphflow.checkpoint.protocol import Checkpointer
from graphflow.records import Ending, StepRecord
from graphflow.testing.records import (
    TIME,
    a_call,
    a_child,
    a_failure,
    a_fork,
    a_goto,
    a_header,
    a_memo,
    a_question,
    a_step,
    a_task,
    an_adoption,
    an_item,
)
from tests.machine.adding import DIGESTS, SPECS, handed_on, renamed, write
from tests.machine.care import CareRules
from tests.machine.driver import DEAD, ELSEWHERE, HERE, Grip, begun, leases, numbers, seldom, small
from tests.machine.model import Refused
from tests.machine.reading import header_facts, header_of

__all__ = ["StoreMachine"]

names = st.sampled_from(["a", "ab", "abc", "b", "c%", "c_", "d", "da"])
owners = st.sampled_from([*[HERE] * 8, DEAD, ELSEWHERE])
endings = st.sampled_from(
    [
        *[Ending("done")] * 3,
        Ending("paused", "question"),
        Ending("paused", "limit:steps", error="too far"),
        Ending("failed", "task", "ValueError", "no"),
        Ending("cancelled", "by hand"),
        Ending("running"),
        Ending("stale"),
    ]
)
maybe_ending = st.one_of(*[st.none()] * 8, endings)
offsets = st.sampled_from([*[1] * 10, 0, 2])
"""From the last committed step: nearly always the open one."""
versions = st.sampled_from([1, 1, 2])


class StoreMachine(CareRules):
    """Verbs of `Checkpointer` in any order, refused ones among them."""

    # -- beginning and taking ---------------------------------------------------------------------

    @rule(
        run_id=names,
        owner=st.one_of(owners, st.none()),
        graph=st.sampled_from(["triage", "other"]),
        ending=maybe_ending,
        late=small,
        version=versions,
    )
    def begin(self, run_id: str, ending: Any, late: int, version: int, **more: Any) -> None:
        """Begin a run; the clock may have been set back since the one before."""
        created = f"2026-11-22T14:11:0{late}.000000+00:00"
        more |= {"graph_version": version, "graph_digest": DIGESTS[version]}
        self.begin_one(a_header(run_id, created_at=created, **more), a_step(0), ending)

    @rule(
        run_id=names,
        which=begun,
        at=st.tuples(numbers, seldom),
        ending=maybe_ending,
        version=versions,
    )
    def fork(self, run_id: str, which: Any, at: Any, ending: Any, version: int) -> None:
        """Fork a run at a step that it has, or seldom at one that it has not."""
        origin, (step, is_wrong) = self.name(which), at
        many = self.model.runs[origin].last + 1 if origin in self.model.runs else 1
        at = many + step // 6 if is_wrong else step % many
        changed = replace(a_step(at, tasks=2), ready=(f"forked {self.next()}",))
        more = {"graph_version": version, "graph_digest": DIGESTS[version]}
        self.begin_one(a_fork(run_id, origin, at, **more), changed, ending)

    @precondition(lambda self: self.grips)
    @rule(lease=leases, key=small, offset=offsets, ending=maybe_ending)
    def begin_child(self, lease: Any, key: int, offset: int, ending: Any) -> None:
        """Begin a child, or seldom one of another step."""
        grip = self.grip(lease)
        header = a_child(grip.run.header.run_id, grip.run.last + offset, f"sub#{key}")
        self.begin_one(header, a_step(0), ending, grip)

    @rule(
        which=begun,
        owner=owners,
        given=st.sampled_from(
            [{}, {}, {"limits_json": '{"steps":7}'}, {"budget_json": '{"calls":2}'}]
        ),
        take_over=st.sampled_from([False, False, True]),
    )
    def take(self, which: Any, owner: str, given: dict[str, str], take_over: bool) -> None:
        """Take a run, also from an owner that lives."""
        run_id = self.name(which)
        self.grasp(
            lambda: self.model.take(run_id, owner, given, take_over=take_over),
            lambda store, _: store.take(run_id, owner, take_over=take_over, **given),
        )

    @precondition(lambda self: any(grip.run.children for grip in self.grips))
    @rule(lease=leases, which=numbers)
    def take_child(self, lease: Any, which: int) -> None:
        """Take a child again; the lease that was there of it is not used any more."""
        family = [grip for grip in self.grips if grip.run.children]
        grip = self.grip(lease, family)
        child = self.some(grip.run.children, which)
        run_id = child.header.run_id
        taken = self.grasp(
            lambda: self.model.take(run_id, HERE, {}, grip.held),
            lambda store, name: store.take(run_id, HERE, under=grip.leases[name]),
        )
        if taken is not None:
            self.grips = [one for one in self.grips if one.run is not child] + [taken]

    # -- steps ------------------------------------------------------------------------------------

    @precondition(lambda self: self.grips)
    @rule(
        lease=leases,
        offset=offsets,
        tasks=small,
        changes=seldom,
        part=st.sampled_from(["none", "none", "whole", "since"]),
        ending=maybe_ending,
    )
    def commit(self, lease: Any, **more: Any) -> None:
        """Commit a step."""
        self.commit_one(self.grip(lease), **more)

    def commit_one(self, grip: Grip, *, offset: int, ending: Any, **more: Any) -> None:
        """Commit a step everywhere."""
        step, snapshot = self.step(grip.run, offset, **more)
        self.both(
            lambda: self.model.commit(grip.held, step, snapshot, ending),
            lambda store, name: store.commit(grip.leases[name], step, snapshot, ending),
        )

    @precondition(lambda self: self.grips)
    @rule(
        lease=leases,
        plan=st.lists(
            st.tuples(small, st.sampled_from(["none", "none", "whole", "since"])),
            min_size=1,
            max_size=4,
        ),
    )
    def go_on(self, lease: Any, plan: Any) -> None:
        """Commit steps as most runs do: with what was kept of each."""
        grip = self.grip(lease)
        for tasks, part in plan:
            for ix in range(tasks - 1):
                self.keep_one(grip, 1, ix, ix == 1)
            self.commit_one(grip, offset=1, ending=None, tasks=tasks, changes=False, part=part)

    @precondition(lambda self: self.grips)
    @rule(lease=leases, offset=offsets, ix=small, chooses=st.booleans())
    def keep(self, lease: Any, offset: int, ix: int, chooses: bool) -> None:
        """Keep a complete task."""
        self.keep_one(self.grip(lease), offset, ix, chooses)

    def keep_one(self, grip: Grip, offset: int, ix: int, chooses: bool) -> None:
        """Keep a task everywhere."""
        step, goto = grip.run.last + offset, a_goto() if chooses else None
        n = self.next()
        task = a_task(ix, update_json=f'{{"kept":{n},"notes":[{n}]}}', goto=goto)
        self.both(
            lambda: self.model.keep(grip.held, step, task),
            lambda store, name: store.keep(grip.leases[name], step, task),
        )

    @precondition(lambda self: self.grips)
    @rule(
        lease=leases,
        offset=offsets,
        what=st.sampled_from(["keep_item", "memo", "ask", "ask", "fail", "call"]),
        at=small,
    )
    def store_one(self, lease: Any, offset: int, what: str, at: int) -> None:
        """Store what stands alone."""
        grip, n = self.grip(lease), self.next()
        # Nothing is promised of another step's attempts and calls
        step = grip.run.last + (1 if what in ("fail", "call") else offset)
        made: dict[str, Callable[[], Any]] = {
            "keep_item": lambda: an_item(step, at, result_json=str(n)),
            "memo": lambda: a_memo(
                step, key=["work#0", "score[1]"][at % 2], name=f"memo {at}", value_json=str(n)
            ),
            "ask": lambda: a_question(step, name=f"ask {at}" if at else "", prompt=str(n)),
            "fail": lambda: a_failure(step, key=f"work#{at}", attempt=n),
            "call": lambda: a_call(step, key=["work#0", "work#1", "score[1]", "x"][at]),
        }
        record = made[what]()
        self.both(
            lambda: getattr(self.model, what)(grip.held, record),
            lambda store, name: getattr(store, what)(grip.leases[name], record),
        )

    @precondition(lambda self: any(grip.run.questions for grip in self.grips))
    @rule(lease=leases, which=numbers, is_wrong=seldom, by=st.sampled_from(["person", "deadline"]))
    def answer(self, lease: Any, which: int, is_wrong: bool, by: str) -> None:
        """Answer a question, one that is answered, or seldom what was never asked."""
        asking = [grip for grip in self.grips if grip.run.questions]
        grip = self.grip(lease, asking)
        question = self.some(list(grip.run.questions.values()), which)
        if is_wrong:
            wrong: list[dict[str, Any]] = [{"name": "x"}, {"key": "x"}, {"step": 99}]
            question = replace(question, **self.some(wrong, which))
        given = replace(question, answer_json=str(self.next()), answered_at=TIME, answered_by=by)
        self.both(
            lambda: self.model.answer(grip.held, given),
            lambda store, name: store.answer(grip.leases[name], given),
        )

    @precondition(lambda self: self.grips)
    @rule(
        lease=leases,
        offset=seldom,
        version=versions,
        node=st.sampled_from(["", "work", "score", "ask_human", "sub"]),
        tells=st.tuples(*[st.booleans()] * 4),
    )
    def adopt(self, lease: Any, offset: bool, version: int, node: str, tells: Any) -> None:
        """Go on with another graph: nodes have other names, the state other words."""
        grip, n = self.grip(lease), self.next()
        run, nodes = grip.run, {node: f"{node}_{n}"} if node else {}
        values = {**handed_on(run, run.last), "text": f"told {n}", "n": n}
        opened = [c for c in run.children if c.header.parent_step == run.last + 1]
        keys = {c.header.run_id: f"sub_{n}#{at}" for at, c in enumerate(opened)}
        told: list[dict[str, Any]] = [
            {"state_json": write(values) if tells[0] else None},
            {} if tells[1] else {"frontier": None},
            {"counters_json": write({"since": n}) if tells[2] else None},
            {"dropped": ("score[1]",) if tells[3] else ()},
            {"children": keys if node == "sub" else {}},
        ]
        more = {name: value for one in told for name, value in one.items()}
        graph = {"graph_version": version, "graph_digest": DIGESTS[version]}
        adoption = an_adoption(run.last + offset, nodes=nodes, **graph, **more)
        kept = [renamed(run.kept[ix], nodes) for ix in sorted(run.kept)]
        self.both(
            lambda: self.model.adopt(grip.held, adoption, SPECS[version], kept),
            lambda store, name: store.adopt(grip.leases[name], adoption, SPECS[version], kept),
        )

    @precondition(lambda self: self.grips)
    @rule(lease=leases, ending=endings, is_meant=small)
    def end(self, lease: Any, ending: Ending, is_meant: int) -> None:
        """Let go of a run; not too often."""
        grip = self.grip(lease)
        if is_meant == 0 or grip.run.parent is not None:
            self.both(
                lambda: self.model.end(grip.held, ending),
                lambda store, name: store.end(grip.leases[name], ending),
            )

    @rule(which=begun, is_meant=small)
    def stop(self, which: Any, is_meant: int) -> None:
        """End a run whoever has it; not too often."""
        run_id, ending = self.name(which), Ending("cancelled", "by hand")
        if is_meant == 0:
            self.both(
                lambda: self.model.stop(run_id, ending),
                lambda store, _: store.stop(run_id, ending),
            )

    # -- many at once, and ends without warning ---------------------------------------------------

    @precondition(lambda self: self.grips)
    @rule(lease=leases, other=leases, fails=small, offset=offsets)
    def together(self, lease: Any, other: Any, fails: int, offset: int) -> None:
        """Three functions of two verbs each share a transaction; one may fail at its end."""
        one, two = self.grip(lease), self.grip(other)
        plans = []
        for place, grip in enumerate((one, two, one)):
            last = grip.run.last + (place == 2)
            memo = a_memo(last + 1, name=f"together {self.next()}")
            step = replace(a_step(last + offset), derived_json=f'{{"text":"{self.next()}"}}')
            plans.append((grip, memo, step, fails == place))
        wanted = [self.on_model(*plan) for plan in plans]
        for name, store in self.stores.each():
            results = store.together([self.on_store(name, store, *plan) for plan in plans])
            for result, kinds in zip(results, wanted, strict=True):
                assert result == 1 if kinds is None else isinstance(result, kinds), (name, result)

    def on_model(self, grip: Grip, memo: Any, step: StepRecord, is_undone: bool) -> Any:
        """Do two verbs to the model, or none."""
        mark = self.model.mark()
        try:
            self.model.memo(grip.held, memo)
            self.model.commit(grip.held, step, None, None)
        except Refused as refused:
            self.model.reset(mark)
            return refused.kinds
        if is_undone:
            self.model.reset(mark)
            return ZeroDivisionError
        return None

    def on_store(self, name: str, store: Checkpointer, *plan: Any) -> Callable[[], int]:
        """Make the function that does two verbs to a store, and fails if it is to be undone."""
        grip, memo, step, is_undone = plan

        def call() -> int:
            store.memo(grip.leases[name], memo)
            store.commit(grip.leases[name], step, None, None)
            return 1 // (not is_undone)

        return call

    @rule(how=small)
    def lose_all_processes(self, how: int) -> None:
        """Go on with the file as it lies there, or as it is after it was closed."""
        if how < 2:
            self.stores.crash()
        elif how == 2:
            self.stores.reopen()

    @precondition(lambda self: self.grips)
    @rule(lease=leases, tasks=small, changes=seldom, is_meant=small)
    def be_killed_after_a_commit(
        self, lease: Any, tasks: int, changes: bool, is_meant: int
    ) -> None:
        """A process commits a step and is killed: the step is there, and its lease is not."""
        grip = self.grip(lease)
        if is_meant or not self.is_good(grip, a_step(grip.run.last + 1)):
            return
        step, snapshot = self.step(grip.run, 1, tasks, changes, "whole")
        self.model.commit(grip.held, step, snapshot, None)
        self.stores.memory.commit(grip.leases["memory"], step, snapshot, None)
        self.stores.in_a_killed_process(
            lambda store: store.commit(grip.leases["file"], step, snapshot, None)
        )
        self.grips = [one for one in self.grips if one.run is not grip.run]

    # -- reading ----------------------------------------------------------------------------------

    @rule(which=begun, what=st.sampled_from(["whole", "tail", "spent"]))
    def look(self, which: Any, what: str) -> None:
        """Read a run, or find that it is not there."""
        run_id = self.name(which)
        if run_id not in self.model.runs:
            self.both(lambda: self.model.spent(run_id), lambda store, _: store.load(run_id))
        elif what != "spent":
            stores = dict(self.stores.each())
            self.compare(self.model.runs[run_id], stores, tail=what == "tail")
        wanted, found = self.both(
            lambda: self.model.spent(run_id), lambda store, _: store.spent(run_id)
        )
        for name, one in found.items():
            assert (one.calls, one.tokens) == (wanted.calls, wanted.tokens), name
            assert abs(one.seconds - wanted.seconds) < 1e-6, name

    @rule(
        status=st.sampled_from([None, "running", "stale", "done", "paused", "cancelled"]),
        graph=st.sampled_from([None, None, "triage", "other"]),
        limit=st.sampled_from([None, 1, 2]),
        prefix=st.sampled_from(["a", "ab", "abc", "b", "c", "c_", "d", "%", "a/1:sub#0", "zz"]),
    )
    def look_for(self, status: Any, graph: str | None, limit: int | None, prefix: str) -> None:
        """List runs, and find one by what its id begins with."""
        listed = [header_of(self.model, run) for run in self.model.listed(status, graph)][:limit]
        for name, store in self.stores.each():
            found = [header_facts(h) for h in store.runs(status=status, graph=graph, limit=limit)]
            assert found == listed, name
        wanted, ids = self.both(
            lambda: self.model.found(prefix), lambda store, _: store.find(prefix)
        )
        assert all(one == wanted for one in ids.values()), (wanted, ids)
