"""`runs`, `show`, `draw` and `check`."""

import json
import sys

import pytest

from graphflow.asked import Asked
from graphflow.policy import Limits
from tests.rig.forge import change

BAD = """
from pydantic import BaseModel
from graphflow import END, START, StateGraph

class State(BaseModel):
    n: int = 0

graph = StateGraph(State, name="bad")

@graph.node
def a(state): ...

@graph.node
def lost(state): ...

graph.add_edge(START, "a")
graph.add_edge("a", "b")
"""


@pytest.fixture
def three(call):
    """A database with a run that is done, one that failed and one that is paused."""
    for text in ("hi", "fail", "forever"):
        given = json.dumps({"text": text})
        call("run", "toy.py:graph", "--input", given, "--run-id", f"run-{text}", "--db", "a.db")


def test_runs_lists_the_newest_first(call, three, document):
    """`runs` lists runs with how they stand and why, newest first, and filters them."""
    lines = call("runs", "--db", "a.db").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["run-forever", "paused"],
        ["run-fail", "failed"],
        ["run-hi", "done"],
    ]
    assert "which is the limit" in lines[1]
    assert "ValueError: no such thing" in lines[2]
    assert [one["run_id"] for one in document("runs", "--db", "a.db", "--limit", 1)] == [
        "run-forever"
    ]
    only = document("runs", "--db", "a.db", "--status", "failed", "--graph", "toy")
    assert [one["run_id"] for one in only] == ["run-fail"]
    assert document("runs", "--db", "a.db", "--graph", "other") == []


def test_runs_says_when_there_are_more(call, three):
    """A list that was cut off says so."""
    told = call("runs", "--db", "a.db", "--limit", 2).stdout
    assert "there are more than these 2: see --limit" in told
    assert "there are more" not in call("runs", "--db", "a.db", "--limit", 3).stdout


def test_show_needs_no_code(call, three, folder):
    """`show` tells path, decisions with evidence, and state, after the code has gone."""
    (folder / "toy.py").unlink()
    told = call("show", "run-h", "--db", "a.db").stdout
    assert "toy · done · 4 steps" in told
    assert "step 3  count -> finish: text = " in told
    assert 'read text = "hi" (step 0), n = 3 (step 3)' in told
    assert "state after step 4" in told
    assert '"finished"' in told


def test_show_tells_each_step(call, three):
    """`show --steps` tells what each step changed."""
    told = call("show", "run-hi", "--steps", "--db", "a.db").stdout
    assert "step 2  count" in told
    assert "n    1 -> 2" in told


def test_show_tells_failed_attempts(call, three):
    """`show` of a failed run has the attempt, and the end of its traceback."""
    call("resume", "toy.py:graph", "run-fail", "--db", "a.db")
    told = call("show", "run-fail", "--db", "a.db").stdout
    assert "attempt 2" in told
    assert "| ValueError: no such thing" in told


def test_show_says_how_to_go_on(call, three, monkeypatch):
    """An open run's last line is the command that resumes it; a done run has none."""
    told = call("show", "run-fail", "--db", "a.db").stdout
    assert told.splitlines()[-1] == "next: graphflow resume TARGET run-fail --db a.db"
    monkeypatch.setenv("GRAPHFLOW_TARGET", "toy.py:graph")
    told = call("show", "run-fail", "--db", "a.db").stdout
    assert told.splitlines()[-1] == "next: graphflow resume run-fail --db a.db"
    assert "next:" not in call("show", "run-hi", "--db", "a.db").stdout


def test_show_as_json_holds_everything(three, document):
    """`show --json` holds steps, decisions, evidence, attempts, limits, input and state."""
    found = document("show", "run-hi", "--db", "a.db")
    assert [step["step"] for step in found["steps"]] == [0, 1, 2, 3, 4]
    assert found["steps"][2]["changed"] == {"n": 2, "log": ["n = 0", "n = 1"]}
    assert found["steps"][2]["tasks"][0]["update"] == {"n": 2, "log": ["n = 1"]}
    last = found["decisions"][-1]
    assert (last["step"], last["source"], last["chosen"]) == (3, "count", ["finish"])
    assert {"name": "n", "step": 3, "value": 3, "counter": False} in last["evidence"]
    assert found["input"] == {"text": "hi"}
    failed = document("show", "run-fail", "--db", "a.db")
    assert failed["attempts"][0]["error_type"] == "ValueError"
    assert failed["state"]["n"] == 0


