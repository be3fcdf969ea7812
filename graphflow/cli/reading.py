"""The commands that read runs: `runs` and `show`. They need no code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, get_args

import click

from graphflow.cli.asked import is_answered
from graphflow.cli.documents import header_document, whole_document
from graphflow.cli.onward import ways_on
from graphflow.cli.options import TARGET, Place, database_option, json_option, opened, place_of
from graphflow.cli.output import Output
from graphflow.cli.words import STYLES, details, run_list, steps_told
from graphflow.errors import DAMAGED
from graphflow.records import RunStatus
from graphflow.run import Run

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite import SqliteCheckpointer

__all__ = ["runs", "show"]

_FIRST = 20


@click.command()
@click.option("--status", type=click.Choice(get_args(RunStatus)), help="Only runs that stand so.")
@click.option("--graph", metavar="NAME", help="Only runs of this graph.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"At most N runs; by default {_FIRST}, and all with --json.",
)
@click.option("--size", is_flag=True, help="Say how many bytes each run takes.")
@database_option
@json_option
def runs(
    *,
    status: RunStatus | None,
    graph: str | None,
    limit: int | None,
    size: bool,
    database: str,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    most = limit if limit is not None or as_json else _FIRST
    with Output(as_json=as_json) as out, opened(database) as store:
        found = store.runs(status=status, graph=graph, limit=None if most is None else most + 1)
        more, found = found[most:] if most is not None else [], found[:most]
        sizes = {h.run_id: store.size(h.run_id).bytes for h in found} if size else {}
        if as_json:
            more_of = {run_id: {"bytes": many} for run_id, many in sizes.items()}
            out.json([header_document(h) | more_of.get(h.run_id, {}) for h in found])
            return
        if not found:
            out.say("no runs")
            return
        answered = [h.run_id for h in found if is_answered(store, h)]
        head, *lines = run_list(found, sizes, answered)
        out.say(head, dim=True)
        for header, line in zip(found, lines, strict=True):
            out.say(line, fg=None if header.status == "done" else STYLES[header.status])
        if more:
            out.say(f"there are more than these {most}: see --limit", dim=True)
        out.say(f"next: {place_of().command('show', found[0].run_id)}", dim=True)
        if answered:
            place = place_of(os.environ.get(TARGET, "TARGET"))
            again = place.command("resume", answered[0], with_target=True)
            out.say(f"      {again}", dim=True)


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--steps", is_flag=True, help="Tell each step: what ran, changed and was decided.")
@click.option(
    "--until",
    metavar="STEP",
    type=click.IntRange(min=0),
    help="Only up to this step: so a run can be read whose later steps are damaged.",
)
@database_option
@json_option
def show(run: str, steps: bool, until: int | None, database: str, as_json: bool) -> None:
    """Show a run: its path, decisions and reasons, questions, failed attempts, calls and state.

    RUN is its id, or a beginning that only its id has; that of a subgraph's run is the id of the
    whole run with `/STEP:TASK`.
    """
    with Output(as_json=as_json) as out, opened(database) as store:
        run_id = store.find(run)
        found: Run[Any] = Run(store, run_id)
        if until is not None:
            found = Run.of(store, store.load_until(run_id, until))
        if as_json:
            out.json(whole_document(found))
            return
        out.say(str(found))
        if steps:
            out.say()
        for line in steps_told(found) if steps else details(found):
            out.say(line, bold=bool(line) and not line.startswith(" "))
        # What runs needs code, which a database never names
        place = place_of(os.environ.get(TARGET, "TARGET"))
        ways = ways_on(found.records, place) if until is None else _ways_on(store, run_id, place)
        for i, command in enumerate(ways):
            out.say(f"{'      ' if i else 'next: '}{command}", dim=True)


def _ways_on(store: SqliteCheckpointer, run_id: str, place: Place) -> list[str]:
    """Write the commands that go on with a run, of which only the first steps were shown."""
    try:
        return ways_on(store.load(run_id), place)
    except DAMAGED:  # so nothing can go on with it
        return [place.command("doctor", "", "--verify")]
