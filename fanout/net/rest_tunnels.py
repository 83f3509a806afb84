"""REST through a proxy: `httpx2` over the connections that `fanout.net.proxy` opens.

By itself `httpx2` has a client of its own for each kind of proxy. It differs from that of the
WebSocket in the logins it offers, the spelling of IPv6 addresses, and its errors. So here `httpx2`
only speaks HTTP, and `open_tunnel` connects for it.

REST without TLS through an HTTP proxy is the exception: there `httpx2` sends the proxy whole URLs.
Many proxies refuse CONNECT to ports other than 443.
"""

import ssl
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

# Not public. To write the stream anew would take forty lines that do the same.
from httpcore2._backends.trio import TrioStream

from fanout.net.addresses import Proxy
from fanout.net.proxy import TunnelError, open_tunnel


def transports(
    proxy: Proxy | None, trust: ssl.SSLContext, limits: httpx2.Limits
) -> dict[str, httpx2.AsyncBaseTransport]:
    """How to connect, for the `mounts` of an `httpx2` client. Empty: directly. `trust` says which
    certificates are accepted, `limits` how many connections there are."""
    if proxy is None:
        return {}
    found: dict[str, httpx2.AsyncBaseTransport] = {"all://": _Transport(proxy, trust, limits)}
    if not proxy.is_socks:
        forwarding = httpx2.Proxy(str(proxy), headers=_login_headers(proxy))
        found["http://"] = httpx2.AsyncHTTPTransport(proxy=forwarding, verify=trust, limits=limits)
    return found


def _login_headers(proxy: Proxy) -> dict[str, str]:
    if proxy.login is None:
        return {}
    return {"Proxy-Authorization": f"Basic {b64encode(b':'.join(proxy.login)).decode()}"}


class _Transport(httpx2.AsyncHTTPTransport):
    """`httpx2`'s own transport with our way to connect."""

    def __init__(self, proxy: Proxy, trust: ssl.SSLContext, limits: httpx2.Limits) -> None:
        super().__init__(verify=trust)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            network_backend=_Backend(proxy),
        )


class _Backend(httpcore2.TrioBackend):
    """Opens connections through a proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  not ours to choose
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return TrioStream(await open_tunnel(host, port, self._proxy))
        except TunnelError as error:
            raise httpcore2.ProxyError(str(error)) from error
