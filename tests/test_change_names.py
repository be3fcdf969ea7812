"""Names that were changed while runs are open: chains, names that move up together, names again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, JsonValue, create_model

from graphflow import END, START, Context, Escalate, RunFailedError, StateGraph, append
from graphflow.change.declared import today
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    AnswerError,
    DefinitionError,
    GraphChangedError,
    MigrationError,
    RunExistsError,
)


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)


class Old(BaseModel):
    a: int = 1
    b: int = 2


class New(BaseModel):
    b: int = 10
    c: int = 20


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Path) -> Any:
    """Both kinds of store."""
    opened = (
        MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(tmp_path / "r.db")
    )
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("stored", "known", "expected"),
    [
        ("a", "c", {"a": "c"}),
        ("a", "ac", {"a": "c"}),
        ("a", "bc", {"a": "c"}),  # another `b` since
        ("b", "bc", {"b": "c"}),
        ("bc", "bc", {"b": "b", "c": "c"}),
        ("ac", "abc", {"a": "a", "c": "c"}),
        ("ab", "ac", {"a": "a", "b": "c"}),
        ("ab", "bc", {"a": "b", "b": "c"}),  # moved up together
        ("ax", "bc", {"a": "c", "x": None}),
        ("ab", "b", {"a": "b", "b": "b"}),
    ],
)
def test_a_chain_of_names(stored: str, known: str, expected: dict[str, str | None]) -> None:
    """Of `a` to `b` and `b` to `c` those count that came after the graph was stored."""
    renames = {"a": "b", "b": "c"}
    assert {name: today(name, renames, stored, known) for name in stored} == expected


def test_fields_never_fall_together() -> None:
    """Each stored field has a value of its own: where a name is taken, the other is gone."""
    found = [today(name, {"a": "b"}, "ab", "b", merges=False) for name in "ab"]
    assert found == [None, "b"]
    found = [today(name, {"a": "b", "b": "c"}, "ab", "c", merges=False) for name in "ab"]
    assert found == [None, "c"]


def line(*names: str, renames: Sequence[Sequence[str]] = ()) -> StateGraph[Any]:
    """Make a graph of nodes in a row, each of which writes its name."""
    graph = StateGraph(State, name="g")
    for name in names:
        graph.add_node(name, lambda _state, name=name: {"log": [name]})
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    for old, new in renames:
        graph.renamed(old, new)
    return graph


def test_a_name_in_the_middle_of_a_chain_that_is_another_node_since(store: Any) -> None:
    """A run before `a` goes on at `c`, and not at the node that has the name between now."""
    flow = line("p", "a").compile(store)
    flow.start({}, run_id="r")
    flow.advance("r", steps=1)
    flow = line("p", "b", "c", renames=("ab", "bc")).compile(store)
    assert "node 'a': it is called 'c' now" in str(flow.verdict("r"))
    assert flow.resume("r").path == ["p", "c"]


def asking(*names: str, renames: Sequence[Sequence[str]] = ()) -> StateGraph[Any]:
    """Make a graph of nodes side by side, each of which remembers and asks."""
    graph = StateGraph(State, name="g")

    def ask(name: str) -> Any:
        def act(_state: Any, ctx: Context) -> dict[str, Any]:
            seen = ctx.memo("seen", lambda: name, type=str)
            return {"log": [f"{seen}: {ctx.ask('well', f'{name}?', answer=str)}"]}

        return act

    for name in names:
        graph.add_node(name, ask(name))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    for old, new in renames:
        graph.renamed(old, new)
    return graph


def test_nodes_that_move_up_together_keep_what_they_have(store: Any) -> None:
    """`a` is `b` now and `b` is `c`: questions and memos follow, though their names were taken."""
    asking("a", "b").compile(store).run({}, run_id="r")
    flow = asking("b", "c", renames=("ab", "bc")).compile(store)
    run = flow.answer("r", "first", key="a:well")
    assert sorted(run.open_questions) == ["c:well"]
    assert flow.answer("r", "second", key="c:well").state.log == ["a: first", "b: second"]


def test_a_key_that_another_question_has_now_answers_neither(store: Any) -> None:
    """`b` is `c` now and `a` is `b`: who says `b` is asked which is meant."""
    asking("a", "b").compile(store).run({}, run_id="r")
    flow = asking("b", "c", renames=("ab", "bc")).compile(store)
    with pytest.raises(AnswerError, match="'b:well' is called 'c:well' now, and another"):
        flow.answer("r", "which?", key="b:well")
    assert sorted(flow.get("r").open_questions) == ["b:well", "c:well"]
    flow.answer("r", "first", key="b:well")
    assert flow.answer("r", "second", key="c:well").state.log == ["a: first", "b: second"]


def nested(*names: str, fails: str = "", renames: Sequence[Sequence[str]] = ()) -> StateGraph[Any]:
    """Make a graph of subgraphs side by side; one may get no input."""
    inner = StateGraph(State, name="inner")
    inner.add_question("q", prompt="Well?", into=lambda _answer: {}, answer=str)
    inner.add_edge(START, "q")
    inner.add_edge("q", END)
    graph = StateGraph(State, name="g")
    for name in names:
        given = (lambda _state: 1 / 0) if name == fails else (lambda _state: {})
        graph.add_node(name, inner, input=given, output={})
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    for old, new in renames:
        graph.renamed(old, new)
    return graph


def test_a_subgraph_is_not_taken_for_another_one(store: Any) -> None:
    """A task that has no run yet does not get the one that another task began under its name."""
    with pytest.raises(RunFailedError):
        nested("z", "a", fails="z").compile(store).run({}, run_id="r")
    flow = nested("a", "b", renames=("za", "ab")).compile(store)
    assert "would have the id 'r/1:a', which that of 'b' has" in str(flow.verdict("r"))
    with pytest.raises(GraphChangedError, match="would have the id"):
        flow.resume("r")
    first = nested("z", "b", renames=["ab"]).compile(store)
    first.resume("r")
    flow.answer("r", "yes", key="b/q")
    assert flow.answer("r", "yes", key="a/q").status == "done"


def stays(state: Any, version: int = 1, renames: Sequence[Sequence[str]] = ()) -> StateGraph[Any]:
    """Make a graph of one node that does nothing."""
    graph = StateGraph(state, name="g", version=version)
    graph.add_node("n", lambda _state: None)
    graph.add_edge(START, "n")
    graph.add_edge("n", END)
    for old, new in renames:
        graph.renamed_field(old, new)
    return graph


def test_fields_that_move_up_together_keep_their_values(store: Any) -> None:
    """`a` is `b` now and `b` is `c`: no value is lost, or taken for another."""
    stays(Old).compile(store).start({"a": 100, "b": 200}, run_id="r")
    flow = stays(New, renames=("ab", "bc")).compile(store)
    assert flow.resume("r").values == {"b": 100, "c": 200}
    assert flow.run({"b": 100, "c": 200}, run_id="r").status == "done"
    with pytest.raises(RunExistsError):
        flow.run({"b": 200}, run_id="r")


def test_a_field_whose_new_name_is_taken_is_said_to_be_gone(store: Any) -> None:
    """The value that the run has under the new name stays; the verdict does not hide the other."""

    class OnlyB(BaseModel):
        b: int = 0

    stays(Old).compile(store).start({"a": 100, "b": 200}, run_id="r")
    flow = stays(OnlyB, renames=("ab",)).compile(store)
    assert "field 'a': it is gone" in str(flow.verdict("r"))
    assert flow.resume("r").values == {"b": 200}


def test_a_migration_that_loses_a_renamed_field(store: Any) -> None:
    """A migration gives a renamed field under one of its names, or is refused."""

    class Later(BaseModel):
        total: int = 0
        b: int = 0

    stays(Old).compile(store).start({"a": 100}, run_id="r")
    graph = stays(Later, version=2, renames=[("a", "total")])
    graph.migration(1, 2)(lambda values: {"b": values["b"]})
    with pytest.raises(MigrationError, match="left out 'a'"):
        graph.compile(store).resume("r")
    graph = stays(Later, version=2, renames=[("a", "total")])
    graph.migration(1, 2)(lambda values: {"b": values["b"], "total": values["a"] + 1})
    assert graph.compile(store).resume("r").values == {"total": 101, "b": 2}


def test_a_name_is_renamed_once() -> None:
    """A second new name would quietly take the place of the first: that is an error."""
    graph = line("b", "c", renames=("ab", "ab"))
    with pytest.raises(DefinitionError, match="renamed to 'b' already"):
        graph.renamed("a", "c")
    graph.renamed_field("x", "log")
    with pytest.raises(DefinitionError, match="renamed to 'log' already"):
        graph.renamed_field("x", "logs")


def joined(*joins: str, renames: Sequence[Sequence[str]] = ()) -> StateGraph[Any]:
    """Make a graph whose joins wait for a node that takes a step longer."""
    graph = StateGraph(State, name="g")
    for name in ("a", "slow", "slower"):
        graph.add_node(name, lambda _state: None)
    for source, target in ((START, "a"), (START, "slow"), ("slow", "slower")):
        graph.add_edge(source, target)
    for join in joins:
        graph.add_node(join, lambda _state: None)
        graph.add_edge(["a", "slower"], join)
        graph.add_edge(join, END)
    for old, new in renames:
        graph.renamed(old, new)
    return graph


def test_joins_that_wait_do_not_become_one(store: Any) -> None:
    """Two joins that have collected arrows cannot be one today: what one has would be lost."""
    flow = joined("j", "k").compile(store)
    flow.start({}, run_id="r")
    flow.advance("r", steps=1)
    verdict = joined("j", renames=("kj",)).compile(store).verdict("r")
    assert (verdict.kind, "both be of it" in str(verdict)) == ("refused", True)


def ways(ask: str, field: str, version: int = 1, *, is_renamed: bool = False) -> StateGraph[Any]:
    """Make a graph with a way to a question that is not taken."""
    state = create_model("S", **{field: (str, ""), "n": (int, 0), "twice": (int, 0)})
    graph = StateGraph(state, name="g", version=version)
    graph.add_node("a", lambda _state: {"n": 1})
    graph.add_node("b", lambda _state: None)
    graph.add_question(ask, prompt="Well?", into=field, answer=str)
    graph.add_conditional_edges("a", route, ["b", ask])
    graph.add_edge(START, "a")
    graph.add_edge("b", END)
    graph.add_edge(ask, END)
    if is_renamed:
        graph.renamed("ask", ask)
        graph.renamed_field("reply", field)
    if version == 2:
        graph.migration(1, 2)(lambda values: {**values, "twice": 2 * values["n"]})
    return graph


def route(_state: Any) -> str:
    """Go the first way."""
    return "b"


@pytest.mark.parametrize("version", [1, 2])
def test_a_fork_of_a_fork_keeps_what_that_changed(store: Any, version: int) -> None:
    """What a fork chose and set is told in the words of today when its first step is forked."""
    flow = ways("ask", "reply").compile(store)
    flow.run({}, run_id="r")
    first = flow.fork("r", 1, update={"reply": "draft", "n": 5}, choose={"route": "ask"})
    today = ways("approve", "answer", version, is_renamed=True).compile(store)
    again = today.fork(first.run_id, 1)
    assert list(again.open_questions) == ["approve"]
    twice = 10 if version == 2 else 0
    assert again.values == {"answer": "draft", "n": 5, "twice": twice}
    assert today.fork(first.run_id, 1, choose={"a": "b"}).path == ["a", "b"]


def counting(*names: str, version: int = 1, former: Sequence[str] = ()) -> StateGraph[Any]:
    """Make a graph that asks, with numbers under these names, which had others before."""
    state = create_model("S", said=(str, ""), **dict.fromkeys(names, (int, 0)))
    graph = StateGraph(state, name="g", version=version)
    graph.add_question("ask", prompt="Well?", into="said")
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    for name in former:
        graph.renamed_field(name, names[0])
    return graph


def test_two_fields_that_would_be_one_need_a_migration(store: Any) -> None:
    """One of two values would be lost; what a migration makes of both is taken."""
    counting("won", "drawn").compile(store).run({"won": 3, "drawn": 4}, run_id="r")
    today = counting("played", former=("won", "drawn")).compile(store)
    verdict = today.verdict("r")
    assert verdict.kind == "migration"
    assert "the run has a value for it as 'won' and as 'drawn'" in str(verdict)
    with pytest.raises(MigrationError, match="migration"):
        today.answer("r", "yes")

    later = counting("played", version=2, former=("won", "drawn"))
    later.migration(1, 2)(lambda v: {"said": v["said"], "played": v["won"] + v["drawn"]})
    assert later.compile(store).answer("r", "yes").values == {"said": "yes", "played": 7}


def flagged(code: Any) -> StateGraph[Any]:
    """Make a graph that sets a flag, which may be any JSON."""
    graph = StateGraph(create_model("S", flag=(JsonValue, 0)), name="g")
    graph.add_node("a", code)
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    return graph


@pytest.mark.parametrize(("was", "now"), [(1, True), (0, False), (1, 1.0), ([1], [True])])
def test_a_fork_of_a_fork_keeps_what_that_set_to_the_letter(store: Any, was: Any, now: Any) -> None:
    """In JSON 1, 1.0 and true are others, though Python calls them equal."""
    flow = flagged(lambda _state: {"flag": was}).compile(store)
    flow.run({}, run_id="r")
    first = flow.fork("r", 1, update={"flag": now})
    again = flagged(lambda _state: {"flag": 7}).compile(store).fork(first.run_id, 1)
    assert repr(again.values["flag"]) == repr(now)


class Inner(BaseModel):
    given: int = 0
    said: str = ""


def named(reply: str, items: str, done: str) -> StateGraph[Any]:
    """Make a graph whose nodes of all kinds put something into fields, which are called so."""
    inner = StateGraph(Inner, name="inner")
    inner.add_node("say", lambda _state: {"said": "it"})
    inner.add_edge(START, "say")
    inner.add_edge("say", END)
    fields: dict[str, Any] = {reply: (str, ""), items: (list[int], []), done: (list[int], [])}
    graph = StateGraph(create_model("S", n=(int, 0), **fields), name="g")
    graph.add_node("try", lambda _state: None, escalate=Escalate(into=reply))
    graph.add_question("ask", prompt="Well?", into=reply)
    graph.add_map("each", lambda item: item, over=items, into=done)
    graph.add_node("sub", inner, input={"given": "n"}, output={reply: "said"})
    for source, target in (START, "ask"), ("ask", "try"), ("try", "each"), ("each", "sub"):
        graph.add_edge(source, target)
    graph.add_edge("sub", END)
    return graph


def test_a_field_that_is_renamed_changes_no_node(store: Any) -> None:
    """Only the field is named: what nodes put into it, or read of it, is the same as before."""
    named("reply", "items", "done").compile(store).run({}, run_id="r")
    today = named("answer", "parts", "all")
    for old, new in ("reply", "answer"), ("items", "parts"), ("done", "all"):
        today.renamed_field(old, new)
    verdict = today.compile(store).verdict("r")
    assert verdict.kind == "compatible"
    assert {finding.what for finding in verdict.findings} == {
        "field 'reply'",
        "field 'items'",
        "field 'done'",
    }
    other = named("answer", "parts", "all")
    other.renamed_field("items", "parts")
    other.renamed_field("done", "all")
    told = {finding.what for finding in other.compile(store).verdict("r").findings}
    assert {"node 'ask'", "node 'try'", "node 'sub'"} <= told  # a field of its own is another one
    assert "node 'each'" not in told
