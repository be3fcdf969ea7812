"""Encryption: nobody without the key reads a value, or changes what is stored unnoticed."""

import base64
import json
import random
import sqlite3
import string
import subprocess
import sys
import traceback
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Context,
    Decision,
    Escalate,
    Retry,
    RunFailedError,
    Send,
    StateGraph,
    append,
)
from graphflow.checkpoint import digest as digests
from graphflow.checkpoint.cipher import PREFIX, Cipher
from graphflow.checkpoint.keys import VARIABLE, key_of
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import CheckpointCorruptError, CheckpointError, WrongKeyError
from graphflow.records import Ending, Snapshot
from graphflow.testing.llm import FakeLLM
from graphflow.testing.records import (
    SPEC_JSON,
    TIME,
    a_call,
    a_failure,
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
from tests.rig.forge import change, rows

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture(autouse=True)
def no_key_outside(monkeypatch):
    """Let no key come from outside."""
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def store(db):
    """Open a checkpointer on a new encrypted file."""
    opened = SqliteCheckpointer(db, key=KEY)
    yield opened
    opened.close()


# ------------------------------------------------------------------------- nothing can be read


class Words:
    """Gives random words, and remembers them: none must be in the file."""

    def __init__(self):
        self.random, self.given = random.Random(4), []

    def __call__(self, much=1):
        word = "".join(self.random.choices(string.ascii_letters, k=12))
        self.given.append(word)
        return word * much


class Case(BaseModel):
    text: str
    note: str = ""
    parts: list[str] = Field(default_factory=list)
    results: Annotated[list[str], append] = Field(default_factory=list)
    table: dict[str, str] = Field(default_factory=dict)
    answer: str = ""
    asked: str = ""
    child: str = ""


class Task(BaseModel):
    text: str
    child: str = ""


def case_graph(word) -> StateGraph[Any]:
    """Make a graph that puts words of `word` wherever words can go."""
    child = StateGraph(Task, name="child")
    child.add_node("inside", lambda s: {"child": s.text + word()})
    child.add_edge(START, "inside")
    child.add_edge("inside", END)

    graph = StateGraph(Case, name="case")
    failed = []

    def first(state: Case, ctx: Context):
        ctx.memo("fetched", lambda: {word(): word(900)}, type=dict[str, str])
        if not failed:
            failed.append(1)
            raise ValueError(f"no {word()}")
        ctx.llm.sync.chat(word())
        return {
            "note": word(900),
            "parts": [word(), word(900)],
            "table": {word(): word()},
        }

    def asks(state: Case, ctx: Context):
        said = ctx.ask("sure", word(), answer=str)
        return {"asked": said + word()}

    def broken(state: Case):
        raise ValueError(word())

    graph.add_node("first", first, retry=Retry(attempts=3, on=ValueError))
    graph.add_map("each", lambda part: part + word(), over="parts", into="results")
    graph.add_node("sub", child, input={"text": "note"}, output={"child": "child"})
    graph.add_node("work", lambda s: {"results": [s.text + word()]})
    graph.add_node("asks", asks)
    graph.add_question("human", prompt=lambda s: word(), into="answer", answer=str)
    graph.add_node("broken", broken, escalate=Escalate())
    graph.add_edge(START, "first")
    graph.add_edge("first", "each")
    graph.add_edge("each", "sub")

    @graph.decision("sub", targets=["work"])
    def spread(state: Case):
        sends = [Send("work", {"text": word()}), Send("work", {"text": word(900)})]
        return Decision(sends, reason=word(), evidence={"why": word()})

    graph.add_edge("work", "asks")
    graph.add_edge("asks", "human")
    graph.add_edge("human", "broken")
    graph.add_edge("broken", END)
    return graph


def everything(db, word, key=KEY):
    """Run that graph: with failures, questions, a fork, a cancelled run; give the flow."""
    graph, llm = case_graph(word), FakeLLM(answer=lambda request: word())
    flow = graph.compile(SqliteCheckpointer(db, key=key), llm=llm.client())
    run = flow.run({"text": word(900)}, tags={"for": word()})
    fork = flow.fork(run.run_id, 1, update={"note": word(900)})
    flow.cancel(fork.run_id)
    flow.answer(run.run_id, word())
    run = flow.answer(run.run_id, word())
    assert [q.kind for q in run.questions] == ["ask", "question", "escalation"]
    with pytest.raises(RunFailedError):
        flow.answer(run.run_id, "fail")
    return flow, (run.run_id, fork.run_id)


def test_no_word_is_in_the_file(db):
    """No value, question, error, reason, tag or answer stands readable in the file or its log."""
    word = Words()
    flow, runs = everything(db, word)
    whole = repr([facts(flow.get(run_id).records) for run_id in runs])
    stored = [one for one in word.given if one in whole]
    assert len(stored) > 35  # who has the key reads them
    content = db.read_bytes() + db.with_name(db.name + "-wal").read_bytes()
    assert [one for one in word.given if one.encode() in content] == []
    flow.close()
    assert [one for one in word.given if one.encode() in db.read_bytes()] == []


def test_the_same_words_are_readable_without_a_key(tmp_path):
    """The test before would find words: without a key nearly all of them are in the file."""
    word, db = Words(), tmp_path / "plain.db"
    flow, runs = everything(db, word, None)
    whole = repr([facts(flow.get(run_id).records) for run_id in runs])
    flow.close()
    content = db.read_bytes()
    missing = [one for one in word.given if one in whole and one.encode() not in content]
    assert missing == []


# ------------------------------------------------------------------------------------- the key


def test_another_key_is_refused(db):
    """Another key, and none, are typed errors that say what to type; the right one opens."""
    store = SqliteCheckpointer(db, key=KEY)
    store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    for key, words in ((OTHER, "another key"), (None, "GRAPHFLOW_KEY")):
        with pytest.raises(WrongKeyError, match=words):  # while it is open here, too
            SqliteCheckpointer(db, key=key)
    store.close()
    for key in (OTHER, None):
        with pytest.raises(WrongKeyError, match=r"runs\.db"):
            SqliteCheckpointer(db, key=key)
    again = SqliteCheckpointer(db, key=lambda: KEY)
    assert again.load("run-1").header.step == 0
    again.close()


def test_a_key_for_a_plain_database_is_refused(db):
    """A database that was made without a key stays so; it says how to get its runs encrypted."""
    store = SqliteCheckpointer(db)
    store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    with pytest.raises(WrongKeyError, match=r"without a key.*save\(path, key="):
        SqliteCheckpointer(db, key=KEY)
    assert store.load("run-1").header.step == 0
    store.close()
    empty = db.with_name("empty.db")
    SqliteCheckpointer(empty).runs()
    with pytest.raises(WrongKeyError, match="without a key"):
        SqliteCheckpointer(empty, key=KEY)


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode(),
        f" {KEY.hex()}\n",
    ],
)
def test_the_key_of_the_environment(db, monkeypatch, text):
    """`GRAPHFLOW_KEY` holds it in hexadecimal or in base64; a key that is given goes before it."""
    monkeypatch.setenv(VARIABLE, text)
    assert key_of(None) == KEY
    assert key_of(OTHER) == OTHER
    store = SqliteCheckpointer(db)
    store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    store.close()
    with pytest.raises(WrongKeyError):
        SqliteCheckpointer(db, key=OTHER)


