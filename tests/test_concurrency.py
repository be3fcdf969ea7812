"""Many runs at once, threads and loops, context variables, interruptions that can be resumed."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import GeneratorType
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Context,
    Flow,
    Limits,
    Run,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.protocol import Ending, Lease
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import DefinitionError, GraphflowError, InputError, RunBusyError
from tests.rig import shapes

ROOT = Path(__file__).parent.parent


unlike_batch = pytest.param("abatch")


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
    n: int = 0
    items: list[int] = Field(default_factory=list)
    results: list[str] = Field(default_factory=list)


line, wide = partial(shapes.line, State), partial(shapes.wide, State)


def say(word: str) -> Any:
    """Make a body that writes a word."""
    return lambda s: {"log": [word]}


# ------------------------------------------------------------------------------ many at once


def test_a_thousand_runs_in_one_loop(store: Any) -> None:
    """Each has its own input, state and records; nothing is lost or mixed up."""

    async def double(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"n": state.n * 2}

    graph = line(double=double, check=lambda s: {"log": [str(s.n)]})
    flow = graph.compile(store)
    runs = asyncio.run(flow.abatch([{"n": i} for i in range(1000)]))

    assert [run.state.n for run in runs] == [2 * i for i in range(1000)]
    assert [run.state.log for run in runs] == [[str(2 * i)] for i in range(1000)]
    assert Counter(run.status for run in flow.runs()) == {"done": 1000}
    assert len(flow.get(runs[517].run_id).steps) == 3


def test_a_batch_really_runs_side_by_side(store: Any) -> None:
    """All that are allowed at once meet; not more than that are ever inside."""
    inside, most, meeting = [0], [0], asyncio.Barrier(50)

    async def body(state: State) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        async with asyncio.timeout(20):
            await meeting.wait()
        inside[0] -= 1

    flow = line(body=body).compile(store)
    runs = asyncio.run(flow.abatch([{}] * 200, concurrency=50))

    assert {run.status for run in runs} == {"done"}
    assert most[0] == 50


def test_failed_and_paused_runs_of_a_batch_are_returned(store: Any) -> None:
    """In the order of the inputs; the others go on."""

    def body(state: State) -> dict[str, Any]:
        if state.n % 3 == 0:
            raise ValueError(str(state.n))
        return {"log": ["fine"]}

    flow = line(body=body).compile(store)
    inputs = [{"n": i} for i in range(9)]
    expected = ["failed", "done", "done"] * 3

    assert [run.status for run in asyncio.run(flow.abatch(inputs))] == expected
    assert [run.status for run in flow.batch(inputs)] == expected
    assert [run.status for run in flow.batch(inputs, concurrency=4)] == expected


@pytest.mark.parametrize("face", ["batch", unlike_batch])
def test_a_batch_with_a_wrong_input_does_not_begin(face: str, store: Any) -> None:
    """All inputs are checked first; which one does not fit is said."""
    flow = line(body=say("body")).compile(store)
    inputs = [{"n": 1}, {"n": "many"}]

    def act() -> None:
        flow.batch(inputs) if face == "batch" else asyncio.run(flow.abatch(inputs))

    with pytest.raises(InputError, match=r"inputs\[1\]: .*many"):
        act()

    assert flow.runs() == []


@pytest.mark.parametrize(
    ("face", "concurrency"),
    [
        ("batch", 0),
        ("batch", -1),
        pytest.param("abatch", 0),
        ("abatch", -1),
    ],
)
def test_a_batch_of_no_concurrency_is_refused(face: str, concurrency: int, store: Any) -> None:
    """It could never end."""
    flow = line(body=say("body")).compile(store)

    async def main() -> None:
        async with asyncio.timeout(5):
            await flow.abatch([{}], concurrency=concurrency)

    def act() -> None:
        if face == "batch":
            flow.batch([{}], concurrency=concurrency)
        else:
            asyncio.run(main())

    words = r"concurrency|max_workers|initial value"
    with pytest.raises((DefinitionError, ValueError), match=words):
        act()


def test_a_batch_again_skips_what_is_done(store: Any) -> None:
    """With the same ids: done ones are returned, failed ones go on, the rest begins."""
    fails, ran = [True], list[int]()

    def body(state: State) -> dict[str, Any]:
        ran.append(state.n)
        if state.n == 1 and fails:
            raise ValueError
        return {"log": ["fine"]}

    flow = line(body=body).compile(store)
    inputs, ids = [{"n": i} for i in range(3)], ["a", "b", "c"]
    asyncio.run(flow.abatch(inputs, run_ids=ids))
    fails.clear()
    runs = asyncio.run(flow.abatch(inputs, run_ids=ids))

    assert [run.status for run in runs] == ["done"] * 3
    assert Counter(ran) == {0: 1, 1: 2, 2: 1}


@pytest.mark.parametrize("face", ["batch", "abatch"])
def test_run_ids_that_are_too_few_or_the_same(face: str, store: Any) -> None:
    """They belong to the inputs one by one; it is refused before a run begins."""
    flow = line(body=say("body")).compile(store)

    def act(ids: list[str]) -> None:
        if face == "batch":
            flow.batch([{}, {"n": 1}], run_ids=ids)
        else:
            asyncio.run(flow.abatch([{}, {"n": 1}], run_ids=ids))

    for ids in (["a"], ["a", "b", "c"], ["a", "a"]):
        with pytest.raises(GraphflowError, match="run_ids"):
            act(ids)

    assert flow.runs() == []


# --------------------------------------------------------------------------- off the loop


def test_plain_nodes_run_off_the_loop(store: Any) -> None:
    """A plain body of `arun` blocks its own thread; the loop goes on and lets it go."""
    free = threading.Event()
    threads: list[threading.Thread] = []

    def body(state: State) -> dict[str, Any]:
        threads.append(threading.current_thread())
        assert free.wait(20)
        return {"log": ["free"]}

    graph = line(a=body)
    graph.remove_edge("a", END)
    graph.add_map("m", lambda item: body(State()) and "x", over="items", into="results")
    graph.add_edge("a", "m")
    graph.add_edge("m", END)
    flow = graph.compile(store)

    async def main() -> Run[State]:
        running = asyncio.create_task(flow.arun({"items": [1, 2]}))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, free.set)
        return await running

    assert asyncio.run(main()).status == "done"
    assert threading.current_thread() not in threads


def test_plain_nodes_of_many_runs_are_side_by_side(store: Any) -> None:
    """Plain bodies of several runs in one loop meet at a barrier."""
    barrier = threading.Barrier(20, timeout=20)
    flow = line(a=lambda s: barrier.wait() * 0 or None).compile(store)

    runs = asyncio.run(flow.abatch([{}] * 20))
    assert {run.status for run in runs} == {"done"}


def test_a_router_and_a_gate_in_a_loop_see_no_other_runs_state(store: Any) -> None:
    """A hundred loops at once: each takes its own path."""
    graph = StateGraph(State, name="loop")

    async def count(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"n": state.n - 1, "log": [str(state.n)]}

    graph.add_node("count", count)
    graph.add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda s: "count" if s.n > 0 else END, ["count", END], name="on"
    )
    runs = asyncio.run(graph.compile(store).abatch([{"n": i % 7 + 1} for i in range(100)]))

    for place, run in enumerate(runs):
        assert run.state.log == [str(i) for i in range(place % 7 + 1, 0, -1)]


# --------------------------------------------------------------------------- context variables

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")


def looking(seen: list[str], kind: str) -> Any:
    """Make a body that notes the word of its context, and changes it."""

    def plain(state: Any) -> None:
        seen.append(word.get())
        word.set("changed by a body")

    async def later(state: Any) -> None:
        seen.append(word.get())
        word.set("changed by a body")
        await asyncio.sleep(0)

    return later if kind == "async" else plain


def looks(kind: str, where: str, seen: list[str]) -> StateGraph[State]:
    """Make a graph whose bodies look: alone, several, sent, in a map, in a subgraph, timed."""
    body = looking(seen, kind)
    if where == "several":
        return wide(a=body, b=body)
    graph = StateGraph(State, name="looks")
    if where == "map":
        item_seen = looking(seen, "plain")
        graph.add_map(
            "m", lambda i: item_seen(None) or str(i), over=lambda s: [1, 2], into="results"
        )
    elif where == "subgraph":
        graph.add_node("m", wide(a=body, b=body), input={}, output={"n": "n"})
    elif where == "timed":
        graph.add_node("m", body, timeout=20)
    elif where == "sent":
        graph.add_node("m", body)
        graph.add_conditional_edges(START, lambda s: [Send("m"), Send("m")], ["m"], name="spread")
    else:
        graph.add_node("m", body)
    if where != "sent":
        graph.add_edge(START, "m")
    graph.add_edge("m", END)
    return graph


@pytest.mark.parametrize(
    "face",
    [
        "run",
        "arun",
        "stream",
        "astream",
        pytest.param("batch"),
        "abatch",
    ],
)
@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("where", ["alone", "several", "sent", "map", "subgraph", "timed"])
def test_context_variables_are_carried_everywhere(face: str, kind: str, where: str) -> None:
    """Each body sees the context of who called; what a body beside others sets is its own."""
    seen: list[str] = []
    flow = looks(kind, where, seen).compile()

    async def main() -> None:
        word.set("mine")
        if face == "arun":
            await flow.arun({})
        elif face == "abatch":
            await flow.abatch([{}])
        else:
            async for _ in flow.astream({}):
                pass

    def call() -> None:
        word.set("mine")
        if face == "run":
            flow.run({})
        elif face == "stream":
            list(flow.stream({}))
        elif face == "batch":
            flow.batch([{}], concurrency=2)
        else:
            asyncio.run(main())

    contextvars.copy_context().run(call)
    assert set(seen) == {"mine"}
    assert len(seen) == (1 if where in {"alone", "timed"} else 2)


def test_inner_runs_see_the_context_of_their_body(store: Any) -> None:
    """A run started inside a body has the body's context; many levels deep."""
    seen: list[str] = []
    inner = looks("async", "several", seen).compile()

    def middle(state: State) -> None:
        word.set("set inside")
        inner.run({})

    flow = wide(a=middle, b=say("b")).compile(store)
    contextvars.copy_context().run(lambda: flow.run({}))

    assert seen == ["set inside"] * 2


