"""Where a service is, over TCP, and what its clients say when it is not."""

from typing import Final
from urllib.parse import urlsplit

from clients.subscription import AddressError, DisconnectedError

READ_BYTES: Final = 256 * 1024
"""Most taken from the socket in one read."""


def parse_address(url: str) -> tuple[str, int]:
    """Host and port of `tcp://HOST:PORT`. Raises `AddressError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # UnicodeError among them
        host, port = None, None
    if not host or not port or parts.scheme != "tcp" or parts.path.strip("/"):
        raise AddressError(f"{url!r} is not an address: tcp://HOST:PORT is needed")
    return host, port


def no_connection(timeout_s: float) -> DisconnectedError:
    return DisconnectedError(f"no connection within {timeout_s:g} s")


def silence(timeout_s: float) -> DisconnectedError:
    return DisconnectedError(f"silent for {timeout_s:g} s")
