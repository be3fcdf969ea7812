"""What --input gives: the fields of one run, or the lines of a batch."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

__all__ = ["Batch", "Line", "read_input", "read_object"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648's base 32, in lower case


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a batch that is not blank.

    Attributes:
        number: From 1; blank lines count.
        fields: The input of its run; None when the line is malformed.
        error: What is wrong with it.
    """

    number: int
    fields: dict[str, Any] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """The lines of a file.

    Attributes:
        name: The file's name, or `-`.
        digest: SHA-256 of its bytes, in hex. A file that was changed is another batch.
        lines: All but the blank ones.
        blank: How many lines are blank.
    """

    name: str
    digest: str
    lines: tuple[Line, ...]
    blank: int

    def run_id(self, line: Line, graph: str) -> str:
        """Make the id of a line's run: always the same for this file, line and graph.

        Args:
            line: The line.
            graph: The graph's name, so that two graphs can run one file into one database.

        Returns:
            26 letters and digits: 130 bits of a SHA-256.
        """
        named = json.dumps([self.digest, line.number, graph]).encode()
        number = int.from_bytes(hashlib.sha256(named).digest()[:17]) >> 6
        return "".join(_LETTERS[number >> shift & 31] for shift in range(125, -5, -5))


def read_input(given: str) -> dict[str, Any] | Batch:
    """Read what --input names.

    Args:
        given: A JSON object; a FILE.json that holds one; any other file: JSON lines; `-`: JSON
            lines from stdin.

    Returns:
        The fields of one run, or a batch.

    Raises:
        click.BadParameter: It is no JSON object, or the file cannot be read.
    """
    if given == "-":
        return _batch("-", sys.stdin.buffer.read())
    if given.lstrip().startswith(("{", "[")):
        return _one(given, "it")
    data = _bytes_of(given)
    if Path(given).suffix.lower() == ".json":
        return _one(_text(data, given), repr(given))
    return _batch(given, data)


def read_object(given: str, option: str) -> dict[str, Any]:
    """Read an option that is a JSON object.

    Raises:
        click.BadParameter: It is none.
    """
    try:
        return _fields(given)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _one(text: str, where: str) -> dict[str, Any]:
    try:
        return _fields(text)
    except ValueError as error:
        _refuse(f"{where} is no input: {error}")


def _batch(name: str, data: bytes) -> Batch:
    digest = hashlib.sha256(data).hexdigest()
    if name == "-":  # an object over several lines, as programs print it
        try:
            return Batch(name, digest, (Line(1, _fields(data.decode("utf-8-sig"))),), 0)
        except ValueError:
            pass  # several lines with an object each, or a mistake that is told by its line
    rows = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if rows[-1] == b"":
        rows.pop()  # the end of the last line begins no new one
    lines = [_line(number, row) for number, row in enumerate(rows, 1) if row.strip()]
    return Batch(name, digest, tuple(lines), len(rows) - len(lines))


def _line(number: int, row: bytes) -> Line:
    try:
        return Line(number, _fields(row.decode()))
    except UnicodeDecodeError as error:
        return Line(number, None, f"not UTF-8: byte {error.start + 1} is 0x{row[error.start]:02x}")
    except ValueError as error:
        return Line(number, None, str(error))


def _fields(text: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: Says what is wrong, and where.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise ValueError(f"not JSON: {error.msg} at {line}column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: it is nested too deeply") from None
    if isinstance(value, dict):
        return value
    kinds = {list: "a list", str: "a string", bool: "a bool", type(None): "null"}
    kind = kinds.get(type(value), "a number")
    raise ValueError(f"an input is a JSON object, {{field: value}}, not {kind}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name} is no JSON value")


def _bytes_of(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        _refuse(
            f'there is no file {name!r}. It is a JSON object, as \'{{"text": "hello"}}\', a'
            " FILE.json with one, a FILE.jsonl with one per line, or - for lines from stdin"
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        _refuse(f"{name!r} cannot be read: {getattr(error, 'strerror', None) or error}")


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(f"{name!r} is not UTF-8: byte {error.start + 1} is 0x{data[error.start]:02x}")


def _refuse(words: str) -> NoReturn:
    raise click.BadParameter(words, param_hint="--input")
