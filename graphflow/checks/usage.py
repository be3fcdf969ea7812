"""Which fields each part of a graph uses: as it was declared, and as its source says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphflow.dataflow.answers import answers_of, gotos_of
from graphflow.dataflow.reads import reads_of
from graphflow.dataflow.source import Sources
from graphflow.dataflow.writes import Keys, writes_of
from graphflow.definition import Definition, NodeDef
from graphflow.once import once

__all__ = ["Part", "Usage", "usage_of"]

_NOTHING = Keys()


@dataclass(slots=True)
class Part:
    """A node or a router, and the fields that it uses.

    Attributes:
        name: In words: ``node 'draft'``.
        node: The node's name; None of a router.
        reads: The fields that it is seen to read.
        missing: What it reads of the state that its class does not have.
        writes: The fields that it is seen to write.
        declared: Of these, those that its definition names.
        given: The fields that its Sends set.
    """

    name: str
    node: str | None = None
    reads: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    writes: Keys = _NOTHING
    declared: frozenset[str] = frozenset()
    given: Keys = _NOTHING


@dataclass(frozen=True)
class Usage:
    """What all parts of a graph use."""

    parts: list[Part]

    @once
    def written(self) -> Keys:
        """The fields that anything but an input writes."""
        every = Keys()
        for part in self.parts:
            every = every.and_also(part.writes).and_also(part.given)
        return every

    def readers(self, name: str) -> list[str]:
        """Name the parts that read a field."""
        return [part.name for part in self.parts if name in part.reads]


def usage_of(graph: Definition, sources: Sources) -> Usage:
    """Collect what the parts of a graph use, in the order of their declaration.

    Args:
        graph: The graph; its state must be a pydantic model.
        sources: Where the sources of its functions are found.
    """
    look = _Look(graph, sources)
    parts = [look.at_node(node) for node in graph.nodes.values()]
    for router in graph.routers:
        part = Part(f"router {router.name!r}", given=answers_of(sources, router.fn).given)
        look.note_reads(part, router.fn)
        parts.append(part)
    return Usage(parts)


class _Look:
    def __init__(self, graph: Definition, sources: Sources) -> None:
        self._graph, self._sources = graph, sources
        self._model: Any = graph.state
        self._own = [
            cls
            for cls in graph.state.__mro__
            if cls is not object and not cls.__module__.startswith("pydantic.")
        ]

    def at_node(self, node: NodeDef) -> Part:
        """Look at what a node uses."""
        part = Part(f"{'subgraph' if node.child else node.kind} {node.name!r}", node.name)
        if node.gate is not None:
            part.writes = _perhaps(node.gate.feedback)
            for check in node.gate.checks:
                self.note_reads(part, check)
        elif node.question is not None:
            self._note_into(part, node.question.into)
            if callable(node.question.prompt):
                self.note_reads(part, node.question.prompt)
        elif node.map is not None:
            self._note_into(part, node.map.into)
            self._note_from(part, node.map.over)
        elif node.child is not None:
            self._note_into(part, node.child.output)
            self._note_from(part, node.child.input)
        else:
            part.writes = writes_of(self._sources, node.fn)
            part.given = gotos_of(self._sources, node.fn).given
            self.note_reads(part, node.fn)
        escalate = node.escalate or self._graph.defaults.escalate
        if escalate is not None and node.question is None:
            part.writes = part.writes.and_also(_perhaps(escalate.into))
        return part

    def note_reads(self, part: Part, fn: Callable[..., Any]) -> None:
        """Note what a function reads of the state."""
        found = reads_of(self._sources, fn)
        fields, missing = self._resolve(found.names | found.asked, set())
        part.reads |= fields
        part.missing |= missing - found.asked

    def _note_from(self, part: Part, source: str | Mapping[str, str] | Callable[..., Any]) -> None:
        if isinstance(source, str):
            part.reads.add(source)
        elif isinstance(source, Mapping):
            part.reads |= set(source.values())
        else:
            self.note_reads(part, source)

    def _note_into(self, part: Part, into: str | Mapping[str, str] | Callable[..., Any]) -> None:
        if isinstance(into, str | Mapping):
            part.declared = frozenset({into} if isinstance(into, str) else into)
            part.writes = Keys(part.declared, part.declared)
        else:
            part.writes = writes_of(self._sources, into)

    def _resolve(self, names: frozenset[str], looked: set[str]) -> tuple[set[str], set[str]]:
        """Follow attributes to fields: methods and properties of the user's class read some, too.

        Returns:
            The fields, and the attributes that the class does not have.
        """
        fields, missing = set[str](), set[str]()
        for name in names - looked:
            looked.add(name)
            if name in self._model.model_fields:
                fields.add(name)
                continue
            if not self._has(name):
                missing.add(name)
            for fn in self._functions(name):
                more = reads_of(self._sources, fn)
                inner, _ = self._resolve(more.names | more.asked, looked)
                fields |= inner
        return fields, missing

    def _has(self, name: str) -> bool:
        """Tell whether the class has an attribute, or answers for any in a way of its own."""
        if inspect.getattr_static(self._model, name, _NOTHING) is not _NOTHING:
            return True
        return name.startswith("__") or any("__getattr__" in vars(cls) for cls in self._own)

    def _functions(self, name: str) -> Iterator[Callable[..., Any]]:
        """Give the function behind a method, a property or a computed field of the user's."""
        member = next((vars(cls)[name] for cls in self._own if name in vars(cls)), None)
        member = getattr(member, "wrapped", member)  # pydantic's computed fields
        for fn in (getattr(member, "fget", None), getattr(member, "func", None), member):
            if inspect.isfunction(fn):
                yield fn


def _perhaps(name: str | None) -> Keys:
    return Keys(frozenset({name} if name else ()))
