"""Makes what a TARGET names ready to run: a graph on a database, a flow on its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.place import checked_path
from graphflow.cli.options import Place, opened, place_of
from graphflow.cli.target import Target, load_target
from graphflow.errors import TargetError
from graphflow.flow import Flow
from graphflow.graph import StateGraph

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite import SqliteCheckpointer

__all__ = ["compiled", "looked_at"]


@contextmanager
def compiled(
    target: str | None, database: str, *, create: bool = False
) -> Iterator[tuple[Flow[Any], Place]]:
    """Give a flow, and say what the next command must name; afterwards it is closed.

    A graph is compiled on the database. A flow keeps its own: so it brings what a command line
    cannot say, as its deps and its breakpoints.

    Args:
        target: ``module:attr`` or ``path.py:attr``; None: the environment's.
        database: The file that --db names.
        create: Whether a database that is not there is made.

    Raises:
        TargetError: There is no graph by that name, it needs deps, or the flow keeps its records
            in memory.
        DatabaseUnavailableError: There is no such file.
        click.BadParameter: --db names another file than the flow's own.
    """
    found = load_target(target)
    if isinstance(found, StateGraph):
        _refuse_deps(found, target)
        flow, place = found.compile(_store(database, create=create)), place_of(target)
    else:
        own = _own_database(found, target, database, create=create)
        flow, place = found, place_of(target, own)
    with flow:
        yield flow, place


def _store(database: str, *, create: bool) -> Any:
    from graphflow.checkpoint.sqlite import SqliteCheckpointer

    return SqliteCheckpointer(database, create=create)


def _refuse_deps(graph: StateGraph[Any], target: str | None) -> None:
    declared = graph.definition.deps
    if declared is None:
        return
    where = (target or "path.py:graph").rpartition(":")[0]
    name = getattr(declared, "__name__", declared)
    raise TargetError(
        f"graph {graph.name!r} declares deps={name}, which a command line cannot give. Write"
        f" flow = graph.compile('graphflow.db', deps=...) beside it, and name that: {where}:flow"
    )


def _own_database(
    flow: Flow[Any], target: str | None, database: str, *, create: bool
) -> str | None:
    """Give the file of a flow; None when it keeps its runs elsewhere."""
    if isinstance(flow.store, MemoryCheckpointer):
        raise TargetError(
            f"{target or 'the target'} is a flow that keeps its runs in memory, where no other"
            " command finds them: compile it with a file, as graph.compile('graphflow.db')"
        )
    own = getattr(flow.store, "path", None)
    if _is_typed() and (own is None or not _same(own, database)):
        raise click.BadParameter(
            f"{target or 'the target'} is a flow, which keeps its runs in"
            f" {_shown(own) if own else repr(flow.store)}: leave --db out, or name the graph that"
            " it was compiled from",
            param_hint="--db",
        )
    if own is not None and not create:
        _store(own, create=False).close()
    return None if own is None else _shown(own)


@contextmanager
def looked_at(found: Target | None, database: str) -> Iterator[SqliteCheckpointer]:
    """Open a database to look at it: the file of a flow, if --db names no other.

    Args:
        found: The graph or flow that it is looked at for; None: there is none.
        database: The file that --db names.

    Raises:
        DatabaseUnavailableError: There is no such file.
    """
    from graphflow.checkpoint.sqlite import SqliteCheckpointer

    own = found.store if isinstance(found, Flow) and not _is_typed() else None
    if not isinstance(own, SqliteCheckpointer):
        with opened(database) as store:
            yield store
        return
    checked_path(own.path, create=False)
    try:
        yield own
    finally:
        own.close()


def _is_typed() -> bool:
    source = click.get_current_context().get_parameter_source("database")
    return source is ParameterSource.COMMANDLINE


def _shown(own: Path) -> str:
    cwd = Path.cwd()
    return str(own.relative_to(cwd) if own.is_relative_to(cwd) else own)


def _same(own: Path, database: str) -> bool:
    return own.expanduser().resolve() == Path(database).expanduser().resolve()
