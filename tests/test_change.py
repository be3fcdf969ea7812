"""Runs that are open while their graph changes: verdicts, renames, migrations, adoptions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Command,
    Flow,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    DefinitionError,
    GraphChangedError,
    InvalidGraphError,
    MigrationError,
    StateError,
)
from graphflow.run import Run
from tests.checkpoint import golden
from tests.checkpoint.test_golden import V4
from tests.test_cells import Notebook, install

BROKEN: set[str] = set()
"""The nodes that fail."""


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0
    reply: str = ""


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Path) -> Any:
    """Both kinds of store."""
    BROKEN.clear()
    opened = (
        MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(tmp_path / "r.db")
    )
    yield opened
    opened.close()


def body(name: str, **update: Any) -> Callable[[Any], dict[str, Any]]:
    """Make a body that writes its name."""

    def act(state: Any) -> dict[str, Any]:
        if name in BROKEN:
            raise ConnectionError(f"{name} is down")
        return {"log": [name], **update}

    return act


def line(*names: str, state: Any = State, version: int = 1, **bodies: Any) -> StateGraph[Any]:
    """Make a graph of nodes in a row."""
    graph = StateGraph(state, name="g", version=version)
    for name in names:
        graph.add_node(name, bodies.get(name) or body(name))
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph


def asks(question: str = "ask", state: Any = State, version: int = 1) -> StateGraph[Any]:
    """Make a graph with a question between two nodes."""
    graph = StateGraph(state, name="g", version=version)
    graph.add_node("a", body("a"))
    graph.add_question(question, prompt="Well?", into="reply", answer=str)
    graph.add_node("z", body("z"))
    for source, target in ((START, "a"), ("a", question), (question, "z"), ("z", END)):
        graph.add_edge(source, target)
    return graph


def paused(graph: StateGraph[Any], store: Any, steps: int = 1) -> Flow[Any]:
    """Run a few steps of a run `r`."""
    flow = graph.compile(store)
    flow.start({"n": 1}, run_id="r")
    flow.advance("r", steps=steps)
    return flow


def stands(store: Any) -> Any:
    """Say how the run stands in the store."""
    header = store.load("r").header
    return header.epoch, header.owner, header.status, header.reason, header.step


# ------------------------------------------------------------------- acceptance checks 9 and 10


def test_check_09_a_renamed_next_node_never_looks_finished(store: Any) -> None:
    """A run whose next node was renamed is refused by name, with the line to type, and reads on."""
    paused(line("a", "draft", "c"), store)
    before = stands(store)
    graph = line("a", "drafts", "c")
    flow = graph.compile(store)
    with pytest.raises(GraphChangedError) as caught:
        flow.resume("r")
    assert 'graph.renamed("draft", "drafts")' in str(caught.value)
    assert (caught.value.verdict.kind, stands(store)) == ("refused", before)
    run = flow.get("r")
    assert (run.status, run.path, run.state.log) == ("running", ["a"], ["a"])
    assert "draft" in run.draw().dot
    graph.renamed("draft", "drafts")
    done = graph.compile(store).resume("r")
    assert (done.status, done.path, done.state.log) == (
        "done",
        ["a", "drafts", "c"],
        ["a", "drafts", "c"],
    )


def test_the_node_that_was_meant_is_asked_for_with_one_mark(store: Any) -> None:
    """Then follows what to write."""
    paused(line("a", "draft"), store)
    with pytest.raises(GraphChangedError) as found:
        line("a", "drafts").compile(store).resume("r")
    assert "Did you mean 'drafts'? Write graph.renamed(" in str(found.value)


def test_check_09_a_removed_next_node_never_looks_finished(store: Any) -> None:
    """A run whose next node was removed is refused; put back, it goes on."""
    old = paused(line("a", "b", "c"), store)
    with pytest.raises(GraphChangedError, match=r"node 'b'.*does not have it any more"):
        line("a", "c").compile(store).resume("r")
    assert old.resume("r").state.log == ["a", "b", "c"]


def test_check_10_a_new_required_field_is_named(store: Any) -> None:
    """Reading works; a resume names the field, and takes a default or a migration."""

    class Needs(State):
        must: int

    class Takes(State):
        must: int = 7

    paused(line("a", "b"), store)
    before = stands(store)
    flow = line("a", "b", state=Needs).compile(store)
    with pytest.raises(
        MigrationError, match=r"'must'.*default.*@graph\.migration\(1, 2\)"
    ) as caught:
        flow.resume("r")
    assert isinstance(caught.value, StateError)
    assert (caught.value.verdict.kind, stands(store)) == ("migration", before)
    run = flow.get("r")
    assert (run.path, run.values["log"], run.values_at(1)["n"]) == (["a"], ["a"], 1)
    assert "b" in str(run)
    with pytest.raises(StateError, match="must"):
        _ = run.state
    migrating = line("a", "b", state=Needs, version=2)
    migrating.migration(1, 2)(lambda values: {**values, "must": values["n"] + 1})
    assert migrating.compile(store).verdict("r").can_go_on
    done = line("a", "b", state=Takes).compile(store).resume("r")
    assert (done.state.must, done.state.log) == (7, ["a", "b"])
    assert "must" not in done.values_at(1)


def test_check_10_a_migration_gives_the_new_field(store: Any) -> None:
    """With a migration the run goes on with what that returns; old steps stay as they were."""

    class Needs(State):
        must: int

    paused(line("a", "b"), store)
    graph = line("a", "b", state=Needs, version=2, b=lambda s: {"log": [f"b{s.must}"]})

    @graph.migration(1, 2)
    def two(values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "must": values.pop("n") + 1, "n": 5}

    done = graph.compile(store).resume("r")
    assert done.state == Needs(log=["a", "b2"], n=5, must=2)
    assert done.values_at(1) == {"log": ["a"], "n": 1, "reply": ""}
    assert done.state_at(1) == Needs(log=["a"], n=5, must=2)
    assert [use.version for use in done.graphs] == [1, 2]


# --------------------------------------------------------------------------------- renamed nodes


def test_a_renamed_question_is_answered(store: Any) -> None:
    """A run that waits at a question goes on when that has another name: its answer finds it."""
    paused(asks(), store, steps=2)
    graph = asks("approve")
    with pytest.raises(GraphChangedError, match=r'graph.renamed\("ask", "approve"\)'):
        graph.compile(store).answer("r", "yes")
    assert list(asks().compile(store).get("r").open_questions) == ["ask"]
    graph.renamed("ask", "approve")
    flow = graph.compile(store)
    assert flow.verdict("r").kind == "compatible"
    waiting = flow.answer("r", "yes", key="ask", resume=False)  # as it was named a moment ago
    assert list(waiting.open_questions) == []
    assert [(q.key, q.node) for q in waiting.questions] == [("approve", "approve")]
    done = flow.resume("r")
    assert (done.status, done.state.reply, done.path) == ("done", "yes", ["a", "approve", "z"])


def test_a_chain_of_renames(store: Any) -> None:
    """Names that were changed twice are followed; a new node may have the first of them."""
    paused(line("a", "b", "c"), store)
    graph = line("a", "third", "c")
    graph.renamed("b", "second")
    graph.renamed("second", "third")
    graph.add_node("b", body("another"))
    graph.add_edge("c", "b")
    graph.add_edge("b", END)
    assert graph.compile(store).resume("r").path[:2] == ["a", "third"]


def test_names_that_change_places_are_refused() -> None:
    """A rename that leads back is an error where it is written."""
    graph = line("a", "b")
    graph.renamed("old", "a")
    with pytest.raises(DefinitionError, match="change places"):
        graph.renamed("a", "old")
    with pytest.raises(DefinitionError, match="no field"):
        graph.renamed_field("a b", "c")
    graph.renamed("older", "nobody")
    with pytest.raises(InvalidGraphError, match=r"GF112.*'nobody'"):
        graph.compile()


def wide(*names: str, join: str = "j", state: Any = State) -> StateGraph[Any]:
    """Make a graph of nodes side by side, then a join."""
    graph = StateGraph(state, name="g")
    for name in names:
        graph.add_node(name, body(name, **({"reply": name} if name == names[0] else {})))
        graph.add_edge(START, name)
    graph.add_node(join, body(join))
    graph.add_edge(list(names), join)
    graph.add_edge(join, END)
    return graph


def test_kept_tasks_and_failures_follow_a_rename(store: Any) -> None:
    """Of an open step nothing runs again: what is kept stands under the names of now."""
    BROKEN.update({"b", "slow"})
    with pytest.raises(RunFailedError):
        wide("a", "b", "c").compile(store).run({"n": 1}, run_id="r")
    graph = wide("first", "slow", "c", join="together")
    for old, new in (("a", "first"), ("b", "slow"), ("j", "together")):
        graph.renamed(old, new)
    flow = graph.compile(store)
    with pytest.raises(RunFailedError, match="slow is down"):
        flow.resume("r")
    assert [(a.key, a.node, a.attempt) for a in flow.get("r").attempts] == [
        ("slow", "slow", 1), ("slow", "slow", 2),
    ]  # fmt: skip
    BROKEN.clear()
    done = flow.resume("r")
    assert done.path == ["first", "slow", "c", "together"]
    assert (done.state.log, done.state.reply) == (["a", "slow", "c", "together"], "a")


def test_held_joins_follow_a_rename(store: Any) -> None:
    """A join that waits keeps what has arrived, under the names of now."""

    def made(a: str, b: str, c: str, j: str) -> StateGraph[Any]:
        graph = StateGraph(State, name="g")
        for name in (a, b, c, j):
            graph.add_node(name, body(name))
        for source, target in ((START, a), (START, b), (b, c), (j, END)):
            graph.add_edge(source, target)
        graph.add_edge([a, c], j)
        return graph

    paused(made("a", "b", "c", "j"), store)
    graph = made("a1", "b1", "c1", "j1")
    with pytest.raises(GraphChangedError) as caught:
        graph.compile(store).resume("r")
    named = {finding.what for finding in caught.value.verdict.hindrances}
    assert named == {"node 'a'", "node 'c'", "node 'j'"}
    for name in "abcj":
        graph.renamed(name, f"{name}1")
    done = graph.compile(store).resume("r")
    assert done.path == ["a", "b", "c1", "j1"]
    assert done.steps[2].fired == {"j1": ("a1", "c1")} or dict(done.steps[2].fired)["j1"]


def test_sends_and_maps_follow_a_rename(store: Any) -> None:
    """Tasks of Sends and items of a map that are stored are not run again."""

    class Parts(BaseModel):
        parts: list[str] = Field(default_factory=lambda: ["x", "yy", "bad"])
        sizes: list[int] = Field(default_factory=list)
        part: str = ""
        log: Annotated[list[str], append] = Field(default_factory=list)

    ran: list[str] = []

    def size(part: str) -> int:
        ran.append(part)
        if part == "bad" and "map" in BROKEN:
            raise ValueError("bad part")
        return len(part)

    def work(state: Parts) -> dict[str, Any]:
        ran.append(state.part)
        if state.part == "q" and "work" in BROKEN:
            raise ValueError("no")
        return {"log": [state.part]}

    def made(mapped: str, worker: str) -> StateGraph[Any]:
        graph = StateGraph(Parts, name="g")
        graph.add_map(mapped, size, over="parts", into="sizes")
        graph.add_node(worker, work)
        graph.add_edge(START, mapped)
        sends = [worker]
        graph.add_conditional_edges(
            mapped, lambda s: [Send(worker, {"part": p}) for p in "pq"], sends, name="fan"
        )
        graph.add_edge(worker, END)
        return graph

    BROKEN.update({"map", "work"})
    with pytest.raises(RunFailedError):
        made("m", "w").compile(store).run({}, run_id="r")
    ran.clear()
    graph = made("measure", "worker")
    graph.renamed("m", "measure")
    graph.renamed("w", "worker")
    flow = graph.compile(store)
    BROKEN.discard("map")
    with pytest.raises(RunFailedError):
        flow.resume("r")
    assert (ran, flow.get("r").state.sizes) == (["bad", "p", "q"], [1, 2, 3])
    again = made("measure", "labour")
    for old, new in (("m", "measure"), ("w", "worker"), ("worker", "labour")):
        again.renamed(old, new)
    ran.clear()
    BROKEN.clear()
    done = again.compile(store).resume("r")
    assert (ran, done.state.log) == (["q"], ["p", "q"])
    assert [task.key for task in done.steps[-1].tasks] == ["labour#0", "labour#1"]
    assert [use.first for use in done.graphs] == [0, 1, 2]


# -------------------------------------------------------------------------------------- the state


def test_a_type_that_does_not_fit_names_the_value(store: Any) -> None:
    """list[str] that becomes list[int] needs a migration; the field and the value are named."""

    class Numbers(BaseModel):
        log: Annotated[list[int], append] = Field(default_factory=list)
        n: int = 0
        reply: str = ""

    paused(line("a", "b"), store)
    graph = line("a", "b", state=Numbers, b=lambda s: {"log": [2]})
    with pytest.raises(MigrationError, match=r"field 'log'.*\['a'\].*integer"):
        graph.compile(store).resume("r")
    graph = line("a", "b", state=Numbers, version=2, b=lambda s: {"log": [2]})
    graph.migration(1, 2)(lambda values: {**values, "log": [len(one) for one in values["log"]]})
    done = graph.compile(store).resume("r")
    assert (done.state.log, done.values_at(1)["log"]) == ([1, 2], ["a"])


def test_a_type_that_still_fits_is_compatible(store: Any) -> None:
    """An int that becomes a float goes on, and is said."""

    class Floats(State):
        n: float = 0.0  # type: ignore[assignment]  # that is the change

    paused(line("a", "b"), store)
    flow = line("a", "b", state=Floats).compile(store)
    verdict = flow.verdict("r")
    assert verdict.kind == "compatible"
    assert "field 'n': it was int and is float now" in str(verdict)
    assert flow.resume("r").state.n == 1.0


def test_a_removed_reducer(store: Any) -> None:
    """A field that loses its reducer is set from then on; what was there before stays as it was."""

    class Plain(State):
        log: list[str] = Field(default_factory=list)

    paused(line("a", "b", "c"), store, steps=2)
    flow = line("a", "b", "c", state=Plain).compile(store)
    assert "its reducer was append and is none now" in str(flow.verdict("r"))
    done = flow.resume("r")
    assert [done.values_at(k)["log"] for k in range(4)] == [[], ["a"], ["a", "b"], ["c"]]
    back = line("a", "b", "c", "d").compile(store)
    assert back.get("r").values["log"] == ["c"]


def test_a_kept_result_of_a_reducer_that_is_gone(store: Any) -> None:
    """What was appended when a task was kept is appended, whatever the reducer is since."""

    class Plain(State):
        log: list[str] = Field(default_factory=lambda: ["zero"])

    class Before(State):
        log: Annotated[list[str], append] = Field(default_factory=lambda: ["zero"])

    def made(state: Any) -> StateGraph[Any]:
        graph = StateGraph(state, name="g")
        graph.add_node("a", body("a"))
        graph.add_node("b", lambda s: {"n": 1 / len(BROKEN - {"b"})} if "b" in BROKEN else {"n": 5})
        for name in "ab":
            graph.add_edge(START, name)
            graph.add_edge(name, END)
        return graph

    BROKEN.add("b")
    with pytest.raises(RunFailedError):
        made(Before).compile(store).run({}, run_id="r")
    BROKEN.clear()
    assert made(Plain).compile(store).resume("r").state.log == ["zero", "a"]


def test_a_renamed_field_moves(store: Any) -> None:
    """Values, kept results and Sends move to the new name, without a version."""

    class New(BaseModel):
        log: Annotated[list[str], append] = Field(default_factory=list)
        n: int = 0
        answer: str = ""

    BROKEN.add("b")
    with pytest.raises(RunFailedError):
        wide("a", "b").compile(store).run({"n": 3, "reply": "old"}, run_id="r")
    BROKEN.clear()

    def made() -> StateGraph[Any]:
        graph = wide("a", "b", state=New)
        graph.add_node("a2", body("a2", answer="x"))
        graph.remove_node("a2")
        return graph

    with pytest.raises(MigrationError, match=r"sets 'reply', which is gone.*renamed_field"):
        made().compile(store).resume("r")
    graph = made()
    graph.renamed_field("reply", "answer")
    flow = graph.compile(store)
    assert flow.get("r").state == New(n=3, answer="old")
    done = flow.resume("r")
    assert (done.state.answer, done.state.log) == ("a", ["a", "b", "j"])
    assert done.values_at(0)["reply"] == "old"
    assert "answer" not in done.values_at(0)


def test_defaults_of_new_fields(store: Any) -> None:
    """A default and a default factory are taken once, when the run goes on."""
    made: list[int] = []

    def number() -> int:
        made.append(1)
        return len(made)

    class More(State):
        first: int = 3
        second: int = Field(default_factory=number)

    paused(line("a", "b", "c"), store)
    flow = line("a", "b", "c", state=More).compile(store)
    run = flow.advance("r", steps=1)
    taken = run.state.second
    assert run.state.first == 3
    again = line("a", "b", "c", state=More).compile(store).resume("r")
    assert again.state.second == taken


def test_a_field_that_is_gone_stays_in_old_steps(store: Any) -> None:
    """A removed field does not hinder; its value is in the steps that were stored."""

    class Less(BaseModel):
        log: Annotated[list[str], append] = Field(default_factory=list)

    paused(line("a", "b"), store)
    done = line("a", "b", state=Less).compile(store).resume("r")
    assert (done.values, done.values_at(1)["n"]) == ({"log": ["a", "b"]}, 1)


# ------------------------------------------------------------------------- versions and migrations


def test_a_version_without_a_migration(store: Any) -> None:
    """A raised version needs a migration, and says which to write; a lower one is refused."""
    old = paused(line("a", "b", "c"), store)
    with pytest.raises(MigrationError, match=r"version 1.*version 3.*@graph\.migration\(1, 3\)"):
        line("a", "b", "c", version=3).compile(store).resume("r")
    graph = line("a", "b", "c", version=3)
    graph.migration(1, 2)(lambda values: values)
    with pytest.raises(MigrationError, match=r"@graph\.migration\(2, 3\)"):
        graph.compile(store).resume("r")
    graph.migration(2, 3)(lambda values: {**values, "n": values["n"] + 10})
    run = graph.compile(store).advance("r", steps=1)
    assert run.state.n == 11
    with pytest.raises(GraphChangedError, match=r"on version 3.*this is version 1"):
        old.resume("r")
    assert old.get("r").values["n"] == 11


@pytest.mark.parametrize(
    ("migrate", "words"),
    [
        (lambda values: None, "it returned None"),
        (lambda values: {**values, "n": {1, 2}}, "field 'n'"),
        (lambda values: {**values, "n": object()}, "no plain JSON"),
        (lambda values: {**values, "n": "x"}, "field 'n'.*'x'"),
        (lambda values: {**values, "logs": []}, "'logs'.*Did you mean 'log'"),
        (lambda values: {"log": []}, "left out 'n', 'reply'"),
        (lambda values: values["nothing"], "KeyError: 'nothing'"),
    ],
)
def test_a_migration_that_goes_wrong(store: Any, migrate: Any, words: str) -> None:
    """Graph, run and versions are named, with what was wrong; nothing of the run changes."""
    paused(line("a", "b"), store)
    before, values = stands(store), store.load("r")
    graph = line("a", "b", version=2)
    graph.migration(1, 2)(migrate)
    flow = graph.compile(store)
    with pytest.raises(MigrationError, match=words) as caught:
        flow.resume("r")
    assert "'g'" in str(caught.value)
    assert "run r" in str(caught.value)
    assert not flow.verdict("r").can_go_on
    assert (stands(store), store.load("r").steps) == (before, values.steps)


def test_migrations_are_checked_where_they_are_written() -> None:
    """A migration leads to a later version that the graph has, and there is one from each."""
    graph = line("a")
    for pair in ((2, 1), (1, 1), ("1", 2), (True, 2)):
        with pytest.raises(DefinitionError, match="migration"):
            graph.migration(*pair)  # type: ignore[arg-type]  # that is what is refused
    graph.migration(1, 2)(lambda values: values)
    with pytest.raises(DefinitionError, match="already"):
        graph.migration(1, 3)(lambda values: values)
    with pytest.raises(InvalidGraphError, match="GF113"):
        graph.compile()


def test_an_old_process_after_a_new_one(store: Any) -> None:
    """Code of before is refused once the run has been migrated, and loses nothing of it."""

    class Two(BaseModel):
        log: Annotated[list[str], append] = Field(default_factory=list)
        count: int

    old = paused(line("a", "b", "c"), store)
    graph = line("a", "b", "c", state=Two, version=2)
    graph.migration(1, 2)(lambda values: {"log": values["log"], "count": values["n"]})
    new = graph.compile(store)
    new.advance("r", steps=1)
    with pytest.raises(GraphChangedError, match="version 2"):
        old.resume("r")
    assert new.resume("r").state == Two(log=["a", "b", "c"], count=1)


# ------------------------------------------------------------------------------ subgraphs, forks


class Inner(BaseModel):
    text: str = ""
    verdict: str = ""


def nested(task: str = "sub", ask: str = "judge", inner: Any = Inner, **renames: str) -> Any:
    """Make a graph with a subgraph that asks."""
    child = StateGraph(inner, name="inner")
    child.add_node("look", lambda s: {"text": "seen"})
    child.add_question(ask, prompt="Good?", into="verdict", answer=str)
    for source, target in ((START, "look"), ("look", ask), (ask, END)):
        child.add_edge(source, target)
    graph = StateGraph(State, name="g")
    for old, new in renames.items():
        (child if new == ask else graph).renamed(old, new)
    given = {"must": "n"} if "must" in inner.model_fields else {}
    graph.add_node(task, child, input=given, output=lambda s: {"reply": s.verdict})
    graph.add_node("z", body("z"))
    for source, target in ((START, task), (task, "z"), ("z", END)):
        graph.add_edge(source, target)
    return graph


def test_an_open_subgraph_is_judged_by_itself(store: Any) -> None:
    """What differs in a subgraph is found in its own run, and named with its task."""

    class Needs(Inner):
        must: int

    nested().compile(store).run({}, run_id="r")
    before = stands(store)
    with pytest.raises(GraphChangedError, match=r"sub: node 'judge'.*graph.renamed"):
        nested(ask="check").compile(store).resume("r")
    with pytest.raises(MigrationError, match="sub: field 'must'"):
        nested(inner=Needs).compile(store).answer("r", "yes")
    assert stands(store) == before
    flow = nested("part", "check", sub="part", judge="check").compile(store)
    done = flow.answer("r", "good", key="part/check")
    assert (done.state.reply, done.path) == ("good", ["part", "z"])
    assert done.children["1:part"].path == ["look", "check"]
    assert [use.first for use in done.children["1:part"].graphs] == [0, 2]
    assert "check" in str(done)


def test_a_subgraph_that_is_done_gives_its_state(store: Any) -> None:
    """The state of a subgraph that is done is told in today's words when its task completes."""

    class Renamed(BaseModel):
        text: str = ""
        said: str = ""

    def made(inner: Any, output: Any) -> StateGraph[Any]:
        child = StateGraph(inner, name="inner")
        child.add_node("look", lambda s: {"text": "seen"})
        child.add_edge(START, "look")
        child.add_edge("look", END)
        if inner is Renamed:
            child.renamed_field("verdict", "said")
        graph = StateGraph(State, name="g")
        graph.add_node("sub", child, input={}, output=output)
        graph.add_edge(START, "sub")
        graph.add_edge("sub", END)
        return graph

    def fails(state: Any) -> dict[str, Any]:
        raise ValueError("no output")

    with pytest.raises(RunFailedError, match="no output"):
        made(Inner, fails).compile(store).run({}, run_id="r")
    done = made(Renamed, lambda s: {"reply": s.text + s.said}).compile(store).resume("r")
    assert done.state.reply == "seen"


