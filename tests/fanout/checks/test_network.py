"""The network path to the venue, over real sockets and real TLS on loopback."""

import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from fanout.checks import network
from fanout.checks.network import Endpoint, check_way, endpoint_of
from fanout.checks.patience import Patience
from fanout.checks.report import Check, Fault, Name, State
from fanout.net.addresses import parse_proxy
from tests.fanout.checks.resolvers import DeafResolver
from tests.fanout.proxies import running_proxy


def outcome(rows: tuple[Check, ...]) -> list[tuple[str, str]]:
    return [(row.name, row.state) for row in rows]


def here(port: int, *, is_secure: bool = False, proxy: str | None = None) -> Endpoint:
    way = None if proxy is None else parse_proxy("--proxy", proxy)
    return Endpoint("localhost", port, is_secure, way)


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port that accepts connections. It does a TLS handshake if there is a context, or else
    stays silent."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                if context is not None:
                    await trio.SSLStream(stream, context, server_side=True).do_handshake()
                await trio.sleep_forever()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def certified(authority: trustme.CA, ends: datetime | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", not_after=ends).configure_cert(context)
    return context


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that this process trusts."""
    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return trusted


@pytest.mark.parametrize(
    ("url", "host", "port", "is_secure"),
    [
        ("wss://fstream.binance.com/public/stream", "fstream.binance.com", 443, True),
        ("https://[::1]:8443", "::1", 8443, True),
        ("ws://127.0.0.1:9500/public/stream", "127.0.0.1", 9500, False),
        ("http://localhost", "localhost", 80, False),
    ],
)
def test_a_url_leads_to_a_host_and_a_port(url: str, host: str, port: int, is_secure: bool) -> None:
    assert endpoint_of(url, None) == Endpoint(host, port, is_secure, None)


async def test_a_url_without_tls_has_a_dns_row_and_a_tcp_row() -> None:
    async with listening() as port:
        dns, tcp = await check_way(here(port), Patience())
    assert (dns.state, dns.target) == (State.OK, "localhost")
    assert "127.0.0.1" in dns.found
    assert (tcp.state, tcp.target) == (State.OK, f"localhost:{port}")
    assert tcp.took_ms is not None


async def test_a_valid_certificate_passes_with_its_expiry_date(authority: trustme.CA) -> None:
    ends = datetime.now(UTC) + timedelta(days=40, hours=1)
    async with listening(certified(authority, ends)) as port:
        *_, tls = await check_way(here(port, is_secure=True), Patience())
    assert tls.state is State.OK
    assert tls.found == f"TLSv1.3, certificate until {ends:%Y-%m-%d}, 40 days"


async def test_a_certificate_near_expiry_is_a_warning(authority: trustme.CA) -> None:
    ends = datetime.now(UTC) + timedelta(days=6, hours=1)
    async with listening(certified(authority, ends)) as port:
        *_, tls = await check_way(here(port, is_secure=True), Patience(), wall_s=time.time)
    assert (tls.state, tls.fault) == (State.WARN, None)
    assert "6 days" in tls.found
    assert "clock" in tls.advice


@pytest.mark.parametrize(
    ("name", "trusted", "days", "said"),
    [
        ("localhost", False, 40, "unable to get local issuer certificate"),
        ("elsewhere.example", True, 40, "Hostname mismatch"),
        ("localhost", True, -1, "certificate has expired"),
    ],
)
async def test_an_untrusted_certificate_fails_with_the_reason(
    authority: trustme.CA, name: str, trusted: bool, days: int, said: str
) -> None:
    issuer = authority if trusted else trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ends = datetime.now(UTC) + timedelta(days=days)
    issuer.issue_cert(name, not_before=ends - timedelta(9), not_after=ends).configure_cert(context)
    async with listening(context) as port:
        dns, tcp, tls = await check_way(here(port, is_secure=True), Patience())
    assert (dns.state, tcp.state) == (State.OK, State.OK)
    assert (tls.state, tls.fault) == (State.FAIL, Fault.UNREACHABLE)
    assert tls.found.startswith("the certificate is not trusted: ")
    assert said in tls.found
    assert "SSL_CERT_FILE" in tls.advice


async def test_a_server_without_tls_fails() -> None:
    async def speak(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), speak, 0)
        port = listener.socket.getsockname()[1]
        *_, tls = await check_way(Endpoint("127.0.0.1", port, True, None), Patience())
        nursery.cancel_scope.cancel()
    assert tls.state is State.FAIL
    assert "trusted" not in tls.found
    assert "TLS" in tls.advice


async def test_a_refused_connection_fails_and_skips_the_later_steps() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    rows = await check_way(Endpoint("127.0.0.1", port, True, None), Patience())
    assert outcome(rows) == [(Name.DNS, "ok"), (Name.TCP, "fail"), (Name.TLS, "skip")]
    assert (rows[1].found, rows[1].fault) == ("Connection refused", Fault.UNREACHABLE)
    assert "--proxy" in rows[1].advice
    assert rows[2].found == "tcp failed"


async def test_an_unknown_host_name_fails() -> None:
    rows = await check_way(Endpoint("nosuch.invalid", 443, True, None), Patience())
    assert outcome(rows) == [(Name.DNS, "fail"), (Name.TCP, "skip"), (Name.TLS, "skip")]
    assert rows[0].fault is Fault.UNREACHABLE
    assert "/etc/resolv.conf" in rows[0].advice
    assert [row.found for row in rows[1:]] == ["dns failed"] * 2


async def test_a_silent_resolver_fails_in_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trio.socket.set_custom_hostname_resolver(DeafResolver())
    rows = await check_way(Endpoint("fstream.example", 443, True, None), Patience())
    assert outcome(rows) == [(Name.DNS, "fail"), (Name.TCP, "skip"), (Name.TLS, "skip")]
    assert rows[0].found == "no answer within 5.0 s"
    assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_the_remaining_total_time_bounds_a_path(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trio.socket.set_custom_hostname_resolver(DeafResolver())
    await check_way(Endpoint("fstream.example", 443, True, None), Patience(2))
    assert trio.current_time() == pytest.approx(2, abs=0.1)


async def test_a_silent_tls_server_fails_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network, "WAY_S", 0.2)
    async with listening() as port:
        rows = await check_way(here(port, is_secure=True), Patience())
    assert outcome(rows) == [(Name.DNS, "ok"), (Name.TCP, "ok"), (Name.TLS, "fail")]
    assert rows[2].found == "no answer within 200 ms"


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_resolves_the_name(scheme: str) -> None:
    async with listening() as port, running_proxy(scheme) as proxy:
        dns, tcp = await check_way(here(port, proxy=proxy.url), Patience())
    assert (dns.state, dns.found) == (State.SKIP, "the proxy resolves it")
    assert tcp.state is State.OK
    assert f"through the proxy {proxy.url}" in tcp.found


async def test_an_unreachable_proxy_fails_without_showing_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    proxy = f"http://me:mellon@127.0.0.1:{port}"
    dns, tcp, tls = await check_way(here(443, is_secure=True, proxy=proxy), Patience())
    assert [dns.state, tcp.state, tls.state] == [State.SKIP, State.FAIL, State.SKIP]
    assert f"through the proxy http://127.0.0.1:{port}" in tcp.found
    assert "mellon" not in tcp.found
    assert "HTTPS_PROXY" in tcp.advice
