"""Counts the fsyncs of a durable step with strace: unlike a time, it is the same on every machine.

python -m benchmarks.fsyncs [graphflow langgraph burr floor]
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.run import ROOT

__all__ = ["fsyncs_per_step", "main"]

FEW, MANY = 100, 600
"""The difference of two runs: what opens and closes the file is taken off."""


def fsyncs_per_step(peer: str) -> float:
    """Count how often a peer syncs for a step, with the share of copying the log.

    Raises:
        FileNotFoundError: There is no strace.
    """
    return (_fsyncs(peer, MANY) - _fsyncs(peer, FEW)) / (MANY - FEW)


def _fsyncs(peer: str, steps: int) -> int:
    with TemporaryDirectory(prefix="bench-fsyncs-") as folder:
        calls = Path(folder, "calls")
        trace = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(calls)]
        subprocess.run(  # noqa: S603 - our own interpreter and code
            [*trace, sys.executable, "-m", "benchmarks.worker", peer, folder],
            input=json.dumps({"case": "ckpt_small", "n": steps}) + "\n",
            capture_output=True,
            check=True,
            cwd=ROOT,
            text=True,
        )
        return len(re.findall(r"\bf(?:data)?sync\(", calls.read_text()))


def main() -> None:
    """Print a line for each peer."""
    for peer in sys.argv[1:] or ["graphflow", "langgraph", "burr", "floor"]:
        print(f"{peer:12} {fsyncs_per_step(peer):.2f} fsyncs a step")


if __name__ == "__main__":
    main()
