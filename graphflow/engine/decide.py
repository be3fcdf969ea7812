"""Decisions: a router, a gate or a node chooses; what it read is the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from graphflow.definition import GateDef
from graphflow.engine.mutation import Watch
from graphflow.engine.position import Position
from graphflow.errors import InvalidUpdateError, RouterError, did_you_mean, text_of
from graphflow.names import END, named, spelled
from graphflow.plan import Plan, PlanNode, PlanRouter
from graphflow.records import DecisionRecord, Evidence, Sent
from graphflow.routing import Command, Decision, Send
from graphflow.signatures import closed
from graphflow.state.laid_over import input_text
from graphflow.state.view import reads_of

__all__ = ["LONGEST", "Chosen", "decide", "evidence_of", "gate_verdict", "goto_of", "pinned"]

Chosen = tuple[str | Sent, ...]

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
    watch = Watch(plan, position.values) if plan.watches else None
    view = plan.schema.view(position.values if watch is None else watch.values)
    try:
        answer = router.fn(view)
        if watch is not None:
            watch.check(reads_of(view))
    except Exception as error:
        raise _router_error(
            plan, router, text_of(error), f"raised {type(error).__name__}: {text_of(error)}"
        ) from error
    evidence = evidence_of(plan, position, reads_of(view))
    if not isinstance(answer, Decision):
        chosen, word = _targets(plan, position, router, answer)
        reason = _in_words(evidence)
        return DecisionRecord(
            router.source, router.name, router.targets, chosen, reason, word, evidence=evidence
        )
    chosen, word = _targets(plan, position, router, answer.goto)
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


def pinned(plan: Plan, position: Position, router: PlanRouter, answer: Any) -> DecisionRecord:
    """Record the answer that a fork gives instead of a router (S18).

    Raises:
        RouterError: It is none of the router's targets.
    """
    chosen, word = _targets(plan, position, router, answer)
    words = "chosen for the fork"
    return DecisionRecord(router.source, router.name, router.targets, chosen, words, word)


def evidence_of(
    plan: Plan, position: Position, reads: set[str], private: str | None = None
) -> tuple[Evidence, ...]:
    """Say of each field that was read who wrote it, and what it held.

    Args:
        plan: The graph.
        position: Where the run stands.
        reads: The fields.
        private: What a Send laid over the state, as JSON: sent by the position's step.

    Returns:
        One Evidence per field, in the order of the state class.
    """
    seen, found = position.seen, []
    for name in plan.schema.in_order(reads):
        if name not in seen:
            step = position.counters.writers.get(name, 0)
            seen[name] = Evidence(name, step, _short_text(plan, name, position.values[name]))
        found.append(seen[name])
    if private is None or private == "{}":
        return tuple(found)
    over = {name: _text(value) for name, value in from_json(private).items()}
    return tuple(
        Evidence(e.name, position.step, over[e.name]) if e.name in over else e for e in found
    )


def goto_of(
    plan: Plan,
    position: Position,
    node: PlanNode,
    command: Command,
    evidence: tuple[Evidence, ...],
) -> DecisionRecord:
    """Record what a node itself decided with Command(goto=).

    Raises:
        InvalidUpdateError: It goes where the node does not declare to go.
    """
    goto = command.goto
    given: list[Any] = (
        list(goto) if isinstance(goto, Iterable) and not isinstance(goto, str) else [goto]
    )
    for item in given:
        is_send = isinstance(item, Send)
        name = item.node if is_send else item
        if is_send and named(name) == END:
            raise InvalidUpdateError(
                "Command(goto=Send(END)): END is no node that could run; send to one of"
                f" {[t for t in node.targets if t != END]!r}, or go to END without a Send"
            )
        if not isinstance(name, str) or named(name) not in node.targets:
            known = f" Declare it: add_node({node.name!r}, ..., targets=[...])."
            shown = [spelled(target) for target in node.targets]
            raise InvalidUpdateError(
                f"Command(goto={_shown(name)}) is not among the node's targets {shown!r}."
                f"{did_you_mean(str(name), shown)}{known}"
            )
    chosen = _each_once([_sent(plan, position, item) for item in given])
    words = command.reason.strip() or _in_words(evidence)
    return DecisionRecord(
        node.name, node.name, node.targets, chosen, words, evidence=evidence, kind="goto"
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


def _targets(
    plan: Plan, position: Position, router: PlanRouter, goto: Any
) -> tuple[Chosen, str | None]:
    """Turn an answer into targets; with a mapping of answers also give the answer's own word."""
    if isinstance(goto, str) and router.answers is None and goto in router.targets:
        return (goto,), None
    given = list(goto) if isinstance(goto, list | tuple | set | frozenset) else [goto]
    if isinstance(goto, set | frozenset):  # a set has no order of its own
        order = {answer: place for place, answer in enumerate(router.answers or router.targets)}
        given.sort(key=lambda item: order.get(item, -1))
    chosen: list[str | Sent] = []
    words = []
    for item in given:
        chosen.append(_target(plan, position, router, item))
        words.append(item.node if isinstance(item, Send) else str(item))
    word = ", ".join(words) if router.answers is not None else None
    return _each_once(chosen), word


