"""Runs as JSON documents."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from graphflow.records import DecisionRecord, RunHeader, StepRecord, TaskRecord
from graphflow.run import Run

__all__ = ["header_document", "run_document", "whole_document"]


def header_document(header: RunHeader) -> dict[str, Any]:
    """Say what is known of a run without its steps."""
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
        "tags": json.loads(header.tags_json),
    }


def run_document(run: Run[Any]) -> dict[str, Any]:
    """Say how a run went: how it stands, its path, what it used, and its state."""
    return {
        **header_document(run.records.header),
        "recovered": run.recovered,
        "duration_ms": round(run.duration_ms, 3),
        "path": run.path,
        "usage": asdict(run.usage),
        "state": run.values,
    }


def whole_document(run: Run[Any]) -> dict[str, Any]:
    """Say everything that the records hold, but for the requests and answers of model calls."""
    header = run.records.header
    return {
        **run_document(run),
        "input": json.loads(header.input_json),
        "limits": json.loads(header.limits_json),
        "steps": [_step(step, run) for step in run.steps],
        "open_step": [_task(task) for task in run.records.kept],
        "decisions": [_decision(step.step, one) for step in run.steps for one in step.decisions],
        "attempts": [asdict(attempt) for attempt in run.attempts],
        "calls": [_call(asdict(call)) for call in run.calls],
    }


def _step(step: StepRecord, run: Run[Any]) -> dict[str, Any]:
    return {
        "step": step.step,
        "committed_at": step.committed_at,
        "tasks": [_task(task) for task in step.tasks],
        "arrows": [{"source": a.source, "target": a.target, "kind": a.kind} for a in step.arrows],
        "changed": {name: after for name, (_, after) in run.diff(step.step).items()},
        "ready": list(step.ready),
    }


def _task(task: TaskRecord) -> dict[str, Any]:
    return {
        "key": task.key,
        "node": task.node,
        "started_at": task.started_at,
        "duration_ms": task.duration_ms,
        "attempts": task.attempts,
        "reads": list(task.reads),
        "update": _loaded(task.update_json),
    }


def _decision(step: int, decision: DecisionRecord) -> dict[str, Any]:
    return {
        "step": step,
        "source": decision.source,
        "router": decision.router,
        "kind": decision.kind,
        "options": list(decision.options),
        "chosen": list(decision.chosen),
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
    return None if text is None else json.loads(text)
