"""chat, parse and choose, written once: generators that yield requests and are sent answers.

Nothing here reads or writes: a face (`llm.chat`) carries each request to the server and brings
the answer back, blocking or awaited. Every request to the model is recorded as soon as it is
judged, before its result is handed on.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from graphflow.errors import ModelAnswerError, ModelError
from graphflow.llm.client import ChatClient
from graphflow.llm.stream import Emit, Sieve
from graphflow.llm.wire import (
    Answer,
    Prompt,
    Reply,
    Usage,
    beginning,
    choice_in,
    choice_schema,
    chosen_word,
    json_text,
    messages,
    read_reply,
    response_format,
    understood,
    usage_in,
    word_grammar,
)
from graphflow.records import CallRecord

__all__ = ["Calls", "M", "Request", "T", "Talk"]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """What a generator asks a face to send: a POST, or a GET when there is no payload."""

    path: str
    payload: Mapping[str, Any] | None = None
    emit: Emit | None = None
    """Gets the pieces of the answer, which is streamed then."""


Talk = Generator[Request, Answer, T]


class Calls:
    """chat, parse and choose as generators, for one task."""

    def __init__(
        self,
        client: ChatClient,
        record: Callable[[CallRecord], None],
        task: tuple[int, str, int],
        *,
        admit: Callable[[int], None] | None = None,
        emit: Emit | None = None,
        sieve: Callable[[], Sieve | None] = lambda: None,
    ) -> None:
        self.client, self._record, self._task = client, record, task
        self._admit, self._emit, self._sieve = admit, emit, sieve

    def chat(self, prompt: Prompt, system: str | None, sampling: Mapping[str, Any]) -> Talk[Reply]:
        """Ask for a text."""
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        body = {"messages": messages(prompt, system), **(streamed if self._emit else {})}
        return self._ask(
            "chat", "/chat/completions", self._payload(body, sampling), read_reply, self._emit
        )

    def parse(
        self, model_class: type[M], prompt: Prompt, system: str | None, sampling: Mapping[str, Any]
    ) -> Talk[M]:
        """Ask for an object that fits the class's JSON schema."""
        schema = model_class.model_json_schema()
        if self.client.grammar:
            schema = understood(schema)
        body = {
            "messages": messages(prompt, system),
            "response_format": response_format(model_class.__name__, schema),
        }
        return self._ask(
            "parse",
            "/chat/completions",
            self._payload(body, sampling),
            lambda answer: _fitted(model_class, read_reply(answer)),
        )

    def choose(
        self, prompt: str, options: Sequence[str], system: str | None, sampling: Mapping[str, Any]
    ) -> Talk[str]:
        """Ask for one of the options, in the way that the server is best at."""
        words = _checked_options(options)
        if not isinstance(prompt, str):
            raise TypeError(f"choose(prompt={beginning(repr(prompt))}): the prompt must be a text")
        if self.client.grammar is None:
            yield from self._probe()
        ask = self._choose_word if self.client.grammar else self._choose_in_chat
        return (yield from ask(prompt, words, system, sampling))

    def _choose_word(
        self, prompt: str, options: list[str], system: str | None, sampling: Mapping[str, Any]
    ) -> Talk[str]:
        """Let the text simply go on, with one of the options.

        Small models are best at this by far: of 60 messages with two examples for each of six
        topics, SmolLM2-135M puts 41 right like this, 10 when the same lines are a chat message.
        """
        text = (f"{system}\n\n{prompt}" if system else prompt).rstrip(" \t")
        body = {
            "prompt": text,
            "grammar": word_grammar(options, "" if text.endswith("\n") else " "),
            "max_tokens": max(len(option.encode()) for option in options) + 2,
        }
        return self._ask(
            "choose",
            "/completions",
            self._payload(body, sampling),
            lambda answer: chosen_word(read_reply(answer).text, options),
        )

    def _choose_in_chat(
        self, prompt: str, options: list[str], system: str | None, sampling: Mapping[str, Any]
    ) -> Talk[str]:
        rule = f"Answer with exactly one of these: {', '.join(options)}."
        body = {
            "messages": messages(prompt, f"{system}\n\n{rule}" if system else rule),
            "response_format": response_format("choice", choice_schema(options)),
        }
        return self._ask(
            "choose",
            "/chat/completions",
            self._payload(body, sampling),
            lambda answer: choice_in(read_reply(answer), options),
        )

    def _probe(self) -> Talk[None]:
        """Learn once per client whether the server is llama.cpp's, which takes grammars.

        It says so in its list of models. A server that gives no list is asked as all others are;
        when it does not answer at all, the request itself will say so.
        """
        try:
            answer = yield Request("/models")
        except ModelAnswerError:
            self.client.grammar = False
        except ModelError:
            return
        else:
            listed = answer.body.get("data")
            self.client.grammar = any(
                isinstance(one, dict) and one.get("owned_by") == "llamacpp"
                for one in (listed if isinstance(listed, list) else ())
            )

    def _payload(self, body: Mapping[str, Any], sampling: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in sampling.items() if value is not None}
        model = {"model": self.client.model} if self.client.model else {}
        return {**model, **body, **given}

    def _ask(
        self,
        kind: str,
        path: str,
        payload: dict[str, Any],
        read: Callable[[Answer], T],
        emit: Emit | None = None,
    ) -> Talk[T]:
        """Send one request to the model, and record it whatever comes of it."""
        model = str(payload.get("model", ""))
        asked = _Asked(kind, json_text(payload), model, emit, self._sieve() if emit else None)
        if self._admit is not None:  # last: what has been admitted is always recorded
            self._admit(payload.get("max_tokens") or 0)
        try:
            answer = yield Request(path, payload, asked.hear if emit else None)
        except BaseException as error:  # a cancelled request may have cost tokens as well
            self._record(asked.record(self._task, None, error))
            raise
        try:
            result = read(answer)
        except ModelAnswerError as error:
            self._record(asked.record(self._task, answer, error))
            raise
        self._record(asked.record(self._task, answer, None))
        return result


