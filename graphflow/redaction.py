"""What is recorded or told beside the state, without secrets: reasons, errors, prompts, calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import is_
from typing import Any, TypeVar

from graphflow.engine.effects import Ask, Commit, Fail, Finish, Keep, KeepItem
from graphflow.records import CallRecord, DecisionRecord, Ending
from graphflow.state.secrets import begun, has_secrets, without_secrets

__all__ = [
    "Pieces",
    "Redact",
    "redact_call",
    "redact_effect",
    "redact_error",
    "redact_value",
    "redactor",
]

Redact = Callable[[str], str]
E = TypeVar("E", bound=BaseException)


def redactor(own: Redact | None) -> Redact | None:
    """Give what redacts texts; None when there is nothing to hide.

    Args:
        own: The user's.
    """
    if own is None:
        return without_secrets if has_secrets() else None
    return partial(_redacted, own)


def _redacted(own: Redact, text: str) -> str:
    """Have the user's function redact a text that has no secrets any more; say when it cannot.

    Nothing of a text may be stored that was not redacted. Its place tells whose fault that is, and
    the failure that it told of is not lost with it.
    """
    try:
        found: object = own(without_secrets(text))
    except Exception as error:  # noqa: BLE001 - whatever the user's function raises
        fault = f"raised {type(error).__name__}"
    else:
        if isinstance(found, str):
            return found
        fault = f"gave a {type(found).__name__}, and no str"
    name = getattr(own, "__qualname__", type(own).__name__)
    return f"[could not be redacted: redact={name} {fault}]"


def redact_effect(effect: Commit | Keep | KeepItem | Fail | Ask | Finish, redact: Redact) -> None:
    """Redact the texts of what is about to be stored and told."""
    if isinstance(effect, Commit):
        step = effect.step
        step.decisions = [_decision(one, redact) for one in step.decisions]
        for task in step.tasks:
            if task.key not in effect.told:  # then it was done when the task was kept
                task.goto = task.goto and _decision(task.goto, redact)
        effect.ending = effect.ending and _ending(effect.ending, redact)
    elif isinstance(effect, Keep):
        effect.task.goto = effect.task.goto and _decision(effect.task.goto, redact)
    elif isinstance(effect, Fail):
        effect.attempt.error = redact(effect.attempt.error)
        effect.attempt.traceback = redact(effect.attempt.traceback)
    elif isinstance(effect, Ask):
        question = effect.question
        question.prompt = redact(question.prompt)
        question.details_json = question.details_json and _json(question.details_json, redact)
    elif isinstance(effect, Finish):
        effect.ending = _ending(effect.ending, redact)


def redact_call(call: CallRecord, redact: Redact) -> None:
    """Redact the texts of a model call."""
    call.request_json = _json(call.request_json, redact)
    call.response_json = call.response_json and _json(call.response_json, redact)
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


def redact_error(error: Exception, redact: Redact) -> Exception:
    """Redact what an error says, and those that led to it: it is logged with its causes.

    Each stays the object that it is, since its type and traceback tell what to mend; what stands in
    its arguments, attributes and notes is redacted. What an error says otherwise stays as it is.

    Returns:
        The error; of a group that says something to be redacted, a new one.
    """
    error = _regrouped(error, redact)
    todo: list[BaseException] = [error]
    seen = set[int]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        args = tuple(_said(arg, redact) for arg in one.args)
        if any(arg is not then for arg, then in zip(args, one.args, strict=True)):
            _set(one, "args", args)
        vars(one).update({name: _said(value, redact) for name, value in vars(one).items()})
        for link in ("__cause__", "__context__"):
            if (other := getattr(one, link)) is not None:
                if (found := _regrouped(other, redact)) is not other:
                    _set(one, link, found)
                todo.append(found)
        todo += getattr(one, "exceptions", ())
    return error


def _regrouped(error: E, redact: Redact) -> E:
    """Make a group anew of which the message, or that of one in it, says something to be redacted.

    Nobody can set the message of a group.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    message, parts = redact(error.message), [_regrouped(one, redact) for one in error.exceptions]
    if message == error.message and all(map(is_, parts, error.exceptions)):
        return error
    group = BaseExceptionGroup(message, parts)
    vars(group).update(vars(error))
    group.__context__, group.__cause__ = error.__context__, error.__cause__
    group.__suppress_context__ = error.__suppress_context__
    return group.with_traceback(error.__traceback__)  # type: ignore[return-value]  # a group, too


def _set(error: BaseException, name: str, value: Any) -> None:
    """Set what every error has, whatever its class says of that: it may be frozen."""
    vars(BaseException)[name].__set__(error, value)


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
    details = one.details_json and _json(one.details_json, redact)
    return one._replace(reason=redact(one.reason), details_json=details)


def _said(value: Any, redact: Redact) -> Any:
    try:
        return redact_value(value, redact)
    except RecursionError:
        return "[could not be redacted: it refers to itself]"


def _json(text: str, redact: Redact) -> str:
    """Redact a JSON text; what comes of it is JSON of the same kind, or it could not be read."""
    found = redact(text)
    if found == text:
        return text
    try:
        is_same = type(json.loads(found)) is type(json.loads(text))
    except ValueError:
        is_same = False
    return found if is_same else json.dumps({"redacted": found})


def _ending(ending: Ending, redact: Redact) -> Ending:
    reason, error = ending.reason and redact(ending.reason), ending.error and redact(ending.error)
    return replace(ending, reason=reason, error=error)
