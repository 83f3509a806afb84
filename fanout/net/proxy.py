"""The way out, where it leads through a proxy: HTTP CONNECT or SOCKS, for WebSocket and REST.

What is asked for on the command line goes before what the environment says, and that is read as
everybody reads it: HTTPS_PROXY for https and wss, HTTP_PROXY for http and ws, ALL_PROXY for
whatever is left, and NO_PROXY for the hosts that are reached without. This machine always is.
"""

from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import trio
from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError
from python_socks.async_.trio import Proxy

from fanout.errors import VenueUnreachableError, shown
from fanout.net.addresses import check_proxy, is_loopback, shown_proxy
from fanout.protocol.errors import reason

_KINDS: Final = {"wss": "https", "ws": "http"}


def proxy_for(url: str, asked_for: str | None) -> str | None:
    """The URL of the proxy through which `url` is to be reached; None if it is reached directly.

    Raises `UsageError` for one in the environment that cannot be used.
    """
    if asked_for is not None:
        return asked_for
    parts = urlsplit(url)
    found = getproxies()
    if is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = found.get(_KINDS.get(parts.scheme, parts.scheme)) or found.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    check_proxy("the proxy that the environment names (HTTPS_PROXY, ALL_PROXY)", proxy)
    return proxy


async def open_tcp(host: str, port: int, proxy: str | None) -> trio.SocketStream:
    """A TCP connection, through the proxy if there is one. Raises `OSError`, and
    `VenueUnreachableError` where the proxy is at fault."""
    if proxy is None:
        return await trio.open_tcp_stream(host, port)
    # The name is resolved by the proxy: behind one there is often no other way.
    way = Proxy.from_url(proxy.replace("socks5h://", "socks5://"), rdns=True)
    try:
        return trio.SocketStream(await way.connect(dest_host=host, dest_port=port))
    except (ProxyError, ProxyConnectionError, ProxyTimeoutError, ValueError) as error:
        # ValueError: the name of a host, in an answer, that is not UTF-8.
        way_there = f"{host}:{port} through the proxy {shown_proxy(proxy)}"
        why = shown(reason(error))  # they may be the proxy's own words
        raise VenueUnreachableError(f"no connection to {way_there}: {why}") from error
