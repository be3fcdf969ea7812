"""Other processes to test with: one that lives, and one that has ended."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["ended_process", "living_process"]

_SAY_WHO = (
    "import sys; from graphflow.checkpoint.owner import this_process; "
    "print(this_process(), flush=True); sys.stdin.read()"
)


@contextmanager
def living_process() -> Iterator[str]:
    """Start a process that lives as long as the `with`.

    Yields:
        Its name, as `graphflow.checkpoint.owner.this_process` gives it there.
    """
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _SAY_WHO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise AssertionError("it was started with a pipe")
        yield process.stdout.readline().strip()
    finally:
        process.communicate("")


@cache
def ended_process() -> str:
    """Start a process and wait until it has ended.

    Returns:
        Its name.
    """
    with living_process() as name:
        pass
    return name
