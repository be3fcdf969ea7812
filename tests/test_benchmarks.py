"""The benchmarks do the work they say: each case of graphflow's adapter runs, and is asserted."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import machine, worker
from benchmarks.cases import CASES, Case, chosen
from benchmarks.measure import measured
from benchmarks.peers.floor_peer import Floor
from benchmarks.peers.graphflow_peer import Graphflow
from benchmarks.table import page
from benchmarks.work import expect

FEW = 3
ROOT = Path(__file__).parent.parent


@pytest.fixture
def graphflow(tmp_path: Path) -> Iterator[Graphflow]:
    """The adapter, with a folder of its own."""
    peer = Graphflow(str(tmp_path))
    yield peer
    peer.close()


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_each_case_of_graphflow_runs_and_asserts_its_result(case: Case, graphflow: Graphflow):
    """Graphflow takes part in every case, and does its work."""
    facts = measured(getattr(graphflow, case.method)(min(case.n, FEW)))
    assert facts["seconds"] > 0
    assert case.value(facts["seconds"]) > -case.ideal_ms
    if case.is_durable:
        assert facts["bytes"] > 0


@pytest.mark.parametrize("case", ["chain", "fanout_async", "ckpt_msgs", "resume_msgs"])
def test_the_floor_runs(case: str, tmp_path: Path):
    """The floor does the same work without an engine."""
    peer = Floor(str(tmp_path))
    assert measured(getattr(peer, case)(FEW))["seconds"] > 0
    peer.close()


def test_a_wrong_result_is_no_measurement():
    """An engine that does not do the work gets no figure."""
    with pytest.raises(AssertionError, match="the result is 2, not 3"):
        expect(2, 3)


def test_a_worker_answers_each_question(tmp_path: Path):
    """It answers with facts, or that the peer has no such case."""
    peer = Floor(str(tmp_path))
    assert worker.answer(peer, {"about": True})["settings"] == Floor.settings
    assert worker.answer(peer, {"case": "build", "n": FEW}) == {"missing": True}
    assert "seconds" in worker.answer(peer, {"case": "loop", "n": FEW})["facts"]
    peer.close()
    assert set(worker.PEERS) >= {"graphflow", "floor"}


def test_ratios_are_taken_round_by_round():
    """A slow round slows all peers: the ratio of a round is that of the same round."""
    facts = {"graphflow": [1e-2, 2e-2, 4e-2], "floor": [1e-3, 2e-3, 4e-3]}
    found = {name: [{"seconds": s, "cpu": s} for s in seconds] for name, seconds in facts.items()}
    about = {"versions": {}, "settings": "made up", "importing": ""}
    results = {
        "machine": {"CPU": "made up"},
        "rounds": 3,
        "peers": dict.fromkeys(found, about),
        "cases": {"loop1k": {"peers": found, "fsync_us": [], "load": 0.0}},
    }
    text = page(results, "graphflow")
    assert "| loop1k | us/step | 20.0 | 2.00 |" in text
    assert "| floor | 2.00 (1.00 to 4.00) | 2.00 | 0.10 (0.10 to 0.10) |" in text


def test_a_case_that_is_not_there_is_named_with_those_that_are():
    """A wrong word on the command line is answered with the right ones."""
    assert [case.name for case in chosen("loop,import")] == ["loop1k", "loop10k", "import"]
    with pytest.raises(SystemExit, match="no case begins with 'lop'; there are: chain10, "):
        chosen("lop")


def test_the_machine_is_described(tmp_path: Path):
    """Figures come with what they depend on."""
    facts = machine.facts(str(tmp_path))
    assert {"CPU", "Python", "SQLite", "databases", "4 KB + fsync there"} <= facts.keys()
    assert json.loads(json.dumps(facts)) == facts


def test_graphflow_is_killed_as_its_peers_are(tmp_path: Path):
    """The rig of kills counts what it kills, and finds nothing lost or doubled in graphflow."""
    command = [sys.executable, "-m", "benchmarks.kills", "graphflow", str(tmp_path), "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["kills"] == 2
    assert (facts["missing"], facts["doubled"]) == (0, 0)
    assert facts["again"] + facts["cut"] <= 2
