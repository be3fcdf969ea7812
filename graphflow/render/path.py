"""The path of a run, node by node: the lines that stand in a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.names import START
from graphflow.records import (
    DecisionRecord,
    QuestionRecord,
    RunRecords,
    RunStatus,
    StepRecord,
    TaskRecord,
)
from graphflow.render.declared import kind_of
from graphflow.render.history import Tried, opened, tally, tokens_of, took, tried_in
from graphflow.render.parts import PictureStep, Taken
from graphflow.render.questions import answer_words
from graphflow.render.shape import Shape, shape_of
from graphflow.render.stops import Stop, status_within, stops_of
from graphflow.render.ways import OVER_BUDGET, Pending, decisions_of, instead
from graphflow.render.wording import clean, counted, label_of, node_of, one_line

__all__ = ["path_of"]


def path_of(
    records: RunRecords, spec: Mapping[str, Any], status: RunStatus, depth: int = 0
) -> Iterator[PictureStep]:
    """Tell the path of a run.

    Args:
        records: Of one run.
        spec: Its graph.
        status: How it stands; of a child see `status_within`.
        depth: In how many subgraphs it is.

    Yields:
        An entry per node and committed step, then those of the open step; after that of a
        subgraph's task, the path of its run.
    """
    told = _told(records, spec, status, depth)
    for step in records.steps:
        yield from _committed(told, step)
    yield from _open(told)


@dataclass(frozen=True, slots=True)
class _Told:
    """One run whose path is told."""

    records: RunRecords
    shape: Shape
    status: RunStatus
    depth: int
    tokens: Mapping[tuple[int, str], int]
    """(step, node) -> those of all its tasks, and of their subgraphs."""
    took: Mapping[tuple[int, str], float]
    """(step, node) -> milliseconds."""
    tried: Mapping[tuple[int, str], Tried]
    answers: Mapping[tuple[int, str], QuestionRecord]
    """(step, task) -> the last one that has been answered."""
    children: Mapping[tuple[int, str], RunRecords]


def _told(records: RunRecords, spec: Mapping[str, Any], status: RunStatus, depth: int) -> _Told:
    shape = shape_of(spec)
    tokens: defaultdict[tuple[int, str], int] = defaultdict(int)
    for call in records.calls:
        used = (call.input_tokens or 0) + (call.output_tokens or 0)
        tokens[call.step, node_of(call.key, shape.specs)] += used
    children = {}
    for child in records.children:
        at = child.header.parent_step or 0, child.header.parent_key or ""
        children[at] = child
        tokens[at[0], node_of(at[1], shape.specs)] += tokens_of(child)
    answers = {(q.step, q.key): q for q in records.questions if q.answer_json is not None}
    ms = took(records, lambda step, key: (step, node_of(key, shape.specs)))
    tried = tried_in(records)
    return _Told(records, shape, status, depth, tokens, ms, tried, answers, children)


def _committed(told: _Told, step: StepRecord) -> Iterator[PictureStep]:
    by_node = _by_node(step.tasks)
    taken = _taken(told.shape, step)
    if step.step == 0 and (told.depth == 0 or any(t.reason for t in taken[START])):
        yield PictureStep(0, "START", taken=tuple(taken[START]), depth=told.depth)
    for node, tasks in by_node.items():
        words = _words(told, step.step, tasks)
        yield PictureStep(
            step.step, label_of(node), "", words, tuple(taken[node]), depth=told.depth
        )
        yield from _inside(told, step.step, node, [task.key for task in tasks])


def _by_node(tasks: Iterable[TaskRecord]) -> dict[str, list[TaskRecord]]:
    found: defaultdict[str, list[TaskRecord]] = defaultdict(list)
    for task in tasks:
        found[task.node].append(task)
    return found


def _inside(told: _Told, step: int, node: str, keys: Sequence[str]) -> Iterator[PictureStep]:
    """Tell what ran in the subgraphs of a node's tasks."""
    for key in keys:
        child = told.children.get((step, key))
        if child is None:
            continue
        depth, spec = told.depth + 1, told.shape.specs.get(node, {}).get("graph") or child.spec
        if len(keys) > 1:
            ran = f"{child.header.status} · {counted(max(0, opened(child) - 1), 'step')}"
            yield PictureStep(None, one_line(key), "", ran, depth=depth)
            depth += 1
        yield from path_of(child, spec, status_within(child, told.records, told.status), depth)


def _taken(shape: Shape, step: StepRecord) -> defaultdict[str, list[Taken]]:
    decisions = decisions_of(step)
    pending = Pending(decisions)
    taken: defaultdict[str, list[Taken]] = defaultdict(list)
    for arrow in step.arrows:
        if arrow.kind == "fallback":
            node = shape.specs.get(arrow.source, {})
            answer = instead(node, arrow.target)
            taken[arrow.source].append(Taken(label_of(arrow.target), answer))
        else:
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


def _words(told: _Told, step: int, tasks: Sequence[TaskRecord]) -> str:
    """Say what the tasks of one node took, and what came of them."""
    at, spec = (step, tasks[0].node), told.shape.specs.get(tasks[0].node, {})
    used = tally(told.took.get(at, 0.0), told.tokens.get(at, 0))
    words = [] if kind_of(spec) == "question" else [used]
    if len(tasks) > 1:
        words.insert(0, counted(len(tasks), "task"))
    if items := [task.items for task in tasks if task.items is not None]:
        words.insert(0, counted(sum(items), "item"))
    tried = {task.key: told.tried.get((step, task.key), Tried()) for task in tasks}
    if retries := sum(tried[task.key].retries for task in tasks if task.fell_back is None):
        words.append(f"↻{retries}")
    for how, fallen in _fallen(spec, tasks).items():
        part = f"{len(fallen)} of {len(tasks)} " if len(tasks) > 1 else ""
        words.append(f"{part}{how}" + _tries(sum(tried[key].failures for key in fallen)))
    for task in tasks:
        if question := told.answers.get((step, task.key)):
            by, answer = answer_words(question, told.records.header.created_at)
            words.append(f"{answer} by {by}")
    return " · ".join(words)


def _fallen(spec: Mapping[str, Any], tasks: Sequence[TaskRecord]) -> dict[str, list[str]]:
    """List the tasks instead of which another node ran, by what came of them."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for task in tasks:
        if task.fell_back is not None:
            over = instead(spec, task.fell_back) == OVER_BUDGET
            found[OVER_BUDGET if over else "failed"].append(task.key)
    return found


def _tries(count: int) -> str:
    return f" · {count} tries" if count > 1 else ""


def _open(told: _Told) -> Iterator[PictureStep]:
    """Tell the open step in its order: what is kept, and where the run stands."""
    step, last = opened(told.records), told.records.steps[-1:]
    stops = stops_of(told.records, told.shape, told.status)
    kept = _by_node(told.records.kept)
    ready: defaultdict[str, list[str]] = defaultdict(list)
    for key in told.records.last.ready if last else ():
        ready[node_of(key, told.shape.rank)].append(key)
    for node in dict.fromkeys((*ready, *kept, *stops)):
        if node in stops:
            yield _stopped(stops[node], node, told.depth)
        elif node in kept:
            words = _words(told, step, kept[node])
            yield PictureStep(step, label_of(node), "kept", words, depth=told.depth)
        yield from _inside(told, step, node, ready[node])


def _stopped(stop: Stop, node: str, depth: int) -> PictureStep:
    words = " · ".join(filter(None, (stop.words, stop.more)))
    return PictureStep(stop.step, label_of(node), stop.mark, words, depth=depth)
