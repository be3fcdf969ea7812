"""Forks: a committed step once more, with another update or other decisions (S18)."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Command,
    Decision,
    Flow,
    Limits,
    Run,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.errors import GraphflowError, InputError, RouterError, RunNotFoundError


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0
    name: str = ""


class Body:
    """Bodies that write their names, and count how often each ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(self, name: str, **update: Any) -> Any:
        """Make a body."""

        def act(state: State) -> dict[str, Any]:
            self.ran.append(name)
            return {"log": [name], **update}

        return act


def by_n(state: State) -> str:
    """Choose by the number."""
    return "left" if state.n < 5 else "right"


def crossing(body: Body) -> StateGraph[State]:
    """Make a graph with a choice: a, then left or right, then last."""
    graph = StateGraph(State, name="crossing")
    graph.add_node("a", body("a", n=1))
    for name in ("left", "right"):
        graph.add_node(name, body(name))
        graph.add_edge(name, "last")
    graph.add_node("last", body("last"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", by_n, ["left", "right"])
    graph.add_edge("last", END)
    return graph


def told(run: Run[Any]) -> list[Any]:
    """Give what a run did, without ids and times."""
    return [
        (
            step.step,
            [(t.key, t.update_json) for t in step.tasks],
            [(d.router, d.chosen) for d in step.decisions],
            list(step.arrows),
            list(step.ready),
        )
        for step in run.steps
    ]


def test_a_fork_without_changes_repeats_the_path(store: Any) -> None:
    """The same steps with the same results; of the forked step no node runs again."""
    body = Body()
    flow = crossing(body).compile(store)
    run = flow.run({"name": "mine"}, run_id="r")
    for step in range(4):
        body.ran.clear()
        fork = flow.fork("r", step)
        assert told(fork) == told(run)
        assert (fork.status, fork.state) == ("done", run.state)
        assert body.ran == ["a", "left", "last"][step:]
        assert (fork.header.fork_of, fork.header.fork_step) == ("r", step)


def test_an_update_is_reduced_in_and_decided_on(store: Any) -> None:
    """The update goes over the step's results by the reducers; then the routers decide anew."""
    body = Body()
    flow = crossing(body).compile(store)
    flow.run({}, run_id="r")
    body.ran.clear()
    fork = flow.fork("r", 1, update={"n": 7, "log": ["changed"]})

    assert fork.state.log == ["a", "changed", "right", "last"]
    assert body.ran == ["right", "last"]
    assert fork.decisions[0].chosen == ("right",)


def test_the_origin_is_left_as_it_is(store: Any) -> None:
    """A fork changes nothing of the run that is forked, whatever it does."""
    body = Body()
    flow = crossing(body).compile(store)
    flow.run({}, run_id="r")
    before = told(flow.get("r"))
    header = flow.get("r").header
    flow.fork("r", 1, update={"n": 7})
    flow.fork("r", 0, update={"log": ["x"]})
    flow.fork("r", 3)

    assert told(flow.get("r")) == before
    assert flow.get("r").header == header


@pytest.mark.parametrize("name", ["by_n", "a", "a:by_n"])
def test_choose_a_router(name: str, store: Any) -> None:
    """By the router's name, or by the node it leaves; it is not asked, and the record says so."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")
    fork = flow.fork("r", 1, choose={name: "right"})

    assert fork.path == ["a", "right", "last"]
    assert fork.decisions[0].chosen == ("right",)
    assert "fork" in fork.decisions[0].reason


def test_choose_several_and_none(store: Any) -> None:
    """A list takes all of them, [] none."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")

    assert flow.fork("r", 1, choose={"by_n": ["right", "left"]}).path == [
        "a", "left", "right", "last"
    ]  # fmt: skip
    assert flow.fork("r", 1, choose={"by_n": ("left",)}).path == ["a", "left", "last"]
    assert flow.fork("r", 1, choose={"by_n": []}).path == ["a"]


def test_choose_beside_routers_that_decide_again(store: Any) -> None:
    """Only what is chosen is pinned; others decide on the changed state."""
    graph = crossing(Body())
    graph.add_node("extra", lambda s: None)
    graph.add_edge("extra", END)
    graph.add_conditional_edges("a", lambda s: ["extra"] if s.n > 5 else [], ["extra"], name="more")
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    fork = flow.fork("r", 1, update={"n": 9}, choose={"by_n": "left"})

    assert {"left", "extra"} <= set(fork.path)
    assert "right" not in fork.path


def test_which_router_must_be_said_when_several_are_meant(store: Any) -> None:
    """By the node alone it is not clear."""
    graph = crossing(Body())
    graph.add_conditional_edges("a", lambda s: [], ["last"], name="more")
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(InputError, match="several routers"):
        flow.fork("r", 1, choose={"a": "right"})


def test_choose_at_start(store: Any) -> None:
    """START's routers decide in step 0, and can be chosen for."""
    graph = StateGraph(State, name="begin")
    for name in ("left", "right"):
        graph.add_node(name, lambda s, name=name: {"log": [name]})
        graph.add_edge(name, END)
    graph.add_conditional_edges(START, by_n, ["left", "right"])
    flow = graph.compile(store)
    flow.run({}, run_id="r")

    assert flow.fork("r", 0, choose={"by_n": "right"}).path == ["right"]
    assert flow.fork("r", 0, choose={"START": "right"}).path == ["right"]
    assert flow.fork("r", 0, update={"n": 8}).path == ["right"]


def test_choose_end(store: Any) -> None:
    """END is a target as others are."""
    graph = StateGraph(State, name="stop")
    graph.add_node("a", lambda s: {"n": s.n + 1})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "a" if s.n < 3 else END, ["a", END], name="on")
    flow = graph.compile(store)
    assert flow.run({}, run_id="r").state.n == 3

    assert flow.fork("r", 1, choose={"on": END}).state.n == 1
    assert flow.fork("r", 1, choose={"on": "END"}).state.n == 1
    assert flow.fork("r", 3, choose={"on": "a"}).state.n == 4


