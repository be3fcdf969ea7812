"""Turns a case of the golden semantics vectors into a graph, and acts on it."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, JsonValue, create_model

from graphflow import END, START, Command, Limits, StateGraph, add, append
from graphflow.errors import RunFailedError
from graphflow.flow import Flow
from graphflow.run import Run

__all__ = ["Case", "unsupported"]

NAMES = {"START": START, "END": END}
BACK = {v: k for k, v in NAMES.items()}
LATER = ("question", "map", "graph", "fallback")  # features of later stages
TYPES: dict[str, Any] = {
    "append": (Annotated[list[JsonValue], append], Field(default_factory=list)),
    "add": (Annotated[int, add], 0),
    "last": (JsonValue, None),
}


def unsupported(case: Mapping[str, Any]) -> str:
    """Name the first feature of a later stage that a case uses; empty when there is none."""
    for node in case["nodes"]:
        for key in LATER:
            if key in node:
                return key
    if "'send'" in str(case):
        return "send"
    return next((a["do"] for a in case["actions"] if a["do"] in {"fork", "answer"}), "")


class Case:
    """One case: a graph whose nodes write their names, and what is done to one run of it.

    Args:
        case: The case as data.
        store: Makes the checkpointer anew; called before each action, so that nothing may live
            in memory. It must give the same records each time.
        one_step_at_a_time: Stop and reopen after every commit.
        run: How a node body is called: ``"sync"`` or ``"async"``.
    """

    def __init__(
        self,
        case: Mapping[str, Any],
        store: Callable[[], Any],
        *,
        one_step_at_a_time: bool = False,
        run: str = "sync",
    ) -> None:
        self.case, self.store, self.bodies, self.small = case, store, run, one_step_at_a_time
        self.executions: Counter[str] = Counter()
        self.executed: list[str] = []
        self.raised: set[str] = set()
        self.run_id = "vector"
        self.seen_steps = 0

    def graph(self) -> StateGraph[Any]:
        """Build the graph anew."""
        fields = {name: TYPES[kind] for name, kind in self.case["state"].items()}
        state = create_model("State", **{**fields, "log": TYPES["append"]})
        graph: StateGraph[Any] = StateGraph(state, name=self.case["name"])
        for node in self.case["nodes"]:
            targets = [named(t) for t in node.get("goto", {}).get("targets", ())]
            body = self.body(node)
            graph.add_node(node["name"], body, defer=node.get("defer", False), targets=targets)
        for source, target in self.case["edges"]:
            joined = isinstance(source, list)
            sources = [named(s) for s in source] if joined else named(source)
            graph.add_edge(sources, named(target))
        seen: Counter[str] = Counter()
        for i, router in enumerate(self.case["routers"]):
            source, targets = router["source"], [named(t) for t in router["targets"]]
            name = f"r0:{seen[source]}".removesuffix(":0")
            seen[source] += 1
            graph.add_conditional_edges(named(source), self.router(i, router), targets, name=name)
        return graph

    def flow(self) -> Flow[Any]:
        """Make the graph ready to run; unchecked, since some cases have dead ends on purpose."""
        return Flow(self.graph().definition, self.store(), limits=self.limits(self.case), llm=None)

    def limits(self, data: Mapping[str, Any]) -> Limits:
        """Read limits, with the defaults."""
        return Limits(**data.get("limits", {}))

    def act(self, action: Mapping[str, Any]) -> Run[Any]:
        """Do one action, and give the run as it is then."""
        self.executed = []
        if self.small and not action.get("max_steps"):
            self.act_in_small_steps(action)
        elif action["do"] == "run":
            self.begin(action)
        else:
            limits = self.limits(action) if "limits" in action else None
            attempt(lambda: self.flow().resume(self.run_id, limits=limits))
        return self.flow().get(self.run_id)

    def begin(self, action: Mapping[str, Any]) -> None:
        """Begin the run."""
        given = self.case.get("input", {})
        if not action.get("max_steps"):
            attempt(lambda: self.flow().run(given, run_id=self.run_id))
            return
        self.flow().start(given, run_id=self.run_id)
        if action["max_steps"] > 1:
            self.flow().advance(self.run_id, steps=action["max_steps"] - 1)

    def act_in_small_steps(self, action: Mapping[str, Any]) -> None:
        """Stop after each commit, and take the run up again from what is stored."""
        if action["do"] == "run":
            self.flow().start(self.case.get("input", {}), run_id=self.run_id)
        elif "limits" in action:
            attempt(lambda: self.flow().resume(self.run_id, limits=self.limits(action)))
            return
        while True:
            attempt(lambda: self.flow().advance(self.run_id, steps=1))
            if self.flow().get(self.run_id).status != "running":
                return

    def body(self, node: Mapping[str, Any]) -> Callable[..., Any]:
        """Make a node's body."""
        name = node["name"]

        def act(state: Any) -> Any:
            self.executed.append(name)
            script = node.get("outcomes", [])
            place, self.executions[name] = self.executions[name], self.executions[name] + 1
            if place < len(script) and script[place] == "fail":
                raise RuntimeError(f"{name} fails as scripted")
            update: dict[str, Any] = {"log": [name]}
            for op, field, value in node.get("update", ()):
                given = getattr(state, value[1:]) if str(value).startswith("$") else value
                if op == "append":
                    update.setdefault(field, []).append(given)
                else:
                    update[field] = (
                        operator.add(update.get(field, 0), given) if op == "add" else given
                    )
            if "goto" not in node:
                return update
            answer = pick(node["goto"]["answers"], state.log.count(name))
            return Command(update=update, goto=named(answer))

        async def act_async(state: Any) -> Any:
            return act(state)

        return act_async if self.bodies == "async" else act

    def router(self, place: int, router: Mapping[str, Any]) -> Callable[[Any], Any]:
        """Make a router: it looks up its answer by what the state says."""

        def choose(state: Any) -> Any:
            if "read" in router:
                answer = router["cases"].get(
                    str(getattr(state, router["read"])), router["otherwise"]
                )
            else:
                count = state.log.count(router["source"])
                answer = pick(router["answers"], max(count, 1) - 1)
            if isinstance(answer, dict) and "raise_once" in answer:
                if f"r{place}" not in self.raised:
                    self.raised.add(f"r{place}")
                    raise RuntimeError(answer["raise_once"])
                answer = answer["then"]
            return [named(a) for a in answer] if isinstance(answer, list) else named(answer)

        return choose

    def seen(self, run: Run[Any]) -> dict[str, Any]:
        """Say what is to be compared with a case's `expect`."""
        reason = run.reason or None
        steps = [seen_step(step) for step in run.steps[self.seen_steps :]]
        self.seen_steps = len(run.steps)
        seen = {
            "status": run.status,
            "reason": reason,
            "executed": sorted(self.executed),
            "state": run.values,
            "steps": steps,
        }
        failed = {a.key: "failed" for a in run.attempts if a.step == len(run.steps)}
        kept = {task.key: "done" for task in run.records.kept}
        return {**seen, "open": {**failed, **kept}} if failed or kept else seen


