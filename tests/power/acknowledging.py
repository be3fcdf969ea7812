"""A store that notes what it has acknowledged, and looking for it on a disk afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from threading import local
from typing import Any

from graphflow.checkpoint.sqlite import SqliteCheckpointer

__all__ = ["AcknowledgingStore", "missing"]

Fact = tuple[str, tuple[Any, ...]]
"""A query that must find something, and its values."""

_STEP = "SELECT 1 FROM runs JOIN steps ON run = id WHERE run_id = ? AND step = ?"
_ENDED = "SELECT 1 FROM runs WHERE run_id = ? AND (status = ? OR epoch > ?)"
_EPOCH = "SELECT 1 FROM runs WHERE run_id = ? AND epoch >= ?"
_TASK = "SELECT 1 FROM runs JOIN tasks ON run = id WHERE run_id = ? AND step = ? AND ix = ?"
_ITEM = (
    "SELECT 1 FROM runs JOIN items ON run = id WHERE run_id = ? AND step = ? AND key = ? AND ix = ?"
)
_MEMO = (
    "SELECT 1 FROM runs JOIN memos ON run = id "
    "WHERE run_id = ? AND step = ? AND key = ? AND name = ?"
)
_ASKED = (
    "SELECT 1 FROM runs JOIN questions ON run = id "
    "WHERE run_id = ? AND step = ? AND key = ? AND name = ?"
)
_ANSWERED = f"{_ASKED} AND answer_json = ?"
_FAILED = (
    "SELECT 1 FROM runs JOIN attempts ON run = id "
    "WHERE run_id = ? AND step = ? AND key = ? AND attempt = ?"
)
_CALLED = "SELECT 1 FROM runs JOIN calls ON run = id WHERE run_id = ? AND step = ? AND key = ?"


class AcknowledgingStore(SqliteCheckpointer):
    """The SQLite store; each verb is noted when it has returned, or its `together` has.

    Args:
        note: Is told what is acknowledged; None: what was may be dropped from now on.
        path: As of `SqliteCheckpointer`.
    """

    def __init__(self, note: Callable[[list[Fact] | None], None], path: Any, **more: Any) -> None:
        self._note, self._together = note, local()
        super().__init__(path, **more)

    def _say(self, *facts: Fact) -> None:
        held = getattr(self._together, "facts", None)
        if held is None:
            self._note(list(facts))
        else:
            held += facts

    def together(self, verbs: Sequence[Callable[[], Any]]) -> list[Any]:
        outer = getattr(self._together, "facts", None)
        each: list[list[Fact]] = [[] for _ in verbs]

        def noted(place: int) -> Any:
            each[place] = self._together.facts = []
            return verbs[place]()

        try:
            results = super().together([lambda n=n: noted(n) for n in range(len(verbs))])
        finally:
            self._together.facts = outer
        for facts, result in zip(each, results, strict=True):
            if not isinstance(result, Exception):
                self._say(*facts)
        return results

    def begin(self, header, spec_json, step, snapshot, ending, *, under=None):
        lease = super().begin(header, spec_json, step, snapshot, ending, under=under)
        self._say((_STEP, (lease.run_id, step.step)))
        return lease

    def take(self, run_id, owner, **more):
        lease = super().take(run_id, owner, **more)
        self._say((_EPOCH, (run_id, lease.epoch)))
        return lease

    def commit(self, lease, step, snapshot, ending):
        super().commit(lease, step, snapshot, ending)
        self._say((_STEP, (lease.run_id, step.step)))
        if ending is not None:
            self._say((_ENDED, (lease.run_id, ending.status, lease.epoch)))

    def keep(self, lease, step, task):
        super().keep(lease, step, task)
        self._say((_TASK, (lease.run_id, step, task.ix)))

    def keep_item(self, lease, item):
        super().keep_item(lease, item)
        self._say((_ITEM, (lease.run_id, item.step, item.key, item.ix)))

    def memo(self, lease, memo):
        super().memo(lease, memo)
        self._say((_MEMO, (lease.run_id, memo.step, memo.key, memo.name)))

    def ask(self, lease, question):
        super().ask(lease, question)
        self._say((_ASKED, (lease.run_id, question.step, question.key, question.name)))

    def answer(self, lease, question):
        super().answer(lease, question)
        place = (lease.run_id, question.step, question.key, question.name)
        self._say((_ANSWERED, (*place, question.answer_json)))

    def fail(self, lease, attempt):
        super().fail(lease, attempt)
        self._say((_FAILED, (lease.run_id, attempt.step, attempt.key, attempt.attempt)))

    def call(self, lease, call):
        super().call(lease, call)
        self._say((_CALLED, (lease.run_id, call.step, call.key)))

    def end(self, lease, ending):
        super().end(lease, ending)
        self._say((_ENDED, (lease.run_id, ending.status, lease.epoch)))

    def stop(self, run_id, ending):
        super().stop(run_id, ending)
        self._say((_ENDED, (run_id, ending.status, 2**31)))

    def delete(self, run_id):
        self._note(None)
        super().delete(run_id)

    def prune(self, wish, *, dry_run=False):
        self._note(None)
        return super().prune(wish, dry_run=dry_run)


def missing(conn: sqlite3.Connection, facts: Sequence[Fact]) -> list[Fact]:
    """Look for what was acknowledged.

    Returns:
        What is not there.
    """
    return [fact for fact in facts if conn.execute(*fact).fetchone() is None]
