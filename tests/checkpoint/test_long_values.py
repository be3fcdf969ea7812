"""Long values: stored once, found wherever they stand, and never mixed up with what users write."""

import json
import sqlite3
from hashlib import sha256
from itertools import count
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from graphflow import END, START, StateGraph, append
from graphflow.checkpoint.long_values import LONG, cut, is_cut, references, restored
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.checkpoint.sqlite_values import forget_runs, recount_uses
from graphflow.errors import CheckpointCorruptError
from graphflow.records import Ending, Sent, Snapshot
from graphflow.testing.records import (
    SPEC_JSON,
    TIME,
    a_call,
    a_decision,
    a_fork,
    a_goto,
    a_header,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
    facts,
)
from graphflow.upkeep import Wish
from tests.rig.forge import change, rows

numbers = count()
DOCUMENT = "A contract. " * 1000
DIGEST = sha256(json.dumps(DOCUMENT).encode()).hexdigest()
REFERENCE = {"$shared": DIGEST}


def address(value):
    """Give the digest of a value."""
    return sha256(value.encode()).hexdigest()


def written(value):
    """Write JSON as the codec does."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


longs = st.sampled_from(
    [DOCUMENT, "é" * LONG, '{"$shared":"' * 900, [DOCUMENT], {"body": DOCUMENT}]
)
hostile = st.sampled_from(
    [
        REFERENCE,
        {"$shared": "0" * 64},
        {"$shared": DIGEST, "more": 1},
        {"more": 1, "$shared": DIGEST},
        written(REFERENCE),
        " " + written({"a": REFERENCE}),
        "$shared",
        '\\"$shared\\":\\"' + DIGEST,
    ]
)
leaves = st.none() | st.integers() | st.text(max_size=9) | longs | hostile
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.just("$shared"), inner, max_size=4)
    ),
    max_leaves=8,
)
forms = st.sampled_from(
    [
        written,
        json.dumps,
        lambda value: json.dumps(value, indent=1),
        lambda value: " " + written(value),
        lambda value: "  " + written(value),
        lambda value: "\n" + written(value),
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, forms, st.booleans())
def test_every_text_comes_back(tree, form, whole):
    """Whatever users write, references of their own included, comes back byte for byte."""
    text, found = form(tree), {}
    stored = text
    if len(text) >= LONG or text.startswith(" "):
        stored = cut(text, address, found, whole=whole)
    assert json.loads(stored) is not Ellipsis  # it is JSON still
    assert is_cut(stored) == bool(found)
    assert set(references(stored)) == found.keys()
    assert (restored(stored, found) if stored.startswith(" ") else stored) == text
    assert all(address(value) == digest for digest, value in found.items())


@given(st.lists(st.sampled_from(["x" * 300, DOCUMENT, {"b": DOCUMENT, "n": 1}, 7]), max_size=30))
def test_a_value_is_the_same_piece_everywhere(around):
    """A value alone, in a list, in an object and deeper is cut into the same pieces."""
    value = {"title": "t", "body": DOCUMENT, "tail": ["y" * 5000]}
    alone, inside = {}, {}
    cut(written(value), address, alone, whole=True)
    cut(written({"state": {"doc": value}, "all": [*around, value]}), address, inside, whole=False)
    assert alone.keys() <= inside.keys()
    assert DIGEST in alone


def test_what_cannot_be_looked_into_stays_whole():
    """Very deep values, and texts that are no JSON, are stored as they are."""
    deep = "[" * 100_000 + "]" * 100_000
    for text in (f'{{"a":{deep}}}', "no JSON " * 1000, '{"a":' * 2000, "[" + "9" * 9000 + "]"):
        found: dict[str, str] = {}
        stored = cut(text, address, found, whole=False)
        assert (restored(stored, found) if found else stored) == text


def test_long_lists_of_small_values_are_one_piece():
    """An array with many small parts is not taken apart."""
    found: dict[str, str] = {}
    stored = cut(written({"list": ["y" * 200] * 1000}), address, found, whole=False)
    assert len(found) == 1
    assert len(stored) < 100


# ------------------------------------------------------------------------------ in the database


LONG_TEXT = written({"doc": DOCUMENT, "n": 1})


def filled(store, run_id="run-1"):
    """Begin a run that has the document in every column that can have it."""
    header = a_header(run_id, input_json=LONG_TEXT, tags_json=written({"t": DOCUMENT}))
    snapshot = Snapshot(0, LONG_TEXT, "{}")
    lease = store.begin(header, SPEC_JSON, a_step(0), snapshot, None)
    store.call(lease, a_call(1, request_json=LONG_TEXT, response_json=LONG_TEXT))
    store.keep_item(lease, an_item(1, 0, result_json=written(DOCUMENT)))
    store.memo(lease, a_memo(1, value_json=written([DOCUMENT])))
    asked = a_question(1, details_json=LONG_TEXT, default_json=written(DOCUMENT))
    store.ask(lease, asked)
    asked.answer_json, asked.answered_at, asked.answered_by = written(DOCUMENT), TIME, "person"
    store.answer(lease, asked)
    store.keep(lease, 1, a_task(0, update_json=LONG_TEXT, goto=a_goto()))
    step = a_step(1, tasks=2)
    step.tasks = (a_task(0, update_json=LONG_TEXT), a_task(1, update_json=LONG_TEXT))
    step.derived_json = LONG_TEXT
    step.decisions = (a_decision(details_json=LONG_TEXT, chosen=(Sent("work", LONG_TEXT),)),)
    step.ready, step.sends = ("work#0",), {"work#0": Sent("work", LONG_TEXT)}
    part = Snapshot(1, LONG_TEXT, "{}", since=0, added_json=written({"notes": [DOCUMENT]}))
    store.commit(lease, step, part, None)
    store.keep(lease, 2, a_task(0, update_json=LONG_TEXT, goto=a_goto()))
    return lease, step, [snapshot, part], asked


def test_a_value_is_stored_once(store, db):
    """The same document in every column of two runs is one row, and comes back everywhere."""
    for run_id in ("run-1", "run-2"):
        _, step, snapshots, asked = filled(store, run_id)
        for tail in (False, True):
            records = store.load(run_id, tail=tail)
            assert records.header.input_json == LONG_TEXT
            assert facts(records.steps[-1]) == facts(step)
            assert records.steps[-1].updates() == [LONG_TEXT, LONG_TEXT]
            assert records.kept[0].update_json == LONG_TEXT
            assert facts(records.snapshots) == facts(snapshots)
        records = store.load(run_id)
        assert records.calls[0].request_json == records.calls[0].response_json == LONG_TEXT
        assert records.items[0].result_json == written(DOCUMENT)
        assert records.memos[0].value_json == written([DOCUMENT])
        assert records.questions == [asked]
    assert {header.input_json for header in store.runs()} == {LONG_TEXT}
    assert rows(db, "SELECT digest, value_json FROM shared_values") == [(DIGEST, written(DOCUMENT))]
    assert rows(db, "SELECT run, value FROM value_uses") == [(1, 1), (2, 1)]
    assert db.stat().st_size + db.with_name("runs.db-wal").stat().st_size < 400_000


def test_a_kept_task_is_not_written_again(store, db):
    """A task with a long value that was kept is the same row when its step is committed."""
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    task = a_task(0, update_json=LONG_TEXT)
    store.keep(lease, 1, task)
    again = store.take("run-1", this_process())
    assert lease.kept == again.kept
    step = a_step(1)
    step.tasks = (task,)
    store.commit(again, step, None, None)
    assert store.load("run-1").steps[1].tasks == (task,)


def test_small_values_touch_nothing(store, db):
    """A run whose values are short has no row in either table."""
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    step = a_step(1)
    step.tasks = (a_task(0, update_json=written({"text": "x" * (LONG - 20)})),)
    store.commit(lease, step, None, Ending("done"))
    assert rows(db, "SELECT * FROM shared_values") == []
    assert rows(db, "SELECT * FROM value_uses") == []


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE shared_values SET value_json = value_json || ' '",
        "UPDATE shared_values SET value_json = '\"short\"'",
        "UPDATE shared_values SET digest = replace(digest, 'a', 'b')",
        "DELETE FROM shared_values",
        "DELETE FROM value_uses",
        "UPDATE value_uses SET run = 77",
    ],
)
def test_a_changed_or_missing_value_is_found(store, db, sql):
    """It is damage of the run and the step that refer to it; other runs load."""
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    step = a_step(1)
    step.tasks = (a_task(0, update_json=LONG_TEXT),)
    store.commit(lease, step, None, None)
    store.begin(a_header("run-2"), SPEC_JSON, a_step(0), a_snapshot(0), None)
    change(db, sql)
    for tail in (False, True):
        with pytest.raises(
            CheckpointCorruptError, match=r"step 1 of run 'run-1'.*long value"
        ) as bad:
            store.load("run-1", tail=tail)
        assert (bad.value.run_id, bad.value.step) == ("run-1", 1)
    assert store.load("run-2").header.step == 0
    assert len(store.runs()) == 2


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("runs", "input_json"),
        ("steps", "ready_json"),
        ("steps", "derived_json"),
        ("decisions", "chosen"),
        ("decisions", "details_json"),
        ("calls", "request_json"),
        ("items", "result_json"),
        ("memos", "value_json"),
        ("questions", "answer_json"),
        ("snapshots", "state_json"),
        ("snapshots", "added_json"),
    ],
)
def test_each_reference_is_covered_by_a_digest(store, db, table, name):
    """A reference that is changed to another value's, which is there, is found."""
    filled(store)
    other = written({"other": "y" * 9000})
    store.begin(
        a_header("run-2", input_json=other), SPEC_JSON, a_step(0), a_snapshot(0), Ending("done")
    )
    ((digest,),) = rows(db, "SELECT digest FROM shared_values WHERE id > 1")
    change(db, "INSERT OR IGNORE INTO value_uses SELECT 1, id FROM shared_values")
    change(db, f"UPDATE {table} SET {name} = replace({name}, ?, ?)", DIGEST, digest)
    with pytest.raises(CheckpointCorruptError, match="run-1"):
        store.load("run-1")


