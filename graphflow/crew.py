"""Who runs the tasks of a step: in the caller's thread, in other threads, in an event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from graphflow.background import call_async, in_thread, settle, stop
from graphflow.clock import now
from graphflow.engine.effects import Outcome, Steps
from graphflow.engine.tasks import ChildEnd, Ended, Task, text_of
from graphflow.errors import CheckpointError, LeaseLostError, RunBusyError, RunError
from graphflow.execution import Execution, sorted_out
from graphflow.session import Child, Session
from graphflow.shared import Interrupted, Shared

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

__all__ = ["AsyncCrew", "Crew"]

Drive = Callable[[Steps, Session, int], Outcome]
ADrive = Callable[[Steps, Session, int], Awaitable[Outcome]]


class Crew:
    """Runs the tasks of a step for a plain call.

    A single plain body runs in the caller's thread; async bodies run on one lasting background
    loop, plain ones with siblings in threads.

    Args:
        session: The run.
        drive: Advances the child of a subgraph.
    """

    def __init__(self, session: Session, drive: Drive) -> None:
        self._session, self._drive = session, drive
        self._waiting: list[Task] = []
        self._running: set[Future[None]] = set()
        self._left = 0  # those that were launched, and not taken yet
        self._ended: SimpleQueue[Ended | BaseException] = SimpleQueue()

    def __enter__(self) -> Self:
        self._session.shared.watch(self._wake)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Cancel async bodies, and wait for what runs: no body outlives its run."""
        self._session.shared.unwatch(self._wake)
        self.finish()

    def finish(self) -> list[Ended]:
        """Begin nothing more, cancel async bodies, wait for the others, and give what ended."""
        if self._running:
            stop(list(self._running))
        ended = [self._ended.get() for _ in range(self._ended.qsize())]
        return [one for one in ended if isinstance(one, Ended)]

    def run(self, task: Task) -> Ended:
        """Run the only task."""
        if task.node.is_plain:
            return self._execute(task)
        self.start([task])
        return self.next()

    def start(self, tasks: list[Task]) -> None:
        """Take tasks on; they run from the next wait on at the latest."""
        if self._session.shared.is_interrupted:
            return  # the next wait ends at once
        self._waiting += tasks
        if len(self._waiting) > 1 or self._left:
            self._launch()

    def next(self) -> Ended:
        """Give the next task that ends."""
        if self._waiting:
            is_alone = len(self._waiting) == 1 and not self._left
            if is_alone and not self._waiting[0].node.is_async:
                return self._execute(self._waiting.pop())
            self._launch()
        ended = self._ended.get()
        self._left -= 1
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def _launch(self) -> None:
        from concurrent.futures import Future

        tasks, self._waiting = self._waiting, []
        for task in tasks:
            future: Future[None] = Future()
            future.add_done_callback(self._running.discard)
            self._running.add(future)  # before it begins: an interrupt must find what runs
            self._left += 1
            if task.node.is_async:
                call_async(future, self._carry(task))
            else:
                in_thread(future, self._carry_out, task)

    def _carry_out(self, task: Task) -> None:
        """Run a body in a thread; what comes of it is there before its future says so."""
        try:
            ended: Ended | BaseException = self._execute(task)
        except BaseException as error:  # noqa: BLE001 - who waits for it raises it
            ended = error
        self._ended.put(ended)

    async def _carry(self, task: Task) -> None:
        """Run an async body on the background loop, which an exit that it raises would end."""
        import asyncio

        try:
            if task.delay:
                await asyncio.sleep(task.delay)
            ended: Ended | BaseException = await _aexecute(task, self._session)
        except BaseException as error:  # noqa: BLE001 - who waits for it raises it
            ended = error
        self._ended.put(ended)

    def _wake(self) -> None:
        self._ended.put(Interrupted())

    def _execute(self, task: Task) -> Ended:
        """Run a plain body, or the child of a subgraph."""
        if task.node.is_bare and self._session.is_bare and not task.delay:
            return _execute_bare(task)
        if task.delay:
            self._session.shared.sleep(task.delay)
        if task.node.child is not None:
            self._session.begins_task(task)
            started_at, begin = now(), perf_counter()
            try:
                opened = self._session.open_child(task)
            except Exception as error:  # noqa: BLE001 - what is the task's own failure is told apart there
                return _no_child(task, error, started_at)
            outcome = opened.drive(self._drive)
            return Ended(task, _end(opened, outcome), None, started_at, _ms(begin))
        one = Execution(task, self._session)
        try:
            if one.limit is not None:
                return _in_time(one, self._session.shared)
            return one.returned(one.call())
        except BaseException as raised:  # noqa: BLE001 - what is no failure of the body is raised again
            return one.raised(raised)


