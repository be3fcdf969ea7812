"""The execution rules written a second time, from their text alone, to be compared with the engine.

It shares nothing with the package: a graph is plain data in the format of the golden vectors, a
run is a list of dicts. It is slow and obvious on purpose. Beyond that format a node may have
`gate` ({modulo, good, passed, failed, otherwise, tries, feedback}: passes when the length of the
log, modulo `modulo`, is in `good`) and `flaky`: how often each of its tasks fails first; the
number at the place that says how often the node is in the log it sees, the last one repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.engine.closing import Process, Result, Rules, Standing, StepFailed, Task, pick
from tests.engine.form import listed

__all__ = ["ALWAYS", "Oracle"]

State = dict[str, Any]

ALWAYS = 99
"""Failures of a task that never works."""


@dataclass
class Step:
    """A committed step, with all that a fork of it needs."""

    facts: dict[str, Any]
    before: Standing
    results: dict[str, Result]
    update: State
    """What a fork reduced in."""
    choose: Mapping[str, Any]
    """What a fork pinned."""


class Sim(Rules):
    """One run of one graph; a child has a Sim of its own.

    Args:
        graph: The graph.
        process: What lives in the process.
        name: Tells runs apart.
        path: What its tasks are prefixed with: "", "sub#0/".
        limits: {steps, visits}.
    """

    def __init__(
        self, graph: Mapping[str, Any], process: Process, name: str, path: str, limits: Any
    ) -> None:
        super().__init__(graph, process)
        self.name, self.path = name, path
        self.limits = {"steps": 100, "visits": 25, **limits}
        self.steps: list[Step] = []
        self.open: dict[str, Result] | None = None
        self.heard = {1}
        """The steps from which the limits are counted."""
        self.status, self.reason = "running", None
        self.now = Standing(self.empty())

    def begin(self, given: Mapping[str, Any]) -> None:
        """Commit the input (S1)."""
        self.now.state = self.merged(self.now.state, [("input", given)])
        self.commit({"START": Result("done")}, {}, {})

    def end(self, status: str, reason: str | None = None) -> None:
        """Say how it stands."""
        self.status, self.reason = status, reason

    def go(self, *, resume: bool = False, stop_at: int = 10**6) -> None:
        """Advance it as far as it gets; with `resume` what failed runs again (S15)."""
        while len(self.steps) < stop_at:
            if self.open is None:
                if not self.now.ready and not self.now.held:
                    return self.end("done")
                assert self.now.ready, "nothing ready, something held: rule 1 of joins is broken"
                if reached := self.limit_reached():
                    return self.end("paused", reached)
                self.open = {}
            for task in self.now.ready:
                self.open[task.key] = self.stand(task, self.open.get(task.key), resume)
            if any(not result.complete for result in self.open.values()):
                return self.end(*self.why_open(self.open))
            try:
                self.commit(self.open, {}, {})
            except StepFailed as error:
                return self.end("failed", str(error))
            self.open = None
        more = self.now.ready or self.now.held
        return self.end("running" if more else "done")

    def why_open(self, results: Mapping[str, Result]) -> tuple[str, str]:
        """Say what an open step waits for: a failure first, then a question, then a limit."""
        kinds = [result.kind for result in results.values()]
        if "failed" in kinds:
            return "failed", "task"
        if "asking" in kinds:
            return "paused", "question"
        key, child = next((k, r.child) for k, r in results.items() if r.kind == "limit")
        _, what, *inside = child.reason.split(":", 2)
        return "paused", f"limit:{what}:{'/'.join([key, *inside])}"

    def limit_reached(self) -> str | None:
        """Name the limit that forbids the next step (S14)."""
        since = max(self.heard)
        counted = [step for step in self.steps[1:] if step.facts["step"] >= since]
        if len(counted) >= self.limits["steps"]:
            return "limit:steps"
        for name in dict.fromkeys(task.node for task in self.now.ready):
            ran = [s for s in counted if any(t.node == name for t in s.before.ready)]
            if len(ran) >= self.limits["visits"]:
                return f"limit:visits:{name}"
        return None

    def stand(self, task: Task, known: Result | None, resume: bool) -> Result:
        """Run a task if it is to run now."""
        if known is not None and (known.complete or known.kind == "asking" or not resume):
            return known
        node, seen = self.nodes[task.node], {**self.now.state, **(task.sent or {})}
        if "question" in node:
            return Result("asking")
        if "graph" in node:
            result = self.run_child(task, node, seen, known)
        elif "map" in node:
            result = self.run_items(task, node, seen, known)
        elif "gate" in node:
            result = self.judge(node, seen)
        else:
            result = self.run_body(task, node, seen)
        return self.fallen(node, result)

    def fallen(self, node: Mapping[str, Any], result: Result) -> Result:
        """Let a failed task fall back, if its node has a fallback (S16)."""
        if result.kind == "failed" and "fallback" in node:
            return Result("fallback", child=result.child)
        return result

    def run_body(self, task: Task, node: Mapping[str, Any], seen: State) -> Result:
        """Run a plain body."""
        name, count = task.node, seen["log"].count(task.node)
        self.process.executed.append(self.path + task.key)
        fails = self.process.failures_left(id(node), node.get("outcomes", ()))
        flaky = ["fail"] * pick(node.get("flaky", [0]), count)
        if self.process.failures_left((self.name, len(self.steps), task.key), flaky) or fails:
            return Result("failed")
        update: State = {"log": [name]}
        for op, target, value in node.get("update", ()):
            given = seen[value[1:]] if str(value).startswith("$") else value
            if op == "append":
                update[target] = [*update.get(target, ()), given]
            else:
                update[target] = update.get(target, 0) + given if op == "add" else given
        if "goto" not in node:
            return Result("done", update)
        return Result("done", update, ("goto", listed(pick(node["goto"]["answers"], count))))

    def run_items(
        self, task: Task, node: Mapping[str, Any], seen: State, known: Result | None
    ) -> Result:
        """Run the missing items of a map (S13)."""
        spec, place = node["map"], (self.name, len(self.steps), task.key)
        items, results = seen[spec["over"]], dict(known.items) if known else {}
        for ix, item in enumerate(items):
            if ix in results:
                continue
            self.process.executed.append(f"{self.path}{task.key}[{ix}]")
            script = ["fail"] * spec.get("fails", {}).get(str(ix), 0)
            if not self.process.failures_left((*place, ix), script):
                results[ix] = item * spec["times"]
        if len(results) < len(items):
            return Result("failed", items=results)
        update = {"log": [task.node], spec["into"]: [results[ix] for ix in range(len(items))]}
        return Result("done", update, items=results)

    def judge(self, node: Mapping[str, Any], seen: State) -> Result:
        """Run a gate."""
        gate, tries = node["gate"], self.now.tries.get(node["name"], 0)
        if len(seen["log"]) % gate["modulo"] in gate["good"]:
            return Result("done", {}, ("gate", [gate["passed"]]), 0)
        update = {"notes": ["too short"]} if gate["feedback"] else {}
        if gate["tries"] is not None and tries + 1 >= gate["tries"]:
            return Result("done", update, ("gate", [gate["otherwise"]]), 0)
        return Result("done", update, ("gate", [gate["failed"]]), tries + 1)

    def run_child(
        self, task: Task, node: Mapping[str, Any], seen: State, known: Result | None
    ) -> Result:
        """Begin the child of a subgraph, or go on inside it (S19)."""
        if known is not None and known.child is not None:
            known.child.go(resume=True)
            return self.of_child(node, known.child)
        graph, name = node["graph"], f"{self.name}/{len(self.steps)}:{task.key}"
        limits = graph.get("limits", {})
        child = Sim(graph, self.process, name, f"{self.path}{task.key}/", limits)
        child.begin({own: seen[of] for own, of in node.get("input", {}).items()})
        child.go()
        return self.of_child(node, child)

    def of_child(self, node: Mapping[str, Any], child: Sim) -> Result:
        """Say how a task stands by how its child stands."""
        if child.status == "done":
            output = {own: child.now.state[of] for own, of in node.get("output", {}).items()}
            return Result("done", {**output, "log": [node["name"]]}, child=child)
        if child.status == "failed":
            return Result("failed", child=child)
        return Result("asking" if child.reason == "question" else "limit", child=child)

    def set_limits(self, limits: Mapping[str, int]) -> None:
        """Set new limits for the run and its open children (S14)."""
        self.limits = {**self.limits, **limits}
        for result in (self.open or {}).values():
            if result.child is not None and not result.complete:
                result.child.set_limits(limits)

    def answer(self, path: str, value: Any) -> None:
        """Answer a question of the open step, or of one in a child (S15)."""
        assert self.open is not None
        self.heard.add(len(self.steps))
        key, _, inside = path.partition("/")
        node = self.nodes[key.partition("#")[0]]
        if inside:
            child = self.open[key].child
            assert child is not None
            child.answer(inside, value)
            self.open[key] = self.fallen(node, self.of_child(node, child))
        else:
            into = node["question"]["into"]
            self.open[key] = Result("done", {into: value, "log": [node["name"]]})
        self.go()

    def fork(self, number: int, name: str, update: State | None, choose: Any) -> Sim:
        """Commit a step anew in a run of its own (S18)."""
        fork = Sim(self.graph, self.process, name, self.path, self.limits)
        again = self.steps[number]
        fork.steps = self.steps[:number]
        fork.heard = {step for step in self.heard if step <= max(number, 1)}
        fork.now = replace(again.before, state=dict(again.before.state))
        fork.commit(
            again.results,
            again.update if update is None else update,
            {**again.choose, **(choose or {})},
        )
        return fork

    def commit(
        self, results: Mapping[str, Result], update: State, choose: Mapping[str, Any]
    ) -> None:
        """Merge, decide, settle the joins, and commit (S1 to S12).

        Raises:
            StepFailed: A conflict, or a router; nothing has changed then.
        """
        before, number = self.now, len(self.steps)
        tasks = before.ready if number else [Task("START", "START")]
        state = self.merged(before.state, [(t.key, results[t.key].update) for t in tasks])
        state = self.merged(state, [("fork", update)])
        decided = self.decided(tasks, results, state, choose)
        tries = {t.node: results[t.key].tries for t in tasks}
        after = Standing(state, tries={**before.tries, **{n: k for n, k in tries.items() if k}})
        after.tries = {n: k for n, k in after.tries.items() if tries.get(n) != 0}
        fired = self.settle(before, after, decided, number)
        facts = {
            "step": number,
            "tasks": [task.key for task in tasks],
            "decisions": decided.decisions,
            "arrows": [list(arrow) for arrow in decided.arrows],
            "fired": fired,
            "held": {join: self.in_order(of) for join, of in after.held.items()},
            "next": [task.key for task in after.ready],
            **self.inner_facts(tasks, results),
        }
        self.steps.append(Step(facts, before, dict(results), update, choose))
        self.now = after


class Oracle:
    """Plays the actions of a case, and says what must be seen.

    Args:
        case: A case as the vectors write it.
    """

    def __init__(self, case: Mapping[str, Any]) -> None:
        self.case, self.process, self.forks = case, Process(), 0
        self.sim = Sim(case, self.process, "run", "", case.get("limits", {}))

    def act(self, action: Mapping[str, Any]) -> dict[str, Any]:
        """Do one action; give what is to be compared with its `expect`."""
        self.process.executed, since = [], len(self.sim.steps)
        if action["do"] == "run":
            self.sim.begin(self.case.get("input", {}))
            self.sim.go(stop_at=action.get("max_steps", 10**6))
        elif action["do"] == "answer":
            self.sim.answer(action["node"], action["value"])
        elif action["do"] == "fork":
            self.forks, since = self.forks + 1, action["step"]
            changed = action.get("update"), action.get("choose")
            self.sim = self.sim.fork(since, f"fork{self.forks}", *changed)
            self.sim.go()
        else:
            if "limits" in action:
                self.sim.set_limits(action["limits"])
            self.sim.go(resume=True, stop_at=action.get("max_steps", 10**6))
        return self.seen(since)

    def seen(self, since: int = 0) -> dict[str, Any]:
        """Say how the run stands, with its steps from one on."""
        sim = self.sim
        seen = {
            "status": sim.status,
            "reason": sim.reason,
            "executed": sorted(self.process.executed),
            "state": sim.now.state,
            "steps": [step.facts for step in sim.steps[since:]],
        }
        if sim.open is None:
            return seen
        return {**seen, "open": {key: result.kind for key, result in sim.open.items()}}

    def asking(self) -> list[tuple[str, int]]:
        """List the open questions: what an answer names each by, and its run's step."""
        return list(_asking(self.sim, ""))


def _asking(sim: Sim, path: str) -> Iterator[tuple[str, int]]:
    for key, result in (sim.open or {}).items():
        if result.kind == "asking" and result.child is None:
            yield path + key, len(sim.steps)
        elif result.child is not None and not result.complete:
            yield from _asking(result.child, f"{path}{key}/")
