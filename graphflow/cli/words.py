"""Runs in words, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from graphflow.errors import RouterError, RunFailedError
from graphflow.names import END, START
from graphflow.records import AttemptRecord, DecisionRecord, RunHeader, wall_ms
from graphflow.render.wording import columns, cut, duration, number, one_line
from graphflow.run import Run

__all__ = [
    "STYLES",
    "aligned",
    "details",
    "headline",
    "router_tail",
    "run_list",
    "step_count",
    "steps_told",
    "tail",
    "why",
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
_TAIL = 12
"""Lines of a traceback."""


def step_count(header: RunHeader) -> str:
    """Say how many steps are committed, `1 step` or `5 steps`; step 0 is the input."""
    count = max(header.step, 0)
    return f"{count} step{'s' * (count != 1)}"


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> Iterator[str]:
    """Set rows in columns."""
    if not rows:
        return
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield (indent + "  ".join(cells)).rstrip()


def why(header: RunHeader) -> str:
    """Say in one line why a run is not done; nothing when it is, or is just running."""
    kind, _, node = (header.reason or "").removeprefix("limit:").partition(":")
    if header.status == "paused" and (header.reason or "").startswith("limit:"):
        bounds = json.loads(header.limits_json)
        if kind == "visits":
            return f"{node!r} has run in {bounds.get(kind)} steps, which is the limit"
        return f"{bounds.get(kind)} steps have run, which is the limit"
    if header.status == "stale":
        return "its process ended before it did"
    if header.status == "done":
        return ""
    # With a reason of its own, as "conflict ...", the error says the same in more words
    told = f"{header.error_type}: {header.error}" if header.error_type else header.error
    return one_line(told or header.reason or "")


def headline(run: Run[Any]) -> str:
    """Say of a failed run which nodes failed in its open step, and how; else why it stopped."""
    last = {a.key: a for a in _open_attempts(run)}
    named = (one_line(f"{a.node}: {a.error_type}: {a.error}") for a in last.values())
    return "; ".join(named) or why(run.records.header)


def tail(run: Run[Any]) -> str:
    """Give the end of the traceback of the last node that failed in the open step."""
    failed = _open_attempts(run)
    return _end_of(failed[-1].traceback) if failed else ""


def router_tail(error: RunFailedError) -> str:
    """Give the end of the traceback of the router that failed; nothing when none raised."""
    router = error.__cause__
    own = router.__cause__ if isinstance(router, RouterError) else None
    if own is None:
        return ""
    from traceback import format_exception

    # The first frame is the engine's, which called it
    first = own.__traceback__ and (own.__traceback__.tb_next or own.__traceback__)
    return _end_of("".join(format_exception(type(own), own, first)))


def _end_of(traceback: str) -> str:
    lines = traceback.rstrip().splitlines()
    return "\n".join([*["  ..."][: len(lines) > _TAIL], *lines[-_TAIL:]])


def _open_attempts(run: Run[Any]) -> list[AttemptRecord]:
    return [a for a in run.attempts if a.step == len(run.steps)] if run.status == "failed" else []


def run_list(headers: Iterable[RunHeader]) -> list[str]:
    """Set runs in columns, one a line, under a head."""
    rows = [
        (
            h.run_id,
            h.status,
            cut(h.graph),
            step_count(h),
            h.created_at[:19].replace("T", " "),
            cut(why(h), 60),
        )
        for h in headers
    ]
    return list(aligned([("run", "status", "graph", "", "begun (UTC)", ""), *rows], indent=""))


def details(run: Run[Any]) -> Iterator[str]:
    """Say what the table of a run leaves out: reasons, failed attempts, calls and the state."""
    yield from _section("decisions", _decisions(run))
    yield from _section("failed attempts", _attempts(run))
    yield from _section("model calls", _calls(run))
    last = run.steps[-1].step
    yield from _section(f"state after step {last}", _values(run.values))


def steps_told(run: Run[Any]) -> Iterator[str]:
    """Say of each step what ran, what it changed, and what was decided."""
    for step in run.steps:
        nodes = ", ".join(cut(task.key) for task in step.tasks) or "input"
        took = wall_ms(step.tasks)
        yield f"step {step.step}  {nodes}" + (f"  {duration(took)}" if step.tasks else "")
        changed = run.diff(step.step)
        rows = [
            (cut(name), f"{_value(before)} -> {_value(after)}" if step.step else _value(after))
            for name, (before, after) in changed.items()
        ]
        yield from aligned(rows)
        yield from (f"  {line}" for one in step.decisions for line in _decision(one))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    told = list(lines)
    if told:
        yield ""
        yield title
        yield from told


def _decisions(run: Run[Any]) -> Iterator[str]:
    for step in run.steps:
        for decision in step.decisions:
            first, *more = _decision(decision)
            yield f"  step {step.step}  {first}"
            yield from (f"  {line}" for line in more)


def _decision(decision: DecisionRecord) -> Iterator[str]:
    chosen = ", ".join(_end(name) for name in decision.chosen) or "nothing"
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
    yield from (f"  | {line}" for line in tail(run).splitlines())


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
        used = run.usage
        total = f"{number(used.input_tokens)} + {number(used.output_tokens)} tokens"
        yield f"  {used.calls} calls, {total}"


def _tokens(count: int | None) -> str:
    return "?" if count is None else number(count)


def _values(values: dict[str, Any]) -> Iterator[str]:
    return aligned([(cut(name), _value(value)) for name, value in values.items()])


def _value(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False), _VALUE)


def _end(name: str) -> str:
    return {START: "START", END: "END"}.get(name) or cut(name)
