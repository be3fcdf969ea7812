"""How numbers and foreign texts are put into words that fit a drawing."""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from unicodedata import category, east_asian_width

from graphflow.names import END, START

__all__ = [
    "LABEL",
    "TIMES",
    "clean",
    "clock",
    "columns",
    "counted",
    "cut",
    "duration",
    "label_of",
    "listed",
    "node_of",
    "number",
    "one_line",
    "span",
    "step_list",
    "tallied",
    "width",
]

LABEL = 28
"""Characters of a label; the whole text is in the tooltip."""
TOOLTIP = 10_000
TIMES: Final = "\N{MULTIPLICATION SIGN}"

# What steers a terminal, a layout engine or the direction of reading, and what XML cannot hold.
_UNSEEN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_DIRECTION = {chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)}
_NARROW = frozenset("iljtfrI.,:;'|!()[]{}/\\ ·`-")
_WIDE = frozenset("mwMW@%—…→")


def clean(text: str, limit: int = TOOLTIP) -> str:
    r"""Make a foreign text harmless to show: what is unseen becomes visible, as `\x1b` or `\u202e`.

    Args:
        text: Anything, of any length.
        limit: Characters to keep.

    Returns:
        The text with its line breaks; every other control character and every override of the
        reading direction is spelled out.
    """
    kept = text if len(text) <= limit else text[: limit - 1] + "…"
    if kept.isascii() and kept.isprintable():
        return kept
    kept = kept.replace("\r\n", "\n")
    return "".join(_visible(char) for char in kept)


def _visible(char: str) -> str:
    if char in "\n\t":
        return char
    if char in _DIRECTION or category(char) in _UNSEEN:
        return char.encode("unicode_escape").decode()
    return char


def one_line(text: str) -> str:
    """Clean a text and put it on one line."""
    return " ".join(clean(text).split())


def cut(text: str, limit: int = LABEL) -> str:
    """Clean a text, put it on one line and keep its beginning.

    Args:
        text: Anything.
        limit: Characters to keep, the final `…` included.

    Returns:
        At most `limit` characters.
    """
    line = one_line(text[: limit * 8])
    if len(line) > limit or len(text) > limit * 8:
        return line[: limit - 1].rstrip() + "…"
    return line


def listed(value: object) -> list[Any]:
    """Give a list as it is, and none of its parts where a schema says something else instead."""
    return value if isinstance(value, list) else []


def label_of(name: str) -> str:
    """Say a node's name as it is shown."""
    return {START: "START", END: "END"}.get(name) or one_line(name) or "(no name)"


def node_of(key: str, names: Container[str]) -> str:
    """Find the node of a task or an item: `work#1` is one of `work`, `m[0]` one of `m`."""
    return key if key in names else key.partition("[")[0].partition("#")[0]


def duration(ms: float) -> str:
    """Say a time: `3 ms`, `0.14 s`, `2.1 s`, `48 s`, `3 min 20 s`, `2 h 5 min`."""
    if ms < 1:
        return "<1 ms"
    if ms < 100:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def number(count: int) -> str:
    """Say a count: `940`, `9,400`, `94k`, `9.4M`."""
    if count < 10_000:
        return f"{count:,}"
    if count < 999_500:
        return f"{count / 1000:.0f}k"
    return f"{count / 1_000_000:.3g}M"


def counted(count: int, word: str) -> str:
    """Say how many: `1 step`, `3 steps`, `2 tries`."""
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    return f"{number(count)} {word if count == 1 else plural}"


def tallied(names: Iterable[str]) -> list[str]:
    """Name each once, and say how often if several times."""
    return [f"{n} {TIMES}{times}" if times > 1 else n for n, times in Counter(names).items()]


def clock(at: str, since: str) -> str:
    """Say when something happened: `14:05 UTC`, or `11-23 14:05 UTC` when it was another day.

    Args:
        at: ISO 8601.
        since: The same, of the time to compare it with.
    """
    when, before = datetime.fromisoformat(at).astimezone(UTC), datetime.fromisoformat(since)
    day = "" if when.date() == before.astimezone(UTC).date() else "%m-%d "
    return when.strftime(f"{day}%H:%M UTC")


def span(steps: Sequence[int]) -> list[str]:
    """Join neighbouring numbers: 2, 3, 4, 7 become `2-4` (with an en dash) and `7`."""
    parts: list[list[int]] = []
    for step in steps:
        if parts and parts[-1][-1] == step - 1:
            parts[-1].append(step)
        else:
            parts.append([step])
    return [f"{p[0]}\N{EN DASH}{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts]


def step_list(steps: Sequence[int], limit: int = 5) -> str:
    """Say in which steps something happened: `4, 6, 8`, or the first and last ones of many.

    Args:
        steps: Step numbers, rising.
        limit: Parts to show.

    Returns:
        `2, 4, 6 … 98` when there are more.
    """
    parts = span(steps)
    if len(parts) <= limit:
        return ", ".join(parts)
    return f"{', '.join(parts[: limit - 2])} … {parts[-1]}"


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Estimate how wide a text is in Helvetica.

    Args:
        text: One line.
        size: Font size in points.
        bold: Whether it is bold.

    Returns:
        Points, a little too many rather than too few.
    """
    total = sum(map(_em, text))
    return size * total * (1.08 if bold else 1.0)


def _em(char: str) -> float:
    if char in _NARROW:
        return 0.32
    if char in _WIDE:
        return 0.9
    if char.isascii():
        return 0.7 if char.isupper() else 0.57
    return 1.05 if east_asian_width(char) in "WF" else 0.65


def columns(text: str) -> int:
    """Count the columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if category(c) in ("Mn", "Me", "Cf") else 2 if east_asian_width(c) in "WF" else 1
        for c in text
    )
