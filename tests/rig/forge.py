"""Databases as somebody makes them who goes past the checkpointer; and rows in every table."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from hashlib import sha256
from typing import Any

from graphflow.checkpoint.protocol import Checkpointer, Lease
from graphflow.testing.records import a_call, a_failure, a_memo, a_question, an_item

__all__ = ["SPEC", "change", "dump", "rows", "store_loose"]

SPEC = (
    '{"name":"triage","state":{"fields":{"topic":{"reducer":null},"notes":{"reducer":"append"}}}}'
)
"""A graph that the steps of `graphflow.testing.records` can be added up by."""


def change(db: str | os.PathLike[str], sql: str, *values: Any) -> None:
    """Change a database behind the checkpointer's back; there is something to change."""
    with closing(sqlite3.connect(db)) as conn, conn:
        assert conn.execute(sql, values).rowcount, sql


def rows(db: str | os.PathLike[str], sql: str, *values: Any) -> list[Any]:
    """Ask a database something past the checkpointer."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as conn:
        return conn.execute(sql, values).fetchall()


def dump(db: str | os.PathLike[str]) -> str:
    """Digest all that a database has."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as conn:
        return sha256("\n".join(conn.iterdump()).encode()).hexdigest()


def store_loose(store: Checkpointer, lease: Lease, step: int) -> None:
    """Store one row of each kind that stands alone."""
    store.fail(lease, a_failure(step))
    store.call(lease, a_call(step))
    store.keep_item(lease, an_item(step, 0))
    store.memo(lease, a_memo(step))
    store.ask(lease, a_question(step))
