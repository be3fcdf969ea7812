"""Apache Burr: pydantic actions, SQLitePersister. An application is one run: each builds one."""

# ruff: noqa: ARG002 - MapStates calls its methods with all of these

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from burr.core import ApplicationBuilder, Condition, GraphBuilder, State, action, default
from burr.core.parallelism import MapStates
from burr.core.persistence import SQLitePersister
from burr.integrations.persisters.b_aiosqlite import AsyncSQLitePersister
from burr.integrations.pydantic import PydanticTypingSystem

from benchmarks import work
from benchmarks.peer import AsyncSetUp, DurablePeer, SetUp, bytes_of
from benchmarks.work import Messages, Small, Wide, expect


@action.pydantic(reads=["n"], writes=["n"])
def bump(state: Small) -> Small:
    state.n += 1
    return state


@action.pydantic(reads=["n"], writes=["n"])
async def nap_and_bump(state: Small) -> Small:
    await asyncio.sleep(work.SHORT_NAP)
    state.n += 1
    return state


@action.pydantic(reads=["n", "messages"], writes=["n", "messages"])
def add_message(state: Messages) -> Messages:
    state.messages = [*state.messages, work.message(state.n)]
    state.n += 1
    return state


@action.pydantic(reads=list(Wide.model_fields), writes=["f0"])
def bump_wide(state: Wide) -> Wide:
    state.f0 += 1
    return state


@action(reads=[], writes=[])
def done(state: State) -> State:
    return state


def line(nodes: int, node: Any = bump) -> Any:
    names = [f"n{i}" for i in range(nodes)]
    actions = dict.fromkeys(names, node)
    return GraphBuilder().with_actions(**actions).with_transitions(*pairwise(names)).build()


def circle(node: Any, n: int, counter: str = "n") -> Any:
    goes_on = Condition([counter], lambda state: state[counter] < n, name="goes_on")
    return (
        GraphBuilder()
        .with_actions(step=node, done=done)
        .with_transitions(("step", "step", goes_on), ("step", "done", default))
        .build()
    )


def application(graph: Any, state: Any, entry: str) -> Any:
    return (
        ApplicationBuilder()
        .with_graph(graph)
        .with_typing(PydanticTypingSystem(type(state)))
        .with_state(state)
        .with_entrypoint(entry)
    )


def run_line(graph: Any, nodes: int) -> None:
    _, _, state = application(graph, Small(), "n0").build().run(halt_after=[f"n{nodes - 1}"])
    expect(state["n"], nodes)


async def arun_line(builder: Any, nodes: int) -> None:
    app = await builder.abuild()
    _, _, state = await app.arun(halt_after=[f"n{nodes - 1}"])
    expect(state["n"], nodes)


class _Fan(MapStates):
    """One sub-application per item."""

    def __init__(self, task: Any, *, is_async: bool) -> None:
        super().__init__()
        self._task, self._is_async = task, is_async

    def action(self, state: State, inputs: dict[str, Any]) -> Any:
        return self._task

    def states(self, state: State, context: Any, inputs: dict[str, Any]) -> Iterator[State]:
        for item in range(work.FAN):
            yield state.update(item=item)

    def is_async(self) -> bool:
        return self._is_async

    @property
    def reads(self) -> list[str]:
        return []

    @property
    def writes(self) -> list[str]:
        return ["results", "total"]


class _PlainFan(_Fan):
    def reduce(self, state: State, states: Iterator[State]) -> State:
        results = [one["out"] for one in states]
        return state.update(results=results, total=sum(results))


class _AsyncFan(_Fan):
    async def reduce(self, state: State, states: Any) -> State:
        results = [one["out"] async for one in states]
        return state.update(results=results, total=sum(results))


def fan_application(fan: _Fan) -> Any:
    return (
        ApplicationBuilder()
        .with_actions(fan=fan, done=done)
        .with_transitions(("fan", "done"))
        .with_state(results=[], total=0)
        .with_entrypoint("fan")
    )


def resumed(persister: SQLitePersister, graph: Any, n: int) -> None:
    """Load the last state as an application that could go on; it is not validated."""
    app = (
        ApplicationBuilder()
        .with_graph(graph)
        .with_identifiers(app_id="t")
        .initialize_from(
            persister, resume_at_next_action=True, default_state={}, default_entrypoint="step"
        )
        .build()
    )
    expect((app.state["n"], len(app.state["messages"])), (n, n))


