"""How runs are seen: what is stored says nothing of an owner that has died, nor of order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter

from graphflow.checkpoint.owner import is_alive
from graphflow.records import Adoption, GraphUse, RunHeader, RunRecords, StepRecord

__all__ = ["as_seen", "copied", "in_order", "uses_below"]

_all_of = attrgetter(*RunHeader.__dataclass_fields__)


def copied(header: RunHeader) -> RunHeader:
    """Copy a header; `dataclasses.replace` takes five times as long."""
    return RunHeader(*_all_of(header))


def as_seen(
    header: RunHeader,
    root: RunHeader | None = None,
    lives: Callable[[str], bool] = is_alive,
) -> RunHeader:
    """Say how a run stands.

    Args:
        header: The run as it is stored.
        root: Of a child, its root as it is seen.
        lives: Tells whether an owner lives.

    Returns:
        The header itself, or a copy with another status. A running run whose owner has died is
        stale. A child that is running when its root is not stands as the root does; when that is
        done without it, it has been given up: cancelled.
    """
    if header.status != "running":
        return header
    if root is not None:
        if root.status == "running":
            return header
        status = "cancelled" if root.status == "done" else root.status
        return replace(header, status=status, reason=root.reason)
    if header.owner is None or lives(header.owner):
        return header
    return replace(header, status="stale")


def uses_below(uses: list[GraphUse], below: int | None) -> list[GraphUse]:
    """Leave out the graphs that a run was on when it wrote none of the steps that a fork shares.

    The one stays with which the run began to write the step that is the fork's first: what led to
    that step is shared too, and is in its words.

    Args:
        uses: The graphs of the run.
        below: Where the steps end that it gives; None: it is no other run's.
    """
    if below is None:
        return uses
    return [use for use in uses if use.first < below + (use.adoption is not None)]


def in_order(
    children: list[RunRecords], steps: Sequence[StepRecord], graphs: Sequence[GraphUse] = ()
) -> list[RunRecords]:
    """Sort children by step and task, each under the key that its task has now.

    Args:
        children: Of a run.
        steps: Its steps.
        graphs: The graphs that wrote them.
    """
    adopted = [use.adoption for use in graphs if use.adoption is not None]
    _name_tasks(children, adopted)
    if len(children) < 2:
        return children
    places: dict[tuple[int, str], int] = {}
    for step in steps:
        # What runs next stands in the step before: its own step may still be open
        places.update({(step.step + 1, key): ix for ix, key in enumerate(step.ready)})
        places.update({(step.step, task.key): task.ix for task in step.tasks})
    for adoption in adopted:
        left = adoption.frontier
        if left is not None:
            places.update({(adoption.step + 1, key): ix for ix, key in enumerate(left.ready)})

    def place(child: RunRecords) -> tuple[int, int]:
        at = child.header.parent_step or 0, child.header.parent_key or ""
        return at[0], places.get(at, len(places))

    return sorted(children, key=place)


def _name_tasks(children: list[RunRecords], adopted: Sequence[Adoption]) -> None:
    """Give the children of an open step the keys that their tasks have had since."""
    for adoption in adopted:
        for child in children if adoption.children else ():
            key = adoption.children.get(child.header.run_id)
            if key is not None:
                child.header = replace(child.header, parent_key=key)
