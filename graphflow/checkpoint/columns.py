"""How users' values stand in columns: short ones as they are, long ones as references."""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from graphflow.checkpoint.column_names import COLUMNS
from graphflow.checkpoint.digest import storable
from graphflow.checkpoint.long_values import LONG, cut, references, restored
from graphflow.checkpoint.refusals import corrupt
from graphflow.checkpoint.rows import Row
from graphflow.records import RunHeader, Snapshot

__all__ = ["Columns"]

_VALUES: Final = {
    "steps": "ready_json derived_json",
    "tasks": "update_json goto_json",
    "decisions": "chosen details_json",
    "attempts": "",
    "calls": "request_json response_json",
    "items": "result_json",
    "questions": "schema_json details_json default_json answer_json",
    "memos": "value_json",
    "adoptions": "state_json ready_json",
}
"""The columns that may hold long values of users, as JSON."""
_WHOLE: Final = {"result_json", "default_json", "answer_json", "value_json"}
"""Those whose text is one value, not an object of several."""


def _places(table: str) -> tuple[tuple[int, str], ...]:
    names = COLUMNS[table].split()
    return tuple((names.index(name), name) for name in _VALUES[table].split())


_AT: Final = {table: _places(table) for table in _VALUES}


class Columns:
    """Puts the values of rows into the form in which one database stores them, and back."""

    __slots__ = ()

    def stored(self, table: str, row: Row, found: dict[str, str]) -> Row:
        """Give a row as it is to be stored.

        Args:
            table: Its table.
            row: Its columns, in the order of `rows.COLUMNS`.
            found: Gets the long values that it refers to then, by digest.
        """
        changed = None
        for ix, name in _AT[table]:
            text = row[ix]
            if text is not None and (len(text) >= LONG or text[:1] == " "):
                changed = changed or list(row)
                changed[ix] = self.text(name, text, found)
        return row if changed is None else tuple(changed)

    def text(self, column: str, text: str, found: dict[str, str]) -> str:
        """Give the text of one column as it is to be stored; see `stored`."""
        if len(text) < LONG and text[:1] != " ":
            return text
        try:
            return cut(text, self.address, found, whole=column in _WHOLE)
        except UnicodeEncodeError:
            return self.text(column, storable(text), found)

    def given(self, table: str, run_id: str, step: int, row: Row, values: Mapping[str, str]) -> Row:
        """Give a row as it was before it was stored.

        Args:
            table: Its table.
            run_id: Its run.
            step: Its step, for messages.
            row: Its columns, in the order of `rows.COLUMNS`.
            values: The long values that it refers to, by digest.

        Raises:
            CheckpointCorruptError: One of them is missing.
        """
        changed = None
        for ix, _ in _AT[table]:
            text = row[ix]
            if text is not None and text[:1] == " ":
                changed = changed or list(row)
                changed[ix] = _restored(run_id, step, text, values)
        return row if changed is None else tuple(changed)

    def stored_header(
        self, header: RunHeader, found: dict[str, str]
    ) -> tuple[str, str, str | None]:
        """Give the input, the tags and the change of a fork as they are to be stored."""
        change = header.fork_json
        return (
            self.text("input_json", header.input_json, found),
            self.text("tags_json", header.tags_json, found),
            change and self.text("fork_json", change, found),
        )

    def given_header(self, header: RunHeader, values: Mapping[str, str]) -> RunHeader:
        """Give a header as it was before it was stored; see `given`."""
        texts = (header.input_json, header.tags_json, header.fork_json)
        if not any(text is not None and text[:1] == " " for text in texts):
            return header
        given = [text and _restored(header.run_id, -1, text, values) for text in texts]
        return replace(
            header, input_json=given[0] or "", tags_json=given[1] or "", fork_json=given[2]
        )

    def snapshot(self, snapshot: Snapshot, found: dict[str, str]) -> Snapshot:
        """Give a snapshot as it is to be stored; see `stored`."""
        state, added = snapshot.state_json, snapshot.added_json
        if len(state) < LONG and len(added or "") < LONG and state[:1] != " ":
            return snapshot
        return replace(
            snapshot,
            state_json=self.text("state_json", state, found),
            added_json=added and self.text("added_json", added, found),
        )

    def given_snapshot(
        self, run_id: str, snapshot: Snapshot, values: Mapping[str, str]
    ) -> Snapshot:
        """Give a snapshot as it was before it was stored; see `given`."""
        state, added = snapshot.state_json, snapshot.added_json
        if state[:1] != " " and (added or "")[:1] != " ":
            return snapshot
        return replace(
            snapshot,
            state_json=_restored(run_id, snapshot.step, state, values),
            added_json=added and _restored(run_id, snapshot.step, added, values),
        )

    def check(
        self, table: str, run_id: str, step: int, row: Row, values: Mapping[str, str]
    ) -> None:
        """Check that the long values which a stored row refers to are there.

        Raises:
            CheckpointCorruptError: One is missing.
        """
        for ix, _ in _AT[table]:
            if row[ix] is not None and any(one not in values for one in references(row[ix])):
                raise _missing(run_id, step)

    def sound(self, values: Mapping[str, str]) -> dict[str, str]:
        """Leave out the long values that are not what was written."""
        return {digest: text for digest, text in values.items() if self.address(text) == digest}

    def address(self, value: str) -> str:
        """Give the digest under which a long value is stored."""
        return sha256(value.encode()).hexdigest()


def _restored(run_id: str, step: int, text: str, values: Mapping[str, str]) -> str:
    try:
        return restored(text, values) if text[:1] == " " else text
    except KeyError:
        raise _missing(run_id, step) from None


def _missing(run_id: str, step: int) -> Exception:
    return corrupt(run_id, step, "a long value that it refers to has changed, or is missing")