class Burr(DurablePeer):
    """The whole state as JSON, each step."""

    name = "burr"
    packages = ("apache-burr",)
    importing = (
        "from burr.core import ApplicationBuilder\n"
        "from burr.core.persistence import SQLitePersister\n"
        "import burr.integrations.pydantic"
    )
    settings = (
        "pydantic actions; SQLitePersister as it comes (rollback journal, synchronous=FULL);"
        " it has no call that lists history: one load a step"
    )

    def chain(self, n: int) -> SetUp:
        graph = line(work.CHAIN)

        def run() -> None:
            for _ in range(n):
                run_line(graph, work.CHAIN)

        yield run

    def loop(self, n: int) -> SetUp:
        app = application(circle(bump, n), Small(limit=n), "step").build()
        yield lambda: expect(app.run(halt_after=["done"])[2]["n"], n)

    def wide(self, n: int) -> SetUp:
        app = application(circle(bump_wide, n, "f0"), Wide(), "step").build()
        yield lambda: expect(app.run(halt_after=["done"])[2]["f0"], n)

    def fanout_sync(self, n: int, nap: float | None = None) -> SetUp:
        @action(reads=["item"], writes=["out"])
        def task(state: State) -> State:
            if nap is not None:
                time.sleep(nap)
            return state.update(out=state["item"])

        def run() -> None:
            for _ in range(n):
                app = fan_application(_PlainFan(task, is_async=False)).build()
                expect(app.run(halt_after=["done"])[2]["total"], work.FAN_TOTAL)

        yield run

    def fanout_sleep_sync(self, n: int) -> SetUp:
        return self.fanout_sync(n, work.NAP)

    async def fanout_async(self, n: int, nap: float | None = None) -> AsyncSetUp:
        @action(reads=["item"], writes=["out"])
        async def task(state: State) -> State:
            if nap is not None:
                await asyncio.sleep(nap)
            return state.update(out=state["item"])

        async def run() -> None:
            for _ in range(n):
                app = await fan_application(_AsyncFan(task, is_async=True)).abuild()
                _, _, state = await app.arun(halt_after=["done"])
                expect(state["total"], work.FAN_TOTAL)

        yield run

    def fanout_sleep(self, n: int) -> AsyncSetUp:
        return self.fanout_async(n, work.NAP)

    def build(self, n: int) -> SetUp:
        yield lambda: application(line(n), Small(), "n0").build()

    @contextmanager
    def stored_loop(self, kind: str, n: int, path: Path) -> Iterator[Callable[[], Any]]:
        node, state = (bump, Small) if kind == "small" else (add_message, Messages)
        persister = SQLitePersister(str(path))
        persister.initialize()
        builder = application(circle(node, n), state(limit=n), "step")
        app = builder.with_identifiers(app_id="t").with_state_persister(persister).build()

        def run() -> None:
            found = app.run(halt_after=["done"])[2]
            expect((found["n"], len(found.get("messages", []))), (n, n * (kind == "msgs")))

        yield run
        persister.cleanup()

    def reload_msgs(self, n: int) -> SetUp:
        persister = SQLitePersister(str(self.filled("msgs", n)))
        graph = circle(add_message, n)
        yield lambda: resumed(persister, graph, n)
        persister.cleanup()

    def resume_msgs(self, n: int) -> SetUp:
        path = self.filled("msgs", n)

        def run() -> None:
            persister = SQLitePersister(str(path))
            resumed(persister, circle(add_message, n), n)
            persister.cleanup()

        yield run

    def history(self, n: int) -> SetUp:
        path = self.filled("small", n)

        def run() -> None:
            persister = SQLitePersister(str(path))
            states = [persister.load("", "t", step)["state"] for step in range(n)]
            persister.cleanup()
            expect((len(states), states[-1]["n"]), (n, n))

        yield run

    async def threads_mem(self, n: int) -> AsyncSetUp:
        nodes = work.THREAD_NODES
        graph = line(nodes, nap_and_bump)

        async def run() -> None:
            builders = (application(graph, Small(), "n0") for _ in range(n))
            await asyncio.gather(*(arun_line(builder, nodes) for builder in builders))

        yield run

    async def threads_ckpt(self, n: int) -> AsyncSetUp:
        nodes, path = work.THREAD_NODES, self.new_database()
        graph = line(nodes, nap_and_bump)
        async with AsyncSQLitePersister.from_values(str(path)) as persister:
            await persister.initialize()

            def builder(k: int) -> Any:
                plain = application(graph, Small(), "n0").with_identifiers(app_id=str(k))
                return plain.with_state_persister(persister)

            async def run() -> None:
                await asyncio.gather(*(arun_line(builder(k), nodes) for k in range(n)))

            yield run
        yield {"bytes": bytes_of(path)}
