"""How far a run may go, as data."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a run, counted since it last heard from outside: its start or an answer.

    Reaching one pauses the run before the next step begins; `resume(run_id, limits=...)` goes on.

    Attributes:
        steps: Committed steps, without step 0.
        visits: Steps in which one node ran.

    Raises:
        ValueError: A bound is below 1.
    """

    steps: int = 100
    visits: int = 25

    def __post_init__(self) -> None:
        for name in ("steps", "visits"):
            if getattr(self, name) < 1:
                raise ValueError(f"Limits({name}={getattr(self, name)!r}): must be at least 1")
