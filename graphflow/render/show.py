"""The drawing that a cell shows: the best one that can be made here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from graphflow.errors import GraphvizMissingError, RenderError
from graphflow.render.dot import INSTALL, to_dot, to_svg
from graphflow.render.mermaid import to_mermaid
from graphflow.render.text import to_text

if TYPE_CHECKING:
    from os import PathLike

    from graphflow.render.parts import Picture

__all__ = ["Drawing"]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root{{color-scheme:light dark}}
body{{font:14px Helvetica,Arial,sans-serif;margin:24px}}
pre{{font-size:12px;line-height:1.5;overflow-x:auto}}
</style>
</head>
<body>
{svg}
<pre>{text}</pre>
</body>
</html>
"""


class Drawing:
    """A picture that shows itself: in a notebook, in a terminal, or as a file.

    Args:
        picture: What to show.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._svg: str | None = None

    @property
    def dot(self) -> str:
        """The source for Graphviz."""
        return to_dot(self.picture)

    @property
    def mermaid(self) -> str:
        """The source for Mermaid."""
        return to_mermaid(self.picture)

    @property
    def text(self) -> str:
        """The picture in words."""
        return to_text(self.picture)

    def svg(self) -> str:
        """Draw it.

        Returns:
            An SVG, from `<svg` on.

        Raises:
            GraphvizMissingError: There is neither `dot` nor the extra `wasm`.
            RenderError: Graphviz is there and failed.
        """
        if self._svg is None:
            self._svg = to_svg(self.picture)
        return self._svg

    def html(self) -> str:
        """Put the drawing and its words on one page, which needs nothing else.

        Raises:
            GraphvizMissingError: There is neither `dot` nor the extra `wasm`.
            RenderError: Graphviz is there and failed.
        """
        title = escape(self.picture.title)
        return _PAGE.format(title=title, svg=self.svg(), text=escape(self.text))

    def save(self, path: str | PathLike[str]) -> Path:
        """Write it to a file.

        Args:
            path: Its suffix says what is written: .svg, .html, .dot, .mmd or .txt.

        Returns:
            The path.

        Raises:
            RenderError: The suffix is another one, or the file cannot be written.
            GraphvizMissingError: .svg and .html need Graphviz, which is not there.
        """
        target = Path(path)
        makers: dict[str, Callable[[], str]] = {
            ".svg": self.svg,
            ".html": self.html,
            ".dot": lambda: self.dot,
            ".mmd": lambda: self.mermaid,
            ".txt": lambda: self.text + "\n",
        }
        make = makers.get(target.suffix.lower())
        if make is None:
            raise RenderError(
                f"cannot save a drawing as {target.name!r}: end the name in "
                f"{', '.join(list(makers)[:-1])} or {list(makers)[-1]}."
            )
        made = make()
        try:
            target.write_text(made, encoding="utf-8")
        except OSError as error:
            raise RenderError(f"{target} cannot be written: {error.strerror}.") from error
        return target

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(
        self,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Show it in a notebook: as SVG; without Graphviz as Mermaid, and say what to install."""
        try:
            bundle = {"image/svg+xml": self.svg(), "text/plain": self.text}
        except GraphvizMissingError:
            bundle = self._without_graphviz(INSTALL)
        except RenderError as error:
            bundle = self._without_graphviz(" ".join(str(error).split()))
        return {
            kind: shown
            for kind, shown in bundle.items()
            if (not include or kind in include) and (not exclude or kind not in exclude)
        }

    def _without_graphviz(self, why: str) -> dict[str, str]:
        return {"text/vnd.mermaid": self.mermaid, "text/plain": f"{self.text}\n{why}"}
