"""Where a run stands: each node of the step that is not complete, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json import loads
from typing import Any

from graphflow.change.lapsed import is_lapsed
from graphflow.once import once
from graphflow.records import AttemptRecord, QuestionRecord, RunHeader, RunRecords, RunStatus
from graphflow.render.history import opened
from graphflow.render.parts import NodeState
from graphflow.render.questions import asked_tips, since
from graphflow.render.shape import Shape
from graphflow.render.waiting import awaited
from graphflow.render.wording import clean, counted, cut, label_of, node_of
from graphflow.standing import is_incomplete, open_tasks, task_of

__all__ = ["Stop", "brief_error", "full_error", "most_telling", "status_within", "stops_of"]

_WHERE = re.compile(r"graph '[^']*', node '[^']*', step \d+: ")
_FIRST: tuple[NodeState, ...] = ("failed", "asking", "paused", "next")


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a run stands: a node of the step that is not complete."""

    step: int
    state: NodeState
    """failed, asking, paused or next."""
    mark: str
    """One word."""
    words: str = ""
    """Why, in a few words; may be empty."""
    tooltip: str = ""
    """Why, in full."""
    more: str = ""
    """What else is worth a line: the prompt, the items that are done."""


@dataclass(frozen=True)
class _Open:
    """The open step of a run."""

    records: RunRecords
    status: RunStatus
    """Of the run; of a child that nobody has stopped, that of its root."""
    names: Mapping[str, int]

    @once
    def step(self) -> int:
        return opened(self.records)

    @once
    def standing(self) -> dict[str, str]:
        return open_tasks(self.records)

    @property
    def alive(self) -> bool:
        """Whether more may be under way than is recorded."""
        return self.status in ("running", "stale")

    def children(self, keys: Sequence[str]) -> list[RunHeader]:
        """Give the child runs of some of the tasks."""
        headers = (child.header for child in self.records.children)
        return [h for h in headers if h.parent_step == self.step and h.parent_key in keys]

    def attempts(self, keys: Sequence[str]) -> list[AttemptRecord]:
        """Give the attempts of some of the tasks, without those of items that are complete."""
        done = {f"{i.key}[{i.ix}]" for i in self.records.items if i.step == self.step}
        return [
            a
            for a in self.records.attempts
            if a.step == self.step and task_of(a.key) in keys and a.key not in done
        ]

    def asked(self, keys: Sequence[str]) -> list[QuestionRecord]:
        """Give the open questions of some of the tasks."""
        return [
            q
            for q in self.records.questions
            if q.step == self.step
            and task_of(q.key) in keys
            and q.answer_json is None
            and not is_lapsed(self.records, q)
        ]


def status_within(child: RunRecords, parent: RunRecords, above: RunStatus) -> RunStatus:
    """Say how a child stands, which is not for itself to say.

    Args:
        child: The child.
        parent: Its parent: with a task that has fallen back the child is over, too.
        above: How the parent stands: only its root's owner says that a running one has gone.
    """
    header = child.header
    if header.status == "done":
        return "done"
    if not is_incomplete(parent, header.parent_step, header.parent_key, "graph"):
        return "cancelled"
    return above if header.status == "running" else header.status


def stops_of(records: RunRecords, shape: Shape, status: RunStatus) -> dict[str, Stop]:
    """Say of each node of the open step how it stands there, and what held joins wait for.

    Args:
        records: Of one run.
        shape: Its graph.
        status: How the run stands; of a child see `status_within`.

    Returns:
        Node -> stop, without the nodes that are complete; nothing for a run that is done.
    """
    if status == "done" or not records.steps:
        return {}
    step = _Open(records, status, shape.rank)
    tasks: dict[str, list[str]] = {}
    for key in records.last.ready:
        tasks.setdefault(node_of(key, shape.rank), []).append(key)
    found = {name: _stop(step, name, keys) for name, keys in tasks.items()}
    stops = {name: stop for name, stop in found.items() if stop} | _blamed(step)
    return stops | {n: s for n, s in _held(step, shape).items() if n not in stops}