def _target(plan: Plan, position: Position, router: PlanRouter, item: Any) -> str | Sent:
    if isinstance(item, Send):
        if named(item.node) == END:
            words = "sent to END, which is no node that could run; answer END without a Send"
            raise _router_error(plan, router, "sent to END", words)
        if item.node not in router.targets:
            raise _undeclared(plan, router, item.node)
        try:
            return _sent(plan, position, item)
        except InvalidUpdateError as error:
            words = f"sent {item.node!r} an input that does not fit: {error}"
            raise _router_error(plan, router, f"input of {item.node}", words) from error
    name = named(item) if _is_spelled_out(router, item) else _lookup(router.answers, item)
    if not isinstance(name, str) or name not in router.targets:
        raise _undeclared(plan, router, item)
    return name


def _sent(plan: Plan, position: Position, item: Any) -> str | Sent:
    if not isinstance(item, Send):
        return named(item)
    return Sent(item.node, input_text(plan.schema, position.values, item.update))


def _each_once(chosen: Sequence[str | Sent]) -> Chosen:
    """Drop repeated names; each Send counts (S4)."""
    seen: set[str] = set()
    kept: list[str | Sent] = []
    for item in chosen:
        if isinstance(item, Sent):
            kept.append(item)
        elif item not in seen:
            seen.add(item)
            kept.append(item)
    return tuple(kept)


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
    if closed(item):
        words = (
            f"returned a coroutine, which is none of its declared targets"
            f" {[spelled(name) for name in router.targets]!r}; a router is a plain function of the"
            " state"
        )
        return _router_error(plan, router, "returned a coroutine", words)
    if item is None:
        return _router_error(
            plan, router, "returned None", "returned None; return a target, END, or [] for none"
        )
    known = list(router.answers) if router.answers is not None else list(router.targets)
    shown = [spelled(str(name)) for name in known]
    is_end = _shown(item) == "END" and router.answers is None
    fix = " Add END to the targets." if is_end else did_you_mean(str(item), shown)
    return _router_error(
        plan,
        router,
        f"undeclared target {'END' if is_end else item}",
        f"answered {_shown(item)}, which is none of its declared targets {shown!r}.{fix}",
    )


def _shown(name: Any) -> str:
    return "END" if isinstance(name, str) and named(name) == END else repr(name)


def _router_error(plan: Plan, router: PlanRouter, short: str, words: str) -> RouterError:
    return RouterError(
        f"graph {plan.name!r}, router {router.name!r} after {router.source!r}: it {words}",
        source=router.source,
        short=short,
    )


def _details(plan: Plan, router: PlanRouter, said: Decision[Any]) -> str | None:
    if said.evidence is None:
        return None
    try:
        return to_json(said.evidence, inf_nan_mode="strings").decode()
    except ValueError as error:
        raise _router_error(
            plan, router, "evidence is no JSON", f"gave evidence that is no JSON: {error}"
        ) from error


def _short_text(plan: Plan, name: str, value: Any) -> str | None:
    """Give the JSON of a field when it is short; without writing out a long value."""
    if isinstance(value, str | bytes | list | tuple | dict | set | frozenset):
        shortest = 2 * len(value) if not isinstance(value, str | bytes) else len(value)
        if shortest > LONGEST:
            return None
    text = plan.schema.codec.fields[name].text(value)
    return text if len(text.encode()) <= LONGEST else None


def _text(value: Any) -> str | None:
    text = to_json(value, inf_nan_mode="strings").decode()
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
