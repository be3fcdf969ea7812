"""What the tests of hostile databases share."""

from pathlib import Path

import pytest


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Name a database file that is not there yet."""
    return tmp_path / "runs.db"
