"""Does one job, and says what came of it and what to type next."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from graphflow.cli.asked import all_asked
from graphflow.cli.batch import Job, Outcome
from graphflow.cli.documents import run_document
from graphflow.cli.exits import Exit, exit_of
from graphflow.cli.onward import ways_on
from graphflow.cli.options import Place
from graphflow.cli.output import Output, complain, safe
from graphflow.cli.words import question_told
from graphflow.flow import Flow

__all__ = ["announce", "do_one"]


def do_one(
    out: Output,
    work: Callable[[], Outcome],
    place: Place,
    find: Callable[[], str],
) -> Exit:
    """Do one job, and say what came of it and what to type next.

    Args:
        out: Where to.
        work: Does the job.
        place: What the next command must name.
        find: Finds the id of the run, when the job was interrupted; empty: it has not begun.
    """
    try:
        done = work()
    except KeyboardInterrupt:
        run_id = find()
        again = place.command("resume", run_id, with_target=True)
        words = f"interrupted; to go on: {again}" if run_id else "interrupted before it began"
        click.echo(safe(words), err=True)
        return Exit.INTERRUPTED
    streamed = done.job.listen is not None
    if done.run is not None:
        if not out.as_json:
            told = str(done.run)
            out.say(told.partition("\n")[0] if streamed else told)
        if not streamed:
            out.json(run_document(done.run))
    _tell(out, done, place)
    return exit_of(done.status)


def announce(job: Job, flow: Flow[Any]) -> None:
    """Say on a terminal which run goes on now: it may take a while."""
    if sys.stderr.isatty() and job.listen is None:
        click.secho(safe(f"run {job.run_id} of {flow.name} ..."), dim=True, err=True)


def _tell(out: Output, done: Outcome, place: Place) -> None:
    if done.status == "failed":
        complain("\n".join(filter(None, [done.words, done.trace])))
    elif done.words:
        out.say(f"{done.status}: {done.words}", fg="yellow")
    asked = [one for one in all_asked(done.run.records) if one.is_open] if done.run else []
    for one in asked:
        for line in question_told(one):
            out.say(f"  {line}")
    run_id = done.job.run_id if done.run is None else done.run.run_id
    commands = [
        *(ways_on(done.run.records, place) if done.run else ()),
        place.command("show", run_id),
        place.command("draw", run_id, "-o", "run.svg"),
    ]
    for i, command in enumerate(commands):
        out.say(f"{'      ' if i else 'next: '}{command}")
