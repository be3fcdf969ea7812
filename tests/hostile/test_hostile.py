"""Checkpoints that somebody wrote on purpose: they are read or refused, and never do anything."""

from __future__ import annotations

import ast
import json
import os
import pickle
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import graphflow
from graphflow.answer_schema import by_schema
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.errors import (
    AnswerError,
    CheckpointCorruptError,
    CheckpointTooLargeError,
    GraphflowError,
)
from graphflow.stored import MAX_DEPTH, is_deep
from graphflow.testing.records import a_question
from tests.chaos import amount
from tests.checkpoint import golden
from tests.hostile.sealing import reseal, written
from tests.hostile.values import BLOBS, CONSTRUCTORS, TEXTS

CASES = 1_000
PIECES = amount(1, 100)
AT_ONCE = 2
ROOT = Path(graphflow.__file__).parent
LOADERS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml", "runpy",
           "imp", "pkgutil", "ctypes", "msgpack", "joblib"}  # fmt: skip
CALLS = {"eval", "exec", "__import__", "import_module", "find_class", "load_module", "exec_module",
         "loads_pickle", "execfile", "import_string", "resolve_name"}  # fmt: skip
MAY = {
    "cli.target": "imports what was typed on the command line, and nothing else",
    "dataflow.source": "parses the source of functions that are there already",
    "llm.embedded": "talks to a library of the local model",
}
"""Modules that no loading of a run reaches, with what they do."""


@pytest.mark.chaos
@pytest.mark.parametrize("piece", range(PIECES))
def test_check_19_hostile_checkpoints_execute_nothing(piece: int, tmp_path: Path) -> None:
    """Each is read or refused in graphflow's words, in time: no import, open, exec or socket."""
    share = CASES // AT_ONCE
    started = []
    for seed in range(piece * AT_ONCE, (piece + 1) * AT_ONCE):
        folder = tmp_path / str(seed)
        folder.mkdir()
        command = [sys.executable, "-m", "tests.hostile.rig", str(folder), str(seed), str(share)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "PYTHONHASHSEED": "0"}
        started.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, cwd=ROOT.parent, env=environment
            )
        )
    for process in started:
        out, _ = process.communicate()
        assert process.returncode == 0
        found = json.loads(out)
        assert found["crashes"] == {}
        assert found["breaches"] == {}
        counts = found["counts"]
        assert sum(counts.values()) == share
        # Both happen: what is refused at once would prove nothing about what is read
        assert min(counts.values()) > share // 10


def test_check_19_the_watch_sees(tmp_path: Path) -> None:
    """The audit hook of the rig reports an import, an open, an exec and a socket."""
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from pathlib import Path\n"
        "from tests.hostile.rig import Watch\n"
        "watch = Watch(Path('/nowhere/runs.db')); watch.is_on = True\n"
        "import colorsys, socket, os, pickle\n"
        "open('/dev/null').close(); exec('1'); socket.socket().close()\n"
        "pickle.loads(pickle.dumps(len)); os.system('true'); watch.is_on = False\n"
        "print(' '.join(sorted(watch.breaches)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=ROOT.parent, check=True)  # fmt: skip
    for event in ("import ('colorsys'", "open /dev/null", "exec", "socket.", "pickle.find_class",
                  "os.system"):  # fmt: skip
        assert event in done.stdout, (event, done.stdout)


