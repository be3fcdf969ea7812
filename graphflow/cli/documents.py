"""Runs as JSON documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from graphflow.cli.asked import Asked, all_asked
from graphflow.records import (
    DamagedHeader,
    DecisionRecord,
    GraphUse,
    ItemRecord,
    MemoRecord,
    RunHeader,
    Sent,
    StepRecord,
    TaskRecord,
)
from graphflow.run import Run
from graphflow.stored import parsed

__all__ = [
    "decision_document",
    "header_document",
    "question_document",
    "run_document",
    "step_document",
    "task_document",
    "whole_document",
]


def header_document(header: RunHeader) -> dict[str, Any]:
    """Say what is known of a run without its steps."""
    if isinstance(header, DamagedHeader):
        return {"run_id": header.run_id, "status": "damaged", "error": header.error}
    return {
        "run_id": header.run_id,
        "graph": header.graph,
        "graph_version": header.graph_version,
        "status": header.status,
        "reason": header.reason,
        "error_type": header.error_type,
        "error": header.error,
        "created_at": header.created_at,
        "ended_at": header.ended_at,
        "last_step": header.step,
        "parent": header.parent,
        "parent_step": header.parent_step,
        "parent_key": header.parent_key,
        "fork_of": header.fork_of,
        "fork_step": header.fork_step,
        "tags": _loaded(header.tags_json),
    }


def run_document(run: Run[Any]) -> dict[str, Any]:
    """Say how a run went: how it stands, its path, what it used, and its state."""
    return {
        **header_document(run.records.header),
        "recovered": run.recovered,
        "duration_ms": round(run.duration_ms, 3),
        "path": run.path,
        "usage": asdict(run.usage),
        "open": run.open,
        "questions": [question_document(asked) for asked in all_asked(run.records)],
        "state": run.values,
    }


def whole_document(run: Run[Any]) -> dict[str, Any]:
    """Say everything that the records hold, but for the requests and answers of model calls."""
    header = run.records.header
    return {
        **run_document(run),
        "input": _loaded(header.input_json),
        "limits": _loaded(header.limits_json),
        "budget": _loaded(header.budget_json),
        "fork": _loaded(header.fork_json),
        "graphs": [_graph(use) for use in run.graphs],
        "steps": [_step(step, run) for step in run.steps],
        "open_step": [task_document(task) for task in run.records.kept],
        "decisions": [
            decision_document(step.step, one) for step in run.steps for one in step.decisions
        ],
        "items": [_item(item) for item in run.records.items],
        "memos": [_memo(memo) for memo in run.records.memos],
        "attempts": [asdict(attempt) for attempt in run.records.attempts],
        "calls": [_call(asdict(call)) for call in run.calls],
        "children": [whole_document(child) for child in run.children.values()],
    }


def question_document(asked: Asked) -> dict[str, Any]:
    """Say everything about a question."""
    question = asked.question
    return {
        "run_id": asked.header.run_id,
        "graph": asked.header.graph,
        "key": asked.key,
        "open": asked.is_open,
        "step": question.step,
        "node": question.node,
        "kind": question.kind,
        "prompt": question.prompt,
        "schema": _loaded(question.schema_json),
        "details": _loaded(question.details_json),
        "asked_at": question.asked_at,
        "deadline": question.deadline,
        "default": _loaded(question.default_json),
        "answer": _loaded(question.answer_json),
        "answered_at": question.answered_at,
        "answered_by": question.answered_by,
    }


def _graph(use: GraphUse) -> dict[str, Any]:
    adoption = use.adoption
    return {
        "first_step": use.first,
        "digest": use.digest,
        "version": use.version,
        "adopted_at": adoption and adoption.adopted_at,
        "renamed": dict(adoption.nodes) if adoption else {},
        "state_changed": adoption is not None and adoption.state_json is not None,
    }


def _step(step: StepRecord, run: Run[Any]) -> dict[str, Any]:
    if step.step == run.steps[0].step:  # what it changed is not known when those before are gone
        return {**step_document(step), "changed": run.values_at(step.step)}
    changed = {name: after for name, (_, after) in run.diff(step.step).items()}
    return {**step_document(step), "changed": changed}


def step_document(step: StepRecord) -> dict[str, Any]:
    """Say what a step did, without the state."""
    return {
        "step": step.step,
        "committed_at": step.committed_at,
        "tasks": [task_document(task) for task in step.tasks],
        "arrows": [{"source": a.source, "target": a.target, "kind": a.kind} for a in step.arrows],
        "ready": list(step.ready),
        "sends": {key: _target(sent) for key, sent in step.sends.items()},
        "held": {join: [source for source, _ in came] for join, came in step.held.items()},
    }


def task_document(task: TaskRecord) -> dict[str, Any]:
    """Say what a task did."""
    return {
        "key": task.key,
        "node": task.node,
        "started_at": task.started_at,
        "duration_ms": task.duration_ms,
        "attempts": task.attempts,
        "reads": list(task.reads),
        "update": _loaded(task.update_json),
        "fell_back": task.fell_back,
        "items": task.items,
    }


def _item(item: ItemRecord) -> dict[str, Any]:
    return {
        "step": item.step,
        "key": f"{item.key}[{item.ix}]",
        "result": _loaded(item.result_json),
        "started_at": item.started_at,
        "duration_ms": item.duration_ms,
        "attempts": item.attempts,
    }


def _memo(memo: MemoRecord) -> dict[str, Any]:
    return {
        "step": memo.step,
        "key": memo.key,
        "name": memo.name,
        "value": _loaded(memo.value_json),
        "stored_at": memo.stored_at,
    }


def _target(chosen: str | Sent) -> Any:
    if isinstance(chosen, str):
        return chosen
    return {"send": chosen.node, "input": _loaded(chosen.input_json)}


def decision_document(step: int, decision: DecisionRecord) -> dict[str, Any]:
    """Say what was decided, and why."""
    return {
        "step": step,
        "source": decision.source,
        "router": decision.router,
        "kind": decision.kind,
        "options": list(decision.options),
        "chosen": [_target(chosen) for chosen in decision.chosen],
        "answer": decision.answer,
        "reason": decision.reason,
        "confidence": decision.confidence,
        "evidence": [
            {"name": e.name, "step": e.step, "value": _loaded(e.value_json), "counter": e.counter}
            for e in decision.evidence
        ],
        "details": _loaded(decision.details_json),
    }


def _call(call: dict[str, Any]) -> dict[str, Any]:
    del call["request_json"], call["response_json"]
    return call


def _loaded(text: str | None) -> Any:
    return None if text is None else parsed(text, column="a value")