NO_KEY = "no-key-but-secret-all-the-same"


@pytest.mark.parametrize("given", [NO_KEY.encode(), NO_KEY, NO_KEY.encode, lambda: None])
def test_what_is_no_key_is_refused(db, given):
    """What is no key of 32 bytes is refused, without repeating it; no file is made."""
    with pytest.raises(WrongKeyError, match="32 bytes") as caught:
        SqliteCheckpointer(db, key=given).runs()
    assert NO_KEY not in str(caught.value)
    assert not db.exists()


@pytest.mark.parametrize(
    "text", [NO_KEY, "ab" * 31, "zz" * 32, base64.b64encode(b"x" * 31).decode()]
)
def test_what_is_no_key_in_the_environment_is_refused(db, monkeypatch, text):
    """So it is in the environment: the message names the variable, and not what it holds."""
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(WrongKeyError, match=VARIABLE) as caught:
        SqliteCheckpointer(db).runs()
    assert text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_key_is_shown(db, store):
    """No repr has the key: not that of the checkpointer, its file, a lease or the cipher."""
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    shown = repr([store, store._file, lease, lease.columns, Cipher(KEY, "salt")])
    assert "kkkk" not in shown
    assert KEY.hex() not in shown


def test_no_traceback_shows_the_key(db, monkeypatch):
    """A traceback that prints what variables hold has no key in it, given or of the environment."""
    SqliteCheckpointer(db, key=OTHER).runs()
    given = bytearray(KEY)  # so that this test's own variables do not show it
    monkeypatch.setenv(VARIABLE, KEY.hex())
    for key in (lambda: bytes(given), None):
        with pytest.raises(WrongKeyError) as caught:
            SqliteCheckpointer(db, key=key)
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        frames = [frame for frame in told.stack if "/graphflow/" in frame.filename]
        shown = repr([frame.locals for frame in frames])
        assert "<a key>" in shown
        assert "kkkk" not in shown
        assert KEY.hex() not in shown


