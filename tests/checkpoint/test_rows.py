"""Records in columns: every record comes back as it was, and people can read the columns."""

import json
import sqlite3
from dataclasses import replace

import pytest
import sqlite_utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphflow.checkpoint.digest import digest, digest_of, sealed
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.records import (
    Arrow,
    AttemptRecord,
    CallRecord,
    DecisionRecord,
    Ending,
    Evidence,
    ItemRecord,
    MemoRecord,
    QuestionRecord,
    Sent,
    Snapshot,
    StepRecord,
    TaskRecord,
)
from graphflow.testing.families import begin_child
from graphflow.testing.leases import begin_run
from graphflow.testing.records import (
    SPEC_JSON,
    TIME,
    a_call,
    a_failure,
    a_fork,
    a_header,
    a_memo,
    a_question,
    a_snapshot,
    a_step,
    a_task,
    an_item,
    facts,
)

names = st.text(min_size=1, max_size=8)
texts = st.text(max_size=20)
counts = st.integers(0, 2**31)
floats = st.floats(allow_nan=False, allow_infinity=False)
durations = st.floats(0, 1e12)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
documents = trees.map(lambda tree: json.dumps(tree, ensure_ascii=False, separators=(",", ":")))
# As a codec of another make would write them
oddly_written = documents | st.sampled_from(["1e5", "1.0E+2", "-0.0", '"\\u00e9"', "1.50"])
several = st.lists(names, max_size=3).map(tuple)
# As they stand in a larger text: brackets, quotes and blanks of all kinds
objects = st.dictionaries(texts, trees, max_size=3).flatmap(
    lambda tree: st.sampled_from([json.dumps(tree), json.dumps(tree, ensure_ascii=False, indent=1)])
)
# Of tasks, and of items of maps
keys = st.builds(
    "{}{}".format,
    st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), max_size=8),
    st.just("") | counts.map("[{}]".format),
)
sents = st.builds(Sent, node=names, input_json=objects)
targets = st.lists(names | sents, max_size=3).map(tuple)

