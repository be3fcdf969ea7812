"""Records to test with: a small run of a graph `triage`, made up but complete."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from graphflow.checkpoint.owner import this_process
from graphflow.records import (
    Adoption,
    Arrow,
    AttemptRecord,
    CallRecord,
    DecisionRecord,
    Evidence,
    Frontier,
    ItemRecord,
    MemoRecord,
    QuestionRecord,
    RunHeader,
    Sent,
    Snapshot,
    StepRecord,
    TaskRecord,
)

__all__ = [
    "NEW_SPEC_JSON",
    "SPEC_JSON",
    "TIME",
    "a_call",
    "a_child",
    "a_decision",
    "a_failure",
    "a_fork",
    "a_goto",
    "a_header",
    "a_memo",
    "a_question",
    "a_snapshot",
    "a_step",
    "a_task",
    "an_adoption",
    "an_item",
    "facts",
]

TIME: Final = "2026-11-22T14:11:00.123456+00:00"
SPEC_JSON: Final = '{"name":"triage"}'
NEW_SPEC_JSON: Final = '{"name":"triage","version":2}'


def a_header(run_id: str = "run-1", **more: Any) -> RunHeader:
    """Make the header of a run that this process advances."""
    known: dict[str, Any] = {
        "graph": "triage",
        "graph_version": 1,
        "graph_digest": "7" * 64,
        "status": "running",
        "created_at": TIME,
        "input_json": '{"text":"I was charged twice"}',
        "owner": this_process(),
    }
    return RunHeader(run_id, **(known | more))


def a_child(parent: str, step: int, key: str = "work#0", **more: Any) -> RunHeader:
    """Make the header of the run of a task of another run's step."""
    known = {"owner": None, "parent": parent, "parent_step": step, "parent_key": key}
    return a_header(f"{parent}/{step}:{key}", **(known | more))


def a_fork(run_id: str, origin: str, step: int, **more: Any) -> RunHeader:
    """Make the header of a run that forks another at a step."""
    known = {"fork_of": origin, "fork_step": step, "fork_json": '{"choose":{"route":"done"}}'}
    return a_header(run_id, **(known | more))


def a_task(ix: int, **more: Any) -> TaskRecord:
    """Make a task, `work#IX`, that read two fields and updated one."""
    known: dict[str, Any] = {
        "key": f"work#{ix}",
        "node": "work",
        "update_json": f'{{"notes":["note {ix}"]}}',
        "started_at": TIME,
        "duration_ms": 1.25 * (ix + 1),
        "reads": ("text", "topic"),
        "replaces": ("notes",),
    }
    return TaskRecord(ix, **(known | more))


def a_decision(**more: Any) -> DecisionRecord:
    """Make a decision of a router, with evidence of each kind."""
    known: dict[str, Any] = {
        "source": "work",
        "router": "route",
        "options": ("draft", "done"),
        "chosen": ("draft",),
        "reason": "confidence = 0.93",
        "confidence": 0.93,
        "evidence": (
            Evidence("confidence", 1, "0.93"),
            Evidence("notes", 1, None),
            Evidence("tries", 1, "2", counter=True),
        ),
        "details_json": '{"near":["a","b"]}',
    }
    return DecisionRecord(**(known | more))


def a_goto() -> DecisionRecord:
    """Make the decision of a gate."""
    return a_decision(router="quality", kind="gate", answer="failed", confidence=None)


def a_step(step: int, *, tasks: int = 1, joins: bool = False, sends: bool = False) -> StepRecord:
    """Make a step; step 0 has no tasks.

    Args:
        step: Its number.
        tasks: How many tasks ran in it.
        joins: Whether a join ran next and another waits.
        sends: Whether two Sends run next, beside the plain task.
    """
    ran = range(tasks if step else 0)
    return StepRecord(
        step,
        tuple(a_task(ix) for ix in ran),
        (a_decision(),) if ran else (),
        (Arrow("work", "draft", "choice"),) if ran else (Arrow("__start__", "work", "edge"),),
        {"merge": ("a", "b")} if joins else {},
        {"later": (("a", step - 1), ("b", step))} if joins else {},
        ("work", "work#0", "work#1") if sends else ("work",),
        '{"text":"mended"}' if joins else None,
        TIME,
        sends={f"work#{n}": Sent("work", f'{{"text": "{n}"}}') for n in range(2)} if sends else {},
    )


