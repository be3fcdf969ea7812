"""The golden cases, and what it means that something is seen as one of them expects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

__all__ = ["CASES", "assert_seen", "normal"]

FILE = Path(__file__).parents[1] / "data" / "semantics_vectors.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["cases"]


def normal(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what may differ: the order of a step's arrows, the words after a reason's first."""
    plain = deepcopy(dict(seen))
    plain["reason"] = (plain["reason"] or "").split(" ")[0]
    for step in plain["steps"]:
        step["arrows"] = sorted(map(list, step["arrows"]))
    return plain


def assert_seen(
    case: Mapping[str, Any], action: Mapping[str, Any], seen: Mapping[str, Any]
) -> None:
    """Compare what an action did with what the case expects of it."""
    expected, found = normal(action["expect"]), normal(seen)
    for key in ("status", "reason", "open", "executed", "state", "steps"):
        where = f"{case['name']}, {action['do']}: {key}"
        assert found.get(key) == expected.get(key), where
