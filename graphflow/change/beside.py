"""What is stored beside the state of a run: whether it still fits today's graph."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from graphflow.change.lapsed import VERDICTS_SCHEMA, has_lapsed
from graphflow.change.moved import node_in
from graphflow.change.names import Names
from graphflow.change.values import StateChange
from graphflow.change.verdict import Finding
from graphflow.errors import StateError
from graphflow.plan import Plan, PlanNode
from graphflow.records import Frontier, QuestionRecord, RunRecords, StepRecord, TaskRecord
from graphflow.state.laid_over import lay_over
from graphflow.state.single import Single
from graphflow.state.update import revive

__all__ = ["Beside", "lost"]


def lost(change: StateChange, kept: Sequence[TaskRecord], record: StepRecord) -> Iterator[Finding]:
    """Find what is stored for a field that is gone, and would never reach a committed step.

    Args:
        change: How states are told today.
        kept: The complete tasks of the open step.
        record: The step before.
    """
    stored = [(task.key, task.update_json) for task in kept]
    stored += [(key, sent.input_json) for key, sent in record.sends.items()]
    for key, text in stored if not change.way else ():
        for name in json.loads(text or "{}"):
            if change.names.find(name) is None:
                words = f"what is stored of it sets {name!r}, which is gone"
                fix = (
                    f'Write graph.renamed_field("{name}", "ITS NEW NAME"), or keep the field until'
                    " the step is committed"
                )
                yield Finding("migration", f"task {key!r}", words, fix)


class Beside:
    """Checks Sends, kept results, items and answers.

    Args:
        plan: Today's graph.
        nodes: What stored nodes are called today.
        records: The run.
        opened: Its open step.

    Attributes:
        findings: What does not fit, or is not used any more.
        cause: The first error.
    """

    def __init__(self, plan: Plan, nodes: Names, records: RunRecords, opened: int) -> None:
        self._plan, self._nodes, self._records, self._opened = plan, nodes, records, opened
        self.findings: list[Finding] = []
        self.cause: Exception | None = None

    def check(
        self,
        frontier: Frontier,
        kept: Sequence[TaskRecord],
        values: dict[str, Any],
        *,
        is_open: bool,
        dropped: Collection[str] = (),
    ) -> None:
        """Check all of it.

        Args:
            frontier: What runs next, in the words of today.
            kept: The complete tasks of the open step, in the words of today.
            values: The state.
            is_open: Whether what is stored of the open step counts.
            dropped: The items whose results are not used any more.
        """
        schema = self._plan.schema
        for key, sent in frontier.sends.items():
            try:
                lay_over(schema, values, sent.input_json)
            except StateError as error:
                self._unfit(key, f"what was sent to it does not fit: {error}", error)
        for task in kept:
            try:
                revive(schema, task.update_json, task.replaces, values)
            except StateError as error:
                self._unfit(task.key, f"its stored result does not fit: {error}", error)
        if is_open:
            done = {task.key for task in kept}
            self._check_items(done, dropped)
            self._check_answers(done)
            self._check_children([key for key in frontier.ready if key not in done])

    def _check_items(self, done: set[str], dropped: Collection[str]) -> None:
        for item in self._records.items:
            if f"{item.key}[{item.ix}]" in dropped:
                continue
            node = self._node(item.key)
            if item.step != self._opened or node is None or self._nodes.key(item.key) in done:
                continue
            if node.rules.map is not None:
                self._try(item.key, f"item {item.ix} of it", node.result, item.result_json)
            else:
                self._note(node, "it is no map any more; the results of its items are not used")

    def _check_answers(self, done: set[str]) -> None:
        for asked in self._records.questions:
            node = self._node(asked.key)
            if asked.step != self._opened or node is None or self._is_done(asked.key, done):
                continue
            if has_lapsed(asked, self._plan.said(node.name)):
                self._note(node, _no_more(asked))
            elif asked.answer_json is not None and _takes_value(asked):
                self._try(asked.key, "its answer", node.answer, asked.answer_json)

    def _is_done(self, key: str, done: set[str]) -> bool:
        return self._nodes.key(key).partition("[")[0] in done

    def _check_children(self, ready: Collection[str]) -> None:
        """Find tasks whose subgraph would begin a run under the id that another task's run has."""
        own = {
            self._nodes.key(str(child.header.parent_key)): child.header.run_id
            for child in self._records.children
            if child.header.parent_step == self._opened
        }
        tasks = {run_id: key for key, run_id in own.items()}
        for key in ready:
            run_id = f"{self._records.header.run_id}/{self._opened}:{key}"
            node = self._plan.nodes.get(node_in(key))
            begins = key not in own and node is not None and node.child is not None
            if begins and run_id in tasks:
                words = (
                    f"the run of its subgraph would have the id {run_id!r}, which that of"
                    f" {tasks[run_id]!r} has"
                )
                fix = f"Give it another name than {key!r} until the step is committed"
                self.findings.append(Finding("refused", f"task {key!r}", words, fix))

    def _node(self, key: str) -> PlanNode | None:
        name = self._nodes.find(node_in(key))
        return self._plan.nodes.get(name) if name is not None else None

    def _note(self, node: PlanNode, words: str) -> None:
        self.findings.append(Finding("compatible", f"node {node.name!r}", words))

    def _try(self, key: str, what: str, of: Single, text: str) -> None:
        try:
            of.read(text)
        except StateError as error:
            shown = text if len(text) <= 60 else text[:60] + " ..."
            self._unfit(self._nodes.key(key), f"{what}, {shown}, does not fit: {error}", error)

    def _unfit(self, key: str, words: str, error: Exception) -> None:
        self.cause = self.cause or error
        fix = "Keep the type until the step is committed"
        self.findings.append(Finding("migration", f"task {key!r}", words, fix))


def _takes_value(asked: QuestionRecord) -> bool:
    """Tell whether the answer is a value that the graph puts into a field."""
    return asked.kind != "ask" and asked.schema_json != VERDICTS_SCHEMA


def _no_more(asked: QuestionRecord) -> str:
    what = {
        "question": "it is no question any more",
        "ask": f"what it asked, {asked.name!r}, it asks no more",
        "escalation": "what it asked when it failed, it asks no more",
    }[asked.kind]
    then = "nobody has to answer it" if asked.answer_json is None else "its answer is not used"
    return f"{what}; {then}"
