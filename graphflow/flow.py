"""Flow: a compiled graph that runs, resumes and reads runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar
from weakref import WeakSet

from pydantic import BaseModel

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.definition import Definition
from graphflow.drive import adrive, drive
from graphflow.engine.core import Outcome
from graphflow.engine.tasks import text_of
from graphflow.errors import (
    DefinitionError,
    GraphflowError,
    InputError,
    RunFailedError,
)
from graphflow.opening import Opened, Opener
from graphflow.plan import Plan
from graphflow.policy import Limits
from graphflow.records import Ending, RunRecords, RunStatus
from graphflow.run import Run, Seen
from graphflow.state.schema import StateSchema

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.llm.client import ChatClient
    from graphflow.render.show import Drawing

__all__ = ["Flow"]

S = TypeVar("S", bound=BaseModel)
Input: TypeAlias = Mapping[str, Any]
_Ended: TypeAlias = tuple[Run[S], Outcome | None]


class Flow(Generic[S]):
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
        check: str | None = None,
        is_current: Callable[[], bool] = lambda: True,
    ) -> None:
        if not isinstance(limits, Limits):
            raise DefinitionError(f"limits={limits!r}: pass Limits(steps=..., visits=...)")
        self.definition, self._is_current = definition, is_current
        self._schema: StateSchema[S] = StateSchema(definition.state)
        self._plan = Plan(definition, self._schema, watches=check == "mutation")
        self.store = _store_of(checkpointer)
        self.limits, self._llm = limits, llm
        self._runs: WeakSet[Run[S]] = WeakSet()
        self._opener = Opener(self._plan, self.store, lambda: self._client)

    @property
    def name(self) -> str:
        """The graph's name."""
        return self._plan.name

    def run(
        self,
        input: S | Input,
        *,
        run_id: str | None = None,
        limits: Limits | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run[S]:
        """Run the graph from START until it is done or paused.

        Args:
            input: The state's fields, as a dict or as an instance.
            run_id: An id of your own. When a run has it already and began with the same input,
                it is continued, or returned when it is over.
            limits: Bounds of this run.
            tags: Words to find the run by.

        Raises:
            InputError: The input does not fit the state.
            RunExistsError: The run id belongs to a run with another input.
            RunFailedError: A node failed; its own error is the cause. `.run` can be resumed.
        """
        return self._raise_if_failed(*self._advance(self._begin(input, run_id, limits, tags)))

    async def arun(
        self,
        input: S | Input,
        *,
        run_id: str | None = None,
        limits: Limits | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run[S]:
        """Do as `run` does, in the running event loop."""
        begun = self._begin(input, run_id, limits, tags)
        return self._raise_if_failed(*await self._aadvance(begun))

    def resume(self, run_id: str, *, limits: Limits | None = None) -> Run[S]:
        """Go on with a run from its last committed step.

        Args:
            run_id: Its id, or a beginning that only its id has.
            limits: New bounds, from now on those of the run.

        Raises:
            RunNotFoundError: There is no such run.
            RunBusyError: Another process is advancing it.
            GraphChangedError: It cannot go on with this graph.
            RunFailedError: A node failed again.
        """
        return self._raise_if_failed(*self._advance(self._take(run_id, limits)))

    async def aresume(self, run_id: str, *, limits: Limits | None = None) -> Run[S]:
        """Do as `resume` does, in the running event loop."""
        return self._raise_if_failed(*await self._aadvance(self._take(run_id, limits)))

    def start(self, input: S | Input, *, run_id: str | None = None) -> Run[S]:
        """Commit a run's input (step 0) and let go of it; `advance` or `resume` runs it."""
        run, _ = self._advance(self._begin(input, run_id, None, None), commits=1)
        return run

    def advance(self, run_id: str, *, steps: int) -> Run[S]:
        """Run at most so many steps of a run, and let go of it.

        Raises:
            RunFailedError: A node failed.
        """
        return self._raise_if_failed(*self._advance(self._take(run_id, None), commits=steps))

    def batch(
        self,
        inputs: Sequence[S | Input],
        *,
        run_ids: Sequence[str] | None = None,
        concurrency: int = 1,
        on_run: Callable[[int, Run[S]], None] | None = None,
    ) -> list[Run[S]]:
        """Run the graph on each input; failed runs are returned like the others.

        Args:
            inputs: One per run.
            run_ids: Their ids: those that exist are continued, or returned when they are over.
            concurrency: How many run at once.
            on_run: Called with the input's place and its run as each one ends.

        Returns:
            The runs in the order of the inputs.

        Raises:
            InputError: An input does not fit the state; no run has begun.
            ExceptionGroup: Of some inputs no run came (busy, another input under its id, a
                failing router of START); the others have run.
        """
        for given in inputs:
            self._schema.initial(given)

        def one(place: int) -> Run[S] | GraphflowError:
            try:
                begun = self._begin(inputs[place], run_ids[place] if run_ids else None, None, None)
                run, _ = self._advance(begun)
            except GraphflowError as error:  # no run came of this one; the others go on
                return error
            if on_run is not None:
                on_run(place, run)
            return run

        if concurrency == 1:
            return _all_runs([one(place) for place in range(len(inputs))])
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(concurrency) as pool:
            return _all_runs(list(pool.map(one, range(len(inputs)))))

    async def abatch(
        self,
        inputs: Sequence[S | Input],
        *,
        run_ids: Sequence[str] | None = None,
        concurrency: int = 1000,
    ) -> list[Run[S]]:
        """Do as `batch` does, in the running event loop."""
        import asyncio

        gate = asyncio.Semaphore(concurrency)

        async def one(place: int) -> Run[S] | GraphflowError:
            async with gate:
                try:
                    run_id = run_ids[place] if run_ids else None
                    begun = self._begin(inputs[place], run_id, None, None)
                    return (await self._aadvance(begun))[0]
                except GraphflowError as error:  # no run came of this one; the others go on
                    return error

        return _all_runs(await asyncio.gather(*(one(place) for place in range(len(inputs)))))

    def get(self, run_id: str) -> Run[S]:
        """Read a run, of any process.

        Args:
            run_id: Its id, or a beginning that only its id has.

        Raises:
            RunNotFoundError: There is no such run.
        """
        whole = self.store.find(run_id)
        return self._read(self.store.load(whole, tail=True))

    def runs(self, *, status: RunStatus | None = None, limit: int | None = None) -> list[Run[S]]:
        """List the runs of this graph, newest first."""
        headers = self.store.runs(status=status, graph=self.name, limit=limit)
        return [Run(self.store, header.run_id, self._schema, header=header) for header in headers]

    def draw(self, path: str | PathLike[str] | None = None) -> Drawing:
        """Draw the graph; with a path also save it there (.svg, .dot, .mmd, .txt, .html)."""
        from graphflow.drawing import draw

        return draw(self.definition.spec(), path=path)

    def close(self) -> None:
        """Close the checkpointer, and the chat client of the environment if it was used.

        The runs that were returned and are still at hand can be read on.
        """
        for run in list(self._runs):
            _ = run.records
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

    @cached_property
    def _client(self) -> ChatClient:
        from graphflow.llm.client import ChatClient

        return self._llm or ChatClient.from_environment()

    def _begin(
        self,
        given: S | Input,
        run_id: str | None,
        limits: Limits | None,
        tags: Mapping[str, str] | None,
    ) -> Opened:
        self._refuse_stale()
        if not isinstance(limits, Limits | None) or not isinstance(run_id, str | None):
            raise InputError(
                f"run(run_id={run_id!r}, limits={limits!r}): a run id is a str, limits are"
                " Limits(steps=..., visits=...)"
            )
        return self._opener.begin(given, limits, self.limits, run_id=run_id, tags=tags)

    def _take(self, run_id: str, limits: Limits | None) -> Opened:
        self._refuse_stale()
        return self._opener.take(run_id, limits)

    def _advance(self, opened: Opened, *, commits: int | None = None) -> _Ended[S]:
        if opened.over is not None:
            return self._read(opened.over), None
        return self._ended(opened, drive(self._opener.steps(opened, commits), opened.session))

    async def _aadvance(self, opened: Opened) -> _Ended[S]:
        if opened.over is not None:
            return self._read(opened.over), None
        steps = self._opener.steps(opened, None)
        return self._ended(opened, await adrive(steps, opened.session))

    def _ended(self, opened: Opened, outcome: Outcome) -> _Ended[S]:
        session, position = opened.session, opened.position
        if outcome.ending is None:
            session.release()
        elif position.step < 0:  # a router of START failed: no run has begun
            raise outcome.errors[""]
        run = Run(
            self.store,
            session.header.run_id,
            self._schema,
            seen=Seen(position.step, position.values, outcome.ending or Ending("running")),
        )
        self._runs.add(run)
        return run, outcome

    def _raise_if_failed(self, run: Run[S], outcome: Outcome | None) -> Run[S]:
        if outcome is None or not outcome.errors:
            return run
        errors = list(outcome.errors.values())
        words = "; ".join(
            f"{task}{': ' if task else ''}{type(error).__name__}: {text_of(error)}"
            for task, error in outcome.errors.items()
        )
        stop = "" if words.endswith((".", "?", "!")) else "."
        raise RunFailedError(
            f"run {run.run_id} of graph {self.name!r} failed in step {len(run.steps)}:"
            f" {words}{stop} Everything up to step {len(run.steps) - 1} is stored; mend it, then"
            f" flow.resume({run.run_id!r})",
            run,
        ) from (errors[0] if len(errors) == 1 else ExceptionGroup("the nodes that failed", errors))

    def _read(self, tail: RunRecords) -> Run[S]:
        run = Run(self.store, tail.header.run_id, self._schema, tail=tail)
        self._runs.add(run)
        return run

    def _refuse_stale(self) -> None:
        if not self._is_current():
            raise DefinitionError(
                f"graph {self.name!r} was changed after this flow was compiled; compile it again:"
                " flow = graph.compile(...)"
            )


def _all_runs(found: Sequence[Run[S] | GraphflowError]) -> list[Run[S]]:
    """Give the runs of a batch.

    Raises:
        ExceptionGroup: Of some inputs no run came; the runs of the others are stored.
    """
    errors = [item for item in found if isinstance(item, GraphflowError)]
    if errors:
        raise ExceptionGroup("inputs of the batch that no run came of", errors)
    return [item for item in found if isinstance(item, Run)]


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
