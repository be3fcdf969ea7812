"""Cancelling runs: those that wait, those that are being advanced here or by another process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Context, Flow, Limits, Run, RunFailedError, StateGraph, append
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import AnswerError, LeaseLostError, RunError, RunNotFoundError
from graphflow.events import DoneEvent
from tests.rig import shapes

ROOT = Path(__file__).parent.parent


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    reply: str = ""


line, wide = partial(shapes.line, State), partial(shapes.wide, State)


def asking() -> StateGraph[State]:
    """Make a graph of one question."""
    graph = StateGraph(State, name="line")
    graph.add_question("q", prompt="?", into="reply")
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    return graph


@contextmanager
def elsewhere(act: Callable[[], Any]) -> Iterator[list[Any]]:
    """Do something in another thread; afterwards its result or error stands in the list."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(act())
        except BaseException as error:  # noqa: BLE001 - it is told to who asked
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        thread.join(30)
    assert not thread.is_alive(), "the run went on"


def test_a_paused_run_is_cancelled_for_good(store: Any) -> None:
    """Status cancelled with the reason; nothing goes on with it any more."""
    flow = asking().compile(store)
    flow.run({}, run_id="r")
    run = flow.cancel("r", reason="not needed")

    assert (run.status, run.reason) == ("cancelled", "not needed")
    with pytest.raises(AnswerError, match="cancelled"):
        flow.answer("r", "late")
    assert flow.resume("r").status == "cancelled"
    assert flow.run({}, run_id="r").status == "cancelled"
    assert flow.advance("r", steps=1).status == "cancelled"
    assert flow.get("r").state.reply == ""


def test_a_cancelled_run_can_be_read_and_forked(store: Any) -> None:
    """It is over, not gone."""
    flow = line(a=lambda s: {"log": ["a"]}, b=lambda s: {"log": ["b"]}).compile(store)
    flow.run({}, run_id="r", limits=Limits(steps=1))
    run = flow.cancel("r")

    assert (run.state.log, run.path) == (["a"], ["a"])
    assert [r.run_id for r in flow.runs(status="cancelled")] == ["r"]
    assert flow.fork("r", 0, update={"log": ["x"]}).reason == "limit:steps"


@pytest.mark.parametrize("how", ["done", "cancelled"])
def test_a_run_that_is_over_is_not_cancelled(how: str, store: Any) -> None:
    """There is nothing to cancel; it stays as it is."""
    flow = line(a=lambda s: None).compile(store)
    flow.run({}, run_id="r", limits=Limits(steps=1)) if how == "done" else flow.start(
        {}, run_id="r"
    )
    if how == "cancelled":
        flow.cancel("r", reason="first")
    with pytest.raises(RunError, match=f"{how} already"):
        flow.cancel("r", reason="second")

    assert flow.get("r").status == how


def test_a_failed_run_is_cancelled(store: Any) -> None:
    """Nobody is to resume it."""
    flow = line(a=lambda s: 1 / 0).compile(store)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")

    assert flow.cancel("r").status == "cancelled"
    assert flow.resume("r").status == "cancelled"


def test_no_such_run_to_cancel(store: Any) -> None:
    """The message says so."""
    with pytest.raises(RunNotFoundError):
        asking().compile(store).cancel("nothing")


def test_cancel_by_a_beginning_of_the_id(store: Any) -> None:
    """As everywhere, a beginning that only this id has will do."""
    flow = asking().compile(store)
    run = flow.run({})

    assert flow.cancel(run.run_id[:20]).status == "cancelled"


# --------------------------------------------------------------- while it is being advanced


def test_a_run_blocked_in_a_plain_body(store: Any) -> None:
    """cancel() returns at once; when the body ends, what it did is refused, and run() says so."""
    inside, go = threading.Event(), threading.Event()

    def body(state: State) -> dict[str, Any]:
        inside.set()
        assert go.wait(30)
        return {"log": ["too late"]}

    flow = line(a=lambda s: {"log": ["a"]}, body=body, b=lambda s: {"log": ["b"]}).compile(store)
    with elsewhere(lambda: flow.run({}, run_id="r")) as found:
        assert inside.wait(30)
        assert flow.cancel("r").status == "cancelled"
        go.set()
    run = found[0]

    assert isinstance(run, Run), run
    assert (run.status, run.state.log) == ("cancelled", ["a"])
    assert flow.get("r").state.log == ["a"]