# ------------------------------------------------------------------------ two for one run


def test_two_threads_one_run(store: Any) -> None:
    """One advances it; the other is told that it is busy, and changes nothing."""
    inside, go, ran = threading.Event(), threading.Event(), list[str]()

    def body(state: State) -> dict[str, Any]:
        ran.append("body")
        inside.set()
        assert go.wait(20)
        return {"log": ["body"]}

    flow = line(body=body).compile(store)
    runs: list[Run[State]] = []
    thread = threading.Thread(target=lambda: runs.append(flow.run({}, run_id="r")))
    thread.start()
    assert inside.wait(20)
    for act in (
        lambda: flow.resume("r"),
        lambda: flow.run({}, run_id="r"),
        lambda: flow.advance("r", steps=1),
        lambda: list(flow.stream(run_id="r")),
        lambda: asyncio.run(flow.aresume("r")),
    ):
        with pytest.raises(RunBusyError, match="r"):
            act()
    assert flow.get("r").status == "running"
    go.set()
    thread.join(20)

    assert (runs[0].status, runs[0].state.log, ran) == ("done", ["body"], ["body"])


def test_two_tasks_one_run(store: Any) -> None:
    """In one event loop likewise."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def body(state: State) -> dict[str, Any]:
        inside.set()
        await go.wait()
        return {"log": ["body"]}

    flow = line(body=body).compile(store)

    async def main() -> Run[State]:
        first = asyncio.create_task(flow.arun({}, run_id="r"))
        await inside.wait()
        with pytest.raises(RunBusyError):
            await flow.aresume("r")
        go.set()
        return await first

    assert asyncio.run(main()).state.log == ["body"]


def test_threads_that_race_for_one_run(store: Any) -> None:
    """Eight threads resume one run again and again: no step is done twice, none is lost."""
    ran: list[int] = []
    graph = StateGraph(State, name="loop")
    graph.add_node("count", lambda s: ran.append(s.n) or {"n": s.n + 1})
    graph.add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda s: END if s.n >= 40 else "count", ["count", END], name="enough"
    )
    flow = graph.compile(store, limits=Limits(steps=1000, visits=1000))
    flow.start({}, run_id="r")
    barrier, errors = threading.Barrier(8), list[BaseException]()

    def race() -> None:
        barrier.wait(20)
        while flow.get("r").status != "done":
            try:
                flow.advance("r", steps=3)
            except RunBusyError:
                pass
            except BaseException as error:  # noqa: BLE001 - the test shows it
                errors.append(error)
                return

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert ran == list(range(40))
    assert flow.get("r").path == ["count"] * 40


class Meddling(MemoryCheckpointer):
    """A store in which somebody else comes along just when a run is let go of."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: Callable[[], Any] | None = None

    def end(self, lease: Lease, ending: Ending) -> None:
        """Let the other one try first."""
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        super().end(lease, ending)


