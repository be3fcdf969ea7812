"""Opens runs: a new one from an input, a stored one from its records, a fork, a child."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphflow.asked import (
    Asked,
    budget_json,
    budget_of,
    limits_json,
    limits_of,
    limits_over,
    tags_json,
)
from graphflow.change.judge import state_of
from graphflow.changing import refuse_changed
from graphflow.checkpoint.owner import this_process
from graphflow.clock import now
from graphflow.deps import Deps
from graphflow.engine.core import Bounds, Forked, advance
from graphflow.engine.effects import Outcome, Steps
from graphflow.engine.position import Position, restore
from graphflow.engine.tasks import Task
from graphflow.errors import InputError, RunNotFoundError, RunOverError
from graphflow.forking import Prepared
from graphflow.history import values_now
from graphflow.inputs import first_values, given_fields, refuse_other_input
from graphflow.names import new_run_id
from graphflow.plan import Plan
from graphflow.policy import Budget, Limits
from graphflow.records import Ending, RunHeader, RunRecords, Spent
from graphflow.session import Session, as_before
from graphflow.shared import Shared
from graphflow.spending import Ledger
from graphflow.subruns import refuse_child

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.llm.client import ChatClient

__all__ = ["Opened", "Opener", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all runs of a flow that do not say otherwise."""

    client: Callable[[], ChatClient]
    limits: Limits
    budget: Budget | None = None
    deps: Any = None
    pause_before: frozenset[str] = frozenset()
    """Nodes, those of a subgraph with its name: `sub/draft`."""
    pause_after: frozenset[str] = frozenset()
    redact: Callable[[str], str] | None = None

    def inside(self, node: str) -> Settings:
        """Give the settings of the children of a node."""
        return replace(
            self,
            pause_before=_inside(node, self.pause_before),
            pause_after=_inside(node, self.pause_after),
        )


@dataclass(slots=True, eq=False)
class Opened:
    """A run that is ready to be advanced."""

    plan: Plan
    session: Session
    position: Position
    bounds: Bounds
    forked: Forked | None = None
    over: RunRecords | None = None
    """The end of its records, when it is done or cancelled: there is nothing to advance."""

    def drive(self, drive: Callable[[Steps, Session, int], Outcome]) -> Outcome | None:
        """Have it advanced by a driver; None when it is over."""
        if self.over is not None:
            return None
        return drive(self._steps(), self.session, self.position.step)

    async def adrive(
        self, drive: Callable[[Steps, Session, int], Awaitable[Outcome]]
    ) -> Outcome | None:
        """Have it advanced by a driver that awaits; None when it is over."""
        if self.over is not None:
            return None
        return await drive(self._steps(), self.session, self.position.step)

    def last_values(self) -> dict[str, Any]:
        """Give the last state of a run that is over."""
        if self.over is None:
            return self.position.values
        over = self.over
        use = over.use_after(over.header.step)
        return state_of(self.plan, over.header.run_id, use, values_now(over))

    def _steps(self) -> Steps:
        return advance(self.plan, self.position, self.bounds, self.forked)


