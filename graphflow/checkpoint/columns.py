"""How users' values stand in columns: long ones as references, and with a key all encrypted."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Final, TypeVar

from graphflow.checkpoint.cipher import PREFIX, Cipher
from graphflow.checkpoint.column_names import COLUMNS
from graphflow.checkpoint.digest import compact, digest_of, storable
from graphflow.checkpoint.long_values import LONG, cut, references, restored
from graphflow.checkpoint.refusals import corrupt
from graphflow.checkpoint.rows import Row
from graphflow.errors import CheckpointCorruptError
from graphflow.records import DamagedHeader, Ending, RunHeader, Snapshot

__all__ = ["PLAIN", "Columns"]

_Rows = TypeVar("_Rows", bound=tuple[object, ...])
_JSON: Final = {
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
_WORDS: Final = {
    "decisions": "reason evidence_json",
    "attempts": "error traceback",
    "calls": "error",
    "questions": "prompt",
}
"""Further columns with values of users, or with words made of them."""
_WHOLE: Final = {"result_json", "default_json", "answer_json", "value_json"}
"""Columns whose text is one value, not an object of several."""
_FIXED: Final = ("input_json", "tags_json", "fork_json")
"""Columns of a run that do not change, and have values of users."""
_PLACE: Final = {
    "steps": slice(0),
    "tasks": slice(1),
    "decisions": slice(1),
    "adoptions": slice(1, 2),
    **dict.fromkeys(("attempts", "calls", "items", "questions", "memos"), slice(1, 3)),
}
"""The columns that say where in its step a row stands."""


def _at(names: str, table: str) -> tuple[tuple[int, str], ...]:
    known = COLUMNS[table].split()
    return tuple((known.index(name), name) for name in names.split())


_LONG_AT: Final = {table: _at(names, table) for table, names in _JSON.items()}
_SECRET_AT: Final = {
    table: _at(f"{names} {_WORDS.get(table, '')}", table) for table, names in _JSON.items()
}


class Columns:
    """Puts the values of rows into the form in which one database stores them, and back.

    Args:
        cipher: The keys of the database; None: it is not encrypted.
    """

    __slots__ = ("_cipher", "digest_of")

    def __init__(self, cipher: Cipher | None = None) -> None:
        self._cipher = cipher
        self.digest_of = digest_of if cipher is None else cipher.digest_of
        """Makes the digests of rows (see `digest`)."""

    @property
    def is_secret(self) -> bool:
        """Whether the database is encrypted."""
        return self._cipher is not None

    def sealed(self, kind: str, rows: _Rows) -> tuple[_Rows, str] | None:
        """Digest rows that are stored as they are.

        Returns:
            They and their digest; None when there may be something in them that is stored in
            another form: then each goes through `stored`.
        """
        if self._cipher is None:
            text = compact((kind, rows))
            # The second: no column begins with a blank
            if len(text) < LONG and '," ' not in text:
                with suppress(UnicodeEncodeError):
                    return rows, digest_of(text)
        return None

    def stored(self, table: str, run_id: str, step: int, row: Row, found: dict[str, str]) -> Row:
        """Give a row as it is to be stored.

        Args:
            table: Its table.
            run_id: Its run.
            step: Its step.
            row: Its columns, in the order of `rows.COLUMNS`.
            found: Gets the long values that it refers to then, by address.
        """
        row = self._cut_row(table, row, found)
        return row if self._cipher is None else self._hidden(table, run_id, step, row)

    def task(
        self, run_id: str, step: int, row: Row, kept: Mapping[int, Row], found: dict[str, str]
    ) -> Row:
        """Give a task's row as it is to be stored: as it stands, if it was kept and is the same."""
        row = self._cut_row("tasks", row, found)
        if self._cipher is None:
            return row
        known = kept.get(row[0])
        if known is not None and self._revealed("tasks", run_id, step, known) == row:
            return known
        return self._hidden("tasks", run_id, step, row)

    def answer(self, run_id: str, row: Row, text: str, found: dict[str, str]) -> str:
        """Give the answer of a question as it is to be stored.

        Args:
            run_id: Its run.
            row: The question's columns.
            text: The answer.
            found: As in `stored`.
        """
        place = ("questions", "answer_json", run_id, row[0], *row[_PLACE["questions"]])
        return self._cell(self._cut("answer_json", text, found), place)

    def given(self, table: str, run_id: str, step: int, row: Row, values: Mapping[str, str]) -> Row:
        """Give a row as it was before it was stored.

        Args:
            table: Its table.
            run_id: Its run.
            step: Its step.
            row: Its columns, in the order of `rows.COLUMNS`.
            values: The long values that it refers to, by address (see `sound`).

        Raises:
            CheckpointCorruptError: One of them is missing, or what is encrypted cannot be read.
        """
        if self._cipher is not None:
            row = self._revealed(table, run_id, step, row)
        changed = None
        for ix, _ in _LONG_AT[table]:
            text = row[ix]
            if text is not None and text[:1] == " ":
                changed = changed or list(row)
                changed[ix] = _restored(run_id, step, text, values)
        return row if changed is None else tuple(changed)

    def stored_header(
        self, header: RunHeader, found: dict[str, str]
    ) -> tuple[str, str, str | None]:
        """Give the input, the tags and the change of a fork as they are to be stored."""
        texts = (header.input_json, header.tags_json, header.fork_json)
        given = [
            text and self._cell(self._cut(name, text, found), _in_runs(header.run_id, name))
            for name, text in zip(_FIXED, texts, strict=True)
        ]
        return given[0] or "", given[1] or "", given[2]

    def stored_ending(self, run_id: str, ending: Ending) -> tuple[str | None, ...]:
        """Give the reason, the type of the error and its words as they are to be stored."""
        reason, kind, error = ending.reason, ending.error_type, ending.error
        return (
            reason and self._cell(storable(reason), _in_runs(run_id, "reason")),
            kind and storable(kind),
            error and self._cell(storable(error), _in_runs(run_id, "error")),
        )

    def given_header(self, header: RunHeader, values: Mapping[str, str]) -> RunHeader:
        """Give a header as it was before it was stored; see `given`."""
        texts = (header.input_json, header.tags_json, header.fork_json)
        is_cut = any(text is not None and text[:1] == " " for text in texts)
        if self._cipher is None and not is_cut:
            return header
        run_id, given = header.run_id, []
        for name, text in zip(_FIXED, texts, strict=True):
            shown = text and self._open(run_id, -1, text, _in_runs(run_id, name))
            given.append(_restored(run_id, -1, shown, values))
        header = self.given_ending(header)
        return replace(
            header, input_json=given[0] or "", tags_json=given[1] or "", fork_json=given[2]
        )

    def given_ending(self, header: RunHeader) -> RunHeader:
        """Give a header with its reason and its error as they were before they were stored."""
        run_id, reason, error = header.run_id, header.reason, header.error
        if self._cipher is None or not (reason or error):
            return header
        return replace(
            header,
            reason=reason and self._open(run_id, -1, reason, _in_runs(run_id, "reason")),
            error=error and self._open(run_id, -1, error, _in_runs(run_id, "error")),
        )

    def listed_header(self, header: RunHeader, values: Mapping[str, str]) -> RunHeader:
        """Give a header for a list of runs: of a damaged one, that it is."""
        if isinstance(header, DamagedHeader):
            return header
        try:
            return self.given_header(header, values)
        except CheckpointCorruptError as error:
            known = replace(header, input_json="null", tags_json="{}", fork_json=None)
            return replace(known, reason=None, error_type=type(error).__name__, error=str(error))

    def snapshot(self, run_id: str, snapshot: Snapshot, found: dict[str, str]) -> Snapshot:
        """Give a snapshot as it is to be stored; see `stored`."""
        state, added = snapshot.state_json, snapshot.added_json
        is_short = len(state) < LONG and len(added or "") < LONG and state[:1] != " "
        if is_short and self._cipher is None:
            return snapshot
        place = (run_id, snapshot.step)
        state = self._cut("state_json", state, found)
        added = added and self._cut("added_json", added, found)
        return replace(
            snapshot,
            state_json=self._cell(state, ("snapshots", "state_json", *place)),
            added_json=added and self._cell(added, ("snapshots", "added_json", *place)),
        )

    def given_snapshot(
        self, run_id: str, snapshot: Snapshot, values: Mapping[str, str]
    ) -> Snapshot:
        """Give a snapshot as it was before it was stored; see `given`."""
        state, added = snapshot.state_json, snapshot.added_json
        if self._cipher is None and state[:1] != " " and (added or "")[:1] != " ":
            return snapshot
        step, place = snapshot.step, (run_id, snapshot.step)
        state = self._open(run_id, step, state, ("snapshots", "state_json", *place))
        if added is not None:
            added = self._open(run_id, step, added, ("snapshots", "added_json", *place))
        whole, more = (_restored(run_id, step, text, values) for text in (state, added))
        counters, own = snapshot.counters_json, snapshot.digest
        return Snapshot(step, whole or "", counters, own, snapshot.since, more)

    def check(
        self, table: str, run_id: str, step: int, row: Row, values: Mapping[str, str]
    ) -> None:
        """Check that the long values which a stored row refers to are there.

        Raises:
            CheckpointCorruptError: One is missing.
        """
        for ix, _ in _LONG_AT[table]:
            if row[ix] is not None and any(one not in values for one in self._named_in(row[ix])):
                raise _missing(run_id, step)

    def stored_values(self, values: Mapping[str, str]) -> dict[str, str]:
        """Give long values as they are to be stored, by address."""
        if self._cipher is None:
            return dict(values)
        return {at: self._cipher.hide(text, _in_values(at)) for at, text in values.items()}

    def sound(self, values: Mapping[str, str]) -> dict[str, str]:
        """Give long values as they were before they were stored, without those that changed."""
        found = {}
        for at, text in values.items():
            if type(text) is not str:  # of damaged rows anything
                continue
            try:
                given = text if self._cipher is None else self._cipher.reveal(text, _in_values(at))
                if self._address(given) == at:
                    found[at] = given
            except ValueError:
                continue  # it is missed where something refers to it
        return found

    def _cut_row(self, table: str, row: Row, found: dict[str, str]) -> Row:
        changed = None
        for ix, name in _LONG_AT[table]:
            text = row[ix]
            if text is not None and (len(text) >= LONG or text[:1] == " "):
                changed = changed or list(row)
                changed[ix] = self._cut(name, text, found)
        return row if changed is None else tuple(changed)

    def _cut(self, column: str, text: str, found: dict[str, str]) -> str:
        if len(text) < LONG and text[:1] != " ":
            return text
        try:
            return cut(text, self._address, found, whole=column in _WHOLE)
        except UnicodeEncodeError:
            return self._cut(column, storable(text), found)

    def _address(self, value: str) -> str:
        if self._cipher is not None:
            return self._cipher.address(value)
        return sha256(value.encode()).hexdigest()

    def _cell(self, text: str, place: tuple[object, ...]) -> str:
        if self._cipher is None:
            return text
        # What it refers to stays to be seen, for those who sweep and have no key
        named = "".join(f"&{address}" for address in references(text))
        return self._cipher.hide(text, place) + named

    def _open(self, run_id: str, step: int, text: str, place: tuple[object, ...]) -> str:
        if self._cipher is None:
            return text
        try:
            return self._cipher.reveal(text.partition("&")[0], place)
        except ValueError as error:
            raise corrupt(run_id, step, f"a value of it cannot be read, as {error}") from None

    def _named_in(self, text: str) -> Iterator[str]:
        if self._cipher is None:
            return references(text)
        return iter(text.split("&")[1:] if text.startswith(PREFIX) else ())

    def _hidden(self, table: str, run_id: str, step: int, row: Row) -> Row:
        changed, at = list(row), row[_PLACE[table]]
        for ix, name in _SECRET_AT[table]:
            if row[ix] is not None and not _has_names_only(name, row[ix]):
                changed[ix] = self._cell(row[ix], (table, name, run_id, step, *at))
        return tuple(changed)

    def _revealed(self, table: str, run_id: str, step: int, row: Row) -> Row:
        changed, at = list(row), row[_PLACE[table]]
        for ix, name in _SECRET_AT[table]:
            if row[ix] is not None and not _has_names_only(name, row[ix]):
                changed[ix] = self._open(run_id, step, row[ix], (table, name, run_id, step, *at))
        return tuple(changed)


PLAIN: Final = Columns()
"""Those of a database that is not encrypted."""


def _has_names_only(column: str, text: str) -> bool:
    """Tell whether a text has no Send in it, but only names of tasks and nodes."""
    if column == "ready_json":
        return "[" not in text[1:] and not text.startswith(PREFIX)
    return column == "chosen" and "{" not in text and not text.startswith(PREFIX)


def _in_runs(run_id: str, name: str) -> tuple[object, ...]:
    return "runs", name, run_id


def _in_values(address: str) -> tuple[object, ...]:
    return "shared_values", "value_json", address


def _restored(run_id: str, step: int, text: str | None, values: Mapping[str, str]) -> str | None:
    try:
        return restored(text, values) if text is not None and text[:1] == " " else text
    except KeyError:
        raise _missing(run_id, step) from None


def _missing(run_id: str, step: int) -> CheckpointCorruptError:
    return corrupt(run_id, step, "a long value that it refers to has changed, or is missing")
