"""What is looked up in the records of runs: arguments that name nothing there are refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from graphflow.errors import InputError, RunNotFoundError, did_you_mean
from graphflow.names import END, START, named, spelled
from graphflow.records import RunRecords, RunStatus

__all__ = ["check_listing", "check_step", "checked_arrow", "has_taken"]


def checked_arrow(
    records: RunRecords, today: Iterable[str], source: object, target: object
) -> tuple[str, str]:
    """Check the names of two nodes between which an arrow may have run.

    Args:
        records: Of the run.
        today: The nodes of today's graph, as far as it is known.
        source: The one.
        target: The other.

    Returns:
        Their names; START and END may have been spelled out.

    Raises:
        InputError: None of the graphs that the run was on has such a node.
    """
    nodes = {node["name"] for use in records.uses for node in use.spec.get("nodes", ())}
    known = {*nodes, *today, START, END}
    return _node(source, known), _node(target, known)


def _node(name: object, known: set[str]) -> str:
    if isinstance(name, str) and named(name) in known:
        return named(name)
    near = did_you_mean(name, map(spelled, known)) if isinstance(name, str) else ""
    raise InputError(f"took(...): {name!r} is no node of the run's graph.{near}")


def has_taken(records: RunRecords, way: tuple[str, str]) -> bool:
    """Tell whether the arrow between two nodes ran.

    Args:
        records: Of the run, whole.
        way: The names of the nodes.

    Raises:
        RunNotFoundError: It did not in the steps that are left.
    """
    if any((a.source, a.target) == way for step in records.steps for a in step.arrows):
        return True
    first = records.steps[0].step
    if first > 0:
        source, target = map(spelled, way)
        raise RunNotFoundError(
            f"run {records.header.run_id} has not taken {source} → {target} since step {first};"
            " whether it did before cannot be told: those steps were pruned"
        )
    return False


def check_step(records: RunRecords, step: object) -> None:
    """Check the number of a step.

    Args:
        records: Of the run.
        step: The number.

    Raises:
        InputError: It is no number.
        RunNotFoundError: The run has no such step.
    """
    if isinstance(step, bool) or not isinstance(step, int):
        raise InputError(f"step {step!r}: pass the number of a committed step, such as 1")
    first, last = records.steps[0].step, records.steps[-1].step
    if not first <= step <= last:
        gone = f": those before {first} were pruned" if 0 <= step < first else ""
        raise RunNotFoundError(
            f"run {records.header.run_id} has no step {step}{gone}; it has {first} to {last}"
        )


def check_listing(status: object, limit: object) -> None:
    """Check what a list of runs is narrowed down by.

    Raises:
        InputError: No run ever stands so, or the limit is no number.
    """
    known = get_args(RunStatus)
    if status is not None and status not in known:
        near = did_you_mean(str(status), known)
        raise InputError(f"runs(status={status!r}): no run stands so.{near}")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InputError(f"runs(limit={limit!r}): pass how many runs to list")
