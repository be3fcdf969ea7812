"""`graphflow run --input FILE.jsonl` and `resume --all`."""

import json

import pytest

from graphflow import Flow

LINES = b"""{"text": "a"}

{"text": "fail"}
{"text": "forever"}
{"text": 1}
{"txt": "a"}
[1]
{"text":
\xff
{"text": "z"}"""


@pytest.fixture
def lines(folder):
    """A file of ten lines: two good, one failing, one endless, one blank, five malformed."""
    (folder / "lines.jsonl").write_bytes(LINES)


@pytest.fixture
def batch(call):
    """Run a file as a batch with --json, and give the result and its documents."""

    def batch(*words):
        result = call("run", "toy.py:graph", "--input", "lines.jsonl", *words, "--json")
        return result, [json.loads(line) for line in result.stdout.splitlines()]

    return batch


def test_malformed_lines_are_named_and_the_others_run(call, lines):
    """A malformed line is named by number and reason; the others run; the exit code is 1."""
    result = call("run", "toy.py:graph", "--input", "lines.jsonl")
    assert result.exit_code == 1
    told = {line.split("  ")[0]: line for line in result.stdout.splitlines() if "  " in line}
    assert told["line 1"].startswith("line 1  done  4 steps  ")
    assert "failed  0 steps" in told["line 3"]
    assert "paused  25 steps" in told["line 4"]
    assert "malformed" in told["line 5"]
    assert "Did you mean 'text'?" in told["line 6"]
    assert "not a list" in told["line 7"]
    assert "not JSON: Expecting value at column 9" in told["line 8"]
    assert "byte 1 is 0xff" in told["line 9"]
    assert "line 10  done" in result.stdout
    assert "2 done, 1 failed, 1 paused, 5 malformed, 1 blank" in result.stdout
    assert "graphflow run toy.py:graph --input lines.jsonl --limit-visits 50" in result.stdout
    assert "a file of their own" in result.stdout


@pytest.mark.parametrize("concurrency", [1, 4])
def test_each_line_gives_one_document(batch, lines, concurrency):
    """With --json each line that is not blank gives one JSON line, with its number."""
    result, found = batch("--concurrency", concurrency)
    assert result.exit_code == 1
    assert sorted(one["line"] for one in found) == [1, 3, 4, 5, 6, 7, 8, 9, 10]
    status = {one["line"]: one["status"] for one in found}
    assert [status[n] for n in (1, 3, 4, 5, 10)] == [
        *("done", "failed", "paused", "malformed", "done")
    ]


def test_the_same_command_again_runs_only_what_is_not_done(batch, lines, document):
    """A batch that is started again makes no new runs and runs no node of those that are done."""
    _, first = batch()
    result, again = batch()
    ids = {one["line"]: one.get("run_id") for one in first}
    assert {one["line"]: one.get("run_id") for one in again} == ids
    assert [one["before"] for one in again if one["status"] == "done"] == [True, True]
    assert result.stderr.count("a node prints") == 1  # the node of line 3, which fails again
    assert len(document("runs")) == 4


def test_run_ids_are_26_letters_of_base_32(batch, lines, document):
    """The ids of a batch are 26 lower-case letters and digits, and the runs know their line."""
    _, found = batch()
    done = [one for one in found if one["status"] == "done"]
    for one in done:
        assert len(one["run_id"]) == 26
        assert set(one["run_id"]) <= set("abcdefghijklmnopqrstuvwxyz234567")
        assert one["tags"]["line"] == str(one["line"])
        assert one["tags"]["file"] == "lines.jsonl"


def test_a_changed_file_is_a_new_batch(batch, lines, folder, document):
    """A file with another content makes runs of its own; two equal lines are two runs."""
    batch()
    (folder / "lines.jsonl").write_text('{"text": "a"}\n{"text": "a"}\n')
    result, found = batch()
    assert result.exit_code == 0
    assert not any(one["before"] for one in found)
    assert len(document("runs", "--status", "done")) == 4


def test_two_graphs_may_run_one_file_into_one_database(batch, call, lines, folder, document):
    """The graph's name is part of the id, so that another graph's runs are others."""
    batch()
    other = (folder / "toy.py").read_text().replace('name="toy"', 'name="other"')
    (folder / "other.py").write_text(other)
    call("run", "other.py:graph", "--input", "lines.jsonl")
    assert len(document("runs", "--graph", "other")) == len(document("runs", "--graph", "toy")) == 4


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"text": "a"}\n', 0),
        ("\n\n", 0),
        ("", 0),
        ('{"text": "a"}\n{"text": "forever"}\n', 3),
        ('{"text": "forever"}\n{"text": "fail"}\n', 1),
        ('{"text": "forever"}\n{\n', 1),
    ],
)
def test_the_exit_code_is_that_of_the_worst(call, folder, text, code):
    """Failed and malformed lines exit 1, else paused ones 3, else 0."""
    (folder / "lines.jsonl").write_text(text)
    assert call("run", "toy.py:graph", "--input", "lines.jsonl").exit_code == code


@pytest.mark.parametrize(
    ("text", "count"),
    [('{"text": "a"}\n{"text": "b"}\n', 2), ('{\n  "text": "a"\n}\n', 1), ('{"text": "a"}', 1)],
)
def test_stdin_is_a_batch(call, document, text, count):
    """`-` reads an object per line from stdin, or one object over several lines."""
    result = call("run", "toy.py:graph", "--input", "-", "--json", input=text)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == len(document("runs")) == count


def test_resume_all_goes_on_with_what_is_open(call, lines, document):
    """`resume --all` takes failed and paused runs of this graph, and leaves those that are done."""
    call("run", "toy.py:graph", "--input", "lines.jsonl")
    result = call("resume", "toy.py:graph", "--all", "--limit-visits", 30, "--json")
    assert result.exit_code == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["status"] for one in found] == ["failed", "paused"]
    assert found[1]["last_step"] == 30


def test_an_error_of_one_run_that_nobody_expects_stops_no_other(call, lines, monkeypatch):
    """It is told as failed, with its words; the runs after it go on, and the exit is 1."""
    call("run", "toy.py:graph", "--input", "lines.jsonl")
    resume, seen = Flow.resume, []

    def breaks_once(flow, run_id, **how):
        seen.append(run_id)
        if len(seen) == 1:
            raise TypeError("'>=' not supported")
        return resume(flow, run_id, **how)

    monkeypatch.setattr(Flow, "resume", breaks_once)
    result = call("resume", "toy.py:graph", "--all")
    assert result.exit_code == 1
    assert "TypeError: '>=' not supported" in result.stdout + result.stderr
    assert len(seen) == 2


def test_resume_all_without_open_runs_is_content(call, folder):
    """When nothing is open, `resume --all` says so and exits 0."""
    call("run", "toy.py:graph", "--input", '{"text": "a"}')
    result = call("resume", "toy.py:graph", "--all")
    assert result.exit_code == 0
    assert "nothing to do" in result.stdout