def test_an_id_may_be_its_beginning(call, three):
    """A run is named by a beginning that only its id has; others are refused with 2."""
    assert call("show", "run-h", "--db", "a.db").exit_code == 0
    for prefix, said in (("run-", "several runs"), ("zzz", "there is no run 'zzz'")):
        result = call("show", prefix, "--db", "a.db")
        assert result.exit_code == 2
        assert said in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("runs",),
        ("show", "x"),
        ("draw", "x"),
        ("resume", "toy.py:graph", "x"),
        ("resume", "toy.py:graph", "--all"),
    ],
)
def test_reading_makes_no_database(call, folder, words):
    """A command that reads a database that is not there exits 2 and does not make it."""
    before = sorted(folder.iterdir())
    result = call(*words, "--db", "none.db")
    assert result.exit_code == 2
    assert "none.db" in result.stderr
    assert [p for p in sorted(folder.iterdir()) if p.name != "__pycache__"] == before


@pytest.mark.parametrize(
    "words",
    [("runs",), ("show", "x"), ("draw", "x"), ("run", "toy.py:graph", "--input", '{"text": "a"}')],
)
def test_a_file_that_is_no_database_is_left_alone(call, folder, words):
    """A file that is something else exits 2 and stays as it is."""
    (folder / "notes.txt").write_text("my notes " * 1000)
    result = call(*words, "--db", "notes.txt")
    assert result.exit_code == 2
    assert "not a SQLite database" in result.stderr
    assert (folder / "notes.txt").read_text() == "my notes " * 1000


def test_a_folder_that_is_not_there_is_named(call, folder):
    """A database in a folder that does not exist exits 2 and says what to type."""
    result = call("run", "toy.py:graph", "--input", '{"text": "a"}', "--db", "no/a.db")
    assert result.exit_code == 2
    assert "mkdir -p" in result.stderr


def test_draw_writes_what_the_suffix_says(call, three, folder, document):
    """`draw` prints text, or writes the format that the file's suffix names."""
    assert "toy · done" in call("draw", "run-hi", "--db", "a.db").stdout
    for name, start in (("r.dot", "digraph"), ("r.mmd", ""), ("r.txt", "toy · done")):
        result = call("draw", "run-hi", "--db", "a.db", "-o", name)
        assert result.exit_code == 0
        assert f"wrote {name}" in result.stdout
        assert start in (folder / name).read_text()
    found = document("draw", "run-hi", "--db", "a.db", "-o", "r.txt")
    assert found == {"run_id": "run-hi", "graph": "toy", "file": "r.txt"}
    assert "toy · done" in document("draw", "run-hi", "--db", "a.db")["text"]


def test_draw_of_a_target_needs_no_database(call, folder, document):
    """`draw TARGET` draws the graph itself, and opens no database."""
    assert "START   → count" in call("draw", "toy.py:graph").stdout
    assert document("draw", "toy.py:graph")["graph"] == "toy"
    assert not (folder / "graphflow.db").exists()


@pytest.mark.parametrize("name", ["r.png", "r", "nowhere/r.txt"])
def test_a_drawing_that_cannot_be_written_exits_2(call, three, name):
    """A suffix that is unknown and a folder that is not there exit 2."""
    assert call("draw", "run-hi", "--db", "a.db", "-o", name).exit_code == 2


def test_check_lists_all_problems(call, folder, document):
    """`check` lists every problem with code and fix, and exits 1; a good graph exits 0."""
    (folder / "bad.py").write_text(BAD)
    result = call("check", "bad.py:graph")
    assert result.exit_code == 1
    assert "error GF101" in result.stdout
    assert "START cannot reach node 'lost'" in result.stdout
    found = document("check", "bad.py:graph", code=1)
    assert found["ok"] is False
    assert {"GF101", "GF109"} <= {one["code"] for one in found["problems"]}
    assert all(one["message"] and one["fix"] for one in found["problems"])
    assert document("check", "toy.py:graph") == {"graph": "toy", "ok": True, "problems": []}