def test_a_missing_library_is_named(db, monkeypatch):
    """Without the library a key is an error that says what to install; plain files need none."""
    for name in [one for one in sys.modules if one.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(CheckpointError, match=r"pip install 'graphflow-agents\[encryption\]'"):
        SqliteCheckpointer(db, key=KEY).runs()
    assert not db.exists()
    plain = SqliteCheckpointer(db)
    plain.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), Ending("done"))
    plain.close()


def test_nothing_of_it_is_loaded_without_a_key(db):
    """A run without a key does not import the library."""
    program = """if True:
        import sys
        from graphflow.checkpoint.sqlite import SqliteCheckpointer
        SqliteCheckpointer(sys.argv[1]).runs()
        assert not [name for name in sys.modules if name.startswith("cryptography")]
    """
    subprocess.run([sys.executable, "-c", program, db], check=True)


# ----------------------------------------------------------------------------- nothing is changed


def filled(store):
    """Begin two runs that have something in every table, and long values."""
    for run_id in ("run-1", "run-2"):
        long = json.dumps({"doc": f"{run_id} " * 900})
        header = a_header(run_id, input_json=long, tags_json='{"a":"b"}')
        lease = store.begin(header, SPEC_JSON, a_step(0), Snapshot(0, long, "{}"), None)
        for step in (1, 2):
            store.fail(lease, a_failure(step))
            store.call(lease, a_call(step, error="none"))
            store.keep_item(lease, an_item(step, 0))
            store.keep_item(lease, an_item(step, 1))
            store.memo(lease, a_memo(step))
            asked = a_question(step, details_json="{}", default_json='"a"')
            store.ask(lease, asked)
            asked.answer_json, asked.answered_by, asked.answered_at = '"yes"', "person", TIME
            store.answer(lease, asked)
            done = a_step(step, tasks=2, joins=True, sends=True)
            done.tasks[0].update_json = long
            store.commit(lease, done, a_snapshot(2, since=0) if step == 2 else None, None)
        store.keep(lease, 3, a_task(0, goto=a_goto()))
        store.end(lease, Ending("failed", f"why {run_id}", "ValueError", f"words {run_id}"))
    return "run-1"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Make a database of that."""
    db = tmp_path_factory.mktemp("full") / "runs.db"
    store = SqliteCheckpointer(db, key=KEY)
    filled(store)
    store.close()
    return db.read_bytes()


SECRET_COLUMNS = {
    "runs": "input_json tags_json reason error",
    "steps": "ready_json derived_json",
    "tasks": "update_json goto_json",
    "decisions": "reason evidence_json details_json",
    "attempts": "error traceback",
    "calls": "request_json response_json error",
    "items": "result_json",
    "questions": "prompt schema_json details_json default_json answer_json",
    "memos": "value_json",
    "snapshots": "state_json added_json",
    "shared_values": "value_json",
}
CELLS = [(table, name) for table, names in SECRET_COLUMNS.items() for name in names.split()]


@pytest.mark.parametrize(("table", "name"), CELLS)
def test_each_cell_is_encrypted_and_guarded(db, content, table, name):
    """Each cell is encrypted; cut short, made plain, changed or swapped, it is found."""
    db.write_bytes(content)
    # Names of tasks alone are not hidden
    has_values = f"{name} IS NOT NULL AND {name} NOT LIKE '[\"%'"
    found = rows(db, f"SELECT {name} FROM {table} WHERE {has_values}")
    assert found
    assert all(text.startswith(PREFIX) for (text,) in found)
    assert len({text for (text,) in found}) == len(found)  # no nonce comes twice
    key = "id" if table in ("runs", "shared_values") else "run"
    where = f"{has_values} AND {key} = 1"
    for sql in (
        f"substr({name}, 1, length({name}) / 2)",
        f"substr({name}, 1, 40) || 'AAAA' || substr({name}, 45)",
        "'{}'",
        f"'{PREFIX}'",
        f"'{PREFIX}AAAA'",
        f"(SELECT {name} FROM {table} AS o WHERE {has_values} AND o.{key} = 2 LIMIT 1)",
    ):
        db.write_bytes(content)
        change(db, f"UPDATE {table} SET {name} = {sql} WHERE {where}")
        store = SqliteCheckpointer(db, key=KEY)
        with pytest.raises(CheckpointCorruptError, match="run-1") as caught:
            store.load("run-1")
        assert caught.value.run_id == "run-1"
        assert store.load("run-2").header.reason == "why run-2"
        assert {header.run_id for header in store.runs()} == {"run-1", "run-2"}
        store.close()


READABLE = {
    "graphs": "digest name version spec_json created_at row_digest",
    "runs": "id run_id graph graph_version graph_digest status error_type created_at ended_at "
    "thread_id limits_json epoch owner taken_at parent_run parent_step parent_task fork_of "
    "fork_step digest budget_json heard seal adopted",
    "steps": "run step committed_at arrows_json fired_json held_json digest heard rows_json",
    "tasks": "run step ix key node started_at duration_ms attempts reads_json replaces_json "
    "digest fell_back items",
    "decisions": "run step ix source router kind options_json answer confidence",
    "attempts": "run step key attempt node started_at duration_ms error_type digest",
    "calls": "id run step key attempt kind model started_at duration_ms input_tokens "
    "output_tokens cached_tokens digest",
    "items": "run step key ix started_at duration_ms attempts digest",
    "questions": "run step key name node kind asked_at deadline answered_at answered_by digest",
    "memos": "run step key name stored_at digest",
    "snapshots": "run step counters_json digest since",
    "adoptions": "run step place graph_digest graph_version adopted_at nodes_json counters_json "
    "fired_json held_json children_json digest",
    "shared_values": "id digest",
    "value_uses": "run value",
    "anchors": "run step link calls tokens ms pruned_at adopted_on digest",
    "retired": "id last",
    "encryption": "id salt key_check",
}
"""What is not encrypted. A new column must be in this list or in the other one."""
HIDDEN = SECRET_COLUMNS | {
    "runs": f"{SECRET_COLUMNS['runs']} fork_json",
    "decisions": f"{SECRET_COLUMNS['decisions']} chosen",
    "adoptions": "state_json ready_json",
}


def test_each_column_is_readable_on_purpose(db, store):
    """Every column of every table is listed, as encrypted or as one that has no user's values."""
    store.runs()
    tables = [name for (name,) in rows(db, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        table: {row[1] for row in rows(db, f"PRAGMA table_info({table})")}
        for table in tables
        if not table.startswith(("_", "sqlite_"))
    }
    listed = {
        table: {*READABLE[table].split(), *HIDDEN.get(table, "").split()} for table in READABLE
    }
    assert found == listed


def test_the_views_can_be_read(db, content):
    """The views are there for an encrypted database as well, with what is readable."""
    db.write_bytes(content)
    for view in ("path", "run_summary", "failures", "updates"):
        rows(db, f"SELECT * FROM {view}")
    assert rows(db, "SELECT run_id, status FROM run_summary ORDER BY 1")[0] == ("run-1", "failed")


def test_a_cell_is_bound_to_its_place():
    """A text is read only where it was written: another table, column, run, step or key refuses."""
    cipher = Cipher(KEY, "salt")
    place = ("tasks", "update_json", "run-1", 1, 0)
    text = cipher.hide("words", place)
    assert cipher.reveal(text, place) == "words"
    for other in (
        ("items", "update_json", "run-1", 1, 0),
        ("tasks", "goto_json", "run-1", 1, 0),
        ("tasks", "update_json", "run-2", 1, 0),
        ("tasks", "update_json", "run-1", 2, 0),
        ("tasks", "update_json", "run-1", 1, 1),
        ("tasks", "update_json", "run-1", "1", 0),
        ("tasks", "update_json", "run-1", 10),
    ):
        with pytest.raises(ValueError, match="elsewhere"):
            cipher.reveal(text, other)
    for wrong in (Cipher(OTHER, "salt"), Cipher(KEY, "other")):
        with pytest.raises(ValueError, match="elsewhere"):
            wrong.reveal(text, place)


@settings(deadline=None)
@given(st.text(max_size=50), st.data())
def test_a_text_comes_back_or_not_at_all(words, data):
    """Any text comes back; with any character of it changed, or cut anywhere, none does."""
    cipher = Cipher(KEY, "salt")
    text = cipher.hide(words, ("here",))
    assert cipher.reveal(text, ("here",)) == words
    at = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.sampled_from(string.ascii_letters + "=&: é"))
    for changed in (text[:at], text[:at] + new + text[at + 1 :], text + new):
        if changed == text:
            continue
        try:
            found = cipher.reveal(changed, ("here",))
        except ValueError:
            continue
        # Base64 has bits at its end that mean nothing
        assert found == words


