"""Runs kept in one SQLite file that people can read."""

import os
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from graphflow.checkpoint.columns import PLAIN
from graphflow.checkpoint.digest import sealed, storable
from graphflow.checkpoint.keys import Key, hidden, key_of
from graphflow.checkpoint.place import checked_path
from graphflow.checkpoint.protocol import Ending, Lease
from graphflow.checkpoint.refusals import (
    check_answer,
    check_open,
    check_prefix,
    not_committed,
    not_found,
    the_one,
)
from graphflow.checkpoint.rows import Row, attempt_row, call_row, item_row, memo_row
from graphflow.checkpoint.sqlite_adopt import AdoptWrite
from graphflow.checkpoint.sqlite_check import checked
from graphflow.checkpoint.sqlite_fence import Fenced, SqliteLease, own_lease, store_row
from graphflow.checkpoint.sqlite_headers import header_of, headers, ids_from
from graphflow.checkpoint.sqlite_read import stored_run
from graphflow.checkpoint.sqlite_runs import (
    BeginWrite,
    origin_of,
    stop_run,
    take_child,
    take_run,
)
from graphflow.checkpoint.sqlite_spent import spent_by
from graphflow.checkpoint.sqlite_upkeep import SqliteUpkeep
from graphflow.checkpoint.sqlite_values import store_values
from graphflow.checkpoint.sqlite_write import (
    STORE_ATTEMPT,
    STORE_CALL,
    STORE_ITEM,
    STORE_MEMO,
    StepWrite,
    TaskWrite,
    answer_question,
    ask_question,
    end_run,
    question_to_store,
)
from graphflow.checkpoint.standing import as_seen
from graphflow.errors import DatabaseUnavailableError
from graphflow.locks import lock_for
from graphflow.records import (
    Adoption,
    AttemptRecord,
    CallRecord,
    ItemRecord,
    MemoRecord,
    QuestionRecord,
    RunHeader,
    RunRecords,
    RunStatus,
    Snapshot,
    Spent,
    StepRecord,
    TaskRecord,
)
from graphflow.stored import LEAST_BYTES, MAX_BYTES, readable

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["SqliteCheckpointer"]


