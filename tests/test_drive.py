"""The drivers: scripts and event loops, threads, coroutines, interruptions, odd exceptions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Context, Flow, StateGraph, append
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.protocol import Lease
from graphflow.errors import GraphflowError, RunBusyError, RunFailedError

ROOT = Path(__file__).parent.parent


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0


def fan(bodies: dict[str, Any], **more: Any) -> StateGraph[State]:
    """Make a graph that runs all bodies side by side."""
    graph = StateGraph(State, name="fan")
    for name, body in bodies.items():
        graph.add_node(name, body)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


def one(body: Any, name: str = "one") -> Flow[State]:
    """Make a graph of one node."""
    return fan({name: body}).compile()


async def plain(state: State) -> dict[str, Any]:
    """Write a word, in a coroutine."""
    await asyncio.sleep(0)
    return {"log": ["async"]}


def python(code: str, *, timeout: float = 30) -> str:
    """Run code in a process of its own; a hang becomes a failure."""
    head = "import asyncio, os, signal, sys, threading, time\nfrom tests.test_drive import *\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_plain_siblings_really_run_side_by_side() -> None:
    """100 plain nodes meet at a barrier: each must be running before any can end."""
    barrier = threading.Barrier(100, timeout=20)

    def meet(state: State) -> dict[str, Any]:
        barrier.wait()
        return {"log": ["met"]}

    run = fan({f"n{i}": meet for i in range(100)}).compile().run({})

    assert run.state.log == ["met"] * 100


def test_async_siblings_really_run_side_by_side() -> None:
    """Coroutines meet, in `run` and in `arun`."""

    def flow() -> Flow[State]:
        meeting = asyncio.Barrier(20)

        async def meet(state: State) -> dict[str, Any]:
            async with asyncio.timeout(20):
                await meeting.wait()
            return {"log": ["met"]}

        return fan({f"n{i}": meet for i in range(20)}).compile()

    assert flow().run({}).status == "done"
    assert asyncio.run(flow().arun({})).status == "done"


def test_plain_and_async_siblings_meet() -> None:
    """A plain node waits for what an async sibling does, in both faces."""

    def flow() -> Flow[State]:
        done = threading.Event()

        async def ring(state: State) -> None:
            done.set()

        def hear(state: State) -> None:
            assert done.wait(20)

        return fan({"hear": hear, "ring": ring}).compile()

    assert flow().run({}).status == "done"
    assert asyncio.run(flow().arun({})).status == "done"


def test_a_single_plain_node_runs_in_the_callers_thread() -> None:
    """Loop-bound and thread-bound things of the caller just work."""
    seen = []
    one(lambda s: seen.append(threading.current_thread()) or None).run({})

    assert seen == [threading.current_thread()]


def test_a_plain_node_does_not_block_the_loop() -> None:
    """While it waits in `arun`, the loop goes on: it is the loop that lets it go on."""
    free = threading.Event()

    def wait(state: State) -> None:
        assert free.wait(20)

    async def main() -> str:
        asyncio.get_running_loop().call_later(0.01, free.set)
        return (await one(wait).arun({})).status

    assert asyncio.run(main()) == "done"


def test_run_works_inside_a_running_loop() -> None:
    """As in a notebook: `run` is called where a loop already runs, with async nodes."""

    async def main() -> str:
        return one(plain).run({}).status

    assert asyncio.run(main()) == "done"


def test_async_nodes_of_many_runs_share_one_loop() -> None:
    """`run` keeps one lasting loop, so that clients bound to a loop can be reused."""
    loops = []

    async def note(state: State) -> None:
        loops.append(asyncio.get_running_loop())

    flow = one(note)
    flow.run({})
    flow.run({})

    assert loops[0] is loops[1]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_context_variables_are_carried_in(several: bool, is_async: bool) -> None:
    """A node sees the caller's context, in a thread and on the background loop."""
    word: ContextVar[str] = ContextVar("word", default="none")
    seen = []

    def look(state: State) -> None:
        seen.append(word.get())

    async def look_async(state: State) -> None:
        seen.append(word.get())

    body = look_async if is_async else look
    flow = fan(dict.fromkeys("ab" if several else "a", body)).compile()
    word.set("mine")
    flow.run({})

    async def main() -> None:
        word.set("loop")
        await flow.arun({})

    asyncio.run(main())

    half = len(seen) // 2
    assert seen == ["mine"] * half + ["loop"] * half


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("no"), StopIteration("no"), OSError(2, "no"), Exception()]
)
def test_whatever_a_node_raises_is_its_failure(error: Exception, is_async: bool) -> None:
    """The run fails with the node's own error as the cause, and the attempt is stored."""

    def body(state: State) -> None:
        raise error

    async def body_async(state: State) -> None:
        raise error

    flow = one(body_async if is_async else body)
    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="r")

    if not (is_async and isinstance(error, StopIteration)):  # Python makes it a RuntimeError
        assert caught.value.__cause__ is error
    run = flow.get("r")
    assert (run.status, run.reason) == ("failed", "task")
    assert run.attempts[0].node == "one"
    assert "in body" in run.attempts[0].traceback


