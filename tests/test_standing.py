"""How the tasks of an open step stand: a law per way in which a task can stop."""

from dataclasses import replace

import pytest

from graphflow.records import (
    AttemptRecord,
    ItemRecord,
    QuestionRecord,
    RunHeader,
    RunRecords,
    StepRecord,
    TaskRecord,
)
from graphflow.standing import open_tasks, task_of


def at(second: float) -> str:
    """Give a time, in seconds after 14:02."""
    return f"2026-11-22T14:02:{second:09.6f}+00:00"


def header(status: str = "failed", **more) -> RunHeader:
    return RunHeader("run", "g", 1, "digest", status, at(0), "{}", **more)


def stands(*ready: str, **more) -> dict[str, str]:
    """Say how a run stands whose open step is 3."""
    last = StepRecord(2, (), (), (), {}, {}, ready, None)
    return open_tasks(RunRecords(header(), {}, [last], **more))


def kept(key: str, fell_back: str | None = None) -> TaskRecord:
    return TaskRecord(0, key, key, "{}", at(1), 5.0, fell_back=fell_back)


def failed(key: str, begun: float = 1, ms: float = 1000, step: int = 3) -> AttemptRecord:
    return AttemptRecord(step, key, key, 1, at(begun), ms, "OSError", "gone", "")


def asked(key: str, second: float = 1, answer: str | None = None, **more) -> QuestionRecord:
    kind = more.pop("kind", "question")
    name = more.pop("name", "")
    record = QuestionRecord(3, key, key, name, kind, "?", "{}", at(second), **more)
    return replace(record, answer_json=answer)


def child(key: str, status: str, reason: str | None = None, step: int = 3) -> RunRecords:
    above = {"parent": "run", "parent_step": step, "parent_key": key}
    return RunRecords(header(status, reason=reason, **above), {})


def test_nothing_is_open_before_the_first_step():
    """A run without a step has no open tasks."""
    assert open_tasks(RunRecords(header(), {})) == {}


def test_a_task_that_has_not_begun_is_not_named():
    """What is ready but has neither ended nor stopped is left out."""
    assert stands("a", "b") == {}


def test_the_order_is_that_of_the_step():
    """Tasks come in the order of `ready`, whatever ended first."""
    found = stands("b", "a", "c", kept=[kept("c"), kept("b")], attempts=[failed("a")])
    assert list(found.items()) == [("b", "done"), ("a", "failed"), ("c", "done")]


def test_kept_tasks_are_done_or_fell_back():
    """A complete task is done, or its fallback replaces it; attempts before it do not matter."""
    tasks = [kept("a"), kept("b", "c")]
    found = stands("a", "b", kept=tasks, attempts=[failed("a"), failed("b")])
    assert found == {"a": "done", "b": "fallback"}


def test_failures_of_closed_steps_do_not_count():
    """An attempt of an earlier step says nothing of the open one."""
    assert stands("a", attempts=[failed("a", step=2)]) == {}


def test_a_failed_item_is_a_failed_map():
    """An item's attempt counts for its task, also for one that was sent."""
    assert stands("m", "m#0", attempts=[failed("m[1]"), failed("m#0[4]")]) == {
        "m": "failed",
        "m#0": "failed",
    }


def test_an_item_that_succeeded_later_is_no_failure():
    """An item that is stored has been repeated with success."""
    done = ItemRecord(3, "m", 1, "1", at(4), 5.0, 2)
    assert stands("m", attempts=[failed("m[1]")], items=[done]) == {}
    assert stands("m", attempts=[failed("m[1]"), failed("m[2]")], items=[done]) == {"m": "failed"}


def test_an_open_question_asks():
    """A question without an answer, by the node itself or by `ctx.ask`."""
    questions = [asked("q"), asked("deploy", kind="ask", name="approve")]
    assert stands("q", "deploy", questions=questions) == {"q": "asking", "deploy": "asking"}


def test_a_question_that_is_answered_ends_its_node():
    """The answer completes a question node, though its task has not been stored yet."""
    assert stands("q", questions=[asked("q", answer='"yes"')]) == {"q": "done"}


