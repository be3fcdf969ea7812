"""Finds the parts of a picture, for the tests of the renderer."""

from graphflow.records import RunRecords
from graphflow.render.picture import Picture, PictureArrow, PictureNode, picture
from graphflow.render.text import to_text


def of(records: RunRecords) -> Picture:
    """Make the picture of a run."""
    return picture(records.spec, records)


def node(drawn: Picture, path: str) -> PictureNode:
    """Find a node: `research/read` is in the subgraph `research`."""
    name, _, rest = path.partition("/")
    found = next(n for n in drawn.nodes if n.name == name)
    return node(found.inside, rest) if rest and found.inside else found


def arrow(drawn: Picture, source: str, target: str) -> PictureArrow:
    """Find the arrow between two nodes."""
    return next(a for a in drawn.arrows if (a.source, a.target) == (source, target))


def lines(records: RunRecords) -> list[str]:
    """Tell a run."""
    return to_text(of(records)).splitlines()
