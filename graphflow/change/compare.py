"""What differs between the graph that a run is on and today's, as their specs tell it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from graphflow.change.names import Names
from graphflow.change.verdict import Finding
from graphflow.names import spelled

__all__ = ["alike", "differences"]

Spec = Mapping[str, Any]

_NODE: Final = {
    "kind": "it was a {old} and is a {new} now",
    "defer": "it waits for others in another way",
    "targets": "it may lead elsewhere",
    "gate": "its gate has changed",
    "graph": "its subgraph has changed",
    "map": "what it maps, or to what, has changed",
    "question": "its answer, or where that goes, has changed",
    "escalate": "what a person is asked when it has failed has changed",
    "passes": "what goes into its subgraph or comes out of it has changed",
    "fallback": "its fallback is another one",
    "on_budget": "what follows a used-up budget is another node",
    "retry": "it is retried otherwise",
    "timeout": "its timeout is another one",
    "effects": "its effects are declared otherwise",
    "code": "its code has changed",
}


_TOLD: Final = frozenset({"map", "question", "passes"})
"""Parts of which an earlier graphflow said less, or nothing: that is no difference."""


def differences(
    stored: Spec,
    today: Spec,
    nodes: Names,
    fields: Names,
    *,
    needed: Collection[str] = (),
    is_migrated: bool = False,
) -> Iterator[Finding]:
    """List what differs, none of which hinders a run by itself.

    Args:
        stored: The spec of the graph that the run is on.
        today: That of today's graph.
        nodes: What stored nodes are called today.
        fields: What stored fields are called today.
        needed: Stored nodes that are gone, of which more is said elsewhere: they are needed.
        is_migrated: Whether migrations say what becomes of values.
    """
    yield from _gone_fields(stored, today, fields, is_migrated=is_migrated)
    yield from _nodes(stored, today, (nodes, fields), needed)
    yield from _routers(stored, today, nodes)
    yield from _edges(stored, today, nodes)
    yield from _fields(stored, today, fields)


def _same(what: str, words: str) -> Finding:
    return Finding("compatible", what, words)


def _nodes(
    stored: Spec, today: Spec, called: tuple[Names, Names], needed: Collection[str]
) -> Iterator[Finding]:
    names, fields = called
    before = {node["name"]: node for node in stored.get("nodes", ())}
    now = {node["name"]: node for node in today.get("nodes", ())}
    found = set()
    for name, node in before.items():
        later = names.find(name)
        if later is None:
            if name not in needed:
                yield _same(f"node {name!r}", "it is gone; the run does not need it")
            continue
        found.add(later)
        if later != name:
            yield _same(f"node {name!r}", f"it is called {later!r} now")
        yield from _node(later, _renamed(node, names, fields), now.get(later, {}))
    for name in now.keys() - found:
        yield _same(f"node {name!r}", "it is new")


def _node(name: str, before: Spec, now: Spec) -> Iterator[Finding]:
    for part, words in _NODE.items():
        old, new = before.get(part), now.get(part)
        if _differ(part, old, new) and (part != "targets" or not now.get("gate")):
            yield _same(f"node {name!r}", words.format(old=old, new=new))


def alike(before: Sequence[Spec], now: Sequence[Spec]) -> bool:
    """Tell whether the same is said of the nodes of two graphs, as far as both say it."""
    return len(before) == len(now) and all(
        not any(_differ(part, old.get(part), new.get(part)) for part in old.keys() | new.keys())
        for old, new in zip(before, now, strict=True)
    )


def _differ(part: str, old: Any, new: Any) -> bool:
    if part in _TOLD:
        if old is None or new is None:  # then another part says more
            return False
        return any(old[name] != new[name] for name in old.keys() & new.keys())
    if part == "graph" and old and new:
        nodes = alike(old.get("nodes", ()), new.get("nodes", ()))
        return not nodes or {**old, "nodes": ()} != {**new, "nodes": ()}
    return bool(old != new)


def _renamed(node: Spec, names: Names, fields: Names) -> dict[str, Any]:
    """Give what is said of a node in the names of today, those of nodes and of fields."""
    found = dict(node)
    found["targets"] = [names.find(name) or name for name in node.get("targets", ())]
    if node.get("gate"):
        gate = node["gate"]
        found["gate"] = {
            word: value if word == "tries" else (names.find(value) or value)
            for word, value in gate.items()
        }
    for part in ("fallback", "on_budget"):
        if node.get(part):
            found[part] = names.find(node[part]) or node[part]
    for part in ("map", "question", "escalate"):
        if node.get(part):
            found[part] = {**node[part], **_of_fields(node[part], fields)}
    if node.get("passes"):
        found["passes"] = {**node["passes"], **_passed(node["passes"], fields)}
    return found


def _of_fields(said: Spec, fields: Names) -> dict[str, str]:
    """Name the fields that are read and written; a function that is there instead has no place."""
    told = {word: said.get(word) for word in ("over", "into")}
    return {word: _now(name, fields) for word, name in told.items() if name is not None}


def _passed(said: Spec, fields: Names) -> dict[str, Any]:
    """Name the fields of this graph that go into a subgraph, and those that come out of it."""
    found: dict[str, Any] = {}
    if isinstance(said.get("input"), Mapping):
        found["input"] = {inner: _now(name, fields) for inner, name in said["input"].items()}
    if isinstance(said.get("output"), Mapping):
        found["output"] = {_now(name, fields): inner for name, inner in said["output"].items()}
    return found


def _routers(stored: Spec, today: Spec, names: Names) -> Iterator[Finding]:
    before = {(_now(r["source"], names), r["name"]): r for r in stored.get("routers", ())}
    now = {(r["source"], r["name"]): r for r in today.get("routers", ())}
    for (source, name), router in before.items():
        what = f"router {name!r} after {spelled(source)!r}"
        other = now.get((source, name))
        if other is None:
            yield _same(what, "it is gone")
            continue
        answers = router["answers"]
        if answers is not None:
            answers = {answer: _now(name, names) for answer, name in answers.items()}
        if (_list(router["targets"] or (), names), answers) != (other["targets"], other["answers"]):
            yield _same(what, "it may lead elsewhere")
        if router["code"] != other["code"]:
            yield _same(what, "its code has changed")
    for source, name in now.keys() - before.keys():
        yield _same(f"router {name!r} after {spelled(source)!r}", "it is new")


def _edges(stored: Spec, today: Spec, names: Names) -> Iterator[Finding]:
    before = _kinds([*_list(edge[:2], names), edge[2]] for edge in stored.get("edges", ()))
    now = _kinds(today.get("edges", ()))
    for arrow in {**before, **now}:
        old, new = before.get(arrow), now.get(arrow)
        if old == new:
            continue
        what = f"edge {spelled(arrow[0])!r} -> {spelled(arrow[1])!r}"
        if old and new:
            words = "it is waited for now" if "join" in new else "it is not waited for any more"
        else:
            words = "it is gone" if old else "it is new"
        yield _same(what, words)


def _kinds(edges: Iterable[Sequence[str]]) -> dict[tuple[str, str], set[str]]:
    """Give the kinds of each arrow: a fixed one, one of a list of sources, or both."""
    found: dict[tuple[str, str], set[str]] = {}
    for source, target, kind in edges:
        found.setdefault((source, target), set()).add(kind)
    return found


def _gone_fields(
    stored: Spec, today: Spec, names: Names, *, is_migrated: bool
) -> Iterator[Finding]:
    """Find the fields that are gone; those first that may only have another name."""
    before = stored.get("state", {}).get("fields", {})
    now = today.get("state", {}).get("fields", {})
    known = {names.find(name) for name in before}
    new = {} if is_migrated else {name: now[name] for name in now if name not in known}
    found = []
    for name, field in before.items():
        if names.find(name) is None:
            like = [later for later in new if new[later].get("type") == field.get("type")]
            found.append((not like, _gone(name, like[0] if like else None)))
    yield from (finding for _, finding in sorted(found, key=lambda one: one[0]))


def _gone(name: str, like: str | None) -> Finding:
    words = "it is gone; steps that are stored keep it"
    if like is not None:
        words = (
            f"it is gone, and the run goes on without its value; {like!r} is new, of the same"
            " type, and begins with its default. If it was renamed, write"
            f' graph.renamed_field("{name}", "{like}")'
        )
    return _same(f"field {name!r}", words)


def _fields(stored: Spec, today: Spec, names: Names) -> Iterator[Finding]:
    before = stored.get("state", {}).get("fields", {})
    now = today.get("state", {}).get("fields", {})
    found = set()
    for name, field in before.items():
        later = names.find(name)
        if later is None:
            continue
        found.add(later)
        if later != name:
            yield _same(f"field {name!r}", f"it is called {later!r} now")
        yield from _field(later, field, now.get(later, {}))
    for name in now.keys() - found:
        yield _same(f"field {name!r}", "it is new")


def _field(name: str, before: Spec, now: Spec) -> Iterator[Finding]:
    # Specs of an earlier graphflow say nothing of the shape of a type
    part = "shape" if "shape" in before else "type"
    if before.get(part) != now.get(part):
        old, new = before.get("type"), now.get("type")
        said = f"it was {old} and is {new} now"
        if old == new:
            said = f"it is {new} still, but its default, a bound or a model in it has changed"
        yield _same(f"field {name!r}", said)
    if before.get("reducer") != now.get("reducer"):
        old, new = before.get("reducer") or "none", now.get("reducer") or "none"
        yield _same(f"field {name!r}", f"its reducer was {old} and is {new} now")


def _now(name: str, names: Names) -> str:
    return names.find(name) or name


def _list(found: Sequence[str], names: Names) -> list[str]:
    return [_now(name, names) for name in found]
