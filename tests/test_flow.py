"""Running, resuming and reading runs: limits, failures, ids, changed graphs, both stores."""

from __future__ import annotations

import asyncio
import json
import operator
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Limits, Reducer, Run, RunFailedError, StateGraph, append
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    ConflictError,
    DatabaseUnavailableError,
    DefinitionError,
    GraphChangedError,
    InputError,
    InvalidUpdateError,
    RouterError,
    RunBusyError,
    RunExistsError,
    RunNotFoundError,
    StateError,
    StepError,
)
from tests.rig.forge import change


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0
    name: str = ""


class Script:
    """Bodies that fail as often as told, and count what ran."""

    def __init__(self, **fails: int) -> None:
        self.fails, self.ran = fails, list[str]()

    def body(self, name: str, update: Any = None) -> Callable[[State], Any]:
        """Make a body."""

        def act(state: State) -> Any:
            self.ran.append(name)
            if self.fails.get(name, 0) > 0:
                self.fails[name] -= 1
                raise RuntimeError(f"{name} fails")
            return {"log": [name]} if update is None else update

        return act

    def line(self, *names: str, name: str = "line", state: Any = State) -> StateGraph[Any]:
        """Make a chain of nodes."""
        graph = StateGraph(state, name=name)
        for source, target in zip([START, *names], [*names, END], strict=True):
            if target != END:
                graph.add_node(target, self.body(target))
            graph.add_edge(source, target)
        return graph

    def fan(self, *names: str) -> StateGraph[State]:
        """Make nodes side by side between `first` and `last`, a join."""
        graph = StateGraph(State, name="fan")
        graph.add_node("first", self.body("first"))
        graph.add_edge(START, "first")
        for name in names:
            graph.add_node(name, self.body(name))
            graph.add_edge("first", name)
        graph.add_node("last", self.body("last"))
        graph.add_edge(names, "last")
        graph.add_edge("last", END)
        return graph


def loop(until: int = 1000) -> StateGraph[State]:
    """Make a node that counts, and goes round until enough."""
    graph = StateGraph(State, name="loop")
    graph.add_node("count", lambda s: {"n": s.n + 1})
    graph.add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda s: END if s.n >= until else "count", ["count", END], name="enough"
    )
    return graph


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Both stores; each test must see the same."""
    made = (
        MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(tmp_path / "r.db")
    )
    yield made
    made.close()


# ---------------------------------------------------------------------------------------- limits


def test_steps_pause_the_run_and_new_limits_go_on(store: Any) -> None:
    """limit:steps, frontier intact; a resume resets no counter; new limits are the run's (S14)."""
    flow = loop(10).compile(store)
    run = flow.run({}, run_id="r", limits=Limits(steps=4))
    assert (run.status, run.reason, run.state.n) == ("paused", "limit:steps", 4)

    assert flow.resume("r").state.n == 4
    run = flow.resume("r", limits=Limits(steps=6))
    assert (run.status, run.state.n) == ("paused", 6)
    assert json.loads(flow.get("r").header.limits_json)["steps"] == 6
    assert flow.resume("r").state.n == 6
    assert flow.resume("r", limits=Limits(steps=100)).status == "done"
    assert flow.get("r").path == ["count"] * 10


def test_a_bound_that_is_left_out_stays_what_it_is(store: Any) -> None:
    """Of a run that is resumed or forked its own, of a new one the flow's: none is set back."""
    flow = loop(60).compile(store, limits=Limits(visits=30))
    run = flow.run({}, run_id="r", limits=Limits(steps=5000))
    assert run.reason == "limit:visits:count"
    assert flow.resume("r", limits=Limits(visits=2000)).status == "done"
    assert json.loads(flow.get("r").header.limits_json) == {"steps": 5000, "visits": 2000}

    flow.run({}, run_id="least", limits=Limits(steps=100, visits=25))
    assert json.loads(flow.get("least").header.limits_json) == {"steps": 100, "visits": 25}


def test_a_paused_run_says_what_raises_the_limit_that_it_has_reached(store: Any) -> None:
    """The line can be typed as it stands; under a run that is not at a limit there is none."""
    flow = loop(40).compile(store)
    line = str(flow.run({}, run_id="r")).splitlines()[-1]
    assert line == "go on: flow.resume('r', limits=Limits(visits=50))"

    run = eval(line.removeprefix("go on: "), {"flow": flow, "Limits": Limits})  # noqa: S307
    assert run.status == "done"
    assert "go on" not in str(run)


