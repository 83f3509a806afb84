from typing import Any

import pytest
import trio

from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import FeedConfig
from fanout.errors import UsageError, VenueUnreachableError
from fanout.net.addresses import Proxy, parse_proxy
from fanout.net.proxy import is_excluded, open_tcp, proxy_for
from fanout.net.rest import open_rest
from fanout.net.websocket import open_websocket
from fanout.protocol import Trade
from fanout.simulator import SimulatorConfig
from fanout.venues import BinanceUsdm, Request
from tests.fanout.proxies import running_proxy
from tests.stand.inside import config_for, running_service, running_simulator, with_source

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def way(url: str) -> Proxy:
    return parse_proxy("--proxy", url)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "wss://fstream.binance.com/public", None),
        ({"HTTPS_PROXY": "http://p:1"}, "wss://fstream.binance.com/public", "http://p:1"),
        ({"https_proxy": "p:1"}, "https://fapi.binance.com", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "ws://10.0.0.1:9500", None),
        ({"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}, "ws://127.0.0.1:9500", None),
        ({"HTTP_PROXY": "http://p:1"}, "ws://10.0.0.1:9500", "http://p:1"),
        ({"ALL_PROXY": "socks5h://p:1"}, "wss://fstream.binance.com", "socks5h://p:1"),
        (
            {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".binance.com"},
            "https://fapi.binance.com",
            None,
        ),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://fapi.binance.com", None),
        ({"HTTPS_PROXY": ""}, "https://fapi.binance.com", None),
    ],
)
def test_proxy_variables_are_read_in_the_usual_way(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url, None)
    assert (found and str(found)) == proxy


def test_the_proxy_option_takes_precedence_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    assert str(proxy_for("https://fapi.binance.com", "socks5://q:2")) == "socks5://q:2"


@pytest.mark.parametrize(
    "proxy",
    [
        "gopher://me:secret@p:1",
        "https://me:secret@p:1",
        "socks4://me:secret@p:1",
        "http://me:secret@p",
        "me:secret@p:notaport",
        "http://me:secret@[::1",
        "http://me:sec#ret@p:1",
    ],
)
def test_an_unusable_proxy_is_refused_without_showing_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError, match="HOST:PORT is needed") as refusal:
        proxy_for("https://fapi.binance.com", None)
    with pytest.raises(UsageError, match="--proxy cannot be used") as other:
        FeedConfig(proxy=proxy)
    assert "sec" not in str(refusal.value) + str(other.value)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_websocket_and_rest_go_through_the_proxy(scheme: str) -> None:
    async with running_simulator(SimulatorConfig()) as simulator, running_proxy(scheme) as proxy:
        config = with_source(config_for(simulator), feed=FeedConfig(proxy=proxy.url))
        async with running_service(config) as service, TrioTcpClient(service.url) as client:
            with trio.fail_after(20):
                async for record in client:
                    if isinstance(record, Trade):
                        break
        there = simulator.ws_url.removeprefix("ws://")
        if scheme == "http":
            assert f"CONNECT {there}" in proxy.asked
            assert any(each.startswith(f"GET {simulator.rest_url}/fapi") for each in proxy.asked)
        else:
            assert set(proxy.asked) == {there}
            assert len(proxy.asked) >= 2


async def test_a_refusal_by_the_proxy_is_explained() -> None:
    async with running_proxy("http") as proxy:
        proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
        with pytest.raises(VenueUnreachableError, match=f"the proxy {proxy.url}: 407"):
            async with open_websocket("ws://venue.example:80/public", proxy=way(proxy.url)):
                pass


async def test_the_proxys_words_are_shown_without_control_characters() -> None:
    async with running_proxy("http") as proxy:
        proxy.refusal = b"HTTP/1.1 407 \x1b[31mred\x1b[0m\r\n\r\n"
        with pytest.raises(VenueUnreachableError, match=r"407 \?\[31mred"):
            async with open_websocket("ws://venue.example:80/public", proxy=way(proxy.url)):
                pass


async def test_an_invalid_name_in_the_proxys_answer_is_the_proxys_fault() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"\x05\x00" + b"\x05\x00\x00\x03\x01\xaa\x00\x50")
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        url = f"socks5://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        with pytest.raises(VenueUnreachableError, match=f"through the proxy {url}: "):
            await open_tcp("venue.example", 443, way(url))
        nursery.cancel_scope.cancel()


async def test_rest_errors_name_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout.net.rest.ATTEMPTS", 1)
    async with running_proxy("http") as proxy:
        url = proxy.url
    venue = BinanceUsdm(rest_url="http://venue.example")
    async with open_rest(venue, proxy=way(url)) as rest:
        with pytest.raises(VenueUnreachableError, match=f"through the proxy {url}: "):
            await rest.fetch(Request(path="/ping"), bytes)


async def test_an_unreachable_proxy_is_named() -> None:
    async with running_proxy("http") as proxy:
        url = proxy.url
    with pytest.raises(VenueUnreachableError, match=f"the proxy {url}: Connection refused"):
        async with open_websocket("ws://venue.example:80/public", proxy=way(url)):
            pass


@pytest.mark.parametrize(
    ("no_proxy", "expected"),
    [
        ("*.venue.example", True),
        (".venue.example", True),
        ("venue.example", True),
        ("10.0.0.0/8, fapi.venue.example", True),
        ("fapi.venue.example:443", True),
        ("fapi.venue.example:80", False),
        ("*", True),
        ("venue", False),
        ("nue.example", False),
        ("", False),
    ],
)
def test_no_proxy_names_hosts_and_what_they_end_with(no_proxy: str, expected: bool) -> None:
    assert is_excluded("wss://fapi.venue.example/ws", no_proxy) is expected


@pytest.mark.parametrize(
    ("no_proxy", "expected"),
    [("10.0.0.0/8", True), ("10.1.2.3", True), ("11.0.0.0/8", False), ("10.1.2.3:9500", True)],
)
def test_no_proxy_names_networks(no_proxy: str, expected: bool) -> None:
    assert is_excluded("ws://10.1.2.3:9500", no_proxy) is expected


class Resolver(trio.abc.HostnameResolver):
    """Knows a proxy with two addresses, of which the first leads nowhere (RFC 5737)."""

    async def getaddrinfo(self, host: object, port: object, *_: object, **__: object) -> list[Any]:
        assert host in ("proxy.example", b"proxy.example")
        number = int(port)  # type: ignore[call-overload]
        return [(2, 1, 6, "", (each, number)) for each in ("192.0.2.1", "127.0.0.1")]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_proxys_name_is_tried_at_all_its_addresses() -> None:
    async with running_proxy("http") as proxy:
        proxy.refusal = b"HTTP/1.1 407 no\r\n\r\n"
        trio.socket.set_custom_hostname_resolver(Resolver())
        url = proxy.url.replace("127.0.0.1", "proxy.example")
        with trio.fail_after(10), pytest.raises(VenueUnreachableError, match="407"):
            await open_tcp("venue.example", 443, way(url))
