"""What the runs of a family share: interrupts reach whoever waits, whenever they come."""

from __future__ import annotations

import threading

import pytest

from graphflow.shared import Interrupted, Shared


def family() -> Shared:
    """Make the surroundings of a run that needs nothing."""
    return Shared(client=None, deps=None, ledger=None)  # type: ignore[arg-type]  # not used here


@pytest.mark.parametrize("is_late", [False, True], ids=["watched before", "watched after"])
def test_an_interrupt_wakes_each_watcher_once(is_late: bool) -> None:
    """Whether it comes before the wait begins or after, and however often it is repeated."""
    shared, woken = family(), list[str]()

    if is_late:
        shared.interrupt()
    shared.watch(lambda: woken.append("woken"))
    shared.interrupt()
    shared.interrupt()

    assert woken == ["woken"]


def test_who_waits_no_more_is_not_woken() -> None:
    """A body that has ended is not told of what comes later."""
    shared, woken = family(), list[str]()

    def wake() -> None:
        woken.append("woken")

    shared.watch(wake)
    shared.unwatch(wake)
    shared.interrupt()

    assert woken == []


def test_an_interrupt_ends_each_sleep() -> None:
    """Two branches that wait for their next attempt are both woken."""
    shared, ended = family(), list[str]()

    def sleep() -> None:
        try:
            shared.sleep(60)
        except Interrupted:
            ended.append("interrupted")

    threads = [threading.Thread(target=sleep) for _ in range(2)]
    for thread in threads:
        thread.start()
    shared.interrupt()
    for thread in threads:
        thread.join(20)

    assert ended == ["interrupted"] * 2
