"""chat, parse and choose without any I/O: what they ask for, and what they make of answers."""

import json
from datetime import datetime
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from graphflow.errors import ModelAnswerError, ModelUnavailableError
from graphflow.llm.calls import Calls
from graphflow.llm.client import ChatClient
from graphflow.llm.wire import Answer, response_format, understood, usage_in, word_grammar


class Topic(BaseModel):
    topic: Literal["billing", "account"]
    confidence: float = 0.0


def answer(text, **more):
    """An answer of a chat server that says this text."""
    body = {
        "model": "m-2026",
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        **more,
    }
    return Answer(json.dumps(body), body)


def calls(records, *, grammar=None):
    """The logic on a client that is never asked to send anything."""
    client = ChatClient("http://nowhere.invalid/v1", model="m", grammar=grammar)
    return Calls(client, records.append, (4, "draft#1", 2))


def finish(talk, sent):
    """Answer a talk's last request and take its result."""
    with pytest.raises(StopIteration) as done:
        talk.send(sent)
    return done.value.value


def test_a_chat_is_one_request_and_one_record():
    """A chat asks once, and its record says who asked what, what came, and what it cost."""
    records = []
    talk = calls(records).chat("Hi", "Be brief.", {"temperature": 0.0, "max_tokens": None})
    request = next(talk)
    assert request.path == "/chat/completions"
    assert request.payload == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "temperature": 0.0,
    }
    assert records == []
    reply = finish(talk, answer("Hello."))
    assert (reply.text, reply.model, reply.input_tokens) == ("Hello.", "m-2026", 7)
    (record,) = records
    assert (record.step, record.key, record.attempt) == (4, "draft#1", 2)
    assert (record.kind, record.model, record.error) == ("chat", "m-2026", None)
    assert (record.input_tokens, record.output_tokens, record.cached_tokens) == (7, 3, None)
    assert json.loads(record.request_json) == request.payload
    assert json.loads(record.response_json)["usage"]["prompt_tokens"] == 7
    assert datetime.fromisoformat(record.started_at).utcoffset().total_seconds() == 0
    assert len(record.started_at) == len("2026-01-01T00:00:00.000000+00:00")
    assert record.duration_ms >= 0.0


def test_messages_are_sent_as_they_are():
    """A prompt that is a list of messages keeps its turns."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert next(calls([]).chat(turns, None, {})).payload["messages"] == turns


@pytest.mark.parametrize("prompt", [[], ["Hello"], [{"content": "no role"}]])
def test_a_prompt_that_is_none_is_refused(prompt):
    """What is neither a text nor messages is a TypeError that shows what to write."""
    with pytest.raises(TypeError, match=r'\[\{"role": "user"'):
        calls([]).chat(prompt, None, {})


def test_a_failed_request_is_recorded_without_counts():
    """A request without an answer has a record with the error and no token counts."""
    records = []
    talk = calls(records).chat("Hi", None, {})
    next(talk)
    with pytest.raises(ModelUnavailableError):
        talk.throw(ModelUnavailableError("down"))
    (record,) = records
    assert (record.model, record.error) == ("m", "ModelUnavailableError: down")
    assert (record.input_tokens, record.output_tokens, record.response_json) == (None, None, None)


def test_a_chat_with_an_emit_asks_for_a_stream():
    """Only with emit the request says so; the pieces go through, and a broken one tells them."""
    records, pieces = [], []
    client = ChatClient("http://nowhere.invalid/v1", model="m")
    logic = Calls(client, records.append, (1, "a", 1), emit=pieces.append)
    talk = logic.chat("Hi", None, {})
    request = next(talk)
    assert request.payload["stream"] is True
    assert request.payload["stream_options"] == {"include_usage": True}
    assert [request.emit(piece) for piece in ("Well", ", 'no'")] == [None, None]
    assert pieces == ["Well", ", 'no'"]
    with pytest.raises(ModelUnavailableError):
        talk.throw(ModelUnavailableError("down"))
    assert records[0].error == "ModelUnavailableError: down (after \"Well, 'no'\")"
    assert next(logic.parse(Topic, "Which?", None, {})).emit is None
    assert next(calls([]).chat("Hi", None, {})).emit is None


def test_a_budget_is_asked_before_each_request_to_the_model():
    """With the bound of the answer; the question what the server is costs nothing."""
    asked = []
    client = ChatClient("http://nowhere.invalid/v1", model="m")
    logic = Calls(client, [].append, (1, "a", 1), admit=asked.append)
    next(logic.chat("Hi", None, {"max_tokens": 12}))
    next(logic.parse(Topic, "Which?", None, {"max_tokens": None}))
    assert asked == [12, 0]
    talk = logic.choose("Which?", ["yes", "no"], None, {})
    assert next(talk).path == "/models"
    assert asked == [12, 0]
    listed = {"data": [{"owned_by": "llamacpp"}]}
    request = talk.send(Answer(json.dumps(listed), listed))
    assert asked == [12, 0, request.payload["max_tokens"]]


def test_a_request_that_cannot_be_written_is_not_admitted():
    """What was admitted would never be settled."""
    asked = []
    client = ChatClient("http://nowhere.invalid/v1", model="m")
    logic = Calls(client, [].append, (1, "a", 1), admit=asked.append)
    with pytest.raises(ValueError, match="JSON"):
        next(logic.chat("Hi", None, {"temperature": float("nan")}))
    assert asked == []


def test_parse_asks_for_every_field_and_no_other():
    """A parse sends the class's schema, closed, with all fields required."""
    request = next(calls([]).parse(Topic, "Which?", None, {}))
    asked = request.payload["response_format"]["json_schema"]
    assert (asked["name"], asked["strict"]) == ("Topic", True)
    assert asked["schema"]["required"] == ["topic", "confidence"]
    assert asked["schema"]["additionalProperties"] is False
    assert "default" not in asked["schema"]["properties"]["confidence"]


