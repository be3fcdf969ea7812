"""The process of one peer: it is asked for a case in a line of JSON, and answers in one.

It stays up between the rounds, so that what a peer warms up once is warm. What a peer prints goes
to stderr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import traceback
from typing import Any

from benchmarks.measure import measured
from benchmarks.peer import Peer

__all__ = ["PEERS", "main", "peer_class"]

PEERS = {
    "graphflow": "Graphflow",
    "langgraph": "LangGraph",
    "burr": "Burr",
    "pydantic_graph": "PydanticGraph",
    "workflows": "Workflows",
    "floor": "Floor",
}
"""Name -> class, in the module `benchmarks.peers.NAME_peer`."""


def peer_class(name: str) -> type[Peer]:
    """Find an adapter; importing it imports the engine."""
    module = importlib.import_module(f"benchmarks.peers.{name}_peer")
    found: type[Peer] = getattr(module, PEERS[name])
    return found


def answer(peer: Peer, question: dict[str, Any]) -> dict[str, Any]:
    """Answer one question: `{"case": method, "n": n}`, or `{"about": true}`."""
    if "about" in question:
        versions = {name: importlib.metadata.version(name) for name in peer.packages}
        return {"versions": versions, "settings": peer.settings, "importing": peer.importing}
    method = getattr(peer, question["case"], None)
    if method is None:
        return {"missing": True}
    return {"facts": measured(method(question["n"]))}


def main(name: str, folder: str | None) -> None:
    """Answer until stdin ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer: Peer | None = None
    for line in sys.stdin:
        try:
            peer = peer or peer_class(name)(folder)
            said = answer(peer, json.loads(line))
        except Exception as error:  # noqa: BLE001 - the table says it, and the others go on
            traceback.print_exc()
            said = {"error": f"{type(error).__name__}: {error}"[:300]}
        out.write(json.dumps(said) + "\n")
        out.flush()
    if peer is not None:
        peer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