def test_words_that_look_like_references(store):
    """Reasons, errors and prompts are no JSON: nothing in them is taken for a reference."""
    words = f" {written({'a': REFERENCE})}"
    filled(store, "other")  # so that there is such a value
    lease = store.begin(
        a_header(input_json=LONG_TEXT), SPEC_JSON, a_step(0), Snapshot(0, LONG_TEXT, "{}"), None
    )
    asked = a_question(1, prompt=words)
    store.ask(lease, asked)
    step = a_step(1)
    step.tasks = (a_task(0, update_json=LONG_TEXT),)
    step.decisions = (a_decision(reason=words, chosen=(words,), details_json=written(words)),)
    store.commit(lease, step, None, None)
    records = store.load("run-1")
    assert facts(records.steps[1]) == facts(step)
    assert records.questions == [asked]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(trees, min_size=1, max_size=3), forms)
def test_hostile_values_come_back_from_the_database(store, values, form):
    """Values of users that look like references come back as they are, beside real ones."""
    run_id = f"run-{next(numbers)}"
    texts = [form({"a": value, "b": DOCUMENT, "c": value}) for value in values]
    header = a_header(run_id, input_json=texts[0])
    lease = store.begin(header, SPEC_JSON, a_step(0), Snapshot(0, texts[-1], "{}"), None)
    store.memo(lease, a_memo(1, value_json=form(values[0])))
    step = a_step(1)
    step.tasks = tuple(a_task(ix, update_json=text) for ix, text in enumerate(texts))
    step.derived_json = texts[0]
    store.commit(lease, step, None, None)
    records = store.load(run_id)
    assert records.header.input_json == texts[0]
    assert records.snapshots[0].state_json == texts[-1]
    assert records.memos[0].value_json == form(values[0])
    assert records.steps[1].updates() == texts
    assert records.steps[1].derived_json == texts[0]