def test_free_keys_are_not_strict():
    """A schema with keys of the model's choice is sent as not strict, and keeps them free."""
    schema = TypedKeys.model_json_schema()
    asked = response_format("Typed[Keys]", schema)["json_schema"]
    assert (asked["name"], asked["strict"]) == ("Typed_Keys_", False)
    assert asked["schema"]["properties"]["default"]["additionalProperties"] == {"type": "integer"}


class TypedKeys(BaseModel):
    default: dict[str, int]


def test_parse_gives_the_object():
    """An answer that fits becomes an instance."""
    talk = calls([]).parse(Topic, "Which?", None, {})
    next(talk)
    assert finish(talk, answer('{"topic": "billing", "confidence": 1}')) == Topic(
        topic="billing", confidence=1.0
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"topic": "weather"}', "topic: Input should be 'billing' or 'account'"),
        ('{"confidence": "high", "topic": "billing"}', "confidence: Input should be a valid"),
        ("Sure! Here it is", "the whole answer: Invalid JSON"),
    ],
)
def test_an_answer_that_does_not_fit_names_the_field(text, said):
    """The error names class and field and shows the answer; the record keeps its cost."""
    records = []
    talk = calls(records).parse(Topic, "Which?", None, {})
    next(talk)
    with pytest.raises(ModelAnswerError) as caught:
        talk.send(answer(text))
    message = str(caught.value)
    assert "Topic" in message
    assert said in message
    assert f"begins: {text!r}" in message
    assert records[0].error == f"ModelAnswerError: {message}"
    assert (records[0].input_tokens, records[0].output_tokens) == (7, 3)


def test_a_cut_answer_says_so():
    """When the answer was cut at max_tokens, the error says to allow more."""
    talk = calls([]).parse(Topic, "Which?", None, {})
    next(talk)
    cut = [{"message": {"content": '{"topic": "bil'}, "finish_reason": "length"}]
    with pytest.raises(ModelAnswerError, match="cut at max_tokens: allow more"):
        talk.send(answer("", choices=cut))


@pytest.mark.parametrize("message", [{"content": None}, {"refusal": "No."}, {"content": [1]}])
def test_an_answer_without_text_is_an_error(message):
    """A refusal or a call of a tool is not handed on as an empty text."""
    talk = calls([]).chat("Hi", None, {})
    next(talk)
    with pytest.raises(ModelAnswerError, match=r"refused: 'No\.'|gave no text"):
        talk.send(answer("", choices=[{"message": message}]))


def test_choose_goes_on_with_the_prompt_where_grammars_work():
    """With a grammar the prompt is continued by one of the options and nothing else."""
    talk = calls([], grammar=True).choose("Topic: ", ["billing", "account"], "Sort.", {"seed": 1})
    request = next(talk)
    assert request.path == "/completions"
    assert request.payload["prompt"] == "Sort.\n\nTopic:"
    assert request.payload["grammar"] == 'root ::= " " ("billing" | "account")'
    assert request.payload["seed"] == 1
    assert finish(talk, answer("", choices=[{"text": " account"}])) == "account"


