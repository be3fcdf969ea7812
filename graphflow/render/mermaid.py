"""A picture as a Mermaid flowchart, which JupyterLab and GitHub draw."""

from collections.abc import Iterator, Mapping
from typing import Final

from graphflow.render.labels import Line, arrow_lines, node_lines, plain
from graphflow.render.palette import Paint, arrow_paint, node_paint
from graphflow.render.parts import Picture, PictureArrow, PictureNode, walk

__all__ = ["to_mermaid"]

_SHAPES: Final = {
    "start": ("((", "))"),
    "end": ("(((", ")))"),
    "gate": ("{{", "}}"),
    "question": ("[/", "/]"),
    "map": ("[[", "]]"),
    "node": ("(", ")"),
    "graph": ("(", ")"),
}
_PLAIN: Final = frozenset(" .,:=+-_/!?·↻✓✗…→\N{MULTIPLICATION SIGN}\N{EN DASH}")


def to_mermaid(picture: Picture) -> str:
    """Write a picture as a Mermaid flowchart.

    Args:
        picture: What to draw.

    Returns:
        A `flowchart`; every character of a foreign text that Mermaid or HTML could read as its own
        is written as a numeric entity.
    """
    parts = list(walk(picture))
    keys = {node.id: f"n{i}" for i, node in enumerate(n for part in parts for n in part.nodes)}
    lines = [f"flowchart {picture.direction}"]
    if picture.summary:
        lines.insert(0, f"%% {_comment(f'{picture.title}: {picture.summary}')}")
    lines += _nodes(picture, keys, picture.direction, "    ")
    links = [(arrow, _ends(part, arrow, keys)) for part in parts for arrow in part.arrows]
    lines += [f"    {tail} {_link(arrow)} {head}" for arrow, (tail, head) in links]
    lines += [f"    {rule}" for rule in _node_rules(parts, keys)]
    lines += [f"    {rule}" for rule in _arrow_rules([arrow for arrow, _ in links])]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return text.replace("%%{", "% %{")  # that would begin a directive


def _escape(text: str) -> str:
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)


def _nodes(picture: Picture, keys: Mapping[str, str], direction: str, indent: str) -> Iterator[str]:
    for node in picture.nodes:
        if node.inside is None:
            yield f"{indent}{keys[node.id]}{_shape(node)}"
            continue
        # A title has room for one line
        title = _escape(" · ".join(map(plain, node_lines(node))))
        yield f'{indent}subgraph {keys[node.id]}["{title}"]'
        yield f"{indent}    direction {direction}"
        yield from _nodes(node.inside, keys, direction, f"{indent}    ")
        yield f"{indent}end"


def _ends(part: Picture, arrow: PictureArrow, keys: Mapping[str, str]) -> tuple[str, str]:
    """Say from where to where an arrow goes; a subgraph that leads to itself does so within it."""
    nodes = {node.name: node for node in part.nodes}
    source, target = nodes[arrow.source], nodes[arrow.target]
    if source is target and source.inside is not None:
        inner = source.inside.nodes
        return keys[inner[-1].id], keys[inner[0].id]
    return keys[source.id], keys[target.id]


def _shape(node: PictureNode) -> str:
    before, after = _SHAPES[node.kind]
    lines = node_lines(node)
    return f'{before}"{_join(lines) or " "}"{after}'


def _join(lines: list[Line]) -> str:
    return "<br/>".join(_escape(plain(line)) for line in lines)


def _link(arrow: PictureArrow) -> str:
    ran = "==>" if arrow.state == "ran" else "-->"
    line = "-.->" if arrow.fallback or arrow.kind == "send" else ran
    words = _join(arrow_lines(arrow))
    return f'{line}|"{words}"|' if words else line


def _node_rules(parts: list[Picture], keys: Mapping[str, str]) -> Iterator[str]:
    """Define a class per way in which nodes are drawn, and name its members."""
    members: dict[str, list[str]] = {}
    paints: dict[str, Paint] = {}
    for node in (node for part in parts for node in part.nodes):
        name = f"{node.kind}_{node.state}"
        paints[name] = node_paint(node)
        members.setdefault(name, []).append(keys[node.id])
    for name, paint in paints.items():
        disc = name.startswith("start") or name == "end_ran"
        fill = paint.line if disc else paint.fill if paint.fill != "none" else "transparent"
        # A static node has no fill, so its text must keep the colour of the page.
        text = "" if paint.fill == "none" else f",color:{paint.text}"
        dash = ",stroke-dasharray:5 3" if paint.dashed else ""
        line = f"stroke:{paint.line},stroke-width:{paint.pen:g}px"
        yield f"classDef {name} fill:{fill},{line}{text}{dash}"
        yield f"class {','.join(members[name])} {name}"


def _arrow_rules(arrows: list[PictureArrow]) -> Iterator[str]:
    styles: dict[str, list[str]] = {}
    for i, arrow in enumerate(arrows):
        paint = arrow_paint(arrow)
        style = f"stroke:{paint.line},stroke-width:{paint.pen:g}px"
        styles.setdefault(style, []).append(str(i))
    for style, places in styles.items():
        yield f"linkStyle {','.join(places)} {style}"