def test_forks_before_and_after_a_change(store: Any) -> None:
    """A fork re-decides with today's graph; steps of before stay as they were, for it too."""

    class Two(BaseModel):
        log: Annotated[list[str], append] = Field(default_factory=list)
        count: int = 0
        reply: str = ""

    paused(line("a", "b", "c", "d"), store, steps=2)
    graph = line("a", "b2", "c", "d", state=Two, version=2, c=body("c", count=9))
    graph.renamed("b", "b2")
    graph.migration(1, 2)(lambda v: {"log": v["log"], "count": v["n"] * 100, "reply": v["reply"]})
    flow = graph.compile(store)
    done = flow.resume("r")
    assert done.state == Two(log=["a", "b", "c", "d"], count=9)
    for step in range(5):
        fork = flow.fork("r", step, update={"reply": f"fork at {step}"})
        assert fork.state.reply == f"fork at {step}"
        assert fork.state.log[:step] == ["a", "b", "c", "d"][:step]
        assert fork.state.count == 9
        for earlier in range(step):
            assert fork.values_at(earlier) == done.values_at(earlier)
        assert fork.values_at(step)["count"] == (100 if step < 3 else 9)
        again = flow.fork(fork.run_id, step, update={"count": 1})
        assert again.values_at(step)["count"] == 1
        assert again.values_at(step)["log"] == fork.values_at(step)["log"]