def modules() -> list[Path]:
    return sorted(p for p in ROOT.rglob("*.py") if "testing" not in p.parts)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_check_19_nothing_that_loads_code(path: Path) -> None:
    """No module unpickles, evaluates or imports by name, but the one that reads a TARGET."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if name in MAY:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not LOADERS & {alias.name.partition(".")[0] for alias in node.names}, name
            assert "importlib" not in {alias.name for alias in node.names}, name
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in LOADERS, name
        elif isinstance(node, ast.Call):
            called = node.func
            word = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            # `compile` of a regular expression or a graph is none of Python's source
            is_own = word == "compile" and isinstance(called, ast.Name)
            assert word not in CALLS, f"{name}:{node.lineno} calls {word}"
            assert not is_own, f"{name}:{node.lineno} calls compile"


@pytest.mark.parametrize("blob", BLOBS, ids=range(len(BLOBS)))
def test_check_19_a_corpus_of_pickles(db: Path, blob: bytes) -> None:
    """A blob in any column of text is refused, with digests that fit where such a thing can be."""
    conn = written(db)
    for table, column in (("tasks", "update_json"), ("snapshots", "state_json"),
                          ("graphs", "spec_json"), ("runs", "input_json")):  # fmt: skip
        conn.execute(f"UPDATE {table} SET {column} = ?", (blob,))
    conn.commit()
    conn.close()
    store = SqliteCheckpointer(db)
    for run_id in ("done", "asks", "failed"):
        with pytest.raises(GraphflowError):
            store.load(run_id)
    store.close()


@pytest.mark.parametrize("thing", CONSTRUCTORS, ids=range(len(CONSTRUCTORS)))
def test_check_19_constructors_are_plain_data(db: Path, thing: dict[str, Any]) -> None:
    """What other frameworks would construct stays the dict that it is, with digests that fit."""
    conn = written(db)
    text = json.dumps({"text": "x", "log": [thing]})
    conn.execute(
        "UPDATE tasks SET update_json = ? WHERE node = 'choose' "
        "AND run = (SELECT id FROM runs WHERE run_id = 'done')",
        (text,),
    )
    reseal(conn)
    conn.commit()
    conn.close()
    flow = golden.order_graph().compile(db)
    run = flow.get("done")
    assert run.values["log"][-1] == thing
    with pytest.raises(GraphflowError, match="log"):
        _ = run.state
    flow.close()


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 5_000, 200_000])
@pytest.mark.parametrize("column", ["state_json", "update_json", "spec_json", "input_json"])
def test_deep_nesting_is_refused_before_it_is_parsed(db: Path, levels: int, column: str) -> None:
    """JSON that is nested too deep is refused in words, whichever column it stands in."""
    conn = written(db)
    deep = '{"text":' + "[" * levels + "]" * levels + "}"
    table = {"state_json": "snapshots", "update_json": "tasks", "spec_json": "graphs",
             "input_json": "runs"}[column]  # fmt: skip
    conn.execute(f"UPDATE {table} SET {column} = ?", (deep,))
    reseal(conn)
    conn.commit()
    conn.close()
    flow = golden.order_graph().compile(db)
    with pytest.raises((CheckpointTooLargeError, CheckpointCorruptError)):
        _ = flow.get("asks").values
    flow.close()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_depth_is_measured_right(text: str) -> None:
    """What is said to be flat can be parsed without going deeper than the limit."""
    if not is_deep(text):
        try:
            found = json.loads(text)
        except ValueError:
            return
        assert depth(found) <= MAX_DEPTH


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize("levels", [199, 200, 201])
@pytest.mark.parametrize("ends", ["[]", "{}"])
def test_the_limit_of_depth_is_exact(levels: int, ends: str) -> None:
    """Exactly MAX_DEPTH brackets may be open, whatever stands in strings beside them."""
    inner = '"a":' if ends == "{}" else ""
    noise = ',"[[[[{{{{\\"[[["' if ends == "[]" else ',"b":"[[[{{{\\\\"'
    text = (ends[0] + inner) * (levels - 1) + ends + (noise + ends[1]) * (levels - 1)
    assert json.loads(text) is not None
    assert is_deep(text) == (levels > MAX_DEPTH)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"properties": {"a": {"$dynamicRef": "file:///etc/passwd"}}, "type": "object"},
        {"type": 5},
        {"pattern": "("},
        {"$ref": "#/nowhere"},
        {"allOf": [{"$ref": "#"}]},
        {
            "$ref": "#/$defs/0",
            "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(60)}
            | {"60": {}},
        },
    ],
)
def test_a_hostile_schema_fetches_nothing(schema: dict[str, Any]) -> None:
    """The stored schema of a question is held against answers without leaving the process."""
    question = a_question(1)
    question.schema_json = json.dumps(schema)
    with pytest.raises(GraphflowError):
        by_schema(question, "an answer")


SLOW = "(a+)+$"
"""Python's own engine would look for it in thirty letters for an hour."""


@pytest.mark.parametrize(
    ("schema", "answer", "fits"),
    [
        ({"pattern": SLOW}, "a" * 40 + "!", False),
        ({"pattern": SLOW}, "a" * 40, True),
        ({"pattern": "^a(?!b)"}, "ab", True),  # only the body's own type can tell
        ({"patternProperties": {SLOW: {"type": "string"}}}, {"a" * 40 + "!": 5}, True),
        ({"patternProperties": {SLOW: {"type": "string"}}}, {"a" * 40: 5}, False),
        ({"patternProperties": {SLOW: {}}, "additionalProperties": False}, {"a": 1}, True),
        ({"patternProperties": {SLOW: {}}, "additionalProperties": False}, {"a!": 1}, False),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "string"}}, {"b": 1}, False),
        ({"patternProperties": {SLOW: {}}, "unevaluatedProperties": False}, {"a!": 1}, True),
    ],
)
def test_a_stored_pattern_keeps_nobody_waiting(schema: Any, answer: Any, fits: bool) -> None:
    """Patterns of a stored schema are tried in a time that grows with the answer alone."""
    question = a_question(1)
    question.schema_json = json.dumps(schema)
    with nullcontext() if fits else pytest.raises(AnswerError):
        by_schema(question, answer)


def test_the_corpus_is_what_it_says() -> None:
    """The pickles of the corpus would run, for those who unpickle them."""
    assert pickle.loads(BLOBS[0]) is None  # noqa: S301 - it prints a word
