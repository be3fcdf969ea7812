"""`questions` and `answer`: what runs ask, and what people say to it."""

import json
import shlex

import pytest


@pytest.fixture
def two(call):
    """A run that asks two things: the graph itself, and its subgraph."""
    given = ("--input", '{"n": 1}', "--run-id", "two")
    return call("run", "asking.py:graph", *given)


def test_a_run_that_asks_exits_3_and_says_how_to_answer(call, two):
    """A run that waits for answers exits 3, shows what is asked, and how each is answered."""
    assert two.exit_code == 3
    assert "paused: it waits for an answer" in two.stdout
    assert "  reply: Reply to 1?\n    an answer: string\n    until 20" in two.stdout
    assert "  sub/approve: Is it good?\n    an answer: boolean\n" in two.stdout
    commands = [line[6:] for line in two.stdout.splitlines()[-4:]]
    assert commands[0] == "graphflow answer asking.py:graph two --key reply"
    assert commands[1] == "graphflow answer asking.py:graph two --key sub/approve"
    first, second = (shlex.split(command)[1:] for command in commands[:2])
    assert call(*first, "hello").exit_code == 3
    assert call(*second, "true").exit_code == 0


def test_questions_lists_what_is_open_without_code(call, two, document, folder):
    """`questions` lists key, prompt, time and deadline of all runs, after the code has gone."""
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "other")
    call("run", "toy.py:graph", "--input", '{"text": "hi"}')
    (folder / "asking.py").unlink()
    head, *rows, last = call("questions").stdout.splitlines()
    assert head.split() == ["run", "key", "prompt", "asked", "(UTC)", "deadline", "(UTC)"]
    assert [row.split()[:2] for row in rows] == [
        ["two", "reply"],
        ["two", "sub/approve"],
        ["other", "reply"],
    ]
    assert last == "next: graphflow answer TARGET two --key reply"
    found = document("questions")
    assert [(one["run_id"], one["key"], one["open"]) for one in found] == [
        ("two", "reply", True),
        ("two", "sub/approve", True),
        ("other", "reply", True),
    ]
    assert found[0]["deadline"] > found[0]["asked_at"]
    assert found[0]["default"] == "-"
    assert found[1]["schema"] == {"type": "boolean"}


def test_questions_of_one_run_are_told_in_full(call, two, document):
    """`questions RUN` tells each question in full; a subgraph's run stands for the whole one."""
    told = call("questions", "tw").stdout
    assert "reply: Reply to 1?\n  an answer: string\n" in told
    assert call("questions", "two/2:sub").stdout == told
    assert len(document("questions", "two")) == 2


def test_questions_says_when_nothing_is_asked(call, document):
    """Without open questions `questions` says so, and exits 0."""
    call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", "mine")
    assert call("questions").stdout == "no open questions\n"
    assert document("questions", "mine") == []


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("42", "42"), ("[1]", "[1]"), ("", ""), ("-5", "-5"), ('"a"', '"a"'), ("a b", "a b")],
)
def test_a_text_is_taken_as_it_is(call, document, typed, stored):
    """Where a text is asked for, what looks like JSON is a text too."""
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "mine")
    found = document("answer", "asking.py:graph", "mine", typed)
    assert found["status"] == "done"
    assert found["state"]["reply"] == stored
    assert found["questions"][0]["answer"] == stored
    assert found["questions"][0]["answered_by"] == "person"


def test_other_types_are_read_as_json(call, two, document):
    """Where no text is asked for, the value is read as JSON; the key may be its end."""
    found = document("answer", "asking.py:graph", "two", "false", "--key", "approve", code=3)
    assert [(one["key"], one["open"], one["answer"]) for one in found["questions"]] == [
        ("reply", True, None),
        ("sub/approve", False, False),
    ]


