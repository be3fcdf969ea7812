"""What drives the model and the stores: the same verb for all of them, with leases of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.errors import GraphflowError
from graphflow.history import States, values_now
from graphflow.records import RunHeader, Snapshot, StepRecord
from graphflow.testing.records import a_header, a_step, a_task
from tests.machine.adding import SPECS, handed_on, snapshot_of, values_after, write
from tests.machine.model import Held, Model, Refused, Run
from tests.machine.reading import expected, read
from tests.machine.stores import Stores

__all__ = [
    "DEAD",
    "ELSEWHERE",
    "HERE",
    "Grip",
    "StoreDriver",
    "begun",
    "leases",
    "numbers",
    "seldom",
    "small",
]

HERE = this_process()
DEAD = f"{HERE.partition(':')[0]}:another-boot:1:1"
ELSEWHERE = "another-host:boot:1:1"

numbers = st.integers(0, 11)
small = st.integers(0, 3)
seldom = numbers.map(lambda n: n == 11)
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


class StoreDriver(RuleBasedStateMachine):
    """A model, the stores, and the leases that were given."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.stores, self.count = Model({DEAD}), Stores(), 0
        self.grips: list[Grip] = []

    def teardown(self) -> None:
        """Compare all that there is."""
        try:
            self.compare_all(dict(self.stores.each()))
        finally:
            self.stores.drop()

    @initialize(many=small)
    def begin_some(self, many: int) -> None:
        """Begin one to four runs, so that there is something to do."""
        for run_id in ("a", "ab", "b", "c%")[: many + 1]:
            self.begin_one(a_header(run_id), a_step(0), None)

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
        values = {"text": "é", "notes": [self.next()], "n": 0, "kept": 0}
        snapshot = Snapshot(step.step, write(values), write({"since": step.step}))
        spec = SPECS[header.graph_version]
        self.grasp(
            lambda: self.model.begin(
                header, spec, step, snapshot, ending=ending, under=under and under.held
            ),
            lambda store, name: store.begin(
                header, spec, step, snapshot, ending, under=under and under.leases[name]
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
        number, n = run.last + offset, self.next()
        made = {ix: a_task(ix, update_json=f'{{"notes":[{n}],"n":{ix}}}') for ix in range(tasks)}
        made |= {} if changes else run.kept
        step = replace(
            a_step(number, joins=tasks == 1, sends=tasks == 2),
            tasks=tuple(made[ix] for ix in sorted(made)),
            derived_json=f'{{"text":"{n}"}}',
        )
        if part == "none":
            return step, None
        return step, snapshot_of(run, step, is_whole=part == "whole")

    def compare_all(self, stores: dict[str, Checkpointer]) -> None:
        """See that stores read all runs as the model has them."""
        for run in self.model.runs.values():
            self.compare(run, stores, tail=False)
            self.compare(run, stores, tail=True)

    def compare(self, run: Run, stores: dict[str, Checkpointer], *, tail: bool) -> None:
        """See that stores read a run as the model has it, and what it adds up to."""
        wanted, run_id = expected(self.model, run, tail=tail), run.header.run_id
        for name, store in stores.items():
            records = store.load(run_id, tail=tail)
            found = read(records)
            for kind, value in wanted.items():
                assert found[kind] == value, (name, run_id, tail, kind)
            states = States(records)
            for step in {records.steps[0].step, records.steps[-1].step}:
                assert states.go_to(step) == values_after(run, step), (name, run_id, tail, step)
            assert values_now(records) == handed_on(run, run.last), (name, run_id, tail)
