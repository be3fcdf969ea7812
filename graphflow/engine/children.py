"""The child of a subgraph's task: what its end means for the task (S19)."""

from __future__ import annotations

from graphflow.engine.tasks import ChildEnd, Task, text_of
from graphflow.errors import InvalidUpdateError, SubgraphError

__all__ = ["error_of", "output_of", "reason_within"]


def reason_within(key: str, reason: str) -> str:
    """Say of a child's reason in which task it is: `limit:steps` of `sub` is `limit:steps:sub`."""
    kind, _, rest = reason.partition(":")
    if kind in {"limit", "budget"}:
        what, _, path = rest.partition(":")
        return f"{kind}:{what}:{key}/{path}" if path else f"{kind}:{what}:{key}"
    return f"{kind}:{key}/{rest}" if rest else f"{kind}:{key}"


def output_of(task: Task, child: ChildEnd) -> object:
    """Make the parent's update of the last state of a child."""
    rules, plan = task.node.rules.child, task.node.child
    if rules is None or plan is None:
        raise AssertionError("only a subgraph has a child")
    if callable(rules.output):
        try:
            return rules.output(plan.schema.instance(child.values))
        except Exception as error:
            raise InvalidUpdateError(
                f"output= raised {type(error).__name__}: {text_of(error)}"
            ) from error
    return {mine: child.values[theirs] for mine, theirs in rules.output.items()}


def error_of(task: Task, child: ChildEnd) -> Exception:
    """Say what failed in a child, by task."""
    words = "; ".join(
        f"{task.key}/{key}: {type(e).__name__}: {text_of(e)}" if key else text_of(e)
        for key, e in child.errors.items()
    )
    error = SubgraphError(f"in subgraph {task.key!r}: {words or child.words}")
    causes = list(child.errors.values())
    error.__cause__ = causes[0] if len(causes) == 1 else ExceptionGroup("tasks failed", causes)
    return error
