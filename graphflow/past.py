"""The third part of a graph's design: what it says of its past, for runs that are still open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from graphflow.change.declared import Migrate, Migration
from graphflow.errors import DefinitionError
from graphflow.names import END, START, named, spelled
from graphflow.signatures import checked_function, checked_name, is_async

if TYPE_CHECKING:
    from graphflow.cells import Cells
    from graphflow.definition import Definition

__all__ = ["Past"]

M = TypeVar("M", bound=Migrate)


class Past:
    """What a graph says of its past; see `StateGraph`.

    Attributes:
        edits: How often the graph was changed.
    """

    _definition: Definition
    _cells: Cells
    edits: int

    def renamed(self, old: str, new: str) -> None:
        """Say that a node has another name now: runs that stand before the old one go on with it.

        It needs no new version, and may stay for good; a chain (`a` to `b`, `b` to `c`) is
        followed.

        Args:
            old: Its former name, which no node has any more.
            new: Its name now.

        Raises:
            DefinitionError: These are no names of nodes, lead back to the old one, or it was
                renamed to another one already.
        """
        for name in (old, new):
            if checked_name("renamed(old, new)", name) in {START, END}:
                raise DefinitionError(
                    f"renamed({old!r}, {new!r}): {spelled(named(name))} is no node and keeps its"
                    " name; pass the names of nodes"
                )
        self._rename("node", old, new)

    def renamed_field(self, old: str, new: str) -> None:
        """Say that a field of the state has another name now: stored values move to it.

        It needs no new version. Migrations see the names that were stored; what is left under the
        old name after them moves.

        Args:
            old: Its former name, which no field has any more.
            new: Its name now.

        Raises:
            DefinitionError: These are no names of fields, lead back to the old one, or it was
                renamed to another one already.
        """
        for name in (old, new):
            if not isinstance(name, str) or not name.isidentifier():
                raise DefinitionError(f"renamed_field({old!r}, {new!r}): {name!r} is no field")
        self._rename("field", old, new)

    def migration(self, before: int, after: int) -> Callable[[M], M]:
        """Make the decorated function what brings a state from one version to a later one.

        ``@graph.migration(1, 2)`` stands over ``def split_name(values): ...``, which takes the
        values of a run that is on version 1, as plain JSON values by field, and returns those
        of version 2. It must be pure: it may be called for a look at the run. From version 1 to 3
        leads a function of its own, or those from 1 to 2 and from 2 to 3.

        Args:
            before: The version that it begins with.
            after: The version that it ends with.

        Raises:
            DefinitionError: These are no versions, there is one from that version already, or
                it is no plain function.
        """
        for version in (before, after):
            if isinstance(version, bool) or not isinstance(version, int) or version < 0:
                raise DefinitionError(
                    f"migration({before!r}, {after!r}): pass two versions: (1, 2)"
                )
        if before >= after:
            raise DefinitionError(
                f"migration({before}, {after}): it leads from a version to a later one"
            )

        def add(fn: M) -> M:
            made = Migration(before, after, fn)
            checked_function(made.name, fn)
            if is_async(fn):
                raise DefinitionError(f"{made.name} is async: a migration is a plain function")
            migrations = self._definition.changes.migrations
            if before in migrations and not self._cells.interactive():
                raise DefinitionError(
                    f"there is a {migrations[before].name} already: one leads on from a version"
                )
            self._cells.claim(("migration", str(before)))
            migrations[before] = made
            self.edits += 1
            return fn

        return add

    def _rename(self, kind: str, old: str, new: str) -> None:
        renames = self._definition.changes.renames(kind)
        if renames.get(old, new) != new and not self._cells.interactive():
            raise DefinitionError(
                f"{kind} {old!r} was renamed to {renames[old]!r} already. Of a chain write each"
                f" link once ({renames[old]!r} to {new!r}); a name that something else had since"
                " can be renamed again when no open run needs the first line"
            )
        self._cells.claim(("renamed", kind, old))
        self._definition.changes.rename(kind, old, new)
        self.edits += 1
