"""The names of processes, and whether a named process still lives."""

import os
import signal

from graphflow.checkpoint.owner import describe, is_alive, is_here, this_process

_SAY = (
    "from graphflow.checkpoint.owner import this_process; "
    "print(this_process(), flush=True); input()"
)


def test_this_process_lives():
    """A process names itself the same each time, and lives."""
    assert this_process() == this_process()
    assert is_alive(this_process())
    assert is_here(this_process())
    assert describe(this_process()) == f"process {os.getpid()} on host {os.uname().nodename}"


def test_another_process_lives_until_it_ends(python):
    """A process lives until it ends, a killed one that nobody waits for included."""
    process = python(_SAY)
    name = process.stdout.readline().strip()
    assert name != this_process()
    assert is_alive(name)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead now, but not waited for
    assert not is_alive(name)
    process.communicate()
    assert not is_alive(name)


def test_a_number_that_was_given_again():
    """A process that has the number of another, or ran before the machine started, is gone."""
    host, boot, pid, start = this_process().split(":")
    assert not is_alive(f"{host}:{boot}:{pid}:{int(start) - 1}")
    assert not is_alive(f"{host}:another-boot:{pid}:{start}")
    assert is_alive(f"{host}:{boot}:{pid}:")  # no start known: the number must do


def test_what_cannot_be_told_counts_as_alive():
    """Processes of other machines, and names of other forms, are never declared dead."""
    assert is_alive("elsewhere:boot:1:1")
    assert not is_here("elsewhere:boot:1:1")
    assert is_alive("worker 7")
    assert describe("worker 7") == "'worker 7'"
