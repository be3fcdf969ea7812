"""The commands that look at a graph: `draw` and `check`."""

from __future__ import annotations

from typing import Any

import click

from graphflow.cli.exits import Exit
from graphflow.cli.options import (
    database_option,
    json_option,
    looks_like_target,
    opened,
)
from graphflow.cli.output import Output
from graphflow.cli.target import load_target
from graphflow.errors import InvalidGraphError, TargetError
from graphflow.render.show import Drawing
from graphflow.run import Run
from graphflow.validate import Problem, find_problems

__all__ = ["check", "draw"]


@click.command()
@click.argument("what", metavar="[RUN|TARGET]", required=False)
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    help="Where to: FILE.svg, .html, .dot, .mmd or .txt. Without it, text is written to stdout.",
)
@database_option
@json_option
def draw(what: str | None, file: str | None, database: str, as_json: bool) -> None:
    """Draw the path that a run took, or a graph.

    RUN is the id of a run in the database, or a beginning that only its id has; it needs no code.
    With a TARGET (module:attr or path.py:attr) the graph itself is drawn.
    """
    with Output(as_json=as_json) as out:
        if what is None or looks_like_target(what):
            graph = load_target(what)
            _show(out, graph.draw(), file, {"graph": graph.name})
            return
        with opened(database) as store:
            run: Run[Any] = Run(store, store.find(what))
            named = {"run_id": run.run_id, "graph": run.records.header.graph}
            _show(out, run.draw(), file, named)


def _show(out: Output, drawing: Drawing, file: str | None, named: dict[str, str]) -> None:
    if file is None:
        if out.as_json:
            out.json({**named, "text": drawing.text})
        else:
            out.say(drawing.text)
        return
    try:
        path = drawing.save(file)
    except OSError as error:
        raise click.BadParameter(
            f"{file!r} cannot be written: {error.strerror}", param_hint="--output"
        ) from error
    out.say(f"wrote {path}")
    out.json({**named, "file": str(path)})


@click.command()
@click.argument("target", required=False)
@json_option
def check(target: str | None, as_json: bool) -> None:
    """Check a graph, and list all problems with what to do about them.

    TARGET is module:attr or path.py:attr; GRAPHFLOW_TARGET when it is left out. The exit code is
    1 when there are errors; warnings do not count.
    """
    with Output(as_json=as_json) as out:
        name, problems = _problems(target)
        errors = sum(problem.level == "error" for problem in problems)
        out.json(
            {
                "graph": name,
                "ok": not errors,
                "problems": [
                    {"code": p.code, "level": p.level, "message": p.message, "fix": p.fix}
                    for p in problems
                ],
            }
        )
        for problem in problems:
            out.say(f"{problem.level} {problem.code}: {problem.message}", fg=_colour(problem))
            out.say(f"  {problem.fix}")
        found = f"{errors} errors, {len(problems) - errors} warnings" if problems else "no problems"
        out.say(f"{name}: {found}" if name else found, bold=True)
    click.get_current_context().exit(Exit.FAILED if errors else Exit.DONE)


def _problems(target: str | None) -> tuple[str | None, list[Problem]]:
    try:
        found = load_target(target)
    except TargetError as error:
        # The module compiles its graph when it is imported, and that has said what is wrong
        cause = error.__cause__
        if isinstance(cause, InvalidGraphError):
            return None, [p for p in cause.problems if isinstance(p, Problem)]
        raise
    return found.name, find_problems(found.definition)


def _colour(problem: Problem) -> str:
    return "red" if problem.level == "error" else "yellow"
