"""How a command ends: its exit code, and an error in words instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import click

from graphflow.cli.output import complain
from graphflow.errors import (
    GraphChangedError,
    GraphflowError,
    RunError,
    RunExistsError,
    RunNotFoundError,
)

__all__ = ["Commands", "Exit", "exit_of", "exit_of_all"]


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    FAILED = 1
    """A run failed, or could not be advanced; of a batch, also: a line was malformed."""
    USAGE = 2
    """Wrong usage or input, also of the database; the same that click uses."""
    PAUSED = 3
    INTERRUPTED = 130
    """Ctrl-C, as shells say it: 128 and the number of the signal."""


def exit_of(status: str) -> Exit:
    """Give the exit code for how a run stands."""
    return {"done": Exit.DONE, "paused": Exit.PAUSED}.get(status, Exit.FAILED)


def exit_of_all(statuses: Iterable[str]) -> Exit:
    """Give the exit code for how several runs stand: failed before paused before done."""
    codes = {exit_of(status) for status in statuses}
    return next((code for code in (Exit.FAILED, Exit.PAUSED) if code in codes), Exit.DONE)


class Commands(click.Group):
    """A group whose commands end with an exit code and a message.

    Only graphflow's own errors become messages; any other exception keeps its traceback.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except GraphflowError as error:
            complain(str(error))
            ctx.exit(_exit_of_error(error))
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(Exit.INTERRUPTED)


def _exit_of_error(error: GraphflowError) -> Exit:
    wrong_words = isinstance(error, RunNotFoundError | RunExistsError | GraphChangedError)
    return Exit.FAILED if isinstance(error, RunError) and not wrong_words else Exit.USAGE
