"""What the records say of each node: when it ran, what that cost, and what came of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from graphflow.records import (
    AttemptRecord,
    DecisionRecord,
    ItemRecord,
    QuestionRecord,
    RunRecords,
    TaskRecord,
    wall_ms,
)
from graphflow.render.ways import decisions_of
from graphflow.render.wording import duration, node_of, number
from graphflow.standing import task_of

__all__ = ["Facts", "Tried", "facts_of", "opened", "tally", "tokens_of", "took", "tried_in"]

K = TypeVar("K")


@dataclass(slots=True)
class Facts:
    """What happened to one node, in one run or in several."""

    steps: list[int] = field(default_factory=list)
    """The steps in which it ran, rising, each once; those of one run after those of another."""
    runs: int = 0
    """In how many runs it ran."""
    tasks: int = 0
    ms: float = 0.0
    """By the clock, failed attempts included."""
    tokens: int = 0
    retries: int = 0
    """Of tasks that were complete in the end; of a subgraph see what is in it."""
    decisions: list[tuple[int, DecisionRecord]] = field(default_factory=list)
    """What was decided when it was left; in the open step too."""
    rounds: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """Of a join: each step in which it ran, and the sources it had collected."""
    items: int | None = None
    """Of a map: how many it had, in the last step in which it ran."""
    last: int = 0
    """Its tasks in the last step in which it ran."""
    fallen: dict[str, int] = field(default_factory=dict)
    """Of that step: the tasks instead of which another node ran, and how often each failed."""
    instead: str = ""
    """That node."""
    error: AttemptRecord | None = None
    """The last failure of one of those."""
    questions: list[QuestionRecord] = field(default_factory=list)
    """Answered and open ones."""
    kept: int = 0
    """Complete tasks of the open step."""


def opened(records: RunRecords) -> int:
    """Give the number of the step that is not committed."""
    return records.steps[-1].step + 1 if records.steps else 0


def tally(ms: float, tokens: int) -> str:
    """Say what something took: `2.1 s · 940 tok`."""
    return f"{duration(ms)} · {number(tokens)} tok" if tokens else duration(ms)


def tokens_of(records: RunRecords) -> int:
    """Add up the tokens of a run and its subgraphs."""
    own = sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in records.calls)
    return own + sum(map(tokens_of, records.children))


def took(records: RunRecords, group: Callable[[int, str], K]) -> dict[K, float]:
    """Say how long bodies ran by the clock, failed ones and those of the open step too.

    Args:
        records: Of a run.
        group: Of a step and the key of a task: whose times are put together.

    Returns:
        Group -> milliseconds; of a map the time of its items.
    """
    ran: defaultdict[K, list[TaskRecord | ItemRecord | AttemptRecord]] = defaultdict(list)
    for item in records.items:
        ran[group(item.step, item.key)].append(item)
    mapped = {(item.step, item.key) for item in records.items}
    for at, task in _tasks(records).items():
        if at not in mapped:
            ran[group(*at)].append(task)
    for attempt in records.attempts:
        ran[group(attempt.step, task_of(attempt.key))].append(attempt)
    return {key: wall_ms(found) for key, found in ran.items()}


@dataclass(frozen=True, slots=True)
class Tried:
    """How often a task failed."""

    failures: int = 0
    """Executions of its body, or of its items, that failed."""
    retries: int = 0
    """Those that were followed by another one."""


def tried_in(records: RunRecords) -> dict[tuple[int, str], Tried]:
    """Count the failed attempts of each task, those of its items among them.

    Returns:
        (step, task) -> how many; nothing of a subgraph's task: what failed is in it.
    """
    within = {(child.header.parent_step, child.header.parent_key) for child in records.children}
    failed = Counter(
        (a.step, a.key)
        for a in records.attempts
        if not a.is_over_budget and (a.step, task_of(a.key)) not in within
    )
    ended = _ended(records)
    tried: defaultdict[tuple[int, str], Tried] = defaultdict(Tried)
    for (step, key), count in failed.items():
        at = step, task_of(key)
        again = count if (step, key) in ended else count - 1
        tried[at] = Tried(tried[at].failures + count, tried[at].retries + again)
    return tried


def _ended(records: RunRecords) -> set[tuple[int, str]]:
    """Find the tasks and items whose last execution did not fail: somebody may answer instead."""
    asked = {(q.step, q.key): q.asked_at for q in records.questions if q.kind == "escalation"}
    ended = {at for at, t in _tasks(records).items() if t.started_at > asked.get(at, "")}
    return ended | {(item.step, f"{item.key}[{item.ix}]") for item in records.items}


def _tasks(records: RunRecords) -> dict[tuple[int, str], TaskRecord]:
    tasks = {(step.step, task.key): task for step in records.steps for task in step.tasks}
    return tasks | {(opened(records), task.key): task for task in records.kept}


def facts_of(runs: Iterable[RunRecords], names: Container[str]) -> dict[str, Facts]:
    """Add up per node what tasks, failed attempts, calls, questions and decisions say.

    Args:
        runs: One run; of a subgraph, all runs of it.
        names: The nodes of the graph.

    Returns:
        Node -> facts; nodes of which nothing is recorded are made on first use.
    """
    facts: defaultdict[str, Facts] = defaultdict(Facts)
    for records in runs:
        _add(facts, records, names)
    return facts


def _add(facts: Mapping[str, Facts], records: RunRecords, names: Container[str]) -> None:
    tried = tried_in(records)
    ran: set[str] = set()
    fired: Mapping[str, Sequence[str]] = {}
    for step in records.steps:
        nodes = _add_tasks(facts, step.step, step.tasks, tried)
        for name in nodes & fired.keys():
            facts[name].rounds.append((step.step, tuple(fired[name])))
        for decision in decisions_of(step):
            facts[decision.source].decisions.append((step.step, decision))
        fired, ran = records.checkpoint(step.step).fired, ran | nodes
    ran |= _add_tasks(facts, opened(records), records.kept, tried)
    for task in records.kept:
        facts[task.node].kept += 1
        if task.goto is not None:
            facts[task.node].decisions.append((opened(records), task.goto))
    for name in ran:
        facts[name].runs += 1
    _add_rest(facts, records, names)


def _add_rest(facts: Mapping[str, Facts], records: RunRecords, names: Container[str]) -> None:
    """Add what is recorded beside the tasks."""
    for (_, name), ms in took(records, lambda step, key: (step, node_of(key, names))).items():
        facts[name].ms += ms
    for attempt in records.attempts:
        fact = facts[node_of(attempt.node, names)]
        if task_of(attempt.key) in fact.fallen and attempt.step == fact.steps[-1]:
            fact.error = attempt
    for call in records.calls:
        tokens = (call.input_tokens or 0) + (call.output_tokens or 0)
        facts[node_of(call.key, names)].tokens += tokens
    for question in records.questions:
        facts[node_of(question.key, names)].questions.append(question)
    for child in records.children:
        facts[node_of(child.header.parent_key or "", names)].tokens += tokens_of(child)


def _add_tasks(
    facts: Mapping[str, Facts],
    step: int,
    tasks: Sequence[TaskRecord],
    tried: Mapping[tuple[int, str], Tried],
) -> set[str]:
    """Add the tasks of a step; give the nodes that ran."""
    nodes: set[str] = set()
    for task in tasks:
        fact = facts[task.node]
        if task.node not in nodes:
            nodes.add(task.node)
            fact.steps.append(step)
            fact.last, fact.items, fact.fallen = 0, None, {}
        fact.tasks += 1
        fact.last += 1
        tries = tried.get((step, task.key), Tried())
        if task.fell_back is not None:
            fact.fallen[task.key], fact.instead = tries.failures, task.fell_back
        else:
            fact.retries += tries.retries
        if task.items is not None:
            fact.items = (fact.items or 0) + task.items
    return nodes
