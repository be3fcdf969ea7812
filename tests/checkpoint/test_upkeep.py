"""The care of a database: what is left of a prune, damage that is found, copies, free space."""

import os
import random
import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from graphflow.checkpoint import sqlite_sweep
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.pruning import plan
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.checkpoint.sqlite_prune import prune
from graphflow.checkpoint.sqlite_size import OF_RUNS
from graphflow.errors import (
    CheckpointCorruptError,
    DatabaseUnavailableError,
    RunNotFoundError,
    RunSharedError,
)
from graphflow.history import States
from graphflow.records import Ending, Snapshot
from graphflow.testing.families import begin_child
from graphflow.testing.records import (
    a_header,
    a_memo,
    a_step,
    facts,
)
from graphflow.testing.upkeep import SPEC, begin_counting, count_on, fork_counting
from graphflow.upkeep import Wish
from tests.rig.forge import change, rows, store_loose

WRITER = """
import sys
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.upkeep import SPEC, begin_counting, count_on
store = SqliteCheckpointer(sys.argv[1], durability="normal")
lease = begin_counting(store, "writer")
step = 0
print("begun", flush=True)
while True:
    step += 1
    count_on(store, lease, step)
    if step == 50:
        print("fifty", flush=True)
"""


@pytest.fixture
def store(db):
    """Open a checkpointer on an empty file; what these tests are about needs no syncs."""
    opened = SqliteCheckpointer(db, durability="normal")
    yield opened
    opened.close()


@pytest.fixture
def count(db):
    """Ask a database something, past the checkpointer."""
    return partial(rows, db)


def a_long_run(store, run_id="run-1", steps=20, ending="done"):
    """Store a run with rows of every kind."""
    lease = begin_counting(store, run_id)
    for step in range(1, steps + 1):
        store_loose(store, lease, step)
        store.end(begin_child(store, lease, step), Ending("done"))
        count_on(store, lease, step, snapshot=step if step % 7 == 0 else None)
    store.end(lease, Ending(ending))
    return lease


# -- tables -----------------------------------------------------------------------------------


def test_every_table_of_runs_is_known(store, count):
    """What belongs to a run is in the list of what goes with it: a new table must join it."""
    begin_counting(store, "run-1")
    tables = {
        name
        for (name,) in count("SELECT name FROM sqlite_master WHERE type = 'table'")
        if any(column == "run" for _, column, *_ in count(f"PRAGMA table_info({name})"))
    }
    assert tables | {"runs"} == {*OF_RUNS, "value_uses"}


def test_a_number_is_never_given_twice(store, count):
    """The number of a run that is gone is nobody's, although it was the highest."""
    begin_counting(store, "keep")
    for _ in range(3):
        store.end(begin_counting(store, "gone"), Ending("done"))
        store.delete("gone")
    begin_counting(store, "next")
    assert count("SELECT id, run_id FROM runs") == [(1, "keep"), (5, "next")]


def test_graphs_and_long_values_go_with_their_last_run(store, count):
    """The spec of a graph goes when no run is of it, and a long value when no run uses it."""
    long = '{"text":"' + "x" * 20_000 + '"}'
    for name in ("one", "two"):
        header = a_header(name, graph_digest=name, input_json=long)
        first = begin_counting(store, f"{name}-plain")
        records = store.load(f"{name}-plain")
        end = Ending("done")
        store.begin(header, '{"name":"x"}', records.steps[0], records.snapshots[0], end)
        store.end(first, Ending("done"))
    assert len(count("SELECT * FROM graphs")) == 3
    assert len(count("SELECT * FROM shared_values")) == 1
    store.delete("one")
    assert len(count("SELECT * FROM graphs")) == 2
    assert len(count("SELECT * FROM shared_values")) == 1
    store.prune(Wish(keep=0))
    assert count("SELECT * FROM graphs") == count("SELECT * FROM shared_values") == []
    assert list(store.verify()) == []


# -- a prune that is cut short ----------------------------------------------------------------


class Interrupted(BaseException):
    """A prune ends here."""


class Breaking:
    """A file whose transactions break off after some."""

    def __init__(self, file, most):
        self.file, self.left = file, most
        self.read, self.lives = file.read, file.lives

    def write(self, work):
        """Do one transaction, if one is left."""
        if not self.left:
            raise Interrupted
        self.left -= 1
        return self.file.write(work)


