"""A chat server whose answers a test writes: inside the process, or on a loopback port."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread
from typing import Any

from graphflow.llm.client import ChatClient, function_transport

__all__ = ["FakeLLM", "FakeServer", "HttpAnswer", "fake_server"]

Item = Any
"""One answer: a text; a mapping or a pydantic model, sent as JSON text; an HTTP status (an int);
an HttpAnswer, sent as it is; an exception (ConnectionError, TimeoutError), raised."""

Answering = Callable[[dict[str, Any]], Item]
"""Gives the answer to a request's payload."""


@dataclass(frozen=True)
class HttpAnswer:
    """An answer of the server, byte for byte."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeLLM:
    """A chat model that says what it is told to.

    It speaks `/chat/completions`, `/completions` and `/models`. Its token counts are made up, but
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
        >>> llm = FakeLLM(script=["billing", {"urgent": True}, 503])
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
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, HttpAnswer):
            return item
        if isinstance(item, int):
            return _sent(item, {"error": {"code": item, "message": "as the test wants it"}})
        return _sent(200, self._completion(number, payload, _worded(item, payload)))

    def _in_process(
        self, method: str, path: str, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = self.handle(method, path, body)
        return sent.status, sent.headers, sent.body

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
        self.send_response(sent.status)
        for name, value in sent.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent.body)))
        self.end_headers()
        self.wfile.write(sent.body)

    do_GET = do_POST = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: Any) -> None:
        """Keep the terminal clean."""
