"""What a graph's spec says of a node before anything has run: its kind, and what it is bound to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graphflow.render.parts import NodeKind
from graphflow.render.wording import counted, cut, label_of, one_line

__all__ = ["declared_tips", "declared_words", "kind_of"]

_KINDS: Final[dict[str, NodeKind]] = {
    "gate": "gate",
    "question": "question",
    "map": "map",
    "graph": "graph",
}
Spec = Mapping[str, Any]


def kind_of(node: Spec | None) -> NodeKind:
    """Say what kind of node it is; of what is not defined, a plain one."""
    if not node:
        return "node"
    return "gate" if node.get("gate") else _KINDS.get(node.get("kind", ""), "node")


def declared_words(node: Spec) -> list[str]:
    """Say in a few words what a question asks for, and what a map runs on."""
    question, items = node.get("question"), node.get("map")
    if question:
        return [f"asks for {cut(one_line(question['into']), 20)}"]
    if items:
        over, into = cut(one_line(items["over"]), 14), cut(one_line(items["into"]), 14)
        return [f"each of {over} → {into}"]
    return []


def declared_tips(node: Spec | None) -> list[str]:
    """Tell where a gate leads, and what happens to a node that fails."""
    node = node or {}
    tips = []
    if gate := node.get("gate"):
        leads = [
            f"{answer} → {label_of(gate[answer])}"
            for answer in ("passed", "failed", "otherwise")
            if gate.get(answer) is not None
        ]
        tries = f", {counted(gate['tries'], 'try')}" if gate.get("tries") else ""
        tips.append(f"gate: {', '.join(leads)}{tries}")
    if inner := node.get("graph"):
        tips.append(f"graph {one_line(str(inner.get('name', '')))}")
    tips += [
        f"{what}: {label_of(node[name])}"
        for name, what in (("fallback", "fallback"), ("on_budget", "over budget"))
        if node.get(name)
    ]
    if isinstance(most := node.get("retry"), int):
        tips.append(f"retry: {counted(most, 'try')}")
    if node.get("timeout") is not None:
        tips.append(f"timeout: {node['timeout']:g} s")
    if node.get("effects"):
        tips.append(f"effects: {one_line(str(node['effects']))}")
    return tips
