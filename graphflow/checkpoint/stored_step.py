"""A step as it was read: a part of it is made of its rows when somebody looks at that part.

Whoever reads a run looks at a few parts of most of its steps, and to make all of them takes longer
than to read them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Self

from graphflow.checkpoint.rows import Row, decision_from, task_from
from graphflow.checkpoint.rows_json import arrows_from, fired_from, held_from, ready_from
from graphflow.checkpoint.shapes import check_row
from graphflow.records import StepRecord
from graphflow.stored import UNREADABLE, unreadable

__all__ = ["StoredStep"]

_NAMES: Final = tuple(StepRecord.__dataclass_fields__)
_MADE: Final = frozenset({*_NAMES, "update_texts"})


class StoredStep(StepRecord):
    """A step of which only the rows are there at first, as JSON.

    Attributes:
        row: Its own.
        task_rows: Those of its tasks.
        decision_rows: Those of its decisions.
        update_texts: What its tasks returned.
        run_id: Whose it is.
        given: Gives a row as it was before it was stored; None when it is the same.
    """

    __slots__ = ("decision_rows", "given", "row", "run_id", "task_rows", "update_texts")
    __hash__ = StepRecord.__hash__
    run_id: str
    row: str
    task_rows: Sequence[str]
    decision_rows: Sequence[str]
    update_texts: Sequence[str]
    given: Callable[[str, Row], Row] | None

    @classmethod
    def of(
        cls,
        run_id: str,
        own: Row,
        updates: Sequence[str],
        tasks: Sequence[str],
        decisions: Sequence[str],
    ) -> Self:
        """Make a step of its rows.

        Args:
            run_id: Whose it is.
            own: Its number, its digest, the JSON of its derived fields, how many rows belong to it,
                and the JSON of its own row.
            updates: What its tasks returned, as JSON.
            tasks: Of each the JSON of its row.
            decisions: Of each the JSON of its row.
        """
        step = cls.__new__(cls)
        step.step, step.digest, step.derived_json, _, step.row = own
        step.update_texts, step.task_rows, step.decision_rows = updates, tasks, decisions
        step.run_id, step.given = run_id, None
        return step

    def rows(self) -> Iterator[tuple[str, Sequence[str]]]:
        """List its rows as JSON, by table."""
        yield from (
            ("steps", (self.row,)),
            ("tasks", self.task_rows),
            ("decisions", self.decision_rows),
        )

    def read_through(self, given: Callable[[str, Row], Row]) -> None:
        """Read rows by a function that takes their table and them, and gives what was stored."""
        self.given = given
        del self.derived_json, self.update_texts

    def updates(self) -> Sequence[str]:
        """Give the JSON of what its tasks returned, in merge order."""
        return self.update_texts

    def __getattr__(self, name: str) -> Any:
        """Make a part that nobody has looked at so far."""
        if name not in _MADE:
            raise AttributeError(f"a step has no {name!r}", name=name, obj=self)
        try:
            self._make(name)
        except UNREADABLE as error:
            raise unreadable(self.run_id, self.step, f"its {name}", error) from error
        return getattr(self, name)

    def _make(self, name: str) -> None:
        if name == "tasks":
            self.tasks = tuple([task_from(self._read("tasks", row)) for row in self.task_rows])
        elif name == "decisions":
            rows = self.decision_rows
            self.decisions = tuple([decision_from(self._read("decisions", row)) for row in rows])
        elif name == "update_texts":
            self.update_texts = StepRecord.updates(self)
        else:
            self._read_row()

    def __eq__(self, other: object) -> bool:
        """Compare the parts with those of any step."""
        if not isinstance(other, StepRecord):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _NAMES)

    def _read_row(self) -> None:
        _, committed_at, arrows, fired, held, ready, self.derived_json, *later = self._read(
            "steps", self.row
        )
        self.committed_at, self.heard = committed_at, bool(later and later[0])
        self.arrows = arrows_from(arrows)
        self.fired = fired_from(fired)
        self.held = held_from(held)
        self.ready, self.sends = ready_from(ready)

    def _read(self, table: str, row: str) -> Row:
        read: Row = json.loads(row)
        if self.given is not None:
            read = self.given(table, read)
        check_row(table, read)
        return read
