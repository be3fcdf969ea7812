"""Patterns that are stored, tried on texts in a time that grows with the text and no faster."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["is_found"]


def is_found(pattern: str, text: str) -> bool:
    """Tell whether a pattern is found in a text, as far as that can be told in such a time.

    Args:
        pattern: Whatever was stored as one.
        text: The text.

    Returns:
        True also for a pattern that only Python's own engine knows, which may take for ever.

    Raises:
        ValueError: It is no pattern.
    """
    tried = _tried(pattern)
    if tried is None:
        return True
    return bool(tried.isinstance_python(text))


@lru_cache(maxsize=64)
def _tried(pattern: str) -> Any:
    try:
        schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True)
        return SchemaValidator(schema)
    except SchemaError:
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            raise ValueError(f"{pattern!r:.60} is no pattern") from error
        return None
