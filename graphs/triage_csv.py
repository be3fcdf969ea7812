"""Runs the triage on any CSV file: some rows are tickets, the others the solved ones.

    python -m graphs.triage_csv --csv questions.csv --text question --label intent

The topics are the labels. A CSV holds no replies, so each solved ticket counts as answered with
the acknowledgement that the template would send.
"""

import argparse
import csv
import io
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from graphflow import GraphflowError
from graphflow.errors import did_you_mean
from graphflow.llm.client import ChatClient
from graphs.report import console_for, next_command, outcome, run_all, tell
from graphs.solved import Solved
from graphs.support_triage import ACKNOWLEDGEMENT, OUT, graph

__all__ = ["main", "read_rows", "split"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the CSV that has both a text and a label."""

    line: int
    text: str
    label: str


def main(arguments: list[str] | None = None) -> int:
    """Triage rows of a CSV.

    Returns:
        The exit code: 0 done, 1 a run failed or there is no model, 2 wrong usage, 3 paused.
    """
    asked = _parser().parse_args(arguments)
    try:
        rows = read_rows(asked.csv, asked.text, asked.label)
        tickets, solved = split(rows, asked.tickets)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    try:
        return _triage(asked.csv, tickets, solved)
    except (GraphflowError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graphs.triage_csv", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--csv", required=True, type=Path, help="the file, UTF-8 with a header")
    parser.add_argument("--text", required=True, help="the column that holds the texts")
    parser.add_argument("--label", required=True, help="the column that holds the topics")
    parser.add_argument("--tickets", type=int, default=20, help="how many rows are tickets")
    return parser


def read_rows(path: Path, text: str, label: str) -> list[Row]:
    """Read the rows that have both a text and a label.

    Args:
        path: The CSV file.
        text: The column of the texts.
        label: The column of the labels; `card_arrival` becomes the topic `card arrival`.

    Raises:
        OSError: The file cannot be read.
        ValueError: A column is missing, no row is complete, or it is no CSV in UTF-8.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}; save it as UTF-8 first") from error
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        columns = reader.fieldnames or ()
        for column in (text, label):
            if column not in columns:
                raise ValueError(f"{path} has no column {column!r}.{did_you_mean(column, columns)}")
        found = [Row(reader.line_num, *_cleaned(row, text, label)) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, after line {reader.line_num}: not CSV: {error}") from error
    rows = [row for row in found if row.text and row.label]
    if not rows:
        raise ValueError(f"{path} has no row with both {text!r} and {label!r}")
    return rows


def _cleaned(row: dict[str, str | None], text: str, label: str) -> tuple[str, str]:
    topic = " ".join((row[label] or "").replace("_", " ").split())
    return (row[text] or "").strip(), topic


def split(rows: list[Row], count: int) -> tuple[list[Row], list[Solved]]:
    """Take rows from all over the file as tickets, and the others as solved.

    A solved row with the text of a ticket is left out: the answer would be looked up, not found.

    Raises:
        ValueError: There are not enough rows.
    """
    if not 1 <= count < len(rows):
        raise ValueError(f"--tickets {count}: the file has {len(rows)} rows; leave some as solved")
    tickets = [rows[place * len(rows) // count] for place in range(count)]
    taken = {row.text for row in tickets}
    solved = [
        Solved(text=row.text, topic=row.label, reply=ACKNOWLEDGEMENT.format(topic=row.label))
        for row in rows
        if row.text not in taken
    ]
    if not solved:
        raise ValueError("no row is left as solved: all have the text of a ticket")
    return tickets, solved


def _triage(path: Path, tickets: list[Row], solved: list[Solved]) -> int:
    client = ChatClient.from_environment()
    OUT.mkdir(exist_ok=True)
    source = OUT / f"{path.stem}.solved.jsonl"
    lines = "".join(row.model_dump_json() + "\n" for row in solved)
    source.write_text(lines, encoding="utf-8")
    digest = sha256(f"{tickets}{lines}".encode()).hexdigest()[:16]  # another file is another batch
    inputs = [
        {"ticket": f"line {row.line}", "text": row.text, "solved": str(source)} for row in tickets
    ]
    ids = [f"csv-{digest}-{row.line}" for row in tickets]
    right = {f"line {row.line}": [row.label] for row in tickets}
    database, console = OUT / f"{path.stem}.runs.db", console_for()
    console.print(f"{len(tickets)} tickets, {len(solved)} solved; runs in {database}")
    with client, graph.compile(database, llm=client) as flow:
        runs = run_all(flow, inputs, ids, console)
        tell(runs, right, database, console)
        console.print(f"next: {next_command(runs[0], database)}")
        return outcome(runs, console)


if __name__ == "__main__":
    raise SystemExit(main())
