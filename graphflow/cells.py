"""Which notebook cell set what, so that running a cell again replaces it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from graphflow.definition import Definition

__all__ = ["Cells", "Part"]

Part: TypeAlias = tuple[str, ...]
"""("node", name), ("edge", source, target), ("router", source, name), ("migration", version) or
("renamed", "node" or "field", name)."""


class Cells:
    """Remembers the cells that set each part of a graph.

    A cell is known by the id that the notebook's front end sends along with its code. Where none
    is sent (a plain terminal), nodes and routers of the same name are replaced, and edges stay.
    """

    def __init__(self) -> None:
        self._owners: dict[Part, set[str]] = {}
        self._last_run: dict[str, str] = {}
        self._stale: dict[Part, str] = {}
        self._set_now: dict[Part, str] = {}

    def interactive(self) -> bool:
        """Tell whether this is a notebook or an interactive shell."""
        return _shell() is not None or hasattr(sys, "ps1")

    def claim(self, part: Part) -> None:
        """Note that the running cell sets a part; what it set when it ran before is stale now."""
        cell, run = _running_cell()
        if cell is None:
            return
        self._set_now[part] = run
        if self._last_run.get(cell) != run:
            self._last_run[cell] = run
            self._stale |= {old: cell for old, owners in self._owners.items() if cell in owners}
        self._owners.setdefault(part, set()).add(cell)
        if self._stale.get(part) == cell:
            del self._stale[part]

    def is_set_now(self, part: Part) -> bool:
        """Tell whether this very run of the running cell has set the part already."""
        cell, run = _running_cell()
        return cell is not None and self._set_now.get(part) == run

    def sweep(self, graph: Definition) -> bool:
        """Remove what a cell set before and did not set when it ran again.

        Returns:
            Whether there was anything.
        """
        gone = set()
        for part, cell in self._stale.items():
            owners = self._owners[part]
            owners.discard(cell)
            if not owners:
                del self._owners[part]
                gone.add(part)
        self._stale.clear()
        if gone:
            graph.nodes = {n: d for n, d in graph.nodes.items() if ("node", n) not in gone}
            kept = (e for e in graph.edges if ("edge", e.source, e.target) not in gone)
            graph.edges = dict.fromkeys(kept)
            graph.routers = [r for r in graph.routers if ("router", r.source, r.name) not in gone]
            _forget(graph, gone)
        return bool(gone)


def _forget(graph: Definition, gone: set[Part]) -> None:
    """Remove what was said of the graph's past."""
    changes = graph.changes
    for kind, *name in gone:
        if kind == "migration":
            changes.migrations.pop(int(name[0]), None)
        elif kind == "renamed":
            (changes.nodes if name[0] == "node" else changes.fields).pop(name[1], None)


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _running_cell() -> tuple[str | None, str]:
    """Give the running cell's id, and an id of this run of it."""
    get_parent = getattr(_shell(), "get_parent", None)
    message = get_parent() if get_parent is not None else None
    if not isinstance(message, Mapping):
        return None, ""
    cell = (message.get("metadata") or {}).get("cellId")
    return cell, str((message.get("header") or {}).get("msg_id", ""))
