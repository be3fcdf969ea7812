"""What threads of the parent hold at a fork: no child waits for it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from graphflow import CircuitBreaker, SqliteCheckpointer
from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.once import once
from tests.test_drive import python

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def forked(work: Callable[[], object]) -> int:
    """Do something in a child, and give how that ended; a hang ends it after two seconds."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def beside(work: Callable[[threading.Event, threading.Event], object], then: Any) -> Any:
    """Do something while a thread is in the middle of something else."""
    is_in, is_over = threading.Event(), threading.Event()
    thread = threading.Thread(target=work, args=(is_in, is_over))
    thread.start()
    is_in.wait()
    try:
        return then()
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize("kind", ["memory", "sqlite", "breaker"])
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(kind: str, tmp_path: Path) -> None:
    """A lock that another thread held at the fork is free in the child, and held in the parent."""
    owner: Any
    if kind == "breaker":
        owner, verb = (breaker := CircuitBreaker()), breaker.admit
    else:
        memory = kind == "memory"
        owner = MemoryCheckpointer() if memory else SqliteCheckpointer(tmp_path / "runs.db")
        verb = owner.runs

    def hold(is_in: threading.Event, is_over: threading.Event) -> None:
        with owner._lock:
            is_in.set()
            is_over.wait()

    def fork() -> int:
        code = forked(verb)
        assert not owner._lock.acquire(blocking=False)
        return code

    assert beside(hold, fork) == 0
    verb()


def test_a_child_forked_under_a_lock_still_has_it() -> None:
    """Who forks while it holds the lock lets go of it in the child as in the parent."""
    store: Any = MemoryCheckpointer()

    def let_go() -> None:
        store._lock.release()
        store.runs()

    with store._lock:
        assert forked(let_go) == 0


class Slow:
    """Works something out until it is told to go on, and at once in a child."""

    def __init__(self) -> None:
        self.parent, self.is_in, self.is_over = os.getpid(), threading.Event(), threading.Event()

    @once
    def value(self) -> list[int]:
        """What is worked out."""
        if os.getpid() == self.parent and threading.current_thread() is not self.main:
            self.is_in.set()
            self.is_over.wait()
        return []

    main = threading.main_thread()


def test_what_is_worked_out_once_needs_no_lock() -> None:
    """Another thread, and a child, work it out beside a first one, and get the same."""
    slow, seen = Slow(), []

    def first(is_in: threading.Event, is_over: threading.Event) -> None:
        slow.is_in, slow.is_over = is_in, is_over
        seen.append(slow.value)

    def second() -> int:
        code = forked(lambda: slow.value)
        seen.append(slow.value)
        return code

    assert beside(first, second) == 0
    assert seen[0] is seen[1] is slow.value
    assert Slow.value.__doc__ == "What is worked out."


def test_no_file_is_opened_while_a_process_forks(tmp_path: Path) -> None:
    """A child would have a copy of a connection that is half open: whoever opens one waits."""
    out = python(
        f"""
began = threading.Event()
def open_another():
    began.set()
    SqliteCheckpointer({str(tmp_path / "two.db")!r}).runs()
def look():  # comes after the hooks that close the connections
    if not began.is_set():
        thread.start()
        began.wait()
        thread.join(0.3)
        seen.append(thread.is_alive())
seen, thread = [], threading.Thread(target=open_another)
os.register_at_fork(before=look)
from graphflow import SqliteCheckpointer
first = SqliteCheckpointer({str(tmp_path / "one.db")!r})
first.runs()
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
thread.join()
print(seen, first.runs())
"""
    )
    assert out == "[True] []"
