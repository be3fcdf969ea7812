"""The runs that this process advances: each of them once at a time, by one session."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakValueDictionary

from graphflow.errors import RunBusyError

__all__ = ["Holder", "claim", "holder_of", "unclaim"]


class Holder(Protocol):
    """Who advances a run here.

    Attributes:
        is_entered: Whether it has come to where it will let go of the run, whatever happens.
        thread: The thread that it was made in.
    """

    is_entered: bool
    thread: int


_active: WeakValueDictionary[tuple[int, str], Holder] = WeakValueDictionary()
_guard = threading.Lock()


def _begin_anew() -> None:
    """In a forked child: the threads that advance runs stay behind in the parent."""
    global _guard  # noqa: PLW0603 - another thread of the parent may hold it
    _guard = threading.Lock()
    _active.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def claim(store: object, run_id: str, holder: Holder, *, take_over: bool = False) -> None:
    """Note that somebody advances a run; the store's lease is for other processes.

    Args:
        store: Where the run is stored.
        run_id: The run.
        holder: Who advances it, in this thread.
        take_over: Whether to take it from who advances it.

    Raises:
        RunBusyError: Somebody else in this process does.
    """
    key, me = (id(store), run_id), threading.get_ident()
    with _guard:
        found = _active.get(key)
        # An interrupt may have come between the taking of a run and the `with`: nobody is left
        # who would let go of it, and the same thread has come back.
        is_lost = found is not None and not found.is_entered and found.thread == me
        if not (found is None or found is holder or is_lost or take_over):
            raise RunBusyError(
                f"run {run_id} is being advanced in this process already; wait for it, or interrupt"
                " it first. A stream of it that was left is closed by `events.close()`, `await"
                " events.aclose()`."
            )
        holder.thread = me
        _active[key] = holder


def unclaim(store: object, run_id: str, holder: Holder) -> None:
    """Note that somebody does not advance a run any more, if he did."""
    key = (id(store), run_id)
    with _guard:
        if _active.get(key) is holder:
            del _active[key]


def holder_of(store: object, run_id: str) -> Holder | None:
    """Give who advances a run in this process."""
    with _guard:
        return _active.get((id(store), run_id))