def test_check_of_a_module_that_compiles_lists_its_problems(call, folder, document):
    """A module that compiles its bad graph when imported is told by its problems all the same."""
    (folder / "bad.py").write_text(BAD + "flow = graph.compile()\n")
    found = document("check", "bad.py:graph", code=1)
    assert found["graph"] is None
    assert found["problems"]


def test_a_warning_does_not_count(call, folder):
    """A graph with warnings only exits 0."""
    (folder / "loop.py").write_text(
        BAD.partition("@graph.node\ndef lost")[0]
        + "graph.add_edge(START, 'a')\n"
        + "graph.add_conditional_edges('a', lambda s: 'a', ['a', END], name='again')\n"
        + "graph.add_node('b', lambda s: None)\n"
        + "graph.add_conditional_edges(START, lambda s: 'b', ['b'], name='other')\n"
        + "graph.add_edge('b', 'b')\n"
    )
    result = call("check", "loop.py:graph")
    assert result.exit_code == 0, result.output
    assert "warning GF201" in result.stdout


def test_check_prints_what_the_data_flow_tells(call, folder, document):
    """Warnings that follow the sources are listed with code, message and fix."""
    (folder / "flows.py").write_text(
        "from pydantic import BaseModel\n"
        "from graphflow import END, START, Retry, StateGraph\n"
        "class State(BaseModel):\n    n: int = 0\n    never: str = ''\n"
        "graph = StateGraph(State)\n"
        "def a(state: State):\n    return {'n': len(state.never)}\n"
        "def b(state: State):\n    return {'n': 2, 'm': 3}\n"
        "graph.add_node('a', a, effects='external', retry=Retry(attempts=3))\n"
        "graph.add_node('b', b)\n"
        "for name in 'ab':\n    graph.add_edge(START, name)\n    graph.add_edge(name, END)\n"
    )
    result = call("check", "flows.py:graph")
    assert result.exit_code == 0
    codes = {one["code"] for one in document("check", "flows.py:graph")["problems"]}
    assert {"GF301", "GF305", "GF311"} <= codes
    for code in codes:
        assert f"warning {code}: " in result.stdout
    assert f"0 errors, {len(codes)} warnings" in result.stdout


@pytest.fixture
def asked(call):
    """A run that waits in a subgraph, one whose subgraph failed, and one that recovered."""
    for run_id, n in (("waits", 1), ("broken", -1), ("mended", -1)):
        call("run", "asking.py:graph", "--input", json.dumps({"n": n}), "--run-id", run_id)


def test_show_tells_questions_open_tasks_items_and_subgraphs(call, asked, document):
    """`show` tells what is asked, how the open step stands, each item, and the subgraphs' runs."""
    told = call("show", "waits").stdout
    assert "\nopen step 2\n  sub    asking\n  reply  asking\n" in told
    assert "\nquestions\n  reply: Reply to 1?\n    an answer: string\n" in told
    assert "\nitems\n  step 1  double  3 items" in told
    assert "\n    [0]  2  " in told
    assert "\nsubgraphs\n  2:sub  inner  paused  1 step  it waits for an answer\n" in told
    assert told.splitlines()[-2:] == [
        "next: graphflow answer TARGET waits --key reply",
        "      graphflow answer TARGET waits --key sub/approve",
    ]
    found = document("show", "waits")
    assert found["open"] == {"sub": "asking", "reply": "asking"}
    assert [one["key"] for one in found["questions"]] == ["reply", "sub/approve"]
    assert [one["result"] for one in found["items"]] == [2, 4, 6]
    (child,) = found["children"]
    assert (child["parent"], child["parent_step"], child["parent_key"]) == ("waits", 2, "sub")
    assert [one["key"] for one in child["questions"]] == ["approve"]
    assert child["steps"][1]["changed"] == {"n": 2}


def test_show_tells_each_step_of_a_subgraph(call, asked):
    """`show --steps` sets the steps of a subgraph in, under the step that it belongs to."""
    lines = call("show", "waits", "--steps").stdout.splitlines()
    start = lines.index("step 2  is open")
    assert lines[start + 3 : start + 6] == ["  in sub:", "    step 0  input", "      n   1"]


