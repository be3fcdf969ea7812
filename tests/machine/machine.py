"""A machine that draws verbs, does them to the model and to the stores, and compares all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import GraphflowError
from graphflow.records import Ending, RunHeader, Snapshot, StepRecord
from graphflow.testing.records import (
    SPEC_JSON,
    TIME,
    a_call,
    a_child,
    a_failure,
    a_fork,
    a_goto,
    a_header,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
)
from graphflow.upkeep import Wish
from tests.machine.model import Held, Model, Refused, Run
from tests.machine.reading import expected, header_facts, header_of, read
from tests.machine.stores import Stores

__all__ = ["StoreMachine"]

HERE = this_process()
DEAD = f"{HERE.partition(':')[0]}:another-boot:1:1"
ELSEWHERE = "another-host:boot:1:1"

numbers = st.integers(0, 11)
small = st.integers(0, 3)
seldom = numbers.map(lambda n: n == 11)
names = st.sampled_from(["a", "ab", "abc", "b", "c%", "c_", "d", "da"])
owners = st.sampled_from([*[HERE] * 8, DEAD, ELSEWHERE])
endings = st.sampled_from(
    [
        Ending("done"),
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
leases = st.tuples(numbers, seldom)
"""Which of the leases; seldom one that may be lost."""
begun = st.tuples(numbers, seldom)
"""Which of the runs; seldom a name that may be free."""


@dataclass(eq=False)
class Grip:
    """A lease of each store, and the model's."""

    held: Held
    leases: dict[str, Lease]

    @property
    def run(self) -> Run:
        """The run as the model has it."""
        return self.held.run


