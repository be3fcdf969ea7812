"""Secrets: they are where they are needed, and in nothing that is stored, told or shown."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr, create_model, model_validator

from graphflow import (
    END,
    START,
    Command,
    Context,
    Decision,
    Reducer,
    RunFailedError,
    Secret,
    Send,
    StateGraph,
    append,
)
from graphflow.cli.main import cli
from graphflow.errors import (
    AnswerError,
    GraphflowError,
    InputError,
    InvalidUpdateError,
    RunError,
    SecretMissingError,
    StateError,
)
from graphflow.redaction import Pieces
from graphflow.state import secrets
from graphflow.state.problems import problems_of
from graphflow.testing.llm import FakeLLM

TOKEN = "-".join(["sk", "7f3a", "0451", "hidden"])
ALLOWED: list[str] = []


class Work(BaseModel):
    text: str
    key: Annotated[SecretStr, Secret("THE_KEY")]
    parts: list[str] = []
    done: list[str] = []
    said: str = ""
    log: Annotated[list[str], append] = []


class Inner(BaseModel):
    text: str
    key: Annotated[SecretStr, Secret("THE_KEY")]
    answer: str = ""


def lookup(part: str, ctx: Context[Any]) -> str:
    return part.upper()


def check(state: Inner) -> dict[str, Any]:
    assert state.key.get_secret_value() == TOKEN
    return {"answer": "in" + state.text}


def call(state: Work) -> dict[str, Any]:
    key = state.key.get_secret_value()
    assert key == TOKEN
    if "fail" in state.text and "call" not in ALLOWED:
        raise ConnectionError(f"401: the key {key} is not known, {key!r}")
    return {"log": ["called"]}


def route(state: Work) -> Any:
    key = state.key.get_secret_value()
    return Decision("ask", reason=f"it came with {key}", evidence={"header": f"Bearer {key}"})


def graph_of(called: Any = call) -> StateGraph[Work]:
    inner = StateGraph(Inner, name="inner")
    inner.add_node("check", check)
    inner.add_edge(START, "check")
    inner.add_edge("check", END)
    graph = StateGraph(Work, name="work")
    graph.add_map("look", lookup, over="parts", into="done")
    graph.add_node("deeper", inner, input={"text": "text"}, output=lambda s: {"log": [s.answer]})
    graph.add_node("call", called)
    graph.add_question(
        "ask", prompt=lambda s: f"May {s.key.get_secret_value()} be used?", into="said", answer=str
    )
    graph.add_edge(START, "look")
    graph.add_edge("look", "deeper")
    graph.add_edge("deeper", "call")
    graph.add_conditional_edges("call", route, ["ask", END])
    graph.add_edge("ask", END)
    return graph


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("THE_KEY", TOKEN)
    ALLOWED.clear()
    yield
    ALLOWED.clear()


def shown(flow: Any, run_id: str) -> str:
    """Put together all that can be seen of a run."""
    run = flow.get(run_id)
    drawing = run.draw()
    texts = [str(run), repr(run), repr(run.state), drawing.dot, drawing.mermaid, drawing.text]
    texts += [json.dumps(run.values), repr(run.records)]
    texts += [repr(run.decisions), repr(run.questions), repr(run.attempts)]
    try:
        texts += [drawing.svg(), drawing.html()]
    except GraphflowError:  # there is no Graphviz
        texts.append("")
    for words in (["show", run_id], ["show", run_id, "--json"], ["show", run_id, "--steps"],
                  ["runs", "--json"], ["questions"]):  # fmt: skip
        texts.append(CliRunner().invoke(cli, [*words, "--db", str(flow.store.path)]).output)
    return "\n".join(texts)


@pytest.mark.usefixtures("key")
def test_a_secret_in_a_model_call_is_nowhere(tmp_path: Path) -> None:
    """Of a prompt that holds it and an answer that repeats it, nothing is recorded or told."""
    graph = StateGraph(Inner, name="calling")

    def ask(state: Inner, ctx: Context[Any]) -> dict[str, Any]:
        key = state.key.get_secret_value()
        ctx.emit({"about": [f"Bearer {key}"]})
        return {"answer": str(len(ctx.llm.sync.chat(f"The key is {key}.").text))}

    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    db, model = tmp_path / "runs.db", FakeLLM([f"I will use {TOKEN}."])

    with graph.compile(db, llm=model.client()) as flow:
        events = [repr(event) for event in flow.stream({"text": "x"}, run_id="one")]
        run = flow.get("one")
        assert (run.status, len(run.calls)) == ("done", 1)
        assert run.state.answer == str(len(f"I will use {TOKEN}."))
        seen = [shown(flow, "one"), repr(run.calls), *events]
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert TOKEN in repr(model.requests)  # the server was told
    assert "Bearer [secret THE_KEY]" in "".join(seen)
    assert not [text for text in seen if TOKEN in text]
    assert TOKEN.encode() not in stored


SHAPES = ["-----BEGIN\nMIIab\n-----END", 'pa"ss"word', "pa\\ss\\word", "pässwörd", "it's-mine"]


@pytest.mark.parametrize("token", SHAPES)
def test_a_secret_of_any_shape_is_nowhere(
    token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines, quotes, backslashes and umlauts stand otherwise in JSON and in a repr: out as well."""
    monkeypatch.setenv("THE_KEY", token)
    graph = StateGraph(Inner, name="shapes")

    def ask(state: Inner, ctx: Context[Any]) -> dict[str, Any]:
        key = state.key.get_secret_value()
        ctx.llm.sync.chat(f"The key is {key}.")
        raise KeyError(key, (key,))

    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    model = FakeLLM(answer=lambda _: "It is " + token)
    with graph.compile(tmp_path / "runs.db", llm=model.client()) as flow:
        with pytest.raises(RunFailedError) as caught:
            flow.run({"text": "x"}, run_id="one")
        seen = shown(flow, "one") + repr(flow.get("one").calls) + str(caught.value)
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert "[secret THE_KEY]" in seen
    for form in secrets._forms(token):
        assert form not in seen
        assert form.encode() not in stored