def _execute_bare(task: Task) -> Ended:
    """Run a plain body that takes no context, when nobody listens and no budget is kept."""
    started_at, begin = now(), perf_counter()
    try:
        value = task.node.fn(task.argument)
    except BaseException as raised:
        signals, own = sorted_out(raised)
        if own is None and not signals:
            raise
        return Ended(task, None, own, started_at, _ms(begin), () if own else signals)
    return Ended(task, value, None, started_at, (perf_counter() - begin) * 1e3)


class AsyncCrew:
    """Runs the tasks of a step in the running loop; plain bodies run in threads.

    Args:
        session: The run.
        adrive: Advances the child of a subgraph.
    """

    def __init__(self, session: Session, adrive: ADrive) -> None:
        self._session, self._adrive = session, adrive
        self._running: set[asyncio.Task[None]] = set()
        self._ended: deque[Ended | BaseException] = deque()
        self._waker: asyncio.Future[None] | None = None
        self._stop: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        import asyncio

        own, loop = asyncio.current_task(), asyncio.get_running_loop()
        if own is not None:
            self._stop = lambda: _stop(loop, own)
            self._session.shared.watch(self._stop)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        """Cancel what still runs, and wait for it: no body outlives its run."""
        import asyncio

        if self._stop is not None:
            self._session.shared.unwatch(self._stop)
        await self.finish()
        if isinstance(error, asyncio.CancelledError) and self._session.shared.is_interrupted:
            own = asyncio.current_task()
            if own is not None:
                own.uncancel()  # it was this run that was meant, not the task around it
            raise Interrupted from None

    async def finish(self) -> list[Ended]:
        """Cancel async bodies, wait for the others, and give what ended."""
        import asyncio

        if self._running:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        ended = [one for one in self._ended if isinstance(one, Ended)]
        self._ended.clear()
        return ended

    async def run(self, task: Task, *, is_alone: bool = True) -> Ended:
        """Run a task; the only one, or one of several in an asyncio task of its own."""
        import asyncio

        if task.delay:
            await asyncio.sleep(task.delay)
        if task.node.child is not None:
            self._session.begins_task(task)
            started_at, begin = now(), perf_counter()
            try:
                opened = self._session.open_child(task)
            except Exception as error:  # noqa: BLE001 - what is the task's own failure is told apart there
                return _no_child(task, error, started_at)
            outcome = await opened.adrive(self._adrive)
            return Ended(task, _end(opened, outcome), None, started_at, _ms(begin))
        if task.node.is_async:
            return await _aexecute(task, self._session)
        return await _afar(task, self._session, is_alone=is_alone)

    def start(self, tasks: list[Task]) -> None:
        """Start tasks side by side."""
        import asyncio

        for task in tasks:
            running = asyncio.create_task(self._run(task))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def next(self) -> Ended:
        """Give the next task that ends."""
        if not self._ended:
            import asyncio

            self._waker = asyncio.get_running_loop().create_future()
            await self._waker
        ended = self._ended.popleft()
        if isinstance(ended, BaseException):
            raise ended
        return ended

    async def _run(self, task: Task) -> None:
        try:
            self._ended.append(await self.run(task, is_alone=False))
        except BaseException as error:  # noqa: BLE001 - it ends the run, in the run's own asyncio task
            self._ended.append(error)
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)


