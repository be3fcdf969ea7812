"""A graph as data: nodes, edges, routers and gates, before anything is checked or run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import CodeType, FunctionType
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from graphflow.breaker import CircuitBreaker
from graphflow.change.declared import Changes
from graphflow.names import START
from graphflow.policy import Budget, Defaults, Effects, Escalate, Limits
from graphflow.retry import Retry
from graphflow.state.description import type_words

__all__ = [
    "ChildDef",
    "Definition",
    "EdgeDef",
    "GateDef",
    "MapDef",
    "NodeDef",
    "QuestionDef",
    "RouterDef",
    "canonical",
]

NodeKind = Literal["node", "gate", "question", "map", "graph"]
Into = str | Callable[[Any], Mapping[str, Any] | None]
"""The field that takes a value, or a function that makes an update of it."""


class GateDef(NamedTuple):
    """What a gate checks, and where it leads."""

    checks: tuple[Callable[[Any], bool | str], ...]
    passed: str
    failed: str
    otherwise: str | None
    """Where to go when the tries have run out."""
    tries: int | None
    """How many failures in a row lead to `otherwise`; None: no limit of its own."""
    feedback: str | None
    """The field that gets the reasons of a failure."""

    as_text: bool = False
    """The feedback field is a str: the reasons are joined."""

    def failures(self, state: Any) -> list[str]:
        """Run the checks.

        Returns:
            The reasons of those that did not pass, in order.

        Raises:
            TypeError: A check returned neither True nor a reason.
        """
        return [words for check in self.checks if (words := _failure(check, state))]

    def answers(self) -> dict[str, str]:
        """Map the gate's answers to the nodes they lead to."""
        ways = {"passed": self.passed, "failed": self.failed}
        return ways if self.otherwise is None else {**ways, "otherwise": self.otherwise}


class QuestionDef(NamedTuple):
    """What a question node asks."""

    prompt: str | Callable[[Any], str]
    answer: Any
    """The type of an answer."""
    into: Into
    deadline: timedelta | None = None
    """From the asking on; then the default answers."""
    default: Any = None
    has_default: bool = False


class MapDef(NamedTuple):
    """What a map runs its function on."""

    over: str | Callable[[Any], Sequence[Any]]
    """The field whose items are taken, or a function of the state that gives them."""
    into: Into
    max_concurrency: int | None = None
    result: Any = None
    """The type of one result; None: that of the items of the field `into`."""


class ChildDef(NamedTuple):
    """A graph as a node of another."""

    graph: Definition
    input: Mapping[str, str] | Callable[[Any], Mapping[str, Any]]
    """{field of the child: field of the parent}, or a function of the parent's state."""
    output: Mapping[str, str] | Callable[[Any], Mapping[str, Any] | None]
    """{field of the parent: field of the child}, or a function of the child's last state."""
    limits: Limits = Limits()


class NodeDef(NamedTuple):
    """A named function of the state; gates, questions, maps and subgraphs are nodes too."""

    name: str
    fn: Callable[..., Any]
    kind: NodeKind = "node"
    defer: bool = False
    """Makes the node a join."""
    targets: tuple[str, ...] = ()
    """Where Command(goto=) or the gate may lead."""
    gate: GateDef | None = None
    is_async: bool = False
    takes_context: bool = False
    question: QuestionDef | None = None
    map: MapDef | None = None
    child: ChildDef | None = None
    retry: Retry | None = None
    timeout: float | None = None
    """Seconds that one execution may take."""
    fallback: str | None = None
    """The node that runs instead of what follows, when this one has failed for good."""
    escalate: Escalate | None = None
    breaker: CircuitBreaker | None = None
    budget: Budget | None = None
    """Of one task."""
    on_budget: str | None = None
    """The node that runs instead, when a budget is used up; None: the run pauses."""
    effects: Effects | None = None

    def ways_out(self) -> tuple[str, ...]:
        """Give the nodes it may lead to by itself, each once."""
        more = (name for name in (self.fallback, self.on_budget) if name)
        return tuple(dict.fromkeys((*self.targets, *more)))


