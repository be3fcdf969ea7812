"""graphflow itself: pydantic states, changed fields validated, decisions with evidence, digests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from benchmarks import work
from benchmarks.peer import AsyncSetUp, DurablePeer, SetUp, bytes_of
from benchmarks.work import Small, Wide, expect
from graphflow import END, START, Flow, Limits, Send, StateGraph, append

FAR = Limits(steps=10**9, visits=10**9)


class Messages(BaseModel):
    n: int = 0
    limit: int = 0
    messages: Annotated[list[str], append] = []


class Fan(BaseModel):
    item: int = 0
    results: Annotated[list[int], append] = []
    total: int = 0


def bump(state: Small) -> dict[str, Any]:
    return {"n": state.n + 1}


async def nap_and_bump(state: Small) -> dict[str, Any]:
    await asyncio.sleep(work.SHORT_NAP)
    return {"n": state.n + 1}


def add_message(state: Messages) -> dict[str, Any]:
    return {"n": state.n + 1, "messages": [work.message(state.n)]}


def bump_wide(state: Any) -> dict[str, Any]:
    return {"f0": state.f0 + 1}


def again(state: Any) -> str:
    return "step" if state.n < state.limit else END


def until_full(state: Any) -> str:
    return "step" if len(state.messages) < state.limit else END


def line(nodes: int, node: Callable[..., Any] = bump) -> StateGraph[Small]:
    graph = StateGraph(Small, name="line")
    names = [f"n{i}" for i in range(nodes)]
    for name in names:
        graph.add_node(name, node)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph


def circle(state: Any, node: Callable[..., Any], router: Callable[..., Any]) -> StateGraph[Any]:
    graph = StateGraph(state, name="circle")
    graph.add_node("step", node)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", router, ["step", END])
    return graph


def fan(task: Callable[..., Any]) -> Flow[Fan]:
    graph = StateGraph(Fan, name="fan")
    graph.add_node("source", lambda _: None)
    graph.add_node("task", task)
    graph.add_node("join", lambda state: {"total": sum(state.results)})
    graph.add_edge(START, "source")
    graph.add_conditional_edges(
        "source", lambda _: [Send("task", {"item": item}) for item in range(work.FAN)], ["task"]
    )
    graph.add_edge("task", "join")
    graph.add_edge("join", END)
    return graph.compile(limits=FAR)


def stored_circle(kind: str, path: Path) -> Flow[Any]:
    state, node = (Small, bump) if kind == "small" else (Messages, add_message)
    router = again if kind != "read" else until_full
    return circle(state, node, router).compile(path, limits=FAR)


class Graphflow(DurablePeer):
    """One transaction a step: what the step changed, the decision, the digest."""

    name = "graphflow"
    packages = ("graphflow-agents",)
    importing = "import graphflow"
    settings = (
        "changed fields validated, decisions recorded with their evidence; SQLite WAL,"
        " synchronous=FULL, one commit a step, digests and fencing"
    )

    def chain(self, n: int) -> SetUp:
        flow = line(work.CHAIN).compile()

        def run() -> None:
            for _ in range(n):
                expect(flow.run({}).state.n, work.CHAIN)

        yield run

    def loop(self, n: int) -> SetUp:
        flow = circle(Small, bump, again).compile(limits=FAR)
        yield lambda: expect(flow.run({"limit": n}).state.n, n)

    def wide(self, n: int) -> SetUp:
        graph = circle(Wide, bump_wide, lambda state: "step" if state.f0 < n else END)
        flow = graph.compile(limits=FAR)
        yield lambda: expect(flow.run({}).state.f0, n)

    def fanout_sync(self, n: int, nap: float | None = None) -> SetUp:
        def task(state: Fan) -> dict[str, Any]:
            if nap is not None:
                time.sleep(nap)
            return {"results": [state.item]}

        flow = fan(task)

        def run() -> None:
            for _ in range(n):
                expect(flow.run({}).state.total, work.FAN_TOTAL)

        yield run

    def fanout_sleep_sync(self, n: int) -> SetUp:
        return self.fanout_sync(n, work.NAP)

    async def fanout_async(self, n: int, nap: float | None = None) -> AsyncSetUp:
        async def task(state: Fan) -> dict[str, Any]:
            if nap is not None:
                await asyncio.sleep(nap)
            return {"results": [state.item]}

        flow = fan(task)

        async def run() -> None:
            for _ in range(n):
                expect((await flow.arun({})).state.total, work.FAN_TOTAL)

        yield run

    def fanout_sleep(self, n: int) -> AsyncSetUp:
        return self.fanout_async(n, work.NAP)

    def build(self, n: int) -> SetUp:
        yield lambda: line(n).compile()

    def checks(self, n: int) -> SetUp:
        graph = line(n)
        yield lambda: expect(graph.check(), [])

    @contextmanager
    def stored_loop(self, kind: str, n: int, path: Path) -> Iterator[Callable[[], Any]]:
        with stored_circle(kind, path) as flow:
            flow.runs(limit=1)  # opens the file

            def run() -> None:
                state = flow.run({"limit": n}, run_id="t").state
                messages = len(getattr(state, "messages", ()))
                expect((state.n, messages), (n, n * (kind != "small")))

            yield run

    def ckpt_long(self, n: int) -> SetUp:
        return self._stored("msgs", n)

    def ckpt_read(self, n: int) -> SetUp:
        return self._stored("read", n)

    def reload_msgs(self, n: int) -> SetUp:
        """Load the state as `resume_msgs` does, with the file open and the graph compiled."""
        with stored_circle("msgs", self.filled("msgs", n)) as flow:
            expect(flow.get("t").status, "done")  # the first look at the file

            def run() -> None:
                state = flow.get("t").state
                expect((state.n, len(state.messages)), (n, n))

            yield run

    def resume_msgs(self, n: int) -> SetUp:
        """Define and compile the graph, open the file, load the last state, close the file.

        All engines are timed for these four. Their functions and state classes are those of the
        rounds before: what a process keeps of them, here the compiled state and what the checks saw
        of each function, is there already. The others give what was stored, as a dict; here the
        digests are checked, and the state is an instance of its class.
        """
        path = self.filled("msgs", n)

        def run() -> None:
            with stored_circle("msgs", path) as flow:
                state = flow.resume("t").state
            expect((state.n, len(state.messages)), (n, n))

        yield run

    def history(self, n: int) -> SetUp:
        """Do as `resume_msgs` does, and give each state of the run.

        LangGraph gives dicts, Burr what it loads step by step; here all rows are read and their
        digests checked, decisions included, and each state is an instance of its class.
        """
        path = self.filled("small", n)

        def run() -> None:
            with stored_circle("small", path) as flow:
                found = flow.get("t")
                states = [found.state_at(step.step) for step in found.steps]
            expect((len(states), states[-1].n), (n + 1, n))

        yield run

    async def threads_mem(self, n: int) -> AsyncSetUp:
        flow = line(work.THREAD_NODES, nap_and_bump).compile()

        async def run() -> None:
            for found in await flow.abatch([{}] * n, concurrency=n):
                expect(found.state.n, work.THREAD_NODES)

        yield run

    async def threads_ckpt(self, n: int) -> AsyncSetUp:
        path = self.new_database()
        with line(work.THREAD_NODES, nap_and_bump).compile(path) as flow:

            async def run() -> None:
                for found in await flow.abatch([{}] * n, concurrency=n):
                    expect(found.state.n, work.THREAD_NODES)

            yield run
        yield {"bytes": bytes_of(path)}