@pytest.mark.parametrize("wish", [Wish(keep=0), Wish(steps=3)], ids=["runs", "steps"])
def test_a_prune_may_break_off_anywhere(store, count, monkeypatch, wish):
    """After each transaction the store is sound; a run is there as a whole, cut, or not at all."""
    monkeypatch.setattr("graphflow.checkpoint.sqlite_sweep._FEW", 5)
    monkeypatch.setattr("graphflow.checkpoint.sqlite_sweep._SPAN", 1)
    for module in ("sqlite_prune", "sqlite_sweep"):  # a step at a time
        monkeypatch.setattr(f"graphflow.checkpoint.{module}.BRIEF", 0.0)
    a_long_run(store)
    whole = store.load("run-1")
    store.end(begin_counting(store, "open"), Ending("paused"))
    spent = store.spent("run-1")
    file, columns = store._file, store._columns
    done = False
    breaks = 0
    while not done:
        try:
            prune(Breaking(file, 2), wish, columns, dry_run=False)
            done = True
        except Interrupted:
            breaks += 1
        assert all(found.kind == "warning" for found in store.verify())
        if "run-1" in [header.run_id for header in store.runs()]:
            found = store.load("run-1")
            assert [step.digest for step in found.steps] == [
                step.digest for step in whole.steps[found.steps[0].step :]
            ]
            assert store.spent("run-1").tokens == spent.tokens
    assert breaks > 5
    assert list(store.verify()) == []
    assert store.load("open").header.status == "paused"
    if wish.keep == 0:
        assert count("SELECT run_id FROM runs") == [("open",)]
        assert {count(f"SELECT count(*) FROM {table}")[0] for table in ("calls", "items")} == {(0,)}
    else:
        assert count("SELECT min(step) FROM steps WHERE run = 1") == [(17,)]


def test_a_run_that_was_resumed_meanwhile_stays(store):
    """What is decided is looked at again when it is done: a failed run that goes on is not lost."""
    lease = begin_counting(store, "failed")
    store.end(lease, Ending("failed", "task"))

    class Resuming(Breaking):
        def write(self, work):
            store.take("failed", this_process())
            self.write = self.file.write
            return self.file.write(work)

    wish = Wish(keep=0, failed=True)
    found = prune(Resuming(store._file, 1), wish, store._columns, dry_run=False)
    assert found.runs == ()
    assert store.load("failed").header.status == "running"


def test_a_run_that_was_forked_meanwhile_stays(store):
    """A fork that came after the decision keeps its run, and the steps that it needs."""
    count_on(store, begin_counting(store, "run-1"), 9, Ending("done"))

    class Forking(Breaking):
        def write(self, work):
            self.write = self.file.write
            fork_counting(store, f"fork-{self.left}", "run-1", self.left)
            return self.file.write(work)

    columns = store._columns
    assert prune(Forking(store._file, 5), Wish(keep=0), columns, dry_run=False).runs == ()
    assert prune(Forking(store._file, 4), Wish(steps=2), columns, dry_run=False).cut == {}
    assert [step.step for step in store.load("fork-4").steps] == [0, 1, 2, 3, 4]
    assert list(store.verify()) == []


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize(
    "place",
    [("run-1", 0), ("run-1", 1), ("run-1", 5), ("run-1", 9), ("old", 0), ("old", 4), ("old", 8)],
)
def test_a_fork_begun_between_plan_and_cut_keeps_what_it_shares(
    store, db, monkeypatch, place, steps
):
    """A fork holds what it shares from its first moment on: only its own anchor takes it away."""
    origin, at = place
    count_on(store, begin_counting(store, "run-1"), 12, Ending("done"))
    count_on(store, fork_counting(store, "old", "run-1", 6), 12, Ending("done"))
    other = SqliteCheckpointer(db)
    before = []

    def planned(runs, wish):
        found = plan(runs, wish)
        count_on(other, fork_counting(other, "new", origin, at), 14, Ending("done"))
        count_on(other, fork_counting(other, "newer", "new", at + 2), 14, Ending("done"))
        before.extend(facts(other.load(name).steps) for name in ("new", "newer"))
        return found

    monkeypatch.setattr("graphflow.checkpoint.sqlite_prune.plan", planned)
    store.prune(Wish(steps=steps))
    for name, was in zip(("new", "newer"), before, strict=True):
        left = facts(store.load(name).steps)
        assert left == was[-len(left) :]
        assert len(left) >= 14 - at  # all of its own, and at least one that it shares
    assert list(store.verify()) == []
    monkeypatch.undo()
    store.prune(Wish(steps=steps))  # now it is asked for of the forks, too
    assert {len(store.load(name).steps) for name in ("run-1", "old", "new", "newer")} == {steps + 1}
    assert list(store.verify()) == []
    other.close()


