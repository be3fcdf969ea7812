"""Rows that are damaged and carry digests that fit: refused in words, wherever they are used."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, Limits, Send, StateGraph, append
from graphflow.cli.asked import expected, typed_answer
from graphflow.errors import (
    CheckpointCorruptError,
    GraphChangedError,
    GraphflowError,
    RunBusyError,
)
from tests.hostile.sealing import forge, forged
from tests.rig.forge import rows

OF = "run = (SELECT id FROM runs WHERE run_id = '{}')"


def test_a_step_of_a_node_that_never_was_is_not_forked(db: Path) -> None:
    """A stored task of a node that no graph has is damage, also where the step is done anew."""
    sql = "UPDATE tasks SET node = 'nobody' WHERE step = 2"
    with forged(db, sql) as flow, pytest.raises(CheckpointCorruptError, match="nobody"):
        flow.fork("done", 2, update={"text": "x"})


@pytest.mark.parametrize("name", ["", "nobody"])
def test_a_fallback_that_never_was_is_not_taken(db: Path, name: str) -> None:
    """A stored way to a node that no graph has is refused where a step is committed anew."""
    sql = f"UPDATE tasks SET fell_back = ? WHERE step = 1 AND {OF}".format("done")
    with forged(db, sql, name) as flow, pytest.raises(GraphChangedError, match=repr(name)):
        flow.fork("done", 1, update={"text": "x"})


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("ready_json", '["m["]'),
        ("ready_json", '[""]'),
        ("ready_json", '["\\\\ud800"]'),
        ("held_json", '{"nobody": [["write", 1]]}'),
        ("held_json", '{"sum_up": [["nobody", 1]]}'),
        ("held_json", '{"END": [["write", 1]]}'),
    ],
)
def test_a_run_that_stands_at_a_node_that_never_was_stays(db: Path, column: str, text: str) -> None:
    """A run whose next task is none of its graph's is damaged, and says so when it is to go on."""
    sql = (
        f"UPDATE steps SET {column} = ? WHERE run = (SELECT id FROM runs WHERE run_id = 'limit') "
        "AND step = (SELECT max(step) FROM steps AS last WHERE last.run = steps.run)"
    )
    with forged(db, sql, text) as flow, pytest.raises(CheckpointCorruptError, match="'limit'"):
        flow.resume("limit", limits=Limits(steps=40, visits=10))


def test_a_state_without_one_of_its_fields_is_not_continued(db: Path) -> None:
    """A gap in a stored state is no default: it is damage where the next snapshot is made."""
    sql = "UPDATE snapshots SET state_json = json_remove(state_json, '$.sizes')"
    told = "a field of the state"
    with forged(db, sql) as flow, pytest.raises(CheckpointCorruptError, match=told):
        flow.fork("done", 2, update={"text": "x"})


@pytest.mark.parametrize("update", ["5", '"text"', "[1]", "null"])
def test_an_update_without_fields_is_not_taken_up(db: Path, update: str) -> None:
    """A stored update that is no object of fields is refused in words, not by Python's."""
    sql = "UPDATE tasks SET update_json = ? WHERE step = 1"
    with forged(db, sql, update) as flow, pytest.raises(GraphflowError):
        flow.fork("limit", 1)


@pytest.mark.parametrize(
    ("sql", "value", "of"),
    [
        *(("UPDATE runs SET limits_json = ?", text, "asks") for text in ("null", "0", "[]", '""')),
        *(
            ("UPDATE memos SET key = ?", key, "failed")
            for key in ("measure[x]", "measure[]", "measure[1", "measure[-1]", "a[0]b", "a]")
        ),
        ("UPDATE attempts SET key = ? WHERE node = 'price'", "measure[one]", "failed"),
        *(
            (f"UPDATE tasks SET update_json = ? WHERE node = 'stamp' AND {OF}", text, "failed")
            for text in ("5", "null", "[1]", "{")
        ),
        ("UPDATE graphs SET spec_json = json_remove(spec_json, ?)", "$.routers[0].code", "asks"),
        ("UPDATE graphs SET spec_json = json_remove(spec_json, ?)", "$.routers[0].answers", "asks"),
        *(
            (
                f"UPDATE graphs SET spec_json = json_set(spec_json, '$.nodes[0].{part}', ?)",
                5,
                "asks",
            )
            for part in ("targets", "passes")
        ),
    ],
)
def test_what_no_graphflow_writes_is_refused_where_it_is_read(
    db: Path, sql: str, value: Any, of: str
) -> None:
    """Bounds, keys, updates and graphs of another form: none comes as far as its use."""
    with forged(db, sql.format(of), value) as flow:
        with pytest.raises(CheckpointCorruptError):
            flow.get(of)
        with pytest.raises(CheckpointCorruptError):
            flow.resume(of)


