"""Opens runs: a new one from an input, a stored one from its records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphflow.checkpoint.owner import this_process
from graphflow.clock import now
from graphflow.definition import canonical
from graphflow.engine.core import Steps, advance
from graphflow.engine.position import Position, restore
from graphflow.errors import RunExistsError, RunNotFoundError
from graphflow.names import new_run_id
from graphflow.plan import Plan
from graphflow.policy import Limits
from graphflow.records import RunHeader, RunRecords
from graphflow.session import Session
from graphflow.state.codec import same

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.llm.client import ChatClient

__all__ = ["Opened", "Opener"]


@dataclass(slots=True)
class Opened:
    """A run that is ready to be advanced."""

    session: Session
    position: Position
    limits: Limits
    over: RunRecords | None = None
    """The end of its records, when it is done or cancelled: there is nothing to advance."""


class Opener:
    """Opens the runs of one graph on one store.

    Args:
        plan: The graph.
        store: Where its runs are stored.
        client: Gives the chat client when a node first asks for it.
    """

    def __init__(self, plan: Plan, store: Checkpointer, client: Callable[[], ChatClient]) -> None:
        self._plan, self._schema = plan, plan.schema
        self._store, self._client = store, client

    def begin(
        self,
        given: Any,
        limits: Limits | None,
        default: Limits,
        *,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Opened:
        """Make a run ready that is to begin; one that has the id already is taken instead.

        Args:
            given: Fields of the state, or an instance of it.
            limits: The bounds of the run, if it is to have its own.
            default: Those of a new run otherwise.
            run_id: Its id; a new one when left out.
            tags: Words to find it by.

        Raises:
            InputError: The input does not fit the state.
            RunExistsError: The run with this id began with another input.
        """
        values, _ = self._schema.initial(given)
        shown = self._given(given, values)
        if run_id is not None and (stored := self._stored(run_id)) is not None:
            self._refuse_other_input(stored, shown)
            return self.take(run_id, limits)
        bounds = limits or default
        spec_json, digest = self._spec
        header = RunHeader(
            run_id=run_id or new_run_id(),
            graph=self._plan.name,
            graph_version=self._plan.definition.version,
            graph_digest=digest,
            status="running",
            created_at=now(),
            input_json=self._schema.codec.text(shown),
            limits_json=json.dumps(asdict(bounds)),
            tags_json=json.dumps(dict(tags or {})),
            owner=this_process(),
        )
        session = Session(self._store, header, self._client, spec_json=spec_json)
        return Opened(session, Position(-1, values), bounds)

    def take(self, run_id: str, limits: Limits | None) -> Opened:
        """Take a stored run; one that cannot go on with this graph is left as it is.

        Args:
            run_id: Its id, or a beginning that only its id has.
            limits: New limits for it.

        Raises:
            RunNotFoundError: There is no such run of this graph.
            RunBusyError: Somebody is advancing it.
            GraphChangedError: It cannot go on with this graph.
            StateError: Its state does not fit today's state class.
        """
        whole = self._store.find(run_id)
        records = self._store.load(whole, tail=True)
        if records.header.graph != self._plan.name:
            raise RunNotFoundError(
                f"run {whole} is a run of graph {records.header.graph!r},"
                f" not of {self._plan.name!r}"
            )
        bounds = limits or Limits(**json.loads(records.header.limits_json))
        if records.header.status in {"done", "cancelled"}:
            session = Session(self._store, records.header, self._client)
            return Opened(session, Position(records.header.step, {}), bounds, over=records)
        restore(self._plan, records)
        session = Session(self._store, records.header, self._client)
        # Read again under the lease: until it was taken, another process may have gone on.
        records = session.take(json.dumps(asdict(bounds)))
        try:
            return Opened(session, restore(self._plan, records), bounds)
        except BaseException:
            session.release()
            raise

    def steps(self, opened: Opened, commits: int | None) -> Steps:
        """Set the engine on a run: at most so many commits."""
        return advance(self._plan, opened.position, opened.limits, commits=commits)

    @cached_property
    def _spec(self) -> tuple[str, str]:
        """The graph's spec as JSON, and its digest."""
        from hashlib import sha256

        text = canonical(self._plan.definition.spec(self._schema.spec()))
        return text, sha256(text.encode()).hexdigest()

    def _given(self, given: Any, values: Mapping[str, Any]) -> dict[str, Any]:
        """Pick the fields that the input gave; the others have their defaults."""
        names = given.keys() if isinstance(given, Mapping) else given.model_fields_set
        return {
            name: value
            for name, value in values.items()
            if name in names or self._schema.alias(name) in names
        }

    def _refuse_other_input(self, stored: RunRecords, given: Mapping[str, Any]) -> None:
        if stored.header.graph != self._plan.name:
            raise RunExistsError(
                f"run {stored.header.run_id} exists: it is one of graph {stored.header.graph!r}."
                " Choose another run_id, or leave it out."
            )
        fields, text = self._schema.codec.fields, stored.header.input_json
        before: dict[str, Any] = {}
        for name, value in json.loads(text).items():
            if name in fields:
                before[name] = fields[name].read(json.dumps(value), before)
        if not same(before, given):
            raise RunExistsError(
                f"run {stored.header.run_id} exists and began with another input: {text[:200]}."
                " Choose another run_id, or leave it out."
            )

    def _stored(self, run_id: str) -> RunRecords | None:
        try:
            return self._store.load(run_id, tail=True)
        except RunNotFoundError:
            return None