def test_a_run_that_was_cut_meanwhile_is_cut_no_more(store, db, monkeypatch):
    """When another process has cut a run further than this prune would, it stays so."""
    count_on(store, begin_counting(store, "run-1"), 12, Ending("paused"))
    other = SqliteCheckpointer(db)

    def planned(runs, wish):
        monkeypatch.undo()
        other.prune(Wish(steps=1))
        count_on(other, other.take("run-1", this_process()), 20, Ending("done"))
        return plan(runs, wish)

    monkeypatch.setattr("graphflow.checkpoint.sqlite_prune.plan", planned)
    found = store.prune(Wish(steps=4))
    assert (found.cut, found.damaged) == ({}, ())
    assert [step.step for step in store.load("run-1").steps] == list(range(11, 21))
    assert list(store.verify()) == []
    other.close()


def test_a_snapshot_that_came_meanwhile_is_continued(store):
    """When a run got a snapshot after the new ones were made, they are made again."""
    lease = begin_counting(store, "run-1")
    count_on(store, lease, 6, snapshot=3)
    store.end(lease, Ending("paused"))

    class Going(Breaking):
        def write(self, work):
            self.write = self.file.write
            lease = store.take("run-1", this_process())
            count_on(store, lease, 8, Ending("paused"), snapshot=7)
            return self.file.write(work)

    found = prune(Going(store._file, 1), Wish(steps=1), store._columns, dry_run=False)
    assert found.cut == {"run-1": 5}
    records = store.load("run-1")
    assert [(s.step, s.since) for s in records.snapshots] == [(5, None), (7, None)]
    assert list(store.verify()) == []


SAVING = """
import sys
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.testing.upkeep import SPEC, begin_counting, count_on
store = SqliteCheckpointer(sys.argv[1], durability="normal")
lease = begin_counting(store, "writer")
print("begun", flush=True)
for step in range(1, 401):
    count_on(store, lease, step, snapshot=step if step % 10 == 0 else None)
print("done", flush=True)
"""


def test_a_process_that_writes_is_not_disturbed(store, db, python):
    """While its run is pruned again and again, another process commits its steps and snapshots."""
    process = python(SAVING, db)
    assert process.stdout.readline() == "begun\n"
    cuts = [store.prune(Wish(steps=2)).cut.get("writer", 0) for _ in range(15)]
    assert process.stdout.readline() == "done\n"
    cuts += [store.prune(Wish(steps=2)).cut.get("writer", 0)]
    records = store.load("writer")
    assert [step.step for step in records.steps] == list(range(max(cuts), 401))
    assert max(cuts) > 300
    assert list(store.verify()) == []


# -- verify -----------------------------------------------------------------------------------

DAMAGE = {
    "task": ("UPDATE tasks SET update_json = '{}' WHERE run = 1 AND step = 9", 9),
    "step": ("UPDATE steps SET ready_json = '[]' WHERE run = 1 AND step = 9", 9),
    "lost step": ("DELETE FROM steps WHERE run = 1 AND step = 9", 9),
    "decision": ("DELETE FROM decisions WHERE run = 1 AND step = 9", 9),
    "call": ("UPDATE calls SET model = 'x' WHERE run = 1 AND step = 9", 9),
    "lost call": ("DELETE FROM calls WHERE run = 1 AND step = 9", 9),
    "memo": ("UPDATE memos SET value_json = '1' WHERE run = 1 AND step = 9", 9),
    "question": ("UPDATE questions SET prompt = 'x' WHERE run = 1 AND step = 9", 9),
    "item": ("UPDATE items SET result_json = '1' WHERE run = 1 AND step = 9", 9),
    "attempt": ("UPDATE attempts SET error = 'x' WHERE run = 1 AND step = 9", 9),
    "snapshot": ("UPDATE snapshots SET counters_json = '{}' WHERE run = 1 AND step = 7", 7),
    "anchor": ("UPDATE anchors SET tokens = 0 WHERE run = 1", 4),
    "lost anchor": ("DELETE FROM anchors WHERE run = 1", 0),
    "status": ("UPDATE runs SET status = 'failed' WHERE id = 1", -1),
    "input": ("UPDATE runs SET input_json = '{}' WHERE id = 1", -1),
    "graph": ("UPDATE graphs SET spec_json = '{}'", -1),
}


def test_the_findings_keep_their_checkpointer(store, db):
    """A checkpointer that nobody else has stays open while its findings are read."""
    begin_counting(store, "run")
    findings = SqliteCheckpointer(db).verify()
    store.close()
    assert list(findings) == []


