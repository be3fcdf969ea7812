"""`graphflow run` and `resume` of one run: what they print, and how they exit."""

import json
import shlex

import pytest

TALKS = """
from pydantic import BaseModel
from graphflow import END, START, StateGraph

class State(BaseModel):
    text: str = ""

def ask(state, ctx):
    ctx.llm.sync.chat("hello")

graph = StateGraph(State, name="talks")
graph.add_node("ask", ask)
graph.add_edge(START, "ask")
graph.add_edge("ask", END)
"""


def test_a_done_run_shows_its_path_and_what_to_type_next(call):
    """A run that is done exits 0, and prints its table and commands that work as they stand."""
    result = call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--db", "a.db")
    assert result.exit_code == 0
    assert "toy · done · 4 steps" in result.stdout
    assert "→ finish: text = " in result.stdout
    commands = [line.partition("graphflow ")[2] for line in result.stdout.splitlines()[-2:]]
    assert [command.split()[0] for command in commands] == ["show", "draw"]
    for command in commands:
        assert call(*shlex.split(command.replace("run.svg", "run.txt"))).exit_code == 0


def test_a_failed_run_exits_1_with_the_nodes_own_lines(call):
    """A failed run exits 1, with the failing node's error and traceback, and not graphflow's."""
    result = call("run", "toy.py:graph", "--input", '{"text": "fail"}')
    assert result.exit_code == 1
    assert "toy · failed at count" in result.stdout
    assert "error: count: ValueError: no such thing" in result.stderr
    assert "toy.py" in result.stderr
    assert 'raise ValueError("no such thing' in result.stderr
    assert "drive.py" not in result.stderr
    assert "next: graphflow resume toy.py:graph 01" in result.stdout


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"GRAPHFLOW_MODEL": "mine"}, "NoModelError: the model 'mine' is asked for"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "ModelUnavailableError: "),
    ],
)
def test_a_model_that_is_not_there_is_told_without_a_traceback(
    call, folder, monkeypatch, environment, said
):
    """No line of the code is wrong: the error itself says what to set."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "GRAPHFLOW_MODEL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (folder / "talks.py").write_text(TALKS)
    result = call("run", "talks.py:graph", "--run-id", "mine")
    assert result.exit_code == 1
    assert f"error: ask: {said}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert 'File "' not in result.stderr + call("show", "mine").stdout


def test_a_router_that_raises_is_shown_with_its_lines(call):
    """A run that failed in a router exits 1 and shows the router's own traceback."""
    result = call("run", "toy.py:graph", "--input", '{"text": "router"}')
    assert result.exit_code == 1
    assert "router 'enough' after 'count'" in result.stderr
    assert "in enough" in result.stderr
    assert "KeyError: 'no key'" in result.stderr


def test_a_paused_run_exits_3_and_its_command_goes_on(call, document):
    """A run that reached a limit exits 3, says which, and the command it prints raises it."""
    result = call("run", "toy.py:graph", "--input", '{"text": "forever"}', "--limit-visits", 4)
    assert result.exit_code == 3
    assert "paused: 'count' has run in 4 steps, which is the limit" in result.stdout
    command = next(line for line in result.stdout.splitlines() if line.startswith("next: "))
    assert "--limit-visits 8" in command
    assert call(*shlex.split(command)[2:]).exit_code == 3
    assert document("runs")[0]["last_step"] == 8


def test_limits_of_steps_pause_too(call, document):
    """--limit-steps pauses, and a resume without limits keeps those of the run."""
    given = ("--input", '{"text": "hi"}')
    result = call("run", "toy.py:graph", *given, "--limit-steps", 2, "--run-id", "mine")
    assert result.exit_code == 3
    assert "2 steps have run, which is the limit" in result.stdout
    assert call("resume", "toy.py:graph", "mine").exit_code == 3
    assert call("resume", "toy.py:graph", "m", "--limit-steps", 9).exit_code == 0
    assert document("show", "mine")["limits"] == {"steps": 9, "visits": 25}


def test_json_stands_alone_on_stdout(call, document):
    """With --json stdout is one document; what nodes print and words for people are on stderr."""
    result = call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--json")
    found = json.loads(result.stdout)
    assert found["status"] == "done"
    assert found["path"] == ["count", "count", "count", "finish"]
    assert found["state"]["n"] == 3
    assert "a node prints" in result.stderr
    assert "next: graphflow show" in result.stderr
    assert document("run", "toy.py:graph", "--input", '{"text": "fail"}', code=1)["error"]