class SqliteCheckpointer(SqliteUpkeep):
    """A checkpointer on one SQLite file.

    Any number of processes and threads may share the file; a run is advanced by one of them at
    a time. Read it with `sqlite-utils`, Datasette or `sqlite3 "file:runs.db?mode=ro"`.

    Args:
        path: The file; `~` is expanded. It is made, with mode 0600, by the first verb.
        durability: "full": a commit survives a power cut. "normal": it survives the end of the
            process, but a power cut may take the last commits back (the file stays sound);
            on a disk this is several times as fast.
        create: Whether to make a file that is not there.
        max_bytes: How long one stored text, or row, may be, 10,000 or more; what is longer is
            neither written nor read (`CheckpointTooLargeError`). Of several checkpointers that a
            process has of one file, the largest holds for all.
        key: 32 bytes, or a function that gives them: all values are stored encrypted (needs the
            extra `encryption`). None: the key in the variable `GRAPHFLOW_KEY`, or none.

    Raises:
        NotADatabaseError: The file is something else. It is left as it was.
        WrongKeyError: The key is not the one that the file was made with.
        DatabaseUnavailableError: There cannot be a database at this path.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["full", "normal"] = "full",
        create: bool = True,
        key: Key | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if durability not in ("full", "normal"):
            raise ValueError(f"durability={durability!r}: must be 'full' or 'normal'")
        if type(max_bytes) is not int or not LEAST_BYTES <= max_bytes < 2**31:
            raise ValueError(
                f"max_bytes={max_bytes!r}: must be a number of bytes from {LEAST_BYTES:,} on (the"
                " tables' own descriptions take some) and below 2**31"
            )
        self.path = checked_path(path, create=create)
        self._durability = durability
        key = self._key = hidden(key)
        self._columns, self._max_bytes = PLAIN, max_bytes
        self._file: SqliteFile | None = None
        self._release: weakref.finalize[..., SqliteCheckpointer] | None = None
        self._is_closed = False
        self._lock = lock_for(self)  # the first verbs of several threads
        if self.path.exists():
            self._open()

    def __repr__(self) -> str:
        return f"SqliteCheckpointer({str(self.path)!r})"

    @property
    def key(self) -> Key | None:
        """The key that was given, which its repr does not show; None: that of the environment."""
        return self._key

    def begin(
        self,
        header: RunHeader,
        spec_json: str,
        step: StepRecord,
        snapshot: Snapshot,
        ending: Ending | None,
        *,
        under: Lease | None = None,
        before: Spent | None = None,
    ) -> Lease:
        """Create a run with its first step; see `Checkpointer.begin`."""
        file = self._file or self._open()
        origin = None
        if header.fork_of is not None:
            # Apart from what is written, which looks only whether these steps are still there
            origin = file.read(lambda cursor: origin_of(cursor, header))
        parent = None if under is None else own_lease(under)
        first = (step, snapshot, ending)
        write = BeginWrite(
            header, spec_json, first, parent, origin, before=before, columns=self._columns
        )
        return file.write(write, write)

    def take(
        self,
        run_id: str,
        owner: str,
        *,
        limits_json: str | None = None,
        budget_json: str | None = None,
        under: Lease | None = None,
        take_over: bool = False,
    ) -> Lease:
        """Take a run in order to advance it; see `Checkpointer.take`."""
        parent = None if under is None else own_lease(under)
        given = limits_json, budget_json
        file = self._file or self._open()
        lives = (lambda _: False) if take_over else file.lives

        def work(cursor: "Cursor") -> SqliteLease:
            header = header_of(cursor, run_id)
            if header is None:
                raise not_found(run_id, str(self.path))
            if parent is not None:
                return take_child(cursor, header, parent, given)
            return take_run(cursor, header, owner, given, lives, columns=self._columns)

        return file.write(work)

    def commit(
        self, lease: Lease, step: StepRecord, snapshot: Snapshot | None, ending: Ending | None
    ) -> None:
        """Commit a step; see `Checkpointer.commit`."""
        write = StepWrite(own_lease(lease), step, snapshot, ending)
        (self._file or self._open()).write(write, write)

    def keep(self, lease: Lease, step: int, task: TaskRecord) -> None:
        """Store a complete task of a step that is still open; see `Checkpointer.keep`."""
        write = TaskWrite(own_lease(lease), step, task)
        (self._file or self._open()).write(write, write)

    def keep_item(self, lease: Lease, item: ItemRecord) -> None:
        """Store a complete item of a map; see `Checkpointer.keep_item`."""
        own = own_lease(lease)
        check_open(own.run_id, item.step, own.step)
        self._store(own, STORE_ITEM, "item", item_row(item))

    def ask(self, lease: Lease, question: QuestionRecord) -> None:
        """Store a question; see `Checkpointer.ask`."""
        own = own_lease(lease)
        row, found = question_to_store(own, question)
        (self._file or self._open()).write(lambda cursor: ask_question(cursor, own, row, found))

    def answer(self, lease: Lease, question: QuestionRecord) -> None:
        """Store the answer of a question; see `Checkpointer.answer`."""
        own = own_lease(lease)
        check_answer(own.run_id, question)
        (self._file or self._open()).write(lambda cursor: answer_question(cursor, own, question))

    def memo(self, lease: Lease, memo: MemoRecord) -> None:
        """Store the result of work inside a body; see `Checkpointer.memo`."""
        own = own_lease(lease)
        check_open(own.run_id, memo.step, own.step)
        self._store(own, STORE_MEMO, "memo", memo_row(memo))

    def fail(self, lease: Lease, attempt: AttemptRecord) -> None:
        """Store a failed execution; see `Checkpointer.fail`."""
        self._store(own_lease(lease), STORE_ATTEMPT, "attempt", attempt_row(attempt))

    def call(self, lease: Lease, call: CallRecord) -> None:
        """Store a model call; see `Checkpointer.call`."""
        self._store(own_lease(lease), STORE_CALL, "call", call_row(call))

    def adopt(
        self, lease: Lease, adoption: Adoption, spec_json: str, kept: Sequence[TaskRecord]
    ) -> None:
        """Store that a run goes on with another graph; see `Checkpointer.adopt`."""
        write = AdoptWrite(own_lease(lease), adoption, spec_json, kept)
        (self._file or self._open()).write(write, write)

    def end(self, lease: Lease, ending: Ending) -> None:
        """Set the run's status without a step; see `Checkpointer.end`."""
        own = own_lease(lease)
        (self._file or self._open()).write(lambda cursor: end_run(cursor, own, ending))

    def stop(self, run_id: str, ending: Ending) -> None:
        """End a run whoever advances it; see `Checkpointer.stop`."""
        file = self._file or self._open()
        if not file.write(lambda cursor: stop_run(cursor, run_id, ending, self._columns)):
            raise not_found(run_id, str(self.path))

    def together(self, verbs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Call verbs so that they share one transaction; see `Checkpointer.together`."""
        return (self._file or self._open()).together(verbs) if verbs else []

    def load(self, run_id: str, *, tail: bool = False) -> RunRecords:
        """Read a run; see `Checkpointer.load`."""
        return self._load(run_id, tail=tail)

    def load_until(self, run_id: str, step: int) -> RunRecords:
        """Read a run up to a step, when what comes after it is damaged.

        Args:
            run_id: The whole id.
            step: The last step to read; the error that named the damage says in which one it is.

        Raises:
            RunNotFoundError: There is no such run.
            CheckpointCorruptError: One of these steps is damaged too.
        """
        if step < 0:
            raise not_committed(run_id, step, step)
        return self._load(run_id, upto=step)

    def _load(self, run_id: str, *, tail: bool = False, upto: int | None = None) -> RunRecords:
        file = self._file or self._open()
        by = self._columns.digest_of
        with readable(run_id):
            stored = file.read(lambda cursor: stored_run(cursor, run_id, tail=tail, by=by))
            if stored is not None:
                if upto is not None:
                    stored.cut_off(upto)
                return checked(stored, self._columns, file.lives)
        raise not_found(run_id, str(self.path))

    def spent(self, run_id: str) -> Spent:
        """Add up what a run and its children used; see `Checkpointer.spent`."""
        file = self._file or self._open()
        found = file.read(lambda cursor: spent_by(cursor, storable(run_id)))
        if found is None:
            raise not_found(run_id, str(self.path))
        return found

    def runs(
        self, *, status: RunStatus | None = None, graph: str | None = None, limit: int | None = None
    ) -> list[RunHeader]:
        """List runs, newest first; see `Checkpointer.runs`."""
        file = self._file or self._open()
        # Whether a running run is stale shows only when its owner is looked for
        stored: RunStatus | None = "running" if status == "stale" else status

        def work(cursor: "Cursor") -> list[RunHeader]:
            lives = cache(file.lives)
            seen = (
                (as_seen(header, lives=lives), values)
                for header, values in headers(cursor, stored, graph, limit)
            )
            chosen = islice(((h, v) for h, v in seen if status in (None, h.status)), limit)
            return [
                self._columns.listed_header(header, self._columns.sound(values))
                for header, values in chosen
            ]

        return file.read(work)

    def find(self, prefix: str) -> str:
        """Find the one run id that begins with a prefix; see `Checkpointer.find`."""
        check_prefix(prefix)
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
                f"{self.path} has been closed here; compile the graph with it again.", is_gone=True
            )
        from graphflow.checkpoint.open_files import open_file, release_file
        from graphflow.checkpoint.sqlite_lock import columns_of, lock_of, new_lock

        with self._lock:
            if self._file is None:
                key = key_of(self._key)
                file = open_file(
                    self.path, self._durability, None if key is None else new_lock(key)
                )
                try:
                    file.allow(self._max_bytes)
                    self._columns = columns_of(file.read(lock_of), key, self.path)
                except BaseException:
                    release_file(file)
                    raise
                self._file, self._release = file, weakref.finalize(self, release_file, file)
            return self._file

    def _store(self, lease: SqliteLease, sql: Fenced, kind: str, row: Row) -> None:
        """Store a row that stands alone, with a digest of its own."""
        lease.has_rows = True
        found: dict[str, str] = {}
        columns = lease.columns
        row = columns.stored(f"{kind}s", lease.run_id, row[0], row, found)
        sealed_row, check = sealed(kind, (lease.run_id, *row), columns.digest_of)
        stored, values = (*sealed_row[1:], check), columns.stored_values(found)

        def work(cursor: "Cursor") -> None:
            store_row(cursor, lease, sql, stored)
            store_values(cursor, lease.run, values)

        (self._file or self._open()).write(work)