@pytest.mark.parametrize(
    ("options", "lead", "grammar"),
    [
        (['say "no"', "a\\b"], "", r'root ::= "" ("say \"no\"" | "a\\b")'),
        (["card", "card payment"], " ", r'root ::= " " ("card" | "card payment") "\n"'),
        (["für", "日本"], " ", 'root ::= " " ("für" | "日本")'),
    ],
)
def test_the_grammar_is_written_right(options, lead, grammar):
    """Quotes are escaped, and an option that begins another ends with its line."""
    assert word_grammar(options, lead) == grammar


def test_choose_asks_other_servers_in_their_chat():
    """Without grammars the options stand in the schema and in the system message."""
    talk = calls([], grammar=False).choose("Which?", ["yes", "no"], "Be fair.", {})
    request = next(talk)
    assert request.path == "/chat/completions"
    schema = request.payload["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["choice"]["enum"] == ["yes", "no"]
    assert request.payload["messages"][0]["content"] == (
        "Be fair.\n\nAnswer with exactly one of these: yes, no."
    )
    assert finish(talk, answer('{"choice": "no"}')) == "no"


@pytest.mark.parametrize(
    ("listed", "path"),
    [
        ({"data": [{"owned_by": "llamacpp"}]}, "/completions"),
        ({"data": [{"owned_by": "openai"}, None]}, "/chat/completions"),
        ({"models": []}, "/chat/completions"),
    ],
)
def test_choose_asks_the_server_what_it_is_once(listed, path):
    """The list of models tells; the client remembers; the question makes no record."""
    records = []
    logic = calls(records)
    talk = logic.choose("Which?", ["yes", "no"], None, {})
    probe = next(talk)
    assert (probe.path, probe.payload) == ("/models", None)
    assert talk.send(Answer(json.dumps(listed), listed)).path == path
    assert records == []
    assert next(logic.choose("Which?", ["yes", "no"], None, {})).path == path


def test_a_server_that_lists_no_models_is_asked_in_its_chat():
    """No list of models (404) is an answer too; no answer at all is asked again next time."""
    logic = calls([])
    talk = logic.choose("Which?", ["yes", "no"], None, {})
    next(talk)
    assert talk.throw(ModelUnavailableError("busy")).path == "/chat/completions"
    assert logic.client.grammar is None
    talk = logic.choose("Which?", ["yes", "no"], None, {})
    next(talk)
    assert talk.throw(ModelAnswerError("404")).path == "/chat/completions"
    assert logic.client.grammar is False


@pytest.mark.parametrize("text", ["maybe", '{"choice": "maybe"}', '{"choice": 1}', "[]"])
def test_a_choice_of_something_else_is_an_error(text):
    """An answer that is no option is an error that names the options."""
    talk = calls([], grammar=False).choose("Which?", ["yes", "no"], None, {})
    next(talk)
    with pytest.raises(ModelAnswerError, match="none of 'yes', 'no'"):
        talk.send(answer(text))


@pytest.mark.parametrize("options", [[], "yes", ["a", "a"], [" a"], ["a\nb"], [""], [1]])
def test_options_are_distinct_single_lines(options):
    """Options that cannot be told apart or written on a line are refused before any request."""
    with pytest.raises(ValueError, match=r"choose\(options="):
        next(calls([], grammar=False).choose("Which?", options, None, {}))


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ({}, (None, None, None)),
        ({"usage": None}, (None, None, None)),
        ({"usage": {"prompt_tokens": "7", "completion_tokens": True}}, (None, None, None)),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 2}}, (0, 2, None)),
        (
            {"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}},
            (9, None, 8),
        ),
        (
            {"tokens_evaluated": 5, "tokens_predicted": 6, "timings": {"cache_n": 4}},
            (5, 6, 4),
        ),
    ],
)
def test_counts_are_the_servers_or_none(body, counts):
    """Token counts are read, never estimated."""
    usage = usage_in(body)
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == counts


def test_patterns_that_make_no_grammar_are_left_out():
    """Only anchored patterns without groups of a special kind go to a grammar server."""
    kept = understood(Patterns.model_json_schema())["properties"]
    assert "pattern" not in kept["loose"]
    assert "pattern" not in kept["ahead"]
    assert kept["exact"]["pattern"] == "^[a-z]+$"
    assert kept["pattern"] == {"title": "Pattern", "type": "string"}


class Patterns(BaseModel):
    loose: str = Field(pattern="abc")
    ahead: list[str] = Field(json_schema_extra={"pattern": "^(?!x)abc$"})
    exact: str = Field(pattern="^[a-z]+$")
    pattern: str