def sending() -> StateGraph[State]:
    """Make a graph whose router sends to w."""
    graph = StateGraph(State, name="sends")
    graph.add_node("a", lambda s: {"log": ["a"]})
    graph.add_node("w", lambda s: {"log": [f"w {s.name}"]})
    graph.add_edge(START, "a")
    graph.add_edge("w", END)
    graph.add_conditional_edges("a", lambda s: [Send("w", {"name": "one"})], ["w"], name="spread")
    return graph


def test_choose_a_send(store: Any) -> None:
    """Sends with other inputs can be chosen, also for a fork of the fork."""
    flow = sending().compile(store)
    flow.run({}, run_id="r")
    fork = flow.fork(
        "r", 1, choose={"spread": [Send("w", {"name": "x"}), Send("w", {"name": "y"})]}
    )
    assert fork.state.log == ["a", "w x", "w y"]
    assert flow.fork(fork.run_id, 1).state.log == ["a", "w x", "w y"]
    assert flow.fork("r", 1, choose={"spread": Send("w", {"name": "z"})}).state.log == ["a", "w z"]
    assert flow.fork("r", 1).state.log == ["a", "w one"]


def test_fork_after_sends(store: Any) -> None:
    """The step that the Sends ran in is committed anew with the results of each."""
    flow = sending().compile(store)
    run = flow.run({}, run_id="r")

    assert told(flow.fork("r", 2)) == told(run)


def gated() -> StateGraph[State]:
    """Make a gate that fails until the name is set."""
    graph = StateGraph(State, name="gated")
    graph.add_node("draft", lambda s: {"log": ["draft"], "name": "x" * len(s.log)})
    graph.add_node("publish", lambda s: {"log": ["publish"]})
    graph.add_gate(
        "gate",
        after="draft",
        checks=[lambda s: len(s.name) >= 2 or "too short"],
        passed="publish",
        failed="draft",
    )
    graph.add_edge(START, "draft")
    graph.add_edge("publish", END)
    return graph


