"""A chat server whose answers a test writes: inside the process, or on a loopback port."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from socketserver import TCPServer
from threading import Event, Lock, Thread
from typing import Any

from graphflow.llm.client import ChatClient, Part, function_transport

__all__ = ["FakeLLM", "FakeServer", "HttpAnswer", "Paced", "fake_server", "refusal"]

Item = Any
"""One answer: a text; a mapping or a pydantic model, sent as JSON text; an HTTP status (an int);
`refusal(429, retry_after=2)`; an HttpAnswer, sent as it is; an exception (ConnectionError,
TimeoutError), raised; any of them as `Paced(item, delay=0.2)`."""

Answering = Callable[[dict[str, Any]], Item]
"""Gives the answer to a request's payload."""


@dataclass(frozen=True)
class HttpAnswer:
    """An answer of the server, byte for byte."""

    status: int
    body: bytes | Sequence[Part] = b""
    """Or its parts, sent one by one: bytes; a float, that many seconds of silence; an exception,
    which breaks the connection off."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The body in parts."""
        return (self.body,) if isinstance(self.body, bytes) else tuple(self.body)


@dataclass(frozen=True)
class Paced:
    """An answer that takes its time, or does not come to its end.

    Attributes:
        item: The answer.
        delay: Seconds before it begins.
        pause: Seconds between the pieces of a streamed answer.
        breaks_after: After how many pieces the connection is lost; at once when the answer is
            not streamed. None: it is not.
    """

    item: Item
    delay: float = 0.0
    pause: float = 0.0
    breaks_after: int | None = None


def refusal(status: int, retry_after: float | str | None = None) -> HttpAnswer:
    """Make the answer of a server that refuses.

    Args:
        status: The HTTP status: 429, 503.
        retry_after: The header Retry-After: seconds, or a date as HTTP writes it.
    """
    sent = _sent(status, {"error": {"code": status, "message": "as the test wants it"}})
    later = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return replace(sent, headers={**sent.headers, **later})


