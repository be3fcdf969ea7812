"""The commands that keep a database in order: `prune`, `delete` and `backup`."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click

from graphflow.cli.options import database_option, json_option, opened
from graphflow.cli.output import Output
from graphflow.cli.words import aligned, on_a_line
from graphflow.render.wording import counted, number
from graphflow.upkeep import Pruned, wish_of

__all__ = ["backup", "delete", "prune"]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHOWN = 20


class _Age(click.ParamType[timedelta]):
    """A time that is typed as a number and its unit: `30d`."""

    name = "age"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        found = re.fullmatch(r"(\d{1,6})([mhdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is no age: type 90m, 12h, 30d or 4w", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


_whole = click.IntRange(min=0)


@click.command()
@click.option("--keep", metavar="N", type=_whole, help="Keep the N newest runs of each graph.")
@click.option(
    "--older-than", metavar="AGE", type=_Age(), help="Drop runs that ended so long ago: 12h, 30d."
)
@click.option("--steps", metavar="N", type=_whole, help="Keep the N newest steps of each run.")
@click.option("--graph", metavar="NAME", help="Only runs of this graph.")
@click.option("--failed", is_flag=True, help="Drop runs that failed, too; they could be resumed.")
@click.option("--vacuum", is_flag=True, help="Then give the free space back to the disk.")
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@database_option
@json_option
def prune(
    *,
    keep: int | None,
    older_than: timedelta | None,
    steps: int | None,
    graph: str | None,
    failed: bool,
    vacuum: bool,
    dry_run: bool,
    database: str,
    as_json: bool,
) -> None:
    """Drop runs that are over, and the oldest steps of others.

    A run goes when it is done or cancelled, beyond the newest --keep and older than --older-than,
    as far as these are given. Open runs stay, and so do runs that a fork shares. With --steps each
    run that stays loses its oldest steps: it can be resumed as before, and read and forked at
    those that are left.
    """
    asks = (keep, older_than, steps) != (None, None, None)
    if not asks and not vacuum:
        raise click.UsageError("say what may go: --keep, --older-than or --steps")
    with Output(as_json=as_json) as out, opened(database) as store:
        pruned = Pruned()
        if asks:
            wish = wish_of(graph, older_than=older_than, keep=keep, steps=steps, failed=failed)
            pruned = store.prune(wish, dry_run=dry_run)
        freed = store.vacuum() if vacuum and not dry_run else None
        vacuumed = freed and asdict(freed)
        out.json({**asdict(pruned), "dry_run": dry_run, "vacuumed": vacuumed})
        for line in _told(pruned, dry_run=dry_run):
            out.say(line)
        if freed is not None:
            later = "; it gets shorter when nobody reads it any more" if freed.is_read else ""
            out.say(
                f"the file has {number(freed.after)} bytes, before {number(freed.before)}{later}"
            )


@click.command()
@click.argument("path", metavar="PATH")
@database_option
@json_option
def backup(path: str, database: str, as_json: bool) -> None:
    """Copy the database to PATH, where nothing may be, while runs go on.

    The copy is verified before it is there, and only its owner may read it.
    """
    with Output(as_json=as_json) as out, opened(database) as store:
        store.backup(path)
        size = Path(path).expanduser().stat().st_size
        out.json({"path": path, "bytes": size})
        out.say(f"{path} has all of {database}: {number(size)} bytes")


@click.command()
@click.argument("run", metavar="RUN")
@database_option
@json_option
def delete(run: str, database: str, as_json: bool) -> None:
    """Delete a run and the runs of its subgraphs, for good.

    RUN is its id, or a beginning that only its id has. A run that is being advanced, or that a
    fork shares, is not deleted.
    """
    with Output(as_json=as_json) as out, opened(database) as store:
        run_id = store.find(run)
        size = store.size(run_id)
        store.delete(run_id)
        out.json({"run_id": run_id, "bytes": size.bytes})
        out.say(f"run {run_id} is deleted: {number(size.bytes)} bytes")


def _told(pruned: Pruned, *, dry_run: bool) -> list[str]:
    would = "would be " if dry_run else ""
    lines = [f"  {on_a_line(run_id)}" for run_id in pruned.runs[:_SHOWN]]
    lines += ["  ..."] * (len(pruned.runs) > _SHOWN)
    rows = [(run_id, f"begins with step {first}") for run_id, first in pruned.cut.items()]
    lines += [*aligned(rows[:_SHOWN]), *["  ..."] * (len(rows) > _SHOWN)]
    lines += [f"  {on_a_line(run_id)}  is damaged, and was left" for run_id in pruned.damaged]
    if pruned.held:
        lines.append(f"{counted(len(pruned.held), 'run')} {would}kept: forks that stay share steps")
    what = ", ".join((counted(len(pruned.runs), "run"), counted(pruned.steps, "step")))
    lines.append(f"{what} and {number(pruned.bytes)} bytes {would}dropped")
    return lines
