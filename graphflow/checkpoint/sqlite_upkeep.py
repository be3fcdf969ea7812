"""The half of the SQLite checkpointer that takes care of a database: what runs need not."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.digest import storable
from graphflow.checkpoint.place import full_path
from graphflow.checkpoint.refusals import not_found
from graphflow.errors import CheckpointCorruptError
from graphflow.records import RunHeader, RunStatus
from graphflow.upkeep import Finding, Pruned, Size, Vacuumed, Wish

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite_file import SqliteFile
    from graphflow.checkpoint.sqlite_health import Health

__all__ = ["SqliteUpkeep"]

# What each verb needs is imported when it is called: runs that are only run need none of it


class SqliteUpkeep:
    """What can be done for a database. The other half is `SqliteCheckpointer`.

    Attributes:
        path: The file.
    """

    path: Path
    _columns: Columns
    _file: "SqliteFile | None"

    def delete(self, run_id: str) -> None:
        """Delete a run and its children; see `Checkpointer.delete`."""
        from graphflow.checkpoint.sqlite_prune import delete_run

        if not delete_run(self._file or self._open(), run_id, self._columns.digest_of):
            raise not_found(run_id, str(self.path))

    def prune(self, wish: Wish, *, dry_run: bool = False) -> Pruned:
        """Drop old runs, and the oldest steps of others; see `Checkpointer.prune`."""
        from graphflow.checkpoint.sqlite_prune import prune

        return prune(self._file or self._open(), wish, self._columns, dry_run=dry_run)

    def size(self, run_id: str) -> Size:
        """Say how much a run and its children take; see `Checkpointer.size`."""
        from graphflow.checkpoint.sqlite_size import size_of

        file = self._file or self._open()
        found = file.read(partial(size_of, run_id=storable(run_id)))
        if found is None:
            raise not_found(run_id, str(self.path))
        return found

    def verify(self, run_id: str | None = None) -> Iterator[Finding]:
        """Look for damage in all that is stored; see `Checkpointer.verify`."""
        from graphflow.checkpoint.sqlite_verify import knows

        file = self._file or self._open()
        if run_id is not None and not file.read(partial(knows, run_id=run_id)):
            raise not_found(run_id, str(self.path))
        return self._findings(file, run_id)

    def _findings(self, file: "SqliteFile", run_id: str | None) -> Iterator[Finding]:
        """Look for damage; while somebody asks for more, the file is not let go of."""
        from graphflow.checkpoint.sqlite_verify import verify

        yield from verify(file, run_id, self._columns)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the database as it is at one moment, while others go on writing into it.

        Args:
            path: Where to; nothing may be there. Only its owner may read the copy. It is there
                when all of it has been verified.

        Raises:
            DatabaseUnavailableError: Something is there already, or it cannot be written.
            CheckpointCorruptError: The database is damaged; there is no copy.
        """
        from graphflow.checkpoint.open_files import open_file, release_file
        from graphflow.checkpoint.sqlite_backup import copy_database, put_in_place
        from graphflow.checkpoint.sqlite_verify import verify

        self._file or self._open()
        target = full_path(path)
        with copy_database(self.path, target) as part:
            copy = open_file(part, "full")
            try:
                for found in verify(copy, None, self._columns):
                    if found.kind == "problem":
                        raise _not_copied(self.path, found)
            finally:
                release_file(copy)
            put_in_place(part, target)

    def vacuum(self) -> Vacuumed:
        """Write the database anew without the space that is free in it since runs were dropped.

        Other processes may have it open; those that write wait meanwhile, for ten seconds.

        Raises:
            DatabaseUnavailableError: Somebody else writes for so long, or the disk is too small.
        """
        from graphflow.checkpoint.sqlite_backup import vacuum

        self._file or self._open()
        return vacuum(self.path)

    def health(self) -> "Health":
        """Look at the database: its settings, its files and where they lie, how many runs it has.

        Raises:
            DatabaseUnavailableError: Locked or gone.
            CheckpointCorruptError: SQLite found the file damaged.
        """
        from graphflow.checkpoint.sqlite_health import health_of

        return health_of(self._file or self._open(), self.runs())

    def runs(
        self, *, status: RunStatus | None = None, graph: str | None = None, limit: int | None = None
    ) -> list[RunHeader]:
        """List runs, newest first; see `Checkpointer.runs`."""
        raise NotImplementedError

    def _open(self) -> "SqliteFile":
        raise NotImplementedError


def _not_copied(path: Path, found: Finding) -> CheckpointCorruptError:
    return CheckpointCorruptError(
        f"{path} is damaged, and was not copied: {found.words}",
        run_id=found.run_id,
        step=found.step,
    )
