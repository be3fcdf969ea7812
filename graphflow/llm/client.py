"""Requests to an OpenAI-compatible server over httpx; failures told in graphflow's errors."""

import os
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, finalize

from graphflow.errors import ModelAnswerError, ModelError, ModelUnavailableError, NoModelError
from graphflow.llm.address import checked_key, checked_url, shown
from graphflow.llm.embedded import INSTALL, MODEL, EmbeddedServer, is_installed, serve
from graphflow.llm.refusal import broken_off, refused, silent, unreachable
from graphflow.llm.stream import Emit, Stream
from graphflow.llm.wire import Answer, json_text, read_body

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

    import httpx

__all__ = ["ChatClient", "Part", "function_transport"]

_OPENAI = "https://api.openai.com/v1"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CONNECT = 10.0  # seconds; a server that is there accepts at once, however long it then thinks
_PROBE = 10.0  # seconds for a question about the server itself
_IDLE = 3.0  # seconds a connection is kept; servers close theirs after 5, and must not be first
_QUEUE = 600.0  # seconds; the embedded model answers one request at a time
_TOO_SHORT = 8  # letters; a shorter "key" (none, EMPTY, x) is no secret, and is in many words

Part: TypeAlias = bytes | float | Exception
"""A part of a body: bytes, seconds until the next part, or what breaks the connection."""


