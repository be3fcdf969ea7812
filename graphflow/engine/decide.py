"""Decisions: a router, a gate or a node chooses; what it read is the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphflow.definition import GateDef
from graphflow.engine.mutation import Watch
from graphflow.engine.position import Position
from graphflow.errors import InvalidUpdateError, RouterError, did_you_mean
from graphflow.names import END, named
from graphflow.plan import Plan, PlanNode, PlanRouter
from graphflow.records import DecisionRecord, Evidence
from graphflow.routing import Decision
from graphflow.state.view import reads_of

__all__ = ["LONGEST", "decide", "evidence_of", "gate_verdict", "goto_of"]

LONGEST = 256
"""Bytes of a value's JSON that evidence carries; a longer one is read back from its step."""


def decide(plan: Plan, position: Position, router: PlanRouter) -> DecisionRecord:
    """Call a router on the merged state.

    Args:
        plan: The graph.
        position: The merged state and the counters; not committed yet.
        router: The router.

    Raises:
        RouterError: It raised, or its answer is none of its targets.
    """
    watch = Watch(plan, position) if plan.watches else None
    view = plan.schema.view(position.values if watch is None else watch.values)
    try:
        answer = router.fn(view)
        if watch is not None:
            watch.check(reads_of(view))
    except Exception as error:
        raise _router_error(
            plan, router, str(error), f"raised {type(error).__name__}: {error}"
        ) from error
    evidence = evidence_of(plan, position, reads_of(view))
    if not isinstance(answer, Decision):
        chosen, word = _targets(plan, router, answer)
        reason = _in_words(evidence)
        return DecisionRecord(
            router.source, router.name, router.targets, chosen, reason, word, evidence=evidence
        )
    chosen, word = _targets(plan, router, answer.goto)
    return DecisionRecord(
        router.source,
        router.name,
        router.targets,
        chosen,
        answer.reason or _in_words(evidence),
        word,
        answer.confidence,
        evidence,
        _details(plan, router, answer),
    )


def evidence_of(plan: Plan, position: Position, reads: set[str]) -> tuple[Evidence, ...]:
    """Say of each field that was read who wrote it, and what it held.

    Returns:
        One Evidence per field, in the order of the state class.
    """
    writers = position.counters.writers
    return tuple(
        [
            Evidence(name, writers.get(name, 0), _short_text(plan, position, name))
            for name in plan.schema.in_order(reads)
        ]
    )


def goto_of(
    node: PlanNode, goto: Any, reason: str, evidence: tuple[Evidence, ...]
) -> DecisionRecord:
    """Record what a node itself decided with Command(goto=).

    Raises:
        InvalidUpdateError: It goes where the node does not declare to go.
    """
    given = [goto] if isinstance(goto, str) or not isinstance(goto, Iterable) else list(goto)
    for name in given:
        if not isinstance(name, str) or named(name) not in node.targets:
            known = f" Declare it: add_node({node.name!r}, ..., targets=[...])."
            raise InvalidUpdateError(
                f"Command(goto={name!r}) is not among the node's targets"
                f" {list(node.targets)!r}.{did_you_mean(str(name), node.targets)}{known}"
            )
    words, names = reason.strip() or _in_words(evidence), tuple(dict.fromkeys(map(named, given)))
    return DecisionRecord(
        node.name, node.name, node.targets, names, words, evidence=evidence, kind="goto"
    )


def gate_verdict(
    name: str, gate: GateDef, failures: Sequence[str], tries: int, evidence: tuple[Evidence, ...]
) -> DecisionRecord:
    """Record a gate's verdict.

    Args:
        name: The gate's name.
        gate: What it is.
        failures: The reasons of the checks that did not pass.
        tries: Failures in a row before this one.
        evidence: What the checks read.
    """
    if not failures:
        answer, reason = "passed", "all checks passed"
    else:
        out = gate.tries is not None and tries + 1 >= gate.tries and gate.otherwise is not None
        answer, reason = ("otherwise" if out else "failed"), "; ".join(failures)
        if out:
            reason += f" (try {tries + 1} of {gate.tries})"
    ways = gate.answers()
    return DecisionRecord(
        name,
        name,
        tuple(dict.fromkeys(ways.values())),
        (ways[answer],),
        reason,
        answer,
        evidence=evidence,
        kind="gate",
    )


