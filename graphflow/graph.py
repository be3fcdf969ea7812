"""StateGraph: where a graph is designed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    overload,
)

from pydantic import BaseModel

from graphflow.cells import Cells
from graphflow.definition import Definition, EdgeDef, GateDef, NodeDef, RouterDef
from graphflow.errors import DefinitionError, InvalidGraphError, did_you_mean
from graphflow.names import END, START, named
from graphflow.policy import Limits
from graphflow.routing import Command
from graphflow.signatures import (
    checked_function,
    checked_names,
    declared_targets,
    is_async,
    takes_context,
)
from graphflow.state.update import Update

if TYPE_CHECKING:
    from os import PathLike

    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.flow import Flow
    from graphflow.llm.client import ChatClient
    from graphflow.render.show import Drawing
    from graphflow.validate import Problem

__all__ = ["StateGraph"]

S = TypeVar("S", bound=BaseModel)
P = ParamSpec("P")

NodeResult: TypeAlias = Update | Command | Awaitable[Update] | Awaitable[Command]
RN = TypeVar("RN", bound=NodeResult)
RR = TypeVar("RR")


class StateGraph(Generic[S]):
    """A graph of nodes over one typed state.

    In a notebook, running a cell again replaces the nodes, edges and routers that it set before;
    each keeps its place in the order.

    Args:
        state: The state: any pydantic model.
        name: The graph's name, as runs are stored under it; by default the state's.
        version: Raise it when stored runs of the old version should not go on with the new one.

    Raises:
        DefinitionError: The state is no class, or the name no str.
    """

    def __init__(self, state: type[S], *, name: str | None = None, version: int = 1) -> None:
        if not isinstance(state, type) or not isinstance(name, str | None):
            raise DefinitionError(
                f"StateGraph({state!r}, name={name!r}): pass the state's class, and a str as name"
            )
        self._definition = Definition(name or state.__name__, state, version)
        self._cells = Cells()
        self._memory: Checkpointer | None = None
        self.edits = 0

    @property
    def name(self) -> str:
        """The graph's name."""
        return self._definition.name

    @property
    def definition(self) -> Definition:
        """The graph as data; change it through the methods only."""
        if self._cells.sweep(self._definition):
            self.edits += 1
        return self._definition

    def add_node(
        self,
        name: str,
        fn: Callable[..., NodeResult],
        *,
        defer: bool = False,
        targets: Sequence[str] = (),
    ) -> None:
        """Add a node, or replace it.

        Args:
            name: Its name.
            fn: ``fn(state)`` or ``fn(state, ctx)``, plain or async; returns an update: a dict of
                the fields it changes, None, or a Command.
            defer: Make it a join: it runs once, when no live task can reach it in this round.
            targets: Where its ``Command(goto=)`` may lead.

        Raises:
            DefinitionError: The name is taken (outside a notebook), or is no name.
        """
        checked_function(f"node {name!r}", fn)
        node = NodeDef(
            self._new_name(name),
            fn,
            defer=defer,
            targets=checked_names(f"node {name!r}: targets", targets),
            is_async=is_async(fn),
            takes_context=takes_context(fn),
        )
        self._set_node(node)

    @overload
    def node(self, fn: Callable[Concatenate[S, P], RN], /) -> Callable[Concatenate[S, P], RN]: ...
    @overload
    def node(
        self, *, name: str | None = None, defer: bool = False, targets: Sequence[str] = ()
    ) -> Callable[[Callable[Concatenate[S, P], RN]], Callable[Concatenate[S, P], RN]]: ...
    def node(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        defer: bool = False,
        targets: Sequence[str] = (),
    ) -> Any:
        """Add the decorated function as a node: ``@graph.node`` or ``@graph.node(name=...)``."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self.add_node(name or function.__name__, function, defer=defer, targets=targets)
            return function

        return add if fn is None else add(fn)

    def add_edge(self, source: str | Sequence[str], target: str) -> None:
        """Add a fixed arrow; with a list of sources the target becomes a join.

        Args:
            source: A node, START, or a list of nodes: the target then runs once, when no live
                task can reach it any more in this round.
            target: A node, or END.

        Raises:
            DefinitionError: Something is not the name of a node.
        """
        listed = () if isinstance(source, str) else checked_names("add_edge: the sources", source)
        if not listed and not isinstance(source, str):
            raise DefinitionError("add_edge: the list of sources is empty")
        (target,) = checked_names("add_edge: the target", [target])
        for one in listed or (named(str(source)),):
            edge = EdgeDef(one, target, "join" if listed else "edge", listed)
            self._cells.claim(("edge", edge.source, edge.target))
            if edge not in self._definition.edges:
                self._definition.edges.append(edge)
        self.edits += 1

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

    def decision(
        self,
        source: str,
        targets: Sequence[str] | Mapping[Any, str] | None = None,
        *,
        name: str | None = None,
    ) -> Callable[[Callable[[S], RR]], Callable[[S], RR]]:
        """Make the decorated function the router of a node: ``@graph.decision("classify")``."""

        def add(router: Callable[[S], RR]) -> Callable[[S], RR]:
            self.add_conditional_edges(source, router, targets, name=name)
            return router

        return add

    def add_gate(
        self,
        name: str,
        *,
        after: str | Sequence[str],
        checks: Sequence[Callable[[S], bool | str]],
        passed: str,
        failed: str,
        tries: int | None = None,
        otherwise: str | None = None,
        feedback: str | None = None,
    ) -> None:
        """Add a gate: the run goes on when all checks pass, else back with the reasons.

        Args:
            name: Its name.
            after: The node that it checks, or several.
            checks: Plain predicates of the state: True, or the reason why not.
            passed: Where to go when all pass.
            failed: Where to go when one does not.
            tries: After so many failures in a row go to `otherwise`.
            otherwise: Where to go then.
            feedback: The field that gets the reasons: a list of str, or a str.

        Raises:
            DefinitionError: There are no checks, or `tries` is below 1.
        """
        if not checks or isinstance(checks, str):
            raise DefinitionError(f"gate {name!r} checks nothing: pass checks=[...]")
        for check in checks:
            checked_function(f"gate {name!r}", check)
            if is_async(check):
                raise DefinitionError(
                    f"gate {name!r}: a check is a plain function of the state; let a node await,"
                    " and check what it wrote"
                )
        if tries is not None and tries < 1:
            raise DefinitionError(f"gate {name!r}: tries={tries}; it must be at least 1")
        info = self._definition.state.model_fields.get(feedback or "")  # type: ignore[attr-defined]  # a model
        gate = GateDef(
            tuple(checks),
            named(passed),
            named(failed),
            otherwise and named(otherwise),
            tries,
            feedback,
            as_text=info is not None and info.annotation in {str, str | None},
        )
        ways = tuple(dict.fromkeys(gate.answers().values()))
        self._set_node(
            NodeDef(self._new_name(name), gate.failures, "gate", targets=ways, gate=gate)
        )
        for source in (after,) if isinstance(after, str) else after:
            self.add_edge(source, name)

    def remove_node(self, name: str) -> None:
        """Remove a node with the arrows and routers that leave it, and the edges to it.

        Raises:
            DefinitionError: There is no such node.
        """
        graph = self._definition
        if name not in graph.nodes:
            raise DefinitionError(
                f"graph {self.name!r} has no node {name!r}.{did_you_mean(name, graph.nodes)}"
            )
        graph.remove(name)
        self.edits += 1

    def remove_edge(self, source: str, target: str) -> None:
        """Remove a fixed arrow.

        Raises:
            DefinitionError: There is no such edge.
        """
        graph = self._definition
        kept = [e for e in graph.edges if (e.source, e.target) != (source, target)]
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
        llm: ChatClient | None = None,
        check: Literal["mutation"] | None = None,
    ) -> Flow[S]:
        """Check the graph and make it ready to run.

        Args:
            checkpointer: A path of a SQLite file, a Checkpointer, or nothing: records in memory,
                the same for each flow of this graph, so that a run goes on after a change.
            limits: The bounds of each run: by default 100 steps, 25 visits of a node.
            llm: The chat client of `ctx.llm`; by default the one of the environment.
            check: "mutation" also finds nodes and routers that change the state in place, such as
                ``state.items.append(1)``; costs an encoding of the whole state per step.

        Raises:
            DefinitionError: An argument is of the wrong kind.
            InvalidGraphError: The graph has errors; all of them are listed.
        """
        from graphflow.flow import Flow

        if check not in {None, "mutation"}:
            raise DefinitionError(f"compile(check={check!r}): it is 'mutation' or nothing")
        problems = self.check()
        errors = [problem for problem in problems if problem.level == "error"]
        if errors:
            lines = "".join(f"\n  {problem}" for problem in errors)
            raise InvalidGraphError(
                f"graph {self.name!r} has {len(errors)} problem(s):{lines}", problems
            )
        compiled = self.edits
        return Flow(
            self.definition.copy(),
            self._in_memory() if checkpointer is None else checkpointer,
            limits=limits or Limits(),
            llm=llm,
            check=check,
            is_current=lambda: self.definition is not None and self.edits == compiled,
        )

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

    def _new_name(self, name: str) -> str:
        if not isinstance(name, str) or not name.strip() or name in {START, END, "START", "END"}:
            raise DefinitionError(f"{name!r} cannot be the name of a node")
        replaces = self._cells.interactive() and not self._cells.is_set_now(("node", name))
        if name in self._definition.nodes and not replaces:
            raise DefinitionError(
                f"graph {self.name!r} has a node {name!r} already; choose another name, or"
                f" graph.remove_node({name!r}) first"
            )
        return name

    def _set_node(self, node: NodeDef) -> None:
        self._cells.claim(("node", node.name))
        self._definition.nodes[node.name] = node
        self.edits += 1
