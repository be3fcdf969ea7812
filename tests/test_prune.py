"""Runs that were pruned: they are resumed, forked, read, drawn and copied as before."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel

from graphflow import END, START, Budget, Limits, StateGraph, append
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import DefinitionError, RunFailedError, RunNotFoundError, RunSharedError
from graphflow.history import values_at
from graphflow.run import Run
from graphflow.upkeep import Wish


class Inner(BaseModel):
    """The state of a subgraph that counts by itself."""

    n: int = 0
    left: int = 4


class State(BaseModel):
    """A state that grows, of a loop that asks at its end."""

    n: int = 0
    upto: int = 12
    notes: Annotated[list[str], append] = []
    sums: dict[str, int] = {}
    inner: int = 0
    reply: str = ""


def counting(hook=None):
    """Make a graph that loops, runs a subgraph in each round, and asks a question at its end."""
    inner = StateGraph(Inner, name="inner")
    inner.add_node("dig", lambda state: {"n": state.n + 1, "left": state.left - 1})
    inner.add_edge(START, "dig")
    inner.add_conditional_edges("dig", lambda state: "dig" if state.left else END, ["dig", END])
    graph = StateGraph(State, name="counting")

    @graph.node
    def work(state: State):
        if hook is not None:
            hook(state)
        note = f"note {state.n} " + "x" * (2000 if state.n % 3 else 5000)
        return {"n": state.n + 1, "notes": [note], "sums": {**state.sums, str(state.n): state.n}}

    graph.add_node("sub", inner, input={"n": "n"}, output={"inner": "n"})

    @graph.decision("sub")
    def more(state: State) -> Literal["work", "ask"]:
        return "work" if state.n < state.upto else "ask"

    graph.add_question("ask", prompt="Good?", into="reply")
    graph.add_edge(START, "work")
    graph.add_edge("work", "sub")
    graph.add_edge("ask", END)
    return graph


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path):
    """Each of the stores."""
    if request.param == "memory":
        yield MemoryCheckpointer()
        return
    opened = SqliteCheckpointer(tmp_path / "runs.db", durability="normal")
    yield opened
    opened.close()


LIMITS = Limits(steps=500, visits=500)


def told(run):
    """Say what a run did, without times."""
    return [
        (s.step, [t.node for t in s.tasks], s.ready, [d.chosen for d in s.decisions])
        for s in run.steps
    ]


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_a_pruned_run_goes_on_the_same_way(store, steps):
    """A paused run without its oldest steps takes the same path to the same state."""
    flow = counting().compile(store, limits=LIMITS)
    plain, cut = (flow.run({}, run_id=name) for name in ("plain", "cut"))
    assert plain.status == cut.status == "paused"
    before = {s.step: cut.values_at(s.step) for s in cut.steps}
    pruned = flow.prune(steps=steps, dry_run=True)
    assert pruned == flow.prune(steps=steps)
    assert pruned.cut["cut"] == pruned.cut["plain"] == 24 - steps
    run = flow.get("cut")
    assert [s.step for s in run.steps] == list(range(24 - steps, 25))
    assert all(run.values_at(s.step) == before[s.step] for s in run.steps)
    done = flow.answer("cut", "yes")
    assert done.status == "done"
    assert done.state.reply == "yes"
    assert done.state.notes == plain.state.notes
    assert told(done)[:-1] == told(plain)[24 - steps :]
    assert list(store.verify()) == []


def test_what_was_pruned_says_so(store):
    """State, difference and fork of a step that is gone: an error says so, and what is left."""
    flow = counting().compile(store, limits=LIMITS)
    flow.run({}, run_id="run")
    flow.prune(steps=3)
    run = flow.get("run")
    assert run.state_at(21).n == 11
    assert run.diff(22)["inner"] == (14, 15)
    for ask in (lambda: run.state_at(20), lambda: run.values_at(0), lambda: run.diff(21)):
        with pytest.raises(RunNotFoundError, match="those before 21 were pruned; it has 21 to 24"):
            ask()
    for step in (0, 5, 21):
        with pytest.raises(RunNotFoundError, match=r"pruned\. It can be forked from step 22 on"):
            flow.fork("run", step, update={"n": 1})
    with pytest.raises(RunNotFoundError, match="no step 99"):
        run.state_at(99)


def test_what_was_pruned_is_not_called_untaken(store):
    """Whether an arrow ran that is in no step that is left cannot be told; what is left is."""
    flow = counting().compile(store, limits=LIMITS)
    run = flow.run({}, run_id="run")
    ways = [(a.source, a.target) for step in run.steps for a in step.arrows]
    flow.prune(steps=3)
    run = flow.get("run")
    left = {(a.source, a.target) for step in run.steps for a in step.arrows}
    assert left < set(ways)
    assert all(run.took(*way) for way in left)
    for way in set(ways) - left:
        with pytest.raises(RunNotFoundError, match=r"since step 21; .* cannot be told"):
            run.took(*way)
    assert "\nnot taken since step 21:" in str(run)
    assert "not taken:" not in str(run)
    tips = [arrow.tooltip for arrow in run.draw().picture.arrows]
    assert any(tip.endswith("not taken since step 21") for tip in tips)


def test_forks_of_what_is_left_are_the_same(store):
    """Each step that was asked to stay can be forked, and gives what it gave before."""
    flow = counting().compile(store, limits=LIMITS)
    flow.run({}, run_id="run")
    before = {step: flow.fork("run", step, update={"notes": ["changed"]}) for step in (22, 23, 24)}
    expected = {step: (told(run)[22:], run.values) for step, run in before.items()}
    for run in before.values():
        flow.delete(run.run_id)
    flow.prune(steps=3)
    for step, was in expected.items():
        run = flow.fork("run", step, update={"notes": ["changed"]})
        assert (told(run)[1:], run.values) == was
        assert flow.get(run.run_id).steps[0].step == 21


def test_a_fork_keeps_its_past(store):
    """What a fork shares stays while it needs it: it is read and forked again at its first step."""
    flow = counting().compile(store, limits=LIMITS)
    flow.run({}, run_id="run")
    fork = flow.fork("run", 20, update={"upto": 24})
    flow.answer(fork.run_id, "yes")
    flow.answer("run", "yes")
    whole = {s.step: flow.get(fork.run_id).values_at(s.step) for s in flow.get(fork.run_id).steps}
    with pytest.raises(RunSharedError, match=fork.run_id):
        flow.delete("run")
    assert flow.prune(keep=0, older_than=timedelta(days=1)).runs == ()
    assert flow.prune(steps=50).cut == {}
    flow.prune(steps=40)
    found = flow.get(fork.run_id)
    assert all(found.values_at(s.step) == whole[s.step] for s in found.steps)
    again = flow.fork(fork.run_id, 20, update={"upto": 0})
    assert again.state.upto == 0
    assert flow.prune(steps=2).cut[fork.run_id] == 47
    held = flow.prune(keep=0, dry_run=True)
    assert held.runs == ()  # the last fork is open
    assert held.held == ("run", fork.run_id)
    assert flow.prune(keep=0) == held
    flow.cancel(again.run_id)
    gone = flow.prune(keep=0)
    assert (gone.runs, gone.held) == ((again.run_id, fork.run_id, "run"), ())


def test_a_prune_does_not_disturb_who_runs(store):
    """A node that has its own run pruned in each step: the run goes on, snapshots and all."""
    most = []

    def hook(state):
        store.prune(Wish(steps=1))
        records = store.load("pruned", tail=False) if state.n else None
        most.append(len(records.steps) if records else 0)

    plain = counting().compile(MemoryCheckpointer(), limits=LIMITS).run({"upto": 60}, run_id="p")
    flow = counting(hook).compile(store, limits=LIMITS)
    run = flow.run({"upto": 60}, run_id="pruned")
    assert run.status == "paused"
    assert run.values == plain.values
    assert flow.get("pruned").values == plain.values
    assert max(most) < 80  # of 120: those since its newest snapshot
    assert list(store.verify()) == []
    done = flow.answer("pruned", "yes")
    assert done.state.reply == "yes"


def test_a_pruned_run_is_drawn_and_printed(store):
    """Whatever is shown of a run works without its oldest steps, and says that they are gone."""
    flow = counting().compile(store, limits=LIMITS)
    flow.run({}, run_id="run")
    flow.prune(steps=3)
    run = flow.get("run")
    assert "24 steps, those before 21 pruned" in str(run)
    assert "flowchart" in run.draw().mermaid
    assert run.path[-1] == "sub"
    assert run.open == {"ask": "asking"}
    assert set(run.open_questions) == {"ask"}
    assert run.children
    assert run.duration_ms > 0


def test_a_pruned_run_is_copied(store, tmp_path):
    """A copy has the steps that are left, what the others used, and goes on."""
    flow = counting().compile(store, limits=LIMITS)
    flow.run({}, run_id="run")
    fork = flow.fork("run", 24, update={"n": 3})
    spent = store.spent("run")
    flow.prune(steps=3)
    for name in ("run", fork.run_id):
        run = flow.get(name)
        run.save(tmp_path / "copy.db")
        with counting().compile(tmp_path / "copy.db", limits=LIMITS) as copied:
            again = copied.get(name)
            assert again.steps[0].step == run.steps[0].step
            assert again.values == run.values
            assert copied.answer(name, "yes").state.reply == "yes"
            assert list(copied.store.verify()) == []
            if name == "run":
                seconds = copied.store.spent("run").seconds
                assert seconds == pytest.approx(spent.seconds, rel=0.2)


def test_a_budget_remembers_what_was_pruned(store):
    """What a run has used still counts when the steps are gone that used it."""
    graph = StateGraph(State, name="spending")

    @graph.node
    def work(state: State):
        return {"n": state.n + 1}

    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda s: "work" if s.n < 30 else END, ["work", END])
    flow = graph.compile(store, limits=LIMITS)
    flow.start({}, run_id="run")
    flow.advance("run", steps=20)
    used = store.spent("run").seconds
    flow.prune(steps=0)
    assert store.spent("run").seconds == pytest.approx(used)
    run = flow.resume("run", budget=Budget(seconds=used / 2))
    assert (run.status, run.reason) == ("paused", "budget:seconds")


def test_prune_takes_what_is_old(store):
    """`older_than` is an age or a time; `keep` counts the newest; nothing goes without a bound."""
    flow = counting().compile(store, limits=LIMITS)
    for name in ("one", "two"):
        flow.run({"upto": 1}, run_id=name)
        flow.answer(name, "yes")
    now = datetime.now(UTC)
    assert flow.prune(older_than=timedelta(hours=1)).runs == ()
    assert flow.prune(older_than=now - timedelta(hours=1)).runs == ()
    assert flow.prune(keep=2, older_than=timedelta(0)).runs == ()
    assert flow.prune(older_than=timedelta(0), dry_run=True).runs == ("two", "one")
    assert flow.prune(keep=1, older_than=now + timedelta(hours=1)).runs == ("one",)
    other = StateGraph(State, name="other")
    other.add_node("a", lambda state: None)
    other.add_edge(START, "a")
    other.add_edge("a", END)
    assert other.compile(store).prune(keep=0).runs == ()
    assert flow.prune(keep=0).runs == ("two",)
    for wrong in (
        {},
        {"keep": -1},
        {"steps": True},
        {"keep": 1.5},
        {"older_than": 30},
        {"older_than": timedelta.max},
        {"older_than": datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))},
        {"older_than": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is the mistake
    ):
        with pytest.raises(DefinitionError):
            flow.prune(**wrong)


def test_a_failed_run_can_be_resumed_after_a_prune(store):
    """What failed keeps its place: the failed node runs again, and only that."""
    broken = [True]

    def hook(state):
        if state.n == 9 and broken:
            raise ValueError("not yet")

    flow = counting(hook).compile(store, limits=LIMITS)
    with pytest.raises(RunFailedError, match="failed in step 19"):
        flow.run({}, run_id="run")
    flow.prune(steps=1)
    with pytest.raises(RunFailedError, match=r"failed in step 19: .* up to step 18"):
        flow.resume("run")
    broken.clear()
    run = flow.resume("run")
    assert run.status == "paused"
    assert run.values == counting().compile(limits=LIMITS).run({}).values


def test_the_size_of_a_run_is_told(store):
    """`run.size` says what a run takes; a prune makes it less."""
    flow = counting().compile(store, limits=LIMITS)
    run = flow.run({}, run_id="run")
    before = run.size
    assert before.bytes == sum(before.tables.values()) > 30_000
    flow.prune(steps=0)
    assert flow.get("run").size.bytes < before.bytes


def test_a_cut_is_the_same_by_the_records_alone(store):
    """The state of a pruned run needs no code: it follows from the records."""
    flow = counting().compile(store, limits=LIMITS)
    run = flow.run({}, run_id="run")
    flow.prune(steps=2)
    records = Run(store, "run").records
    assert values_at(records, 24) == run.values
