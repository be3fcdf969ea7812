"""The half of a graph's design that sets nodes: plain ones, gates, questions, maps, subgraphs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

from pydantic import BaseModel

from graphflow.context import Context
from graphflow.definition import Definition, GateDef, MapDef, NodeDef, QuestionDef
from graphflow.errors import DefinitionError, did_you_mean
from graphflow.names import END, RESERVED, START, named
from graphflow.node_rules import NodeRules, checked_child, checked_rules, lasting
from graphflow.policy import Limits
from graphflow.routing import Command
from graphflow.signatures import (
    checked_body,
    checked_function,
    checked_names,
    is_async,
    takes_context,
)
from graphflow.state.schema import S
from graphflow.state.update import Update

if TYPE_CHECKING:
    from graphflow.cells import Cells

__all__ = ["Nodes"]

C = TypeVar("C", bound=BaseModel)
P = ParamSpec("P")

NodeResult: TypeAlias = Update | Command | Awaitable[Update | Command]
RN = TypeVar("RN", bound=NodeResult)

_UNSET: Any = object()


class Nodes(Generic[S]):
    """What sets the nodes of a graph. The other half is `StateGraph`.

    Attributes:
        edits: How often the graph was changed.
    """

    _definition: Definition
    _cells: Cells
    edits: int

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

    @overload
    def add_node(
        self,
        name: str,
        fn: Callable[[S], NodeResult],
        *,
        defer: bool = False,
        targets: Sequence[str] = (),
        **rules: Unpack[NodeRules],
    ) -> None: ...
    @overload
    def add_node(
        self,
        name: str,
        fn: Callable[[S, Context[Any]], NodeResult],
        *,
        defer: bool = False,
        targets: Sequence[str] = (),
        **rules: Unpack[NodeRules],
    ) -> None: ...
    @overload
    def add_node(
        self,
        name: str,
        fn: Nodes[C],
        *,
        input: Mapping[str, str] | Callable[[S], Mapping[str, Any]] | None = None,
        output: Mapping[str, str] | Callable[[C], Update] | None = None,
        limits: Limits | None = None,
        defer: bool = False,
        **rules: Unpack[NodeRules],
    ) -> None: ...
    def add_node(
        self,
        name: str,
        fn: Any,
        *,
        input: Any = None,
        output: Any = None,
        limits: Limits | None = None,
        defer: bool = False,
        targets: Sequence[str] = (),
        **rules: Unpack[NodeRules],
    ) -> None:
        """Add a node, or replace it.

        Args:
            name: Its name.
            fn: ``fn(state)`` or ``fn(state, ctx)``, plain or async; returns an update: a dict of
                the fields it changes, None, or a Command. Or a graph, as it is now (add it again
                when it has changed): it then runs as a run of its own inside of this one, with
                its own steps.
            input: Of a graph, what it begins with: {its field: field of this graph}, or a function
                of this graph's state that gives its input.
            output: Of a graph, what it gives back: {field of this graph: its field}, or a function
                of its last state that gives an update.
            limits: Of a graph, its own limits.
            defer: Make it a join: it runs once, when no live task can reach it in this round.
            targets: Where its ``Command(goto=)`` may lead.
            **rules: What happens when it fails, and what it may use: see `NodeRules`.

        Raises:
            DefinitionError: The name is taken (outside a notebook), or is no name; or the function
                cannot be called with a state, or with a state and a context.
        """
        if isinstance(fn, Nodes):
            given = {"input": input, "output": output, "limits": limits}
            said = {*rules, "targets"} if targets else set(rules)
            child = checked_child(name, fn.definition.copy(), given, said)
            known = checked_rules(name, rules)
            node = NodeDef(
                self._new_name(name), _nobody, "graph", defer=defer, child=child, **known
            )
        else:
            for word, value in (("input", input), ("output", output), ("limits", limits)):
                if value is not None:
                    raise DefinitionError(f"node {name!r}: {word}= is for a node that is a graph")
            checked_body(f"node {name!r}", fn, "state")
            node = NodeDef(
                self._new_name(name),
                fn,
                defer=defer,
                targets=checked_names(f"node {name!r}: targets", targets),
                is_async=is_async(fn),
                takes_context=takes_context(fn),
                **checked_rules(name, rules),
            )
        self._set_node(node)

    @overload
    def node(self, fn: Callable[Concatenate[S, P], RN], /) -> Callable[Concatenate[S, P], RN]: ...
    @overload
    def node(
        self,
        *,
        name: str | None = None,
        defer: bool = False,
        targets: Sequence[str] = (),
        **rules: Unpack[NodeRules],
    ) -> Callable[[Callable[Concatenate[S, P], RN]], Callable[Concatenate[S, P], RN]]: ...
    def node(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        defer: bool = False,
        targets: Sequence[str] = (),
        **rules: Unpack[NodeRules],
    ) -> Any:
        """Add the decorated function as a node: ``@graph.node`` or ``@graph.node(retry=...)``."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            own = name or function.__name__
            self.add_node(own, function, defer=defer, targets=targets, **rules)
            return function

        return add if fn is None else add(fn)

    def add_question(
        self,
        name: str,
        *,
        prompt: str | Callable[[S], str],
        into: str | Callable[[Any], Update],
        answer: Any = None,
        deadline: float | timedelta | None = None,
        default: Any = _UNSET,
        defer: bool = False,
    ) -> None:
        """Add a question to a human: the run pauses there until it is answered.

        Args:
            name: Its name; ``flow.answer(run_id, value, key=name)`` answers it.
            prompt: The words, or a function of the state that gives them.
            into: The field that takes the answer, or a function of it that gives an update.
            answer: The type of an answer; by default that of the field, but None is an answer only
                when it is said here: ``answer=bool | None``.
            deadline: Seconds from the asking; then the default answers, as soon as anybody resumes
                the run.
            default: The answer then.
            defer: Make it a join.

        Raises:
            DefinitionError: A deadline comes without a default, or the default without a deadline.
        """
        if (deadline is None) != (default is _UNSET):
            raise DefinitionError(
                f"question {name!r}: a deadline and a default belong together;"
                " pass deadline=3600, default=..."
            )
        lasts = lasting(name, deadline)
        has_default = default is not _UNSET
        asked = QuestionDef(
            prompt, answer, into, lasts, default if has_default else None, has_default
        )
        self._set_node(
            NodeDef(self._new_name(name), _nobody, "question", defer=defer, question=asked)
        )

    def add_map(
        self,
        name: str,
        fn: Callable[..., Any],
        *,
        over: str | Callable[[S], Sequence[Any]],
        into: str | Callable[[list[Any]], Update],
        max_concurrency: int | None = None,
        result: Any = None,
        defer: bool = False,
        **rules: Unpack[NodeRules],
    ) -> None:
        """Add a map: a function runs on each item of a list, side by side, as one node.

        Each result is stored when it is there: after a failure or a crash only the items without
        one run again.

        Args:
            name: Its name.
            fn: ``fn(item)`` or ``fn(item, ctx)``, plain or async; returns the item's result.
            over: The field whose items are taken, or a function of the state that gives them.
            into: The field that takes the list of the results, in the order of the items, or a
                function of the list that gives an update.
            max_concurrency: How many items run at once at most.
            result: The type of a result; by default that of the items of the field `into`.
            defer: Make it a join.
            **rules: As for a node: retry and timeout hold for each item.

        Raises:
            DefinitionError: The function cannot be called, or `max_concurrency` is below 1.
        """
        checked_body(f"map {name!r}", fn, "item")
        fits = isinstance(max_concurrency, int) and max_concurrency >= 1
        if max_concurrency is not None and not fits:
            raise DefinitionError(f"map {name!r}: max_concurrency={max_concurrency!r}; at least 1")
        node = NodeDef(
            self._new_name(name),
            fn,
            "map",
            defer=defer,
            is_async=is_async(fn),
            takes_context=takes_context(fn),
            map=MapDef(over, into, max_concurrency, result),
            **checked_rules(name, rules),
        )
        self._set_node(node)

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

    def _new_name(self, name: str) -> str:
        if not isinstance(name, str) or not name.strip() or name in {START, END, "START", "END"}:
            raise DefinitionError(f"{name!r} cannot be the name of a node")
        if not RESERVED.isdisjoint(name):
            found = " ".join(sorted(RESERVED.intersection(name)))
            raise DefinitionError(
                f"{name!r} cannot be the name of a node: {found} would be read as part of a task's"
                " key"
            )
        if name in self._definition.nodes and not self._replaces(name):
            raise DefinitionError(
                f"graph {self.name!r} has a node {name!r} already; choose another name, or"
                f" graph.remove_node({name!r}) first"
            )
        return name

    def _replaces(self, name: str) -> bool:
        """Tell whether a cell runs again, or another one sets the node that this one had set."""
        return self._cells.interactive() and not self._cells.is_set_now(("node", name))

    def _set_node(self, node: NodeDef) -> None:
        self._cells.claim(("node", node.name))
        self._definition.nodes[node.name] = node
        self.edits += 1

    def add_edge(self, source: str | Sequence[str], target: str) -> None:
        """Add a fixed arrow; see `StateGraph.add_edge`."""
        raise NotImplementedError


def _nobody(_: object) -> None:
    """A question and a subgraph have no body of their own."""
