"""The fake chat model that graphflow gives to tests."""

import pytest

from graphflow.errors import ModelAnswerError, ModelUnavailableError
from graphflow.llm.chat import Chat
from graphflow.llm.client import ChatClient
from graphflow.testing.llm import FakeLLM, fake_server


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
