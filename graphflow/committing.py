"""Commits of many runs in one event loop: those that are due together share a transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

from graphflow import failpoints
from graphflow.checkpoint.memory import MemoryCheckpointer

if TYPE_CHECKING:
    import asyncio

    from graphflow.checkpoint.protocol import Checkpointer

__all__ = ["Committer"]


class _Due:
    """A verb that is due, and how its run hears of its end.

    Attributes:
        verb: What is to be done.
        told: Is set when it is done.
        is_settled: It is done, or has failed.
        is_left: Its run was cancelled, and only waits until it is settled.
    """

    __slots__ = ("is_left", "is_settled", "told", "verb")

    def __init__(self, verb: Callable[[], None], told: asyncio.Future[None]) -> None:
        self.verb, self.told = verb, told
        self.is_settled = self.is_left = False

    def settle(self, result: Any) -> None:
        """Say what came of it."""
        self.is_settled = True
        if self.told.done():
            return  # cancelled just now
        if isinstance(result, BaseException) and not self.is_left:
            self.told.set_exception(result)
        else:
            self.told.set_result(None)


class Committer:
    """Commits for the runs that one event loop advances on one store.

    While one transaction is being written, in a thread, the commits that come meanwhile wait for
    the next one: one fsync serves all of them, and each run still waits for its own. A run that is
    alone commits in the loop itself, without that detour.

    Attributes:
        store: The store.
    """

    _of: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, Committer]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, store: Checkpointer) -> None:
        self.store = store
        self._shares = not isinstance(store, MemoryCheckpointer)
        self._runs = 0
        self._due: list[_Due] = []
        self._writing: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, store: Checkpointer) -> Self:
        """Give the committer of the running loop for a store."""
        import asyncio

        mine = cls._of.setdefault(asyncio.get_running_loop(), {})
        known = mine.get(id(store))
        if known is None or known.store is not store:
            known = mine[id(store)] = cls(store)
        return known  # type: ignore[return-value]  # it has no subclasses

    def __enter__(self) -> Self:
        self._runs += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._runs -= 1
        if not self._runs:
            import asyncio

            self._of[asyncio.get_running_loop()].pop(id(self.store), None)

    async def do(self, verb: Callable[[], None]) -> None:
        """Call a verb of the store, and wait until what it stores is durable.

        Raises:
            Exception: What the verb raised.
        """
        if self._runs == 1 or not self._shares:
            verb()
        else:
            await self._do_with_others(verb)
        if failpoints.hit is not None:
            failpoints.hit("acknowledge")

    async def _do_with_others(self, verb: Callable[[], None]) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        due = _Due(verb, loop.create_future())
        self._due.append(due)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        try:
            await due.told
        except asyncio.CancelledError:
            if not due.is_settled:  # it is on its way: only then is it known how it stands
                due.is_left, due.told = True, loop.create_future()
                await asyncio.wait([due.told])
            raise

    async def _write(self) -> None:
        import asyncio

        try:
            while self._due:
                due, self._due = self._due, []
                verbs = [one.verb for one in due]
                found: list[Any]
                if failpoints.hit is not None:
                    failpoints.hit("loop.lead")
                try:
                    found = await asyncio.to_thread(self.store.together, verbs)
                except BaseException as error:  # noqa: BLE001 - each of the runs raises it
                    found = [error] * len(due)
                for one, result in zip(due, found, strict=True):
                    if failpoints.hit is not None:
                        failpoints.hit("loop.told")
                    one.settle(result)
        finally:
            self._writing = None
