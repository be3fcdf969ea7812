"""The colours of a drawing, on a light page and on a dark one."""

from dataclasses import dataclass, replace
from typing import Final

from graphflow.render.parts import PictureArrow, PictureNode

__all__ = [
    "CAPTION",
    "DARK",
    "FONTS",
    "LABEL_POINTS",
    "WARM",
    "Paint",
    "arrow_paint",
    "letters",
    "node_paint",
    "stylesheet",
]


@dataclass(frozen=True, slots=True)
class Paint:
    """How something is drawn. Colours are `#rrggbb`; `#rrggbbaa` lets the page shine through."""

    line: str
    text: str
    detail: str
    """The second line of a node; the reason under an answer."""
    fill: str = "none"
    pen: float = 1.4
    """Points."""
    dashed: bool = False
    dotted: bool = False
    bold: bool = True
    """Whether names and answers are."""


WARM: Final = "#b25b00"
"""What happened more than once: visits, retries, ways back."""
_WORDS: Final = "#44504c"
CAPTION: Final = "#5b6b66"

LABEL_POINTS: Final = 11
"""What Graphviz takes an arrow's letters to be: a little larger than they are, for some air."""

FONTS: Final[dict[str, tuple[float, bool]]] = {
    "sign": (12, True),
    "name": (12, True),
    "again": (11, False),
    "mark": (11, False),
    "detail": (9, False),
    "answer": (10, True),
    "reason": (9, False),
}
"""What is written on a node or arrow -> points, bold."""

_NODES: Final[dict[str, Paint]] = {
    "static": Paint("#44504c", "#12332b", "#5b6b66", pen=1.2),
    "ran": Paint("#1f6f5c", "#12332b", "#5b6b66", "#e7f4ef"),
    "gate": Paint(WARM, "#4a2600", "#8a4700", "#fff3e2"),
    "not_reached": Paint("#7f8b8773", "#7f8b87cc", "#7f8b87cc", "#7f8b870a", 1.0, bold=False),
    "failed": Paint("#b3261e", "#5f1410", "#8c1d18", "#fdecea", pen=1.8),
    "fell_back": Paint("#b3261e", "#5f1410", "#8c1d18", "#fdecea"),
    "over_budget": Paint("#6b4fa3", "#35245c", "#6b4fa3", "#f1ecfa"),
    "asking": Paint("#6b4fa3", "#35245c", "#6b4fa3", "#f1ecfa", pen=1.8, dashed=True),
    "paused": Paint("#6b4fa3", "#35245c", "#6b4fa3", "#f1ecfa", dashed=True),
    "next": Paint("#3f8f7c", "#12332b", "#5b6b66", "#f6fbf9", dashed=True),
}

_FRAME: Final = "#f7faf9"
_FRAMES: Final[dict[str, Paint]] = {
    "static": Paint("#9fb8ae", "#12332b", "#5b6b66", pen=1.2),
    "ran": Paint("#9fb8ae", "#12332b", "#5b6b66", _FRAME, 1.2),
    "not_reached": Paint("#7f8b8773", "#7f8b87cc", "#7f8b87cc", pen=1.0, bold=False),
    "failed": Paint("#b3261e", "#5f1410", "#8c1d18", _FRAME),
    "fell_back": Paint("#b3261e", "#5f1410", "#8c1d18", _FRAME),
    "over_budget": Paint("#6b4fa3", "#35245c", "#6b4fa3", _FRAME),
    "asking": Paint("#6b4fa3", "#35245c", "#6b4fa3", _FRAME, dashed=True),
    "paused": Paint("#6b4fa3", "#35245c", "#6b4fa3", _FRAME, dashed=True),
    "next": Paint("#3f8f7c", "#12332b", "#5b6b66", _FRAME, dashed=True),
}
"""The frame round a subgraph: quieter than the nodes in it."""

_ARROWS: Final[dict[str, Paint]] = {
    "static": Paint("#44504c", _WORDS, _WORDS, pen=1.2, bold=False),
    "ran": Paint("#1f6f5c", "#1f6f5c", _WORDS, pen=2.0),
    "back": Paint(WARM, WARM, _WORDS, pen=2.0),
    "untaken": Paint("#7f8b875c", "#7f8b87b0", "#7f8b87b0", pen=1.0, bold=False),
}

# Every colour above has one role, so that a dark page can exchange it by its name. What did not
# run has none here: it is half transparent, and so fainter than what ran on any page.
DARK: Final[dict[str, str]] = {
    "#44504c": "#b4c0bb",
    "#9fb8ae": "#55766a",
    "#f7faf9": "#14201c",
    "#12332b": "#e6efec",
    "#5b6b66": "#a3b5af",
    "#1f6f5c": "#57c2a4",
    "#e7f4ef": "#16332b",
    "#b25b00": "#f0a04b",
    "#4a2600": "#ffe9cf",
    "#8a4700": "#f3bd83",
    "#fff3e2": "#3a2a14",
    "#b3261e": "#ff8a80",
    "#5f1410": "#ffdad6",
    "#8c1d18": "#ffb4ab",
    "#fdecea": "#3d1917",
    "#6b4fa3": "#b9a1ec",
    "#35245c": "#ece4ff",
    "#f1ecfa": "#2a2140",
    "#3f8f7c": "#4fa890",
    "#f6fbf9": "#16211d",
}


def letters(colour: str) -> dict[str, str]:
    """Write a colour as SVG attributes of a text."""
    if len(colour) == len("#rrggbb"):
        return {"fill": colour}
    return {"fill": colour[:7], "fill-opacity": f"{int(colour[7:], 16) / 255:.2f}"}


def node_paint(node: PictureNode) -> Paint:
    """Choose the colours of a node; of a subgraph, those of the frame round it."""
    if node.inside is not None:
        return _FRAMES[node.state]
    return _NODES["gate" if node.kind == "gate" and node.state == "ran" else node.state]


def arrow_paint(arrow: PictureArrow) -> Paint:
    """Choose the colours of an arrow."""
    warm = arrow.state == "ran" and (arrow.back or arrow.fallback)
    paint = _ARROWS["back" if warm else arrow.state]
    pen = 3.0 if arrow.count > 1 else paint.pen
    return replace(paint, pen=pen, dashed=arrow.fallback, dotted=arrow.kind == "send")


def stylesheet() -> str:
    """Write the style that an SVG carries: the dark colours, and a rim around free texts.

    The rim has the colour of the page and is not seen there; on a page of the other kind (a dark
    notebook in a light browser) it keeps the texts readable.

    Returns:
        CSS whose every selector begins with `.graphflow`; it neither loads nor moves anything.
    """
    rim = "paint-order:stroke;stroke-width:2.5px;stroke-linejoin:round;stroke-opacity:.85"
    rules = [
        rule
        for light, dark in DARK.items()
        for rule in (
            f'.graphflow [fill="{light}"]{{fill:{dark}}}',
            f'.graphflow [stroke="{light}"]{{stroke:{dark}}}',
        )
    ]
    return (
        f".graphflow .free{{stroke:#fff;{rim}}}"
        "@media (prefers-color-scheme:dark){"
        f".graphflow .free{{stroke:#111}}{''.join(rules)}}}"
    )
