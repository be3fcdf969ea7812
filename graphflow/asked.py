"""What is asked for one run, and how that stands in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphflow.errors import InputError
from graphflow.policy import Budget, Limits
from graphflow.records import RunHeader
from graphflow.state.secrets import secret_in

if TYPE_CHECKING:
    from graphflow.channel import Channel

__all__ = [
    "Asked",
    "budget_json",
    "budget_of",
    "limits_json",
    "limits_of",
    "limits_over",
    "tags_json",
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for one run, when it is begun or taken up."""

    limits: Limits | None = None
    budget: Budget | None = None
    deps: Any = None
    channel: Channel | None = None
    again: bool = True
    """Whether what failed is run again."""
    commits: int | None = None
    tags: Mapping[str, str] | None = None
    take_over: bool = False
    """Whether the run is taken from an owner that lives, too."""


def budget_of(header: RunHeader) -> Budget | None:
    """Read the budget that is stored with a run."""
    stored = json.loads(header.budget_json)
    is_bound = any(bound is not None for bound in stored.values())
    return Budget(**stored) if is_bound else None  # seconds without end are no bound


def limits_of(header: RunHeader) -> Limits:
    """Read the limits that are stored with a run."""
    return Limits(**json.loads(header.limits_json))


def limits_over(asked: Limits | None, old: Limits) -> Limits:
    """Give the limits that hold from now on: what was not asked for stays as it was."""
    return old if asked is None else asked.over(old)


@lru_cache(maxsize=32)  # thousands of runs begin with the same
def limits_json(limits: Limits) -> str:
    """Write limits for the header."""
    return json.dumps(asdict(limits))


def budget_json(budget: Budget | None) -> str | None:
    """Write a budget for the header; None: none was given."""
    return None if budget is None else json.dumps(asdict(budget))


def tags_json(tags: object) -> str:
    """Write a run's tags for the header.

    Raises:
        InputError: They are no words, or have the value of a secret in them.
    """
    if tags is not None and not (
        isinstance(tags, Mapping)
        and all(isinstance(part, str) for item in tags.items() for part in item)
    ):
        raise InputError(f"run(tags={tags!r}): pass a dict of words, such as {{'customer': '17'}}")
    text = json.dumps(dict(tags or {}))
    if words := secret_in(text):
        raise InputError(f"run(tags=...): {words}")
    return text
