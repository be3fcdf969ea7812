"""Reads a streamed answer: bytes in, pieces of text out, and at the end the whole answer."""

import json
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from io import IncrementalNewlineDecoder
from typing import Any, Protocol, TypeAlias

from graphflow.errors import ModelAnswerError
from graphflow.llm.refusal import broken_off, error_in
from graphflow.llm.wire import Answer, beginning, json_text, read_body, read_reply

__all__ = ["Emit", "Sieve", "Stream"]

Emit: TypeAlias = Callable[[str], Awaitable[None] | None]
"""Takes a piece of an answer; reading goes on when what it returns has been awaited."""


class Sieve(Protocol):
    """Keeps out of the pieces of one answer what nobody may hear."""

    def take(self, piece: str) -> str:
        """Give what may be passed on now; what is not yet certain is kept back."""

    def rest(self) -> str:
        """Give what was kept back, when the answer is over."""


class Stream:
    """One streamed answer as it comes in. It neither reads nor writes.

    A server that takes no notice of `stream` sends its answer in one body: that is then the only
    piece.

    Args:
        where: The URL, for messages.
        scrub: Takes the key out of a text that the server sent.

    Attributes:
        begun: Whether anything has come.
        done: Whether the answer is complete.
        over: Whether there are no more bytes. What follows a complete answer is read as well:
            a connection can be used again only when it has been read to the end.

    Source:
        https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
        https://platform.openai.com/docs/api-reference/chat-streaming
    """

    def __init__(self, where: str, scrub: Callable[[str], str]) -> None:
        self.begun = self.done = self.over = False
        self._where, self._scrub = where, scrub
        utf8 = getincrementaldecoder("utf-8-sig")("replace")
        self._decoder = IncrementalNewlineDecoder(utf8, translate=True)
        self._line = ""  # its end is still to come
        self._data: list[str] = []
        self._plain: list[str] | None = []  # all there was, until an event shows it is a stream
        self._body: dict[str, Any] = {}
        self._choice: dict[str, Any] = {}
        self._message: dict[str, Any] = {}

    def feed(self, chunk: bytes) -> Iterator[str]:
        r"""Take in bytes, cut anywhere; b"" says that there are no more.

        Yields:
            Each piece of the model's text.

        Raises:
            ModelUnavailableError: The server broke off, or sent an error in the middle.
            ModelAnswerError: That error blames the request; or this is no stream of a chat.
        """
        self.begun, self.over = True, not chunk
        text = self._decoder.decode(chunk, final=not chunk)
        if self._plain is not None:
            self._plain.append(text)
        *lines, self._line = (self._line + text).split("\n")
        if not chunk:
            lines += [self._line, ""]  # some servers forget the empty line after the last event
        for line in lines:
            yield from self._take_line(line)
        if not chunk:
            yield from self._end()

    def answer(self) -> Answer:
        """Put the pieces together as the server would have sent them in one body.

        Raises:
            ModelAnswerError: They make no answer of the chat API.
        """
        if self._plain is not None:
            return read_body(self._scrub("".join(self._plain)), self._where)
        body = dict(self._body)
        if "object" in body:
            body["object"] = "chat.completion"
        if self._choice:
            body["choices"] = [{**self._choice, "message": self._whole_message()}]
        return read_body(json_text(body), self._where)

    def _take_line(self, line: str) -> Iterator[str]:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "error":  # older llama.cpp servers write errors like this
                self._data.append(f'{{"error": {value}}}')
        elif self._data:
            data, self._data, self._plain = self._scrub("\n".join(self._data)), [], None
            if data.strip() == "[DONE]":
                self.done = True
            elif not self.done and data.strip():
                yield from self._take(self._read(data))

    def _read(self, data: str) -> dict[str, Any]:
        try:
            piece = json.loads(data, parse_constant=lambda _: None)
        except ValueError:
            piece = None
        if not isinstance(piece, dict) and self.over:
            raise broken_off(self._where, f"the stream ends with {beginning(data)}")
        if not isinstance(piece, dict):
            raise ModelAnswerError(
                f"{self._where} sent a piece that is no JSON object: {beginning(data)}"
            )
        if error := error_in(self._where, piece):
            raise error
        return piece

    def _take(self, piece: dict[str, Any]) -> Iterator[str]:
        choices = piece.pop("choices", None)
        self._body.update(_given(piece))  # the counts come in a last piece without choices
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                delta = choice.pop("delta", None)
                self._choice.update({"index": 0, "finish_reason": None} if not self._choice else {})
                self._choice.update(_given(choice))
                yield from self._add(delta if isinstance(delta, dict) else {})

    def _add(self, delta: Mapping[str, Any]) -> Iterator[str]:
        for name, value in _given(delta).items():
            old = self._message.get(name)
            joins = isinstance(value, str | list) and type(value) is type(old) and name != "role"
            self._message[name] = old + value if joins else value
        content = delta.get("content")
        if isinstance(content, str) and content:
            yield content

    def _whole_message(self) -> dict[str, Any]:
        """Say of a model that said nothing that it did so, unless it did something else."""
        other = self._message.keys() & {"refusal", "tool_calls", "function_call"}
        silent = {"content": None if other else ""}
        return {"role": "assistant", **silent, **self._message}

    def _end(self) -> Iterator[str]:
        if self._plain is not None:
            with suppress(ModelAnswerError):  # answer() will raise it
                yield read_reply(self.answer()).text
        elif not self.done and self._choice.get("finish_reason") is None:
            raise broken_off(self._where, "the stream ends without its end")
        self.done = True


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
