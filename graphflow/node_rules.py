"""What happens to a node that fails or uses too much, as it is said when the node is added."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, TypedDict

from graphflow.breaker import CircuitBreaker
from graphflow.definition import ChildDef, Definition
from graphflow.errors import DefinitionError, did_you_mean
from graphflow.names import named
from graphflow.policy import Budget, Effects, Escalate, Limits
from graphflow.retry import Retry

__all__ = ["NodeRules", "checked_child", "checked_rules", "lasting"]


class NodeRules(TypedDict, total=False):
    """The keywords of `add_node`, `node` and `add_map` beside those that say what the node is.

    What follows a failure, in this order: retry, fallback, escalate, and then the run fails; it
    can be resumed there.
    """

    retry: Retry | None
    """How failed executions are repeated: ``Retry(attempts=3)``."""
    timeout: float | None
    """Seconds that one execution may take. An async function is cancelled then; a plain one runs in
    a thread, which nobody can stop: it goes on, beside its retry, and its result is dropped."""
    fallback: str | None
    """The node that runs instead of what follows, when this one has failed for good."""
    escalate: Escalate | None
    """What a human is asked when it has failed for good."""
    breaker: CircuitBreaker | None
    """Leaves it alone for a while when it keeps failing, in all runs of this process."""
    budget: Budget | None
    """What one execution may use."""
    on_budget: str | None
    """The node that runs instead when a budget is used up; else the run pauses."""
    effects: Effects | None
    """"external": it does something to the world; it is not repeated after a timeout."""


_KINDS: Mapping[str, tuple[type, str]] = {
    "retry": (Retry, "Retry(attempts=3)"),
    "fallback": (str, "the name of a node"),
    "escalate": (Escalate, "Escalate(...)"),
    "breaker": (CircuitBreaker, "CircuitBreaker(failures=5, cool_down=30)"),
    "budget": (Budget, "Budget(calls=3)"),
    "on_budget": (str, "the name of a node"),
}


_OTHERS = ("defer", "input", "limits", "name", "output", "targets")
"""The keywords that say what the node is."""


def checked_rules(node: str, rules: Mapping[str, Any]) -> dict[str, Any]:
    """Check what was said of a node.

    Raises:
        DefinitionError: A keyword is unknown, or its value of the wrong kind.
    """
    if not rules:
        return {}
    for word, value in rules.items():
        _check_kind(node, word, value)
    timeout = rules.get("timeout")
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and timeout > 0):
        raise DefinitionError(f"node {node!r}: timeout={timeout!r}; pass seconds, above 0")
    if rules.get("effects") not in {None, "external"}:
        raise DefinitionError(f"node {node!r}: effects={rules['effects']!r}; it is 'external'")
    found = dict(rules)
    for word in ("fallback", "on_budget"):
        if found.get(word) is not None:
            found[word] = named(found[word])
    return found


def _check_kind(node: str, word: str, value: Any) -> None:
    if word not in NodeRules.__annotations__:
        raise DefinitionError(
            f"node {node!r}: there is no {word}=."
            f"{did_you_mean(word, [*NodeRules.__annotations__, *_OTHERS])}"
        )
    kind, example = _KINDS.get(word, (object, ""))
    if value is not None and not isinstance(value, kind):
        raise DefinitionError(f"node {node!r}: {word}={value!r}; pass {example}")


def checked_child(
    name: str, graph: Definition, given: Mapping[str, Any], rules: Collection[str]
) -> ChildDef:
    """Check what was said of a node that is a graph.

    Args:
        name: The node.
        graph: The graph.
        given: Its input, output and limits.
        rules: The other keywords.

    Raises:
        DefinitionError: Something is of the wrong kind, or not for a graph.
    """
    limits = given["limits"]
    for word in ("timeout", "breaker", "budget", "effects", "targets"):
        if word in rules:
            raise DefinitionError(
                f"node {name!r} is a graph, which takes no {word}=; give it to the nodes of that"
                " graph"
            )
    for word in ("input", "output"):
        value = given[word]
        is_mapping = isinstance(value, Mapping) and all(
            isinstance(part, str) for item in value.items() for part in item
        )
        if value is not None and not callable(value) and not is_mapping:
            raise DefinitionError(
                f"node {name!r}: {word}={value!r}; pass a dict of fields, or a function of the"
                " state"
            )
    if not isinstance(limits, Limits | None):
        raise DefinitionError(f"node {name!r}: limits={limits!r}; pass Limits(steps=..., ...)")
    return ChildDef(graph, given["input"] or {}, given["output"] or {}, limits or Limits())


def lasting(name: str, deadline: Any) -> timedelta | None:
    """Read a question's deadline: seconds, or a timedelta.

    Raises:
        DefinitionError: It is neither, or not above 0.
    """
    is_number = isinstance(deadline, int | float) and not isinstance(deadline, bool)
    lasts = timedelta(seconds=deadline) if is_number else deadline
    if lasts is None or (isinstance(lasts, timedelta) and lasts > timedelta(0)):
        return lasts
    raise DefinitionError(
        f"question {name!r}: deadline={deadline!r}; pass seconds, or a timedelta, above 0"
    )