class FakeLLM:
    """A chat model that says what it is told to.

    It speaks `/chat/completions`, `/completions` and `/models`, and streams when it is asked to:
    word by word. Its token counts are made up, but
    honest: words between spaces, of what was really asked and answered. A text longer than
    `max_tokens` words is cut there. A `choose` is answered by the option's name alone.

    Args:
        script: The answers, in order; when they are used up, requests are refused.
        answer: Gives each answer instead.
        model: The name it answers under.
        grammar: Whether it understands `grammar` as llama.cpp does; decides how `choose` asks.

    Attributes:
        requests: The payloads received, in order.

    Example:
        >>> llm = FakeLLM(script=["billing", {"urgent": True}, refusal(429, retry_after=0.1)])
        >>> flow = graph.compile(llm=llm.client())
    """

    def __init__(
        self,
        script: Iterable[Item] | None = None,
        answer: Answering | None = None,
        *,
        model: str = "fake",
        grammar: bool = False,
    ) -> None:
        if (script is None) == (answer is None):
            raise ValueError("FakeLLM: give either script=[...] or answer=function")
        self.requests: list[dict[str, Any]] = []
        self.model, self.grammar = model, grammar
        self._script = None if script is None else list(script)
        self._answer = answer
        self._lock = Lock()

    def client(self, *, timeout: float = 5.0) -> ChatClient:
        """Make a client that it answers, without a network."""
        transport = function_transport(self._in_process)
        return ChatClient(
            "http://fake.invalid/v1",
            model=self.model,
            timeout=timeout,
            transport=transport,
            async_transport=transport,
        )

    def handle(self, method: str, path: str, body: bytes) -> HttpAnswer:
        """Answer one HTTP request.

        Raises:
            Exception: The script or the function says so.
        """
        if not path.endswith(("/chat/completions", "/completions", "/models")):
            return _sent(404, {"error": {"code": 404, "message": f"no such path: {path}"}})
        if method == "GET":
            owner = "llamacpp" if self.grammar else "graphflow"
            listed = [{"id": self.model, "object": "model", "owned_by": owner}]
            return _sent(200, {"object": "list", "data": listed})
        payload = json.loads(body)
        with self._lock:
            self.requests.append(payload)
            number = len(self.requests)
        item = self._item(number, payload)
        paced = item if isinstance(item, Paced) else Paced(item)
        sent = self._answered(number, payload, paced)
        return replace(sent, body=(paced.delay, *sent.parts)) if paced.delay else sent

    def _answered(self, number: int, payload: dict[str, Any], paced: Paced) -> HttpAnswer:
        item = paced.item
        if isinstance(item, Exception):
            if paced.delay:
                return HttpAnswer(200, [item])
            raise item
        if isinstance(item, HttpAnswer):
            return item
        if isinstance(item, int):
            return refusal(item)
        body = self._completion(number, payload, _worded(item, payload))
        if payload.get("stream"):
            usage = bool((payload.get("stream_options") or {}).get("include_usage"))
            parts = tuple(_streamed(body, paced, usage=usage))
            return HttpAnswer(200, parts, {"Content-Type": "text/event-stream"})
        return _sent(200, body) if paced.breaks_after is None else HttpAnswer(200, [_lost()])

    def _in_process(
        self, method: str, path: str, body: bytes
    ) -> tuple[int, Mapping[str, str], Sequence[Part]]:
        sent = self.handle(method, path, body)
        return sent.status, sent.headers, sent.parts

    def _item(self, number: int, payload: dict[str, Any]) -> Item:
        if self._answer is not None:
            return self._answer(payload)
        script = self._script or []
        if number <= len(script):
            return script[number - 1]
        said = f"the script of FakeLLM has {len(script)} answers, and this is request {number}"
        return _sent(400, {"error": {"code": 400, "message": said}})

    def _completion(self, number: int, payload: dict[str, Any], text: str) -> dict[str, Any]:
        limit = payload.get("max_tokens")
        words = text.split()
        cut = limit is not None and len(words) > limit
        text = " ".join(words[:limit]) if cut else text
        chat = "messages" in payload
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        asked, answered = len(_asked(payload).split()), len(text.split())
        return {
            "id": f"fake-{number}",
            "object": "chat.completion" if chat else "text_completion",
            "model": self.model,
            "choices": [{"index": 0, "finish_reason": "length" if cut else "stop", **choice}],
            "usage": {
                "prompt_tokens": asked,
                "completion_tokens": answered,
                "total_tokens": asked + answered,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        }


def _asked(payload: Mapping[str, Any]) -> str:
    if "messages" in payload:
        return " ".join(str(message["content"]) for message in payload["messages"])
    return str(payload["prompt"])


def _worded(item: Item, payload: Mapping[str, Any]) -> str:
    """Write an item as the text that the model would say."""
    if hasattr(item, "model_dump_json"):
        return str(item.model_dump_json())
    if not isinstance(item, str):
        return json.dumps(item)
    wanted = payload.get("response_format", {}).get("json_schema", {})
    return json.dumps({"choice": item}) if wanted.get("name") == "choice" else item


def _streamed(body: Mapping[str, Any], paced: Paced, *, usage: bool) -> Iterator[Part]:
    """Cut an answer into the events of a stream, as OpenAI's servers do: the counts come last."""
    (choice,) = body["choices"]
    head = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    chat = "message" in choice
    head["object"] += ".chunk" if chat else ""

    def event(said: Mapping[str, Any], reason: str | None = None) -> bytes:
        piece = {"delta": said} if chat else {"text": said.get("content", "")}
        return _event({**head, "choices": [{"index": 0, "finish_reason": reason, **piece}]})

    text = choice["message"]["content"] if chat else choice["text"]
    yield event({"role": "assistant", "content": ""})
    for number, piece in enumerate(re.findall(r"\s*\S+|\s+", text)[: paced.breaks_after]):
        if paced.pause and number:
            yield paced.pause
        yield event({"content": piece})
    if paced.breaks_after is not None:
        yield _lost()
    yield event({}, choice["finish_reason"])
    if usage:
        yield _event({**head, "choices": [], "usage": body["usage"]})
    yield b"data: [DONE]\n\n"


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _lost() -> ConnectionError:
    return ConnectionResetError("the connection is lost, as the test wants it")


def _sent(status: int, body: Mapping[str, Any]) -> HttpAnswer:
    headers = {"Content-Type": "application/json"}
    return HttpAnswer(status, json.dumps(body).encode(), headers)


@dataclass(frozen=True)
class FakeServer:
    """A fake chat server that listens."""

    url: str
    """Its base URL, with /v1."""
    llm: FakeLLM
    keys: list[str | None] = field(default_factory=list)
    """The Authorization header of each request."""
    left: Event = field(default_factory=Event)
    """Set when a client leaves in the middle of an answer; noticed at the next piece."""

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The payloads received, in order."""
        return self.llm.requests


@contextmanager
def fake_server(answer: Answering | FakeLLM) -> Iterator[FakeServer]:
    """Serve a fake model on a free loopback port, over real sockets.

    Args:
        answer: What FakeLLM takes as `answer`, or one that is ready. An exception as answer
            closes the connection without a word.

    Yields:
        The server; it and its connections are closed at the end.
    """
    llm = answer if isinstance(answer, FakeLLM) else FakeLLM(answer=answer)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fake = FakeServer(f"http://127.0.0.1:{server.server_address[1]}/v1", llm)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.fake
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


class _Server(ThreadingHTTPServer):
    fake: FakeServer
    request_queue_size = 128
    daemon_threads = False  # server_close waits for them

    def __init__(self, *args: Any) -> None:
        self._open: set[Any] = set()
        self.closing = Event()
        super().__init__(*args)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's looks the host's name up, which can take long

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open; their threads wait for more requests."""
        from socket import SHUT_RDWR

        for request in list(self._open):
            try:
                request.shutdown(SHUT_RDWR)
            except OSError:  # its client was first
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up in the middle, which tests make them do."""


class _BrokenOffError(Exception):
    """The server ends a connection before the answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet: two would wait 40 ms for each other
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.fake.keys.append(self.headers.get("Authorization"))
        try:
            sent = self.server.fake.llm.handle(self.command, self.path, body)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        except Exception as error:  # noqa: BLE001 - the test's own: its client shall see it
            sent = _sent(500, {"error": {"code": 500, "message": repr(error)}})
        try:
            self._send(sent)
        except _BrokenOffError:
            self.close_connection = True
        except OSError:
            self.close_connection = True
            self.server.fake.left.set()

    def _send(self, sent: HttpAnswer) -> None:
        """Send head and body; one that comes in several parts as chunks, each as soon as it can."""
        pieces = self._pieces(sent.parts)
        first = next(pieces, b"")  # what precedes it holds the head back as well
        chunked = sum(not isinstance(part, float) for part in sent.parts) > 1
        self.send_response(sent.status)
        length = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(first))
        for name, value in (*sent.headers.items(), length):
            self.send_header(name, str(value))
        self.end_headers()
        for piece in chain((first,), pieces):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            self.wfile.flush()
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _pieces(self, parts: Sequence[Part]) -> Iterator[bytes]:
        for part in parts:
            if isinstance(part, bytes):
                yield part
            elif isinstance(part, Exception) or self.server.closing.wait(part):
                raise _BrokenOffError

    do_GET = do_POST = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: Any) -> None:
        """Keep the terminal clean."""
