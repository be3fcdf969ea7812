"""What a graph says of its past: renamed nodes and fields, and migrations of its state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from graphflow.errors import DefinitionError

__all__ = ["Changes", "Migrate", "Migration", "today"]

Migrate: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Takes the plain JSON values of an old state, by field; returns those of the new one."""


class Migration(NamedTuple):
    """A step from one version of a graph's state to a later one."""

    before: int
    after: int
    fn: Migrate

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"migration {self.before} -> {self.after}"


@dataclass(slots=True)
class Changes:
    """All that was said of a graph's past."""

    nodes: dict[str, str] = field(default_factory=dict)
    """Former name -> later name."""
    fields: dict[str, str] = field(default_factory=dict)
    migrations: dict[int, Migration] = field(default_factory=dict)
    """By the version that each begins with."""

    def copy(self) -> Changes:
        """Copy it, so that a compiled flow does not change with its graph."""
        return Changes(dict(self.nodes), dict(self.fields), dict(self.migrations))

    def renames(self, kind: str) -> dict[str, str]:
        """Give former name -> later name, of a kind: "node" or "field"."""
        return self.nodes if kind == "node" else self.fields

    def rename(self, kind: str, old: str, new: str) -> None:
        """Note that a node or a field has another name now.

        Args:
            kind: "node" or "field".
            old: Its former name.
            new: Its name from then on; that may have been changed again.

        Raises:
            DefinitionError: The names lead back to the former one.
        """
        renames = self.renames(kind)
        later, steps = new, 0
        while later in renames and steps <= len(renames):
            later, steps = renames[later], steps + 1
            if later == old:
                break
        if old in {new, later}:
            raise DefinitionError(
                f"{kind} {old!r} cannot be renamed to {new!r}: that leads back to {old!r}. Names"
                " that change places need a third one, and a version of the graph in between."
            )
        renames[old] = new

    def way(self, before: int, after: int) -> list[Migration] | int:
        """Find the migrations from one version to another.

        Returns:
            Those to call, in order; or the version from which none leads on.
        """
        found: list[Migration] = []
        while before < after:
            step = self.migrations.get(before)
            if step is None or step.after > after:
                return before
            found.append(step)
            before = step.after
        return found


def today(
    name: str,
    renames: Mapping[str, str],
    stored: Collection[str],
    known: Collection[str],
    *,
    merges: bool = True,
) -> str | None:
    """Find what has a stored name today.

    A rename counts for a stored graph that knows no later name yet, or when the old name is gone:
    so a name can be given to something else later. Of `a` to `b` and `b` to `c` both count for a
    stored `a`, but only the first one where a `b` is stored too, which has become `c`.

    Args:
        name: As it is stored.
        renames: Former name -> later name.
        stored: All names of the stored graph.
        known: All names of today's graph.
        merges: Whether it may be called as another stored one is.

    Returns:
        Its name today; None when it is gone.
    """
    chain = _later(name, renames)
    kept = name if name in known else None
    if kept and any(later in stored for later in chain):
        return kept  # it has been renamed before: this one is another
    found = None
    for later in chain:
        if later in stored:
            is_free = merges or today(later, renames, stored, known) != later
            found = found or (later if later in known and is_free else None)
            if later in known or not merges:
                break
        elif later in known:
            found = later
    return found or kept


def _later(name: str, renames: Mapping[str, str]) -> list[str]:
    """Follow the renames from a name on; they never lead back."""
    found: list[str] = []
    while (later := renames.get(found[-1] if found else name)) is not None:
        found.append(later)
    return found
