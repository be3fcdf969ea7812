"""Random small graphs, made into real ones, and a driver that answers the engine in any order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from random import Random
from typing import Annotated, Any

from hypothesis import strategies as st
from pydantic import BaseModel, Field

from graphflow import Command, StateGraph, append
from graphflow.engine.core import Commit, Fail, Finish, Keep, Outcome, Start, Wait, advance
from graphflow.engine.position import Position, restore
from graphflow.engine.tasks import Ended
from graphflow.plan import Plan
from graphflow.policy import Limits
from graphflow.records import (
    Arrow,
    AttemptRecord,
    DecisionRecord,
    Ending,
    Evidence,
    RunHeader,
    RunRecords,
    Snapshot,
    StepRecord,
    TaskRecord,
)
from graphflow.state.schema import StateSchema
from tests.engine.oracle import END, START, Gate, Node, Router, Shape

__all__ = ["Bench", "Stored", "facts", "shapes"]

NAMES = "abcdefgh"


class State(BaseModel):
    """What the nodes of a random graph write."""

    log: Annotated[list[str], append] = Field(default_factory=list)
    notes: Annotated[list[str], append] = Field(default_factory=list)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Draw a graph of 1 to 8 nodes with edges, joins, deferred nodes, routers, gotos and gates."""
    names = list(NAMES[: draw(st.integers(1, 8))])
    places = [*names, END]
    target, answer = st.sampled_from(places), st.lists(st.sampled_from(places), max_size=3)

    def scripted(targets: Sequence[str]) -> st.SearchStrategy[tuple[tuple[str, ...], ...]]:
        one = st.lists(st.sampled_from(targets), max_size=3).map(tuple)
        return st.lists(one, min_size=1, max_size=3).map(tuple)

    def node(name: str) -> Node:
        kind = draw(st.sampled_from(["plain"] * 6 + ["goto"] * 2 + ["gate"]))
        defer = draw(st.sampled_from([False, False, True]))
        if kind == "goto":
            targets = tuple(dict.fromkeys(draw(answer))) or (END,)
            return Node(name, defer, targets, draw(scripted(targets)))
        if kind == "gate":
            bounded = draw(st.booleans())
            gate = Gate(
                draw(st.integers(1, 4)),
                tuple(draw(st.sets(st.integers(0, 3), max_size=2))),
                draw(target),
                draw(target),
                draw(target) if bounded else None,
                draw(st.integers(1, 3)) if bounded else None,
                draw(st.booleans()),
            )
            return Node(name, False, (), (), gate)
        return Node(name, defer)

    sources = st.one_of(
        st.sampled_from([START, *names]),
        st.sampled_from(names),
        st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).map(tuple),
    )
    edges = draw(st.lists(st.tuples(sources, target), min_size=0, max_size=12, unique=True))
    first = draw(st.sampled_from(names))
    routers = []
    for source in draw(st.lists(st.sampled_from([START, *names]), max_size=4)):
        targets = tuple(dict.fromkeys(draw(answer))) or (END,)
        routers.append(Router(source, targets, draw(scripted(targets))))
    nodes = tuple(node(name) for name in names)
    return Shape(nodes, tuple(dict.fromkeys([(START, first), *edges])), tuple(routers))


def body(node: Node) -> Callable[[State], Any]:
    """Make a node's body."""

    def act(state: State) -> Any:
        place, update = state.log.count(node.name), {"log": [node.name]}
        if not node.targets:
            return update
        return Command(update=update, goto=list(node.goto[min(place, len(node.goto) - 1)]))

    return act


def route(router: Router) -> Callable[[State], Any]:
    """Make a router."""

    def choose(state: State) -> list[str]:
        place = max(state.log.count(router.source), 1) - 1
        return list(router.answers[min(place, len(router.answers) - 1)])

    return choose


def check(gate: Gate) -> Callable[[State], Any]:
    """Make the check of a gate."""
    return lambda state: len(state.log) % gate.modulo in gate.good or "too short"


def graph_of(shape: Shape, order: Random | None = None) -> StateGraph[State]:
    """Build the real graph; with `order`, its edges are added in another order."""
    graph = StateGraph(State, name="random")
    for node in shape.nodes:
        gate = node.gate
        if gate is None:
            graph.add_node(node.name, body(node), defer=node.defer, targets=node.targets)
            continue
        ways: dict[str, Any] = {"passed": gate.passed, "failed": gate.failed}
        ways |= {"tries": gate.tries, "otherwise": gate.otherwise}
        ways["feedback"] = "notes" if gate.feedback else None
        graph.add_gate(node.name, after=[], checks=[check(gate)], **ways)
    edges = list(shape.edges)
    if order is not None:
        order.shuffle(edges)
    for source, target in edges:
        graph.add_edge(source if isinstance(source, str) else list(source), target)
    for i, router in enumerate(shape.routers):
        graph.add_conditional_edges(router.source, route(router), router.targets, name=f"r{i}")
    return graph


@dataclass
class Stored:
    """What a store would hold, as JSON text alone."""

    steps: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    kept: dict[int, str] = field(default_factory=dict)
    attempts: list[str] = field(default_factory=list)
    ending: Ending | None = None

    def records(self, spec: dict[str, Any]) -> RunRecords:
        """Read everything back, the tail alone, as `load(tail=True)` does."""
        newest = Snapshot(**json.loads(self.snapshots[-1]))
        steps = [read_step(json.loads(text)) for text in self.steps[newest.step :]]
        return RunRecords(
            RunHeader("r", "random", 1, "", "running", "", "{}"),
            spec,
            steps,
            [read_task(json.loads(self.kept[ix])) for ix in sorted(self.kept)],
            [AttemptRecord(**json.loads(text)) for text in self.attempts],
            [],
            [newest],
        )


