"""Forks: a committed step once more, with another update or other decisions (S18)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from graphflow.change.judge import redone, state_of
from graphflow.change.names import Names
from graphflow.change.values import same_json
from graphflow.checkpoint.spending import added, used_before
from graphflow.engine.close import Change
from graphflow.engine.core import Forked
from graphflow.engine.decide import goto_of, pinned
from graphflow.engine.position import OpenStep, Position, restore
from graphflow.errors import (
    GraphChangedError,
    InputError,
    InvalidUpdateError,
    RouterError,
    RunNotFoundError,
    StateError,
    did_you_mean,
)
from graphflow.history import values_at
from graphflow.names import END, named, spelled
from graphflow.plan import Plan, PlanNode, PlanRouter
from graphflow.records import DecisionRecord, RunHeader, RunRecords, Spent, StepRecord, TaskRecord
from graphflow.routing import Command, Send
from graphflow.state.reducers import Replace
from graphflow.state.single import plain_text
from graphflow.state.update import judge, revive
from graphflow.stored import unreadable

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer

__all__ = ["Prepared", "prepare"]

_SHOWN = 8


@dataclass(slots=True)
class Prepared:
    """A fork that is ready to begin."""

    origin: RunRecords
    position: Position
    """Where the run stood before the step."""
    forked: Forked
    change_json: str
    """What is changed, the changes of a fork that is forked included."""
    spent: Spent
    """What the steps that it shares have used."""


def prepare(
    plan: Plan,
    store: Checkpointer,
    run_id: str,
    step: int,
    *,
    update: Mapping[str, Any] | None,
    choose: Mapping[str, Any] | None,
) -> Prepared:
    """Work out the first step of a fork.

    Args:
        plan: Today's graph.
        store: Where the run is stored.
        run_id: The run that is forked.
        step: The step that is committed anew.
        update: What is reduced into its state, after the updates of its tasks.
        choose: Answers of routers, gates or nodes with a goto, by their names: they are not
            asked again.

    Raises:
        RunNotFoundError: The run has no such step.
        InputError: The update does not fit the state, or there is nobody to choose for.
        GraphChangedError: The run cannot go on with this graph.
        CheckpointCorruptError: The step is the work of nodes that its graph does not have.
    """
    _check(step, update=update, choose=choose)
    origin = store.load(run_id)
    if not 0 <= step <= origin.header.step:
        raise RunNotFoundError(
            f"run {run_id} has no step {step} to fork; it has 0 to {origin.header.step}"
        )
    if step <= origin.steps[0].step > 0:
        raise RunNotFoundError(
            f"run {run_id} cannot be forked at step {step} any more: what came before it was"
            f" pruned. It can be forked from step {origin.steps[0].step + 1} on."
        )
    holder = _whose(store, origin.header, step)
    ran = _whose(store, holder, step, is_anew=True)
    again = origin if holder is origin.header else store.load(holder.run_id)
    first = again if ran is holder else store.load(ran.run_id)
    change = {} if ran is holder else _change_of(plan, again, first, step)
    if update is not None:
        change |= _encoded(plan, _state(plan, first, step), update)
    change["choose"] = {**change.get("choose", {}), **_plain_choices(choose or {})}
    position = _before(plan, first, step)
    record = redone(plan, first, step)
    _check_tasks(plan, first.header.run_id, record)
    if record.heard:
        position.open = OpenStep(heard=True)
    forked = _forked(plan, position, origin, record, change)
    spent = _spent(origin, step)
    change["spent"] = asdict(spent)
    return Prepared(origin, position, forked, json.dumps(change), spent)


def _change_of(plan: Plan, fork: RunRecords, first: RunRecords, step: int) -> dict[str, Any]:
    """Give what a fork changed in its first step, in the words of today's graph.

    Args:
        plan: Today's graph.
        fork: The fork.
        first: The run that ran the step.
        step: The step.
    """
    found: dict[str, Any] = json.loads(fork.header.fork_json or "{}")
    use = fork.use_of(step)
    if use.digest == plan.digest:
        return found
    if found.get("update"):  # what it came to, since a migration takes states and no updates
        states = [_state(plan, run, step) for run in (fork, first)]
        after, before = (json.loads(plan.schema.codec.text(values)) for values in states)
        update = {n: value for n, value in after.items() if not same_json(value, before[n])}
        reduced = [name for name in update if name in plan.schema.reducers]
        found |= {"update": update, "replaces": reduced}
    changes, spec = plan.definition.changes, use.spec
    nodes = Names.of_nodes(spec, plan.nodes, changes.nodes)
    fields = Names.of_fields(spec, plan.schema.names, changes.fields)
    routers = {router["name"] for router in spec.get("routers", ())}
    found["choose"] = {
        name if name in routers else nodes.key(name): _answer_today(answer, nodes, fields)
        for name, answer in found.get("choose", {}).items()
    }
    return found


def _answer_today(answer: Any, nodes: Names, fields: Names) -> Any:
    """Tell an answer that was chosen in the words of today."""
    if isinstance(answer, list):
        return [_answer_today(one, nodes, fields) for one in answer]
    if isinstance(answer, dict):
        given = {fields(name): value for name, value in answer["input"].items()}
        return {"send": nodes(answer["send"]), "input": given}
    return nodes(answer) if isinstance(answer, str) else answer


def _check(step: object, **changes: object) -> None:
    if isinstance(step, bool) or not isinstance(step, int):
        raise InputError(f"fork(step={step!r}): pass the number of a committed step")
    for word, given in changes.items():
        if not isinstance(given, Mapping | None):
            raise InputError(f"fork({word}={given!r}): pass a dict")


def _spent(records: RunRecords, upto: int) -> Spent:
    """Add up what a run and its children have used, up to a step."""
    calls = [call for call in records.calls if call.step <= upto]
    tasks = [task for step in records.steps if step.step <= upto for task in step.tasks]
    failed = [attempt.duration_ms for attempt in records.attempts if attempt.step <= upto]
    whole = Spent(
        len(calls),
        sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in calls),
        (sum(task.duration_ms for task in tasks if task.items is None) + sum(failed)) / 1e3,
    )
    whole = added(whole, used_before(records) or Spent())
    for child in records.children:
        if (child.header.parent_step or 0) <= upto:
            whole = added(whole, _spent(child, child.header.step))
    return whole


def _whose(
    store: Checkpointer, header: RunHeader, step: int, *, is_anew: bool = False
) -> RunHeader:
    """Find the run that committed a step which a run has: itself, or one that it is a fork of.

    Args:
        store: Where they are stored.
        header: The run.
        step: The step.
        is_anew: Whether to go on to the run that ran the step, from one that committed it anew.
    """
    while header.fork_of is not None and step < (header.fork_step or 0) + is_anew:
        header = store.load(header.fork_of, tail=True).header
    return header


def _before(plan: Plan, records: RunRecords, step: int) -> Position:
    if step > 0:
        return restore(plan, records, step - 1)
    return Position(-1, _state(plan, records, 0))


def _state(plan: Plan, records: RunRecords, step: int) -> dict[str, Any]:
    """Give the state after a step, for today's graph."""
    use = records.use_of(step)
    return state_of(plan, records.header.run_id, use, values_at(records, step))


