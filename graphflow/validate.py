"""Finds what is wrong with a graph before it runs: all problems at once, each with a fix.

Errors keep a graph from being compiled:

    GF001  the state class cannot be stored and read back
    GF101  there is no node of that name
    GF102  an edge leaves END, or leads to START
    GF103  a router does not declare where it may lead
    GF104  START is among the sources of a join
    GF105  a gate has `tries` without `otherwise`, or the other way round
    GF106  a gate's feedback goes into no field, or into one that takes no reasons
    GF107  the graph has no nodes
    GF108  nothing leaves START
    GF109  START cannot reach a node
    GF110  no way leads from START to END
    GF111  nothing leaves a node
    GF112  a node or field was renamed to one that is not there
    GF113  a migration leads past the version of the graph
    GF302  two nodes that run in the same step are declared to write one field without a reducer
    GF306  a node is its own fallback or on_budget
    GF308  a question, a map, a subgraph or an escalation names a field that does not exist
    GF309  what is put into a field does not fit it: an answer, a default, results, other fields
    GF310  a subgraph is not given a field that it requires (a warning where a function gives it)

Warnings do not. Those of GF3xx follow the sources of the functions; where a source is missing, or
cannot be followed, nothing is claimed:

    GF201  a loop that nothing ends: it has no way out, or all its arrows are fixed
    GF202  a loop that can be entered past its head
    GF301  two nodes that can run in the same step are seen to write one field without a reducer
    GF303  a join lists a source that START cannot reach
    GF304  a field is read that nothing writes, and that is hardly an input
    GF305  a node with effects="external" is repeated when it fails, without an idempotency key
    GF307  a fallback cannot reach a join that its node feeds
    GF311  a function is seen to read, return or send a field that the state does not have
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from graphflow.checks import children, fields, flow, names, past, shape, together
from graphflow.checks.problem import Found, Problem
from graphflow.checks.subject import Subject
from graphflow.dataflow.source import Sources
from graphflow.dataflow.writes import writes_of
from graphflow.definition import ChildDef, Definition

__all__ = ["Problem", "find_problems"]

_RULES: tuple[Callable[[Subject], Found], ...] = (
    fields.state,
    names.edges,
    names.routers,
    names.nodes,
    names.joins,
    names.gates,
    past.renames,
    past.migrations,
    fields.feedback,
    fields.asked,
    fields.mapped,
    children.inputs,
    children.outputs,
    shape.form,
    together.written_twice,
    flow.fields,
    flow.unwritten,
    flow.acting_twice,
)


def find_problems(graph: Definition) -> list[Problem]:
    """Check a graph, and the graphs that are nodes of it.

    Returns:
        All problems, errors first; empty when there are none.
    """
    found = _problems(Subject(graph))
    return sorted(found, key=lambda problem: problem.level)


def _problems(subject: Subject) -> Iterator[Problem]:
    for rule in _RULES:
        yield from rule(subject)
    for node in subject.graph.nodes.values():
        if node.child is not None:
            given = _given(node.child, subject.sources)
            for problem in _problems(Subject(node.child.graph, subject.sources, given)):
                yield replace(problem, message=f"subgraph {node.name!r}: {problem.message}")


def _given(child: ChildDef, sources: Sources) -> frozenset[str]:
    """Give the fields that a subgraph gets from its parent."""
    if isinstance(child.input, Mapping):
        return frozenset(child.input)
    keys = writes_of(sources, child.input)
    return keys.may if keys.complete else frozenset(getattr(child.graph.state, "model_fields", ()))