def test_a_forged_row_is_found(db, content):
    """Who can write the file, but has no key, cannot make a row that passes for one of ours."""
    forged = json.dumps({"notes": ["forged"]})
    for sql in (
        'UPDATE steps SET fired_json = \'{"a":["b"]}\' WHERE run = 1 AND step = 1',
        "UPDATE decisions SET chosen = 'done' WHERE run = 1 AND step = 1",
        "UPDATE tasks SET node = 'other' WHERE run = 1 AND step = 1",
        "UPDATE graphs SET name = 'other'",
        "UPDATE runs SET status = 'done' WHERE id = 1",
        "UPDATE runs SET seal = NULL, status = 'done' WHERE id = 1",
        "UPDATE runs SET limits_json = '{\"steps\":1}' WHERE id = 1",
        f"UPDATE memos SET value_json = '{forged}' WHERE run = 1",
    ):
        db.write_bytes(content)
        change(db, sql)
        # As an attacker would: digests made anew in the way that needs no key
        conn = sqlite3.connect(db)
        memo = conn.execute("SELECT * FROM memos WHERE run = 1 AND step = 1").fetchone()
        own = digests.digest("memo", ("run-1", *memo[1:-1]), digests.digest_of)
        conn.execute("UPDATE memos SET digest = ? WHERE run = 1 AND step = 1", (own,))
        conn.commit()
        conn.close()
        store = SqliteCheckpointer(db, key=KEY)
        with pytest.raises(CheckpointCorruptError):
            store.load("run-1")
        store.close()


