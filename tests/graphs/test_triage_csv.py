"""The triage on any CSV: its rows are read, split and run, and mistakes are told clearly."""

import pytest

from graphflow.testing.llm import fake_server
from graphs.triage_csv import main, read_rows, split

HEAD = "id,question,intent\n"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes a CSV into the test's own working directory."""
    monkeypatch.chdir(tmp_path)

    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _rows(count):
    kinds = [("When will it arrive", "card_arrival"), ("Somebody stole mine", "lost_card")]
    return HEAD + "".join(
        f'{n},"{kinds[n % 2][0]}, question {n}",{kinds[n % 2][1]}\n' for n in range(count)
    )


def test_rows_are_read_with_their_lines(table):
    """Quotes, line breaks and a byte order mark are CSV; a label becomes words; gaps are left."""
    content = "\ufeff" + HEAD + '1,"a ""b""\nc",card_arrival\n2,,x\n3,d,\n4,e , f_g \n5\n'
    rows = read_rows(table(content), "question", "intent")
    assert [(row.text, row.label) for row in rows] == [('a "b"\nc', "card arrival"), ("e", "f g")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,questoin,intent\n1,a,b\n", "no column 'question'. Did you mean 'questoin'?"),
        ("", "no column 'question'"),
        (HEAD, "no row with both 'question' and 'intent'"),
        (HEAD.encode() + b"1,caf\xe9,x\n", "is not UTF-8"),
        (HEAD + '1,"a" b,c\n', "after line 1: not CSV"),
        (HEAD + "1," + "a" * 200_000 + ",c\n", "after line 1: not CSV"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(table, content, words, capsys):
    """The exit code is 2, and the words name the file and what is wrong with it."""
    path = table(content)
    assert main(["--csv", str(path), "--text", "question", "--label", "intent"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "table.csv" in said


def test_a_file_that_is_not_there_is_told(table, capsys):
    """A missing file is named, with exit code 2."""
    assert main(["--csv", "nowhere.csv", "--text", "a", "--label", "b"]) == 2
    assert "nowhere.csv" in capsys.readouterr().err


def test_the_texts_of_tickets_are_not_among_the_solved(table):
    """A text that is there twice cannot be looked up as its own answer."""
    rows = read_rows(table(HEAD + "1,a,x\n2,b,x\n3,a,x\n4,c,y\n"), "question", "intent")
    tickets, solved = split(rows, 2)
    assert [row.text for row in tickets] == ["a", "a"]
    assert [one.text for one in solved] == ["b", "c"]


@pytest.mark.parametrize("count", [0, 4, 9])
def test_some_rows_must_be_left_as_solved(table, count):
    """As many tickets as rows leave nothing to look up."""
    rows = read_rows(table(_rows(4)), "question", "intent")
    with pytest.raises(ValueError, match="the file has 4 rows"):
        split(rows, count)


def test_the_same_graph_runs_on_the_rows(table, monkeypatch, capsys):
    """Topics come from the labels; a second call finds all runs done and asks nothing."""

    def speak(payload):
        asked = payload.get("response_format", {}).get("json_schema", {}).get("schema")
        if asked is not None:
            return asked["properties"]["choice"]["enum"][0]
        return "It is on its way, and we look into where it is now."

    command = ["--csv", str(table(_rows(40))), "--text", "question", "--label", "intent"]
    with fake_server(speak) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("GRAPHFLOW_MODEL", "fake")
        assert main([*command, "--tickets", "6"]) == 0
        asked = len(server.requests)
        assert main([*command, "--tickets", "6"]) == 0
        assert len(server.requests) == asked
    said = capsys.readouterr().out
    assert "6 tickets, 34 solved; runs in out/table.runs.db" in said
    assert "card arrival" in said
    assert "lost card" in said
    assert "topic right: " in said
