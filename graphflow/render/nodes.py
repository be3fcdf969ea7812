"""How each node is shown: its state, and the few words that say what happened to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.names import END, START
from graphflow.records import DecisionRecord
from graphflow.render.declared import declared_tips, declared_words, kind_of
from graphflow.render.graphs import GONE
from graphflow.render.history import Facts, tally
from graphflow.render.parts import NodeKind, NodeState, Picture, PictureNode
from graphflow.render.questions import answer_words, asked_tips
from graphflow.render.stops import Stop, brief_error, full_error
from graphflow.render.ways import OVER_BUDGET, instead
from graphflow.render.wording import LABEL, clean, counted, cut, label_of, one_line, step_list

__all__ = ["Told", "ran_node", "static_node", "terminal", "verdict"]

_VERDICTS = 5  # of a gate, the last ones
_TOLD = 6  # of what happened several times, the last ones are in the tooltip


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of one node."""

    name: str
    id: str
    spec: Mapping[str, Any] | None
    """None: an arrow leads to it, but nobody has defined it (yet)."""
    sources: Sequence[str] | None = None
    """Of a join: where arrows may come from."""
    fact: Facts | None = None
    """None in the drawing of a graph alone."""
    stop: Stop | None = None
    inside: Picture | None = None
    several: bool = False
    """Its graph ran several times, within another."""
    begun: str = ""
    """When the run began."""


def verdict(decision: DecisionRecord) -> str:
    """Say what a gate found."""
    return "✓" if decision.answer == "passed" else "✗"


def terminal(name: str, ident: str, state: NodeState) -> PictureNode:
    """Show START or END."""
    kind: NodeKind = "start" if name == START else "end"
    return PictureNode(name, label_of(name), kind, state, ident, tooltip=label_of(name))


def static_node(told: Told, aimless: str | None) -> PictureNode:
    """Show a node to which nothing has happened; say what is still missing at it.

    Args:
        told: The node.
        aimless: The name of a router there that has no targets.
    """
    if told.name in (START, END):
        return terminal(told.name, told.id, "static")
    words = ["not defined"] if told.spec is None else declared_words(told.spec)
    if told.sources is not None:
        words.append("joins " + _sources(told.sources, told.sources))
    if aimless is not None:
        words.append(f"{cut(aimless)}: no targets")
    return PictureNode(
        told.name,
        label_of(told.name),
        kind_of(told.spec),
        "static",
        told.id,
        join=told.sources is not None,
        words=tuple(words),
        tooltip="\n".join([clean(told.name), *words, *declared_tips(told.spec)]),
        inside=told.inside,
    )


def ran_node(told: Told) -> PictureNode:
    """Show a node of a run."""
    fact, stop = told.fact or Facts(), told.stop
    fallen = bool(fact.fallen) and len(fact.fallen) == fact.last
    state: NodeState = "ran" if fact.steps else "not_reached"
    mark, words = "", _words(told, fact)
    if stop is not None:
        state, mark, words = stop.state, stop.mark, _stop_words(stop)
    elif fallen:
        over = _is_over(told, fact)
        state, mark = ("over_budget", OVER_BUDGET) if over else ("fell_back", "failed")
        words = [_fallen_words(told, fact)]
    if told.spec and told.spec.get(GONE):
        words.append("gone from the graph since")
    if fact.rounds and not stop:
        words.append("waited for " + _sources(fact.rounds[-1][1], told.sources or ()))
    return PictureNode(
        name=told.name,
        label=label_of(told.name),
        kind=kind_of(told.spec),
        state=state,
        id=told.id,
        join=told.sources is not None,
        visits=len(fact.steps),
        steps=tuple(fact.steps),
        items=fact.items,
        duration_ms=fact.ms,
        tokens=fact.tokens,
        retries=fact.retries,
        mark=mark,
        why=" · ".join(filter(None, (stop.words, stop.more))) if stop else "",
        words=tuple(words),
        tooltip="\n".join(_tips(told, fact)),
        inside=told.inside,
    )


def _sources(collected: Sequence[str], declared: Sequence[str]) -> str:
    """Name the sources of a join, or count them."""
    names = ", ".join(map(label_of, dict.fromkeys(collected)))
    if len(names) <= LABEL:
        return names
    of_all = len(set(declared))
    return f"{len(set(collected))} of {of_all}" if of_all > 1 else cut(names)


