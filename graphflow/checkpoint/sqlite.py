"""Runs kept in one SQLite file that people can read."""

import os
import shlex
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graphflow.checkpoint.digest import sealed
from graphflow.checkpoint.protocol import Ending, Lease
from graphflow.checkpoint.refusals import (
    check_free,
    not_found,
    out_of_order,
    run_exists,
    the_one,
)
from graphflow.checkpoint.rows import attempt_row, call_row, task_row
from graphflow.checkpoint.sqlite_read import (
    checked,
    header_of,
    headers,
    ids_from,
    stored_run,
)
from graphflow.checkpoint.sqlite_write import (
    BEGIN_RUN,
    KEEP_TASK,
    STORE_ATTEMPT,
    STORE_CALL,
    TAKE_RUN,
    SqliteLease,
    StepWrite,
    end_run,
    own_lease,
    store_graph,
    store_row,
)
from graphflow.clock import now
from graphflow.errors import DatabaseUnavailableError
from graphflow.records import (
    AttemptRecord,
    CallRecord,
    RunHeader,
    RunRecords,
    RunStatus,
    Snapshot,
    StepRecord,
    TaskRecord,
)

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["SqliteCheckpointer"]


class SqliteCheckpointer:
    """A checkpointer on one SQLite file.

    Any number of processes and threads may share the file; a run is advanced by one of them at
    a time. Read it with `sqlite-utils`, Datasette or `sqlite3 "file:runs.db?mode=ro"`.

    Args:
        path: The file; `~` is expanded. It is made, with mode 0600, by the first verb.
        durability: "full": a commit survives a power cut. "normal": it survives the end of the
            process, but a power cut may take the last commits back (the file stays sound);
            on a disk this is several times as fast.
        create: Whether to make a file that is not there.

    Raises:
        NotADatabaseError: The file is something else. It is left as it was.
        DatabaseUnavailableError: There cannot be a database at this path.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["full", "normal"] = "full",
        create: bool = True,
    ) -> None:
        if durability not in ("full", "normal"):
            raise ValueError(f"durability={durability!r}: must be 'full' or 'normal'")
        self.path = _checked_path(path, create)
        self._durability = durability
        self._file: SqliteFile | None = None
        self._release: weakref.finalize[..., SqliteCheckpointer] | None = None
        self._is_closed = False
        if self.path.exists():
            self._open()

    def __repr__(self) -> str:
        return f"SqliteCheckpointer({str(self.path)!r})"

    def begin(
        self,
        header: RunHeader,
        spec_json: str,
        step: StepRecord,
        snapshot: Snapshot,
        ending: Ending | None,
    ) -> Lease:
        """Create a run with its step 0; see `Checkpointer.begin`."""
        row = (
            *(header.run_id, header.graph, header.graph_version, header.graph_digest),
            *(header.created_at, header.thread_id, header.input_json, header.tags_json),
            *(None,) * 6,
        )
        row, own = sealed("run", row)
        lease = SqliteLease(str(row[0]), header.epoch, digest=own)
        write = StepWrite(lease, step, snapshot, ending)

        def work(cursor: "Cursor") -> None:
            if cursor.execute("SELECT 1 FROM runs WHERE run_id = ?", row[:1]).fetchone():
                raise run_exists(header.run_id)
            store_graph(cursor, header, spec_json)
            more = (own, header.limits_json, header.epoch, header.owner, now())
            lease.run = cursor.execute(BEGIN_RUN, row + more).lastrowid or 0
            write(cursor)

        (self._file or self._open()).write(work)
        write.done()
        return lease

    def take(self, run_id: str, owner: str, *, limits_json: str | None = None) -> Lease:
        """Take a run in order to advance it; see `Checkpointer.take`."""

        def work(cursor: "Cursor") -> SqliteLease:
            header = header_of(cursor, run_id)
            if header is None:
                raise not_found(run_id, str(self.path))
            number, since = cursor.execute(
                "SELECT id, taken_at FROM runs WHERE run_id = ?", (run_id,)
            ).fetchone()
            check_free(header, owner, since, self._release_by_hand(run_id))
            cursor.execute(TAKE_RUN, (owner, now(), limits_json, run_id))
            last, own = cursor.execute(
                "SELECT step, digest FROM steps WHERE run = ? ORDER BY step DESC LIMIT 1", (number,)
            ).fetchone()
            kept = cursor.execute(
                "SELECT ix FROM tasks WHERE run = ? AND step = ?", (number, last + 1)
            )
            return SqliteLease(run_id, header.epoch + 1, number, last, own, {ix for (ix,) in kept})

        return (self._file or self._open()).write(work)

    def commit(
        self, lease: Lease, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
    ) -> None:
        """Commit a step; see `Checkpointer.commit`."""
        write = StepWrite(own_lease(lease), step, snapshot, ending)
        (self._file or self._open()).write(write)
        write.done()

    def keep(self, lease: Lease, step: int, task: TaskRecord) -> None:
        """Store a complete task of a step that is still open; see `Checkpointer.keep`."""
        own = own_lease(lease)
        if step != own.step + 1:
            raise out_of_order(lease.run_id, step, own.step)
        row, check = sealed("task", (lease.run_id, step, *task_row(task, is_open=True)))
        self._store(own, KEEP_TASK, (*row[1:], check))
        own.kept.add(task.ix)

    def fail(self, lease: Lease, attempt: AttemptRecord) -> None:
        """Store a failed execution; see `Checkpointer.fail`."""
        row, check = sealed("attempt", (lease.run_id, *attempt_row(attempt)))
        self._store(own_lease(lease), STORE_ATTEMPT, (*row[1:], check))

    def call(self, lease: Lease, call: CallRecord) -> None:
        """Store a model call; see `Checkpointer.call`."""
        row, check = sealed("call", (lease.run_id, *call_row(call)))
        self._store(own_lease(lease), STORE_CALL, (*row[1:], check))

    def end(self, lease: Lease, ending: Ending) -> None:
        """Set the run's status without a step; see `Checkpointer.end`."""
        own = own_lease(lease)
        (self._file or self._open()).write(lambda cursor: end_run(cursor, own, ending))

    def load(self, run_id: str, *, tail: bool = False) -> RunRecords:
        """Read a run; see `Checkpointer.load`."""
        file = self._file or self._open()
        stored = file.read(lambda cursor: stored_run(cursor, run_id, tail=tail))
        if stored is None:
            raise not_found(run_id, str(self.path))
        return checked(stored)

    def runs(
        self, *, status: RunStatus | None = None, graph: str | None = None, limit: int | None = None
    ) -> list[RunHeader]:
        """List runs, newest first; see `Checkpointer.runs`."""
        file = self._file or self._open()
        return file.read(lambda cursor: headers(cursor, status, graph, limit))

    def find(self, prefix: str) -> str:
        """Find the one run id that begins with a prefix; see `Checkpointer.find`."""
        file = self._file or self._open()
        found = file.read(lambda cursor: ids_from(cursor, prefix, 11))
        return the_one(prefix, found, str(self.path))

    def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        self._is_closed, self._file = True, None
        if self._release is not None:
            self._release()

    def _open(self) -> "SqliteFile":
        if self._is_closed:
            raise DatabaseUnavailableError(
                f"{self.path} has been closed here; compile the graph with it again."
            )
        from graphflow.checkpoint.sqlite_file import open_file, release_file

        self._file = open_file(self.path, self._durability)
        self._release = weakref.finalize(self, release_file, self._file)
        return self._file

    def _store(self, lease: SqliteLease, sql: str, row: tuple[object, ...]) -> None:
        (self._file or self._open()).write(lambda cursor: store_row(cursor, lease, sql, row))

    def _release_by_hand(self, run_id: str) -> str:
        quoted = run_id.replace("'", "''")
        sql = f"UPDATE runs SET owner = NULL WHERE run_id = '{quoted}'"  # noqa: S608 - a command to read and type; nothing runs it
        return f"`sqlite-utils {shlex.quote(str(self.path))} {shlex.quote(sql)}`"


def _checked_path(path: str | os.PathLike[str], create: bool) -> Path:
    if os.fspath(path) == ":memory:":
        raise DatabaseUnavailableError(
            "':memory:' is no file: leave the path out for records in memory"
        )
    full = Path(path).expanduser().absolute()
    if full.is_dir():
        raise DatabaseUnavailableError(
            f"{path} is a folder: name a file in it, as {full / 'runs.db'}"
        )
    if not full.parent.is_dir():
        raise DatabaseUnavailableError(
            f"{path} cannot be made: there is no folder {full.parent}; `mkdir -p {full.parent}`"
        )
    if not create and not full.exists():
        raise DatabaseUnavailableError(
            f"there is no file {path}; a run that is begun with it makes it"
        )
    return full
