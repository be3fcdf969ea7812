"""Where a file lies: how long it is, who may read it, and what kind of file system holds it."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FileFacts", "facts_of", "file_system", "is_network"]

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs"}
    | {"lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs"}
    | {"fuse.cephfs", "fuse.davfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file on the disk.

    Attributes:
        path: Where it is.
        size: Its length in bytes.
        mode: Its permission bits: 0o600.
    """

    path: Path
    size: int
    mode: int


def facts_of(path: Path) -> FileFacts | None:
    """Look at a file; None when it is not there."""
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return FileFacts(path, info.st_size, stat.S_IMODE(info.st_mode))


def file_system(path: Path) -> str | None:
    """Tell the kind of file system that a file lies on: `ext4`, `nfs4`.

    Args:
        path: The file, which exists.

    Returns:
        None where the system does not say (it does on Linux).
    """
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, kind, longest = os.path.realpath(path), None, -1
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = _spelled(mount.split(" ")[4])
        # Of several on one point the last one lies above the others
        if len(point) >= longest and _lies_below(place, point):
            kind, longest = rest.split(" ")[0], len(point)
    return kind


def is_network(kind: str | None) -> bool:
    """Tell whether a file system of this kind is shared with other machines."""
    return kind in _NETWORK


def _spelled(name: str) -> str:
    r"""Read a name in which blanks are written as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), name)


def _lies_below(place: str, point: str) -> bool:
    return point in ("/", place) or place.startswith(f"{point}/")
