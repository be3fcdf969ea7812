"""LlamaIndex Workflows: event-driven steps, a typed state in the context's store. Async only.

The package itself has no store that writes each step to a file, so it has no durable case.
"""

# ruff: noqa: ARG001 - the package calls each step with all of these

from __future__ import annotations

import asyncio
from typing import Any

from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

from benchmarks import work
from benchmarks.peer import AsyncSetUp, Peer, SetUp
from benchmarks.work import Fan, Small, Wide, expect


class Item(Event):
    """One task of the fan-out."""

    item: int


class Result(Event):
    """What came of it."""

    item: int


def line(nodes: int, nap: float | None = None) -> Any:
    """Make a workflow of so many steps, each of which takes an event of its own."""
    between = [type(f"Event{i}", (Event,), {"__module__": __name__}) for i in range(1, nodes)]
    takes, gives = [StartEvent, *between], [*between, StopEvent]

    def node(gives: Any) -> Any:
        async def bump(self: Any, ctx: Any, event: Any) -> Any:
            if nap is not None:
                await asyncio.sleep(nap)
            async with ctx.store.edit_state() as state:
                state.n += 1
                count = state.n
            return StopEvent(result=count) if gives is StopEvent else gives()

        return bump

    ways = enumerate(zip(takes, gives, strict=True))
    return workflow({f"n{i}": a_step(node(out), Small, into, out) for i, (into, out) in ways})


def workflow(steps: dict[str, Any]) -> Any:
    """Make a workflow of steps; what the package reads off a class body is set by hand."""
    for name, (function, decorate) in steps.items():
        function.__name__, function.__qualname__ = name, f"Made.{name}"
        steps[name] = decorate(function)
    made: Any = type("Made", (Workflow,), {"__module__": __name__, **steps})
    return made(timeout=None)


def a_step(function: Any, state: Any, takes: Any, gives: Any, workers: int = 4) -> tuple[Any, Any]:
    function.__annotations__ = {"ctx": Context[state], "event": takes, "return": gives}
    return function, step(num_workers=workers)


def circle(model: Any, counter: str, n: int) -> Any:
    class Again(Event):
        """Round once more."""

    async def again(self: Any, ctx: Any, event: Any) -> Any:
        async with ctx.store.edit_state() as state:
            count = getattr(state, counter) + 1
            setattr(state, counter, count)
        return Again() if count < n else StopEvent(result=count)

    return workflow({"again": a_step(again, model, StartEvent | Again, Again | StopEvent)})


def fan(nap: float | None) -> Any:
    async def source(self: Any, ctx: Any, event: Any) -> Any:
        for item in range(work.FAN):
            ctx.send_event(Item(item=item))

    async def task(self: Any, ctx: Any, event: Any) -> Any:
        if nap is not None:
            await asyncio.sleep(nap)
        return Result(item=event.item)

    async def join(self: Any, ctx: Any, event: Any) -> Any:
        found = ctx.collect_events(event, [Result] * work.FAN)
        if found is None:
            return None
        async with ctx.store.edit_state() as state:
            state.results = [result.item for result in found]
            state.total = sum(state.results)
            return StopEvent(result=state.total)

    return workflow(
        {
            "source": a_step(source, Fan, StartEvent, Item | None),
            "task": a_step(task, Fan, Item, Result, workers=work.FAN),
            "join": a_step(join, Fan, Result, StopEvent | None),
        }
    )


class Workflows(Peer):
    """Steps send each other events."""

    name = "workflows"
    packages = ("llama-index-workflows",)
    importing = "from workflows import Context, Workflow, step"
    settings = "pydantic state in ctx.store.edit_state(); no timeout; no store of each step"

    async def chain(self, n: int) -> AsyncSetUp:
        flow = line(work.CHAIN)

        async def run() -> None:
            for _ in range(n):
                expect(await flow.run(), work.CHAIN)

        yield run

    async def loop(self, n: int) -> AsyncSetUp:
        flow = circle(Small, "n", n)

        async def run() -> None:
            expect(await flow.run(), n)

        yield run

    async def wide(self, n: int) -> AsyncSetUp:
        flow = circle(Wide, "f0", n)

        async def run() -> None:
            expect(await flow.run(), n)

        yield run

    async def fanout_async(self, n: int, nap: float | None = None) -> AsyncSetUp:
        flow = fan(nap)

        async def run() -> None:
            for _ in range(n):
                expect(await flow.run(), work.FAN_TOTAL)

        yield run

    def fanout_sleep(self, n: int) -> AsyncSetUp:
        return self.fanout_async(n, work.NAP)

    def build(self, n: int) -> SetUp:
        yield lambda: line(n)._validate()  # noqa: SLF001 - what it does before its first run

    async def threads_mem(self, n: int) -> AsyncSetUp:
        flow = line(work.THREAD_NODES, work.SHORT_NAP)

        async def run() -> None:
            for found in await asyncio.gather(*(flow.run() for _ in range(n))):
                expect(found, work.THREAD_NODES)

        yield run
