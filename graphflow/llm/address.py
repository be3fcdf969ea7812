"""Where a server is and what opens it: base URLs and keys, checked, and fit to be shown."""

from urllib.parse import urlsplit, urlunsplit

from graphflow.errors import NoModelError

__all__ = ["checked_key", "checked_url", "shown"]


def checked_url(url: str) -> str:
    """Take a base URL, without the slash at its end.

    Raises:
        NoModelError: It has no scheme that is spoken here, or names no host.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or a bracket is missing
        usable = False
    if not usable:
        raise NoModelError(
            f"the base URL {url.rpartition('@')[2]!r} is none: it must begin with http:// or "
            "https:// and name a host, as http://127.0.0.1:8080/v1 does. Check OPENAI_BASE_URL."
        )
    return url


def checked_key(key: str | None) -> str:
    """Take an API key; "" is none.

    Raises:
        NoModelError: It cannot stand in a header. The message does not show it.
    """
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise NoModelError(
            "the API key holds a character that no key has (a space, a line's end, a letter "
            "outside ASCII). Check OPENAI_API_KEY."
        )
    return key


def shown(url: str) -> str:
    """Write a URL for people: without a password, without a query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