def test_one_of_several_words_is_a_text(call, document):
    """An enum of words takes the bare word."""
    call("run", "asking.py:graph", "--input", '{"n": 11}', "--run-id", "mine")
    found = document("answer", "asking.py:graph", "mine", "no", "--key", "sure", code=3)
    assert found["questions"][-2]["answer"] == "no"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("two", "x"), "two has 2 open questions; add --key reply or --key sub/approve"),
        (("two", "x", "--key", "aprove"), "Did you mean 'sub/approve'?"),
        (("two", "maybe", "--key", "approve"), "does not fit"),
        (("two", "[", "--key", "approve"), "does not fit"),
        (("two", "--key", "approve"), "asks 'Is it good?', and there is no terminal"),
        (("nobody", "x"), "there is no run 'nobody'"),
        (("two", "x", "--keyy", "reply"), "these words are not TARGET RUN [VALUE]"),
        (("two", "x", "y"), "these words are not TARGET RUN [VALUE]"),
        ((), "these words are not TARGET RUN [VALUE]"),
    ],
)
def test_a_wrong_answer_exits_2_and_the_run_waits_on(call, two, document, words, said):
    """A wrong value, key, run or usage exits 2 with the reason; all questions stay open."""
    result = call("answer", "asking.py:graph", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert len(document("questions")) == 2


def test_an_answer_may_come_from_stdin(call, document):
    """A dash as VALUE reads it, without its last line's end; nothing at all is no answer."""
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "mine")
    for given, said in ((b"", "nothing on stdin"), (b"\xff", "not UTF-8: byte 1 is 0xff")):
        refused = call("answer", "asking.py:graph", "mine", "-", input=given)
        assert refused.exit_code == 2
        assert said in " ".join(refused.stderr.split())
    assert call("answer", "asking.py:graph", "mine", "-", input="two\nlines\n").exit_code == 0
    assert document("show", "mine")["state"]["reply"] == "two\nlines"


def test_what_is_typed_again_answers_nothing_else(call, folder):
    """The command that is printed names its question, also when it is the only one."""
    text = (folder / "asking.py").read_text()
    more = 'graph.add_edge("reply", "next")\ngraph.add_edge("next", "finish")\n'
    more = 'graph.add_question("next", prompt="And?", into="reply")\n' + more
    (folder / "asking.py").write_text(text.replace('graph.add_edge("reply", "finish")\n', more))
    told = call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "mine").stdout
    assert "next: graphflow answer asking.py:graph mine --key reply\n" in told
    assert call("questions").stdout.endswith("next: graphflow answer TARGET mine --key reply\n")
    words = ("answer", "asking.py:graph", "mine", "x", "--key", "reply")
    assert call(*words).exit_code == 3
    again = call(*words)
    assert again.exit_code == 2
    assert "no open question 'reply'" in again.stderr


def test_a_refused_answer_speaks_of_what_is_typed(call, folder, document):
    """Of commands and JSON, not of Python; and it says how a boolean is written."""
    text = (folder / "asking.py").read_text()
    (folder / "asking.py").write_text(text.replace('Literal["yes", "no"]', "bool"))
    call("run", "asking.py:graph", "--input", '{"n": 11}', "--run-id", "mine")
    for value in ("maybe", "null"):
        refused = call("answer", "asking.py:graph", "mine", value, "--key", "sure")
        shown = '"maybe"' if value == "maybe" else "null"
        assert f'{shown} is not of type "boolean": say true or false' in refused.stderr
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "other")
    call("answer", "asking.py:graph", "other", "x", "--no-resume")
    refused = call("answer", "asking.py:graph", "other", "y")
    assert "go on with graphflow resume asking.py:graph other" in refused.stderr


def test_the_first_answer_wins(call, document):
    """A run that asks nothing any more refuses answers with 2."""
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "mine")
    assert call("answer", "asking.py:graph", "mine", "first").exit_code == 0
    again = call("answer", "asking.py:graph", "mine", "second")
    assert again.exit_code == 2
    assert "asks nothing: it is done" in again.stderr
    assert document("show", "mine")["state"]["reply"] == "first"


