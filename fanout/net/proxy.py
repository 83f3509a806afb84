"""The way out, where it leads through a proxy: HTTP CONNECT or SOCKS, for WebSocket and REST.

What is asked for on the command line goes before what the environment says, and that is read as
everybody reads it: HTTPS_PROXY for https and wss, HTTP_PROXY for http and ws, ALL_PROXY for
whatever is left, and NO_PROXY for the hosts that are reached without. This machine always is.
"""

from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import trio
from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from python_socks.async_.trio import Proxy

from fanout.errors import VenueUnreachableError, shown
from fanout.net.addresses import check_proxy, is_loopback, shown_proxy
from fanout.protocol.errors import reason

_KINDS: Final = {"wss": "https", "ws": "http"}

_PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}


def proxy_for(url: str, asked_for: str | None) -> str | None:
    """The URL of the proxy through which `url` is to be reached; None if it is reached directly.

    Raises `UsageError` for one in the environment that cannot be used.
    """
    if asked_for is not None:
        return asked_for
    parts = urlsplit(url)
    found = getproxies()
    if is_loopback(parts.hostname or "") or is_excluded(url, found.get("no", "")):
        return None
    proxy = found.get(_KINDS.get(parts.scheme, parts.scheme)) or found.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    check_proxy("the proxy that the environment names (HTTPS_PROXY, ALL_PROXY)", proxy)
    return proxy


def is_excluded(url: str, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host of `url`: by name, by the end of its name (`.example.com`,
    `*.example.com`, `example.com`), by address, by network (`10.0.0.0/8`), or by `*`, each of them
    with a port or without."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme)
    return any(_names(each.strip().lower(), host, port) for each in no_proxy.split(","))


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # one of them is a name, or has a port
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit():
        return int(number) == port and _names(name, host, port)
    suffix = entry.removeprefix("*").lstrip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


class _Direct:
    """The way to the proxy itself: at all addresses of its name, as REST goes to it."""

    async def connect(self, dest_host: str, dest_port: int, **_: object) -> trio.socket.SocketType:
        stream = await trio.open_tcp_stream(dest_host, dest_port)
        return stream.socket


async def open_tcp(host: str, port: int, proxy: str | None) -> trio.SocketStream:
    """A TCP connection, through the proxy if there is one. Raises `OSError`, and
    `VenueUnreachableError` where the proxy is at fault."""
    if proxy is None:
        return await trio.open_tcp_stream(host, port)
    # The name is resolved by the proxy: behind one there is often no other way.
    url = proxy.replace("socks5h://", "socks5://")
    way = Proxy.from_url(url, rdns=True, forward=_Direct())
    try:
        return trio.SocketStream(await way.connect(dest_host=host, dest_port=port))
    except (ProxyError, ProxyConnectionError, ProxyTimeoutError, OSError, ValueError) as error:
        # ValueError: the name of a host, in an answer, that is not UTF-8.
        way_there = f"{host}:{port} through the proxy {shown_proxy(proxy)}"
        why = shown(reason(error))  # they may be the proxy's own words
        raise VenueUnreachableError(f"no connection to {way_there}: {why}") from error
