"""Runs in words, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from graphflow.cli.asked import Asked, all_asked, expected
from graphflow.cli.why import last_traceback, why, why_run
from graphflow.names import END, START
from graphflow.records import DamagedHeader, DecisionRecord, ItemRecord, RunHeader, wall_ms
from graphflow.render.history import took
from graphflow.render.wording import (
    clean,
    columns,
    counted,
    cut,
    duration,
    number,
    one_line,
    tallied,
)
from graphflow.run import Run

__all__ = [
    "STYLES",
    "aligned",
    "asked_list",
    "decision_told",
    "details",
    "on_a_line",
    "question_told",
    "run_list",
    "step_count",
    "steps_told",
]

STYLES = {
    "done": "green",
    "failed": "red",
    "malformed": "red",
    "paused": "yellow",
    "stale": "yellow",
    "running": "cyan",
    "busy": "cyan",
    "cancelled": None,
}
"""The colour of each status."""

_VALUE = 160
"""Characters of a value; --json has all of it."""
_BREAKS = {ord(char): repr(char)[1:-1] for char in "\t\n\v\f\r"}
_ITEMS = 8
"""Items of a map that are told one by one."""


def step_count(header: RunHeader) -> str:
    """Say how many steps are committed, `1 step` or `5 steps`; step 0 is the input."""
    count = max(header.step, 0)
    return f"{count} step{'s' * (count != 1)}"


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> Iterator[str]:
    """Set rows in columns, each on a line: what would break one is spelled out."""
    if not rows:
        return
    rows = [[on_a_line(cell) for cell in row] for row in rows]
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield (indent + "  ".join(cells)).rstrip()


def on_a_line(text: str) -> str:
    r"""Spell out what is unseen, and what would break a line: `\n`, `\x1b`."""
    return clean(text, limit=len(text)).translate(_BREAKS)


def run_list(
    headers: Iterable[RunHeader],
    sizes: Mapping[str, int] | None = None,
    answered: Container[str] = (),
) -> list[str]:
    """Set runs in columns, one a line, under a head.

    Args:
        headers: The runs.
        sizes: The bytes of each, to be told with it.
        answered: Those that are paused at questions which are all answered.
    """
    rows = [
        (
            h.run_id,
            "damaged" if isinstance(h, DamagedHeader) else h.status,
            cut(h.graph),
            step_count(h),
            *([f"{number(sizes[h.run_id])} bytes"] if sizes else []),
            _time(h.created_at),
            one_line(h.error or "")
            if isinstance(h, DamagedHeader)
            else cut(why(h, asks=h.run_id not in answered), 60),
        )
        for h in headers
    ]
    head = ("run", "status", "graph", "", *([""] if sizes else []), "begun (UTC)", "")
    return list(aligned([head, *rows], indent=""))


def asked_list(found: Iterable[Asked]) -> list[str]:
    """Set open questions in columns, one a line, under a head."""
    rows = [
        (
            one.header.run_id,
            cut(one.key),
            cut(one.question.prompt, 60),
            _time(one.question.asked_at),
            _time(one.question.deadline) if one.question.deadline else "",
        )
        for one in found
    ]
    head = ("run", "key", "prompt", "asked (UTC)", "deadline (UTC)")
    return list(aligned([head, *rows], indent=""))


def question_told(asked: Asked) -> Iterator[str]:
    """Tell one question: its words, what an answer may be, and what came of it."""
    question = asked.question
    yield f"{asked.key}: {question.prompt}"
    if question.answer_json is not None:
        by = f"{question.answered_by or 'somebody'}, {_time(question.answered_at or '')} UTC"
        yield f"  {cut(question.answer_json, _VALUE)} ({by})"
        return
    if not asked.is_open:
        yield "  was not answered"
        return
    yield f"  an answer: {cut(expected(question), 400)}"
    if question.deadline is not None:
        default = cut(question.default_json or "null", 60)
        yield f"  until {_time(question.deadline)} UTC, then {default}"


def details(run: Run[Any]) -> Iterator[str]:
    """Say what the table of a run leaves out: reasons, questions, failed attempts, calls, state."""
    records = run.records
    yield from _section("fork", _fork(records.header))
    yield from _section(f"open step {run.steps[-1].step + 1}", aligned([*run.open.items()]))
    asked = (line for one in all_asked(records) for line in question_told(one))
    yield from _section("questions", (f"  {line}" for line in asked))
    trace = [f"  | {line}" for line in last_traceback(run).splitlines()]
    yield from _happened(run, trace)
    yield from _section(f"state after step {run.steps[-1].step}", _values(run.values))


def _happened(run: Run[Any], trace: Iterable[str] = ()) -> Iterator[str]:
    """Say what happened in a run, and, set in, in the runs of its subgraphs."""
    yield from _section("decisions", _decisions(run))
    yield from _section("items", _items(run))
    yield from _section("failed attempts", [*_attempts(run), *trace])
    yield from _section("model calls", _calls(run))
    yield from _section("subgraphs", _children(run))


def _children(run: Run[Any]) -> Iterator[str]:
    for key, child in run.children.items():
        header = child.records.header
        words = [cut(key, _VALUE), cut(header.graph), header.status, step_count(header)]
        yield f"  {'  '.join(filter(None, [*words, cut(why_run(child), 60)]))}"
        yield from (f"    {line}" for line in _happened(child) if line)
        yield from (f"    {line}" for line in _section("state", _values(child.values)) if line)


def _fork(header: RunHeader) -> Iterator[str]:
    if header.fork_of is None:
        return
    yield f"  of {header.fork_of} at step {header.fork_step}"
    made = json.loads(header.fork_json or "{}")
    yield from _values(made.get("update") or {})
    yield from aligned([(cut(n), f"-> {_value(to)}") for n, to in made.get("choose", {}).items()])


def _items(run: Run[Any]) -> Iterator[str]:
    """Tell the first items of each map, and how many there are."""
    maps: dict[tuple[int, str], list[ItemRecord]] = {}
    for item in run.records.items:
        maps.setdefault((item.step, item.key), []).append(item)
    for (step, key), items in maps.items():
        count = counted(len(items), "item")
        yield f"  step {step}  {cut(key)}  {count}  {duration(wall_ms(items))}"
        rows = [
            (
                f"[{i.ix}]",
                cut(i.result_json, _VALUE),
                duration(i.duration_ms),
                f"attempt {i.attempts}" if i.attempts > 1 else "",
            )
            for i in items[:_ITEMS]
        ]
        yield from aligned(rows, indent="    ")
        if len(items) > _ITEMS:
            yield f"    ... {len(items) - _ITEMS} more; --json has all"


def steps_told(run: Run[Any]) -> Iterator[str]:
    """Say of each step what ran, what it changed, and what was decided; of subgraphs set in."""
    times = took(run.records, lambda step, _: step)
    for step in run.steps:
        nodes = ", ".join(cut(task.key) for task in step.tasks) or "input"
        ms = times.get(step.step, 0.0)
        yield f"step {step.step}  {nodes}" + (f"  {duration(ms)}" if step.tasks else "")
        yield from _steps_within(run, step.step)
        rows = _changed(run, step.step)
        yield from aligned(rows)
        yield from (f"  {line}" for one in step.decisions for line in decision_told(one))
    if run.open:
        yield f"step {run.steps[-1].step + 1}  is open"
        yield from aligned([*run.open.items()])
        yield from _steps_within(run, run.steps[-1].step + 1)


def _changed(run: Run[Any], step: int) -> Sequence[tuple[str, str]]:
    """Tell what a step changed; of the first one that is there, the whole state."""
    if step == run.steps[0].step:
        return [(cut(name), _value(value)) for name, value in run.values_at(step).items()]
    changed = run.diff(step).items()
    return [(cut(name), f"{_value(old)} -> {_value(new)}") for name, (old, new) in changed]


def _steps_within(run: Run[Any], step: int) -> Iterator[str]:
    for key, child in run.children.items():
        number, _, task = key.partition(":")
        if int(number) == step:
            yield f"  in {cut(task)}:"
            yield from (f"    {line}" for line in steps_told(child))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    told = list(lines)
    if told:
        yield ""
        yield title
        yield from told


def _decisions(run: Run[Any]) -> Iterator[str]:
    for step in run.steps:
        for decision in step.decisions:
            first, *more = decision_told(decision)
            yield f"  step {step.step}  {first}"
            yield from (f"  {line}" for line in more)


def decision_told(decision: DecisionRecord) -> Iterator[str]:
    """Tell one decision: what was chosen and why, and what was read for it."""
    names = (_end(to if isinstance(to, str) else to.node) for to in decision.chosen)
    chosen = ", ".join(tallied(names)) or "nothing"
    answer = f" ({cut(decision.answer)})" if decision.answer is not None else ""
    sure = f" [confidence {decision.confidence:g}]" if decision.confidence is not None else ""
    yield f"{_end(decision.source)} -> {chosen}{answer}: {cut(decision.reason, _VALUE)}{sure}"
    read = ", ".join(
        f"{cut(e.name)} = {'...' if e.value_json is None else cut(e.value_json, 60)}"
        + ("" if e.counter else f" (step {e.step})")
        for e in decision.evidence
    )
    if read:
        yield f"  read {read}"


def _attempts(run: Run[Any]) -> Iterator[str]:
    rows = [
        (
            f"step {a.step}",
            cut(a.key),
            f"attempt {a.attempt}",
            duration(a.duration_ms),
            cut(f"{a.error_type}: {a.error}", _VALUE),
        )
        for a in run.attempts
    ]
    yield from aligned(rows)


def _calls(run: Run[Any]) -> Iterator[str]:
    rows = [
        (
            f"step {c.step}",
            cut(c.key),
            c.kind,
            cut(c.model),
            f"{_tokens(c.input_tokens)} + {_tokens(c.output_tokens)} tokens",
            duration(c.duration_ms),
            cut(c.error or "", _VALUE),
        )
        for c in run.calls
    ]
    yield from aligned(rows)
    if len(rows) > 1:
        read = number(sum(c.input_tokens or 0 for c in run.calls))
        total = f"{read} + {number(sum(c.output_tokens or 0 for c in run.calls))} tokens"
        yield f"  {len(rows)} calls, {total}"


def _tokens(count: int | None) -> str:
    return "?" if count is None else number(count)


def _values(values: dict[str, Any]) -> Iterator[str]:
    return aligned([(cut(name), _value(value)) for name, value in values.items()])


def _value(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False), _VALUE)


def _time(at: str) -> str:
    return at[:19].replace("T", " ")


def _end(name: str) -> str:
    return {START: "START", END: "END"}.get(name) or cut(name)
