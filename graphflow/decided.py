"""The facts of a decision: what was chosen, why, and the arrows that ran."""

from typing import Literal, NamedTuple

__all__ = ["Arrow", "ArrowKind", "DecisionRecord", "Evidence", "Sent"]

ArrowKind = Literal["edge", "join", "choice", "send", "goto", "fallback"]


class Arrow(NamedTuple):
    """An arrow that ran."""

    source: str
    target: str
    kind: ArrowKind
    """edge: fixed; join: of a list edge; choice: a router's; goto: a node's or gate's own; send: of
    a Send; fallback: instead of the arrows of a task that failed."""


class Sent(NamedTuple):
    """A Send among the targets that were chosen: a task of its own with a private input."""

    node: str
    input_json: str
    """What is laid over the state for this task: one JSON object."""


class Evidence(NamedTuple):
    """One thing a router or gate read before it decided."""

    name: str
    """A field of the state, or a counter: "tries", "visits"."""
    step: int
    """The step that wrote the field last; 0 is the input."""
    value_json: str | None
    """The value when its JSON is at most 256 bytes; None: read it back with `state_at(step)`."""
    counter: bool = False


class DecisionRecord(NamedTuple):
    """One call of a router, or the choice of a gate or of Command(goto=)."""

    source: str
    """The node that was left."""
    router: str
    """The name of the routing function; of a gate, the gate's."""
    options: tuple[str, ...]
    """The declared targets."""
    chosen: tuple[str | Sent, ...]
    """The targets taken, in the order of the answer; empty when none was."""
    reason: str
    """Never empty: the router's words, else the evidence in words."""
    answer: str | None = None
    """What was answered when that is not the target's name: a gate's "passed", "failed" or
    "otherwise"; the key of a mapping of answers to nodes."""
    confidence: float | None = None
    evidence: tuple[Evidence, ...] = ()
    details_json: str | None = None
    """What the router itself gave as `Decision(evidence=)`."""
    kind: Literal["router", "gate", "goto"] = "router"

    @property
    def targets(self) -> tuple[str, ...]:
        """The nodes that were chosen, each once; a Send counts as its node."""
        names = [item if isinstance(item, str) else item.node for item in self.chosen]
        return tuple(dict.fromkeys(names))