def test_visits_pause_the_run_and_name_the_node(store: Any) -> None:
    """limit:visits:NODE: the loop is named."""
    flow = loop().compile(store, limits=Limits(visits=3))
    run = flow.run({}, run_id="r")

    assert (run.status, run.reason, run.state.n) == ("paused", "limit:visits:count", 3)
    assert flow.resume("r", limits=Limits(visits=5)).state.n == 5


def test_the_default_limits() -> None:
    """100 steps, 25 visits."""
    assert loop().compile().run({}).state.n == 25
    assert loop().compile(limits=Limits(visits=1000)).run({}).state.n == 100


def test_a_limit_that_is_just_enough_is_not_reached(store: Any) -> None:
    """It is checked before a step begins: a run that is done at the limit is done."""
    assert loop(4).compile(store).run({}, limits=Limits(steps=4, visits=4)).status == "done"


def test_limits_of_nothing_are_refused() -> None:
    """A bound below 1 could not be meant."""
    with pytest.raises(ValueError, match="at least 1"):
        Limits(steps=0)
    with pytest.raises(ValueError, match="at least 1"):
        Limits(visits=-1)


def test_run_again_with_new_limits_goes_on(store: Any) -> None:
    """`run` with the id of a paused run continues it, within the limits given."""
    flow = loop(10).compile(store)
    flow.run({}, run_id="r", limits=Limits(steps=4))

    assert flow.run({}, run_id="r", limits=Limits(steps=20)).status == "done"


# -------------------------------------------------------------------------------------- failures


def test_failing_siblings_are_all_reported_and_the_others_kept(store: Any) -> None:
    """Two of four fail: both are named, an ExceptionGroup inside; resume runs only those (S15)."""
    script = Script(b=1, d=2)
    flow = script.fan("a", "b", "c", "d").compile(store)
    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="r")

    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [str(e) for e in group.exceptions] == ["b fails", "d fails"]
    for words in ("b: RuntimeError: b fails", "d: RuntimeError: d fails", "step 2", "resume('r')"):
        assert words in str(caught.value)
    run = caught.value.run
    assert isinstance(run, Run)
    assert (run.status, run.reason, run.path) == ("failed", "task", ["first"])
    assert run.error == "RuntimeError: b: RuntimeError: b fails; d: RuntimeError: d fails"
    assert [t.key for t in run.records.kept] == ["a", "c"]

    script.ran.clear()
    with pytest.raises(RunFailedError) as caught:
        flow.resume("r")
    assert sorted(script.ran) == ["b", "d"]
    assert str(caught.value.__cause__) == "d fails"

    script.ran.clear()
    run = flow.resume("r")
    assert script.ran == ["d", "last"]
    assert run.state.log == ["first", "a", "b", "c", "d", "last"]
    assert run.recovered
    assert [(a.node, a.attempt) for a in run.attempts] == [("b", 1), ("d", 1), ("d", 2)]
    assert [t.attempts for t in run.steps[2].tasks] == [1, 2, 1, 3]


def test_only_what_failed_now_is_named(store: Any) -> None:
    """After a resume that mends one of two, the message names the other, once."""
    flow = Script(b=1, d=2).fan("b", "d").compile(store)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    with pytest.raises(RunFailedError) as caught:
        flow.resume("r")

    assert "b fails" not in str(caught.value)
    assert str(caught.value).count("d fails") == 1


def test_a_wrong_update_is_the_nodes_error(store: Any) -> None:
    """Graph, node, step, field, value and the nearest name; the state is as it was."""
    graph = Script().line("a")
    graph.add_node("b", lambda s: {"nmae": "x"})
    graph.add_edge("a", "b")
    graph.add_edge("b", END)
    with pytest.raises(RunFailedError) as caught:
        graph.compile(store).run({})

    error = caught.value.__cause__
    assert isinstance(error, InvalidUpdateError)
    assert (error.node, error.step, error.field) == ("b", 2, "nmae")
    assert "graph 'line', node 'b', step 2" in str(error)
    assert "Did you mean 'name'?" in str(error)


