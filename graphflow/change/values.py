"""Stored states in the words of today's state class: migrated, renamed, with new defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.change.declared import Migration
from graphflow.change.names import Names
from graphflow.change.verdict import Finding
from graphflow.definition import Definition
from graphflow.errors import StateError, did_you_mean, text_of
from graphflow.state.schema import StateSchema
from graphflow.state.secrets import is_needed, missing
from graphflow.state.single import plain_text
from graphflow.state.words import shown, what_is_wrong

__all__ = ["StateChange", "Unfit", "same_json"]

Values = dict[str, Any]
"""Plain JSON values, by field."""


class Unfit(Exception):  # noqa: N818 - it never leaves the judging of a run
    """A stored state has no form in today's state class.

    Attributes:
        findings: Why.
        cause: What was raised by a migration or a validator.
    """

    def __init__(self, findings: Sequence[Finding], cause: Exception | None = None) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings, self.cause = tuple(findings), cause


class StateChange:
    """How states that one graph wrote are told in the words of today's.

    Args:
        definition: Today's graph.
        schema: Its state.
        today: Its spec.
        spec: The graph that wrote them.
        version: Its version.

    Attributes:
        stored: The fields of that graph, as its spec tells them.
        names: What they are called today.
        way: The migrations that lead from its version to today's.

    Raises:
        Unfit: There is no way from its version to today's.
    """

    def __init__(
        self,
        definition: Definition,
        schema: StateSchema[Any],
        today: Mapping[str, Any],
        spec: Mapping[str, Any],
        version: int,
    ) -> None:
        self._definition, self.schema = definition, schema
        self.stored: Mapping[str, Any] = spec.get("state", {}).get("fields", {})
        self._alike = _alike(self.stored, today["state"]["fields"])
        self.names = Names.of_fields(spec, schema.names, definition.changes.fields)
        way = definition.changes.way(version, definition.version)
        if isinstance(way, int) or version > definition.version:
            raise Unfit([_no_way(definition, version, way)])
        self.way = way

    def carry(self, values: Mapping[str, Any], fill: Mapping[str, Any] | None = None) -> Values:
        """Tell a state in the words of today.

        Args:
            values: The plain JSON values that were stored.
            fill: Values that new fields take, instead of their defaults.

        Returns:
            The plain JSON values of all fields of today's state class.

        Raises:
            Unfit: It does not fit.
        """
        found = dict(values)
        for migration in self.way:
            found = self._migrated(migration, found)
        if self.way:
            self._refuse_lost(values, found)
        found = self._renamed(found)
        unknown = found.keys() - set(self.schema.names)
        if self.way and (strange := sorted(unknown - values.keys())):
            raise Unfit([self._strange(name) for name in strange])
        found = {name: value for name, value in found.items() if name not in unknown}
        missing = [name for name in self.schema.names if name not in found]
        found |= {name: fill[name] for name in missing if fill is not None}
        return self._fitting(found, [] if fill is not None else missing)

    def _renamed(self, values: Values) -> Values:
        """Give values the names of today; of two that would have one, the one would be lost."""
        before: dict[str, str] = {}
        for name in values:
            later = self._now(name, values)
            if later in before:
                words = f"the run has a value for it as {before[later]!r} and as {name!r}"
                to_migrate = f"Make one of both: {_to_migrate(self._definition.version)}"
                fix = self._fix() if self.way else to_migrate
                raise Unfit([Finding("migration", f"field {later!r}", words, fix)])
            before[later] = name
        return {later: values[name] for later, name in before.items()}

    def _now(self, name: str, among: Values) -> str:
        """Give a field's name today; a new name that a migration gave a value keeps that."""
        later = self.names.find(name)
        if later is None or later == name:
            return name
        is_taken = later in among and self._now(later, among) == later
        return name if is_taken else later

    def _migrated(self, migration: Migration, values: Values) -> Values:
        """Call a migration; it gets values of its own, which it may change."""
        try:
            result = migration.fn(json.loads(json.dumps(values)))
        except Exception as error:
            words = f"it raised {type(error).__name__}: {text_of(error)}"
            raise Unfit([self._broken(migration, words)], error) from error
        if not isinstance(result, Mapping):
            words = f"it returned {shown(result)}, and not the values of all fields"
            raise Unfit([self._broken(migration, words)])
        try:
            found: Values = json.loads(plain_text(dict(result)))
        except StateError as error:
            words = f"what it returned is no plain JSON: {error}"
            raise Unfit([self._broken(migration, words)], error) from error
        return found

    def _broken(self, migration: Migration, words: str) -> Finding:
        return Finding("migration", migration.name, words, "Mend it, and resume the run again")

    def _refuse_lost(self, values: Mapping[str, Any], found: Values) -> None:
        """Refuse a migration that leaves out what the run has, and would lose it."""
        pairs = ((name, self.names.find(name)) for name in values if name not in found)
        names = [name for name, later in pairs if later is not None and later not in found]
        if names:
            words = f"it left out {', '.join(map(repr, names))}, which the run has"
            fix = "Return {**values, ...}, or say what the field is from now on"
            raise Unfit([Finding("migration", self.way[-1].name, words, fix)])

    def _strange(self, name: str) -> Finding:
        words = f"it returned {name!r}, which {self.schema.model.__name__} does not have"
        fix = did_you_mean(name, self.schema.names).strip() or "Leave it out"
        return Finding("migration", self.way[-1].name, words, fix)

    def _fitting(self, found: Values, missing: Sequence[str]) -> Values:
        fields = self.schema.model.model_fields
        required = [name for name in missing if is_needed(fields[name])]
        if required:
            raise Unfit([self._required(name) for name in required])
        try:
            values = self.schema.read_values(found)
        except StateError as error:
            raise Unfit(self._unfit(found, error), error) from error
        plain: Values = json.loads(self.schema.codec.text(values))
        # A set, for one, is written in another order each time
        return plain | {name: value for name, value in found.items() if name in self._alike}

    def _required(self, name: str) -> Finding:
        words = "the run has no value for it, and it has no default"
        if self.way:
            words = f"{self.way[-1].name} does not return it, and it has no default"
            return Finding("migration", f"field {name!r}", words, "Return it, or give it a default")
        fix = f"Give it a default, or {_to_migrate(self._definition.version)}"
        return Finding("migration", f"field {name!r}", words, fix)

    def _unfit(self, found: Values, whole: StateError) -> list[Finding]:
        """Name the fields whose values do not fit, each with its value."""
        findings = []
        for name, field in self.schema.fields.items():
            if name not in found or field.codec.informed:
                continue
            try:
                field.codec.read(json.dumps(found[name]))
            except Exception as error:  # noqa: BLE001 - whatever the user's validators raise
                if words := missing(self.schema.model.model_fields[name]):
                    findings.append(Finding("secret", f"field {name!r}", words))
                    continue
                words = f"its stored value {shown(found[name])} does not fit: "
                words += what_is_wrong(error, below=1)
                findings.append(Finding("migration", f"field {name!r}", words, self._fix()))
        return findings or [Finding("migration", "state", str(whole), self._fix())]

    def _fix(self) -> str:
        if self.way:
            return f"Mend {self.way[-1].name}"
        return f"Keep the type, or {_to_migrate(self._definition.version)}"


def same_json(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1 is neither true nor 1.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _alike(stored: Mapping[str, Any], today: Mapping[str, Any]) -> set[str]:
    """Find the fields of which the same is said: their values are written as they were."""
    parts = ("type", "reducer", "shape")
    return {
        name
        for name, field in today.items()
        if name in stored
        and all(stored[name].get(part, field[part]) == field[part] for part in parts)
    }


def _no_way(definition: Definition, stored: int, last: object) -> Finding:
    if stored > definition.version:
        words = (
            f"the run is on version {stored} of graph {definition.name!r}, and this is version"
            f" {definition.version}"
        )
        return Finding("refused", "version", words, "Resume it with the code of that version")
    words = f"the run is on version {stored}, the graph on version {definition.version}"
    fix = f"Write @graph.migration({last}, {definition.version}) over a function of its values"
    return Finding("migration", "version", words, fix)


def _to_migrate(version: int) -> str:
    return (
        f"write StateGraph(..., version={version + 1}) and"
        f" @graph.migration({version}, {version + 1})"
    )
