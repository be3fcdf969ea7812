"""What can be done with a run, drawn at random; the oracle says what must be seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from random import Random
from typing import Any

from tests.engine.oracle import ALWAYS, Oracle

__all__ = ["LARGE", "MOST", "ROUTERS", "answer_to", "ended", "scripted", "without_failures"]

Data = Mapping[str, Any]
LARGE = {"steps": 25, "visits": 9}
MOST = 8
"""Answers of one run: each sets its limits back, so it could go on for ever."""
ROUTERS = 4
"""Of one graph: so often a resume may do nothing but meet the next router that raises once."""


def scripted(case: Data, random: Random, *, most: int = 10) -> dict[str, Any]:
    """Add actions to a case, with what the oracle expects of each.

    Args:
        case: A case without actions.
        random: Draws the actions.
        most: How many there are at most.
    """
    oracle, actions = Oracle(case), []
    action: dict[str, Any] | None = {"do": "run"}
    if random.random() < 0.2:
        action = {"do": "run", "max_steps": random.randint(1, 4)}
    while action is not None and len(actions) < most:
        expect = deepcopy(oracle.act(action))
        actions.append({**action, "expect": expect, "asking": sorted(oracle.asking())})
        action = next_action(oracle, random)
    return {**case, "actions": actions}


def next_action(oracle: Oracle, random: Random) -> dict[str, Any] | None:
    """Draw what is done next; None: nothing."""
    sim, asking = oracle.sim, oracle.asking()
    reason = sim.reason or ""
    if random.random() < 0.15:
        return fork(oracle, random)
    if asking and random.random() < 0.8:
        key, step = random.choice(asking)
        return {"do": "answer", "node": key, "value": answer_to(key, step)}
    if sim.status == "done" or (reason.startswith("conflict") and random.random() < 0.7):
        return None
    if sim.status == "running" and random.random() < 0.5:
        return {"do": "resume", "max_steps": len(sim.steps) + random.randint(1, 3)}
    if reason.startswith("limit"):
        chance = random.random()
        if chance < 0.4:
            return None
        return {"do": "resume", "limits": LARGE} if chance < 0.8 else {"do": "resume"}
    return {"do": "resume"}


def fork(oracle: Oracle, random: Random) -> dict[str, Any]:
    """Draw a fork of a committed step: unchanged, with an update, with a choice."""
    sim = oracle.sim
    step = random.randrange(len(sim.steps))
    made: dict[str, Any] = {"do": "fork", "step": step}
    if random.random() < 0.4:
        updates = [{"n": 5}, {"log": ["d"]}, {"v": 3}, {"out": [1], "nums": [4]}]
        made["update"] = random.choice(updates)
    nodes = {task.node for task in sim.steps[step].before.ready} if step else {"START"}
    decided = {decision["by"] for decision in sim.steps[step].facts["decisions"]}
    routers = [(label, router) for name in sorted(nodes) for label, router in sim.routers(name)]
    pinned = [(label, router["targets"]) for label, router in routers if label in decided]
    if pinned and random.random() < 0.4:
        label, targets = random.choice(pinned)
        made["choose"] = {label: random.choice([random.choice(targets), targets, []])}
    return made


def answer_to(key: str, step: int) -> list[str]:
    """Give the answer to a question: the same whenever it is asked and answered."""
    return [f"{key} in step {step}"]


def ended(case: Data) -> Oracle:
    """Play a case on the oracle until nothing moves it on, or it has asked too much."""
    oracle = Oracle(case)
    oracle.act({"do": "run"})
    for _ in range(MOST):
        settle(oracle)
        if not oracle.asking():
            return oracle
        key, step = oracle.asking()[0]
        oracle.act({"do": "answer", "node": key, "value": answer_to(key, step)})
    return oracle


def settle(oracle: Oracle) -> None:
    """Resume until it is no longer failed, or a resume changes nothing."""
    idle = 0
    while oracle.sim.status == "failed" and idle <= ROUTERS:
        before = len(oracle.sim.steps)
        seen = oracle.act({"do": "resume"})
        idle = 0 if seen["executed"] or len(oracle.sim.steps) > before else idle + 1


def without_failures(graph: Data) -> dict[str, Any]:
    """Give a graph whose bodies do not fail, but for those that a fallback catches."""
    nodes = [_mended(node) for node in graph["nodes"]]
    routers = [{**r, "answers": [_calm(a) for a in r["answers"]]} for r in graph["routers"]]
    return {**graph, "nodes": nodes, "routers": routers}


def _mended(node: Data) -> dict[str, Any]:
    made = dict(node)
    if "flaky" in node:
        made["flaky"] = [count if count == ALWAYS else 0 for count in node["flaky"]]
    if "map" in node:
        fails = {ix: n for ix, n in node["map"].get("fails", {}).items() if n == ALWAYS}
        made["map"] = {**node["map"], "fails": fails}
    if "graph" in node:
        made["graph"] = without_failures(node["graph"])
    return made


def _calm(answer: Any) -> Any:
    return answer["then"] if isinstance(answer, dict) and "then" in answer else answer