@given(
    secret=st.text('ab-"\\é', min_size=4, max_size=9),
    text=st.lists(st.one_of(st.just(None), st.text('ab-"\\é x', max_size=5)), max_size=6),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_a_secret_that_comes_in_pieces(
    secret: str, text: list[str | None], cuts: list[int]
) -> None:
    """However an answer is cut, its pieces together are the answer with the secret taken out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "_known", dict.fromkeys(secrets._forms(secret), "K"))
        whole = "".join(secret if part is None else part for part in text)
        pieces = Pieces(secrets.without_secrets)
        places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
        heard = [pieces.take(whole[a:b]) for a, b in pairwise(places)]
        heard.append(pieces.rest())

        assert not [piece for piece in heard if secret in piece]
        assert secret not in "".join(heard)
        if not cuts:
            assert "".join(heard) == secrets.without_secrets(whole)


@pytest.mark.usefixtures("key")
def test_a_secret_is_nowhere(tmp_path: Path) -> None:
    """Through failures, decisions, questions, children and maps: in no byte, event or drawing."""
    db = tmp_path / "runs.db"
    flow = graph_of().compile(db)
    with pytest.raises(RunFailedError) as caught:
        flow.run({"text": "fail", "parts": ["a", "b"]}, run_id="one")
    assert TOKEN not in str(caught.value)
    assert "[secret THE_KEY]" in str(caught.value)
    ALLOWED.append("call")
    events = [repr(event) for event in flow.stream({"text": "fine", "parts": ["c"]}, run_id="two")]
    assert any("QuestionEvent" in event for event in events)
    assert flow.resume("one").status == "paused"
    assert "[secret THE_KEY]" in flow.get("one").open_questions["ask"].prompt
    seen = [shown(flow, "one"), shown(flow, "two"), *events]
    flow.answer("two", "yes")
    assert flow.get("two").status == "done"
    seen.append(shown(flow, "two"))
    files = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    flow.close()
    files += [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert not [text for text in seen if TOKEN in text]
    assert not [raw for raw in files if TOKEN.encode() in raw]
    assert any(b"secret:THE_KEY" in raw for raw in files)


@pytest.mark.usefixtures("key")
def test_another_process_gets_the_value_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who resumes has the value of his own environment; without one, the error says what to set."""
    flow = graph_of().compile(tmp_path / "runs.db")
    flow.run({"text": "fine"}, run_id="one")
    monkeypatch.delenv("THE_KEY")
    with pytest.raises(StateError, match=r"key.*THE_KEY"):
        _ = flow.get("one").state
    with pytest.raises(StateError, match="set the environment variable THE_KEY") as caught:
        flow.answer("one", "yes")
    assert "migration" not in str(caught.value)
    with pytest.raises(SecretMissingError, match=r"cannot go on here .*'THE_KEY' is not there"):
        flow.resume("one")
    assert flow.verdict("one").kind == "secret"
    assert flow.get("one").values["key"] == "secret:THE_KEY"
    with pytest.raises(InputError, match="THE_KEY"):
        flow.run({"text": "fine"})
    monkeypatch.setenv("THE_KEY", "another-one")
    assert flow.get("one").state.key.get_secret_value() == "another-one"
    flow.close()


@pytest.mark.usefixtures("key")
def test_a_secret_is_given_by_its_name_alone() -> None:
    """Another value is refused, in the input as in an update, and the refusal does not show it."""
    flow = graph_of(lambda s: {"key": SecretStr("other-value-1")}).compile()
    with pytest.raises(InputError) as refused:
        flow.run({"text": "x", "key": SecretStr("other-value-2")})
    assert "other-value-2" not in str(refused.value)
    with pytest.raises(RunFailedError) as failed:
        flow.run({"text": "x"})
    assert isinstance(failed.value.__cause__, InvalidUpdateError)
    assert "other-value-1" not in str(failed.value)
    assert "THE_KEY" in str(failed.value)


def with_new_key(migrate: Any) -> StateGraph[Any]:
    """Make the next version of `asks`, whose secret has another name."""
    key = (Annotated[SecretStr, Secret("NEW_KEY")], ...)
    graph = StateGraph(create_model("S", __base__=Small, key=key), name="asks", version=2)
    graph.add_question("ask", prompt="?", into="text")
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    graph.migration(1, 2)(migrate)
    return graph


@pytest.mark.usefixtures("key")
def test_a_secret_of_another_name_says_what_a_migration_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run has the name of then; that of today is told, and with it the run goes on."""
    monkeypatch.setenv("NEW_KEY", "x" * 20)
    with asks().compile(tmp_path / "r.db") as flow:
        flow.run({}, run_id="one")
    with with_new_key(dict).compile(tmp_path / "r.db") as flow:
        told = "it comes from 'NEW_KEY' alone: write 'secret:NEW_KEY' instead"
        assert told in str(flow.verdict("one"))
    today = with_new_key(lambda values: {**values, "key": "secret:NEW_KEY"})
    with today.compile(tmp_path / "r.db") as flow:
        assert flow.answer("one", "yes").state.key.get_secret_value() == "x" * 20


def test_a_function_may_give_the_value() -> None:
    """A secret may come of a vault: a function is called with its name."""

    class State(BaseModel):
        key: Annotated[SecretStr, Secret("db/password", lambda name: f"value of {name}")]
        seen: int = 0

    graph = StateGraph(State, name="vault")
    graph.add_node("use", lambda s: {"seen": len(s.key.get_secret_value())})
    graph.add_edge(START, "use")
    graph.add_edge("use", END)
    run = graph.compile().run({})
    assert run.state.seen == len("value of db/password")
    assert run.values["key"] == "secret:db/password"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (SecretStr, "put it into deps"),
        (SecretBytes, "put it into deps"),
        (list[SecretStr], "put it into deps"),
        (Annotated[str, Secret("X")], "a Secret is a SecretStr"),
    ],
)
def test_what_could_be_stored_is_refused(annotation: Any, words: str) -> None:
    """A secret that is not given by reference is no part of a state, and the fix is named."""
    made = type("State", (BaseModel,), {"__annotations__": {"x": annotation}})
    assert [problem for problem in problems_of(made) if words in problem]


def test_the_mark_alone_says_too_little() -> None:
    """`Secret` without a name is refused where the class is defined."""
    with pytest.raises(TypeError, match="say where it comes from"):
        type("State", (BaseModel,), {"__annotations__": {"x": Annotated[SecretStr, Secret]}})


def test_a_hook_redacts_what_is_recorded(tmp_path: Path) -> None:
    """`redact=` sees what is stored beside the state, before it is stored or told."""

    class State(BaseModel):
        n: int = 0

    graph = StateGraph(State, name="hooked")

    def fails(state: State) -> dict[str, Any]:
        raise ConnectionError("card 4111-1111 refused")

    graph.add_node("pay", fails)
    graph.add_edge(START, "pay")
    graph.add_edge("pay", END)
    flow = graph.compile(tmp_path / "r.db", redact=lambda text: text.replace("4111-1111", "****"))
    with pytest.raises(RunFailedError):
        flow.run({}, run_id="one")
    (attempt,) = flow.get("one").attempts
    assert attempt.error == "card **** refused"
    assert "4111" not in attempt.traceback
    assert "4111" not in (flow.get("one").error or "")
    flow.close()
    assert b"4111-1111" not in (tmp_path / "r.db").read_bytes()


@pytest.mark.parametrize(
    ("update", "is_refused"),
    [
        (lambda key: {"said": key}, True),
        (lambda key: {"log": ["one", f"Bearer {key}"]}, True),
        (lambda key: {"parts": [key[:9]]}, False),  # a part of it is a value like others
        (lambda key: {"said": "sk"}, False),
    ],
)
def test_a_secret_is_not_stored_in_another_field(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, update: Any, is_refused: bool
) -> None:
    """An update that has the value as it is fails in its node, and the words do not have it."""
    monkeypatch.setenv("THE_KEY", TOKEN)
    graph = StateGraph(Work, name="copy")
    graph.add_node("copy", lambda state: update(state.key.get_secret_value()))
    graph.add_edge(START, "copy")
    graph.add_edge("copy", END)
    with graph.compile(tmp_path / "r.db") as flow:
        if not is_refused:
            assert flow.run({"text": "x"}).status == "done"
            return
        with pytest.raises(RunFailedError, match="has the value of the secret 'THE_KEY'") as caught:
            flow.run({"text": "x"})
    assert TOKEN not in str(caught.value)
    assert all(TOKEN.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_short_secret_may_stand_in_a_value_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shorter than eight characters refuses no update."""
    monkeypatch.setenv("THE_KEY", "billing")
    graph = StateGraph(Work, name="short")
    graph.add_node("say", lambda state: {"said": "about billing"})
    graph.add_edge(START, "say")
    graph.add_edge("say", END)
    assert graph.compile().run({"text": "x"}).status == "done"


class Small(BaseModel):
    key: Annotated[SecretStr, Secret("THE_KEY")]
    text: str = ""
    parts: list[str] = ["a"]
    done: list[str] = []


def one_node(node: Any) -> StateGraph[Small]:
    graph = StateGraph(Small, name="one")
    graph.add_node("work", node)
    graph.add_edge(START, "work")
    graph.add_edge("work", END)
    return graph


def sends_it() -> StateGraph[Small]:
    graph = StateGraph(Small, name="sends")
    graph.add_node("first", lambda s: {})
    graph.add_node("second", lambda s: {})
    graph.add_edge(START, "first")
    graph.add_edge("second", END)
    graph.decision("first", targets=["second"])(
        lambda s: [Send("second", {"text": s.key.get_secret_value()})]
    )
    return graph


def maps_it() -> StateGraph[Small]:
    graph = StateGraph(Small, name="maps")
    graph.add_map("look", lambda item: item + TOKEN, over="parts", into="done")
    graph.add_edge(START, "look")
    graph.add_edge("look", END)
    return graph


def with_inside(inner: StateGraph[Any], given: dict[str, str] | None = None) -> StateGraph[Small]:
    graph = StateGraph(Small, name="with inside")
    graph.add_node("deeper", inner, input=given or {}, output={})
    graph.add_edge(START, "deeper")
    graph.add_edge("deeper", END)
    return graph


def hands_it_down() -> StateGraph[Small]:
    graph = StateGraph(Small, name="hands")
    inner = StateGraph(Inner, name="below")
    inner.add_node("check", check)
    inner.add_edge(START, "check")
    inner.add_edge("check", END)
    graph.add_node("deeper", inner, input=lambda s: {"text": s.key.get_secret_value()})
    graph.add_edge(START, "deeper")
    graph.add_edge("deeper", END)
    return graph


class Ruled(Small):
    @model_validator(mode="after")
    def _show(self) -> Self:
        if self.done:
            self.text = self.key.get_secret_value()
        return self


class Added(Small):
    said: Annotated[str, Reducer(lambda old, new: old + new)] = ""


class Bare(BaseModel):
    text: str = ""


def derives(state: type[BaseModel], *updates: dict[str, Any]) -> StateGraph[Any]:
    """Make a graph whose nodes return updates one after another."""
    graph = StateGraph(state, name="derives")
    names = [f"n{i}" for i, _ in enumerate(updates)]
    for name, update in zip(names, updates, strict=True):
        graph.add_node(name, lambda _state, update=update: update)
    for source, target in pairwise([START, *names, END]):
        graph.add_edge(source, target)
    return graph


def asks() -> StateGraph[Small]:
    graph = StateGraph(Small, name="asks")
    graph.add_question("ask", prompt="?", into="text")
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def remembers(state: Small, ctx: Context[Any]) -> None:
    ctx.memo("header", lambda: f"Bearer {state.key.get_secret_value()}")


def names_a_memo(state: Small, ctx: Context[Any]) -> None:
    ctx.memo(state.key.get_secret_value(), lambda: 1)


def names_a_question(state: Small, ctx: Context[Any]) -> None:
    ctx.ask(state.key.get_secret_value(), "?")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("graph", "given"),
    [
        (one_node(remembers), {}),
        (one_node(names_a_memo), {}),
        (one_node(names_a_question), {}),
        (sends_it(), {}),
        (maps_it(), {}),
        (hands_it_down(), {}),
        (derives(Ruled, {"done": ["x"]}), {}),
        (derives(Added, {"said": TOKEN[:6]}, {"said": TOKEN[6:]}), {}),
        (with_inside(derives(Bare, {"text": TOKEN})), {}),
        (one_node(lambda s: {}), {"input": {"text": TOKEN}}),
        (one_node(lambda s: {}), {"tags": {"for": TOKEN}}),
    ],
    ids=[
        "memo",
        "memo key",
        "question key",
        "send",
        "item",
        "child",
        "validator",
        "reducer",
        "child without one",
        "input",
        "tag",
    ],
)
def test_a_secret_is_refused_wherever_values_are_stored(
    graph: StateGraph[Small], given: dict[str, Any], tmp_path: Path
) -> None:
    """What a run stores beside updates is held to the same: refused in words, in no file."""
    with graph.compile(tmp_path / "r.db") as flow:
        with pytest.raises(GraphflowError, match="the secret 'THE_KEY' in it") as caught:
            flow.run(**{"input": {}, **given})
        files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert TOKEN not in str(caught.value)
    assert not [raw for raw in files if TOKEN.encode() in raw]


