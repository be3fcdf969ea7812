"""`--stream`: what happens, told while it happens; and the budgets of `run` and `resume`."""

import json

import pytest

TALK = """
from pydantic import BaseModel
from graphflow import END, START, Budget, Retry, StateGraph
from graphflow.testing.llm import FakeLLM

class State(BaseModel):
    text: str = ""
    said: list[str] = []

graph = StateGraph(State, name="talk")

@graph.node(retry=Retry(attempts=2, wait=0, on=ConnectionResetError))
def talk(state: State, ctx):
    if ctx.attempt == 1 and state.text == "again":
        raise ConnectionResetError("the line broke")
    return {"said": [ctx.llm.sync.chat(word).text for word in state.text.split()]}

graph.add_edge(START, "talk")
graph.add_edge("talk", END)
flow = graph.compile("talk.db", llm=FakeLLM(answer=lambda request: "one two").client())
"""


@pytest.fixture
def talk(folder):
    """A graph that talks to a model, with its flow."""
    (folder / "talk.py").write_text(TALK)


def test_a_stream_tells_steps_decisions_and_the_end(call):
    """--stream tells in words what runs, is decided and committed, and how it ends."""
    result = call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--stream")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "toy begins" in lines
    first = lines.index("step 1 is committed")
    assert lines.index("  count begins") < first
    assert lines[first + 1 : first + 3] == [
        '  count -> count: text = "hi", n = 1',
        '    read text = "hi" (step 0), n = 1 (step 1)',
    ]
    assert "done" in lines
    assert any(line.startswith("toy · done · 4 steps") for line in lines)


def test_a_stream_as_json_gives_an_event_per_line(documents, document):
    """With --json each line is an event, the last one the end; they say what the records say."""
    code, events = documents("run", "asking.py:graph", "--input", '{"n": 1}', "--stream")
    assert code == 3
    assert events[0] == {
        "type": "run",
        "run_id": events[0]["run_id"],
        "graph": "asking",
        "step": -1,
    }
    assert events[-1]["type"] == "done"
    assert (events[-1]["status"], events[-1]["reason"]) == ("paused", "question")
    by_type = {event["type"]: event for event in events}
    assert {"run", "step", "node", "decision", "custom", "question", "done"} <= by_type.keys()
    assert by_type["custom"]["value"] == {"seen": 1}
    assert by_type["custom"]["run_id"].endswith("/2:sub")
    assert by_type["decision"]["chosen"] == ["sub", "reply"]
    whole = document("show", events[0]["run_id"])
    steps = [event for event in events if event["type"] == "step" and "/" not in event["run_id"]]
    assert [event["step"] for event in steps] == [step["step"] for step in whole["steps"]]
    assert steps[1]["tasks"] == whole["steps"][1]["tasks"]


def test_a_stream_that_fails_exits_1(call, documents):
    """A failing node is an event, then the last one; the exit code is 1, the error on stderr."""
    result = call("run", "toy.py:graph", "--input", '{"text": "fail"}', "--stream")
    assert result.exit_code == 1
    assert "  count failed (attempt 1): ValueError: no such thing" in result.stdout
    assert "error: count: ValueError" in result.stderr
    code, events = documents("run", "toy.py:graph", "--input", '{"text": "fail"}', "--stream")
    assert code == 1
    assert [event["type"] for event in events[-2:]] == ["attempt", "done"]


def test_a_resumed_run_streams_too(call, documents):
    """`resume --stream` tells what happens from there on."""
    call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", "mine", "--limit-steps", 2)
    code, events = documents("resume", "toy.py:graph", "mine", "--limit-steps", 9, "--stream")
    assert code == 0
    assert events[0]["step"] == 2
    assert [event["step"] for event in events if event["type"] == "step"] == [3, 4]


def test_a_run_that_is_over_streams_its_end(call, documents):
    """A run that was done before has one event, that it is done, and exits 0."""
    call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", "mine")
    code, events = documents("resume", "toy.py:graph", "mine", "--stream")
    assert (code, [event["type"] for event in events]) == (0, ["done"])