@pytest.mark.parametrize(
    "face",
    [
        pytest.param("advance"),
        pytest.param("start"),
        "resume",
    ],
)
def test_a_run_is_free_only_when_it_has_been_let_go_of(face: str) -> None:
    """Until the store knows that nobody advances it, another thread is told that it is busy."""
    store, told = Meddling(), list[str]()
    graph = StateGraph(State, name="line")
    graph.add_question("q", prompt="?", into="n")
    graph.add_node("b", say("b"))
    for source, target in (START, "q"), ("q", "b"), ("b", END):
        graph.add_edge(source, target)
    flow = graph.compile(store)

    def meddle() -> None:
        try:
            told.append(flow.resume("r").status)
        except RunBusyError:
            told.append("busy")

    if face == "start":
        store.meddle = meddle
        flow.start({}, run_id="r")
    else:
        flow.run({}, run_id="r")
        flow.answer("r", 1, resume=False)
        store.meddle = meddle
        if face == "advance":
            flow.advance("r", steps=1)
        else:
            flow.resume("r", limits=Limits(steps=1))
    assert told == ["busy"]


def test_a_run_that_cannot_be_read_once_it_is_taken_is_let_go_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C while it is read leaves it as it stood, for other processes too."""
    store, taken = MemoryCheckpointer(), list[str]()
    graph = StateGraph(State, name="line")
    graph.add_question("q", prompt="?", into="n")
    graph.add_edge(START, "q")
    graph.add_edge("q", END)
    flow = graph.compile(store)
    flow.run({}, run_id="r")
    load, take = store.load, store.take

    def takes(*given: Any, **more: Any) -> Lease:
        taken.append("r")
        return take(*given, **more)

    def loads(run_id: str, *, tail: bool = False) -> Any:
        if taken:
            raise KeyboardInterrupt
        return load(run_id, tail=tail)

    with monkeypatch.context() as during:
        during.setattr(store, "take", takes)
        during.setattr(store, "load", loads)
        with pytest.raises(KeyboardInterrupt):
            flow.resume("r")
    header = load("r").header
    assert (header.status, header.reason, header.owner) == ("paused", "question", None)
    assert flow.answer("r", 5).state.n == 5


HOLD = """
import sys
from tests.test_concurrency import line
def body(state):
    print("inside", flush=True)
    sys.stdin.readline()
    return {"log": ["theirs"]}
