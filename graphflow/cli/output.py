"""What a command writes: harmless words for people, and JSON for programs, alone on stdout."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import ExitStack, redirect_stdout
from typing import Any, Self, TextIO

import click

from graphflow.render.wording import clean

__all__ = ["Output", "complain", "json_text", "safe"]

# What json.dumps leaves as it is although it steers a terminal, or is no text at all. It stands
# inside strings only, so that an escape says the same.
_STEERING = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def safe(text: str) -> str:
    r"""Make a text harmless to print: what steers a terminal becomes visible, as `\x1b`."""
    return clean(text, limit=len(text))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Write JSON that is safe to print, with the letters of all languages as they are."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def complain(text: str) -> None:
    """Write an error for people, on stderr."""
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(safe(text), err=True)


class Output:
    """Where a command writes. Use it in a ``with``.

    With JSON, stdout holds that alone: what nodes, their libraries and the processes they start
    print meanwhile goes to stderr, and so do the words for people.

    Args:
        as_json: Whether the command was asked for JSON.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._stdout: TextIO = sys.stdout
        self._descriptor: int | None = None
        self._undo = ExitStack()

    @property
    def people(self) -> TextIO:
        """The stream that people read."""
        return sys.stderr if self.as_json else sys.stdout

    def say(self, text: str = "", **style: Any) -> None:
        """Write a line for people; the style is click's."""
        click.secho(safe(text), file=self.people, **style)

    def write(self, text: str) -> None:
        """Write a piece of a line for people."""
        click.echo(safe(text), nl=False, file=self.people)

    def json(self, value: Any, *, indent: int | None = 2) -> None:
        """Write a JSON document, when JSON was asked for.

        Args:
            value: The document.
            indent: None puts it on one line.
        """
        if not self.as_json:
            return
        text = json_text(value, indent=indent) + "\n"
        if self._descriptor is None:
            self._stdout.write(text)
            self._stdout.flush()
            return
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def __enter__(self) -> Self:
        self._stdout = sys.stdout
        if self.as_json and _is_descriptor(sys.stdout, 1):
            self._divert()
        elif self.as_json:
            self._undo.enter_context(redirect_stdout(sys.stderr))
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _divert(self) -> None:
        """Keep stdout for the JSON, and let its number lead to stderr, also in child processes."""
        sys.stdout.flush()
        kept = self._descriptor = os.dup(1)
        os.dup2(2, 1)

        def restore() -> None:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            self._descriptor = None

        self._undo.callback(restore)


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError, AttributeError):  # a stand-in of a test or of a notebook
        return False
