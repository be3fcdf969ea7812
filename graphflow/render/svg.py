"""The last touch on the SVG that Graphviz makes: letters, tooltips, size, and the dark page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from graphflow.render.labels import Line, arrow_lines, node_lines
from graphflow.render.palette import (
    CAPTION,
    FONTS,
    LABEL_POINTS,
    WARM,
    Paint,
    arrow_paint,
    letters,
    node_paint,
    stylesheet,
)
from graphflow.render.parts import Picture, walk
from graphflow.render.wording import cut

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["polish"]

_SCALE: Final = 1.25  # pixels a point: names are then as large as a notebook's text
_MIDDLE: Final = 0.35  # of the font size: from the middle of a line of letters to its base
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")


def polish(svg: str, picture: Picture) -> str:
    """Finish a drawing that Graphviz has laid out.

    Graphviz places plain texts; here each gets its letters. What was measured there with one font
    may be shown with another, so every line is anchored at its middle.

    Args:
        svg: What Graphviz wrote, XML prolog included.
        picture: What was drawn.

    Returns:
        One `<svg>` element of class `graphflow`, with a style sheet and tooltips of its own.
    """
    from xml.etree.ElementTree import fromstring, tostring

    root = fromstring(svg[svg.index("<svg") :])  # noqa: S314 - it is Graphviz's own output
    _without_namespaces(root)
    groups = {group.get("id", ""): group for group in root.iter("g")}
    for node in (node for part in walk(picture) for node in part.nodes):
        free = node_paint(node).fill == "none"
        _finish(groups[node.id], node.tooltip, node_lines(node), node_paint(node), free=free)
    for arrow in (arrow for part in walk(picture) for arrow in part.arrows):
        group = groups[arrow.id]
        if arrow.count:
            group.set("data-count", str(arrow.count))
        if arrow.kind == "send":
            _dot(group)
        free = arrow.state != "untaken"  # a rim would make it brighter than what ran
        _finish(group, arrow.tooltip, arrow_lines(arrow), arrow_paint(arrow), free=free)
    _frame(root, picture)
    return tostring(root, encoding="unicode")


def _without_namespaces(root: Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [n for n in element.attrib if n.startswith("{")]:
            del element.attrib[name]
        element.tail = None if not (element.tail or "").strip() else element.tail
        element.text = None if not (element.text or "").strip() else element.text


def _finish(group: Element, tooltip: str, lines: list[Line], paint: Paint, *, free: bool) -> None:
    """Give a node or arrow its tooltip, and its texts their letters."""
    for wrap in [child for child in group if child.tag == "g"]:
        at = list(group).index(wrap)
        group.remove(wrap)  # <g><a title>: a link to nowhere, which holds the tooltip
        for moved in [part for link in wrap for part in link]:
            group.insert(at, moved)
            at += 1
    title = group.find("title")
    if title is not None:
        title.text = tooltip
    texts = group.findall("text")
    kind = group.get("class", "").partition(" ")[0]
    if kind == "node":
        _centre(group, texts, lines)
    elif kind == "edge":
        _lift(texts, lines)
    anchor = "start" if kind == "cluster" else "middle"
    for text, line in zip(texts, lines, strict=False):
        if kind == "cluster":
            text.set("x", _left(group))
        _write(text, line, paint, anchor, free=free)


def _centre(group: Element, texts: list[Element], lines: list[Line]) -> None:
    """Place the lines of a node round the middle of its shape, whichever Graphviz drew it."""
    shape = next((part for part in group if part.tag in ("path", "polygon")), None)
    if shape is None:
        return
    numbers = [float(n) for n in _NUMBER.findall(shape.get("d") or shape.get("points") or "")]
    x = (min(numbers[::2]) + max(numbers[::2])) / 2
    y = (min(numbers[1::2]) + max(numbers[1::2])) / 2
    heights = [FONTS[line[0].role][0] * 1.2 for line in lines]
    top = y - sum(heights) / 2
    for text, line, height in zip(texts, lines, heights, strict=False):
        base = top + height / 2 + FONTS[line[0].role][0] * _MIDDLE
        text.attrib |= {"x": f"{x:.2f}", "y": f"{base:.2f}"}
        top += height


def _dot(group: Element) -> None:
    """Draw an arrow in round dots: those of Graphviz are too faint to be seen as a way that ran."""
    for line in group.iter("path"):
        line.attrib |= {"stroke-dasharray": "0.1,5", "stroke-linecap": "round"}


def _left(frame: Element) -> str:
    """Say where the label of a frame begins."""
    shape = next(part for part in frame if part.tag in ("path", "polygon"))
    numbers = _NUMBER.findall(shape.get("d") or shape.get("points") or "")
    return f"{min(map(float, numbers[::2])) + 9:.2f}"


def _lift(texts: list[Element], lines: list[Line]) -> None:
    """Keep the middle of each line of an arrow, and some air between the last one and the line."""
    for text, line in zip(texts, lines, strict=False):
        grown = FONTS[line[0].role][0] - LABEL_POINTS
        y = float(text.get("y", "0")) + grown * _MIDDLE - 1
        text.set("y", f"{y:.2f}")


def _write(text: Element, line: Line, paint: Paint, anchor: str, *, free: bool) -> None:
    """Replace a text by the runs of its line, where the text stands."""
    from xml.etree.ElementTree import SubElement

    colours = {
        "sign": paint.line,
        "name": paint.text,
        "again": WARM if paint.text != paint.line else paint.line,
        "mark": paint.line,
        "detail": paint.detail,
        "answer": paint.text,
        "reason": paint.detail,
    }
    place = {"text-anchor": anchor, "x": text.get("x", "0"), "y": text.get("y", "0")}
    text.attrib.clear()
    text.attrib |= place | ({"class": "free"} if free else {})
    text.text = None
    for run in line:
        size, bold = FONTS[run.role]
        span = SubElement(text, "tspan", {"font-size": f"{size:g}", **letters(colours[run.role])})
        if bold and paint.bold:
            span.set("font-weight", "bold")
        if run.text.startswith(" "):  # some viewers drop a blank at the beginning of a run
            span.set("dx", f"{size * 0.28:g}")
        span.text = run.text.removeprefix(" ")


def _frame(root: Element, picture: Picture) -> None:
    """Set the size, the style sheet, the caption and what a screen reader says."""
    from xml.etree.ElementTree import Element, SubElement

    words = f"{picture.title}: {picture.summary}" if picture.summary else picture.title
    x, y, wide, high = (float(part) for part in root.get("viewBox", "0 0 1 1").split())
    root.attrib.clear()
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "class": "graphflow",
        "role": "img",
        "aria-label": words,
        "width": f"{wide * _SCALE:.0f}",
        "height": f"{high * _SCALE:.0f}",
        "viewBox": f"{x:g} {y:g} {wide:g} {high:g}",
        "font-family": "Helvetica,Arial,sans-serif",
        "style": "max-width:100%;height:auto",
    }
    style = Element("style")
    style.text = stylesheet()
    root.insert(0, style)
    drawing = root.find("g")
    if drawing is None:
        return
    title = drawing.find("title")
    if title is not None:
        title.text = words
    caption = drawing.find("text")
    if caption is not None and picture.summary:
        caption.text = None
        caption.attrib |= {"class": "free", "fill": CAPTION, "text-anchor": "start", "x": "0"}
        name = SubElement(caption, "tspan", {"font-weight": "bold"})
        name.text = cut(picture.title, 60)
        SubElement(caption, "tspan", {"dx": "7"}).text = picture.summary