decisions = st.builds(
    DecisionRecord,
    source=names,
    router=names,
    options=several,
    chosen=targets,
    reason=texts,
    answer=st.none() | texts,
    confidence=st.none() | floats,
    evidence=st.lists(
        st.builds(
            Evidence,
            name=names,
            step=counts,
            value_json=st.none() | oddly_written,
            counter=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    details_json=st.none() | documents,
    kind=st.sampled_from(["router", "gate", "goto"]),
)


def tasks(ix):
    """Make one task of any content."""
    return st.builds(
        TaskRecord,
        ix=st.just(ix),
        key=keys,
        node=names,
        update_json=st.none() | objects,
        started_at=st.just(TIME),
        duration_ms=durations,
        attempts=counts,
        reads=several,
        goto=st.none() | decisions,
        replaces=several,
        fell_back=st.none() | names,
        items=st.none() | counts,
    )


def with_sends(step, found):
    """Make Sends of some of the tasks that run next."""
    return replace(step, sends=dict(zip(step.ready[1:], found, strict=False)))


plain_steps = st.builds(
    StepRecord,
    step=st.just(1),
    tasks=st.integers(0, 3).flatmap(lambda n: st.tuples(*map(tasks, range(n)))),
    decisions=st.lists(decisions, max_size=3),
    arrows=st.lists(st.builds(Arrow, names, names, st.sampled_from(["edge", "goto"])), max_size=3),
    fired=st.dictionaries(names, several, max_size=2),
    held=st.dictionaries(names, st.lists(st.tuples(names, counts), max_size=2), max_size=2),
    ready=st.lists(names, max_size=4, unique=True).map(tuple),
    derived_json=st.none() | objects,
    committed_at=st.just(TIME),
    heard=st.booleans(),
)
steps = st.builds(with_sends, plain_steps, st.lists(sents, max_size=3))
failures = st.builds(
    AttemptRecord,
    step=st.just(2),
    key=keys,
    node=names,
    attempt=counts,
    started_at=st.just(TIME),
    duration_ms=durations,
    error_type=texts,
    error=texts,
    traceback=texts,
)
calls = st.builds(
    CallRecord,
    step=counts,
    key=keys,
    attempt=counts,
    kind=texts,
    model=texts,
    started_at=st.just(TIME),
    duration_ms=durations,
    input_tokens=st.none() | counts,
    output_tokens=st.none() | counts,
    cached_tokens=st.none() | counts,
    request_json=documents,
    response_json=st.none() | documents,
    error=st.none() | texts,
)
loose_rows = st.tuples(
    failures,
    calls,
    st.builds(
        ItemRecord,
        step=st.just(2),
        key=keys,
        ix=counts,
        result_json=documents,
        started_at=st.just(TIME),
        duration_ms=durations,
        attempts=counts,
    ),
    st.builds(
        QuestionRecord,
        step=st.just(2),
        key=keys,
        node=names,
        name=texts,
        kind=st.sampled_from(["question", "ask", "escalation"]),
        prompt=texts,
        schema_json=objects,
        asked_at=st.just(TIME),
        details_json=st.none() | objects,
        deadline=st.none() | st.just(TIME),
        default_json=st.none() | documents,
    ),
    st.builds(
        MemoRecord,
        step=st.just(2),
        key=keys,
        name=texts,
        value_json=documents,
        stored_at=st.just(TIME),
    ),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Open one store for all examples."""
    store = SqliteCheckpointer(tmp_path_factory.mktemp("rows") / "runs.db", durability="normal")
    yield store
    store.close()


_examples = iter(range(10**9))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(step=steps, kept=tasks(0), loose=loose_rows, state=documents)
def test_every_record_comes_back(shared, step, kept, loose, state):
    """Whatever records hold is read back the same, by the whole run and by its tail."""
    run_id = f"run-{next(_examples)}"
    failure, call, item, question, memo = loose
    lease = shared.begin(a_header(run_id), SPEC_JSON, a_step(0), a_snapshot(0), None)
    shared.commit(lease, step, Snapshot(1, state, state), None)
    shared.keep(lease, 2, kept)
    shared.fail(lease, failure)
    shared.call(lease, call)
    shared.keep_item(lease, item)
    shared.ask(lease, question)
    shared.memo(lease, memo)
    answered = replace(question, answer_json=state, answered_at=TIME, answered_by="person")
    shared.answer(lease, answered)
    expected = facts(step)
    for task in expected["tasks"]:
        task["goto"] = None
    for tail in (False, True):
        records = shared.load(run_id, tail=tail)
        assert facts(records.steps[-1]) == expected
        assert facts(records.kept) == facts([kept])
        assert records.attempts == [failure]
        assert (records.items, records.memos) == ([item], [memo])
        assert records.questions == [answered]
        assert facts(records.snapshots[-1]) == facts(Snapshot(1, state, state))
    assert shared.load(run_id).calls == [call]


def test_not_a_number_becomes_unknown(store):
    """A confidence that is not a number is stored as unknown, and the run still loads."""
    step = a_step(1)
    step.decisions = (step.decisions[0]._replace(confidence=float("nan")),)
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    store.commit(lease, step, None, None)
    assert store.load("run-1").steps[1].decisions[0].confidence is None


def test_digests_keep_rows_apart():
    """Rows that only look alike when they are joined have different digests."""
    rows = [
        ("a", "bc"), ("ab", "c"), ("a,b", "c"), ('a","b', "c"), ("a", None), ("a", "null"),
        (1, "1"), ("1", 1), (("a",), ("b",)), (("a", "b"),), ("a", "b", ()), (1.5,), ("1.5",),
    ]  # fmt: skip
    found = {digest(kind, row, digest_of) for kind in ("task", "call") for row in rows}
    assert len(found) == 2 * len(rows)


def test_half_a_surrogate_pair_is_written_out():
    """What UTF-8 cannot hold is replaced before it is digested."""
    row, own = sealed("task", ("a\ud800", ("b\udfff", 1, None)), digest_of)
    assert row == ("a\\ud800", ("b\\udfff", 1, None))
    assert own == digest("task", row, digest_of)


# -- what people read -------------------------------------------------------------------------


@pytest.fixture
def shown(db):
    """Make a small database and open it as sqlite-utils does."""
    store = SqliteCheckpointer(db)
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    store.fail(lease, a_failure(1))
    store.call(lease, a_call(1))
    store.call(lease, a_call(1))
    store.memo(lease, a_memo(1))
    store.keep_item(lease, an_item(1, 0))
    store.ask(lease, a_question(1, details_json="{}", default_json='"no"'))
    store.answer(lease, a_question(1, answer_json='"yes"', answered_by="person"))
    store.commit(lease, a_step(1, tasks=2, sends=True), None, None)
    step = a_step(2)
    step.decisions = (step.decisions[0]._replace(chosen=("draft", "done")),)
    store.fail(lease, a_failure(2, key="other"))
    store.commit(lease, step, a_snapshot(2), Ending("failed", "task", "ValueError", "no"))
    store.close()
    database = sqlite_utils.Database(db)
    yield database
    database.close()


def test_no_value_is_a_blob(shown):
    """Everything in the file is text or a number, and what is named JSON is JSON."""
    for table in shown.tables:
        for column in table.columns_dict:
            kinds = {
                kind for (kind,) in shown.execute(f"SELECT typeof({column}) FROM {table.name}")
            }
            assert "blob" not in kinds
            if column.endswith("_json"):
                for (text,) in shown.execute(f"SELECT {column} FROM {table.name}"):
                    assert text is None or json.loads(text) is not None


def test_decisions_are_read_by_a_query(shown):
    """Each decision has a plain choice, a reason, and evidence with field, value and step."""
    rows = list(shown.query("SELECT source, chosen, reason, evidence_json FROM decisions"))
    assert [row["chosen"] for row in rows] == ["draft", '["draft","done"]']
    assert rows[0]["reason"] == "confidence = 0.93"
    assert json.loads(rows[0]["evidence_json"]) == [
        {"field": "confidence", "value": 0.93, "step": 1},
        {"field": "notes", "step": 1},
        {"counter": "tries", "value": 2, "step": 1},
    ]


def test_views_show_runs_by_their_ids(shown):
    """The views name runs as people do, and add up times, tokens and failures."""
    assert [
        (r["run_id"], r["step"], r["key"], r["decision"], r["reason"], r["ms"], r["tokens"])
        for r in shown.query("SELECT * FROM path")
    ] == [
        ("run-1", 1, "work#0", "draft", "confidence = 0.93", 1.25, 300),
        ("run-1", 1, "work#1", "draft", "confidence = 0.93", 2.5, None),
        ("run-1", 2, "work#0", '["draft","done"]', "confidence = 0.93", 1.25, None),
    ]
    (summary,) = shown.query("SELECT * FROM run_summary")
    assert (summary["run_id"], summary["status"], summary["error"]) == ("run-1", "failed", "no")
    assert [summary[name] for name in ("steps", "tasks", "decisions", "failures", "calls")] == [
        2, 3, 2, 2, 2,
    ]  # fmt: skip
    assert (summary["input_tokens"], summary["output_tokens"]) == (240, 60)
    recovered = [(r["step"], r["recovered"]) for r in shown.query("SELECT * FROM failures")]
    assert recovered == [(1, 1), (2, 0)]


def test_views_know_families_and_maps(db):
    """A child is in no summary but its parent's; items and Sends are shown with their task."""
    store = SqliteCheckpointer(db)
    lease = begin_run(store)
    child = begin_child(store, lease, 1)
    leaf = begin_child(store, child, 1)
    for each in (lease, child, leaf):
        store.call(each, a_call(1))
        store.ask(each, a_question(1))
    store.call(lease, a_call(1, key="score[1]"))
    store.fail(lease, a_failure(1, key="score[1]", node="score"))
    store.fail(lease, a_failure(1, key="score[0]", node="score"))
    store.keep_item(lease, an_item(1, 1))
    store.answer(leaf, a_question(1, answer_json='"yes"', answered_by="person"))
    database = sqlite_utils.Database(db)
    recovered = {r["key"]: r["recovered"] for r in database.query("SELECT * FROM failures")}
    assert recovered == {"score[0]": 0, "score[1]": 1}
    step = a_step(1)
    step.tasks = (a_task(0, key="score", items=2), a_task(1, fell_back="template"))
    step.decisions = (step.decisions[0]._replace(chosen=(Sent("w", '{"n":1}'), "x")),)
    store.commit(lease, step, None, None)
    fork = a_fork("fork", "run-1", 1, created_at="2027-01-01T00:00:00+00:00")
    store.begin(fork, SPEC_JSON, a_step(1), a_snapshot(1), None)
    forked, summary = database.query("SELECT * FROM run_summary")
    shown = ("run_id", "calls", "input_tokens", "unanswered", "children", "fork_of", "fork_step")
    assert [summary[name] for name in shown] == ["run-1", 4, 480, 2, 1, None, None]
    assert [forked[name] for name in shown] == ["fork", 0, None, 0, 0, "run-1", 1]
    path = database.query("SELECT * FROM path WHERE run_id = 'run-1'")
    assert [(r["key"], r["items"], r["fell_back"], r["tokens"]) for r in path] == [
        ("score", 2, None, 150),
        ("work#1", None, "template", None),
    ]
    (chosen,) = database.query("SELECT chosen FROM decisions WHERE run = 1")
    assert json.loads(chosen["chosen"]) == [{"send": "w", "input": {"n": 1}}, "x"]
    assert all(r["recovered"] for r in database.query("SELECT * FROM failures"))
    database.close()
    store.close()


def test_foreign_keys_are_real(shown):
    """The tables refer to each other, so that Datasette links them and nothing dangles."""
    linked = {(table.name, key.other_table) for table in shown.tables for key in table.foreign_keys}
    assert {("runs", "graphs"), ("runs", "runs"), ("decisions", "steps")} <= linked
    own = ("steps", "tasks", "decisions", "attempts", "calls", "items", "questions", "memos")
    for table in own:
        assert (table, "runs") in linked
    assert list(shown.query("PRAGMA foreign_key_check")) == []


def test_the_schema_is_read_without_graphflow(shown, db):
    """The database says itself which migrations made it, and any SQLite reads it."""
    applied = [row["name"] for row in shown["_sqlite_migrations"].rows]
    assert applied == [
        "m001_tables",
        "m002_views",
        "m003_families_and_pauses",
        "m004_partial_snapshots",
        "m005_seals",
        "m006_adoptions",
        "m007_shared_values",
        "m008_pruning",
        "m009_encryption",
        "m010_updates_of_texts",
    ]
    plain = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    assert plain.execute("SELECT count(*) FROM path").fetchone() == (3,)
    plain.close()
