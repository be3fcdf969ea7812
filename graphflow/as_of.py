"""A run as it stood when somebody looked at it, whatever was added since."""

from dataclasses import dataclass, replace
from typing import Any

from graphflow.records import Ending, RunRecords

__all__ = ["Seen", "as_of"]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a run stood when this process let go of it."""

    step: int
    values: dict[str, Any]
    """The state then: the value of each field."""
    ending: Ending


def as_of(records: RunRecords, step: int, ending: Ending) -> RunRecords:
    """Cut off what was added after a step.

    Args:
        records: The run, whole.
        step: Its last step then.
        ending: How it stood then.
    """
    if records.header.step == step:
        return records
    header = records.header
    graphs = [use for use in records.graphs if use.first <= step + 1]
    return RunRecords(
        replace(
            header,
            step=step,
            status=ending.status,
            reason=ending.reason,
            error_type=ending.error_type,
            error=ending.error,
            ended_at=None,
        ),
        graphs[-1].spec if graphs else records.spec,
        [one for one in records.steps if one.step <= step],
        attempts=[attempt for attempt in records.attempts if attempt.step <= step + 1],
        calls=[call for call in records.calls if call.step <= step + 1],
        snapshots=[snapshot for snapshot in records.snapshots if snapshot.step <= step],
        items=[item for item in records.items if item.step <= step + 1],
        questions=[question for question in records.questions if question.step <= step + 1],
        memos=[memo for memo in records.memos if memo.step <= step + 1],
        children=[c for c in records.children if (c.header.parent_step or 0) <= step + 1],
        graphs=graphs,
        before=records.before,
    )
