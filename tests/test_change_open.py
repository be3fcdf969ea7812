"""Graphs that change under a step that is half done: maps, questions, subgraphs, and the words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, JsonValue, StrictBool, create_model

from graphflow import END, START, RunFailedError, Send, StateGraph, append
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import AnswerError, DefinitionError, MigrationError

RAN: list[JsonValue] = []
"""The items that ran."""


class Listed(BaseModel):
    items: list[JsonValue] = [1, 2, 3, 4]
    others: list[JsonValue] = [9, 9, 9, 9]
    out: list[JsonValue] = []


class Renamed(BaseModel):
    lines: list[JsonValue] = [1, 2, 3, 4]
    others: list[JsonValue] = [9, 9, 9, 9]
    out: list[JsonValue] = []


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Path) -> Any:
    """Both kinds of store."""
    opened = (
        MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(tmp_path / "r.db")
    )
    yield opened
    opened.close()


def tenfold(item: Any) -> Any:
    """Multiply, and note the item."""
    RAN.append(item)
    return item * 10


def but_3(item: Any) -> Any:
    """Multiply all but 3."""
    if item == 3:
        raise ValueError("three")
    return tenfold(item)


def mapped(fn: Any, *, over: Any = "items", state: Any = Listed, version: int = 1) -> Any:
    """Make a graph of one map."""
    graph = StateGraph(state, name="m", version=version)
    graph.add_map("m", fn, over=over, into="out", result=JsonValue)
    graph.add_edge(START, "m")
    graph.add_edge("m", END)
    return graph


def half(store: Any, **more: Any) -> str:
    """Run all items of a map but one, and forget which ran."""
    with pytest.raises(RunFailedError):
        mapped(but_3, **more).compile(store).run({}, run_id="r")
    RAN.clear()
    return "r"


def migrated(change: Mapping[str, Any], **more: Any) -> Any:
    """Make the graph of a later version, whose migration sets fields."""
    graph = mapped(tenfold, version=2, **more)
    graph.migration(1, 2)(lambda values: {**values, **change})
    return graph


def kept_items(store: Any) -> list[int]:
    """List the items of the run whose results are stored."""
    return sorted(item.ix for item in store.load("r").items)


@pytest.mark.parametrize(
    ("items", "out", "ran", "told"),
    [
        ([4, 3, 2, 1], [40, 30, 20, 10], [4, 3, 2, 1], "items 0, 1, 3"),
        ([1, 3, 2, 4], [10, 30, 20, 40], [3, 2], "item 1"),
        ([40, 50], [400, 500], [40, 50], "items 0, 1, 3"),
        ([1, 2], [10, 20], [], "item 3"),
        ([1, 2, 3, 4, 5], [10, 20, 30, 40, 50], [3, 5], ""),
        ([1.0, 2, 3, 4], [10.0, 20, 30, 40], [1.0, 3], "item 0"),
        ([True, 2, 3, 4], [10, 20, 30, 40], [True, 3], "item 0"),
        ([], [], [], "items 0, 1, 3"),
    ],
)
def test_an_item_keeps_its_result_only_if_it_is_the_same(
    store: Any, items: list[Any], out: list[Any], ran: list[Any], told: str
) -> None:
    """A migration that changes a list has the items that are others run again, and no more."""
    run_id = half(store)
    flow = migrated({"items": items}).compile(store)
    verdict = flow.verdict(run_id)
    assert verdict.kind == "compatible"
    words = f"map 'm': the items of 'items' are others now: it runs again without {told and 'what'}"
    assert (words in str(verdict)) == bool(told)
    assert f"stored of {told}, which" in str(verdict) or not told
    done = flow.resume(run_id)
    assert (done.values["out"], RAN) == (out, ran)
    assert flow.get(run_id).values["out"] == out


def test_another_list_of_a_map(store: Any) -> None:
    """A map that runs over another field uses nothing that it had, and says so."""
    run_id = half(store)
    flow = mapped(tenfold, over="others").compile(store)
    assert "it ran over 'items' and runs over 'others' now" in str(flow.verdict(run_id))
    assert flow.resume(run_id).values["out"] == [90] * 4
    assert RAN == [9] * 4


@pytest.mark.parametrize("is_told", [True, False])
def test_a_renamed_list_of_a_map(store: Any, is_told: bool) -> None:
    """A renamed list keeps what ran; without a word it is a new one, and all of it runs."""
    run_id = half(store)
    graph = mapped(tenfold, over="lines", state=Renamed)
    if is_told:
        graph.renamed_field("items", "lines")
    flow = graph.compile(store)
    done = flow.resume(run_id)
    assert (done.values["out"], RAN) == ([10, 20, 30, 40], [3] if is_told else [1, 2, 3, 4])


def test_a_map_over_a_function(store: Any) -> None:
    """What a function gives is known only while it and the state stay as they were."""

    def over(state: Any) -> list[Any]:
        return list(state.items)

    def other(state: Any) -> list[Any]:
        return list(reversed(state.items))

    for changed, out, ran in (
        (mapped(tenfold, over=over), [10, 20, 30, 40], [3]),
        (mapped(tenfold, over=other), [40, 30, 20, 10], [4, 3, 2, 1]),
        (migrated({"items": [4, 3, 2, 1]}, over=over), [40, 30, 20, 10], [4, 3, 2, 1]),
    ):
        run_id = half(store, over=over)
        done = changed.compile(store).resume(run_id)
        assert (done.values["out"], RAN) == (out, ran)
        store.delete("r")


def test_dropped_items_go_with_the_adoption(store: Any) -> None:
    """What no longer holds goes in the same write; the failure of an attempt stays."""
    run_id = half(store)
    assert kept_items(store) == [0, 1, 3]
    changed = migrated({"items": [1, 3, 2, 4]})
    changed._definition.nodes["m"] = changed._definition.nodes["m"]._replace(fn=but_3)
    with pytest.raises(RunFailedError):
        changed.compile(store).resume(run_id)
    assert kept_items(store) == [0, 2, 3]
    assert [one.key for one in store.load("r").attempts] == ["m[2]", "m[1]"]
    assert mapped(tenfold, version=2).compile(store).resume(run_id).values["out"] == [
        10, 30, 20, 40,
    ]  # fmt: skip


class Sent(BaseModel):
    items: list[int] = []
    more: list[int] = [3, 5]
    out: Annotated[list[int], append] = []


def sends(fn: Any, version: int = 1) -> Any:
    """Make a graph of one map that Sends start twice, each with a list of its own."""
    graph = StateGraph(Sent, name="m", version=version)
    graph.add_node("fan", lambda state: {})
    graph.add_map("m", fn, over="items", into="out", result=int)
    graph.add_edge(START, "fan")
    graph.add_conditional_edges(
        "fan", lambda s: [Send("m", {"items": [1, 3]}), Send("m", {"items": s.more})], ["m"]
    )
    graph.add_edge("m", END)
    return graph


def test_items_of_sends_are_compared_with_what_was_sent(store: Any) -> None:
    """A map that a Send started looks at the list that it was sent, not at that of the state."""
    with pytest.raises(RunFailedError):
        sends(but_3).compile(store).run({}, run_id="r")
    RAN.clear()
    graph = sends(tenfold, version=2)
    graph.migration(1, 2)(lambda values: {**values, "items": [7, *values["items"][1:]]})
    done = graph.compile(store).resume("r")
    # What was sent goes through the migration, too
    assert (done.values["out"], sorted(RAN)) == ([70, 30, 70, 50], [3, 7, 7])


def test_memos_of_an_item_that_is_another(store: Any) -> None:
    """What a body remembered of an item is not used for another one."""

    def first(item: int, ctx: Any) -> int:
        ctx.memo("made", lambda: item * 10)
        raise ValueError("later")

    def then(item: int, ctx: Any) -> Any:
        return ctx.memo("made", lambda: tenfold(item))

    with pytest.raises(RunFailedError):
        mapped(first).compile(store).run({}, run_id="r")
    RAN.clear()
    fresh = mapped(then, version=2)
    fresh.migration(1, 2)(lambda values: {**values, "items": [1, 3, 2, 4]})
    done = fresh.compile(store).resume("r")
    assert (done.values["out"], RAN) == ([10, 30, 20, 40], [3, 2])


def test_an_answer_about_an_item_is_not_given_to_another(store: Any) -> None:
    """An item that has asked keeps its place, or the run waits for the list that it had."""

    def asks(item: int, ctx: Any) -> Any:
        return ctx.ask("ok", f"Take {item}?", answer=str)

    run = mapped(asks).compile(store).run({}, run_id="r")
    assert len(run.open_questions) == 4
    changed = mapped(asks, version=2)
    changed.migration(1, 2)(lambda values: {**values, "items": [1, 2, 4, 3]})
    flow = changed.compile(store)
    assert "map 'm': the items of 'items' are others now, and item 2 has asked" in str(
        flow.verdict("r")
    )
    with pytest.raises(MigrationError, match="Keep its list until the step is committed"):
        flow.resume("r")


class Asking(BaseModel):
    b: str = ""


def node(kind: str, *, inner: str = "question", reads: Any = None) -> Any:
    """Make a graph whose one node is a question, plain, or a subgraph."""
    graph = StateGraph(Asking, name="q")
    if kind == "question":
        graph.add_question("ask", prompt="Which?", into="b", answer=str)
    elif kind == "plain":
        graph.add_node("ask", lambda state: {"b": "plain"})
    else:
        below = StateGraph(Asking, name="below")
        if inner == "question":
            below.add_question("it", prompt="Below?", into="b", answer=str)
        else:
            below.add_node("it", lambda state: {"b": "below"})
        below.add_edge(START, "it")
        below.add_edge("it", END)
        graph.add_node(
            "ask", below, input={"b": "b"}, output={"b": "b"} if reads is None else reads
        )
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


@pytest.mark.parametrize(
    ("before", "after", "b"),
    [
        (node("question"), node("plain"), "plain"),
        (node("graph"), node("plain"), "plain"),
        (node("graph"), node("graph", inner="plain"), "below"),
        (node("question"), node("graph", inner="plain"), "below"),
    ],
)
def test_a_question_that_is_none_any_more_does_not_hold_a_run(
    store: Any, before: Any, after: Any, b: str
) -> None:
    """`resume` runs what stands there now; nobody is asked, and what was asked can be read."""
    run = before.compile(store).run({}, run_id="r")
    asked = run.open_questions
    assert len(asked) == 1
    done = after.compile(store).resume("r")
    assert (done.status, done.values["b"], done.open_questions) == ("done", b, {})
    told = [*store.load("r").questions, *(q for c in store.load("r").children for q in c.questions)]
    assert [one.answer_json for one in told] == [None]


@pytest.mark.parametrize("answer_first", [False, True])
def test_a_subgraph_that_became_a_question(store: Any, answer_first: bool) -> None:
    """Only the new question is open; that of the child which nobody runs any more is not."""
    node("graph").compile(store).run({}, run_id="r")
    flow = node("question").compile(store)
    if not answer_first:
        run = flow.resume("r")
        assert {key: one.prompt for key, one in run.open_questions.items()} == {"ask": "Which?"}
        assert run.open == {"ask": "asking"}
    else:
        with pytest.raises(AnswerError, match=r"flow\.resume"):
            flow.answer("r", "no")
        flow.resume("r")
    assert flow.answer("r", "this").values["b"] == "this"


def test_what_goes_into_a_subgraph_is_part_of_the_graph(store: Any) -> None:
    """Another `input=` or `output=` is told, whether it is names or a function."""
    node("graph").compile(store).run({}, run_id="r")
    for reads in ({}, lambda state: {"b": "x"}):
        verdict = node("graph", reads=reads).compile(store).verdict("r")
        assert verdict.kind == "compatible"
        words = "node 'ask': what goes into its subgraph or comes out of it has changed"
        assert words in str(verdict)
    assert node("graph").compile(store).verdict("r").kind == "same"


@pytest.mark.parametrize("version", [-1, 2**31, 2**70, True, 1.0, "2"])
def test_versions_are_checked_where_they_are_written(version: Any) -> None:
    """A version is a whole number that a store can keep."""
    with pytest.raises(DefinitionError, match="pass a whole number from 0 to 2147483647"):
        StateGraph(Asking, version=version)


@pytest.mark.parametrize("names", [(START, "ask"), ("ask", END), ("START", "ask")])
def test_start_and_end_keep_their_names(names: tuple[str, str]) -> None:
    """START and END are no nodes, and are not renamed."""
    with pytest.raises(DefinitionError, match="is no node and keeps its name"):
        node("plain").renamed(*names)


def test_a_node_that_the_run_needs_is_not_called_needless(store: Any) -> None:
    """What is gone and needed is said once, and not that the run can do without it."""
    node("question").compile(store).run({}, run_id="r")
    graph = StateGraph(Asking, name="q")
    graph.add_node("other", lambda state: {})
    graph.add_edge(START, "other")
    graph.add_edge("other", END)
    verdict = graph.compile(store).verdict("r")
    assert verdict.kind == "refused"
    assert "the run does not need it" not in str(verdict)


class Before(BaseModel):
    amount: int = 0
    log: list[str] = Field(default_factory=list)


class After(BaseModel):
    total: int = 0
    log: list[str] = []


def paid(state: Any) -> Any:
    """Make a graph of a question over a state."""
    graph = StateGraph(state, name="pay")
    graph.add_question("ask", prompt="Pay?", into="log", answer=list[str])
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def test_a_field_that_may_only_have_another_name(store: Any) -> None:
    """A gone field beside a new one of its type is told first, with what to write."""
    paid(Before).compile(store).run({"amount": 5}, run_id="r")
    verdict = paid(After).compile(store).verdict("r")
    assert verdict.kind == "compatible"
    first = verdict.findings[0]
    assert first.what == "field 'amount'"
    assert "the run goes on without its value; 'total' is new" in first.words
    assert 'graph.renamed_field("amount", "total")' in first.words
    told = paid(After)
    told.renamed_field("amount", "total")
    assert "renamed_field" not in str(told.compile(store).verdict("r"))


def test_a_default_that_changed_is_called_so(store: Any) -> None:
    """A field of the same type whose default moved is not said to be of another type."""
    paid(Before).compile(store).run({"amount": 5}, run_id="r")
    words = str(paid(After).compile(store).verdict("r"))
    assert "what list[str] is has changed" not in words
    assert "field 'log': it is list[str] still, but its default, a bound or a model" in words


def joined(join: bool, answers: Mapping[Any, str]) -> Any:
    """Make a graph of two ways that come together."""
    graph = StateGraph(Listed, name="m")
    for name in ("a", "b", "z"):
        graph.add_node(name, lambda _state: None)
    graph.add_conditional_edges(START, choose, answers)
    sources: list[Any] = [["a", "b"]] if join else ["a", "b"]
    for source in sources:
        graph.add_edge(source, "z")
    graph.add_edge("z", END)
    return graph


def choose(_state: Listed) -> bool:
    """Go the first way."""
    return True


def test_arrows_that_mean_something_else_are_told(store: Any) -> None:
    """A list of sources that became plain edges, or an answer that leads elsewhere, is said."""
    joined(True, {True: "a", False: "b", None: "a"}).compile(store).start({}, run_id="r")
    plain = joined(False, {True: "b", False: "a", None: "a"}).compile(store)
    verdict = str(plain.verdict("r"))
    assert "edge 'a' -> 'z': it is not waited for any more" in verdict
    assert "router 'choose' after 'START': it may lead elsewhere" in verdict
    same = joined(True, {True: "a", False: "b", None: "b"}).compile(store)
    assert "may lead elsewhere" in str(same.verdict("r"))


@pytest.mark.parametrize(
    ("before", "after", "told"), [(int, StrictBool, True), (JsonValue, JsonValue, 1.0)]
)
def test_a_migration_to_a_value_that_is_equal_in_python(
    store: Any, before: Any, after: Any, told: Any
) -> None:
    """1 is neither true nor 1.0 in JSON: what a migration makes of it is stored, and read back."""

    def made(kind: Any, first: Any, version: int) -> StateGraph[Any]:
        graph = StateGraph(
            create_model("S", x=(kind, first), seen=(str, "")), name="g", version=version
        )
        graph.add_node("a", lambda state: {"seen": repr(state.x)})
        graph.add_edge(START, "a")
        graph.add_edge("a", END)
        return graph

    made(before, 1, 1).compile(store).start({}, run_id="r")
    graph = made(after, told, 2)
    graph.migration(1, 2)(lambda values: {**values, "x": told})
    run = graph.compile(store).resume("r")
    assert repr(run.values) == repr({"x": told, "seen": repr(told)})
    assert type(run.state.x) is type(told)


def answered(answer: Any, *, within: bool) -> Any:
    """Make a graph with a question whose answer is of a type, in a subgraph or not."""
    graph = StateGraph(Listed, name="inner" if within else "m")
    graph.add_question("q", prompt="Well?", into=lambda _answer: {}, answer=answer)
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    if not within:
        return graph
    outer = StateGraph(Listed, name="m")
    outer.add_node("sub", graph, input={}, output={})
    outer.add_edge(START, "sub")
    outer.add_edge("sub", END)
    return outer


@pytest.mark.parametrize("within", [False, True])
def test_an_answer_of_another_type_than_it_is_now(store: Any, within: bool) -> None:
    """An answer that is stored and does not fit any more keeps the run from going on."""
    flow = answered(str, within=within).compile(store)
    flow.run({}, run_id="r")
    flow.answer("r", "three", resume=False)
    today = answered(int, within=within).compile(store)
    assert "its answer, or where that goes, has changed" in str(
        answered(str | None, within=within).compile(store).verdict("r")
    )
    with pytest.raises(MigrationError, match='its answer, "three", does not fit'):
        today.resume("r")
    assert flow.resume("r").status == "done"
