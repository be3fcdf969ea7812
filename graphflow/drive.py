"""The drivers: they answer the engine's effects in a plain call, or in an event loop."""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from graphflow.clock import now
from graphflow.engine.core import Outcome, Start, Steps, Wait
from graphflow.engine.tasks import Ended, Task
from graphflow.errors import RunError
from graphflow.session import Session

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor
    from queue import SimpleQueue

__all__ = ["adrive", "call_async", "drive"]

T = TypeVar("T")
_Future: TypeAlias = "Future[Ended | BaseException] | Future[Ended]"


def drive(steps: Steps, session: Session) -> Outcome:
    """Advance a run in the caller's thread.

    A single plain node runs inline; async nodes run on one lasting background loop, plain nodes
    with siblings in threads.
    """
    answer: Ended | None = None
    crew = _Crew(session)
    with session:
        try:
            while True:
                effect = steps.send(answer)
                if isinstance(effect, Start):
                    answer = crew.start(effect.tasks)
                elif isinstance(effect, Wait):
                    answer = crew.next()
                else:
                    answer = None
                    session.answer(effect)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        except BaseException:
            crew.cancel()
            raise


async def adrive(steps: Steps, session: Session) -> Outcome:
    """Advance a run in the running event loop; plain nodes run in threads."""
    answer: Ended | None = None
    crew = _AsyncCrew(session)
    with session:
        try:
            while True:
                effect = steps.send(answer)
                if isinstance(effect, Start):
                    answer = await crew.start(effect.tasks)
                elif isinstance(effect, Wait):
                    answer = await crew.next()
                else:
                    answer = None
                    session.answer(effect)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        finally:
            await crew.close()


def _execute(task: Task, session: Session) -> Ended:
    """Run a plain body once."""
    node, started_at, begin = task.node, now(), perf_counter()
    value, error = None, None
    try:
        value = (
            node.fn(task.view, session.context(task)) if node.takes_context else node.fn(task.view)
        )
    except Exception as raised:  # noqa: BLE001 - whatever a body raises is recorded as its failure
        error = raised
    return Ended(task, value, error, started_at, (perf_counter() - begin) * 1e3)


async def _aexecute(task: Task, session: Session) -> Ended:
    """Run an async body once."""
    node, started_at, begin = task.node, now(), perf_counter()
    value, error = None, None
    try:
        if node.takes_context:
            value = await node.fn(task.view, session.context(task))
        else:
            value = await node.fn(task.view)
    except Exception as raised:  # noqa: BLE001 - whatever a body raises is recorded as its failure
        error = raised
    except BaseException as raised:
        if not _is_own_cancellation(raised):
            raise
        error = RunError("the body awaited something that was cancelled")
        error.__cause__ = raised
    return Ended(task, value, error, started_at, (perf_counter() - begin) * 1e3)


def _is_own_cancellation(error: BaseException) -> bool:
    """Tell whether a body was cancelled by what it awaited, and not by its run."""
    import asyncio

    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and not (task and task.cancelling())


async def _carried(task: Task, session: Session) -> Ended | BaseException:
    """Run an async body on the background loop, which an exit that the body raises would end."""
    try:
        return await _aexecute(task, session)
    except (KeyboardInterrupt, SystemExit) as error:
        return error


class _Crew:
    """Runs the tasks of a step for a plain call."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ended: SimpleQueue[_Future] | None = None
        self._running: list[_Future] = []

    def start(self, tasks: list[Task]) -> Ended:
        if len(tasks) == 1 and not tasks[0].node.is_async:
            return _execute(tasks[0], self._session)
        from queue import SimpleQueue

        self._ended = SimpleQueue()
        self._running = []
        for task in tasks:  # one by one: an interrupt in between must find what runs already
            self._running.append(self._submit(task))
        for future in self._running:
            future.add_done_callback(self._ended.put)
        return self.next()

    def next(self) -> Ended:
        if self._ended is None:
            raise AssertionError("nothing was started")
        ended = self._ended.get().result()
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def cancel(self) -> None:
        """Cancel async bodies, and wait for what runs: no body outlives its run's failure."""
        from concurrent.futures import wait

        for future in self._running:
            future.cancel()
        wait(list[Any](self._running))

    def _submit(self, task: Task) -> _Future:
        if task.node.is_async:
            return call_async(_carried(task, self._session))
        return _in_thread(task, self._session)


class _AsyncCrew:
    """Runs the tasks of a step in the running loop."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running: set[asyncio.Task[Ended]] = set()
        self._ended: list[Ended] = []

    async def start(self, tasks: list[Task]) -> Ended:
        if len(tasks) == 1:
            return await self._run(tasks[0])
        import asyncio

        self._running = {asyncio.create_task(self._run(task)) for task in tasks}
        return await self.next()

    async def next(self) -> Ended:
        if not self._ended:
            import asyncio

            done, self._running = await asyncio.wait(
                self._running, return_when=asyncio.FIRST_COMPLETED
            )
            self._ended = [task.result() for task in done]
        return self._ended.pop()

    async def close(self) -> None:
        """Cancel what still runs, and wait for it."""
        if self._running:
            import asyncio

            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, task: Task) -> Ended:
        if task.node.is_async:
            return await _aexecute(task, self._session)
        import asyncio

        ended = asyncio.wrap_future(_in_thread(task, self._session))
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            await asyncio.wait([ended])  # no body outlives its run
            raise


_LOOP_THREAD = "graphflow-loop"
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pools: dict[int, ThreadPoolExecutor] = {}
_level: ContextVar[int] = ContextVar("graphflow_level", default=0)


def call_async(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine on this process's lasting background loop, in the caller's context."""
    import asyncio

    if threading.current_thread().name == _LOOP_THREAD:
        coroutine.close()
        raise RuntimeError(
            "an async node cannot wait for flow.run() of a graph with async nodes:"
            " write `await flow.arun(...)` there"
        )
    global _loop  # noqa: PLW0603 - one loop per process, made when first needed
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name=_LOOP_THREAD, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(coroutine, _loop)


def _in_thread(task: Task, session: Session) -> Future[Ended]:
    """Run a plain body in a thread, in the caller's context.

    Runs inside bodies have threads of their own: bodies that wait for inner runs must not hold
    the threads that these need.
    """
    from concurrent.futures import ThreadPoolExecutor

    level, context = _level.get(), copy_context()
    with _lock:
        if level not in _pools:
            _pools[level] = ThreadPoolExecutor(128, thread_name_prefix="graphflow")
        pool = _pools[level]
    context.run(_level.set, level + 1)
    return pool.submit(context.run, _execute, task, session)


def _forget_threads() -> None:
    """Make everything anew after a fork: threads stay behind in the parent."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
