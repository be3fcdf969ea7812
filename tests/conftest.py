"""What tests share: the stores that they run on, and the lines that rigs print at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from tests.rig.client import Rig


def pytest_configure() -> None:
    """Hear Ctrl-C, as the processes do that tests start: what is started by `&` may ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """The warm process that forks children to be killed."""
    with Rig() as started:
        yield started


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """A folder in memory, where there is one: a kill does not ask how long a sync takes."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder in it gets a name that nobody can guess
    inside = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(dir=inside) as folder:
        yield Path(folder)


_LINES = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say in one line what a rig has found: `tell("kills: 300, 0 lost")`; printed at the end."""

    def line(text: str) -> None:
        request.node.user_properties.append(("rig", text))
        request.config.stash.setdefault(_LINES, []).append(text)

    return line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the rigs have found."""
    lines = terminalreporter.config.stash.get(_LINES, [])
    if lines:
        terminalreporter.section("rigs")
        for text in lines:
            terminalreporter.line(text)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Both stores; each test must see the same."""
    made = (
        MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(tmp_path / "r.db")
    )
    yield made
    made.close()