@pytest.mark.usefixtures("key")
def test_no_run_of_a_batch_begins_when_an_input_has_a_secret() -> None:
    """It is an input that does not fit, and is told before anything runs, as the others are."""
    flow = one_node(lambda s: {}).compile()
    with pytest.raises(InputError, match=r"inputs\[1\]: Small.text: it has the value"):
        flow.batch([{}, {"text": TOKEN}])
    assert flow.runs() == []


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("resume", [True, False])
def test_an_answer_that_has_a_secret_is_refused(
    resume: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its question stays open for another, though this process may never have run the graph."""
    with asks().compile(tmp_path / "r.db") as flow:
        flow.run({}, run_id="one")
        monkeypatch.setattr(secrets, "_known", {})
        with pytest.raises(AnswerError, match="the secret 'THE_KEY' in it"):
            flow.answer("one", TOKEN, resume=resume)
        assert TOKEN.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert flow.answer("one", "fine").state.text == "fine"


BOB = "@".join(["bob", "example.org"])  # no line of the source has it


def calls_bob(state: Any) -> None:
    raise ValueError(f"call {BOB}", {"to": BOB})


def mask(text: str) -> str:
    return text.replace(BOB, "[mail]")


def gives_none(text: str) -> str:
    return None  # type: ignore[return-value]  # a mistake that users make


def raises(text: str) -> str:
    raise KeyError(text)


def fails_with(redact: Any, node: Any = calls_bob) -> tuple[RunFailedError, str]:
    """Give the error of a run, and all that a log of it has."""
    flow = one_node(node).compile(redact=redact)
    with pytest.raises(RunFailedError) as caught:
        flow.run({}, run_id="one")
    return caught.value, "".join(traceback.format_exception(caught.value))


@pytest.mark.usefixtures("key")
def test_a_hook_redacts_the_error_that_the_caller_gets() -> None:
    """What is logged of a failed run, its message and its causes, went through `redact=` too."""
    error, log = fails_with(mask)
    assert "call [mail]" in str(error)
    assert isinstance(error.__cause__, ValueError)
    assert BOB not in log


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("redact", "words"),
    [(gives_none, "gave a NoneType, and no str"), (raises, "raised KeyError")],
)
def test_a_hook_that_fails_loses_neither_the_failure_nor_the_text(redact: Any, words: str) -> None:
    """Its own name stands where the text would have stood, which is not stored unredacted."""
    flow = one_node(calls_bob).compile(redact=redact)
    told = f"[could not be redacted: redact={redact.__qualname__} {words}]"
    with pytest.raises(RunFailedError, match="failed in step 1") as caught:
        flow.run({}, run_id="one")
    run = flow.get("one")
    assert told in str(caught.value)
    assert (run.status, run.error) == ("failed", f"ValueError: {told}")
    assert [attempt.error for attempt in run.attempts] == [told]


@pytest.mark.usefixtures("key")
def test_a_hook_is_given_no_secret() -> None:
    """Secrets are taken out before `redact=` sees a text: it may log what it is given."""
    given: list[str] = []

    def notes(text: str) -> str:
        given.append(text)
        return text

    def fails(state: Small) -> None:
        raise ValueError(f"no access with {state.key.get_secret_value()}")

    fails_with(notes, fails)
    assert given
    assert not [text for text in given if TOKEN in text]


def goes_with_it(state: Small) -> Command:
    return Command(goto=END, reason=f"with {state.key.get_secret_value()}")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("beside", [[], ["other"]])
def test_the_reason_of_a_goto_is_redacted_wherever_it_is_told(beside: list[str]) -> None:
    """It stands in the decision and in the task that made it: both are streamed, and read."""
    graph = StateGraph(Small, name="goes")
    graph.add_node("work", goes_with_it, targets=[END])
    graph.add_edge(START, "work")
    for other in beside:
        graph.add_node(other, lambda s: {})
        graph.add_edge(START, other)
        graph.add_edge(other, END)
    flow = graph.compile()
    told = [repr(event) for event in flow.stream({}, run_id="one")]
    read = repr(flow.get("one").records)
    assert not [text for text in (*told, read) if TOKEN in text]
    assert "with [secret THE_KEY]" in read


@pytest.mark.usefixtures("key")
def test_what_a_hook_makes_of_json_is_json(tmp_path: Path) -> None:
    """A hook that cuts texts off does not make a run that cannot be read."""
    graph = StateGraph(Small, name="json")
    graph.add_node("work", lambda s: {})
    graph.add_edge(START, "work")
    graph.decision("work", targets=[END])(
        lambda s: Decision(END, reason="so", evidence={"of": "a" * 50})
    )
    with graph.compile(tmp_path / "r.db", redact=lambda text: text[:9]) as flow:
        flow.run({}, run_id="one")
    with graph.compile(tmp_path / "r.db") as flow:
        details = [one.details_json for one in flow.get("one").decisions if one.details_json]
    assert [set(json.loads(text)) for text in details] == [{"redacted"}]


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def fails_alone(state: Small) -> None:
    raise ConnectionError(f"401 for {state.key.get_secret_value()}")


def fails_in_a_chain(state: Small) -> None:
    try:
        fails_alone(state)
    except ConnectionError as error:
        error.add_note(f"tried {state.key.get_secret_value()}")
        error.args = (*error.args, CYCLE)
        raise LookupError("no way") from error


@dataclass(frozen=True)
class NoAccess(Exception):
    words: str


def fails_frozen(state: Small) -> None:
    words = f"401 for {state.key.get_secret_value()}"
    raise NoAccess(words) from ExceptionGroup(words, [KeyError(1)])


class Stopped(BaseException):
    """What is no Exception."""


def stops(state: Small) -> None:
    raise Stopped(f"401 for {state.key.get_secret_value()}")


def fails_in_groups(state: Small) -> None:
    words = f"401 for {state.key.get_secret_value()}"
    inner = ExceptionGroup(words, [KeyError(1)])
    inner.add_note("noted")
    raise LookupError("no way") from ExceptionGroup("two", [inner, ValueError("odd")])


def fails_item(item: str) -> str:
    raise ConnectionError(f"{item}: 401 for {TOKEN}")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "node", [fails_alone, fails_in_a_chain, fails_frozen, stops, fails_in_groups]
)
def test_the_causes_of_a_failure_show_no_secret(node: Any) -> None:
    """A traceback that nobody caught ends in a log: its errors are what they were, without it."""
    error, log = fails_with(None, node)
    assert TOKEN not in log
    assert "401 for [secret THE_KEY]" in log
    assert isinstance(error.__cause__, ConnectionError | LookupError | NoAccess | RunError)
    assert ("noted" in log) == (node is fails_in_groups)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("is_inside", [False, True])
def test_the_causes_of_a_failed_map_show_no_secret(is_inside: bool) -> None:
    """A group of errors says what its parts say, and is redacted as they are."""
    graph = StateGraph(Small, name="items")
    graph.add_map("look", fails_item, over="parts", into="done")
    graph.add_edge(START, "look")
    graph.add_edge("look", END)
    flow = (with_inside(graph, {"parts": "parts"}) if is_inside else graph).compile()
    with pytest.raises(RunFailedError) as caught:
        flow.run({"parts": ["a", "b"]})
    log = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in log
    assert log.count("401 for [secret THE_KEY]") >= 2


MODULE = """
from typing import Annotated
from pydantic import BaseModel, SecretStr
from graphflow import END, START, Secret, StateGraph

class State(BaseModel):
    key: Annotated[SecretStr, Secret("THE_KEY")]
    text: str = ""

graph = StateGraph(State, name="asks")
graph.add_question("ask", prompt="?", into="text")
graph.add_edge(START, "ask")
graph.add_edge("ask", END)
"""


@pytest.mark.usefixtures("key")
def test_doctor_warns_of_a_secret_that_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is a matter of this environment, and not of the graph: there is nothing to migrate."""
    (tmp_path / "asks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    with asks().compile(tmp_path / "r.db") as flow:
        flow.run({}, run_id="one")
    monkeypatch.delenv("THE_KEY")
    words = ["doctor", "asks.py:graph", "--db", str(tmp_path / "r.db")]
    told = CliRunner().invoke(cli, words)
    assert told.exit_code == 0
    assert "set the environment variable THE_KEY" in told.output
    assert "migration" not in told.output
    found = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)
    assert [one["kind"] for one in found["findings"] if one["run_id"]] == ["warning"]


def test_a_source_that_fails_is_told_as_a_missing_secret() -> None:
    """A vault that is out of reach changes no graph: its own words say what to mend."""
    is_down: list[int] = []

    def vault(name: str) -> str:
        if is_down:
            raise OSError("no route to the vault")
        return f"value of {name}"

    class State(BaseModel):
        key: Annotated[SecretStr, Secret("db/pw", vault)]
        text: str = ""

    graph = StateGraph(State, name="vault")
    graph.add_question("ask", prompt="?", into="text")
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    flow = graph.compile()
    flow.run({}, run_id="one")
    is_down.append(1)
    with pytest.raises(SecretMissingError, match="OSError: no route to the vault"):
        flow.answer("one", "yes")
    is_down.clear()
    assert flow.answer("one", "yes").state.text == "yes"


class Meanwhile(str):
    """A text in which another thread reads a secret while it is looked through."""

    def __contains__(self, part: object) -> bool:
        secrets._known[f"read-by-thread-{len(secrets._known)}"] = "B"
        return False

    def endswith(self, *_: Any) -> bool:
        return Meanwhile.__contains__(self, "")


def test_another_thread_may_read_a_secret_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are looked through as far as the secrets that were known at the beginning go."""
    monkeypatch.setattr(secrets, "_known", {"read-before": "A"})
    assert secrets.secret_in(Meanwhile("x" * 20)) == ""
    assert secrets.begun(Meanwhile("x" * 20)) == 0