# --------------------------------------------------------------------------- runs of real graphs


class Paper(BaseModel):
    text: str = ""
    parts: list[str] = Field(default_factory=list)
    copies: Annotated[list[str], append] = Field(default_factory=list)
    best: str = ""


def paper_graph() -> StateGraph[Any]:
    """Make a graph in which the document goes through a map, a child, a memo and an update."""
    child = StateGraph(Paper, name="child")
    child.add_node("same", lambda s: {"best": s.text})
    child.add_edge(START, "same")
    child.add_edge("same", END)
    graph = StateGraph(Paper, name="paper")

    def split(state, ctx):
        return {"parts": [ctx.memo("fetched", lambda: state.text, type=str)] * 3}

    graph.add_node("split", split)
    graph.add_map("each", lambda part: part, over="parts", into="copies")
    graph.add_node("sub", child, input={"text": "text"}, output={"best": "best"})
    graph.add_edge(START, "split")
    graph.add_edge("split", "each")
    graph.add_edge("each", "sub")
    graph.add_edge("sub", END)
    return graph


def test_one_document_through_everything(db):
    """Inputs, updates, snapshots, forks, items, memos and children share the one document."""
    flow = paper_graph().compile(db)
    first, second = flow.run({"text": DOCUMENT}), flow.run({"text": DOCUMENT})
    fork = flow.fork(first.run_id, 2, update={"best": "none"})
    for run in (first, second, fork):
        again = flow.get(run.run_id)
        assert again.state.best == again.state.text == DOCUMENT
        assert again.state.copies == [DOCUMENT] * 3
        assert again.state_at(1) == run.state_at(1)
    assert rows(db, "SELECT digest FROM shared_values") == [(DIGEST,)]
    assert db.stat().st_size + db.with_name("runs.db-wal").stat().st_size < 700_000
    flow.close()


