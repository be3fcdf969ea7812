"""Many runs at once: in threads, or in an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Sized
from contextvars import copy_context
from functools import partial

from graphflow.background import settle, stop
from graphflow.errors import GraphflowError, InputError
from graphflow.run import Run
from graphflow.state.schema import S
from graphflow.threads import Threads

__all__ = ["abatch", "batch", "check_all"]


def batch(
    count: int,
    one: Callable[[int], Run[S]],
    *,
    concurrency: int,
    on_run: Callable[[int, Run[S]], None] | None,
    interrupt_all: Callable[[], None],
) -> list[Run[S]]:
    """Do so many runs, at most `concurrency` of them at once.

    Args:
        count: How many.
        one: Does the one at a place.
        concurrency: How many at once.
        on_run: Called as each one ends.
        interrupt_all: Ends the wait for those that run, when the batch itself is interrupted.

    Raises:
        ExceptionGroup: Of some no run came; the others have run.
    """

    def attempt(place: int) -> Run[S] | GraphflowError:
        try:
            run = one(place)
        except GraphflowError as error:  # no run came of this one; the others go on
            return error
        if on_run is not None:
            on_run(place, run)
        return run

    _check(concurrency)
    if concurrency == 1:
        return _all_runs([attempt(place) for place in range(count)])
    from concurrent.futures import Future

    threads = Threads(min(concurrency, count))
    futures: list[Future[Run[S] | GraphflowError]] = [Future() for _ in range(count)]
    try:
        for place, future in enumerate(futures):
            context = copy_context()
            threads.submit(partial(settle, future, partial(context.run, attempt, place)))
        return _all_runs([future.result() for future in futures])
    except BaseException:
        for future in futures:
            future.cancel()
        interrupt_all()
        raise
    finally:
        stop(futures)
        threads.close()


async def abatch(
    count: int, one: Callable[[int], Awaitable[Run[S]]], *, concurrency: int
) -> list[Run[S]]:
    """Do as `batch` does, in the running event loop."""
    import asyncio

    _check(concurrency)
    gate = asyncio.Semaphore(concurrency)

    async def attempt(place: int) -> Run[S] | GraphflowError:
        async with gate:
            try:
                return await one(place)
            except GraphflowError as error:  # no run came of this one; the others go on
                return error

    return _all_runs(await asyncio.gather(*(attempt(place) for place in range(count))))


def check_all(inputs: Sequence[object], run_ids: Sequence[str] | None) -> None:
    """Check that there is a list of inputs, and one id of its own for each.

    Raises:
        InputError: There is not.
    """
    if isinstance(inputs, Mapping | str) or not isinstance(inputs, Sized):
        raise InputError(f"batch({inputs!r:.60}): pass a list of inputs, one per run")
    count = len(inputs)
    if run_ids is not None and (len(run_ids) != count or len(set(run_ids)) != count):
        raise InputError(
            f"run_ids: {len(run_ids)} ids, {len(set(run_ids))} of them different, for {count}"
            " inputs; give each its own"
        )


def _check(concurrency: int) -> None:
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise InputError(f"concurrency={concurrency!r}: pass how many run at once, at least 1")


def _all_runs(found: Sequence[Run[S] | GraphflowError]) -> list[Run[S]]:
    """Give the runs of a batch.

    Raises:
        ExceptionGroup: Of some inputs no run came; the runs of the others are stored.
    """
    errors = [item for item in found if isinstance(item, GraphflowError)]
    if errors:
        raise ExceptionGroup("inputs of the batch that no run came of", errors)
    return [item for item in found if isinstance(item, Run)]
