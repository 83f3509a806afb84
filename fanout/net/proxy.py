"""Connections to the venue through a proxy: HTTP CONNECT or SOCKS 5, for WebSocket and REST.

`proxy_for` decides which proxy a URL is reached through. `--proxy` overrides the environment,
which is read as other programs read it: HTTPS_PROXY for https and wss, HTTP_PROXY for http and ws,
ALL_PROXY for the rest, and NO_PROXY for hosts that are reached directly. Loopback always is.

`open_tunnel` connects, for the WebSocket here and for REST in `fanout.net.rest_tunnels`. So both
send the same login, try the same addresses and report the same errors.
"""

from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import trio
from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.trio import Proxy as Connector

from fanout.errors import VenueUnreachableError, shown
from fanout.net.addresses import Proxy, is_loopback, parse_proxy
from fanout.protocol.errors import reason

_KINDS: Final = {"wss": "https", "ws": "http"}

_PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}


def proxy_for(url: str, asked_for: str | None) -> Proxy | None:
    """The proxy through which to reach `url`; None if it is reached directly.

    `asked_for` is the value of `--proxy`. Raises `UsageError` for a proxy that cannot be used.
    """
    if asked_for is not None:
        return parse_proxy("--proxy", asked_for)
    parts = urlsplit(url)
    found = getproxies()
    if is_loopback(parts.hostname or "") or is_excluded(url, found.get("no", "")):
        return None
    proxy = found.get(_KINDS.get(parts.scheme, parts.scheme)) or found.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return parse_proxy("the proxy that the environment names (HTTPS_PROXY, ALL_PROXY)", proxy)


def is_excluded(url: str, no_proxy: str) -> bool:
    """Whether NO_PROXY excludes the host of `url`. Its entries are names, ends of names
    (`.example.com`, `*.example.com`, `example.com`), addresses, networks (`10.0.0.0/8`) and `*`,
    each with or without a port."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme)
    return any(_names(each.strip().lower(), host, port) for each in no_proxy.split(","))


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # a name, or an entry with a port
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit():
        return int(number) == port and _names(name, host, port)
    suffix = entry.removeprefix("*").lstrip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


class _Direct:
    """Connects to the proxy itself: it tries all addresses of the name, as `open_tcp` does."""

    async def connect(self, dest_host: str, dest_port: int, **_: object) -> trio.socket.SocketType:
        stream = await trio.open_tcp_stream(dest_host, dest_port)
        return stream.socket


class TunnelError(Exception):
    """The proxy failed, or the connection to it. The message is fit for a terminal."""


async def open_tcp(host: str, port: int, proxy: Proxy | None) -> trio.SocketStream:
    """A TCP connection, through the proxy if there is one. Raises `OSError`, and
    `VenueUnreachableError` where the proxy is at fault."""
    if proxy is None:
        return await trio.open_tcp_stream(host, port)
    try:
        return await open_tunnel(host, port, proxy)
    except TunnelError as error:
        what = f"no connection to {host}:{port} through the proxy {proxy}: {error}"
        raise VenueUnreachableError(what) from error


async def open_tunnel(host: str, port: int, proxy: Proxy) -> trio.SocketStream:
    """A connection through the proxy, which resolves the name: behind a proxy there is often no
    other way. Raises `TunnelError`."""
    # The library encodes a login as Latin-1, which gives back the bytes as they were.
    name, password = (each.decode("latin-1") for each in proxy.login or (b"", b""))
    kind = ProxyType.SOCKS5 if proxy.is_socks else ProxyType.HTTP
    # The library types it as another proxy, but only calls `connect`.
    forward: Any = _Direct()
    connector = Connector(kind, proxy.host, proxy.port, name, password, rdns=True, forward=forward)
    try:
        return trio.SocketStream(await connector.connect(dest_host=host, dest_port=port))
    except (ProxyError, ProxyConnectionError, ProxyTimeoutError, OSError, ValueError) as error:
        # ValueError: the answer holds a host name that is not UTF-8.
        raise TunnelError(shown(reason(error))) from error
