"""What a store must read, as the model has it; in plain values that can be compared."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from graphflow.records import GraphUse, RunHeader, RunRecords, Spent, StepRecord
from graphflow.testing.records import facts
from tests.machine.adding import uses
from tests.machine.model import Model, Run

__all__ = ["expected", "header_facts", "header_of", "read"]

_KINDS = ("steps", "kept", "attempts", "calls", "snapshots", "items", "questions", "memos")


def read(records: RunRecords) -> dict[str, Any]:
    """Put what a store has read into plain values."""
    found: dict[str, Any] = {kind: facts(getattr(records, kind)) for kind in _KINDS}
    found["attempts"] = sorted(found["attempts"], key=_place)
    found["snapshots"] = _parsed(found["snapshots"])
    found["header"] = header_facts(records.header)
    found["graphs"] = facts(records.graphs)
    found["before"] = _used(records.before)
    found["next"] = list(records.last.ready) if records.steps else []
    found["children"] = sorted(
        (read(child) for child in records.children), key=lambda one: one["header"]["run_id"]
    )
    return found


def header_facts(header: RunHeader) -> dict[str, Any]:
    """Put a header into plain values; when a run ended is only whether."""
    found: dict[str, Any] = facts(header)  # type: ignore[assignment]
    return found | {"ended_at": header.ended_at is not None}


def expected(model: Model, run: Run, *, tail: bool) -> dict[str, Any]:
    """Say what a store must read of a run."""
    return _tail(model, run) if tail else _whole(model, run)


def header_of(model: Model, run: Run) -> dict[str, Any]:
    """Say how the header of a run must be read."""
    status, reason = model.status(run)
    step = run.last if run.steps else -1
    return header_facts(replace(run.header, status=status, reason=reason, step=step))


def _whole(model: Model, run: Run) -> dict[str, Any]:
    found: dict[str, list[Any]] = {kind: [] for kind in (*_KINDS, "children", "graphs")}
    found["steps"] = [_closed(part.steps[n]) for part, n in model.path(run)]
    parts = list(model.lineage(run))
    for part, below in parts:
        shared = below + 1
        found["graphs"] += [
            use
            for use in uses(part, part.first, below)
            if use.adoption is not None or use.first < below or part is run
        ]
        found["snapshots"] += [part.snapshots[n] for n in sorted(part.snapshots) if n < below]
        found["items"] += [part.items[at] for at in sorted(part.items) if at[0] < shared]
        found["memos"] += [part.memos[at] for at in sorted(part.memos) if at[0] < shared]
        asked = sorted(part.questions.items(), key=lambda one: one[0][0])
        found["questions"] += [question for at, question in asked if at[0] < shared]
        found["attempts"] += [one for one in part.attempts if one.step < shared]
        found["calls"] += [one for one in part.calls if one.step < shared]
        found["children"] += [
            _named(part, _whole(model, child))
            for child in part.children
            if (child.header.parent_step or 0) < shared
        ]
    found["kept"] = [run.kept[ix] for ix in sorted(run.kept)]
    oldest, below = parts[0]
    used = oldest.before if oldest.begun < oldest.first < below else None
    return _done(model, run, found, used)


def _tail(model: Model, run: Run) -> dict[str, Any]:
    whole = max(n for n, snapshot in run.snapshots.items() if snapshot.since is None)
    chain = [n for n in sorted(run.snapshots) if n >= whole]
    opens = run.last + 1
    asked = sorted(run.questions.items(), key=lambda one: one[0][0])
    found: dict[str, list[Any]] = {
        "snapshots": [run.snapshots[n] for n in chain],
        "steps": [_closed(run.steps[n]) for n in sorted(run.steps) if n >= chain[-1]],
        "kept": [run.kept[ix] for ix in sorted(run.kept)],
        "items": [run.items[at] for at in sorted(run.items) if at[0] >= opens],
        "memos": [run.memos[at] for at in sorted(run.memos) if at[0] >= opens],
        "questions": [question for at, question in asked if at[0] >= opens],
        "attempts": [one for one in run.attempts if one.step >= opens],
        "calls": [],
        "graphs": uses(run, chain[-1]),
    }
    nothing: dict[str, Any] = {kind: [] for kind in (*_KINDS, "children", "graphs", "next")}
    found["children"] = [
        _named(run, nothing | {"header": header_of(model, child), "before": None})
        for child in run.children
        if (child.header.parent_step or 0) >= opens
    ]
    result = _done(model, run, found, None)
    del result["before"]  # nobody asks a tail what went before it
    return result


def _done(model: Model, run: Run, found: Any, used: Spent | None) -> dict[str, Any]:
    result: dict[str, Any] = {kind: facts(found[kind]) for kind in (*_KINDS, "graphs")}
    result["attempts"] = sorted(result["attempts"], key=_place)
    result["snapshots"] = _parsed(result["snapshots"])
    if len(found["graphs"]) == 1:  # that of the run wrote all of its steps
        result["graphs"] = []
    result["next"] = _next(found["steps"][-1], found["graphs"])
    result["children"] = sorted(found["children"], key=lambda one: one["header"]["run_id"])
    return result | {"header": header_of(model, run), "before": _used(used)}


def _next(last: StepRecord, graphs: list[GraphUse]) -> list[str]:
    """Say what runs next, in the names of the graph that goes on."""
    told = [use.adoption for use in graphs if use.adoption and use.adoption.step == last.step]
    left = [adoption.frontier.ready for adoption in told if adoption.frontier]
    return list(left[-1] if left else last.ready)


def _named(parent: Run, child: dict[str, Any]) -> dict[str, Any]:
    """Give a child under the key that its task has now."""
    header = child["header"]
    key = parent.keys.get(header["run_id"], header["parent_key"])
    return child | {"header": header | {"parent_key": key}}


def _parsed(snapshots: Any) -> list[dict[str, Any]]:
    """Give what snapshots say, however it is written."""
    return [
        {
            name: json.loads(value) if name.endswith("_json") and value else value
            for name, value in one.items()
        }
        for one in snapshots
    ]


def _used(spent: Spent | None) -> tuple[int, int, int] | None:
    """Say what was used, in quarters of a millisecond: all times here are some of them."""
    return spent and (spent.calls, spent.tokens, round(spent.seconds * 4e3))


def _closed(step: Any) -> Any:
    """Give a step as it is read: what a task decided itself is among its decisions."""
    return replace(step, tasks=tuple(replace(task, goto=None) for task in step.tasks))


def _place(attempt: Any) -> Any:
    return attempt["step"], attempt["started_at"], attempt["key"], attempt["attempt"]
