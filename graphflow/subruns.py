"""The runs of subgraphs, when somebody names one: which run is meant."""

from __future__ import annotations

from graphflow.change.lapsed import is_lapsed
from graphflow.errors import RunNotFoundError
from graphflow.records import RunRecords

__all__ = ["refuse_child"]


def refuse_child(records: RunRecords) -> None:
    """Refuse the run of a subgraph, and say by which run and key it is reached.

    Args:
        records: Of any run, its tail at least.

    Raises:
        RunNotFoundError: It is the run of a subgraph.
    """
    header = records.header
    if header.parent is None:
        return
    root, *parts = header.run_id.split("/")
    tasks = [part.partition(":")[2] for part in parts]
    asked = [q for q in records.questions if q.answer_json is None and not is_lapsed(records, q)]
    keys = ["/".join([*tasks, q.id]) for q in asked]
    hint = f", and answer it with key={keys[0]!r}" if keys else ""
    raise RunNotFoundError(
        f"run {header.run_id} is the run of a subgraph, within run {root}: name {root!r}{hint}"
    )
