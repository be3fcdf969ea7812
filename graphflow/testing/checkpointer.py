"""What every checkpointer promises, as tests that a store of one's own can be held against.

```python
from graphflow.testing.checkpointer import CheckpointerContract


class TestMine(CheckpointerContract):
    @pytest.fixture
    def make_checkpointer(self, tmp_path):
        return lambda: MyCheckpointer(tmp_path / "runs")
```
"""

# ruff: noqa: S101 - tests are made of assert

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Thread

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer
from graphflow.errors import (
    InputError,
    RunExistsError,
    RunNotFoundError,
)
from graphflow.records import Ending
from graphflow.testing.adoptions import AdoptionContract
from graphflow.testing.families import FamilyContract
from graphflow.testing.forks import ForkContract
from graphflow.testing.leases import LeaseContract, begin_run
from graphflow.testing.open_steps import OpenStepContract
from graphflow.testing.processes import ended_process, living_process
from graphflow.testing.records import (
    SPEC_JSON,
    a_call,
    a_failure,
    a_goto,
    a_header,
    a_snapshot,
    a_step,
    a_task,
    facts,
)
from graphflow.testing.together import TogetherContract
from graphflow.testing.upkeep import UpkeepContract

__all__ = ["CheckpointerContract", "MakeCheckpointer"]

MakeCheckpointer = Callable[[], Checkpointer]


