"""Run: what a run did and why, read from its records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal

from graphflow.as_of import Seen, as_of
from graphflow.change.judge import state_of
from graphflow.change.values import same_json
from graphflow.errors import InputError, StateError
from graphflow.history import States, values_now
from graphflow.looked_up import check_step, checked_arrow, has_taken
from graphflow.once import once
from graphflow.records import (
    AttemptRecord,
    CallRecord,
    DecisionRecord,
    Ending,
    GraphUse,
    QuestionRecord,
    RunHeader,
    RunRecords,
    RunStatus,
    StepRecord,
)
from graphflow.standing import beyond_limit, open_tasks, under_way
from graphflow.state.instances import Instances
from graphflow.state.schema import S, StateSchema

if TYPE_CHECKING:
    from os import PathLike

    from graphflow.analysis.comparison import Comparison
    from graphflow.checkpoint.keys import Key
    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.plan import Plan
    from graphflow.render.show import Drawing
    from graphflow.upkeep import Size

__all__ = ["Run", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run's model calls used, by the server's own counts.

    Attributes:
        calls: Requests, failed ones included.
        input_tokens: Tokens read, cached ones included.
        output_tokens: Tokens written.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Run(Generic[S]):
    """The reading side of a run, also of one that another process began.

    Shown as the last expression of a cell it draws the path that ran; ``print(run)`` tells it in
    words. What it says is as of when it was made; ``flow.get(run_id)`` looks again.

    Args:
        store: Where the run is stored.
        run_id: The run.
        schema: The state; None when the graph's code is not at hand: then `values` still works.
        header: How the run stands, when that is known already.
        tail: The end of its records, when that has been read already: enough for the state.
        seen: How it stood when this process let go of it: what is read later is cut off there.
        plan: Today's graph, by which states that another one wrote are told in its words.
    """

    def __init__(
        self,
        store: Checkpointer,
        run_id: str,
        schema: StateSchema[S] | None = None,
        *,
        header: RunHeader | None = None,
        tail: RunRecords | None = None,
        seen: Seen | None = None,
        plan: Plan | None = None,
    ) -> None:
        self._plan = plan
        self._store, self._schema, self.run_id = store, schema, run_id
        self._header, self._tail, self._seen = header, tail, seen

    @once
    def records(self) -> RunRecords:
        """All records of the run."""
        records = self._store.load(self.run_id)
        if self._seen is not None:
            return as_of(records, self._seen.step, self._seen.ending)
        if self._tail is not None:
            then = self._tail.header
            ending = Ending(then.status, then.reason, then.error_type, then.error)
            return as_of(records, then.step, ending)
        return records

    @property
    def header(self) -> RunHeader:
        """What is known of the run without its steps."""
        if self._header is None and self._tail is not None and "records" not in self.__dict__:
            return self._tail.header
        return self._header or self.records.header

    @property
    def status(self) -> RunStatus:
        """running, paused, failed, done, cancelled, or stale: its process died."""
        return self.header.status

    @property
    def reason(self) -> str | None:
        """Why it paused or failed: `limit:steps`, `limit:visits:NODE`, `task`, ..."""
        return self.header.reason

    @property
    def error(self) -> str | None:
        """The error's type and words; None when it did not fail."""
        header = self.header
        return f"{header.error_type}: {header.error}" if header.error_type else None

    @property
    def state(self) -> S:
        """The state after the last committed step.

        Raises:
            StateError: The graph's code is not at hand, or the state does not fit its class.
        """
        if self._seen is not None and self._schema is not None:
            return self._schema.instance(self._seen.values)
        records = self._tail or self.records
        return self._instance(self.values, records.use_after(records.header.step))

    @property
    def values(self) -> dict[str, Any]:
        """The state as plain JSON values; needs no class."""
        return values_now(self._tail or self.records)

    def state_at(self, step: int) -> S:
        """Give the state after a committed step.

        Raises:
            RunNotFoundError: The run has no such step.
            StateError: The graph's code is not at hand, or the state does not fit its class.
        """
        self._check_step(step)
        if self._instances is not None:
            return self._states.next_at(step, self._instances.next)
        use = self.records.use_of(step)
        return self._states.read_at(step, lambda values: self._instance(values, use))

    def values_at(self, step: int) -> dict[str, Any]:
        """Give the state after a committed step as plain JSON values.

        Raises:
            RunNotFoundError: The run has no such step.
        """
        self._check_step(step)
        return dict(json.loads(self._states.text_at(step)))

    def diff(self, step: int) -> dict[str, tuple[Any, Any]]:
        """Say what a step changed; what a migration did before it is no change of it.

        Returns:
            Per changed field its JSON value before and after.
        """
        self._check_step(step)
        self._check_step(max(step - 1, 0))
        before = self._states.read_at(step - 1, deepcopy, is_handed_on=True) if step else {}
        after = self.values_at(step)
        return {
            name: (before.get(name), value)
            for name, value in after.items()
            if name not in before or not same_json(before[name], value)
        }

    def compare(self, other: Run[Any]) -> Comparison:
        """Lay this run and another side by side: where they part, why, and what came of it.

        Args:
            other: The other run, of any process; its graph may be another one.

        Returns:
            What differs; print it to read it.
        """
        from graphflow.analysis.comparison import compare

        if not isinstance(other, Run):
            raise InputError(f"compare({other!r}): pass a run, such as flow.get(run_id)")
        return compare(self.records, other.records)

    @property
    def steps(self) -> Sequence[StepRecord]:
        """All committed steps, the input (step 0) first; the oldest may have been pruned."""
        return self.records.steps

    @property
    def path(self) -> list[str]:
        """The nodes that ran, in order; those of one step in the order of declaration."""
        return [task.node for step in self.steps for task in step.tasks]

    @property
    def decisions(self) -> list[DecisionRecord]:
        """All decisions, in order."""
        return [decision for step in self.steps for decision in step.decisions]

    @property
    def attempts(self) -> Sequence[AttemptRecord]:
        """The executions that failed, in order; those that a budget stopped did not."""
        return [attempt for attempt in self.records.attempts if not attempt.is_over_budget]

    @property
    def calls(self) -> Sequence[CallRecord]:
        """The model calls, in order."""
        return self.records.calls

    @property
    def questions(self) -> Sequence[QuestionRecord]:
        """All questions of the run itself, by step and task, answered or not."""
        records = self.records
        ready = {step.step + 1: records.checkpoint(step.step).ready for step in records.steps}

        def place(asked: QuestionRecord) -> tuple[int, int]:
            keys, key = list(ready.get(asked.step, ())), asked.key.partition("[")[0]
            return asked.step, keys.index(key) if key in keys else 0

        return sorted(self.records.questions, key=place)

    @property
    def open_questions(self) -> dict[str, QuestionRecord]:
        """The questions that wait for an answer, also those inside of subgraphs.

        Returns:
            What `flow.answer(..., key=)` names each by, such as `sub/approve` -> the question.
        """
        from graphflow.answering import find_open

        return {one.id: one.question for one in find_open(self._store, self._tail or self.records)}

    @property
    def open(self) -> dict[str, str]:
        """How each task of the open step stands; empty when no step is open.

        Returns:
            Task key -> "done", "fallback", "failed", "asking" or "limit".
        """
        return open_tasks(self._tail or self.records)

    @property
    def under_way(self) -> dict[str, int]:
        """Which tasks a running run works on, and a stale one was to when its process died.

        That a body begins is not stored on its own, which would cost a sync: a task that waited
        for its turn is named too.

        Returns:
            Task key -> which execution of it, from 1; one that a crash cut off left no record.
        """
        return under_way(self._tail or self.records)

    @property
    def children(self) -> dict[str, Run[Any]]:
        """The runs of its subgraphs, in order, by step and task: `3:sub#0`."""
        return {
            f"{child.header.parent_step}:{child.header.parent_key}": Run.of(self._store, child)
            for child in self.records.children
        }

    @classmethod
    def of(cls, store: Checkpointer, records: RunRecords) -> Run[S]:
        """Give a run whose records have been read."""
        run = cls(store, records.header.run_id)
        run.__dict__["records"] = records
        return run

    @property
    def usage(self) -> Usage:
        """The sum of the model calls, those of its subgraphs included."""
        calls = _all_calls(self.records)
        return Usage(
            len(calls),
            sum(call.input_tokens or 0 for call in calls),
            sum(call.output_tokens or 0 for call in calls),
        )

    @property
    def recovered(self) -> bool:
        """Whether it is done although something failed on the way; see `RunRecords.recovered`."""
        return self.status == "done" and self.records.recovered

    @property
    def duration_ms(self) -> float:
        """From the run's begin to its last commit, in milliseconds; pauses included.

        By the clock of the day: 0 when it was set back meanwhile.
        """
        begin = datetime.fromisoformat(self.header.created_at)
        took = datetime.fromisoformat(self.steps[-1].committed_at) - begin
        return max(0.0, took.total_seconds() * 1e3)

    def took(self, source: str, target: str) -> bool:
        """Tell whether the arrow from one node to another ran.

        Raises:
            InputError: The run's graph has no such node.
            RunNotFoundError: It did not in the steps that pruning has left.
        """
        way = checked_arrow(self.records, self._plan.nodes if self._plan else (), source, target)
        return has_taken(self.records, way)

    def draw(self, path: str | PathLike[str] | None = None) -> Drawing:
        """Draw the path that ran; with a path also save it (.svg, .dot, .mmd, .txt, .html)."""
        from graphflow.drawing import draw

        return draw(self.records.spec, self.records, path)

    @property
    def size(self) -> Size:
        """How much the run and those of its subgraphs take in the store, table by table."""
        return self._store.size(self.run_id)

    def save(
        self, path: str | PathLike[str], *, key: Key | Literal["same"] | None = "same"
    ) -> None:
        """Write the run's records into a SQLite file, which is made when it is not there.

        Args:
            path: The file.
            key: The file's key; see `SqliteCheckpointer`. "same": that of the database which the
                run is read from, so that what is encrypted stays so; None: as for a new database.

        Raises:
            RunExistsError: The file has a run with this id.
            WrongKeyError: It was made with another key, or with none.
        """
        from graphflow.checkpoint.copy import copy_run
        from graphflow.checkpoint.sqlite import SqliteCheckpointer

        own = getattr(self._store, "key", None)
        store = SqliteCheckpointer(path, key=own if key == "same" else key)
        try:
            copy_run(self.records, store)
        finally:
            store.close()

    @property
    def graphs(self) -> Sequence[GraphUse]:
        """The graphs that wrote its steps, oldest first: `first`, `version`, `spec`, `adoption`."""
        return self.records.uses

    @once
    def _states(self) -> States:
        return States(self.records)

    @once
    def _instances(self) -> Instances[S] | None:
        """What makes instances of the states, when they all are in the words of today's graph."""
        known = self._plan is None or [use.digest for use in self.graphs] == [self._plan.digest]
        return Instances(self._schema) if self._schema is not None and known else None

    def _check_step(self, step: int) -> None:
        check_step(self.records, step)

    def _instance(self, values: dict[str, Any], use: GraphUse) -> S:
        if self._schema is None:
            raise StateError(
                f"run {self.run_id}: this needs the graph's state class; open the run through its"
                " flow (flow.get), or read run.values"
            )
        if self._plan is not None:
            return self._schema.instance(state_of(self._plan, self.run_id, use, values))
        return self._schema.instance(self._schema.read_values(values))

    def __str__(self) -> str:
        return "\n".join([self.draw().text, *beyond_limit(self.records)])

    def __repr__(self) -> str:
        try:
            return f"<Run {self.run_id}: {self.status}, {len(self.path)} tasks>"
        except Exception as error:  # noqa: BLE001 - a cell shows what is wrong instead of failing
            return f"<Run {self.run_id}: cannot be read: {error}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        try:
            return self.draw()._repr_mimebundle_(include, exclude)
        except Exception as error:  # noqa: BLE001 - a cell shows what is wrong instead of failing
            return {"text/plain": f"<Run {self.run_id}: cannot be drawn: {error}>"}


def _all_calls(records: RunRecords) -> list[CallRecord]:
    return [*records.calls, *(call for child in records.children for call in _all_calls(child))]