@pytest.mark.parametrize("face", ["run", "arun"])
@pytest.mark.parametrize("several", [False, True])
def test_a_run_blocked_in_async_bodies(face: str, several: bool, store: Any) -> None:
    """They are cancelled and clean up; the caller gets the cancelled run, and no error."""
    inside, cleaned = threading.Event(), threading.Event()

    async def body(state: State) -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def other(state: State) -> None:
        await asyncio.Event().wait()

    bodies = {"body": body, "other": other} if several else {"body": body}
    flow = wide(**bodies).compile(store)

    def act() -> Run[State]:
        if face == "run":
            return flow.run({}, run_id="r")
        return asyncio.run(flow.arun({}, run_id="r"))

    with elsewhere(act) as found:
        assert inside.wait(30)
        flow.cancel("r", reason="enough")
    assert cleaned.is_set()
    run = found[0]
    assert isinstance(run, Run), run
    assert (run.status, run.reason) == ("cancelled", "enough")


def test_cancelling_a_run_does_not_cancel_the_task_around_it(store: Any) -> None:
    """The asyncio task that awaited the run goes on: nothing of the cancellation sticks to it."""
    inside = threading.Event()

    async def body(state: State) -> None:
        inside.set()
        await asyncio.Event().wait()

    flow = wide(body=body).compile(store)
    canceller = threading.Thread(target=lambda: (inside.wait(30), flow.cancel("r")))

    async def main() -> tuple[str, int]:
        run = await flow.arun({}, run_id="r")
        own = asyncio.current_task()
        assert own is not None
        left = own.cancelling()
        await asyncio.sleep(0)
        return run.status, left

    canceller.start()
    try:
        assert asyncio.run(main()) == ("cancelled", 0)
    finally:
        canceller.join(30)


def test_a_run_in_the_same_loop_is_cancelled(store: Any) -> None:
    """A coroutine beside it calls cancel()."""
    inside = asyncio.Event()

    async def body(state: State) -> None:
        inside.set()
        await asyncio.Event().wait()

    flow = wide(body=body).compile(store)

    async def main() -> Run[State]:
        running = asyncio.create_task(flow.arun({}, run_id="r"))
        await inside.wait()
        flow.cancel("r")
        async with asyncio.timeout(20):
            return await running

    assert asyncio.run(main()).status == "cancelled"


def test_a_body_cancels_its_own_run(store: Any) -> None:
    """It ends like any other cancelled run; what the body returns is refused."""
    flows: list[Flow[State]] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        flows[0].cancel(ctx.run_id)
        return {"log": ["refused"]}

    flows.append(line(body=body, b=lambda s: {"log": ["b"]}).compile(store))
    run = flows[0].run({}, run_id="r")

    assert (run.status, run.state.log) == ("cancelled", [])


def test_siblings_of_a_cancelled_run_are_waited_for(store: Any) -> None:
    """No plain body outlives its run: run() returns when all of them have ended."""
    inside, go, ended = threading.Barrier(3), threading.Event(), list[str]()

    def body(state: State) -> None:
        inside.wait(30)
        assert go.wait(30)
        ended.append("body")

    flow = wide(a=body, b=body).compile(store)
    with elsewhere(lambda: flow.run({}, run_id="r")) as found:
        inside.wait(30)
        flow.cancel("r")
        assert found == []
        go.set()
    assert found[0].status == "cancelled"
    assert ended == ["body", "body"]


def test_a_run_with_a_child_is_cancelled(store: Any) -> None:
    """The child gets the same ending; its body is cancelled too."""
    inside = threading.Event()

    async def body(state: State) -> None:
        inside.set()
        await asyncio.Event().wait()

    graph = StateGraph(State, name="outer")
    graph.add_node("sub", line(a=lambda s: {"log": ["a"]}, body=body), output={"log": "log"})
    graph.add_edge(START, "sub")
    graph.add_edge("sub", END)
    flow = graph.compile(store)
    with elsewhere(lambda: flow.run({}, run_id="r")) as found:
        assert inside.wait(30)
        flow.cancel("r")

    assert found[0].status == "cancelled"
    assert flow.get("r").children["1:sub"].status == "cancelled"


