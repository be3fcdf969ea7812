"""Several works in one transaction: those of threads that came together, and those of `together`.

A work that fails is undone alone. Nearly all of those have changed nothing: a lost lease is found
by the first thing that is written. For the others the transaction begins anew, without them: a
savepoint around each work would cost all of them a tenth of their time.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Any, Protocol, TypeVar

from graphflow import failpoints

__all__ = ["Place", "Teller", "Verbs", "Work", "do_all", "settle_all", "take_group"]

_T = TypeVar("_T")
Work = Callable[[sqlite3.Cursor], Any]
"""What is done in a transaction. It may be done again when the transaction was undone."""


class Teller(Protocol):
    """Tells a lease what was stored."""

    def done(self) -> None:
        """It is stored. Called twice when Ctrl-C comes in the middle."""
        ...

    def undo(self) -> None:
        """What was told as done has come to nothing."""
        ...


class Place:
    """The place in the queue of a work whose thread waits for it.

    Attributes:
        work: What is to be done.
        teller: Who is told when it is stored.
        is_portable: Any thread may do it.
        turn: Something is put into it when the thread should look again.
        is_settled: It is known what came of the work.
        result: What the work returned.
        error: Why nothing of it is stored.
    """

    __slots__ = ("error", "is_portable", "is_settled", "result", "teller", "turn", "work")

    def __init__(self, work: Work, teller: Teller | None, *, is_portable: bool) -> None:
        self.work, self.teller, self.is_portable = work, teller, is_portable
        self.turn: SimpleQueue[None] = SimpleQueue()
        self.is_settled = False
        self.result: Any = None
        self.error: BaseException | None = None

    def wait(self, seconds: float) -> None:
        """Wait until the thread should look again, or for a time."""
        with suppress(Empty):
            self.turn.get(timeout=seconds)

    def settle(self, error: BaseException | None = None) -> None:
        """Say what came of the work, and wake its thread.

        Args:
            error: Why the whole transaction failed; None when it was committed.
        """
        if self.is_settled:
            return
        self.error = error or self.error
        if self.error is None and self.teller is not None:
            self.teller.done()
        self.is_settled = True
        self.turn.put(None)


def take_group(queue: deque[Place], own: Place) -> list[Place]:
    """Take the works that a thread may do from the queue, its own in any case."""
    group: list[Place] = []
    others: list[Place] = []
    while queue:
        try:
            place = queue.popleft()
        except IndexError:  # withdrawn just now
            break
        (group if place.is_portable or place is own else others).append(place)
    queue.extendleft(reversed(others))
    return group if own in group else [*group, own]


def do_all(cursor: sqlite3.Cursor, places: Sequence[Place]) -> None:
    """Do works one after the other; one that fails keeps its error and stores nothing.

    Raises:
        Exception: A work's own, when SQLite has undone the whole transaction because of it.
    """
    done: list[Place] = []
    for place in places:
        place.error = None  # from a transaction that was undone
        before = cursor.connection.total_changes
        try:
            place.result = place.work(cursor)
        except Exception as error:
            if not cursor.connection.in_transaction:
                raise
            place.error = error
            if cursor.connection.total_changes != before:
                begin_anew(cursor)
                for other in done:
                    other.result = other.work(cursor)
        else:
            done.append(place)


def begin_anew(cursor: sqlite3.Cursor) -> None:
    """Undo all that was done in a transaction, and begin another one."""
    cursor.execute("ROLLBACK")
    cursor.execute("BEGIN IMMEDIATE")


def settle_all(places: Sequence[Place], error: Exception | None = None) -> None:
    """Settle works that were done in one transaction; see `Place.settle`."""
    for place in places:
        if failpoints.hit is not None:
            failpoints.hit("group.told")
        place.settle(error)


class Verbs:
    """The work of `together`: functions that call verbs of the store in this thread.

    A lease learns at once what a verb did, for the next verbs; it is told that it came to nothing
    when the function, or the whole transaction, fails.

    Attributes:
        thread: The thread that the functions run in, while they do.
    """

    def __init__(self, verbs: Sequence[Callable[[], Any]]) -> None:
        self.thread = 0
        self._verbs = verbs
        self._results: list[Any] | None = None
        self._done: list[tuple[Work, Teller | None]] = []
        self._spoilt: BaseException | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._is_stored = False

    def __call__(self, cursor: sqlite3.Cursor) -> list[Any]:
        """Call all functions; when the transaction was undone since, only do their works again.

        Another work that shared it has failed. The functions themselves have gone on meanwhile, and
        may not be called twice.
        """
        self.thread, self._cursor = get_ident(), cursor
        try:
            if self._results is None:
                self._results = self.call(self._verbs)
            else:
                self._repeat(self._done)
            return self._results
        finally:
            self.thread, self._cursor = 0, None

    def call(self, verbs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Call functions, those of a `together` inside this one too."""
        cursor = self._open_cursor()
        return [self._call(cursor, verb) for verb in verbs]

    def read(self, work: Callable[[sqlite3.Cursor], _T]) -> _T:
        """Do what a verb of one of the functions reads."""
        return work(self._open_cursor())

    def write(self, work: Callable[[sqlite3.Cursor], _T], teller: Teller | None) -> _T:
        """Do what a verb of one of the functions does."""
        cursor = self._open_cursor()
        before = cursor.connection.total_changes
        try:
            result = work(cursor)
        except BaseException as error:
            # A verb stores all or nothing: what is half done goes with the function around it
            if cursor.connection.total_changes != before:
                self._spoilt = error
            raise
        self._done.append((work, teller))
        if teller is not None:
            teller.done()
        return result

    def done(self) -> None:
        """The transaction is committed."""
        self._is_stored = True

    def undo(self) -> None:
        """Nothing: what is stored is told by the verbs."""

    def take_back(self, count: int = 0) -> None:
        """Tell the leases that what they learnt came to nothing, unless it is stored.

        Args:
            count: Of how many works, the first ones, they keep what they learnt.
        """
        while len(self._done) > count and not self._is_stored:
            _, teller = self._done.pop()
            if teller is not None:
                teller.undo()

    def _open_cursor(self) -> sqlite3.Cursor:
        if self._cursor is None:
            raise AssertionError("the functions are not being called")
        return self._cursor

    def _call(self, cursor: sqlite3.Cursor, verb: Callable[[], Any]) -> Any:
        count, outer, self._spoilt = len(self._done), self._spoilt, None
        before = cursor.connection.total_changes
        try:
            result = verb()
            if self._spoilt is not None:
                raise self._spoilt  # noqa: TRY301 - the function has swallowed it
        except Exception as error:
            if not cursor.connection.in_transaction:
                raise
            if cursor.connection.total_changes != before:
                self._do_again(cursor, count)
            result = error
        self._spoilt = outer
        return result

    def _do_again(self, cursor: sqlite3.Cursor, count: int) -> None:
        """Undo all that was done, and do the first works again."""
        begin_anew(cursor)
        self._repeat(self._done[:count])

    def _repeat(self, works: Sequence[tuple[Work, Teller | None]]) -> None:
        """Do works again in a transaction that begins anew."""
        works = list(works)
        self.take_back()
        for work, teller in works:
            self.write(work, teller)
