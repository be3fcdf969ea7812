"""SIGKILL at random moments of runs, of graphflow and LangGraph alike: what runs again.

python -m benchmarks.run --kills 50

Each engine runs a loop of 150 steps that take 4 ms each, on a file, in a process that is killed
and begun again until the run is done. Each body writes a line to a ledger when it begins and when
it has ended. A process of the engine forks those that are killed, so that no import is waited for.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["ENGINES", "compare", "kill_again_and_again"]

STEPS = 150
NAP = 0.004
ROOT = Path(__file__).parent.parent


class Ledger:
    """What the bodies write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def work(self, number: int) -> None:
        """Do the work of a step."""
        os.write(self._file, f"begin {number}\n".encode())
        time.sleep(NAP)
        os.write(self._file, f"end {number}\n".encode())


def graphflow(database: Path, ledger: Ledger, run_id: str) -> list[int]:
    """Begin or go on with a run of graphflow, in its default settings."""
    from typing import Annotated

    from pydantic import create_model

    from graphflow import END, START, Limits, StateGraph, append

    state = create_model("Done", n=(int, 0), done=(Annotated[list[int], append], []))
    graph = StateGraph(state, name="loop")

    def step(state: Any) -> dict[str, Any]:
        ledger.work(state.n)
        return {"n": state.n + 1, "done": [state.n]}

    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda s: "step" if s.n < STEPS else END, ["step", END])
    with graph.compile(database, limits=Limits(steps=1000, visits=1000)) as flow:
        return list(flow.run({}, run_id=run_id).state.done)


def langgraph(
    database: Path, ledger: Ledger, run_id: str, durability: str | None = None
) -> list[int]:
    """Begin or go on with a run of LangGraph: SqliteSaver, and its default durability."""
    import operator
    import sqlite3
    from contextlib import closing
    from typing import Annotated

    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph
    from pydantic import create_model

    state = create_model("Done", n=(int, 0), done=(Annotated[list[int], operator.add], []))
    graph = StateGraph(state)

    def step(state: Any) -> dict[str, Any]:
        ledger.work(state.n)
        return {"n": state.n + 1, "done": [state.n]}

    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda s: "step" if s.n < STEPS else END, ["step", END])
    config: Any = {"configurable": {"thread_id": run_id}, "recursion_limit": 1000}
    more = {} if durability is None else {"durability": durability}
    with closing(sqlite3.connect(database, check_same_thread=False)) as connection:
        app = graph.compile(checkpointer=SqliteSaver(connection))
        has_begun = bool(app.get_state(config).next)
        found = app.invoke(None if has_begun else {}, config, **more)  # type: ignore[call-overload]
        return list(found["done"])


def langgraph_sync(database: Path, ledger: Ledger, run_id: str) -> list[int]:
    """Run LangGraph so that it waits for each checkpoint."""
    return langgraph(database, ledger, run_id, "sync")


Engine = Callable[[Path, Ledger, str], list[int]]
ENGINES: dict[str, Engine] = {
    "graphflow": graphflow,
    "LangGraph": langgraph,
    "LangGraph, durability='sync'": langgraph_sync,
}


def kill_again_and_again(engine: str, folder: Path, kills: int) -> dict[str, Any]:
    """Kill runs of one engine until there were so many kills; every run comes to its end.

    Returns:
        `kills`; `cut`: bodies that were cut off and began again; `again`: bodies that had ended and
        began again; `missing` and `doubled`: numbers in the final states; `runs`.
    """
    chance, found = random.Random(20261130), Counter[str]()  # noqa: S311 - no secret
    while found["kills"] < kills:
        run = f"run-{found['runs']}"
        found["runs"] += 1
        ledger = folder / f"{run}.ledger"
        while True:
            after = chance.uniform(0.05, 0.5) if found["kills"] < kills else None
            done = _one(engine, folder / "runs.db", ledger, run, after)
            if done is not None:
                break
            found["kills"] += 1
        counts = Counter(done)
        found["missing"] += sum(number not in counts for number in range(STEPS))
        found["doubled"] += sum(count > 1 for count in counts.values())
        found.update(_repeated(ledger))
    return {name: found[name] for name in ("runs", "kills", "cut", "again", "missing", "doubled")}


def _one(engine: str, database: Path, ledger: Path, run: str, after: float | None) -> Any:
    """Fork a process that goes on with a run; kill it so many seconds after its first body."""
    size = ledger.stat().st_size if ledger.exists() else 0
    result = database.with_name("result")
    result.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        try:
            done = ENGINES[engine](database, Ledger(ledger), run)
            result.write_text(json.dumps(done))
        except Exception:  # noqa: BLE001 - the parent says that there is no result
            traceback.print_exc()
        finally:
            os._exit(0)
    deadline = None
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if deadline is None and ledger.exists() and ledger.stat().st_size > size:
            deadline = time.monotonic() + (1e9 if after is None else after)
        if deadline is not None and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.001)
    return json.loads(result.read_text())


def _repeated(ledger: Path) -> Counter[str]:
    """Count bodies that began again: those that were cut off, and those that had ended before."""
    found, ended = Counter[str](), set[str]()
    seen = set[str]()
    for line in ledger.read_text().splitlines():
        word, number = line.split()
        if word == "end":
            ended.add(number)
        elif number in seen:
            found["again" if number in ended else "cut"] += 1
        seen.add(number)
    return found


def compare(kills: int, folder: str | None = None) -> str:
    """Kill the runs of all engines.

    Args:
        kills: How many times, per engine.
        folder: Where the databases go.

    Returns:
        A table in Markdown.
    """
    names = ("", "kills", "finished bodies run again", "per kill", "cut off, run again")
    rows = ["| " + " | ".join((*names, "lost", "doubled")) + " |", "|---" * 7 + "|"]
    for engine in ENGINES:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            command = [sys.executable, "-m", "benchmarks.kills", engine, place, str(kills)]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own interpreter and code
        facts = json.loads(done.stdout)
        per_kill = f"{facts['again'] / facts['kills']:.1f}"
        cells = [facts["kills"], facts["again"], per_kill, facts["cut"]]
        cells += [facts["missing"], facts["doubled"]]
        rows.append(f"| {engine} | {' | '.join(map(str, cells))} |")
        print(rows[-1], flush=True)
    return "\n".join(rows)


def _main(engine: str, folder: str, kills: str) -> None:
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
    if engine == "graphflow":
        import sqlite_utils  # noqa: F401 - what the children would import

    else:
        import langgraph.checkpoint.sqlite
        import langgraph.graph  # noqa: F401 - as above
    print(json.dumps(kill_again_and_again(engine, Path(folder), int(kills))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
