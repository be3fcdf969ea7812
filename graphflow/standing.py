"""How the tasks of a run's open step stand, read from its records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from graphflow.change.lapsed import is_lapsed
from graphflow.change.moved import node_in
from graphflow.records import AttemptRecord, QuestionRecord, RunHeader, RunRecords

__all__ = [
    "beyond_limit",
    "end_of",
    "is_incomplete",
    "latest",
    "limit_reached",
    "open_tasks",
    "task_of",
    "under_way",
    "went_on",
]


def task_of(key: str) -> str:
    """Find the task that an item's key belongs to: `m[1]` is one of `m`."""
    return key.partition("[")[0]


def is_incomplete(records: RunRecords, step: int | None, key: str | None, kind: str = "") -> bool:
    """Tell whether a task belongs to the open step, and is neither done nor has fallen back.

    Only then does somebody wait for what it asks, and does its child run go on (S15, S16).

    Args:
        records: Of one run; its tail is enough.
        step: The task's step.
        key: The task's key, or that of an item of it.
        kind: What its node must be still when the graph has changed, "graph"; empty: anything.
    """
    task = task_of(key or "")
    if kind and not _is_still(records, task, kind):
        return False
    return step == records.header.step + 1 and all(kept.key != task for kept in records.kept)


def under_way(records: RunRecords) -> dict[str, int]:
    """Say which tasks of a running run's open step wait for nobody and are not complete.

    Args:
        records: Of one run; its tail is enough.

    Returns:
        Task key -> the number of its next recorded execution: 1 plus those that failed.
    """
    if records.header.status not in ("running", "stale") or not records.steps:
        return {}
    standing, step = open_tasks(records), records.steps[-1]
    failed = [a for a in records.attempts if a.step == step.step + 1 and not a.is_over_budget]
    return {
        key: 1 + sum(attempt.key == key for attempt in failed)
        for key in step.ready
        if standing.get(key, "failed") == "failed"
    }


def limit_reached(records: RunRecords) -> tuple[str, int] | None:
    """Say at which limit a run is paused: "steps" or "visits", and how many; None at none.

    Args:
        records: Of the run, with its children.
    """
    header = records.header
    kind, _, rest = (header.reason or "").partition(":")
    if header.status != "paused" or kind != "limit":
        return None
    what = rest.partition(":")[0]
    return what, max(json.loads(one.limits_json).get(what, 1) for one in _open_headers(records))


def beyond_limit(records: RunRecords) -> list[str]:
    """Say in a line how a run goes on that is paused at a limit; nothing of one that is not."""
    reached = limit_reached(records)
    if reached is None or records.header.parent is not None:
        return []
    (what, bound), run_id = reached, records.header.run_id
    return [f"go on: flow.resume({run_id!r}, limits=Limits({what}={2 * bound}))"]


def _open_headers(records: RunRecords) -> Iterator[RunHeader]:
    """Give the header of a run and of its subgraphs that are not over: a limit may be theirs."""
    yield records.header
    for child in records.children:
        if child.header.status not in {"done", "cancelled"}:
            yield from _open_headers(child)


def open_tasks(records: RunRecords) -> dict[str, str]:
    """Say how each task of the open step stands (S15).

    Args:
        records: Of one run; its tail is enough.

    Returns:
        Task key -> "done", "fallback" (complete without an update), "failed", "asking" or "limit"
        (it waits for a larger budget, or its child run for larger limits), in the order of the
        step. A task that has not ended, or not begun, is not named.
    """
    if not records.steps:
        return {}
    opened = records.steps[-1].step + 1
    kept = {task.key: "done" if task.fell_back is None else "fallback" for task in records.kept}
    asked: dict[str, list[QuestionRecord]] = {}
    for question in records.questions:
        if question.step == opened and not is_lapsed(records, question):
            asked.setdefault(task_of(question.key), []).append(question)
    children = {
        child.header.parent_key: child.header
        for child in records.children
        if child.header.parent_step == opened
        and _is_still(records, str(child.header.parent_key), "graph")
    }
    spent = _is_spent(records.header)
    done = {f"{item.key}[{item.ix}]" for item in records.items if item.step == opened}
    failed = _last_failures(a for a in records.attempts if a.step == opened and a.key not in done)
    found = {}
    for key in records.last.ready:
        standing = kept.get(key)
        standing = standing or _standing(children.get(key), asked.get(key, ()), failed.get(key))
        if standing or spent:
            found[key] = standing or "limit"
    return found


