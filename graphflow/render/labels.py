"""The lines that stand on nodes and arrows, and the names under which a page finds them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

from graphflow.render.parts import PictureArrow, PictureNode
from graphflow.render.wording import TIMES, counted, cut

__all__ = ["Run", "arrow_ids", "arrow_lines", "classes", "node_ids", "node_lines", "plain"]

Role = Literal["sign", "name", "again", "mark", "detail", "answer", "reason"]


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a line that is written in one way."""

    text: str
    role: Role


Line = list[Run]


def node_lines(node: PictureNode) -> list[Line]:
    """Write a node: its name and marks, then the small lines.

    Returns:
        No lines for START and END, which are discs.
    """
    if node.kind in ("start", "end"):
        return []
    asks = node.kind == "question"
    head = [Run("?", "sign")] if asks else []
    head.append(Run(f"{' ' * asks}{cut(node.label)}", "name"))
    if node.visits > 1 and not _told(node):
        head.append(Run(f" {TIMES}{node.visits}", "again"))
    if node.items is not None:
        head.append(Run(f" {counted(node.items, 'item')}", "mark"))
    if node.retries:
        head.append(Run(f" ↻{node.retries}", "again"))
    if node.mark:
        head.append(Run(f" {node.mark}", "mark"))
    return [head, *([Run(words, "detail")] for words in node.words)]


def _told(node: PictureNode) -> bool:
    """Whether the small lines count the visits already, as a gate's verdicts do."""
    return node.kind == "gate" and node.state == "ran"


def arrow_lines(arrow: PictureArrow) -> list[Line]:
    """Write an arrow: the answer and how often it ran, then why."""
    times = f"{TIMES}{arrow.count}" if arrow.count > 1 else ""
    head = [Run(cut(arrow.label), "answer")] if arrow.label else []
    if times:
        head.append(Run(f" {times}" if arrow.label else times, "again"))
    lines = [head] if head else []
    if arrow.state == "ran" and arrow.label and arrow.reason:
        lines.append([Run(cut(arrow.reason), "reason")])
    return lines


def plain(line: Line) -> str:
    """Write a line without its styles."""
    return "".join(run.text for run in line)


def classes(part: PictureNode | PictureArrow) -> str:
    """Name what a part is and how it stands, for style sheets: `gate ran`, `choice untaken`."""
    words = [part.kind, part.state]
    if isinstance(part, PictureNode):
        words += ["join"] * part.join + ["retried"] * bool(part.retries)
    else:
        words += ["back"] * part.back + ["again"] * (part.count > 1)
    return " ".join(words)


def node_ids(names: Iterable[str], within: str = "") -> list[str]:
    """Name each node for a page: `n-draft`.

    Args:
        names: The nodes of one graph.
        within: Of a subgraph, what the names begin with: `research.` gives `n-research.read`.
    """
    return _once(f"n-{within}{_slug(name)}" for name in names)


def arrow_ids(ends: Iterable[tuple[str, str]], within: str = "") -> list[str]:
    """Name each arrow for a page: `e-draft-quality`, and `e-draft-quality-2` for a second one.

    Args:
        ends: Source and target of each arrow of one graph.
        within: See `node_ids`.
    """
    return _once(f"e-{within}{_slug(s)}-{within}{_slug(t)}" for s, t in ends)


def _slug(name: str) -> str:
    """Spell a name without blanks, quotes and brackets; differently for different names."""
    if len(name) > 60:
        name = f"{name[:40]}_{crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    if name.isascii() and name.isidentifier():
        return name
    return "".join(c if c.isalnum() or c == "_" else f"_{ord(c):x}_" for c in name)


def _once(ids: Iterable[str]) -> list[str]:
    taken: set[str] = set()
    found = []
    for wanted in ids:
        name, k = wanted, 2
        while name in taken:
            name, k = f"{wanted}-{k}", k + 1
        taken.add(name)
        found.append(name)
    return found
