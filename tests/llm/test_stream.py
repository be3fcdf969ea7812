"""Reading a streamed answer without any I/O: however it is cut, and whatever is wrong with it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.errors import ModelAnswerError, ModelUnavailableError
from graphflow.llm.stream import Stream
from graphflow.llm.wire import read_reply, usage_in

WHERE = "http://x/v1/chat/completions"


def event(data):
    """Write one event."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def piece(content=None, reason=None, **more):
    """Write the event of one piece of text."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "finish_reason": reason, "delta": delta}
    head = {"id": "c1", "object": "chat.completion.chunk", "model": "m-2026", "usage": None}
    return event({**head, "choices": [choice], **more})


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}
COUNTS = event({"id": "c1", "model": "m-2026", "choices": [], "usage": USAGE})
WHOLE = piece("Für ") + piece("日本 \U0001f600") + piece(reason="stop") + COUNTS + DONE


def listen(*chunks, scrub=str):
    """Read a whole stream.

    Returns:
        The pieces and the answer.
    """
    stream = Stream(WHERE, scrub)
    pieces = [text for chunk in (*chunks, b"") for text in stream.feed(chunk)]
    assert stream.done
    assert stream.over
    return pieces, stream.answer()


def test_the_answer_has_the_shape_of_one_that_is_not_streamed():
    """Content, finish reason, usage and model stand where an unstreamed answer has them."""
    pieces, answer = listen(WHOLE)
    assert pieces == ["Für ", "日本 \U0001f600"]
    assert json.loads(answer.text) == answer.body
    message = {"role": "assistant", "content": "Für 日本 \U0001f600"}
    assert answer.body == {
        "id": "c1",
        "object": "chat.completion",
        "model": "m-2026",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": USAGE,
    }
    assert read_reply(answer).finish_reason == "stop"
    assert usage_in(answer.body).cached_tokens == 5


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_it_does_not_matter_where_bytes_are_cut(data, end):
    """Chunks may split events, line ends and letters anywhere; all line ends are understood."""
    text = b"\xef\xbb\xbf" + WHOLE.replace(b"\n", end)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12).map(sorted))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if a < b]
    pieces, answer = listen(*chunks)
    assert "".join(pieces) == "Für 日本 \U0001f600"
    assert answer == listen(WHOLE)[1]


def test_what_is_no_data_is_passed_over():
    """Comments, other fields, empty events, and what follows the end are not of the answer."""
    noise = b": ping\n\nevent: message\nid: 7\nretry: 10\nunknown\n\ndata\n\ndata:\n\n"
    pieces, answer = listen(noise, piece("Hi"), b": keep-alive\n" + piece(reason="stop"), DONE,
                            piece(" there"), b"data: no JSON\n\n")  # fmt: skip
    assert pieces == ["Hi"]
    assert read_reply(answer).text == "Hi"


def test_data_of_several_lines_are_one_event():
    """Lines of data are put together, whether or not a space follows the colon."""
    pieces, _ = listen(b'data:{"choices":\ndata: [{"delta":\ndata:{"content": "Hi"}}]}\n\n', DONE)
    assert pieces == ["Hi"]


def test_unicode_line_separators_do_not_end_a_line():
    """U+2028 and U+0085 may stand in JSON as they are."""
    text = "a\u2028b\u0085c\x0bd"
    pieces, _ = listen(event({"choices": [{"delta": {"content": text}}]}), DONE)
    assert pieces == [text]


@pytest.mark.parametrize("end", [b"", b"data: [DONE]", b"data: [DONE]\n", COUNTS])
def test_a_finish_reason_or_done_is_an_end(end):
    """Servers that forget [DONE] or the last empty line are understood."""
    _, answer = listen(piece("Hi"), piece(reason="length"), end)
    assert read_reply(answer).finish_reason == "length"
    _, answer = listen(piece("Hi"), DONE)
    assert read_reply(answer).finish_reason is None


@pytest.mark.parametrize("text", [b"", piece("Once upon"), piece("Once upon") + b'data: {"cho'])
def test_a_stream_that_ends_too_soon_is_unavailable(text):
    """Without any word of the end, the text that came is not taken for the answer."""
    heard, stream = [], Stream(WHERE, str)
    heard += stream.feed(piece("Well. ") + text)
    with pytest.raises(ModelUnavailableError, match="broke off in the middle"):
        list(stream.feed(b""))
    assert heard[0] == "Well. "


@pytest.mark.parametrize(
    ("data", "kind", "status", "said"),
    [
        ({"error": {"message": "boom", "code": 500}}, ModelUnavailableError, 500, "boom"),
        ({"error": {"message": "slow down", "code": "429"}}, ModelUnavailableError, 429, "slow"),
        ({"error": {"message": "x", "type": "server_error"}}, ModelUnavailableError, None, "x"),
        ({"error": "overloaded"}, ModelUnavailableError, None, "'overloaded'"),
        ({"error": {"message": "long", "code": 400}}, ModelAnswerError, 400, "long"),
        ({"object": "error", "message": "bad", "code": 422}, ModelAnswerError, 422, "bad"),
        (
            {"error": {"message": "no", "type": "invalid_request_error", "code": "no_tools"}},
            ModelAnswerError,
            None,
            "no_tools",
        ),
    ],
)
def test_an_error_in_the_middle_is_raised(data, kind, status, said):
    """An error object ends the stream, apart by whether the request was at fault."""
    stream = Stream(WHERE, str)
    assert list(stream.feed(piece("Well, "))) == ["Well, "]
    with pytest.raises(kind, match=f"{WHERE} broke off the answer with an error: .*{said}") as it:
        list(stream.feed(event(data)))
    assert it.value.status == status


def test_an_error_field_is_an_error():
    """Older llama.cpp servers write `error: {...}` instead of data."""
    with pytest.raises(ModelUnavailableError, match=r"broke off the answer.*slot") as caught:
        listen(piece("Hi"), b'error: {"code": 503, "message": "no slot"}\n\n')
    assert caught.value.status == 503


@pytest.mark.parametrize("data", [b"hello", b"[1]", b'{"choices": [', b"\xff\xfe"])
def test_a_piece_that_is_no_object_is_an_error(data):
    """What is no JSON object is shown with the URL."""
    with pytest.raises(ModelAnswerError, match=f"{WHERE} sent a piece that is no JSON object"):
        listen(piece("Hi"), b"data: " + data + b"\n\n")


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": None},
        {"choices": {}},
        {"choices": [None, 1, {"delta": None}, {"delta": []}, {}]},
        {"choices": [{"index": 1, "delta": {"content": "another"}}]},
        {"choices": [{"delta": {"content": None}}, {"delta": {"content": [1]}}]},
        {"timings": float("nan")},
        {"error": None},
    ],
)
def test_odd_pieces_do_no_harm(odd):
    """Pieces without text, or of other choices, change nothing of the text."""
    odd = json.dumps(odd).encode()
    pieces, answer = listen(b"data: " + odd + b"\n\n", piece("Hi"), piece(reason="stop"), DONE)
    assert pieces == ["Hi"]
    assert read_reply(answer).text == "Hi"
    assert "NaN" not in answer.text


def test_a_model_that_says_nothing_says_the_empty_text():
    """No content is "", as in an answer that is not streamed; a refusal is one."""
    _, answer = listen(piece(), piece(reason="stop"), DONE)
    assert read_reply(answer).text == ""
    refusals = [event({"choices": [{"delta": {"refusal": word}}]}) for word in ("I ", "won't.")]
    _, answer = listen(*refusals, piece(reason="stop"), DONE)
    with pytest.raises(ModelAnswerError, match=r"refused: \"I won't\.\""):
        read_reply(answer)


def test_a_stream_without_choices_is_no_answer():
    """An end without a beginning is told as for answers that are not streamed."""
    with pytest.raises(ModelAnswerError, match="answered without choices"):
        listen(COUNTS, DONE)


def test_a_server_that_does_not_stream_is_understood():
    """One body of JSON is the answer, and its text the only piece; another body is an error."""
    body = {"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}], "usage": USAGE}
    text = json.dumps(body, indent=2).encode()
    pieces, answer = listen(text[:9], text[9:])
    assert (pieces, answer.body) == (["Hi."], body)
    with pytest.raises(ModelAnswerError, match="did not answer with a JSON object but with '<html"):
        listen(b"<html>Welcome</html>")


def test_what_is_scrubbed_is_nowhere():
    """The key is taken out of errors and answers, streamed or not."""

    def scrub(text):
        return text.replace("sk-secret", "***")

    with pytest.raises(ModelUnavailableError) as caught:
        listen(event({"error": "wrong key sk-secret"}), scrub=scrub)
    assert "wrong key ***" in str(caught.value)
    pieces, answer = listen(piece("sk-secret", key="sk-secret"), DONE, scrub=scrub)
    assert "sk-secret" not in "".join(pieces) + answer.text
    with pytest.raises(ModelAnswerError, match=r"\*\*\*"):
        listen(b"sk-secret", scrub=scrub)
