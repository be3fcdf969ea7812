"""What the commands print to be typed next can be typed, whatever a run is called."""

import re
import shlex
import shutil
import subprocess

import pytest

from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.cli.words import aligned
from graphflow.errors import RunBusyError, RunOverError
from graphflow.names import word
from graphflow.testing.leases import begin_run

IDS = ("--json", "it's a ü")
BASH = shutil.which("bash") or ""


def words_of(line):
    """Give the words of a command as a shell does."""
    return shlex.split(line)[1:]


def commands(text):
    """Find the commands that a command has printed to be typed next."""
    return re.findall(r"^(?:next: |      )(graphflow .*)$", text, re.MULTILINE)


@pytest.mark.parametrize("run_id", IDS)
def test_what_is_printed_can_be_typed(call, folder, run_id):
    """Each command that is printed is understood, and is about that run."""
    begun = call("run", "asking.py:graph", "--input", '{"n": 200}', f"--run-id={run_id}")
    assert begun.exit_code == 3
    said = [begun, call("runs"), call("questions"), call(*words_of(commands(begun.stdout)[1]))]
    typed = {line for one in said for line in commands(one.stdout)}
    assert {words_of(line)[0] for line in typed} == {"answer", "draw", "show"}
    for line in sorted(typed, reverse=True):
        words = [{"TARGET": "asking.py:graph"}.get(one, one) for one in words_of(line)]
        result = call(*words, *(["an answer"] if words[0] == "answer" else []))
        assert "Usage" not in result.output
        assert result.exit_code == 0 or "it is done" in result.output
    assert SqliteCheckpointer(folder / "graphflow.db").load(run_id).header.status == "done"


@pytest.mark.parametrize("run_id", IDS)
def test_what_the_errors_of_a_store_say_can_be_typed(call, folder, run_id):
    """A command in an error's words is the one that the command line understands."""
    store = SqliteCheckpointer(folder / "graphflow.db")
    begin_run(store, run_id)
    with pytest.raises(RunBusyError) as busy:
        store.delete(run_id)
    (cancel,) = re.findall("`(graphflow .*?)` ends", str(busy.value))
    assert call(*words_of(cancel)).exit_code == 0
    with pytest.raises(RunOverError) as over:
        store.take(run_id, this_process())
    (show,) = re.findall("`(graphflow .*?)`, or", str(over.value))
    assert call(*words_of(show)).exit_code == 0
    store.close()


def test_a_table_has_a_line_for_each_row(call, folder):
    """Ids and keys that a strange database has are spelled out, so that no table falls apart."""
    strange = "a\nb\x1b[0m\tc"
    store = SqliteCheckpointer(folder / "graphflow.db")
    begin_run(store, strange)
    store.close()
    _, line, then = call("runs").stdout.splitlines()
    assert line.split()[:2] == [r"a\nb\x1b[0m\tc", "running"]
    assert then == r"next: graphflow show $'a\nb\x1b[0m\tc'"
    assert list(aligned([("a\nb", "x"), ("y", "\r")])) == [r"  a\nb  x", r"  y     \r"]


@pytest.mark.skipif(not BASH, reason="the quotes for what is unseen are those of bash, zsh and ksh")
@pytest.mark.parametrize("text", ["ü\n\xa0", "it's\t\\n\\x41", "\u202eabc", "\x01f", "\U000e0041é"])
def test_a_word_is_to_a_shell_what_it_was(text):
    """What is unseen is spelled out as the character that it is, not as a byte of another one."""
    typed = ["printf", "%s", word(text)]
    said = subprocess.run(
        [BASH, "-c", " ".join(typed)], capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=True
    )
    assert said.stdout.decode() == text
    assert word(text).isprintable()
