"""The views of a database of runs, by which people read it, as SQL: each migration's own."""

from typing import Final

__all__ = ["VIEWS", "VIEWS_3", "VIEWS_10"]

VIEWS: Final = {
    "path": """
        SELECT runs.run_id, tasks.step, tasks.key, tasks.node,
            (SELECT group_concat(coalesce(answer, chosen), '; ') FROM decisions
                WHERE run = tasks.run AND step = tasks.step AND source = tasks.node) AS decision,
            (SELECT group_concat(reason, '; ') FROM decisions
                WHERE run = tasks.run AND step = tasks.step AND source = tasks.node) AS reason,
            tasks.attempts, round(tasks.duration_ms, 3) AS ms,
            (SELECT sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) FROM calls
                WHERE run = tasks.run AND step = tasks.step AND key = tasks.key) AS tokens
        FROM tasks
            JOIN steps ON steps.run = tasks.run AND steps.step = tasks.step
            JOIN runs ON runs.id = tasks.run
        ORDER BY tasks.run, tasks.step, tasks.ix""",
    "run_summary": """
        SELECT run_id, graph, graph_version, status, reason, error_type, error,
            (SELECT max(step) FROM steps WHERE run = runs.id) AS steps,
            (SELECT count(*) FROM tasks WHERE run = runs.id) AS tasks,
            (SELECT count(*) FROM decisions WHERE run = runs.id) AS decisions,
            (SELECT count(*) FROM attempts WHERE run = runs.id) AS failures,
            (SELECT count(*) FROM calls WHERE run = runs.id) AS calls,
            (SELECT sum(input_tokens) FROM calls WHERE run = runs.id) AS input_tokens,
            (SELECT sum(output_tokens) FROM calls WHERE run = runs.id) AS output_tokens,
            (SELECT round(sum(duration_ms), 3) FROM tasks WHERE run = runs.id) AS task_ms,
            created_at, ended_at, thread_id, tags_json
        FROM runs
        ORDER BY created_at DESC, id DESC""",
    "failures": """
        SELECT runs.run_id, attempts.step, attempts.key, attempts.node, attempts.attempt,
            attempts.error_type, attempts.error,
            EXISTS (SELECT 1 FROM tasks WHERE run = attempts.run AND step = attempts.step
                AND key = attempts.key) AS recovered,
            attempts.started_at, round(attempts.duration_ms, 3) AS ms
        FROM attempts JOIN runs ON runs.id = attempts.run
        ORDER BY attempts.started_at""",
}

_FAMILY: Final = """(WITH RECURSIVE family(run) AS (SELECT runs.id
                UNION ALL SELECT child.id FROM family JOIN runs child
                    ON child.parent_run = family.run AND child.id > family.run)
                SELECT {what} FROM family JOIN {table} ON {table}.run = family.run)"""


def _sum_up(what: str, table: str) -> str:
    """Add up something of a run and its children."""
    return _FAMILY.format(what=what, table=table)


# An item of the map `m` has the key `m[0]` in attempts and calls
_OF_TASK: Final = "(key = {task} OR substr(key, 1, length({task}) + 1) = {task} || '[')"

VIEWS_3: Final = {
    "path": f"""
        SELECT runs.run_id, tasks.step, tasks.key, tasks.node, tasks.fell_back,
            (SELECT group_concat(coalesce(answer, chosen), '; ') FROM decisions
                WHERE run = tasks.run AND step = tasks.step AND source = tasks.node) AS decision,
            (SELECT group_concat(reason, '; ') FROM decisions
                WHERE run = tasks.run AND step = tasks.step AND source = tasks.node) AS reason,
            tasks.attempts, tasks.items, round(tasks.duration_ms, 3) AS ms,
            (SELECT sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) FROM calls
                WHERE run = tasks.run AND step = tasks.step
                    AND {_OF_TASK.format(task="tasks.key")}) AS tokens
        FROM tasks
            JOIN steps ON steps.run = tasks.run AND steps.step = tasks.step
            JOIN runs ON runs.id = tasks.run
        ORDER BY tasks.run, tasks.step, tasks.ix""",  # noqa: S608 - our own words
    "run_summary": f"""
        SELECT run_id, graph, graph_version, status, reason, error_type, error,
            (SELECT max(step) FROM steps WHERE run = runs.id) AS steps,
            (SELECT count(*) FROM tasks WHERE run = runs.id) AS tasks,
            (SELECT count(*) FROM decisions WHERE run = runs.id) AS decisions,
            {_sum_up("count(*)", "attempts")} AS failures,
            {_sum_up("count(*)", "calls")} AS calls,
            {_sum_up("sum(input_tokens)", "calls")} AS input_tokens,
            {_sum_up("sum(output_tokens)", "calls")} AS output_tokens,
            (SELECT round(sum(duration_ms), 3) FROM tasks WHERE run = runs.id) AS task_ms,
            {_sum_up("count(*) - count(answer_json)", "questions")} AS unanswered,
            (SELECT count(*) FROM runs child WHERE child.parent_run = runs.id) AS children,
            (SELECT origin.run_id FROM runs origin WHERE origin.id = runs.fork_of) AS fork_of,
            fork_step, created_at, ended_at, thread_id, tags_json
        FROM runs
        WHERE parent_run IS NULL
        ORDER BY created_at DESC, id DESC""",  # noqa: S608 - our own words
    "failures": """
        SELECT runs.run_id, attempts.step, attempts.key, attempts.node, attempts.attempt,
            attempts.error_type, attempts.error,
            EXISTS (SELECT 1 FROM tasks WHERE run = attempts.run AND step = attempts.step
                AND (attempts.key = tasks.key
                    OR substr(attempts.key, 1, length(tasks.key) + 1) = tasks.key || '['))
            OR EXISTS (SELECT 1 FROM items WHERE run = attempts.run AND step = attempts.step
                AND attempts.key = items.key || '[' || items.ix || ']') AS recovered,
            attempts.started_at, round(attempts.duration_ms, 3) AS ms
        FROM attempts JOIN runs ON runs.id = attempts.run
        ORDER BY attempts.started_at""",
}
"""Beside the new tables: the sums of a run have its children's; a child has no row of its own."""

VIEWS_10: Final = {
    "updates": """
        SELECT runs.run_id, tasks.step, tasks.key, tasks.node, field.key AS field,
            CASE WHEN shared.id IS NULL THEN field.value
                ELSE json_extract(shared.value_json, '$') END AS value
        FROM tasks
            JOIN runs ON runs.id = tasks.run
            JOIN json_each(CASE WHEN json_valid(tasks.update_json) THEN tasks.update_json
                ELSE '{}' END) AS field
            LEFT JOIN shared_values AS shared ON shared.digest = CASE
                WHEN substr(tasks.update_json, 1, 1) = ' ' AND field.type = 'object'
                THEN json_extract(field.value, '$."$shared"') END
        ORDER BY tasks.run, tasks.step, tasks.ix""",
}
"""Texts are no JSON: the first view of updates failed for each that stood in a field."""