def test_people_can_read_long_values(db):
    """The view `updates` has the fields of every update, long values in their place."""
    flow = paper_graph().compile(db)
    run = flow.run({"text": DOCUMENT})
    found = rows(
        db,
        "SELECT step, node, field, value FROM updates WHERE run_id = ? ORDER BY step",
        run.run_id,
    )
    assert (3, "sub", "best", DOCUMENT) in found
    sql = """SELECT value_json FROM tasks JOIN shared_values AS shared
        ON shared.digest = json_extract(update_json, '$.best."$shared"') WHERE node = 'sub'"""
    assert rows(db, sql) == [(written(DOCUMENT),)]
    short = flow.run({"text": "brief"})
    found = rows(db, "SELECT step, node, value FROM updates WHERE run_id = ?", short.run_id)
    assert (3, "sub", "brief") in found
    flow.close()


# ------------------------------------------------------------------------------------- sweeping


def delete_run(conn, run):
    """Delete a run that nobody forks."""
    removed = forget_runs(conn.cursor(), [run])
    for table in ("decisions", "tasks", "snapshots", "steps"):
        conn.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    conn.execute("DELETE FROM runs WHERE id = ?", (run,))
    return removed


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3), min_size=2, max_size=5),
    st.randoms(),
)
def test_values_are_kept_while_a_run_uses_them(tmp_path, used, random):
    """Whichever runs go, in any order: the values of those that stay are there, and no others."""
    db = tmp_path / f"{next(numbers)}.db"
    store = SqliteCheckpointer(db)
    for ix, letters in enumerate(used):
        first = written({"doc": letters[0] * 5000})
        lease = store.begin(
            a_header(f"run-{ix}", input_json=first), SPEC_JSON, a_step(0), a_snapshot(0), None
        )
        step = a_step(1, tasks=len(letters))
        for task, letter in zip(step.tasks, letters, strict=True):
            task.update_json = written({"doc": letter * 5000})
        store.commit(lease, step, None, None)
    left = dict(enumerate(used))
    conn = sqlite3.connect(db, isolation_level=None)
    conn.execute("PRAGMA foreign_keys = ON")
    while left:
        ix = random.choice(list(left))
        gone = set(left.pop(ix)) - {letter for letters in left.values() for letter in letters}
        assert delete_run(conn, ix + 1) == len(gone)
        (many,) = conn.execute("SELECT count(*) FROM shared_values").fetchone()
        assert many == len({letter for letters in left.values() for letter in letters})
        for other in left:
            assert store.load(f"run-{other}").header.step == 1
    assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
    conn.close()
    store.close()


