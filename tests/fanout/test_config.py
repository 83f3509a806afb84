from typing import Any

import pytest

from fanout.config import Config, Secret, TcpConfig, is_loopback, parse_assets, parse_size
from fanout.errors import BindError, UsageError


def test_symbols_come_comma_separated_repeated_and_in_any_case() -> None:
    assert parse_assets(["btcusdt,ETHUSDT", " solusdt "]) == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert parse_assets(["BTCUSDT,", "ETHUSDT"]) == ("BTCUSDT", "ETHUSDT")
    assert parse_assets(["币安人生usdt"]) == ("币安人生USDT",)
    assert parse_assets(["1000pepeusdt", "btcusdt_261225"]) == ("1000PEPEUSDT", "BTCUSDT_261225")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no symbol"),
        ([""], "no symbol"),
        ([",", " "], "no symbol"),
        (["BTCUSDT", "btcusdt"], "BTCUSDT is asked for twice"),
        ([",".join(f"S{i}USDT" for i in range(11))], "11 symbols"),
        (["BTC/USDT"], "cannot be a symbol"),
        (["BTC-USDT"], "cannot be a symbol"),
        (["A" * 65], "cannot be a symbol"),
        (["\x1b[31m"], "cannot be a symbol"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_assets(words)


def test_ten_symbols_are_accepted() -> None:
    assert len(parse_assets([f"S{i}USDT" for i in range(10)])) == 10


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 2**20), ("64KiB", 2**16), ("1MiB", 2**20), ("2 gib", 2**31), ("100b", 100)],
)
def test_a_size_is_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "1.5MiB", "1MB", "-1", "1e6", "64kb", "9" * 16, "1K"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"log_bytes": 1000},
        {"ws_url": "http://host"},
        {"ws_url": "ws://"},
        {"ws_url": "nonsense"},
        {"ws_url": "ws://host:port"},
        {"rest_url": "ws://host"},
        {"rest_url": "https://[::1"},
        {"rest_url": "http://a..b"},
        {"rest_url": "http://127.0.0.1/\x01"},
        {"ws_url": f"ws://{'a' * 70}.com"},
    ],
)
def test_nonsense_is_refused_before_anything_opens(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Config(assets=("BTCUSDT",), transports=(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"port {port}"):
        TcpConfig(port=port)


@pytest.mark.parametrize("host", ["", "a..b", "a" * 70 + ".com"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(BindError, match="no host"):
        TcpConfig(host=host)


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
def test_loopback_is_told_from_the_network(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("given", "is_it"),
    [
        ("t-o-k-e-n", True),
        ("t-o-k-e-m", False),
        ("", False),
        ("t-o-k-e-n ", False),
        ("é\udc80", False),
    ],
)
def test_a_secret_knows_its_own_words(given: str, is_it: bool) -> None:
    assert Secret("t-o-k-e-n").matches(given) is is_it


def test_a_secret_is_not_shown() -> None:
    config = TcpConfig(token=Secret("t-o-k-e-n"))
    assert "t-o-k-e-n" not in f"{config} {config.token!r} {config.token}"


@pytest.mark.parametrize("text", ["", "two words", "tab\t", "x" * 1_025, "naïve"])
def test_what_cannot_be_a_token_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(UsageError, match="token") as caught:
        Secret(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "is_open"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "token": Secret("x")}, False),
        ({"host": "0.0.0.0", "tls_cert": "c", "tls_key": "k"}, True),
    ],
)
def test_an_address_is_open_if_anybody_may_come(options: dict[str, Any], is_open: bool) -> None:
    assert TcpConfig(**options).is_open is is_open


@pytest.mark.parametrize(
    ("options", "is_overheard"),
    [
        ({"token": Secret("x")}, False),
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "token": Secret("x")}, True),
        ({"host": "0.0.0.0", "token": Secret("x"), "tls_cert": "c", "tls_key": "k"}, False),
    ],
)
def test_a_token_is_overheard_where_it_crosses_a_network_without_tls(
    options: dict[str, Any], is_overheard: bool
) -> None:
    assert TcpConfig(**options).is_overheard is is_overheard
