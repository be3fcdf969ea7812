"""Answers: finding the open question that is meant, and storing what a human said (S15)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphflow.answer_schema import by_schema
from graphflow.change.lapsed import is_lapsed
from graphflow.clock import now
from graphflow.engine.asking import check_verdict
from graphflow.engine.position import restore
from graphflow.errors import AnswerError, GraphChangedError, StateError, did_you_mean
from graphflow.plan import Plan, PlanNode
from graphflow.records import QuestionRecord, RunHeader, RunRecords
from graphflow.session import Session, as_before
from graphflow.standing import is_incomplete, task_of
from graphflow.state.secrets import learn
from graphflow.state.single import Single
from graphflow.state.update import judge
from graphflow.state.words import first_field

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer
    from graphflow.opening import Opener

__all__ = [
    "Open",
    "answer_question",
    "check_fits",
    "find_open",
    "open_questions",
    "overdue",
    "the_question",
    "worded",
]


@dataclass(frozen=True, slots=True)
class Open:
    """An open question, and where it stands."""

    path: tuple[RunHeader, ...]
    """The run, the child that asks, and all between."""
    question: QuestionRecord

    @property
    def id(self) -> str:
        """What an answer names it by; in a subgraph with its task: `sub#0/approve`."""
        tasks = [str(header.parent_key) for header in self.path[1:]]
        return "/".join([*tasks, self.question.id])


def find_open(store: Checkpointer, records: RunRecords) -> list[Open]:
    """List the open questions of a stored run; reads no more than its end, and its children's.

    Args:
        store: Where the run is stored.
        records: The run, its tail at least.
    """
    return list(open_questions(records, lambda run: store.load(run.header.run_id, tail=True)))


def open_questions(
    records: RunRecords,
    read: Callable[[RunRecords], RunRecords] = lambda child: child,
    above: tuple[RunHeader, ...] = (),
) -> Iterator[Open]:
    """Find the questions that wait for an answer: a run's own by task, then those of its children.

    Nobody waits any more for what a task asks that is complete, or for what its child asks: it
    may have fallen back meanwhile (S16). Nor for that of a node which asks in another way, or is no
    subgraph, in the graph that the run is on now.

    Args:
        records: The run.
        read: Gives all that is needed of a child; of records that hold it already the child.
        above: The runs that it is a child of.
    """
    header = records.header
    if header.status in {"done", "cancelled"}:
        return
    path = (*above, header)
    order = {key: place for place, key in enumerate(records.last.ready)}
    for question in sorted(records.questions, key=lambda asked: order.get(task_of(asked.key), 0)):
        is_open = is_incomplete(records, question.step, question.key)
        if question.answer_json is None and is_open and not is_lapsed(records, question):
            yield Open(path, question)
    for child in records.children:
        if is_incomplete(records, child.header.parent_step, child.header.parent_key, "graph"):
            found = read(child)
            # Read by itself it may not know the key that its task has now
            own = replace(found, header=replace(found.header, parent_key=child.header.parent_key))
            yield from open_questions(own, read, path)


def the_question(
    records: RunRecords, found: list[Open], key: str | None, *, resume: str = ""
) -> Open:
    """Pick the question that is meant.

    Args:
        records: The run.
        found: Its open questions.
        key: What was given for it: its id, or the end of it; None: the only one.
        resume: What to type to go on with the run; empty: the call in Python.

    Raises:
        AnswerError: There is none, or there are several.
    """
    header = records.header
    run = f"run {header.run_id}"
    if not found:
        standing = f"{header.status}{f' ({header.reason})' if header.reason else ''}"
        if header.reason == "question":
            raise AnswerError(
                f"{run} waits for no answer any more: all its questions are answered, or its graph"
                " asks them no more. Nothing was stored; go on with"
                f" {resume or f'flow.resume({header.run_id!r})'}"
            )
        raise AnswerError(f"{run} asks nothing: it is {standing}. Nothing was stored.")
    ids = [item.id for item in found]
    if key is None:
        if len(found) == 1:
            return found[0]
        raise AnswerError(f"{run} has several open questions: say which, key= one of {ids!r}")
    exact = [item for item in found if item.id == key]
    near = [item for item in found if f"/{_short(item)}".endswith((f"/{key}", f":{key}"))]
    if len(exact or near) == 1:
        return (exact or near)[0]
    words = "several open questions that end in" if near else "no open question"
    raise AnswerError(f"{run} has {words} {key!r}.{did_you_mean(key, ids)}")


def _short(item: Open) -> str:
    """Give an id without the number of the time that it is asked: `one:it` for `one:it#2`."""
    task, colon, name = item.id.rpartition(":")
    return f"{task}{colon}{name.partition('#')[0]}".removesuffix(":") if colon else item.id


def worded(plan: Plan, asked: Open, value: Any) -> str:
    """Validate an answer by the type of the question; see `check_fits` for the rest.

    Args:
        plan: The graph of the run.
        asked: The question.
        value: The answer.

    Returns:
        Its JSON.

    Raises:
        AnswerError: It does not fit; the run waits on.
    """
    question = asked.question
    inner = _plan(plan, asked)
    node = inner.nodes.get(question.node) if inner is not None else None
    _learn_secrets(plan)
    try:
        if question.kind == "ask" or node is None:
            known = node.asks.get(question.name.partition("#")[0]) if node is not None else None
            return by_schema(question, value) if known is None else known.store(value)[1]
        if question.kind == "escalation" and not (node.rules.escalate and node.rules.escalate.into):
            text = Single().store(value)[1]
            check_verdict(text)
            return text
        return node.answer.store(value)[1]
    except StateError as error:
        raise _misfit(asked, error) from error


def check_fits(plan: Plan, store: Checkpointer, asked: Open, text: str) -> None:
    """Check an answer that goes into a field by all that the state says of it.

    The type of a question does not know the validators of the state class. An answer that these
    refuse would fail the run for good, as nobody could give another one.

    Args:
        plan: The graph of the run.
        store: Where the run is stored.
        asked: The question.
        text: The answer's JSON.

    Raises:
        AnswerError: It does not fit; the run waits on.
    """
    inner = _plan(plan, asked)
    node = inner.nodes.get(asked.question.node) if inner is not None else None
    into = _field_of(node, asked.question) if node is not None else None
    if inner is None or node is None or into is None:
        return
    try:
        position = restore(inner, store.load(asked.path[-1].run_id, tail=True))
        judge(inner.schema, position.values, {into: node.answer.read(text)})
    except GraphChangedError:  # it is told when the run is to go on
        return
    except StateError as error:
        raise _misfit(asked, error) from error


def _field_of(node: PlanNode, question: QuestionRecord) -> str | None:
    """Give the field that an answer goes into; None when a body or a function takes it."""
    rules = node.rules.question if question.kind == "question" else node.rules.escalate
    into = rules.into if rules is not None and question.kind != "ask" else None
    return into if isinstance(into, str) else None


def _misfit(asked: Open, error: StateError) -> AnswerError:
    return AnswerError(
        f"the answer to {asked.id!r} of run {asked.path[0].run_id} does not fit: {error}."
        " The question stays open.",
        field=_field(error),
    )


def answer_question(opener: Opener, asked: Open, text: str, by: str) -> None:
    """Store an answer; the run stands as it did, until it is resumed.

    Args:
        opener: Opens the run.
        asked: The question.
        text: The answer's JSON.
        by: Who answered: "person" or "deadline".

    Raises:
        RunBusyError: The run is being advanced.
        AnswerError: Somebody answered first.
    """
    sessions: list[Session] = []
    try:
        for header in asked.path:
            parent = sessions[-1] if sessions else None
            session = opener.session(header, parent)
            session.take(limits_json=None)
            sessions.append(session)
        sessions[-1].store_answer(
            replace(asked.question, answer_json=text, answered_at=now(), answered_by=by)
        )
    finally:
        for session in reversed(sessions):
            session.release(as_before(session.header))


def overdue(found: list[Open]) -> list[Open]:
    """Pick the questions whose deadline has passed."""
    time = now()
    return [a for a in found if a.question.deadline is not None and a.question.deadline <= time]


def _plan(plan: Plan, asked: Open) -> Plan | None:
    """Find today's graph of the run that asks; None when it has gone."""
    inner: Plan | None = plan
    for header in asked.path[1:]:
        name = str(header.parent_key).partition("#")[0]
        node = inner.nodes.get(name) if inner is not None else None
        inner = node.child if node is not None else None
    return inner


def _learn_secrets(plan: Plan) -> None:
    """Read the secrets of a graph: an answer must not have one, though nothing runs here."""
    learn(plan.schema.model)
    for node in plan.nodes.values():
        if node.child is not None:
            _learn_secrets(node.child)


def _field(error: StateError) -> str:
    return error.field if isinstance(error, AnswerError) else first_field(error.__cause__)
