"""Flow: a compiled graph that runs, resumes and reads runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from graphflow.asked import Asked
from graphflow.batching import abatch, batch, check_all
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.definition import Definition
from graphflow.errors import DefinitionError, InputError
from graphflow.inputs import first_values
from graphflow.looked_up import check_listing
from graphflow.once import once
from graphflow.opening import Opened, Opener, Settings
from graphflow.plan import Plan
from graphflow.policy import Budget, Limits
from graphflow.records import RunStatus
from graphflow.run import Run
from graphflow.runner import Runner
from graphflow.state.schema import S, StateSchema, schema_of
from graphflow.waking import Wakes, check_bounds

if TYPE_CHECKING:
    from graphflow.channel import Channel
    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.events import Event
    from graphflow.llm.client import ChatClient
    from graphflow.render.show import Drawing

__all__ = ["Flow"]

Input: TypeAlias = Mapping[str, Any]


class Flow(Wakes[S]):
    """A compiled graph. Made by `StateGraph.compile`.

    ``run`` and its kin work in a script, in a notebook's running event loop, and beside
    ``asyncio.run``; ``arun`` is the same for a caller that awaits. A flow can be used in a
    ``with``, which closes it.

    Attributes:
        definition: The graph as it was compiled.
        store: The checkpointer.
        limits: The bounds of each run.
    """

    def __init__(
        self,
        definition: Definition,
        checkpointer: str | PathLike[str] | Checkpointer | None,
        *,
        limits: Limits,
        llm: ChatClient | None,
        budget: Budget | None = None,
        deps: Any = None,
        pause_before: Sequence[str] = (),
        pause_after: Sequence[str] = (),
        check: str | None = None,
        redact: Callable[[str], str] | None = None,
        is_current: Callable[[], bool] = lambda: True,
    ) -> None:
        check_bounds("compile", limits, budget)
        self.definition, self._is_current = definition, is_current
        self._schema: StateSchema[S] = schema_of(definition.state)
        plan = Plan(definition, self._schema, watches=check == "mutation")
        self.store, self.limits, self._llm = _store_of(checkpointer), limits, llm
        pauses = frozenset(pause_before), frozenset(pause_after)
        settings = Settings(lambda: self._client, limits, budget, deps, *pauses, redact)
        self._opener = Opener(plan, self.store, settings)
        self._opener.before_take = self._answer_overdue
        self._plan, self._runner = plan, Runner(plan, self.store, self._schema, redact)

    @property
    def name(self) -> str:
        """The graph's name."""
        return self.definition.name

    def run(
        self,
        input: S | Input,
        *,
        run_id: str | None = None,
        deps: Any = None,
        budget: Budget | None = None,
        limits: Limits | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run[S]:
        """Run the graph from START until it is done or paused.

        Args:
            input: The state's fields, as a dict or as an instance.
            run_id: An id of your own. When a run has it already and began with the same input,
                it is continued, or returned when it is over.
            deps: What `ctx.deps` gives: an object, or a function that makes it.
            budget: What this run may use.
            limits: Bounds of this run.
            tags: Words to find the run by.

        Raises:
            InputError: The input does not fit the state.
            RunExistsError: The run id belongs to a run with another input.
            RunFailedError: A node failed; its own error is the cause. `.run` can be resumed.
        """
        asked = Asked(limits, budget, deps, tags=tags)
        return self._runner.raise_if_failed(
            *self._runner.advance(self._begin(input, run_id, asked))
        )

    async def arun(
        self,
        input: S | Input,
        *,
        run_id: str | None = None,
        deps: Any = None,
        budget: Budget | None = None,
        limits: Limits | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run[S]:
        """Do as `run` does, in the running event loop."""
        opened = self._begin(input, run_id, Asked(limits, budget, deps, tags=tags))
        return self._runner.raise_if_failed(*await self._runner.aadvance(opened))

    def stream(
        self,
        input: S | Input | None = None,
        *,
        run_id: str | None = None,
        deps: Any = None,
        budget: Budget | None = None,
        limits: Limits | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Iterator[Event]:
        """Run the graph, and give what happens while it happens.

        The run waits for a slow reader. Leaving the loop early interrupts the run, as Ctrl-C does:
        it is paused, and can be resumed. A run that fails raises nothing here: its last event says
        so.

        Args:
            input: The state's fields; None to go on with the run `run_id`.
            run_id: As for `run`; without an input, the run to go on with.
            deps: As for `run`.
            budget: As for `run`.
            limits: As for `run`.
            tags: As for `run`.

        Returns:
            An iterator of events; the run begins with its first `next`.
        """
        from graphflow.streaming import stream

        def open_run(channel: Channel) -> Opened:
            return self._stream_of(input, run_id, Asked(limits, budget, deps, channel, tags=tags))

        return stream(open_run, self._runner)

    def astream(
        self,
        input: S | Input | None = None,
        *,
        run_id: str | None = None,
        deps: Any = None,
        budget: Budget | None = None,
        limits: Limits | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Do as `stream` does, in the running event loop.

        A loop that is left early lets go of the run when the event loop comes round to it, and
        `async with contextlib.aclosing(flow.astream(...)) as events:` at the end of its block.
        """
        from graphflow.streaming import astream

        def open_run(channel: Channel) -> Opened:
            return self._stream_of(input, run_id, Asked(limits, budget, deps, channel, tags=tags))

        return astream(open_run, self._runner)

    def start(self, input: S | Input, *, run_id: str | None = None, deps: Any = None) -> Run[S]:
        """Commit a run's input (step 0) and let go of it; `advance` or `resume` runs it."""
        run, _ = self._runner.advance(self._begin(input, run_id, Asked(deps=deps, commits=1)))
        return run

    def batch(
        self,
        inputs: Sequence[S | Input],
        *,
        run_ids: Sequence[str] | None = None,
        concurrency: int = 1,
        on_run: Callable[[int, Run[S]], None] | None = None,
        deps: Any = None,
        budget: Budget | None = None,
    ) -> list[Run[S]]:
        """Run the graph on each input; failed runs are returned like the others.

        Args:
            inputs: One per run.
            run_ids: Their ids: those that exist are continued, or returned when they are over.
            concurrency: How many run at once.
            on_run: Called with the input's place and its run as each one ends.
            deps: As for `run`, for each run.
            budget: As for `run`, of each run.

        Returns:
            The runs in the order of the inputs.

        Raises:
            InputError: An input does not fit the state; no run has begun.
            ExceptionGroup: Of some inputs no run came (busy, another input under its id, a
                failing router of START); the others have run.
        """
        self._check_all(inputs, run_ids)
        asked, begun, stopped = Asked(budget=budget, deps=deps), set[Opened](), list[bool]()

        def one(place: int) -> Run[S]:
            opened = self._begin(inputs[place], run_ids[place] if run_ids else None, asked)
            begun.add(opened)
            if stopped:  # before it was seen here
                opened.session.shared.interrupt()
            try:
                return self._runner.advance(opened)[0]
            finally:
                begun.discard(opened)

        def interrupt_all() -> None:
            stopped.append(True)
            for opened in list(begun):
                opened.session.shared.interrupt()

        return batch(
            len(inputs), one, concurrency=concurrency, on_run=on_run, interrupt_all=interrupt_all
        )

    async def abatch(
        self,
        inputs: Sequence[S | Input],
        *,
        run_ids: Sequence[str] | None = None,
        concurrency: int = 1000,
        deps: Any = None,
        budget: Budget | None = None,
    ) -> list[Run[S]]:
        """Do as `batch` does, in the running event loop: thousands of runs at once."""
        self._check_all(inputs, run_ids)
        asked = Asked(budget=budget, deps=deps)

        async def one(place: int) -> Run[S]:
            run_id = run_ids[place] if run_ids else None
            return (await self._runner.aadvance(self._begin(inputs[place], run_id, asked)))[0]

        return await abatch(len(inputs), one, concurrency=concurrency)

    def runs(self, *, status: RunStatus | None = None, limit: int | None = None) -> list[Run[S]]:
        """List the runs of this graph, newest first.

        Args:
            status: Only those that stand so.
            limit: At most so many.

        Raises:
            InputError: No run ever stands so, or the limit is no number.
        """
        check_listing(status, limit)
        headers = self.store.runs(status=status, graph=self.name, limit=limit)
        return [
            Run(self.store, header.run_id, self._schema, header=header, plan=self._plan)
            for header in headers
        ]

    def draw(self, path: str | PathLike[str] | None = None) -> Drawing:
        """Draw the graph; with a path also save it there (.svg, .dot, .mmd, .txt, .html)."""
        from graphflow.drawing import draw

        return draw(self.definition.spec(), path=path)

    def close(self) -> None:
        """Close the checkpointer, and the chat client of the environment if it was used.

        The runs that were returned and are still at hand can be read on.
        """
        try:
            self._runner.read_all()
        finally:
            self.store.close()
            own = self.__dict__.get("_client")
            if own is not None and own is not self._llm:
                own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Flow {self.name!r} on {self.store!r}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.draw()._repr_mimebundle_(include, exclude)

    @once
    def _client(self) -> ChatClient:
        from graphflow.llm.client import ChatClient

        return self._llm or ChatClient.from_environment()

    def _check_all(self, inputs: Sequence[S | Input], run_ids: Sequence[str] | None) -> None:
        check_all(inputs, run_ids)
        for place, given in enumerate(inputs):
            try:
                first_values(self._schema, given)
            except InputError as error:
                raise InputError(f"inputs[{place}]: {error}") from error

    def _begin(self, given: S | Input, run_id: str | None, asked: Asked) -> Opened:
        self._refuse_stale()
        check_bounds("run", asked.limits, asked.budget)
        is_id = isinstance(run_id, str) and run_id and "/" not in run_id and run_id.isprintable()
        if not (run_id is None or is_id):
            raise InputError(
                f"run(run_id={run_id!r}): a run id is a str of letters that can be seen, without"
                " '/', and not empty; leave it out to have one made"
            )
        return self._opener.begin(given, asked, run_id=run_id)

    def _stream_of(self, given: S | Input | None, run_id: str | None, asked: Asked) -> Opened:
        if given is not None:
            return self._begin(given, run_id, asked)
        if run_id is None:
            raise InputError("stream(): pass an input, or the run_id of a run to go on with")
        return self._take(run_id, asked)

    def _refuse_stale(self) -> None:
        if not self._is_current():
            raise DefinitionError(
                f"graph {self.name!r} was changed after this flow was compiled; compile it again:"
                " flow = graph.compile(...)"
            )


def _store_of(checkpointer: str | PathLike[str] | Checkpointer | None) -> Checkpointer:
    if checkpointer is None:
        return MemoryCheckpointer()
    if isinstance(checkpointer, str | PathLike):
        from graphflow.checkpoint.sqlite import SqliteCheckpointer

        return SqliteCheckpointer(checkpointer)
    if not hasattr(checkpointer, "begin"):
        raise DefinitionError(
            f"compile({checkpointer!r}): pass the path of a SQLite file, a Checkpointer, or nothing"
        )
    return checkpointer