@pytest.mark.parametrize(
    "text",
    ['{"enum":5}', '{"anyOf":5}', '{"anyOf":[7]}', '{"type":"array","items":{"enum":1}}'],
)
def test_a_strange_schema_keeps_nobody_from_reading_or_answering(db: Path, text: str) -> None:
    """A type may declare any: what it says is shown as it is, and the type judges the answer."""
    with forged(db, "UPDATE questions SET schema_json = ?", text) as flow:
        (asked,) = flow.get("asks").open_questions.values()
        assert expected(asked) == text
        assert typed_answer("good", asked) == "good"
        assert "Shall it be sent?" in flow.get("asks").draw().dot
        assert flow.answer("asks", "good").state.verdict == "good"


@pytest.mark.parametrize(
    "text",
    [
        '{"update":{"reply":"x"}}',
        '{"choose":{"by_order":{"a":1}}}',
        '{"choose":{"by_order":[{"send":5,"input":{}}]}}',
        '{"choose":{"by_order":[[{"send":"review","input":[1]}]]}}',
        '{"spent":{"calls":1,"more":1}}',
    ],
)
def test_a_change_that_no_fork_makes_is_refused(db: Path, text: str) -> None:
    """What a fork changed is of the form that `fork` writes, or it is damage: it is used again."""
    with forged(db, "UPDATE runs SET fork_json = ? WHERE fork_step = 8", text) as flow:
        ((fork,),) = rows(db, "SELECT run_id FROM runs WHERE fork_step = 8")
        with pytest.raises(CheckpointCorruptError):
            flow.fork(fork, 8)


class Words(BaseModel):
    text: str = ""
    log: Annotated[list[str], append] = Field(default_factory=list)


def fan(version: int) -> StateGraph[Words]:
    """Make a graph that sends to a node, of which one task fails; its states are migrated."""
    graph = StateGraph(Words, name="fan", version=version)

    def work(state: Words) -> dict[str, Any]:
        if state.text == "fails":
            raise ValueError(state.text)
        return {"log": [state.text]}

    graph.add_node("plan", lambda _state: {"log": ["plan"]})
    graph.add_node("work", work)
    graph.add_conditional_edges("plan", ways, ["work"])
    graph.add_edge(START, "plan")
    graph.add_edge("work", END)
    if version == 2:
        graph.migration(1, 2)(lambda values: values)
    return graph


def ways(_state: Words) -> list[Send]:
    """Send two texts."""
    return [Send("work", {"text": "goes"}), Send("work", {"text": "fails"})]


@pytest.mark.parametrize(
    ("version", "sql", "value"),
    [
        *(
            (
                version,
                'UPDATE steps SET ready_json = replace(ready_json, \'{"text":"fails"}\', ?)',
                text,
            )
            for version in (1, 2)
            for text in ("5", "null", "[1]", '"x"')
        ),
        *(
            (2, "UPDATE tasks SET update_json = ? WHERE key = 'work#0'", text)
            for text in ('{"log":5}', '{"log":null}')
        ),
    ],
)
def test_what_no_task_was_sent_or_returned_is_refused(
    db: Path, version: int, sql: str, value: str
) -> None:
    """Inputs of Sends and updates are objects of fields, also where a migrated state takes them."""
    with fan(1).compile(db) as flow, pytest.raises(GraphflowError, match="fails"):
        flow.run({}, run_id="r")
    forge(db, sql, value)
    with fan(version).compile(db) as flow, pytest.raises(CheckpointCorruptError):
        flow.resume("r")


def test_a_child_whose_id_is_no_text_is_named(db: Path) -> None:
    """Whom damage concerns is found, too, where an id is a value of another kind."""
    with forged(db, "UPDATE runs SET run_id = x'78' WHERE run_id = 'done/9:review'") as flow:
        assert {found.run_id for found in flow.store.verify()} == {"b'x'", "done"}


@pytest.mark.parametrize("run_id", ["done/9:review", "asks", "done"])
def test_a_run_whose_id_is_no_text_keeps_nobody_from_looking_after_the_others(
    db: Path, run_id: str
) -> None:
    """What is damaged is named in words, and no other error comes of it."""
    with forged(db, "UPDATE runs SET run_id = x'' WHERE run_id = ?", run_id) as flow:
        for way in (
            partial(flow.prune, steps=2),
            partial(flow.prune, keep=1, failed=True),
            partial(flow.delete, "limit"),
            partial(flow.store.delete, "done"),
        ):
            with suppress(GraphflowError):
                way()
        assert any(found.kind == "problem" for found in flow.store.verify())


def test_a_holder_that_is_no_text_counts_as_alive(db: Path) -> None:
    """Nobody can tell whether it lives: its run is neither cut nor deleted."""
    sql = "UPDATE runs SET status = 'running', owner = x'78', taken_at = ? WHERE run_id = 'limit'"
    with forged(db, sql, "2026-01-01T00:00:00.000000+00:00") as flow:
        assert "limit" not in flow.prune(steps=2, dry_run=True).cut
        with pytest.raises(RunBusyError, match="b'x'"):
            flow.store.delete("limit")
