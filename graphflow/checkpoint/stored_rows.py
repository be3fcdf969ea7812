"""The rows of a run as they were read, before they are checked."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from graphflow.records import RunHeader

__all__ = ["Part", "Stored"]

_Row = tuple[Any, ...]


@dataclass(slots=True)
class Part:
    """What one run gives to the one that is read: that run itself, and each that it forks."""

    run_id: str
    fixed: _Row
    digest: str
    below: int | None
    """Steps before this one are given; None: all."""
    steps: list[_Row]
    """Of each its number, digest, derived fields, how many rows belong to it, and all of it as
    JSON."""
    tasks: list[_Row]
    """Of each its step, its digest while that is open, its update and all of it as JSON: what
    stands before its duration, that, and what stands after it."""
    decisions: list[_Row]
    """Of each its step and all of it as JSON, with its confidence in between."""
    snapshots: list[_Row]
    """Before the columns of each the digest of its step."""
    loose: dict[str, list[_Row]]
    heads: list[_Row]
    is_tail: bool = False
    first: int = 0
    """Of a tail, or when older ones were pruned: the first of the steps, and the digest that it
    continues from."""
    previous: str | None = None
    saved: int | None = None
    """Of a range of steps: the last snapshot before it."""
    adopted: str | None = None
    """The digest of the run's last adoption; None: there is none."""
    adoptions: list[_Row] = field(default_factory=list)
    """Before the columns of each the digest of its step."""
    anchor: _Row | None = None
    """What stands for the steps that were pruned: see `sqlite_lineage.ANCHOR`. Of a tail: if it
    begins there."""
    values: dict[str, str] = field(default_factory=dict)
    """The long values that all these refer to, by digest, as they are stored."""

    def rows(self) -> Iterator[_Row]:
        """List the rows that may refer to long values."""
        yield from (*self.steps, *self.tasks, *self.decisions, *self.snapshots)
        yield from self.adoptions
        for rows in self.loose.values():
            yield from rows

    def cut_off(self, upto: int) -> None:
        """Leave out what came after a step, and what the step after it kept while it was open."""
        for name, at in _STEP_AT.items():
            rows = getattr(self, name)
            setattr(self, name, [row for row in rows if row[at] <= upto])
        self.loose = {
            kind: [row for row in rows if row[0] <= upto] for kind, rows in self.loose.items()
        }
        self.adopted = self.adoptions[-1][-1] if self.adoptions else None


_STEP_AT: Final = {
    **dict.fromkeys(("steps", "tasks", "decisions", "heads"), 0),
    **dict.fromkeys(("snapshots", "adoptions"), 1),
}
"""Where in rows their step stands."""


@dataclass(slots=True)
class Stored:
    """The rows of a run as they were read."""

    header: RunHeader
    graphs: dict[str, _Row] = field(default_factory=dict)
    """The rows of `graphs`, by digest."""
    parts: list[Part] = field(default_factory=list)
    """Oldest first; the last one is the run's own. Of a child in a tail there is none."""
    children: list["Stored"] = field(default_factory=list)
    root: RunHeader | None = None
    """Of a child that was read by itself: its root."""
    is_sealed: bool = True
    """It stands as it was written."""
    values: dict[str, str] = field(default_factory=dict)
    """The long values that the header refers to."""

    def cut_off(self, upto: int) -> None:
        """Leave out what came after a step: what has changed there does not count any more."""
        self.header = replace(self.header, step=min(self.header.step, upto))
        self.is_sealed = True
        for part in self.parts:
            part.cut_off(upto)
        self.children = [c for c in self.children if (c.header.parent_step or 0) <= upto]
