"""What a run has used, added up from its records."""

import json
from collections.abc import Iterable

from graphflow.records import RunRecords, Spent

__all__ = ["added", "spent_in", "used_before"]


def added(one: Spent, other: Spent) -> Spent:
    """Add up two sums."""
    return Spent(one.calls + other.calls, one.tokens + other.tokens, one.seconds + other.seconds)


def used_before(records: RunRecords) -> Spent | None:
    """Say what the steps had used that were pruned; None when none were.

    Args:
        records: The run, whole. A fork that has lost its own first step has lost what it shared.
    """
    before, header = records.before, records.header
    if before is None or header.fork_step is None or records.steps[0].step <= header.fork_step:
        return before
    return added(before, Spent(**json.loads(header.fork_json or "{}").get("spent", {})))


def spent_in(records: RunRecords) -> Spent:
    """Add up what a run and its children have used; see `Checkpointer.spent`.

    Args:
        records: The run's own records, without those that a fork shares; all of its children.
    """
    children = [spent_in(child) for child in records.children]
    calls = _complete_calls(records) + sum(child.calls for child in children)
    tokens = sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in records.calls)
    ms, before = sum(_durations(records)), records.before or Spent()
    return Spent(
        calls + before.calls,
        tokens + before.tokens + sum(child.tokens for child in children),
        ms / 1e3 + before.seconds + sum(child.seconds for child in children),
    )


def _complete_calls(records: RunRecords) -> int:
    complete = {(step.step, task.key) for step in records.steps for task in step.tasks}
    complete |= {(records.header.step + 1, task.key) for task in records.kept}
    complete |= {(item.step, f"{item.key}[{item.ix}]") for item in records.items}
    return sum(
        (call.step, call.key) in complete or (call.step, call.key.partition("[")[0]) in complete
        for call in records.calls
    )


def _durations(records: RunRecords) -> Iterable[float]:
    """List the times of bodies, each once, in milliseconds."""
    header = records.header
    inside = {(child.header.parent_step, child.header.parent_key) for child in records.children}
    tasks = [(step.step, task) for step in records.steps for task in step.tasks]
    tasks += [(header.step + 1, task) for task in records.kept]
    first = header.fork_step or 0
    for number, task in tasks:
        is_own = task.items is None and task.fell_back is None and number > first
        if is_own and (number, task.key) not in inside:
            yield task.duration_ms
    for attempt in records.attempts:
        if (attempt.step, attempt.key) not in inside:
            yield attempt.duration_ms
    for item in records.items:
        yield item.duration_ms