@pytest.mark.parametrize("kind", DAMAGE)
def test_verify_names_the_damage(store, db, kind):
    """Damage is named with its run and step; other runs are verified, and load."""
    a_long_run(store)
    count_on(store, begin_counting(store, "other"), 9, Ending("done"))
    store.prune(Wish(steps=16))
    store.close()
    sql, step = DAMAGE[kind]
    change(db, sql)
    store = SqliteCheckpointer(db)
    found = list(store.verify())
    assert ("run-1", step) in {(one.run_id, one.step) for one in found}
    assert all(one.kind == "problem" for one in found)
    if kind != "graph":
        assert not any(one.run_id == "other" for one in found)
        assert store.load("other").header.step == 9
        assert list(store.verify("other")) == []
    with pytest.raises(CheckpointCorruptError):
        store.load("run-1")
    store.close()


def a_family(store):
    """Write a run with children, forks of it and of its fork, and others."""
    a_long_run(store)
    count_on(store, fork_counting(store, "fork", "run-1", 12), 14, Ending("done"))
    count_on(store, fork_counting(store, "early", "run-1", 3), 5, Ending("done"))
    count_on(store, fork_counting(store, "of-fork", "fork", 10), 13, Ending("done"))
    count_on(store, begin_counting(store, "other"), 9, Ending("done"))
    lease = begin_counting(store, "parent")
    child = begin_child(store, lease, 1)
    store.end(child, Ending("done"))
    count_on(store, lease, 4, Ending("done"))
    store.end(fork_counting(store, "of-parent", "parent", 3), Ending("done"))


IN_FAMILIES = {
    **{kind: sql for kind, (sql, _) in DAMAGE.items() if "anchors" not in sql},
    "child": "UPDATE steps SET ready_json = '[]' WHERE run IN (7, 19)",
    "status of a child": "UPDATE runs SET status = 'failed' WHERE parent_run IS NOT NULL",
    "origin": "UPDATE runs SET fork_of = 999 WHERE run_id = 'fork'",
    "no step": "UPDATE runs SET fork_step = 'x' WHERE run_id = 'fork'",
    "no status": "UPDATE runs SET status = 'xx' WHERE run_id = 'run-1'",
    "no time": "UPDATE runs SET created_at = x'ff' WHERE run_id = 'parent'",
    "early step": "DELETE FROM steps WHERE run = 1 AND step < 4",
    "number": "UPDATE steps SET step = 'x' WHERE run = 1 AND step = 9",
    "shared value": "UPDATE shared_values SET value_json = x'ff00'",
}


@pytest.mark.parametrize("kind", IN_FAMILIES)
def test_verify_names_every_run_that_load_refuses(store, db, count, kind):
    """A run that cannot be loaded is found, also when the damage is in what it shares; no other."""
    a_family(store)
    header = a_header("long", input_json=f'{{"text":"{"x" * 9000}"}}')
    store.begin(header, SPEC, a_step(0), Snapshot(0, "{}", "{}"), Ending("done"))
    store.close()
    change(db, IN_FAMILIES[kind])
    store, refused = SqliteCheckpointer(db), set()
    every = [run_id for (run_id,) in count("SELECT run_id FROM runs")]
    for run_id in every:
        try:
            store.load(run_id)
        except CheckpointCorruptError:
            refused.add(run_id)
    named = {found.run_id for found in store.verify() if found.kind == "problem"} - {""}
    assert named == refused != set()
    for run_id in every:
        own = [found for found in store.verify(run_id) if found.run_id == run_id]
        assert bool(own) == (run_id in refused)
    store.close()


KIN = (
    "UPDATE tasks SET update_json = '{}' WHERE run = ?1 AND step = ?2",
    "DELETE FROM steps WHERE run = ?1 AND step = ?2",
    "UPDATE snapshots SET counters_json = '[]' WHERE run = ?1 OR step = ?2",
    "UPDATE runs SET reason = ?2 WHERE id = ?1",
    "UPDATE runs SET tags_json = ?2 WHERE id = ?1",
    "UPDATE runs SET status = 'failed', reason = ?2 WHERE parent_run = ?1",
    "UPDATE runs SET parent_step = ?2 WHERE parent_run = ?1",
)


