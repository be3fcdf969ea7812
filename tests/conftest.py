"""The stores that acceptance tests run on: what holds in memory holds in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.sqlite import SqliteCheckpointer


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Both stores; each test must see the same."""
    made = (
        MemoryCheckpointer() if request.param == "memory" else SqliteCheckpointer(tmp_path / "r.db")
    )
    yield made
    made.close()