def _stop_words(stop: Stop) -> list[str]:
    """Say why a node stands in the open step, and in which step where that is not plain."""
    number = dict.fromkeys(("next", "again", "runs"), f"step {stop.step}")
    plain = f"{stop.step}" if stop.words else f"step {stop.step}"
    number |= {"failed": plain, "asks": plain}
    first = " · ".join(filter(None, (number.get(stop.mark, ""), stop.words)))
    return [words for words in (first, stop.more) if words]


def _when(told: Told, fact: Facts) -> str:
    """Say in which steps it ran; where its graph ran several times these say little."""
    return counted(fact.runs, "run") if told.several else step_list(fact.steps)


def _fallen_words(told: Told, fact: Facts) -> str:
    """Say why a fallback ran instead."""
    tries = sum(fact.fallen.values())
    part = f"{counted(fact.last, 'task')} · " if fact.last > 1 else ""
    times = f" · {tries} tries" if tries > 1 else ""
    why = "fell back" if fact.error is None else brief_error(fact.error)
    return f"{_when(told, fact)} · {part}{why}{times}"


def _is_over(told: Told, fact: Facts) -> bool:
    """Tell whether it was a budget that had another node run instead."""
    over = fact.error is not None and fact.error.is_over_budget
    return over or instead(told.spec or {}, fact.instead) == OVER_BUDGET


def _words(told: Told, fact: Facts) -> list[str]:
    if not fact.steps:
        return []
    verdicts = [
        verdict(d) if told.several else f"{step} {verdict(d)}"
        for step, d in fact.decisions
        if d.kind == "gate"
    ]
    if verdicts and kind_of(told.spec) == "gate":
        dots = "… " if len(verdicts) > _VERDICTS else ""
        return [dots + "\N{NO-BREAK SPACE} ".join(verdicts[-_VERDICTS:])]
    kept = " · kept" if fact.kept else ""
    own = [q for q in fact.questions if q.answer_json is not None]
    if own and kind_of(told.spec) == "question":
        by, answer = answer_words(own[-1], told.begun)
        return [f"{_when(told, fact)} · {by}{kept}", answer]
    tasks = f" · {fact.tasks} tasks" if fact.tasks > len(fact.steps) else ""
    fell = f" · {len(fact.fallen)} fell back" if fact.fallen else ""
    return [f"{_when(told, fact)}{tasks}{fell} · {tally(fact.ms, fact.tokens)}{kept}"]


def _tips(told: Told, fact: Facts) -> list[str]:
    """Tell a node in full."""
    tips = [clean(told.name), *declared_tips(told.spec)]
    if fact.steps:
        tips.append(_ran_tip(told, fact))
    for step, collected in fact.rounds[-_TOLD:]:
        missed = [s for s in dict.fromkeys(told.sources or ()) if s not in collected]
        without = f" (not {', '.join(map(label_of, missed))})" if missed else ""
        tips.append(f"step {step}: waited for {', '.join(map(label_of, collected))}{without}")
    tips += [
        f"step {step}: {one_line(d.router)} took no arrow: {clean(d.reason)}"
        for step, d in fact.decisions[-_TOLD:]
        if not d.chosen
    ]
    for question in fact.questions[-_TOLD:]:
        if question.answer_json is not None:
            tips += asked_tips(question)
    if fact.fallen and fact.error is not None:
        tips.append(f"fell back: {full_error(fact.error)}")
    if told.stop:
        tips.append(clean(told.stop.tooltip))
    return tips


def _ran_tip(told: Told, fact: Facts) -> str:
    retries = f" · {counted(fact.retries, 'retry')}" if fact.retries else ""
    kept = ", kept in the open step" if fact.kept else ""
    if told.several:
        steps = f"{counted(len(fact.steps), 'step')} of {counted(fact.runs, 'run')}"
    else:
        steps = ("steps " if len(fact.steps) > 1 else "step ") + step_list(fact.steps, 12)
    return f"ran in {steps}{kept} · {tally(fact.ms, fact.tokens)}{retries}"
