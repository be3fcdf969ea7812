"""The fake chat model that graphflow gives to tests."""

import asyncio
import json
from time import perf_counter

import httpx
import pytest

from graphflow.errors import ModelAnswerError, ModelUnavailableError
from graphflow.llm.chat import Chat
from graphflow.llm.client import ChatClient
from graphflow.testing.llm import FakeLLM, HttpAnswer, Paced, fake_server, refusal


def test_counts_are_the_words_of_what_was_said():
    """Usage is made up, but of the real request and answer."""
    records = []
    chat = Chat(FakeLLM(script=["four words, no more"]).client(), records.append)
    chat.sync.chat("three short words", system="and two")
    (record,) = records
    assert (record.model, record.input_tokens, record.output_tokens) == ("fake", 5, 4)


def test_max_tokens_cuts():
    """A text longer than max_tokens words is cut, and the finish reason says so."""
    reply = Chat(FakeLLM(script=["one two three"]).client(), [].append).sync.chat("?", max_tokens=2)
    assert (reply.text, reply.finish_reason, reply.output_tokens) == ("one two", "length", 2)


def test_a_used_up_script_is_an_error():
    """A request beyond the script is refused with its number."""
    chat = Chat(FakeLLM(script=["one"]).client(), [].append).sync
    chat.chat("?")
    with pytest.raises(ModelAnswerError, match="has 1 answers, and this is request 2"):
        chat.chat("?")


def test_failures_can_be_scripted():
    """A status or an exception in the script is what the caller gets."""
    llm = FakeLLM(script=[503, ConnectionError("gone"), TimeoutError("slow")])
    chat = Chat(llm.client(), [].append).sync
    for said in ("answered 503", "cannot be reached: ConnectError: gone", "sent nothing for 5 s"):
        with pytest.raises(ModelUnavailableError, match=said):
            chat.chat("?")
    assert len(llm.requests) == 3


@pytest.mark.parametrize("grammar", [True, False])
def test_a_choice_is_answered_by_its_name(grammar):
    """However choose asks, the script holds the option's name."""
    llm = FakeLLM(script=["no"], grammar=grammar)
    assert Chat(llm.client(), [].append).sync.choose("Well?", ["yes", "no"]) == "no"
    assert ("grammar" in llm.requests[0]) is grammar


def test_either_a_script_or_a_function():
    """A fake without answers, or with two sources of them, is refused."""
    with pytest.raises(ValueError, match="either script"):
        FakeLLM()
    with pytest.raises(ValueError, match="either script"):
        FakeLLM(script=[], answer=lambda _: "")


def test_a_bug_in_the_answering_function_is_seen():
    """The server passes on what the test's own function raises."""
    with (
        fake_server(lambda payload: payload["no such key"]) as server,
        ChatClient(server.url) as client,
        pytest.raises(ModelUnavailableError, match="no such key"),
    ):
        Chat(client, [].append).sync.chat("?")


def talk(*script, blocking=True, sockets=False, emit=None):
    """Ask a fake as often as its script is long.

    Returns:
        The replies or errors, and the seconds it took.
    """
    llm, out = FakeLLM(script=script), []
    with (
        fake_server(llm) as server,
        ChatClient(server.url, model="m") if sockets else llm.client() as client,
    ):
        chat, begin = Chat(client, [].append, emit=emit), perf_counter()
        for _ in script:
            try:
                out.append(chat.sync.chat("?") if blocking else asyncio.run(chat.chat("?")))
            except (ModelAnswerError, ModelUnavailableError) as error:
                out.append(error)
        return out, perf_counter() - begin


ways = pytest.mark.parametrize(
    ("blocking", "sockets"), [(True, False), (False, False), (True, True), (False, True)]
)


@ways
def test_a_refusal_says_when_to_come_back(blocking, sockets):
    """Status and Retry-After reach the caller; without one there is none."""
    script = [refusal(429, retry_after=0.25), refusal(503), refusal(503, retry_after="never"), 500]
    errors, _ = talk(*script, blocking=blocking, sockets=sockets)
    assert [(type(error), error.status, error.retry_after) for error in errors] == [
        (ModelUnavailableError, 429, 0.25),
        (ModelUnavailableError, 503, None),
        (ModelUnavailableError, 503, None),
        (ModelUnavailableError, 500, None),
    ]


