"""Writing steps, and what is stored while a step is open."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

from graphflow.checkpoint.digest import Hash, digest, sealed, snapshot_digest
from graphflow.checkpoint.protocol import Ending
from graphflow.checkpoint.refusals import (
    answered_already,
    check_open,
    how_it_ends,
    never_asked,
    out_of_order,
)
from graphflow.checkpoint.rows import (
    COLUMNS,
    LATER,
    Row,
    closed_task,
    counted_step,
    decision_row,
    question_from,
    question_row,
    step_row,
    task_row,
)
from graphflow.checkpoint.sqlite_fence import (
    FENCE,
    Fenced,
    SqliteLease,
    check_fence,
    insert,
    store_row,
)
from graphflow.checkpoint.sqlite_rows import HEADS
from graphflow.checkpoint.sqlite_seal import rows_of, seal_run
from graphflow.checkpoint.sqlite_values import fetched, store_values
from graphflow.checkpoint.stored_chain import check_row
from graphflow.clock import now
from graphflow.records import QuestionRecord, Snapshot, StepRecord, TaskRecord

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = [
    "STORE_ATTEMPT",
    "STORE_CALL",
    "STORE_ITEM",
    "STORE_MEMO",
    "StepWrite",
    "TaskWrite",
    "answer_question",
    "ask_question",
    "end_run",
    "question_to_store",
    "store_snapshot",
]

# OR IGNORE: a step number that is there already stores nothing either
_IGNORE: Final = "INSERT OR IGNORE"
# What a child commits when its parent no longer waits would belie the digest of the parent's step
_IS_LATE: Final = (
    "EXISTS (SELECT 1 FROM steps WHERE run = runs.parent_run AND step = runs.parent_step)"
)
_STEP: Final = insert(_IGNORE, "steps", "", "digest", _IS_LATE)
_STEP_LATER: Final = insert(_IGNORE, "steps", "", " ".join([*LATER["steps"], "digest"]), _IS_LATE)
_KEEP: Final = insert("INSERT OR REPLACE", "tasks", "step", "digest")
_KEEP_LATER: Final = insert(
    "INSERT OR REPLACE", "tasks", "step", " ".join([*LATER["tasks"], "digest"])
)
_ASK: Final = insert(_IGNORE, "questions", "", "digest")
STORE_ATTEMPT: Final = insert("INSERT", "attempts", "", "digest")
STORE_CALL: Final = insert("INSERT", "calls", "", "digest")
STORE_ITEM: Final = insert("INSERT OR REPLACE", "items", "", "digest")
STORE_MEMO: Final = insert("INSERT OR REPLACE", "memos", "", "digest")


def _values(table: str, more: str = "") -> str:
    columns = [*COLUMNS[table].split(), *more.split()]
    names, places = ", ".join(columns), ", ?" * len(columns)
    start = f"INSERT INTO {table} (run, step, {names})"
    return f"{start} VALUES (?, ?{places})"


_TASK: Final = _values("tasks")
_TASK_LATER: Final = _values("tasks", " ".join(LATER["tasks"]))
_DECISION: Final = _values("decisions")
_SHORT_STEP: Final = len(COLUMNS["steps"].split())
_LONG_STEP: Final = _SHORT_STEP + len(LATER["steps"])
_SNAPSHOT: Final = {"snapshots": 1}
_SHORT_TASK: Final = len(COLUMNS["tasks"].split())
_CLOSE_KEPT: Final = (
    "UPDATE tasks SET goto_json = NULL, digest = NULL "
    "WHERE run = ? AND step = ? AND digest IS NOT NULL"
)
_DROP_KEPT: Final = "DELETE FROM tasks WHERE run = ? AND step = ? AND ix = ?"
_SET_END: Final = (
    "UPDATE runs SET status = ?, reason = ?, error_type = ?, error = ?, ended_at = ?, owner = NULL "
    "WHERE "
)
_END: Final = Fenced(_SET_END + FENCE.root, _SET_END + FENCE.child)
_QUESTION: Final = (
    f"SELECT {COLUMNS['questions'].replace(' ', ', ')}, digest FROM questions "  # noqa: S608 - our own names
    "WHERE run = ? AND step = ? AND key = ? AND name = ?"
)
_ANSWER: Final = (
    "UPDATE questions SET answer_json = ?, answered_at = ?, answered_by = ?, digest = ? "
    "WHERE run = ? AND step = ? AND key = ? AND name = ? AND answer_json IS NULL"
)
_LINE: Final = (
    "WITH RECURSIVE line(run) AS (VALUES (?) "
    "UNION ALL SELECT parent_run FROM line JOIN runs ON id = run WHERE parent_run < id) "
    "SELECT run FROM line"
)
_HEAR: Final = (
    "UPDATE runs SET heard = (SELECT max(step) + 1 FROM steps WHERE run = runs.id) WHERE id = ?"
)

_Rows = tuple[str, Row, tuple[Row, ...], tuple[Row, ...]]
"""The digest before a step, the step, its tasks and its decisions."""


class StepWrite:
    """A step in columns, ready to be written: called in a transaction."""

    __slots__ = ("_before", "_decisions", "_digest", "_ending", "_lease", "_row", "_snapshot",
                 "_tasks", "_values")  # fmt: skip

    def __init__(
        self,
        lease: SqliteLease,
        step: StepRecord,
        snapshot: Snapshot | None,
        ending: Ending | None,
    ) -> None:
        if step.step != lease.step + 1:
            raise out_of_order(lease.run_id, step.step, lease.step)
        self._lease, self._ending = lease, ending
        row = step_row(step)
        if not step.committed_at:
            row = (row[0], now(), *row[2:])
        if snapshot is not None:
            row = counted_step(row, _SNAPSHOT)
        tasks = tuple(sorted(map(task_row, step.tasks)))
        decisions = tuple(map(decision_row, count(), step.decisions))
        found: dict[str, str] = {}
        rows: _Rows = (lease.digest, row, tasks, decisions)
        done = lease.columns.sealed("step", rows)
        if done is None:
            rows = self._in_columns(rows, found)
            done = sealed("step", rows, lease.columns.digest_of)
        (_, self._row, self._tasks, self._decisions), self._digest = done
        self._snapshot = snapshot and lease.columns.snapshot(lease.run_id, snapshot, found)
        self._values = found and lease.columns.stored_values(found)

    def _in_columns(self, rows: _Rows, found: dict[str, str]) -> _Rows:
        """Give the rows as they are to be stored; `found` gets the long values."""
        before, row, tasks, decisions = rows
        columns, at = self._lease.columns, (self._lease.run_id, row[0])
        return (
            before,
            columns.stored("steps", *at, row, found),
            tuple(columns.task(*at, task, self._lease.kept, found) for task in tasks),
            tuple(columns.stored("decisions", *at, one, found) for one in decisions),
        )

    def __call__(self, cursor: "Cursor") -> None:
        """Write it.

        Raises:
            LeaseLostError: The lease is no longer good, or the step is there already.
        """
        lease, step = self._lease, self._row[0]
        place = (lease.run, step)
        if lease.has_children or lease.has_rows:
            self._complete(cursor)
        if len(self._row) == _SHORT_STEP:
            store_row(cursor, lease, _STEP, (*self._row, self._digest))
        else:
            unset = (None,) * (_LONG_STEP - len(self._row))
            store_row(cursor, lease, _STEP_LATER, (*self._row, *unset, self._digest))
        _store_tasks(cursor, place, self._close_kept(cursor, place) if lease.kept else self._tasks)
        _store_all(cursor, _DECISION, place, self._decisions)
        if self._values:
            store_values(cursor, lease.run, self._values)
        if self._snapshot is not None:
            store_snapshot(cursor, lease.run, self._snapshot, self._digest, lease.columns.digest_of)
        if self._ending is not None:
            end_run(cursor, lease, self._ending, (step, self._digest))

    def done(self) -> None:
        """Tell the lease, once the step is committed. Doing it twice is harmless."""
        lease = self._lease
        if lease.step != self._row[0]:
            self._before = (
                *(lease.step, lease.digest, lease.kept),
                *(lease.has_children, lease.has_rows),
            )
            lease.digest, lease.kept = self._digest, {}
            lease.has_children = lease.has_rows = False
            lease.step = self._row[0]

    def undo(self) -> None:
        """Tell the lease that the transaction came to nothing after all."""
        lease = self._lease
        lease.step, lease.digest, lease.kept, lease.has_children, lease.has_rows = self._before

    def _close_kept(self, cursor: "Cursor", place: Row) -> Sequence[Row]:
        """Close the tasks that are stored; give those that are not."""
        kept = self._lease.kept
        cursor.execute(_CLOSE_KEPT, place)
        same = {row[0] for row in self._tasks if kept.get(row[0]) == row}
        # What was kept and is another now, or none, would belie the step's digest
        for ix in kept.keys() - same:
            cursor.execute(_DROP_KEPT, (*place, ix))
        return [row for row in self._tasks if row[0] not in same]

    def _complete(self, cursor: "Cursor") -> None:
        """Note how many rows belong to the step, and the last digests of its children."""
        step, lease = self._row[0], self._lease
        rows = _SNAPSHOT if self._snapshot is not None else {}
        self._row = counted_step(self._row, rows | rows_of(cursor, lease.run, step))
        # Not before the transaction: until then a child could still commit
        heads = cursor.execute(HEADS, (lease.run, step, step + 1)).fetchall()
        ends = [tuple(row[1:] for row in heads)] if heads else []
        whole = (lease.digest, self._row, self._tasks, self._decisions, *ends)
        self._digest = digest("step", whole, lease.columns.digest_of)


class TaskWrite:
    """A complete task of the open step, ready to be written: called in a transaction."""

    __slots__ = ("_before", "_closed", "_lease", "_row", "_values")

    def __init__(self, lease: SqliteLease, step: int, task: TaskRecord) -> None:
        check_open(lease.run_id, step, lease.step)
        columns, found = lease.columns, dict[str, str]()
        row = columns.stored("tasks", lease.run_id, step, task_row(task, is_open=True), found)
        row, check = sealed("task", (lease.run_id, step, *row), columns.digest_of)
        self._values = columns.stored_values(found)
        self._lease, self._row, self._closed = lease, (*row[1:], check), closed_task(row[2:])
        self._before = lease.kept.get(task.ix)

    def __call__(self, cursor: "Cursor") -> None:
        """Write it, unless the lease is lost."""
        is_short = len(self._row) == _SHORT_TASK + 2
        store_row(cursor, self._lease, _KEEP if is_short else _KEEP_LATER, self._row)
        if self._values:
            store_values(cursor, self._lease.run, self._values)

    def done(self) -> None:
        """Tell the lease, once the task is stored."""
        self._lease.kept[self._closed[0]] = self._closed

    def undo(self) -> None:
        """Tell the lease that the transaction came to nothing after all."""
        ix = self._closed[0]
        if self._before is None:
            self._lease.kept.pop(ix, None)
        else:
            self._lease.kept[ix] = self._before


def end_run(
    cursor: "Cursor", lease: SqliteLease, ending: Ending, last: tuple[int, str] | None = None
) -> None:
    """Set the status of a run, unless the lease is lost.

    Args:
        cursor: In a transaction.
        lease: Of the run.
        ending: How it stands from now on.
        last: Its last step, and the digest of that, when they are known.

    Raises:
        LeaseLostError: It is lost.
    """
    status, ended_at = how_it_ends(ending)
    texts = lease.columns.stored_ending(lease.run_id, ending)
    store_row(cursor, lease, _END, (status, *texts, ended_at))
    seal_run(cursor, lease.run, lease.columns.digest_of, last)


def ask_question(cursor: "Cursor", lease: SqliteLease, row: Row, values: Mapping[str, str]) -> None:
    """Store a question, unless it is there or the lease is lost.

    Args:
        cursor: In a transaction.
        lease: Of the run that asks.
        row: The question and its digest.
        values: The long values that it refers to.

    Raises:
        LeaseLostError: It is lost.
    """
    check_fence(cursor, lease)
    lease.has_rows = True
    sql = _ASK.child if lease.root else _ASK.root
    cursor.execute(sql, (*row, *lease.fence))
    store_values(cursor, lease.run, values)


def answer_question(cursor: "Cursor", lease: SqliteLease, question: QuestionRecord) -> None:
    """Store the answer of a question, and that the run and its parents heard of it.

    Raises:
        LeaseLostError: The lease is lost.
        AnswerError: The question is answered already, or was never asked.
        CheckpointCorruptError: The question is not what was asked.
    """
    check_fence(cursor, lease)
    place = (lease.run, question.step, question.key, question.name)
    stored = cursor.execute(_QUESTION, place).fetchone()
    if stored is None:
        raise never_asked(lease.run_id, question)
    columns = lease.columns
    check_row(lease.run_id, question.step, "question", stored, columns.digest_of)
    found: dict[str, str] = {}
    values = columns.sound(fetched(cursor, stored))
    known = columns.given("questions", lease.run_id, question.step, stored[:-1], values)
    if (answered := question_from(known)).answer_json is not None:
        raise answered_already(lease.run_id, answered)
    given = question.answer_json
    text = given and columns.answer(lease.run_id, known, given, found)
    answer = (text, question.answered_at or now(), question.answered_by)
    row, check = sealed("question", (lease.run_id, *stored[:-4], *answer), columns.digest_of)
    cursor.execute(_ANSWER, (*row[-3:], check, *place))
    for (number,) in cursor.execute(_LINE, (lease.run,)).fetchall():
        cursor.execute(_HEAR, (number,))
        seal_run(cursor, number, columns.digest_of)
    store_values(cursor, lease.run, columns.stored_values(found))


def question_to_store(
    lease: SqliteLease, question: QuestionRecord
) -> tuple[Row, Mapping[str, str]]:
    """Put a question of the open step into columns.

    Returns:
        The row, with its digest at the end, and the long values that it refers to.
    """
    check_open(lease.run_id, question.step, lease.step)
    columns, found = lease.columns, dict[str, str]()
    row = columns.stored("questions", lease.run_id, question.step, question_row(question), found)
    row, check = sealed("question", (lease.run_id, *row), columns.digest_of)
    return (*row[1:], check), columns.stored_values(found)


def store_snapshot(
    cursor: "Cursor", run: int, snapshot: Snapshot, step_digest: str, by: Hash
) -> None:
    """Store a snapshot.

    Args:
        cursor: In a transaction.
        run: The number of its run.
        snapshot: The state after a step, as it is to be stored.
        step_digest: The digest of that step.
        by: Digests texts; see `digest`.
    """
    texts = (snapshot.state_json, snapshot.counters_json)
    check = snapshot_digest(step_digest, snapshot, by)
    row = (run, snapshot.step, *texts, check, snapshot.since, snapshot.added_json)
    cursor.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _store_tasks(cursor: "Cursor", place: Row, rows: Sequence[Row]) -> None:
    if len(rows) == 1:
        cursor.execute(_TASK if len(rows[0]) == _SHORT_TASK else _TASK_LATER, place + rows[0])
        return
    _store_all(cursor, _TASK, place, [row for row in rows if len(row) == _SHORT_TASK])
    _store_all(cursor, _TASK_LATER, place, [row for row in rows if len(row) > _SHORT_TASK])


def _store_all(cursor: "Cursor", sql: str, place: Row, rows: Sequence[Row]) -> None:
    if len(rows) == 1:  # as in most steps; executemany would take a microsecond more
        cursor.execute(sql, place + rows[0])
    elif rows:
        cursor.executemany(sql, [place + row for row in rows])