def conflict(script: Script, state: Any = State) -> StateGraph[Any]:
    """Make two nodes that write one field."""
    graph = script.line("first", name="conflict", state=state)
    for name, value in (("a", "x"), ("b", "x")):
        graph.add_node(name, script.body(name, {"name": value}))
        graph.add_edge("first", name)
        graph.add_edge(name, END)
    return graph


def test_a_conflict_is_resumed_without_running_a_body(store: Any) -> None:
    """Even equal values conflict; with a reducer added, resume merges what is stored (S3, S15)."""
    script = Script()
    with pytest.raises(RunFailedError) as caught:
        conflict(script).compile(store).run({}, run_id="r")
    error = caught.value.__cause__
    assert isinstance(error, ConflictError)
    assert (error.field, error.tasks) == ("name", ("a", "b"))
    run = caught.value.run
    assert isinstance(run, Run)
    assert run.reason == "conflict name: a, b"
    assert run.path == ["first"]

    class Joined(State):
        name: Annotated[str, Reducer(operator.add)] = ""

    script.ran.clear()
    run = conflict(script, Joined).compile(store).resume("r")
    assert script.ran == []
    assert run.state.name == "xx"


def test_a_router_error_is_resumed_without_running_a_body(store: Any) -> None:
    """All results are kept; resume decides again (S15)."""
    script, broken = Script(), [True]

    def graph() -> StateGraph[State]:
        made = script.line("a", "b")
        made.add_conditional_edges("a", lambda s: "c" if broken else "b", ["b"], name="route")
        return made

    flow = graph().compile(store)
    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="r")
    assert isinstance(caught.value.__cause__, RouterError)
    assert "none of its declared targets" in str(caught.value)
    assert flow.get("r").reason == "router a: undeclared target c"
    assert flow.get("r").state.log == []

    broken.clear()
    script.ran.clear()
    run = flow.resume("r")
    assert script.ran == ["b"]
    assert run.state.log == ["a", "b"]
    assert not run.attempts
    assert not run.recovered


def test_the_words_of_a_router_error_after_a_failed_task(store: Any) -> None:
    """What failed is the router now, not the node that failed before."""
    script = Script(a=1)
    graph = script.line("a", "b")
    graph.add_conditional_edges("a", lambda s: None, ["b"], name="route")
    flow = graph.compile(store)
    with pytest.raises(RunFailedError, match="a fails"):
        flow.run({}, run_id="r")
    with pytest.raises(RunFailedError) as caught:
        flow.resume("r")

    assert isinstance(caught.value.__cause__, StepError)
    assert "returned None" in str(caught.value)


# ------------------------------------------------------------------------------------------- ids


def test_a_run_id_again_with_the_same_input(store: Any) -> None:
    """A run that is over is returned, one that is not is continued: a batch can start again."""
    script = Script(b=1)
    flow = script.line("a", "b").compile(store)
    with pytest.raises(RunFailedError):
        flow.run({"n": 3}, run_id="r")
    assert flow.run({"n": 3}, run_id="r").status == "done"
    assert script.ran == ["a", "b", "b"]

    again = flow.run(State(n=3), run_id="r")
    assert script.ran == ["a", "b", "b"]
    assert again.state == State(log=["a", "b"], n=3)


def test_a_run_id_again_with_another_input(store: Any) -> None:
    """RunExistsError, which says how the run began."""
    flow = Script().line("a").compile(store)
    flow.run({"n": 3}, run_id="r")

    with pytest.raises(RunExistsError, match='"n":3'):
        flow.run({"n": 4}, run_id="r")


def test_an_input_that_spells_out_a_default_is_the_same(store: Any) -> None:
    """Nor matters which of the two does; another value than the default is another input."""
    script = Script()
    flow = script.line("a").compile(store)
    flow.run({"n": 3}, run_id="short")
    flow.run({"n": 3, "log": []}, run_id="long")

    assert flow.run({"n": 3, "log": []}, run_id="short").status == "done"
    assert flow.run({"n": 3}, run_id="long").status == "done"
    assert script.ran == ["a", "a"]
    for run_id in ("short", "long"):
        with pytest.raises(RunExistsError, match="another input"):
            flow.run({"n": 3, "log": ["x"]}, run_id=run_id)
    flow.run({}, run_id="none")
    with pytest.raises(RunExistsError, match="another input"):
        flow.run({"n": 1}, run_id="none")


