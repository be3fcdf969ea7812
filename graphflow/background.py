"""The threads and the one event loop of a process in which bodies run beside their caller."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from graphflow.threads import Threads

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

__all__ = ["call_async", "in_thread", "settle", "stop"]

P = ParamSpec("P")
T = TypeVar("T")

_LOOP_THREAD = "graphflow-loop"
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_tasks: dict[Future[Any], asyncio.Task[Any]] = {}
_pools: dict[int, Threads] = {}
_level: ContextVar[int] = ContextVar("graphflow_level", default=0)


def call_async(future: Future[T], coroutine: Coroutine[Any, Any, T]) -> None:
    """Run a coroutine on this process's lasting background loop, in the caller's context.

    Args:
        future: What comes of it. Who made it knows of it before anything begins, so that Ctrl-C in
            between loses no body; `stop` ends it.
        coroutine: What to run.
    """
    if threading.current_thread().name == _LOOP_THREAD:
        coroutine.close()
        raise RuntimeError(
            "an async node cannot wait for flow.run() of a graph with async nodes:"
            " write `await flow.arun(...)` there"
        )
    _the_loop().call_soon_threadsafe(_begin, future, coroutine)


def in_thread(future: Future[T], fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run a function in a thread, in the caller's context, unless it is stopped before.

    Runs inside bodies have threads of their own: bodies that wait for inner runs must not hold
    the threads that these need.

    Args:
        future: What comes of it, as for `call_async`.
        fn: What to run.
        *args: Its arguments.
        **kwargs: Its arguments by name.
    """
    level, context = _level.get(), copy_context()
    with _lock:
        if level not in _pools:
            _pools[level] = Threads(128)
        pool = _pools[level]
    context.run(_level.set, level + 1)
    pool.submit(lambda: settle(future, lambda: context.run(fn, *args, **kwargs)))


def settle(future: Future[T], work: Callable[[], T]) -> None:
    """Do what a future stands for, unless it was cancelled before."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - who waits for it raises it
        future.set_exception(error)
    else:
        future.set_result(value)


def stop(futures: Iterable[Future[Any]]) -> None:
    """Keep from beginning what has not begun, cancel what awaits, and wait for what runs."""
    from concurrent.futures import wait

    begun = [future for future in futures if not future.cancel()]
    if _tasks and _loop is not None:
        _loop.call_soon_threadsafe(_cancel, begun)
    wait(begun)


def _the_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    global _loop  # noqa: PLW0603 - one loop per process, made when first needed
    with _lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name=_LOOP_THREAD, daemon=True).start()
            _loop = loop
    return _loop


def _begin(future: Future[T], coroutine: Coroutine[Any, Any, T]) -> None:
    """Begin a coroutine, in its loop."""
    import asyncio

    if not future.set_running_or_notify_cancel():
        coroutine.close()
        return
    task = _tasks[future] = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(lambda _: _ended(future))


def _ended(future: Future[Any]) -> None:
    task = _tasks.pop(future)
    error: BaseException | None
    if task.cancelled():
        from asyncio import CancelledError

        error = CancelledError()
    else:
        error = task.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


def _cancel(futures: Iterable[Future[Any]]) -> None:
    """Cancel what runs in the loop, from there: it has its task as soon as it has begun."""
    for future in futures:
        if future in _tasks:
            _tasks[future].cancel()


def _forget_threads() -> None:
    """Make everything anew after a fork: threads stay behind in the parent."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()
    _tasks.clear()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
