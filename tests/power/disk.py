"""A disk as a power cut leaves it: what was synced, and any part of what was not.

A disk keeps what was synced. Of what was written since, each sector holds any of the contents that
it had, an old one beside a new one, whatever was written first; a file has any of the lengths that
it had; and a name that was made or removed is there or not, until its folder is synced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal

__all__ = ["MODES", "Disk", "Mode"]

Mode = Literal["none", "all", "first", "some", "sectors", "pages", "junk"]
"""What is left of the writes that were not synced: none, all, the first ones, some of them, any
version of each sector of 512 bytes or of 4 KiB, or the same with junk in new sectors."""
MODES: tuple[Mode, ...] = ("none", "all", "first", "some", "sectors", "pages", "junk")


@dataclass(slots=True)
class File:
    """What is on the disk of a file for certain, and what was done to it since."""

    synced: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes at an offset, and cuts at a length (None)."""

    def write(self, offset: int, data: bytes) -> None:
        """Write without a sync."""
        self.since.append((offset, data))

    def truncate(self, length: int) -> None:
        """Cut without a sync."""
        self.since.append((length, None))

    def sync(self) -> None:
        """Put everything on the disk."""
        self.synced, self.since = bytes(_applied(self.synced, self.since)), []

    def after_a_cut(self, mode: Mode, chance: Random) -> bytes:
        """Draw what is left."""
        if mode == "none" or not self.since:
            return self.synced
        if mode in ("all", "first", "some"):
            taken = self.since
            if mode == "first":
                taken = self.since[: chance.randrange(len(self.since) + 1)]
            elif mode == "some":
                taken = [one for one in self.since if chance.random() < 0.7]
            return bytes(_applied(self.synced, taken))
        return self._any_sectors(4096 if mode == "pages" else 512, chance, is_junk=mode == "junk")

    def _any_sectors(self, size: int, chance: Random, *, is_junk: bool) -> bytes:
        content = bytearray(self.synced)
        lengths, versions = [len(content)], {}
        for place, data in self.since:
            end = len(content) if data is None else place + len(data)
            first, last = place // size, -(-end // size)
            for sector in range(first, last):
                if sector not in versions:
                    old = bytes(content[sector * size : (sector + 1) * size])
                    if is_junk and not old:
                        old = chance.randbytes(size)
                    versions[sector] = [old]
            content = _applied(content, [(place, data)])
            lengths.append(len(content))
            for sector in range(first, last):
                versions[sector].append(bytes(content[sector * size : (sector + 1) * size]))
        length = chance.choice([lengths[0], lengths[-1], chance.choice(lengths)])
        left = bytearray(length)
        kept = min(length, len(self.synced))
        left[:kept] = self.synced[:kept]
        for sector, contents in versions.items():
            at = sector * size
            if at < length:
                drawn = chance.choice(contents).ljust(size, b"\0")
                left[at : at + size] = drawn[: length - at]
        return bytes(left)


class Disk:
    """A folder on a disk, and what a power cut leaves of it."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        """As a process sees them."""
        self._synced: dict[str, File] = {}
        self._since: list[tuple[str, File | None]] = []

    def make(self, name: str, content: bytes = b"") -> None:
        """Make a file; its name is not on the disk yet."""
        self.names[name] = File(content)
        self._since.append((name, self.names[name]))

    def remove(self, name: str) -> None:
        """Remove a file; its name is still on the disk."""
        del self.names[name]
        self._since.append((name, None))

    def sync_names(self) -> None:
        """Put all names on the disk."""
        self._synced = dict(self.names)
        self._since.clear()

    def after_a_cut(self, mode: Mode, chance: Random) -> dict[str, bytes]:
        """Draw what is left: names, with their contents."""
        names = dict(self._synced)
        taken = self._since
        if mode == "none":
            taken = []
        elif mode != "all":
            taken = self._since[: chance.randrange(len(self._since) + 1)]
            if chance.random() < 0.3:  # one name may be there without another that is older
                taken = [one for one in self._since if chance.random() < 0.5]
        for name, file in taken:
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        return {name: file.after_a_cut(mode, chance) for name, file in names.items()}


def _applied(content: bytes | bytearray, done: list[tuple[int, bytes | None]]) -> bytearray:
    result = bytearray(content)
    for place, data in done:
        if len(result) < place:
            result += bytes(place - len(result))
        if data is None:
            del result[place:]
        else:
            result[place : place + len(data)] = data
    return result