def test_an_error_whose_text_cannot_be_made() -> None:
    """It is recorded all the same, and the run is failed."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def body(state: State) -> None:
        raise BrokenError

    flow = one(body)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    assert flow.get("r").status == "failed"


def test_a_validator_that_raises_fails_its_node() -> None:
    """A bug in a validator of the state is recorded at the node whose update met it."""
    from pydantic import field_validator

    class Checked(BaseModel):
        n: int = 0

        @field_validator("n")
        @classmethod
        def check(cls, value: int) -> int:
            if value:
                raise LookupError("a bug in the validator")
            return value

    graph = StateGraph(Checked)
    graph.add_node("a", lambda s: {"n": 1})
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    flow = graph.compile()
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    assert flow.get("r").status == "failed"


def test_a_cancelled_error_of_the_bodys_own_is_its_failure() -> None:
    """Nobody cancelled the run: the body awaited something that was cancelled."""

    async def body(state: State) -> None:
        raise asyncio.CancelledError

    flow = one(body)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    assert flow.get("r").status == "failed"


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_in_a_plain_node_pauses_the_run(
    error: type[BaseException], several: bool
) -> None:
    """KeyboardInterrupt goes through; the run is paused, nothing is marked failed, and resumes."""
    again = [error()]

    def body(state: State) -> dict[str, Any]:
        if again:
            raise again.pop()
        return {"log": ["body"]}

    bodies = {"body": body}
    if several:
        bodies["other"] = lambda s: {"log": ["other"]}
    flow = fan(bodies).compile()
    with pytest.raises(error):
        flow.run({}, run_id="r")

    run = flow.get("r")
    assert (run.status, run.reason) == ("paused", "interrupted")
    assert not run.attempts
    assert flow.resume("r").state.log == list(bodies)


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
def test_an_exit_in_an_async_node_does_not_hang(error: str) -> None:
    """It goes through to the caller, and the next run works."""
    out = python(
        f"""
async def leave(state):
    raise {error}
flow = one(leave)
try:
    flow.run({{}}, run_id="r")
except BaseException as raised:
    print(type(raised).__name__, flow.get("r").status)
