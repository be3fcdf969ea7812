"""The verdict on a run whose graph has changed: whether it can go on, what differs, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from graphflow.errors import GraphChangedError, MigrationError, SecretMissingError

__all__ = ["Finding", "Verdict", "VerdictKind", "changed"]

VerdictKind: TypeAlias = Literal["same", "compatible", "secret", "migration", "refused"]
_ORDER: Final = ("same", "compatible", "secret", "migration", "refused")
_WORDS: Final = {
    "same": "same",
    "compatible": "compatible",
    "secret": "needs a secret",
    "migration": "needs a migration",
    "refused": "refused",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs between the graph of a run and today's.

    Attributes:
        kind: compatible: the run goes on with it. secret: one of its state is not set here.
            migration: its state does not fit. refused: it has no place in today's graph to go on
            from.
        what: The node, field, router or version: `node 'draft'`.
        words: What is different.
        fix: What to write, when something must be done; else empty.
        run: Of a subgraph's run the task that it is: `review`, `work#0/review`; else empty.
    """

    kind: Literal["compatible", "secret", "migration", "refused"]
    what: str
    words: str
    fix: str = ""
    run: str = ""

    def __str__(self) -> str:
        within = f"{self.run}: " if self.run else ""
        words = self.words.removesuffix(".")
        mark = "" if words.endswith("?") else "."
        return f"{within}{self.what}: {words}" + (f"{mark} {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run can go on with today's graph.

    Attributes:
        run_id: The run.
        graph: Its graph.
        kind: "same", "compatible", "secret" or "migration" (it needs one), or "refused".
        findings: What differs, what hinders first.
    """

    run_id: str
    graph: str
    kind: VerdictKind
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, run_id: str, graph: str, findings: Iterable[Finding], *, same: bool) -> Verdict:
        """Judge by what was found.

        Args:
            run_id: The run.
            graph: Its graph.
            findings: What differs.
            same: Whether the graphs are the same to the last letter.
        """
        ordered = sorted(dict.fromkeys(findings), key=lambda f: -_ORDER.index(f.kind))
        kind = ordered[0].kind if ordered else "same" if same else "compatible"
        return cls(run_id, graph, kind, tuple(ordered))

    @property
    def can_go_on(self) -> bool:
        """Whether `resume` goes on with the run."""
        return self.kind in {"same", "compatible"}

    @property
    def words(self) -> str:
        """The kind in words: same, compatible, needs a secret, needs a migration, refused."""
        return _WORDS[self.kind]

    @property
    def hindrances(self) -> tuple[Finding, ...]:
        """What keeps the run from going on."""
        return tuple(found for found in self.findings if found.kind != "compatible")

    def with_child(self, task: str, child: Verdict) -> Verdict:
        """Add what was found in the run of a subgraph.

        Args:
            task: The key of its task.
            child: The verdict on that run.
        """
        inner = (
            replace(found, run=f"{task}/{found.run}" if found.run else task)
            for found in child.findings
        )
        same = self.kind == "same" and child.kind == "same"
        return Verdict.of(self.run_id, self.graph, [*self.findings, *inner], same=same)

    def __str__(self) -> str:
        found = "".join(f"\n  {finding}" for finding in self.findings)
        return f"run {self.run_id}: {self.words}{found}"


def changed(verdict: Verdict, cause: Exception | None = None) -> GraphChangedError:
    """Make the error that says why a run cannot go on."""
    found = verdict.hindrances
    words = "; ".join(map(str, found[:_MOST]))
    more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
    graph = "here" if verdict.kind == "secret" else f"with today's graph {verdict.graph!r}"
    error = _ERRORS.get(verdict.kind, MigrationError)(
        f"run {verdict.run_id} cannot go on {graph} ({verdict.words}):"
        f" {words}{more}{'' if words.endswith(('.', '?')) else '.'} The run was"
        " left as it is; it can be read and drawn.",
        verdict,
    )
    error.__cause__ = cause
    return error


_ERRORS: Final[dict[VerdictKind, type[GraphChangedError]]] = {
    "refused": GraphChangedError,
    "secret": SecretMissingError,
}
_MOST: Final = 8
