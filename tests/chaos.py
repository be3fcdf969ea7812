"""How long the long tests are: short in `make test`, full in `make chaos`."""

from __future__ import annotations

import os

__all__ = ["IS_FULL", "amount"]

IS_FULL = os.environ.get("GRAPHFLOW_CHAOS", "") == "full"


def amount(short: int, full: int) -> int:
    """Say how often a rig does what it does.

    Mark the test with `pytest.mark.chaos`: `make chaos` runs those that are marked, and no others.

    Args:
        short: In `make test`.
        full: In `make chaos`, where `GRAPHFLOW_CHAOS=full` is set.
    """
    return full if IS_FULL else short
