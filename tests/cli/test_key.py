"""GRAPHFLOW_KEY on the command line: every command opens an encrypted database with it."""

import pytest

from graphflow.checkpoint.keys import VARIABLE


@pytest.fixture
def key(monkeypatch):
    """Set a key."""
    monkeypatch.setenv(VARIABLE, "ab" * 32)


COMMANDS = [
    ("runs",),
    ("show", "two"),
    ("questions",),
    ("draw", "two"),
    ("diff", "two", "--step", "1"),
    ("doctor",),
    ("doctor", "--verify"),
    ("doctor", "asking.py:graph"),
    ("backup", "copy.db"),
    ("prune", "--keep", "1", "--steps", "1"),
    ("delete", "two"),
    ("resume", "asking.py:graph", "two"),
    ("answer", "asking.py:graph", "two", "hello", "--key", "reply"),
    ("fork", "asking.py:graph", "two", "1"),
    ("cancel", "two"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_takes_the_key(call, folder, key, monkeypatch, command):
    """With the key a command works; without it, and with another, it says what to set, exit 2."""
    assert call("run", "asking.py:graph", "--input", '{"n": 1}', "--run-id", "two").exit_code == 3
    content = (folder / "graphflow.db").read_bytes()
    assert b"Reply to" not in content
    for other, words in (("", VARIABLE), ("cd" * 32, "another key"), ("short", "is no key")):
        monkeypatch.setenv(VARIABLE, other)
        refused = call(*command)
        assert (refused.exit_code, words in refused.stderr) == (2, True), refused.output
        assert "Traceback" not in refused.output
    monkeypatch.setenv(VARIABLE, "ab" * 32)
    done = call(*command)
    assert done.exit_code in (0, 3), done.output
    assert "gf1:" not in done.output


def test_a_plain_database_refuses_a_key(call, key, monkeypatch):
    """A database without a key is named as such when one is set."""
    monkeypatch.delenv(VARIABLE)
    call("run", "toy.py:graph", "--input", '{"text": "hi"}')
    monkeypatch.setenv(VARIABLE, "ab" * 32)
    refused = call("runs")
    assert refused.exit_code == 2
    assert f"unset {VARIABLE}" in refused.stderr