with line(body=body).compile(sys.argv[1]) as flow:
    run = flow.run({}, run_id="r")
    print(run.status, flush=True)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the run `r` of the file `runs.db`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "runs.db")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "inside"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_check_13_two_processes_one_run(other: subprocess.Popen[str], tmp_path: Path) -> None:
    """One wins; the other is told who holds the run and since when, and its body does not run."""
    ran: list[str] = []
    with line(body=lambda s: ran.append("mine")).compile(tmp_path / "runs.db") as flow:
        with pytest.raises(RunBusyError, match=str(other.pid)) as caught:
            flow.resume("r")
        assert any(unit in str(caught.value) for unit in (" s", "second", "since", "ago"))
        assert flow.get("r").status == "running"
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("go\n")
        other.stdin.flush()
        assert other.stdout.readline().strip() == "done"
        assert flow.resume("r").state.log == ["theirs"]
    assert ran == []


def test_a_killed_process_leaves_a_run_that_resumes(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Its owner died: the run is stale, and is taken at once."""
    with line(body=say("mine")).compile(tmp_path / "runs.db") as flow:
        other.kill()
        other.wait()
        assert flow.get("r").status == "stale"
        assert flow.resume("r").state.log == ["mine"]


# -------------------------------------------------------------------------- Ctrl-C in scripts


def python(code: str, *arguments: str, timeout: float = 40) -> list[str]:
    """Run code in a process of its own; a hang becomes a failure."""
    head = "import asyncio, os, signal, sys, threading\nfrom tests.test_concurrency import *\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


CTRL_C = """
path, kind, where = sys.argv[1:]
first = [True]
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
def plain(state):
    if first:
        first.clear()
        interrupt()
        threading.Event().wait(30)
    return {"log": ["body"]}
async def later(state):
    if first:
        first.clear()
        interrupt()
        await asyncio.Event().wait()
    return {"log": ["body"]}
graph = StateGraph(State, name="line")
graph.add_node("a", say("a"))
body = later if "async" in kind else plain
graph.add_node("body", body, **({"timeout": 30} if "timed" in kind else {}))
graph.add_node("b", say("b"))
for source, target in (START, "a"), ("a", "body"), ("body", "b"), ("b", END):
    graph.add_edge(source, target)
with graph.compile(path) as flow:
    try:
        if where == "run":
            flow.run({}, run_id="r")
        elif where == "stream":
            for event in flow.stream({}, run_id="r"):
                pass
        elif where == "batch":
            flow.batch([{}, {"n": 1}], run_ids=["r", "s"])
        elif where == "threads":
            flow.batch([{}], run_ids=["r"], concurrency=2)
        elif where == "arun":
            asyncio.run(flow.arun({}, run_id="r"))
        elif where == "abatch":
            asyncio.run(flow.abatch([{}], run_ids=["r"]))
        else:
            async def main():
                async for event in flow.astream({}, run_id="r"):
                    pass
            asyncio.run(main())
        print("not interrupted")
    except KeyboardInterrupt:
        run = flow.get("r")
        print(run.status, run.reason, run.state.log, len(run.attempts))
    print(flow.resume("r").state.log)
os._exit(0)  # a plain body that was left behind does not hold up the end
"""


FACES = ["run", "stream", "batch", "threads", "arun", "abatch", "astream"]
STOPPABLE = [
    ("plain", "run"),
    ("plain", "batch"),  # a plain body in a thread cannot be stopped: it is waited for, see below
    *((kind, face) for kind in ("async", "timed plain", "timed async") for face in FACES),
]


@pytest.mark.parametrize(("kind", "where"), STOPPABLE)
def test_ctrl_c_leaves_a_run_that_resumes(where: str, kind: str, tmp_path: Path) -> None:
    """A real SIGINT: KeyboardInterrupt, the run is paused "interrupted", and a resume goes on."""
    told = python(CTRL_C, str(tmp_path / "runs.db"), kind, where, timeout=20)

    assert told == ["paused interrupted ['a'] 0", "['a', 'body', 'b']"]


WAITED_FOR = """
path, where = sys.argv[1:]
first, ended, free = [True], [], threading.Event()
def on_alarm(number, frame):
    free.set()
signal.signal(signal.SIGALRM, on_alarm)
def body(state):
    if first:
        first.clear()
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        os.kill(os.getpid(), signal.SIGINT)
        assert free.wait(20)
        ended.append("ended")
    return {"log": ["body"]}
with line(a=say("a"), body=body, b=say("b")).compile(path) as flow:
    try:
        if where == "stream":
            for event in flow.stream({}, run_id="r"):
                pass
        elif where == "astream":
            async def main():
                async for event in flow.astream({}, run_id="r"):
                    pass
            asyncio.run(main())
        elif where == "arun":
            asyncio.run(flow.arun({}, run_id="r"))
        elif where == "several":
            wide(body=body, other=say("other")).compile(flow.store).run({}, run_id="r")
        print("not interrupted")
    except KeyboardInterrupt:
        print(ended, flow.store.load("r").header.reason)
"""


@pytest.mark.parametrize("where", ["stream", "astream", "arun", "several"])
def test_ctrl_c_waits_for_a_plain_body_in_a_thread(where: str, tmp_path: Path) -> None:
    """No body outlives its run: it ends first, then the run is paused."""
    told = python(WAITED_FOR, str(tmp_path / "runs.db"), where, timeout=15)
    assert told == ["['ended'] interrupted"]


ANYWHERE = """
import random
path, face = sys.argv[1:]
chance = random.Random(20261122)
def step(state):
    return {"n": state.n + 1, "log": [str(state.n)]}
async def later(state):
    return step(state)
graph = StateGraph(State, name="loop")
graph.add_node("step", later if "async" in face else step)
graph.add_edge(START, "step")
on = lambda s: END if s.n >= 30 else "step"
graph.add_conditional_edges("step", on, ["step", END], name="on")
signal.signal(signal.SIGALRM, signal.default_int_handler)  # as SIGINT, but when a timer says so
hits = turns = 0
with graph.compile(path, limits=Limits(steps=1000, visits=1000)) as flow:
    flow.run({}, run_id="first")  # Ctrl-C within other libraries' imports is theirs to survive
    while hits <= 40 or turns < 20:
        turns += 1
        run_id = f"r{turns}"
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.015))
                try:
                    run = flow.run({}, run_id=run_id)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                break
            except KeyboardInterrupt:
                hits += 1
        run = flow.get(run_id)
        assert run.status == "done", run
        assert run.state.log == [str(i) for i in range(30)], run.state.log
        assert [s.step for s in run.steps] == list(range(31))
