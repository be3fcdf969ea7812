"""The floor: no engine, a plain loop over functions on a pydantic model; raw sqlite3 to store."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.peer import AsyncSetUp, DurablePeer, SetUp, bytes_of
from benchmarks.work import Fan, Messages, Small, Wide, expect

TABLE = """create table steps (run text, step integer, state text, primary key (run, step))
    without rowid"""
INSERT = "insert into steps values (?, ?, ?)"


def bump(state: Any) -> dict[str, Any]:
    return {"n": state.n + 1}


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    return connection


class Floor(DurablePeer):
    """model_copy without validation; one INSERT of what changed, which is one commit, per step."""

    name = "floor"
    packages = ("pydantic",)
    importing = "from pydantic import BaseModel"
    settings = (
        "no engine: a plain loop; model_copy(update=), no validation; SQLite WAL,"
        " synchronous=FULL, one INSERT = one commit a step"
    )

    def chain(self, n: int) -> SetUp:
        nodes = [bump] * work.CHAIN

        def run() -> None:
            for _ in range(n):
                state = Small()
                for node in nodes:
                    state = state.model_copy(update=node(state))
                expect(state.n, work.CHAIN)

        yield run

    def loop(self, n: int) -> SetUp:
        def run() -> None:
            state = Small(limit=n)
            while state.n < state.limit:
                state = state.model_copy(update=bump(state))
            expect(state.n, n)

        yield run

    def wide(self, n: int) -> SetUp:
        def run() -> None:
            state = Wide()
            while state.f0 < n:
                state = state.model_copy(update={"f0": state.f0 + 1})
            expect(state.f0, n)

        yield run

    def fanout_sync(self, n: int) -> SetUp:
        def run() -> None:
            for _ in range(n):
                joined([item for item in range(work.FAN)])  # noqa: C416 - a call of nothing each

        yield run

    async def fanout_async(self, n: int, nap: float | None = None) -> AsyncSetUp:
        async def task(item: int) -> int:
            if nap is not None:
                await asyncio.sleep(nap)
            return item

        async def run() -> None:
            for _ in range(n):
                joined(await asyncio.gather(*map(task, range(work.FAN))))

        yield run

    def fanout_sleep(self, n: int) -> AsyncSetUp:
        return self.fanout_async(n, work.NAP)

    @contextmanager
    def stored_loop(self, kind: str, n: int, path: Path) -> Iterator[Callable[[], Any]]:
        with closing(connect(path)) as connection:
            connection.execute(TABLE)
            connection.execute(INSERT, ("t", 0, f'{{"limit":{n}}}'))
            yield lambda: (small if kind == "small" else messages)(connection, n)

    def ckpt_long(self, n: int) -> SetUp:
        return self._stored("msgs", n)

    def reload_msgs(self, n: int) -> SetUp:
        with closing(connect(self.filled("msgs", n))) as connection:
            yield lambda: loaded(connection, n)

    def resume_msgs(self, n: int) -> SetUp:
        path = self.filled("msgs", n)

        def run() -> None:
            with closing(connect(path)) as connection:
                loaded(connection, n)

        yield run

    def history(self, n: int) -> SetUp:
        path = self.filled("small", n)

        def run() -> None:
            with closing(connect(path)) as connection:
                rows = connection.execute("select state from steps order by step").fetchall()
            states = [Small.model_validate_json(text) for (text,) in rows]
            expect((len(states), states[-1].n), (n + 1, n))

        yield run

    async def threads_mem(self, n: int) -> AsyncSetUp:
        async def run() -> None:
            await asyncio.gather(*(short_run(None, k) for k in range(n)))

        yield run

    async def threads_ckpt(self, n: int) -> AsyncSetUp:
        path = self.new_database()
        with closing(connect(path)) as connection:
            connection.execute(TABLE)

            async def run() -> None:
                await asyncio.gather(*(short_run(connection, k) for k in range(n)))

            yield run
            (rows,) = connection.execute("select count(*) from steps").fetchone()
            expect(rows, n * work.THREAD_NODES)
        yield {"bytes": bytes_of(path)}


def joined(results: list[int]) -> None:
    state = Fan().model_copy(update={"results": results})
    state = state.model_copy(update={"total": sum(state.results)})
    expect(state.total, work.FAN_TOTAL)


def small(connection: sqlite3.Connection, n: int) -> None:
    state = Small(limit=n)
    while state.n < state.limit:
        state = state.model_copy(update=bump(state))
        connection.execute(INSERT, ("t", state.n, state.model_dump_json()))
    expect(state.n, n)


def messages(connection: sqlite3.Connection, n: int) -> None:
    state = Messages(limit=n)
    while state.n < state.limit:
        new = work.message(state.n)
        update = {"n": state.n + 1, "messages": [*state.messages, new]}
        state = state.model_copy(update=update)
        text = json.dumps({"n": state.n, "+messages": [new]})
        connection.execute(INSERT, ("t", state.n, text))
    expect((state.n, len(state.messages)), (n, n))


def loaded(connection: sqlite3.Connection, n: int) -> None:
    fields: dict[str, Any] = {"messages": []}
    for (text,) in connection.execute("select state from steps order by step"):
        update = json.loads(text)
        fields["messages"] += update.pop("+messages", [])
        fields |= update
    state = Messages.model_validate(fields)
    expect((state.n, len(state.messages)), (n, n))


async def short_run(connection: sqlite3.Connection | None, k: int) -> None:
    state = Small()
    for step in range(work.THREAD_NODES):
        await asyncio.sleep(work.SHORT_NAP)
        state = state.model_copy(update=bump(state))
        if connection is not None:
            connection.execute(INSERT, (str(k), step, f'{{"n":{state.n}}}'))
    expect(state.n, work.THREAD_NODES)
