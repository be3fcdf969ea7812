"""LangGraph: StateGraph on pydantic states, SqliteSaver."""

from __future__ import annotations

import asyncio
import operator
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from benchmarks import work
from benchmarks.peer import AsyncSetUp, DurablePeer, SetUp, bytes_of
from benchmarks.work import Small, Wide, expect

THREAD: Any = {"configurable": {"thread_id": "t"}}


class Messages(BaseModel):
    n: int = 0
    limit: int = 0
    messages: Annotated[list[str], operator.add] = []


class Fan(BaseModel):
    results: Annotated[list[int], operator.add] = []
    total: int = 0


def bump(state: Small) -> dict[str, Any]:
    return {"n": state.n + 1}


async def nap_and_bump(state: Small) -> dict[str, Any]:
    await asyncio.sleep(work.SHORT_NAP)
    return {"n": state.n + 1}


def add_message(state: Messages) -> dict[str, Any]:
    return {"n": state.n + 1, "messages": [work.message(state.n)]}


def is_going_on(state: Any) -> bool:
    return bool(state.n < state.limit)


def line(nodes: int, node: Callable[..., Any] = bump) -> Any:
    graph = StateGraph(Small)
    names = [f"n{i}" for i in range(nodes)]
    for name in names:
        graph.add_node(name, node)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph


def circle(state: Any, node: Callable[..., Any], goes_on: Callable[[Any], bool]) -> Any:
    graph = StateGraph(state)
    graph.add_node("step", node)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", goes_on, {True: "step", False: END})
    return graph


def fan(task: Any) -> Any:
    graph = StateGraph(Fan)
    graph.add_node("source", lambda _: {})
    graph.add_node("task", task)
    graph.add_node("join", lambda state: {"total": sum(state.results)})
    graph.add_edge(START, "source")
    graph.add_conditional_edges(
        "source", lambda _: [Send("task", item) for item in range(work.FAN)], ["task"]
    )
    graph.add_edge("task", "join")
    graph.add_edge("join", END)
    return graph.compile()


def stored_circle(kind: str, saver: SqliteSaver) -> Any:
    state, node = (Small, bump) if kind == "small" else (Messages, add_message)
    return circle(state, node, is_going_on).compile(checkpointer=saver)


def loaded(graph: Any, n: int) -> None:
    """Load the last state: a dict, which is not validated."""
    values = graph.get_state(THREAD).values
    expect((values["n"], len(values["messages"])), (n, n))


def far(n: int) -> Any:
    return {"recursion_limit": n + 10}


class LangGraph(DurablePeer):
    """Two commits a step: the writes, then the whole state."""

    name = "langgraph"
    packages = ("langgraph", "langgraph-checkpoint-sqlite")
    importing = (
        "from langgraph.graph import StateGraph\n"
        "from langgraph.checkpoint.sqlite import SqliteSaver"
    )
    settings = (
        "the node's input validated by pydantic; SqliteSaver as it comes (WAL, synchronous=FULL),"
        " durability='sync': a step is stored before the next begins"
    )

    def chain(self, n: int) -> SetUp:
        graph = line(work.CHAIN).compile()

        def run() -> None:
            for _ in range(n):
                expect(graph.invoke({"n": 0})["n"], work.CHAIN)

        yield run

    def loop(self, n: int) -> SetUp:
        graph = circle(Small, bump, is_going_on).compile()
        yield lambda: expect(graph.invoke({"limit": n}, far(n))["n"], n)

    def wide(self, n: int) -> SetUp:
        graph = circle(Wide, lambda s: {"f0": s.f0 + 1}, lambda s: s.f0 < n).compile()
        yield lambda: expect(graph.invoke({"f0": 0}, far(n))["f0"], n)

    def fanout_sync(self, n: int, nap: float | None = None) -> SetUp:
        def task(item: int) -> dict[str, Any]:
            if nap is not None:
                time.sleep(nap)
            return {"results": [item]}

        graph = fan(task)

        def run() -> None:
            for _ in range(n):
                expect(graph.invoke({})["total"], work.FAN_TOTAL)

        yield run

    def fanout_sleep_sync(self, n: int) -> SetUp:
        return self.fanout_sync(n, work.NAP)

    async def fanout_async(self, n: int, nap: float | None = None) -> AsyncSetUp:
        async def task(item: int) -> dict[str, Any]:
            if nap is not None:
                await asyncio.sleep(nap)
            return {"results": [item]}

        graph = fan(task)

        async def run() -> None:
            for _ in range(n):
                expect((await graph.ainvoke({}))["total"], work.FAN_TOTAL)

        yield run

    def fanout_sleep(self, n: int) -> AsyncSetUp:
        return self.fanout_async(n, work.NAP)

    def build(self, n: int) -> SetUp:
        yield lambda: line(n).compile()

    @contextmanager
    def stored_loop(self, kind: str, n: int, path: Path) -> Iterator[Callable[[], Any]]:
        with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
            saver = SqliteSaver(connection)
            saver.setup()
            graph = stored_circle(kind, saver)

            def run() -> None:
                config = {**THREAD, **far(n)}
                found = graph.invoke({"limit": n}, config, durability="sync")
                expect((found["n"], len(found.get("messages", ()))), (n, n * (kind == "msgs")))

            yield run

    def reload_msgs(self, n: int) -> SetUp:
        path = self.filled("msgs", n)
        with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
            graph = stored_circle("msgs", SqliteSaver(connection))
            yield lambda: loaded(graph, n)

    def resume_msgs(self, n: int) -> SetUp:
        path = self.filled("msgs", n)

        def run() -> None:
            with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
                loaded(stored_circle("msgs", SqliteSaver(connection)), n)

        yield run

    def history(self, n: int) -> SetUp:
        path = self.filled("small", n)

        def run() -> None:
            with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
                graph = stored_circle("small", SqliteSaver(connection))
                states = list(graph.get_state_history(THREAD))
            expect((len(states), states[0].values["n"]), (n + 2, n))  # input and START are states

        yield run

    async def threads_mem(self, n: int) -> AsyncSetUp:
        graph = line(work.THREAD_NODES, nap_and_bump).compile()

        async def run() -> None:
            for found in await asyncio.gather(*(graph.ainvoke({"n": 0}) for _ in range(n))):
                expect(found["n"], work.THREAD_NODES)

        yield run

    async def threads_ckpt(self, n: int) -> AsyncSetUp:
        path = self.new_database()
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            await saver.setup()
            graph = line(work.THREAD_NODES, nap_and_bump).compile(checkpointer=saver)

            async def one(k: int) -> None:
                config: Any = {"configurable": {"thread_id": str(k)}}
                found = await graph.ainvoke({"n": 0}, config, durability="sync")
                expect(found["n"], work.THREAD_NODES)

            async def run() -> None:
                await asyncio.gather(*map(one, range(n)))

            yield run
        yield {"bytes": bytes_of(path)}
