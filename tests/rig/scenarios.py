"""What the processes do that are killed: begin runs or go on with them, until they are at an end.

Each is called again after every kill with the same file, and comes to the same end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from graphflow import (
    END,
    START,
    Context,
    Limits,
    Retry,
    Send,
    StateGraph,
    add,
    append,
)
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    DatabaseUnavailableError,
    LeaseLostError,
    RunBusyError,
    RunNotFoundError,
)
from graphflow.flow import Flow
from graphflow.testing.llm import FakeLLM
from graphflow.testing.records import (
    NEW_SPEC_JSON,
    SPEC_JSON,
    a_call,
    a_failure,
    a_header,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_adoption,
    an_item,
)
from graphflow.upkeep import Wish
from tests.rig.forge import dump
from tests.rig.ledger import Ledger

__all__ = ["OTHERS", "ROUNDS", "SCENARIOS", "Rounds", "dump", "five"]

ROUNDS = 3
OLD = Path(__file__).parent.parent / "data" / "runs_v1.db"
LIMITS = Limits(steps=1000, visits=1000)


class Rounds(BaseModel):
    """What the rounds add up to."""

    most: int = ROUNDS
    rounds: int = 0
    total: Annotated[int, add] = 0
    item: int = 0
    items: list[int] = [1, 2, 3, 4, 5, 6]
    doubled: list[int] = []
    word: str = ""
    log: Annotated[list[str], append] = []


Act = Callable[[Path, Ledger, int], dict[str, Any]]
"""(database, ledger, rounds) -> how the runs stand in the end."""


def body(ledger: Ledger, name: str, *, closes: bool = False) -> Callable[[Rounds, Context], Any]:
    """Make a body that writes to the ledger, works a little and says where it was."""

    def work(state: Rounds, ctx: Context) -> dict[str, Any]:
        ledger.begin(ctx)
        digest = str(state.total).encode()
        for _ in range(100):
            digest = sha256(digest).digest()
        update: dict[str, Any] = {"total": digest[0], "log": [f"{ctx.step} {name}"]}
        return {**update, "rounds": state.rounds + 1} if closes else update

    return work


def again(first: str) -> Callable[[Rounds], str]:
    """Make a router that goes round."""
    return lambda state: END if state.rounds >= state.most else first


def line(ledger: Ledger) -> StateGraph[Rounds]:
    """One node after the other, in a loop: a transaction per step."""
    graph = StateGraph(Rounds, name="line")
    graph.add_node("plan", body(ledger, "plan"))
    graph.add_node("work", body(ledger, "work", closes=True))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "work")
    graph.add_conditional_edges("work", again("plan"), ["plan", END])
    return graph


def sides(ledger: Ledger) -> StateGraph[Rounds]:
    """Two branches side by side and their join, in a loop."""
    graph = StateGraph(Rounds, name="sides")
    for name in ("plan", "left", "right"):
        graph.add_node(name, body(ledger, name))
    graph.add_node("join", body(ledger, "join", closes=True))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "left")
    graph.add_edge("plan", "right")
    graph.add_edge(["left", "right"], "join")
    graph.add_conditional_edges("join", again("plan"), ["plan", END])
    return graph


def tales(ledger: Ledger) -> StateGraph[Rounds]:
    """A node that writes values which are long enough to be stored once for all who have them."""
    graph = StateGraph(Rounds, name="tales")
    work = body(ledger, "tell", closes=True)
    graph.add_node("tell", lambda state, ctx: {**work(state, ctx), "word": "long" * 2000})
    graph.add_edge(START, "tell")
    graph.add_conditional_edges("tell", again("tell"), ["tell", END])
    return graph


def items(ledger: Ledger) -> StateGraph[Rounds]:
    """A map, three items at once, in a loop."""
    graph = StateGraph(Rounds, name="items")

    def double(item: int, ctx: Context) -> int:
        ledger.begin(ctx)
        return 2 * item

    graph.add_map("double", double, over="items", into="doubled", max_concurrency=3)
    graph.add_node("sum", body(ledger, "sum", closes=True))
    graph.add_edge(START, "double")
    graph.add_edge("double", "sum")
    graph.add_conditional_edges("sum", again("double"), ["double", END])
    return graph


def nest(ledger: Ledger) -> StateGraph[Rounds]:
    """Sends to a subgraph of two steps beside a node, and their join, in a loop."""
    inner = StateGraph(Rounds, name="inner")
    inner.add_node("first", body(ledger, "first"))
    inner.add_node("second", body(ledger, "second"))
    inner.add_edge(START, "first")
    inner.add_edge("first", "second")
    inner.add_edge("second", END)
    graph = StateGraph(Rounds, name="nest")
    graph.add_node("plan", body(ledger, "plan"))
    graph.add_node("sub", inner, input={"item": "item"}, output={"total": "total"})
    graph.add_node("beside", body(ledger, "beside"))
    graph.add_node("join", body(ledger, "join", closes=True), defer=True)

    def fan(state: Rounds) -> list[Any]:
        return [Send("sub", {"item": 1}), Send("sub", {"item": 2}), "beside"]

    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", fan, ["sub", "beside"])
    graph.add_edge("sub", "join")
    graph.add_edge("beside", "join")
    graph.add_conditional_edges("join", again("plan"), ["plan", END])
    return graph


def people(ledger: Ledger) -> StateGraph[Rounds]:
    """Questions, memos, retries, a fallback and a model, side by side."""
    graph = StateGraph(Rounds, name="people")

    def asks(state: Rounds, ctx: Context) -> dict[str, Any]:
        def fetch() -> int:
            ledger.begin(ctx, "!fetch")
            return 7

        found = ctx.memo("fetch", fetch, type=int)
        word = ctx.ask("word", "Which word?", answer=str)
        return {"total": found, "word": word}

    def shaky(state: Rounds, ctx: Context) -> dict[str, Any]:
        ledger.begin(ctx)
        if ctx.attempt < 3:
            raise ConnectionError("away")
        return {"log": [f"{ctx.step} shaky"]}

    def broken(state: Rounds, ctx: Context) -> dict[str, Any]:
        ledger.begin(ctx)
        raise ConnectionError("gone")

    def speaks(state: Rounds, ctx: Context) -> dict[str, Any]:
        ledger.begin(ctx)
        return {"log": [ctx.llm.sync.chat("Say something.").text]}

    graph.add_node("asks", asks)
    graph.add_node("shaky", shaky, retry=Retry(attempts=3, wait=0))
    graph.add_node("broken", broken, retry=Retry(attempts=2, wait=0), fallback="instead")
    graph.add_node("instead", body(ledger, "instead"))
    graph.add_node("speaks", speaks)
    graph.add_question("person", prompt="Say so.", answer=str, into="word")
    for name in ("asks", "shaky", "broken", "speaks"):
        graph.add_edge(START, name)
    graph.add_edge("asks", "person")
    graph.add_edge("person", END)
    for name in ("shaky", "broken", "instead", "speaks"):
        graph.add_edge(name, END)
    return graph


def shown(flow: Flow[Rounds], ids: list[str]) -> dict[str, Any]:
    """Say how runs stand: what must be the same whatever was killed."""
    found = {}
    for run_id in ids:
        run = flow.get(run_id)
        found[run_id] = {"status": run.status, "values": run.values, "path": run.path}
    return found


def to_the_end(flow: Flow[Rounds], rounds: int, run_id: str) -> None:
    """Begin a run or go on with it; answer what it asks."""
    run = flow.run({"most": rounds}, run_id=run_id)
    while run.status == "paused":
        for key in run.open_questions:
            flow.answer(run_id, "yes", key=key, resume=False)
        run = flow.resume(run_id)


def alone(make: Callable[[Ledger], StateGraph[Rounds]]) -> Act:
    """Run one run of a graph."""

    def act(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
        with make(ledger).compile(database, limits=LIMITS) as flow:
            to_the_end(flow, rounds, "one")
            return shown(flow, ["one"])

    return act


def with_model(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Run the graph that asks people and a model."""
    fake = FakeLLM(["Something."] * 100)
    with people(ledger).compile(database, limits=LIMITS, llm=fake.client()) as flow:
        to_the_end(flow, rounds, "one")
        return shown(flow, ["one"])


