"""The command line as a process: killed, interrupted, piped into head, on a terminal."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def ledger(folder):
    """Say how often each node of each run began."""
    text = (folder / "ledger.txt").read_text() if (folder / "ledger.txt").exists() else ""
    return Counter(text.split("\n")[:-1])


def wait_for(process, folder, line):
    """Wait until a node has begun, as the ledger says; a process that ends before it is shown."""
    while not ledger(folder)[line]:
        try:
            out, err = process.communicate(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"it ended with {process.returncode}: {out}{err}")


def test_a_killed_run_resumes_after_what_is_committed(start, shell, folder):
    """After kill -9 in the middle, `resume` runs no committed node again and does the rest."""
    (folder / "hold-4").touch()
    process = start("run", "chain:graph", "--run-id", "mine", "--db", "a.db")
    wait_for(process, folder, " 4")
    process.kill()
    process.communicate()
    (folder / "hold-4").unlink()
    listed = json.loads(shell("runs", "--db", "a.db", "--json").stdout)
    assert [(one["status"], one["last_step"]) for one in listed] == [("stale", 4)]
    done = shell("resume", "chain:graph", "mi", "--db", "a.db")
    assert done.returncode == 0, done.stderr
    assert "chain · done · 10 steps" in done.stdout
    assert ledger(folder) == {f" {i}": 2 if i == 4 else 1 for i in range(10)}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_killed_batch_goes_on_with_the_same_command(start, shell, folder, concurrency):
    """After kill -9 the same batch skips what is done, resumes what is not, begins the rest."""
    texts = "abcdef"
    (folder / "in.jsonl").write_text("".join(f'{{"text": "{t}"}}\n' for t in texts))
    (folder / "hold-c7").touch()
    words = ("run", "chain:graph", "--input", "in.jsonl", "--concurrency", concurrency, "--json")
    process = start(*words)
    wait_for(process, folder, "c 7")
    process.kill()
    process.communicate()
    (folder / "hold-c7").unlink()
    began = ledger(folder)
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(one["line"] for one in found) == [1, 2, 3, 4, 5, 6]
    assert {one["status"] for one in found} == {"done"}
    after = ledger(folder)
    assert after.keys() == {f"{t} {i}" for t in texts for i in range(10)}
    again = {line for line, times in after.items() if times > 1}
    assert "c 7" in again
    assert again <= began.keys()
    assert len(again) <= concurrency  # at most the one node that each live run was at
    assert max(after.values()) == 2
    assert json.loads(shell("runs", "--json").stdout)[0]["status"] == "done"


def interrupt(process):
    """Press Ctrl-C, and give what the process then said."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=30)


def test_ctrl_c_exits_130_and_says_how_to_resume(start, shell, folder):
    """Ctrl-C exits 130 with one line; the command in it finishes the run."""
    (folder / "hold-4").touch()
    process = start("run", "chain:graph", "--run-id", "mine", "--db", "a.db")
    wait_for(process, folder, " 4")
    _, err = interrupt(process)
    assert process.returncode == 130
    assert err == "interrupted; to go on: graphflow resume chain:graph mine --db a.db\n"
    (folder / "hold-4").unlink()
    done = shell("resume", "chain:graph", "mine", "--db", "a.db")
    assert done.returncode == 0
    assert ledger(folder)[" 3"] == 1


