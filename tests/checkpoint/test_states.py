"""The states after the steps of a run, made one from the other."""

import json
import threading
from types import SimpleNamespace

from graphflow.history import States, values_at
from graphflow.records import RunRecords, Snapshot, StepRecord, TaskRecord

HEADER = SimpleNamespace(run_id="r")
SPEC = {
    "state": {
        "fields": {
            "n": {"reducer": None},
            "notes": {"reducer": "append"},
            "best": {"reducer": "max"},
        }
    }
}


def a_step(step):
    """Make a step that sets a field, appends to another, and derives a third."""
    update = {"n": step, "notes": [f"note {step}"], "best": -step}
    task = TaskRecord(0, "a", "a", json.dumps(update), "", 0.0)
    return StepRecord(step, (task,), (), (), {}, {}, (), json.dumps({"best": step * 10}))


def expected(step):
    """Say what the state is after a step."""
    return {"n": step, "notes": [f"note {n}" for n in range(1, step + 1)], "best": step * 10}


def a_run(header, snapshots):
    """Make a run of 40 steps with some snapshots."""
    empty = StepRecord(0, (), (), (), {}, {}, (), None)
    steps = [empty, *(a_step(step) for step in range(1, 41))]
    return RunRecords(header, SPEC, steps, snapshots=snapshots)


def whole(step):
    """Make a snapshot of the whole state."""
    return Snapshot(step, json.dumps(expected(step)), "{}")


def part(step, since):
    """Make a snapshot of what changed since another one."""
    set_ = json.dumps({"n": step, "best": step * 10})
    added = json.dumps({"notes": [f"note {n}" for n in range(since + 1, step + 1)]})
    return Snapshot(step, set_, "{}", since=since, added_json=added)


SNAPSHOTS = [whole(0), part(10, 0), whole(20), part(25, 20), part(30, 25)]


def test_every_state_in_any_order():
    """Forwards, backwards and with leaps: each state is what its steps make it."""
    states = States(a_run(HEADER, SNAPSHOTS))
    orders = [range(41), range(40, -1, -1), [3, 9, 10, 11, 40, 20, 21, 27, 26, 30, 30, 5, 33]]
    for order in orders:
        for step in order:
            assert json.loads(states.text_at(step)) == expected(step)
    assert [values_at(a_run(HEADER, SNAPSHOTS), step) for step in (9, 10, 31)] == [
        expected(9), expected(10), expected(31),
    ]  # fmt: skip


def test_one_after_the_other_each_step_is_read_once(monkeypatch):
    """A listing of all states reads no update twice, and a snapshot only where it begins."""
    read = []
    records = a_run(HEADER, SNAPSHOTS)
    updates = StepRecord.updates
    monkeypatch.setattr(
        StepRecord, "updates", lambda self: (read.append(self.step), updates(self))[1]
    )
    states = States(records)
    for step in range(41):
        states.text_at(step)
    assert read == list(range(1, 41))


def test_threads_share_one():
    """Threads that ask for states at the same time get the right ones."""
    states = States(a_run(HEADER, SNAPSHOTS))
    wrong = []

    def ask(shift):
        for step in range(400):
            at = (step * 7 + shift) % 41
            if json.loads(states.text_at(at)) != expected(at):
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_who_reads_on_is_told_what_changed_since_his_own_last_look():
    """Another one who read in between has not seen for him what was set."""
    plain = [StepRecord(0, (), (), (), {}, {}, (), None)]
    for step, name in enumerate(("n", "best", "n"), 1):
        task = TaskRecord(0, "a", "a", json.dumps({name: step}), "", 0.0)
        plain.append(StepRecord(step, (task,), (), (), {}, {}, (), None))
    spec = {"state": {"fields": {"n": {"reducer": None}, "best": {"reducer": None}}}}
    first = Snapshot(0, json.dumps({"n": 0, "best": 0}), "{}")
    states = States(RunRecords(HEADER, spec, plain, snapshots=[first]))

    def one(_values, changed):
        return changed

    def other(_values, changed):
        return changed

    assert [states.next_at(step, one) for step in (0, 1)] == [None, {"n"}]
    assert states.next_at(2, other) is None
    assert states.next_at(3, one) is None
    assert states.next_at(3, one) == set()
