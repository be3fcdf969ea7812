"""Shows how a batch goes on: a bar on a terminal, a line per run elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graphflow.cli.batch import Outcome
from graphflow.cli.output import Output, safe
from graphflow.cli.words import STYLES, step_count
from graphflow.render.wording import columns, duration

__all__ = ["progress"]

Report = Callable[[Outcome], None]


@contextmanager
def progress(out: Output, total: int) -> Iterator[Report]:
    """Show the progress of a batch while the ``with`` lasts.

    Args:
        out: Where to.
        total: How many jobs there are.

    Yields:
        What to call as each job ends.
    """
    if out.people.isatty() and os.environ.get("TERM") != "dumb":
        with _bar(out, total) as report:
            yield report
    else:
        yield lambda outcome: out.say(_line(outcome))


def _line(outcome: Outcome) -> str:
    """Say how a job ended: `line 3  done  5 steps  0.41 s`."""
    parts = [outcome.job.label, outcome.status]
    if outcome.run is not None:
        parts.append(step_count(outcome.run.header))
        parts.append("done before" if outcome.before else duration(outcome.seconds * 1e3))
    return "  ".join([*parts, *filter(None, [outcome.words])])


@contextmanager
def _bar(out: Output, total: int) -> Iterator[Report]:
    """Draw a bar; what did not end well is told above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    shown = TextColumn("{task.description}", markup=False)
    console = Console(file=out.people)
    bar = Progress(BarColumn(), MofNCompleteColumn(), shown, TimeElapsedColumn(), console=console)
    counts: Counter[str] = Counter()

    def report(outcome: Outcome) -> None:
        counts[outcome.status] += 1
        if outcome.status != "done":
            line = safe(_line(outcome))
            if columns(line) > console.width:
                line = line[: max(console.width - 1, 1)] + "…"
            bar.console.print(Text(line, style=STYLES.get(outcome.status) or ""))
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        bar.update(task, advance=1, description=told)

    with bar:
        task = bar.add_task("", total=total)
        yield report
