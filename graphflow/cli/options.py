"""The arguments and options that several commands share, and what they lead to."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from graphflow.policy import Limits
from graphflow.records import RunHeader

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite import SqliteCheckpointer

__all__ = [
    "DATABASE",
    "TARGET",
    "Place",
    "database_option",
    "higher_limit",
    "json_option",
    "limit_options",
    "looks_like_target",
    "new_limits",
    "opened",
    "place_of",
]

DATABASE = "GRAPHFLOW_DB"
TARGET = "GRAPHFLOW_TARGET"

F = TypeVar("F", bound=Callable[..., Any])

database_option = click.option(
    "--db",
    "database",
    metavar="FILE",
    envvar=DATABASE,
    default="graphflow.db",
    show_default=True,
    show_envvar=True,
    help="The SQLite file that holds the runs.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON to stdout, and words to stderr."
)


def limit_options(command: F) -> F:
    """Add --limit-steps and --limit-visits."""
    for name, words in (
        ("visits", "Pause before a step in which a node would run more often than N times."),
        ("steps", "Pause after N steps."),
    ):
        bound = click.IntRange(min=1)
        command = click.option(f"--limit-{name}", metavar="N", type=bound, help=words)(command)
    return command


def new_limits(steps: int | None, visits: int | None, old: Limits | RunHeader) -> Limits | None:
    """Give the limits that were asked for.

    Args:
        steps: Of the option.
        visits: Of the option.
        old: What holds where an option was left out.

    Returns:
        None when neither option was given.
    """
    if steps is None and visits is None:
        return None
    before = json.loads(old.limits_json) if isinstance(old, RunHeader) else asdict(old)
    given = {"steps": steps, "visits": visits}
    return Limits(**{**before, **{name: n for name, n in given.items() if n is not None}})


def higher_limit(header: RunHeader) -> list[str]:
    """Give the option that lets a run go on that has reached a limit; empty when it has not."""
    kind = (header.reason or "").removeprefix("limit:").partition(":")[0]
    if header.status != "paused" or not (header.reason or "").startswith("limit:"):
        return []
    bound = json.loads(header.limits_json)[kind]
    return [f"--limit-{kind}", str(2 * bound)]


def looks_like_target(name: str) -> bool:
    """Tell a TARGET (`module:attr`, `path.py:attr`) from the id of a run."""
    where, _, attribute = name.rpartition(":")
    return bool(where) and all(part.isidentifier() for part in attribute.split("."))


@contextmanager
def opened(database: str) -> Iterator[SqliteCheckpointer]:
    """Open a database to read it; a file that is not there is not made.

    Raises:
        NotADatabaseError: The file is something else.
        DatabaseUnavailableError: There is no such file.
    """
    from graphflow.checkpoint.sqlite import SqliteCheckpointer

    store = SqliteCheckpointer(database, create=False)
    try:
        yield store
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class Place:
    """What the next command must name: the target and the database, as far as they were typed.

    Attributes:
        target: None when the environment names it, or the command needs none.
        database: None when the environment or the default names it.
    """

    target: str | None
    database: str | None

    def command(self, verb: str, *words: str, with_target: bool = False) -> str:
        """Write a command to type next.

        Args:
            verb: `show`, `resume`, ...
            words: What follows, unquoted; a word that is empty is left out.
            with_target: Whether the command takes the target.
        """
        target = [self.target] if with_target and self.target else []
        database = ["--db", self.database] if self.database else []
        return shlex.join(["graphflow", verb, *target, *filter(None, words), *database])


def place_of(target: str | None = None) -> Place:
    """Give the place of the command that runs.

    Args:
        target: As it was typed; None when it was not.
    """
    context = click.get_current_context()
    typed = context.get_parameter_source("database") is ParameterSource.COMMANDLINE
    shown = None if target == os.environ.get(TARGET) else target
    return Place(shown, context.params["database"] if typed else None)
