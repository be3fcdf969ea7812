"""Streams: the events of a run, as it runs in a thread or in the same event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Any

from graphflow.background import settle
from graphflow.channel import Channel
from graphflow.shared import Interrupted

if TYPE_CHECKING:
    from graphflow.events import Event
    from graphflow.opening import Opened
    from graphflow.records import RunHeader
    from graphflow.runner import Runner

__all__ = ["astream", "stream"]


def stream(open_run: Callable[[Channel], Opened], runner: Runner[Any]) -> Iterator[Event]:
    """Run in a thread, and give the events as they come; when nobody reads on, the run waits.

    Leaving the loop early, or Ctrl-C in it, interrupts the run: it is paused, and can be resumed.

    Args:
        open_run: Opens the run.
        runner: Advances it.
    """
    channel = Channel()
    opened = open_run(channel)
    if opened.over is not None:
        yield _over(opened.over.header)
        return
    ended: Future[Any] = Future()

    def work() -> None:
        settle(ended, lambda: runner.advance(opened))
        channel.close()

    worker = Thread(target=copy_context().run, args=(work,), name="graphflow-stream", daemon=True)
    try:
        worker.start()
        yield from channel
    finally:
        channel.close()
        opened.session.shared.interrupt()
        # Ctrl-C may have come while the thread started: it begins no more, or it is waited for.
        # Garbage may be collected in the thread itself, which cannot wait for its own end.
        is_over = not ended.cancel() and current_thread() is not worker
        error = ended.exception() if is_over else None
    if error is not None and not isinstance(error, Interrupted):
        raise error


async def astream(
    open_run: Callable[[Channel], Opened], runner: Runner[Any]
) -> AsyncGenerator[Event, None]:
    """Do as `stream` does, in the running event loop."""
    import asyncio

    channel = Channel()
    opened = open_run(channel)
    if opened.over is not None:
        yield _over(opened.over.header)
        return
    running = asyncio.create_task(runner.aadvance(opened))
    running.add_done_callback(lambda _: channel.close())
    try:
        async for event in channel:
            yield event
        await running
    finally:
        channel.close()
        if not running.done():
            running.cancel()
            await asyncio.wait([running])


def _over(header: RunHeader) -> Event:
    """Give the only event of a run that was over before."""
    from graphflow.events import DoneEvent

    words = f"{header.error_type}: {header.error}" if header.error_type else header.error
    return DoneEvent(header.run_id, header.status, header.reason, words)