class Opener:
    """Opens the runs of one graph on one store.

    Args:
        plan: The graph.
        store: Where its runs are stored.
        settings: What holds for all of them.

    Attributes:
        plan: The graph.
        store: Where its runs are stored.
        before_take: Called with the tail of a run before it is taken; gives it as it stands then.
    """

    def __init__(self, plan: Plan, store: Checkpointer, settings: Settings) -> None:
        self.plan, self._schema = plan, plan.schema
        self.store, self._settings = store, settings
        self._children: dict[str, Opener] = {}
        self.before_take: Callable[[RunRecords], RunRecords] = lambda records: records

    def begin(self, given: Any, asked: Asked, *, run_id: str | None = None) -> Opened:
        """Make a run ready that is to begin; one that has the id already is taken instead.

        Args:
            given: Fields of the state, or an instance of it.
            asked: What is asked for the run.
            run_id: Its id; a new one when left out.

        Raises:
            InputError: The input does not fit the state.
            RunExistsError: The run with this id began with another input.
        """
        values = first_values(self._schema, given)
        shown = given_fields(self._schema, given, values)
        if run_id is not None and (stored := self._stored(run_id)) is not None:
            refuse_other_input(
                self.plan, stored, shown, values, lambda: self.store.load(stored.header.run_id)
            )
            if asked.commits is not None:  # its first commits were asked for, and it has them
                asked = replace(asked, commits=0)
            return self.take(run_id, asked)
        limits = limits_over(asked.limits, self._settings.limits)
        budget = asked.budget or self._settings.budget
        header = self._header(run_id or new_run_id(), shown, limits, budget)
        header.tags_json = tags_json(asked.tags)
        shared = self._shared(asked, budget, Spent())
        return Opened(
            self.plan,
            Session(self.store, header, shared, self.child, spec_json=self.plan.spec_json),
            Position(-1, values),
            self._bounds(limits, asked),
        )

    def take(self, found: str | RunRecords, asked: Asked) -> Opened:
        """Take a stored run; one that cannot go on with this graph is left as it is.

        Args:
            found: Its id, or a beginning that only its id has; or the tail of its records.
            asked: What is asked for it.

        Raises:
            RunNotFoundError: There is no such run of this graph.
            RunBusyError: Somebody is advancing it.
            GraphChangedError: It cannot go on with this graph.
        """
        records = found if isinstance(found, RunRecords) else self.find(found)
        refuse_changed(self.plan, self.store, records)
        records = self.before_take(records)
        header = records.header
        budget = asked.budget or budget_of(header) or self._settings.budget
        is_over = header.status in {"done", "cancelled"}
        spent = Spent() if is_over or budget is None else self._spent(header)
        shared = self._shared(asked, budget, spent)
        shared.limits, shared.has_more = asked.limits, asked.budget is not None
        return self._take(records, asked, shared, parent=None)

    def child(self, parent: Session, task: Task) -> Opened:
        """Open the child of a subgraph's task: begin it, or take it up where it stands.

        Args:
            parent: The session that advances the parent.
            task: The parent's task.

        Raises:
            InputError: What the parent gives does not fit the child's state.
        """
        return self._child(task).open_as_child(parent, task)

    def open_as_child(self, parent: Session, task: Task) -> Opened:
        """Open a run of this graph as the child of a task of another; see `child`."""
        run_id = f"{parent.header.run_id}/{task.step}:{task.key}"
        if task.child is not None:  # its task may have had another key when it began
            run_id = task.child.run_id
        shared = parent.shared
        shared.deps.check(self.plan.name, self.plan.definition.deps)
        again = parent.again or task.is_retry
        asked = Asked(limits=shared.limits, channel=shared.channel, again=again)
        stored = self._stored(run_id) if task.child is not None or task.attempt > 1 else None
        if stored is not None:
            return self._take(stored, asked, shared, parent=parent)
        rules = task.node.rules.child
        if rules is None:
            raise AssertionError("only a subgraph has a child")
        values = first_values(self._schema, _input(task, rules.input))
        header = self._header(run_id, values, rules.limits, None)
        header.parent, header.parent_step = parent.header.run_id, task.step
        header.parent_key, header.owner = task.key, None
        session = Session(
            self.store, header, shared, self.child, spec_json=self.plan.spec_json, parent=parent
        )
        return Opened(self.plan, session, Position(-1, values), self._bounds(rules.limits, asked))

    def fork(self, ready: Prepared, asked: Asked) -> Opened:
        """Make a fork ready that is to begin.

        Args:
            ready: Its first step, and what is changed in it.
            asked: What is asked for the fork.
        """
        old = ready.origin.header
        limits = limits_over(asked.limits, limits_of(old))
        budget = asked.budget or budget_of(old)
        header = self._header(new_run_id(), {}, limits, budget)
        header.input_json, header.tags_json = old.input_json, old.tags_json
        header.fork_of, header.fork_step = old.run_id, ready.position.step + 1
        header.fork_json = ready.change_json
        shared = self._shared(asked, budget, ready.spent)
        session = Session(self.store, header, shared, self.child, spec_json=self.plan.spec_json)
        bounds = self._bounds(limits, asked)
        return Opened(self.plan, session, ready.position, bounds, ready.forked)

    def session(self, header: RunHeader, parent: Session | None) -> Session:
        """Give a session that only stores an answer: it advances nothing."""
        if parent is not None:
            shared = parent.shared
        else:
            deps = Deps(self.plan.name, None, None)
            shared = Shared(self._settings.client, deps, Ledger(None, Spent()))
        return Session(self.store, header, shared, self.child, parent=parent)

    def find(self, run_id: str) -> RunRecords:
        """Read the tail of a run of this graph.

        Raises:
            RunNotFoundError: There is no such run of this graph.
        """
        # Mostly it is the whole id: only when there is none like it, a beginning is looked for
        records = self._stored(run_id) if isinstance(run_id, str) else None
        if records is None:
            records = self.store.load(self.store.find(run_id), tail=True)
        whole = records.header.run_id
        if records.header.graph != self.plan.name:
            refuse_child(records)
            raise RunNotFoundError(
                f"run {whole} is a run of graph {records.header.graph!r}, not of {self.plan.name!r}"
            )
        return records

    def _take(
        self,
        records: RunRecords,
        asked: Asked,
        shared: Shared,
        *,
        parent: Session | None,
    ) -> Opened:
        header = records.header
        limits = limits_over(asked.limits, limits_of(header))
        bounds = self._bounds(limits, asked, header, has_more=shared.has_more)
        session = Session(self.store, header, shared, self.child, parent=parent, again=asked.again)
        if header.status in {"done", "cancelled"}:
            return Opened(self.plan, session, Position(header.step, {}), bounds, over=records)
        position = restore(self.plan, records)
        new_limits = None if asked.limits is None else limits_json(limits)
        try:
            newer = session.take(
                limits_json=new_limits,
                budget_json=budget_json(asked.budget),
                take_over=asked.take_over,
            )
        except RunOverError:  # somebody else has come to its end meanwhile
            over = self.store.load(header.run_id, tail=True)
            return Opened(self.plan, session, position, bounds, over=over)
        session.know(newer or records)
        try:
            if newer is not None:  # until it was taken, somebody else may have gone on
                position = restore(self.plan, newer)
                if not position.ready and not position.held:
                    session.release(Ending("done"))
                    over = self.store.load(header.run_id, tail=True)
                    return Opened(self.plan, session, position, bounds, over=over)
            session.adopt(position, self.plan.spec_json)
            return Opened(self.plan, session, position, bounds)
        except BaseException:  # a graph that was refused under the lease, or Ctrl-C
            session.release(as_before(header))
            raise

    def _bounds(
        self,
        limits: Limits,
        asked: Asked,
        header: RunHeader | None = None,
        *,
        has_more: bool = True,
    ) -> Bounds:
        settings = self._settings
        reason = (header.reason or "") if header is not None and header.status == "paused" else ""
        return Bounds(
            limits,
            asked.commits,
            asked.again,
            has_more,
            settings.pause_before,
            settings.pause_after,
            is_past_pause=reason.startswith("before:"),
        )

    def _shared(self, asked: Asked, budget: Budget | None, spent: Spent) -> Shared:
        given = self._settings.deps if asked.deps is None else asked.deps
        deps = Deps(self.plan.name, self.plan.definition.deps, given)
        return Shared(
            self._settings.client,
            deps,
            Ledger(budget, spent),
            asked.channel,
            redact=self._settings.redact,
        )

    def _header(
        self, run_id: str, given: Mapping[str, Any], limits: Limits, budget: Budget | None
    ) -> RunHeader:
        return RunHeader(
            run_id=run_id,
            graph=self.plan.name,
            graph_version=self.plan.definition.version,
            graph_digest=self.plan.digest,
            status="running",
            created_at=now(),
            input_json=self._schema.codec.text(given),
            limits_json=limits_json(limits),
            owner=this_process(),
            budget_json=budget_json(budget) or "{}",
        )

    def _spent(self, header: RunHeader) -> Spent:
        """Say what a run has used; a fork has used what its shared steps did."""
        own = self.store.spent(header.run_id)
        shared = Spent(**json.loads(header.fork_json or "{}").get("spent", {}))
        return Spent(
            own.calls + shared.calls, own.tokens + shared.tokens, own.seconds + shared.seconds
        )

    def _child(self, task: Task) -> Opener:
        found = self.of_node(task.node.name)
        if found is None:
            raise AssertionError("only a subgraph has a child")
        return found

    def of_node(self, name: str) -> Opener | None:
        """Give what opens the runs of a subgraph; None when there is no subgraph by that name."""
        node = self.plan.nodes.get(name)
        if node is None or node.child is None:
            return None
        if name not in self._children:
            self._children[name] = Opener(node.child, self.store, self._settings.inside(name))
        return self._children[name]

    def _stored(self, run_id: str) -> RunRecords | None:
        try:
            return self.store.load(run_id, tail=True)
        except RunNotFoundError:
            return None


def _inside(node: str, names: frozenset[str]) -> frozenset[str]:
    return frozenset(n.removeprefix(f"{node}/") for n in names if n.startswith(f"{node}/"))


def _input(task: Task, given: Any) -> Mapping[str, Any]:
    """Take the child's input out of the state that the task sees."""
    if callable(given):
        found = given(task.view)
        if not isinstance(found, Mapping):
            raise InputError(f"input= returned {found!r}; it must be a dict of the child's fields")
        return found
    return {theirs: getattr(task.view, mine) for theirs, mine in given.items()}