@pytest.mark.parametrize("seed", range(12))
def test_verify_knows_of_a_fork_what_it_shares(store, db, count, seed):
    """Of forks of forks, with subgraphs, exactly those are named that cannot be loaded."""
    dice = random.Random(seed)
    lease = begin_counting(store, "run-0")
    firsts = {"run-0": 0}
    for number in range(1, 14):
        for step in range(firsts[f"run-{number - 1}"] + 1, 7):
            if dice.random() < 0.1:
                store.end(begin_child(store, lease, step), Ending("done"))
            count_on(store, lease, step)
        store.end(lease, Ending("done"))
        # Mostly a chain, in which each fork shares as much as the one before, or another part
        origin = f"run-{number - 1}" if dice.random() < 0.7 else dice.choice(list(firsts))
        firsts[f"run-{number}"] = dice.choice([3, 3, max(1, firsts[origin]), dice.randint(1, 6)])
        lease = fork_counting(store, f"run-{number}", origin, firsts[f"run-{number}"])
    store.end(lease, Ending("done"))
    store.close()
    numbers = [number for (number,) in count("SELECT id FROM runs")]
    with closing(sqlite3.connect(db)) as conn, conn:  # some change nothing
        for _ in range(dice.randint(1, 3)):
            conn.execute(dice.choice(KIN), (dice.choice(numbers), dice.randint(1, 6)))
    store, refused = SqliteCheckpointer(db), set()
    for (run_id,) in count("SELECT run_id FROM runs"):
        try:
            store.load(run_id)
        except CheckpointCorruptError:
            refused.add(run_id)
    assert {found.run_id for found in store.verify()} - {""} == refused
    store.close()


def test_a_fork_that_has_lost_what_it_shared_is_sound(store, db):
    """Damage of what was cut off it is that of others, who still share it."""
    count_on(store, begin_counting(store, "run-1"), 12, Ending("done"))
    count_on(store, fork_counting(store, "early", "run-1", 4), 5, Ending("done"))
    count_on(store, fork_counting(store, "late", "run-1", 6), 12, Ending("done"))
    assert store.prune(Wish(steps=3)).cut == {"run-1": 2, "late": 9}
    change(db, "UPDATE tasks SET node = 'x' WHERE run = 1 AND step = 3")
    assert store.load("late").header.step == 12
    assert {found.run_id for found in store.verify()} == {"run-1", "early"}


def test_a_fork_shares_no_damage_that_comes_after_its_first_step(store, db):
    """A fork of a fork that shares damage is sound when it shares less of it."""
    count_on(store, begin_counting(store, "run-1"), 9, Ending("done"))
    for name, origin, first in (("one", "run-1", 6), ("two", "one", 3), ("three", "one", 6)):
        count_on(store, fork_counting(store, name, origin, first), 7, Ending("done"))
    change(db, "UPDATE tasks SET node = 'x' WHERE run = 1 AND step = 4")
    assert store.load("two").header.step == 7
    assert {found.run_id for found in store.verify()} == {"run-1", "one", "three"}


@pytest.mark.parametrize("damage", ["", *KIN[:2], *KIN[3:5]])
@pytest.mark.parametrize("step", [1, 5])
def test_a_chain_of_forks_is_verified_in_the_time_of_its_length(tmp_path, damage, step):
    """Twice as many forks take twice as much of SQLite, wherever the first run is damaged."""
    work = []
    for many in (15, 30):
        store = SqliteCheckpointer(tmp_path / f"{many}.db", durability="normal")
        count_on(store, begin_counting(store, "run-0"), 6, Ending("done"))
        for number in range(1, many):
            lease = fork_counting(store, f"run-{number}", f"run-{number - 1}", 3)
            store.end(lease, Ending("done"))
        if damage:
            change(store.path, damage, 1, step)
        steps = []
        connection = store._file._cursor.connection
        connection.set_progress_handler(partial(steps.append, 1), 10)
        assert bool(list(store.verify())) == bool(damage)
        work.append(len(steps))
        store.close()
    assert work[1] < 2.2 * work[0]