def _held(step: _Open, shape: Shape) -> dict[str, Stop]:
    last, stops = step.records.last, {}
    for join, live in awaited(last, shape.ways, shape.rank).items():
        has = ", ".join(label_of(source) for source, _ in last.held[join])
        waits = ", ".join(map(label_of, live))
        words = f"has {cut(has, 20)}" + (f" · waits for {cut(waits, 20)}" if waits else "")
        told = f"join: has {has}, waits for {waits or 'nothing'}"
        stops[join] = Stop(step.step, "next", "waits", words, told)
    return stops


def most_telling(runs: Iterable[Mapping[str, Stop]]) -> dict[str, Stop]:
    """Put together how several runs of one graph stand: a failure before a question."""
    found: dict[str, Stop] = {}
    for stops in runs:
        for name, stop in stops.items():
            known = found.get(name)
            if known is None or _FIRST.index(stop.state) < _FIRST.index(known.state):
                found[name] = stop
    return found


def _stop(step: _Open, name: str, keys: Sequence[str]) -> Stop | None:
    by_standing: dict[str, list[str]] = {}
    for key in keys:
        standing = step.standing.get(key, "")
        waits = standing in ("asking", "limit")
        # Of a cancelled run nobody is asked any more
        standing = "" if waits and step.status == "cancelled" else standing
        by_standing.setdefault(standing, []).append(key)
    if failed := by_standing.get("failed"):
        return _failed(step, failed, len(keys))
    if asking := by_standing.get("asking"):
        return _asking(step, asking, len(keys))
    if limited := by_standing.get("limit"):
        return _limited(step, name, limited)
    return _waiting(step, name, by_standing[""]) if "" in by_standing else None


def _of_all(count: int, tasks: int) -> str:
    return f"{count} of {tasks} · " if tasks > 1 else ""


def _failed(step: _Open, keys: Sequence[str], tasks: int) -> Stop:
    """Say what the last error was of those of a node's tasks that failed."""
    part, children = _of_all(len(keys), tasks), step.children(keys)
    broken = [child for child in children if child.status == "failed"]
    if broken:
        told = "\n".join(f"{h.error_type}: {h.error}" for h in broken if h.error_type)
        return Stop(step.step, "failed", "failed", part.rstrip(" ·"), told)
    tried = [attempt for attempt in step.attempts(keys) if not attempt.is_over_budget]
    last = tried[-1]
    tries = sum(attempt.key == last.key for attempt in tried)
    told = f"step {step.step}, try {tries}: {full_error(last)}"
    brief = _item(tried) + brief_error(last)
    if step.alive:  # the next try may be under way
        return Stop(step.step, "next", "again", f"{part}{brief} · try {tries + 1}", told)
    times = f" · {tries} tries" if tries > 1 else ""
    items = sum(i.step == step.step and i.key in keys for i in step.records.items)
    more = f"{counted(items, 'item')} done" if items else ""
    return Stop(step.step, "failed", "failed", f"{part}{brief}{times}", told, more)


def _item(tried: Sequence[AttemptRecord]) -> str:
    """Say which items of a map failed."""
    items = list(dict.fromkeys(a.key for a in tried if a.key.endswith("]")))
    if len(items) > 1:
        return f"{len(items)} items · "
    return f"item {items[0].partition('[')[2].rstrip(']')}: " if items else ""


def full_error(failed: AttemptRecord) -> str:
    """Say in full why an execution failed, or that a budget stopped it."""
    if failed.is_over_budget:
        return clean(failed.error.partition(": ")[2])
    kind = failed.error_type.rsplit(".", 1)[-1]
    return clean(f"{kind}: {failed.error}" if failed.error else kind)


def brief_error(failed: AttemptRecord) -> str:
    """Say it in a few words: our errors say first where they happened, which the drawing shows."""
    if failed.is_over_budget:
        return _budget_words(failed.error.partition(":")[0])
    is_ours = _WHERE.match(failed.error)
    return cut(_WHERE.sub("", failed.error) if is_ours else full_error(failed))


