"""Draws a graph or a run for the faces that people touch."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from graphflow.records import RunRecords
from graphflow.render.picture import picture
from graphflow.render.show import Drawing

__all__ = ["draw"]


def draw(
    spec: Mapping[str, Any],
    records: RunRecords | None = None,
    path: str | PathLike[str] | None = None,
) -> Drawing:
    """Draw a graph, or the path that a run took through it.

    Args:
        spec: The graph, see `Definition.spec`.
        records: The run; None draws the graph alone.
        path: Where to save the drawing as well: .svg, .dot, .mmd, .txt or .html.

    Raises:
        RenderError: The drawing cannot be saved there.
    """
    drawing = Drawing(picture(spec, records))
    if path is not None:
        drawing.save(path)
    return drawing
