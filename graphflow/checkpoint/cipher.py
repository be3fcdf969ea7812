"""Encryption of what stands in columns, under a key that the database does not have.

AES-256-GCM, with a random nonce of 96 bits for each text. What it is authenticated with says where
the text stands, so that one that was put elsewhere is found. Each database has a salt of its own,
and so its own keys (HKDF with SHA-256): one for texts, one for digests, one for the addresses of
long values. One database should not get more than four billion texts, the bound for random nonces.

Source:
    NIST SP 800-38D (GCM); RFC 5869 (HKDF)
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from typing import Any, Final

from graphflow.checkpoint.digest import compact, storable
from graphflow.errors import CheckpointError

__all__ = ["PREFIX", "Cipher"]

PREFIX: Final = "gf1:"
"""How a text begins that is encrypted in this way."""
_NONCE: Final = 12


class Cipher:
    """The keys of one database.

    Args:
        key: The user's key, 32 bytes.
        salt: The database's; not secret.
    """

    __slots__ = ("_addresses", "_aead", "_digests", "check", "salt")

    def __init__(self, key: bytes, salt: str) -> None:
        aead, derive = _library()
        keys = derive(key, salt.encode())
        self._aead = aead(keys[:32])
        self._digests, self._addresses = keys[32:64], keys[64:96]
        self.salt = salt
        self.check = hmac.digest(keys[96:], b"graphflow", "sha256").hex()
        """Tells whether a key is the right one, and nothing else of it."""

    @classmethod
    def new(cls, key: bytes) -> "Cipher":
        """Make the keys of a new database."""
        return cls(key, secrets.token_hex(16))

    def hide(self, text: str, place: tuple[object, ...]) -> str:
        """Encrypt a text.

        Args:
            text: The text; what UTF-8 cannot hold of it is replaced (see `storable`).
            place: Where it will stand: text and numbers.
        """
        nonce = secrets.token_bytes(_NONCE)
        hidden = self._aead.encrypt(nonce, storable(text).encode(), self._bound(place))
        return PREFIX + b64encode(nonce + hidden).decode()

    def reveal(self, text: str, place: tuple[object, ...]) -> str:
        """Decrypt a text.

        Raises:
            ValueError: It is not what was encrypted, or not for this place.
        """
        from cryptography.exceptions import InvalidTag

        if not text.startswith(PREFIX):
            raise ValueError("it is not encrypted")
        hidden = b64decode(text[len(PREFIX) :], validate=True)
        try:
            shown: bytes = self._aead.decrypt(hidden[:_NONCE], hidden[_NONCE:], self._bound(place))
        except InvalidTag:
            raise ValueError("it has changed, or has been put elsewhere") from None
        return shown.decode()

    def digest_of(self, text: str) -> str:
        """Digest a text so that nobody without the key can: HMAC-SHA256, in hex."""
        return hmac.digest(self._digests, text.encode(), "sha256").hex()

    def address(self, value: str) -> str:
        """Give the address of a long value, which says nothing of it to who has no key."""
        return hmac.digest(self._addresses, value.encode(), "sha256").hex()

    def _bound(self, place: tuple[object, ...]) -> bytes:
        known = [storable(one) if isinstance(one, str) else one for one in place]
        return compact([self.salt, *known]).encode()


def _library() -> tuple[Any, Any]:
    """Import what encrypts: its cipher, and a function that derives keys."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise CheckpointError(
            "a key is set, and the library that encrypts is not installed: "
            "`pip install 'graphflow-agents[encryption]'`"
        ) from error

    def derive(key: bytes, salt: bytes) -> bytes:
        return HKDF(SHA256(), length=128, salt=salt, info=b"graphflow 1").derive(key)

    return AESGCM, derive
