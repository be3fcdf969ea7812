"""What the steps of a model's run add up to: values, and the snapshots that have them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graphflow.history import counters_at
from graphflow.records import GraphUse, RunRecords, Snapshot, StepRecord

if TYPE_CHECKING:
    from tests.machine.model import Run

__all__ = [
    "DIGESTS",
    "SPECS",
    "cut_snapshots",
    "handed_on",
    "renamed",
    "snapshot_of",
    "uses",
    "values_after",
    "write",
]

NEVER = 2**40
DIGESTS = {1: "7" * 64, 2: "8" * 64}


def write(value: object) -> str:
    """Write JSON as it is stored."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _spec(version: int, **reducers: str | None) -> str:
    fields = {name: {"reducer": reducer} for name, reducer in reducers.items()}
    return write({"name": "triage", "version": version, "state": {"fields": fields}})


SPECS = {
    1: _spec(1, text=None, notes="append", n="add", kept=None),
    2: _spec(2, text=None, notes="append", n=None, kept="add"),
}
"""The graphs that runs are on: they fold the same updates in other ways."""


def values_after(run: Run, step: int) -> dict[str, Any]:
    """Add up the values after a step, in the words of the graph that wrote it."""
    if run.origin is not None and step < run.begun:
        return values_after(run.origin, step)
    values: dict[str, Any] = json.loads(run.state)
    for n in range(run.begun + 1, step + 1):
        values = _folded(run, _told(run, n - 1, values), run.steps[n])
    return values


def handed_on(run: Run, step: int) -> dict[str, Any]:
    """Give the values after a step, in the words of the graph that goes on."""
    return _told(run, step, values_after(run, step))


def snapshot_of(run: Run, record: StepRecord, *, is_whole: bool) -> Snapshot:
    """Make the snapshot of a run's next step; a whole one where nothing is continued."""
    values = _folded(run, handed_on(run, run.last), record)
    since = max(run.snapshots)
    counters = write({"since": record.step})
    if is_whole or any(told.step >= since for told, _ in run.adoptions):
        return Snapshot(record.step, write(values), counters)
    return _since(Snapshot(record.step, "{}", counters), values, since, values_after(run, since))


def cut_snapshots(run: Run, first: int) -> dict[int, Snapshot]:
    """Give the snapshots of a run that begins with another step: that one's is whole."""
    known = dict(run.snapshots)
    if first in known and known[first].since is None:
        return known
    values, counters = values_after(run, first), counters_at(_records(run), first)
    known[first] = Snapshot(first, write(values), counters.to_json())
    after = min((n for n in known if n > first), default=first)
    since = known[after].since
    if since is not None and since < first:
        then = values_after(run, after)
        if any(since <= told.step < after for told, _ in run.adoptions):
            known[after] = Snapshot(after, write(then), known[after].counters_json)
        else:
            known[after] = _since(known[after], then, first, values)
    return known


def uses(run: Run, first: int, below: int = NEVER) -> list[GraphUse]:
    """List the graphs that wrote the own steps of a run from a step on."""
    header = run.header
    begun = GraphUse(run.begun, header.graph_digest, header.graph_version, json.loads(run.spec))
    last = max((told.step for told, _ in run.adoptions if told.step < first), default=first)
    adopted = [
        GraphUse(told.step + 1, told.graph_digest, told.graph_version, json.loads(spec), told)
        for told, spec in run.adoptions
        if last <= told.step < below
    ]
    return [begun, *adopted]


def renamed(record: Any, nodes: Mapping[str, str]) -> Any:
    """Give a record of an open step in the names that nodes have now."""
    name = re.split(r"[#\[]", record.key)[0]
    more = {"key": nodes.get(name, name) + record.key[len(name) :]}
    if hasattr(record, "node"):
        more["node"] = nodes.get(record.node, record.node)
    return replace(record, **more)


def _folded(run: Run, before: dict[str, Any], record: StepRecord) -> dict[str, Any]:
    told = [spec for told, spec in run.adoptions if told.step < record.step]
    fields = json.loads(told[-1] if told else run.spec)["state"]["fields"]
    values = dict(before)
    for task in record.tasks:
        for name, update in json.loads(task.update_json or "{}").items():
            is_folded = fields[name]["reducer"] is not None
            values[name] = values[name] + update if is_folded else update
    return values | json.loads(record.derived_json or "{}")


def _told(run: Run, step: int, values: dict[str, Any]) -> dict[str, Any]:
    """Give the values as the last of the adoptions after a step tells them."""
    told = [told.state_json for told, _ in run.adoptions if told.step == step and told.state_json]
    return json.loads(told[-1]) if told else values


def _since(snapshot: Snapshot, now: Mapping[str, Any], since: int, then: Any) -> Snapshot:
    rest = {name: value for name, value in now.items() if name != "notes"}
    added = write({"notes": now["notes"][len(then["notes"]) :]})
    return replace(snapshot, state_json=write(rest), since=since, added_json=added)


def _records(run: Run) -> RunRecords:
    steps = [run.steps[n] for n in sorted(run.steps) if n >= run.first]
    snapshots = [run.snapshots[n] for n in sorted(run.snapshots)]
    graphs = uses(run, run.first)
    return RunRecords(run.header, graphs[-1].spec, steps, snapshots=snapshots, graphs=graphs)