def _is_still(records: RunRecords, key: str, kind: str) -> bool:
    """Tell whether the node of a task is of a kind in the graph that the run is on."""
    name = node_in(key)
    kinds = [node.get("kind") for node in records.spec.get("nodes", ()) if node["name"] == name]
    return not kinds or kinds[0] == kind


def latest(records: RunRecords) -> dict[str, datetime]:
    """Give the last moment at which each task of the open step failed or asked.

    What failed or asked later must not seem to have done so earlier, when the clock is set back:
    whether a question is open hangs on it.
    """
    opened, found = records.header.step + 1, dict[str, datetime]()
    events = [(a.key, end_of(a)) for a in records.attempts if a.step == opened]
    asked = [q for q in records.questions if q.step == opened and q.asked_at]
    events += [(q.key, datetime.fromisoformat(q.asked_at)) for q in asked]
    for key, time in events:
        task = task_of(key)
        found[task] = max(time, found.get(task, time))
    return found


def end_of(attempt: AttemptRecord) -> datetime:
    """Give the moment at which an execution failed."""
    took = timedelta(milliseconds=attempt.duration_ms)
    return datetime.fromisoformat(attempt.started_at) + took


def _is_spent(header: RunHeader) -> bool:
    """Tell whether a run is paused since tasks of its own have used up a budget."""
    kind, *path = (header.reason or "").split(":")
    return header.status == "paused" and kind == "budget" and len(path) == 1


def _last_failures(attempts: Iterable[AttemptRecord]) -> dict[str, tuple[datetime, str]]:
    """Say when each task failed last, and whether it is "failed" or at a "limit"."""
    last = {attempt.key: attempt for attempt in attempts}  # of each item of a map, too
    found: dict[str, tuple[datetime, str]] = {}
    for attempt in last.values():
        end = end_of(attempt)
        how = "limit" if attempt.is_over_budget else "failed"
        key = task_of(attempt.key)
        before, standing = found.get(key, (end, how))
        found[key] = max(before, end), "failed" if "failed" in {standing, how} else how
    return found


def _standing(
    child: RunHeader | None,
    asked: Sequence[QuestionRecord],
    failed: tuple[datetime, str] | None,
) -> str | None:
    if any(_is_open(question, failed and failed[0]) for question in asked):
        return "asking"
    if failed is not None and any(went_on(question, failed[0]) for question in asked):
        failed = None  # it is answered: the body runs again
    stopped = _child_standing(child) if child else None
    if stopped or failed is not None:
        return stopped or (failed and failed[1])
    answered = any(q.kind == "question" and q.answer_json is not None for q in asked)
    return "done" if answered else None


def went_on(question: QuestionRecord, failed: datetime) -> bool:
    """Tell whether a body that failed was tried again, and came as far as to ask."""
    return question.kind == "ask" and datetime.fromisoformat(question.asked_at) >= failed


def _is_open(question: QuestionRecord, failed: datetime | None) -> bool:
    """Tell whether a question waits: not answered, and its task has not failed since."""
    if question.answer_json is not None:
        return False
    # An escalation is asked because of the failure: nothing runs until it is answered
    if failed is None or question.kind == "escalation":
        return True
    return datetime.fromisoformat(question.asked_at) >= failed


def _child_standing(header: RunHeader) -> str | None:
    reason = header.reason or ""
    if header.status == "failed":
        return "failed"
    if header.status == "paused" and reason == "question":
        return "asking"
    if header.status == "paused" and reason.startswith(("limit:", "budget:")):
        return "limit"
    return None
