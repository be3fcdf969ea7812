"""What the care of a store comes to: what was found in it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a store that its owner should know.

    Attributes:
        kind: "problem": something is lost, or can be. "warning": nothing is.
        words: What it is, where, and what to do.
        run_id: The run that it concerns; empty: the store as a whole.
        step: The step of that run; -1: the run as a whole.
    """

    kind: Literal["problem", "warning"]
    words: str
    run_id: str = ""
    step: int = -1
