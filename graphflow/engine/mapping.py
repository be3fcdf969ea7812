"""A map: its items, numbered from the frozen state, and what they come to together (S13)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.engine.position import OpenStep, Position
from graphflow.engine.tasks import Ended, Result, Task, complete, item_task, text_of, where
from graphflow.errors import InvalidUpdateError, StateError
from graphflow.plan import Plan
from graphflow.records import ItemRecord, wall_ms
from graphflow.signatures import closed

__all__ = ["Mapped"]


class Mapped:
    """The items of one map in a step.

    Args:
        plan: The graph.
        task: The map's task.
        stored: What is stored of the step.

    Attributes:
        errors: What failed for good, by item.
        waiting: What items wait for, by item.
        running: How many items run.

    Raises:
        InvalidUpdateError: There is nothing to map over.
    """

    def __init__(self, plan: Plan, task: Task, stored: OpenStep | None) -> None:
        self._plan, self.task = plan, task
        items = _items(plan, task)
        self.done = dict(stored.items.get(task.key, {})) if stored else {}
        self.count, self.running = len(items), 0
        self._todo = deque(
            item_task(task, stored, ix, item)
            for ix, item in enumerate(items)
            if ix not in self.done
        )
        self.errors: dict[str, Exception] = {}
        self.waiting: dict[str, str] = {}

    @property
    def is_over(self) -> bool:
        """Whether no item runs or is to run."""
        return not self.running and not self._todo

    def next(self) -> list[Task]:
        """Give the items that may start now."""
        rules = self.task.node.rules.map
        most = (rules and rules.max_concurrency) or len(self._todo) + self.running
        found = [self._todo.popleft() for _ in range(min(most - self.running, len(self._todo)))]
        self.running += len(found)
        return found

    def set_aside(self, item: Task) -> None:
        """Note that an item waits for an answer, and does not run."""
        self._todo.remove(item)
        self.waiting[item.key] = "asking"

    @property
    def todo(self) -> Sequence[Task]:
        """The items that are to run."""
        return tuple(self._todo)

    def item(self, ended: Ended) -> ItemRecord:
        """Judge the result of an item.

        Raises:
            InvalidUpdateError: It does not fit.
        """
        task = ended.task
        if closed(ended.value):
            words = f"item {task.item}: it returned a coroutine; write the function as `async def`"
            raise where(self._plan, task, InvalidUpdateError(words))
        try:
            _, text = task.node.result.store(ended.value)
        except StateError as error:
            wrong = InvalidUpdateError(f"item {task.item}: its result does not fit: {error}")
            raise where(self._plan, task, wrong) from error.__cause__
        record = ItemRecord(
            task.step,
            self.task.key,
            task.item or 0,
            text,
            ended.started_at,
            ended.duration_ms,
            task.attempt,
        )
        self.done[record.ix] = record
        return record

    def error(self) -> Exception:
        """Give what failed, by item: one error, or a group of them."""
        errors = list(self.errors.values())
        words = "; ".join(
            f"item {key.rpartition('[')[2][:-1]}: {type(error).__name__}: {text_of(error)}"
            for key, error in self.errors.items()
        )
        return errors[0] if len(errors) == 1 else ExceptionGroup(words, errors)

    def collect(self, position: Position) -> Result:
        """Complete the map: all results in order, as one update.

        Raises:
            InvalidUpdateError: They do not fit the state.
        """
        rules, node = self.task.node.rules.map, self.task.node
        if rules is None:
            raise AssertionError("only a map collects")
        records = [self.done[ix] for ix in range(self.count)]
        results = [node.result.read(record.result_json) for record in records]
        update: Mapping[str, Any] | None
        update = {rules.into: results} if isinstance(rules.into, str) else rules.into(results)
        first = min((record.started_at for record in records), default="")
        ended = Ended(self.task, None, None, first, wall_ms(records))
        return complete(self._plan, position, ended, update, items=self.count)


def _items(plan: Plan, task: Task) -> list[Any]:
    rules = task.node.rules.map
    if rules is None:
        raise AssertionError("only a map has items")
    over = rules.over
    found = getattr(task.view, over) if isinstance(over, str) else over(task.view)
    if isinstance(found, list | tuple):
        return list(found)
    named = f"the field {over!r}" if isinstance(over, str) else "`over`"
    words = f"{named} is {found!r}, and a map needs a list or a tuple"
    raise where(plan, task, InvalidUpdateError(words, field=over if isinstance(over, str) else ""))
