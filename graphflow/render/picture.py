"""What a drawing shows, decided once: a graph, and the path that a run took through it."""

from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.names import END, START
from graphflow.records import DecisionRecord, RunRecords, wall_ms
from graphflow.render import ranks
from graphflow.render.history import tally
from graphflow.render.nodes import label_of, nodes_of
from graphflow.render.parts import Picture, PictureArrow, PictureNode, PictureStep
from graphflow.render.path import path_of
from graphflow.render.ways import Way, count, declared
from graphflow.render.wording import clean, counted, cut, one_line, step_list

__all__ = ["Picture", "PictureArrow", "PictureNode", "PictureStep", "picture"]

_LONGEST_ROW = 9
"""Arrows, START's and END's included, that go from left to right; longer graphs go downwards."""
_TOLD = 6
"""Decisions told in a tooltip, the last ones."""


def picture(spec: Mapping[str, Any], records: RunRecords | None = None) -> Picture:
    """Decide what a drawing shows.

    An arrow is shown as run when the records of the steps hold it, and only then; every arrow
    that the graph allows is shown, run or not.

    Args:
        spec: The graph, see `Definition.spec`.
        records: What a run of it did; None for the graph alone.

    Returns:
        A picture, for `dot`, `mermaid` and `text`.
    """
    ways = declared(spec)
    if records is not None:
        count(ways, records.steps)
    names = _names(spec, ways)
    rank = ranks.order(names, ways)
    longest, left = ranks.reaches(ways, rank)
    straight = ranks.main_way(ways, rank, left)
    nodes = nodes_of(spec, names, ways, rank, records)
    return Picture(
        title=one_line(str(spec.get("name") or "graph")),
        direction="LR" if longest <= _LONGEST_ROW else "TB",
        nodes=nodes,
        arrows=tuple(
            _arrow(way, drawn=records is not None, loop=ranks.loops(way, rank), main=i in straight)
            for i, way in enumerate(ways)
        ),
        status=records.header.status if records else "",
        summary=_summary(records, nodes) if records else "",
        path=path_of(records, nodes) if records else (),
    )


def _names(spec: Mapping[str, Any], ways: Sequence[Way]) -> list[str]:
    """List START, the nodes, what arrows name without its being a node (yet), and END."""
    named = [node["name"] for node in spec.get("nodes", ())]
    named += [end for way in ways for end in (way.source, way.target)]
    return [START, *dict.fromkeys(n for n in named if n not in (START, END)), END]


def _arrow(way: Way, *, drawn: bool, loop: bool, main: bool) -> PictureArrow:
    label = ""
    if way.chosen:
        label = label_of(way.target) if way.answer is None else one_line(way.answer)
    reason = one_line(way.decisions[-1][1].reason) if way.decisions else ""
    return PictureArrow(
        source=way.source,
        target=way.target,
        kind=way.kind,
        state=("ran" if way.steps else "untaken") if drawn else "static",
        count=len(way.steps),
        order=tuple(way.steps),
        label=label,
        reason=reason,
        loop=loop,
        back=loop or (way.gate and way.answer == "failed"),
        fallback=way.kind == "fallback",
        main=main,
        tooltip="\n".join(_tips(way, drawn=drawn)),
    )


def _tips(way: Way, *, drawn: bool) -> list[str]:
    """Tell an arrow in full: where it leads, when it ran, and why."""
    answer = f" ({one_line(way.answer)})" if way.answer is not None else ""
    tips = [f"{label_of(way.source)} → {label_of(way.target)}{answer}"]
    if way.steps:
        once = sorted(set(way.steps))
        times = f", {len(way.steps)} times" if len(way.steps) > 1 else ""
        word = "steps" if len(once) > 1 else "step"
        tips.append(f"ran in {word} {step_list(once, 12)}{times}")
    elif drawn:
        tips.append("not taken")
    for step, decision in way.decisions[-_TOLD:]:
        tips += _decision_tips(step, decision)
    return tips


def _decision_tips(step: int, decision: DecisionRecord) -> list[str]:
    sure = "" if decision.confidence is None else f" · confidence {decision.confidence:g}"
    sure = "" if sure.rpartition(" ")[2] in decision.reason else sure
    tips = [f"step {step}, {one_line(decision.router)}: {clean(decision.reason)}{sure}"]
    for read in decision.evidence:
        value = "(large)" if read.value_json is None else one_line(read.value_json)
        since = "" if read.counter else f" (step {read.step})"
        tips.append(f"  {one_line(read.name)} = {value}{since}")
    return tips


def _summary(records: RunRecords, nodes: Sequence[PictureNode]) -> str:
    """Say in one line how the run stands and what it took."""
    header = records.header
    steps = max(0, len(records.steps) - 1)
    parts = [header.status + _where(header.reason or "", nodes)]
    parts.append(counted(steps, "step"))
    parts.append(
        tally(sum(wall_ms(step.tasks) for step in records.steps), sum(n.tokens for n in nodes))
    )
    retries = sum(n.retries for n in nodes)
    if retries:
        parts.append(counted(retries, "retry"))
    return " · ".join(parts)


def _where(reason: str, nodes: Sequence[PictureNode]) -> str:
    """Say where a run stopped, and why if it paused."""
    failed = [node.label for node in nodes if node.state == "failed"]
    if failed:
        return f" at {cut(', '.join(failed), 40)}"
    paused = [node for node in nodes if node.state == "paused"]
    if paused:
        at = cut(", ".join(node.label for node in paused), 40)
        return f" before {at}" + (f" ({paused[0].why})" if paused[0].why else "")
    return f" ({cut(reason, 60)})" if reason else ""
