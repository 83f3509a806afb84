import pytest
from rich.pretty import pretty_repr

from fanout.errors import UsageError
from fanout.net.addresses import is_loopback, parse_proxy, serves_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
    ],
)
def test_loopback_addresses_are_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_name_that_resolves_to_loopback_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"here": ["127.0.1.1"], "both": ["127.0.0.1", "192.0.2.1"]}

    def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host not in found:
            raise OSError("unknown")
        return [(2, 1, 6, "", (each, 0)) for each in found[host]]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    names = ["here", "both", "nowhere", "127.0.0.1", "0.0.0.0"]
    assert [serves_loopback(each) for each in names] == [True, False, False, True, False]


@pytest.mark.parametrize(
    "url",
    [
        "p:1",
        "http://p",
        "http://p:0",
        "http://p:65536",
        "http://p:port",
        "http://:1",
        "https://p:1",
        "socks4://p:1",
        "http://p:1/path",
        "http://p:1?query",
        "http://me:sec/ret@p:1",
        "http://me:1/ret@p:1",
        "http://me:1?ret@p:1",
        "http://me:sec ret@p:1",
        "http://[::1",
        "http://[fe80::1%25eth0]:1",
        "http://p\x00:1",
        "",
    ],
)
def test_a_proxy_url_without_host_and_port_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_proxy("--proxy", url)
    assert str(refusal.value) == (
        "--proxy cannot be used: http:// or socks5:// or socks5h://HOST:PORT is needed, "
        "any name and password percent-encoded"
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://:mellon@p:1", "a name without a colon is needed"),
        ("http://m%3Ae:mellon@p:1", "a name without a colon is needed"),
        ("socks5://me@p:1", "1 to 255 ASCII characters each"),
        ("socks5://:mellon@p:1", "1 to 255 ASCII characters each"),
        ("socks5://me:%C3%A9@p:1", "1 to 255 ASCII characters each"),
        (f"socks5h://me:{'x' * 256}@p:1", "1 to 255 ASCII characters each"),
    ],
)
def test_a_login_that_its_kind_of_proxy_cannot_take_is_refused(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        parse_proxy("--proxy", url)
    assert "mellon" not in str(refusal.value)


def test_a_proxy_is_shown_without_its_login() -> None:
    proxy = parse_proxy("--proxy", "socks5h://me:mellon@[::1]:1080")
    assert proxy.login == (b"me", b"mellon")
    assert (str(proxy), repr(proxy)) == ("socks5h://[::1]:1080", "<Proxy socks5h://[::1]:1080>")
    assert pretty_repr(proxy) == "Proxy(url='socks5h://[::1]:1080')"


def test_a_proxys_name_is_given_to_the_resolver_in_ascii() -> None:
    assert parse_proxy("--proxy", "http://B\u00fccher.example:1").host == "xn--bcher-kva.example"