def test_a_fork_of_a_step_that_has_no_place(store: Any) -> None:
    """A fork whose step's nodes are gone is refused by name; so is a way that leads nowhere."""
    line("a", "b", "c").compile(store).run({}, run_id="r")
    flow = line("a", "c").compile(store)
    with pytest.raises(GraphChangedError, match="node 'b'"):
        flow.fork("r", 2)
    assert flow.fork("r", 3).path == ["a", "b", "c"]
    assert flow.fork("r", 1).path == ["a", "c"]


def test_saved_runs_keep_their_graphs(store: Any, tmp_path: Path) -> None:
    """A copy of a run, or of its fork, reads, draws and goes on as the run itself."""
    paused(line("a", "b", "c"), store)

    class More(State):
        extra: int = 3

    graph = line("a", "b2", "c", state=More)
    graph.renamed("b", "b2")
    flow = graph.compile(store)
    flow.advance("r", steps=1)
    fork = flow.fork("r", 1, update={"n": 5})
    for run in (flow.get("r"), fork):
        run.save(tmp_path / f"copy-{run.run_id}.db")
        copy = graph.compile(tmp_path / f"copy-{run.run_id}.db")
        read = copy.get(run.run_id)
        steps = range(len(run.steps))
        assert [read.values_at(k) for k in steps] == [run.values_at(k) for k in steps]
        assert [use.first for use in read.graphs] == [use.first for use in run.graphs]
        assert copy.resume(run.run_id).state.extra == 3
        copy.close()