def _forked(
    plan: Plan,
    position: Position,
    origin: RunRecords,
    record: StepRecord,
    change: Mapping[str, Any],
) -> Forked:
    choices, made = dict(change["choose"]), Change()
    gotos = [decision for decision in record.decisions if decision.kind != "router"]
    results = []
    for task in record.tasks:
        own = replace(task, goto=_own_decision(task, gotos))
        if own.goto is not None and task.node in choices:
            node = plan.nodes[task.node]
            own.goto = _chosen_for(plan, position, node, own.goto, choices[task.node])
        _check_ways(plan, own)
        update = revive(plan.schema, task.update_json, task.replaces, position.values)
        results.append((own, update))
    decided = {task.node for task, _ in results if task.goto is not None}
    for name, answer in choices.items():
        if name not in decided:
            router, chosen = _router(plan, origin, record, name), _answer(answer)
            _check_choice(plan, position, router, chosen)
            made.choose[router.source, router.name] = chosen
    if change.get("update"):
        text, replaces = json.dumps(change["update"]), change["replaces"]
        made.update = revive(plan.schema, text, replaces, position.values)
    return Forked(results, made)


def _check_tasks(plan: Plan, run_id: str, record: StepRecord) -> None:
    """Refuse a step of nodes that are in no graph: one that is gone since was refused before.

    Raises:
        CheckpointCorruptError: It is one.
    """
    for task in record.tasks:
        if task.node not in plan.nodes:
            error = KeyError(task.node)
            raise unreadable(run_id, record.step, f"the node of task {task.key!r}", error)