class ChatClient:
    """The connection to one server. It can be shared by threads, event loops and runs.

    Connections open at the first request. After `close()` the next request opens new ones.

    Args:
        base_url: Such as `https://api.openai.com/v1`.
        api_key: Sent as bearer token. It appears in no message and no record.
        model: The model to ask for; None leaves it to a server that has only one.
        timeout: Seconds without a byte from the server.
        transport: Answers the requests of the blocking face instead of the network.
        async_transport: Answers those of the async face.
        grammar: Whether the server's `/completions` takes a `grammar`, as llama.cpp's does.
            None: ask it, once, when `choose` first wants to know.

    Raises:
        NoModelError: The base URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        model: str | None = None,
        *,
        timeout: float = 120.0,
        transport: "httpx.BaseTransport | None" = None,
        async_transport: "httpx.AsyncBaseTransport | None" = None,
        grammar: bool | None = None,
    ) -> None:
        self.base_url = checked_url(base_url)
        self.model, self.timeout, self.grammar = model, timeout, grammar
        self._key = checked_key(api_key)
        self._transport, self._async_transport = transport, async_transport
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._client: httpx.Client | None = None
        self._aclients: WeakKeyDictionary[AbstractEventLoop, httpx.AsyncClient]
        self._aclients = WeakKeyDictionary()
        self._keepers: dict[httpx.AsyncClient, AsyncGenerator[httpx.AsyncClient]] = {}

    @classmethod
    def from_environment(
        cls, base_url: str | None = None, api_key: str | None = None, model: str | None = None
    ) -> Self:
        """Connect to what is set up: the arguments, the environment, or the local model.

        Args:
            base_url: Else `OPENAI_BASE_URL`; with only a key, OpenAI itself.
            api_key: Else `OPENAI_API_KEY`.
            model: Else `GRAPHFLOW_MODEL`.

        Raises:
            NoModelError: Nothing is set up; says both ways.
        """
        url = base_url or os.environ.get("OPENAI_BASE_URL")
        key = api_key or os.environ.get("OPENAI_API_KEY")
        model = model or os.environ.get("GRAPHFLOW_MODEL") or None
        if url:
            return cls(url, key, model)
        if key:
            if not model:
                raise NoModelError(
                    "OPENAI_API_KEY is set, but no model is named: set GRAPHFLOW_MODEL too. "
                    "(Without OPENAI_BASE_URL the key is used at api.openai.com.)"
                )
            return cls(_OPENAI, key, model)
        if model not in (None, MODEL):
            raise NoModelError(
                f"the model {model!r} is asked for (GRAPHFLOW_MODEL), but no server is named: "
                f"set OPENAI_BASE_URL, or OPENAI_API_KEY for api.openai.com"
            )
        if not is_installed():
            raise NoModelError(
                "no chat model is set up. Either set OPENAI_BASE_URL and GRAPHFLOW_MODEL (and "
                "OPENAI_API_KEY where the server wants one) to an OpenAI-compatible server, or "
                f"install the small local model: {INSTALL}"
            )
        return cls.embedded(serve())

    @classmethod
    def embedded(cls, server: EmbeddedServer) -> Self:
        """Connect to the model inside this process."""
        return cls(server.url, model=server.model, timeout=_QUEUE, grammar=True)

    def send(
        self, path: str, payload: Mapping[str, Any] | None, emit: Emit | None = None
    ) -> Answer:
        """Send a request and wait for the answer.

        Args:
            path: Below the base URL: `/chat/completions`.
            payload: The body; None sends a GET.
            emit: Gets the pieces of an answer that is streamed; nothing that it returns is
                awaited here.

        Raises:
            ModelUnavailableError: No answer, or one that says to come back later.
            ModelAnswerError: An answer, but no usable one.
        """
        import httpx

        request, stream = self._request(path, payload), None
        try:
            if emit is None:
                return self._answer(self._open().request(**request), payload)
            stream = self._stream(path)
            with self._open().stream(**request) as response:
                if not response.is_success:
                    response.read()
                    raise self._refusal(response)
                chunks = response.iter_bytes()
                while not stream.over:
                    for piece in stream.feed(next(chunks, b"")):
                        emit(piece)
                return stream.answer()
        except httpx.HTTPError as error:
            if stream is not None and stream.done:
                return stream.answer()
            raise self._unavailable(request["url"], error, stream) from error

    async def asend(
        self, path: str, payload: Mapping[str, Any] | None, emit: Emit | None = None
    ) -> Answer:
        """Do what `send` does, without blocking the event loop.

        Between two pieces it waits for what `emit` returns, and reads nothing meanwhile.
        """
        import httpx

        request, stream = self._request(path, payload), None
        try:
            client = await self._aopen()
            if emit is None:
                return self._answer(await client.request(**request), payload)
            stream = self._stream(path)
            async with client.stream(**request) as response:
                if not response.is_success:
                    await response.aread()
                    raise self._refusal(response)
                chunks = response.aiter_bytes()
                while not stream.over:
                    for piece in stream.feed(await anext(chunks, b"")):
                        if (waiting := emit(piece)) is not None:
                            await waiting
                return stream.answer()
        except httpx.HTTPError as error:
            if stream is not None and stream.done:
                return stream.answer()
            raise self._unavailable(request["url"], error, stream) from error

    def close(self) -> None:
        """Close the connections; those of an event loop close when it next turns or ends."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            client, self._client = self._client, None
            keepers = [(loop, self._keepers[kept]) for loop, kept in self._aclients.items()]
            self._aclients.clear()
        if client is not None:
            client.close()
        for loop, keeper in keepers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_end, loop, keeper)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ChatClient({shown(self.base_url)!r}, model={self.model!r})"

    def _open(self) -> "httpx.Client":
        import httpx

        if self._pid != os.getpid():  # a forked child must not talk into the parent's connections
            self._begin()
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(transport=self._transport, **self._settings())
                finalize(self, _close_own, self._client, self._pid)  # for who drops it unclosed
            return self._client

    async def _aopen(self) -> "httpx.AsyncClient":
        import asyncio

        if self._pid != os.getpid():
            self._begin()
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._aclients.get(loop)
        if client is None:
            keeper = self._keep(loop)
            client = await anext(keeper)  # suspends nowhere: no other task gets between
            with self._lock:
                self._aclients[loop], self._keepers[client] = client, keeper
        return client

    async def _keep(self, loop: "AbstractEventLoop") -> "AsyncGenerator[httpx.AsyncClient]":
        """Hold the client of one event loop.

        A loop that ends (`asyncio.run`) closes its async generators: that is how the connections
        are closed in time, without anybody having to think of it.
        """
        import httpx

        client = httpx.AsyncClient(transport=self._async_transport, **self._settings())
        try:
            yield client
        finally:
            with self._lock:
                if self._aclients.get(loop) is client:
                    del self._aclients[loop]
                self._keepers.pop(client, None)
            await client.aclose()

    def _settings(self) -> dict[str, Any]:
        import httpx

        parts = urlsplit(self.base_url)
        local = parts.hostname in _LOOPBACK
        plain = local and parts.scheme == "http"
        return {
            # Without TLS, a context that trusts nobody saves reading the authorities: 20 ms.
            "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
            "timeout": httpx.Timeout(self.timeout, connect=min(self.timeout, _CONNECT), pool=None),
            "limits": httpx.Limits(max_connections=100, keepalive_expiry=_IDLE),
            "trust_env": not local,  # a proxy cannot reach our loopback
        }

    def _request(self, path: str, payload: Mapping[str, Any] | None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        url = f"{self.base_url}{path}"
        if payload is None:
            return {"method": "GET", "url": url, "headers": headers, "timeout": _PROBE}
        headers["Content-Type"] = "application/json"
        content = json_text(payload).encode()
        return {"method": "POST", "url": url, "headers": headers, "content": content}

    def _stream(self, path: str) -> Stream:
        return Stream(shown(f"{self.base_url}{path}"), self._scrub)

    def _answer(self, response: "httpx.Response", payload: Mapping[str, Any] | None) -> Answer:
        if not response.is_success:
            raise self._refusal(response)
        where, text = shown(str(response.request.url)), self._scrub(response.text)
        return read_body(text, where, choices=payload is not None)

    def _refusal(self, response: "httpx.Response") -> ModelError:
        error = refused(
            shown(str(response.request.url)),
            response.status_code,
            response.reason_phrase,
            self._scrub(response.text),
            response.headers.get("Retry-After"),
        )
        if isinstance(error, ModelAnswerError) and not self.model:
            error.args = (f"{error} No model was named: set GRAPHFLOW_MODEL.",)
        return error

    def _unavailable(
        self, url: str, error: "httpx.HTTPError", stream: Stream | None
    ) -> ModelUnavailableError:
        import httpx

        if isinstance(error, httpx.TimeoutException) and not isinstance(
            error, httpx.ConnectTimeout
        ):
            return silent(shown(url), self.timeout)
        what = f"{type(error).__name__}: {self._scrub(str(error))}"
        begun = stream is not None and stream.begun
        return broken_off(shown(url), what) if begun else unreachable(shown(url), what)

    def _scrub(self, text: str) -> str:
        """Take the key out of a text: some servers quote it when they refuse it."""
        secret = self._key if len(self._key) >= _TOO_SHORT else ""
        return text.replace(secret, "***") if secret else text


def _close_own(client: "httpx.Client", pid: int) -> None:
    if os.getpid() == pid:  # in a forked child its locks may be held by threads that are not there
        client.close()


_ending: "set[Task[None]]" = set()
"""A loop holds its tasks by weak references only."""


def _end(loop: "AbstractEventLoop", keeper: "AsyncGenerator[httpx.AsyncClient]") -> None:
    async def finish() -> None:
        await keeper.aclose()

    task = loop.create_task(finish())
    _ending.add(task)
    task.add_done_callback(_ending.discard)


def function_transport(
    answer: Callable[[str, str, bytes], tuple[int, Mapping[str, str], Sequence[Part]]],
) -> "httpx.MockTransport":
    """Make a transport whose requests a function answers, for both faces of a client.

    Args:
        answer: Takes method, path and body; gives status, headers and the parts of the body. A
            ConnectionError or TimeoutError that it raises stands for one of the network, and so
            does a wait longer than the client's timeout.
    """
    import httpx

    def handle(request: httpx.Request) -> httpx.Response:
        try:
            status, headers, parts = answer(request.method, request.url.path, request.read())
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except ConnectionError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        return httpx.Response(status, headers=dict(headers), stream=_body(request, parts))

    return httpx.MockTransport(handle)


def _body(request: "httpx.Request", parts: Sequence[Part]) -> "httpx.SyncByteStream":
    """Let the parts of a body come, for both faces."""
    import asyncio
    import time

    import httpx

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for part in parts:
                if isinstance(step := _step(request, part), bytes):
                    yield step
                else:
                    time.sleep(step)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for part in parts:
                if isinstance(step := _step(request, part), bytes):
                    yield step
                else:
                    await asyncio.sleep(step)

    return Body()


def _step(request: "httpx.Request", part: Part) -> bytes | float:
    import httpx

    if isinstance(part, Exception):
        raise httpx.ReadError(str(part), request=request) from part
    patience = request.extensions.get("timeout", {}).get("read")
    if isinstance(part, float) and patience is not None and part > patience:
        raise httpx.ReadTimeout("", request=request)
    return part
