"""Faults that are planted one at a time: each must make a test fail.

A fault is one or more edits of one file. Its tests are those that are expected to see it, as
arguments of pytest; the fewest that do, so that all of them take a few minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted fault.

    Attributes:
        name: What is wrong then.
        edits: Of each its file below `graphflow/`, a text that is there once, and what takes its
            place.
        tests: Arguments of pytest for the tests that see it.
    """

    name: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


def mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """Make a mutant of one edit."""
    return Mutant(name, ((file, old, new),), tests)


FENCE = "checkpoint/sqlite_fence.py"
WRITE = "checkpoint/sqlite_write.py"
RUNS = "checkpoint/sqlite_runs.py"
CHECK = "checkpoint/sqlite_check.py"
CHAIN = "checkpoint/stored_chain.py"
FILE = "checkpoint/sqlite_file.py"
PRUNE = "checkpoint/sqlite_prune.py"

KIT = "tests/checkpoint/test_sqlite.py::TestSqlite"
MEMORY = "tests/checkpoint/test_memory.py"
INTEGRITY = "tests/checkpoint/test_integrity.py"
POWER = "tests/power/test_power_cut.py"
ENCRYPTION = "tests/checkpoint/test_encryption.py"
LOCK = "tests/power/test_writers_lock.py"
MACHINE = "tests/machine"

_DEEP = " " * 20
_DIGEST = "return by(compact((kind, rows)))"


def _without_its_last_column(kind: str, test: str) -> Mutant:
    new = f'return by(compact((kind, rows[:-1] if kind == "{kind}" else rows)))'
    name = f"the digest of a {kind} leaves out its last column"
    return mutant(name, "checkpoint/digest.py", _DIGEST, new, test)


def _a_step_without(table: str, column: int) -> Mutant:
    """Leave a column of the rows of a table out of the digest of their step, on both ways."""
    at = {"tasks": 2, "decisions": 3}[table]
    rows = f"tuple([(*r[:{column}], *r[{column + 1}:]) for r in rows[{at}]])"
    texts = f"step.{table[:-1]}_rows"
    cut = f"compact([*r[:{column}], *r[{column + 1}:]]) for r in map(json.loads, {texts})"
    return Mutant(
        f"the digest of a step leaves out a column of its {table}",
        (
            (
                "checkpoint/digest.py",
                _DIGEST,
                f'if kind == "step":\n        rows = (*rows[:{at}], {rows}, *rows[{at + 1}:])\n'
                f"    {_DIGEST}",
            ),
            (CHAIN, f'",".join({texts})', f'",".join({cut})'),
        ),
        (INTEGRITY,),
    )


