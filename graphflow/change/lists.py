"""Maps that are half done: whether an item is what it was when its result was stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphflow.change.moved import node_in
from graphflow.change.names import Names
from graphflow.change.updates import Updates
from graphflow.change.values import same_json
from graphflow.change.verdict import Finding
from graphflow.plan import Plan, PlanNode
from graphflow.records import RunRecords, Sent

__all__ = ["Lists"]

_Differs = Callable[[int], bool]


class Lists:
    """Compares what the maps of an open step run on with what they ran on.

    What is stored of an item has its index, and nothing of the item itself.

    Args:
        plan: Today's graph.
        nodes: What stored nodes are called today.
        spec: The graph that the items ran in.
        records: The run.
        opened: Its open step.

    Attributes:
        dropped: The items whose results no longer hold, by the keys that they are stored under.
        findings: Which maps run again, and why.
    """

    def __init__(
        self, plan: Plan, nodes: Names, spec: Mapping[str, Any], records: RunRecords, opened: int
    ) -> None:
        self._plan, self._nodes, self._records, self._opened = plan, nodes, records, opened
        self._spec = spec
        self.dropped: list[str] = []
        self.findings: list[Finding] = []

    def check(
        self,
        updates: Updates,
        before: Mapping[str, Sent],
        now: Mapping[str, Sent],
        done: set[str],
    ) -> None:
        """Find the items that are others now.

        Args:
            updates: The state before and after the change.
            before: What was sent to tasks, as it is stored.
            now: The same, in the words of today.
            done: The tasks that are complete, by the keys of today.
        """
        for key, stored in self._stored().items():
            name = self._nodes.find(node_in(key))
            node = self._plan.nodes.get(name) if name is not None else None
            later = self._nodes.key(key)
            if node is None or node.rules.map is None or later in done:
                continue
            views = _view(updates.before, before.get(key)), _view(updates.now, now.get(later))
            why, differs = self._compared(key, node, updates, *views)
            others = {ix: asked for ix, asked in stored.items() if differs(ix)}
            self.dropped += [f"{key}[{ix}]" for ix in sorted(others)]
            self.findings += _said(node.name, why, others)

    def _stored(self) -> dict[str, dict[int, bool]]:
        """Give the items of which anything is stored: map -> {index: whether it has asked}."""
        found: dict[str, dict[int, bool]] = {}
        for item in self._records.items:
            if item.step == self._opened:
                found.setdefault(item.key, {}).setdefault(item.ix, False)
        for records, has_asked in ((self._records.memos, False), (self._records.questions, True)):
            for one in records:
                key, bracket, ix = one.key.partition("[")
                if one.step == self._opened and bracket:
                    items = found.setdefault(key, {})
                    items[int(ix[:-1])] = items.get(int(ix[:-1]), False) or has_asked
        return found

    def _compared(
        self, key: str, node: PlanNode, updates: Updates, before: Any, now: Any
    ) -> tuple[str, _Differs]:
        """Say why items of a map may be others, and tell of one whether it is."""
        was = _of_node(self._spec, node_in(key)).get("map") or {}
        over = node.rules.map.over if node.rules.map is not None else ""
        find = updates.change.names.find
        if not isinstance(over, str):
            told = {find(name) or name: value for name, value in before.items()}
            today = _of_node(self._plan.spec, node.name).get("map") or {}
            is_known = was.get("over_code") == today.get("over_code")
            alike = is_known and all(
                same_json(value, now.get(name)) for name, value in told.items()
            )
            return "what it runs over is a function, and that or the state has changed", (
                lambda _ix: not alike
            )
        if find(str(was.get("over"))) != over:
            return f"it ran over {was.get('over')!r} and runs over {over!r} now", lambda _ix: True
        old, new = _list(before.get(str(was["over"]))), _list(now.get(over))
        return f"the items of {over!r} are others now", (
            lambda ix: ix >= min(len(old), len(new)) or not same_json(old[ix], new[ix])
        )


def _said(name: str, why: str, others: Mapping[int, bool]) -> Iterator[Finding]:
    what = f"map {name!r}"
    asked = sorted(ix for ix, has_asked in others.items() if has_asked)
    if asked:
        words = f"{why}, and item {asked[0]} has asked: that would be an answer about another item"
        fix = "Keep its list until the step is committed"
        yield Finding("migration", what, words, fix)
    elif others:
        ran = ", ".join(map(str, sorted(others)[:8])) + (", ..." if len(others) > 8 else "")
        some = "item" if len(others) == 1 else "items"
        words = f"{why}: it runs again without what is stored of {some} {ran}, which is dropped"
        yield Finding("compatible", what, words)


def _of_node(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give what the spec of a graph says of a node."""
    found = (node for node in spec.get("nodes", ()) if node["name"] == name)
    return next(found, {})


def _view(values: Mapping[str, Any], sent: Sent | None) -> dict[str, Any]:
    return {**values, **(json.loads(sent.input_json) if sent is not None else {})}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