# ---------------------------------------------------------------------------------------- drawing


def test_a_run_of_several_graphs_is_drawn_whole(store: Any) -> None:
    """Every arrow that ran is drawn, through nodes that are gone too; the change has its line."""
    paused(line("a", "b", "c", "d"), store, steps=2)
    graph = line("first", "x", "d")
    graph.renamed("a", "first")
    graph.renamed("c", "x")
    done = graph.compile(store).resume("r")
    pairs = [("a", "b"), ("b", "c"), ("x", "d"), (START, "a"), ("d", END)]
    assert all(done.took(*pair) for pair in pairs)
    dot = done.draw().dot
    for source, target in (("first", "b"), ("b", "x"), ("x", "d")):
        assert f"{source} -> {target}" in dot
    assert "gone from the graph since" in dot
    assert "graph changed after step 2: a is first, c is x" in str(done)
    assert "graph changed after step 2" in done.draw().picture.summary
    without_code: Run[Any] = Run(store, "r")
    assert str(without_code) == str(done)


def test_a_golden_run_has_not_changed_its_graph(db_of_before: Any) -> None:
    """That a newer graphflow writes down more of a graph is no change of it."""
    flow = db_of_before
    done = flow.answer("asks", "yes")
    assert len(done.graphs) == 2
    assert "graph changed" not in str(done)
    assert flow.verdict("child_asks").kind == "compatible"
    assert flow.verdict("child_asks").findings == ()


