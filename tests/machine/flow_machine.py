"""A machine that drives flows: whatever stops their runs, they do what a straight run does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from graphflow import END
from graphflow.checkpoint.protocol import Checkpointer
from graphflow.errors import RunBusyError, RunFailedError, RunNotFoundError, RunSharedError
from graphflow.flow import Flow
from graphflow.upkeep import Wish
from tests.machine.journey import FAULTS, NAMES, ON, RAN, Choice, Foreseen, foreseen, graph, told
from tests.machine.stores import Stores

__all__ = ["FlowMachine"]

OPEN = ("running", "paused", "failed")
numbers = st.integers(0, 11)
small = st.integers(0, 3)


@dataclass(eq=False)
class Known:
    """What is known of a run.

    Attributes:
        rounds: Its input.
        codes: The code that each step was written by; of the last one, the last code it met.
        forced: What was chosen after a step by a fork.
        mood: What the migration made of it, when it met the second code.
        first: The first step that it still has.
        status: How it stands.
        origin: The run that it forks, and at which step.
    """

    rounds: int
    codes: list[int]
    forced: tuple[tuple[int, Choice], ...] = ()
    mood: str = "calm"
    first: int = 0
    status: str = "running"
    origin: tuple[str, int] | None = None

    @property
    def path(self) -> Foreseen:
        """What it would do if nothing stopped it."""
        return foreseen(self.rounds, self.forced)

    @property
    def step(self) -> int:
        """Its last committed step."""
        return len(self.codes) - 1

    def commit(self, code: int) -> None:
        """Commit a step; with the first one of a later code the state was migrated before."""
        self.mood = self.mood_with(code, self.step)
        self.codes.append(code)

    def mood_with(self, code: int, step: int) -> str:
        """Say what a code finds when it goes on after a step."""
        if code > 1 and self.codes[step] == 1:
            return f"met at {self.path.values[step]['done']}"
        return self.mood

    def values(self, step: int) -> dict[str, Any]:
        """Say what the values are after a step, in the words of the code that wrote it."""
        return told(self.path.values[step], self.codes[step], self.mood)

    def go_on(self, code: int, most: int = 99) -> None:
        """Commit steps: as many as were allowed, to the next question, or to the end."""
        for _ in range(most):
            if self.path.asks(self.step + 1):
                self.status = "paused"
                return
            self.commit(code)
            if self.step == self.path.last:
                self.status = "done"
                return
        self.status = "running"


class FlowMachine(RuleBasedStateMachine):
    """Runs, stops, resumes, answers, forks, cancels, prunes, deletes, crashes and migrates."""

    def __init__(self) -> None:
        super().__init__()
        self.stores, self.known, self.count = Stores(), dict[str, Known](), 0
        self.is_file, self.code = True, 1
        self.flows: dict[tuple[int, Checkpointer], Flow[Any]] = {}
        RAN.clear()

    def teardown(self) -> None:
        """Bring every run to its end."""
        try:
            for run_id in list(self.known):
                self.finish(run_id)
        finally:
            self.stores.drop()

    @initialize(is_file=st.sampled_from([True, True, False]), rounds=small)
    def choose(self, is_file: bool, rounds: int) -> None:
        """Take the file or the memory, and begin a run."""
        self.is_file = is_file
        self.start(rounds)

    @rule(rounds=small)
    def start(self, rounds: int) -> None:
        """Commit the input of a run, and let go of it."""
        run_id = self.next()
        self.known[run_id] = Known(rounds + 1, [self.code])
        self.flow.start({"rounds": rounds + 1}, run_id=run_id)
        self.look(run_id)

    @precondition(lambda self: self.open)
    @rule(which=numbers, steps=st.integers(1, 4))
    def advance(self, which: int, steps: int) -> None:
        """Run a few steps of a run."""
        run_id = self.some(self.open, which)
        self.flow.advance(run_id, steps=steps)
        self.known[run_id].go_on(self.code, steps)
        self.look(run_id)

    @precondition(lambda self: self.known)
    @rule(which=numbers)
    def resume(self, which: int) -> None:
        """Go on with a run as far as it goes."""
        run_id = self.some(list(self.known), which)
        known = self.known[run_id]
        if known.status in OPEN:
            self.flow.resume(run_id)
            known.go_on(self.code)
        self.look(run_id)

    @precondition(lambda self: self.before_a_pair)
    @rule(which=numbers)
    def stumble(self, which: int) -> None:
        """One of two tasks side by side fails; what the other came to is kept."""
        run_id = self.some(self.before_a_pair, which)
        FAULTS.add("east")
        with pytest.raises(RunFailedError, match="east stumbled"):
            self.flow.advance(run_id, steps=1)
        self.known[run_id].status = "failed"
        self.look(run_id)

    @precondition(lambda self: self.code < max(NAMES))
    @rule(is_meant=small, more=st.sampled_from([1, 1, 2]))
    def change_the_code(self, is_meant: int, more: int) -> None:
        """From now on all is done by later code; not too often. What was committed stays."""
        if is_meant == 0:
            self.code = min(self.code + more, max(NAMES))
            for run_id in self.known:
                self.look(run_id)

    @precondition(lambda self: self.asking)
    @rule(which=numbers, goes_on=st.booleans())
    def answer(self, which: int, goes_on: bool) -> None:
        """Answer a question; the run goes on, or somebody resumes it later."""
        run_id = self.some(self.asking, which)
        self.give_answer(run_id, goes_on=goes_on)
        if not goes_on:
            self.flow.resume(run_id)
        self.look(run_id)

    @precondition(lambda self: self.known)
    @rule(which=numbers, at=numbers, choice=st.sampled_from([None, None, (), ("ask",), ON]))
    def fork(self, which: int, at: int, choice: Choice | None) -> None:
        """Fork a run at any step that it has and can be made again; of others it is refused."""
        origin = self.some(list(self.known), which)
        known = self.known[origin]
        step = at % (known.step + 1)
        if step <= known.first and known.first:
            with pytest.raises(RunNotFoundError, match="pruned"):
                self.flow.fork(origin, step)
            return
        forced, choose = tuple(one for one in known.forced if one[0] <= step), None
        if choice is not None and known.path.nodes[step] == ["both"]:
            forced += ((step, choice),)
            choose = {"onward": [NAMES[self.code].get(role, role) for role in choice] or END}
        run = self.flow.fork(origin, step, choose=choose)
        fork = Known(known.rounds, [*known.codes[:step], self.code], forced, first=known.first)
        fork.mood, fork.origin = known.mood_with(self.code, step), (origin, step)
        self.known[run.run_id] = fork
        if step < fork.path.last:
            fork.go_on(self.code)
        else:
            fork.status = "done"
        self.look(run.run_id)

    @precondition(lambda self: self.open)
    @rule(which=numbers, is_meant=small)
    def cancel(self, which: int, is_meant: int) -> None:
        """End a run for good; not too often."""
        run_id = self.some(self.open, which)
        if is_meant == 0:
            self.flow.cancel(run_id)
            self.known[run_id].status = "cancelled"
            self.look(run_id)

    @rule(steps=small, is_meant=small)
    def cut(self, steps: int, is_meant: int) -> None:
        """Drop the oldest steps of all runs: each keeps its newest, and what its forks share."""
        if is_meant == 0:
            self.flow.store.prune(Wish(steps=steps))
            for run_id, known in self.known.items():
                first = self.flow.get(run_id).steps[0].step
                assert first <= max(known.first, known.step - steps), run_id
                known.first = first
                self.look(run_id)

    @precondition(lambda self: self.known)
    @rule(which=numbers, is_meant=small)
    def delete(self, which: int, is_meant: int) -> None:
        """Delete a run; not while it has forks."""
        run_id = self.some(list(self.known), which)
        if is_meant:
            return
        if any(known.origin and known.origin[0] == run_id for known in self.known.values()):
            with pytest.raises((RunSharedError, RunBusyError)):
                self.flow.store.delete(run_id)
            self.look(run_id)
        else:
            self.flow.store.delete(run_id)
            del self.known[run_id]
            with pytest.raises(RunNotFoundError):
                self.flow.get(run_id)

    @rule(how=small)
    def lose_all_processes(self, how: int) -> None:
        """Go on with the file as it lies there, or as it is after it was closed."""
        if how < 3:
            self.flows.clear()
        if how < 2:
            self.stores.crash()
        elif how == 2:
            self.stores.reopen()

    # -- parts ------------------------------------------------------------------------------------

    @property
    def flow(self) -> Flow[Any]:
        """Give the code of now with the store as it is now; of the file one of two connections."""
        _, store = self.stores.each()[self.is_file]
        found = self.flows.get((self.code, store))
        if found is None:
            found = self.flows[self.code, store] = graph(self.code).compile(store)
        return found

    @property
    def open(self) -> list[str]:
        """The runs that can go on."""
        return [n for n, known in self.known.items() if known.status in OPEN]

    @property
    def before_a_pair(self) -> list[str]:
        """The runs whose next step has two tasks."""
        known = self.known
        return [n for n in self.open if known[n].path.nodes[known[n].step + 1] == sorted(ON)]

    @property
    def asking(self) -> list[str]:
        """The runs that wait for an answer."""
        return [n for n, known in self.known.items() if known.status == "paused"]

    def next(self) -> str:
        """Give a new run id."""
        self.count += 1
        return f"run-{self.count}"

    def some(self, names: list[str], which: int) -> str:
        """Pick one of several."""
        return names[-1 - which % len(names)]

    def give_answer(self, run_id: str, *, goes_on: bool) -> None:
        """Answer the open question of a run."""
        known = self.known[run_id]
        self.flow.answer(run_id, f"answer {known.step + 1}", resume=goes_on)
        known.commit(self.code)  # the question's own step
        known.go_on(self.code)

    def finish(self, run_id: str) -> None:
        """Bring a run to its end."""
        known = self.known[run_id]
        while known.status in OPEN:
            if known.status == "paused":
                self.give_answer(run_id, goes_on=True)
            else:
                self.flow.resume(run_id)
                known.go_on(self.code)
        self.look(run_id)

    def look(self, run_id: str) -> None:
        """See that a run has done what a straight run does, as far as it has come."""
        known, run = self.known[run_id], self.flow.get(run_id)
        assert run.status == known.status, run_id
        assert [step.step for step in run.steps] == list(range(known.first, known.step + 1))
        for step in run.steps:
            names = NAMES[known.codes[step.step]]
            nodes = sorted(names.get(role, role) for role in known.path.nodes[step.step])
            assert sorted(task.node for task in step.tasks) == nodes, (run_id, step.step)
        for step in {known.first, known.step}:
            assert run.values_at(step) == known.values(step), (run_id, step)
        assert all(times == 1 for times in RAN.values()), RAN
