"""`doctor`: how the database fares."""

import json
import sqlite3

from graphflow.checkpoint.disk import file_system, is_network
from graphflow.checkpoint.sqlite_health import wal_reset_words
from tests.rig.forge import change


def a_run(call, text="hi"):
    """Run the toy graph once, on a.db."""
    call("run", "toy.py:graph", "--input", json.dumps({"text": text}), "--db", "a.db")


def test_doctor_reports_the_database(call, document, folder):
    """The report has SQLite's settings, the files with their modes, the place and the runs."""
    a_run(call)
    a_run(call, "fail")
    found = document("doctor", "--db", "a.db")["database"]
    assert found["sqlite"] == sqlite3.sqlite_version
    assert (found["journal_mode"], found["synchronous"]) == ("wal", "full")
    assert found["page_size"] == 2048
    assert found["runs"] == {"done": 1, "failed": 1}
    assert found["file_system"] == file_system(folder / "a.db")
    names = {file["path"].rsplit("/", 1)[1]: file for file in found["files"]}
    assert names["a.db"]["bytes"] == (folder / "a.db").stat().st_size
    assert {file["mode"] for file in names.values()} == {"0600"}
    assert "a.db-lock" in names
    told = call("doctor", "--db", "a.db").stdout
    assert f"{sqlite3.sqlite_version}: wal, synchronous full" in told
    assert "1 done, 1 failed" in told


def test_doctor_warns_of_a_file_that_others_may_read(call, document, folder):
    """A mode wider than 0600 is a warning with its command; it is no problem by itself."""
    a_run(call)
    (folder / "a.db").chmod(0o644)
    (found,) = [f for f in document("doctor", "--db", "a.db")["findings"] if "a.db (" in f["words"]]
    assert found["kind"] == "warning"
    assert f"chmod 600 {folder / 'a.db'}" in found["words"]


def test_doctor_verifies_what_is_stored(call, document, folder):
    """With --verify all damage is named with its run and step, and the exit code is 1."""
    for text in ("hi", "fail"):
        a_run(call, text)
    assert document("doctor", "--db", "a.db", "--verify")["verify"] == {"problems": 0}
    change("a.db", "UPDATE tasks SET node = 'x' WHERE step = 2")
    change("a.db", "UPDATE runs SET reason = 'x' WHERE status = 'failed'")
    found = document("doctor", "--db", "a.db", "--verify", code=1)["findings"]
    assert [(one["kind"], one["step"]) for one in found] == [("problem", 2), ("problem", -1)]
    assert len({one["run_id"] for one in found}) == 2
    result = call("doctor", "--db", "a.db", "--verify")
    assert f"run {found[0]['run_id']} step 2" in result.stdout
    assert call("doctor", "--db", "a.db").exit_code == 0


def test_doctor_says_when_the_file_is_damaged(call, folder):
    """A file that SQLite cannot read is a problem, and no wrong usage."""
    a_run(call)
    data = bytearray((folder / "a.db").read_bytes())
    data[100:2048] = bytes(1948)
    (folder / "a.db").write_bytes(data)
    result = call("doctor", "--db", "a.db")
    assert result.exit_code == 1, result.output
    assert "is damaged" in result.stdout


def test_doctor_makes_no_file(call, folder):
    """A database that is not there is wrong usage, and is not made."""
    assert call("doctor", "--db", "none.db").exit_code == 2
    assert not (folder / "none.db").exists()


def test_the_wal_reset_fault_is_told_by_the_version():
    """Libraries before 3.51.3 have the fault: their writers share a lock, readers read only."""
    for version in ((3, 40, 1), (3, 51, 2)):
        words = wal_reset_words(version, "a.db")
        assert "serialised by a.db-lock" in words
        assert 'sqlite3 "file:a.db?mode=ro"' in words
    assert "does not have" in wal_reset_words((3, 51, 3), "a.db")


def test_network_file_systems_are_known(tmp_path):
    """NFS and SMB are shared with other machines; a local disk is not."""
    assert all(map(is_network, ("nfs4", "cifs", "fuse.sshfs")))
    assert not is_network("ext4")
    assert not is_network(None)
    assert not is_network(file_system(tmp_path))
