"""A database of an earlier graphflow: its runs are read, drawn, verified, forked and resumed.

`golden.py` says how it was written. Whatever is changed later, this file stays as it is.
"""

import shutil
import sqlite3
from pathlib import Path

import pytest

from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointCorruptError, RunFailedError
from graphflow.run import Run
from tests.checkpoint import golden
from tests.rig.forge import change

V4 = Path(__file__).parent.parent / "data" / "runs_v4.db"

TO_CHOOSE = ["split", "measure", "price", "stamp", "sum_up", "write", "polite", "write", "polite",
             "choose"]  # fmt: skip
LOG = ["split", "price", "stamp", "sum_up", "write", "it does not say thank you", "write", "choose"]


@pytest.fixture
def flow(db):
    """Compile the graph on a copy of that database."""
    shutil.copy(V4, db)
    golden.ALLOWS.clear()
    compiled = golden.order_graph().compile(db)
    yield compiled
    compiled.close()


def forks(flow):
    return [run for run in flow.runs() if run.header.fork_of]


def test_golden_runs_are_read_without_their_code(db):
    """Every run is read and drawn by its records alone: path, values, questions, children."""
    shutil.copy(V4, db)
    store = SqliteCheckpointer(db)
    found = {header.run_id: Run(store, header.run_id) for header in store.runs()}
    assert [(i, r.status, r.reason) for i, r in found.items() if not r.header.fork_of] == [
        ("begun", "running", None),
        ("limit", "paused", "limit:steps"),
        ("failed", "failed", "task"),
        ("child_asks", "paused", "question"),
        ("asks", "paused", "question"),
        ("done", "done", None),
    ]
    done = found["done"]
    assert done.path == [*TO_CHOOSE, "review"]
    assert done.values == {
        "text": "two parts", "parts": ["two", "parts"], "sizes": [3, 5], "log": LOG, "total": 20,
        "tags": {"priced": 9, "stamped": 1}, "seen": ["split", "stamp"], "best": 9.0,
        "reply": "thank you", "verdict": "passed",
    }  # fmt: skip
    assert done.values_at(2)["total"] == 20
    assert done.children["9:review"].path == ["look", "pass_it"]
    assert found["asks"].open_questions["approve"].prompt == "Shall it be sent?"
    assert list(found["child_asks"].open_questions) == ["review/judge"]
    failed = found["failed"].records
    assert ([t.key for t in failed.kept], [m.name for m in failed.memos]) == (["stamp"], ["lookup"])
    assert [(i.key, i.ix, i.result_json) for i in failed.items] == [
        ("measure", 0, "3"), ("measure", 2, "4"),
    ]  # fmt: skip
    for run in found.values():
        assert "split" in run.draw().dot
        assert "orders" in str(run)
    assert "review/judge" in str(found["child_asks"])
    store.close()


def test_golden_digests_stay_true(db):
    """The digests that were written then are those that are read now, and damage shows."""
    shutil.copy(V4, db)
    before = sqlite3.connect(f"file:{V4}?mode=ro&immutable=1", uri=True)
    written = {row[0] for row in before.execute("SELECT digest FROM steps")}
    before.close()
    store = SqliteCheckpointer(db)
    read = {step.digest for h in store.runs() for step in store.load(h.run_id).steps}
    assert read <= written
    store.close()
    change(db, "UPDATE decisions SET reason = 'because' WHERE step = 8")
    store = SqliteCheckpointer(db)
    with pytest.raises(CheckpointCorruptError, match="step 8"):
        store.load("done")
    store.close()


def test_golden_runs_go_on(flow):
    """Each open run is resumed to its end: an answer, a child's answer, what failed, a limit."""
    assert flow.answer("asks", "yes").state.verdict == "yes"
    assert flow.answer("child_asks", "good").state.verdict == "good"
    with pytest.raises(RunFailedError, match="no prices today"):
        flow.resume("failed")
    golden.ALLOWS.update({"map", "price"})
    resumed = flow.resume("failed")
    assert (resumed.status, resumed.recovered) == ("done", True)
    assert resumed.state.sizes == [3, 6, 4]
    assert [m.value_json for m in resumed.records.memos] == ["15"]
    assert flow.resume("begun").path == [*TO_CHOOSE, "review"]
    assert flow.resume("limit", limits=golden.Limits(steps=100, visits=25)).state.log == LOG
    for run in flow.runs():
        if run.status == "paused":
            assert flow.answer(run.run_id, "too").status == "done"
    assert {run.status for run in flow.runs()} == {"done"}


def test_golden_runs_are_forked(flow):
    """A stored run, and a stored fork, is forked at any of its steps."""
    for run in [flow.get("done"), *forks(flow)]:
        for step in range(len(run.steps)):
            fork = flow.fork(run.run_id, step, update={"verdict": "late"})
            assert fork.status in {"done", "paused"}
            assert [s.digest for s in fork.steps[:step]] == [s.digest for s in run.steps[:step]]
    other = flow.fork("done", 8, choose={"by_order": "approve"})
    assert list(other.open_questions) == ["approve"]
