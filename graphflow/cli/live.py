"""Tells the events of a run while it goes on: a line each, for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import singledispatch
from typing import Any

from graphflow.cli.asked import expected
from graphflow.cli.documents import decision_document, step_document, task_document
from graphflow.cli.output import Output
from graphflow.cli.words import decision_told
from graphflow.events import (
    AttemptEvent,
    CustomEvent,
    DecisionEvent,
    DoneEvent,
    Event,
    NodeEvent,
    QuestionEvent,
    RunEvent,
    StepEvent,
    TokenEvent,
)
from graphflow.render.wording import cut, duration

__all__ = ["Live"]

_VALUE = 160
"""Characters of a value; --json has all of it."""


class Live:
    """Writes what happens in a run as it happens.

    Args:
        out: Where to; with JSON, an object per line.
        run_id: The run; what happens in its subgraphs is told with their tasks.
    """

    def __init__(self, out: Output, run_id: str) -> None:
        self._out, self._run_id = out, run_id
        self._talking: tuple[str, str] | None = None

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if self._out.as_json:
            self._out.json(_document(event), indent=None)
        elif isinstance(event, TokenEvent):
            self._talk(event)
        else:
            self._hush()
            for line in _words(event):
                self._out.say(f"{self._where(event.run_id)}{line}")

    def _talk(self, event: TokenEvent) -> None:
        """Write a piece of a model's answer beside the one before it."""
        speaker = event.run_id, event.key
        if self._talking != speaker:
            self._hush()
            self._out.write(f"{self._where(event.run_id)}  {cut(event.key)}: ")
            self._talking = speaker
        self._out.write(event.text.replace("\n", " "))

    def _hush(self) -> None:
        if self._talking is not None:
            self._out.say()
            self._talking = None

    def _where(self, run_id: str) -> str:
        """Say in which subgraph something happens: the id of its run after that of this one."""
        inner = run_id.removeprefix(self._run_id).strip("/")
        return f"{cut(inner, 60)}  " if inner else ""


def _document(event: Event) -> dict[str, Any]:
    return {"type": event.type, "run_id": event.run_id, **_parts(event)}


@singledispatch
def _parts(event: Any) -> dict[str, Any]:
    found = asdict(event)
    del found["run_id"]
    return found


@_parts.register
def _(event: NodeEvent) -> dict[str, Any]:
    task = None if event.task is None else task_document(event.task)
    named = {"step": event.step, "key": event.key, "node": event.node}
    return {**named, "attempt": event.attempt, "task": task}


@_parts.register
def _(event: DecisionEvent) -> dict[str, Any]:
    return decision_document(event.step, event.decision)


@_parts.register
def _(event: StepEvent) -> dict[str, Any]:
    return step_document(event.step)


@_parts.register
def _(event: AttemptEvent) -> dict[str, Any]:
    return asdict(event.attempt)


@_parts.register
def _(event: QuestionEvent) -> dict[str, Any]:
    question = asdict(event.question)
    for name in [name for name in question if name.endswith("_json")]:
        text = question.pop(name)
        question[name.removesuffix("_json")] = None if text is None else json.loads(text)
    return {"id": event.question.id, **question}


@_parts.register
def _(event: CustomEvent) -> dict[str, Any]:
    return {"step": event.step, "key": event.key, "value": _plain(event.value)}


def _plain(value: Any) -> Any:
    """Give what a node told as JSON; what is none is told by its repr."""
    try:
        return json.loads(json.dumps(value, default=repr, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return repr(value)


@singledispatch
def _words(event: Any) -> Iterator[str]:
    raise AssertionError(f"{event!r} has no words")


@_words.register
def _(event: RunEvent) -> Iterator[str]:
    begins = "begins" if event.step < 0 else f"goes on after step {event.step}"
    yield f"{cut(event.graph)} {begins}"


@_words.register
def _(event: NodeEvent) -> Iterator[str]:
    again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    if event.task is None:
        yield f"  {cut(event.key)} begins{again}"
        return
    instead = f": {cut(event.task.fell_back)} runs instead" if event.task.fell_back else ""
    update = cut(event.task.update_json or "no update", _VALUE)
    yield f"  {cut(event.key)} {duration(event.task.duration_ms)}: {update}{instead}"


@_words.register
def _(event: AttemptEvent) -> Iterator[str]:
    failed = event.attempt
    if failed.is_over_budget:
        yield f"  {cut(failed.key)} stops: {cut(failed.error.partition(': ')[2], _VALUE)}"
        return
    error = cut(f"{failed.error_type}: {failed.error}", _VALUE)
    yield f"  {cut(failed.key)} failed (attempt {failed.attempt}): {error}"


@_words.register
def _(event: DecisionEvent) -> Iterator[str]:
    yield from (f"  {line}" for line in decision_told(event.decision))


@_words.register
def _(event: StepEvent) -> Iterator[str]:
    yield f"step {event.step.step} is committed"


@_words.register
def _(event: CustomEvent) -> Iterator[str]:
    value = json.dumps(_plain(event.value), ensure_ascii=False)
    yield f"  {cut(event.key)} says {cut(value, _VALUE)}"


@_words.register
def _(event: QuestionEvent) -> Iterator[str]:
    question = event.question
    told = f"{cut(question.prompt, _VALUE)} ({cut(expected(question), _VALUE)})"
    yield f"  {cut(question.id)} asks: {told}"


@_words.register
def _(event: DoneEvent) -> Iterator[str]:
    why = event.error or event.reason
    yield f"{event.status}{f': {cut(why, _VALUE)}' if why else ''}"