@ways
def test_an_answer_can_take_its_time(blocking, sockets):
    """Any answer can be delayed: a text, a refusal, a broken connection."""
    script = [Paced("Hi.", delay=0.1), Paced(refusal(503), delay=0.1)]
    script.append(Paced(ConnectionError("gone"), delay=0.1))
    (reply, refused, gone), seconds = talk(*script, blocking=blocking, sockets=sockets)
    assert seconds >= 0.3
    assert (reply.text, refused.status) == ("Hi.", 503)
    assert isinstance(gone, ModelUnavailableError)


def test_delays_do_not_block_the_event_loop():
    """Inside the process, awaited answers wait side by side."""

    async def ask():
        llm = FakeLLM(answer=lambda _: Paced("Hi.", delay=0.2))
        chat, begin = Chat(llm.client(), [].append), perf_counter()
        await asyncio.gather(*(chat.chat("?") for _ in range(20)))
        return perf_counter() - begin

    assert 0.2 <= asyncio.run(ask()) < 2.0


@ways
def test_a_streamed_answer_can_pause_between_its_words(blocking, sockets):
    """The pause lies between the pieces, and the first one does not wait for the last."""
    heard = []
    begin = perf_counter()
    _, seconds = talk(
        Paced("a b c", pause=0.1),
        blocking=blocking,
        sockets=sockets,
        emit=lambda _: heard.append(perf_counter() - begin),
    )
    assert len(heard) == 3
    assert seconds >= 0.2
    assert heard[2] - heard[0] >= 0.15


@ways
def test_a_connection_can_be_lost(blocking, sockets):
    """After so many words of a stream, or instead of an answer that is not one."""
    words = []
    script = [Paced("a b c", breaks_after=2)]
    (error,), _ = talk(*script, blocking=blocking, sockets=sockets, emit=words.append)
    assert (type(error), words) == (ModelUnavailableError, ["a", " b"])
    (error,), _ = talk(*script, blocking=blocking, sockets=sockets)
    assert isinstance(error, ModelUnavailableError)


def test_a_delay_longer_than_the_timeout_is_one():
    """Inside the process too, without waiting for it."""
    chat = Chat(FakeLLM(script=[Paced("late", delay=60.0)]).client(timeout=0.5), [].append)
    with pytest.raises(ModelUnavailableError, match=r"sent nothing for 0\.5 s"):
        chat.sync.chat("?")


def test_a_server_closes_without_waiting_for_its_delays():
    """The end of a test is not held up by an answer that nobody waits for any more."""
    begin = perf_counter()
    with (
        fake_server(FakeLLM(script=[Paced("late", delay=60.0)])) as server,
        ChatClient(server.url, timeout=0.1) as client,
        pytest.raises(ModelUnavailableError),
    ):
        Chat(client, [].append).sync.chat("?")
    assert perf_counter() - begin < 10


@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
def test_a_stream_is_made_of_events_as_openai_sends_them(path):
    """Both endpoints stream; the counts come only when they are asked for."""
    with fake_server(lambda _: "Hi you") as server:
        asked = {"prompt": "?"} if path == "/completions" else {"messages": [{"content": "?"}]}
        for options, counts in (({}, 0), ({"stream_options": {"include_usage": True}}, 1)):
            body = {**asked, **options, "stream": True}
            answer = httpx.post(server.url + path, json=body, trust_env=False)
            assert answer.headers["Content-Type"] == "text/event-stream"
            *events, done = answer.text.removesuffix("\n\n").split("\n\n")
            data = [json.loads(event.removeprefix("data: ")) for event in events]
            assert done == "data: [DONE]"
            assert sum("usage" in one for one in data) == counts
            said = [choice for one in data for choice in one["choices"]]
            assert said[-1]["finish_reason"] == "stop"
            texts = [one.get("text") or one.get("delta", {}).get("content") or "" for one in said]
            assert "".join(texts) == "Hi you"


def test_parts_are_sent_one_by_one():
    """An HttpAnswer may come in parts, of any kind."""
    parts = [0.01, b'{"choices": [{"text"', 0.01, b': "Hi"}]}']
    for sockets in (True, False):
        (reply,), _ = talk(HttpAnswer(200, parts), sockets=sockets)
        assert reply.text == "Hi"
        (reply,), _ = talk(HttpAnswer(500, ()), sockets=sockets)
        assert reply.status == 500