@pytest.mark.parametrize("answer", ["passed", "publish"])
def test_choose_a_gate(answer: str, store: Any) -> None:
    """By its word or by the node; the gate's record says what was chosen."""
    flow = gated().compile(store)
    assert flow.run({}, run_id="r").path.count("draft") == 3
    fork = flow.fork("r", 2, choose={"gate": answer})

    assert fork.path == ["draft", "gate", "publish"]
    decision = fork.decisions[0]
    assert (decision.chosen, decision.answer) == (("publish",), "passed")


def going(state: State) -> Command:
    """Go left, in its own words."""
    return Command(update={"log": ["go"]}, goto="left", reason="I like it")


def own_way(body: Any = going) -> StateGraph[State]:
    """Make a node that says itself where to go."""
    graph = StateGraph(State, name="goes")
    graph.add_node("go", body, targets=["left", "right", END])
    for name in ("left", "right"):
        graph.add_node(name, lambda s, name=name: {"log": [f"{name} {s.name}".strip()]})
        graph.add_edge(name, END)
    graph.add_edge(START, "go")
    return graph


@pytest.mark.parametrize(
    ("answer", "log"),
    [
        ("right", ["go", "right"]),
        (["right"], ["go", "right"]),
        (["left", "right"], ["go", "left", "right"]),
        (END, ["go"]),
        ("END", ["go"]),
        ([], ["go"]),
        (Send("right", {"name": "mine"}), ["go", "right mine"]),
        ([Send("left", {"name": "a"}), "right"], ["go", "left a", "right"]),
    ],
)
def test_choose_a_goto(answer: Any, log: list[str], store: Any) -> None:
    """A Command's goto can be chosen for, by its node's name: a node, several, END, a Send."""
    flow = own_way().compile(store)
    flow.run({}, run_id="r")
    fork = flow.fork("r", 1, choose={"go": answer})

    assert sorted(fork.state.log) == sorted(log)
    assert fork.decisions[0].kind == "goto"


def test_a_goto_that_is_not_chosen_for_stays(store: Any) -> None:
    """A Command's goto belongs to the task's result: a new update does not change it."""
    flow = own_way().compile(store)
    flow.run({}, run_id="r")
    fork = flow.fork("r", 1, update={"name": "new"})

    assert fork.state.log == ["go", "left new"]
    assert fork.decisions[0].reason == "I like it"


def test_a_goto_with_sends_is_repeated(store: Any) -> None:
    """The private inputs are those that were stored."""

    def spread(state: State) -> Command:
        return Command(goto=[Send("left", {"name": "a"}), Send("left", {"name": "b"})])

    flow = own_way(spread).compile(store)
    run = flow.run({}, run_id="r")

    assert flow.fork("r", 1).state.log == run.state.log == ["left a", "left b"]


# -------------------------------------------------------------------------- forks of forks


def test_a_fork_of_a_fork_keeps_the_first_ones_changes(store: Any) -> None:
    """At the same step the stored update and choice are kept; new ones replace them one by one."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")
    first = flow.fork("r", 1, update={"name": "first"}, choose={"by_n": "right"})
    again = flow.fork(first.run_id, 1)
    assert (again.path, again.state.name) == (["a", "right", "last"], "first")

    other = flow.fork(first.run_id, 1, update={"log": ["new"]})
    assert (other.path, other.state.name) == (["a", "right", "last"], "")
    back = flow.fork(first.run_id, 1, choose={"by_n": "left"})
    assert (back.path, back.state.name) == (["a", "left", "last"], "first")


def test_a_fork_of_a_fork_at_other_steps(store: Any) -> None:
    """Before its fork's step it is the origin's run, after it the fork's."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")
    first = flow.fork("r", 1, update={"n": 8})
    assert flow.fork(first.run_id, 0).path == ["a", "left", "last"]
    second = flow.fork(first.run_id, 2, update={"log": ["second"]})
    assert second.state.log == ["a", "right", "second", "last"]
    third = flow.fork(second.run_id, 2)
    assert third.state.log == ["a", "right", "second", "last"]
    fourth = flow.fork(third.run_id, 3, update={"name": "end"})
    assert (fourth.state.log, fourth.state.name) == (third.state.log, "end")
    assert flow.fork(fourth.run_id, 1).state.log == ["a", "right", "last"]


