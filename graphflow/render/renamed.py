"""A run in the names that its nodes have now, where its graph has changed under it.

What was committed keeps the names of its time; one drawing has room for one name of each node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from graphflow.change.moved import Loose, moved, moved_key
from graphflow.records import Arrow, DecisionRecord, RunRecords, Sent, StepRecord

__all__ = ["in_todays_names"]

Names = Mapping[str, str]


def in_todays_names(records: RunRecords) -> RunRecords:
    """Give the records of a run with every node under its last name; themselves if none has two.

    Args:
        records: The run.
    """
    adoptions = [use.adoption for use in records.graphs if use.adoption and use.adoption.nodes]
    if not adoptions and not any(child.graphs for child in records.children):
        return records

    def names_at(step: int) -> Names:
        """Give what the names in a committed step have become since."""
        names: dict[str, str] = {}
        for adoption in adoptions:
            if adoption.step >= step:
                names = {old: adoption.nodes.get(new, new) for old, new in names.items()}
                names |= {old: new for old, new in adoption.nodes.items() if old not in names}
        return names

    def loose(found: Sequence[Loose]) -> list[Loose]:
        return [moved(one, names_at(one.step)) for one in found]

    return replace(
        records,
        steps=[_step(step, names_at(step.step)) for step in records.steps],
        attempts=loose(records.attempts),
        calls=loose(records.calls),
        items=loose(records.items),
        questions=loose(records.questions),
        memos=loose(records.memos),
        children=[_child(child, names_at) for child in records.children],
    )


def _child(child: RunRecords, names_at: Callable[[int], Names]) -> RunRecords:
    header = child.header
    key = moved_key(header.parent_key or "", names_at(header.parent_step or 0))
    return replace(in_todays_names(child), header=replace(header, parent_key=key))


def _step(step: StepRecord, names: Names) -> StepRecord:
    if not names:
        return step

    def now(name: str) -> str:
        return names.get(name, name)

    def key(task: str) -> str:
        return moved_key(task, names)

    return StepRecord(
        step.step,
        [replace(task, key=key(task.key), node=now(task.node)) for task in step.tasks],
        [_decision(decision, now) for decision in step.decisions],
        [Arrow(now(arrow.source), now(arrow.target), arrow.kind) for arrow in step.arrows],
        {now(join): [now(source) for source in of] for join, of in step.fired.items()},
        {now(join): [(now(name), at) for name, at in of] for join, of in step.held.items()},
        [key(task) for task in step.ready],
        step.derived_json,
        step.committed_at,
        step.digest,
        {key(task): sent._replace(node=now(sent.node)) for task, sent in step.sends.items()},
        step.heard,
    )


def _decision(decision: DecisionRecord, now: Callable[[str], str]) -> DecisionRecord:
    chosen = [
        one._replace(node=now(one.node)) if isinstance(one, Sent) else now(one)
        for one in decision.chosen
    ]
    own = decision.router == decision.source  # a gate, or a node that chose itself
    return decision._replace(
        source=now(decision.source),
        router=now(decision.router) if own else decision.router,
        options=tuple(map(now, decision.options)),
        chosen=tuple(chosen),
    )