def a_snapshot(step: int, since: int | None = None) -> Snapshot:
    """Make the snapshot of a step; with `since` one that continues that of another step."""
    counters = f'{{"since":{step}}}'
    if since is not None:
        return Snapshot(step, "{}", counters, since=since, added_json=f'{{"notes":["{step}"]}}')
    return Snapshot(step, f'{{"text":"é","notes":["{step}"]}}', counters)


def a_failure(step: int, **more: Any) -> AttemptRecord:
    """Make a failed attempt."""
    known: dict[str, Any] = {
        "key": "work#0",
        "node": "work",
        "attempt": 1,
        "started_at": TIME,
        "duration_ms": 3.5,
        "error_type": "ValueError",
        "error": "no",
        "traceback": "Traceback ...\nValueError: no",
    }
    return AttemptRecord(step, **(known | more))


def a_call(step: int, **more: Any) -> CallRecord:
    """Make a call of a chat model."""
    known: dict[str, Any] = {
        "key": "work#0",
        "attempt": 1,
        "kind": "parse",
        "model": "small",
        "started_at": TIME,
        "duration_ms": 250.0,
        "input_tokens": 120,
        "output_tokens": 30,
        "cached_tokens": None,
        "request_json": '{"messages":[]}',
        "response_json": '{"choices":[]}',
    }
    return CallRecord(step, **(known | more))


def an_item(step: int, ix: int, **more: Any) -> ItemRecord:
    """Make a complete item of the map `score`."""
    known: dict[str, Any] = {
        "key": "score",
        "result_json": f'{{"points":{ix}}}',
        "started_at": TIME,
        "duration_ms": 2.5 * (ix + 1),
    }
    return ItemRecord(step, ix=ix, **(known | more))


def a_question(step: int, **more: Any) -> QuestionRecord:
    """Make a question that a node is."""
    known: dict[str, Any] = {
        "key": "ask_human",
        "node": "ask_human",
        "name": "",
        "kind": "question",
        "prompt": "Reply to: I was charged twice",
        "schema_json": '{"type":"string"}',
        "asked_at": TIME,
    }
    return QuestionRecord(step, **(known | more))


def a_memo(step: int, **more: Any) -> MemoRecord:
    """Make the result of work inside a body."""
    known: dict[str, Any] = {
        "key": "work#0",
        "name": "fetched",
        "value_json": '["a","b"]',
        "stored_at": TIME,
    }
    return MemoRecord(step, **(known | more))


def an_adoption(step: int, **more: Any) -> Adoption:
    """Make a run go on with another graph: its node `work` is `labour` there."""
    known: dict[str, Any] = {
        "place": 0,
        "graph_digest": "8" * 64,
        "graph_version": 2,
        "adopted_at": TIME,
        "nodes": {"work": "labour"},
        "state_json": '{"text":"é","notes":[]}',
        "counters_json": f'{{"since":{step}}}',
        "frontier": Frontier(
            ("labour", "labour#0"),
            {"merge": ("a", "b")},
            {"later": (("labour", step), ("b", step))},
            {"labour#0": Sent("labour", '{"text": "0"}')},
        ),
    }
    return Adoption(step, **(known | more))


def facts(value: object) -> object:
    """Reduce records to plain values that compare by content.

    Returns:
        Lists and dicts of what the records say, without the digests, which a store adds.
    """
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name != "digest"]
        return {name: facts(getattr(value, name)) for name in names}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return facts(value._asdict())
    if isinstance(value, Mapping):
        return {key: facts(of) for key, of in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [facts(one) for one in value]
    return value