class _Asked:
    """A request on its way: what its record will say of it."""

    def __init__(
        self, kind: str, text: str, model: str, emit: Emit | None, sieve: Sieve | None
    ) -> None:
        self._kind, self._text, self._model = kind, text, model
        self._emit, self._sieve = emit, sieve
        self._at, self._clock = datetime.now(UTC), perf_counter()
        self._pieces: list[str] = []

    def hear(self, piece: str) -> Awaitable[None] | None:
        """Pass a piece on, and keep it for the record of an answer that breaks off."""
        self._pieces.append(piece)
        if self._sieve is not None:
            piece = self._sieve.take(piece)
        return self._emit(piece) if self._emit and piece else None

    def record(
        self, task: tuple[int, str, int], answer: Answer | None, error: BaseException | None
    ) -> CallRecord:
        if self._emit and self._sieve and (rest := self._sieve.rest()):
            self._emit(rest)
        usage = usage_in(answer.body) if answer else Usage()
        model = str((answer.body.get("model") if answer else None) or self._model)
        return CallRecord(
            *task,
            kind=self._kind,
            model=model,
            started_at=self._at.isoformat(timespec="microseconds"),
            duration_ms=(perf_counter() - self._clock) * 1000,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            request_json=self._text,
            response_json=answer.text if answer else None,
            error=self._told(error, broken=answer is None) if error else None,
        )

    def _told(self, error: BaseException, *, broken: bool) -> str:
        words = f"{type(error).__name__}: {error}".rstrip(": ")
        return f"{words} (after {''.join(self._pieces)!r})" if broken and self._pieces else words


def _checked_options(options: Sequence[str]) -> list[str]:
    words = [] if isinstance(options, str) else list(options)
    if (
        not words
        or len(set(words)) < len(words)
        or not all(isinstance(word, str) and word == word.strip() != "" for word in words)
        or not all(word.isprintable() for word in words)
    ):
        raise ValueError(
            f"choose(options={beginning(repr(options))}): give a list of distinct, single-line "
            "texts without spaces around them"
        )
    return words


def _problems(error: ValidationError) -> str:
    found = [
        f"{'.'.join(map(str, one['loc'])) or 'the whole answer'}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return "; ".join(found[:5]) + (f"; {len(found) - 5} more" if len(found) > 5 else "")


def _fitted(model_class: type[M], reply: Reply) -> M:
    """Validate an answer.

    Raises:
        ModelAnswerError: It does not fit; names the fields and shows the answer's beginning.
    """
    try:
        return model_class.model_validate_json(reply.text)
    except ValidationError as error:
        cut = reply.finish_reason == "length"
        raise ModelAnswerError(
            f"the model's answer does not fit {model_class.__name__}: {_problems(error)}."
            + (" It was cut at max_tokens: allow more." if cut else "")
            + f" It begins: {beginning(reply.text)}"
        ) from error
