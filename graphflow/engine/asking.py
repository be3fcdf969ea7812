"""Questions: what a node asks of a human, and what becomes of the answer (S15)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from graphflow.change.lapsed import VERDICTS, VERDICTS_SCHEMA
from graphflow.engine.position import Position
from graphflow.engine.tasks import Ended, Result, Task, complete, text_of
from graphflow.errors import AnswerError, DefinitionError
from graphflow.plan import Plan, PlanNode
from graphflow.records import QuestionRecord

__all__ = [
    "answered",
    "escalation",
    "is_waiting",
    "last_escalation",
    "own_question",
    "question_of",
    "verdict_of",
]


def is_waiting(task: Task) -> bool:
    """Tell whether something that the task asked has no answer yet."""
    return any(q.answer_json is None for q in (task.questions or {}).values())


def own_question(task: Task) -> QuestionRecord | None:
    """Give what a question node has asked."""
    asked = (q for q in (task.questions or {}).values() if q.kind == "question")
    return next(asked, None)


def question_of(task: Task) -> QuestionRecord:
    """Word the question of a question node.

    Raises:
        DefinitionError: Its prompt is no text.
    """
    node, asked = task.node, task.node.rules.question
    if asked is None:
        raise AssertionError("only a question asks")
    default = node.answer.store(asked.default)[1] if asked.has_default else None
    return _question(task, "question", _words(node, asked.prompt, task.view), default=default)


def escalation(task: Task, error: Exception, attempts: int) -> QuestionRecord:
    """Word the question that is asked when a node has failed for good."""
    escalate = task.node.rules.escalate
    if escalate is None:
        raise AssertionError("it does not escalate")
    details = {"error_type": type(error).__name__, "error": text_of(error), "attempts": attempts}
    words = f"{task.node.name} failed: {details['error_type']}: {details['error']}"
    if escalate.prompt is not None:
        words = _words(task.node, escalate.prompt, task.view)
    question = _question(task, "escalation", words)
    question.details_json = json.dumps(details)
    return question


def last_escalation(task: Task) -> QuestionRecord | None:
    """Give what was asked when the task last failed for good."""
    asked = [q for q in (task.questions or {}).values() if q.kind == "escalation"]
    return asked[-1] if asked else None


def verdict_of(task: Task, question: QuestionRecord) -> str:
    """Read the answer to an escalation: "retry", "skip", "fail", or "answer" for a value."""
    escalate = task.node.rules.escalate
    if escalate is None or escalate.into is not None:
        return "answer"
    verdict = json.loads(question.answer_json or "null")
    return verdict if verdict in VERDICTS else "fail"


def answered(plan: Plan, position: Position, task: Task, question: QuestionRecord) -> Result:
    """Complete a task by the answer to its question.

    Raises:
        InvalidUpdateError: The answer does not fit the state.
    """
    rules = task.node.rules
    if rules.question is not None:
        into = rules.question.into
    elif rules.escalate is not None and rules.escalate.into is not None:
        into = rules.escalate.into
    else:
        raise AssertionError("it takes no answer")
    value = task.node.answer.read(question.answer_json or "null")
    ended = Ended(task, None, None, question.asked_at, 0.0)
    update: Mapping[str, Any] | None = {into: value} if isinstance(into, str) else into(value)
    return complete(plan, position, ended, update)


def _question(task: Task, kind: Any, prompt: str, *, default: str | None = None) -> QuestionRecord:
    node, before = task.node, len(task.questions or {}) + task.lapsed
    name = f"#{before + 1}" if before else ""
    closed = kind == "escalation" and (node.rules.escalate is None or not node.rules.escalate.into)
    schema = VERDICTS_SCHEMA if closed else node.answer.schema_json
    return QuestionRecord(
        task.step, task.key, node.name, name, kind, prompt, schema, "", default_json=default
    )


def _words(node: PlanNode, prompt: Any, view: Any) -> str:
    words = prompt(view) if callable(prompt) else prompt
    if not isinstance(words, str):
        raise DefinitionError(f"the prompt of {node.name!r} is {words!r}; it must be a str")
    return words


def check_verdict(text: str) -> None:
    """Check the answer to an escalation that takes no value.

    Raises:
        AnswerError: It is none of the three.
    """
    if json.loads(text) not in VERDICTS:
        raise AnswerError(f"the answer is {text}; say one of {', '.join(VERDICTS)}")