def _check_ways(plan: Plan, task: TaskRecord) -> None:
    """Refuse what leads to a node that is gone; the fork may choose another way.

    Raises:
        GraphChangedError: It does.
    """
    gotos = task.goto.targets if task.goto else ()
    for name in gotos if task.fell_back is None else (*gotos, task.fell_back):
        if name != END and name not in plan.nodes:
            raise GraphChangedError(
                f"the step cannot be committed anew: {task.node!r} chose {name!r}, which graph"
                f" {plan.name!r} does not have any more.{did_you_mean(name, plan.nodes)} Write"
                f' graph.renamed("{name}", ...), or fork(..., choose={{{task.node!r}: ...}})'
            )


def _own_decision(task: TaskRecord, gotos: list[DecisionRecord]) -> DecisionRecord | None:
    """Give a task the decision that it made itself; those of one node stand in its tasks' order."""
    for decision in gotos:
        if decision.source == task.node:
            gotos.remove(decision)
            return decision
    return None


def _chosen_for(
    plan: Plan, position: Position, node: PlanNode, made: DecisionRecord, answer: Any
) -> DecisionRecord:
    """Choose for a gate, or for a node with a goto."""
    words = "chosen for the fork"
    if node.gate is None:
        try:
            command = Command(goto=_answer(answer), reason=words)
            return goto_of(plan, position, node, command, ())
        except InvalidUpdateError as error:
            raise InputError(f"fork(choose={{{node.name!r}: ...}}): {error}") from error
    ways = node.gate.answers()
    found = (
        [word for word, target in ways.items() if answer in {word, target, spelled(target)}]
        if isinstance(answer, str)
        else []
    )
    if not found:
        raise InputError(
            f"fork(choose={{{node.name!r}: {answer!r}}}): gate {node.name!r} answers one of"
            f" {list(ways)!r}"
        )
    word = found[0]
    return made._replace(chosen=(ways[word],), answer=word, reason=words, evidence=())


def _check_choice(plan: Plan, position: Position, router: PlanRouter, answer: Any) -> None:
    try:
        pinned(plan, position, router, answer)
    except RouterError as error:
        raise InputError(f"fork(choose={{{router.name!r}: {answer!r}}}): {error}") from error


def _router(plan: Plan, origin: RunRecords, record: StepRecord, name: str) -> PlanRouter:
    """Find the router that is meant: by its own name, or by that of the node it leaves."""
    sources = {task.node for task in record.tasks} or {"__start__"}
    routers = [r for source in plan.ordered(sources) for r in plan.nodes[source].routers]
    found = [r for r in routers if name in {r.name, f"{r.source}:{r.name}"}]
    found = found or [r for r in routers if r.source == named(name)][:2]
    if len(found) == 1:
        return found[0]
    words = f"several routers are meant by {name!r}" if found else f"no router {name!r} decided"
    known = [*(r.name for r in routers), *(d.router for d in record.decisions)]
    near = did_you_mean(name, known) or _decided_elsewhere(origin, name)
    raise InputError(f"fork: {words} in step {record.step}.{near}")


def _decided_elsewhere(origin: RunRecords, name: str) -> str:
    """Say in which steps the one that is meant did decide, of a step in which nobody did."""
    by = {named(name)}
    steps = [
        str(step.step)
        for step in origin.steps
        if any(by & {d.router, d.source, f"{d.source}:{d.router}"} for d in step.decisions)
    ]
    shown = ", ".join(steps[:_SHOWN]) + (", ..." if len(steps) > _SHOWN else "")
    return f" It did in {shown}." if steps else " Nobody did: the arrows of that step are fixed."


def _encoded(plan: Plan, after: dict[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Judge an update of the state after the step."""
    try:
        judged = judge(plan.schema, after, update)
    except InvalidUpdateError as error:
        raise InputError(f"fork(update=...): {error}") from error
    replaced = [name for name, value in judged.values.items() if type(value) is Replace]
    texts = plan.schema.codec.join(judged.texts.items())
    return {"update": json.loads(texts), "replaces": replaced}


def _plain_choices(choose: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(answer) for name, answer in choose.items()}


def _plain(answer: Any) -> Any:
    if isinstance(answer, Send):
        try:
            given = json.loads(plain_text(answer.update))
        except StateError as error:
            raise InputError(f"fork(choose=...): Send({answer.node!r}, ...): {error}") from error
        return {"send": answer.node, "input": given}
    if isinstance(answer, list | tuple):
        return [_plain(a) for a in answer]
    if answer is None or isinstance(answer, str | int | float | bool):
        return answer
    raise InputError(
        f"fork(choose=...): {answer!r} is no answer; pass a node's name, a Send, or a list of these"
    )


def _answer(plain: Any) -> Any:
    if isinstance(plain, dict):
        return Send(plain["send"], plain["input"])
    return [_answer(a) for a in plain] if isinstance(plain, list) else plain
