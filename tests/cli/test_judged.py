"""`doctor TARGET`: every open run is judged against today's code, and nothing is changed."""

import hashlib
import json
import os

import pytest

from tests.rig.forge import change

ONE = """
from typing import Annotated
from pydantic import BaseModel
from graphflow import END, START, StateGraph, append

class State(BaseModel):
    text: str = ""
    log: Annotated[list[str], append] = []

graph = StateGraph(State, name="letters")

@graph.node
def read(state: State):
    if state.text == "fail":
        raise ValueError("no")
    return {"log": ["read"]}

graph.add_question("approve", prompt="Send it?", into="text", answer=str)
graph.add_edge(START, "read")
graph.add_edge("read", "approve")
graph.add_edge("approve", END)
"""
TWO = ONE.replace('"approve"', '"confirm"').replace(
    "text: str", "text: str\n    must: int = 0\n    note: str"
)
THREE = TWO.replace('text: str\n    must: int = 0\n    note: str = ""', 'text: str = ""').replace(
    'name="letters")', 'name="letters")\ngraph.renamed("approve", "confirm")'
)


@pytest.fixture
def runs(call, folder):
    """Leave open runs of a graph in a database: one at a question, one that failed, one done."""
    (folder / "one.py").write_text(ONE)
    (folder / "two.py").write_text(TWO)
    (folder / "three.py").write_text(THREE)
    (folder / "needs.py").write_text(THREE.replace("log:", "must: int\n    log:"))
    for text in ("a letter", "fail"):
        call("run", "one.py:graph", "--input", json.dumps({"text": text}), "--db", "a.db")
    call("run", "toy.py:graph", "--input", '{"text": "fail"}', "--db", "a.db")
    return folder / "a.db"


def seen(path):
    """Digest the file and its log."""
    return [hashlib.sha256(p.read_bytes()).hexdigest() for p in (path,) if p.exists()]


def test_doctor_judges_every_open_run(call, document, runs):
    """The table has a row per open run: the verdict, what differs, and what to write."""
    before = seen(runs)
    result = call("doctor", "two.py:graph", "--db", "a.db")
    assert result.exit_code == 1
    assert "refused" in result.stdout
    assert 'graph.renamed("approve", ' in result.stdout
    assert "not judged: 1 other graph (toy)" in result.stdout
    found = json.loads(call("doctor", "two.py:graph", "--db", "a.db", "--json").stdout)
    verdicts = {
        run["status"]: (run["verdict"], run["can_go_on"]) for run in found["judged"]["runs"]
    }
    assert verdicts == {"paused": ("refused", False), "failed": ("compatible", True)}
    assert found["judged"]["other_graphs"] == ["toy"]
    assert [f["kind"] for f in found["findings"] if f["run_id"]] == ["problem"]
    assert seen(runs) == before


def test_doctor_finds_nothing_to_do(call, document, runs):
    """When every open run can go on the exit code is 0; then they do."""
    result = call("doctor", "three.py:graph", "--db", "a.db")
    assert (result.exit_code, "needs a migration" in result.stdout) == (0, False)
    assert "it is called 'confirm' now" in result.stdout
    same = call("doctor", "one.py:graph", "--db", "a.db")
    assert (same.exit_code, "same" in same.stdout) == (0, True)


def test_doctor_names_the_field_that_is_needed(call, runs):
    """A required field is named with the migration that it needs."""
    result = call("doctor", "needs.py:graph", "--db", "a.db")
    assert result.exit_code == 1
    assert "field 'must'" in result.stdout
    assert "@graph.migration(1, 2)" in result.stdout


def test_doctor_judges_a_file_that_cannot_be_written(call, runs, folder):
    """It works on a read-only file, and leaves it as it is."""
    if os.getuid() == 0:
        before = seen(runs)
        assert call("doctor", "one.py:graph", "--db", "a.db").exit_code == 0
        assert seen(runs) == before
    runs.chmod(0o400)
    assert call("doctor", "one.py:graph", "--db", "a.db").exit_code == 0


def test_doctor_tells_a_damaged_run(call, document, runs):
    """A run that is damaged is told as such; the others are judged."""
    change(runs, "UPDATE tasks SET update_json = '{}' WHERE node = 'read'")
    result = call("doctor", "one.py:graph", "--db", "a.db")
    assert result.exit_code == 1
    assert "damaged" in result.stdout
    assert "failed" in result.stdout


def test_doctor_of_a_wrong_target(call, runs):
    """A TARGET that is no graph is wrong usage."""
    assert call("doctor", "one.py:nothing", "--db", "a.db").exit_code == 2


def test_doctor_judges_what_the_environment_names(call, document, runs, monkeypatch):
    """GRAPHFLOW_TARGET stands in for a TARGET that is left out; one that is typed goes before."""
    assert call("doctor", "--db", "a.db").exit_code == 0
    assert "judged" not in document("doctor", "--db", "a.db")
    monkeypatch.setenv("GRAPHFLOW_TARGET", "two.py:graph")
    result = call("doctor", "--db", "a.db")
    assert (result.exit_code, "refused" in result.stdout) == (1, True)
    found = json.loads(call("doctor", "--db", "a.db", "--json").stdout)
    assert found["judged"]["target"] == "two.py:graph"
    assert call("doctor", "three.py:graph", "--db", "a.db").exit_code == 0
    monkeypatch.setenv("GRAPHFLOW_TARGET", "")
    assert "judged" not in document("doctor", "--db", "a.db")
    assert "GRAPHFLOW_TARGET" in call("doctor", "--help").stdout


def test_doctor_of_a_flow_looks_at_its_own_file(call, document, runs, folder):
    """A compiled flow has a file of its own, which --db takes the place of when it is typed."""
    (folder / "own.py").write_text(TWO + 'flow = graph.compile("a.db")\n')
    (folder / "mine.py").write_text(ONE + 'flow = graph.compile("mine.db")\n')
    result = call("doctor", "own.py:flow")
    assert (result.exit_code, "refused" in result.stdout) == (1, True)
    assert call("doctor", "mine.py:flow").exit_code == 2
    assert not (folder / "mine.db").exists()
    judged = document("doctor", "mine.py:flow", "--db", "a.db")["judged"]
    assert [run["verdict"] for run in judged["runs"]] == ["same", "same"]


def test_a_question_is_named_by_its_node_of_today(call, document, runs):
    """`answer --key` takes the name that the code has; what keeps a run from going on is told."""
    run = next(r["run_id"] for r in document("runs", "--db", "a.db") if r["status"] == "paused")
    answer = ("hello", "--key", "confirm", "--db", "a.db")
    refused = call("answer", "two.py:graph", run, *answer)
    assert refused.exit_code == 2
    assert 'graph.renamed("approve", ' in refused.stderr
    unknown = call("answer", "three.py:graph", run, "hello", "--key", "nobody", "--db", "a.db")
    assert (unknown.exit_code, "no open question 'nobody'" in unknown.stderr) == (2, True)
    assert call("answer", "three.py:graph", run, *answer).exit_code == 0