class EdgeDef(NamedTuple):
    """A fixed arrow."""

    source: str
    target: str
    kind: Literal["edge", "join"] = "edge"
    """join: given as a list of sources, which makes the target a join."""
    sources: tuple[str, ...] = ()
    """The whole list, of a join."""


class RouterDef(NamedTuple):
    """A routing function and the nodes it may lead to."""

    source: str
    name: str
    fn: Callable[..., Any]
    targets: tuple[str, ...] | None
    """None: nobody has declared them, which check() reports."""
    answers: Mapping[Any, str] | None = None
    """What the function may answer, when that is not the targets' names."""


@dataclass(slots=True)
class Definition:
    """All that was said of a graph, in the order in which it was said."""

    name: str
    state: type
    version: int = 1
    nodes: dict[str, NodeDef] = field(default_factory=dict)
    edges: dict[EdgeDef, None] = field(default_factory=dict)
    """Each once; a dict keeps their order, too."""
    routers: list[RouterDef] = field(default_factory=list)
    defaults: Defaults = field(default_factory=Defaults)
    deps: Any = None
    """The type of what the nodes are given beside the state; None: nothing."""
    changes: Changes = field(default_factory=Changes)
    """What it says of its past; no part of its spec."""

    def copy(self) -> Definition:
        """Copy it, so that a compiled flow does not change with its graph."""
        return Definition(
            self.name,
            self.state,
            self.version,
            dict(self.nodes),
            dict(self.edges),
            list(self.routers),
            self.defaults,
            self.deps,
            self.changes.copy(),
        )

    def remove(self, name: str) -> None:
        """Remove a node with the arrows and routers that leave it, and the edges to it."""
        del self.nodes[name]
        self.edges = dict.fromkeys(e for e in self.edges if name not in {e.source, e.target})
        self.routers = [r for r in self.routers if r.source != name]

    def successors(self) -> dict[str, list[str]]:
        """Map START, and all nodes, to what their arrows may reach, END included, each once."""
        found: dict[str, list[str]] = {START: [], **{name: [] for name in self.nodes}}
        for edge in self.edges:
            found.setdefault(edge.source, []).append(edge.target)
        for router in self.routers:
            found.setdefault(router.source, []).extend(router.targets or ())
        for node in self.nodes.values():
            found[node.name] += node.ways_out()
        return {source: list(dict.fromkeys(targets)) for source, targets in found.items()}

    def escalation(self, node: NodeDef) -> Escalate | None:
        """Give what is asked when a node has failed for good; a question has no body to fail."""
        return None if node.kind == "question" else node.escalate or self.defaults.escalate

    def joins(self) -> set[str]:
        """Give the nodes that are joins (S8)."""
        joins = {edge.target for edge in self.edges if edge.kind == "join"}
        joins |= {node.name for node in self.nodes.values() if node.defer}
        return joins & self.nodes.keys()

    def spec(self, state_spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Describe the graph as plain JSON: what is stored with a run, drawn, and compared.

        Args:
            state_spec: The state's part, see `state.description`; a drawing needs none.

        Returns:
            ``{"format", "name", "version", "state", "nodes": [{"name", "kind", "defer", "targets",
            "gate", "code"}], "edges": [[source, target, kind]], "routers": [{"source", "name",
            "targets", "answers", "code"}]}``; `gate` is ``{"passed", "failed", "otherwise",
            "tries"}`` or null, `answers` maps an answer to its node or is null. A node has "graph"
            (the spec of a subgraph), "passes" (``{"input", "output"}`` of a subgraph), "map"
            (``{"over", "into"}``), "question" (``{"into"}``; each with a digest where it is a
            function: "over_code", and with the type that was given: "result", "answer"), "escalate"
            (``{"into"}``, null for a verdict), "fallback", "on_budget" (names of nodes), "retry",
            "timeout" and "effects" when it has such a thing.
        """
        return {
            "format": 1,
            "name": self.name,
            "version": self.version,
            "state": state_spec or {"class": self.state.__qualname__, "fields": {}},
            "nodes": [_node_spec(node, self.escalation(node)) for node in self.nodes.values()],
            "edges": [
                list(e) for e in dict.fromkeys((e.source, e.target, e.kind) for e in self.edges)
            ],
            "routers": [_router_spec(router) for router in self.routers],
        }


def _failure(check: Callable[[Any], bool | str], state: Any) -> str:
    verdict = check(state)
    name = getattr(check, "__name__", type(check).__name__)
    if verdict is True:
        return ""
    if verdict is False:
        return f"{name} does not hold"
    if isinstance(verdict, str) and verdict:
        return verdict
    raise TypeError(f"check {name!r} returned {verdict!r}; return True, or the reason as a str")


def canonical(spec: Mapping[str, Any]) -> str:
    """Write a spec as the one JSON text that its digest is taken of."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _node_spec(node: NodeDef, escalate: Escalate | None) -> dict[str, Any]:
    gate = node.gate
    return {
        "name": node.name,
        "kind": node.kind,
        "defer": node.defer,
        "targets": list(node.targets),
        "gate": gate and {**gate.answers(), "tries": gate.tries},
        "code": _code_digest(gate.checks if gate else (node.fn,)),
        **({"escalate": {"into": escalate.into}} if escalate is not None else {}),
        **{name: value for name, value in _more(node).items() if value is not None},
    }


def _more(node: NodeDef) -> dict[str, Any]:
    """Describe what only some nodes have."""
    child, items, question = node.child, node.map, node.question
    return {
        "graph": child and child.graph.spec(),
        "map": items
        and _told({"over": items.over, "into": items.into}) | _typed("result", items.result),
        "question": question and _told({"into": question.into}) | _typed("answer", question.answer),
        "passes": child and _told({"input": child.input, "output": child.output}),
        "fallback": node.fallback,
        "on_budget": node.on_budget,
        "retry": node.retry and node.retry.attempts,
        "timeout": node.timeout,
        "effects": node.effects,
    }


def _told(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Name fields, or the functions that are there instead, those with a digest of their code."""
    found: dict[str, Any] = {}
    for part, of in parts.items():
        if callable(of):
            found[part] = f"{getattr(of, '__name__', 'function')}()"
            found[f"{part}_code"] = _code_digest((of,))
        else:
            found[part] = of if isinstance(of, str) else dict(of)
    return found


def _typed(part: str, of: Any) -> dict[str, str]:
    """Say of which type something is; nothing where it is that of a field."""
    return {} if of is None else {part: type_words(of)}


def _router_spec(router: RouterDef) -> dict[str, Any]:
    answers = router.answers
    return {
        "source": router.source,
        "name": router.name,
        "targets": list(router.targets or ()),
        "answers": None if answers is None else {str(k): v for k, v in answers.items()},
        "code": _code_digest((router.fn,)),
    }


def _code_digest(functions: Sequence[Callable[..., Any]]) -> str:
    """Digest what the functions say: their source; their byte code where there is no source."""
    from hashlib import sha256

    digest = sha256()
    for function in functions:
        digest.update(_said_by(inspect.unwrap(function)))
    return digest.hexdigest()[:16]


_said: WeakKeyDictionary[FunctionType, tuple[CodeType, bytes]] = WeakKeyDictionary()


def _said_by(plain: Any) -> bytes:
    """Give the source of a function: as it was when it was looked at first, if that was found."""
    code = getattr(plain, "__code__", None)
    before, said = _said.get(plain, (None, b"")) if type(plain) is FunctionType else (None, b"")
    if before is code is not None:
        return said
    try:
        said = inspect.getsource(plain).encode("utf-8", "replace")
    except (OSError, TypeError):
        return code.co_code if code else repr(type(plain)).encode()
    if type(plain) is FunctionType:
        _said[plain] = plain.__code__, said
    return said