def test_a_default_that_is_another_one_now_is_another_input(store: Any) -> None:
    """The run began with the default of then: today's, spelled out, is not what it was given."""

    def graph(size: int) -> StateGraph[Any]:
        class Sized(BaseModel):
            name: str
            size: int = 0

        Sized.model_fields["size"].default = size
        Sized.model_rebuild(force=True)
        made = StateGraph(Sized, name="sized")
        made.add_node("a", lambda s: None)
        made.add_edge(START, "a")
        made.add_edge("a", END)
        return made

    graph(1).compile(store).run({"name": "x"}, run_id="r")
    flow = graph(2).compile(store)
    assert flow.run({"name": "x"}, run_id="r").state.size == 1
    with pytest.raises(RunExistsError, match="another input"):
        flow.run({"name": "x", "size": 2}, run_id="r")


def test_resume_by_a_prefix(store: Any) -> None:
    """A beginning that only one id has; several are listed; none is said."""
    flow = loop(3).compile(store)
    for run_id in ("abc", "abd", "x%y"):
        flow.start({}, run_id=run_id)

    assert flow.resume("abc").run_id == "abc"
    assert flow.resume("x").run_id == "x%y"
    with pytest.raises(RunNotFoundError, match=r"abc.*abd"):
        flow.resume("ab")
    for wrong in ("nothing", "%", "_"):
        with pytest.raises(RunNotFoundError):
            flow.resume(wrong)


def test_an_id_that_begins_another_is_itself(store: Any) -> None:
    """`job-1` is found beside `job-10`."""
    flow = loop(2).compile(store)
    for run_id in ("job-10", "job-1"):
        flow.start({}, run_id=run_id)

    assert flow.resume("job-1").run_id == "job-1"


def test_the_run_of_another_graph_is_refused(store: Any) -> None:
    """It is named, and left as it is."""
    loop(3).compile(store).start({}, run_id="r")
    other = Script().line("a").compile(store)

    with pytest.raises(RunNotFoundError, match="'loop', not of 'line'"):
        other.resume("r")
    assert loop(3).compile(store).resume("r").status == "done"


def test_a_run_that_is_done_stays_as_it_is(store: Any) -> None:
    """Resume returns it, with whatever limits, and nothing runs."""
    script = Script()
    flow = script.line("a").compile(store)
    flow.run({}, run_id="r")
    epoch = flow.get("r").header.epoch

    run = flow.resume("r", limits=Limits(steps=1))
    assert (run.status, script.ran) == ("done", ["a"])
    assert flow.get("r").header.epoch == epoch


def test_the_ids_we_make_sort_by_time(store: Any) -> None:
    """26 characters."""
    flow = Script().line("a").compile(store)
    ids = [flow.run({}).run_id for _ in range(5)]

    assert {len(i) for i in ids} == {26}
    assert len(set(ids)) == 5
    assert [i[:9] for i in sorted(ids)] == [i[:9] for i in ids]
    assert [run.run_id for run in flow.runs(limit=2)] == ids[:-3:-1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"nn": 1}, "'nn'"),
        ({"n": "x"}, "n: "),
        ([1], r"not .*list"),
        (None, "not .*NoneType"),
    ],
)
def test_an_input_that_does_not_fit(given: Any, words: str) -> None:
    """It is refused before anything is stored."""
    flow = Script().line("a").compile()
    with pytest.raises(InputError, match=words):
        flow.run(given, run_id="r")
    assert flow.runs() == []


# --------------------------------------------------------------------------------- changed graphs


def test_a_graph_changed_after_compile_says_so() -> None:
    """The flow would run something else than the graph that is looked at."""
    graph = Script().line("a")
    flow = graph.compile()
    run_id = flow.run({}).run_id
    graph.add_node("b", lambda s: None)

    for act in (lambda: flow.run({}), lambda: flow.resume(run_id), lambda: flow.start({})):
        with pytest.raises(DefinitionError, match="compile it again"):
            act()
    assert flow.get(run_id).status == "done"


