"""A graph as data: nodes, edges, routers and gates, before anything is checked or run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Definition", "EdgeDef", "GateDef", "NodeDef", "RouterDef", "canonical"]

NodeKind = Literal["node", "gate"]


@dataclass(frozen=True, slots=True)
class GateDef:
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


@dataclass(frozen=True, slots=True)
class NodeDef:
    """A named function of the state; a gate is one too."""

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


@dataclass(frozen=True, slots=True)
class EdgeDef:
    """A fixed arrow."""

    source: str
    target: str
    kind: Literal["edge", "join"] = "edge"
    """join: given as a list of sources, which makes the target a join."""
    sources: tuple[str, ...] = ()
    """The whole list, of a join."""


@dataclass(frozen=True, slots=True)
class RouterDef:
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
    edges: list[EdgeDef] = field(default_factory=list)
    routers: list[RouterDef] = field(default_factory=list)

    def copy(self) -> Definition:
        """Copy it, so that a compiled flow does not change with its graph."""
        return Definition(
            self.name,
            self.state,
            self.version,
            dict(self.nodes),
            list(self.edges),
            list(self.routers),
        )

    def remove(self, name: str) -> None:
        """Remove a node with the arrows and routers that leave it, and the edges to it."""
        del self.nodes[name]
        self.edges = [e for e in self.edges if name not in {e.source, e.target}]
        self.routers = [r for r in self.routers if r.source != name]

    def successors(self, source: str) -> list[str]:
        """List all nodes that an arrow from `source` may reach, END included, each once."""
        found = [e.target for e in self.edges if e.source == source]
        for router in self.routers:
            if router.source == source:
                found += router.targets or ()
        if source in self.nodes:
            found += self.nodes[source].targets
        return list(dict.fromkeys(found))

    def spec(self, state_spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Describe the graph as plain JSON: what is stored with a run, drawn, and compared.

        Args:
            state_spec: The state's part, see `StateSchema.spec`; a drawing needs none.

        Returns:
            ``{"format", "name", "version", "state", "nodes": [{"name", "kind", "defer", "targets",
            "gate", "code"}], "edges": [[source, target, kind]], "routers": [{"source", "name",
            "targets", "answers", "code"}]}``; `gate` is ``{"passed", "failed", "otherwise",
            "tries"}`` or null, `answers` maps an answer to its node or is null.
        """
        return {
            "format": 1,
            "name": self.name,
            "version": self.version,
            "state": state_spec or {"class": self.state.__qualname__, "fields": {}},
            "nodes": [_node_spec(node) for node in self.nodes.values()],
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


def _node_spec(node: NodeDef) -> dict[str, Any]:
    gate = node.gate
    return {
        "name": node.name,
        "kind": node.kind,
        "defer": node.defer,
        "targets": list(node.targets),
        "gate": gate and {**gate.answers(), "tries": gate.tries},
        "code": _code_digest(gate.checks if gate else (node.fn,)),
    }


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
        plain = inspect.unwrap(function)
        try:
            digest.update(inspect.getsource(plain).encode("utf-8", "replace"))
        except (OSError, TypeError):
            code = getattr(plain, "__code__", None)
            digest.update(code.co_code if code else repr(type(plain)).encode())
    return digest.hexdigest()[:16]
