"""StateGraph: where a graph is designed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from graphflow.cells import Cells
from graphflow.definition import Definition, EdgeDef, RouterDef
from graphflow.errors import DefinitionError, InvalidGraphError, did_you_mean
from graphflow.names import named
from graphflow.node_rules import checked_rules
from graphflow.nodes import Nodes
from graphflow.past import Past
from graphflow.policy import Budget, Defaults, Limits
from graphflow.routing import Route
from graphflow.signatures import (
    checked_function,
    checked_name,
    checked_names,
    declared_targets,
    is_async,
)
from graphflow.state.schema import S

if TYPE_CHECKING:
    from os import PathLike

    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.flow import Flow
    from graphflow.llm.client import ChatClient
    from graphflow.render.show import Drawing
    from graphflow.validate import Problem

__all__ = ["StateGraph"]

_VERSIONS: Final = 2**31

A = TypeVar("A")
RR = TypeVar("RR", bound=Route[str])


class StateGraph(Past, Nodes[S]):
    """A graph of nodes over one typed state.

    In a notebook, running a cell again replaces the nodes, edges and routers that it set before;
    each keeps its place in the order.

    Args:
        state: The state: any pydantic model.
        name: The graph's name, as runs are stored under it; by default the state's.
        version: Raise it when the values of stored runs mean something else now; `migration` says
            how open runs of the old version go on.
        deps: The type of `ctx.deps`: what the nodes are given beside the state. It is given to
            `run` or `compile`, and never stored.
        defaults: What holds for each node that does not say otherwise.

    Raises:
        DefinitionError: The state is no class, or the name no str.
    """

    def __init__(
        self,
        state: type[S],
        *,
        name: str | None = None,
        version: int = 1,
        deps: Any = None,
        defaults: Defaults | None = None,
    ) -> None:
        if not isinstance(state, type) or not isinstance(name, str | None):
            raise DefinitionError(
                f"StateGraph({state!r}, name={name!r}): pass the state's class, and a str as name"
            )
        is_whole = isinstance(version, int) and not isinstance(version, bool)
        if not is_whole or not 0 <= version < _VERSIONS:
            raise DefinitionError(
                f"version={version!r}: pass a whole number from 0 to {_VERSIONS - 1}, such as 2"
            )
        if not isinstance(defaults, Defaults | None):
            raise DefinitionError(f"defaults={defaults!r}: pass Defaults(retry=..., timeout=...)")
        if defaults is not None:
            words = ("retry", "timeout", "escalate", "breaker", "budget")
            checked_rules("(each, by defaults=)", {w: getattr(defaults, w) for w in words})
        self._definition = Definition(name or state.__name__, state, version)
        self._definition.deps = deps
        self._definition.defaults = defaults or Defaults()
        self._cells = Cells()
        self._memory: Checkpointer | None = None
        self.edits = 0

    def add_edge(self, source: str | Sequence[str], target: str) -> None:
        """Add a fixed arrow; with a list of sources the target becomes a join.

        Args:
            source: A node, START, or a list of nodes: the target then runs once, when no live
                task can reach it any more in this round.
            target: A node, or END.

        Raises:
            DefinitionError: Something is not the name of a node.
        """
        for edge in _edges(source, target):
            self._cells.claim(("edge", edge.source, edge.target))
            self._definition.edges[edge] = None
        self.edits += 1

    @overload
    def add_conditional_edges(
        self,
        source: str,
        router: Callable[[S], Route[str]],
        targets: Sequence[str] | None = None,
        *,
        name: str | None = None,
    ) -> None: ...
    @overload
    def add_conditional_edges(
        self,
        source: str,
        router: Callable[[S], Any],
        targets: Mapping[Any, str],
        *,
        name: str | None = None,
    ) -> None: ...
    def add_conditional_edges(
        self,
        source: str,
        router: Callable[[S], Any],
        targets: Sequence[str] | Mapping[Any, str] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """Let a router choose what runs after a node.

        Args:
            source: The node, or START.
            router: A pure function of the state; returns a target, a Decision, a list, or [].
            targets: Where it may lead: a list, or a mapping of its answers to nodes. Read from
                the return annotation when left out: ``-> Literal["draft", "ask_human"]``.
            name: The router's name; by default the function's.

        Raises:
            DefinitionError: The router is no plain function, or the node has one of this name.
        """
        where = f"router after {source!r}"
        checked_function(where, router)
        if is_async(router):
            raise DefinitionError(
                f"{where}: a router is a plain function of the state; what awaits something is a"
                " node, and the router reads what it wrote"
            )
        source, answers = named(source), None
        declared: tuple[str, ...] | None
        if isinstance(targets, Mapping):
            answers = dict(zip(targets, checked_names(where, targets.values()), strict=True))
            declared = tuple(dict.fromkeys(answers.values()))
        else:
            declared = (
                declared_targets(router) if targets is None else checked_names(where, targets)
            )
        label = name or str(getattr(router, "__name__", type(router).__name__))
        routed = RouterDef(source, label, router, declared, answers)
        self._cells.claim(("router", source, label))
        routers = self._definition.routers
        same = [i for i, r in enumerate(routers) if (r.source, r.name) == (source, label)]
        if same and not self._cells.interactive():
            raise DefinitionError(
                f"node {source!r} has a router {label!r} already; give this one a name of its own:"
                " add_conditional_edges(..., name='...')"
            )
        if same:
            routers[same[0]] = routed
        else:
            routers.append(routed)
        self.edits += 1

    @overload
    def decision(
        self, source: str, targets: Sequence[str] | None = None, *, name: str | None = None
    ) -> Callable[[Callable[[S], RR]], Callable[[S], RR]]: ...
    @overload
    def decision(
        self, source: str, targets: Mapping[Any, str], *, name: str | None = None
    ) -> Callable[[Callable[[S], A]], Callable[[S], A]]: ...
    def decision(
        self,
        source: str,
        targets: Any = None,
        *,
        name: str | None = None,
    ) -> Any:
        """Make the decorated function the router of a node: ``@graph.decision("classify")``."""

        def add(router: Callable[[S], Any]) -> Callable[[S], Any]:
            self.add_conditional_edges(source, router, targets, name=name)
            return router

        return add

    def remove_edge(self, source: str, target: str) -> None:
        """Remove a fixed arrow.

        Raises:
            DefinitionError: There is no such edge.
        """
        graph = self._definition
        kept = dict.fromkeys(e for e in graph.edges if (e.source, e.target) != (source, target))
        if len(kept) == len(graph.edges):
            raise DefinitionError(f"graph {self.name!r} has no edge {source!r} -> {target!r}")
        graph.edges = kept
        self.edits += 1

    def check(self) -> list[Problem]:
        """List everything that is wrong with the graph, errors first."""
        from graphflow.validate import find_problems

        return find_problems(self.definition)

    def compile(
        self,
        checkpointer: str | PathLike[str] | Checkpointer | None = None,
        *,
        limits: Limits | None = None,
        budget: Budget | None = None,
        deps: Any = None,
        llm: ChatClient | None = None,
        check: Literal["mutation"] | None = None,
        pause_before: Sequence[str] = (),
        pause_after: Sequence[str] = (),
        redact: Callable[[str], str] | None = None,
    ) -> Flow[S]:
        """Check the graph and make it ready to run.

        Args:
            checkpointer: A path of a SQLite file, a Checkpointer, or nothing: records in memory,
                the same for each flow of this graph, so that a run goes on after a change.
            limits: The bounds of each run: by default 100 steps, 25 visits of a node.
            budget: What each run may use.
            deps: What `ctx.deps` gives: an object, or a function that makes it.
            llm: The chat client of `ctx.llm`; by default the one of the environment.
            check: "mutation" also finds nodes and routers that change the state in place, such as
                ``state.items.append(1)``; costs an encoding of the whole state per step.
            pause_before: Nodes before which each run pauses; `resume` goes on.
            pause_after: Nodes after which it does. Those of a subgraph: ``"sub/draft"``.
            redact: Given each text that is recorded beside the state (reasons, errors, tracebacks,
                prompts, requests and answers of models), gives what is stored and told instead.
                The values of `Secret` fields are taken out before.

        Raises:
            DefinitionError: An argument is of the wrong kind.
            InvalidGraphError: The graph has errors; all of them are listed.
        """
        from graphflow.flow import Flow

        if check not in {None, "mutation"}:
            raise DefinitionError(f"compile(check={check!r}): it is 'mutation' or nothing")
        _check_client(llm)
        problems = self.check()
        errors = [problem for problem in problems if problem.level == "error"]
        if errors:
            lines = "".join(f"\n  {problem}" for problem in errors)
            raise InvalidGraphError(
                f"graph {self.name!r} has {len(errors)} problem(s):{lines}", problems
            )
        self._check_pauses(pause_before, pause_after)
        compiled = self.edits
        return Flow(
            self.definition.copy(),
            self._in_memory() if checkpointer is None else checkpointer,
            limits=limits or Limits(),
            budget=budget,
            deps=deps,
            llm=llm,
            pause_before=pause_before,
            pause_after=pause_after,
            check=check,
            redact=redact,
            is_current=lambda: self.definition is not None and self.edits == compiled,
        )

    def _check_pauses(self, *given: Sequence[str]) -> None:
        for names in given:
            for name in checked_names("pause_before, pause_after", names):
                _find_node(self.definition, name)

    def _in_memory(self) -> Checkpointer:
        from graphflow.checkpoint.memory import MemoryCheckpointer

        if self._memory is None:
            self._memory = MemoryCheckpointer()
        return self._memory

    def draw(self, path: str | PathLike[str] | None = None) -> Drawing:
        """Draw the graph; with a path also save it there (.svg, .dot, .mmd, .txt, .html)."""
        from graphflow.drawing import draw

        return draw(self.definition.spec(), path=path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.draw()._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        graph = self._definition
        arrows = len(graph.edges) + len(graph.routers)
        return f"<StateGraph {self.name!r}: {len(graph.nodes)} nodes, {arrows} edges and routers>"


def _edges(source: str | Sequence[str], target: str) -> list[EdgeDef]:
    """Make the edges that `add_edge` adds.

    Raises:
        DefinitionError: Something is not the name of a node.
    """
    if isinstance(source, str):
        return [EdgeDef(named(source), checked_name("add_edge: the target", target))]
    sources = checked_names("add_edge: the sources", source)
    if not sources:
        raise DefinitionError("add_edge: the list of sources is empty")
    join = checked_name("add_edge: the target", target)
    return [EdgeDef(one, join, "join", sources) for one in sources]


def _find_node(graph: Definition, path: str) -> None:
    """Check that there is a node by this name, `sub/draft` of a subgraph.

    Raises:
        DefinitionError: There is none.
    """
    name, slash, rest = path.partition("/")
    node = graph.nodes.get(name)
    if node is None or (slash and (node.child is None or not rest)):
        raise DefinitionError(
            f"graph {graph.name!r} has no node {path!r} to pause at."
            f"{did_you_mean(name, graph.nodes)}"
        )
    if rest and node.child is not None:
        _find_node(node.child.graph, rest)


def _check_client(llm: object) -> None:
    if llm is None:
        return
    from graphflow.llm.client import ChatClient

    if not isinstance(llm, ChatClient):
        hint = "; did you mean its .client()?" if hasattr(llm, "client") else ""
        raise DefinitionError(f"compile(llm={llm!r}): pass a ChatClient, or nothing{hint}")