def test_a_run_whose_next_node_has_gone_is_refused(store: Any) -> None:
    """It never finishes because its next node has gone; it is named, with what was meant."""
    Script().line("a", "draft", "c").compile(store).start({}, run_id="r")
    flow = Script().line("a", "draft", "c").compile(store)
    flow.advance("r", steps=1)

    renamed = Script().line("a", "drafts", "c").compile(store)
    with pytest.raises(GraphChangedError, match=r"'draft'.*Did you mean 'drafts'"):
        renamed.resume("r")
    assert renamed.get("r").path == ["a"]
    assert flow.resume("r").status == "done"


def test_a_held_join_that_has_gone_is_refused(store: Any) -> None:
    """So is a join that waits, and one whose arrival came from a node that has gone."""
    script = Script(b=1)
    graph = StateGraph(State, name="g")
    for name in ("a", "b", "c", "j"):
        graph.add_node(name, script.body(name))
    for source, target in ((START, "a"), (START, "b"), ("b", "c"), (["a", "c"], "j"), ("j", END)):
        graph.add_edge(source, target)  # type: ignore[arg-type]  # a list is a sequence of str
    flow = graph.compile(store)
    flow.start({}, run_id="r")
    script.fails.clear()
    flow.advance("r", steps=1)
    assert "j" in flow.get("r").steps[-1].held

    other = script.line("b", "c", name="g")
    with pytest.raises(GraphChangedError, match=r"'j'|'a'"):
        other.compile(store).resume("r")


def test_a_body_may_change_between_stop_and_resume(store: Any) -> None:
    """Mending a node is what resume is for."""
    with pytest.raises(RunFailedError):
        Script(b=9).line("a", "b").compile(store).run({}, run_id="r")

    assert Script().line("a", "b").compile(store).resume("r").state.log == ["a", "b"]


def test_check_10_a_new_field_of_the_state(store: Any) -> None:
    """A resume takes its default; without one it is refused by name, and the run still reads."""

    class More(State):
        extra: int = 7

    class Needs(State):
        must: int

    with pytest.raises(RunFailedError):
        Script(b=9).line("a", "b").compile(store).run({}, run_id="r")

    needs = Script().line("a", "b", state=Needs).compile(store)
    with pytest.raises(StateError, match="must"):
        needs.resume("r")
    run = needs.get("r")
    assert (run.status, run.path, run.values["log"]) == ("failed", ["a"], ["a"])
    assert "b" in str(run.draw())
    assert Script().line("a", "b", state=More).compile(store).resume("r").state.extra == 7


def test_kept_results_that_do_not_fit_todays_state(store: Any) -> None:
    """The state class changed while a step was open: a clear error, and the run is not lost."""

    class Other(BaseModel):
        log: Annotated[list[str], append] = Field(default_factory=list)
        name: list[int] = Field(default_factory=list)

    class Gone(BaseModel):
        log: Annotated[list[str], append] = Field(default_factory=list)

    def graph(script: Script, state: Any) -> StateGraph[Any]:
        made = StateGraph(state, name="g")
        for name in "ab":
            made.add_node(name, script.body(name, {"name": "x"} if name == "a" else None))
            made.add_edge(START, name)
            made.add_edge(name, END)
        return made

    with pytest.raises(RunFailedError):
        graph(Script(b=1), State).compile(store).run({}, run_id="r")
    for state in (Gone, Other):
        with pytest.raises((StateError, GraphChangedError, RunFailedError)):
            graph(Script(), state).compile(store).resume("r")
    assert graph(Script(), State).compile(store).resume("r").state.name == "x"


# ----------------------------------------------------------------------------------- start, batch


def test_start_and_advance_one_step_at_a_time(store: Any) -> None:
    """Each call leaves a run that anybody can go on with."""
    flow = Script().line("a", "b", "c").compile(store)
    run = flow.start({}, run_id="r")
    assert [s.step for s in run.steps] == [0]
    assert run.path == []

    for path in (["a"], ["a", "b"], ["a", "b", "c"]):
        assert flow.advance("r", steps=1).path == path
    assert flow.get("r").status == "done"
    assert flow.advance("r", steps=5).path == ["a", "b", "c"]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_batch_returns_failed_runs_too(store: Any, concurrency: int) -> None:
    """In the order of the inputs; each one is told of when it ends."""

    def body(state: State) -> dict[str, Any]:
        if state.n % 3 == 0:
            raise RuntimeError("three")
        return {"log": [str(state.n)]}

    graph = StateGraph(State, name="batch")
    graph.add_node("a", body)
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    told: list[int] = []
    runs = graph.compile(store).batch(
        [{"n": n} for n in range(7)],
        run_ids=[f"r{n}" for n in range(7)],
        concurrency=concurrency,
        on_run=lambda place, run: told.append(place),
    )

    assert [run.run_id for run in runs] == [f"r{n}" for n in range(7)]
    assert [run.status for run in runs] == ["failed" if n % 3 == 0 else "done" for n in range(7)]
    assert sorted(told) == list(range(7))


