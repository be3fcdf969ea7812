"""The tables of a database of runs, as SQL: each migration's own.

Measured for 1,000 steps of one task of 200 bytes and one decision (SQLite 3.40.1; median per
step): steps, tasks and decisions WITHOUT ROWID take 28 us on tmpfs and 145 on disk, with rowids 34
and 160; the file is as long, 0.66 MB. (From 20 kB a task rowids win by a tenth.) Rows that are
long or few, of calls, questions and snapshots, have rowids.
"""

from typing import Final

__all__ = [
    "CHANGES_3",
    "CHANGES_4",
    "CHANGES_5",
    "CHANGES_6",
    "CHANGES_7",
    "CHANGES_8",
    "CHANGES_9",
    "TABLES",
]

TABLES: Final = (
    """
    CREATE TABLE graphs (
        digest TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        spec_json TEXT NOT NULL,
        created_at TEXT NOT NULL,
        row_digest TEXT NOT NULL
    )""",
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        graph TEXT NOT NULL,
        graph_version INTEGER NOT NULL,
        graph_digest TEXT NOT NULL REFERENCES graphs(digest),
        status TEXT NOT NULL,
        reason TEXT,
        error_type TEXT,
        error TEXT,
        created_at TEXT NOT NULL,
        ended_at TEXT,
        thread_id TEXT,
        input_json TEXT NOT NULL,
        limits_json TEXT NOT NULL,
        tags_json TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        owner TEXT,
        taken_at TEXT,
        parent_run INTEGER REFERENCES runs(id),
        parent_step INTEGER,
        parent_task TEXT,
        fork_of INTEGER REFERENCES runs(id),
        fork_step INTEGER,
        fork_json TEXT,
        digest TEXT NOT NULL
    )""",
    "CREATE INDEX runs_created_at ON runs(created_at)",
    """
    CREATE TABLE steps (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        committed_at TEXT NOT NULL,
        arrows_json TEXT NOT NULL,
        fired_json TEXT NOT NULL,
        held_json TEXT NOT NULL,
        ready_json TEXT NOT NULL,
        derived_json TEXT,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE tasks (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        ix INTEGER NOT NULL,
        key TEXT NOT NULL,
        node TEXT NOT NULL,
        update_json TEXT,
        started_at TEXT NOT NULL,
        duration_ms REAL NOT NULL,
        attempts INTEGER NOT NULL,
        reads_json TEXT NOT NULL,
        replaces_json TEXT NOT NULL,
        goto_json TEXT,
        digest TEXT,
        PRIMARY KEY (run, step, ix)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE decisions (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        ix INTEGER NOT NULL,
        source TEXT NOT NULL,
        router TEXT NOT NULL,
        kind TEXT NOT NULL,
        options_json TEXT NOT NULL,
        chosen TEXT NOT NULL,
        answer TEXT,
        reason TEXT NOT NULL,
        confidence REAL,
        evidence_json TEXT NOT NULL,
        details_json TEXT,
        PRIMARY KEY (run, step, ix),
        FOREIGN KEY (run, step) REFERENCES steps(run, step)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE attempts (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        key TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        node TEXT NOT NULL,
        started_at TEXT NOT NULL,
        duration_ms REAL NOT NULL,
        error_type TEXT NOT NULL,
        error TEXT NOT NULL,
        traceback TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step, key, attempt)
    )""",
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        key TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        started_at TEXT NOT NULL,
        duration_ms REAL NOT NULL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        cached_tokens INTEGER,
        request_json TEXT NOT NULL,
        response_json TEXT,
        error TEXT,
        digest TEXT NOT NULL
    )""",
    "CREATE INDEX calls_run_step_key ON calls(run, step, key)",
    """
    CREATE TABLE snapshots (
        run INTEGER NOT NULL,
        step INTEGER NOT NULL,
        state_json TEXT NOT NULL,
        counters_json TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step),
        FOREIGN KEY (run, step) REFERENCES steps(run, step)
    )""",
)

CHANGES_3: Final = (
    "ALTER TABLE runs ADD COLUMN budget_json TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE runs ADD COLUMN heard INTEGER",
    "ALTER TABLE steps ADD COLUMN heard INTEGER",
    "ALTER TABLE tasks ADD COLUMN fell_back TEXT",
    "ALTER TABLE tasks ADD COLUMN items INTEGER",
    "CREATE INDEX runs_parent_run ON runs(parent_run, parent_step) WHERE parent_run IS NOT NULL",
    """
    CREATE TABLE items (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        key TEXT NOT NULL,
        ix INTEGER NOT NULL,
        result_json TEXT NOT NULL,
        started_at TEXT NOT NULL,
        duration_ms REAL NOT NULL,
        attempts INTEGER NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step, key, ix)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE questions (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        node TEXT NOT NULL,
        kind TEXT NOT NULL,
        prompt TEXT NOT NULL,
        schema_json TEXT NOT NULL,
        asked_at TEXT NOT NULL,
        details_json TEXT,
        deadline TEXT,
        default_json TEXT,
        answer_json TEXT,
        answered_at TEXT,
        answered_by TEXT,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step, key, name)
    )""",
    """
    CREATE TABLE memos (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        value_json TEXT NOT NULL,
        stored_at TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step, key, name)
    )""",
)

CHANGES_4: Final = (
    "ALTER TABLE snapshots ADD COLUMN since INTEGER",
    "ALTER TABLE snapshots ADD COLUMN added_json TEXT",
)

CHANGES_5: Final = (
    "ALTER TABLE runs ADD COLUMN seal TEXT",
    "ALTER TABLE steps ADD COLUMN rows_json TEXT",
)

CHANGES_6: Final = (
    "ALTER TABLE runs ADD COLUMN adopted TEXT",
    """
    CREATE TABLE adoptions (
        run INTEGER NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL,
        place INTEGER NOT NULL,
        graph_digest TEXT NOT NULL REFERENCES graphs(digest),
        graph_version INTEGER NOT NULL,
        adopted_at TEXT NOT NULL,
        nodes_json TEXT NOT NULL,
        state_json TEXT,
        counters_json TEXT,
        fired_json TEXT,
        held_json TEXT,
        ready_json TEXT,
        children_json TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, step, place)
    )""",
)

CHANGES_7: Final = (
    """
    CREATE TABLE shared_values (
        id INTEGER PRIMARY KEY,
        digest TEXT NOT NULL UNIQUE,
        value_json TEXT NOT NULL
    )""",
    """
    CREATE TABLE value_uses (
        run INTEGER NOT NULL REFERENCES runs(id),
        value INTEGER NOT NULL REFERENCES shared_values(id),
        PRIMARY KEY (run, value)
    ) WITHOUT ROWID""",
    "CREATE INDEX value_uses_value ON value_uses(value)",
    """
    CREATE VIEW updates AS
        SELECT runs.run_id, tasks.step, tasks.key, tasks.node, field.key AS field,
            CASE WHEN shared.id IS NULL THEN field.value
                ELSE json_extract(shared.value_json, '$') END AS value
        FROM tasks
            JOIN runs ON runs.id = tasks.run
            JOIN json_each(CASE WHEN json_valid(tasks.update_json) THEN tasks.update_json
                ELSE '{}' END) AS field
            LEFT JOIN shared_values AS shared ON substr(tasks.update_json, 1, 1) = ' '
                AND field.type = 'object'
                AND shared.digest = json_extract(field.value, '$."$shared"')
        ORDER BY tasks.run, tasks.step, tasks.ix""",
)

CHANGES_8: Final = (
    """
    CREATE TABLE anchors (
        run INTEGER PRIMARY KEY REFERENCES runs(id),
        step INTEGER NOT NULL,
        link TEXT NOT NULL,
        calls INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        ms REAL NOT NULL,
        pruned_at TEXT NOT NULL,
        adopted_on TEXT,
        digest TEXT NOT NULL
    )""",
    "CREATE TABLE retired (id INTEGER PRIMARY KEY, last INTEGER NOT NULL)",
    "CREATE INDEX runs_fork_of ON runs(fork_of) WHERE fork_of IS NOT NULL",
)
"""What stands for pruned steps; the highest number of a run that is gone: none has it again."""

CHANGES_9: Final = (
    """
    CREATE TABLE encryption (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        salt TEXT NOT NULL,
        key_check TEXT NOT NULL
    )""",
)
"""It has a row when the database was made with a key; that never changes."""
