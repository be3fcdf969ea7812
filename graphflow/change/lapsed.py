"""Which questions of an open step nobody has to answer any more, since its graph has changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphflow.change.moved import node_in
from graphflow.records import QuestionRecord, RunRecords

__all__ = ["VERDICTS", "VERDICTS_SCHEMA", "has_lapsed", "is_lapsed"]

VERDICTS: Final = ("retry", "skip", "fail")
"""The answers to an escalation that takes no value."""
VERDICTS_SCHEMA: Final = json.dumps({"enum": VERDICTS})


def has_lapsed(question: QuestionRecord, node: Mapping[str, Any]) -> bool:
    """Tell whether a node asks in another way now: then it runs again, as what it is.

    An answer that is stored counts no more, either: it was meant for what the node was.

    Args:
        question: What it has asked.
        node: What the spec of the graph says of it now.
    """
    kind = node.get("kind", "node")
    if question.kind == "question":
        return bool(kind != "question")
    if question.kind == "ask":  # of an item of a map, or of a body
        return bool(kind != ("map" if "[" in question.key else "node"))
    escalate = node.get("escalate")
    takes_verdict = question.schema_json == VERDICTS_SCHEMA
    return escalate is None or takes_verdict != (escalate.get("into") is None)


def is_lapsed(records: RunRecords, question: QuestionRecord) -> bool:
    """Tell the same of a question of a run, by the graph that the run is on.

    Args:
        records: The run; its tail is enough.
        question: One of its open step.
    """
    if not records.graphs:  # it asked in the graph that it is on
        return False
    nodes: Sequence[Mapping[str, Any]] = records.spec.get("nodes", ())
    name = node_in(question.key)
    return any(node["name"] == name and has_lapsed(question, node) for node in nodes)