def test_an_abatch_returns_failed_runs_too() -> None:
    """As batch does."""
    flow = Script(a=2).line("a").compile()
    runs = asyncio.run(flow.abatch([{}] * 5))

    assert sorted(run.status for run in runs) == ["done"] * 3 + ["failed"] * 2


def test_a_batch_with_a_wrong_input_begins_nothing() -> None:
    """All inputs are looked at first."""
    flow = Script().line("a").compile()
    with pytest.raises(InputError):
        flow.batch([{}, {"no": 1}])
    assert flow.runs() == []


def test_a_batch_with_a_start_router_that_fails_runs_the_others() -> None:
    """One input that no run can begin with does not take the others along."""
    graph = Script().line("a")
    graph.add_conditional_edges(START, lambda s: "a" if s.n else None, ["a"], name="route")
    flow = graph.compile()
    with pytest.raises(ExceptionGroup) as caught:
        flow.batch([{"n": 1}, {"n": 0}, {"n": 2}])

    assert [type(error) for error in caught.value.exceptions] == [RouterError]
    assert len(flow.runs(status="done")) == 2


def test_aresume_and_arun_are_the_same_as_run(store: Any) -> None:
    """The async faces have no logic of their own."""
    script = Script(b=1)
    flow = script.line("a", "b").compile(store)

    async def main() -> Run[State]:
        with pytest.raises(RunFailedError):
            await flow.arun({}, run_id="r", tags={"kind": "test"})
        return await flow.aresume("r")

    run = asyncio.run(main())
    assert run.state.log == ["a", "b"]
    assert json.loads(run.header.tags_json) == {"kind": "test"}
    assert script.ran == ["a", "b", "b"]


def test_a_flow_is_closed_by_with(tmp_path: Path) -> None:
    """A flow on a path; closing twice is harmless; the file is there for the next one."""
    path = tmp_path / "runs.db"
    with Script().line("a").compile(path) as flow:
        flow.run({}, run_id="r")
    flow.close()

    with Script().line("a").compile(str(path)) as flow:
        assert flow.get("r").state.log == ["a"]


def test_a_damaged_run_keeps_no_flow_open(tmp_path: Path) -> None:
    """A flow is closed although a run at hand cannot be read; the others can be read on."""
    graph = StateGraph(State, name="one")
    graph.add_node("a", lambda state: {"n": 1})
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    flow = graph.compile(tmp_path / "runs.db")
    bad, good = flow.run({}), flow.run({})
    change(tmp_path / "runs.db", "UPDATE tasks SET node = 'b' WHERE run = 1")
    flow.close()
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]
    assert good.path == ["a"]
    with pytest.raises(DatabaseUnavailableError, match="closed here"):
        _ = bad.path


def test_a_run_can_be_looked_at_after_its_flow_is_closed(tmp_path: Path) -> None:
    """The run was returned by the flow; its path is what one wants to see next."""
    with Script().line("a").compile(tmp_path / "runs.db") as flow:
        run = flow.run({})

    assert run.status == "done"
    assert run.path == ["a"]


def test_an_error_inside_the_store_does_not_leave_the_run_busy(store: Any) -> None:
    """After whatever went wrong, the run can be resumed in this process."""
    script = Script()
    flow = script.line("a", "b").compile(store)
    flow.start({}, run_id="r")
    commit, broken = type(store).commit, [True]

    class Broken(type(store)):  # type: ignore[misc]  # the class of either store
        def commit(self, *args: Any) -> None:
            if broken:
                broken.clear()
                raise OSError("the disk is gone")
            commit(self, *args)

    store.__class__ = Broken
    with pytest.raises(OSError, match="the disk is gone"):
        flow.resume("r")
    assert flow.resume("r").state.log == ["a", "b"]