def test_ctrl_c_stops_a_batch(start, shell, folder):
    """Ctrl-C in a batch exits 130 with one line, and the same command goes on."""
    (folder / "in.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    (folder / "hold-a4").touch()
    process = start("run", "chain:graph", "--input", "in.jsonl")
    wait_for(process, folder, "a 4")
    _, err = interrupt(process)
    assert process.returncode == 130
    assert err == "interrupted; to go on: graphflow run chain:graph --input in.jsonl\n"
    (folder / "hold-a4").unlink()
    assert shell("run", "chain:graph", "--input", "in.jsonl").returncode == 0


def test_ctrl_c_lets_runs_side_by_side_end_and_twice_leaves(start, shell, folder):
    """Ctrl-C begins no further run and waits; a second one leaves at once. Nothing is lost."""
    (folder / "in.jsonl").write_text("".join(f'{{"text": "{t}"}}\n' for t in "abcd"))
    for text in "ab":
        (folder / f"hold-{text}4").touch()
    process = start("run", "chain:graph", "--input", "in.jsonl", "--concurrency", 2)
    wait_for(process, folder, "a 4")
    wait_for(process, folder, "b 4")
    process.send_signal(signal.SIGINT)
    said = process.stderr.readline()
    assert said.startswith("interrupted: waiting for 2 to end, Ctrl-C again leaves at once; to go")
    _, err = interrupt(process)
    assert process.returncode == 130
    assert err == ""
    for text in "ab":
        (folder / f"hold-{text}4").unlink()
    assert shell("run", "chain:graph", "--input", "in.jsonl", "--concurrency", 2).returncode == 0
    assert ledger(folder)["a 3"] == ledger(folder)["b 3"] == 1
    assert ledger(folder)["c 0"] == 1


def test_a_run_that_another_process_advances_is_busy(start, shell, folder):
    """While a process lives its run is not taken: exit 1, and a batch counts it as busy."""
    (folder / "in.jsonl").write_text('{"text": "a"}\n')
    (folder / "hold-a4").touch()
    process = start("run", "chain:graph", "--input", "in.jsonl")
    wait_for(process, folder, "a 4")
    second = shell("run", "chain:graph", "--input", "in.jsonl")
    assert second.returncode == 1
    assert "line 1  busy" in second.stdout
    run_id = json.loads(shell("runs", "--json").stdout)[0]["run_id"]
    third = shell("resume", "chain:graph", run_id)
    assert third.returncode == 1
    assert "is being advanced by process" in third.stderr
    (folder / "hold-a4").unlink()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_ctrl_c_ends_a_stream_that_can_be_resumed(start, shell, folder):
    """Ctrl-C in a stream exits 130 with the command to go on; no committed node runs again."""
    (folder / "hold-4").touch()
    words = ("run", "chain:graph", "--run-id", "mine", "--stream", "--json")
    process = start(*words)
    wait_for(process, folder, " 4")
    process.send_signal(signal.SIGINT)
    (folder / "hold-4").unlink()  # the node's thread cannot be stopped; it is waited for
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "interrupted; to go on: graphflow resume chain:graph mine\n"
    assert json.loads(out.splitlines()[0])["type"] == "run"
    done = shell("resume", "chain:graph", "mine")
    assert done.returncode == 0, done.stderr
    assert all(times == 1 for line, times in ledger(folder).items() if line != " 4")


def test_a_run_is_cancelled_while_another_process_advances_it(start, shell, folder):
    """`cancel` ends a live run: what its process does from then on is not stored."""
    (folder / "hold-4").touch()
    process = start("run", "chain:graph", "--run-id", "mine")
    wait_for(process, folder, " 4")
    done = shell("cancel", "mine")
    assert done.returncode == 0, done.stderr
    assert "it was running" in done.stdout
    (folder / "hold-4").unlink()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1, out + err
    (found,) = json.loads(shell("runs", "--json").stdout)
    assert (found["status"], found["last_step"]) == ("cancelled", 4)


@pytest.mark.parametrize(
    "words", [("show", "mine"), ("show", "mine", "--json"), ("runs", "--json")]
)
def test_a_reader_that_goes_away_is_no_error(start, shell, folder, words):
    """Piped into a `head` that has seen enough, a command prints no traceback."""
    long = json.dumps({"text": "x" * 300_000})
    (folder / "long.json").write_text(long)
    shell("run", "toy:graph", "--input", "long.json", "--run-id", "mine")
    read, write = os.pipe()
    os.close(read)
    process = start(*words, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_a_terminal_without_the_letters_gets_their_codes(shell, folder, environment):
    """Where stdout cannot show a letter, its code is printed instead of an error."""
    environment.update(PYTHONIOENCODING="ascii")
    done = shell("run", "toy:graph", "--input", '{"text": "hi"}')
    assert done.returncode == 0, done.stderr
    assert "\\u2192" in done.stdout


def test_a_terminal_shows_a_bar(on_terminal, environment, folder):
    """On a terminal a batch shows a bar, names what did not end well, and hides no escapes."""
    (folder / "in.jsonl").write_text('{"text": "hi"}\n{"text": "fail"}\n{\n')
    environment.update(TERM="xterm-256color", COLUMNS="100")
    code, text = on_terminal("run", "toy:graph", "--input", "in.jsonl")
    assert code == 1
    assert "3/3" in text
    assert "━" in text
    assert "line 2  failed" in text
    assert "line 3  malformed" in text
    assert "line 1  done" not in text
    assert "\\x1b[31mred" in text


def test_the_module_is_the_command(shell, folder):
    """`python -m graphflow` calls itself graphflow, knows its version and its commands."""
    assert shell("--version").stdout.startswith("graphflow, version ")
    told = shell("--help").stdout
    assert "Usage: graphflow" in told
    assert all(verb in told for verb in ("run", "resume", "runs", "show", "draw", "check"))
