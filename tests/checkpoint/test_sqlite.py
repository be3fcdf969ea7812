"""The checkpointer on one SQLite file."""

import pytest

from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.checkpointer import CheckpointerContract


class TestSqlite(CheckpointerContract):
    """It keeps the contract."""

    @pytest.fixture
    def make_checkpointer(self, tmp_path):
        """Open one file, as often as asked."""
        return lambda: SqliteCheckpointer(tmp_path / "runs.db")


class TestEncryptedSqlite(CheckpointerContract):
    """It keeps the contract with a key as well."""

    @pytest.fixture
    def make_checkpointer(self, tmp_path):
        """Open one encrypted file, as often as asked."""
        return lambda: SqliteCheckpointer(tmp_path / "runs.db", key=b"k" * 32)
