"""Makes a graph of the vectors' format into a real one, and notes which bodies run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, JsonValue, create_model

from graphflow import END, START, Command, Context, Limits, Send, StateGraph, add, append
from tests.engine.form import listed

__all__ = ["Bodies", "Ran", "load", "named", "shown"]

Data = Mapping[str, Any]
Body = Callable[[Any, Context], Any]

NAMES = {"START": START, "END": END}
BACK = {name: word for word, name in NAMES.items()}
TYPES: dict[str, Any] = {
    "append": (Annotated[list[JsonValue], append], Field(default_factory=list)),
    "add": (Annotated[int, add], 0),
    "last": (JsonValue, None),
}


class Ran(NamedTuple):
    """One execution of a body."""

    run_id: str
    step: int
    key: str

    @property
    def path(self) -> str:
        """Its task as the vectors name it: `sub#0/x` of a child."""
        tasks = [part.partition(":")[2] for part in self.run_id.split("/")[1:]]
        return "/".join([*tasks, self.key])


class Bodies:
    """The bodies of graphs as they are scripted, and what has run in this process.

    Args:
        is_async: Whether they are async functions.
        disorder: Draws how often each async body yields: side by side they end in any order.
    """

    def __init__(self, *, is_async: bool = False, disorder: Random | None = None) -> None:
        self.is_async, self.disorder = is_async, disorder
        self.executions: Counter[int] = Counter()
        self.ran: list[Ran] = []

    def of(self, node: Data) -> Callable[..., Any]:
        """Make the body of a plain node, or what a map calls for each item."""
        act = self.item(node) if "map" in node else self.plain(node)
        if not self.is_async:
            return act

        async def act_async(given: Any, ctx: Context) -> Any:
            await self.others()
            result = act(given, ctx)
            await self.others()
            return result

        return act_async

    async def others(self) -> None:
        """Let others run first, as often as is drawn."""
        for _ in range(self.disorder.randrange(4) if self.disorder else 0):
            await asyncio.sleep(0)

    def plain(self, node: Data) -> Body:
        """Make the body of a plain node."""
        name, script = node["name"], node.get("outcomes", ())

        def act(state: Any, ctx: Context) -> Any:
            self.note(ctx)
            count, place = state.log.count(name), self.executions[id(node)]
            self.executions[id(node)] += 1
            scripted = place < len(script) and script[place] == "fail"
            if scripted or ctx.attempt <= pick(node.get("flaky", [0]), count):
                raise RuntimeError(f"{name} fails as scripted")
            update = updated(node, state)
            if "goto" not in node:
                return update
            return Command(update=update, goto=answer_of(pick(node["goto"]["answers"], count)))

        return act

    def item(self, node: Data) -> Body:
        """Make what a map calls for each item."""
        times, fails = node["map"]["times"], node["map"].get("fails", {})

        def act(item: Any, ctx: Context) -> Any:
            self.note(ctx)
            place = ctx.key.rpartition("[")[2].removesuffix("]")
            if ctx.attempt <= fails.get(place, 0):
                raise RuntimeError(f"item {place} fails as scripted")
            return item * times

        return act

    def note(self, ctx: Context) -> None:
        """Note an execution."""
        self.ran.append(Ran(ctx.run_id, ctx.step, ctx.key))

    def router(self, router: Data) -> Callable[[Any], Any]:
        """Make a router: it looks up its answer by what the state says."""

        def choose(state: Any) -> Any:
            if "read" in router:
                value = str(getattr(state, router["read"]))
                answer = router["cases"].get(value, router["otherwise"])
            else:
                count = state.log.count(router["source"])
                answer = pick(router["answers"], max(count, 1) - 1)
            if not isinstance(answer, dict) or "raise_once" not in answer:
                return answer_of(answer)
            self.executions[id(router)] += 1
            if self.executions[id(router)] == 1:
                raise RuntimeError(answer["raise_once"])
            return answer_of(answer["then"])

        return choose


def load(data: Data, bodies: Bodies, order: Random | None = None) -> StateGraph[Any]:
    """Build the real graph through the public API.

    Args:
        data: The graph.
        bodies: Makes its bodies.
        order: Shuffles the order in which the edges are added.
    """
    state = state_of(frozenset({**data["state"], "log": "append"}.items()))
    graph: StateGraph[Any] = StateGraph(state, name=data.get("name", "child"))
    for node in data["nodes"]:
        add_node(graph, node, bodies, order)
    edges = [(listed(source), isinstance(source, list), to) for source, to in data["edges"]]
    if order is not None:
        order.shuffle(edges)
    for sources, is_join, target in edges:
        if order is not None:
            order.shuffle(sources)
        graph.add_edge(sources if is_join else named(sources[0]), named(target))
    count: Counter[str] = Counter()
    for router in data["routers"]:
        source, targets = router["source"], [named(t) for t in router["targets"]]
        name, fn = str(count[source]), bodies.router(router)
        graph.add_conditional_edges(named(source), fn, targets, name=name)
        count[source] += 1
    return graph


@cache
def state_of(fields: frozenset[tuple[str, str]]) -> type[BaseModel]:
    """Make a state class; once, as it takes long."""
    return create_model("State", **{name: TYPES[kind] for name, kind in sorted(fields)})


def add_node(graph: StateGraph[Any], node: Data, bodies: Bodies, order: Random | None) -> None:
    """Add a node of any kind."""
    name, rules = node["name"], {"defer": node.get("defer", False)}
    if "fallback" in node:
        rules["fallback"] = node["fallback"]
    if "question" in node:
        field = node["question"]["into"]
        graph.add_question(
            name,
            prompt=name,
            answer=JsonValue,
            into=lambda answer: {field: answer, "log": [name]},
            **rules,
        )
    elif "map" in node:
        into = node["map"]["into"]
        graph.add_map(
            name,
            bodies.of(node),
            over=node["map"]["over"],
            into=lambda results: {into: results, "log": [name]},
            **rules,
        )
    elif "graph" in node:
        add_child(graph, node, load(node["graph"], bodies, order), rules)
    elif "gate" in node:
        add_gate(graph, node)
    else:
        targets = [named(t) for t in node.get("goto", {}).get("targets", ())]
        graph.add_node(name, bodies.of(node), targets=targets, **rules)


def add_child(graph: StateGraph[Any], node: Data, child: StateGraph[Any], rules: Data) -> None:
    """Add a subgraph."""
    output = node.get("output", {})

    def given_back(state: Any) -> dict[str, Any]:
        return {**{mine: getattr(state, of) for mine, of in output.items()}, "log": [node["name"]]}

    graph.add_node(
        node["name"],
        child,
        input=node.get("input", {}),
        output=given_back,
        limits=Limits(**node["graph"].get("limits", {})),
        **rules,
    )


def add_gate(graph: StateGraph[Any], node: Data) -> None:
    """Add a gate: it looks at the length of the log."""
    gate = node["gate"]
    ways = {way: gate[way] for way in ("passed", "failed", "otherwise", "tries")}

    def check(state: Any) -> bool | str:
        return len(state.log) % gate["modulo"] in gate["good"] or "too short"

    feedback = "notes" if gate["feedback"] else None
    graph.add_gate(node["name"], after=[], checks=[check], feedback=feedback, **ways)


def updated(node: Data, state: Any) -> dict[str, Any]:
    """Make the update of a plain node."""
    update: dict[str, Any] = {"log": [node["name"]]}
    for op, field, value in node.get("update", ()):
        given = getattr(state, value[1:]) if str(value).startswith("$") else value
        if op == "append":
            update.setdefault(field, []).append(given)
        else:
            update[field] = update.get(field, 0) + given if op == "add" else given
    return update


def pick(answers: Sequence[Any], place: int) -> Any:
    """Give the answer at a place; the last one repeats."""
    return answers[min(place, len(answers) - 1)]


def answer_of(answer: Any) -> Any:
    """Turn an answer into what a router returns."""
    if isinstance(answer, list):
        return [answer_of(one) for one in answer]
    return Send(answer["send"], answer["input"]) if isinstance(answer, dict) else named(answer)


def named(name: Any) -> Any:
    """Turn START and END into their names."""
    return NAMES.get(name, name) if isinstance(name, str) else name


def shown(name: str) -> str:
    """Turn the names of START and END into words."""
    return BACK.get(name, name)
