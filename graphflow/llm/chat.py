"""The faces of the chat model: `Chat` to await, `Chat.sync` to call."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from graphflow.errors import DefinitionError
from graphflow.llm.calls import Calls, M, T, Talk
from graphflow.llm.client import ChatClient
from graphflow.llm.stream import Emit, Sieve
from graphflow.llm.wire import Prompt, Reply
from graphflow.records import CallRecord

__all__ = ["Chat", "Reply", "SyncChat"]


class Chat:
    """The chat model of one node, awaited; `.sync` is the blocking face of the same.

    Args:
        client: The server.
        record: Called once per request to the model, failed ones included, before its result
            is handed on. Outside a run: `Chat(client, calls.append)`.
        step: The step of the records.
        key: Their task.
        attempt: Their attempt.
        sync_node: The name of a node that is a plain `def`, which cannot await.
        admit: Called before each request to the model with the tokens that it asks for
            (max_tokens; 0 when it sets no bound). When it raises, the request is not made and
            nothing is recorded; what it lets through reaches `record` in any case.
        emit: Makes `chat` stream: called with each piece of the text as it comes. Reading goes
            on when what it returns, if anything, has been awaited; `.sync` awaits nothing.
        sieve: Called for each answer that is streamed: gives what its pieces go through before
            `emit` gets them.
    """

    def __init__(
        self,
        client: ChatClient,
        record: Callable[[CallRecord], None],
        *,
        step: int = 0,
        key: str = "",
        attempt: int = 1,
        sync_node: str | None = None,
        admit: Callable[[int], None] | None = None,
        emit: Emit | None = None,
        sieve: Callable[[], Sieve | None] = lambda: None,
    ) -> None:
        task = (step, key, attempt)
        self._calls = Calls(client, record, task, admit=admit, emit=emit, sieve=sieve)
        self._sync_node = sync_node

    @property
    def sync(self) -> "SyncChat":
        """The same methods, blocking: for nodes that are a plain `def`."""
        return SyncChat(self._calls)

    def chat(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        temperature: float | None = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """Ask the model.

        Args:
            prompt: A text, or messages.
            system: What the model is told before them.
            temperature: 0 for the likeliest words; None for models that allow no choice.
            max_tokens: The longest answer; None is the server's own bound.
            seed: For the same answer again, at servers that know it.
            stop: Where the answer ends.

        Raises:
            DefinitionError: The node is a plain `def`; at once, not when awaited.
            ModelUnavailableError: The server does not answer.
            ModelAnswerError: Its answer cannot be used.
        """
        sampling = _sampling(temperature, max_tokens, seed, stop)
        return self._awaited("chat", self._calls.chat(prompt, system, sampling))

    def parse(
        self,
        model_class: type[M],
        prompt: Prompt,
        *,
        system: str | None = None,
        temperature: float | None = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Coroutine[Any, Any, M]:
        """Ask for an object, by a JSON schema that the server holds the model to.

        The prompt is sent as it is: say in it what the fields mean. Fields with a default are
        asked for too.

        Args:
            model_class: A pydantic model; it validates the answer.
            prompt: As in `chat`.
            system: As in `chat`.
            temperature: As in `chat`.
            max_tokens: As in `chat`; an answer that is cut does not fit.
            seed: As in `chat`.
            stop: As in `chat`.

        Raises:
            DefinitionError: The node is a plain `def`; at once, not when awaited.
            ModelUnavailableError: The server does not answer.
            ModelAnswerError: The answer does not fit; names the fields.
        """
        sampling = _sampling(temperature, max_tokens, seed, stop)
        return self._awaited("parse", self._calls.parse(model_class, prompt, system, sampling))

    def choose(
        self,
        prompt: str,
        options: Sequence[str],
        *,
        system: str | None = None,
        temperature: float | None = 0.0,
        seed: int | None = None,
    ) -> Coroutine[Any, Any, str]:
        r"""Ask for one of several words.

        A server that takes grammars (llama.cpp's; see `ChatClient(grammar=)`) goes on with the
        prompt as it stands, so let it end where the word belongs, after a few examples:
        `Ticket: I was charged twice\nTopic: billing\n\nTicket: ...\nTopic:`. Any other server is
        asked in its chat for one of the options, by a JSON schema.

        Args:
            prompt: A text.
            options: What may be answered, each on one line.
            system: What the model is told before the prompt.
            temperature: As in `chat`.
            seed: As in `chat`.

        Raises:
            ValueError: The options are none, not distinct, or not single lines.
            DefinitionError: The node is a plain `def`; at once, not when awaited.
            ModelUnavailableError: The server does not answer.
            ModelAnswerError: The answer is none of the options.
        """
        sampling = _sampling(temperature, seed=seed)
        return self._awaited("choose", self._calls.choose(prompt, options, system, sampling))

    def _awaited(self, method: str, talk: Talk[T]) -> Coroutine[Any, Any, T]:
        if self._sync_node is not None:
            raise DefinitionError(
                f"node {self._sync_node!r} is a plain def and cannot await: call "
                f"ctx.llm.sync.{method}(...), or make the node async def"
            )
        return _await(self._calls.client, talk)


class SyncChat:
    """The blocking face of a Chat: `chat.sync`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def chat(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        temperature: float | None = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Reply:
        """Ask the model: `Chat.chat`, blocking."""
        sampling = _sampling(temperature, max_tokens, seed, stop)
        return _run(self._calls.client, self._calls.chat(prompt, system, sampling))

    def parse(
        self,
        model_class: type[M],
        prompt: Prompt,
        *,
        system: str | None = None,
        temperature: float | None = 0.0,
        max_tokens: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> M:
        """Ask for an object: `Chat.parse`, blocking."""
        sampling = _sampling(temperature, max_tokens, seed, stop)
        return _run(self._calls.client, self._calls.parse(model_class, prompt, system, sampling))

    def choose(
        self,
        prompt: str,
        options: Sequence[str],
        *,
        system: str | None = None,
        temperature: float | None = 0.0,
        seed: int | None = None,
    ) -> str:
        """Ask for one of several words: `Chat.choose`, blocking."""
        sampling = _sampling(temperature, seed=seed)
        return _run(self._calls.client, self._calls.choose(prompt, options, system, sampling))


def _run(client: ChatClient, talk: Talk[T]) -> T:
    try:
        request = next(talk)
        while True:
            try:
                answer = client.send(request.path, request.payload, request.emit)
            except BaseException as error:  # noqa: BLE001 - the talk records and raises it
                request = talk.throw(error)
            else:
                request = talk.send(answer)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # StopIteration is not generic


async def _await(client: ChatClient, talk: Talk[T]) -> T:
    try:
        request = next(talk)
        while True:
            try:
                answer = await client.asend(request.path, request.payload, request.emit)
            except BaseException as error:  # noqa: BLE001 - the talk records and raises it
                request = talk.throw(error)
            else:
                request = talk.send(answer)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # StopIteration is not generic


def _sampling(
    temperature: float | None,
    max_tokens: int | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] | None = None,
) -> dict[str, Any]:
    """Name the options as the chat API does."""
    words = [stop] if isinstance(stop, str) else stop
    return {"temperature": temperature, "max_tokens": max_tokens, "seed": seed, "stop": words}