def batch(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Run six runs in four threads: commits that meet share a transaction."""
    ids = [f"run-{n}" for n in range(6)]
    with sides(ledger).compile(database, limits=LIMITS) as flow:
        flow.batch([{"most": rounds}] * len(ids), run_ids=ids, concurrency=4)
        return shown(flow, ids)


def loop(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Run six runs in an event loop: commits that are due together share a transaction."""
    ids = [f"run-{n}" for n in range(6)]
    with line(ledger).compile(database, limits=LIMITS) as flow:
        asyncio.run(flow.abatch([{"most": rounds}] * len(ids), run_ids=ids))
        return shown(flow, ids)


def fork(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Run a run, and fork it in its second step."""
    with sides(ledger).compile(database, limits=LIMITS) as flow:
        to_the_end(flow, rounds, "one")
        forks = [run.run_id for run in flow.runs() if run.header.fork_of]
        if not forks:
            forks = [flow.fork("one", 2, update={"total": 1}).run_id]
        for run_id in forks:
            flow.resume(run_id)
        names = ["fork" if run_id in forks else run_id for run_id in ("one", *forks)]
        found = shown(flow, ["one", *forks])
        return dict(zip(names, found.values(), strict=True))


def five(ledger: Ledger, *, dies: bool = True) -> StateGraph[Rounds]:
    """Five nodes in a row; the first line of the third kills its process."""
    graph = StateGraph(Rounds, name="five")

    def third(state: Rounds, ctx: Context) -> dict[str, Any]:
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return body(ledger, "third")(state, ctx)

    names = ("first", "second", "third", "fourth", "fifth")
    for name in names:
        graph.add_node(name, third if name == "third" else body(ledger, name))
    for source, target in pairwise((START, *names, END)):
        graph.add_edge(source, target)
    return graph


def cut_off(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Begin the run of a number, which its third node kills."""
    with five(ledger).compile(database) as flow:
        flow.run({"most": 1}, run_id=f"run-{rounds}")
    return {}


def cancel(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Run a run half way, and cancel it."""
    with line(ledger).compile(database, limits=LIMITS) as flow:
        if not flow.runs():
            flow.start({"most": rounds}, run_id="one")
        if flow.get("one").status != "cancelled":
            flow.advance("one", steps=1)
            flow.cancel("one")
        run = flow.get("one")
        return {"one": {"status": run.status}}


def long_log(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Run a run whose write-ahead log is copied into the file at every second commit."""
    from graphflow.checkpoint import sqlite_file

    sqlite_file._LONG_LOG, sqlite_file._LOOK_EVERY = 1, 2  # type: ignore[misc]
    return alone(line)(database, ledger, rounds)


def by_hand(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Call verbs that a graph calls rarely: a kept task that the step leaves out, a late write."""
    store = SqliteCheckpointer(database)
    try:
        try:
            store.find("run-1")
        except RunNotFoundError:
            store.begin(a_header(owner=None), SPEC_JSON, a_step(0), a_snapshot(0), None)
        lease = store.take("run-1", this_process())
        if store.load("run-1").header.step == 0:
            store.keep(lease, 1, a_task(0))
            store.keep(lease, 1, a_task(1))
            store.commit(lease, a_step(1, tasks=1), None, None)
        if len(store.load("run-1").graphs) < 2:
            if not store.load("run-1").attempts:
                store.fail(lease, a_failure(2))
            store.call(lease, a_call(2))
            store.memo(lease, a_memo(2))
            store.ask(lease, a_question(2))
            store.keep_item(lease, an_item(2, 0))
            store.adopt(lease, an_adoption(1), NEW_SPEC_JSON, ())
        store.take("run-1", this_process())
        with suppress(LeaseLostError):
            store.commit(lease, a_step(2), None, None)
        records = store.load("run-1")
        keys = [records.memos[0].key, records.items[0].key, len(records.graphs)]
        return {"run-1": {"tasks": [len(step.tasks) for step in records.steps], "keys": keys}}
    finally:
        store.close()


def upkeep(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Prune and delete runs that are over, down to one that has begun after them."""
    with tales(ledger).compile(database, limits=LIMITS) as flow:
        store = flow.store
        if "end" not in [run.run_id for run in flow.runs()]:
            to_the_end(flow, rounds, "first")
            to_the_end(flow, 8 * rounds, "second")
            flow.start({"most": rounds}, run_id="end")
        if (step := flow.get("end").header.step) < 2:
            flow.advance("end", steps=2 - step)
        store.prune(Wish(keep=2, steps=2))
        if "second" in [run.run_id for run in flow.runs()]:
            store.delete("second")
        runs = {run.run_id: run.values for run in flow.runs()}
        return {"runs": runs, "used": sorted(store.size("end").tables)}


def old_file(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Open a database of an older release, whose tables are brought up to date."""
    if not database.exists():
        copied = database.with_suffix(".copy")
        shutil.copy(OLD, copied)
        copied.rename(database)
    store = SqliteCheckpointer(database)
    try:
        return {header.run_id: {"status": header.status} for header in store.runs()}
    finally:
        store.close()


def numbered(ledger: Ledger, number: int) -> StateGraph[Rounds]:
    """Make the graph of the run of a number: with branches for odd ones."""
    return sides(ledger) if number % 2 else line(ledger)


def begin(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Begin the run of a number, and let go of it."""
    with numbered(ledger, rounds).compile(database, limits=LIMITS) as flow:
        flow.start({}, run_id=f"run-{rounds}")
    return {}


def resume(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Go on with the run of a number, or say who has it."""
    with numbered(ledger, rounds).compile(database, limits=LIMITS) as flow:
        try:
            run = flow.resume(f"run-{rounds}")
        except RunBusyError as busy:
            return {"busy": str(busy), "holder": busy.holder, "since": busy.since}
        return {"status": run.status, "pid": os.getpid()}


def take_over(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Take the run of a number over from whoever has it; say what the database has then."""
    with numbered(ledger, rounds).compile(database, limits=LIMITS) as flow:
        run = flow.resume(f"run-{rounds}", take_over=True)
        found = {"status": run.status, "epoch": flow.get(run.run_id).header.epoch}
    return {**found, "dump": dump(database)}


def hurried_take_over(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Take a run over, with less patience than usual."""
    from graphflow.checkpoint import sqlite_file

    sqlite_file._PATIENCE = 0.2  # type: ignore[misc]
    try:
        return take_over(database, ledger, rounds)
    except DatabaseUnavailableError as error:
        return {"error": str(error)}


OTHERS: dict[str, Act] = {
    "begin": begin,
    "cut_off": cut_off,
    "hurried_take_over": hurried_take_over,
    "resume": resume,
    "take_over": take_over,
}


def keyed(database: Path, ledger: Ledger, rounds: int) -> dict[str, Any]:
    """Run a run in a file whose values are encrypted."""
    store = SqliteCheckpointer(database, key=b"0123456789abcdef" * 2)
    with line(ledger).compile(store, limits=LIMITS) as flow:
        to_the_end(flow, rounds, "one")
        return shown(flow, ["one"])


SCENARIOS: dict[str, Act] = {
    "line": alone(line),
    "sides": alone(sides),
    "items": alone(items),
    "nest": alone(nest),
    "people": with_model,
    "batch": batch,
    "loop": loop,
    "fork": fork,
    "cancel": cancel,
    "long_log": long_log,
    "tales": alone(tales),
    "keyed": keyed,
    "by_hand": by_hand,
    "upkeep": upkeep,
    "old_file": old_file,
}
