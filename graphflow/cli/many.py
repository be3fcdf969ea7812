"""Does the jobs of a batch: shows how it goes on, sums up, and says what to type next."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import click

from graphflow.cli.batch import Job, LeftRunningError, Outcome, attempt, run_all
from graphflow.cli.documents import run_document
from graphflow.cli.exits import Exit, exit_of_all
from graphflow.cli.options import Place, higher_bound
from graphflow.cli.output import Output, safe
from graphflow.cli.progress import progress
from graphflow.cli.words import aligned
from graphflow.flow import Flow
from graphflow.records import DamagedHeader
from graphflow.render.wording import duration
from graphflow.run import Run

__all__ = ["do_all"]


@dataclass(slots=True)
class _Tally:
    """What came of the jobs so far.

    Attributes:
        counts: Outcomes per status.
        before: Those done before.
        first: The first outcome of each status.
    """

    counts: Counter[str] = field(default_factory=Counter)
    before: int = 0
    first: dict[str, Outcome] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        self.before += outcome.before
        self.first.setdefault(outcome.status, outcome)


def do_all(
    out: Output,
    flow: Flow[Any],
    jobs: Sequence[Job],
    place: Place,
    again: str,
    *,
    concurrency: int,
    blank: int = 0,
) -> Exit:
    """Do all jobs.

    Args:
        out: Where to; with JSON, a line per job, in the order in which they end.
        flow: The graph, compiled.
        jobs: What to do, in order.
        place: What the next command must name.
        again: The command that goes on with what is not done.
        concurrency: How many are done at once.
        blank: Lines of the file that say nothing.

    Returns:
        The exit code: failed or malformed before paused before done.
    """
    begin, tally = perf_counter(), _Tally()
    work = partial(_skip_or_attempt, flow, _done_before(flow, jobs))
    try:
        with progress(out, len(jobs)) as show:

            def report(outcome: Outcome) -> None:
                tally.add(outcome)
                show(outcome)
                if out.as_json:
                    out.json(_document(outcome), indent=None)

            run_all(work, jobs, concurrency, report, partial(_say_interrupted, again))
    except LeftRunningError:
        # Python would wait for the threads. What is committed stays, as at any end of a process.
        os._exit(Exit.INTERRUPTED)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    _sum_up(out, tally, blank, perf_counter() - begin)
    for command in _next(tally, place, again):
        out.say(command)
    return exit_of_all(tally.counts)


def _say_interrupted(again: str, running: int) -> None:
    wait = f": waiting for {running} to end, Ctrl-C again leaves at once" if running else ""
    click.echo(safe(f"interrupted{wait}; to go on: {again}"), err=True)


def _done_before(flow: Flow[Any], jobs: Sequence[Job]) -> dict[str, Run[Any]]:
    asked = {job.run_id for job in jobs if job.given is not None}
    if not asked:
        return {}
    return {
        run.run_id: run
        for run in flow.runs(status="done")
        if run.run_id in asked and not isinstance(run.header, DamagedHeader)
    }


def _skip_or_attempt(flow: Flow[Any], done: dict[str, Run[Any]], job: Job) -> Outcome:
    if job.run_id in done:
        return Outcome(job, "done", done[job.run_id], before=True)
    return attempt(flow, job)


def _document(outcome: Outcome) -> dict[str, Any]:
    job, line = outcome.job, outcome.job.tags.get("line")
    found: dict[str, Any] = {} if line is None else {"line": int(line)}
    if outcome.run is not None:
        return {**found, **run_document(outcome.run), "before": outcome.before}
    if outcome.status != "malformed":
        found["run_id"] = job.run_id
    return {**found, "status": outcome.status, "error": outcome.words}


def _sum_up(out: Output, tally: _Tally, blank: int, seconds: float) -> None:
    parts = [f"{count} {status}" for status, count in tally.counts.items()]
    if tally.before:
        parts = [p + f" ({tally.before} before)" * p.endswith(" done") for p in parts]
    if blank:
        parts.append(f"{blank} blank")
    told = ", ".join(parts) or "nothing to do"
    out.say(f"{told} · {duration(seconds * 1e3)}", bold=True)


def _next(tally: _Tally, place: Place, again: str) -> list[str]:
    """Say what to type next for what is not done."""
    rows = [
        (place.command("show", outcome.job.run_id), f"# the first that {words}")
        for status, words in (("failed", "failed"), ("paused", "is paused"))
        if (outcome := tally.first.get(status)) is not None and outcome.run is not None
    ]
    paused = tally.first.get("paused")
    if paused is not None and paused.run is not None and paused.run.reason == "question":
        rows.append((place.command("questions"), "# what is asked"))
    if tally.counts.keys() - {"done", "malformed"}:
        more = higher_bound(paused.run.records) if paused is not None and paused.run else []
        rows.append((" ".join([again, *more]), "# goes on with what is not done"))
    lines = [f"{'      ' if i else 'next: '}{row}" for i, row in enumerate(aligned(rows, ""))]
    if "malformed" in tally.counts:
        lines.append(
            "malformed lines: mend them in a file of their own; in a file that was changed every"
            " line is a new run"
        )
    return lines
