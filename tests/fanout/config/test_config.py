from typing import Any

import pytest

from fanout.config import DEFAULT_LOG_BYTES, MIN_LOG_BYTES, Config, SourceConfig
from fanout.config.secret import Secret
from fanout.errors import BindError, UsageError
from fanout.transports.tcp.config import TcpConfig
from tests.stand.inside import one_source


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
def test_invalid_source_options_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        one_source(assets=("BTCUSDT",), transports=(), **changes)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match=f"port {port}"):
        TcpConfig(port=port)


@pytest.mark.parametrize("host", ["", "a..b", "a" * 70 + ".com"])
def test_an_invalid_host_is_refused(host: str) -> None:
    with pytest.raises(BindError, match="no host"):
        TcpConfig(host=host)


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
def test_a_network_address_without_a_token_is_open(options: dict[str, Any], is_open: bool) -> None:
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
def test_a_token_on_a_network_without_tls_is_overheard(
    options: dict[str, Any], is_overheard: bool
) -> None:
    assert TcpConfig(**options).is_overheard is is_overheard


def test_more_sources_than_channels_in_a_header_are_refused() -> None:
    sources = tuple(SourceConfig(assets=("A",), channel=f"c{i}") for i in range(257))
    room = 257 * MIN_LOG_BYTES
    assert Config(sources=sources[1:], transports=(), log_bytes=room).channel_log_bytes > 0
    with pytest.raises(UsageError, match="257 sources: a service has up to 256 channels"):
        Config(sources=sources, transports=(), log_bytes=room)


def test_two_sources_for_one_channel_are_refused() -> None:
    sources = (SourceConfig(assets=("A",)), SourceConfig(assets=("B",)))
    with pytest.raises(UsageError, match="2 sources would feed the channel binance"):
        Config(sources=sources, transports=())


def test_log_memory_is_divided_evenly_and_a_log_below_the_minimum_is_refused() -> None:
    sources = tuple(SourceConfig(assets=("A",), channel=f"c{i}") for i in range(4))
    assert Config(sources=sources, transports=()).channel_log_bytes == DEFAULT_LOG_BYTES // 4
    with pytest.raises(UsageError, match=f"at least {4 * MIN_LOG_BYTES:,}"):
        Config(sources=sources, transports=(), log_bytes=3 * MIN_LOG_BYTES)
