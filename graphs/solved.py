"""Finds the solved tickets most like a text, with the full-text search that SQLite comes with."""

import hashlib
import re
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from sqlite_utils import Database

__all__ = ["Solved", "any_word_of", "read_solved", "similar_to"]

WORDS_AT_MOST = 64  # a long mail says what it is about in its first words


class Solved(BaseModel):
    """A ticket that somebody has answered."""

    text: str
    topic: str
    reply: str


def similar_to(text: str, source: Path, index: Path, limit: int) -> list[Solved]:
    """Find the solved tickets that share the rarest words with a text.

    Args:
        text: What a customer wrote; any characters.
        source: JSONL file of solved tickets.
        index: SQLite file of the index; written when it is not there or the source has changed.
        limit: How many to find at most.

    Returns:
        The nearest first; none when no word is shared.

    Raises:
        OSError: The source cannot be read, or the index not written.
        ValueError: A line of the source is not a solved ticket.
    """
    words = any_word_of(text)
    if not words:
        return []
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if not _is_built_from(index, digest):
        _build(index, read_solved(source), digest)
    with Database(index) as db:
        rows = list(db.table("solved").search(words, limit=limit))
    return [Solved.model_validate(row) for row in rows]


def any_word_of(text: str) -> str:
    """Turn a text into a full-text query for any of its words; quotes and operators do no harm."""
    words = dict.fromkeys(re.findall(r"\w+", text.lower()))
    return " OR ".join(f'"{word}"' for word in list(words)[:WORDS_AT_MOST])


def read_solved(source: Path) -> list[Solved]:
    """Read a JSONL file of solved tickets.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is not a solved ticket; the message names file and line.
    """
    solved = []
    with source.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                solved.append(Solved.model_validate_json(line))
            except ValidationError as error:
                raise ValueError(
                    f"{source}, line {number}: not a solved ticket: {error}"
                ) from error
    return solved


def _build(index: Path, solved: list[Solved], digest: str) -> None:
    index.parent.mkdir(parents=True, exist_ok=True)
    unfinished = index.with_suffix(f".{uuid4().hex}.tmp")  # a killed build leaves no half index
    with Database(unfinished) as db:
        table = db.table("solved")
        table.insert_all(row.model_dump() for row in solved)
        table.enable_fts(["text", "reply"], tokenize="porter unicode61")
        db.table("source").insert({"digest": digest})
    unfinished.replace(index)


def _is_built_from(index: Path, digest: str) -> bool:
    if not index.exists():
        return False
    with Database(index) as db:
        return bool(db.table("source").count_where("digest = ?", [digest]))
