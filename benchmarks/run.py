"""Runs the cases: one process per peer, asked in turn, round by round; prints and saves the table.

python -m benchmarks.run [--peers graphflow,floor] [--cases loop,ckpt] [--rounds 5]
python -m benchmarks.run --kills 50
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from benchmarks import machine
from benchmarks.cases import Case, chosen
from benchmarks.kills import compare
from benchmarks.measure import fsync_us
from benchmarks.table import page, short
from benchmarks.worker import PEERS

__all__ = ["Worker", "main", "run_case"]

ROOT = Path(__file__).parent.parent
LONG = 15.0
"""Seconds: of a peer that takes longer for a round, two rounds are enough."""
WARM_UP = 20
"""How many runs warm up a process that is measured once."""


class Worker:
    """The process of one peer.

    Args:
        name: The peer.
        folder: Where its databases go.
        log: What the peer prints goes there.
    """

    def __init__(self, name: str, folder: str | None, log: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", name, *([folder] if folder else [])]
        with log.open("a") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin  # noqa: S101 - it is a pipe
        self._process.stdin.close()
        self._process.wait(60)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask one question, and wait for the answer."""
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - they are pipes
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            return {"error": f"its process ended with code {self._process.wait(60)}"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_case(
    case: Case, workers: dict[str, Worker], rounds: int, folder: str | None, log: Path
) -> dict[str, Any]:
    """Measure a case with all peers, in turn.

    Args:
        case: The case.
        workers: The peers that take part.
        rounds: How many rounds are timed; one that is not goes before.
        folder: Where the databases go.
        log: What the peers print goes there.

    Returns:
        ``{"peers": {name: [facts per round] or {"error": words}}, "fsync_us": [...], "load": x}``.
    """
    found: dict[str, Any] = {name: [] for name in workers}
    fsyncs: list[float] = []
    for number in range(-1 if not case.is_fresh else 0, rounds):
        if case.is_durable:
            fsyncs.append(fsync_us(folder))
        for name, worker in workers.items():
            before = found.get(name)
            if not isinstance(before, list) or (len(before) > 1 and before[-1]["seconds"] > LONG):
                continue
            answer = _ask_fresh(case, name, folder, log) if case.is_fresh else _ask(case, worker)
            if "missing" in answer:
                del found[name]
            elif "error" in answer:
                found[name] = answer
            elif number >= 0:
                before.append(answer["facts"])
    return {"peers": found, "fsync_us": fsyncs, "load": os.getloadavg()[0]}


def _ask(case: Case, worker: Worker) -> dict[str, Any]:
    return worker.ask({"case": case.method, "n": case.n})


def _ask_fresh(case: Case, name: str, folder: str | None, log: Path) -> dict[str, Any]:
    with Worker(name, folder, log) as worker:
        worker.ask({"case": case.method, "n": WARM_UP})
        return _ask(case, worker)


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.kills:
        (options.out / "kills.md").write_text(compare(options.kills, options.db_dir) + "\n")
        return
    log = options.out / "bench.log"
    log.write_text("")
    cases, names = chosen(options.cases), options.peers.split(",")
    if unknown := set(names) - set(PEERS):
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are: {', '.join(PEERS)}")
    workers = {name: Worker(name, options.db_dir, log) for name in names}
    results: dict[str, Any] = {
        "machine": machine.facts(options.db_dir),
        "rounds": options.rounds,
        "peers": {name: worker.ask({"about": True}) for name, worker in workers.items()},
        "cases": {},
    }
    for case in cases:
        begin = time.monotonic()
        result = run_case(case, workers, options.rounds, options.db_dir, log)
        results["cases"][case.name] = result
        print(f"[{time.monotonic() - begin:5.1f} s] {short(case, result)}", flush=True)
        (options.out / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    for worker in workers.values():
        worker.__exit__()
    text = page(results, options.base if options.base in names else names[0])
    (options.out / "bench.md").write_text(text)
    print("\n" + text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure graphflow beside other engines.")
    parser.add_argument(
        "--peers", default=",".join(PEERS), help="comma-separated; all: %(default)s"
    )
    parser.add_argument("--cases", help="comma-separated beginnings of names; all when left out")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (%(default)s)")
    parser.add_argument("--base", default="graphflow", help="whom the ratios are to (%(default)s)")
    parser.add_argument(
        "--db-dir", help="where databases go; on a tmpfs fsync is free: the engine's own cost"
    )
    parser.add_argument(
        "--kills",
        type=int,
        help="kill runs of graphflow and LangGraph so often, and do nothing else",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
