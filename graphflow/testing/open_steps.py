"""What every checkpointer promises of items, questions and memos: what an open step keeps."""

# ruff: noqa: S101 - tests are made of assert

from dataclasses import replace

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.protocol import Checkpointer
from graphflow.errors import AnswerError, CheckpointError, LeaseLostError
from graphflow.records import Sent
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    a_child,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
    facts,
)

__all__ = ["OpenStepContract"]


class OpenStepContract:
    """The part of `CheckpointerContract` that is about steps that are open."""

    # -- Sends, maps and fallbacks in steps -----------------------------------------------------

    def test_sends_come_back_as_they_were(self, store: Checkpointer) -> None:
        """The Sends that run next keep their key, their node and their input's very text."""
        lease = begin_run(store)
        step = a_step(1, sends=True)
        step.sends = {**step.sends, "work#1": Sent('w]"[,', '{ "a" : [1.50,"\\u00e9"] }')}
        store.commit(lease, step, a_snapshot(1), None)
        for tail in (False, True):
            read = store.load("run-1", tail=tail).steps[-1]
            assert (list(read.ready), dict(read.sends)) == (list(step.ready), step.sends)

    def test_a_choice_of_sends_comes_back(self, store: Checkpointer) -> None:
        """Targets and Sends that were chosen come back in their order, input as it was."""
        sent = Sent("work", '{"text": "a}", "n": 1e5}')
        chosen = [(sent,), ("draft", sent), (sent, "[{", sent), ("{draft",), ("a", "b{")]
        step = a_step(1)
        (decision,) = step.decisions
        step.decisions = tuple(decision._replace(chosen=targets) for targets in chosen)
        lease = begin_run(store)
        store.commit(lease, step, None, None)
        read = store.load("run-1").steps[1].decisions
        assert [one.chosen for one in read] == chosen
        assert read[1].targets == ("draft", "work")

    def test_maps_and_fallbacks_come_back(self, store: Checkpointer) -> None:
        """A task keeps how many items it had and what ran instead of it, kept or committed."""
        lease = begin_run(store)
        mapped = a_task(0, items=0)
        fell = a_task(1, update_json=None, fell_back="template")
        for step in (1, 2):
            store.keep(lease, step, mapped)
            assert facts(store.load("run-1", tail=True).kept) == facts([mapped])
            done = a_step(step, tasks=3)
            done.tasks = (mapped, fell, done.tasks[2])
            store.commit(lease, done, None, None)
            assert facts(store.load("run-1").steps[step]) == facts(done)

    def test_a_step_that_heard_says_so(self, store: Checkpointer) -> None:
        """A step keeps whether an answer came while it was open."""
        lease = begin_run(store)
        store.commit(lease, replace(a_step(1), heard=True), None, None)
        store.commit(lease, a_step(2), None, None)
        assert [step.heard for step in store.load("run-1").steps] == [False, True, False]

    # -- items and memos ------------------------------------------------------------------------

    def test_items_and_memos_are_kept(self, store: Checkpointer) -> None:
        """Items and memos are there for who goes on, and stay when their step is committed."""
        lease = begin_run(store)
        items = [an_item(1, 1), an_item(1, 0, attempts=3)]
        for item in items:
            store.keep_item(lease, item)
        store.memo(lease, a_memo(1))
        for tail in (False, True):
            records = store.load("run-1", tail=tail)
            assert (records.items, records.memos) == (items[::-1], [a_memo(1)])
        store.commit(lease, a_step(1), None, None)
        assert store.load("run-1").items == items[::-1]
        assert store.load("run-1").memos == [a_memo(1)]
        tail_records = store.load("run-1", tail=True)
        assert [*tail_records.items, *tail_records.memos] == []

    def test_the_last_item_and_memo_count(self, store: Checkpointer) -> None:
        """An item or memo that is stored again takes the place of the first."""
        lease = begin_run(store)
        for text in ("1", "2"):
            store.keep_item(lease, an_item(1, 0, result_json=text))
            store.memo(lease, a_memo(1, value_json=text))
        records = store.load("run-1")
        assert [item.result_json for item in records.items] == ["2"]
        assert [memo.value_json for memo in records.memos] == ["2"]

    def test_only_the_open_step_keeps(self, store: Checkpointer) -> None:
        """Nothing is kept for a step that is committed, or is not next."""
        lease = begin_run(store)
        store.commit(lease, a_step(1), None, None)
        before = store.load("run-1")
        for step, error in ((1, LeaseLostError), (3, CheckpointError)):
            with pytest.raises(error, match=f"step {step}"):
                store.keep(lease, step, a_task(0))
            with pytest.raises(error, match=f"step {step}"):
                store.keep_item(lease, an_item(step, 0))
            with pytest.raises(error, match=f"step {step}"):
                store.ask(lease, a_question(step))
            with pytest.raises(error, match=f"step {step}"):
                store.memo(lease, a_memo(step))
        assert store.load("run-1") == before

    # -- questions ------------------------------------------------------------------------------

    def test_a_question_waits_and_is_answered(self, store: Checkpointer) -> None:
        """A question stands with all that was asked until it is answered, in another lease too."""
        lease = begin_run(store)
        details = {
            "details_json": '{"attempts":3}',
            "deadline": "2027-01-01T00:00:00+00:00",
            "default_json": '"no"',
        }
        first = a_question(1, kind="escalation", **details)
        second = a_question(1, key="deploy", node="deploy", name="approve", kind="ask")
        store.ask(lease, first)
        store.ask(lease, second)
        assert store.load("run-1", tail=True).questions == [first, second]
        lease = store.take("run-1", this_process())
        given = replace(
            second,
            answer_json='"yes"',
            answered_at="2026-11-22T14:11:00+00:00",
            answered_by="person",
        )
        store.answer(lease, given)
        answered = [first, given]
        assert store.load("run-1", tail=True).questions == answered
        store.commit(lease, a_step(1), a_snapshot(1), None)
        assert store.load("run-1", tail=True).questions == []
        assert store.load("run-1").questions == answered

    def test_a_question_is_asked_once(self, store: Checkpointer) -> None:
        """A question that is there stays as it is, answered or not."""
        lease = begin_run(store)
        store.ask(lease, a_question(1))
        store.ask(lease, a_question(1, prompt="again"))
        store.answer(lease, a_question(1, answer_json='"yes"', answered_by="person"))
        store.ask(lease, a_question(1, prompt="again"))
        (question,) = store.load("run-1").questions
        assert (question.prompt, question.answer_json) == (a_question(1).prompt, '"yes"')

    def test_the_first_answer_stays(self, store: Checkpointer) -> None:
        """A second answer is refused and says what the first was; so is one to no question."""
        lease = begin_run(store)
        store.ask(lease, a_question(1))
        store.answer(lease, a_question(1, answer_json='"yes"', answered_by="person"))
        before = store.load("run-1")
        with pytest.raises(AnswerError, match=r"ask_human.*yes.*person"):
            store.answer(lease, a_question(1, answer_json='"no"', answered_by="person"))
        for other in ({"name": "x"}, {"key": "x"}, {"step": 2}):
            unknown = replace(a_question(1, answer_json='"no"'), **other)
            with pytest.raises(AnswerError, match="has no question"):
                store.answer(lease, unknown)
        with pytest.raises(CheckpointError, match="answer_json"):
            store.answer(lease, a_question(1))
        assert store.load("run-1") == before

    def test_an_answer_is_heard_up_to_the_root(self, store: Checkpointer) -> None:
        """An answer in a child notes the open step of the child and of each of its parents."""
        root = begin_run(store)
        store.commit(root, a_step(1), None, None)
        outer = a_child("run-1", 2)
        child = store.begin(outer, '{"name":"triage"}', a_step(0), a_snapshot(0), None, under=root)
        inner = a_child(outer.run_id, 1)
        leaf = store.begin(inner, '{"name":"triage"}', a_step(0), a_snapshot(0), None, under=child)
        for step in (1, 2):
            store.commit(leaf, a_step(step), None, None)
        ids = ("run-1", outer.run_id, inner.run_id)
        assert [store.load(run_id).header.heard for run_id in ids] == [None, None, None]
        store.ask(leaf, a_question(3))
        store.answer(leaf, a_question(3, answer_json='"yes"', answered_by="person"))
        assert [store.load(run_id).header.heard for run_id in ids] == [2, 1, 3]
        store.commit(leaf, a_step(3), None, None)
        assert store.load(inner.run_id).header.heard == 3  # old now