def test_forks_of_one_step_in_a_row_do_not_read_each_other(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a fork's first step was forked, two runs are read: it, and who ran the step."""
    flow = crossing(Body()).compile(store)
    run = flow.run({})
    for _ in range(5):
        run = flow.fork(run.run_id, 1, update={"name": run.run_id[-3:]})
    whole, load = [], flow.store.load

    def loads(run_id: str, *, tail: bool = False) -> Any:
        if not tail:
            whole.append(run_id)
        return load(run_id, tail=tail)

    monkeypatch.setattr(flow.store, "load", loads)
    again = flow.fork(run.run_id, 1)
    assert len(whole) == 2
    assert again.state == run.state


def test_many_forks_deep(store: Any) -> None:
    """Ten forks of forks: all still load, resume and read."""
    flow = crossing(Body()).compile(store)
    run = flow.run({}, run_id="r")
    for turn in range(10):
        run = flow.fork(run.run_id, turn % 4, update={"name": str(turn)})
        assert run.status == "done"
        assert flow.get(run.run_id).state.name == str(turn)
        assert [s.step for s in flow.get(run.run_id).steps] == [0, 1, 2, 3]


# ------------------------------------------------------------------------------ bad requests


@pytest.mark.parametrize("step", [-1, 4, 99])
def test_no_such_step(step: int, store: Any) -> None:
    """Only committed steps can be forked; the message says which there are."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(RunNotFoundError, match="0 to 3"):
        flow.fork("r", step)


@pytest.mark.parametrize("step", ["1", None, 1.0, True])
def test_a_step_that_is_no_number(step: Any, store: Any) -> None:
    """It is an error of graphflow that says so."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(GraphflowError, match="step"):
        flow.fork("r", step)


def test_no_such_run(store: Any) -> None:
    """Nothing to fork."""
    with pytest.raises(RunNotFoundError):
        crossing(Body()).compile(store).fork("nothing", 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"update": {"nane": "x"}}, "name"),
        ({"update": {"n": "many"}}, "n"),
        ({"update": 5}, "update"),
        ({"choose": {"by_m": "left"}}, "Did you mean 'by_n'"),
        ({"choose": {"left": "last"}}, "no router 'left'"),
        ({"choose": {"by_n": "up"}}, "up"),
        ({"choose": {"by_n": None}}, "None"),
        ({"choose": {"by_n": 5}}, "5"),
        ({"choose": {"by_n": Decision("left", reason="so")}}, "Decision"),
        ({"choose": {"by_n": Send("left", {"nane": 1})}}, "nane"),
        ({"choose": {"by_n": Send("left", {"name": object()})}}, r"Send\('left'.*no JSON form"),
        ({"choose": {"by_n": Send("last")}}, "last"),
        ({"choose": ["by_n"]}, "choose"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_changes_that_cannot_be_made(changes: dict[str, Any], words: str, store: Any) -> None:
    """A bad name or value is refused with what is wrong, and leaves no run."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(InputError, match=words):
        flow.fork("r", 1, **changes)

    assert [run.run_id for run in flow.runs()] == ["r"]


@pytest.mark.parametrize(
    ("step", "name", "words"),
    [
        (0, "by_n", "no router 'by_n' decided in step 0. It did in 1."),
        (2, "a", "no router 'a' decided in step 2. It did in 1."),
        (0, "nobody", "decided in step 0. Nobody did: the arrows of that step are fixed."),
    ],
)
def test_a_choice_in_a_step_without_one_says_where_it_was_made(
    step: int, name: str, words: str, store: Any
) -> None:
    """By the router's name or by that of the node it leaves."""
    flow = crossing(Body()).compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(InputError, match=re.escape(words)):
        flow.fork("r", step, choose={name: "left"})


@pytest.mark.parametrize(
    ("graph", "node", "answer", "words"),
    [
        (own_way(), "go", "up", "up"),
        (own_way(), "go", Send("up"), "up"),
        (own_way(), "go", Send("left", {"nane": 1}), "nane"),
        (own_way(), "go", None, "None"),
        (gated(), "gate", "maybe", "maybe"),
        (gated(), "gate", Send("draft"), "gate"),
        (gated(), "gate", [], "gate"),
        (gated(), "gate", ["passed", "failed"], "gate"),
    ],
    ids=str,
)
def test_choices_that_a_node_cannot_make(
    graph: StateGraph[State], node: str, answer: Any, words: str, store: Any
) -> None:
    """Of a goto an undeclared target; of a gate anything but one of its ways."""
    flow = graph.compile(store)
    run = flow.run({}, run_id="r")
    step = 1 if node == "go" else 2
    with pytest.raises(InputError, match=words):
        flow.fork("r", step, choose={node: answer})

    assert run.status == "done"
    assert [run.run_id for run in flow.runs()] == ["r"]


def test_a_failing_router_leaves_no_run(store: Any) -> None:
    """The fork could not begin: the router's error is raised, and nothing is stored."""

    def route(state: State) -> str:
        if state.n > 5:
            raise ZeroDivisionError("in the router")
        return "left"

    graph = StateGraph(State, name="fails")
    graph.add_node("a", lambda s: {"n": 1})
    graph.add_node("left", lambda s: None)
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", route, ["left"])
    graph.add_edge("left", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(RouterError, match="in the router"):
        flow.fork("r", 1, update={"n": 9})

    assert [run.run_id for run in flow.runs()] == ["r"]
    assert flow.fork("r", 1).status == "done"


def test_a_fork_that_fails_later_is_a_run(store: Any) -> None:
    """It has begun: it is stored, failed, and resumes."""
    fails = [True]

    def last(state: State) -> dict[str, Any]:
        if state.n > 5 and fails:
            raise ValueError("not yet")
        return {"log": ["last"]}

    graph = StateGraph(State, name="fails")
    graph.add_node("a", lambda s: {"n": 1})
    graph.add_node("last", last)
    graph.add_edge(START, "a")
    graph.add_edge("a", "last")
    graph.add_edge("last", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    with pytest.raises(RunFailedError) as caught:
        flow.fork("r", 1, update={"n": 9})
    fork = caught.value.run.run_id
    fails.clear()

    assert flow.get(fork).status == "failed"
    assert flow.resume(fork).state.log == ["last"]


# ------------------------------------------------------------------ what a fork takes along


def test_a_run_that_failed_can_be_forked_around(store: Any) -> None:
    """The open step's results and failures are not copied: the fork runs its tasks anew."""
    fails = [True]
    body = Body()

    def flaky(state: State) -> dict[str, Any]:
        if fails:
            raise ValueError("not yet")
        return {"log": ["flaky"]}

    graph = StateGraph(State, name="open")
    graph.add_node("a", body("a"))
    graph.add_node("b", body("b"))
    graph.add_node("flaky", flaky)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("a", "flaky")
    graph.add_edge(["b", "flaky"], END)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    fails.clear()
    fork = flow.fork("r", 1)

    assert fork.state.log == ["a", "b", "flaky"]
    assert fork.attempts == []
    assert body.ran == ["a", "b", "b"]
    assert flow.get("r").status == "failed"


def test_open_questions_are_not_copied(store: Any) -> None:
    """The fork asks its own; its answer does not answer the origin's."""
    graph = StateGraph(State, name="asks")
    graph.add_node("a", lambda s: {"n": 1})
    graph.add_question("q", prompt=lambda s: f"{s.n}?", into="name")
    graph.add_edge(START, "a")
    graph.add_edge("a", "q")
    graph.add_edge("q", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    fork = flow.fork("r", 1, update={"n": 2})
    assert [q.prompt for q in fork.questions] == ["2?"]
    assert flow.answer(fork.run_id, "fork's").state.name == "fork's"

    assert flow.get("r").reason == "question"
    assert flow.answer("r", "origin's").state.name == "origin's"


def test_an_answered_step_can_be_forked(store: Any) -> None:
    """The answer is the task's result: it is kept, or changed by the update."""
    graph = StateGraph(State, name="asks")
    graph.add_question("q", prompt="?", into="name")
    graph.add_node("b", lambda s: {"log": [s.name]})
    graph.add_edge(START, "q")
    graph.add_edge("q", "b")
    graph.add_edge("b", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    flow.answer("r", "said")

    assert flow.fork("r", 1).state.log == ["said"]
    assert flow.fork("r", 1, update={"name": "corrected"}).state.log == ["corrected"]
    fork = flow.fork("r", 0)
    assert (fork.status, fork.reason) == ("paused", "question")


def test_counters_are_as_at_the_step_and_limits_those_of_the_run(store: Any) -> None:
    """A fork neither gains nor loses steps: limits count on from there (S14)."""
    graph = StateGraph(State, name="loop")
    graph.add_node("a", lambda s: {"n": s.n + 1})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "a" if s.n < 100 else END, ["a", END], name="on")
    flow = graph.compile(store, limits=Limits(steps=50, visits=50))
    run = flow.run({}, run_id="r", limits=Limits(steps=6, visits=50))
    assert run.state.n == 6
    fork = flow.fork("r", 4)
    assert (fork.reason, fork.state.n) == ("limit:steps", 6)
    fork = flow.fork("r", 4, update={"n": 40})
    assert (fork.reason, fork.state.n) == ("limit:steps", 42)


class Inner(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    given: int = 0


def with_child(body: Body) -> StateGraph[State]:
    """Make a graph with a subgraph in the middle."""
    child = StateGraph(Inner, name="child")
    child.add_node("x", body("x"))
    child.add_node("y", body("y"))
    for source, target in (START, "x"), ("x", "y"), ("y", END):
        child.add_edge(source, target)
    graph = StateGraph(State, name="parent")
    graph.add_node("a", body("a"))
    graph.add_node("sub", child, input={"given": "n"}, output={"log": "log"})
    graph.add_node("z", body("z"))
    for source, target in (START, "a"), ("a", "sub"), ("sub", "z"), ("z", END):
        graph.add_edge(source, target)
    return graph


def test_children_of_the_steps_before_are_the_origins(store: Any) -> None:
    """A fork at or after the subgraph's step runs nothing of it again, and shows its child."""
    body = Body()
    flow = with_child(body).compile(store)
    run = flow.run({}, run_id="r")
    assert run.state.log == ["a", "x", "y", "z"]
    for step in (2, 3):
        body.ran.clear()
        fork = flow.fork("r", step)
        assert fork.state.log == run.state.log
        assert body.ran == ["z"][step - 2 :]
        assert [child.path for child in flow.get(fork.run_id).children.values()] == [["x", "y"]]


def test_children_of_the_steps_after_are_the_forks_own(store: Any) -> None:
    """A fork before the subgraph runs a child of its own, with its own input."""
    body = Body()
    flow = with_child(body).compile(store)
    flow.run({}, run_id="r")
    fork = flow.fork("r", 1, update={"n": 5})

    child = flow.get(fork.run_id).children["2:sub"]
    assert child.run_id.startswith(fork.run_id)
    assert (child.values["given"], child.path) == (5, ["x", "y"])
    assert flow.get("r").children["2:sub"].values["given"] == 0
    assert body.ran.count("x") == 2


def test_a_fork_in_an_event_loop(store: Any) -> None:
    """`afork` does as `fork`."""
    flow: Flow[State] = crossing(Body()).compile(store)

    async def main() -> list[str]:
        await flow.arun({}, run_id="r")
        return (await flow.afork("r", 1, choose={"by_n": "right"})).path

    assert asyncio.run(main()) == ["a", "right", "last"]
