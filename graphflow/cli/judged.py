"""Judges every open run of a database against today's code of its graph: nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

from graphflow.change.verdict import Verdict
from graphflow.changing import judged_with_children
from graphflow.cli.target import Target
from graphflow.cli.words import aligned
from graphflow.errors import DAMAGED
from graphflow.flow import Flow
from graphflow.plan import Plan
from graphflow.records import RunHeader, RunStatus
from graphflow.render.wording import counted
from graphflow.state.schema import schema_of
from graphflow.upkeep import Finding

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer

__all__ = ["Judgements", "judge_runs"]

_OVER = {"done", "cancelled"}


@dataclass(frozen=True, slots=True)
class Judgements:
    """What became of judging the open runs.

    Attributes:
        document: As JSON.
        lines: A table, for people: what differs of each run, and what to do.
        findings: A problem for each run that cannot go on; a warning where a secret is not set.
    """

    document: dict[str, Any]
    lines: Sequence[str]
    findings: Sequence[Finding]


def judge_runs(target: str, found: Target, store: Checkpointer) -> Judgements:
    """Judge every open run of a graph, those of its subgraphs included.

    Args:
        target: What the graph was named as.
        found: The graph, or a flow of it.
        store: Where the runs are stored.

    Raises:
        InvalidGraphError: The graph has problems of its own.
    """
    definition = (found if isinstance(found, Flow) else found.compile()).definition
    plan = Plan(definition, schema_of(definition.state))
    headers = [header for header in store.runs() if header.status not in _OVER]
    own = [header for header in headers if header.graph == plan.name]
    others = sorted({header.graph for header in headers} - {plan.name})
    judged = [(header, _verdict(plan, store, header)) for header in own]
    document = {
        "target": target,
        "graph": plan.name,
        "version": definition.version,
        "runs": [_document(header, verdict) for header, verdict in judged],
        "other_graphs": others,
    }
    return Judgements(document, [*_lines(plan, judged, others)], [*_problems(target, judged)])


def _verdict(plan: Plan, store: Checkpointer, header: RunHeader) -> Verdict | str:
    """Judge one run; of one that is damaged say how."""
    try:
        records = store.load(header.run_id, tail=True)
        return judged_with_children(plan, store, records).verdict
    except DAMAGED as error:
        return str(error)


def _document(header: RunHeader, verdict: Verdict | str) -> dict[str, Any]:
    known = {"run_id": header.run_id, "status": header.status, "reason": header.reason}
    if isinstance(verdict, str):
        return {**known, "verdict": "damaged", "can_go_on": False, "findings": [], "error": verdict}
    findings = [asdict(finding) for finding in verdict.findings]
    return {
        **known,
        "verdict": verdict.kind,
        "can_go_on": verdict.can_go_on,
        "findings": findings,
    }


def _lines(
    plan: Plan, judged: Sequence[tuple[RunHeader, Verdict | str]], others: Sequence[str]
) -> Iterator[str]:
    open_words = ", ".join(word for word in get_args(RunStatus) if word not in _OVER)
    yield f"open runs of graph {plan.name!r} ({open_words}): {len(judged) or 'none'}"
    rows = []
    for header, verdict in judged:
        rows += [*_rows(header, verdict)]
    yield from aligned(rows)
    if others:
        yield f"not judged: {counted(len(others), 'other graph')} ({', '.join(others)})"


def _rows(header: RunHeader, verdict: Verdict | str) -> Iterator[tuple[str, str, str, str]]:
    """Tell a run: a line for each thing that differs, and under it what to do."""
    if isinstance(verdict, str):
        yield header.run_id, header.status, "damaged", "`graphflow doctor --verify` says more"
        return
    first: tuple[str, str, str] = (header.run_id, header.status, verdict.words)
    for finding in verdict.findings:
        within = f"{finding.run}: " if finding.run else ""
        yield *first, f"{within}{finding.what}: {finding.words}"
        first = ("", "", "")
        if finding.fix:
            yield "", "", "", f"  -> {finding.fix}"
    if not verdict.findings:
        yield *first, ""


def _problems(target: str, judged: Sequence[tuple[RunHeader, Verdict | str]]) -> Iterator[Finding]:
    for header, verdict in judged:
        if isinstance(verdict, str):
            yield Finding("problem", verdict, header.run_id)
        elif verdict.kind == "secret":  # set where the run is resumed, maybe: nothing is wrong
            words = "; ".join(map(str, verdict.hindrances))
            yield Finding("warning", f"it cannot go on here: {words}", header.run_id)
        elif not verdict.can_go_on:
            words = f"it cannot go on with {target} ({verdict.words})"
            yield Finding("problem", words, header.run_id)
