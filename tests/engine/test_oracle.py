"""The oracle itself: it replays every golden case, so what it says of other graphs counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.cases import CASES, assert_seen
from tests.engine.oracle import Oracle


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_oracle_replays_the_case(case: dict[str, Any]) -> None:
    """Every status, state, step, arrow, firing and child that the case expects, from the rules."""
    oracle = Oracle(case)

    for action in case["actions"]:
        assert_seen(case, action, oracle.act(action))
