"""The fence: nothing is stored under a lease that has been lost.

A run is fenced by its own row. A child is fenced by its root's row too: whoever takes the root
takes all of the family.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from graphflow.checkpoint.columns import PLAIN, Columns
from graphflow.checkpoint.protocol import Lease
from graphflow.checkpoint.refusals import lost, out_of_order, parent_went_on
from graphflow.checkpoint.rows import COLUMNS, Row
from graphflow.checkpoint.sqlite_headers import header_of
from graphflow.errors import CheckpointError

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["FENCE", "Fenced", "SqliteLease", "check_fence", "insert", "own_lease", "store_row"]


class Fenced(NamedTuple):
    """A piece of SQL, for a run without a parent and for a child."""

    root: str
    child: str

    def of(self, lease: "SqliteLease") -> str:
        """Pick the one for a run."""
        return self.child if lease.root else self.root


FENCE: Final = Fenced(
    "id = ? AND epoch = ? AND status = 'running'",
    "id = ? AND status = 'running' "
    "AND (SELECT epoch FROM runs WHERE id = ? AND status = 'running') = ?",
)
"""True of the run's row, with the lease's `fence` for the marks."""


@dataclass(slots=True)
class SqliteLease(Lease):
    """What the next commit needs to know of the last one."""

    run: int = 0
    """The number of the run in its table."""
    root_run: int = 0
    """The number of its root; of a root itself 0."""
    step: int = -1
    """The last committed step."""
    digest: str = ""
    """That step's."""
    kept: dict[int, Row] = field(default_factory=dict)
    """The tasks of the open step that are stored, by `ix`, as the rows that they close as."""
    has_children: bool = False
    """Tasks of the open step may have runs of their own, whose digests its digest covers."""
    has_rows: bool = False
    """Rows of other tables may belong to the open step, which says how many when it closes."""
    columns: Columns = PLAIN
    """How its database stores values."""

    @property
    def fence(self) -> tuple[int, ...]:
        """The values for the marks in `FENCE`."""
        if self.root:
            return self.run, self.root_run, self.epoch
        return self.run, self.epoch


def insert(verb: str, table: str, place: str, more: str = "", unless: str = "") -> Fenced:
    """Write an INSERT that stores nothing unless the lease is good.

    Args:
        verb: `INSERT`, or with what happens when the row is there already.
        table: The table; its columns are those of `COLUMNS`.
        place: Columns before those and after `run`.
        more: Columns after those.
        unless: For a child, what must not be so, as an expression.
    """
    columns = [*place.split(), *COLUMNS[table].split(), *more.split()]
    names, marks = ", ".join(columns), ", ?" * len(columns)
    start = f"{verb} INTO {table} (run, {names}) SELECT id{marks} FROM runs WHERE "  # noqa: S608 - our own names
    but = f" AND NOT {unless}" if unless else ""
    return Fenced(start + FENCE.root, start + FENCE.child + but)


def own_lease(lease: Lease) -> SqliteLease:
    """Check that a lease was given by this kind of checkpointer."""
    if isinstance(lease, SqliteLease):
        return lease
    raise CheckpointError(f"the lease of run {lease.run_id!r} was given by another checkpointer")


def store_row(cursor: "Cursor", lease: SqliteLease, sql: Fenced, row: tuple[object, ...]) -> None:
    """Store a row, unless the lease is lost.

    Raises:
        LeaseLostError: It is lost, or the row is a step that is there already.
    """
    # The fence is spelled out for the root: this is every step's path
    if not lease.root:
        done = cursor.execute(sql.root, (*row, lease.run, lease.epoch)).rowcount == 1
    else:
        done = cursor.execute(sql.child, (*row, *lease.fence)).rowcount == 1
    if not done:
        check_fence(cursor, lease)
        header = header_of(cursor, lease.run)
        if header is not None and header.step > lease.step:
            raise out_of_order(lease.run_id, lease.step + 1, header.step)
        raise parent_went_on(lease.run_id, header.parent_step if header else None)


def check_fence(cursor: "Cursor", lease: SqliteLease) -> None:
    """Check that a lease is still good.

    Raises:
        LeaseLostError: It is not.
        RunNotFoundError: Its run is gone.
    """
    sql = f"SELECT 1 FROM runs WHERE {FENCE.of(lease)}"  # noqa: S608 - our own words
    if cursor.execute(sql, lease.fence).fetchone():
        return
    if lease.root:
        root = header_of(cursor, lease.root_run)
        if root is None or root.epoch != lease.epoch or root.status != "running":
            raise lost(lease.root, lease.epoch, root)
    header = header_of(cursor, lease.run)
    # Of a child the root's epoch counts, which is good: it has ended itself
    epoch = header.epoch if header and lease.root else lease.epoch
    raise lost(lease.run_id, epoch, header)
