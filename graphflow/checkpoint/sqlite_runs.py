"""Beginning, taking and stopping runs: roots, children and forks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.columns import Columns
from graphflow.checkpoint.digest import Hash, sealed, storable
from graphflow.checkpoint.protocol import Ending
from graphflow.checkpoint.refusals import (
    check_family,
    check_free,
    check_open,
    corrupt,
    how_it_ends,
    not_committed,
    not_found,
    of_a_family,
    pruned,
    run_exists,
)
from graphflow.checkpoint.rows import COLUMNS, LATER, Row, as_written, closed_task
from graphflow.checkpoint.sqlite_anchor import store_anchor
from graphflow.checkpoint.sqlite_check import unsealed
from graphflow.checkpoint.sqlite_fence import SqliteLease, check_fence
from graphflow.checkpoint.sqlite_headers import header_of, number_of
from graphflow.checkpoint.sqlite_lineage import lineage, link_before
from graphflow.checkpoint.sqlite_rows import FIXED
from graphflow.checkpoint.sqlite_seal import first_seal, is_sealed, seal_run
from graphflow.checkpoint.sqlite_values import store_values
from graphflow.checkpoint.sqlite_write import StepWrite
from graphflow.clock import now
from graphflow.records import RunHeader, Snapshot, Spent, StepRecord

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["BeginWrite", "Origin", "origin_of", "stop_run", "take_child", "take_run"]

Origin = tuple[int, str | None]
"""Of a fork: the number of the run that it forks, and the digest that its first step continues
from; None when that is its own."""

# A number is given once: a lease of a run that is gone must not fit another run
_NEW: Final = (
    "1 + max(coalesce((SELECT max(id) FROM runs), 0), coalesce((SELECT max(last) FROM retired), 0))"
)
# It stores nothing when the run is there already, or its graph is not
_BEGIN: Final = (
    f"INSERT OR IGNORE INTO runs (id, {FIXED}, digest, limits_json, budget_json, heard, epoch, "  # noqa: S608 - our own names of columns
    f"owner, taken_at, seal, status) SELECT {_NEW}, {'?, ' * 22}'running' "
    "WHERE EXISTS (SELECT 1 FROM graphs WHERE digest = ?)"
)
_TAKE: Final = (
    "UPDATE runs SET epoch = ?, owner = ?, taken_at = ?, status = 'running', "
    "reason = NULL, error_type = NULL, error = NULL, ended_at = NULL, "
    "limits_json = coalesce(?, limits_json), budget_json = coalesce(?, budget_json) "
    "WHERE id = ?"
)
# A step continues from how the run came to another graph before it, if it did
_LAST: Final = (
    "SELECT step, coalesce((SELECT digest FROM adoptions WHERE run = steps.run "
    "AND step = steps.step ORDER BY place DESC LIMIT 1), digest) "
    "FROM steps WHERE run = ? ORDER BY step DESC LIMIT 1"
)
_TASK: Final = ", ".join([COLUMNS["tasks"], *LATER["tasks"]]).replace(" ", ", ").replace(",,", ",")
_KEPT: Final = f"SELECT {_TASK} FROM tasks WHERE run = ? AND step = ?"  # noqa: S608 - our own names of columns
_FAMILY: Final = (
    "WITH RECURSIVE family(run) AS (SELECT id FROM runs WHERE id = ? AND status != 'done' "
    "UNION ALL SELECT child.id FROM family JOIN runs child ON child.parent_run = family.run "
    "WHERE child.id > family.run AND child.status != 'done' AND NOT EXISTS (SELECT 1 FROM steps "
    "WHERE steps.run = child.parent_run AND steps.step = child.parent_step)) SELECT run FROM family"
)
_STOP: Final = (
    "UPDATE runs SET status = ?, reason = ?, error_type = ?, error = ?, ended_at = ?, "
    "owner = NULL, epoch = epoch + 1 WHERE id = ?"
)


class BeginWrite:
    """A run with its first step, ready to be written: called in a transaction."""

    __slots__ = ("_before", "_header", "_lease", "_more", "_origin", "_row", "_spec_json",
                 "_under", "_values", "_write")  # fmt: skip

    def __init__(
        self,
        header: RunHeader,
        spec_json: str,
        first: tuple[StepRecord, Snapshot, Ending | None],
        under: SqliteLease | None,
        origin: Origin | None,
        *,
        columns: Columns,
        before: Spent | None,
    ) -> None:
        check_family(header, under)
        found: dict[str, str] = {}
        input_json, tags_json, fork_json = columns.stored_header(header, found)
        self._values = columns.stored_values(found)
        fixed = (
            *(header.run_id, header.graph, header.graph_version, header.graph_digest),
            *(header.created_at, header.thread_id, input_json, tags_json),
            *(under and under.run, header.parent_step, header.parent_key),
            *(origin and origin[0], header.fork_step, fork_json),
        )
        row, own = sealed("run", fixed, columns.digest_of)
        link = (origin and origin[1]) or own
        begun = (header.fork_step or 0) if before is None else first[0].step
        own_id = str(row[0])
        lease = SqliteLease(own_id, header.epoch, step=begun - 1, digest=link, columns=columns)
        owner = header.owner
        if under is not None:
            check_open(under.run_id, header.parent_step or 0, under.step)
            lease.epoch, lease.root = under.epoch, under.root or under.run_id
            lease.root_run, owner = under.root_run or under.run, None
            under.has_children = True  # before it has: no step of the parent may miss it
        self._header, self._spec_json, self._under, self._row = header, spec_json, under, row
        limits = (header.limits_json, header.budget_json, header.heard)
        more, taken = (*limits, lease.epoch), (owner, now())
        seal = first_seal(str(row[0]), more, taken, columns.digest_of)
        self._more = (own, *more, *taken, seal, row[3])
        self._lease, self._write = lease, StepWrite(lease, *first)
        self._origin, self._before = origin, before

    def __call__(self, cursor: "Cursor") -> SqliteLease:
        """Write it.

        Raises:
            RunExistsError: The run id is taken.
            LeaseLostError: The parent's lease is no longer good.
        """
        row, under = self._row + self._more, self._under
        if under is not None:
            check_fence(cursor, under)
        if self._origin is not None:  # which may have been pruned since
            origin_of(cursor, self._header)
        if cursor.execute(_BEGIN, row).rowcount != 1:
            if cursor.execute("SELECT 1 FROM runs WHERE run_id = ?", row[:1]).fetchone():
                raise run_exists(self._header.run_id)
            _store_graph(cursor, self._header, self._spec_json, self._lease.columns.digest_of)
            cursor.execute(_BEGIN, row)
        self._lease.run = cursor.lastrowid or 0
        if self._values:
            store_values(cursor, self._lease.run, self._values)
        if self._before is not None:
            place = self._lease.step + 1, self._lease.digest
            store_anchor(
                cursor, self._lease.run, place, self._before, by=self._lease.columns.digest_of
            )
        self._write(cursor)
        return self._lease

    def done(self) -> None:
        """Tell the lease, once the run is stored."""
        self._write.done()

    def undo(self) -> None:
        """Leave the lease: nobody has got it."""


def origin_of(cursor: "Cursor", header: RunHeader) -> Origin:
    """Find what a fork continues.

    Raises:
        RunNotFoundError: The run that it forks is not there.
        CheckpointError: That run has not committed the step, or it was pruned.
        CheckpointCorruptError: The step before is missing.
    """
    origin = header_of(cursor, header.fork_of or "")
    if origin is None:
        raise not_found(header.fork_of or "", "this database")
    step = header.fork_step
    if step is None or not 0 <= step <= origin.step:
        raise not_committed(origin.run_id, step, origin.step)
    number = number_of(cursor, origin.run_id)
    first = lineage(cursor, number)[0][2]
    if first is not None and step <= first[0]:
        raise pruned(origin.run_id, step, first[0] + 1)
    link = link_before(cursor, number, step) if step else None
    if step and link is None:
        raise corrupt(origin.run_id, step - 1, "it is missing")
    return number, link


def take_run(
    cursor: "Cursor",
    header: RunHeader,
    owner: str,
    given: tuple[str | None, str | None],
    lives: Callable[[str], bool],
    *,
    columns: Columns,
) -> SqliteLease:
    """Take a run that has no parent.

    Args:
        cursor: In a transaction.
        header: The run as it is stored.
        owner: Who takes it.
        given: New limits, and a new budget.
        lives: Tells whether an owner lives; none does for who takes the run over.
        columns: How the database stores values.

    Raises:
        RunOverError: It is done or cancelled.
        RunBusyError: Another process that lives advances it, or it is a child.
    """
    run_id = header.run_id
    if header.parent is not None:
        raise of_a_family(run_id, header.parent)
    number = number_of(cursor, run_id)
    _check_seal(cursor, number, columns.digest_of)
    (since,) = cursor.execute("SELECT taken_at FROM runs WHERE id = ?", (number,)).fetchone()
    check_free(header, owner, since, lives)
    cursor.execute(_TAKE, (header.epoch + 1, owner, now(), *given, number))
    seal_run(cursor, number, columns.digest_of)
    return _filled(cursor, SqliteLease(run_id, header.epoch + 1, run=number, columns=columns))


def take_child(
    cursor: "Cursor", header: RunHeader, under: SqliteLease, given: tuple[str | None, str | None]
) -> SqliteLease:
    """Take a child under the lease of its parent.

    Raises:
        CheckpointError: It is no child of that run.
        LeaseLostError: The parent's lease is no longer good.
    """
    check_family(header, under)
    check_fence(cursor, under)
    number = number_of(cursor, header.run_id)
    _check_seal(cursor, number, under.columns.digest_of)
    cursor.execute(_TAKE, (under.epoch, None, now(), *given, number))
    seal_run(cursor, number, under.columns.digest_of)
    return _filled(
        cursor,
        SqliteLease(
            header.run_id,
            under.epoch,
            under.root or under.run_id,
            run=number,
            root_run=under.root_run or under.run,
            columns=under.columns,
        ),
    )


def stop_run(cursor: "Cursor", run_id: str, ending: Ending, columns: Columns) -> bool:
    """End a run and its children, but those that are done.

    Args:
        cursor: In a transaction.
        run_id: The run.
        ending: How it stands from now on.
        columns: How the database stores values.

    Returns:
        False when there is no such run.
    """
    found = cursor.execute("SELECT id FROM runs WHERE run_id = ?", (storable(run_id),)).fetchone()
    if found is None:
        return False
    status, ended_at = how_it_ends(ending)
    family = cursor.execute(_FAMILY, found).fetchall()
    names = [_check_seal(cursor, number, columns.digest_of) for (number,) in family]
    for (number,), name in zip(family, names, strict=True):
        texts = columns.stored_ending(name, ending)
        cursor.execute(_STOP, (status, *texts, ended_at, number))
        seal_run(cursor, number, columns.digest_of)
    return True


def _filled(cursor: "Cursor", lease: SqliteLease) -> SqliteLease:
    """Tell a lease where its run stands."""
    last, own = cursor.execute(_LAST, (lease.run,)).fetchone()
    place = (lease.run, last + 1)
    kept = [as_written("tasks", row) for row in cursor.execute(_KEPT, place)]
    lease.step, lease.digest = last, own
    lease.kept = {row[0]: closed_task(row) for row in kept}
    child = cursor.execute("SELECT 1 FROM runs WHERE parent_run = ? AND parent_step = ?", place)
    lease.has_children, lease.has_rows = child.fetchone() is not None, True
    return lease


def _check_seal(cursor: "Cursor", number: int, by: Hash) -> str:
    """Check how a run stands, before that is written anew with a seal that would hide it.

    Returns:
        The run's id.

    Raises:
        CheckpointCorruptError: It is not what was written.
    """
    (run_id,) = cursor.execute("SELECT run_id FROM runs WHERE id = ?", (number,)).fetchone()
    if not is_sealed(cursor, number, by):
        raise unsealed(run_id)
    return str(run_id)


def _store_graph(cursor: "Cursor", header: RunHeader, spec_json: str, by: Hash) -> None:
    """Store the graph of a run, which is the first run of it."""
    row: Row = (
        header.graph_digest,
        header.graph,
        header.graph_version,
        spec_json,
        header.created_at,
    )
    whole, check = sealed("graph", row, by)
    cursor.execute("INSERT INTO graphs VALUES (?, ?, ?, ?, ?, ?)", (*whole, check))
