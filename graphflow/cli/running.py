"""The commands that run a graph: `run` and `resume`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from graphflow.cli.batch import Job, Outcome, advance
from graphflow.cli.documents import run_document
from graphflow.cli.exits import Exit, exit_of
from graphflow.cli.inputs import Batch, read_input
from graphflow.cli.many import do_all
from graphflow.cli.options import (
    TARGET,
    Place,
    database_option,
    higher_limit,
    json_option,
    limit_options,
    looks_like_target,
    new_limits,
    opened,
    place_of,
)
from graphflow.cli.output import Output, complain, safe
from graphflow.cli.target import load_graph
from graphflow.flow import Flow
from graphflow.names import new_run_id
from graphflow.records import RunHeader

__all__ = ["resume", "run"]

_OPEN = ("stale", "failed", "paused")

concurrency_option = click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="How many runs go on at once.",
)


@click.command()
@click.argument("target", required=False)
@click.option(
    "--input",
    "given",
    metavar="JSON|FILE|-",
    default="{}",
    help="The fields of the state: a JSON object, or a FILE.json with one. Any other FILE, and -"
    " for stdin, is a batch: an object per line.",
)
@click.option("--run-id", metavar="ID", help="An id of your own; not for a batch.")
@database_option
@limit_options
@concurrency_option
@json_option
def run(
    target: str | None,
    *,
    given: str,
    run_id: str | None,
    database: str,
    limit_steps: int | None,
    limit_visits: int | None,
    concurrency: int,
    as_json: bool,
) -> None:
    """Run a graph, once or for each line of a file.

    The run of a line gets its id from the file's content, the line's number and the graph: the
    same command again skips what is done, resumes what is not, and begins the rest. A file that
    was changed is a new batch, of new runs. A malformed line is named, and the others run.
    """
    with Output(as_json=as_json) as out:
        graph = load_graph(target)
        fields = read_input(given)
        if run_id is not None and isinstance(fields, Batch):
            raise click.UsageError(
                "--run-id names one run; those of a batch are made from its file"
            )
        with graph.compile(database) as flow:
            limits = new_limits(limit_steps, limit_visits, flow.limits)
            place = place_of(target)
            if isinstance(fields, Batch):
                jobs = _jobs(fields, flow, limits)
                more = [] if concurrency == 1 else ["--concurrency", str(concurrency)]
                again = place.command("run", "--input", given, *more, with_target=True)
                code = do_all(
                    out, flow, jobs, place, again, concurrency=concurrency, blank=fields.blank
                )
            else:
                job = Job("", run_id or new_run_id(), fields, limits)
                code = _do_one(out, flow, job, place)
    click.get_current_context().exit(code)


def _jobs(batch: Batch, flow: Flow[Any], limits: Any) -> list[Job]:
    file = {"file": os.path.basename(batch.name), "file_sha256": batch.digest}  # noqa: PTH119 - a name that may be "-"
    return [
        Job(
            f"line {line.number}",
            batch.run_id(line, flow.name),
            line.fields,
            limits,
            {**file, "line": str(line.number)},
            line.error,
        )
        for line in batch.lines
    ]


@click.command()
@click.argument("target", required=False)
@click.argument("run", metavar="[RUN]", required=False)
@click.option(
    "--all", "every", is_flag=True, help="All failed, paused and stale runs of the graph."
)
@database_option
@limit_options
@concurrency_option
@json_option
def resume(
    target: str | None,
    run: str | None,
    *,
    every: bool,
    database: str,
    limit_steps: int | None,
    limit_visits: int | None,
    concurrency: int,
    as_json: bool,
) -> None:
    """Go on with a run from its last committed step.

    RUN is its id, or a beginning that only its id has. Limits that are given hold for the run
    from now on.
    """
    if target and not run and TARGET in os.environ and not looks_like_target(target):
        target, run = None, target
    if bool(run) == every:
        raise click.UsageError("name a RUN, or give --all; `graphflow runs` lists them")
    with Output(as_json=as_json) as out, opened(database) as store:
        graph = load_graph(target)
        with graph.compile(store) as flow:
            place = place_of(target)
            if run:
                headers = [store.load(store.find(run), tail=True).header]
            else:
                found = store.runs(graph=flow.name)
                headers = [header for header in reversed(found) if header.status in _OPEN]
            jobs = [_again(header, limit_steps, limit_visits) for header in headers]
            if run:
                if headers[0].status == "done" and headers[0].graph == flow.name:
                    out.say("it was done before; nothing runs")
                code = _do_one(out, flow, jobs[0], place)
            else:
                again = place.command("resume", "--all", with_target=True)
                code = do_all(out, flow, jobs, place, again, concurrency=concurrency)
    click.get_current_context().exit(code)


def _again(header: RunHeader, steps: int | None, visits: int | None) -> Job:
    return Job(header.run_id, header.run_id, limits=new_limits(steps, visits, header))


def _do_one(out: Output, flow: Flow[Any], job: Job, place: Place) -> Exit:
    """Do one job, and say what came of it and what to type next."""
    if sys.stderr.isatty():
        click.secho(safe(f"run {job.run_id} of {flow.name} ..."), dim=True, err=True)
    try:
        outcome = advance(flow, job)
    except KeyboardInterrupt:
        again = place.command("resume", job.run_id, with_target=True)
        click.echo(safe(f"interrupted; to go on: {again}"), err=True)
        return Exit.INTERRUPTED
    if outcome.run is not None:
        if not out.as_json:
            out.say(str(outcome.run))
        out.json(run_document(outcome.run))
    _tell(out, outcome, place)
    return exit_of(outcome.status)


def _tell(out: Output, outcome: Outcome, place: Place) -> None:
    run_id = outcome.job.run_id
    if outcome.status == "failed":
        complain("\n".join(filter(None, [outcome.words, outcome.trace])))
    elif outcome.words:
        out.say(f"{outcome.status}: {outcome.words}", fg="yellow")
    commands = [
        place.command("show", run_id),
        place.command("draw", run_id, "-o", "run.svg"),
    ]
    if outcome.status in _OPEN:
        header = outcome.run.records.header if outcome.run is not None else None
        more = higher_limit(header) if header else []
        commands.insert(0, place.command("resume", run_id, *more, with_target=True))
    out.say(f"next: {commands[0]}")
    for command in commands[1:]:
        out.say(f"      {command}")
