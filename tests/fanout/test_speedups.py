"""The service's compiled twins give what the plain functions give."""

import socket
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

# Where the plain functions are.
import fanout.feed.normalise
import fanout.transports.tcp.sending  # noqa: F401
from fanout.protocol import Instrument, TradeKind
from fanout.speedups import twin
from fanout.venues.values import SpentId, VenueQuote, VenueTrade
from tests.thoroughness import examples
from tests.twins import same_outcome, twins_of

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
ITEM = VenueTrade("BTCUSDT", 5, 1723161256322, "61800.30", "0.006", True, TradeKind.RPI)
QUOTE = VenueQuote("BTCUSDT", 5, 1723161256322, "61800.20", "2.5", "61800.30", "0.006")


def twins() -> ModuleType:
    return twins_of("fanout._speedups")


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    twins()


def both(name: str, *arguments: object) -> object:
    return same_outcome(twins(), twin.plain, name, *arguments)


def test_every_twin_has_a_plain_function() -> None:
    public = {name for name, each in vars(twins()).items() if callable(each)}
    assert set(twin.plain) <= public


DIGITS = st.text("0123456789", max_size=22)
TEXTS = st.one_of(
    st.tuples(DIGITS, st.sampled_from(["", "."]), DIGITS).map("".join),
    st.from_regex(r"[0-9]{1,6}\.[0-9]{1,4}0{0,6}", fullmatch=True),
    st.text("0123456789.-+eE_ \N{ARABIC-INDIC DIGIT FIVE}\N{FULLWIDTH DIGIT SEVEN}", max_size=12),
)


@settings(max_examples=examples(300))
@given(TEXTS, TEXTS, st.integers(-18, 8), st.integers(-18, 8))
def test_numbers_are_read_or_refused_alike(
    price: str, quantity: str, price_exponent: int, quantity_exponent: int
) -> None:
    units = replace(BTC, price_exponent=price_exponent, quantity_exponent=quantity_exponent)
    both("to_trade", replace(ITEM, price=price), units)
    both("to_trade", replace(ITEM, quantity=quantity), units)
    both("to_trade", replace(ITEM, price=price, quantity=quantity), units)
    both("to_quote", replace(QUOTE, bid_price=price, ask_quantity=quantity), units)
    both("to_quote", replace(QUOTE, ask_price=price, bid_quantity=quantity), units)


@pytest.mark.parametrize(
    "text", ["9" * 18, "9" * 19, "9223372036854775807", "9223372036854775808", "0", "0.000", "1e5"]
)
@pytest.mark.parametrize("exponent", [-18, -2, -1, 0, 1, 8])
def test_long_numbers_are_read_or_refused_alike(text: str, exponent: int) -> None:
    units = replace(BTC, price_exponent=exponent, quantity_exponent=exponent)
    both("to_trade", replace(ITEM, price=text), units)
    both("to_trade", replace(ITEM, quantity=text), units)
    for field in VenueQuote.__struct_fields__[3:]:
        both("to_quote", replace(QUOTE, **{field: text}), units)


@pytest.mark.parametrize("bid_quantity", ["0", "0.000", "1"])
@pytest.mark.parametrize("ask_quantity", ["0", "0.000", "1"])
def test_empty_sides_of_quotes_are_taken_alike(bid_quantity: str, ask_quantity: str) -> None:
    both("to_quote", replace(QUOTE, bid_quantity=bid_quantity, ask_quantity=ask_quantity), BTC)


STRANGE = [None, 1, -1, 2**63, 2**64 - 1, 2**64, 1.5, b"1", "1", True]


@pytest.mark.parametrize("value", STRANGE, ids=repr)
@pytest.mark.parametrize("field", VenueTrade.__struct_fields__)
def test_strange_trades_are_taken_or_refused_alike(field: str, value: Any) -> None:
    both("to_trade", replace(ITEM, **{field: value}), BTC)


@pytest.mark.parametrize("value", STRANGE, ids=repr)
@pytest.mark.parametrize("field", VenueQuote.__struct_fields__)
def test_strange_quotes_are_taken_or_refused_alike(field: str, value: Any) -> None:
    both("to_quote", replace(QUOTE, **{field: value}), BTC)


@pytest.mark.parametrize("units", [None, 1, replace(BTC, price_exponent=None), ITEM])
def test_strange_units_are_used_or_refused_alike(units: Any) -> None:
    both("to_trade", ITEM, units)
    both("to_trade", SpentId("BTCUSDT", 1), units)
    both("to_quote", QUOTE, units)
    both("to_quote", ITEM, units)


@contextmanager
def sockets() -> Iterator[tuple["array[int]", list[socket.socket]]]:
    """Descriptors of sockets that take everything, that take a part, that take nothing and that are
    broken; and where what they take arrives."""
    with ExitStack() as stack:
        pairs = [tuple(map(stack.enter_context, socket.socketpair())) for _ in range(5)]
        for ours, theirs in pairs:
            ours.setblocking(False)
            theirs.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        with suppress(BlockingIOError):
            while True:
                pairs[2][0].send(b"x" * 1_000)
        pairs[3][1].close()
        yield array("i", [ours.fileno() for ours, _ in pairs]), [theirs for _, theirs in pairs]


def sent(send_to_each: Callable[..., object], data: bytes) -> tuple[object, list[bytes]]:
    with sockets() as (descriptors, ends):
        told = send_to_each(descriptors, data)
        return told, [each.recv(2**20) for each in ends if each.fileno() >= 0]


@pytest.mark.parametrize("size", [1, 100, 2**20])
def test_bytes_are_sent_alike(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    plain = sent(twin.plain["send_to_each"], data[:size])
    assert sent(twins().send_to_each, data[:size]) == plain
    told, arrived = plain
    assert isinstance(told, list)
    assert (2, 0) in told
    assert (3, -1) in told
    assert data.startswith(arrived[0])


def test_nobody_to_send_to_is_no_error() -> None:
    assert both("send_to_each", array("i"), b"data") == []