def written(record: Any) -> str:
    """Write a record as JSON."""
    return json.dumps(plain(record))


def plain(value: Any) -> Any:
    """Turn records, however they are built, into dicts and lists."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def read_decision(data: dict[str, Any]) -> DecisionRecord:
    """Read a decision from JSON."""
    data["evidence"] = tuple(Evidence(**item) for item in data["evidence"])
    data["options"], data["chosen"] = tuple(data["options"]), tuple(data["chosen"])
    return DecisionRecord(**data)


def read_task(data: dict[str, Any]) -> TaskRecord:
    """Read a task from JSON."""
    data["goto"] = data["goto"] and read_decision(data["goto"])
    data["reads"], data["replaces"] = tuple(data["reads"]), tuple(data["replaces"])
    return TaskRecord(**data)


def read_step(data: dict[str, Any]) -> StepRecord:
    """Read a step from JSON."""
    data["tasks"] = [read_task(task) for task in data["tasks"]]
    data["decisions"] = [read_decision(decision) for decision in data["decisions"]]
    data["arrows"] = [Arrow(**arrow) for arrow in data["arrows"]]
    return StepRecord(**data)


class Bench:
    """Drives the engine by hand over one stored run.

    Args:
        shape: The graph.
        order: Shuffles the edges before they are added, and the completion of parallel tasks.
        fails: (node, execution) whose body raises.
    """

    def __init__(
        self,
        shape: Shape,
        order: Random | None = None,
        *,
        shuffled_edges: bool = False,
        fails: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        self.shape, self.order, self.fails = shape, order, fails
        self.graph = graph_of(shape, order if shuffled_edges else None)
        self.schema = StateSchema(State)
        self.plan = Plan(self.graph.definition, self.schema)
        self.stored = Stored()
        self.bodies: Counter[tuple[int, str]] = Counter()
        self.executions: Counter[str] = Counter()
        self.limits = Limits(shape.steps, shape.visits)
        self.position = Position(-1, self.schema.initial({})[0])

    def restored(self) -> Position:
        """Take the run up from its JSON, with the plan made anew."""
        self.plan = Plan(self.graph.definition, self.schema)
        spec = json.loads(json.dumps(self.plan.definition.spec(self.schema.spec())))
        return restore(self.plan, self.stored.records(spec))

    def go(self, *, commits: int | None = None, crash_after: int | None = None) -> Outcome | None:
        """Advance the run; None when it crashed after so many stored effects."""
        steps, answer, waiting = (
            advance(self.plan, self.position, self.limits, commits=commits),
            None,
            [],
        )
        left = crash_after
        try:
            while True:
                effect = steps.send(answer)
                answer = None
                if isinstance(effect, Start | Wait):
                    if isinstance(effect, Start):
                        assert not waiting, "started again while tasks were open"
                        waiting = list(effect.tasks)
                        if self.order is not None:
                            self.order.shuffle(waiting)
                    answer = self.execute(waiting.pop())
                    continue
                if left == 0:
                    steps.close()
                    return None
                left = None if left is None else left - 1
                self.store(effect)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome

    def execute(self, task: Any) -> Ended:
        """Run a body once."""
        name = task.node.name
        self.bodies[task.step, task.key] += 1
        self.executions[name] += 1
        if (name, self.executions[name]) in self.fails:
            return Ended(task, None, RuntimeError(f"{name} fails"), "", 0.0)
        return Ended(task, task.node.fn(task.view), None, "", 0.0)

    def store(self, effect: Any) -> None:
        """Store what an effect says, as JSON."""
        stored = self.stored
        if isinstance(effect, Commit):
            assert effect.step.step == len(stored.steps), "a gap, or a number used twice"
            stored.steps.append(written(effect.step))
            stored.kept.clear()
            stored.ending = effect.ending
            if effect.snapshot is not None:
                stored.snapshots.append(written(effect.snapshot))
        elif isinstance(effect, Keep):
            assert effect.step == len(stored.steps)
            assert effect.task.ix not in stored.kept, "kept twice"
            stored.kept[effect.task.ix] = written(effect.task)
        elif isinstance(effect, Fail):
            stored.attempts.append(written(effect.attempt))
        else:
            assert isinstance(effect, Finish)
            stored.ending = effect.ending

    def to_the_end(self, *, stops: bool = False) -> Bench:
        """Advance until it is done or at a limit; with stops, restored at every commit."""
        while True:
            outcome = self.go(commits=1 if stops else None)
            assert outcome is not None
            if outcome.ending is not None and outcome.ending.status != "failed":
                return self
            self.position = self.restored()

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The committed steps as plain data, without what may differ: attempts."""
        steps = [json.loads(text) for text in self.stored.steps]
        for step in steps:
            for task in step["tasks"]:
                del task["attempts"]
        return steps

    @property
    def reason(self) -> str:
        """How it ended: "done", or the limit."""
        assert self.stored.ending is not None
        return self.stored.ending.reason or self.stored.ending.status


def facts(step: dict[str, Any]) -> dict[str, Any]:
    """Say of a stored step what the oracle says of it."""
    arrows = [(a["source"], a["target"], a["kind"]) for a in step["arrows"]]
    return {
        "step": step["step"],
        "tasks": [task["key"] for task in step["tasks"]],
        "decisions": [(d["source"], d["kind"], tuple(d["chosen"])) for d in step["decisions"]],
        "arrows": sorted(arrows),
        "fired": {join: set(of) for join, of in step["fired"].items()},
        "held": {join: dict(of) for join, of in step["held"].items()},
        "ready": step["ready"],
    }
