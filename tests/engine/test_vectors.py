"""The golden cases of the execution rules: each must be seen exactly, however it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from graphflow.checkpoint.memory import MemoryCheckpointer
from tests.engine.cases import CASES, assert_seen
from tests.engine.vectors import Player, Way, reopening

ONE_WORKER = {"fallback_of_one_send"}
"""Its script counts executions."""

MANY_WORKERS = [case for case in CASES if case["name"] not in ONE_WORKER]


def name_of(case: Mapping[str, Any]) -> str:
    """Name a case."""
    return str(case["name"])


every_case = pytest.mark.parametrize("case", CASES, ids=name_of)


def play(case: Mapping[str, Any], store: Callable[[], Any], way: Way) -> None:
    """Play a case, and compare each action with what it expects."""
    player = Player(case, store, way)
    for action in case["actions"]:
        assert_seen(case, action, player.act(action))


def test_all_cases_are_there() -> None:
    """135 cases; a lost case would be a lost rule."""
    assert len(CASES) == 135


@every_case
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_case_in_memory(case: dict[str, Any], is_async: bool) -> None:
    """In one go, in memory, plain and async bodies alike."""
    store = MemoryCheckpointer()

    play(case, lambda: store, Way(is_async=is_async))


@pytest.mark.parametrize("case", MANY_WORKERS, ids=name_of)
def test_case_with_many_workers(case: dict[str, Any]) -> None:
    """In an event loop, where the bodies of a step end in any order."""
    for seed in range(3):
        store = MemoryCheckpointer()
        way = Way(is_async=True, awaits=True, disorder=seed, edges=seed)
        play(case, lambda store=store: store, way)


@every_case
def test_case_reopened_before_each_action(case: dict[str, Any], tmp_path: Path) -> None:
    """From the file alone: nothing of a run lives in memory."""
    with reopening(tmp_path) as store:
        play(case, store, Way())


@every_case
def test_case_stopped_after_each_step(case: dict[str, Any], tmp_path: Path) -> None:
    """Stopped after every commit and taken up from the file, the path and state are the same."""
    with reopening(tmp_path) as store:
        play(case, store, Way(small_steps=True))