def _targets(plan: Plan, router: PlanRouter, goto: Any) -> tuple[tuple[str, ...], str | None]:
    """Turn an answer into targets; with a mapping of answers also give the answer's own word."""
    if isinstance(goto, str) and router.answers is None and goto in router.targets:
        return (goto,), None
    given = list(goto) if isinstance(goto, list | tuple | set | frozenset) else [goto]
    if isinstance(goto, set | frozenset):  # a set has no order of its own
        order = {answer: place for place, answer in enumerate(router.answers or router.targets)}
        given.sort(key=lambda item: order.get(item, -1))
    names, words = [], []
    for item in given:
        name = named(item) if _is_spelled_out(router, item) else _lookup(router.answers, item)
        if not isinstance(name, str) or name not in router.targets:
            raise _undeclared(plan, router, item)
        names.append(name)
        words.append(str(item))
    word = ", ".join(words) if router.answers is not None else None
    return tuple(dict.fromkeys(names)), word


def _is_spelled_out(router: PlanRouter, item: Any) -> bool:
    return router.answers is None and isinstance(item, str)


def _lookup(answers: Mapping[Any, str] | None, item: Any) -> Any:
    if answers is None:
        return item
    try:
        return answers.get(item)
    except Exception:  # noqa: BLE001 - what cannot be hashed or compared is no declared answer
        return None


def _undeclared(plan: Plan, router: PlanRouter, item: Any) -> RouterError:
    if item is None:
        return _router_error(
            plan, router, "returned None", "returned None; return a target, END, or [] for none"
        )
    known = list(router.answers) if router.answers is not None else list(router.targets)
    shown = ["END" if name == END else name for name in map(str, known)]
    return _router_error(
        plan,
        router,
        f"undeclared target {item}",
        f"answered {item!r}, which is none of its declared targets {shown!r}."
        f"{did_you_mean(str(item), shown)}",
    )


def _router_error(plan: Plan, router: PlanRouter, short: str, words: str) -> RouterError:
    return RouterError(
        f"graph {plan.name!r}, router {router.name!r} after {router.source!r}: it {words}",
        source=router.source,
        short=short,
    )


def _details(plan: Plan, router: PlanRouter, said: Decision[Any]) -> str | None:
    if said.evidence is None:
        return None
    from pydantic_core import to_json

    try:
        return to_json(said.evidence, inf_nan_mode="strings").decode()
    except ValueError as error:
        raise _router_error(
            plan, router, "evidence is no JSON", f"gave evidence that is no JSON: {error}"
        ) from error


def _short_text(plan: Plan, position: Position, name: str) -> str | None:
    """Give the JSON of a field when it is short; without writing out a long value each time."""
    try:
        return position.texts[name]
    except KeyError:
        text = _encode_if_short(plan, name, position.values[name])
        position.texts[name] = text
        return text


def _encode_if_short(plan: Plan, name: str, value: Any) -> str | None:
    if isinstance(value, str | bytes | list | tuple | dict | set | frozenset):
        shortest = 2 * len(value) if not isinstance(value, str | bytes) else len(value)
        if shortest > LONGEST:
            return None
    text = plan.schema.codec.fields[name].text(value)
    return text if len(text.encode()) <= LONGEST else None


def _in_words(evidence: Sequence[Evidence]) -> str:
    """Say the evidence in words: the reason of a decision that gives none."""
    if not evidence:
        return "always: it read no field"
    parts = []
    for item in evidence:
        value = item.value_json
        if value is None or len(value) > 60:
            parts.append(f"{item.name} of step {item.step}")
        else:
            parts.append(f"{item.name} = {value}")
    return ", ".join(parts)
