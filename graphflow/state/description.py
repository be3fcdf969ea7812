"""What is stored of a state class: enough to say later whether it has changed, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from weakref import WeakKeyDictionary

from graphflow.state.codec import Schema, leaves
from graphflow.state.schema import StateSchema
from graphflow.state.secrets import is_needed

__all__ = ["described", "type_words"]

_NAMES: Final = frozenset({"ref", "schema_ref", "cls_name", "model_name", "title", "default"})
"""What a class is called, and what its fields begin with: stored values do not depend on that."""


_MODULES: Final = re.compile(
    r"""'[^']*'|"[^"]*"|(?:(?:[A-Za-z_]\w*|<locals>)\.)+|\bat 0x[0-9a-fA-F]+"""
)
"""What is quoted, or where something comes from: the modules of a name, a place in memory."""


def described(schema: StateSchema[Any]) -> dict[str, Any]:
    """Describe a state for the spec of its graph.

    Returns:
        ``{"class", "fields": {name: {"type", "reducer", "replays", "required", "shape"}}}``;
        `shape` is a digest of all that is said of the field's type, models in it included.
    """
    if schema in _described:
        return _described[schema]
    parts = schema.parts
    found = _described[schema] = {
        "class": schema.model.__qualname__,
        "fields": {
            name: {
                "type": type_words(info.annotation),
                "reducer": r.name if (r := schema.reducers.get(name)) else None,
                "replays": name in schema.replays,
                "required": is_needed(info),
                "shape": _shape(parts.fields[name]["schema"], parts.definitions),
            }
            for name, info in schema.model.model_fields.items()
        },
    }
    return found


_described: WeakKeyDictionary[StateSchema[Any], dict[str, Any]] = WeakKeyDictionary()


def type_words(annotation: Any) -> str:
    """Write a type without where its parts come from: a script is a module by itself.

    What stands in its `Annotated` is elsewhere in the memory of each process.
    """
    if type(annotation) is type:
        return annotation.__name__
    return _MODULES.sub(lambda found: found[0] if found[0][0] in "'\"" else "", str(annotation))


def _shape(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    said = [_said(part) for part in leaves(schema, definitions)]
    return sha256(repr(said).encode("utf-8", "replace")).hexdigest()[:16]


def _said(part: Schema) -> list[tuple[str, str]]:
    """List what a part of a schema says by itself: its kind, its bounds, its names, its choices."""
    found = []
    for key, value in part.items():
        if key in _NAMES:
            continue
        if isinstance(value, str | int | float):
            found.append((key, repr(value)))
        elif key == "members":
            found.append((key, repr([getattr(member, "value", member) for member in value])))
        elif isinstance(value, dict) and key in {"fields", "choices"}:
            found.append((key, repr(list(value))))
        elif isinstance(value, list) and all(isinstance(one, str | int) for one in value):
            found.append((key, repr(value)))
    return sorted(found)
