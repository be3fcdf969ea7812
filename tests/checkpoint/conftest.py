"""What the tests of the checkpointers share."""

import subprocess
import sys

import pytest

from graphflow.checkpoint.sqlite import SqliteCheckpointer


@pytest.fixture
def db(tmp_path):
    """Name a database file that is not there yet."""
    return tmp_path / "runs.db"


@pytest.fixture
def store(db):
    """Open a checkpointer on an empty file."""
    opened = SqliteCheckpointer(db)
    yield opened
    opened.close()


@pytest.fixture
def python():
    """Start Python programs that talk through pipes; those that still run are ended."""
    started = []

    def start(program, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 1 MiB; yields its folder and a function that makes it read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)

    yield folder, remount
    subprocess.run(["umount", folder], check=True)