def test_all_digests_need_the_key(db, monkeypatch):
    """Nothing that is stored has a digest that can be made without the key."""

    def no_digest(data=b""):
        raise AssertionError("a digest without a key")

    monkeypatch.setattr(digests, "sha256", no_digest)
    store = SqliteCheckpointer(db, key=KEY)
    filled(store)
    lease = store.take("run-1", this_process())
    store.keep(lease, 3, a_task(1))
    store.commit(lease, a_step(3, tasks=2), a_snapshot(3), Ending("paused"))
    store.stop("run-2", Ending("cancelled", "why"))
    assert store.load("run-1").header.status == "paused"
    assert store.load("run-2", tail=True).header.reason == "why"
    store.close()


def test_the_address_of_a_long_value_needs_the_key(db, store):
    """Who guesses a long value cannot see whether it is there; yet it is stored once."""
    filled(store)
    value = json.dumps("run-1 " * 900)
    found = rows(db, "SELECT digest FROM shared_values")
    assert len(found) == 2
    assert (digests.digest_of(value),) not in found
    assert rows(db, "SELECT count(*) FROM value_uses") == [(2,)]


def test_a_kept_task_is_not_encrypted_again(db, store):
    """A task that was kept stands as it is when its step is committed, in a later process too."""
    lease = store.begin(a_header(), SPEC_JSON, a_step(0), a_snapshot(0), None)
    long = json.dumps({"doc": "x" * 9000})
    task = a_task(0, update_json=long, goto=a_goto())
    store.keep(lease, 1, task)
    kept = rows(db, "SELECT update_json FROM tasks")
    again = store.take("run-1", this_process())
    step = a_step(1)
    step.tasks = (a_task(0, update_json=long),)
    store.commit(again, step, None, None)
    assert rows(db, "SELECT update_json FROM tasks") == kept
    assert facts(store.load("run-1").steps[1]) == facts(step)


# ---------------------------------------------------------------------------------- what goes on