@pytest.mark.parametrize(
    "damage",
    ["fork_of = 999", "fork_of = 'x'", "fork_step = 'x'", "ended_at = x'05'", "fork_of = 4",
     "fork_of = 1", "fork_of = NULL", "fork_step = 3", "fork_step = NULL", "parent_run = 1",
     "fork_of = NULL, fork_step = NULL, fork_json = NULL"],
)  # fmt: skip
def test_a_prune_drops_nothing_when_nobody_knows_what_is_shared(store, db, damage):
    """What a damaged run shares could be anything: the error names it, and nothing is dropped."""
    count_on(store, begin_counting(store, "other"), 12, Ending("done"))
    count_on(store, begin_counting(store, "run-1"), 12, Ending("done"))
    count_on(store, fork_counting(store, "fork", "run-1", 6), 12, Ending("done"))
    store.close()
    change(db, f"UPDATE runs SET {damage} WHERE run_id = 'fork'")
    store = SqliteCheckpointer(db)
    for wish in (Wish(steps=1), Wish(keep=0), Wish(before="9999")):
        for dry_run in (True, False):
            with pytest.raises(CheckpointCorruptError, match="'fork' is damaged") as caught:
                store.prune(wish, dry_run=dry_run)
            assert caught.value.run_id == "fork"
    assert len(store.load("run-1").steps) == 13
    change(
        db, "UPDATE runs SET parent_run = NULL WHERE run_id = 'fork'"
    )  # a child goes with others
    store.delete("fork")
    assert store.prune(Wish(steps=1)).cut == {"other": 11, "run-1": 11}
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "fork_of = 1",
        "fork_of = NULL",
        "fork_step = 3",
        "fork_of = NULL, fork_step = NULL, fork_json = NULL",
    ],
)
def test_nothing_is_deleted_that_a_damaged_fork_may_share(store, db, damage):
    """A fork whose origin was changed keeps others from being deleted, until it has gone itself."""
    for name in ("other", "run-1"):
        count_on(store, begin_counting(store, name), 12, Ending("done"))
    for name in ("fork", "more"):
        count_on(store, fork_counting(store, name, "run-1", 6), 12, Ending("done"))
    change(db, f"UPDATE runs SET {damage} WHERE run_id = 'fork'")
    change(db, "UPDATE runs SET fork_of = 1 WHERE run_id = 'more'")
    with pytest.raises((CheckpointCorruptError, RunSharedError)):
        store.delete("run-1")
    assert len(store.load("run-1").steps) == 13
    store.delete("more")
    with pytest.raises((CheckpointCorruptError, RunSharedError)):
        store.delete("run-1")
    store.delete("fork")
    store.delete("run-1")
    assert [header.run_id for header in store.runs()] == ["other"]


def test_a_prune_drops_no_child_that_passes_for_a_run_of_its_own(store, db):
    """The run of a subgraph without its links is found, and what is said to be typed is enough."""
    a_long_run(store, steps=3)
    child = "run-1/2:work#0"
    count_on(store, begin_counting(store, "other"), 9, Ending("done"))
    links = "parent_run = NULL, parent_step = NULL, parent_task = NULL"
    change(db, f"UPDATE runs SET {links} WHERE run_id = ?", child)
    for wish in (Wish(steps=1), Wish(keep=0)):
        with pytest.raises(CheckpointCorruptError, match=f"graphflow delete '?{child}"):
            store.prune(wish)
    store.delete(child)
    assert set(store.prune(Wish(keep=0)).runs) == {"other", "run-1"}


def test_a_fork_that_an_interrupted_prune_has_hidden_keeps_no_run_from_going(
    store, count, monkeypatch
):
    """It is there for nobody: that it is not what was written means no damage."""
    count_on(store, begin_counting(store, "run-1"), 9, Ending("done"))
    count_on(store, begin_counting(store, "other"), 9, Ending("done"))
    store.end(fork_counting(store, "fork", "run-1", 5), Ending("done"))
    ((number,),) = count("SELECT id FROM runs WHERE run_id = 'fork'")
    monkeypatch.setattr(sqlite_sweep, "_FEW", 0)
    store._file.write(lambda cursor: sqlite_sweep.hide(cursor, "fork", [number]))
    store.delete("run-1")
    assert [header.run_id for header in store.runs()] == ["other"]


def test_a_plain_run_that_is_damaged_keeps_no_other_from_going(store, db):
    """It shares nothing, so that others are dropped, and it as well; also after a copy or a cut."""
    for name in ("run-1", "run-2", "run-3"):
        count_on(store, begin_counting(store, name), 9, Ending("done"))
    store.prune(Wish(steps=3))
    change(db, "UPDATE runs SET input_json = '{\"a\": 1}' WHERE run_id = 'run-1'")
    store.delete("run-2")
    assert set(store.prune(Wish(keep=0)).runs) == {"run-3", "run-1"}


def test_verify_names_every_damage(store, db):
    """Several damages of one run, and of others, are all named; the verifier goes on after each."""
    for name in ("run-1", "run-2"):
        count_on(store, begin_counting(store, name), 600, Ending("done"))
    store.close()
    places = [("run-1", 3), ("run-1", 255), ("run-1", 256), ("run-1", 600), ("run-2", 1)]
    for name, step in places:
        of_run = "(SELECT id FROM runs WHERE run_id = ?)"
        sql = f"UPDATE tasks SET node = 'x' WHERE step = ? AND run = {of_run}"
        change(db, sql, step, name)
    store = SqliteCheckpointer(db)
    assert [(found.run_id, found.step) for found in store.verify()] == places
    assert {found.run_id for found in store.verify("run-2")} == {"run-2"}
    with pytest.raises(RunNotFoundError):
        store.verify("nothing")
    store.close()


