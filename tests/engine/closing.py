"""How a step of the oracle closes: merge, decisions, arrows, joins (S1 to S12, S16).

Part of the oracle: it shares nothing with the package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.engine.form import Form, listed

__all__ = ["Process", "Result", "Rules", "Standing", "StepFailed", "Task", "pick"]

EMPTY: dict[str, Any] = {"append": [], "add": 0, "last": None}
State = dict[str, Any]
Arrow = tuple[str, str, str]


def pick(answers: Sequence[Any], place: int) -> Any:
    """Give the answer at a place; the last one repeats."""
    return answers[min(place, len(answers) - 1)]


class StepFailed(Exception):
    """A step cannot close: a conflict, or a router."""


@dataclass
class Process:
    """What lives in the process and no run knows: how often bodies ran, and which."""

    executions: Counter[Any] = field(default_factory=Counter)
    executed: list[str] = field(default_factory=list)

    def failures_left(self, key: Any, script: Sequence[str]) -> bool:
        """Count an execution; tell whether the script says that it fails."""
        place, self.executions[key] = self.executions[key], self.executions[key] + 1
        return place < len(script) and script[place] == "fail"


@dataclass(frozen=True)
class Task:
    """A task of a step; with `sent` it comes of a Send."""

    key: str
    node: str
    sent: Mapping[str, Any] | None = None


@dataclass
class Result:
    """How a task stands: done, fallback, failed, asking or limit."""

    kind: str
    update: State = field(default_factory=dict)
    chosen: tuple[str, list[Any]] | None = None
    """What it decided itself: ("goto" or "gate", targets)."""
    tries: int | None = None
    """Of a gate: failures in a row from now on."""
    items: dict[int, Any] = field(default_factory=dict)
    child: Any = None
    """Of a subgraph: the Sim of its child."""

    @property
    def complete(self) -> bool:
        """Nothing of it is left to do."""
        return self.kind in {"done", "fallback"}


@dataclass
class Standing:
    """What a commit leaves behind."""

    state: State
    ready: list[Task] = field(default_factory=list)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)


@dataclass
class Decided:
    """What leaves a step: its decisions, the arrows, those that arrive somewhere, the Sends."""

    decisions: list[dict[str, Any]] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    arrivals: list[Arrow] = field(default_factory=list)
    sends: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def take(self, by: str, source: str, kind: str, chosen: Sequence[Any]) -> None:
        """Record a decision and its arrows; a repeated name counts once, each Send counts."""
        once = [c for i, c in enumerate(chosen) if isinstance(c, dict) or c not in chosen[:i]]
        self.decisions.append({"by": by, "chosen": once})
        for target in once:
            if isinstance(target, dict):
                self.arrows.append((source, target["send"], "send"))
                self.sends.append((target["send"], target["input"]))
            else:
                self.arrows.append((source, target, kind))
                self.arrivals.append((source, target, kind))

    def fall(self, task: Task, target: str) -> None:
        """Record the fallback of a task; that of a Send is a Send of the same input."""
        arrow = (task.node, target, "fallback")
        self.arrows.append(arrow)
        if task.sent is None:
            self.arrivals.append(arrow)
        else:
            self.sends.append((target, task.sent))


class Rules:
    """A graph, and how its steps close.

    Args:
        graph: The graph.
        process: What lives in the process.
    """

    def __init__(self, graph: Mapping[str, Any], process: Process) -> None:
        self.graph, self.process, self.form = graph, process, Form(graph)
        self.kinds = {**graph["state"], "log": "append"}
        self.nodes = {node["name"]: node for node in graph["nodes"]}

    def empty(self) -> State:
        """Give the state before the input."""
        return {name: EMPTY[kind] for name, kind in self.kinds.items()}

    def inner_facts(self, tasks: Sequence[Task], results: Mapping[str, Result]) -> dict[str, Any]:
        """Say what went on inside the tasks of a step: items of maps, steps of children."""
        done = [(task, results[task.key]) for task in tasks]
        items = {
            task.key: len(result.items)
            for task, result in done
            if "map" in self.nodes.get(task.node, ()) and result.kind == "done"
        }
        child = {
            task.key: [[step.facts["step"], step.facts["tasks"]] for step in result.child.steps]
            for task, result in done
            if result.child is not None
        }
        return {**({"items": items} if items else {}), **({"child": child} if child else {})}

    def merged(self, state: State, updates: Sequence[tuple[str, Mapping[str, Any]]]) -> State:
        """Reduce updates into a state, in order (S3)."""
        after, writers = dict(state), {}
        for key, update in updates:
            for name, value in update.items():
                if self.kinds[name] != "last":
                    after[name] = after[name] + value
                    continue
                if name in writers:
                    raise StepFailed(f"conflict {name}: {writers[name]}, {key}")
                after[name], writers[name] = value, key
        return after

    def decided(
        self, tasks: Sequence[Task], results: Mapping[str, Result], state: State, choose: Any
    ) -> Decided:
        """Make the decisions of a step, in order (S2, S4, S5, S16)."""
        found = Decided()
        for name in dict.fromkeys(task.node for task in tasks):
            own = [task for task in tasks if task.node == name]
            for task in own:
                result = results[task.key]
                if result.chosen is not None:
                    kind, chosen = result.chosen
                    found.take(f"{kind}:{name}", name, "goto", chosen)
                if result.kind == "fallback":
                    found.fall(task, self.nodes[name]["fallback"])
            if any(results[task.key].kind == "done" for task in own):
                found.arrows += self.edges(name)
                found.arrivals += self.edges(name)
                for label, router in self.routers(name):
                    given = choose.get(label) if label in choose else self.ask(router, state)
                    found.take(label, name, "choice", listed(given))
        return found

    def edges(self, name: str) -> Iterator[Arrow]:
        """Give the fixed arrows of a node."""
        for source, target in self.graph["edges"]:
            if source == name:
                yield name, target, "edge"
            elif isinstance(source, list) and name in source:
                yield name, target, "edge" if target == "END" else "join"

    def routers(self, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Give the routers of a node, with their labels: `a`, `a:1`."""
        own = [router for router in self.graph["routers"] if router["source"] == name]
        for i, router in enumerate(own):
            yield f"{name}:{i}" if i else name, router

    def ask(self, router: Mapping[str, Any], state: State) -> Any:
        """Call a router on the merged state."""
        if "read" in router:
            answer = router["cases"].get(str(state[router["read"]]), router["otherwise"])
        else:
            answer = pick(router["answers"], max(state["log"].count(router["source"]), 1) - 1)
        if isinstance(answer, dict) and "raise_once" in answer:
            if self.process.failures_left(id(router), ["fail"]):
                raise StepFailed(f"router {router['source']}: {answer['raise_once']}")
            answer = answer["then"]
        for target in listed(answer):
            name = target["send"] if isinstance(target, dict) else target
            if name not in router["targets"]:
                raise StepFailed(f"router {router['source']}: {target}")
        return answer

    def settle(
        self, before: Standing, after: Standing, decided: Decided, number: int
    ) -> dict[str, list[str]]:
        """Let arrows arrive, fire the joins that need not wait, and line up the next step."""
        plain = set()
        held = {join: dict(of) for join, of in before.held.items()}
        for source, target, _ in decided.arrivals:
            if target in self.form.joins:
                held.setdefault(target, {}).setdefault(source, number)
            elif target != "END":
                plain.add(target)
        ready = [*plain, *(target for target, _ in decided.sends)]
        firing = [join for join in held if not self.form.waits(join, ready, list(held))]
        fired = {join: self.in_order(held.pop(join)) for join in firing}
        after.held = held
        for name in self.nodes:
            own = [sent for target, sent in decided.sends if target == name]
            after.ready += [Task(name, name)] if name in plain | fired.keys() else []
            after.ready += [Task(f"{name}#{i}", name, sent) for i, sent in enumerate(own)]
        return fired

    def in_order(self, sources: Iterable[str]) -> list[str]:
        """Sort sources by declaration, START first."""
        return sorted(sources, key=self.form.order.__getitem__)
