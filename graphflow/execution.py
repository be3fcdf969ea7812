"""One execution of a node's body: what surrounds it, and what it came to."""

from __future__ import annotations

from math import isinf
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from graphflow import failpoints
from graphflow.clock import now
from graphflow.engine.tasks import Ended, Task
from graphflow.errors import (
    AskSignal,
    BudgetSignal,
    CircuitOpenError,
    NodeTimeoutError,
    PauseSignal,
    RunError,
    text_of,
)
from graphflow.shared import Interrupted

if TYPE_CHECKING:
    from graphflow.context import Context
    from graphflow.session import Session
    from graphflow.surroundings import TaskSurroundings

__all__ = ["Execution", "sorted_out"]

E = TypeVar("E", bound=BaseException)


class Execution:
    """An execution that a driver carries out: ``call``, then ``returned`` or ``raised``.

    Args:
        task: What is to run.
        session: The run.

    Attributes:
        limit: Seconds that the body may take; None: as long as it likes.
    """

    __slots__ = (
        "_around",
        "_begin",
        "_context",
        "_is_admitted",
        "_is_over",
        "_refused",
        "_session",
        "_started_at",
        "limit",
        "task",
    )

    def __init__(self, task: Task, session: Session) -> None:
        self.task, self._session = task, session
        self._context: Context[Any] | None = None
        self._is_admitted = False
        self._refused: BudgetSignal | None = None
        self._started_at, self._begin = now(), perf_counter()
        self.limit = task.node.rules.timeout
        node, account = task.node, session.account(task)
        self._around: TaskSurroundings | None = None
        self._is_over = False
        if node.takes_context:
            self._around = session.surroundings(task, account)
            self._context = session.context(task, self._around)
        if account is not None:
            try:
                left = account.time_left()
                self.limit = min((s for s in (left, self.limit) if s is not None), default=None)
            except BudgetSignal as signal:
                self._refused = signal
        if self.limit is not None and isinf(self.limit):
            self.limit = None
        if session.shared.channel is not None:
            session.begins_task(task)

    def call(self) -> Any:
        """Call the body; of an async node this gives what is to be awaited."""
        if self._refused is not None:
            raise self._refused
        node = self.task.node
        if node.rules.breaker is not None:
            node.rules.breaker.admit()
            self._is_admitted = True
        if failpoints.hit is not None:
            _pass("node.before", node.name)
        if self._context is None:
            return node.fn(self.task.argument)
        return node.fn(self.task.argument, self._context)

    def returned(self, value: Any) -> Ended:
        """Say what the body returned."""
        if failpoints.hit is not None:
            _pass("node.after", self.task.node.name)
        return self._ended(value, None, ())

    def raised(self, error: BaseException) -> Ended:
        """Say what the body raised; what is no failure of the body is raised again."""
        signals, own = sorted_out(error)
        if own is None and not signals:
            self._settle(None, is_pause=True)
            raise error
        return self._ended(None, own, signals if own is None else (), is_told=bool(signals))

    def ran_out(self) -> Ended:
        """Say that the body took longer than it may."""
        if self._around is not None:
            self._around.is_left = True
        own = self.task.node.rules.timeout
        if own is not None and own == self.limit:
            words = f"node {self.task.node.name!r} took longer than its timeout of {own:g} s"
            return self._ended(None, NodeTimeoutError(words), ())
        words = f"the budget left {self.limit:g} seconds"
        return self._ended(None, None, (BudgetSignal("seconds", words),))

    def _ended(
        self,
        value: Any,
        error: Exception | None,
        signals: tuple[PauseSignal, ...],
        *,
        is_told: bool = False,
    ) -> Ended:
        told = self._around.signals if self._around is not None else ()
        if told and not signals and not is_told:
            error = self._swallowed(told[0], error)
        seconds = perf_counter() - self._begin
        self._settle(error, is_pause=bool(signals))
        return Ended(
            self.task, None if error else value, error, self._started_at, seconds * 1e3, signals
        )

    def _swallowed(self, signal: PauseSignal, error: Exception | None) -> RunError:
        what = f"of ctx.ask({signal.question.name!r})" if isinstance(signal, AskSignal) else "for"
        words = "" if isinstance(signal, AskSignal) else f" its budget ({signal})"
        found = RunError(
            f"node {self.task.node.name!r} caught the pause {what}{words}; catch Exception, not"
            " BaseException, around it"
        )
        found.__cause__ = error
        return found

    def _settle(self, error: Exception | None, *, is_pause: bool) -> None:
        """Book what the execution came to, once: a body that was left behind may still end."""
        if self._is_over:
            return
        self._is_over = True
        self._session.shared.ledger.worked(perf_counter() - self._begin)
        breaker = self.task.node.rules.breaker
        if breaker is None or not self._is_admitted or isinstance(error, CircuitOpenError):
            return
        if is_pause:
            breaker.abandoned()
        elif error is None:
            breaker.succeeded()
        else:
            breaker.failed(error)


def _pass(point: str, node: str) -> None:
    failpoints.come_to(point)
    failpoints.come_to(f"{point}.{node}")


def sorted_out(error: BaseException) -> tuple[tuple[PauseSignal, ...], Exception | None]:
    """Tell pauses and failures of a body from what ends the run itself.

    Returns:
        Why the body waits, and its failure, which goes first; neither, when it is no business of
        the body's.
    """
    if isinstance(error, PauseSignal):
        return (error,), None
    if isinstance(error, BaseExceptionGroup):
        signals, rest = error.split(PauseSignal)
        found = tuple(_leaves(signals)) if signals is not None else ()
        if rest is None:
            return found, None
        if any(map(_ends_run, _leaves(rest))):
            return (), None
        return found, rest if isinstance(rest, Exception) else _strange(rest)
    if isinstance(error, Exception):
        return (), error
    return (), None if _ends_run(error) else _strange(error)


def _ends_run(error: BaseException) -> bool:
    ends = KeyboardInterrupt | SystemExit | GeneratorExit | Interrupted
    return isinstance(error, ends) or type(error).__name__ == "CancelledError"


def _strange(error: BaseException) -> RunError:
    words = f"the body raised {type(error).__name__}, which is no Exception: {text_of(error)}"
    found = RunError(words)
    found.__cause__ = error
    return found


def _leaves(group: BaseExceptionGroup[E]) -> list[E]:
    found: list[E] = []
    for item in group.exceptions:
        found += _leaves(item) if isinstance(item, BaseExceptionGroup) else [item]
    return found
