"""One run in memory: the records as they were given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from graphflow.change.moved import Loose, moved
from graphflow.checkpoint.protocol import Ending
from graphflow.checkpoint.refusals import how_it_ends
from graphflow.checkpoint.standing import as_seen, copied, in_order, uses_below
from graphflow.clock import now
from graphflow.records import (
    Adoption,
    AttemptRecord,
    CallRecord,
    GraphUse,
    ItemRecord,
    MemoRecord,
    QuestionRecord,
    RunHeader,
    RunRecords,
    Snapshot,
    Spent,
    StepRecord,
    TaskRecord,
)

__all__ = ["Mark", "MemoryRun"]

_T = TypeVar("_T")
_NEVER: Final = 2**62  # after any step


class Mark(NamedTuple):
    """How much there was of a run: what is added and changed later can be undone."""

    header: RunHeader
    since: str
    lists: tuple[list[Any], ...]
    lengths: tuple[int, ...]
    """Of each of the lists."""
    kept: dict[int, TaskRecord]
    items: dict[tuple[int, str, int], ItemRecord]
    questions: dict[tuple[int, str, str], QuestionRecord]
    memos: dict[tuple[int, str, str], MemoRecord]


@dataclass(slots=True)
class MemoryRun:
    """All of one run."""

    header: RunHeader
    spec_json: str
    since: str
    """When it was taken."""
    parent: "MemoryRun | None" = None
    origin: "MemoryRun | None" = None
    """The run that it forks."""
    steps: list[StepRecord] = field(default_factory=list)
    kept: dict[int, TaskRecord] = field(default_factory=dict)
    attempts: list[AttemptRecord] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    items: dict[tuple[int, str, int], ItemRecord] = field(default_factory=dict)
    questions: dict[tuple[int, str, str], QuestionRecord] = field(default_factory=dict)
    memos: dict[tuple[int, str, str], MemoRecord] = field(default_factory=dict)
    children: "list[MemoryRun]" = field(default_factory=list)
    adoptions: list[tuple[Adoption, str]] = field(default_factory=list)
    """Each with its graph as JSON."""
    before: Spent | None = None
    """What the oldest steps had used, when they were pruned."""

    def close(self, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None) -> None:
        """Add a step, and end the run with it if there is an ending."""
        if not step.committed_at:
            step = replace(step, committed_at=now())
        header, kept, many = self.header, self.kept, len(self.steps)
        ended = None if ending is None else _ended(header, ending, step.step)
        try:  # Ctrl-C may come between any two of these
            self.steps.append(step)
            if kept:
                self.kept = {}
            if snapshot is not None:
                self.snapshots.append(snapshot)
            if ended is None:
                header.step = step.step
            else:
                self.header = ended
        except BaseException:
            if self.header.step != step.step:
                self.kept = kept
                del self.steps[many:]
                self.snapshots[:] = [s for s in self.snapshots if s is not snapshot]
            raise

    def adopt(self, adoption: Adoption, spec_json: str, kept: Sequence[TaskRecord]) -> None:
        """Add an adoption, and give what is stored of the open step the names of now."""
        place = sum(known.step == adoption.step for known, _ in self.adoptions)
        self.adoptions.append((replace(adoption, place=place, dropped=()), spec_json))
        opened, nodes = self.header.step + 1, adoption.nodes
        dropped = {(opened, key) for key in adoption.dropped}

        def named(record: Loose) -> Loose:
            return moved(record, nodes) if record.step == opened else record

        # New lists and dicts: what a mark remembers stays as it was
        self.attempts = [named(record) for record in self.attempts]
        self.calls = [named(record) for record in self.calls]
        items = [i for i in self.items.values() if (i.step, f"{i.key}[{i.ix}]") not in dropped]
        memos = [m for m in self.memos.values() if (m.step, m.key) not in dropped]
        asked = self.questions.values()
        self.items = {(i.step, i.key, i.ix): i for i in map(named, items)}
        self.questions = {(q.step, q.key, q.name): q for q in map(named, asked)}
        self.memos = {(m.step, m.key, m.name): m for m in map(named, memos)}
        self.kept = {task.ix: task for task in kept}

    def end(self, ending: Ending) -> None:
        """Set the run's status, and let go of it."""
        self.header = _ended(self.header, ending, self.header.step)

    def stop(self, ending: Ending) -> None:
        """End the run and its children of the open step, but what is done."""
        if self.header.status == "done":
            return
        self.header = replace(self.header, epoch=self.header.epoch + 1)
        self.end(ending)
        for child in self.children:
            if (child.header.parent_step or 0) > self.header.step:
                child.stop(ending)

    def root(self) -> "MemoryRun":
        """Find the run of the family that has no parent."""
        run = self
        while run.parent is not None:
            run = run.parent
        return run

    def mark(self) -> Mark:
        """Note how much there is."""
        lists = self._lists()
        lengths = tuple([len(records) for records in lists])
        kept, items = dict(self.kept), dict(self.items)
        asked, memos = dict(self.questions), dict(self.memos)
        return Mark(copied(self.header), self.since, lists, lengths, kept, items, asked, memos)

    def reset(self, mark: Mark) -> None:
        """Undo all that came after a mark."""
        self.header, self.since = mark.header, mark.since
        self.steps, self.attempts, self.calls, self.snapshots, *others = mark.lists
        self.children, self.adoptions = others
        for records, length in zip(mark.lists, mark.lengths, strict=True):
            del records[length:]
        self.kept, self.items = mark.kept, mark.items
        self.questions, self.memos = mark.questions, mark.memos

    def _lists(self) -> tuple[list[Any], ...]:
        own = self.steps, self.attempts, self.calls, self.snapshots
        return *own, self.children, self.adoptions

    def records(self, *, tail: bool = False, root: RunHeader | None = None) -> RunRecords:
        """Give all records of the run, or those that it takes to go on.

        Args:
            tail: Only those that it takes to go on.
            root: Of a child, its root as it is seen, if that is known.
        """
        above = self.root()
        if above is not self and root is None:
            root = as_seen(above.header)
        header = copied(as_seen(self.header, root))
        if tail:
            return self._tail(header, root)
        return self._gathered(self.lineage(), header, root)

    def own_records(self) -> RunRecords:
        """Give all records of the run, without those that it shares as a fork."""
        return self._gathered([(self, None)], copied(self.header), None)

    def _tail(self, header: RunHeader, root: RunHeader | None) -> RunRecords:
        whole = [at for at, part in enumerate(self.snapshots) if part.since is None][-1]
        chain = self.snapshots[whole:]
        open_step, first = header.step + 1, chain[-1].step - self.steps[0].step
        graphs = self.uses(chain[-1].step, _NEVER)
        found = RunRecords(header, graphs[-1].spec, snapshots=chain)
        found.graphs = graphs if len(graphs) > 1 else []
        found.steps = [_committed(step) for step in self.steps[first:]]
        found.kept = _sorted(self.kept)
        found.attempts = [a for a in self.attempts if a.step >= open_step]
        found.items = [item for item in _sorted(self.items) if item.step >= open_step]
        found.questions = [q for q in self.questions.values() if q.step >= open_step]
        found.memos = [memo for memo in _sorted(self.memos) if memo.step >= open_step]
        children = (child.header for child in self.children)
        found.children = [
            RunRecords(copied(as_seen(child, root or header)), {})
            for child in children
            if (child.parent_step or 0) >= open_step
        ]
        found.children = in_order(found.children, found.steps, found.graphs)
        return found

    def uses(self, first: int, below: int) -> list[GraphUse]:
        """List the graphs that wrote the steps of a range, and the one that began the run."""
        header = self.header
        begun = GraphUse(
            header.fork_step or 0,
            header.graph_digest,
            header.graph_version,
            _spec(self.spec_json),
        )
        before = max((known.step for known, _ in self.adoptions if known.step < first), default=-1)
        adopted = [
            GraphUse(
                known.step + 1, known.graph_digest, known.graph_version, _spec(spec_json), known
            )
            for known, spec_json in self.adoptions
            if known.step < below and (known.step >= first or known.step == before)
        ]
        return [begun, *adopted]

    def lineage(self) -> "list[tuple[MemoryRun, int | None]]":
        """List the run and those that it forks, oldest first, each with where its steps end."""
        found: list[tuple[MemoryRun, int | None]] = [(self, None)]
        run, below = self, None
        while run.origin is not None and (run.before is None or not _gives(run, below)):
            step = run.header.fork_step or 0
            below = step if below is None else min(below, step)
            run = run.origin
            found.append((run, below))
        return found[::-1]

    def _gathered(
        self,
        parts: "list[tuple[MemoryRun, int | None]]",
        header: RunHeader,
        root: RunHeader | None,
    ) -> RunRecords:
        graphs = [use for run, below in parts for use in uses_below(run.uses(0, _NEVER), below)]
        found = RunRecords(header, graphs[-1].spec, kept=_sorted(self.kept))
        found.graphs = graphs if len(graphs) > 1 else []
        found.before = parts[0][0].before if _gives(*parts[0]) else None
        for run, below in parts:
            # A fork shares the results of its first step too, and what led to them
            end, shared = (_NEVER, _NEVER) if below is None else (below, below + 1)
            found.steps += [_committed(step) for step in run.steps if step.step < end]
            found.snapshots += [snapshot for snapshot in run.snapshots if snapshot.step < end]
            found.attempts += [attempt for attempt in run.attempts if attempt.step < shared]
            calls = sorted(run.calls, key=lambda call: (call.step, call.started_at))
            found.calls += [call for call in calls if call.step < shared]
            found.items += [item for item in _sorted(run.items) if item.step < shared]
            found.questions += [asked for asked in run.questions.values() if asked.step < shared]
            found.memos += [memo for memo in _sorted(run.memos) if memo.step < shared]
            # A child that is shared stands as the root that it has, not as the fork
            stands = (root or header) if run is self else as_seen(run.root().header)
            found.children += [
                child.records(root=stands)
                for child in run.children
                if (child.header.parent_step or 0) < shared
            ]
        found.children = in_order(found.children, found.steps, found.graphs)
        return found


def _gives(run: MemoryRun, below: int | None) -> bool:
    """Tell whether a run has steps before another one."""
    return below is None or run.steps[0].step < below


def _sorted(records: Mapping[Any, _T]) -> list[_T]:
    return [records[place] for place in sorted(records)]


def _committed(step: StepRecord) -> StepRecord:
    """Give a step as it is read: the decision that a task made itself is among the step's."""
    if all(task.goto is None for task in step.tasks):
        return step
    return replace(step, tasks=tuple([replace(task, goto=None) for task in step.tasks]))


@lru_cache(maxsize=64)
def _spec(spec_json: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(spec_json)
    return found


def _ended(header: RunHeader, ending: Ending, step: int) -> RunHeader:
    ended = copied(header)
    ended.status, ended.ended_at = how_it_ends(ending)
    ended.reason, ended.error_type, ended.error = ending.reason, ending.error_type, ending.error
    ended.owner, ended.step = None, step
    return ended