print("all done", file=sys.stdout)
"""


@pytest.mark.parametrize("face", ["plain", "async"])
def test_ctrl_c_anywhere(face: str, tmp_path: Path) -> None:
    """Interrupts that come at any moment, also inside the store: nothing is lost or done twice."""
    assert python(ANYWHERE, str(tmp_path / "runs.db"), face, timeout=120) == ["all done"]


class AtCall:
    """Raises KeyboardInterrupt where Python looks for signals: the nth time in graphflow's code.

    Those places are the entry of a function, and the return of one that is written in C. A
    generator that is thrown away before its end is entered once more, and Python does not look
    then: an interrupt that is raised there is none.
    """

    def __init__(self, number: int) -> None:
        self.left, self.where = number, ""
        self.hook = sys.unraisablehook

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event not in {"call", "c_return"} or f"{os.sep}graphflow{os.sep}" not in name:
            return
        self.left -= 1
        if self.left <= 0 and not self.where:
            self.where = f"{Path(name).name}:{frame.f_lineno} {frame.f_code.co_name} ({event})"
            raise KeyboardInterrupt

    def lost(self, error: Any) -> None:
        """Hear of an exception that nobody could be given."""
        if not (isinstance(error.object, GeneratorType) and error.exc_type is KeyboardInterrupt):
            self.hook(error)


def interrupted_at(number: int, face: str, graph: StateGraph[State], store: Any) -> AtCall:
    """Interrupt one call at its nth place, and give where that was; nowhere: it came to its end."""
    flow, at = graph.compile(store), AtCall(number)
    if face != "run":
        flow.run({}, run_id="r")
    if face == "resume":
        flow.answer("r", 1, resume=False)
    sys.unraisablehook = at.lost
    sys.setprofile(at)
    try:
        if face == "run":
            flow.run({}, run_id="r")
        elif face == "resume":
            flow.resume("r")
        else:
            flow.answer("r", 1)
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
        sys.unraisablehook = at.hook
    try:
        run = flow.run({}, run_id="r")
        if run.reason == "question":
            run = flow.answer("r", 1)
        assert (run.status, run.state.log, run.state.n) == ("done", ["a", "b"], 1)
    except (GraphflowError, AssertionError) as error:
        error.add_note(at.where)
        raise
    return at


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "face"),
    [(kind, face) for kind in ("memory", "sqlite") for face in ("run", "resume", "answer")],
)
def test_ctrl_c_at_each_call(kind: str, face: str, tmp_path: Path) -> None:
    """Wherever in graphflow Ctrl-C hits, the run can be taken up again, and ends alike."""
    graph = StateGraph(State, name="line")
    graph.add_node("a", say("a"))
    graph.add_question("q", prompt="?", into="n")
    graph.add_node("b", say("b"))
    for source, target in (START, "a"), ("a", "q"), ("q", "b"), ("b", END):
        graph.add_edge(source, target)
    wrong, number, is_over = list[str](), 0, False
    while not is_over:
        number += 5 if kind == "memory" else 11  # a sample: each takes a run of its own
        path = tmp_path / f"{number}.db"
        store = MemoryCheckpointer() if kind == "memory" else SqliteCheckpointer(path)
        try:
            is_over = not interrupted_at(number, face, graph, store).where
        except (GraphflowError, AssertionError) as error:
            wrong.append(f"{error.__notes__}: {type(error).__name__}: {str(error)[:90]}")
        finally:
            store.close()
    assert number > 100
    assert not wrong, "\n".join(wrong)


def test_a_cancelled_task_leaves_runs_that_resume(store: Any) -> None:
    """Cancelling the task around arun, abatch or a stream pauses what it advanced."""
    free: list[bool] = []
    inside = Counter[str]()

    async def body(state: State, ctx: Context) -> dict[str, Any]:
        inside[ctx.run_id] += 1
        if not free:
            await asyncio.Event().wait()
        return {"log": ["body"]}

    flow = line(a=say("a"), body=body, b=say("b")).compile(store)
    ids = [f"r{i}" for i in range(10)]

    async def main() -> None:
        task = asyncio.create_task(flow.abatch([{}] * 10, run_ids=ids))
        async with asyncio.timeout(20):
            while len(inside) < 10:  # noqa: ASYNC110 - the bodies say when they are inside
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert {flow.get(run_id).reason for run_id in ids} == {"interrupted"}
    free.append(True)
    runs = asyncio.run(flow.abatch([{}] * 10, run_ids=ids))
    assert [run.state.log for run in runs] == [["a", "body", "b"]] * 10


def test_a_timeout_around_a_run(store: Any) -> None:
    """asyncio.timeout() around arun ends it like a cancellation, and is itself heard."""
    free: list[bool] = []

    async def body(state: State) -> dict[str, Any]:
        if not free:
            await asyncio.Event().wait()
        return {"log": ["body"]}

    flow = line(body=body).compile(store)

    async def main() -> None:
        async with asyncio.timeout(0.05):
            await flow.arun({}, run_id="r")

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert flow.get("r").reason == "interrupted"
    free.append(True)
    assert flow.resume("r").state.log == ["body"]


def test_an_error_in_one_of_many_runs_does_not_stop_the_others(store: Any) -> None:
    """A task group of runs: one fails, the others end as they would."""

    async def body(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        if state.n == 3:
            raise ValueError("three")
        return {"log": ["body"]}

    flow = line(body=body).compile(store)

    async def main() -> list[Any]:
        runs = (flow.arun({"n": i}, run_id=f"r{i}") for i in range(6))
        return await asyncio.gather(*runs, return_exceptions=True)

    found = asyncio.run(main())
    assert [type(item) for item in found].count(Run) == 5
    assert isinstance(found[3], RunFailedError)


# ----------------------------------------------------------------------------- Jupyter cells


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """A real Jupyter kernel."""
    pytest.importorskip("ipykernel", reason="the package ipykernel is missing")
    jupyter = pytest.importorskip("jupyter_client", reason="jupyter_client is missing")
    manager = jupyter.KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def execute(kernel: Any, code: str, *, until: str | None = None) -> tuple[str, str]:
    """Run a cell; interrupt it as the stop button does when it has printed `until`.

    Returns:
        What it printed, and the name of the error that ended it.
    """
    manager, client = kernel
    message = client.execute(code)
    printed, error = "", ""
    while True:
        reply = client.get_iopub_msg(timeout=60)
        if reply["parent_header"].get("msg_id") != message:
            continue
        kind, data = reply["msg_type"], reply["content"]
        if kind == "stream":
            printed += data["text"]
            if until is not None and until in printed:
                manager.interrupt_kernel()
                until = None
        elif kind == "error":
            error = data["ename"]
        elif kind == "status" and data["execution_state"] == "idle":
            return printed.strip(), error


CELL = """
import asyncio, threading
from tests.test_concurrency import *
free = False
def plain(state):
    print("inside", flush=True)
    if not free:
        for _ in range(3000):
            threading.Event().wait(0.01)
    return {"log": ["body"]}
