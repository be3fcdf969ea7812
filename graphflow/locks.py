"""Locks that a forked child never finds held by a thread which stayed behind in its parent."""

from __future__ import annotations

import os
from threading import RLock
from typing import Protocol
from weakref import WeakSet

__all__ = ["lock_for"]


class _Locked(Protocol):
    _lock: RLock


_owners: WeakSet[_Locked] = WeakSet()


def lock_for(owner: _Locked) -> RLock:
    """Give a reentrant lock to be kept as `owner._lock`; a forked child has it free, or anew."""
    _owners.add(owner)
    return RLock()


def _renew() -> None:
    """In a forked child: replace what a thread of the parent holds, and nobody can release here."""
    for owner in list(_owners):
        lock = owner._lock  # noqa: SLF001 - it is given to its owner above
        if lock.acquire(blocking=False):  # nobody's, or held around the fork by this thread
            lock.release()
        else:
            owner._lock = RLock()  # noqa: SLF001 - as above


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
