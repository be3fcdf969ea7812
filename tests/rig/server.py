"""A warm process that forks one child per job, so that a kill does not cost the imports.

    python -m tests.rig.server

Reads jobs from its input, a JSON line each, and answers each with a JSON line. It has no threads,
so that forking it is safe; what a child does, it does in the child alone.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from graphflow.testing.failpoints import crash_at, freeze_at, seen_points
from graphflow.testing.llm import FakeLLM
from tests.rig.ledger import Ledger
from tests.rig.scenarios import OTHERS, SCENARIOS


def main() -> None:
    """Do jobs until the input ends."""
    warm_up()
    gc.freeze()
    for text in sys.stdin:
        print(json.dumps(do(json.loads(text))), flush=True)  # noqa: T201 - the client reads it


def warm_up() -> None:
    """Import what the children need, by doing what they do as far as it takes no thread."""
    import asyncio.runners
    import concurrent.futures.thread

    from graphflow.llm import chat, client

    _ = asyncio.runners, concurrent.futures.thread, chat, client
    FakeLLM([]).client().close()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("line", "fork"):
            job = {
                "scenario": name,
                "database": f"{folder}/{name}.db",
                "ledger": f"{folder}/ledger",
            }
            do({**job, "rounds": 1, "here": True})


def do(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job.

    Args:
        job: `scenario`, `database`, `ledger`, `rounds`; `crash_at` or `freeze_at`: a point and a
            passage; `seconds`: when it is killed, after its beginning, or after that of its first
            body if `is_within`; `racers`: how many children do it at the same time; `then`: the
            jobs that are done while the child is frozen, which goes on afterwards.

    Returns:
        `code` as in subprocess; `seconds` from its first body to its end; what the child said:
        `found`, `points`, `error` with `raised`, its type. `racers`: what each of them said;
        `then`: what came of each of those jobs.
    """
    if job.get("here"):
        SCENARIOS[job["scenario"]](Path(job["database"]), Ledger(Path(job["ledger"])), 1)
        return {}
    if "racers" in job:
        return {"racers": race(job)}
    child, reader = begin(job)
    more = {"then": during_a_freeze(child, job["then"])} if "then" in job else {}
    return {**end(child, reader, job), **more}


def begin(job: dict[str, Any], gate: int | None = None) -> tuple[int, int]:
    """Fork a child that does a job, when the gate is open."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        if gate is not None:
            os.close(job["opener"])
            os.read(gate, 1)
        be_child(job, writer)
    os.close(writer)
    return child, reader


def end(child: int, reader: int, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a child, and give what it said."""
    said, seconds = listen(reader, child, job)
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, **json.loads(said)}


def race(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Have several children do a job at the same time."""
    gate, opener = os.pipe()
    children = [begin({**job, "opener": opener}, gate) for _ in range(job["racers"])]
    os.close(gate)
    os.close(opener)
    return [end(*child, job) for child in children]


def during_a_freeze(child: int, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Do jobs while a child is frozen, and have it go on."""
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        raise RuntimeError("the child did not come to the point where it was to be frozen")
    found = [do(job) for job in jobs]
    os.kill(child, signal.SIGCONT)
    return found


def listen(reader: int, child: int, job: dict[str, Any]) -> tuple[str, float]:
    """Read what a child says until its end, and kill it when its time is over."""
    begin, seconds = time.perf_counter(), job.get("seconds")
    deadline = None if seconds is None or job.get("is_within") else begin + seconds
    said = b""
    with open(reader, "rb", buffering=0) as pipe:
        while True:
            left = None if deadline is None else max(0.0, deadline - time.perf_counter())
            if not select.select([pipe], [], [], left)[0]:
                os.kill(child, signal.SIGKILL)
                deadline = None
                continue
            part = pipe.read(65536)
            if not part:
                words = said.decode() if said.endswith(b"}") else "{}"
                return words, time.perf_counter() - begin
            if not said:
                begin = time.perf_counter()
                if job.get("is_within"):
                    deadline = begin + job["seconds"]
            said += part


def be_child(job: dict[str, Any], writer: int) -> None:
    """Do a job, say what came of it, and end."""
    said: dict[str, Any] = {}
    status = 1
    try:
        with ExitStack() as stack:
            if job.get("freeze_at"):
                stack.enter_context(freeze_at(*job["freeze_at"]))
            if job.get("crash_at"):
                stack.enter_context(crash_at(*job["crash_at"]))
            points = stack.enter_context(seen_points()) if job.get("counts") else {}
            ledger = Ledger(Path(job["ledger"]), writer)
            act = {**SCENARIOS, **OTHERS}[job["scenario"]]
            said["found"] = act(Path(job["database"]), ledger, job["rounds"])
            said["points"] = dict(points)
        status = 0
    except BaseException as error:  # noqa: BLE001 - the client says what it was
        said["error"], said["raised"] = traceback.format_exc(), type(error).__name__
    finally:
        os.write(writer, json.dumps(said).encode())
        os._exit(status)


if __name__ == "__main__":
    main()
