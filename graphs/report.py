"""Runs many tickets with progress on the terminal, and tells what came of them in a table."""

import json
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlite_utils import Database

from graphflow import Flow, Run
from graphs.support_triage import Ticket

__all__ = [
    "Topics",
    "console_for",
    "draw_most_tries",
    "next_command",
    "outcome",
    "run_all",
    "tell",
]

WIDE = 118  # columns where there is no terminal to ask
TOPIC = 28  # letters shown of a topic
Topics = Mapping[str, Collection[str]]
"""The right topics of each ticket, by its number."""

MOST_TRIES = """
    SELECT runs.run_id FROM tasks JOIN runs ON runs.id = tasks.run
    WHERE tasks.node = 'draft' GROUP BY runs.id ORDER BY count(*) DESC, runs.id LIMIT 1"""
SUMS = """
    SELECT count(*) AS calls, sum(input_tokens) AS read, sum(output_tokens) AS written,
        group_concat(DISTINCT model) AS models
    FROM calls JOIN runs ON runs.id = calls.run
    WHERE runs.run_id IN (SELECT value FROM json_each(?))"""


def console_for(stream: Any = None) -> Console:
    """Make a console that is wide enough for the table where no terminal says how wide it is."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, width=WIDE, highlight=False)


def run_all(
    flow: Flow[Ticket], inputs: Sequence[dict[str, Any]], ids: Sequence[str], console: Console
) -> list[Run[Ticket]]:
    """Run each ticket, or go on with its run; show a bar on a terminal, else a line per ticket."""

    def line(place: int, run: Run[Ticket]) -> str:
        ended = "" if run.status == "done" else f"  {run.status}: {run.error or run.reason}"
        return f"{inputs[place]['ticket']}  {short_path(run.path)}{ended}"

    if not console.is_terminal:
        return flow.batch(
            inputs,
            run_ids=ids,
            on_run=lambda place, run: console.print(line(place, run), markup=False),
        )
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("", total=len(inputs))
        return flow.batch(
            inputs,
            run_ids=ids,
            on_run=lambda place, run: bar.update(task, advance=1, description=line(place, run)),
        )


def short_path(path: Sequence[str]) -> str:
    """Write a path with its loop told once: `lookup classify (draft quality)x3 template`."""
    words = " ".join(path)
    loops = path.count("draft")
    once = "draft quality"
    return words.replace(" ".join([once] * loops), f"({once})x{loops}") if loops > 1 else words


def tell(runs: Sequence[Run[Ticket]], right: Topics, database: Path, console: Console) -> None:
    """Print the table, and check that it says what the database says.

    Raises:
        RuntimeError: The sums of the table are not those of the calls in the database.
    """
    table = Table(box=None, header_style="bold", show_footer=True, pad_edge=False)
    for name, widest in (("ticket", 12), ("topic", TOPIC + 2), ("path", 48)):
        table.add_column(name, no_wrap=True, max_width=widest)
    for name in ("tries", "tokens", "ms"):
        table.add_column(name, no_wrap=True, justify="right", min_width=7)
    for run in runs:
        table.add_row(*_row(run, right))
    read = sum(run.usage.input_tokens for run in runs)
    written = sum(run.usage.output_tokens for run in runs)
    sums = (sum(tries(run) for run in runs), read + written, sum(map(milliseconds, runs)))
    table.columns[0].footer = f"{len(runs)} tickets"
    for column, total in zip(table.columns[3:], sums, strict=True):
        column.footer = f"{total:,.0f}"
    console.print()
    console.print(table)
    console.print()
    _compare(runs, (sum(run.usage.calls for run in runs), read, written), database, console)
    if right:
        _grade(runs, right, console)


def _row(run: Run[Ticket], right: Topics) -> list[str]:
    state = run.state
    wrong = state.topic not in right.get(state.ticket, [state.topic])
    tokens = run.usage.input_tokens + run.usage.output_tokens
    path = short_path(run.path) + ("" if run.status == "done" else f" [red]{run.status}[/red]")
    topic = escape(state.topic or "-") + " ✗" * wrong
    return [
        escape(state.ticket),
        topic,
        path,
        str(tries(run)),
        str(tokens),
        f"{milliseconds(run):.0f}",
    ]


def tries(run: Run[Ticket]) -> int:
    """Count the drafts of a run."""
    return len(run.state.drafts)


def milliseconds(run: Run[Ticket]) -> float:
    """Add up the time that its nodes took; a run that was killed has also waited."""
    return sum(task.duration_ms for step in run.steps for task in step.tasks)


def _compare(
    runs: Sequence[Run[Ticket]], sums: tuple[int, int, int], database: Path, console: Console
) -> None:
    ids = json.dumps([run.run_id for run in runs])
    (stored,) = query(database, SUMS, [ids])
    found = (stored["calls"], stored["read"] or 0, stored["written"] or 0)
    if found != sums:
        raise RuntimeError(f"the table says {sums} and {database} says {found}: calls, tokens")
    console.print(
        f"{found[0]} calls of {stored['models']}: {found[1]:,} tokens read, {found[2]:,} written"
        f" (the same in table calls of {database})"
    )


def _grade(runs: Sequence[Run[Ticket]], right: Topics, console: Console) -> None:
    states = [run.state for run in runs]
    good = sum(state.topic in right[state.ticket] for state in states)
    by = Counter(state.answered_by for state in states)
    console.print(
        f"topic right: {good} of {len(states)}; answered by the model: {by['model']}, by a"
        f" template: {by['template']}, left to a human: {by['human']}"
    )


def draw_most_tries(flow: Flow[Ticket], database: Path, picture: Path) -> Run[Ticket] | None:
    """Draw the run with the most tries; None when no run drafted anything."""
    rows = query(database, MOST_TRIES, [])
    if not rows:
        return None
    run = flow.get(rows[0]["run_id"])
    run.draw(picture)
    return run


def query(database: Path, sql: str, values: Sequence[str]) -> list[dict[str, Any]]:
    """Ask a database of runs, without being able to change it."""
    address = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        return list(Database(connection).query(sql, values))


def next_command(run: Run[Ticket], database: Path) -> str:
    """Say what to type to look at a run."""
    beside = Path(sys.executable).with_name("graphflow")
    program = "graphflow"
    if shutil.which(program) is None and beside.exists():
        inside = beside.is_relative_to(Path.cwd())
        program = str(beside.relative_to(Path.cwd()) if inside else beside)
    return f"{program} show {run.run_id} --db {database}"


def outcome(runs: Sequence[Run[Ticket]], console: Console) -> int:
    """Give the exit code: 0 done, 1 a run failed, 3 one is paused; say which failed first."""
    for status, code in (("failed", 1), ("paused", 3)):
        run = next((run for run in runs if run.status == status), None)
        if run is not None:
            console.print(f"{run.run_id} {status}: {run.error or run.reason}", markup=False)
            return code
    return 0