def test_a_run_that_lost_steps_keeps_what_it_still_uses(store, db):
    """After steps were pruned, only the values of the others stay; those of other runs too."""
    for run_id, letters in (("run-1", "abcc"), ("run-2", "b")):
        lease = store.begin(a_header(run_id), SPEC_JSON, a_step(0), a_snapshot(0), None)
        for number, letter in enumerate(letters, 1):
            step = a_step(number)
            step.tasks = (a_task(0, update_json=written({"doc": letter * 5000})),)
            store.commit(lease, step, None, None)
    conn = sqlite3.connect(db, isolation_level=None)
    for table in ("decisions", "tasks"):
        conn.execute(f"DELETE FROM {table} WHERE run = 1 AND step < 4")
    assert recount_uses(conn.cursor(), 1) == 1  # a: b is another run's, c is in the last step
    assert recount_uses(conn.cursor(), 1) == 0
    assert conn.execute("SELECT run, value FROM value_uses ORDER BY run").fetchall() == [
        (1, 3),
        (2, 2),
    ]
    assert conn.execute("SELECT id FROM shared_values ORDER BY id").fetchall() == [(2,), (3,)]
    conn.close()
    assert store.load("run-2").steps[1].updates() == [written({"doc": "b" * 5000})]


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["plain", "encrypted"])
def test_deleting_and_pruning_sweep_values(db, key):
    """Runs that are deleted and steps that are pruned take the values that nobody else uses."""
    store = SqliteCheckpointer(db, key=key)

    def count(table="shared_values"):
        return rows(db, f"SELECT count(*) FROM {table}")[0][0]

    graph = StateGraph(Paper, name="loop")
    graph.add_node("next", lambda s: {"text": f"{len(s.copies)} " * 3000, "copies": ["x"]})
    graph.add_edge(START, "next")
    graph.add_conditional_edges(
        "next", lambda s: END if len(s.copies) > 9 else "next", [END, "next"]
    )
    flow = graph.compile(store)
    one, two = flow.run({"best": DOCUMENT}), flow.run({"best": DOCUMENT})
    other = flow.run({"best": "of one " * 2000})
    assert count() == 12
    store.delete(other.run_id)
    assert count() == 11
    assert store.prune(Wish(steps=2)).cut
    assert not list(store.verify())
    records = [store.load(run.run_id) for run in (one, two)]
    kept = [json.loads(text)["text"] for one in records for s in one.steps for text in s.updates()]
    assert len(set(kept)) < 5
    assert count() == 1 + len(set(kept))  # the document, and the texts of the last steps
    assert flow.get(one.run_id).state.best == DOCUMENT
    store.delete(one.run_id)
    assert flow.get(two.run_id).state.text == "9 " * 3000
    store.delete(two.run_id)
    assert (count(), count("value_uses")) == (0, 0)
    store.close()


def test_a_fork_of_a_deleted_use_goes_on(store, db):
    """A fork refers to what it stores itself: it has uses of its own."""
    lease = filled(store)[0]
    lease.kept.clear()
    fork = a_fork("fork", "run-1", 1)
    store.begin(fork, SPEC_JSON, a_step(1), Snapshot(1, LONG_TEXT, "{}"), None)
    assert rows(db, "SELECT run, value FROM value_uses") == [(1, 1), (2, 1)]
    assert store.load("fork").snapshots[-1].state_json == LONG_TEXT


@pytest.mark.parametrize("blanks", ["", " ", "  ", "\n ", "\t"])
def test_a_short_text_that_looks_cut_comes_back(store, blanks):
    """A short text with a blank before it and a reference in it is a user's like any other."""
    filled(store, "other")  # so that there is such a value
    text = blanks + written({"a": REFERENCE})
    header = a_header(input_json=text, tags_json=blanks + "{}")
    lease = store.begin(header, SPEC_JSON, a_step(0), Snapshot(0, text, "{}"), None)
    store.memo(lease, a_memo(1, value_json=text))
    step = a_step(1)
    step.tasks, step.derived_json = (a_task(0, update_json=text),), text
    step.decisions = (a_decision(details_json=text),)
    store.commit(lease, step, None, None)
    records = store.load("run-1")
    assert facts(records.steps[1]) == facts(step)
    assert records.memos[0].value_json == records.header.input_json == text
    assert records.snapshots[0].state_json == text
