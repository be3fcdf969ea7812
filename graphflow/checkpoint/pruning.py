"""What a prune drops: decided from a few facts of each run, whatever the store.

Nothing that is open is dropped as a whole, and nothing that a remaining run shares. Runs go with
their children. A cut drops the oldest steps of a run that stays: it keeps the newest ones, and one
more, from which the oldest of these can be made anew by a fork.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphflow.records import RunStatus
from graphflow.upkeep import Wish

__all__ = ["Plan", "RunFacts", "cuts_of", "plan"]

_NEVER: Final = 2**62


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a plan needs to know of a run.

    Attributes:
        number: Runs are numbered in the order in which they began: a parent before its children,
            a run before its forks.
        status: As it is seen.
        ended_at: None while it is not over.
        parent: The number of its parent.
        fork_of: The number of the run that it forks.
        first: The first of its own steps that it still has.
        last: The last committed step.
        saved: The step of its newest snapshot.
    """

    number: int
    run_id: str
    graph: str
    status: RunStatus
    created_at: str
    ended_at: str | None
    parent: int | None
    parent_step: int | None
    fork_of: int | None
    fork_step: int | None
    first: int
    last: int
    saved: int

    @property
    def begun(self) -> int:
        """The first step that it ever had of its own."""
        return self.fork_step or 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is dropped.

    Attributes:
        drop: The numbers of the runs that go with their children, the youngest first: so forks go
            before what they fork.
        cuts: Of each run that loses its oldest steps, the first one that it keeps; youngest first.
        held: The numbers of the runs that were to go and stay, as forks that stay share them.
    """

    drop: Sequence[int] = ()
    cuts: Mapping[int, int] = field(default_factory=dict)
    held: Sequence[int] = ()


def plan(runs: Sequence[RunFacts], wish: Wish) -> Plan:
    """Decide what a prune drops.

    Args:
        runs: All runs of the store, in the order of their numbers.
        wish: What is asked for.
    """
    roots = _roots(runs)
    is_asked = (wish.keep, wish.before) != (None, None)
    asked = {run.number for run in _asked(runs, wish)} if is_asked else set()
    drop = _droppable(runs, roots, asked)
    stay = [run for run in runs if roots[run.number].number not in drop]
    cuts = {} if wish.steps is None else cuts_of(stay, wish.steps, wish.graph)
    return Plan(sorted(drop, reverse=True), cuts, sorted(asked - drop))


def cuts_of(
    runs: Sequence[RunFacts], steps: int, graph: str | None = None, only: int | None = None
) -> dict[int, int]:
    """Decide where each run is cut.

    Args:
        runs: In the order of their numbers; with each run all of its children and forks.
        steps: How many of the newest steps each run keeps at least.
        graph: Only families of this graph lose steps; None: all.
        only: The number of the run that is cut now; None: all are, and what a fork will have lost
            it does not hold. Else a fork holds what it shares until it is cut itself.

    Returns:
        The first step that is kept of each run that loses some, youngest first.
    """
    known, roots = {run.number: run for run in runs}, _roots(runs)
    # What is younger decides first how much it needs of what is older
    most: dict[int, int] = {}
    cuts: dict[int, int] = {}
    for run in reversed(runs):
        is_meant = graph in (None, roots[run.number].graph)
        newest = run.last - steps if is_meant else 0
        bounds = [newest, most.get(run.number, _NEVER)]
        if roots[run.number].status == "running":
            # Who advances it writes its next snapshot as what continues this one
            bounds.append(run.saved)
        first = min(bounds) if only in (None, run.number) else run.first
        if first > run.first:
            cuts[run.number] = first
        _hold_what_is_shared(run, max(first, run.first), newest, known, most)
    return {run: first for run, first in cuts.items() if not _goes(known[run], known, cuts)}


def _hold_what_is_shared(
    run: RunFacts, first: int, newest: int, known: Mapping[int, RunFacts], most: dict[int, int]
) -> None:
    """Note how far the runs may be cut that a fork shares, or that have a child that it forks."""
    origin = known.get(run.fork_of) if run.fork_of is not None else None
    if origin is None:
        return
    _hold_child(origin, known, most)
    if first > run.begun:  # it has lost all that it shared
        return
    # To fork its first step again takes that step of the run that ran it, and the state before
    need, below = max(0, min(run.begun - 1, newest)), run.begun
    while origin is not None:
        if origin.begun < below:
            most[origin.number] = min(most.get(origin.number, _NEVER), need)
        if need >= origin.begun or origin.fork_of is None:
            return
        below = min(below, origin.begun)
        origin = known.get(origin.fork_of)


def _hold_child(run: RunFacts, known: Mapping[int, RunFacts], most: dict[int, int]) -> None:
    """Note that the steps stay of which a run is a part."""
    while run.parent is not None and run.parent in known:
        most[run.parent] = min(most.get(run.parent, _NEVER), run.parent_step or 0)
        run = known[run.parent]


def _goes(run: RunFacts, known: Mapping[int, RunFacts], cuts: Mapping[int, int]) -> bool:
    """Tell whether a run goes as a part of a step that is dropped."""
    while run.parent is not None and run.parent in known:
        if (run.parent_step or 0) < cuts.get(run.parent, 0):
            return True
        run = known[run.parent]
    return False


def _roots(runs: Iterable[RunFacts]) -> dict[int, RunFacts]:
    found: dict[int, RunFacts] = {}
    for run in runs:
        found[run.number] = run if run.parent is None else found.get(run.parent, run)
    return found


def _droppable(
    runs: Sequence[RunFacts], roots: Mapping[int, RunFacts], asked: Iterable[int]
) -> set[int]:
    """Find the roots that go: what is asked for, without what a run that stays shares."""
    drop = set(asked)
    needs: dict[int, set[int]] = {}
    for run in runs:
        if run.fork_of is not None:
            origin = roots[run.fork_of].number
            needs.setdefault(roots[run.number].number, set()).add(origin)
    todo = [number for number in needs if number not in drop]
    while todo:
        held = needs.pop(todo.pop(), set()) & drop
        drop -= held
        todo += held
    return drop


def _asked(runs: Sequence[RunFacts], wish: Wish) -> Iterable[RunFacts]:
    """Give the roots that are over, old enough, and not among the newest of their graph."""
    seen: dict[str, int] = {}
    newest_first = sorted(
        (run for run in runs if run.parent is None and wish.graph in (None, run.graph)),
        key=lambda run: run.number,
        reverse=True,
    )
    for run in newest_first:
        place = seen[run.graph] = seen.get(run.graph, 0) + 1
        is_old = wish.before is None or (run.ended_at or wish.before) < wish.before
        if run.status in wish.over and is_old and place > (wish.keep or 0):
            yield run