def test_runs_are_copied_to_another_key(tmp_path, db, store):
    """A run is saved into a file with another key, with none, and from there with the first one."""
    filled(store)
    case = StateGraph(Task, name="t")
    case.add_node("n", lambda s: {"child": s.text * 2})
    case.add_edge(START, "n")
    case.add_edge("n", END)
    flow = case.compile(store)
    run = flow.run({"text": "long " * 2000})
    targets = [("other.db", OTHER), ("plain.db", None), ("back.db", KEY)]
    for name, key in targets:
        run.save(tmp_path / name, key=key)
        copy = SqliteCheckpointer(tmp_path / name, key=key)
        assert facts(copy.load(run.run_id).steps) == facts(run.records.steps)
        run = case.compile(copy).get(run.run_id)
    assert run.state.child == "long " * 4000


def test_a_copy_of_the_file_opens_with_its_key(tmp_path, db, content):
    """A copy of the file is as good as the file; a value cannot be brought from one to another."""
    for name in ("one.db", "two.db"):
        (tmp_path / name).write_bytes(content)
    store = SqliteCheckpointer(tmp_path / "one.db", key=KEY)
    assert store.load("run-1").header.error == "words run-1"
    store.close()
    other = SqliteCheckpointer(tmp_path / "three.db", key=KEY)
    filled(other)
    other.close()
    conn = sqlite3.connect(tmp_path / "two.db")
    conn.execute("ATTACH ? AS three", (str(tmp_path / "three.db"),))
    conn.execute(
        "UPDATE memos SET (value_json, digest) = (SELECT value_json, digest FROM three.memos o "
        "WHERE o.run = memos.run AND o.step = memos.step)"
    )
    conn.commit()
    conn.close()
    mixed = SqliteCheckpointer(tmp_path / "two.db", key=KEY)
    with pytest.raises(CheckpointCorruptError):
        mixed.load("run-1")
    mixed.close()


def test_a_digest_needs_the_key():
    """Who has another key, or none, makes other digests and addresses of the same text."""
    one, other = Cipher(b"1" * 32, "salt"), Cipher(b"2" * 32, "salt")
    assert one.digest_of("text") == Cipher(b"1" * 32, "salt").digest_of("text")
    assert one.digest_of("text") != other.digest_of("text")
    assert one.address("text") != other.address("text")


def test_a_changed_graph_keeps_its_words_too(db):
    """A run goes on with another graph on an encrypted file; neither state is readable there."""

    class Old(BaseModel):
        word: str = ""
        said: str = ""

    class New(BaseModel):
        words: list[str]
        said: str = ""

    def graph_of(state, name, version):
        graph = StateGraph(state, name="talk", version=version)
        graph.add_question(name, prompt="Well?", into="said")
        graph.add_edge(START, name)
        graph.add_edge(name, END)
        return graph

    with graph_of(Old, "ask", 1).compile(SqliteCheckpointer(db, key=KEY)) as flow:
        run_id = flow.run({"word": "first-secret-word"}).run_id
    later = graph_of(New, "inquire", 2)
    later.renamed("ask", "inquire")
    later.migration(1, 2)(lambda values: {"words": [values.pop("word"), "later-word"], **values})
    with later.compile(SqliteCheckpointer(db, key=KEY)) as flow:
        assert flow.verdict(run_id).can_go_on
        run = flow.answer(run_id, "spoken-word")
        assert run.state == New(words=["first-secret-word", "later-word"], said="spoken-word")
        assert flow.get(run_id).values_at(0) == {"word": "first-secret-word", "said": ""}
        assert list(flow.store.verify()) == []
        stored = b"".join(path.read_bytes() for path in db.parent.iterdir())
    assert [
        word for word in (b"secret-word", b"later-word", b"spoken-word") if word in stored
    ] == []


def test_a_copy_is_as_secret_as_its_source(tmp_path):
    """A run that is saved keeps the key of the database that it is read from, unless told."""

    class Told(BaseModel):
        word: str = ""

    graph = StateGraph(Told, name="told")
    graph.add_node("only", lambda s: {"word": "secret-" + "word"})
    graph.add_edge(START, "only")
    graph.add_edge("only", END)
    with graph.compile(SqliteCheckpointer(tmp_path / "from.db", key=KEY)) as flow:
        run = flow.run({}, run_id="r")
        run.save(tmp_path / "same.db")
        run.save(tmp_path / "plain.db", key=None)

    assert b"secret-word" not in (tmp_path / "same.db").read_bytes()
    assert b"secret-word" in (tmp_path / "plain.db").read_bytes()
    copy = SqliteCheckpointer(tmp_path / "same.db", key=KEY)
    assert copy.load("r").header.status == "done"
    copy.close()
