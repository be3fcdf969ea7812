"""Runs that are open while their graph changes: verdicts, renames, migrations, adoptions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Flow,
    StateGraph,
    append,
)
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    GraphChangedError,
    MigrationError,
    StateError,
)

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
