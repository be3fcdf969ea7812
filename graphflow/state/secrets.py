"""Secrets in a state: stored as the name of where they come from, and taken out of other texts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from pydantic_core import core_schema

__all__ = [
    "Secret",
    "begun",
    "has_secrets",
    "is_needed",
    "is_secret",
    "learn",
    "missing",
    "secret_in",
    "without_secrets",
]

_SIGN: Final = "secret:"
_SHORTEST: Final = 4  # characters; shorter ones are parts of ordinary words
_CERTAIN: Final = 8  # characters; a shorter one may stand in a value by chance
_known: dict[str, str] = {}
"""The values that this process has read, as they are and as JSON has them, with their names."""


class Secret:
    """Marks a field whose value is never stored: ``Annotated[SecretStr, Secret("API_KEY")]``.

    The records hold the name alone; whoever begins, resumes or reads the run gets the value from
    the environment, or from a function. The field needs no input and no default.

    Args:
        name: The environment variable, or what the function is called with.
        source: Gives the value of the name, as a lookup in a vault does.
    """

    def __init__(self, name: str, source: Callable[[str], str | None] | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"Secret({name!r}): name the environment variable it comes from")
        self.name, self._source = name, source

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def value(self) -> Any:
        """Read it.

        Returns:
            A pydantic SecretStr.

        Raises:
            ValueError: It is not set, or its source failed.
        """
        from pydantic import SecretStr

        try:
            found = (self._source or os.environ.get)(self.name)
        except Exception as error:
            words = f"its source raised {type(error).__name__}: {error}"
            raise ValueError(f"the secret {self.name!r} is not there: {words}") from error
        if not isinstance(found, str) or not found:
            how = f"set the environment variable {self.name}"
            how = how if self._source is None else f"its source gave nothing for {self.name!r}"
            raise ValueError(f"the secret {self.name!r} is not there: {how}, then go on")
        if len(found) >= _SHORTEST:
            _known.update(dict.fromkeys(_forms(found), self.name))
        return SecretStr(found)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any = None) -> Any:
        """Take and give the name where JSON is concerned, and the value elsewhere."""
        if handler is None:  # the class itself stands in Annotated
            raise TypeError("Annotated[SecretStr, Secret]: say where it comes from: Secret('KEY')")
        written = core_schema.plain_serializer_function_ser_schema(
            lambda _: _SIGN + self.name, return_schema=core_schema.str_schema(), when_used="json"
        )
        taken = core_schema.no_info_plain_validator_function(self._taken, serialization=written)
        return core_schema.with_default_schema(taken, default_factory=self.value)

    def _taken(self, given: Any) -> Any:
        found = self.value()
        plain = found.get_secret_value()
        if given in (_SIGN + self.name, found, plain):
            return found
        is_stored = isinstance(given, str) and given.startswith(_SIGN)
        how = f"write {_SIGN + self.name!r} instead" if is_stored else "leave it out"
        raise ValueError(f"it comes from {self.name!r} alone: {how}")


def has_secrets() -> bool:
    """Tell whether this process has read a secret."""
    return bool(_known)


def without_secrets(text: str) -> str:
    """Put the names of secrets in the places of their values."""
    for value, name in sorted(_known.items(), key=lambda known: -len(known[0])):
        if value in text:
            text = text.replace(value, f"[secret {name}]")
    return text


def begun(text: str) -> int:
    """Say how many characters at the end of a text may be the beginning of a secret."""
    longest = 0
    for value in tuple(_known):
        for size in range(min(len(text), len(value) - 1), longest, -1):
            if text.endswith(value[:size]):
                longest = size
                break
    return longest


@lru_cache(maxsize=32)
def _forms(value: str) -> frozenset[str]:
    """Give a value as it stands in texts, in JSON, and in what `repr` makes of it."""
    plain, ascii_only = (json.dumps(value, ensure_ascii=only)[1:-1] for only in (False, True))
    return frozenset((value, plain, ascii_only, repr(value)[1:-1]))


def secret_in(text: str) -> str:
    """Say in words that a text has the value of a secret in it as it is; else give nothing.

    Args:
        text: What is about to be stored: a JSON text, or a name.
    """
    if not _known:
        return ""
    for value in tuple(_known):  # another thread may read one meanwhile
        if len(value) >= _CERTAIN and value in text:
            return (
                f"it has the value of the secret {_known[value]!r} in it, which would be stored."
                " Leave that out: a node that needs it reads it from its state"
            )
    return ""


def learn(model: Any) -> None:
    """Read the secrets of a state class, as far as they are there, so that they are known."""
    for info in model.model_fields.values():
        missing(info)  # what is not set here nobody can have put in


def missing(info: Any) -> str:
    """Say in words that a field of a model is a secret that is not there; else give nothing."""
    for mark in info.metadata:
        if isinstance(mark, Secret):
            try:
                mark.value()
            except ValueError as error:
                return str(error)
    return ""


def is_secret(info: Any) -> bool:
    """Tell whether a field of a model is a secret."""
    return any(isinstance(mark, Secret) for mark in info.metadata)


def is_needed(info: Any) -> bool:
    """Tell whether a field of a model must be given: a secret comes by itself."""
    return bool(info.is_required()) and not is_secret(info)
