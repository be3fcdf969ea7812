"""What the names that a run stored are called in today's graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from graphflow.change.declared import today
from graphflow.change.moved import node_in
from graphflow.history import Counters
from graphflow.names import END
from graphflow.once import once
from graphflow.records import DecisionRecord, Frontier, Sent, StepRecord, TaskRecord

__all__ = ["Names"]


class Names:
    """What stored names are called today.

    Args:
        stored: All names of the stored graph.
        known: All names of today's graph.
        renames: Former name -> later name.
        merges: Whether two of them may be one today.

    Attributes:
        gone: The names that were asked for and have no place today.
    """

    def __init__(
        self,
        stored: Collection[str],
        known: Collection[str],
        renames: Mapping[str, str],
        *,
        merges: bool = True,
    ) -> None:
        self._stored, self._known, self._renames = stored, known, renames
        self._merges = merges
        self.gone: dict[str, None] = {}

    @classmethod
    def of_nodes(
        cls, spec: Mapping[str, Any], known: Collection[str], renames: Mapping[str, str]
    ) -> Names:
        """Make them for the nodes of a stored graph."""
        return cls([node["name"] for node in spec.get("nodes", ())], known, renames)

    @classmethod
    def of_fields(
        cls, spec: Mapping[str, Any], known: Collection[str], renames: Mapping[str, str]
    ) -> Names:
        """Make them for the fields of a stored state; each has a value of its own."""
        return cls(spec.get("state", {}).get("fields", {}), known, renames, merges=False)

    def find(self, name: str) -> str | None:
        """Give a name as it is today; None when it is gone."""
        if name == END:
            return name
        return today(name, self._renames, self._stored, self._known, merges=self._merges)

    def __call__(self, name: str) -> str:
        """Give a name as it is today; one that is gone as it was, and note that."""
        found = self.find(name)
        if found is None:
            self.gone[name] = None
        return name if found is None else found

    @once
    def renamed(self) -> dict[str, str]:
        """The stored names that are others today: {before: now}."""
        pairs = ((name, self.find(name)) for name in self._stored)
        return {name: now for name, now in pairs if now is not None and now != name}

    def key(self, key: str) -> str:
        """Give the key of a task as it is today, and note when its node is gone."""
        name = node_in(key)
        return self(name) + key[len(name) :]

    def frontier(self, step: StepRecord) -> Frontier:
        """Say what a step leaves to be done, in the names of today."""
        return Frontier(
            tuple(map(self.key, step.ready)),
            {self(join): tuple(map(self, of)) for join, of in step.fired.items()},
            {
                self(join): tuple([(self(source), at) for source, at in came])
                for join, came in step.held.items()
            },
            {
                self.key(key): Sent(self(sent.node), sent.input_json)
                for key, sent in step.sends.items()
            },
        )

    def counters(self, counters: Counters, fields: Names) -> Counters:
        """Give counters by the names of today; what is gone is not counted any more."""
        return Counters(
            counters.since,
            self._kept(counters.visits),
            self._kept(counters.tries),
            fields._kept(counters.writers),
        )

    def _kept(self, counts: Mapping[str, int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for before, count in counts.items():
            name = self.find(before)
            if name is not None:  # of two that are one now, what is nearer to a limit
                found[name] = max(count, found.get(name, 0))
        return found

    def task(self, task: TaskRecord) -> TaskRecord:
        """Give a complete task in the names of today, its update as it was."""
        return replace(
            task,
            key=self.key(task.key),
            node=self(task.node),
            goto=task.goto and self.decision(task.goto),
            fell_back=task.fell_back and self(task.fell_back),
        )

    def decision(self, decision: DecisionRecord) -> DecisionRecord:
        """Give a decision that a node made itself in the names of today."""
        chosen = tuple(
            self(one) if isinstance(one, str) else Sent(self(one.node), one.input_json)
            for one in decision.chosen
        )
        return decision._replace(
            source=self(decision.source),
            options=tuple(self._all(decision.options)),
            chosen=chosen,
        )

    def _all(self, names: Iterable[str]) -> Iterable[str]:
        return (self.find(name) or name for name in names)
