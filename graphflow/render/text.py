"""A picture in words, for a terminal without colours."""

from collections.abc import Iterator

from graphflow.render.parts import Picture, PictureArrow, PictureStep
from graphflow.render.wording import columns, cut, tallied

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
    before: dict[int, int | None] = {}
    for entry in picture.path:
        again = entry.step is not None and before.get(entry.depth) == entry.step
        rows += _entry(entry, again=again)
        before = {depth: step for depth, step in before.items() if depth < entry.depth}
        before[entry.depth] = entry.step
    yield from (f"graph changed {change}" for change in picture.changes)
    lines = _table(rows)
    if len(lines) > _HEAD + _TAIL:
        left_out = f"  ... {len(lines) - _HEAD - _TAIL} lines"
        lines = [*lines[:_HEAD], left_out, *lines[-_TAIL:]]
    yield from lines
    yield from _untaken(picture)


def _entry(entry: PictureStep, *, again: bool) -> Iterator[tuple[str, ...]]:
    """Tell an entry; in a subgraph its step stands beside its name, both set in.

    Args:
        entry: What to tell.
        again: Whether its step has been told already.
    """
    number = "" if entry.step is None else str(entry.step)
    shown, name = "" if again else number, cut(entry.label)
    if entry.depth:
        beside = "" if entry.step is None else f"{shown:<{len(number)}}  "
        shown, name = "", f"{'   ' * entry.depth}{beside}{name}"
    words = " · ".join(w for w in (entry.mark, entry.words) if w)
    together: dict[tuple[str, str], list[str]] = {}
    for taken in entry.taken:
        together.setdefault((taken.answer, taken.reason), []).append(taken.target)
    first, *more = [_taken(targets, *why) for why, targets in together.items()] or [""]
    yield shown, name, words, first
    for line in more:
        yield "", "", "", line


def _taken(targets: list[str], answer: str, reason: str) -> str:
    """Say where a node led, by which answer, and why."""
    names = tallied(cut(target) for target in targets if target)
    shown = ", ".join(names[:_TARGETS]) or "no arrow"
    more = f" and {len(names) - _TARGETS} more" if len(names) > _TARGETS else ""
    given = f" ({cut(answer)})" if answer else ""
    return f"→ {shown}{more}{given}" + (f": {cut(reason, 60)}" if reason else "")


def _untaken(picture: Picture) -> Iterator[str]:
    rows = list(_ways_left(picture, ""))
    if rows:
        yield f"{picture.untaken}:"
        yield from _table(rows)


def _ways_left(picture: Picture, within: str) -> Iterator[tuple[str, ...]]:
    """List what was not taken by the nodes that it leaves; of a subgraph only if that ran."""
    names = {node.name: node.label for node in picture.nodes}
    for node in picture.nodes:
        for arrow in picture.arrows:
            if arrow.source != node.name or arrow.state != "untaken":
                continue
            target = names[arrow.target]
            label = f"({cut(arrow.label)})" if arrow.label and arrow.label != target else ""
            yield f"{within}{cut(node.label)}", f"→ {cut(target)}", label
        if node.inside is not None and node.inside.nodes[0].state == "ran":
            yield from _ways_left(node.inside, f"{within}{cut(node.label)}/")


def _graph(picture: Picture) -> list[str]:
    """List the arrows by the nodes that they leave."""
    return _table(list(_leaving(picture, "")))


def _leaving(picture: Picture, indent: str) -> Iterator[tuple[str, ...]]:
    names = {node.name: node.label for node in picture.nodes}
    leaving: dict[str, list[PictureArrow]] = {node.name: [] for node in picture.nodes}
    for arrow in picture.arrows:
        leaving[arrow.source].append(arrow)
    for node in picture.nodes:
        special = node.kind not in ("start", "end", "node")
        shown = indent + cut(node.label) + f" ({node.kind})" * special
        notes = "; ".join(node.words)
        arrows = leaving[node.name]
        if not arrows and node.kind not in ("start", "end"):
            yield shown, "→ nothing", notes
        for i, arrow in enumerate(arrows):
            told = [_how(arrow, names[arrow.target]), notes if i == 0 else ""]
            target = f"→ {cut(names[arrow.target])}"
            yield shown if i == 0 else "", target, "; ".join(t for t in told if t)
        if node.inside is not None:
            yield from _leaving(node.inside, f"{indent}   ")


def _how(arrow: PictureArrow, target: str) -> str:
    """Say when an arrow is taken."""
    when = "if chosen" if arrow.label else ""
    if arrow.label and arrow.label != target:
        when = cut(arrow.label) if arrow.fallback else f"if {cut(arrow.label)}"
    return f"{when}, back" if when and arrow.loop else "back" if arrow.loop else when