def test_an_arrival_is_not_lost_when_the_join_is_none_any_more(store: Any) -> None:
    """A graph that has no joins now still runs the node that waited."""

    def graph(*edges: tuple[Any, str]) -> StateGraph[State]:
        script, made = Script(), StateGraph(State, name="g")
        for name in ("a", "b", "c", "j"):
            made.add_node(name, script.body(name))
        for source, target in ((START, "a"), (START, "b"), ("b", "c"), ("j", END), *edges):
            made.add_edge(source, target)
        return made

    flow = graph((["a", "c"], "j")).compile(store)
    flow.start({}, run_id="r")
    assert "j" in flow.advance("r", steps=1).steps[-1].held

    run = graph(("a", "j"), ("c", END)).compile(store).resume("r")
    assert run.path == ["a", "b", "c", "j"]


def test_a_run_that_is_started_again_stays_where_it_is(store: Any) -> None:
    """`start` commits the input once; with the id of a run that has begun it gives that run."""
    ran: list[str] = []
    graph = StateGraph(State, name="again")
    graph.add_node("only", lambda s: ran.append("only"))
    graph.add_edge(START, "only")
    graph.add_edge("only", END)
    flow = graph.compile(store)

    first = flow.start({"name": "x"}, run_id="r")
    again = flow.start({"name": "x"}, run_id="r")

    assert (first.header.step, again.header.step, again.status, ran) == (0, 0, "running", [])
    assert flow.run({"name": "x"}, run_id="r").status == "done"
    assert flow.start({"name": "x"}, run_id="r").status == "done"
    assert ran == ["only"]


@pytest.mark.parametrize("face", ["plain", "awaited"])
def test_two_that_begin_one_run_at_the_same_moment(tmp_path: Path, face: str) -> None:
    """With the same input the second is busy, and the same call goes on; with another it exists."""
    graph = StateGraph(State, name="twice")
    graph.add_node("only", lambda s: {"log": ["only"]})
    graph.add_edge(START, "only")
    graph.add_edge("only", END)
    first, second = (graph.compile(SqliteCheckpointer(tmp_path / "r.db")) for _ in range(2))

    def run(run_id: str, name: str) -> Run[State]:
        if face == "plain":
            return second.run({"name": name}, run_id=run_id)
        return asyncio.run(second.arun({"name": name}, run_id=run_id))

    begin = second.store.begin
    for run_id, name, kind in (("same", "x", RunBusyError), ("other", "y", RunExistsError)):

        def late(*given: Any, run_id: str = run_id, **more: Any) -> Any:
            first.run({"name": "x"}, run_id=run_id)  # between the look and the first commit
            return begin(*given, **more)

        second.store.begin = late  # type: ignore[method-assign]  # the other process, as it were
        with pytest.raises(kind):
            run(run_id, name)
        second.store.begin = begin  # type: ignore[method-assign]
    assert run("same", "x").state.log == ["only"]
    first.close()
    second.close()


@pytest.mark.parametrize("given", ["{", "[]", "3"])
def test_a_stored_input_that_is_none(tmp_path: Path, given: str) -> None:
    """To go on with a run whose stored input is damaged is refused in words that name it."""
    from graphflow.checkpoint.digest import digest, digest_of
    from graphflow.checkpoint.sqlite_rows import FIXED
    from graphflow.errors import CheckpointCorruptError

    graph = StateGraph(State, name="damaged")
    graph.add_node("only", lambda s: {"log": ["only"]})
    graph.add_edge(START, "only")
    graph.add_edge("only", END)
    with graph.compile(tmp_path / "r.db") as flow:
        flow.run({"name": "x"}, run_id="r")
        with sqlite3.connect(tmp_path / "r.db") as conn:
            conn.execute("UPDATE runs SET input_json = ?", (given,))
            row = conn.execute(f"SELECT {FIXED} FROM runs").fetchone()
            conn.execute("UPDATE runs SET digest = ?", (digest("run", row, digest_of),))
        conn.close()
        with pytest.raises(CheckpointCorruptError, match="run 'r'"):
            flow.run({"name": "x"}, run_id="r")