MUTANTS = [
    # -- the fence --------------------------------------------------------------------------------
    mutant(
        "the epoch is not checked",
        FENCE,
        "\"id = ? AND epoch = ? AND status = 'running'\"",
        "\"id = ? AND ? > 0 AND status = 'running'\"",
        KIT,
    ),
    mutant(
        "a run that has ended takes writes",
        FENCE,
        "\"id = ? AND epoch = ? AND status = 'running'\"",
        '"id = ? AND epoch = ?"',
        KIT,
    ),
    mutant(
        "a child is fenced by its own row only",
        FENCE,
        "AND (SELECT epoch FROM runs WHERE id = ? AND status = 'running') = ?",
        "AND ? + ? > 0",
        KIT,
    ),
    mutant(
        "memos are not fenced",
        FENCE,
        "return Fenced(start + FENCE.root,",
        'return Fenced(start + ("id = ? AND ? > 0" if table == "memos" else FENCE.root),',
        KIT,
    ),
    mutant(
        "a lost lease is not told",
        FENCE,
        "    if not done:\n        check_fence(cursor, lease)",
        "    if not done and False:\n        check_fence(cursor, lease)",
        KIT,
    ),
    mutant(
        "the epoch in memory is not checked",
        "checkpoint/memory.py",
        'if root.header.epoch != lease.epoch or root.header.status != "running":',
        'if root.header.status != "running":',
        MEMORY,
    ),
    mutant(
        "a child commits after its parent went on",
        WRITE,
        '"EXISTS (SELECT 1 FROM steps WHERE run = runs.parent_run AND step = runs.parent_step)"',
        '"0"',
        KIT,
    ),
    # -- leases -----------------------------------------------------------------------------------
    mutant(
        "a lease never expires: a dead owner keeps its run",
        "checkpoint/refusals.py",
        "or holder == owner or not lives(holder)",
        "or holder == owner",
        KIT,
    ),
    mutant(
        "an owner that lives is replaced",
        "checkpoint/refusals.py",
        "or holder == owner or not lives(holder)",
        "or lives(holder)",
        KIT,
    ),
    mutant(
        "an owner is compared without the start of its machine",
        "checkpoint/owner.py",
        "return who.host != _host() or who.boot == _boot()",
        "return True",
        "tests/checkpoint/test_owner.py",
    ),
    mutant(
        "an owner is compared without the start of its process",
        "checkpoint/owner.py",
        "if now is None or not who.start else now == who.start",
        "if now is None or not who.start else True",
        "tests/checkpoint/test_owner.py",
    ),
    mutant(
        "taking a run does not raise its epoch",
        RUNS,
        "cursor.execute(_TAKE, (header.epoch + 1,",
        "cursor.execute(_TAKE, (header.epoch,",
        KIT,
    ),
    mutant(
        "stopping a run does not raise its epoch",
        RUNS,
        '"owner = NULL, epoch = epoch + 1 WHERE id = ?"',
        '"owner = NULL WHERE id = ?"',
        KIT,
    ),
    mutant(
        "a lease of a deleted run fits the next one",
        RUNS,
        "coalesce((SELECT max(last) FROM retired), 0))",
        "0)",
        KIT,
    ),
    # -- steps ------------------------------------------------------------------------------------
    mutant(
        "the number of a step is not checked",
        WRITE,
        "if step.step != lease.step + 1:",
        "if step.step <= lease.step:",
        KIT,
    ),
    mutant(
        "a step is committed a second time",
        WRITE,
        "if step.step != lease.step + 1:",
        "if step.step > lease.step + 1:",
        KIT,
    ),
    mutant(
        "a step that is there is overwritten",
        WRITE,
        '_IGNORE: Final = "INSERT OR IGNORE"',
        '_IGNORE: Final = "INSERT OR REPLACE"',
        KIT,
    ),
    mutant(
        "a step is committed before its rows",
        WRITE,
        "        _store_tasks(cursor, place, self._close",
        '        cursor.execute("COMMIT")\n        cursor.execute("BEGIN IMMEDIATE")\n'
        "        _store_tasks(cursor, place, self._close",
        POWER,
        "-k loop",
    ),
    mutant(
        "a kept task that was not committed stays",
        WRITE,
        "for ix in kept.keys() - same:",
        "for ix in ():",
        KIT,
    ),
    mutant(
        "an answer is given a second time",
        WRITE,
        "if (answered := question_from(known)).answer_json is not None:",
        "if (answered := question_from(known)).answer_json is not None and False:",
        KIT,
    ),
    mutant(
        "only the child hears of its answer",
        WRITE,
        "SELECT parent_run FROM line JOIN runs ON id = run WHERE parent_run < id)",
        "SELECT parent_run FROM line JOIN runs ON id = run WHERE 0)",
        KIT,
    ),
    mutant(
        "the tail begins one step late",
        "checkpoint/sqlite_rows.py",
        "span = Span(first, open_step=open_step)",
        "span = Span(first + 1, open_step=open_step)",
        KIT,
    ),
    # -- transactions -----------------------------------------------------------------------------
    mutant(
        "commits are not synced",
        "checkpoint/sqlite_connect.py",
        "conn.execute(_SYNCHRONOUS[how.durability])",
        'conn.execute("PRAGMA synchronous = OFF")',
        POWER,
        "-k full and loop",
    ),
    mutant(
        "commits are synced now and then",
        "checkpoint/sqlite_connect.py",
        "conn.execute(_SYNCHRONOUS[how.durability])",
        'conn.execute("PRAGMA synchronous = NORMAL")',
        POWER,
        "-k full and loop",
    ),
    mutant(
        "an acknowledgement before COMMIT: of works that share a transaction",
        "checkpoint/sqlite_group.py",
        "            done.append(place)\n",
        "            done.append(place)\n            place.settle()\n",
        "tests/checkpoint/test_group_commit.py",
        POWER,
    ),
    mutant(
        "an acknowledgement before COMMIT: the lease is told",
        FILE,
        '                    cursor.execute("COMMIT")\n'
        "                    if settle is not None:\n                        settle()\n",
        "                    if settle is not None:\n                        settle()\n"
        '                    cursor.execute("COMMIT")\n',
        "tests/checkpoint/test_disk_faults.py",
    ),
    Mutant(
        "an acknowledgement before COMMIT: the next one commits",
        (
            (FILE, f'{_DEEP}cursor.execute("COMMIT")\n', ""),
            (
                FILE,
                f'{_DEEP}cursor.execute("BEGIN IMMEDIATE")\n',
                f"{_DEEP}if cursor.connection.in_transaction:\n"
                f'{_DEEP}    cursor.execute("COMMIT")\n'
                f'{_DEEP}cursor.execute("BEGIN IMMEDIATE")\n',
            ),
            (
                FILE,
                f'{_DEEP}cursor.execute("BEGIN")\n',
                f"{_DEEP}if cursor.connection.in_transaction:\n"
                f"{_DEEP}    return work(cursor)\n"
                f'{_DEEP}cursor.execute("BEGIN")\n',
            ),
            (
                FILE,
                f"finally:\n{_DEEP}if cursor.connection.in_transaction:\n",
                f"finally:\n{_DEEP}if not cursor:\n",
            ),
        ),
        (POWER, "-k full and loop"),
    ),
    mutant(
        "a transaction begins without asking for the file",
        FILE,
        '                    cursor.execute("BEGIN IMMEDIATE")\n',
        '                    cursor.execute("BEGIN")\n',
        "tests/checkpoint/test_sqlite_file.py",
    ),
    mutant(
        "what failed in `together` is not taken back from the lease",
        "checkpoint/sqlite_group.py",
        "            if teller is not None:\n                teller.undo()\n",
        "",
        KIT,
    ),
    mutant(
        "functions are called twice when what shares their transaction fails",
        "checkpoint/sqlite_group.py",
        "            if self._results is None:\n",
        "            if cursor:\n",
        "tests/checkpoint/test_group_commit.py",
    ),
    mutant(
        "a forked process has a copy of its parent's connection",
        "checkpoint/open_files.py",
        "    before=_registry.before_fork,\n",
        "",
        "tests/checkpoint/test_sqlite_file.py",
    ),
    mutant(
        "the log is emptied without the writers' lock",
        FILE,
        "        with writers:\n            writers.renew()\n",
        "        with suppress():\n",
        LOCK,
    ),
    mutant(
        "a lock that was removed is not made again",
        "checkpoint/writers_lock.py",
        "while not self._is_there() and self._database.exists():",
        "while False:",
        LOCK,
    ),
    mutant(
        "a file that was replaced is written",
        FILE,
        "if info.st_ino == self._inode and info.st_dev == self._device:",
        "if info.st_ino:",
        "tests/checkpoint/test_sqlite_file.py",
    ),
    mutant(
        "foreign keys are not enforced",
        "checkpoint/guard.py",
        '"foreign_keys = ON"',
        '"foreign_keys = OFF"',
        "tests/checkpoint/test_group_commit.py",
    ),
    # -- digests ----------------------------------------------------------------------------------
    *[
        _without_its_last_column(kind, f"{INTEGRITY}")
        for kind in ("run", "graph", "attempt", "call", "item", "question", "memo")
    ],
    mutant(
        "the seal of a run leaves out its epoch",
        "checkpoint/sqlite_seal.py",
        "budget_json, heard, epoch FROM runs WHERE id = ?",
        "budget_json, heard, 1 FROM runs WHERE id = ?",
        INTEGRITY,
    ),
    mutant(
        "steps are not verified",
        CHAIN,
        "if by(text) != step.digest or at in kept:",
        "if at in kept:",
        INTEGRITY,
    ),
    *[_a_step_without(table, column) for table, column in (("tasks", 7), ("decisions", 7))],
    mutant(
        "a kept task is not verified",
        CHECK,
        "{step},{text[1:]}]') != own:",
        "{step},{text[1:]}]') == own[:-1]:",
        INTEGRITY,
    ),
    mutant(
        "snapshots are not verified",
        CHECK,
        "snapshot_digest(of_step, snapshot, columns.digest_of) != snapshot.digest",
        "not snapshot.digest",
        INTEGRITY,
    ),
    mutant(
        "rows that stand alone are not verified",
        CHAIN,
        "if digest(kind, (run_id, *row[:-1]), by) != row[-1]:",
        "if not row[-1]:",
        INTEGRITY,
    ),
    mutant(
        "a fork is not held against what it continues",
        CHAIN,
        "if part.below not in (None, expected):",
        "if part.below is not None and expected < 0:",
        INTEGRITY,
    ),
    mutant(
        "rows are not counted",
        CHECK,
        "if found[table, step] < count:",
        "if count < 0:",
        INTEGRITY,
    ),
    mutant(
        "a seal is not looked at when a run is taken",
        RUNS,
        "if not is_sealed(cursor, number, by):",
        "if number < 0:",
        INTEGRITY,
    ),
    mutant(
        "long values are not verified",
        "checkpoint/columns.py",
        "if self._address(given) == at:",
        "if given:",
        "tests/checkpoint/test_long_values.py",
    ),
    mutant(
        "an anchor is not verified",
        CHECK,
        "        if part.anchor is not None:\n            check_row(",
        "        if part.anchor is not None and not part.anchor:\n            check_row(",
        "tests/checkpoint/test_upkeep.py",
    ),
    mutant(
        "an adoption is not verified",
        CHAIN,
        'if step_digest is not None and digest("adoption", rows, by) != row[-1]:',
        "if step_digest is not None and not rows:",
        INTEGRITY,
    ),
    mutant(
        "a value is encrypted for any place",
        "checkpoint/cipher.py",
        "return compact([self.salt, *known]).encode()",
        "return compact([self.salt, known[:0]]).encode()",
        ENCRYPTION,
    ),
    mutant(
        "a plain value is read where all are encrypted",
        "checkpoint/cipher.py",
        'raise ValueError("it is not encrypted")',
        "return text",
        ENCRYPTION,
    ),
    mutant(
        "a digest can be made without the key",
        "checkpoint/cipher.py",
        'return hmac.digest(self._digests, text.encode(), "sha256").hex()',
        'return hmac.digest(b"none", text.encode(), "sha256").hex()',
        ENCRYPTION,
    ),
    # -- care -------------------------------------------------------------------------------------
    Mutant(
        "a prune forgets a fork",
        (
            ("checkpoint/pruning.py", "        drop -= held\n", ""),
            (PRUNE, "if not _forks(cursor, family):  # somebody", "if family:  # somebody"),
        ),
        (KIT,),
    ),
    mutant(
        "a snapshot has what was changed in place",
        "engine/snapshots.py",
        "texts[name] = told.text(schema, name)",
        "texts[name] = codec.text(values[name])",
        "tests/engine/test_snapshots.py",
    ),
    mutant(
        "a prune of the memory forgets a fork",
        "checkpoint/pruning.py",
        "        drop -= held\n",
        "",
        MEMORY,
    ),
    mutant(
        "a prune does not look again for a fork",
        PRUNE,
        "if not _forks(cursor, family):  # somebody",
        "if family:  # somebody",
        "tests/checkpoint/test_upkeep.py",
    ),
    mutant(
        "a prune believes a link between runs that was changed",
        "checkpoint/sqlite_cut.py",
        "if is_linked and not is_as_written(cursor, number, by):",
        "if False:",
        "tests/checkpoint/test_upkeep.py::test_a_prune_drops_nothing_when_nobody_knows_what_is_shared",
    ),
    mutant(
        "a prune takes a fork without its links for a run of its own",
        "checkpoint/sqlite_links.py",
        "f\"OR instr(run_id, '/') OR ({_SHARES}))\"",
        '")"',
        "tests/checkpoint/test_upkeep.py::test_a_prune_drops_nothing_when_nobody_knows_what_is_shared",
    ),
    mutant(
        "a verifier takes all that a fork shares for sound",
        "checkpoint/sqlite_kin.py",
        "if origin is None or origin[0] not in self._sound or number in self._with_children:",
        "if origin is None:",
        "tests/checkpoint/test_upkeep.py::test_verify_knows_of_a_fork_what_it_shares",
    ),
    mutant(
        "a delete believes a fork whose origin was changed",
        PRUNE,
        "        check_forks(cursor, run_id, family, by)\n",
        "",
        "tests/checkpoint/test_upkeep.py::test_nothing_is_deleted_that_a_damaged_fork_may_share",
    ),
    mutant(
        "an answer is taken for what a node asks no more",
        "change/lapsed.py",
        '    return escalate is None or takes_verdict != (escalate.get("into") is None)',
        "    return False",
        "tests/test_change_asked.py",
    ),
    mutant(
        "a cut forgets a fork",
        "checkpoint/pruning.py",
        "        _hold_what_is_shared(run, max(first, run.first), newest, known, most)\n",
        "",
        KIT,
    ),
    mutant(
        "a run that is shared is deleted",
        PRUNE,
        "if forks := _forks(cursor, family):",
        "if (forks := _forks(cursor, family)) and False:",
        KIT,
    ),
    mutant(
        "a fork that began after the plan is as good as cut",
        "checkpoint/sqlite_cut.py",
        "wish.steps or 0, wish.graph, run.number)",
        "wish.steps or 0, wish.graph)",
        "tests/checkpoint/test_upkeep.py",
    ),
    mutant(
        "a run that is being advanced is cut behind its snapshot",
        "checkpoint/pruning.py",
        "            bounds.append(run.saved)\n",
        "            pass\n",
        KIT,
    ),
]
