"""The threads and the one event loop of a process in which bodies run beside their caller."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["call_async", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")

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


def in_thread(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Run a function in a thread, in the caller's context.

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
    return pool.submit(lambda: context.run(fn, *args, **kwargs))


def _forget_threads() -> None:
    """Make everything anew after a fork: threads stay behind in the parent."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
