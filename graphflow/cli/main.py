"""The command line: `graphflow COMMAND`."""

from __future__ import annotations

import sys

import click

from graphflow.cli.differing import diff
from graphflow.cli.doctor import doctor
from graphflow.cli.drawing import check, draw
from graphflow.cli.exits import Commands
from graphflow.cli.housekeeping import backup, delete, prune
from graphflow.cli.questions import answer, questions
from graphflow.cli.reading import runs, show
from graphflow.cli.running import resume, run
from graphflow.cli.turning import cancel, fork

__all__ = ["cli"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphflow-agents", prog_name="graphflow")
def cli() -> None:
    """Run agents as state graphs, and look at what ran and why.

    TARGET names a graph: module:attr or path.py:attr, or GRAPHFLOW_TARGET. The runs are kept in
    one SQLite file: --db, or GRAPHFLOW_DB, or graphflow.db. TARGET may also be a compiled flow,
    which has a file of its own. A run is named by its id, or by a beginning that only its id has.

    Exit codes: 0 done, 1 a run failed, 2 wrong usage or input, 3 paused, 130 Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter shows its code instead of ending the command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


for command in (
    run,
    resume,
    answer,
    fork,
    cancel,
    delete,
    prune,
    backup,
    runs,
    show,
    diff,
    questions,
    draw,
    check,
    doctor,
):
    cli.add_command(command)

if __name__ == "__main__":
    cli(prog_name="graphflow")
