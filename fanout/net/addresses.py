"""Addresses as people write them: hosts, ports and URLs.

Each is checked before anything opens. A proxy's URL is parsed here once, into a `Proxy`: the
WebSocket and REST are both built from that value, so they cannot read the same URL differently.
Logs, errors and reports show a proxy without its login.
"""

import ipaddress
import socket
from typing import Any, Final
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

import msgspec

from fanout.errors import UsageError

PROXY_SCHEMES: Final = ("http", "socks5", "socks5h")
"""The two for SOCKS mean the same: the proxy resolves names. An `https` proxy, which is itself
reached by TLS, is not supported."""

MAX_SOCKS_LOGIN_BYTES: Final = 255
"""Of a name and of a password each (RFC 1929)."""


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy. `host` is ASCII and without brackets. `login` is name and password, decoded."""

    scheme: str
    host: str
    port: int
    login: tuple[bytes, bytes] | None = None

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS 5. Otherwise it is an HTTP proxy."""
        return self.scheme != "http"

    def __str__(self) -> str:
        return f"{self.scheme}://{authority(self.host, self.port)}"

    def __repr__(self) -> str:
        return f"<Proxy {self}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", str(self))]


def check_port(port: int) -> None:
    """Raises `UsageError` for a number that is not a TCP port."""
    if not 0 <= port <= 65_535:
        raise UsageError(f"port {port}: 0 to 65535, where 0 takes a free one")


def check_url(flag: str, url: str | None, schemes: tuple[str, ...]) -> None:
    """Raises `UsageError` unless `url` is None or an absolute URL of one of `schemes`, without a
    name and password, which logs would show."""
    if url is None:
        return
    if "@" in url:
        raise UsageError(f"{flag}: the URL holds a name or a password: leave them out")
    if _split(url, schemes) is None:
        raise UsageError(f"{flag} {url!r}: {' or '.join(schemes)}://HOST[:PORT] is needed")


def parse_proxy(source: str, url: str) -> Proxy:
    """The proxy that a URL names: `SCHEME://[NAME[:PASSWORD]@]HOST:PORT`, the login
    percent-encoded. There is no default port: programs disagree on it.

    Raises `UsageError`, which names `source` and never shows the URL: it may hold a password.
    """
    parts = _split(url, PROXY_SCHEMES)
    if parts is None or parts.port is None or _has_more_than_an_authority(parts):
        schemes = " or ".join(f"{each}://" for each in PROXY_SCHEMES)
        raise UsageError(
            f"{source} cannot be used: {schemes}HOST:PORT is needed, "
            "any name and password percent-encoded"
        )
    return Proxy(
        scheme=parts.scheme,
        host=(parts.hostname or "").encode("idna").decode(),
        port=parts.port,
        login=_login(source, parts),
    )


def _has_more_than_an_authority(parts: SplitResult) -> bool:
    """Whether a path, a query or a fragment follows. That is most often the rest of a password
    with `/`, `?` or `#` in it, and what stands before it is no host."""
    return parts.path not in ("", "/") or bool(parts.query or parts.fragment)


def _login(source: str, parts: SplitResult) -> tuple[bytes, bytes] | None:
    """Name and password; None if there are none, as in `http://@HOST:PORT`."""
    name, password = unquote_to_bytes(parts.username or ""), unquote_to_bytes(parts.password or "")
    if not name and not password:
        return None
    if parts.scheme == "http":
        if not name or b":" in name:  # RFC 7617: the first colon ends the name
            raise UsageError(f"{source} cannot be used: a name without a colon is needed")
    elif not all(
        each.isascii() and 0 < len(each) <= MAX_SOCKS_LOGIN_BYTES for each in (name, password)
    ):
        raise UsageError(
            f"{source} cannot be used: SOCKS needs a name and a password of "
            f"1 to {MAX_SOCKS_LOGIN_BYTES} ASCII characters each"
        )
    return name, password


def _split(url: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """The parts of an absolute URL of one of `schemes`; None if it is none."""
    try:
        parts = urlsplit(url)
        is_usable = (
            parts.scheme in schemes
            and is_host(parts.hostname or "")
            and "%" not in (parts.hostname or "")
            and parts.port != 0
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        return None
    return parts if is_usable else None


def is_host(text: str) -> bool:
    """Whether text can be the name or the address of a host."""
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only. No name is resolved, and of names
    only `localhost` is known."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serves_loopback(host: str) -> bool:
    """Whether all addresses to which the system resolves a host are reachable from this machine
    only. False for a name without an address."""
    if is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(is_loopback(str(each[4][0])) for each in found)


def authority(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
