"""A chat that is streamed: the same answer as in one body, piece by piece, at the reader's pace."""

import asyncio
import gc
import json

import pytest
from pydantic import BaseModel

from graphflow.errors import BudgetSignal, ModelAnswerError, ModelUnavailableError
from graphflow.llm.chat import Chat
from graphflow.llm.client import ChatClient
from graphflow.testing.llm import FakeLLM, HttpAnswer, Paced, fake_server, refusal

TEXT = "Once upon a time,\n  there was für 日本 \U0001f600 "


class Topic(BaseModel):
    topic: str


def ask(chat, blocking, prompt="Tell me."):
    """Chat by either face."""
    return chat.sync.chat(prompt) if blocking else asyncio.run(chat.chat(prompt))


both_faces = pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])


@both_faces
@pytest.mark.parametrize("sockets", [True, False], ids=["sockets", "in process"])
def test_a_streamed_chat_is_the_same_chat(blocking, sockets):
    """Reply and record equal those of an answer in one body; the pieces make up its text."""
    pieces, records = [], []
    llm = FakeLLM(script=[TEXT, TEXT])
    with fake_server(llm) as server:
        client = ChatClient(server.url, model="fake") if sockets else llm.client()
        with client:
            replies = [
                ask(Chat(client, records.append, emit=emit), blocking)
                for emit in (pieces.append, None)
            ]
    assert replies[0] == replies[1]
    assert "".join(pieces) == replies[0].text == TEXT
    assert len(pieces) > 5
    streamed, whole = (json.loads(record.response_json) for record in records)
    assert {**streamed, "id": ""} == {**whole, "id": ""}
    assert [(r.kind, r.model, r.input_tokens, r.output_tokens, r.error) for r in records] == [
        ("chat", "fake", 2, 9, None)
    ] * 2
    asked = llm.requests[0]
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in llm.requests[1]


@both_faces
def test_only_chat_streams(blocking):
    """Calls of parse and choose ask for one body, and emit nothing."""
    llm = FakeLLM(script=[{"topic": "billing"}, "no"])
    chat = Chat(llm.client(), [].append, emit=lambda _: pytest.fail("nothing is to be emitted"))
    if blocking:
        chat.sync.parse(Topic, "Which?")
        chat.sync.choose("Well?", ["yes", "no"])
    else:
        asyncio.run(chat.parse(Topic, "Which?"))
        asyncio.run(chat.choose("Well?", ["yes", "no"]))
    assert not [request for request in llm.requests if "stream" in request]


def test_connections_are_kept_after_a_stream():
    """A stream is read to its end, so that the next request takes the same connection."""
    ports = []
    with fake_server(lambda _: "Hi there") as server, ChatClient(server.url) as client:

        async def use(chat):
            for _ in range(3):
                await chat.chat("Hi")
                (connection,) = (await client._aopen())._transport._pool.connections
                stream = connection._connection._network_stream
                ports.append(stream.get_extra_info("client_addr")[1])

        asyncio.run(use(Chat(client, [].append, emit=lambda _: None)))
    assert len(set(ports)) == 1


def test_the_reader_sets_the_pace():
    """While what emit returned is not done, no further piece is read."""
    emitted = []

    async def tell():
        room, third = asyncio.Semaphore(2), asyncio.Event()

        async def wait():
            await room.acquire()

        def emit(piece):
            emitted.append(piece)
            if len(emitted) == 3:
                third.set()
            return wait()

        llm = FakeLLM(script=["one two three four five"])
        chat = asyncio.create_task(Chat(llm.client(), [].append, emit=emit).chat("?"))
        await third.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert emitted == ["one", " two", " three"]
        assert not chat.done()
        for _ in range(9):
            room.release()
        assert (await chat).text == "one two three four five"

    asyncio.run(tell())


def test_a_cancelled_stream_lets_go_of_the_server():
    """The response is closed, the record says what had come, and the client still works."""
    records, first = [], asyncio.Event()
    long = Paced("word " * 2000, pause=0.01)

    async def cancel(client):
        chat = Chat(client, records.append, emit=lambda _: first.set())
        telling = asyncio.create_task(chat.chat("Tell me."))
        await first.wait()
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling
        assert await asyncio.to_thread(server.left.wait, 5)
        assert (await Chat(client, records.append).chat("Hi")).text == "Hi."

    with fake_server(FakeLLM(script=[long, "Hi."])) as server, ChatClient(server.url) as client:
        asyncio.run(cancel(client))
        gc.collect()
    assert records[0].error.startswith("CancelledError (after 'word")
    assert records[0].response_json is None
    assert records[1].error is None


def test_a_stream_that_is_cancelled_while_its_reader_waits_is_closed_too():
    """Back-pressure does not keep a response open."""
    records, waiting = [], asyncio.Event()

    async def never():
        waiting.set()
        await asyncio.Event().wait()

    async def cancel(client):
        async with asyncio.timeout(None) as limit:
            telling = asyncio.create_task(
                Chat(client, records.append, emit=lambda _: never()).chat("Tell me.")
            )
            await waiting.wait()
            telling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await telling
            limit.reschedule(asyncio.get_running_loop().time() + 5)
            await asyncio.to_thread(server.left.wait, 5)

    long = FakeLLM(script=[Paced("word " * 2000, pause=0.01)])
    with fake_server(long) as server, ChatClient(server.url) as client:
        asyncio.run(cancel(client))
        assert server.left.is_set()
    assert records[0].error == "CancelledError (after 'word')"