class CheckpointerContract(
    LeaseContract,
    OpenStepContract,
    FamilyContract,
    ForkContract,
    AdoptionContract,
    TogetherContract,
    UpkeepContract,
):
    """The promises of `Checkpointer`; a subclass gives the fixture `make_checkpointer`.

    The fixture returns a function that opens the one store of the test, empty at first, as often
    as it is called. (A store that only lives in memory returns the same object each time.)
    """

    @pytest.fixture
    def make_checkpointer(self) -> MakeCheckpointer:
        """Open the store of this test; to be overridden."""
        raise NotImplementedError("give your class a fixture `make_checkpointer`")

    @pytest.fixture
    def store(self, make_checkpointer: MakeCheckpointer) -> Iterator[Checkpointer]:
        """Open the store, and close it after the test."""
        opened = make_checkpointer()
        yield opened
        opened.close()

    @pytest.fixture
    def other(self) -> Iterator[str]:
        """Name a process that lives as long as the test."""
        with living_process() as name:
            yield name

    @pytest.fixture
    def dead(self) -> str:
        """Name a process that has ended."""
        return ended_process()

    # -- begin ------------------------------------------------------------------------------

    def test_begin_stores_the_run(self, store: Checkpointer) -> None:
        """A run that was begun is read back as it was given."""
        header = a_header(tags_json='{"who":"me"}', thread_id="t")
        lease = store.begin(header, SPEC_JSON, a_step(0), a_snapshot(0), None)
        records = store.load("run-1")
        assert (lease.run_id, lease.epoch) == ("run-1", 1)
        assert records.header == replace(header, step=0)
        assert records.spec == {"name": "triage"}
        assert facts(records.steps) == facts([a_step(0)])
        assert facts(records.snapshots) == facts([a_snapshot(0)])
        assert [*records.kept, *records.attempts, *records.calls] == []

    def test_begin_with_an_ending(self, store: Checkpointer) -> None:
        """A run may be over with its step 0."""
        ending = Ending("failed", "task", "ValueError", "no")
        store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), ending)
        header = store.load("run-1").header
        assert (header.status, header.reason, header.owner) == ("failed", "task", None)
        assert (header.error_type, header.error) == ("ValueError", "no")
        assert header.ended_at is not None

    def test_an_id_is_taken_once(self, store: Checkpointer) -> None:
        """A second run of one id is refused and changes nothing."""
        begin_run(store)
        with pytest.raises(RunExistsError, match="run-1"):
            begin_run(store, input_json='{"text":"other"}')
        assert store.load("run-1").header.input_json == a_header().input_json

    # -- commit -----------------------------------------------------------------------------

    def test_steps_are_read_back(self, store: Checkpointer) -> None:
        """All steps are read back in order, with tasks, decisions, joins and snapshots."""
        lease = begin_run(store)
        steps = [a_step(n, tasks=n, joins=n == 2) for n in (1, 2, 3)]
        for step in steps:
            store.commit(lease, step, a_snapshot(2) if step.step == 2 else None, None)
        records = store.load("run-1")
        assert facts(records.steps[1:]) == facts(steps)
        assert facts(records.snapshots) == facts([a_snapshot(0), a_snapshot(2)])
        assert records.header.step == 3
        assert records.header.status == "running"

    def test_commit_with_an_ending(self, store: Checkpointer) -> None:
        """The last step and the end of the run are one commit."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, Ending("done"))
        header = store.load("run-1").header
        assert (header.status, header.step, header.owner) == ("done", 1, None)
        assert header.ended_at is not None

    def test_text_of_any_kind_survives(self, store: Checkpointer) -> None:
        """Control characters, quotes, emoji and brackets come back as they were."""
        odd = "a\"b\\c\n\t\x00\x1f\x7f \u2028 \U0001f600 [é] 'x'"
        step = a_step(1)
        (decision,) = step.decisions
        step.decisions = (decision._replace(reason=odd, chosen=("[draft]",), answer=odd),)
        name = odd.replace("[é]", "é")  # in a key brackets are around the number of an item
        step.tasks = (a_task(0, key=name, node=name),)
        lease = begin_run(store)
        store.commit(lease, step, None, None)
        assert facts(store.load("run-1").steps[1:]) == facts([step])

    def test_half_a_surrogate_pair_loses_nothing(self, store: Checkpointer) -> None:
        """Text that UTF-8 cannot hold, as error messages may be, does not stop a commit."""
        step = a_step(1)
        (decision,) = step.decisions
        step.decisions = (decision._replace(reason="bad \udc80 byte"),)
        lease = begin_run(store)
        store.fail(lease, a_failure(1, error="bad \udc80 byte"))
        store.commit(lease, step, None, Ending("failed", "task", "OSError", "bad \udc80 byte"))
        records = store.load("run-1")
        assert records.steps[1].decisions[0].reason.startswith("bad ")
        assert records.attempts[0].error.endswith(" byte")
        assert (records.header.error or "").startswith("bad ")

    def test_chosen_none_and_several(self, store: Checkpointer) -> None:
        """A decision may choose no target or several."""
        step = a_step(1)
        (decision,) = step.decisions
        chosen = [(), ("draft",), ("draft", "done")]
        step.decisions = tuple(decision._replace(chosen=names) for names in chosen)
        lease = begin_run(store)
        store.commit(lease, step, None, None)
        assert [d.chosen for d in store.load("run-1").steps[1].decisions] == chosen

    def test_lists_that_were_read_are_the_readers(self, store: Checkpointer) -> None:
        """Changing the lists or the header of what was read changes nothing stored."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), a_snapshot(1), None)
        store.keep(lease, 2, a_task(0))
        store.fail(lease, a_failure(2))
        expected = facts(store.load("run-1"))
        for tail in (False, True):
            read = store.load("run-1", tail=tail)
            read.header.run_id = "changed"
            for records in (read.steps, read.kept, read.attempts, read.snapshots):
                records.clear()
        assert facts(store.load("run-1")) == expected

    def test_a_time_is_given_to_a_step_without(self, store: Checkpointer) -> None:
        """A step that comes without a time gets that of its commit."""
        lease = begin_run(store, first=replace(a_step(0), committed_at=""))
        store.commit(lease, replace(a_step(1), committed_at=""), None, None)
        times = [step.committed_at for step in store.load("run-1").steps]
        assert all(time > "2020" for time in times)

    def test_a_committed_task_has_no_decision_of_its_own(self, store: Checkpointer) -> None:
        """The decision that a task made itself is among the step's once that is committed."""
        step = a_step(1)
        step.tasks = (a_task(0, goto=a_goto()),)
        step.decisions = (a_goto(),)
        lease = begin_run(store)
        store.commit(lease, step, a_snapshot(1), None)
        for tail in (False, True):
            read = store.load("run-1", tail=tail).steps[-1]
            assert read.tasks[0].goto is None
            assert facts(read.decisions) == facts([a_goto()])

    # -- open steps -------------------------------------------------------------------------

    def test_a_kept_task_outlives_its_process(
        self, make_checkpointer: MakeCheckpointer, dead: str
    ) -> None:
        """Tasks that were kept are there for who takes the run, and are committed once."""
        first = make_checkpointer()
        lease = begin_run(first, owner=dead)
        kept = a_task(1, goto=a_goto())
        first.keep(lease, 1, kept)
        first.close()
        store = make_checkpointer()
        assert facts(store.load("run-1", tail=True).kept) == facts([kept])
        lease = store.take("run-1", this_process())
        step = a_step(1, tasks=3)
        step.tasks = (step.tasks[0], kept, step.tasks[2])
        store.commit(lease, step, None, None)
        records = store.load("run-1")
        assert records.kept == []
        # The decision that the task made is among the step's now
        assert facts(records.steps[1].tasks) == facts(
            [step.tasks[0], replace(kept, goto=None), step.tasks[2]]
        )
        store.commit(lease, a_step(2), None, None)
        store.close()

    def test_what_a_step_commits_counts(self, store: Checkpointer) -> None:
        """A kept task that is committed as another, or not at all, is what was committed."""
        lease = begin_run(store)
        for step in (1, 2):
            for ix in range(3):
                store.keep(lease, step, a_task(ix, update_json='{"kept":1}', goto=a_goto()))
            done = a_step(step, tasks=2)
            done.tasks = (done.tasks[0], a_task(1, update_json='{"kept":1}'))
            if step == 2:
                lease = store.take("run-1", this_process())
            store.commit(lease, done, None, None)
            assert facts(store.load("run-1").steps[step]) == facts(done)

    def test_failures_and_calls_are_kept(self, store: Checkpointer) -> None:
        """Failed attempts and model calls are read back, whether their step closes or not."""
        lease = begin_run(store)
        for step in (1, 2):
            store.fail(lease, a_failure(step))
            store.call(lease, a_call(step))
            store.call(lease, a_call(step, response_json=None, error="timeout"))
            if step == 1:
                store.commit(lease, a_step(1), None, None)
        records = store.load("run-1")
        assert records.attempts == [a_failure(1), a_failure(2)]
        assert [call.step for call in records.calls] == [1, 1, 2, 2]
        assert records.calls[0] == a_call(1)
        assert records.calls[3] == a_call(2, response_json=None, error="timeout")

    def test_the_tail_is_what_it_takes_to_go_on(self, store: Checkpointer) -> None:
        """The tail has the newest snapshot, the steps from its own on, and the open step."""
        lease = begin_run(store)
        for step in range(1, 6):
            store.fail(lease, a_failure(step))
            store.call(lease, a_call(step))
            store.commit(lease, a_step(step), a_snapshot(3) if step == 3 else None, None)
        store.keep(lease, 6, a_task(0))
        store.fail(lease, a_failure(6, key="other"))
        tail = store.load("run-1", tail=True)
        assert [step.step for step in tail.steps] == [3, 4, 5]
        assert facts(tail.steps) == facts([a_step(n) for n in (3, 4, 5)])
        assert facts(tail.snapshots) == facts([a_snapshot(3)])
        assert facts(tail.kept) == facts([a_task(0)])
        assert tail.attempts == [a_failure(6, key="other")]
        assert tail.calls == []
        assert tail.header == store.load("run-1").header

    def test_a_snapshot_may_continue_another(self, store: Checkpointer) -> None:
        """The tail begins with the newest whole snapshot, and has all that continue it."""
        lease = begin_run(store)
        parts = {1: a_snapshot(1, since=0), 2: a_snapshot(2), 3: a_snapshot(3, since=2)}
        parts[5] = a_snapshot(5, since=3)
        for step in range(1, 7):
            store.commit(lease, a_step(step), parts.get(step), None)
        tail = store.load("run-1", tail=True)
        assert [step.step for step in tail.steps] == [5, 6]
        assert facts(tail.snapshots) == facts([parts[2], parts[3], parts[5]])
        assert facts(store.load("run-1").snapshots) == facts([a_snapshot(0), *parts.values()])
        store.commit(lease, a_step(7), a_snapshot(7), None)
        assert facts(store.load("run-1", tail=True).snapshots) == facts([a_snapshot(7)])

    # -- ending and taking ------------------------------------------------------------------

    def test_runs_are_listed_newest_first(self, store: Checkpointer) -> None:
        """The run begun last is listed first, by status and graph, whatever the clock said."""
        for n in range(4):
            created = f"2026-11-22T14:11:0{n % 3}.000000+00:00"
            ending = Ending("done") if n % 2 else None
            header = a_header(f"run-{n}", created_at=created, graph="even" if n < 2 else "late")
            store.begin(header, SPEC_JSON, a_step(0), a_snapshot(0), ending)
        assert [h.run_id for h in store.runs()] == ["run-3", "run-2", "run-1", "run-0"]
        assert [h.run_id for h in store.runs(limit=2)] == ["run-3", "run-2"]
        assert [h.run_id for h in store.runs(status="done")] == ["run-3", "run-1"]
        assert [h.run_id for h in store.runs(status="running", limit=1)] == ["run-2"]
        assert [h.run_id for h in store.runs(graph="even")] == ["run-1", "run-0"]
        assert store.runs(status="cancelled") == []

    def test_a_unique_prefix_finds_a_run(self, store: Checkpointer) -> None:
        """A prefix finds its run; an ambiguous one is refused with the candidates."""
        for run_id in ("abc", "abd", "abde", "x%_"):
            begin_run(store, run_id=run_id)
        assert store.find("abc") == "abc"
        assert store.find("x") == "x%_"
        assert store.find("abd") == "abd"  # a whole id, though another begins with it
        with pytest.raises(RunNotFoundError, match="abc, abd, abde"):
            store.find("ab")
        for nothing in ("zz", "%", "ab_"):
            with pytest.raises(RunNotFoundError, match="no run"):
                store.find(nothing)

    def test_an_empty_prefix_finds_no_run(self, store: Checkpointer) -> None:
        """Every id begins with it: where there is one run, an unset variable would name that."""
        begin_run(store, run_id="only")
        with pytest.raises(InputError, match="no run id"):
            store.find("")

    # -- the store itself -------------------------------------------------------------------

    def test_threads_advance_runs_side_by_side(self, store: Checkpointer) -> None:
        """Runs that threads advance at the same time do not mix."""
        failures: list[BaseException] = []

        def advance(run_id: str) -> None:
            try:
                lease = begin_run(store, run_id=run_id)
                for step in range(1, 11):
                    store.commit(lease, a_step(step), None, Ending("done") if step == 10 else None)
            except BaseException as error:  # noqa: BLE001 - the test shows it
                failures.append(error)

        threads = [Thread(target=advance, args=(f"run-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        for n in range(8):
            records = store.load(f"run-{n}")
            assert facts(records.steps[1:]) == facts([a_step(step) for step in range(1, 11)])
            assert records.header.status == "done"

    def test_closing_twice_is_harmless(self, make_checkpointer: MakeCheckpointer) -> None:
        """A store can be closed twice, and opened again."""
        store = make_checkpointer()
        begin_run(store)
        store.close()
        store.close()
        again = make_checkpointer()
        assert again.load("run-1").header.run_id == "run-1"
        again.close()
