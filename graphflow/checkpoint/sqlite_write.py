"""Writing runs into the tables: every statement carries the fence that a lost lease runs into."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import digest, sealed, snapshot_digest, storable
from graphflow.checkpoint.protocol import Ending, Lease
from graphflow.checkpoint.refusals import how_it_ends, lost, out_of_order
from graphflow.checkpoint.rows import COLUMNS, decision_row, step_row, task_row
from graphflow.checkpoint.sqlite_read import FIXED, header_of
from graphflow.clock import now
from graphflow.errors import CheckpointError
from graphflow.records import RunHeader, Snapshot, StepRecord

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = [
    "BEGIN_RUN",
    "KEEP_TASK",
    "STORE_ATTEMPT",
    "STORE_CALL",
    "TAKE_RUN",
    "SqliteLease",
    "StepWrite",
    "end_run",
    "own_lease",
    "store_graph",
    "store_row",
]


def _insert(verb: str, table: str, place: str, more: str = "") -> str:
    """Write an INSERT that stores nothing unless the lease is good: the fence."""
    columns = [*place.split(), *COLUMNS[table].split(), *more.split()]
    names, places = ", ".join(columns), ", ?" * len(columns)
    start = f"{verb} INTO {table} (run, {names}) SELECT id{places}"
    return f"{start} FROM runs WHERE id = ? AND epoch = ? AND status = 'running'"


# OR IGNORE: a step number that is there already stores nothing either
_STEP: Final = _insert("INSERT OR IGNORE", "steps", "", "digest")
KEEP_TASK: Final = _insert("INSERT OR REPLACE", "tasks", "step", "digest")
STORE_ATTEMPT: Final = _insert("INSERT", "attempts", "", "digest")
STORE_CALL: Final = _insert("INSERT", "calls", "", "digest")


def _values(table: str) -> str:
    columns = COLUMNS[table].split()
    names, places = ", ".join(columns), ", ?" * len(columns)
    start = f"INSERT INTO {table} (run, step, {names})"
    return f"{start} VALUES (?, ?{places})"


_TASK: Final = _values("tasks")
_DECISION: Final = _values("decisions")
_CLOSE_KEPT: Final = (
    "UPDATE tasks SET goto_json = NULL, digest = NULL "
    "WHERE run = ? AND step = ? AND digest IS NOT NULL"
)
BEGIN_RUN: Final = (
    "INSERT INTO runs (" + FIXED + ", digest, status, limits_json, epoch, owner, taken_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?)"
)
TAKE_RUN: Final = (
    "UPDATE runs SET epoch = epoch + 1, owner = ?, taken_at = ?, status = 'running', "
    "reason = NULL, error_type = NULL, error = NULL, ended_at = NULL, "
    "limits_json = coalesce(?, limits_json) "
    "WHERE run_id = ?"
)
_END: Final = (
    "UPDATE runs SET status = ?, reason = ?, error_type = ?, error = ?, ended_at = ?, owner = NULL "
    "WHERE id = ? AND epoch = ? AND status = 'running'"
)


@dataclass(slots=True)
class SqliteLease(Lease):
    """What the next commit needs to know of the last one."""

    run: int = 0
    """The number of the run in its table."""
    step: int = -1
    """The last committed step."""
    digest: str = ""
    """That step's."""
    kept: set[int] = field(default_factory=set)
    """The `ix` of the tasks of the open step that are stored."""


class StepWrite:
    """A step in columns, ready to be written: called in a transaction."""

    __slots__ = ("_decisions", "_digest", "_ending", "_lease", "_row", "_snapshot", "_tasks")

    def __init__(
        self,
        lease: SqliteLease,
        step: StepRecord,
        snapshot: Snapshot | None,
        ending: Ending | None,
    ) -> None:
        if step.step != lease.step + 1:
            raise out_of_order(lease.run_id, step.step, lease.step)
        self._lease, self._snapshot, self._ending = lease, snapshot, ending
        row = step_row(step)
        if not step.committed_at:
            row = (row[0], now(), *row[2:])
        tasks = [task_row(task) for task in step.tasks]
        tasks.sort()
        decisions = [decision_row(ix, decision) for ix, decision in enumerate(step.decisions)]
        rows = (lease.digest, row, tuple(tasks), tuple(decisions))
        (_, self._row, self._tasks, self._decisions), self._digest = sealed("step", rows)

    def __call__(self, cursor: "Cursor") -> None:
        """Write it.

        Raises:
            LeaseLostError: The lease is no longer good, or the step is there already.
        """
        lease, step, place = self._lease, self._row[0], (self._lease.run, self._row[0])
        store_row(cursor, lease, _STEP, (*self._row, self._digest))
        if lease.kept:
            cursor.execute(_CLOSE_KEPT, place)
        kept = lease.kept
        _store_all(cursor, _TASK, [place + row for row in self._tasks if row[0] not in kept])
        _store_all(cursor, _DECISION, [place + row for row in self._decisions])
        if self._snapshot is not None:
            state, counters = self._snapshot.state_json, self._snapshot.counters_json
            check = snapshot_digest(self._digest, step, counters, state)
            cursor.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", (*place, state, counters, check)
            )
        if self._ending is not None:
            end_run(cursor, lease, self._ending)

    def done(self) -> None:
        """Tell the lease, once the step is committed."""
        self._lease.step, self._lease.digest = self._row[0], self._digest
        self._lease.kept.clear()


def own_lease(lease: Lease) -> SqliteLease:
    """Check that a lease was given by this kind of checkpointer."""
    if isinstance(lease, SqliteLease):
        return lease
    raise CheckpointError(f"the lease of run {lease.run_id!r} was given by another checkpointer")


def store_row(cursor: "Cursor", lease: SqliteLease, sql: str, row: tuple[object, ...]) -> None:
    """Store a row, unless the lease is lost.

    Raises:
        LeaseLostError: It is lost, or the row is a step that is there already.
    """
    if cursor.execute(sql, (*row, lease.run, lease.epoch)).rowcount != 1:
        header = header_of(cursor, lease.run)
        if header and header.epoch == lease.epoch and header.step > lease.step:
            raise out_of_order(lease.run_id, lease.step + 1, header.step)
        raise lost(lease.run_id, lease.epoch, header)


def end_run(cursor: "Cursor", lease: SqliteLease, ending: Ending) -> None:
    """Set the status of a run, unless the lease is lost.

    Raises:
        LeaseLostError: It is lost.
    """
    status, ended_at = how_it_ends(ending)
    texts = [text and storable(text) for text in (ending.reason, ending.error_type, ending.error)]
    store_row(cursor, lease, _END, (status, *texts, ended_at))


def store_graph(cursor: "Cursor", header: RunHeader, spec_json: str) -> None:
    """Store the graph of a run, if it is the first run of it."""
    key = (header.graph_digest,)
    if not cursor.execute("SELECT 1 FROM graphs WHERE digest = ?", key).fetchone():
        row = (*key, header.graph, header.graph_version, spec_json, header.created_at)
        cursor.execute("INSERT INTO graphs VALUES (?, ?, ?, ?, ?, ?)", (*row, digest("graph", row)))


def _store_all(cursor: "Cursor", sql: str, rows: list[tuple[object, ...]]) -> None:
    if len(rows) == 1:  # as in most steps; executemany would take a microsecond more
        cursor.execute(sql, rows[0])
    elif rows:
        cursor.executemany(sql, rows)
