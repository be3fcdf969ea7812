"""Commits that share a transaction: each run is told of its own, and waits until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.committing import Committer

WAIT = 10  # seconds, after which something hangs


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteCheckpointer]:
    """A store whose commits can share a transaction."""
    store = SqliteCheckpointer(tmp_path / "runs.db")
    yield store
    store.close()


def refuse(word: str) -> None:
    """Fail as a verb does whose run has been taken away."""
    raise LookupError(word)


async def all_of(store: SqliteCheckpointer, *verbs: Callable[[], None]) -> list[object]:
    """Do verbs side by side, for two runs; give what each has come to."""
    with Committer.of(store) as mine, Committer.of(store) as other:
        assert mine is other
        return await asyncio.gather(*map(mine.do, verbs), return_exceptions=True)


def test_each_commit_has_its_own_end(file: SqliteCheckpointer) -> None:
    """One that is refused fails for its run alone; all are done, in the order they came."""
    done: list[str] = []
    verbs = [partial(done.append, "a"), partial(refuse, "b"), partial(done.append, "c")]

    found = asyncio.run(all_of(file, *verbs))

    assert [type(one) for one in found] == [type(None), LookupError, type(None)]
    assert done == ["a", "c"]


def test_a_cancelled_run_waits_for_the_commit_that_is_on_its_way(file: SqliteCheckpointer) -> None:
    """Only when it is known whether the step is stored is the run let go of."""
    begun, free, stored = Event(), Event(), Event()

    def slow() -> None:
        begun.set()
        assert free.wait(WAIT)
        stored.set()

    async def cancelled() -> None:
        with Committer.of(file) as committer, Committer.of(file):
            run = asyncio.create_task(committer.do(slow))
            assert await asyncio.to_thread(begun.wait, WAIT)
            run.cancel()
            await asyncio.wait([run], timeout=0.05)
            assert not run.done()
            free.set()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert stored.is_set()

    asyncio.run(cancelled())


def test_a_run_that_is_alone_commits_at_once(file: SqliteCheckpointer) -> None:
    """Without others it makes no detour through a thread."""
    done: list[str] = []

    async def alone() -> None:
        with Committer.of(file) as committer:
            await committer.do(partial(done.append, "a"))
            with pytest.raises(LookupError):
                await committer.do(partial(refuse, "b"))

    asyncio.run(alone())

    assert done == ["a"]