def test_a_stream_of_a_cancelled_run_ends_with_it(store: Any) -> None:
    """The last event says that the run is cancelled, as the records do."""

    async def body(state: State, ctx: Context) -> None:
        await ctx.emit("inside")
        await asyncio.Event().wait()

    flow = wide(body=body).compile(store)
    events = []
    for event in flow.stream({}, run_id="r"):
        events.append(event)
        if event.type == "custom":
            flow.cancel("r", reason="enough")

    assert flow.get("r").status == "cancelled"
    last = events[-1]
    assert isinstance(last, DoneEvent)
    assert (last.status, last.reason) == ("cancelled", "enough")


def test_an_astream_of_a_cancelled_run_ends_with_it(store: Any) -> None:
    """The same in an event loop."""

    async def body(state: State, ctx: Context) -> None:
        await ctx.emit("inside")
        await asyncio.Event().wait()

    flow = wide(body=body).compile(store)

    async def main() -> list[Any]:
        events = []
        async with asyncio.timeout(20):
            async for event in flow.astream({}, run_id="r"):
                events.append(event)
                if event.type == "custom":
                    flow.cancel("r", reason="enough")
        return events

    last = asyncio.run(main())[-1]
    assert (last.type, last.status, last.reason) == ("done", "cancelled", "enough")


def test_a_run_that_waits_for_its_retry_is_cancelled(store: Any) -> None:
    """The wait between two tries ends."""
    from graphflow import Retry

    tried = threading.Event()

    def body(state: State) -> None:
        tried.set()
        raise ConnectionError

    graph = StateGraph(State, name="line")
    graph.add_node("a", body, retry=Retry(attempts=3, wait=3600))
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    flow = graph.compile(store)
    with elsewhere(lambda: flow.run({}, run_id="r")) as found:
        assert tried.wait(30)
        flow.cancel("r")

    assert found[0].status == "cancelled"


# ------------------------------------------------------------------------- other processes


CANCEL = """
import sys
from tests.test_cancel import line
with line(body=print, b=print).compile(sys.argv[1]) as flow:
    print(flow.cancel("r", reason="from afar").status)
"""


def python(code: str, *arguments: str) -> str:
    """Run code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize(
    "face",
    [
        "run",
        "arun",
        pytest.param("stream"),
        "batch",
    ],
)
def test_another_process_cancels(face: str, tmp_path: Path) -> None:
    """What this process does afterwards is refused; it is given the cancelled run."""
    ran: list[str] = []

    def body(state: State) -> dict[str, Any]:
        ran.append("body")
        assert python(CANCEL, str(tmp_path / "r.db")) == "cancelled"
        return {"log": ["too late"]}

    graph = line(body=body, b=lambda s: ran.append("b"))
    with graph.compile(tmp_path / "r.db") as flow:
        if face == "run":
            run = flow.run({}, run_id="r")
        elif face == "arun":
            run = asyncio.run(flow.arun({}, run_id="r"))
        elif face == "batch":
            (run,) = flow.batch([{}], run_ids=["r"])
        else:
            last = list(flow.stream({}, run_id="r"))[-1]
            assert isinstance(last, DoneEvent), last
            assert last.status == "cancelled"
            run = flow.get("r")
        assert (run.status, run.reason, run.state.log) == ("cancelled", "from afar", [])
    assert ran == ["body"]


def test_what_a_cancelled_runs_owner_writes_is_refused(tmp_path: Path) -> None:
    """Each verb under the old lease raises, and the records stay as they were."""
    store = SqliteCheckpointer(tmp_path / "r.db")
    leases: list[Any] = []
    refused: list[str] = []

    def body(state: State, ctx: Context) -> dict[str, Any]:
        flow.cancel("r")
        for act in (lambda: ctx.memo("x", lambda: 1), lambda: ctx.memo("y", lambda: 2)):
            try:
                act()
            except LeaseLostError as error:
                refused.append(str(error))
        return {"log": ["late"]}

    flow = line(body=body).compile(store)
    run = flow.run({}, run_id="r")

    assert run.status == "cancelled"
    assert len(refused) == 2
    assert leases == []
    assert (flow.get("r").state.log, list(flow.get("r").records.memos)) == ([], [])
    flow.close()
