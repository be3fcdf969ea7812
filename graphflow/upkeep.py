"""The care of a store: what is to be dropped, what was, how much a run takes, what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from graphflow.errors import DefinitionError
from graphflow.records import RunStatus

__all__ = ["Finding", "Pruned", "Size", "Vacuumed", "Wish", "wish_of"]


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
        held: Runs that were to go, and stay with all their steps since runs that stay are forks
            of them.
    """

    runs: tuple[str, ...] = ()
    cut: Mapping[str, int] = field(default_factory=dict)
    steps: int = 0
    bytes: int = 0
    damaged: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What it came to that a database was written anew without its free space.

    Attributes:
        before: Bytes of the file then, with what only its log had so far.
        after: Bytes of the file now.
        is_read: Somebody reads the file: it gets shorter when they are done.
    """

    before: int
    after: int
    is_read: bool = False


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


def wish_of(
    graph: str | None,
    *,
    older_than: timedelta | datetime | None = None,
    keep: int | None = None,
    steps: int | None = None,
    failed: bool = False,
) -> Wish:
    """Say what is to be dropped, as people ask for it.

    Args:
        graph: Only runs of this graph; None: of all.
        older_than: Runs that ended so long ago, or before this time.
        keep: See `Wish`.
        steps: See `Wish`.
        failed: See `Wish`.

    Raises:
        DefinitionError: Nothing is asked for, or it is no bound.
    """
    for name, bound in (("keep", keep), ("steps", steps)):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise DefinitionError(f"prune({name}={bound!r}): pass a whole number")
        if bound is not None and bound < 0:
            raise DefinitionError(f"prune({name}={bound}): it cannot be below 0")
    if keep is None and steps is None and older_than is None:
        raise DefinitionError(
            "prune() of nothing: say which runs may go with keep= and older_than=, or how many of "
            "its newest steps each run keeps with steps="
        )
    return Wish(graph, keep, _before(older_than), steps, failed)


def _before(older_than: timedelta | datetime | None) -> str | None:
    if older_than is None:
        return None
    try:
        return _in_utc(older_than)
    except OverflowError:
        raise DefinitionError(
            f"prune(older_than={older_than!r}): there is no such time; pass a timedelta of less "
            "than 2,000 years, or a datetime of the years 2 to 9998"
        ) from None


def _in_utc(older_than: timedelta | datetime) -> str:
    if isinstance(older_than, timedelta):
        older_than = datetime.now(UTC) - older_than
    if not isinstance(older_than, datetime) or older_than.tzinfo is None:
        raise DefinitionError(
            f"prune(older_than={older_than!r}): pass a timedelta, or a datetime with its time zone"
        )
    return older_than.astimezone(UTC).isoformat(timespec="microseconds")