def test_a_failure_in_a_subgraph_is_told_with_its_own_lines(call, asked):
    """`show` and `resume` tell the failing node of a subgraph, and its traceback once."""
    result = call("resume", "asking.py:graph", "broken")
    assert result.exit_code == 1
    assert "error: sub/look: ValueError: below zero" in result.stderr
    assert "The above exception" not in result.stderr
    told = call("show", "broken").stdout
    assert told.count("| ValueError: below zero") == 1
    assert "    failed attempts" in told
    assert "next: graphflow resume TARGET broken\n" in told


def test_a_run_that_recovered_says_so(call, asked, folder, document):
    """A run that is done although something failed on the way is told as recovered."""
    text = (folder / "asking.py").read_text().replace("state.n < 0", "state.n < -1")
    (folder / "mended.py").write_text(text)
    call("resume", "mended.py:graph", "mended")
    call("answer", "mended.py:graph", "mended", "x", "--key", "reply")
    found = document("answer", "mended.py:graph", "mended", "true")
    assert (found["status"], found["recovered"]) == ("done", True)
    assert "done (recovered)" in call("show", "mended").stdout


def test_show_until_says_how_to_go_on_from_now(call, asked):
    """`show --until` tells what fits how the run stands now, whatever steps it shows."""
    for run_id in ("waits", "broken"):
        whole = [line for line in call("show", run_id).stdout.splitlines() if "graphflow " in line]
        for until in ("0", "1", "9"):
            told = call("show", run_id, "--until", until).stdout.splitlines()
            assert [line for line in told if "graphflow " in line] == whole
    child = call("show", "waits/2:sub", "--until", "0").stdout
    assert child.splitlines()[-1] == "next: graphflow show waits"


def test_show_until_of_a_damaged_run_leads_to_the_doctor(call, asked, folder):
    """Nothing goes on with a run whose later steps are damaged: what names them comes first."""
    change(folder / "graphflow.db", "UPDATE questions SET prompt = 'other' WHERE key = 'reply'")
    told = call("show", "waits", "--until", "1").stdout
    assert told.splitlines()[-1] == "next: graphflow doctor --verify"


def test_the_run_of_a_subgraph_can_be_read(call, asked, document):
    """A subgraph's run is shown and drawn by its own id, and leads back to the whole."""
    told = call("show", "waits/2:sub").stdout
    assert "inner · paused at approve" in told
    assert told.splitlines()[-1] == "next: graphflow show waits"
    assert "approve" in call("draw", "waits/2:sub").stdout
    assert [one["run_id"] for one in document("runs")] == ["mended", "broken", "waits"]


def test_runs_says_why_each_is_paused(call, asked):
    """`runs` puts each reason into words."""
    call("run", "asking.py:graph", "--run-id", "steps", "--limit-steps", 1)
    told = call("runs").stdout
    assert "it waits for an answer" in told
    assert "1 step has run, which is the limit" in told


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\rfake"


def a_strange_run(folder):
    """Begin a run under an id that no face of graphflow takes, but a database may have."""
    sys.path.insert(0, str(folder))
    from toy import graph

    with graph.compile(folder / "graphflow.db") as flow:
        asked = Asked(limits=Limits(steps=2))
        flow._runner.advance(flow._opener.begin({"text": HOSTILE}, asked, run_id=HOSTILE))


def test_hostile_texts_do_not_reach_the_terminal(call, folder, document):
    """Escape sequences in inputs, ids, names and errors are spelled out in words and in JSON."""
    a_strange_run(folder)
    call("run", "toy.py:graph", "--input", '{"text": "fail"}')
    shown = [
        call("run", "toy.py:graph", "--input", "{}", "--run-id", HOSTILE),
        call("runs"),
        call("show", HOSTILE[:3]),
        call("show", HOSTILE[:3], "--steps"),
        call("draw", HOSTILE[:3]),
        call("resume", "toy.py:graph", HOSTILE, "--json"),
        call("show", HOSTILE, "--json"),
        call("show", f"nobody{HOSTILE}"),
        call("resume", "toy.py:graph", "--all"),
        call("run", f"toy{HOSTILE}:graph"),
        call("run", f"{HOSTILE}.py:graph"),
        call("run", "toy.py:graph", "--input", f"{HOSTILE}.jsonl"),
        call("runs", "--db", f"{HOSTILE}.db"),
    ]
    for result in shown:
        assert not set(result.output) & set("\x1b\x07\x9b\u202e\r"), result.output
    assert document("show", HOSTILE)["state"]["text"] == HOSTILE
