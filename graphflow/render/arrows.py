"""How each arrow is shown: whether it ran, by which answer, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from graphflow.records import DecisionRecord
from graphflow.render.parts import ArrowState, PictureArrow
from graphflow.render.ranks import loops
from graphflow.render.shape import Shape
from graphflow.render.ways import OVER_BUDGET, Way
from graphflow.render.wording import clean, counted, label_of, one_line, step_list

__all__ = ["arrows_of"]

_TOLD = 6
"""Decisions told in a tooltip, the last ones."""


def arrows_of(
    shape: Shape,
    ids: list[str],
    straight: Collection[int],
    runs: int | None,
    untaken: str = "not taken",
) -> tuple[PictureArrow, ...]:
    """Make the arrows of a picture.

    Args:
        shape: The graph; its ways have been counted.
        ids: Of the arrows, for a page.
        straight: What `ranks.main_way` gave.
        runs: How many runs have been counted; None for the graph alone.
        untaken: What is said of an arrow that did not run.
    """
    return tuple(
        _arrow(way, ident, _Counted(runs, untaken), loop=loops(way, shape.rank), main=i in straight)
        for i, (way, ident) in enumerate(zip(shape.ways, ids, strict=True))
    )


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted for the arrows."""

    runs: int | None
    untaken: str


def _arrow(way: Way, ident: str, counted_in: _Counted, *, loop: bool, main: bool) -> PictureArrow:
    ran: ArrowState = "ran" if way.steps else "untaken"
    reason = one_line(way.decisions[-1][1].reason) if way.decisions else ""
    return PictureArrow(
        source=way.source,
        target=way.target,
        kind="send" if way.steps and way.sends == len(way.steps) else way.kind,
        state="static" if counted_in.runs is None else ran,
        id=ident,
        count=len(way.steps),
        order=tuple(way.steps),
        label=_label(way),
        reason=reason,
        loop=loop,
        back=loop or (way.gate and way.answer == "failed"),
        fallback=way.kind == "fallback",
        main=main,
        tooltip="\n".join(_tips(way, counted_in)),
    )


def _label(way: Way) -> str:
    if way.chosen:
        return label_of(way.target) if way.answer is None else one_line(way.answer)
    return way.answer or ("fallback" if way.kind == "fallback" else "")


def _tips(way: Way, counted_in: _Counted) -> list[str]:
    """Tell an arrow in full: where it leads, when it ran, and why."""
    answer = f" ({one_line(way.answer)})" if way.answer is not None else ""
    tips = [f"{label_of(way.source)} → {label_of(way.target)}{answer}"]
    if way.kind == "fallback":
        why = "its budget is used up" if way.answer == OVER_BUDGET else "it has failed for good"
        tips.append(f"instead of what follows {label_of(way.source)} when {why}")
    if way.steps:
        tips.append(_when(way, counted_in.runs or 1))
    elif counted_in.runs is not None:
        tips.append(counted_in.untaken)
    for step, decision in way.decisions[-_TOLD:]:
        tips += _decision_tips(step, decision)
    return list(dict.fromkeys(tips))


def _when(way: Way, runs: int) -> str:
    times = f", {len(way.steps)} times" if len(way.steps) > 1 else ""
    sends = f" ({counted(way.sends, 'Send')})" if way.sends else ""
    if runs > 1:
        return f"ran in {counted(runs, 'run')} of its graph{times}{sends}"
    once = sorted(set(way.steps))
    return f"ran in {'steps' if len(once) > 1 else 'step'} {step_list(once, 12)}{times}{sends}"


def _decision_tips(step: int, decision: DecisionRecord) -> list[str]:
    sure = "" if decision.confidence is None else f" · confidence {decision.confidence:g}"
    sure = "" if sure.rpartition(" ")[2] in decision.reason else sure
    tips = [f"step {step}, {one_line(decision.router)}: {clean(decision.reason)}{sure}"]
    for read in decision.evidence:
        value = "(large)" if read.value_json is None else one_line(read.value_json)
        since = "" if read.counter else f" (step {read.step})"
        tips.append(f"  {one_line(read.name)} = {value}{since}")
    return tips
