"""Where a database is, or is to be."""

import os
from pathlib import Path

from graphflow.errors import DatabaseUnavailableError

__all__ = ["checked_path", "full_path"]


def checked_path(path: str | os.PathLike[str], *, create: bool) -> Path:
    """Give the full path of a database.

    Args:
        path: As it was given; `~` is expanded.
        create: Whether the file may be made.

    Raises:
        DatabaseUnavailableError: There cannot be a database at this path.
    """
    if os.fspath(path) == ":memory:":
        raise DatabaseUnavailableError(
            "':memory:' is no file: leave the path out for records in memory"
        )
    full = full_path(path)
    try:
        _check_place(path, full, create=create)
    except OSError as error:
        raise DatabaseUnavailableError(f"{path} cannot be opened: {error.strerror}") from error
    return full


def full_path(path: str | os.PathLike[str]) -> Path:
    """Give the full path of a file; `~` is expanded.

    Raises:
        DatabaseUnavailableError: No file can be called so.
    """
    try:
        wrong = "a NUL character" if b"\0" in os.fsencode(path) else ""
    except UnicodeEncodeError:
        wrong = "half of a surrogate pair"
    if wrong:
        raise DatabaseUnavailableError(
            f"{os.fspath(path)!r} cannot be the path of a file: there is {wrong} in it."
            " Take it out."
        )
    return Path(path).expanduser().absolute()


def _check_place(path: str | os.PathLike[str], full: Path, *, create: bool) -> None:
    if full.is_dir():
        raise DatabaseUnavailableError(
            f"{os.fspath(path) or repr('')} is a folder: name a file in it, as {full / 'runs.db'}"
        )
    if full.exists() and not full.is_file():
        raise DatabaseUnavailableError(f"{path} is a pipe or a device: name a file on a disk")
    folder = Path(os.path.realpath(full)).parent  # a link may lead to a file that is to be made
    if not folder.is_dir():
        raise DatabaseUnavailableError(
            f"{path} cannot be made: there is no folder {folder}; `mkdir -p {folder}`"
        )
    if not create and not full.exists():
        raise DatabaseUnavailableError(
            f"there is no file {path}; a run that is begun with it makes it"
        )
