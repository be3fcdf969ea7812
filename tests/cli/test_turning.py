"""`cancel` and `fork`: a run is ended for good, or taken up again at one of its steps."""

import json

import pytest


@pytest.fixture
def two(call):
    """A run that waits for two answers."""
    call("run", "asking.py:graph", "--input", '{"n": 1}', "--run-id", "two")


def test_cancel_ends_a_run_without_code(call, two, folder, document):
    """`cancel` needs no code, stores the reason, and nothing is asked any more."""
    (folder / "asking.py").unlink()
    result = call("cancel", "tw", "--reason", "not needed")
    assert result.exit_code == 0
    assert "run two is cancelled; it was paused" in result.stdout
    (found,) = document("runs")
    assert (found["status"], found["reason"]) == ("cancelled", "not needed")
    assert document("questions") == []
    told = call("show", "two").stdout
    assert "was not answered" in told
    assert "next:" not in told


def test_cancel_reaches_the_subgraphs(two, document):
    """The run of a subgraph is cancelled with the whole."""
    assert document("cancel", "two")["reason"] == "cancelled by hand"
    (child,) = document("show", "two")["children"]
    assert child["status"] == "cancelled"


def test_what_is_over_cannot_be_cancelled(call, document):
    """A run that is done, or cancelled, stays as it is: exit 1."""
    call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", "mine")
    result = call("cancel", "mine")
    assert result.exit_code == 1
    assert "run mine is done already; nothing was changed" in result.stderr
    assert document("runs")[0]["status"] == "done"


@pytest.mark.parametrize(("run", "code"), [("two/2:sub", 1), ("nobody", 2)])
def test_only_whole_runs_are_cancelled(call, two, document, run, code):
    """A subgraph's run is refused with the whole run's id; one that is not there with 2."""
    result = call("cancel", run)
    assert result.exit_code == code
    assert document("runs")[0]["status"] == "paused"
    assert "cancel the whole run, two" in result.stderr or code == 2


def test_a_cancelled_run_is_not_resumed(call, two):
    """`resume` and `answer` leave a cancelled run alone."""
    call("cancel", "two")
    assert call("answer", "asking.py:graph", "two", "x", "--key", "reply").exit_code == 2
    resumed = call("resume", "asking.py:graph", "two")
    assert resumed.exit_code == 1
    assert "cancelled" in resumed.stdout


def test_fork_chooses_another_way(call, two, document):
    """`fork --choose` runs on from a step by another way, and leaves the run as it is."""
    found = document("fork", "asking.py:graph", "two", 1, "--choose", "way=finish")
    assert (found["status"], found["path"]) == ("done", ["double", "finish"])
    assert (found["fork_of"], found["fork_step"]) == ("two", 1)
    assert document("show", "two")["status"] == "paused"
    told = call("show", found["run_id"]).stdout
    assert "fork of two at step 1" in told
    assert '\nfork\n  of two at step 1\n  way  -> "finish"\n' in told


def test_fork_changes_the_state(document, two):
    """`fork --update` changes the state, and the routers decide again on it."""
    words = ("fork", "asking.py:graph", "two", 1, "--update", '{"n": 200}')
    found = document(*words, code=3)
    assert [one["prompt"] for one in found["questions"]] == ["Reply to 200?"]
    assert document("show", found["run_id"])["fork"]["update"] == {"n": 200}


def test_several_ways_may_be_chosen(document, two):
    """A JSON list chooses several targets."""
    words = ("fork", "asking.py:graph", "two", 1, "--choose", 'way=["finish", "reply"]')
    found = document(*words, code=3)
    assert found["open"] == {"reply": "asking", "finish": "done"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("two", "9"), "has no step 9"),
        (("two", "x"), "STEP is the number of a committed step"),
        (("two",), "these words are not TARGET RUN STEP"),
        (("two", "1", "--update", "[1]"), "not a list"),
        (("two", "1", "--update", '{"m": 1}'), "State has no field 'm'. Known:"),
        (("two", "1", "--choose", "way"), "is not ROUTER=ANSWER"),
        (("two", "1", "--choose", "wai=finish"), "Did you mean 'way'?"),
        (("two", "1", "--choose", "way=finsh"), "answered 'finsh', which is none of its declared"),
        (("nobody", "1"), "there is no run 'nobody'"),
    ],
)
def test_a_wrong_fork_exits_2_and_makes_no_run(call, two, document, words, said):
    """A wrong step, update or choice exits 2 with the reason, and there is no new run."""
    result = call("fork", "asking.py:graph", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert len(document("runs")) == 1


def test_a_fork_that_fails_exits_1_and_can_be_resumed(call, folder, document):
    """A fork whose node fails exits 1, and names the new run for `resume`."""
    call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", "mine")
    result = call("fork", "toy.py:graph", "mine", 1, "--update", '{"text": "fail"}')
    assert result.exit_code == 1
    assert "count: ValueError: no such thing" in result.stderr
    new = document("runs")[0]["run_id"]
    assert f"next: graphflow resume toy.py:graph {new}" in result.stdout


def test_a_node_of_a_fork_that_exits_does_not_end_well(call, document):
    """A node that calls sys.exit(0) in a fork does not make the command exit 0."""
    call("run", "toy.py:graph", "--input", '{"text": "hi"}', "--run-id", "mine")
    result = call("fork", "toy.py:graph", "mine", 1, "--update", '{"text": "leave"}')
    assert result.exit_code == 3
    assert "a node called sys.exit(0)" in result.stdout
    assert json.loads(call("runs", "--json").stdout)[0]["fork_of"] == "mine"


def test_a_run_is_taken_over_from_a_process_that_hangs(call, two, folder):
    """`resume` says who has a run; with --take-over it is taken, and one run has to be named."""
    from graphflow.checkpoint.sqlite import SqliteCheckpointer
    from graphflow.testing.processes import living_process

    (database,) = folder.glob("*.db")
    with living_process() as other:
        store = SqliteCheckpointer(database)
        store.take("two", other)
        busy = call("resume", "asking.py:graph", "two")
        assert busy.exit_code == 1
        assert f"process {other.split(':')[2]} on host" in busy.stderr
        assert "--take-over" in busy.stderr
        assert call("resume", "asking.py:graph", "--all", "--take-over").exit_code == 2
        taken = call("resume", "asking.py:graph", "two", "--take-over")
        assert taken.exit_code == 3  # it waits for its answers again
        assert store.load("two").header.status == "paused"
        store.close()
