"""Has a run go on with today's graph before it is advanced: what it asks has today's names then."""

from __future__ import annotations

from graphflow.change.moved import node_in
from graphflow.changing import judged_with_children
from graphflow.engine.position import restore
from graphflow.opening import Opener
from graphflow.records import RunRecords
from graphflow.session import Session, as_before

__all__ = ["adopt"]


def adopt(opener: Opener, records: RunRecords) -> RunRecords:
    """Have a run go on with today's graph, if it is on another; it stands as it did.

    Nothing is done to one that cannot go on with it.

    Args:
        opener: Opens the runs of today's graph.
        records: The run, its tail at least.

    Returns:
        The tail of the run as it is then.

    Raises:
        RunBusyError: Somebody is advancing it.
    """
    if records.header.status in {"done", "cancelled"}:
        return records
    verdict = judged_with_children(opener.plan, opener.store, records).verdict
    if verdict.kind == "same" or not verdict.can_go_on:
        return records
    _adopt(opener, records, None)
    return opener.find(records.header.run_id)


def _adopt(opener: Opener, records: RunRecords, parent: Session | None) -> None:
    session = opener.session(records.header, parent)
    newer = session.take(limits_json=None) or records
    try:
        session.adopt(restore(opener.plan, newer), opener.plan.spec_json)
        now = opener.store.load(records.header.run_id, tail=True) if newer.children else newer
        for child in now.children:
            inner = opener.of_node(node_in(str(child.header.parent_key)))
            is_open = child.header.parent_step == now.header.step + 1
            if is_open and inner is not None and child.header.status not in {"done", "cancelled"}:
                _adopt(inner, opener.store.load(child.header.run_id, tail=True), session)
    finally:
        session.release(as_before(records.header))