def test_words_of_a_model_stand_beside_each_other(call, talk, documents):
    """Pieces of a model's answer are told as they come, on the line of their task."""
    result = call("run", "talk.py:flow", "--input", '{"text": "a"}', "--stream")
    assert "\n  talk: one two\n" in result.stdout
    _, events = documents("run", "talk.py:flow", "--input", '{"text": "a"}', "--stream")
    assert "".join(e["text"] for e in events if e["type"] == "token") == "one two"


def test_a_repeated_attempt_is_told(call, talk):
    """A failed attempt and the next one are told with their numbers."""
    told = call("run", "talk.py:flow", "--input", '{"text": "again"}', "--stream").stdout
    assert "  talk failed (attempt 1): ConnectionResetError: the line broke\n" in told
    assert "  talk begins (attempt 2)\n" in told
    assert "done (recovered)" in told


@pytest.mark.parametrize(
    "words", [("run", "toy.py:graph", "--input", "in.jsonl"), ("resume", "toy.py:graph", "--all")]
)
def test_a_batch_does_not_stream(call, folder, words):
    """--stream is for one run: a batch is refused with 2."""
    (folder / "in.jsonl").write_text('{"text": "hi"}\n')
    call("run", "toy.py:graph", "--input", '{"text": "hi"}')
    assert call(*words, "--stream").exit_code == 2


def test_a_budget_of_calls_pauses_and_more_goes_on(call, talk, document):
    """--calls pauses before the call too many; the command it prints gives twice as many."""
    given = ("--input", '{"text": "a b c"}', "--run-id", "mine")
    result = call("run", "talk.py:flow", *given, "--calls", 2)
    assert result.exit_code == 3
    assert "paused: the budget of 2 calls is used up" in result.stdout
    assert "next: graphflow resume talk.py:flow mine --calls 4 --db talk.db\n" in result.stdout
    (one,) = document("runs", "--db", "talk.db")
    assert (one["status"], one["reason"]) == ("paused", "budget:calls")
    assert "the budget of 2 calls is used up" in call("runs", "--db", "talk.db").stdout
    assert call("resume", "talk.py:flow", "mine").exit_code == 3
    assert call("resume", "talk.py:flow", "mine", "--calls", 4).exit_code == 0
    found = document("show", "mine", "--db", "talk.db")
    assert found["budget"] == {"calls": 4, "tokens": None, "seconds": None}
    assert len(found["state"]["said"]) == 3


def test_a_budget_of_tokens_or_seconds_pauses(call, talk, folder, document):
    """--tokens and --seconds pause too, and what is left out of a new budget stays."""
    given = ("--input", '{"text": "a b c"}', "--run-id", "mine")
    result = call("run", "talk.py:flow", *given, "--tokens", 1, "--seconds", 60)
    assert "the budget of 1 token is too small for the next call" in result.stdout
    assert call("resume", "talk.py:flow", "mine", "--tokens", 900).exit_code == 0
    budget = document("show", "mine", "--db", "talk.db")["budget"]
    assert budget == {"calls": None, "tokens": 900, "seconds": 60.0}


@pytest.mark.parametrize("words", [("--calls", "0"), ("--seconds", "0"), ("--tokens", "x")])
def test_a_budget_is_more_than_nothing(call, words):
    """A bound of 0, or none at all, exits 2."""
    assert call("run", "toy.py:graph", "--input", '{"text": "hi"}', *words).exit_code == 2


def test_what_a_node_tells_may_be_anything(call, folder, documents):
    """What is no JSON is told by its repr, and escapes are spelled out."""
    text = (folder / "asking.py").read_text()
    (folder / "asking.py").write_text(
        text.replace('ctx.emit({"seen": state.n})', 'ctx.emit(["\\x1b[2J", {1, 2}, float("nan")])')
    )
    told = call("run", "asking.py:graph", "--input", '{"n": 1}', "--stream").output
    assert "\x1b" not in told
    _, events = documents("run", "asking.py:graph", "--input", '{"n": 1}', "--stream")
    (custom,) = [event for event in events if event["type"] == "custom"]
    assert "nan" in json.dumps(custom["value"])
