"""The WebSocket and REST read a proxy's URL alike: each row is tried with both."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from fanout.errors import VenueUnreachableError
from fanout.net.addresses import Proxy, parse_proxy
from fanout.net.rest import open_rest
from fanout.net.websocket import open_websocket
from fanout.venues import BinanceUsdm, Request
from tests.fanout.proxies import PassedOn, running_proxy

Way = Callable[[str, Proxy], Awaitable[str]]

REFUSALS = {
    "http": b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    "socks5": b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00",
}
WORDS = {
    "http": "407 Proxy Authentication Required",
    "socks5": "Connection refused by destination host",
}


async def by_websocket(host: str, proxy: Proxy) -> str:
    with pytest.raises(VenueUnreachableError) as failure:
        async with open_websocket(f"wss://{host}/ws", proxy=proxy):
            pass
    return str(failure.value)


async def by_rest(host: str, proxy: Proxy) -> str:
    venue = BinanceUsdm(rest_url=f"https://{host}")
    with pytest.raises(VenueUnreachableError) as failure:
        async with open_rest(venue, proxy=proxy, attempts=1) as rest:
            await rest.fetch(Request(path="/ping"), bytes)
    return str(failure.value)


both_ways = pytest.mark.parametrize("way", [by_websocket, by_rest])


@asynccontextmanager
async def refusing(scheme: str, host: str = "127.0.0.1") -> AsyncIterator[PassedOn]:
    async with running_proxy(scheme, host) as proxy:
        proxy.refusal = REFUSALS[scheme]
        yield proxy


@both_ways
@pytest.mark.parametrize(
    ("kind", "url", "login"),
    [
        ("http", "http://127.0.0.1:{port}", None),
        ("http", "HTTP://127.0.0.1:{port}/", None),
        ("http", "http://localhost:{port}", None),
        ("http", "http://@127.0.0.1:{port}", None),
        ("http", "http://me:mellon@127.0.0.1:{port}", b"me:mellon"),
        ("http", "http://me@127.0.0.1:{port}", b"me:"),
        ("http", "http://me:@127.0.0.1:{port}", b"me:"),
        ("http", "http://m%40e:a%3Ab%2Fc%23%25@127.0.0.1:{port}", b"m@e:a:b/c#%"),
        ("http", "http://me:a:b@127.0.0.1:{port}", b"me:a:b"),
        ("http", "http://me:a+b%20c@127.0.0.1:{port}", b"me:a+b c"),
        ("http", "http://j\u00fcrgen:%C3%A9@127.0.0.1:{port}", "j\u00fcrgen:\u00e9".encode()),
        ("http", "http://me:%E9@127.0.0.1:{port}", b"me:\xe9"),
        ("socks5", "socks5://127.0.0.1:{port}", None),
        ("socks5", "socks5h://127.0.0.1:{port}", None),
        ("socks5", "SOCKS5H://127.0.0.1:{port}/", None),
        ("socks5", "socks5://me:mel%3Alon@127.0.0.1:{port}", b"me:mel:lon"),
        ("socks5", "socks5h://m%40e:a%20b@localhost:{port}", b"m@e:a b"),
    ],
)
async def test_both_ways_read_a_proxys_url_alike(
    way: Way, kind: str, url: str, login: bytes | None
) -> None:
    async with refusing(kind) as there:
        there.needs_login = True
        proxy = parse_proxy("--proxy", url.format(port=there.port))
        said = await way("venue.example", proxy)
    asked = "CONNECT venue.example:443" if kind == "http" else "venue.example:443"
    assert there.asked == [asked]
    assert there.logins == ([] if login is None else [login])
    assert said.endswith(f"through the proxy {proxy}: {WORDS[kind]}")
    assert login is None or login.decode("latin-1") not in said


@both_ways
@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_both_ways_reach_a_proxy_at_an_ipv6_address(way: Way, kind: str) -> None:
    async with refusing(kind, "::1") as there:
        said = await way("venue.example", parse_proxy("--proxy", f"{kind}://[::1]:{there.port}"))
    assert len(there.asked) == 1
    assert f"through the proxy {kind}://[::1]:{there.port}: {WORDS[kind]}" in said


@both_ways
@pytest.mark.parametrize(
    ("kind", "host", "asked"),
    [
        ("http", "[2001:db8::1]:8443", "CONNECT [2001:db8::1]:8443"),
        ("socks5", "[2001:db8::1]:8443", "2001:db8::1:8443"),
        ("socks5", "192.0.2.1", "192.0.2.1:443"),
        ("http", "b\u00fccher.example", "CONNECT xn--bcher-kva.example:443"),
        ("socks5", "b\u00fccher.example", "xn--bcher-kva.example:443"),
    ],
)
async def test_both_ways_name_the_venue_to_the_proxy_alike(
    way: Way, kind: str, host: str, asked: str
) -> None:
    async with refusing(kind) as there:
        await way(host, parse_proxy("--proxy", there.url))
    assert there.asked == [asked]


@both_ways
async def test_both_ways_do_without_a_login_that_a_socks_proxy_does_not_want(way: Way) -> None:
    async with refusing("socks5") as there:
        url = there.url.replace("//", "//me:mellon@")
        said = await way("venue.example", parse_proxy("--proxy", url))
    assert there.asked == ["venue.example:443"]
    assert there.logins == []
    assert WORDS["socks5"] in said


@both_ways
@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_both_ways_say_that_the_proxy_does_not_run(way: Way, kind: str) -> None:
    async with running_proxy(kind) as there:
        proxy = parse_proxy("--proxy", there.url)
    assert (await way("venue.example", proxy)).endswith(
        f"through the proxy {proxy}: Connection refused"
    )


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", b""),
        ("http", b"garbage\r\n\r\n"),
        ("http", b"HTTP/1.1 503 \x1b[31mred\r\n\r\n"),
        ("socks5", b""),
        ("socks5", b"\x05\xff"),
        ("socks5", b"\x04\x00"),
        ("socks5", b"\x05\x00\x05\x01"),
    ],
)
async def test_both_ways_report_a_proxys_answer_in_the_same_words(
    scheme: str, answer: bytes
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if answer:
                await stream.send_all(answer)
                await stream.send_eof()
                await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        url = f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        proxy = parse_proxy("--proxy", url)
        with trio.fail_after(10):
            websocket, rest = [await way("venue.example", proxy) for way in (by_websocket, by_rest)]
        nursery.cancel_scope.cancel()
    _, _, words = websocket.partition(f"through the proxy {url}: ")
    assert words
    assert words.isprintable()
    assert rest.endswith(f"through the proxy {url}: {words}")


async def test_rest_without_tls_sends_the_login_to_an_http_proxy() -> None:
    async with refusing("http") as there:
        proxy = parse_proxy("--proxy", there.url.replace("//", "//me:a%E9@"))
        venue = BinanceUsdm(rest_url="http://venue.example")
        async with open_rest(venue, proxy=proxy, attempts=1) as rest:
            with pytest.raises(VenueUnreachableError, match="HTTP 407"):
                await rest.fetch(Request(path="/ping"), bytes)
    assert there.asked == ["GET http://venue.example/ping"]
    assert there.logins == [b"me:a\xe9"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_rest_over_tls_goes_through_the_proxy(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, served = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")

    async with trio.open_nursery() as nursery, running_proxy(scheme) as there:
        serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(serve, handle, 0, served)
        host = f"127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        venue = BinanceUsdm(rest_url=f"https://{host}")
        async with open_rest(venue, proxy=parse_proxy("--proxy", there.url)) as rest:
            assert await rest.fetch(Request(path="/ping"), bytes) == b"body"
        nursery.cancel_scope.cancel()
    assert there.asked == [f"CONNECT {host}" if scheme == "http" else host]
