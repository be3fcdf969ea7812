"""Judges whether a stored run can go on with today's graph, and tells its checkpoint in its words.

Nothing is stored here, and nothing of the run is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphflow.change.beside import Beside, lost
from graphflow.change.compare import differences
from graphflow.change.lists import Lists
from graphflow.change.moved import moved, node_in
from graphflow.change.names import Names
from graphflow.change.updates import Updates
from graphflow.change.values import StateChange, Unfit, Values, same_json
from graphflow.change.verdict import Finding, Verdict, changed
from graphflow.clock import now
from graphflow.errors import did_you_mean
from graphflow.history import Counters, States, counters_at
from graphflow.names import START, spelled
from graphflow.plan import Plan
from graphflow.records import (
    Adoption,
    Frontier,
    GraphUse,
    RunRecords,
    Sent,
    StepRecord,
    TaskRecord,
)

__all__ = ["Carried", "Judged", "judge", "judge_family", "redone", "state_of"]


@dataclass(slots=True)
class Carried:
    """The checkpoint of a run in the words of today's graph."""

    records: RunRecords
    """The run, with what is stored of its open step in these words."""
    values: dict[str, Any]
    """The state, as the engine has it."""
    frontier: Frontier
    counters: Counters
    adoption: Adoption


@dataclass(slots=True)
class Judged:
    """What came of judging a run."""

    verdict: Verdict
    carried: Carried | None = None
    """None when it cannot go on, or its graph is today's to the last letter."""
    cause: Exception | None = None
    """What a migration or a validator raised."""


def judge(plan: Plan, records: RunRecords, step: int | None = None) -> Judged:
    """Judge a run by itself, without those of its subgraphs.

    Args:
        plan: Today's graph.
        records: The run, its tail at least.
        step: A committed step, as if nothing had come after it; None: the last one, with what is
            stored of the open step.
    """
    last = records.steps[-1].step if step is None else step
    use = records.use_after(last)
    if use.digest == plan.digest:
        return _judge_state(plan, records, last)
    return _Judging(plan, records, last, use, is_open=step is None).judged()


def judge_family(
    plan: Plan, records: RunRecords, read: Callable[[RunRecords], RunRecords]
) -> Judged:
    """Judge a run with the runs of its subgraphs in the open step.

    Args:
        plan: Today's graph.
        records: The run, its tail at least.
        read: Gives the tail of a child.
    """
    judged = judge(plan, records)
    nodes = _node_names(plan, records.use_after(records.steps[-1].step))
    for child in records.children:
        header = child.header
        is_open = header.parent_step == records.steps[-1].step + 1
        if not is_open or header.status == "cancelled":
            continue
        name = nodes.find(node_in(str(header.parent_key)))
        node = plan.nodes.get(name) if name is not None else None
        if node is not None and node.child is not None:
            inner = judge_family(node.child, read(child), read)
            key = nodes.key(str(header.parent_key))
            judged.verdict = judged.verdict.with_child(key, inner.verdict)
            judged.cause = judged.cause or inner.cause
    return judged


