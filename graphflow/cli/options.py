"""The arguments and options that several commands share, and what they lead to."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from graphflow.names import in_order, word
from graphflow.policy import Budget, Limits
from graphflow.records import RunHeader, RunRecords
from graphflow.standing import limit_reached

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite import SqliteCheckpointer

__all__ = [
    "DATABASE",
    "TARGET",
    "Place",
    "bound_options",
    "database_option",
    "higher_bound",
    "json_option",
    "looks_like_target",
    "new_budget",
    "new_limits",
    "opened",
    "place_of",
    "split_target",
]

DATABASE = "GRAPHFLOW_DB"
TARGET = "GRAPHFLOW_TARGET"

_CHILD = re.compile(r"/\d+:[^/]*$")
"""How the id of a subgraph's run ends: `.../3:sub`."""

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


def bound_options(command: F) -> F:
    """Add the options for limits, --limit-steps and --limit-visits, and those for a budget."""
    whole, seconds = click.IntRange(min=1), click.FloatRange(min=0, min_open=True)
    bounds: Sequence[tuple[str, str, click.ParamType[Any], str]] = (
        ("seconds", "S", seconds, "Budget: pause when the nodes have worked for S seconds."),
        (
            "tokens",
            "N",
            whole,
            "Budget: pause before a model call when N tokens are used, or its max_tokens no longer"
            " fit; the last call may exceed N.",
        ),
        ("calls", "N", whole, "Budget: pause before the call after N model calls."),
        (
            "limit-visits",
            "N",
            whole,
            "Pause before a step in which a node would run more often than N times.",
        ),
        ("limit-steps", "N", whole, "Pause after N steps."),
    )
    for name, letter, kind, words in bounds:
        command = click.option(f"--{name}", metavar=letter, type=kind, help=words)(command)
    return command


def new_limits(given: Mapping[str, Any]) -> Limits | None:
    """Give the limits that were asked for.

    Args:
        given: The options of `bound_options`.

    Returns:
        None when neither limit was given.
    """
    asked = _said({name: given[f"limit_{name}"] for name in ("steps", "visits")})
    return Limits(**asked) if asked else None


def new_budget(given: Mapping[str, Any], old: RunHeader | None = None) -> Budget | None:
    """Give the budget that was asked for.

    Args:
        given: The options of `bound_options`.
        old: The run whose budget holds where an option was left out.

    Returns:
        None when no part of a budget was given.
    """
    asked = {name: given[name] for name in ("calls", "tokens", "seconds")}
    before = json.loads(old.budget_json) if old is not None else {}
    return Budget(**{**before, **_said(asked)}) if _said(asked) else None


def _said(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: bound for name, bound in asked.items() if bound is not None}


def higher_bound(records: RunRecords) -> list[str]:
    """Give the option that lets a run go on that has reached a limit, or used up its budget.

    Returns:
        The option and twice the bound; empty when the run has not, or the budget is a node's.
    """
    header = records.header
    kind, _, rest = (header.reason or "").partition(":")
    what = rest.partition(":")[0]
    if header.status != "paused":
        return []
    if (reached := limit_reached(records)) is not None:
        return [f"--limit-{reached[0]}", str(2 * reached[1])]
    bound = json.loads(header.budget_json).get(what) if kind == "budget" else None
    return [] if bound is None else [f"--{what}", f"{2 * bound or 1:g}"]


def split_target(words: Sequence[str], names: str) -> tuple[str | None, list[str]]:
    """Tell the TARGET from the words after it; it may be left out when the environment names it.

    Args:
        words: As they were typed.
        names: What they are called: `RUN [VALUE]`.

    Returns:
        The target, and the words after it. None: the environment names it.

    Raises:
        click.UsageError: There are too many words, or too few.
    """
    known = names.split()
    least = sum(not name.startswith("[") for name in known)
    typed = bool(words) and looks_like_target(words[0])
    if typed and TARGET in os.environ:
        typed = len(words) > least  # else it is a run whose id looks like a target
    target, rest = (words[0], list(words[1:])) if typed else (None, list(words))
    if not typed and TARGET not in os.environ:
        raise click.UsageError(f"name the TARGET, as in triage.py:graph: TARGET {names}")
    if not least <= len(rest) <= len(known):
        raise click.UsageError(f"these words are not TARGET {names}: {shlex.join(words)}")
    return target, rest


def looks_like_target(name: str) -> bool:
    """Tell a TARGET (`module:attr`, `path.py:attr`) from the id of a run."""
    where, _, attribute = name.rpartition(":")
    if _CHILD.search(name):
        return False
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

    def command(self, verb: str, run: str = "", *options: str, with_target: bool = False) -> str:
        """Write a command to type next.

        Args:
            verb: `show`, `resume`, ...
            run: The run; empty: none.
            options: Its options, unquoted.
            with_target: Whether the command takes the target.
        """
        target = [self.target] if with_target and self.target else []
        database = ["--db", self.database] if self.database else []
        words = in_order([*target, *([run] if run else [])], [*options, *database])
        return " ".join(map(word, ["graphflow", verb, *words]))


def place_of(target: str | None = None, own: str | None = None) -> Place:
    """Give the place of the command that runs.

    Args:
        target: As it was typed; None when it was not.
        own: The database of the target itself, when that is a flow.
    """
    context = click.get_current_context()
    typed = context.get_parameter_source("database") is ParameterSource.COMMANDLINE
    shown = None if target == os.environ.get(TARGET) else target
    return Place(shown, context.params["database"] if typed else own)
