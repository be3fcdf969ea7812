"""Whether a database is encrypted, and whether a key opens it."""

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from graphflow.checkpoint.cipher import Cipher
from graphflow.checkpoint.columns import PLAIN, Columns
from graphflow.checkpoint.keys import VARIABLE
from graphflow.errors import WrongKeyError

if TYPE_CHECKING:
    from sqlite3 import Cursor

__all__ = ["Lock", "columns_of", "lock_of", "new_lock"]

Lock = tuple[str, str]
"""The salt of a database, and the check of its key."""


def new_lock(key: bytes) -> Lock:
    """Make the lock of a database that is to be made with a key."""
    cipher = Cipher.new(key)
    return cipher.salt, cipher.check


def lock_of(cursor: "Cursor") -> Lock | None:
    """Read the lock of a database; None when it is not encrypted."""
    row = cursor.execute("SELECT salt, key_check FROM encryption").fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def columns_of(lock: Lock | None, key: bytes | None, path: Path) -> Columns:
    """Say how a database stores values.

    Args:
        lock: The database's.
        key: What is to open it.
        path: The file, for messages.

    Raises:
        WrongKeyError: They do not fit.
    """
    if lock is None and key is None:
        return PLAIN
    if lock is None:
        raise WrongKeyError(
            f"{path} was made without a key, and whoever has it can read its values. Give no key "
            f"(and unset {VARIABLE}); or copy its runs into a new file that is encrypted: "
            "`flow.get(run_id).save(path, key=...)`"
        )
    if key is None:
        raise WrongKeyError(
            f"{path} is encrypted: set {VARIABLE}, or open it as "
            f"SqliteCheckpointer({path.name!r}, key=...)"
        )
    cipher = Cipher(key, lock[0])
    if not hmac.compare_digest(cipher.check.encode(), lock[1].encode()):
        raise WrongKeyError(
            f"{path} was made with another key than this one: set {VARIABLE}, or give key=, "
            "as it was then"
        )
    return Columns(cipher)