async def later(state):
    print("inside", flush=True)
    for _ in range(600 if not free else 0):  # the kernel hears of it when its loop wakes up
        await asyncio.sleep(0.05)
    return {"log": ["body"]}
flow = line(a=say("a"), body=KIND, b=say("b")).compile()
"""
CELLS = {
    "run": "flow.run({}, run_id='r')",
    "stream": "for event in flow.stream({}, run_id='r'): pass",
    "arun": "await flow.arun({}, run_id='r')",
    "astream": "async for event in flow.astream({}, run_id='r'): pass",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("run", "plain"),
        ("run", "later"),
        ("stream", "later"),
        ("arun", "later"),
        ("astream", "later"),
    ],
)
def test_an_interrupted_cell_leaves_a_run_that_resumes(kernel: Any, how: str, kind: str) -> None:
    """The stop button in the middle of a cell: the run is paused, and the next cell resumes it."""
    assert execute(kernel, CELL.replace("KIND", kind)) == ("", "")
    printed, error = execute(kernel, CELLS[how], until="inside")
    assert printed == "inside"
    assert error in {"KeyboardInterrupt", "CancelledError"}

    printed, error = execute(
        kernel, "run = flow.get('r'); print(run.status, run.reason, run.state.log)"
    )
    assert (printed, error) == ("paused interrupted ['a']", "")
    printed, error = execute(kernel, "free = True; print(flow.resume('r').state.log)")
    assert (printed.splitlines()[-1], error) == ("['a', 'body', 'b']", "")


# ------------------------------------------------------------------ a graph that has changed


class Old(BaseModel):
    n: int = 0


class Wanting(BaseModel):
    n: int = 0
    name: str  # required, and new


class Helped(BaseModel):
    n: int = 0
    name: str = "by default"


def counting(state: Any) -> StateGraph[Any]:
    """Make a graph that counts twice."""
    graph = StateGraph(state, name="changing")
    for name in ("one", "two"):
        graph.add_node(name, lambda s: {"n": s.n + 1})
    for source, target in (START, "one"), ("one", "two"), ("two", END):
        graph.add_edge(source, target)
    return graph


def test_a_required_field_that_was_added(store: Any) -> None:
    """The old run can still be read; a resume names the field; with a default it goes on."""
    counting(Old).compile(store).run({}, run_id="r", limits=Limits(steps=1))
    flow: Flow[Any] = counting(Wanting).compile(store)
    run = flow.get("r")
    assert (run.status, run.values, run.path) == ("paused", {"n": 1}, ["one"])
    assert "one" in str(run)
    with pytest.raises(GraphflowError, match="name"):
        flow.resume("r", limits=Limits(steps=5))
    with pytest.raises(GraphflowError, match="name"):
        _ = run.state
    assert flow.get("r").status == "paused"

    done = counting(Helped).compile(store).resume("r", limits=Limits(steps=5))
    assert (done.status, done.state) == ("done", Helped(n=2))


def test_signals_are_left_as_they_were(store: Any) -> None:
    """Runs install no signal handlers of their own."""
    before = signal.getsignal(signal.SIGINT)
    flow = wide(a=say("a"), b=say("b")).compile(store)
    flow.run({})
    list(flow.stream({}))

    assert signal.getsignal(signal.SIGINT) is before
