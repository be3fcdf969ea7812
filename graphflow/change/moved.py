"""What is stored of an open step, in the names that its nodes have now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from graphflow.names import RESERVED
from graphflow.records import AttemptRecord, CallRecord, ItemRecord, MemoRecord, QuestionRecord

__all__ = ["Loose", "moved", "moved_key", "node_in"]

Loose = TypeVar("Loose", AttemptRecord, CallRecord, ItemRecord, MemoRecord, QuestionRecord)


def node_in(key: str) -> str:
    """Give the node that the key of a task begins with: `old`, `old#0`, `old[3]`, `old#0[3]`."""
    return key[: next((at for at, letter in enumerate(key) if letter in RESERVED), len(key))]


def moved_key(key: str, nodes: Mapping[str, str]) -> str:
    """Give the key of a task under the name that its node has now.

    Args:
        key: As it is stored.
        nodes: {name before: name now}.
    """
    name = node_in(key)
    return nodes.get(name, name) + key[len(name) :]


def moved(record: Loose, nodes: Mapping[str, str]) -> Loose:
    """Give a record under the names that nodes have now; itself when it names none of them.

    Args:
        record: Of a task that is not committed.
        nodes: {name before: name now}.
    """
    key = moved_key(record.key, nodes)
    if isinstance(record, AttemptRecord | QuestionRecord):
        node = nodes.get(record.node, record.node)
        if (key, node) != (record.key, record.node):
            return replace(record, key=key, node=node)
        return record
    return record if key == record.key else replace(record, key=key)