async def _aexecute(task: Task, session: Session) -> Ended:
    """Run an async body."""
    import asyncio

    one = Execution(task, session)
    try:
        if one.limit is None:
            return one.returned(await one.call())
        clock = asyncio.timeout(one.limit)
        try:
            async with clock:
                value = await one.call()
        except TimeoutError:
            if clock.expired():
                return one.ran_out()
            raise
        return one.returned(value)
    except asyncio.CancelledError as cancelled:
        own = asyncio.current_task()
        if own is not None and own.cancelling():
            return one.raised(cancelled)
        error = RunError("the body awaited something that was cancelled")
        error.__cause__ = cancelled
        return one.raised(error)
    except BaseException as raised:  # noqa: BLE001 - what is no failure of the body is raised again
        return one.raised(raised)


async def _afar(task: Task, session: Session, *, is_alone: bool) -> Ended:
    """Run a plain body in a thread, for a caller that awaits; cancelled, it is waited for."""
    import asyncio
    from concurrent.futures import Future

    one = Execution(task, session)
    if one.limit is None:
        body: Future[Ended] = Future()
        in_thread(body, _call, one)
    else:
        body = _apart(one)
    far = asyncio.wrap_future(body)
    try:
        done, _ = await asyncio.wait([far], timeout=one.limit)
        return far.result() if done else one.ran_out()
    except asyncio.CancelledError:
        if one.limit is not None:
            raise  # the body is left behind
        await asyncio.wait([far])  # no body outlives its run
        if is_alone:
            raise
        return far.result()  # what it did is kept, though the run goes no further


def _call(one: Execution) -> Ended:
    try:
        return one.returned(one.call())
    except BaseException as raised:  # noqa: BLE001 - what is no failure of the body is raised again
        return one.raised(raised)


def _in_time(one: Execution, shared: Shared) -> Ended:
    """Run a plain body in a thread of its own, and wait for it as long as it may take."""
    from concurrent.futures import FIRST_COMPLETED, Future, wait

    body = _apart(one)
    stopped: Future[Ended] = Future()

    def leave() -> None:
        stopped.set_exception(Interrupted())

    shared.watch(leave)
    try:
        done, _ = wait([body, stopped], one.limit, FIRST_COMPLETED)
    finally:
        shared.unwatch(leave)
    if body in done:
        return body.result()
    if done:
        raise Interrupted  # the body is left behind, as when its time is up
    return one.ran_out()


def _apart(one: Execution) -> Future[Ended]:
    """Run a body in a thread that may be left behind: what it returns too late is dropped."""
    from concurrent.futures import Future
    from contextvars import copy_context

    future: Future[Ended] = Future()
    work = copy_context().run
    Thread(target=settle, args=(future, lambda: work(_call, one)), daemon=True).start()
    return future


def _stop(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    loop.call_soon_threadsafe(task.cancel)


def _no_child(task: Task, error: Exception, started_at: str) -> Ended:
    """Take what kept a child from being opened as the task's failure, unless it is the store's."""
    if isinstance(error, CheckpointError | LeaseLostError | RunBusyError):
        raise error
    wrong = RunError(f"subgraph {task.node.name!r} cannot begin: {text_of(error)}")
    wrong.__cause__ = error
    return Ended(task, None, wrong, started_at, 0.0)


def _end(opened: Child, outcome: Outcome | None) -> ChildEnd:
    """Say how a child stands."""
    if outcome is None:  # it was done before
        return ChildEnd("done", None, opened.last_values(), {})
    ending = outcome.ending
    if ending is None:
        raise AssertionError("a child goes on until it stops")
    values, words = opened.position.values, ending.error or ""
    return ChildEnd(ending.status, ending.reason, values, outcome.errors, words)


def _ms(begin: float) -> float:
    return (perf_counter() - begin) * 1e3