def test_verify_does_not_count_up_to_a_damaged_number(store, db):
    """A step whose number lies far ahead is looked at next: nothing between is looked for."""
    count_on(store, begin_counting(store, "run-1"), 9, Ending("done"))
    change(db, "UPDATE steps SET step = 100000 WHERE step = 6")
    assert [found.step for found in store.verify() if found.step >= 0] == [6, 7, 10, 100_000]
    store.close()


def test_verify_finds_rows_of_nobody(store, db):
    """Rows of runs or steps that are not there are found."""
    a_long_run(store)
    store.close()
    change(db, "UPDATE attempts SET run = 999 WHERE step = 3 AND run = 1")
    change(db, "UPDATE memos SET step = 99 WHERE step = 4 AND run = 1")
    store = SqliteCheckpointer(db)
    words = " ".join(found.words for found in store.verify())
    assert "1 rows of attempts refer to rows of runs that are not there" in words
    assert "1 rows of memos belong to steps that it does not have" in words
    store.close()


def test_a_damaged_page_is_found(store, db):
    """What SQLite itself finds damaged is a finding too."""
    a_long_run(store, steps=60)
    store.close()
    data = bytearray(db.read_bytes())
    last = len(data) - 2048
    data[last : last + 64] = os.urandom(64)
    db.write_bytes(data)
    store = SqliteCheckpointer(db)
    assert any(found.kind == "problem" for found in store.verify())
    store.close()


# -- backup -----------------------------------------------------------------------------------


def test_a_copy_is_whole_while_somebody_writes(store, db, tmp_path, python):
    """A copy is of one moment, sound, and private, though another process commits all the time."""
    a_long_run(store, steps=60)
    process = python(WRITER, db)
    assert process.stdout.readline() == "begun\n"
    before = store.load("writer").header.step
    copies = [tmp_path / f"copy-{n}.db" for n in range(3)]
    for path in copies:
        store.backup(path)
    assert process.stdout.readline() == "fifty\n"
    assert process.poll() is None
    lasts = []
    for path in copies:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        copy = SqliteCheckpointer(path, create=False)
        assert list(copy.verify()) == []
        lasts.append(copy.load("writer").header.step)
        assert copy.load("run-1").header.step == 60
        copy.close()
    assert before <= lasts[0] <= lasts[1] <= lasts[2]
    assert not list(tmp_path.glob("*.part*"))


def test_a_copy_of_what_is_read_only(small_disk, tmp_path):
    """A database on a disk that cannot be written is copied to one that can."""
    folder, remount = small_disk
    made = SqliteCheckpointer(folder / "runs.db")
    begin_counting(made, "run-1")
    made.close()
    remount("ro")

    store = SqliteCheckpointer(folder / "runs.db")
    store.backup(tmp_path / "copy.db")
    store.close()

    copy = SqliteCheckpointer(tmp_path / "copy.db")
    assert [header.run_id for header in copy.runs()] == ["run-1"]
    copy.close()


def test_a_copy_overwrites_nothing(store, tmp_path):
    """Where something is, no copy is written, and it stays as it was."""
    begin_counting(store, "run-1")
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(DatabaseUnavailableError, match="there already"):
        store.backup(there)
    assert there.read_text() == "mine"
    store.backup(tmp_path / "new.db")
    with pytest.raises(DatabaseUnavailableError, match="there already"):
        store.backup(tmp_path / "new.db")
    with pytest.raises(DatabaseUnavailableError, match="cannot be made"):
        store.backup(tmp_path / "nowhere" / "new.db")


def test_what_is_damaged_is_not_copied(store, db, tmp_path):
    """A copy of damage would be no backup: the error names the run and step, and nothing stays."""
    a_long_run(store)
    store.close()
    change(db, "UPDATE tasks SET node = 'x' WHERE step = 3 AND run = 1")
    store = SqliteCheckpointer(db)
    with pytest.raises(CheckpointCorruptError, match="was not copied") as caught:
        store.backup(tmp_path / "copy.db")
    assert (caught.value.run_id, caught.value.step) == ("run-1", 3)
    assert not list(tmp_path.glob("copy.db*"))
    store.close()


# -- vacuum -----------------------------------------------------------------------------------


