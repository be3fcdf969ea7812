"""What is recorded or told beside the state, without secrets: reasons, errors, prompts, calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphflow.engine.effects import Ask, Commit, Fail, Finish, Keep, KeepItem
from graphflow.records import CallRecord, DecisionRecord, Ending
from graphflow.state.secrets import begun, has_secrets, without_secrets

__all__ = ["Pieces", "Redact", "redact_call", "redact_effect", "redact_value", "redactor"]

Redact = Callable[[str], str]


def redactor(own: Redact | None) -> Redact | None:
    """Give what redacts texts; None when there is nothing to hide.

    Args:
        own: The user's.
    """
    if not has_secrets():
        return own
    return without_secrets if own is None else lambda text: without_secrets(own(text))


def redact_effect(effect: Commit | Keep | KeepItem | Fail | Ask | Finish, redact: Redact) -> None:
    """Redact the texts of what is about to be stored and told."""
    if isinstance(effect, Commit):
        step = effect.step
        step.decisions = [_decision(one, redact) for one in step.decisions]
        effect.ending = effect.ending and _ending(effect.ending, redact)
    elif isinstance(effect, Keep):
        if effect.task.goto is not None:
            effect.task.goto = _decision(effect.task.goto, redact)
    elif isinstance(effect, Fail):
        effect.attempt.error = redact(effect.attempt.error)
        effect.attempt.traceback = redact(effect.attempt.traceback)
    elif isinstance(effect, Ask):
        question = effect.question
        question.prompt = redact(question.prompt)
        question.details_json = question.details_json and redact(question.details_json)
    elif isinstance(effect, Finish):
        effect.ending = _ending(effect.ending, redact)


def redact_call(call: CallRecord, redact: Redact) -> None:
    """Redact the texts of a model call."""
    call.request_json = redact(call.request_json)
    call.response_json = call.response_json and redact(call.response_json)
    call.error = call.error and redact(call.error)


def redact_value(value: Any, redact: Redact) -> Any:
    """Redact the texts in what a node tells: those of dicts, lists and tuples too.

    Returns:
        The value itself when nothing in it was redacted.
    """
    if isinstance(value, str):
        found = redact(value)
        return value if found == value else found
    if type(value) is dict:
        pairs = [(key, redact_value(key, redact), of, redact_value(of, redact))
                 for key, of in value.items()]  # fmt: skip
        same = all(key is now and of is then for key, now, of, then in pairs)
        return value if same else {now: then for _, now, _, then in pairs}
    if type(value) in (list, tuple):
        parts = [redact_value(part, redact) for part in value]
        same = all(part is now for part, now in zip(value, parts, strict=True))
        return value if same else type(value)(parts)
    return value


class Pieces:
    """Redacts a text that comes in pieces: what may be the beginning of a secret waits for more.

    Args:
        redact: Redacts a text.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact, self._kept = redact, ""

    def take(self, piece: str) -> str:
        """Give what is certain so far, redacted."""
        text = self._redact(self._kept + piece)
        end = len(text) - begun(text)
        self._kept = text[end:]
        return text[:end]

    def rest(self) -> str:
        """Give what was kept back."""
        text, self._kept = self._kept, ""
        return text


def _decision(one: DecisionRecord, redact: Redact) -> DecisionRecord:
    details = one.details_json and redact(one.details_json)
    return one._replace(reason=redact(one.reason), details_json=details)


def _ending(ending: Ending, redact: Redact) -> Ending:
    reason, error = ending.reason and redact(ending.reason), ending.error and redact(ending.error)
    return replace(ending, reason=reason, error=error)
