"""Has runs advanced for the faces that people touch, and tells what came of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeAlias
from weakref import WeakSet

from graphflow.as_of import Seen
from graphflow.checkpoint.owner import describe
from graphflow.drive import adrive, drive
from graphflow.engine.effects import Outcome
from graphflow.errors import (
    DatabaseUnavailableError,
    GraphflowError,
    LeaseLostError,
    RunBusyError,
    RunError,
    RunExistsError,
    RunFailedError,
    failures,
)
from graphflow.names import to_type
from graphflow.records import Ending, RunHeader, RunRecords
from graphflow.redaction import Redact, redact_error, redactor
from graphflow.run import Run
from graphflow.shared import Interrupted
from graphflow.state.schema import S, StateSchema

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.opening import Opened
    from graphflow.plan import Plan

__all__ = ["Ended", "Runner"]

Ended: TypeAlias = tuple[Run[S], Outcome | None]


class Runner(Generic[S]):
    """Advances the runs of one graph on one store.

    Args:
        plan: The graph.
        store: Where its runs are stored.
        schema: Its state.
        redact: The user's function that redacts texts.
    """

    def __init__(
        self,
        plan: Plan,
        store: Checkpointer,
        schema: StateSchema[S],
        redact: Redact | None = None,
    ) -> None:
        self._plan, self._store, self._schema = plan, store, schema
        self._given: WeakSet[Run[S]] = WeakSet()
        self._redact = redact

    def advance(self, opened: Opened) -> Ended[S]:
        """Advance a run in the caller's thread.

        Returns:
            The run, and why the engine stopped; None when there was nothing to advance.
        """
        try:
            return self._ended(opened, opened.drive(drive))
        except (LeaseLostError, Interrupted, RunExistsError) as error:
            return self._taken(opened, error)
        except DatabaseUnavailableError as error:
            if error.is_gone:
                raise
            raise _with_way_on(opened, error) from error

    async def aadvance(self, opened: Opened) -> Ended[S]:
        """Advance a run in the running event loop."""
        try:
            return self._ended(opened, await opened.adrive(adrive))
        except (LeaseLostError, Interrupted, RunExistsError) as error:
            return self._taken(opened, error)
        except DatabaseUnavailableError as error:
            if error.is_gone:
                raise
            raise _with_way_on(opened, error) from error

    def read(self, tail: RunRecords) -> Run[S]:
        """Give a run whose tail has been read."""
        run = Run(self._store, tail.header.run_id, self._schema, tail=tail, plan=self._plan)
        self._given.add(run)
        return run

    def read_all(self) -> None:
        """Read the runs that were given and are still at hand, before the store is closed."""
        for run in list(self._given):
            with suppress(GraphflowError):  # who looks at it is told; the others can be read on
                _ = run.records

    def raise_if_failed(self, run: Run[S], outcome: Outcome | None) -> Run[S]:
        """Give the run.

        Raises:
            RunFailedError: Something failed just now.
        """
        if outcome is None or not outcome.errors:
            return run
        words = self.redacted(failures(outcome.errors))
        errors = [self._redacted_error(error) for error in outcome.errors.values()]
        stop = "" if words.endswith((".", "?", "!")) else "."
        last = run.steps[-1].step
        raise RunFailedError(
            f"run {run.run_id} of graph {self._plan.name!r} failed in step {last + 1}:"
            f" {words}{stop} Everything up to step {last} is stored; mend it, then"
            f" flow.resume({run.run_id!r})",
            run,
        ) from (errors[0] if len(errors) == 1 else ExceptionGroup("the nodes that failed", errors))

    def redacted(self, text: str) -> str:
        """Redact a text that is told or stored."""
        redact = redactor(self._redact)
        return text if redact is None else redact(text)

    def _redacted_error(self, error: Exception) -> Exception:
        redact = redactor(self._redact)
        return error if redact is None else redact_error(error, redact)

    def _ended(self, opened: Opened, outcome: Outcome | None) -> Ended[S]:
        if outcome is None:
            return self.read(opened.over), None  # type: ignore[arg-type]  # then it is over
        session, position = opened.session, opened.position
        if (
            outcome.ending is not None and not session.has_begun
        ):  # a router failed before the first commit: there is no run
            raise self._redacted_error(outcome.errors[""])
        seen = Seen(position.step, position.values, outcome.ending or Ending("running"))
        run = Run(self._store, session.header.run_id, self._schema, seen=seen, plan=self._plan)
        self._given.add(run)
        return run, outcome

    def _taken(self, opened: Opened, error: BaseException) -> Ended[S]:
        """Give a run that was cancelled while it was advanced; else the error goes on."""
        if opened.session.has_begun:
            tail = self._store.load(opened.session.header.run_id, tail=True)
            if tail.header.status == "cancelled":
                return self.read(tail), None
        elif isinstance(error, RunExistsError):
            raise self._begun_meanwhile(opened.session.header, error) from error
        raise error

    def _begun_meanwhile(self, header: RunHeader, error: RunExistsError) -> RunError:
        """Say that somebody has begun a run under the same id, since it was looked for."""
        there = self._store.load(header.run_id, tail=True).header
        if (there.graph, there.input_json) != (header.graph, header.input_json):
            return error
        who = "somebody" if there.owner is None else describe(there.owner)
        return RunBusyError(
            f"run {header.run_id!r} has just been begun with the same input by {who}. Call this"
            " again: it goes on with the run, or gives it when it is done",
            there.owner,
        )


def _with_way_on(opened: Opened, error: DatabaseUnavailableError) -> DatabaseUnavailableError:
    """Add what to type when the disk is there again: nobody could store that the run is let go."""
    run_id = opened.session.header.run_id
    if not opened.session.has_begun:
        return DatabaseUnavailableError(f"{error} No run has begun: do this again then.")
    return DatabaseUnavailableError(
        f"{error} What was committed of run {run_id!r} is there: flow.resume({run_id!r}) goes on"
        " with it, in this process as soon as it can be written, in others when this one has ended"
        f" (before that: {to_type('resume', run_id, '--take-over', target='TARGET')})."
    )