print(one(plain).run({{}}).status)
""",
        timeout=4,
    )
    assert out.split() == [error, "paused", "done"]


def test_a_run_inside_an_async_node_does_not_hang() -> None:
    """An async node that calls another flow's `run` is told to await `arun`, or it just works."""
    out = python(
        """
inner = one(plain)
async def outer(state):
    return {"n": len(inner.run({}).state.log)}
try:
    print(one(outer).run({}).state.n)
except RunFailedError as error:
    print("arun" in str(error))
""",
        timeout=4,
    )
    assert out in {"1", "True"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("kind", ["async", "threads"])
def test_a_forked_process_runs_flows(kind: str) -> None:
    """Multiprocessing forks by default: the child's loop and threads are made anew."""
    out = python(
        f"""
meeting = threading.Barrier(2)
meet = lambda s: meeting.wait() * 0 or None
bodies = {{"async": dict(a=plain), "threads": dict.fromkeys("ab", meet)}}
flow = fan(bodies[{kind!r}]).compile()
flow.run({{}})
child = os.fork()
if child == 0:
    signal.alarm(3)
    os._exit(0 if flow.run({{}}).status == "done" else 1)
print("child ended with", os.waitpid(child, 0)[1])
"""
    )
    assert out == "child ended with 0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_does_not_think_that_it_advances_its_parents_runs(tmp_path: Path) -> None:
    """What a thread of the parent advanced at the fork, the child resumes once it is let go of."""
    out = python(
        f"""
began, go_on, told = threading.Event(), threading.Event(), os.pipe()
graph = fan({{"a": lambda s: began.set() or go_on.wait() * 0 or None}})
graph.add_node("b", lambda s: None)
graph.add_edge("a", "b")
graph.add_edge("b", END)
flow = graph.compile({str(tmp_path / "runs.db")!r})
flow.start({{}}, run_id="r")
thread = threading.Thread(target=lambda: flow.advance("r", steps=1))
thread.start()
began.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    os.read(told[0], 1)
    os._exit(0 if flow.resume("r").status == "done" else 1)
go_on.set()
thread.join()
os.write(told[1], b".")
print("child ended with", os.waitpid(child, 0)[1])
"""
    )
    assert out == "child ended with 0"


def test_ctrl_c_while_the_main_thread_waits() -> None:
    """SIGINT cancels the async nodes, waits for them, pauses the run; it resumes."""
    out = python(
        """
first, cleaned = [True], []
async def body(state):
    if first:
        first.clear()
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)
    return {"log": ["body"]}
flow = fan({"body": body, "other": plain}).compile()
try:
    flow.run({}, run_id="r")
except KeyboardInterrupt:
    run = flow.get("r")
    print(run.status, run.reason, len(cleaned), len(run.attempts))
print(flow.resume("r").state.log)
"""
    )
    assert out.splitlines() == ["paused interrupted 1 0", "['body', 'async']"]


def test_ctrl_c_waits_for_plain_nodes() -> None:
    """No body outlives its run: a plain sibling in a thread is waited for, and it counts."""
    out = python(
        """
ended, main = [], threading.main_thread().ident
def slow(state):
    while sys._current_frames()[main].f_code.co_name != "next":
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)
    ended.append(True)
flow = fan({"slow": slow, "other": lambda s: None}).compile()
try:
    flow.run({}, run_id="r")
except KeyboardInterrupt:
    print(flow.get("r").status, len(ended))
"""
    )
    assert out == "done 1"


def test_a_cancelled_arun_is_paused_and_resumes() -> None:
    """Cancelling the task cancels the nodes; the run stands where it was."""
    seen: list[str] = []

    async def body(state: State) -> dict[str, Any]:
        seen.append("begin")
        if len(seen) == 1:
            try:
                await asyncio.sleep(60)
            finally:
                seen.append("cancelled")
        return {"log": ["body"]}

    flow = fan({"body": body, "other": plain}).compile()

    async def main() -> None:
        task = asyncio.create_task(flow.arun({}, run_id="r"))
        while "begin" not in seen:  # noqa: ASYNC110 - the body runs in loops of its own too
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["begin", "cancelled"]
        run = flow.get("r")
        assert (run.status, run.reason) == ("paused", "interrupted")
        assert (await flow.aresume("r")).state.log == ["body", "async"]

    asyncio.run(main())


def test_a_cancelled_arun_waits_for_plain_nodes() -> None:
    """No body outlives its run: resumed at once, it would run twice at the same time."""
    running, begun = [], threading.Event()
    go_on = threading.Event()

    def slow(state: State) -> None:
        running.append(1)
        begun.set()
        go_on.wait(5)
        running.pop()

    flow = one(slow)

    async def main() -> None:
        task = asyncio.create_task(flow.arun({}, run_id="r"))
        while not begun.is_set():  # noqa: ASYNC110 - it is set in a thread
            await asyncio.sleep(0.001)
        task.cancel()
        asyncio.get_running_loop().call_later(0.1, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        still = len(running)
        go_on.set()
        assert not still

    asyncio.run(main())


def test_a_resume_beside_a_running_run_is_refused_and_harmless() -> None:
    """RunBusyError; the one that runs goes on and is done."""
    refused: list[Exception] = []

    def body(state: State) -> dict[str, Any]:
        for again in (lambda: flow.resume("r"), lambda: flow.run({}, run_id="r")):
            try:
                again()
            except GraphflowError as error:
                refused.append(error)
        return {"log": ["body"]}

    flow = one(body)
    run = flow.run({}, run_id="r")

    assert [type(error) for error in refused] == [RunBusyError] * 2
    assert run.status == "done"


class Slow(MemoryCheckpointer):
    """Lets two take one run before either goes on, if nothing keeps them; the first goes first."""

    def __init__(self) -> None:
        super().__init__()
        self.meeting, self.begun = threading.Barrier(2), threading.Event()

    def take(self, run_id: str, owner: str, **given: Any) -> Lease:
        lease = super().take(run_id, owner, **given)
        with suppress(threading.BrokenBarrierError):
            self.meeting.wait(0.3)
        if lease.epoch > 2:
            self.begun.wait(5)
        return lease


def test_two_threads_that_resume_one_run() -> None:
    """One of them advances it, the other is told that it is busy; the run is done."""
    store, refused, seen = Slow(), threading.Event(), list[str]()

    def body(state: State) -> dict[str, Any]:
        store.begun.set()
        refused.wait(1)
        return {"log": ["body"]}

    flow = fan({"body": body}).compile(store)
    flow.start({}, run_id="r")

    def resume() -> None:
        try:
            seen.append(flow.resume("r").status)
        except GraphflowError as error:
            seen.append(type(error).__name__)
            refused.set()

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen) in (["RunBusyError", "done"], ["done", "done"])
    assert flow.get("r").state.log == ["body"]


def test_many_threads_run_one_flow() -> None:
    """A flow is shared by threads; each run has its own records."""
    flow = fan({"a": lambda s: {"log": [str(s.n)]}, "b": plain}).compile()
    logs: dict[int, list[str]] = {}

    def work(n: int) -> None:
        logs[n] = flow.run({"n": n}).state.log

    threads = [threading.Thread(target=work, args=(n,)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert logs == {n: [str(n), "async"] for n in range(30)}


def test_a_hundred_aruns_at_once() -> None:
    """In one loop, plain and async nodes mixed."""
    flow = fan({"a": lambda s: {"log": [str(s.n)]}, "b": plain}).compile()

    async def main() -> list[Any]:
        return await asyncio.gather(*(flow.arun({"n": n}) for n in range(100)))

    assert [run.state.log for run in asyncio.run(main())] == [[str(n), "async"] for n in range(100)]


def test_the_context_says_who_and_which_time() -> None:
    """run_id, node, step, attempt; the idempotency key is the same each time."""
    seen = []

    def body(state: State, ctx: Context) -> None:
        seen.append((ctx.run_id, ctx.node, ctx.step, ctx.attempt, ctx.idempotency_key))
        if len(seen) == 1:
            raise RuntimeError("once")

    flow = one(body)
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="r")
    flow.resume("r")

    assert [item[:4] for item in seen] == [("r", "one", 1, 1), ("r", "one", 1, 2)]
    assert seen[0][4] == seen[1][4] == "r:1:one"


def test_runs_inside_many_plain_siblings_do_not_hang() -> None:
    """As many siblings as the pool has threads, each with siblings of its own inside."""
    out = python(
        """
meeting = threading.Barrier(128)
inner = fan(dict.fromkeys("ab", lambda s: {"log": ["in"]})).compile()
def outer(state):
    meeting.wait()
    return {"log": inner.run({}).state.log}
print(len(fan({f"n{i}": outer for i in range(128)}).compile().run({}).state.log))
""",
        timeout=8,
    )
    assert out == "256"


def test_the_mutation_check_blames_the_culprit() -> None:
    """Of two siblings that read a list, the one that changed it in place fails, not the other."""
    meeting = threading.Barrier(2, timeout=20)

    def bad(state: State) -> None:
        assert state.log == []
        meeting.wait()
        state.log.append("mine")
        meeting.wait()

    def good(state: State) -> dict[str, Any]:
        assert state.log == []
        meeting.wait()
        meeting.wait()
        return {"log": ["good"]}

    with pytest.raises(RunFailedError) as caught:
        fan({"bad": bad, "good": good}).compile(check="mutation").run({}, run_id="r")

    assert [a.node for a in caught.value.run.attempts] == ["bad"]  # type: ignore[attr-defined]  # a Run
