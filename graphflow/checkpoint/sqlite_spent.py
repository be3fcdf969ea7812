"""What a run has used: sums over the tables."""

from typing import TYPE_CHECKING, Final

from graphflow.records import Spent

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["spent_by"]

_FAMILY: Final = (
    "WITH RECURSIVE family(run, first) AS ("
    "SELECT id, coalesce((SELECT step FROM anchors WHERE run = id), -1) FROM runs WHERE run_id = ? "
    "UNION ALL SELECT child.id, coalesce((SELECT step FROM anchors WHERE run = child.id), -1) "
    "FROM family JOIN runs child ON child.parent_run = family.run AND child.id > family.run) "
)
"""With the first step that each still has: what was before it stands in its anchor."""

# An item of the map `m` has the key `m[0]` in attempts and calls. What is complete is listed once:
# to look for each call's task among all of its step takes the square of their number.
_CALLS: Final = (
    _FAMILY.rstrip()  # noqa: S608 - our own words
    + """,
    called(run, step) AS (SELECT DISTINCT calls.run, calls.step
        FROM family JOIN calls ON calls.run = family.run AND calls.step >= family.first),
    complete(run, step, key) AS (
        SELECT tasks.run, tasks.step, tasks.key
            FROM called CROSS JOIN tasks ON tasks.run = called.run AND tasks.step = called.step
        UNION ALL SELECT items.run, items.step, items.key || '[' || items.ix || ']'
            FROM called CROSS JOIN items ON items.run = called.run AND items.step = called.step)
    SELECT
        coalesce(sum(own.key IS NOT NULL OR whole.key IS NOT NULL), 0),
        coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0)
    FROM family JOIN calls ON calls.run = family.run AND calls.step >= family.first
        LEFT JOIN complete own
            ON own.run = calls.run AND own.step = calls.step AND own.key = calls.key
        LEFT JOIN complete whole
            ON whole.run = calls.run AND whole.step = calls.step
            AND whole.key = substr(calls.key, 1, instr(calls.key, '[') - 1)"""
)

# The time of a map is that of its items, that of a subgraph its run's; that of a task that fell
# back stands in its attempts; that of a fork's first step is the run's that it forks.
_TIME: Final = (
    _FAMILY  # noqa: S608 - our own words
    + """
    SELECT
        (SELECT coalesce(sum(duration_ms), 0.0)
            FROM family JOIN tasks ON tasks.run = family.run AND tasks.step >= family.first
            WHERE tasks.items IS NULL AND tasks.fell_back IS NULL
            AND tasks.step > (SELECT coalesce(fork_step, 0) FROM runs WHERE id = tasks.run)
            AND NOT EXISTS (SELECT 1 FROM runs child WHERE child.parent_run = tasks.run
                AND child.parent_step = tasks.step AND child.parent_task = tasks.key))
        + (SELECT coalesce(sum(duration_ms), 0.0)
            FROM family JOIN attempts ON attempts.run = family.run
                AND attempts.step >= family.first
            WHERE NOT EXISTS (SELECT 1 FROM runs child WHERE child.parent_run = attempts.run
                AND child.parent_step = attempts.step AND child.parent_task = attempts.key))
        + (SELECT coalesce(sum(duration_ms), 0.0)
            FROM family JOIN items ON items.run = family.run
                AND items.step >= family.first)"""
)
_BEFORE: Final = (
    _FAMILY  # noqa: S608 - our own words
    + """
    SELECT coalesce(sum(calls), 0), coalesce(sum(tokens), 0), coalesce(sum(ms), 0.0)
    FROM family JOIN anchors ON anchors.run = family.run"""
)


def spent_by(cursor: "Cursor", run_id: str) -> Spent | None:
    """Add up what a run and its children have used; what a fork shares is not its own.

    Args:
        cursor: In a transaction.
        run_id: The run.

    Returns:
        The sums; None when there is no such run.
    """
    if not cursor.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone():
        return None
    calls, tokens = cursor.execute(_CALLS, (run_id,)).fetchone()
    (ms,) = cursor.execute(_TIME, (run_id,)).fetchone()
    before = cursor.execute(_BEFORE, (run_id,)).fetchone()
    return Spent(calls + before[0], tokens + before[1], (ms + before[2]) / 1e3)