def test_an_answered_ask_leaves_its_body_to_run():
    """The body of a node that asks runs again after the answer: it has not ended."""
    assert stands("a", questions=[asked("a", answer="1", kind="ask", name="n")]) == {}


@pytest.mark.parametrize(("second", "standing"), [(1.5, "failed"), (2.0, "asking"), (9, "asking")])
def test_a_question_wins_only_when_it_was_asked_after_the_failure(second, standing):
    """Of a failure that ended at second 2 and a question, what came later holds."""
    question = asked("a", second, kind="ask", name="sure")
    assert stands("a", attempts=[failed("a")], questions=[question]) == {"a": standing}


def test_an_escalation_asks_however_the_clocks_go():
    """An escalation is asked because of the failure; an answered one does not hide the next."""
    question = asked("a", 1.999, kind="escalation")
    assert stands("a", attempts=[failed("a")], questions=[question]) == {"a": "asking"}
    settled = replace(question, answer_json='"retry"')
    assert stands("a", attempts=[failed("a")], questions=[settled]) == {"a": "failed"}


@pytest.mark.parametrize(
    ("status", "reason", "standing"),
    [
        ("failed", "task", "failed"),
        ("failed", "router pick: KeyError: 'x'", "failed"),
        ("paused", "question", "asking"),
        ("paused", "limit:steps", "limit"),
        ("paused", "limit:visits:x", "limit"),
        ("paused", "limit:steps:sub", "limit"),
        ("paused", "budget:calls", "limit"),
    ],
)
def test_a_child_that_stopped_stops_its_task(status, reason, standing):
    """The task of a subgraph stands as its run does; its own older failures do not matter."""
    assert stands("sub", children=[child("sub", status, reason)]) == {"sub": standing}
    found = stands("sub", children=[child("sub", status, reason)], attempts=[failed("sub")])
    assert found == {"sub": standing}


@pytest.mark.parametrize(
    ("status", "reason"),
    [("running", None), ("paused", "before:x"), ("paused", "interrupted"), ("done", None)],
)
def test_a_child_that_can_go_on_is_not_named(status, reason):
    """A child under way, at a breakpoint, or done has not stopped its task."""
    assert stands("sub", children=[child("sub", status, reason)]) == {}


def test_a_child_of_an_earlier_step_says_nothing():
    """Only the runs of the open step count."""
    assert stands("sub", children=[child("sub", "failed", "task", step=2)]) == {}


def test_a_budget_that_is_used_up():
    """Of a run paused by a budget the tasks that have not ended wait for more of it."""
    last = StepRecord(2, (), (), (), {}, {}, ("a", "b", "c"), None)
    paused = RunRecords(header("paused", reason="budget:calls"), {}, [last], kept=[kept("b")])
    assert open_tasks(paused) == {"a": "limit", "b": "done", "c": "limit"}
    paused.header.reason = "budget:calls:c"  # in the child of c
    paused.children = [child("c", "paused", "budget:calls")]
    assert open_tasks(paused) == {"b": "done", "c": "limit"}
    paused.header.reason = "limit:steps"  # the step has not begun
    paused.children, paused.kept = [], []
    assert open_tasks(paused) == {}


def test_each_sent_child_stands_for_itself():
    """Tasks of one node are told apart by their keys."""
    children = [child("s#0", "paused", "question"), child("s#1", "paused", "limit:steps")]
    found = stands("s#0", "s#1", "s#2", children=children, kept=[kept("s#2")])
    assert found == {"s#0": "asking", "s#1": "limit", "s#2": "done"}


def test_an_escalated_child_asks():
    """A failed child whose task has been escalated waits for the answer."""
    question = asked("sub", 3, kind="escalation")
    found = stands("sub", children=[child("sub", "failed", "task")], questions=[question])
    assert found == {"sub": "asking"}


def test_the_task_of_a_key():
    """An item's key names its task."""
    assert [task_of(key) for key in ("m[0]", "m#1[12]", "w#0", "a")] == ["m", "m#1", "w#0", "a"]
