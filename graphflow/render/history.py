"""What the records say of each node: when it ran, what that cost, and where the run stands."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphflow.records import AttemptRecord, DecisionRecord, RunRecords, StepRecord
from graphflow.render.parts import NodeState
from graphflow.render.ways import decisions_of
from graphflow.render.wording import cut, duration, number

__all__ = ["Facts", "Stop", "facts_of", "node_of", "stops_of", "tally"]

_WHERE = re.compile(r"graph '[^']*', node '[^']*', step \d+: ")


@dataclass(slots=True)
class Facts:
    """What happened to one node."""

    steps: list[int] = field(default_factory=list)
    """The steps in which it ran, rising, each once."""
    tasks: int = 0
    ms: float = 0.0
    tokens: int = 0
    retries: int = 0
    decisions: list[tuple[int, DecisionRecord]] = field(default_factory=list)
    """What was decided when it was left; in the open step too."""
    rounds: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """Of a join: each step in which it ran, and the sources it had collected."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a run stands: a node of the step that is not complete."""

    state: NodeState
    """failed, paused or next."""
    mark: str
    """One word."""
    words: str
    """Why, in a few words; may be empty."""
    tooltip: str
    """Why, in full."""


def node_of(key: str, names: Mapping[str, Any] | set[str]) -> str:
    """Find the node of a task key: `work#1` is one of `work`."""
    return key if key in names else key.rsplit("#", 1)[0]


def facts_of(records: RunRecords, names: set[str]) -> dict[str, Facts]:
    """Add up per node what its tasks, failed attempts, calls and decisions say.

    Args:
        records: Of one run.
        names: The nodes of its graph.

    Returns:
        Node -> facts; nodes of which nothing is recorded are made on first use.
    """
    facts: defaultdict[str, Facts] = defaultdict(Facts)
    opened = _last(records) + 1
    fired: Mapping[str, Sequence[str]] = {}
    for step in records.steps:
        _add_tasks(facts, step.step, step)
        for name in {t.node for t in step.tasks} & fired.keys():
            facts[name].rounds.append((step.step, tuple(fired[name])))
        for decision in decisions_of(step):
            facts[decision.source].decisions.append((step.step, decision))
        fired = step.fired
    kept = StepRecord(opened, records.kept, (), (), {}, {}, (), None)
    _add_tasks(facts, opened, kept)
    for decision in decisions_of(kept):
        facts[decision.source].decisions.append((opened, decision))
    for attempt in records.attempts:
        facts[attempt.node].ms += attempt.duration_ms
    for call in records.calls:
        tokens = (call.input_tokens or 0) + (call.output_tokens or 0)
        facts[node_of(call.key, names)].tokens += tokens
    return facts


def _add_tasks(facts: Mapping[str, Facts], number_: int, step: StepRecord) -> None:
    for task in step.tasks:
        fact = facts[task.node]
        fact.tasks += 1
        fact.ms += task.duration_ms
        fact.retries += max(0, task.attempts - 1)
        if not fact.steps or fact.steps[-1] != number_:
            fact.steps.append(number_)


def tally(ms: float, tokens: int) -> str:
    """Say what something took: `2.1 s · 940 tok`."""
    return f"{duration(ms)} · {number(tokens)} tok" if tokens else duration(ms)


def _last(records: RunRecords) -> int:
    return records.steps[-1].step if records.steps else -1


def stops_of(records: RunRecords, names: set[str]) -> dict[str, Stop]:
    """Say of each node of the open step how it stands there.

    Args:
        records: Of one run.
        names: The nodes of its graph.

    Returns:
        Node -> stop; nothing for a run that is done.
    """
    if records.header.status == "done" or not records.steps:
        return {}
    stops = {name: _waiting(records, name) for name in _unfinished(records, names)}
    stops.update(_failed(records))
    stops.update(_blamed(records, names))
    return stops


def _unfinished(records: RunRecords, names: set[str]) -> list[str]:
    kept = {task.key for task in records.kept}
    return [node_of(key, names) for key in records.steps[-1].ready if key not in kept]


def _waiting(records: RunRecords, name: str) -> Stop:
    """Say why a node that is ready has not run."""
    header, opened = records.header, _last(records) + 1
    if header.status == "paused":
        words = _limit(records, name)
        full = f"step {opened} has not begun: {header.reason or 'paused'}"
        return Stop("paused", "paused", words, full)
    if header.status == "cancelled":
        return Stop(
            "paused", "cancelled", "", f"step {opened} was not run: {header.reason or 'cancelled'}"
        )
    words = "owner gone" if header.status == "stale" else ""
    return Stop("next", "next", words, f"ready to run in step {opened}")


def _limit(records: RunRecords, name: str) -> str:
    """Put `limit:steps` or `limit:visits:NODE` into words."""
    reason = records.header.reason or ""
    kind, _, rest = reason.removeprefix("limit:").partition(":")
    if not reason.startswith("limit:") or kind not in ("steps", "visits"):
        return cut(reason)
    if kind == "visits" and rest != name:
        return f"limit: visits of {cut(rest, 16)}"
    bound = _bounds(records).get(kind)
    return f"limit: {bound} {kind}" if bound is not None else f"limit: {kind}"


def _bounds(records: RunRecords) -> dict[str, Any]:
    from json import loads  # stays out of `import graphflow`

    bounds = loads(records.header.limits_json or "{}")
    return bounds if isinstance(bounds, dict) else {}


def _failed(records: RunRecords) -> dict[str, Stop]:
    """Say of each node of which a task of the open step failed what its last error was."""
    opened, kept = _last(records) + 1, {task.key for task in records.kept}
    tried: defaultdict[str, list[AttemptRecord]] = defaultdict(list)
    for attempt in records.attempts:
        if attempt.step == opened and attempt.key not in kept:
            tried[attempt.node].append(attempt)
    alive = records.header.status in ("running", "stale")
    return {name: _failure(opened, failed, alive=alive) for name, failed in tried.items()}


def _failure(opened: int, failed: list[AttemptRecord], *, alive: bool) -> Stop:
    last = failed[-1]
    tries = max(attempt.attempt for attempt in failed)
    kind = last.error_type.rsplit(".", 1)[-1]
    full = f"{kind}: {last.error}" if last.error else kind
    # Our own errors say first where they happened; in the drawing that is where they stand.
    brief = _WHERE.sub("", last.error) if _WHERE.match(last.error) else full
    times = f" · {tries} tries" if tries > 1 else ""
    told = f"step {opened}, try {tries}: {full}"
    if alive:  # the next try may be under way
        return Stop("next", "again", f"{cut(brief)} · try {tries + 1}", told)
    return Stop("failed", "failed", f"{cut(brief)}{times}", told)


def _blamed(records: RunRecords, names: set[str]) -> dict[str, Stop]:
    """Find the nodes at which a step could not close though every task of it is complete."""
    reason = records.header.reason or ""
    kind, _, rest = reason.partition(" ")
    if records.header.status != "failed" or kind not in ("conflict", "router", "step"):
        return {}
    head, _, tail = rest.partition(": ")
    keys, words = [head], f"router: {tail}"
    if kind == "conflict":
        keys, words = tail.split(", "), f"conflict in {head}"
    elif kind == "step":
        keys, words = [task.key for task in records.kept], "the updates do not fit"
    stop = Stop("failed", "failed", cut(words), records.header.error or reason)
    return {node: stop for key in keys if (node := node_of(key, names)) in names}