def test_an_answer_may_be_stored_alone(call, document):
    """--no-resume stores the answer and exits 0; `resume` goes on with it."""
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "mine")
    result = call("answer", "asking.py:graph", "mine", "later", "--no-resume")
    assert result.exit_code == 0
    assert "next: graphflow resume asking.py:graph mine" in result.stdout
    assert document("questions") == []
    assert document("runs")[0]["status"] == "paused"
    told = call("runs").stdout
    assert "answered; resume it" in told
    assert told.endswith("\n      graphflow resume TARGET mine\n")
    assert document("resume", "asking.py:graph", "mine")["state"]["reply"] == "later"


def test_a_run_waits_until_its_last_question_is_answered(call, two):
    """`runs` says so, and what is to be done then; of a subgraph's run `show` does."""
    call("answer", "asking.py:graph", "two", "true", "--key", "approve", "--no-resume")
    assert "it waits for an answer" in call("runs").stdout
    assert "paused  1 step  answered; resume it" in call("show", "two").stdout
    call("answer", "asking.py:graph", "two", "x", "--key", "reply", "--no-resume")
    assert "it waits for an answer" not in call("runs").stdout


def test_an_answer_that_fails_the_run_exits_1(call, folder):
    """A node that fails after the answer is an error of the run: exit 1, as for `run`."""
    text = (folder / "asking.py").read_text()
    (folder / "asking.py").write_text(text.replace("lambda state: None", "lambda state: 1 / 0"))
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "mine")
    result = call("answer", "asking.py:graph", "mine", "x")
    assert result.exit_code == 1
    assert "finish: ZeroDivisionError" in result.stderr


def test_a_terminal_is_asked_until_the_answer_fits(on_terminal, two, document):
    """Without a VALUE the question is shown and asked on the terminal, again when it is wrong."""
    words = ("answer", "asking.py:graph", "two", "--key", "approve")
    code, text = on_terminal(*words, typed="maybe\ntrue\n")
    assert code == 3, text
    assert "sub/approve: Is it good?" in text
    assert text.count("answer: ") >= 2
    assert "does not fit" in text
    assert [one["key"] for one in document("questions")] == ["reply"]


def test_a_terminal_may_say_nothing(on_terminal, two, document):
    """Ctrl-D at the question stores nothing, and exits 2."""
    words = ("answer", "asking.py:graph", "two", "--key", "approve")
    code, text = on_terminal(*words, typed="\x04")
    assert code == 2
    assert "nothing was stored" in text
    assert len(document("questions")) == 2


def test_the_environment_may_name_the_target(call, two, monkeypatch):
    """With GRAPHFLOW_TARGET the words are RUN [VALUE]; without it a target is asked for."""
    missing = call("answer", "two", "x")
    assert missing.exit_code == 2
    assert "name the TARGET" in missing.stderr
    monkeypatch.setenv("GRAPHFLOW_TARGET", "asking.py:graph")
    result = call("answer", "two", "x", "--key", "reply")
    assert "next: graphflow answer two --key sub/approve\n" in result.stdout


def test_hostile_words_in_questions_are_spelled_out(call, folder, document):
    """Escapes in prompts and answers reach neither terminal nor JSON as such."""
    text = (folder / "asking.py").read_text()
    bad = json.dumps("\x1b]0;owned\x07")[1:-1]
    (folder / "asking.py").write_text(text.replace("Reply to", f"{bad} Reply to"))
    call("run", "asking.py:graph", "--input", '{"n": 200}', "--run-id", "mine")
    shown = [
        call("questions"),
        call("questions", "mine"),
        call("answer", "asking.py:graph", "mine"),
        call("answer", "asking.py:graph", "mine", "\x1b[2J"),
        call("show", "mine"),
        call("show", "mine", "--json"),
    ]
    for result in shown:
        assert not set(result.output) & set("\x1b\x07"), result.output
    assert document("show", "mine")["state"]["reply"] == "\x1b[2J"
