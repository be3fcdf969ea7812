"""Judges stored runs, with those of their subgraphs, against today's graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphflow.change.judge import Judged, judge_family
from graphflow.change.verdict import changed
from graphflow.plan import Plan
from graphflow.records import RunRecords

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer

__all__ = ["judged_with_children", "refuse_changed"]


def judged_with_children(plan: Plan, store: Checkpointer, records: RunRecords) -> Judged:
    """Judge whether a run can go on; nothing is stored.

    Args:
        plan: Today's graph.
        store: Where the run is stored.
        records: The run, its tail at least.
    """
    return judge_family(plan, records, lambda run: store.load(run.header.run_id, tail=True))


def refuse_changed(plan: Plan, store: Checkpointer, records: RunRecords) -> None:
    """Refuse a run that cannot go on, before anything is done to it.

    Args:
        plan: Today's graph.
        store: Where the run is stored.
        records: The run, its tail at least.

    Raises:
        GraphChangedError: It cannot go on with this graph.
    """
    is_over = records.header.status in {"done", "cancelled"}
    is_same = records.use_after(records.header.step).digest == plan.digest
    if is_over or (is_same and not records.children):  # what is left is seen when it is taken
        return
    judged = judged_with_children(plan, store, records)
    if not judged.verdict.can_go_on:
        raise changed(judged.verdict, judged.cause)
