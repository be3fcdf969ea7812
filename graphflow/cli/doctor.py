"""The command `doctor`: how the database fares, part by part."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from graphflow.cli.compiled import looked_at
from graphflow.cli.exits import Exit
from graphflow.cli.judged import judge_runs
from graphflow.cli.options import TARGET, database_option, json_option
from graphflow.cli.output import Output
from graphflow.cli.target import load_target
from graphflow.cli.words import aligned, on_a_line
from graphflow.errors import CheckpointCorruptError
from graphflow.render.wording import number
from graphflow.upkeep import Finding

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite import SqliteCheckpointer
    from graphflow.checkpoint.sqlite_health import Health

__all__ = ["Part", "doctor"]

_COLOURS = {"problem": "red", "warning": "yellow"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the report.

    Attributes:
        name: Its key in the JSON document.
        document: What it says there.
        lines: What it says to people.
        findings: What should be different; each problem makes the command end with exit code 1.
    """

    name: str
    document: Any
    lines: Sequence[str]
    findings: Sequence[Finding] = ()


@click.command()
@click.argument("target", metavar="[TARGET]", required=False)
@click.option("--verify", is_flag=True, help="Also read all that is stored, and look for damage.")
@database_option
@json_option
def doctor(target: str | None, verify: bool, database: str, as_json: bool) -> None:
    """Say how the database fares: SQLite's settings, its files and where they lie, its runs.

    With a TARGET (module:attr or path.py:attr; GRAPHFLOW_TARGET when it is left out) every open
    run of that graph is judged against today's code, before it is deployed: whether it can go on,
    what differs, and what to write. Of a compiled flow its own file is looked at, if --db names no
    other. Without any only the database is looked at. Nothing is changed.

    Exit code 1 when something is lost, or can be, or when a run could not go on; warnings do not
    count.
    """
    with Output(as_json=as_json) as out:
        parts = _parts(database, target or os.environ.get(TARGET), verify=verify)
        # What is damaged is seen in the list of runs already
        findings = list(dict.fromkeys(found for part in parts for found in part.findings))
        _tell(out, parts, findings)
    if any(found.kind == "problem" for found in findings):
        raise click.exceptions.Exit(Exit.FAILED)


def _parts(database: str, target: str | None, *, verify: bool) -> list[Part]:
    found = load_target(target) if target else None
    try:
        with looked_at(found, database) as store:
            parts = [_database(store)]
            if verify:
                parts.append(_verified(store))
            if target and found is not None:
                judged = judge_runs(target, found, store)
                parts.append(Part("judged", judged.document, judged.lines, judged.findings))
            return parts
    except CheckpointCorruptError as error:
        problem = Finding("problem", str(error), error.run_id, error.step)
        return [Part("database", {"path": database}, [f"{database} cannot be read"], [problem])]


def _tell(out: Output, parts: Iterable[Part], findings: Iterable[Finding]) -> None:
    document = {part.name: part.document for part in parts}
    out.json({**document, "findings": [asdict(found) for found in findings]})
    for part in parts:
        for line in part.lines:
            out.say(line)
    for found in findings:
        where = f" run {on_a_line(found.run_id)}" if found.run_id else ""
        where += f" step {found.step}" if found.step >= 0 else ""
        out.say(f"{found.kind}{where}: {found.words}", fg=_COLOURS[found.kind])


def _database(store: SqliteCheckpointer) -> Part:
    health = store.health()
    files = [
        {"path": str(file.path), "bytes": file.size, "mode": f"{file.mode:04o}"}
        for file in health.files
    ]
    document = {
        "path": str(store.path),
        "sqlite": health.sqlite,
        "journal_mode": health.journal_mode,
        "synchronous": health.synchronous,
        "page_size": health.page_size,
        "file_system": health.file_system,
        "files": files,
        "runs": health.runs,
        "wal_reset": health.wal_reset,
    }
    return Part("database", document, [*_lines(health)], health.findings)


def _verified(store: SqliteCheckpointer) -> Part:
    findings = list(store.verify())
    many = sum(found.kind == "problem" for found in findings)
    words = f"{number(many)} damaged" if many else "all that is stored is what was written"
    return Part("verify", {"problems": many}, [f"verified: {words}"], findings)


def _lines(health: Health) -> Iterable[str]:
    runs = ", ".join(f"{count} {status}" for status, count in sorted(health.runs.items()))
    settings = f"{health.journal_mode}, synchronous {health.synchronous}"
    rows = [
        ("sqlite", f"{health.sqlite}: {settings}, pages of {health.page_size} bytes"),
        ("file system", health.file_system or "the system does not say"),
        ("runs", runs or "none"),
        ("wal-reset", health.wal_reset),
        *((f"{file.path.name}", _told(file.size, file.mode)) for file in health.files),
    ]
    return aligned(rows, indent="")


def _told(size: int, mode: int) -> str:
    return f"{number(size)} bytes, mode {mode:04o}"
