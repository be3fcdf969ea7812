"""What the documents say runs as it is written."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(text: str) -> list[str]:
    """Take the Python blocks out of a Markdown text."""
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_readme_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """The README's blocks, one after another, run in a fresh interpreter."""
    code = "\n".join(blocks(README))

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "(failed): it does not say sorry" in done.stdout
    assert "GF109 START cannot reach node 'typo'" in done.stdout
    assert (tmp_path / "runs.db").exists()


def timeless(text: str) -> list[str]:
    """Give the lines of a text without the times in it, and without what these push apart."""
    plain = re.sub(r"<?[\d.]+ m?s|\d\d:\d\d UTC", "T", text)
    return [" ".join(line.split()) for line in plain.splitlines() if line.strip()]


def test_readme_shows_what_is_printed(tmp_path: Path) -> None:
    """The printed run in the README is what print(run) gives, times aside."""
    code = blocks(README)[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    shown = re.search(r"^    triage · done.*?\n\n", README, re.DOTALL | re.MULTILINE)
    assert shown is not None
    assert timeless(shown.group()) == timeless(done.stdout)


def test_readme_names_commands_that_exist() -> None:
    """Every `graphflow COMMAND` of the README is a command."""
    from graphflow.cli.main import cli

    named = set(re.findall(r"^    graphflow (\w+) ", README, re.MULTILINE))

    assert named
    assert named <= set(cli.commands)


def test_query_of_the_readme(tmp_path: Path) -> None:
    """The query on decisions, read-only, shows a reason and evidence in every row."""
    subprocess.run([sys.executable, "-c", blocks(README)[0]], cwd=tmp_path, check=True)
    query = re.search(r'sqlite3 -table "(file:runs.db.*?)" "(.*?)"', README)
    assert query is not None

    where = query.group(1).replace("file:", f"file:{tmp_path}/")
    with closing(sqlite3.connect(where, uri=True)) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute(query.group(2)).fetchall()

    assert len(rows) == 3
    assert all(row["reason"] and row["evidence_json"] != "[]" for row in rows)


def test_every_document_speaks_of_files_that_exist() -> None:
    """Links in the documents lead to files."""
    for document in ROOT.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (ROOT / link).exists(), f"{document.name} links to {link}"


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    """Each notebook runs in a real kernel, draws its runs, and says the same when run again."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": tmp_path}}
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where)
    told = []
    with client.setup_kernel():
        for _ in range(2):
            for place, cell in enumerate(notebook.cells):
                client.execute_cell(cell, place)
            told.append([_told(cell) for cell in notebook.cells])
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]

    assert told[0] == told[1]
    drawn = ("image/svg+xml", "text/vnd.mermaid")
    assert sum(any(kind in out.get("data", {}) for kind in drawn) for out in outputs) >= 3


def _told(cell: Any) -> list[str]:
    """Give what a cell has put out; a busy kernel sends what is printed in several pieces."""
    return timeless("".join(map(_words, cell.get("outputs", ()))))


def _words(output: Any) -> str:
    """Give what a cell has put out, without the ids of runs."""
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return re.sub(r"\b01[0-9a-z]{24}\b", "ID", text)


def test_there_are_notebooks() -> None:
    """An empty folder would make the test above pass without running anything."""
    assert [path.stem for path in NOTEBOOKS] == ["01_design", "03_resume_and_fork"]