def _asking(step: _Open, keys: Sequence[str], tasks: int) -> Stop:
    asked, part = step.asked(keys), _of_all(len(keys), tasks)
    if not asked:
        return Stop(step.step, "asking", "asks", part.rstrip(" ·"), "a question in it is open")
    several = f"{len(asked)} questions · " if len(asked) > max(1, len(keys)) else part
    words = several + since(asked[0], step.records.header.created_at)
    told = "\n".join(line for question in asked for line in asked_tips(question))
    return Stop(step.step, "asking", "asks", words, told, cut(asked[0].prompt))


def _limited(step: _Open, name: str, keys: Sequence[str]) -> Stop:
    header = next(iter(step.children(keys)), step.records.header)
    words, full = _reason_words(header, name), _paused_words(step, header)
    if over := [attempt for attempt in step.attempts(keys) if attempt.is_over_budget]:
        words, full = brief_error(over[-1]), f"step {step.step}: {full_error(over[-1])}"
    return Stop(step.step, "paused", "limit", words, full)


def _waiting(step: _Open, name: str, keys: Sequence[str]) -> Stop:
    """Say why a node that is ready has not ended."""
    header, children = step.records.header, step.children(keys)
    if step.status == "paused":
        stopped = next((child for child in children if child.status == "paused"), header)
        full = _paused_words(step, stopped)
        return Stop(step.step, "paused", "paused", _reason_words(stopped, name), full)
    if step.status == "cancelled":
        full = f"step {step.step} was not run: {header.reason or 'cancelled'}"
        return Stop(step.step, "paused", "cancelled", "", full)
    words = "owner gone" if step.status == "stale" else ""
    if any(child.step >= 0 for child in children):
        return Stop(step.step, "next", "runs", words, f"has begun in step {step.step}")
    return Stop(step.step, "next", "next", words, f"ready to run in step {step.step}")


def _paused_words(step: _Open, header: RunHeader) -> str:
    """Say in full why a run is paused; of a limit, what raises it."""
    words = f"step {step.step}: paused, {header.reason or 'by hand'}"
    kind, _, rest = (header.reason or "").partition(":")
    what = rest.partition(":")[0]
    bound = _bounds(header).get(what) if kind == "limit" else None
    if bound is None:
        return words
    return f"{words}\nresume(run_id, limits=Limits({what}={2 * bound})) goes on"


def _reason_words(header: RunHeader, name: str) -> str:
    """Put `limit:steps`, `limit:visits:NODE`, `budget:calls`, `before:NODE` into words."""
    kind, _, rest = (header.reason or "").partition(":")
    what, _, where = rest.partition(":")
    if kind == "limit" and what in ("steps", "visits"):
        if where and where != name:
            of = "of" if what == "visits" else "in"
            return f"limit: {what} {of} {cut(where, 16)}"
        bound = _bounds(header).get(what)
        return f"limit: {what}" if bound is None else f"limit: {counted(bound, what[:-1])}"
    if kind == "budget":
        return _budget_words(what)
    if kind in ("before", "after"):
        return "breakpoint" if rest == name else f"breakpoint {kind} {cut(rest, 16)}"
    return cut(header.reason or "")


def _budget_words(bound: str) -> str:
    """Say of which means there are not enough: of tokens some may be left, too few for a call."""
    return f"budget: {'too few tokens left' if bound == 'tokens' else f'{cut(bound, 16)} used up'}"


def _bounds(header: RunHeader) -> dict[str, Any]:
    bounds = loads(header.limits_json or "{}")
    return bounds if isinstance(bounds, dict) else {}


def _blamed(step: _Open) -> dict[str, Stop]:
    """Find the nodes at which a step could not close though every task of it is complete."""
    header, names = step.records.header, step.names
    reason = header.reason or ""
    kind, _, rest = reason.partition(" ")
    if header.status != "failed" or kind not in ("conflict", "router", "step"):
        return {}
    head, _, tail = rest.partition(": ")
    keys, words = [head], f"router: {tail}"
    if kind == "conflict":
        keys, words = tail.split(", "), f"conflict in {head}"
    elif kind == "step":
        keys, words = [task.key for task in step.records.kept], "the updates do not fit"
    stop = Stop(step.step, "failed", "failed", cut(words), header.error or reason)
    return {node: stop for key in keys if (node := node_of(key, names)) in names}
