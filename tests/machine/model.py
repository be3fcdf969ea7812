"""What a store of runs is, in a few lines: dicts and lists, written from the protocol's words.

It knows nothing of files, digests, threads or speed. Each verb gives what it gives, or raises
`Refused` with the errors that a store may raise for it; a refused verb has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from graphflow.errors import (
    AnswerError,
    CheckpointError,
    LeaseLostError,
    RunBusyError,
    RunExistsError,
    RunNotFoundError,
    RunOverError,
    RunSharedError,
)
from graphflow.records import (
    Adoption,
    Ending,
    QuestionRecord,
    RunHeader,
    Snapshot,
    Spent,
    StepRecord,
    TaskRecord,
)
from graphflow.upkeep import Wish
from tests.machine.adding import cut_snapshots, renamed

__all__ = ["Held", "Model", "Refused", "Run"]


class Refused(Exception):
    """The verb is refused, with one of these errors."""

    def __init__(self, *kinds: type[Exception]) -> None:
        super().__init__(*kinds)
        self.kinds = kinds


@dataclass(eq=False)
class Held:
    """A lease, and what its holder knows."""

    run: Run
    epoch: int


@dataclass(eq=False)
class Run:
    """One run. `steps` are its own, those of a fork from `fork_step` on.

    A prune takes nothing from what is known of it: only `first` moves on, and with it what a store
    still has.
    """

    header: RunHeader
    number: int
    spec: str
    state: str
    first: int
    parent: Run | None = None
    origin: Run | None = None
    steps: dict[int, StepRecord] = field(default_factory=dict)
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    kept: dict[int, Any] = field(default_factory=dict)
    items: dict[Any, Any] = field(default_factory=dict)
    memos: dict[Any, Any] = field(default_factory=dict)
    questions: dict[Any, QuestionRecord] = field(default_factory=dict)
    attempts: list[Any] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    children: list[Run] = field(default_factory=list)
    adoptions: list[tuple[Adoption, str]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    before: Spent = field(default_factory=Spent)
    is_gone: bool = False

    @property
    def last(self) -> int:
        """The last committed step."""
        return max(self.steps)

    @property
    def begun(self) -> int:
        """The first step that it ever had of its own."""
        return self.header.fork_step or 0

    @property
    def left(self) -> dict[int, StepRecord]:
        """The steps of its own that a store still has."""
        return {n: self.steps[n] for n in sorted(self.steps) if n >= self.first}

    @property
    def root(self) -> Run:
        """The run of its family that has no parent."""
        return self if self.parent is None else self.parent.root

    def copied(self) -> dict[str, Any]:
        """Give all that a verb may change."""
        records = {k: v.copy() for k, v in vars(self).items() if isinstance(v, (dict, list))}
        more = {name: getattr(self, name) for name in ("header", "is_gone", "first", "before")}
        return {**records, **more}

    def above(self) -> Iterator[Run]:
        """Give the run and those that it is a part of, but for the root."""
        if self.parent is not None:
            yield self
            yield from self.parent.above()

    def family(self) -> Iterator[Run]:
        """Give the run and all that are a part of it."""
        yield self
        for child in self.children:
            yield from child.family()


class Model:
    """The runs of a store.

    Args:
        dead: Owners that do not live any more.
    """

    def __init__(self, dead: set[str]) -> None:
        self.runs: dict[str, Run] = {}
        self.dead, self._begun = dead, 0

    # -- verbs ----------------------------------------------------------------------------------

    def begin(
        self,
        header: RunHeader,
        spec: str,
        step: StepRecord,
        snapshot: Snapshot,
        *,
        ending: Ending | None,
        under: Held | None = None,
    ) -> Held:
        """Create a run with its first step."""
        if header.parent != (under.run.header.run_id if under else None):
            raise Refused(CheckpointError)
        self._begun += 1
        begun = header.fork_step or 0
        run = Run(replace(header, status="running"), self._begun, spec, snapshot.state_json, begun)
        if header.fork_of is not None:
            run.origin = self._of(header.fork_of)
            oldest = self.oldest(run.origin)
            if not 0 <= begun <= run.origin.last or 0 < oldest >= begun:
                raise Refused(CheckpointError)
        if step.step != begun:
            raise Refused(CheckpointError, LeaseLostError, RunExistsError)
        if under is not None:
            self._good(under, RunExistsError, CheckpointError)
            if header.parent_step != under.run.last + 1:
                raise Refused(LeaseLostError, CheckpointError, RunExistsError)
            run.parent = under.run
            run.header.epoch, run.header.owner = under.epoch, None
        if header.run_id in self.runs:
            raise Refused(RunExistsError)
        self.runs[header.run_id] = run
        if run.parent is not None:
            run.parent.children.append(run)
        self._close(run, step, snapshot, ending)
        return Held(run, run.header.epoch)

    def take(
        self,
        run_id: str,
        owner: str,
        given: dict[str, str],
        under: Held | None = None,
        *,
        take_over: bool = False,
    ) -> Held:
        """Take a run."""
        run = self._of(run_id)
        header = run.header
        if under is not None:
            if run.parent is not under.run:
                raise Refused(CheckpointError)
            self._good(under)
            epoch: int = under.epoch
        elif run.parent is not None:
            raise Refused(RunBusyError)
        else:
            if header.status in ("done", "cancelled"):
                raise Refused(RunOverError)
            lives = header.owner not in (None, owner) and header.owner not in self.dead
            if header.status == "running" and lives and not take_over:
                raise Refused(RunBusyError)
            epoch = header.epoch + 1
        run.header = replace(
            header,
            epoch=epoch,
            owner=None if under else owner,
            status="running",
            reason=None,
            error_type=None,
            error=None,
            ended_at=None,
            **given,
        )
        return Held(run, epoch)

    def commit(
        self, lease: Held, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
    ) -> None:
        """Commit a step."""
        run = self._open(lease, step.step)
        if run.parent is not None and run.parent.last >= (run.header.parent_step or 0):
            raise Refused(LeaseLostError)
        self._close(run, step, snapshot, ending)

    def keep(self, lease: Held, step: int, task: Any) -> None:
        """Store a complete task of the open step."""
        self._open(lease, step).kept[task.ix] = task

    def keep_item(self, lease: Held, item: Any) -> None:
        """Store a complete item of the open step."""
        self._open(lease, item.step).items[item.step, item.key, item.ix] = item

    def memo(self, lease: Held, memo: Any) -> None:
        """Store a memo of the open step."""
        self._open(lease, memo.step).memos[memo.step, memo.key, memo.name] = memo

    def ask(self, lease: Held, asked: QuestionRecord) -> None:
        """Store a question of the open step, unless it is there."""
        place = asked.step, asked.key, asked.name
        self._open(lease, asked.step).questions.setdefault(place, asked)

    def answer(self, lease: Held, answer: QuestionRecord) -> None:
        """Answer a question once; the run and its parents have heard."""
        if answer.answer_json is None:
            raise Refused(CheckpointError)
        run = self._good(lease)
        place = answer.step, answer.key, answer.name
        asked = run.questions.get(place)
        if asked is None or asked.answer_json is not None:
            raise Refused(AnswerError)
        more = {name: getattr(answer, name) for name in ("answer_json", "answered_by")}
        run.questions[place] = replace(asked, **more, answered_at=answer.answered_at)
        above: Run | None = run
        while above is not None:
            above.header = replace(above.header, heard=above.last + 1)
            above = above.parent

    def fail(self, lease: Held, attempt: Any) -> None:
        """Store a failed execution."""
        self._good(lease).attempts.append(attempt)

    def call(self, lease: Held, call: Any) -> None:
        """Store a model call."""
        self._good(lease).calls.append(call)

    def adopt(self, lease: Held, told: Adoption, spec: str, kept: list[TaskRecord]) -> None:
        """Go on with another graph: what is stored of the open step is in its names from now on."""
        run = self._good(lease, CheckpointError)
        if told.step != run.last:
            raise Refused(CheckpointError)
        at, nodes = run.last + 1, told.nodes
        place = sum(other.step == told.step for other, _ in run.adoptions)
        run.adoptions = [*run.adoptions, (replace(told, place=place, dropped=()), spec)]
        run.kept = {task.ix: task for task in kept}
        gone = {(at, key) for key in told.dropped}
        items = [i for i in run.items.values() if (i.step, f"{i.key}[{i.ix}]") not in gone]
        memos = [m for m in run.memos.values() if (m.step, m.key) not in gone]
        run.attempts, run.calls, items, memos, asked = (
            [renamed(one, nodes) if one.step == at else one for one in records]
            for records in (run.attempts, run.calls, items, memos, run.questions.values())
        )
        run.items = {(i.step, i.key, i.ix): i for i in items}
        run.memos = {(m.step, m.key, m.name): m for m in memos}
        run.questions = {(q.step, q.key, q.name): q for q in asked}
        run.keys = {**run.keys, **told.children}

    def end(self, lease: Held, ending: Ending) -> None:
        """Let go of a run."""
        self._end(self._good(lease), ending)

    def stop(self, run_id: str, ending: Ending) -> None:
        """End a run and what is open below it, whoever has it."""
        self._stop(self._of(run_id), ending)

    def delete(self, run_id: str) -> None:
        """Delete a run that nobody advances and no fork shares, with its children."""
        run = self._of(run_id)
        refused = []
        if run.parent is not None or any(self._forks(run)):
            refused.append(RunSharedError)
        owner = run.header.owner
        if run.header.status == "running" and owner is not None and owner not in self.dead:
            refused.append(RunBusyError)
        if refused:
            raise Refused(*refused)
        self._drop(run)

    def prune(self, wish: Wish) -> tuple[set[str], dict[str, int]]:
        """Drop runs that are over, and the oldest steps of those that stay."""
        gone = set() if wish.keep is None else self._over(wish, wish.keep)
        while shared := {run for run in gone if any(f.root not in gone for f in self._forks(run))}:
            gone -= shared
        for run in gone:
            self._drop(run)
        cuts = {} if wish.steps is None else self._cuts(wish.steps, wish.graph)
        for run, first in cuts.items():
            if not run.is_gone:
                self._cut(run, first)
        cut = {run.header.run_id: first for run, first in cuts.items() if not run.is_gone}
        return {run.header.run_id for run in gone}, cut

    def _over(self, wish: Wish, keep: int) -> set[Run]:
        """Find the runs that are over, but for the newest of each graph."""
        return {
            run
            for run in self.listed(None, wish.graph)
            if self.status(run)[0] in wish.over
            and run not in self.listed(None, run.header.graph)[:keep]
        }

    def _cuts(self, steps: int, graph: str | None) -> dict[Run, int]:
        """Say with which step each run begins that loses some; what is younger decides first."""
        held: dict[Run, list[int]] = {run: [] for run in self.runs.values()}
        cuts: dict[Run, int] = {}
        for run in sorted(held, key=lambda run: run.number, reverse=True):
            newest = run.last - steps if graph in (None, run.root.header.graph) else 0
            saved = [max(run.snapshots)] if self.status(run.root)[0] == "running" else []
            first = max(run.first, min(newest, *saved, *held[run], run.last))
            if first > run.first:
                cuts[run] = first
            if run.origin is None:
                continue
            for part in run.origin.above():  # of which a fork is there
                held[part.parent or part].append(part.header.parent_step or 0)
            if first <= run.begun:  # it shares steps, and its own first one can be forked
                need = max(0, min(newest, run.begun - 1))
                for part, step in self.path(run):
                    if part is not run and step >= need:
                        held[part].append(step)
        return cuts

    def _cut(self, run: Run, first: int) -> None:
        """Let a run begin with a later step; what those before had used stays known."""
        used = self._spent(run)
        run.snapshots = {
            n: snapshot for n, snapshot in cut_snapshots(run, first).items() if n >= first
        }
        run.first, run.before = first, Spent()
        for child in [c for c in run.children if (c.header.parent_step or 0) < first]:
            self._drop(child)
        run.attempts = [one for one in run.attempts if one.step >= first]
        run.calls = [one for one in run.calls if one.step >= first]
        for records in (run.items, run.memos, run.questions):
            for place in [place for place in records if place[0] < first]:
                del records[place]
        left = self._spent(run)
        run.before = Spent(
            used.calls - left.calls, used.tokens - left.tokens, used.seconds - left.seconds
        )

    # -- reading --------------------------------------------------------------------------------

    def status(self, run: Run) -> tuple[str, str | None]:
        """Say how a run stands, and why."""
        header = run.header
        if header.status != "running":
            return header.status, header.reason
        if run.parent is None:
            return ("stale" if header.owner in self.dead else "running"), header.reason
        status, reason = self.status(run.root)
        if status == "running":
            return status, header.reason
        return ("cancelled" if status == "done" else status), reason

    def lineage(self, run: Run, below: int = 2**40) -> Iterator[tuple[Run, int]]:
        """Give a run and those that it shares steps of, oldest first, with where these end."""
        if run.origin is not None and not run.begun < run.first < below:
            yield from self.lineage(run.origin, min(below, run.header.fork_step or 0))
        yield run, below

    def path(self, run: Run) -> list[tuple[Run, int]]:
        """Give all steps that can be read of a run, each with the run that has it."""
        return [(part, n) for part, below in self.lineage(run) for n in part.left if n < below]

    def oldest(self, run: Run) -> int:
        """Give the first step that can be read of a run."""
        return self.path(run)[0][1]

    def listed(self, status: str | None, graph: str | None) -> list[Run]:
        """List the runs without a parent, the one that was begun last first."""
        found = [
            run
            for run in self.runs.values()
            if run.parent is None
            and graph in (None, run.header.graph)
            and status in (None, self.status(run)[0])
        ]
        return sorted(found, key=lambda run: run.number, reverse=True)

    def found(self, prefix: str) -> str:
        """Find the one run that begins so."""
        if prefix in self.runs:
            return prefix
        found = [name for name, r in self.runs.items() if not r.parent and name.startswith(prefix)]
        if len(found) != 1:
            raise Refused(RunNotFoundError)
        return found[0]

    def spent(self, run_id: str) -> Spent:
        """Add up what a run and its children have used; a fork without what it shares."""
        return self._spent(self._of(run_id))

    def _spent(self, run: Run) -> Spent:
        below = [run.before, *(self._spent(child) for child in run.children)]
        tasks = [(n, task) for n, step in run.left.items() for task in step.tasks]
        tasks += [(run.last + 1, task) for task in run.kept.values()]
        seconds = sum(task.duration_ms for n, task in tasks if n > run.begun)
        seconds += sum(one.duration_ms for one in (*run.items.values(), *run.attempts))
        complete = {(n, task.key) for n, task in tasks}
        complete |= {(item.step, f"{item.key}[{item.ix}]") for item in run.items.values()}
        tokens = sum((c.input_tokens or 0) + (c.output_tokens or 0) for c in run.calls)
        return Spent(
            sum((c.step, c.key) in complete for c in run.calls) + sum(b.calls for b in below),
            tokens + sum(b.tokens for b in below),
            seconds / 1e3 + sum(b.seconds for b in below),
        )

    # -- undoing --------------------------------------------------------------------------------

    def mark(self) -> dict[Run, dict[str, Any]]:
        """Note how everything stands."""
        return {run: run.copied() for run in self.runs.values()}

    def reset(self, mark: dict[Run, dict[str, Any]]) -> None:
        """Let everything stand as it did."""
        self.runs = {run.header.run_id: run for run in mark}
        for run, before in mark.items():
            vars(run).update(before)

    # -- parts ----------------------------------------------------------------------------------

    def _of(self, run_id: str) -> Run:
        if run_id not in self.runs:
            raise Refused(RunNotFoundError)
        return self.runs[run_id]

    def _forks(self, run: Run) -> Iterator[Run]:
        """Give the runs that fork a run or a part of it."""
        family = list(run.family())
        return (fork for fork in self.runs.values() if fork.origin in family)

    def _drop(self, run: Run) -> None:
        for one in run.family():
            one.is_gone = True
            del self.runs[one.header.run_id]
        if run.parent is not None:
            run.parent.children = [child for child in run.parent.children if child is not run]

    def _good(self, lease: Held, *more: type[Exception]) -> Run:
        """See that a lease is good: the epoch is the root's, and nothing has ended."""
        root = lease.run.root.header
        if lease.run.is_gone:
            # Its step may be refused before anybody looks for the run
            raise Refused(RunNotFoundError, *((LeaseLostError, *more) if more else ()))
        stand = {root.status, lease.run.header.status}
        if lease.epoch != root.epoch or stand != {"running"}:
            raise Refused(LeaseLostError, *more)
        return lease.run

    def _open(self, lease: Held, step: int) -> Run:
        """See that a step is the open one; a lease that is lost may be refused for its step."""
        run = self._good(lease, CheckpointError)
        if step != run.last + 1:
            raise Refused(LeaseLostError if step <= run.last else CheckpointError)
        return run

    def _close(
        self, run: Run, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
    ) -> None:
        run.steps[step.step], run.kept = step, {}
        if snapshot is not None:
            run.snapshots[step.step] = snapshot
        if ending is not None:
            self._end(run, ending)

    def _end(self, run: Run, ending: Ending) -> None:
        is_over = ending.status in ("done", "failed", "cancelled")
        run.header = replace(
            run.header,
            status="running" if ending.status == "stale" else ending.status,
            reason=ending.reason,
            error_type=ending.error_type,
            error=ending.error,
            owner=None,
            ended_at="then" if is_over else None,
        )

    def _stop(self, run: Run, ending: Ending) -> None:
        if run.header.status == "done":
            return
        run.header = replace(run.header, epoch=run.header.epoch + 1)
        self._end(run, ending)
        for child in run.children:
            if (child.header.parent_step or 0) > run.last:
                self._stop(child, ending)
