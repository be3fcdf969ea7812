"""The ladder's first rung: whether and when a task that has failed is tried again (S16)."""

from __future__ import annotations

from graphflow.engine.position import Position
from graphflow.engine.tasks import Ended, Task, item_task, make_task, text_of
from graphflow.errors import NodeTimeoutError, RunError, SubgraphError
from graphflow.plan import Plan

__all__ = ["Ladder", "broken_by"]


class Ladder:
    """The tries of the tasks of one step, since this process took it up.

    Args:
        plan: The graph.
        position: Where the run stands.
    """

    def __init__(self, plan: Plan, position: Position) -> None:
        self._plan, self._position = plan, position
        self._before: dict[str, tuple[int, float]] = {}  # tries, and the seconds they took

    def tries(self, task: Task) -> int:
        """Say how often a task has been tried."""
        return self._before.get(task.key, (0, 0.0))[0] + 1

    def next_try(self, ended: Ended, error: Exception) -> Task | None:
        """Make the task of the next try, if there is to be one.

        Args:
            ended: The try that failed.
            error: What it failed with.

        Raises:
            Exception: Whatever the user's own conditions raise.
        """
        task = ended.task
        rules = task.node.rules
        retry, is_whole_map = rules.retry, rules.map is not None and task.item is None
        is_late = rules.effects == "external" and isinstance(error, NodeTimeoutError)
        if retry is None or is_late or is_whole_map:  # over= and into= see the same state again
            return None
        before, elapsed = self._before.get(task.key, (0, 0.0))
        elapsed += ended.duration_ms / 1e3
        delay = retry.delay(error, before + 1, elapsed)
        if delay is None and isinstance(error, SubgraphError):
            delay = retry.delay(_cause(error), before + 1, elapsed)
        if delay is None:
            return None
        self._before[task.key] = before + 1, elapsed + delay
        again = make_task(self._plan, self._position, task.ix, task.key.partition("[")[0])
        if task.item is not None:
            again = item_task(again, self._position.open, task.item, task.argument)
        again.delay, again.is_retry = delay, True
        return again


def broken_by(what: str, broken: Exception, error: Exception) -> RunError:
    """Say that a function which was to deal with a failure has failed itself."""
    words = f"{what} raised {type(broken).__name__}: {text_of(broken)}; it was to deal with"
    found = RunError(f"{words} {type(error).__name__}: {text_of(error)}")
    found.__cause__ = broken
    return found


def _cause(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error