@pytest.fixture
def db_of_before(tmp_path: Path) -> Any:
    """Compile the golden graph on a copy of its database."""
    shutil.copy(V4, tmp_path / "golden.db")
    flow = golden.order_graph().compile(tmp_path / "golden.db")
    yield flow
    flow.close()


# ------------------------------------------------------------------ what an open step has, and more


def test_golden_runs_go_on_under_other_names(db_of_before: Any) -> None:
    """Kept tasks, memos, items, questions and children of an earlier release follow renames."""
    graph = golden.order_graph()
    definition = graph.definition
    for old, new in (("measure", "gauge"), ("price", "quote"), ("approve", "confirm"),
                     ("review", "check")):  # fmt: skip
        definition.nodes = {
            new if name == old else name: node._replace(name=new) if name == old else node
            for name, node in definition.nodes.items()
        }
        moved = {old: new}
        definition.edges = {
            edge._replace(
                source=moved.get(edge.source, edge.source),
                target=moved.get(edge.target, edge.target),
                sources=tuple(moved.get(name, name) for name in edge.sources),
            ): None
            for edge in definition.edges
        }
        graph.renamed(old, new)
    definition.routers = [
        router._replace(
            fn=lambda s: "confirm" if "ask" in s.text else "check", targets=("confirm", "check")
        )
        for router in definition.routers
    ]
    flow = graph.compile(db_of_before.store.path)
    assert flow.answer("asks", "yes", key="confirm").state.verdict == "yes"
    assert flow.answer("child_asks", "good", key="check/judge").state.verdict == "good"
    golden.ALLOWS.update({"map", "price"})
    done = flow.resume("failed")
    assert (done.status, done.state.sizes, done.state.total) == ("done", [3, 6, 4], 26)
    assert [(m.key, m.value_json) for m in done.records.memos] == [("quote", "15")]
    assert [(i.key, i.ix) for i in done.records.items if i.ix != 1] == [("gauge", 0), ("gauge", 2)]
    assert {a.node for a in done.attempts} == {"gauge", "quote"}
    for run in flow.runs():
        assert "orders" in str(run)
    flow.close()


