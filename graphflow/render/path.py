"""The path of a run, node by node: the lines that stand in a terminal."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from graphflow.names import START
from graphflow.records import DecisionRecord, RunRecords, StepRecord, TaskRecord, wall_ms
from graphflow.render.history import node_of, tally
from graphflow.render.nodes import label_of
from graphflow.render.parts import PictureNode, PictureStep, Taken
from graphflow.render.ways import Pending, decisions_of
from graphflow.render.wording import clean, one_line

__all__ = ["path_of"]

Tokens = Mapping[tuple[int, str], int]


def path_of(records: RunRecords, nodes: Sequence[PictureNode]) -> tuple[PictureStep, ...]:
    """Tell the path of a run.

    Args:
        records: Of one run.
        nodes: Those of the picture; the ones with a mark stand in the open step.

    Returns:
        One entry per node and committed step, then those of the open step.
    """
    names = {node.name for node in nodes}
    tokens: defaultdict[tuple[int, str], int] = defaultdict(int)
    for call in records.calls:
        used = (call.input_tokens or 0) + (call.output_tokens or 0)
        tokens[call.step, node_of(call.key, names)] += used
    told = [entry for step in records.steps for entry in _committed(step, tokens)]
    return (*told, *_open(records, nodes, tokens))


def _committed(step: StepRecord, tokens: Tokens) -> Iterator[PictureStep]:
    by_node: defaultdict[str, list[TaskRecord]] = defaultdict(list)
    for task in step.tasks:
        by_node[task.node].append(task)
    if step.step == 0:
        by_node[START] = []
    taken = _taken(step)
    for node, tasks in by_node.items():
        words = _words(tasks, tokens.get((step.step, node), 0))
        yield PictureStep(step.step, label_of(node), "", words, tuple(taken[node]))


def _taken(step: StepRecord) -> dict[str, list[Taken]]:
    decisions = decisions_of(step)
    pending = Pending(decisions)
    taken: defaultdict[str, list[Taken]] = defaultdict(list)
    for arrow in step.arrows:
        why = pending.take(arrow)
        taken[arrow.source].append(_take(label_of(arrow.target), why, arrow.target))
    for decision in decisions:
        if not decision.chosen:
            taken[decision.source].append(_take("", decision))
    return taken


def _take(label: str, why: DecisionRecord | None, target: str = "") -> Taken:
    if why is None:
        return Taken(label)
    answer = "" if why.answer is None or why.answer == target else one_line(why.answer)
    return Taken(label, answer, clean(why.reason))


def _words(tasks: Sequence[TaskRecord], tokens: int) -> str:
    if not tasks:
        return ""
    words = tally(wall_ms(tasks), tokens)
    if len(tasks) > 1:
        words = f"{len(tasks)} tasks · {words}"
    retries = sum(max(0, task.attempts - 1) for task in tasks)
    return f"{words} · ↻{retries}" if retries else words


def _open(
    records: RunRecords, nodes: Sequence[PictureNode], tokens: Tokens
) -> Iterator[PictureStep]:
    opened = records.steps[-1].step + 1 if records.steps else 0
    marked = {node.name for node in nodes if node.mark}
    kept: defaultdict[str, list[TaskRecord]] = defaultdict(list)
    for task in records.kept:
        kept[task.node].append(task)
    for name, tasks in kept.items():
        if name not in marked:
            words = _words(tasks, tokens.get((opened, name), 0))
            yield PictureStep(opened, label_of(name), "kept", words)
    for node in nodes:
        if node.mark:
            yield PictureStep(opened, node.label, node.mark, node.why)
