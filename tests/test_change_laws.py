"""Laws of runs whose graphs change: a run does what was done by hand, its past never changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from graphflow import END, START, StateGraph, add, append, merge
from graphflow.change.updates import Updates
from graphflow.change.values import StateChange
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.definition import Definition
from graphflow.records import TaskRecord
from graphflow.state.description import described
from graphflow.state.reducers import fold
from graphflow.state.schema import StateSchema

KINDS: dict[str, tuple[Any, Any, str]] = {
    "log": (list[str], append, "append"),
    "total": (int, add, "add"),
    "tags": (dict[str, int], merge, "merge"),
    "n": (int, None, ""),
}
"""Of each field its type, the reducer that it may have, and the name of that."""
NODES = 6


@dataclass
class World:
    """A graph, all that was said of its past, and what a run of it should have come to."""

    version: int = 1
    nodes: list[str] = field(default_factory=lambda: [f"a{i}" for i in range(NODES)])
    names: dict[str, str] = field(default_factory=lambda: {name: name for name in KINDS})
    reduced: set[str] = field(default_factory=lambda: {"log", "total", "tags"})
    extra: list[str] = field(default_factory=list)
    required: list[str] = field(default_factory=list)
    said: list[Callable[[StateGraph[Any]], Any]] = field(default_factory=list)
    values: dict[str, Any] = field(
        default_factory=lambda: {"log": [], "total": 0, "tags": {}, "n": 0}
    )
    """By the first name of each field."""
    path: list[int] = field(default_factory=list)
    counter: int = 0

    def new(self, what: str) -> str:
        """Make a name that nothing has had."""
        self.counter += 1
        return f"{what}_{self.counter}"

    def state(self) -> type[BaseModel]:
        """Make the state class of now."""
        fields: dict[str, Any] = {}
        for name, (kind, reducer, _) in KINDS.items():
            of = Annotated[kind, reducer] if name in self.reduced else kind
            fields[self.names[name]] = (of, Field(default_factory=kind))
        fields |= dict.fromkeys(self.extra, (int, 7))
        fields |= dict.fromkeys(self.required, (int, ...))
        return create_model("State", **fields)

    def graph(self) -> StateGraph[Any]:
        """Make the graph of now."""
        graph = StateGraph(self.state(), name="g", version=self.version)
        for place, name in enumerate(self.nodes):
            graph.add_node(name, self.body(place))
        ways = zip([START, *self.nodes], [*self.nodes, END], strict=True)
        for source, target in ways:
            graph.add_edge(source, target)
        for say in self.said:
            say(graph)
        return graph

    def body(self, place: int) -> Callable[[Any], dict[str, Any]]:
        """Make a body: it writes every field."""
        names = dict(self.names)

        def act(state: Any) -> dict[str, Any]:
            before = {name: getattr(state, own) for name, own in names.items()}
            return {names[name]: value for name, value in written(place, before).items()}

        return act

    def step(self, place: int) -> None:
        """Do by hand what a step does."""
        for name, value in written(place, self.values).items():
            old = copy.deepcopy(self.values[name])
            kind = KINDS[name][2]
            self.values[name] = fold(kind, old, value) if name in self.reduced else value
        self.path.append(place)

    def seen(self) -> dict[str, Any]:
        """Give the state as a run should tell it."""
        own = {self.names.get(name, name): value for name, value in self.values.items()}
        return own | {name: 7 for name in self.extra if name not in own}


def written(place: int, before: dict[str, Any]) -> dict[str, Any]:
    """Say what the node at a place writes."""
    return {
        "log": [f"step {place}"],
        "total": place + 1,
        "tags": {f"k{place % 2}": before["n"]},
        "n": before["n"] + place + 1,
    }


def rename_node(world: World, draw: Any) -> None:
    place = draw(st.integers(0, NODES - 1))
    old, new = world.nodes[place], world.new("node")
    world.nodes[place] = new
    world.said.append(lambda graph: graph.renamed(old, new))


def rename_field(world: World, draw: Any) -> None:
    name = draw(st.sampled_from(["log", "total", "tags"]))
    old, new = world.names[name], world.new("field")
    world.names[name] = new
    world.said.append(lambda graph: graph.renamed_field(old, new))


def change_reducer(world: World, draw: Any) -> None:
    world.reduced ^= {draw(st.sampled_from(["log", "total", "tags"]))}


def add_field(world: World, draw: Any) -> None:
    world.extra.append(world.new("extra"))


def migrate(world: World, draw: Any) -> None:
    """Raise the version: `n` means something else, and a field is required from now on."""
    before, needed = world.version, world.new("needed")
    world.version += 1
    world.required.append(needed)
    world.values["n"] = world.values["n"] * 3 + 1
    world.values[needed] = before

    def to_next(values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "n": values["n"] * 3 + 1, needed: before}

    world.said.append(lambda graph: graph.migration(before, before + 1)(to_next))


CHANGES = [rename_node, rename_field, change_reducer, add_field, migrate]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_a_changed_run_does_what_was_done_by_hand(data: st.DataObject, forks: bool) -> None:
    """Whatever changes between its steps: state, path and past of a run are as they should be."""
    world, store = World(), MemoryCheckpointer()
    world.graph().compile(store).start({}, run_id="r")
    past = [{name: json.loads(json.dumps(of)) for name, of in world.values.items()}]
    done = 0
    while done < NODES:
        for change in data.draw(st.lists(st.sampled_from(CHANGES), max_size=3)):
            change(world, data.draw)
        flow = world.graph().compile(store)
        assert flow.verdict("r").can_go_on
        steps = data.draw(st.integers(1, 2))
        for _ in range(min(steps, NODES - done)):
            world.step(done)
            done += 1
            run = flow.advance("r", steps=1)
            assert run.values == world.seen()
            assert json.loads(run.state.model_dump_json()) == world.seen()
            past.append(copy.deepcopy(run.values_at(done)))
            assert run.values_at(done) == world.seen()
    run = world.graph().compile(store).get("r")
    assert run.status == "done"
    assert [run.values_at(step) for step in range(NODES + 1)] == past
    assert len(run.path) == NODES
    assert [step.step for step in run.steps] == list(range(NODES + 1))
    if forks:
        check_forks(world, store, past)


def check_forks(world: World, store: MemoryCheckpointer, past: list[dict[str, Any]]) -> None:
    """Fork every step: what the fork shares is as it was, and it comes to an end."""
    flow = world.graph().compile(store)
    for step in range(NODES + 1):
        fork = flow.fork("r", step, update={"n": 1000})
        assert fork.status == "done"
        assert [fork.values_at(k) for k in range(step)] == past[:step]
        assert fork.values_at(step)["n"] == 1000
        assert fork.path[-1:] == world.nodes[-1:] or step == NODES
        assert len(fork.path) == NODES


values = st.fixed_dictionaries(
    {
        "log": st.lists(st.text("ab", max_size=2), max_size=3),
        "total": st.integers(-3, 3),
        "tags": st.dictionaries(st.text("ab", min_size=1, max_size=1), st.integers(0, 3)),
        "n": st.integers(0, 5),
    }
)
updates = st.fixed_dictionaries(
    {},
    optional={
        "log": st.lists(st.text("ab", max_size=2), max_size=2),
        "total": st.integers(-3, 3),
        "tags": st.dictionaries(st.text("ab", min_size=1, max_size=1), st.integers(0, 3)),
        "n": st.integers(0, 5),
    },
)
reducers = st.sets(st.sampled_from(["log", "total", "tags"]))


@settings(max_examples=150, deadline=None)
@given(values, updates, st.tuples(reducers, reducers), st.booleans(), st.data())
def test_what_is_kept_comes_to_the_same(
    before: dict[str, Any],
    update: dict[str, Any],
    reduced: tuple[set[str], set[str]],
    is_migrated: bool,
    data: st.DataObject,
) -> None:
    """A kept update, told in the words of today, makes of the state of today what it should."""
    old, new = reduced
    if not is_migrated:
        new = old & new  # what had no reducer, and has one now, is given to that as it is
    replaces = tuple(data.draw(st.sets(st.sampled_from(sorted(update)))) if update else ())
    replaces = tuple(name for name in replaces if name in old)
    was = definition(old, 1)
    is_now = definition(new, 2 if is_migrated else 1)
    if is_migrated:
        is_now.changes.rename("field", "log", "lines")
    if is_migrated:
        graph = StateGraph(is_now.state, name="g", version=2)
        graph.migration(1, 2)(lambda v: {**v, "n": v["n"] + 10, "total": v["total"] * 2})
        is_now.changes.migrations = graph.definition.changes.migrations
    schema = StateSchema(is_now.state)
    spec = {"state": described(StateSchema(was.state))}
    change = StateChange(is_now, schema, {"state": described(schema)}, spec, 1)
    now = change.carry(before)
    task = TaskRecord(0, "a", "a", json.dumps(update), "", 0.0, replaces=replaces)
    told = Updates(change, before, now, ("r", 1)).task(task)
    applied = apply(now, json.loads(told.update_json or "{}"), new, set(told.replaces))
    by_hand = apply(before, update, old, set(replaces))
    given_as_it_is = {name for name in update if name not in old and name in new}
    expected = change.carry(by_hand)
    for name, value in expected.items():
        if {"lines": "log"}.get(name, name) not in given_as_it_is:
            assert applied[name] == value


def definition(reduced: set[str], version: int) -> Definition:
    """Make a graph with a state; its list is called `lines` today."""
    world = World(reduced=set(reduced))
    if version == 2 or "log" not in world.names:
        world.names["log"] = "lines"
    return Definition("g", world.state(), version)


def apply(
    state: dict[str, Any], update: dict[str, Any], reduced: set[str], replaces: set[str]
) -> dict[str, Any]:
    """Apply an update to plain values."""
    found = copy.deepcopy(state)
    for name, value in update.items():
        first = {"lines": "log"}.get(name, name)
        is_reduced = first in reduced and name not in replaces
        found[name] = fold(KINDS[first][2], found[name], value) if is_reduced else value
    return found
