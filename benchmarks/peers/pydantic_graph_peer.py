"""pydantic-graph 2: its GraphBuilder. Async only; it stores nothing, so it has no durable case."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic_graph import GraphBuilder, StepContext, reduce_list_append

from benchmarks import work
from benchmarks.peer import AsyncSetUp, Peer, SetUp
from benchmarks.work import Fan, Small, Wide, expect


def line(nodes: int, nap: float | None = None) -> Any:
    builder: Any = GraphBuilder(state_type=Small, output_type=int)

    async def bump(ctx: StepContext[Small, None, Any]) -> int:
        if nap is not None:
            await asyncio.sleep(nap)
        ctx.state.n += 1
        return ctx.state.n

    steps = [builder.step(bump, node_id=f"n{i}") for i in range(nodes)]
    targets = [*steps, builder.end_node]
    for source, target in zip([builder.start_node, *steps], targets, strict=True):
        builder.add(builder.edge_from(source).to(target))
    return builder.build()


def circle(state: Any, node: Any, is_over: Callable[[int], bool]) -> Any:
    builder: Any = GraphBuilder(state_type=state, output_type=int)
    step = builder.step(node, node_id="step")
    over = builder.match(int, matches=is_over)
    ways = builder.decision().branch(over.to(builder.end_node))
    builder.add(
        builder.edge_from(builder.start_node).to(step),
        builder.edge_from(step).to(ways.branch(builder.match(int).to(step))),
    )
    return builder.build()


def fan(nap: float | None) -> Any:
    builder: Any = GraphBuilder(state_type=Fan, output_type=int)

    async def source(_: StepContext[Fan, None, None]) -> list[int]:
        return list(range(work.FAN))

    async def task(ctx: StepContext[Fan, None, int]) -> int:
        if nap is not None:
            await asyncio.sleep(nap)
        return ctx.inputs

    async def total(ctx: StepContext[Fan, None, list[int]]) -> int:
        ctx.state.results = ctx.inputs
        ctx.state.total = sum(ctx.inputs)
        return ctx.state.total

    first, each, last = map(builder.step, (source, task, total))
    join = builder.join(reduce_list_append, initial_factory=list[int])
    builder.add(
        builder.edge_from(builder.start_node).to(first),
        builder.edge_from(first).map().to(each),
        builder.edge_from(each).to(join),
        builder.edge_from(join).to(last),
        builder.edge_from(last).to(builder.end_node),
    )
    return builder.build()


class PydanticGraph(Peer):
    """The state is shared and changed in place, neither copied nor validated."""

    name = "pydantic_graph"
    packages = ("pydantic-graph",)
    importing = "from pydantic_graph import GraphBuilder"
    settings = "GraphBuilder; the state is changed in place, without copy or validation"

    async def chain(self, n: int) -> AsyncSetUp:
        graph = line(work.CHAIN)

        async def run() -> None:
            for _ in range(n):
                expect(await graph.run(state=Small()), work.CHAIN)

        yield run

    async def loop(self, n: int) -> AsyncSetUp:
        async def bump(ctx: StepContext[Small, None, Any]) -> int:
            ctx.state.n += 1
            return ctx.state.n

        graph = circle(Small, bump, lambda count: count >= n)

        async def run() -> None:
            expect(await graph.run(state=Small(limit=n)), n)

        yield run

    async def wide(self, n: int) -> AsyncSetUp:
        async def bump(ctx: StepContext[Any, None, Any]) -> int:
            ctx.state.f0 += 1
            return int(ctx.state.f0)

        graph = circle(Wide, bump, lambda count: count >= n)

        async def run() -> None:
            expect(await graph.run(state=Wide()), n)

        yield run

    async def fanout_async(self, n: int, nap: float | None = None) -> AsyncSetUp:
        graph = fan(nap)

        async def run() -> None:
            for _ in range(n):
                expect(await graph.run(state=Fan()), work.FAN_TOTAL)

        yield run

    def fanout_sleep(self, n: int) -> AsyncSetUp:
        return self.fanout_async(n, work.NAP)

    def build(self, n: int) -> SetUp:
        yield lambda: line(n)

    async def threads_mem(self, n: int) -> AsyncSetUp:
        graph = line(work.THREAD_NODES, work.SHORT_NAP)

        async def run() -> None:
            for found in await asyncio.gather(*(graph.run(state=Small()) for _ in range(n))):
                expect(found, work.THREAD_NODES)

        yield run
