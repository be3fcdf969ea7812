"""What a browser would find in a drawing, for the tests of the renderer."""

import re
from collections import Counter
from xml.etree import ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"
_ARROW = re.compile(r"e-([\w.]+)-([\w.]+?)(?:-\d+)?")


def parse(svg: str) -> ET.Element:
    """Read an SVG as strict XML."""
    return ET.fromstring(svg)  # noqa: S314 - our own drawing


def groups(svg: str) -> dict[str, set[str]]:
    """List the nodes and arrows by id, with their classes."""
    return {
        g.get("id", ""): set(g.get("class", "").split())
        for g in parse(svg).iter(f"{SVG}g")
        if g.get("id", "").startswith(("n-", "e-"))
    }


def ran_in(svg: str) -> Counter[tuple[str, str]]:
    """Count the arrows that are drawn as run: by their class, and the count they carry.

    Those of a subgraph have names as `research.read`.
    """
    found: Counter[tuple[str, str]] = Counter()
    for group in parse(svg).iter(f"{SVG}g"):
        if {"edge", "ran"} <= set(group.get("class", "").split()):
            match = _ARROW.fullmatch(group.get("id", ""))
            assert match, group.get("id")
            found[match[1], match[2]] += int(group.get("data-count", "0"))
    return found


def texts(svg: str, name: str) -> list[str]:
    """Read the lines that stand on a node or arrow."""
    group = next(g for g in parse(svg).iter(f"{SVG}g") if g.get("id") == name)
    return ["".join(map(_run, text)) for text in group.iter(f"{SVG}text")]


def _run(span: ET.Element) -> str:
    return (" " if span.get("dx") else "") + (span.text or "")


def tooltip(svg: str, name: str) -> str:
    """Read what a node or arrow says when it is pointed at."""
    group = next(g for g in parse(svg).iter(f"{SVG}g") if g.get("id") == name)
    return group.findtext(f"{SVG}title") or ""
