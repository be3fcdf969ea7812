"""Runs the example's tickets, and ends with a table, a database, a picture and the next command."""

import json
import sys
from pathlib import Path

from rich.console import Console

from graphflow import Flow, GraphflowError
from graphflow.cli.inputs import Batch, read_input
from graphflow.llm.client import ChatClient
from graphs.report import (
    Topics,
    console_for,
    draw_most_tries,
    next_command,
    outcome,
    run_all,
    tell,
)
from graphs.support_triage import OUT, Ticket, graph

__all__ = ["expected", "main"]

DATA = Path(__file__).parent / "data"
RUNS = OUT / "triage.db"
BEFORE = OUT / "triage.before.db"
PICTURE = OUT / "most_tries.svg"


def main() -> int:
    """Run the demo.

    Returns:
        The exit code: 0 done, 1 a run failed or there is no model, 3 a run is paused.
    """
    try:
        return _demo(console_for())
    except (GraphflowError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on with what is not done\n")
        return 130


def _demo(console: Console) -> int:
    client = ChatClient.from_environment()  # before anything else: there is no demo without it
    inputs, ids = tickets()
    console.print(f"Model: {client.model or 'the only one'} at {client.base_url}")
    console.print(make_room(ids))
    with client, graph.compile(RUNS, llm=client) as flow:
        runs = run_all(flow, inputs, ids, console)
        tell(runs, expected(), RUNS, console)
        _tell_files(flow, console)
        return outcome(runs, console)


def tickets() -> tuple[list[dict[str, object]], list[str]]:
    """Read the tickets; the ids of their runs are those of `graphflow run --input FILE`, too."""
    batch = read_input(str(DATA / "tickets.jsonl"))
    if not isinstance(batch, Batch):
        raise TypeError("tickets.jsonl must hold a ticket per line")
    inputs = [line.fields or {} for line in batch.lines]
    return inputs, [batch.run_id(line, graph.name) for line in batch.lines]


def expected() -> Topics:
    """Read which topics are right for each ticket; nodes never see them."""
    lines = (DATA / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["ticket"]: row["topics"] for row in map(json.loads, lines)}


def make_room(ids: list[str]) -> str:
    """Move the database aside when all its runs are done, so that the demo really runs again.

    Returns:
        What was done, in one line.
    """
    OUT.mkdir(exist_ok=True)
    if not RUNS.exists():
        return f"Running {len(ids)} tickets into {RUNS}."
    with graph.compile(RUNS) as flow:
        done = len({run.run_id for run in flow.runs(status="done")} & set(ids))
    if done < len(ids):
        return f"Going on in {RUNS}: {done} of {len(ids)} tickets are done."
    for suffix in ("", "-wal", "-shm"):
        old = RUNS.with_name(RUNS.name + suffix)
        new = BEFORE.with_name(BEFORE.name + suffix)
        new.unlink(missing_ok=True)
        if old.exists():
            old.replace(new)
    return f"All {done} tickets were done: {RUNS} is {BEFORE} now, and they run again."


def _tell_files(flow: Flow[Ticket], console: Console) -> None:
    run = draw_most_tries(flow, RUNS, PICTURE)
    if run is not None:
        number, count = run.state.ticket, len(run.state.drafts)
        console.print(f"picture: {PICTURE} (ticket {number}, {count} tries)")
        console.print(f"next: {next_command(run, RUNS)}")
