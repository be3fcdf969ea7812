"""Crashes and errors at named points of a run: to test that nothing is lost.

    def job() -> None:
        with crash_at("commit.after", passage=3):
            graph.compile("runs.db").run({"text": "..."}, run_id="a")

    assert in_child(job) == -signal.SIGKILL
    run = graph.compile("runs.db").resume("a")  # nothing is lost, nothing is done twice

A program of its own is ended with `GRAPHFLOW_FAIL_AT=commit.after:3` in its environment.
"""

import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from graphflow import failpoints
from graphflow.failpoints import POINTS, VARIABLE, killer

__all__ = ["POINTS", "VARIABLE", "crash_at", "freeze_at", "in_child", "raise_at", "seen_points"]


@contextmanager
def crash_at(point: str, passage: int = 1) -> Iterator[None]:
    """End this process with SIGKILL when it comes to a point for the n-th time.

    Args:
        point: One of `POINTS`, or `insert.TABLE`, `delete.TABLE`, `update.TABLE.COLUMN`.
        passage: Which time.
    """
    _check(point, passage)
    with _called(killer(point, passage)):
        yield


@contextmanager
def raise_at(point: str, error: BaseException, passage: int = 1) -> Iterator[None]:
    """Raise an error when a point is come to for the n-th time.

    At a statement, a `sqlite3.OperationalError` with a `sqlite_errorname` is what a broken disk
    gives; in a body, any error is what the body raises.

    Args:
        point: As for `crash_at`.
        error: What is raised there.
        passage: Which time.
    """
    _check(point, passage)
    counts: Counter[str] = Counter()
    lock = Lock()

    def fail(name: str) -> None:
        if name == point:
            with lock:
                counts[name] += 1
                is_it = counts[name] == passage
            if is_it:
                raise error

    with _called(fail):
        yield


@contextmanager
def freeze_at(point: str, passage: int = 1) -> Iterator[None]:
    """Stop this process with SIGSTOP at a point, until somebody sends it SIGCONT.

    Args:
        point: As for `crash_at`. In a transaction, between `begin` and `commit.after`, a frozen
            process keeps the database locked for all others.
        passage: Which time.
    """
    _check(point, passage)
    with _called(killer(point, passage, signal.SIGSTOP)):
        yield


@contextmanager
def seen_points() -> Iterator[Counter[str]]:
    """Count how often each point is come to.

    Yields:
        Point -> how often, as it grows.
    """
    counts: Counter[str] = Counter()
    lock = Lock()

    def count(name: str) -> None:
        with lock:
            counts[name] += 1

    with _called(count):
        yield counts


def in_child(job: Callable[[], object]) -> int:
    """Do something in a fork of this process, which has no other threads; wait for its end.

    Returns:
        0; 1 when the job raised something, which is printed; -N when signal N ended the child, as
        -9 after `crash_at`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            job()
            status = 0
        except BaseException:  # noqa: BLE001 - the child ends here, and says why
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _check(point: str, passage: int) -> None:
    start = point.split(".", maxsplit=1)[0]
    if point not in POINTS and start not in {"node", "insert", "delete", "update"}:
        raise ValueError(f"there is no point {point!r}; those there are: {', '.join(POINTS)}")
    if passage < 1:
        raise ValueError(f"passage={passage!r}: the first one is 1")


@contextmanager
def _called(function: Callable[[str], None]) -> Iterator[None]:
    """Have a function called at every point, after those that are called already."""
    before = failpoints.hit

    def both(name: str) -> None:
        if before is not None:
            before(name)
        function(name)

    failpoints.set_hit(function if before is None else both)
    try:
        yield
    finally:
        failpoints.set_hit(before)
