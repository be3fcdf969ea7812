"""Budgets: what a run, its children and each task have used, and what they may still use."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

from graphflow.errors import BudgetSignal
from graphflow.policy import Budget
from graphflow.records import CallRecord, Spent

__all__ = ["Account", "Ledger"]


class Ledger:
    """The books of a run and its children; its tasks have an account each.

    Args:
        budget: What the run may use; None: as much as it likes.
        spent: What it has used before.

    Attributes:
        used: What it has used, with what is under way.
        made: The calls of each task that is not complete.
        lock: Held while one of them changes.
    """

    def __init__(self, budget: Budget | None, spent: Spent) -> None:
        self.budget = budget
        self.used = _Used(spent.calls, spent.tokens, spent.seconds)
        self.made: dict[tuple[str, int, str], int] = {}
        self.lock = threading.Lock()

    def account(self, task: tuple[str, int, str], own: Budget | None) -> Account | None:
        """Open the account of one execution of a task; None when there is no budget to keep.

        The calls that the task has made before are given back: it makes them again.

        Args:
            task: The run, the step and the task.
            own: What the execution may use by itself.
        """
        if self.budget is None and own is None:
            return None
        with self.lock:
            self.used.calls -= self.made.pop(task, 0)
        return Account(self, task, own)

    def worked(self, seconds: float) -> None:
        """Note the time of a body."""
        if self.budget is not None:
            with self.lock:
                self.used.seconds += seconds


class Account:
    """What one execution of a task uses."""

    def __init__(self, ledger: Ledger, task: tuple[str, int, str], own: Budget | None) -> None:
        self._ledger, self._task, self._own = ledger, task, own
        self._used = _Used()

    def admit(self, tokens: int) -> None:
        """Reserve a model call.

        Args:
            tokens: How many it may take at least, as far as that is known.

        Raises:
            BudgetSignal: It would go beyond a budget; it must not be made.
        """
        ledger = self._ledger
        with ledger.lock:
            _check(ledger.budget, ledger.used, tokens, "the run's budget")
            _check(self._own, self._used, tokens, "the node's budget")
            for used in (ledger.used, self._used):
                used.calls += 1
                used.reserved += tokens
            ledger.made[self._task] = ledger.made.get(self._task, 0) + 1

    def settle(self, call: CallRecord) -> None:
        """Book what a call has used in the end."""
        reserved = json.loads(call.request_json).get("max_tokens") or 0
        tokens = (call.input_tokens or 0) + (call.output_tokens or 0)
        with self._ledger.lock:
            for used in (self._ledger.used, self._used):
                used.tokens += tokens
                used.reserved -= reserved

    def time_left(self) -> float | None:
        """Say for how many seconds a body may run; None: as long as it likes.

        Raises:
            BudgetSignal: No time is left.
        """
        budget, own = self._ledger.budget, self._own
        bounds = [own.seconds] if own is not None and own.seconds is not None else []
        if bounds == [0]:
            raise out_of_time(0)
        if budget is not None and budget.seconds is not None:
            left = budget.seconds - self._ledger.used.seconds
            if left <= 0:
                raise out_of_time(budget.seconds)
            bounds.append(left)
        return min(bounds, default=None)


def out_of_time(seconds: float) -> BudgetSignal:
    """Say that the time is used up."""
    return BudgetSignal("seconds", f"the budget of {seconds:g} seconds is used up")


@dataclass(slots=True)
class _Used:
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    reserved: int = 0
    """Tokens of calls that are under way."""


def _check(budget: Budget | None, used: _Used, tokens: int, whose: str) -> None:
    if budget is None:
        return
    if budget.calls is not None and used.calls >= budget.calls:
        raise BudgetSignal("calls", f"{whose} (calls={budget.calls}) is used up")
    if budget.tokens is not None:
        left = budget.tokens - used.tokens - used.reserved
        if left <= 0:
            raise BudgetSignal("tokens", f"{whose} (tokens={budget.tokens}) is used up")
        if tokens > left:
            words = f"has {left} left, and the call may write {tokens} (max_tokens)"
            raise BudgetSignal("tokens", f"{whose} (tokens={budget.tokens}) {words}")
