"""The commands that turn a run another way: `cancel` and `fork`."""

from __future__ import annotations

import json
from typing import Any

import click

from graphflow.cli.batch import Job, Outcome, outcome
from graphflow.cli.compiled import compiled
from graphflow.cli.documents import header_document
from graphflow.cli.inputs import read_object
from graphflow.cli.options import (
    database_option,
    json_option,
    opened,
    place_of,
    split_target,
)
from graphflow.cli.output import Output
from graphflow.cli.single import do_one
from graphflow.errors import RunError
from graphflow.flow import Flow
from graphflow.records import Ending
from graphflow.run import Run

__all__ = ["cancel", "fork"]


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--reason",
    metavar="WORDS",
    default="cancelled by hand",
    show_default=True,
    help="Why; stored with the run.",
)
@database_option
@json_option
def cancel(run: str, *, reason: str, database: str, as_json: bool) -> None:
    """End a run for good, whoever advances it. It needs no code.

    RUN is its id, or a beginning that only its id has. What the process that advances it does
    from now on is refused.
    """
    with Output(as_json=as_json) as out, opened(database) as store:
        header = store.load(store.find(run), tail=True).header
        if header.parent is not None:
            root = header.run_id.partition("/")[0]
            raise RunError(f"run {header.run_id} is a subgraph's; cancel the whole run, {root}")
        if header.status in {"done", "cancelled"}:
            raise RunError(f"run {header.run_id} is {header.status} already; nothing was changed")
        store.stop(header.run_id, Ending("cancelled", reason))
        out.json(header_document(store.load(header.run_id, tail=True).header))
        out.say(f"run {header.run_id} is cancelled; it was {header.status}")
        out.say(f"next: {place_of().command('show', header.run_id)}")


@click.command()
@click.argument("words", metavar="[TARGET] RUN STEP", nargs=-1, required=True)
@click.option(
    "--update", metavar="JSON", help="What changes in the state after the step: {field: value}."
)
@click.option(
    "--choose",
    "choices",
    metavar="ROUTER=ANSWER",
    multiple=True,
    help="Which way to go instead, by the name of a router, a gate, or the node that is left.",
)
@database_option
@json_option
def fork(
    words: tuple[str, ...],
    *,
    update: str | None,
    choices: tuple[str, ...],
    database: str,
    as_json: bool,
) -> None:
    """Begin a new run at a committed step of another, and run it on.

    RUN is its id, or a beginning that only its id has; it stays as it is. No node of the step or
    of those before it runs again. Routers that are not named decide again, on the changed state.
    """
    target, (run, step) = split_target(words, "RUN STEP")
    if not step.isdecimal():
        raise click.UsageError(f"STEP is the number of a committed step, not {step!r}")
    changed = None if update is None else read_object(update, "--update")
    choose = dict(map(_choice, choices))
    with Output(as_json=as_json) as out, compiled(target, database) as (flow, place):
        origin = flow.store.find(run)

        def start() -> Run[Any]:
            return flow.fork(origin, int(step), update=changed, choose=choose)

        def work() -> Outcome:
            return outcome(Job("", origin), start, lambda: flow.get(_newest(flow, origin)))

        code = do_one(out, work, place, lambda: _newest(flow, origin))
    click.get_current_context().exit(code)


def _choice(words: str) -> tuple[str, Any]:
    """Read ROUTER=ANSWER; a list of answers is JSON.

    Raises:
        click.BadParameter: It is something else.
    """
    router, sign, answer = words.partition("=")
    if not (router and sign):
        raise click.BadParameter(f"{words!r} is not ROUTER=ANSWER", param_hint="--choose")
    try:
        value = json.loads(answer)
    except ValueError:
        return router, answer
    return router, value if isinstance(value, str | list | dict) else answer


def _newest(flow: Flow[Any], origin: str) -> str:
    """Find the last fork of a run: an interrupted one has told nobody its id."""
    forks = (run.run_id for run in flow.runs() if run.header.fork_of == origin)
    return next(forks, "")
