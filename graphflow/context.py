"""What a node may take beside the state: who it is, and what it can ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, overload

from typing_extensions import TypeVar

from graphflow.clock import now
from graphflow.errors import AnswerError, AskSignal, PauseSignal, StateError
from graphflow.names import RESERVED
from graphflow.records import MemoRecord, QuestionRecord
from graphflow.signatures import closed, is_async
from graphflow.state.secrets import secret_in
from graphflow.state.single import Single
from graphflow.state.words import shown

if TYPE_CHECKING:
    from graphflow.engine.tasks import Task
    from graphflow.llm.chat import Chat

__all__ = ["Context", "Surroundings"]

D = TypeVar("D", default=Any)
T = TypeVar("T")


class Surroundings(Protocol):
    """What the context of a task needs of its run."""

    signals: list[PauseSignal]
    """The pauses that the body has been told of."""

    def chat(self) -> Chat:
        """Give the chat model, whose calls are recorded with the task."""

    def deps(self) -> Any:
        """Give the dependencies."""

    def memos(self) -> dict[str, str]:
        """Give the JSON of what the task has remembered, by name."""

    def remember(self, memo: MemoRecord) -> None:
        """Store the result of work."""

    def emit(self, value: Any) -> Awaitable[None]:
        """Tell who listens."""


class Context(Generic[D]):
    """A node's surroundings; a node takes it as its second parameter.

    ``ctx: Context[Deps]`` says of which type `ctx.deps` is.

    Attributes:
        run_id: The run; in a subgraph the child's.
        node: The node.
        key: The task: the node's name, `grade#1` of a Send, `score[3]` of an item of a map.
        step: The number that the step will be committed under.
        attempt: Which execution of the body this is, from 1: failed ones before it count. One that
            a crash cut off left no record, and does not.
    """

    __slots__ = ("_around", "_asked", "_task", "attempt", "key", "node", "run_id", "step")

    def __init__(self, run_id: str, task: Task, around: Surroundings) -> None:
        self.run_id, self.node, self.key = run_id, task.node.name, task.key
        self.step, self.attempt = task.step, task.attempt
        self._task, self._around = task, around
        self._asked: dict[str, tuple[Single, str]] = {}

    @property
    def idempotency_key(self) -> str:
        """The same for each execution of this task: hand it to services that must act once."""
        return f"{self.run_id}:{self.step}:{self.key}"

    @property
    def deps(self) -> D:
        """What was given as ``deps=``; a factory is called when it is first asked for.

        Raises:
            InputError: The factory made something of another type.
        """
        found: D = self._around.deps()
        return found

    @property
    def llm(self) -> Chat:
        """The chat model; each call is recorded with this task.

        In an ``async def`` node ``await ctx.llm.chat(...)``; in a plain one
        ``ctx.llm.sync.chat(...)``.

        Raises:
            NoModelError: No model is set up; the message says how.
        """
        return self._around.chat()

    @overload
    def ask(self, key: str, prompt: str) -> Any: ...
    @overload
    def ask(self, key: str, prompt: str, *, answer: type[T]) -> T: ...
    @overload
    def ask(self, key: str, prompt: str, *, answer: Any) -> Any: ...
    def ask(self, key: str, prompt: str, *, answer: Any = None) -> Any:
        """Ask a human. Without an answer the body ends here, and the run pauses.

        When the answer is there the body runs again from its beginning, and goes on with it. What
        must not be repeated stands before it in a `memo`, or in a node of its own.

        Args:
            key: The question's name in this node; questions are told apart by it alone. Asked again
                with the same words it gives the same answer.
            prompt: The words.
            answer: The type of an answer; by default any JSON.

        Returns:
            The answer.

        Raises:
            AskSignal: There is none yet, or it does not fit. It is no Exception: let it through.
            AnswerError: The key is no name, or this body has asked something else under it: with
                other words, or for another type.
        """
        single = self._task.node.asks[key] = self._asked_for(key, prompt, answer)
        name, words, number = key, prompt, 1
        asked = (self._task.questions or {}).get(name)
        while asked is not None and asked.answer_json is not None:
            try:
                return single.read(asked.answer_json)
            except StateError as error:  # only the body knew better: it asks once more
                number += 1
                name = f"{key}#{number}"
                words = f"{prompt} ({asked.answer_json} does not fit: {error})"
            asked = (self._task.questions or {}).get(name)
        question = asked or QuestionRecord(
            self.step, self.key, self.node, name, "ask", words, single.schema_json, now()
        )
        signal = AskSignal(question)
        self._around.signals.append(signal)
        raise signal

    @overload
    def memo(
        self, key: str, fn: Callable[[], Awaitable[T]], *, type: Any = None
    ) -> Awaitable[T]: ...
    @overload
    def memo(self, key: str, fn: Callable[[], T], *, type: Any = None) -> T: ...
    def memo(self, key: str, fn: Callable[[], Any], *, type: Any = None) -> Any:
        """Do a piece of work once: its result is stored before the body goes on.

        When the body runs again, after a question, a failure or a crash, the stored result is
        given and `fn` is not called.

        Args:
            key: The name of the work in this node.
            fn: Does it: a function, or an async function, whose result is to be awaited here
                too. Arguments go with functools.partial.
            type: The type of its result; by default any JSON.

        Returns:
            The result, as a reload gives it.

        Raises:
            StateError: The result does not fit the type, or cannot be stored.
        """
        if words := secret_in(str(key)):
            raise StateError(f"the key of a ctx.memo: {words}")
        single, memos = Single(type), self._around.memos()
        if is_async(fn):
            return self._remember_later(key, single, fn)
        if key in memos:
            return single.read(memos[key])
        found = fn()
        if isinstance(found, Awaitable):
            closed(found)
            raise StateError(
                f"ctx.memo({key!r}): {fn!r} gave something to await; pass the async function"
                " itself, its arguments with functools.partial"
            )
        return self._remember(key, single, found)

    def emit(self, value: Any) -> Awaitable[None]:
        """Tell who streams the run something; nobody else hears it, and it is not stored.

        Args:
            value: Anything.

        Returns:
            Something to await in an async node that tells much: it waits for a slow listener. A
            plain node waits by itself.
        """
        return self._around.emit(value)

    def _asked_for(self, key: str, prompt: str, answer: Any) -> Single:
        if not isinstance(key, str) or not key.strip() or not RESERVED.isdisjoint(key):
            without = " ".join(sorted(RESERVED))
            raise AnswerError(f"ctx.ask({key!r}): the key must be a name, without {without}")
        if words := secret_in(key):
            raise AnswerError(f"the key of a ctx.ask: {words}")
        single = Single(answer)
        before, words = self._asked.setdefault(key, (single, prompt))
        if before is single:
            return single
        if words != prompt:
            raise _asked_already(key, shown(prompt), shown(words))
        if before.schema_json != single.schema_json:
            raise _asked_already(key, f"answer={answer!r}", f"answer={before.of!r}")
        return single

    async def _remember_later(
        self, key: str, single: Single, fn: Callable[[], Awaitable[Any]]
    ) -> Any:
        memos = self._around.memos()
        if key in memos:
            return single.read(memos[key])
        return self._remember(key, single, await fn())

    def _remember(self, key: str, single: Single, found: Any) -> Any:
        try:
            value, text = single.store(found)
        except StateError as error:
            raise StateError(f"ctx.memo({key!r}): the result cannot be stored: {error}") from error
        self._around.memos()[key] = text
        self._around.remember(MemoRecord(self.step, self.key, key, text, now()))
        return value


def _asked_already(key: str, this: str, before: str) -> AnswerError:
    return AnswerError(
        f"ctx.ask({key!r}, {this}): this body has asked {key!r} with {before} before, whose answer"
        " would count for this one, too: questions are told apart by their keys alone. Give each a"
        f" key of its own, as f'{key}-{{item}}'"
    )
