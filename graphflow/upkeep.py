"""The care of a store: what is to be dropped, what was, how much a run takes, what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphflow.records import RunStatus

__all__ = ["Finding", "Pruned", "Size", "Wish"]


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


@dataclass(frozen=True, slots=True)
class Size:
    """How much a run and its children take: the bytes of their rows, without what holds them.

    A text counts as long as it is in UTF-8, a number eight bytes. What a fork shares counts for the
    run that it forks, and a long value that is stored once for all runs for the first that uses it.

    Attributes:
        run_id: The run.
        tables: The bytes in each table; those without any are left out.
    """

    run_id: str
    tables: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """The sum."""
        return sum(self.tables.values())


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune has dropped, or would drop.

    Attributes:
        runs: The runs that are gone, with their children.
        cut: Of each run that stays without its oldest steps, the first step that it has now.
        steps: How many steps are gone: those of the runs that are gone, and the oldest ones.
        bytes: How much all that took, without long values that are stored once for all runs; what
            is noted instead does not count.
        damaged: Runs that were to lose their oldest steps, and were left as they are since they
            are damaged: see `graphflow doctor --verify`.
    """

    runs: tuple[str, ...] = ()
    cut: Mapping[str, int] = field(default_factory=dict)
    steps: int = 0
    bytes: int = 0
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be dropped.

    Attributes:
        graph: Only runs of this graph; None: of all.
        keep: Runs that are over go, but for the newest so many of each graph.
        before: Runs go that ended before this time (UTC, as `clock.now` writes it).
        steps: How many of the newest steps each run keeps at least; None: all.
        failed: Whether runs that failed are over too; they could be resumed.
    """

    graph: str | None = None
    keep: int | None = None
    before: str | None = None
    steps: int | None = None
    failed: bool = False

    @property
    def over(self) -> frozenset[RunStatus]:
        """How a run stands that may go as a whole."""
        return frozenset({"done", "cancelled", "failed"} if self.failed else {"done", "cancelled"})
