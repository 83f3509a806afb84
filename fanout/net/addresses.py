"""Addresses as people write them: hosts, ports and URLs, checked before anything opens, and shown
without what is nobody else's business."""

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from fanout.errors import UsageError

PROXY_SCHEMES: Final = ("http", "socks5", "socks5h")


def check_port(port: int) -> None:
    """Raises `UsageError` for what is not a TCP port."""
    if not 0 <= port <= 65_535:
        raise UsageError(f"port {port}: 0 to 65535, where 0 takes a free one")


def check_url(
    flag: str, url: str | None, schemes: tuple[str, ...], *, has_login: bool = False
) -> None:
    """Raises `UsageError` unless `url` is None or an absolute URL of one of `schemes`, without a
    name and password, which logs would show, unless it `has_login`."""
    if url is None:
        return
    if "@" in url and not has_login:
        raise UsageError(f"{flag}: a URL with a name or password in it: leave them out")
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in schemes
            and is_host(parts.hostname or "")
            and parts.port != 0
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{flag} {url!r}: {' or '.join(schemes)}://HOST[:PORT] is needed")


def check_proxy(source: str, url: str | None) -> None:
    """The same for a proxy's URL, which has a port, and maybe a password not to be shown."""
    try:
        check_url(source, url, PROXY_SCHEMES, has_login=True)
        is_whole = url is None or urlsplit(url).port is not None
    except UsageError:
        is_whole = False
    if not is_whole:
        schemes = " or ".join(f"{each}://" for each in PROXY_SCHEMES)
        raise UsageError(f"{source} cannot be used: {schemes}HOST:PORT is needed")


def shown_proxy(url: str) -> str:
    """A proxy's URL without the password that may be in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_host(text: str) -> bool:
    """Whether text can be a host's name or address at all."""
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only. Names but `localhost` are not
    resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serves_loopback(host: str) -> bool:
    """Whether every address that a host has, as the system resolves it, is reachable from this
    machine only. False for a name that has none."""
    if is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(is_loopback(str(each[4][0])) for each in found)


def authority(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets around an address of IP 6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
