"""How each node is shown: its state, and the few words that say what happened to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.names import END, START
from graphflow.records import DecisionRecord, RunRecords
from graphflow.render.history import Facts, Stop, facts_of, stops_of, tally
from graphflow.render.parts import NodeKind, NodeState, PictureNode
from graphflow.render.ranks import reaching
from graphflow.render.ways import Way
from graphflow.render.wording import LABEL, clean, counted, cut, one_line, step_list

__all__ = ["label_of", "nodes_of", "verdict"]

_VERDICTS = 5  # of a gate, the last ones


def label_of(name: str) -> str:
    """Say a node's name as it is shown."""
    return {START: "START", END: "END"}.get(name) or one_line(name) or "(no name)"


def verdict(decision: DecisionRecord) -> str:
    """Say what a gate found."""
    return "✓" if decision.answer == "passed" else "✗"


def nodes_of(
    spec: Mapping[str, Any],
    names: Sequence[str],
    ways: Sequence[Way],
    rank: Mapping[str, int],
    records: RunRecords | None,
) -> tuple[PictureNode, ...]:
    """Make the nodes of a picture.

    Args:
        spec: The graph, see `Definition.spec`.
        names: START, all nodes, END.
        ways: All arrows, counted.
        rank: What `ranks.order` gave.
        records: The run; None for the graph alone.

    Returns:
        One per name, in that order.
    """
    specs = {node["name"]: node for node in spec.get("nodes", ())}
    sources: dict[str, list[str]] = {}
    for way in ways:
        sources.setdefault(way.target, []).append(way.source)
    joins = {way.target for way in ways if way.kind == "join"}
    joins |= {name for name, node in specs.items() if node.get("defer")}
    waits = {name: sources.get(name, []) for name in joins - {END}}
    ended = any(way.target == END and way.steps for way in ways)
    if records is None:
        aimless = {r["source"]: r["name"] for r in spec.get("routers", ()) if not r.get("targets")}
        return tuple(_static(name, specs.get(name), waits, aimless.get(name)) for name in names)
    known = set(names)
    facts = facts_of(records, known)
    opened = records.steps[-1].step + 1 if records.steps else 0
    stops = _stops(records, known, ways, rank)
    told = (
        _Told(name, specs.get(name, {}), waits.get(name), facts.get(name, Facts()), stops.get(name))
        for name in names
    )
    return tuple(
        _terminal(t.name, records, ended=ended) if t.name in (START, END) else _ran(t, opened)
        for t in told
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of one node of a run."""

    name: str
    node: Mapping[str, Any]
    sources: Sequence[str] | None
    """Of a join: where arrows may come from."""
    fact: Facts
    stop: Stop | None


def _terminal(name: str, records: RunRecords | None, *, ended: bool = False) -> PictureNode:
    begun = bool(records and records.steps)
    state: NodeState = "static" if records is None else "not_reached"
    if begun and (ended or name == START):
        state = "ran"
    kind: NodeKind = "start" if name == START else "end"
    return PictureNode(name, label_of(name), kind, state, tooltip=label_of(name))


def _static(
    name: str,
    node: Mapping[str, Any] | None,
    waits: Mapping[str, Sequence[str]],
    aimless: str | None,
) -> PictureNode:
    """Show a node to which nothing has happened; say what is still missing at it."""
    if name in (START, END):
        return _terminal(name, None)
    words = ["not defined"] if node is None else []
    if name in waits:
        words.append("joins " + _sources(waits[name], waits[name]))
    if aimless is not None:
        words.append(f"{cut(aimless)}: no targets")
    tip = "\n".join([clean(name), *words, *_declared_tips(node or {})])
    return PictureNode(
        name,
        label_of(name),
        "gate" if node and node.get("gate") else "node",
        "static",
        join=name in waits,
        words=tuple(words),
        tooltip=tip,
    )


def _declared_tips(node: Mapping[str, Any]) -> list[str]:
    gate = node.get("gate")
    if not gate:
        return []
    leads = [
        f"{answer} → {label_of(gate[answer])}"
        for answer in ("passed", "failed", "otherwise")
        if gate.get(answer) is not None
    ]
    tries = f", {counted(gate['tries'], 'try')}" if gate.get("tries") else ""
    return [f"gate: {', '.join(leads)}{tries}"]


def _stops(
    records: RunRecords, known: set[str], ways: Sequence[Way], rank: Mapping[str, int]
) -> dict[str, Stop]:
    stops = stops_of(records, known)
    if not stops:
        return stops
    live = list(stops)
    for join, arrived in records.steps[-1].held.items():
        before = reaching(join, ways, rank)
        awaited = ", ".join(label_of(n) for n in live if n in before and n != join)
        has = ", ".join(label_of(source) for source, _ in arrived)
        words = f"has {cut(has, 20)}" + (f" · waits for {cut(awaited, 20)}" if awaited else "")
        stops.setdefault(
            join, Stop("next", "waits", words, f"join: has {has}, waits for {awaited}")
        )
    return stops


def _ran(told: _Told, opened: int) -> PictureNode:
    """Show a node of a run."""
    fact, stop = told.fact, told.stop
    gate = bool(told.node.get("gate"))
    words = _stop_words(stop, opened) if stop else _words(fact, gate=gate)
    if fact.rounds and not stop:
        words.append("waited for " + _sources(fact.rounds[-1][1], told.sources or ()))
    return PictureNode(
        name=told.name,
        label=label_of(told.name),
        kind="gate" if gate else "node",
        state=stop.state if stop else "ran" if fact.steps else "not_reached",
        join=told.sources is not None,
        visits=len(fact.steps),
        steps=tuple(fact.steps),
        duration_ms=fact.ms,
        tokens=fact.tokens,
        retries=fact.retries,
        mark=stop.mark if stop else "",
        why=stop.words if stop else "",
        words=tuple(words),
        tooltip="\n".join(_tips(told)),
    )


def _sources(collected: Sequence[str], declared: Sequence[str]) -> str:
    """Name the sources of a join, or count them."""
    names = ", ".join(map(label_of, dict.fromkeys(collected)))
    if len(names) <= LABEL:
        return names
    of_all = len(set(declared))
    return f"{len(set(collected))} of {of_all}" if of_all > 1 else cut(names)


def _stop_words(stop: Stop, opened: int) -> list[str]:
    """Say why a node stands in the open step, and in which step where that is not plain."""
    at = {"failed": f"{opened}", "next": f"step {opened}", "again": f"step {opened}"}
    return [" · ".join(words for words in (at.get(stop.mark, ""), stop.words) if words)]


def _words(fact: Facts, *, gate: bool) -> list[str]:
    if not fact.steps:
        return []
    verdicts = [f"{step} {verdict(d)}" for step, d in fact.decisions if d.kind == "gate"]
    if gate and verdicts:
        dots = "… " if len(verdicts) > _VERDICTS else ""
        return [dots + "\N{NO-BREAK SPACE} ".join(verdicts[-_VERDICTS:])]
    tasks = f" · {fact.tasks} tasks" if fact.tasks > len(fact.steps) else ""
    return [f"{step_list(fact.steps)}{tasks} · {tally(fact.ms, fact.tokens)}"]


def _tips(told: _Told) -> list[str]:
    """Tell a node in full."""
    fact = told.fact
    tips = [clean(told.name), *_declared_tips(told.node)]
    if fact.steps:
        retries = f" · {counted(fact.retries, 'retry')}" if fact.retries else ""
        steps = ("steps " if len(fact.steps) > 1 else "step ") + step_list(fact.steps, 12)
        tips.append(f"ran in {steps} · {tally(fact.ms, fact.tokens)}{retries}")
    for step, collected in fact.rounds[-6:]:
        missed = [s for s in dict.fromkeys(told.sources or ()) if s not in collected]
        without = f" (not {', '.join(map(label_of, missed))})" if missed else ""
        tips.append(f"step {step}: waited for {', '.join(map(label_of, collected))}{without}")
    tips += [
        f"step {step}: {one_line(d.router)} took no arrow: {clean(d.reason)}"
        for step, d in fact.decisions[-6:]
        if not d.chosen
    ]
    if told.stop:
        tips.append(clean(told.stop.tooltip))
    return tips
