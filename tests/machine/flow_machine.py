"""A machine that drives flows: whatever stops their runs, they do what a straight run does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from graphflow.errors import RunBusyError, RunNotFoundError, RunSharedError
from graphflow.flow import Flow
from graphflow.upkeep import Wish
from tests.machine.journey import Straight, graph, straight
from tests.machine.stores import Stores

__all__ = ["FlowMachine"]

numbers = st.integers(0, 11)
small = st.integers(0, 3)


@dataclass(eq=False)
class Known:
    """What is known of a run.

    Attributes:
        path: What it would do if nothing stopped it.
        step: Its last committed step.
        first: The first step that it still has.
        status: How it stands.
        origin: The run that it forks, and at which step.
    """

    path: Straight
    step: int = 0
    first: int = 0
    status: str = "running"
    origin: tuple[str, int] | None = None

    def go_on(self, most: int) -> None:
        """Commit steps: as many as were allowed, to the next question, or to the end."""
        for _ in range(most):
            if self.path.asks(self.step + 1):
                self.status = "paused"
                return
            self.step += 1
            if self.step == self.path.last:
                self.status = "done"
                return
        self.status = "running"


class FlowMachine(RuleBasedStateMachine):
    """Runs, stops, resumes, answers, forks, cancels, prunes, deletes and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.stores, self.known, self.count = Stores(), dict[str, Known](), 0
        self.is_file = True

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
        self.known[run_id] = Known(straight(rounds + 1))
        self.flow.start({"rounds": rounds + 1}, run_id=run_id)
        self.look(run_id)

    @precondition(lambda self: self.open)
    @rule(which=numbers, steps=st.integers(1, 4))
    def advance(self, which: int, steps: int) -> None:
        """Run a few steps of a run."""
        run_id = self.some(self.open, which)
        self.flow.advance(run_id, steps=steps)
        self.known[run_id].go_on(steps)
        self.look(run_id)

    @precondition(lambda self: self.known)
    @rule(which=numbers)
    def resume(self, which: int) -> None:
        """Go on with a run as far as it goes."""
        run_id = self.some(list(self.known), which)
        known = self.known[run_id]
        if known.status in ("running", "paused"):
            self.flow.resume(run_id)
            known.go_on(99)
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
    @rule(which=numbers, at=numbers)
    def fork(self, which: int, at: int) -> None:
        """Fork a run at any step that it has and can be made again; of others it is refused."""
        origin = self.some(list(self.known), which)
        known = self.known[origin]
        step = at % (known.step + 1)
        if step <= known.first and known.first:
            with pytest.raises(RunNotFoundError, match="pruned"):
                self.flow.fork(origin, step)
            return
        run = self.flow.fork(origin, step)
        fork = Known(known.path, step, known.first, origin=(origin, step))
        self.known[run.run_id] = fork
        if step < known.path.last:
            fork.go_on(99)
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
        if how < 2:
            self.stores.crash()
        elif how == 2:
            self.stores.reopen()

    # -- parts ------------------------------------------------------------------------------------

    @property
    def flow(self) -> Flow[Any]:
        """Compile the graph with the store as it is now."""
        _, store = self.stores.each()[self.is_file]
        return graph().compile(store)

    @property
    def open(self) -> list[str]:
        """The runs that can go on."""
        return [n for n, known in self.known.items() if known.status in ("running", "paused")]

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
        known.step += 1  # the question's own step
        known.go_on(99)

    def finish(self, run_id: str) -> None:
        """Bring a run to its end."""
        known = self.known[run_id]
        while known.status in ("running", "paused"):
            if known.status == "paused":
                self.give_answer(run_id, goes_on=True)
            else:
                self.flow.resume(run_id)
                known.go_on(99)
        self.look(run_id)

    def look(self, run_id: str) -> None:
        """See that a run has done what a straight run does, as far as it has come."""
        known, run = self.known[run_id], self.flow.get(run_id)
        assert run.status == known.status, run_id
        assert [step.step for step in run.steps] == list(range(known.first, known.step + 1))
        for step in run.steps:
            assert sorted(task.node for task in step.tasks) == known.path.nodes[step.step]
        for step in {known.first, known.step}:
            assert run.state_at(step).model_dump() == known.path.values[step], (run_id, step)
