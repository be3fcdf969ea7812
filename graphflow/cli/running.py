"""The commands that run a graph: `run` and `resume`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import click

from graphflow.cli.batch import Job, advance
from graphflow.cli.compiled import compiled
from graphflow.cli.exits import Exit
from graphflow.cli.inputs import Batch, read_input
from graphflow.cli.live import Live
from graphflow.cli.many import do_all
from graphflow.cli.onward import OPEN
from graphflow.cli.options import (
    TARGET,
    Place,
    bound_options,
    database_option,
    json_option,
    looks_like_target,
    new_budget,
    new_limits,
)
from graphflow.cli.output import Output
from graphflow.cli.single import announce, do_one
from graphflow.flow import Flow
from graphflow.names import new_run_id
from graphflow.records import DamagedHeader, RunHeader

__all__ = ["resume", "run"]

concurrency_option = click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="How many runs go on at once.",
)

stream_option = click.option(
    "--stream",
    "streams",
    is_flag=True,
    help="Tell what happens while it happens; with --json an object per line. Not for a batch.",
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
@bound_options
@concurrency_option
@stream_option
@json_option
def run(
    target: str | None,
    *,
    given: str,
    run_id: str | None,
    database: str,
    concurrency: int,
    streams: bool,
    as_json: bool,
    **bounds: Any,
) -> None:
    """Run a graph, once or for each line of a file.

    The run of a line gets its id from the file's content, the line's number and the graph: the
    same command again skips what is done, resumes what is not, and begins the rest. A file that
    was changed is a new batch, of new runs. A malformed line is named, and the others run.

    Reaching a limit or a budget pauses the run, and `resume` with a larger one goes on.
    """
    with Output(as_json=as_json) as out, compiled(target, database, create=True) as (flow, place):
        fields = read_input(given)
        if isinstance(fields, Batch):
            if run_id is not None or streams:
                wrong = "--stream tells" if streams else "--run-id names"
                raise click.UsageError(f"{wrong} one run; this is a batch of them")
            jobs = _jobs(fields, flow, bounds)
            more = [] if concurrency == 1 else ["--concurrency", str(concurrency)]
            again = place.command("run", "", "--input", given, *more, with_target=True)
            code = do_all(
                out, flow, jobs, place, again, concurrency=concurrency, blank=fields.blank
            )
        else:
            job = _job(new_run_id() if run_id is None else run_id, bounds, fields)
            code = _do_one(out, flow, _listening(job, out, streams=streams), place)
    click.get_current_context().exit(code)


def _job(run_id: str, bounds: Mapping[str, Any], fields: dict[str, Any]) -> Job:
    limits, budget = new_limits(bounds), new_budget(bounds)
    return Job("", run_id, fields, limits, budget)


def _jobs(batch: Batch, flow: Flow[Any], bounds: Mapping[str, Any]) -> list[Job]:
    file = {"file": os.path.basename(batch.name), "file_sha256": batch.digest}  # noqa: PTH119 - a name that may be "-"
    limits, budget = new_limits(bounds), new_budget(bounds)
    return [
        Job(
            f"line {line.number}",
            batch.run_id(line, flow.name),
            line.fields,
            limits,
            budget,
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
@click.option(
    "--take-over",
    "takes_over",
    is_flag=True,
    help="Take it from a process that lives, but hangs: what that one writes is refused.",
)
@database_option
@bound_options
@concurrency_option
@stream_option
@json_option
def resume(
    target: str | None,
    run: str | None,
    *,
    every: bool,
    takes_over: bool,
    database: str,
    concurrency: int,
    streams: bool,
    as_json: bool,
    **bounds: Any,
) -> None:
    """Go on with a run from its last committed step.

    RUN is its id, or a beginning that only its id has. Limits and a budget that are given hold
    for the run from now on; what it has used before counts.
    """
    if target and not run and TARGET in os.environ and not looks_like_target(target):
        target, run = None, target
    if bool(run) == every:
        raise click.UsageError("name a RUN, or give --all; `graphflow runs` lists them")
    if every and (streams or takes_over):
        word = "--stream tells" if streams else "--take-over takes"
        raise click.UsageError(f"{word} one run; name it")
    if streams and takes_over:
        raise click.UsageError("--take-over and --stream: give one of them")
    with Output(as_json=as_json) as out, compiled(target, database) as (flow, place):
        store = flow.store
        if run:
            header = store.load(store.find(run), tail=True).header
            if header.status == "done" and header.graph == flow.name:
                out.say("it was done before; nothing runs")
            job = replace(_again(header, bounds), take_over=takes_over)
            job = _listening(job, out, streams=streams)
            code = _do_one(out, flow, job, place)
        else:
            jobs = [
                _again(header, bounds)
                for header in reversed(store.runs(graph=flow.name))
                if header.status in OPEN or isinstance(header, DamagedHeader)  # which is told then
            ]
            again = place.command("resume", "", "--all", with_target=True)
            code = do_all(out, flow, jobs, place, again, concurrency=concurrency)
    click.get_current_context().exit(code)


def _again(header: RunHeader, bounds: Mapping[str, Any]) -> Job:
    limits, budget = new_limits(bounds), new_budget(bounds, header)
    return Job(header.run_id, header.run_id, limits=limits, budget=budget)


def _listening(job: Job, out: Output, *, streams: bool) -> Job:
    return replace(job, listen=Live(out, job.run_id)) if streams else job


def _do_one(out: Output, flow: Flow[Any], job: Job, place: Place) -> Exit:
    announce(job, flow)
    return do_one(out, partial(advance, flow, job), place, lambda: job.run_id)