class StoreMachine(RuleBasedStateMachine):
    """Verbs of `Checkpointer` in any order, refused ones among them."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.stores, self.count = Model({DEAD}), Stores(), 0
        self.grips: list[Grip] = []

    def teardown(self) -> None:
        """Compare all that there is."""
        try:
            for run in self.model.runs.values():
                self.compare(run, tail=False)
                self.compare(run, tail=True)
        finally:
            self.stores.drop()

    # -- beginning and taking ---------------------------------------------------------------------

    @initialize(many=small)
    def begin_some(self, many: int) -> None:
        """Begin one to four runs, so that there is something to do."""
        for run_id in ("a", "ab", "b", "c%")[: many + 1]:
            self.begin_one(a_header(run_id), a_step(0), None)

    @rule(
        run_id=names,
        owner=st.one_of(owners, st.none()),
        graph=st.sampled_from(["triage", "other"]),
        ending=maybe_ending,
        late=small,
    )
    def begin(self, run_id: str, owner: str | None, graph: str, ending: Any, late: int) -> None:
        """Begin a run."""
        created = f"2026-11-22T14:11:0{late}.000000+00:00"
        header = a_header(run_id, owner=owner, graph=graph, created_at=created)
        self.begin_one(header, a_step(0), ending)

    @rule(run_id=names, which=begun, step=numbers, is_wrong=seldom, ending=maybe_ending)
    def fork(self, run_id: str, which: Any, step: int, is_wrong: bool, ending: Any) -> None:
        """Fork a run at a step that it has, or seldom at one that it has not."""
        origin = self.name(which)
        many = self.model.runs[origin].last + 1 if origin in self.model.runs else 1
        at = many + step // 6 if is_wrong else step % many
        changed = replace(a_step(at, tasks=2), ready=(f"forked {self.next()}",))
        self.begin_one(a_fork(run_id, origin, at), changed, ending)

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
    )
    def take(self, which: Any, owner: str, given: dict[str, str]) -> None:
        """Take a run."""
        run_id = self.name(which)
        self.grasp(
            lambda: self.model.take(run_id, owner, given),
            lambda store, _: store.take(run_id, owner, **given),
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
        task = a_task(ix, update_json=f'{{"kept":{self.next()}}}', goto=goto)
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
            "memo": lambda: a_memo(step, name=f"memo {at}", value_json=str(n)),
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

    # -- dropping ---------------------------------------------------------------------------------

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
        wish = Wish(keep=keep, graph=graph, failed=failed)
        if is_meant == 0:
            foreseen = [
                set(store.prune(wish, dry_run=True).runs) for _, store in self.stores.each()
            ]
            wanted, found = self.both(
                lambda: self.model.prune(keep, graph, failed=failed),
                lambda store, _: set(store.prune(wish).runs),
            )
            assert wanted == found["memory"] == found["file"], (wanted, found)
            assert foreseen == [wanted, wanted]

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
            step = replace(a_step(last + offset), derived_json=f'{{"n":{self.next()}}}')
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
            self.compare(self.model.runs[run_id], tail=what == "tail")
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

    # -- parts ------------------------------------------------------------------------------------

    def next(self) -> int:
        """Give a number that marks what is stored."""
        self.count += 1
        return self.count

    def some(self, things: list[Any], which: int) -> Any:
        """Pick one of several; a new one more often."""
        return things[-1 - which % len(things)]

    def name(self, which: tuple[int, bool]) -> str:
        """Pick the name of a run that is there, or seldom one that may not be."""
        number, is_free = which
        there = list(self.model.runs)
        return "nothing" if is_free or not there else str(self.some(there, number))

    def grip(self, which: tuple[int, bool], among: list[Grip] | None = None) -> Grip:
        """Pick a lease that is good, or seldom any."""
        number, is_any = which
        grips = self.grips if among is None else among
        good = [grip for grip in grips if self.is_good(grip)]
        found: Grip = self.some(grips if is_any or not good else good, number)
        return found

    def is_good(self, grip: Grip, step: StepRecord | None = None) -> bool:
        """Tell whether a lease is good, and whether it may commit a step."""
        mark = self.model.mark()
        try:
            self.model.call(grip.held, None)
            if step is not None:
                self.model.commit(grip.held, step, None, None)
        except Refused:
            return False
        finally:
            self.model.reset(mark)
        return True

    def both(
        self, on_model: Callable[[], Any], on_store: Callable[[Checkpointer, str], Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Do a verb to the model and the stores; they give and refuse the same."""
        kinds: tuple[type[Exception], ...] = ()
        wanted, found = None, {}
        try:
            wanted = on_model()
        except Refused as refused:
            kinds = refused.kinds
        for name, store in self.stores.each():
            try:
                found[name] = on_store(store, name)
            except GraphflowError as error:
                if not isinstance(error, kinds):
                    raise
            else:
                assert not kinds, f"{name} should have refused it: {kinds}"
        return wanted, found

    def begin_one(
        self, header: RunHeader, step: StepRecord, ending: Any, under: Grip | None = None
    ) -> None:
        """Begin a run everywhere, under the lease of its parent if it has one."""
        snapshot = a_snapshot(step.step)
        self.grasp(
            lambda: self.model.begin(header, step, snapshot, ending, under and under.held),
            lambda store, name: store.begin(
                header, SPEC_JSON, step, snapshot, ending, under=under and under.leases[name]
            ),
        )

    def grasp(
        self, on_model: Callable[[], Held], on_store: Callable[[Checkpointer, str], Lease]
    ) -> Grip | None:
        """Do what gives leases; they are kept."""
        held, given = self.both(on_model, on_store)
        if held is None:
            return None
        for name, lease in given.items():
            assert (lease.run_id, lease.epoch) == (held.run.header.run_id, held.epoch), name
        self.grips = [*self.grips[-11:], Grip(held, given)]
        return self.grips[-1]

    def step(
        self, run: Run, offset: int, tasks: int, changes: bool, part: str
    ) -> tuple[StepRecord, Snapshot | None]:
        """Make a step: with the tasks that were kept as they are, unless it changes them."""
        number = run.last + offset
        made = {ix: a_task(ix, update_json=f'{{"n":{self.next()}}}') for ix in range(tasks)}
        made |= {} if changes else run.kept
        step = replace(
            a_step(number, joins=tasks == 1, sends=tasks == 2),
            tasks=tuple(made[ix] for ix in sorted(made)),
            derived_json=f'{{"n":{self.next()}}}',
        )
        if part == "none":
            return step, None
        since = max(run.snapshots) if part == "since" else None
        return step, a_snapshot(number, since)

    def compare(self, run: Run, *, tail: bool) -> None:
        """See that all stores read a run as the model has it."""
        wanted = expected(self.model, run, tail=tail)
        for name, store in self.stores.each():
            found = read(store.load(run.header.run_id, tail=tail))
            for kind, value in wanted.items():
                assert found[kind] == value, (name, run.header.run_id, tail, kind)