def seen_step(step: Any) -> dict[str, Any]:
    """Say of a step what the vectors say of it."""
    return {
        "step": step.step,
        "tasks": [task.key for task in step.tasks] or ["START"],
        "decisions": [
            {"by": label(d), "chosen": [shown(c) for c in d.chosen]} for d in step.decisions
        ],
        "arrows": [[shown(a.source), shown(a.target), a.kind] for a in step.arrows],
        "fired": {shown(j): [shown(s) for s in sources] for j, sources in step.fired.items()},
        "held": {j: [shown(s) for s, _ in arrived] for j, arrived in step.held.items()},
        "next": list(step.ready),
    }


def label(decision: Any) -> str:
    """Name a decision as the vectors do: a node's second router is `a:1`."""
    if decision.kind == "goto":
        return f"goto:{decision.source}"
    return shown(decision.source) + decision.router.removeprefix("r0")


def attempt(act: Callable[[], Any]) -> None:
    """Do it; that the run fails is for the records to say."""
    try:
        act()
    except RunFailedError:
        return


def pick(answers: Sequence[Any], place: int) -> Any:
    """Give the answer at a place; the last one repeats."""
    return answers[min(place, len(answers) - 1)]


def named(name: Any) -> Any:
    """Turn START and END into their names."""
    return NAMES.get(name, name) if isinstance(name, str) else name


def shown(name: str) -> str:
    """Turn the names of START and END into words."""
    return BACK.get(name, name)