def test_questions_and_memos_of_a_body_follow_a_rename(store: Any) -> None:
    """What a body has asked and remembered is there when its node has another name."""
    ran: list[str] = []

    def deploy(state: State, ctx: Any) -> dict[str, Any]:
        built = ctx.memo("build", lambda: ran.append("built") or "v7", type=str)
        yes = ctx.ask("approve", f"Deploy {built}?", answer=bool)
        return {"reply": f"{built} {yes}"}

    line("a", "deploy", deploy=deploy).compile(store).run({}, run_id="r")
    graph = line("a", "ship", ship=deploy)
    graph.renamed("deploy", "ship")
    flow = graph.compile(store)
    done = flow.answer("r", True, key="ship:approve")
    assert (done.state.reply, ran) == ("v7 True", ["built"])


def test_an_answer_can_be_stored_while_the_graph_is_refused(store: Any) -> None:
    """A person's answer is not lost because the code is not ready: it is kept for later."""
    paused(asks(), store, steps=2)
    broken = asks("approve").compile(store)
    with pytest.raises(GraphChangedError):
        broken.answer("r", "yes")
    kept = broken.answer("r", "yes", resume=False)
    assert [q.answer_json for q in kept.questions] == ['"yes"']
    graph = asks("approve")
    graph.renamed("ask", "approve")
    assert graph.compile(store).resume("r").state.reply == "yes"


