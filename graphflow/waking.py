"""The half of a flow that takes up runs which exist: resumes, answers, forks, cancels, reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from graphflow.adopting import adopt
from graphflow.answering import (
    Open,
    answer_question,
    check_fits,
    find_open,
    overdue,
    the_question,
    worded,
)
from graphflow.asked import Asked
from graphflow.change.verdict import Verdict
from graphflow.changing import judged_with_children, refuse_changed
from graphflow.engine.position import restore
from graphflow.errors import AnswerError, DefinitionError, RunBusyError, RunError
from graphflow.forking import prepare
from graphflow.opening import Opened, Opener
from graphflow.plan import Plan
from graphflow.policy import Budget, Limits
from graphflow.records import Ending, RunRecords
from graphflow.run import Run
from graphflow.runner import Runner
from graphflow.session import interrupt
from graphflow.state.schema import S
from graphflow.upkeep import Pruned, wish_of

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer

__all__ = ["Wakes", "check_bounds"]

Input: TypeAlias = Mapping[str, Any]


class Wakes(Generic[S]):
    """What can be done with runs that are stored. The other half is `Flow`.

    Attributes:
        store: The checkpointer.
    """

    store: Checkpointer
    _plan: Plan
    _opener: Opener
    _runner: Runner[S]

    def get(self, run_id: str) -> Run[S]:
        """Read a run, of any process.

        Args:
            run_id: Its id, or a beginning that only its id has.

        Raises:
            RunNotFoundError: There is no such run.
        """
        whole = self.store.find(run_id)
        return self._runner.read(self.store.load(whole, tail=True))

    def verdict(self, run_id: str) -> Verdict:
        """Say whether a run can go on with this graph, what differs, and what to do.

        Nothing is taken or changed. A run that is over is judged by its last state alone.

        Args:
            run_id: Its id, or a beginning that only its id has.

        Raises:
            RunNotFoundError: There is no such run of this graph.
        """
        records = self._opener.find(run_id)
        return judged_with_children(self._plan, self.store, records).verdict

    def resume(
        self,
        run_id: str,
        *,
        limits: Limits | None = None,
        budget: Budget | None = None,
        deps: Any = None,
        take_over: bool = False,
    ) -> Run[S]:
        """Go on with a run from its last committed step.

        Tasks of the open step that are complete are not run again; those that failed are. A
        question whose deadline has passed is answered with its default.

        Args:
            run_id: Its id, or a beginning that only its id has.
            limits: New bounds, from now on those of the run and of its open subgraphs.
            budget: A new budget, from now on that of the run: what was used before counts.
            deps: As for `run`; they are not stored.
            take_over: Whether to take it from a process that lives, but hangs or is out of reach:
                what that one still writes is refused.

        Raises:
            RunNotFoundError: There is no such run.
            RunBusyError: Another process is advancing it, and `take_over` is False.
            GraphChangedError: It cannot go on with this graph.
            AnswerError: The default of a question does not fit the state; a person can answer.
            RunFailedError: A node failed again.
        """
        opened = self._take(run_id, Asked(limits, budget, deps, take_over=take_over))
        return self._runner.raise_if_failed(*self._runner.advance(opened))

    async def aresume(
        self,
        run_id: str,
        *,
        limits: Limits | None = None,
        budget: Budget | None = None,
        deps: Any = None,
        take_over: bool = False,
    ) -> Run[S]:
        """Do as `resume` does, in the running event loop."""
        opened = self._take(run_id, Asked(limits, budget, deps, take_over=take_over))
        return self._runner.raise_if_failed(*await self._runner.aadvance(opened))

    def answer(
        self,
        run_id: str,
        value: Any,
        *,
        key: str | None = None,
        resume: bool = True,
        deps: Any = None,
    ) -> Run[S]:
        """Answer an open question of a run, and go on with it.

        Failed siblings stay failed: `resume` runs them again. The first right answer wins.

        Args:
            run_id: The run's id, or a beginning that only its id has.
            value: The answer, of the question's type.
            key: Which question: `ask_human`, `deploy:approve`, `sub/q`; None: the only open one.
                With it an answer that comes twice is not taken for the next question's.
            resume: Whether to go on at once; else the run stays paused.
            deps: As for `run`.

        Raises:
            AnswerError: It does not fit, or there is no such question; the run waits on.
            RunBusyError: The run is being advanced.
            RunFailedError: A node failed afterwards.
        """
        self._refuse_stale()
        opened = self._answered(run_id, value, key, Asked(deps=deps, again=False), resume=resume)
        if isinstance(opened, Run):
            return opened
        return self._runner.raise_if_failed(*self._runner.advance(opened))

    async def aanswer(
        self,
        run_id: str,
        value: Any,
        *,
        key: str | None = None,
        resume: bool = True,
        deps: Any = None,
    ) -> Run[S]:
        """Do as `answer` does, in the running event loop."""
        self._refuse_stale()
        opened = self._answered(run_id, value, key, Asked(deps=deps, again=False), resume=resume)
        if isinstance(opened, Run):
            return opened
        return self._runner.raise_if_failed(*await self._runner.aadvance(opened))

    def fork(
        self,
        run_id: str,
        step: int,
        *,
        update: Input | None = None,
        choose: Mapping[str, Any] | None = None,
        deps: Any = None,
    ) -> Run[S]:
        """Begin a new run at a step of another, and run it on.

        The step is committed anew with the same results of its tasks; no node of it runs again.
        The run that is forked stays as it is.

        Args:
            run_id: The run that is forked, or a beginning that only its id has.
            step: A committed step.
            update: What changes in the state after it.
            choose: Which way to go instead: ``{"route": "ask_human"}``, by the name of a router, a
                gate, or the node that is left. All others decide again on the changed state.
            deps: As for `run`.

        Raises:
            RunNotFoundError: There is no such run or step.
            InputError: The update does not fit, or nobody by that name decided in this step.
            RunFailedError: A node failed.
        """
        opened = self._fork(run_id, step, update, choose, Asked(deps=deps))
        return self._runner.raise_if_failed(*self._runner.advance(opened))

    async def afork(
        self,
        run_id: str,
        step: int,
        *,
        update: Input | None = None,
        choose: Mapping[str, Any] | None = None,
        deps: Any = None,
    ) -> Run[S]:
        """Do as `fork` does, in the running event loop."""
        opened = self._fork(run_id, step, update, choose, Asked(deps=deps))
        return self._runner.raise_if_failed(*await self._runner.aadvance(opened))

    def cancel(self, run_id: str, *, reason: str = "cancelled by hand") -> Run[S]:
        """End a run for good, whoever advances it: what that process does from now on is refused.

        Args:
            run_id: Its id, or a beginning that only its id has.
            reason: Why; stored with the run.

        Raises:
            RunNotFoundError: There is no such run.
            RunError: It is over already.
        """
        header = self._opener.find(run_id).header
        if header.status in {"done", "cancelled"}:
            raise RunError(f"run {header.run_id} is {header.status} already; nothing was changed")
        self.store.stop(header.run_id, Ending("cancelled", self._runner.redacted(reason)))
        interrupt(self.store, header.run_id)
        return self.get(header.run_id)

    def delete(self, run_id: str) -> None:
        """Delete a run and the runs of its subgraphs, for good.

        Args:
            run_id: Its id, or a beginning that only its id has.

        Raises:
            RunNotFoundError: There is no such run of this graph.
            RunBusyError: A process advances it; `cancel` ends it.
            RunSharedError: A fork of it is there, which has steps of it.
        """
        self.store.delete(self._opener.find(run_id).header.run_id)

    def prune(
        self,
        *,
        older_than: timedelta | datetime | None = None,
        keep: int | None = None,
        steps: int | None = None,
        failed: bool = False,
        dry_run: bool = False,
    ) -> Pruned:
        """Drop old runs of this graph, and the oldest steps of those that stay.

        A run may go when it is done or cancelled, when it ended before `older_than` and is not
        among the `keep` newest, as far as these are given. It stays while a fork of it stays.
        With `steps` each run that stays, an open one too, keeps at least so many of its newest
        steps: it can be resumed, read and forked there as before.

        Args:
            older_than: How long ago runs have ended, or before when.
            keep: How many of the newest runs stay whatever their age.
            steps: How many of its newest steps each run keeps; None: all.
            failed: Whether runs that failed may go too; they could be resumed.
            dry_run: Only say what would be dropped.

        Returns:
            What was dropped.

        Raises:
            DefinitionError: Nothing was asked for.
        """
        wish = wish_of(
            self._plan.name, older_than=older_than, keep=keep, steps=steps, failed=failed
        )
        return self.store.prune(wish, dry_run=dry_run)

    def advance(self, run_id: str, *, steps: int, deps: Any = None) -> Run[S]:
        """Run at most so many steps of a run, and let go of it.

        Raises:
            RunFailedError: A node failed.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise DefinitionError(
                f"advance(steps={steps!r}): pass how many steps to run, at least 1"
            )
        opened = self._take(run_id, Asked(deps=deps, commits=steps))
        return self._runner.raise_if_failed(*self._runner.advance(opened))

    def _refuse_stale(self) -> None:
        raise NotImplementedError

    def _take(self, run_id: str, asked: Asked) -> Opened:
        self._refuse_stale()
        check_bounds("resume", asked.limits, asked.budget)
        return self._opener.take(run_id, asked)

    def _fork(
        self,
        run_id: str,
        step: int,
        update: Input | None,
        choose: Mapping[str, Any] | None,
        asked: Asked,
    ) -> Opened:
        self._refuse_stale()
        whole = self._opener.find(run_id).header.run_id
        ready = prepare(self._plan, self.store, whole, step, update=update, choose=choose)
        return self._opener.fork(ready, asked)

    def _answered(
        self, run_id: str, value: Any, key: str | None, asked: Asked, *, resume: bool
    ) -> Opened | Run[S]:
        """Store an answer; open the run to go on with it, or give it as it stands."""
        whole = self._store_answer(run_id, value, key, goes_on=resume)
        if not resume:
            return self.get(whole)
        try:
            return self._opener.take(whole, asked)
        except RunBusyError:  # somebody took it since, and goes on with this answer too
            return self.get(whole)
        except AnswerError:  # of another question, whose default does not fit: `resume` says that
            return self.get(whole)

    def _store_answer(self, run_id: str, value: Any, key: str | None, *, goes_on: bool) -> str:
        """Store an answer, if the run can go on with it; give the run's whole id."""
        records, asked = self._asked(run_id, key)
        if goes_on:
            refuse_changed(self._plan, self.store, records)
            restore(self._plan, records)
        text = worded(self._plan, asked, value)
        check_fits(self._plan, self.store, asked, text)
        answer_question(self._opener, asked, text, "person")
        return records.header.run_id

    def _asked(self, run_id: str, key: str | None) -> tuple[RunRecords, Open]:
        """Find the question that is meant, after the run has gone over to today's graph."""
        records = self._opener.find(run_id)
        found = find_open(self.store, records)
        today = adopt(self._opener, records)
        if today is records:
            try:
                return records, the_question(records, found, key)
            except AnswerError:  # it may be named as it would be, if the run could go on
                refuse_changed(self._plan, self.store, records)
                raise
        ids, later = [one.id for one in found], find_open(self.store, today)
        if key in ids and len(later) == len(ids):  # it may be named as it was a moment ago
            now = later[ids.index(key)].id
            if now != key and any(one.id == key for one in later):
                raise AnswerError(
                    f"the graph of run {run_id} has changed: {key!r} is called {now!r} now, and"
                    f" another question {key!r}. Nothing was stored; say again which you mean."
                )
            key = now
        return today, the_question(today, later, key)

    def _answer_overdue(self, records: RunRecords) -> RunRecords:
        """Answer the questions whose deadline has passed; give the run as it stands then."""
        late = []
        if records.questions or records.children:
            late = overdue(find_open(self.store, records))
        for asked in late:
            text = str(asked.question.default_json)  # a deadline comes with a default
            try:
                check_fits(self._plan, self.store, asked, text)
            except AnswerError as error:
                words = f"the deadline has passed, and the default cannot be taken: {error}"
                raise AnswerError(words, field=error.field) from error
            answer_question(self._opener, asked, text, "deadline")
        return self._opener.find(records.header.run_id) if late else records


def check_bounds(where: str, limits: object, budget: object) -> None:
    """Refuse what is no bound.

    Raises:
        DefinitionError: It is none.
    """
    if not isinstance(limits, Limits | None):
        raise DefinitionError(f"{where}(limits={limits!r}): pass Limits(steps=..., visits=...)")
    if not isinstance(budget, Budget | None):
        raise DefinitionError(f"{where}(budget={budget!r}): pass Budget(calls=..., tokens=...)")
