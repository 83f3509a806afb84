"""The network path to the venue: DNS, TCP and TLS, one row each.

The service opens a connection in one call. This module takes the same steps one by one, so that
the row names the step that failed. It uses the service's proxy and trusted certificates.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import trio

from fanout.checks.patience import Patience
from fanout.checks.report import Check, Fault, Name, Subject, time_text
from fanout.errors import VenueUnreachableError
from fanout.net.addresses import Proxy, authority
from fanout.net.proxy import open_tcp
from fanout.protocol.errors import reason

WAY_S: Final = 5.0
"""Time limit for the three steps of one path together. A slower path loses trades at every
reconnect."""

EXPIRY_DAYS: Final = 7
"""Operators renew certificates weeks before expiry. A certificate this close to expiry was
forgotten, or the clock of this machine is wrong."""

DAY_S: Final = 86_400

ADDRESSES_SHOWN: Final = 2

_PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}

_DNS_ADVICE: Final = (
    "check the spelling (--ws-url, --rest-url); else the resolver of this machine or network does "
    "not know the name or does not answer: see /etc/resolv.conf"
)
_TCP_ADVICE: Final = (
    "check the port (--ws-url, --rest-url); else a firewall blocks it, or the network requires a "
    "proxy: --proxy"
)
_PROXY_ADVICE: Final = (
    "check that the proxy runs there and allows this address; "
    "--proxy, HTTPS_PROXY, ALL_PROXY and NO_PROXY choose it"
)
_TLS_ADVICE: Final = (
    "something other than the exchange may answer on this port: check the URL, and whether a "
    "firewall intercepts TLS"
)
_TRUST_ADVICE: Final = (
    "a proxy may inspect TLS (set SSL_CERT_FILE to its authority's certificate), this network may "
    "block the exchange, or this machine's clock may be wrong"
)
_EXPIRY_ADVICE: Final = "exchanges renew earlier than that: check this machine's clock"

_TROUBLE: Final = (OSError, UnicodeError, VenueUnreachableError, trio.BrokenResourceError)


class _Finding(msgspec.Struct, frozen=True):
    """The outcome of a step that passed. With advice the row is a warning."""

    found: str
    advice: str = ""


class Endpoint(msgspec.Struct, frozen=True):
    """Host and port of a URL, and the proxy to reach them through, if there is one."""

    host: str
    port: int
    is_secure: bool
    proxy: Proxy | None


def endpoint_of(url: str, proxy: Proxy | None) -> Endpoint:
    parts = urlsplit(url)
    return Endpoint(
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        is_secure=parts.scheme in ("wss", "https"),
        proxy=proxy,
    )


async def check_way(
    endpoint: Endpoint, patience: Patience, *, wall_s: Callable[[], float] = time.time
) -> tuple[Check, ...]:
    """Return a row each for name, port and, if the URL uses TLS, certificate.

    A failed step skips those after it. `wall_s` gives unix s.
    """
    walk = _Walk(endpoint, patience.deadline_s(WAY_S), wall_s)
    try:
        await walk.go()
    finally:
        if walk.stream is not None:
            await trio.aclose_forcefully(walk.stream)
    return walk.checks()


class _Walk:
    """The steps of one path, and those that are done."""

    def __init__(self, endpoint: Endpoint, deadline_s: float, wall_s: Callable[[], float]) -> None:
        self.stream: trio.SocketStream | None = None
        self._endpoint = endpoint
        self._deadline_s = deadline_s
        self._wall_s = wall_s
        where = authority(endpoint.host, endpoint.port)
        self._dns = Subject(Name.DNS, endpoint.host)
        self._tcp = Subject(Name.TCP, where)
        self._tls = Subject(Name.TLS, where)
        self._done: list[Check] = []

    async def go(self) -> None:
        """Take the steps until one fails."""
        if self._endpoint.proxy:
            self._done.append(self._dns.skipped("the proxy resolves it"))
        elif not await self._step(self._dns, self._resolve, _DNS_ADVICE):
            return
        advice = _PROXY_ADVICE if self._endpoint.proxy else _TCP_ADVICE
        if await self._step(self._tcp, self._connect, advice) and self._endpoint.is_secure:
            await self._step(self._tls, self._secure, _TLS_ADVICE)

    def checks(self) -> tuple[Check, ...]:
        """Rows of the steps taken, then skipped rows for the others."""
        steps = [self._dns, self._tcp, *([self._tls] if self._endpoint.is_secure else [])]
        rest = steps[len(self._done) :]
        return (*self._done, *(each.skipped(f"{self._done[-1].name} failed") for each in rest))

    async def _step(
        self, subject: Subject, work: Callable[[], Awaitable[_Finding]], advice: str
    ) -> bool:
        """Take one step and add its row. `advice` is for the case that `work` fails.

        Returns False if it failed.
        """
        began_s = trio.current_time()
        try:
            with trio.fail_at(self._deadline_s):
                finding = await work()
        except trio.TooSlowError:
            found = f"no answer within {time_text(WAY_S)}"
        except _TROUBLE as error:
            found = _words(error)
            advice = _TRUST_ADVICE if _is_distrust(error) else advice
        else:
            took_s = trio.current_time() - began_s
            self._done.append(
                subject.warned(finding.found, finding.advice, took_s=took_s)
                if finding.advice
                else subject.passed(finding.found, took_s=took_s)
            )
            return True
        took_s = trio.current_time() - began_s
        self._done.append(subject.failed(found, advice, Fault.UNREACHABLE, took_s=took_s))
        return False

    async def _resolve(self) -> _Finding:
        host = self._endpoint.host
        if _is_address(host):
            return _Finding("it is an address")
        rows = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return _Finding(_listed(list(dict.fromkeys(str(row[4][0]) for row in rows))))

    async def _connect(self) -> _Finding:
        began_s, proxy = trio.current_time(), self._endpoint.proxy
        self.stream = await open_tcp(self._endpoint.host, self._endpoint.port, proxy)
        way = f" through the proxy {proxy}" if proxy else ""
        return _Finding(f"connected in {time_text(trio.current_time() - began_s)}{way}")

    async def _secure(self) -> _Finding:
        assert self.stream is not None, "TLS needs a TCP connection"
        tls = trio.SSLStream(
            self.stream, ssl.create_default_context(), server_hostname=self._endpoint.host
        )
        await tls.do_handshake()
        return _finding_of(str(tls.version()), tls.getpeercert(), self._wall_s())


def _finding_of(version: str, certificate: dict[str, Any], now_s: float) -> _Finding:
    """Report when an accepted certificate expires. `now_s` is unix s."""
    ends_s = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((ends_s - now_s) // DAY_S)
    found = f"{version}, certificate until {datetime.fromtimestamp(ends_s, UTC):%Y-%m-%d}"
    return _Finding(f"{found}, {days} days", _EXPIRY_ADVICE if days < EXPIRY_DAYS else "")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _listed(addresses: list[str]) -> str:
    shown, more = ", ".join(addresses[:ADDRESSES_SHOWN]), len(addresses) - ADDRESSES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _words(error: BaseException) -> str:
    fault = _tls_fault(error)
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {fault.verify_message}"
    if fault is not None:
        return f"no TLS: {(fault.reason or str(fault)).replace('_', ' ').lower()}"
    return reason(error)


def _is_distrust(error: BaseException) -> bool:
    return isinstance(_tls_fault(error), ssl.SSLCertVerificationError)


def _tls_fault(error: BaseException) -> ssl.SSLError | None:
    """The TLS error behind `error`, if TLS caused it."""
    cause = error.__cause__
    return cause if isinstance(cause, ssl.SSLError) else None