def test_fallbacks_and_gotos_that_are_kept_follow_a_rename(store: Any) -> None:
    """Where a kept task leads to has today's name when its step closes."""

    def made(other: str, slow: str) -> StateGraph[Any]:
        graph = StateGraph(State, name="g")
        graph.add_node("a", lambda s: 1 / 0, fallback=other)
        graph.add_node("b", lambda s: Command(update={"n": 5}, goto=other), targets=[other])
        graph.add_node(slow, body(slow))
        graph.add_node(other, body(other))
        for name in ("a", "b", slow):
            graph.add_edge(START, name)
        graph.add_edge("a", END)
        graph.add_edge(slow, END)
        graph.add_edge(other, END)
        return graph

    BROKEN.add("slow")
    with pytest.raises(RunFailedError):
        made("other", "slow").compile(store).run({}, run_id="r")
    BROKEN.clear()
    with pytest.raises(GraphChangedError, match="node 'other'"):
        made("another", "slow").compile(store).resume("r")
    graph = made("another", "slow")
    graph.renamed("other", "another")
    done = graph.compile(store).resume("r")
    assert done.path == ["a", "b", "slow", "another"]
    assert done.took("b", "another")


def test_a_verdict_changes_nothing(store: Any) -> None:
    """Judging reads only: run, owner and epoch stay, also of a run that is done."""
    flow = paused(line("a", "b"), store)
    before = stands(store), store.load("r")
    changed = line("a", "c").compile(store)
    for _ in range(2):
        assert changed.verdict("r").kind == "refused"
        assert flow.verdict("r").kind == "same"
    assert (stands(store), store.load("r").steps) == (before[0], before[1].steps)
    flow.resume("r")
    assert changed.verdict("r").can_go_on
    assert changed.resume("r").status == "done"


