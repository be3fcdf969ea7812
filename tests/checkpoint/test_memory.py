"""The checkpointer in memory."""

import pytest

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.testing.checkpointer import CheckpointerContract


class TestMemory(CheckpointerContract):
    """It keeps the contract."""

    @pytest.fixture
    def make_checkpointer(self):
        """Open the same lists each time."""
        store = MemoryCheckpointer()
        return lambda: store
