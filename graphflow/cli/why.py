"""Why a run is not done, in words: where it stopped, what failed, and how."""

from __future__ import annotations

import json
from typing import Any

from graphflow.answering import open_questions
from graphflow.errors import ModelUnavailableError, NoModelError, RouterError, RunFailedError
from graphflow.records import AttemptRecord, RunHeader
from graphflow.render.wording import counted, one_line
from graphflow.run import Run

__all__ = ["headline", "last_traceback", "router_traceback", "why", "why_run"]

_TAIL = 12
"""Lines of a traceback."""
_SETUP = frozenset({NoModelError.__name__, ModelUnavailableError.__name__})


def why(header: RunHeader, *, asks: bool = True) -> str:
    """Say in one line why a run is not done; nothing when it is, or is just running.

    Args:
        header: The run.
        asks: Whether a question of it is open still, if one was; its header does not say that.
    """
    if header.status == "stale":
        return "its process ended before it did"
    if header.status == "done":
        return ""
    if header.status == "paused" and header.reason == "question" and not asks:
        return "answered; resume it"
    if header.status == "paused" and (words := _paused(header)):
        return words
    # With a reason of its own, as "conflict ...", the error says the same in more words
    told = f"{header.error_type}: {header.error}" if header.error_type else header.error
    return one_line(told or header.reason or "")


def why_run(run: Run[Any]) -> str:
    """Say the same of a run whose questions are known."""
    return why(run.records.header, asks=any(open_questions(run.records)))


def _paused(header: RunHeader) -> str:
    """Say what a run waits for; nothing when its reason says no more than itself."""
    kind, _, rest = (header.reason or "").partition(":")
    if kind == "question":
        return "it waits for an answer"
    if kind in {"before", "after"}:
        return f"it was to stop {kind} {rest!r}"
    what, _, where = rest.partition(":")
    if kind == "limit":
        return _at_limit(what, where, json.loads(header.limits_json).get(what, 0))
    if kind == "budget":
        bound = json.loads(header.budget_json).get(what)
        much = what if bound is None else f"{bound:g} {what[:-1] if bound == 1 else what}"
        budget = f"the budget of {much}"
        short = "is too small for the next call" if what == "tokens" else "is used up"
        return f"{budget} {short}{f' in {where!r}' if where else ''}"
    return ""


def _at_limit(what: str, where: str, bound: int) -> str:
    # The limits of a subgraph are its own, which its parent does not know
    if what == "visits" and "/" in where:
        return f"{where!r} has run in as many steps as the limit of its subgraph allows"
    if what == "visits":
        return f"{where!r} has run in {counted(bound, 'step')}, which is the limit"
    if where:
        return f"as many steps of subgraph {where!r} have run as its limit allows"
    have = "has" if bound == 1 else "have"
    return f"{counted(bound, 'step')} {have} run, which is the limit"


def headline(run: Run[Any]) -> str:
    """Say of a failed run which nodes failed in its open step, and how; else why it stopped."""
    named = (one_line(f"{path}: {a.error_type}: {a.error}") for path, a in _failures(run))
    return "; ".join(named) or why_run(run)


def last_traceback(run: Run[Any]) -> str:
    """Give the end of the traceback of the last node that failed in the open step.

    Returns:
        Nothing when no model is there: the error says what to do, and no line of the code is wrong.
    """
    failed = _failures(run)
    is_told = not failed or failed[-1][1].error_type in _SETUP
    return "" if is_told else _end_of(failed[-1][1].traceback)


def router_traceback(error: RunFailedError) -> str:
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


def _failures(run: Run[Any]) -> list[tuple[str, AttemptRecord]]:
    """Give the last failure of each node of the open step; of a subgraph those in it.

    Returns:
        (node, attempt); the node of a subgraph with its task: `sub/read`.
    """
    if run.status != "failed":
        return []
    last = {a.key: a for a in run.attempts if a.step == run.steps[-1].step + 1}
    found = []
    for attempt in last.values():
        child = run.children.get(f"{attempt.step}:{attempt.key}")
        within = _failures(child) if child is not None else []
        found += [(f"{attempt.key}/{path}", a) for path, a in within] or [(attempt.node, attempt)]
    return found