def test_an_unchanged_graph_is_adopted_once(store: Any) -> None:
    """A run that goes on with the same graph, or twice with the same new one, adopts no more."""
    paused(line("a", "b", "c", "d"), store)
    line("a", "b", "c", "d").compile(store).advance("r", steps=1)
    assert store.load("r").graphs == []
    other = line("a", "b", "c", "d", "e").compile(store)
    other.advance("r", steps=1)
    other.advance("r", steps=1)
    assert [use.first for use in store.load("r").graphs] == [0, 3]
    assert other.resume("r").path == ["a", "b", "c", "d", "e"]


def test_changes_in_a_notebook_cell(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that runs again replaces what it said of the past, and may take it back."""
    notebook = Notebook()
    install(monkeypatch, notebook)
    graph = line("a", "b", version=2)
    notebook.run("one", lambda: graph.renamed("old", "b"), lambda: graph.renamed("older", "a"))
    notebook.run("two", lambda: graph.migration(1, 2)(lambda values: values))
    notebook.run("two", lambda: graph.migration(1, 2)(lambda values: {**values}))
    assert graph.definition.changes.nodes == {"old": "b", "older": "a"}
    notebook.run("one", lambda: graph.renamed("old", "a"))
    assert graph.definition.changes.nodes == {"old": "a"}
    notebook.run("two", lambda: graph.add_node("x", body("x")))
    assert graph.definition.changes.migrations == {}
