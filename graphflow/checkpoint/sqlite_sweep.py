"""Letting runs be there for nobody, and removing their rows: in transactions of a short time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Final, TypeVar

from graphflow.checkpoint.sqlite_size import OF_RUNS, OF_STEPS, bytes_of, children_of
from graphflow.checkpoint.sqlite_values import forget_runs, recount_uses
from graphflow.clock import now

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from graphflow.checkpoint.sqlite_file import SqliteFile

__all__ = ["BRIEF", "Gone", "before_step", "count_steps", "hide", "remove_run", "sweep",
           "sweep_steps", "write_briefly"]  # fmt: skip

_HIDE: Final = (
    "UPDATE runs SET parent_run = id, fork_of = NULL, run_id = ?, status = 'cancelled', "
    "owner = NULL, epoch = epoch + 1 WHERE id = ?"
)
_RETIRE: Final = (
    "INSERT OR REPLACE INTO retired SELECT 1, max(?, coalesce((SELECT max(last) FROM retired), 0))"
)
_FEW: Final = 500  # steps of a family that goes in one transaction
_SPAN: Final = 64  # steps whose rows are removed at once, at first
BRIEF: Final = 0.02  # seconds that a transaction should take
_NAP: Final = 0.011  # seconds between two of them

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Gone:
    """What one transaction has dropped: of whom, how much, and whose rows are still there."""

    run_id: str
    steps: int
    bytes: int
    hidden: Sequence[int] = ()


def before_step(cursor: "Cursor", number: int, first: int) -> tuple[int, int]:
    """Count the steps of a run before another one, with those of its children, and their bytes."""
    children = children_of(cursor, number, first)
    steps = count_steps(cursor, [number], first) + count_steps(cursor, children)
    size = sum(bytes_of(cursor, [number], first).values())
    return steps, size + sum(bytes_of(cursor, children).values())


def hide(cursor: "Cursor", run_id: str, family: Sequence[int]) -> Gone:
    """Let runs be there for nobody; when they have few rows, these go at once."""
    steps, size = count_steps(cursor, family), sum(bytes_of(cursor, family).values())
    for number in reversed(family):
        cursor.execute(_HIDE, (f"deleted#{number} {now()}", number))
    if steps > _FEW:
        return Gone(run_id, steps, size, family[::-1])
    for number in reversed(family):
        remove_run(cursor, number)
    return Gone(run_id, steps, size)


def count_steps(cursor: "Cursor", numbers: Sequence[int], below: int = 2**62) -> int:
    """Count the steps of runs, or those before one."""
    sql = "SELECT count(*) FROM steps WHERE run = ? AND step < ?"
    return sum(cursor.execute(sql, (number, below)).fetchone()[0] for number in numbers)


def remove_run(cursor: "Cursor", number: int) -> None:
    """Remove all rows of a run."""
    forget_runs(cursor, [number])
    for table in OF_RUNS[:-1]:
        cursor.execute(f"DELETE FROM {table} WHERE run = ?", (number,))  # noqa: S608 - our own names
    cursor.execute("DELETE FROM runs WHERE id = ?", (number,))
    cursor.execute(_RETIRE, (number,))


def write_briefly(file: "SqliteFile", work: Callable[["Cursor"], _T]) -> _T:
    """Do one of many transactions, and let those go ahead that wait meanwhile.

    They look for the lock every ten milliseconds; without a pause it would be taken again before
    they do, until the last of the many.
    """
    result = file.write(work)
    sleep(_NAP)
    return result


def sweep(file: "SqliteFile", hidden: Sequence[int]) -> None:
    """Remove the rows of runs that are there for nobody."""
    for number in hidden:
        sweep_steps(file, number, 2**62)
        write_briefly(file, partial(remove_run, number=number))


def sweep_steps(file: "SqliteFile", number: int, below: int) -> None:
    """Remove the rows of the oldest steps of a run, in transactions of a short time."""
    span = _SPAN
    while True:
        begin = perf_counter()
        work = partial(_remove_some, number=number, below=below, span=span)
        if not write_briefly(file, work):
            return
        took = perf_counter() - begin - _NAP
        span = max(1, span // 2) if took > 2 * BRIEF else span * 2 if took < BRIEF else span


def _remove_some(cursor: "Cursor", number: int, below: int, span: int) -> bool:
    (first,) = cursor.execute("SELECT min(step) FROM steps WHERE run = ?", (number,)).fetchone()
    if first is None or first >= below:
        return False
    for table in OF_STEPS:
        sql = f"DELETE FROM {table} WHERE run = ? AND step < ?"  # noqa: S608 - our own names
        cursor.execute(sql, (number, min(below, first + span)))
    if first + span < below:
        return True
    recount_uses(cursor, number)
    return False