@both_faces
@pytest.mark.parametrize("sockets", [True, False], ids=["sockets", "in process"])
def test_a_lost_connection_is_unavailable_and_recorded(blocking, sockets):
    """Lost in the middle: the pieces were emitted, and the record says how far it came."""
    pieces, records = [], []
    llm = FakeLLM(script=[Paced("It was a dark night", breaks_after=3)])
    with fake_server(llm) as server:
        client = ChatClient(server.url) if sockets else llm.client()
        with client, pytest.raises(ModelUnavailableError, match="broke off in the middle") as it:
            ask(Chat(client, records.append, emit=pieces.append), blocking)
    assert "/chat/completions" in str(it.value)
    assert pieces == ["It", " was", " a"]
    assert records[0].error.startswith("ModelUnavailableError: http://")
    assert records[0].error.endswith(" (after 'It was a')")
    assert (records[0].output_tokens, records[0].response_json) == (None, None)


@both_faces
def test_an_error_in_the_middle_is_recorded(blocking):
    """An error object in the stream is the call's error, with its status."""
    text = b'data: {"choices": [{"delta": {"content": "Well"}}]}\n\n'
    told = b'data: {"error": {"code": 503, "message": "out of memory"}}\n\n'
    records, llm = [], FakeLLM(script=[HttpAnswer(200, [text, told])])
    with pytest.raises(ModelUnavailableError, match="out of memory") as caught:
        ask(Chat(llm.client(), records.append, emit=lambda _: None), blocking)
    assert caught.value.status == 503
    assert records[0].error.endswith("(after 'Well')")


@both_faces
@pytest.mark.parametrize("sockets", [True, False], ids=["sockets", "in process"])
def test_a_refused_stream_is_refused_as_any_request(blocking, sockets):
    """A status instead of a stream is told with status, body and the time to wait."""
    records, llm = [], FakeLLM(script=[refusal(429, retry_after=0.5), 400])
    with fake_server(llm) as server:
        client = ChatClient(server.url, model="m") if sockets else llm.client()
        with client:
            chat = Chat(client, records.append, emit=lambda _: pytest.fail("nothing came"))
            with pytest.raises(ModelUnavailableError, match="as the test wants it") as caught:
                ask(chat, blocking)
            assert (caught.value.status, caught.value.retry_after) == (429, 0.5)
            with pytest.raises(ModelAnswerError, match="answered 400 Bad Request") as caught:
                ask(chat, blocking)
            assert (caught.value.status, caught.value.retry_after) == (400, None)
    assert len(records) == 2


@both_faces
def test_a_server_that_does_not_stream_is_one_piece(blocking):
    """A server that takes no notice of `stream` gives its text at once."""
    body = b'{"model": "old", "choices": [{"message": {"content": "Hi there."}}]}'
    pieces, llm = [], FakeLLM(script=[HttpAnswer(200, body)])
    reply = ask(Chat(llm.client(), [].append, emit=pieces.append), blocking)
    assert (reply.text, reply.model, pieces) == ("Hi there.", "old", ["Hi there."])


@both_faces
def test_a_stream_that_falls_silent_is_given_up(blocking):
    """The timeout holds between pieces; what came before is in the record."""
    records, llm = [], FakeLLM(script=[Paced("one two three", pause=5.0)])
    with (
        fake_server(llm) as server,
        ChatClient(server.url, timeout=0.2) as client,
        pytest.raises(ModelUnavailableError, match=r"sent nothing for 0\.2 s"),
    ):
        ask(Chat(client, records.append, emit=lambda _: None), blocking)
    assert records[0].error.endswith("(after 'one')")


@both_faces
def test_a_failing_emit_ends_the_call(blocking):
    """What emit raises comes out of the call; the call is recorded."""

    def emit(piece):
        raise BudgetSignal("tokens", "no more")

    records = []
    with pytest.raises(BudgetSignal):
        ask(Chat(FakeLLM(script=["a b c"]).client(), records.append, emit=emit), blocking)
    assert [record.error for record in records] == ["BudgetSignal: tokens: no more (after 'a')"]


@both_faces
def test_what_the_budget_does_not_admit_is_not_sent(blocking):
    """A BudgetSignal of admit goes through; no request is made, and no record."""
    asked, records, llm = [], [], FakeLLM(script=[])

    def admit(tokens):
        asked.append(tokens)
        raise BudgetSignal("calls", "no calls are left")

    chat = Chat(llm.client(), records.append, admit=admit)
    with pytest.raises(BudgetSignal) as caught:
        ask(chat, blocking)
    assert caught.value.bound == "calls"
    with pytest.raises(BudgetSignal):
        chat.sync.parse(Topic, "Which?", max_tokens=30)
    with pytest.raises(BudgetSignal):
        chat.sync.choose("Well?", ["yes", "no"])
    assert asked == [0, 30, 0]
    assert llm.requests == records == []


@both_faces
def test_what_was_admitted_is_always_settled(blocking):
    """Each admitted request reaches record, failed ones too, in order."""
    told = []
    llm = FakeLLM(script=["Hi.", 503, ConnectionError("gone"), HttpAnswer(200, b"[]")])
    chat = Chat(llm.client(), lambda record: told.append(record.error), admit=told.append)
    ask(chat, blocking)
    for kind in (ModelUnavailableError, ModelUnavailableError, ModelAnswerError):
        with pytest.raises(kind):
            ask(chat, blocking)
    assert told[:2] == [0, None]
    assert told[2::2] == [0, 0, 0]
    assert [error.split(":")[0] for error in told[3::2]] == [
        "ModelUnavailableError",
        "ModelUnavailableError",
        "ModelAnswerError",
    ]