def state_of(plan: Plan, run_id: str, use: GraphUse, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a stored state as today's state class has it.

    Args:
        plan: Today's graph.
        run_id: The run, for messages.
        use: The graph in whose words the state is stored.
        values: Its plain JSON values.

    Raises:
        MigrationError: It does not fit.
        GraphChangedError: It is of a later version of the graph.
    """
    try:
        if use.digest != plan.digest:
            change = StateChange(plan.definition, plan.schema, plan.spec, use.spec, use.version)
            values = change.carry(values)
        return plan.schema.read_values(values)
    except Unfit as unfit:
        verdict = Verdict.of(run_id, plan.name, unfit.findings, same=False)
        raise changed(verdict, unfit.cause) from unfit


def redone(plan: Plan, records: RunRecords, step: int) -> StepRecord:
    """Give a committed step, its tasks and their own decisions in the words of today's graph.

    Args:
        plan: Today's graph.
        records: The run that ran the step, whole.
        step: The step.

    Raises:
        GraphChangedError: The graph has no place for them, or their results do not fit.
    """
    record = records.steps[step - records.steps[0].step]
    use = records.use_of(step)
    if step == 0 or use.digest == plan.digest:
        return record
    judging = _Judging(plan, records, step - 1, use, is_open=False)
    told = [judging.nodes.task(task) for task in record.tasks]
    found = [judging.gone(name, "the step is the work of") for name in judging.nodes.gone]
    try:
        judging.refuse(found)
        updates = judging.updates()
        tasks = [updates.task(task) for task in told]
    except Unfit as unfit:
        verdict = Verdict.of(records.header.run_id, plan.name, unfit.findings, same=False)
        raise changed(verdict, unfit.cause) from unfit
    decisions = tuple(map(judging.nodes.decision, record.decisions))
    return replace(record, tasks=tasks, decisions=decisions)


def _node_names(plan: Plan, use: GraphUse) -> Names:
    return Names.of_nodes(use.spec, plan.nodes, plan.definition.changes.nodes)


def _judge_state(plan: Plan, records: RunRecords, last: int) -> Judged:
    """Judge a run whose graph is the same: a validator of the state class may be another."""
    run_id, name = records.header.run_id, plan.name
    change = StateChange(
        plan.definition, plan.schema, plan.spec, plan.spec, plan.definition.version
    )
    try:
        change.carry(States(records).handed_on(last))
    except Unfit as unfit:
        return Judged(Verdict.of(run_id, name, unfit.findings, same=False), cause=unfit.cause)
    return Judged(Verdict.of(run_id, name, (), same=True))


class _Judging:
    """Judges one run whose graph is another one than today's."""

    def __init__(
        self, plan: Plan, records: RunRecords, last: int, use: GraphUse, *, is_open: bool
    ) -> None:
        self._plan, self._records, self._last, self._use = plan, records, last, use
        self._is_open = is_open
        self.nodes = _node_names(plan, use)
        self._findings: list[Finding] = []
        self._cause: Exception | None = None

    def judged(self) -> Judged:
        """Judge it."""
        run_id, name = self._records.header.run_id, self._plan.name
        if self._use.version > self._plan.definition.version:  # nothing else can be said then
            try:
                self._change()
            except Unfit as unfit:
                return Judged(Verdict.of(run_id, name, unfit.findings, same=False))
        carried = self._carried()
        if carried is not None:
            fields = self._change().names
            stored, names = self._use.spec, _node_names(self._plan, self._use)
            told = differences(
                stored,
                self._plan.spec,
                names,
                fields,
                needed=self.nodes.gone,
                is_migrated=bool(self._change().way),
            )
            differ = [*told]
            # What may be a mistake comes first: a field that went with its value
            self._findings[:0] = [one for one in differ if "renamed_field" in one.words]
            self._findings += differ
            self._findings += self._versions()
        verdict = Verdict.of(run_id, name, self._findings, same=False)
        return Judged(verdict, carried if verdict.can_go_on else None, self._cause)

    def updates(self) -> Updates:
        """Give what tells updates in the words of today.

        Raises:
            Unfit: The state does not fit.
        """
        change, before = self._change(), self._stored()
        where = self._records.header.run_id, self._last + 1
        return Updates(change, before, change.carry(before), where)

    def refuse(self, findings: Sequence[Finding]) -> None:
        """Refuse a run.

        Raises:
            Unfit: There are findings.
        """
        if findings:
            raise Unfit(findings)

    def gone(self, name: str, words: str = "the run stands before") -> Finding:
        """Say that the graph has no place any more for a node that is needed."""
        plan = self._plan
        known = [other for other in plan.nodes if other != START]
        near = did_you_mean(name, known)
        new = near.split("'")[1] if near.startswith(" Did you mean") else self._only_new()
        fix = f'graph.renamed("{name}", "{new}"), or put the node back'
        return Finding(
            "refused",
            f"node {name!r}",
            f"{words} it, and graph {plan.name!r} does not have it any more.{near}",
            f"Write {fix}",
        )

    def _only_new(self) -> str:
        """Name the node that is new, if there is just one; else say that a name is to be put."""
        before = {node["name"] for node in self._use.spec.get("nodes", ())}
        new = [name for name in self._plan.nodes if name != START and name not in before]
        return new[0] if len(new) == 1 else "ITS NEW NAME"

    def _change(self) -> StateChange:
        plan, use = self._plan, self._use
        return StateChange(plan.definition, plan.schema, plan.spec, use.spec, use.version)

    def _stored(self) -> Values:
        return States(self._records).handed_on(self._last)

    def _carried(self) -> Carried | None:
        record = self._records.checkpoint(self._last)
        frontier = self.nodes.frontier(record)
        kept = [self.nodes.task(task) for task in self._records.kept] if self._is_open else []
        self._findings += map(self.gone, self.nodes.gone)
        beside = Beside(self._plan, self.nodes, self._records, self._last + 1)
        self._findings += _twice([*frontier.ready, *map(self.nodes, record.held)])
        try:
            updates = self.updates()
            self.refuse([*lost(updates.change, kept, record)])
            values = self._plan.schema.read_values(updates.now)
            sends = _sends(frontier, updates)
            kept = [updates.task(task) for task in kept]
        except Unfit as unfit:
            self._findings += unfit.findings
            self._cause = unfit.cause
            return None
        frontier = frontier._replace(sends=sends)
        dropped = self._dropped(updates, record, sends, kept)
        beside.check(frontier, kept, values, is_open=self._is_open, dropped=dropped)
        self._findings += beside.findings
        self._cause = beside.cause
        before = counters_at(self._records, self._last)
        counters = self._counters(before, updates)
        changed = not same_json(updates.now, updates.before)
        adoption = Adoption(
            self._last,
            0,
            self._plan.digest,
            self._plan.definition.version,
            now(),
            self.nodes.renamed,
            self._plan.schema.codec.text(values) if changed else None,
            None if counters == before else counters.to_json(),
            frontier if _left(frontier) != _left(record) else None,
            self._children(),
            dropped,
        )
        return Carried(self._open(kept, dropped), values, frontier, counters, adoption)

    def _counters(self, before: Counters, updates: Updates) -> Counters:
        counters = self.nodes.counters(before, updates.change.names)
        if updates.change.way:  # what a migration made of other fields was written by it
            own = updates.change.names
            old = {own.find(name): value for name, value in updates.before.items()}
            for name, value in updates.now.items():
                if name not in old or not same_json(old[name], value):
                    counters.writers[name] = max(counters.writers.get(name, 0), self._last)
        return counters

    def _children(self) -> dict[str, str]:
        opened, found = self._last + 1, {}
        for child in self._records.children if self._is_open else ():
            header = child.header
            key = self.nodes.key(str(header.parent_key))
            if header.parent_step == opened and key != header.parent_key:
                found[header.run_id] = key
        return found

    def _dropped(
        self,
        updates: Updates,
        record: StepRecord,
        sends: Mapping[str, Sent],
        kept: Sequence[TaskRecord],
    ) -> Sequence[str]:
        """Find the items of maps that are others now, and say so."""
        if not self._is_open:
            return ()
        use, opened = self._use, self._last + 1
        lists = Lists(self._plan, self.nodes, use.spec, self._records, opened)
        lists.check(updates, record.sends, sends, {task.key for task in kept})
        self._findings += lists.findings
        return lists.dropped

    def _open(self, kept: list[TaskRecord], dropped: Sequence[str]) -> RunRecords:
        """Give the run with what is stored of its open step in the names of today."""
        records, nodes, opened = self._records, self.nodes.renamed, self._last + 1
        children, gone = self._children(), {(opened, key) for key in dropped}
        items = [i for i in records.items if (i.step, f"{i.key}[{i.ix}]") not in gone]
        memos = [m for m in records.memos if (m.step, m.key) not in gone]
        return replace(
            records,
            kept=kept,
            attempts=[moved(one, nodes) if one.step == opened else one for one in records.attempts],
            items=[moved(one, nodes) if one.step == opened else one for one in items],
            questions=[
                moved(one, nodes) if one.step == opened else one for one in records.questions
            ],
            memos=[moved(one, nodes) if one.step == opened else one for one in memos],
            children=[
                replace(
                    child,
                    header=replace(
                        child.header,
                        parent_key=children.get(child.header.run_id, child.header.parent_key),
                    ),
                )
                for child in records.children
            ],
        )

    def _versions(self) -> Iterator[Finding]:
        for migration in self._change().way:
            yield Finding("compatible", "state", f"it goes through {migration.name}")


def _sends(frontier: Frontier, updates: Updates) -> dict[str, Sent]:
    return {
        key: Sent(sent.node, updates.sent(sent.input_json)) for key, sent in frontier.sends.items()
    }


def _left(of: StepRecord | Frontier) -> tuple[Any, ...]:
    """Give a frontier so that it compares by content."""
    return (
        list(of.ready),
        {join: list(came) for join, came in of.fired.items()},
        {join: [tuple(one) for one in came] for join, came in of.held.items()},
        dict(of.sends),
    )


def _twice(keys: Iterable[str]) -> Iterator[Finding]:
    """Find tasks, and joins that wait, that would be one today."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            words = "two tasks that run next, or wait, would both be of it"
            fix = "Rename only one node to it until they have run"
            yield Finding("refused", f"node {spelled(node_in(key))!r}", words, fix)
        seen.add(key)
