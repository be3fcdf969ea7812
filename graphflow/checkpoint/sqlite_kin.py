"""Whom the damage of a run concerns: those that share its steps, or that it is a part of.

Of a chain of forks each would be loaded with all that it shares. So what is known of the run that
one forks is known of the fork: it shares the damage, or there is none in what it shares.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from graphflow.errors import DAMAGED, CheckpointError
from graphflow.upkeep import Finding

__all__ = ["Kin"]


class _Run(NamedTuple):
    number: int
    name: str
    parent: object
    fork_of: object
    fork_step: object
    is_cut: int


class _Shared(NamedTuple):
    """Damage that a run shares with what it forks."""

    step: int
    """Where; -1: it concerns all forks."""
    words: str


class Kin:
    """The runs of a database, and what is known of each while they are verified.

    Args:
        rows: Of each run its number and id, its parent, what it forks and from which step on, and
            whether its oldest steps were pruned.
        damaged: The damage that was found in own rows of runs.
    """

    def __init__(
        self, rows: Iterable[tuple[object, ...]], damaged: Mapping[int, Sequence[Finding]]
    ) -> None:
        self.damaged = damaged
        # An id that is no text was damaged: its run is named as findings name it
        runs = (run._replace(name=str(run.name)) for run in map(_Run._make, rows))
        self._runs = {run.number: run for run in runs}
        self._sound: set[int] = set()
        self._shared: dict[int, _Shared] = {}
        self._with_children = self._parents_of_damaged()

    def near(self) -> list[int]:
        """List the runs that are related to a damaged one, the oldest first."""
        links: dict[int, list[int]] = {}
        for run in self._runs.values():
            for other in (run.parent, run.fork_of):
                if type(other) is int and other < run.number:
                    links.setdefault(run.number, []).append(other)
                    links.setdefault(other, []).append(run.number)
        found, todo = set(self.damaged), list(self.damaged)
        while todo:
            more = [number for number in links.get(todo.pop(), ()) if number not in found]
            found.update(more)
            todo += more
        return sorted(found)

    def is_sound(self, number: int) -> bool:
        """Tell whether a run whose own rows are sound only shares what is sound."""
        origin = self._origin(number)
        if origin is None or origin[0] not in self._sound or number in self._with_children:
            return False
        self._sound.add(number)
        return True

    def shared_damage(self, number: int) -> str | None:
        """Say what is damaged of that which a run shares, if it is known already."""
        origin = self._origin(number)
        if origin is None:
            return None
        of, below = origin
        for found in self.damaged.get(of, ()):
            if 0 <= found.step < below:
                self._shared[number] = _Shared(found.step, found.words)
                return found.words
        known = self._shared.get(of)
        if known is None or known.step >= below:
            return None
        self._shared[number] = known
        return known.words

    def note(self, number: int, error: CheckpointError | None) -> None:
        """Note what came of loading a run.

        Args:
            number: The run.
            error: None when it could be loaded.
        """
        if error is None:
            self._sound.add(number)
        if not isinstance(error, DAMAGED):
            return
        # That of a subgraph's run says nothing of a step here
        is_in_line = error.run_id in self._line(number)
        concerns_forks = error.step >= 0 or error.run_id != self._runs[number].name
        if is_in_line and concerns_forks:
            self._shared[number] = _Shared(error.step, str(error))

    def _origin(self, number: int) -> tuple[int, int] | None:
        """Give what a fork shares: of which run, and up to which step; None: it is loaded."""
        run = self._runs.get(number)
        if run is None or run.is_cut or run.parent is not None:
            return None
        if type(run.fork_of) is not int or type(run.fork_step) is not int:
            return None
        return run.fork_of, run.fork_step

    def _line(self, number: int) -> set[str]:
        """Give the ids of a run and those that it forks."""
        found: set[str] = set()
        run = self._runs.get(number)
        while run is not None and run.name not in found:
            found.add(run.name)
            run = self._runs.get(run.fork_of) if type(run.fork_of) is int else None
        return found

    def _parents_of_damaged(self) -> set[int]:
        """Find the runs of which a subgraph's run is damaged, or may share what is.

        Its id says too whose it is, whatever was changed in its row.
        """
        numbers = {run.name: run.number for run in self._runs.values()}
        found: set[int] = set()
        for run in sorted(self._runs.values(), reverse=True):
            is_fork = run.parent is not None and run.fork_of is not None
            if run.number in self.damaged or run.number in found or is_fork:
                by_name = numbers.get(run.name.rpartition("/")[0])
                found.update(one for one in (run.parent, by_name) if type(one) is int)
        return found