def test_vacuum_gives_the_space_back(store, db):
    """After a prune the file is as long as before; a vacuum makes it short, and nothing is lost."""
    a_long_run(store, steps=100)
    count_on(store, begin_counting(store, "other"), 3, Ending("paused"))
    store.vacuum()
    before = db.stat().st_size
    store.prune(Wish(keep=0))
    found = store.vacuum()
    assert found.before >= before > found.after == db.stat().st_size
    assert not found.is_read
    assert list(store.verify()) == []
    count_on(store, store.take("other", this_process()), 4)
    assert store.load("other").header.step == 4


def test_vacuum_beside_others(store, db):
    """A reader keeps what it saw, and the file long until it is done; writers go on after it."""
    a_long_run(store, steps=50)
    lease = begin_counting(store, "other")
    reader = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM runs").fetchone()[0] > 1
    store.prune(Wish(keep=0))
    assert store.vacuum().is_read
    assert reader.execute("SELECT count(*) FROM runs").fetchone()[0] > 1
    reader.close()
    count_on(store, lease, 2)
    assert not store.vacuum().is_read
    assert list(store.verify()) == []


def test_vacuum_waits_for_a_writer(store, db, monkeypatch):
    """While another process holds the writers' lock, a vacuum waits, then says who may have it."""
    begin_counting(store, "run-1")
    monkeypatch.setattr("graphflow.checkpoint.sqlite_backup._PATIENCE", 0.05)
    import fcntl

    with Path(f"{db}-lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DatabaseUnavailableError, match="locked by another process"):
            store.vacuum()
    store.vacuum()


def test_threads_write_during_a_vacuum(store):
    """Threads of the same process commit before or after a vacuum, and none fails."""
    leases = [begin_counting(store, f"run-{n}") for n in range(3)]
    errors = []

    def work(lease):
        try:
            count_on(store, lease, 30)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for _ in range(5):
        store.vacuum()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [store.load(f"run-{n}").header.step for n in range(3)] == [30, 30, 30]
    assert list(store.verify()) == []


def test_a_vacuum_makes_no_file_longer(store, db):
    """What was in the log alone counts as before: it would have come into the file anyway."""
    count_on(store, begin_counting(store, "run-1"), 40, Ending("done"))
    assert db.stat().st_size < 150_000
    first, second = store.vacuum(), store.vacuum()
    assert first.before >= first.after == second.before == second.after == db.stat().st_size


def test_what_is_damaged_can_go(store, db):
    """A damaged run is pruned and deleted like others, and its steps are left when it stays."""
    for name in ("old", "new"):
        a_long_run(store, name)
    store.end(begin_counting(store, "open"), Ending("paused"))
    count_on(store, store.take("open", this_process()), 9, Ending("paused"))
    store.close()
    change(db, "UPDATE runs SET input_json = 'x', created_at = '2026' WHERE run_id = 'old'")
    change(db, "UPDATE tasks SET node = 'x' WHERE step = 3")
    store = SqliteCheckpointer(db, durability="normal")
    pruned = store.prune(Wish(keep=2, steps=2))
    assert pruned.runs == ("old",)
    assert {*pruned.damaged} == {"new", "open"}
    store.delete("new")
    assert {found.run_id for found in store.verify()} == {"open"}
    store.close()


def test_an_encrypted_database_is_cared_for(db, tmp_path):
    """With a key runs are cut, verified, copied and dropped the same way, long values too."""
    pytest.importorskip("cryptography", reason="the extra `encryption` is not installed")
    key = bytes(range(32))
    store = SqliteCheckpointer(db, durability="normal", key=key)
    lease = begin_counting(store, "run-1")
    for step in range(1, 9):
        store.memo(lease, replace(a_memo(step), value_json=f'"{step}{"x" * 6000}"'))
        count_on(store, lease, step, snapshot=4 if step == 4 else None)
    store.end(lease, Ending("paused"))
    values = States(store.load("run-1")).text_at(8)
    foreseen = store.prune(Wish(steps=2), dry_run=True)
    assert store.prune(Wish(steps=2)) == foreseen
    records = store.load("run-1")
    assert [step.step for step in records.steps] == [6, 7, 8]
    assert [memo.value_json[1] for memo in records.memos] == ["6", "7", "8"]
    assert States(records).text_at(8) == values
    assert store.size("run-1").tables["shared_values"] > 3 * 6000
    assert list(store.verify()) == []
    store.backup(tmp_path / "copy.db")
    copy = SqliteCheckpointer(tmp_path / "copy.db", key=key, create=False)
    assert facts(copy.load("run-1")) == facts(records)
    copy.close()
    count_on(store, store.take("run-1", this_process()), 9, Ending("done"))
    store.prune(Wish(keep=0))
    assert store.runs() == list(store.verify()) == []
    store.close()
