"""The command that says what differs: of two runs, or before and after a step: `diff`."""

from __future__ import annotations

import json
from typing import Any

import click

from graphflow.analysis.comparison import Comparison, Parting
from graphflow.cli.documents import decision_document
from graphflow.cli.options import database_option, json_option, opened, place_of
from graphflow.cli.output import Output
from graphflow.records import DecisionRecord
from graphflow.run import Run

__all__ = ["diff"]


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("other", metavar="[OTHER]", required=False)
@click.option("--step", metavar="N", type=click.IntRange(min=0), help="What step N of RUN changed.")
@database_option
@json_option
def diff(run: str, other: str | None, *, step: int | None, database: str, as_json: bool) -> None:
    """Say where two runs part and what came of it, or what one step changed.

    RUN and OTHER are their ids, or beginnings that only their ids have. It needs no code.
    """
    if (other is None) == (step is None):
        raise click.UsageError("name a second run, or a step: diff RUN OTHER, or diff RUN --step N")
    with Output(as_json=as_json) as out, opened(database) as store:
        left: Run[Any] = Run(store, store.find(run))
        if other is None:
            _tell_step(out, left, step or 0)
            return
        right: Run[Any] = Run(store, store.find(other))
        found = left.compare(right)
        out.json(_document(found))
        out.say(str(found))
        out.say(f"next: {place_of().command('show', right.run_id)}", dim=True)


def _tell_step(out: Output, run: Run[Any], step: int) -> None:
    changed = run.diff(step)
    out.json(
        {name: {"before": before, "after": after} for name, (before, after) in changed.items()}
    )
    for name, (before, after) in changed.items():
        out.say(f"{name}: {json.dumps(before)} → {json.dumps(after)}")
    if not changed:
        out.say(f"step {step} of run {run.run_id} changed nothing")


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "runs": list(found.runs),
        "parted": found.parted,
        "decisions": [_parting(found.parted or 0, one) for one in found.decisions],
        "paths": [list(path) for path in found.paths],
        "fields": {name: list(sides) for name, sides in found.fields.items()},
        "statuses": list(found.statuses),
        "since": found.since,
    }


def _parting(step: int, one: Parting) -> dict[str, Any]:
    def side(decision: DecisionRecord | None) -> dict[str, Any] | None:
        return decision and decision_document(step, decision)

    return {
        "source": one.source,
        "router": one.router,
        "left": side(one.left),
        "right": side(one.right),
    }
