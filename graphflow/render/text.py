"""A picture in words, for a terminal without colours."""

from collections.abc import Iterator

from graphflow.render.parts import Picture, PictureArrow, PictureStep
from graphflow.render.wording import columns, cut

__all__ = ["to_text"]

_HEAD, _TAIL = 60, 60
"""Lines of a long path that are told at its beginning and at its end."""

_TARGETS = 6


def to_text(picture: Picture) -> str:
    """Say a picture in words.

    Args:
        picture: What to tell.

    Returns:
        Of a run, a line per node and step with what was decided there, then what was not taken;
        of a graph, its arrows. The last line has no line break.
    """
    head = f"{picture.title} · {picture.summary}" if picture.summary else picture.title
    body = _run(picture) if picture.status else _graph(picture)
    return "\n".join(line.rstrip() for line in [head, *body])


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Set rows in columns; a numeral stands at the right of the first."""
    if not rows:
        return []
    wide = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(_pad(cell, w) for cell, w in zip(row, wide, strict=True)) for row in rows
    ]


def _pad(cell: str, wide: int) -> str:
    space = " " * (wide - columns(cell))
    return space + cell if cell.isdecimal() else cell + space


def _run(picture: Picture) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    before = None
    for entry in picture.path:
        shown = str(entry.step) if entry.step != before else ""
        rows += _entry(entry, shown)
        before = entry.step
    lines = _table(rows)
    if len(lines) > _HEAD + _TAIL:
        left_out = f"  ... {len(lines) - _HEAD - _TAIL} lines"
        lines = [*lines[:_HEAD], left_out, *lines[-_TAIL:]]
    yield from lines
    yield from _untaken(picture)


def _entry(entry: PictureStep, shown: str) -> Iterator[tuple[str, ...]]:
    words = " · ".join(w for w in (entry.mark, entry.words) if w)
    together: dict[tuple[str, str], list[str]] = {}
    for taken in entry.taken:
        together.setdefault((taken.answer, taken.reason), []).append(taken.target)
    first, *more = [_taken(targets, *why) for why, targets in together.items()] or [""]
    yield shown, cut(entry.label), words, first
    for line in more:
        yield "", "", "", line


def _taken(targets: list[str], answer: str, reason: str) -> str:
    """Say where a node led, by which answer, and why."""
    shown = ", ".join(cut(target) for target in targets[:_TARGETS] if target) or "no arrow"
    more = f" and {len(targets) - _TARGETS} more" if len(targets) > _TARGETS else ""
    given = f" ({cut(answer)})" if answer else ""
    return f"→ {shown}{more}{given}" + (f": {cut(reason, 60)}" if reason else "")


def _untaken(picture: Picture) -> Iterator[str]:
    names = {node.name: node.label for node in picture.nodes}
    place = {name: i for i, name in enumerate(names)}
    untaken = (arrow for arrow in picture.arrows if arrow.state == "untaken")
    arrows = sorted(untaken, key=lambda arrow: place[arrow.source])
    if arrows:
        yield "not taken:"
        yield from _table([_ends(arrow, names) for arrow in arrows])


def _ends(arrow: PictureArrow, names: dict[str, str]) -> tuple[str, ...]:
    target = names[arrow.target]
    label = f"({cut(arrow.label)})" if arrow.label and arrow.label != target else ""
    return cut(names[arrow.source]), f"→ {cut(target)}", label


def _graph(picture: Picture) -> list[str]:
    """List the arrows by the nodes that they leave."""
    names = {node.name: node.label for node in picture.nodes}
    leaving: dict[str, list[PictureArrow]] = {node.name: [] for node in picture.nodes}
    for arrow in picture.arrows:
        leaving[arrow.source].append(arrow)
    rows: list[tuple[str, ...]] = []
    for node in picture.nodes:
        shown = cut(node.label) + " (gate)" * (node.kind == "gate")
        notes = "; ".join(node.words)
        arrows = leaving[node.name]
        if not arrows and node.kind not in ("start", "end"):
            rows.append((shown, "→ nothing", notes))
        for i, arrow in enumerate(arrows):
            told = [_how(arrow, names[arrow.target]), notes if i == 0 else ""]
            target = f"→ {cut(names[arrow.target])}"
            rows.append((shown if i == 0 else "", target, "; ".join(t for t in told if t)))
    return _table(rows)


def _how(arrow: PictureArrow, target: str) -> str:
    """Say when an arrow is taken."""
    if arrow.label and arrow.label != target:
        when = f"if {cut(arrow.label)}"
    else:
        when = "if chosen" if arrow.label else arrow.kind if arrow.fallback else ""
    return f"{when}, back" if when and arrow.loop else "back" if arrow.loop else when
