"""The names of the columns that records stand in."""

from typing import Final

__all__ = ["COLUMNS", "LATER"]

COLUMNS: Final = {
    "steps": "step committed_at arrows_json fired_json held_json ready_json derived_json",
    "tasks": "ix key node update_json started_at duration_ms attempts reads_json "
    "replaces_json goto_json",
    "decisions": "ix source router kind options_json chosen answer reason confidence "
    "evidence_json details_json",
    "attempts": "step key attempt node started_at duration_ms error_type error traceback",
    "calls": "step key attempt kind model started_at duration_ms input_tokens output_tokens "
    "cached_tokens request_json response_json error",
    "items": "step key ix result_json started_at duration_ms attempts",
    "questions": "step key name node kind prompt schema_json asked_at details_json deadline "
    "default_json answer_json answered_at answered_by",
    "memos": "step key name value_json stored_at",
    "adoptions": "step place graph_digest graph_version adopted_at nodes_json state_json "
    "counters_json fired_json held_json ready_json children_json",
}
"""The columns that the rows of a table hold, in order, without those that place the row."""

LATER: Final = {"steps": ("heard", "rows_json"), "tasks": ("fell_back items",)}
"""Columns that came later, those that came together in one text. A row ends before those of which
none is set, nor of any after them: so the digests of rows from before stay true."""