def test_processes_of_nodes_do_not_write_into_the_json(folder, shell):
    """What a process that a node starts writes to its stdout is not in the JSON either."""
    loud = (
        (folder / "toy.py")
        .read_text()
        .replace('print("a node prints")', 'import os; os.system("echo a child prints")')
    )
    (folder / "loud.py").write_text(loud)
    done = shell("run", "loud:graph", "--input", '{"text": "hi"}', "--json")
    assert json.loads(done.stdout)["status"] == "done"
    assert "a child prints" in done.stderr


def test_the_same_run_id_goes_on_or_is_refused(call):
    """A run id that is given again continues the run; with another input it is refused with 2."""
    first = ("run", "toy.py:graph", "--run-id", "mine", "--input")
    assert call(*first, '{"text": "hi"}').exit_code == 0
    assert call(*first, '{"text": "hi"}').exit_code == 0
    other = call(*first, '{"text": "other"}')
    assert other.exit_code == 2
    assert "exists and began with another input" in other.stderr


def test_a_node_that_exits_does_not_end_well(call):
    """A node that calls sys.exit(0) does not make the command exit 0: its run is paused."""
    result = call("run", "toy.py:graph", "--input", '{"text": "leave"}')
    assert result.exit_code == 3
    assert "a node called sys.exit(0)" in result.stdout


def test_resuming_what_is_done_runs_nothing(call):
    """A run that is done is shown, and said to be done."""
    call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", "mine")
    result = call("resume", "toy.py:graph", "mine")
    assert result.exit_code == 0
    assert "done before" in result.stdout
    assert "a node prints" not in result.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"text": 1', "Expecting ',' delimiter at column 11"),
        ('["text"]', "not a list"),
        ('{"text": NaN}', "NaN is no JSON value"),
        ("{" * 5000, "not JSON"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ("nowhere.jsonl", "there is no file 'nowhere.jsonl'"),
        ("nul\0", "cannot be read"),
        (".", "cannot be read"),
        ("latin1.json", "not UTF-8"),
        ('{"txt": "hi"}', "Did you mean 'text'?"),
        ('{"text": 3}', "valid string"),
        ("{}", "text: Field required"),
    ],
)
def test_a_wrong_input_exits_2_and_makes_no_file(call, folder, given, said):
    """An input that is no JSON, no object, unreadable, or does not fit exits 2 with the reason."""
    (folder / "latin1.json").write_bytes('{"text": "ä"}'.encode("latin-1"))
    result = call("run", "toy.py:graph", "--input", given)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not (folder / "graphflow.db").exists()


def test_an_input_may_be_a_file(call, folder, document):
    """FILE.json holds the input of one run, with or without a byte order mark."""
    (folder / "in.json").write_bytes(b'\xef\xbb\xbf{\n"text": "hi"\n}')
    assert document("run", "toy.py:graph", "--input", "in.json")["state"]["text"] == "hi"


@pytest.mark.parametrize(
    "words",
    [
        ("resume", "toy.py:graph"),
        ("resume", "toy.py:graph", "x", "--all"),
        ("run", "toy.py:graph", "--limit-steps", "0"),
        ("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", ""),
        ("run", "toy.py:graph", "--input", "lines.jsonl", "--run-id", "x"),
        ("nothing",),
    ],
)
def test_wrong_usage_exits_2(call, folder, words):
    """Options that do not fit together exit 2."""
    (folder / "lines.jsonl").write_text('{"text": "hi"}\n')
    assert call(*words).exit_code == 2


def test_an_invalid_graph_is_told_with_all_its_problems(call, folder):
    """Running a graph that does not compile exits 2 and lists all problems."""
    (folder / "bad.py").write_text(
        (folder / "toy.py").read_text() + "\ngraph.add_edge('finis', 'cound')\n"
    )
    result = call("run", "bad.py:graph", "--input", '{"text": "hi"}')
    assert result.exit_code == 2
    assert "'finis'" in result.stderr
    assert "'cound'" in result.stderr


def test_a_changed_graph_is_refused_with_2(call, folder):
    """A run that cannot go on with today's graph is refused, and stays as it is."""
    call("run", "toy.py:graph", "--input", '{"text": "fail"}', "--run-id", "mine")
    text = (folder / "toy.py").read_text()
    (folder / "toy2.py").write_text(
        text.replace('"count"', '"tally"').replace("def count", "def tally")
    )
    result = call("resume", "toy2.py:graph", "mine")
    assert result.exit_code == 2
    assert "count" in result.stderr


def test_unexpected_errors_keep_their_traceback(call, monkeypatch):
    """An exception that is not graphflow's own is not turned into a message."""
    monkeypatch.setattr("graphflow.graph.StateGraph.compile", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("run", "toy.py:graph", "--input", '{"text": "hi"}')
