"""Trades as the payloads of a consolidator's rings."""

import json

import pytest
from msgspec.structs import replace

from fanout.protocol.consolidated_trade import (
    KINDS,
    SHORTEST_RECORD_BYTES,
    ConsolidatedTrade,
    PayloadMaker,
    Stamps,
    decode_trade,
)
from fanout.protocol.constants import InstrumentType
from fanout.protocol.errors import MalformedError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from tests.stand.packed_ring import payload_of

BTC = Instrument(
    index=0,
    symbol="BTCUSDT",
    price_exponent=-2,
    quantity_exponent=-3,
    type=InstrumentType.LINEAR_PERPETUAL,
)
STAMPS = Stamps(1762632731005, 1762632731006, 1762632731012, 1762632731012)


def trade(price: int = 6_180_030, quantity: int = 4, *, of: Instrument = BTC) -> Trade:
    return Trade(
        of, 123, 1762632731000, price, quantity, True, received_ns=1762632731005 * 10**6 + 999_999
    )


def test_a_payload_has_the_fields_in_their_order_and_the_digits_of_the_venue() -> None:
    assert PayloadMaker("BINANCE", BTC).payload(trade(), 7, STAMPS) == (
        b'{"exchange":"BINANCE","asset":"BTCUSDT","kind":"Perpetual","px":61800.30,"sz":0.004,'
        b'"side":"Sell","exchange_trade_id":123,"exchange_ts_ms":1762632731000,"event_u":null,'
        b'"writer_seq":7,"writer_ts_ms":1762632731012,"recv_ts_ms":1762632731005,'
        b'"parse_ts_ms":1762632731005,"enqueue_ts_ms":1762632731006,"persist_ts_ms":1762632731012}'
    )


def test_a_payload_is_read_back_whole() -> None:
    payload = PayloadMaker("BINANCE", BTC).payload(trade(), 7, STAMPS)
    read = decode_trade(payload)
    assert (read.px, read.sz, read.side) == ("61800.30", "0.004", "Sell")
    fields = json.loads(payload, parse_float=str)
    assert {each: getattr(read, each) for each in ConsolidatedTrade.__struct_fields__} == fields
    assert list(fields) == list(ConsolidatedTrade.__struct_fields__)


@pytest.mark.parametrize(
    ("exponent", "value", "digits"),
    [(-18, 1, "0.000000000000000001"), (8, 3, "300000000"), (0, 5, "5"), (-1, -15, "-1.5")],
)
def test_no_digit_is_lost_whatever_the_exponent(exponent: int, value: int, digits: str) -> None:
    of = replace(BTC, price_exponent=exponent)
    payload = PayloadMaker("X", of).payload(trade(value, of=of), 1, STAMPS)
    assert decode_trade(payload).px == digits


def test_a_symbol_is_escaped_and_read_back() -> None:
    of = replace(BTC, symbol='币"\\USDT')
    assert decode_trade(PayloadMaker("X", of).payload(trade(of=of), 1, STAMPS)).asset == of.symbol


def test_every_type_of_instrument_has_a_kind() -> None:
    assert set(KINDS) == set(InstrumentType)
    assert KINDS[InstrumentType.SPOT] == "Spot"
    assert KINDS[InstrumentType.INVERSE_PERPETUAL] == "Perpetual"
    assert KINDS[InstrumentType.OPTION] == "Option"


def test_no_record_is_shorter_than_the_index_is_made_for() -> None:
    of = replace(BTC, symbol="A", price_exponent=0, quantity_exponent=0, type=InstrumentType.SPOT)
    shortest = PayloadMaker("X", of).payload(Trade(of, 1, 1, 1, 1, False), 1, STAMPS)
    assert len(shortest) + 24 >= SHORTEST_RECORD_BYTES


def test_a_foreign_payload_may_lack_what_says_nothing_of_the_trade() -> None:
    read = decode_trade(
        b'{"exchange":"DERIBIT","asset":"ETH","px":"3401.50","sz":2e-3,"side":"Buy",'
        b'"exchange_trade_id":"ETH-1","exchange_ts_ms":5,"more":[1]}'
    )
    assert (read.px, read.sz, read.exchange_trade_id) == ("3401.50", "0.002", "ETH-1")
    assert (read.kind, read.event_u, read.writer_seq) == ("", None, 0)


@pytest.mark.parametrize(
    ("text", "digits"),
    [("1.234e-05", "0.00001234"), ("1E3", "1000"), ("-2.50e+1", "-25.0"), ("0E-8", "0.00000000")],
)
def test_numbers_with_an_exponent_are_written_out(text: str, digits: str) -> None:
    """As Python writes floats."""
    assert decode_trade(payload_of(1, px=text)).px == digits


def test_a_payload_that_is_nested_too_deeply_is_refused() -> None:
    deep = b'{"exchange":"X","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(MalformedError):
        decode_trade(deep)


@pytest.mark.parametrize(
    "fields",
    [
        {"px": None},
        {"px": "1e100"},
        {"px": "e5"},
        {"sz": [1]},
        {"sz": "1_000"},
        {"side": "sell"},
        {"exchange_trade_id": None},
        {"exchange_ts_ms": "now"},
        {"asset": 5},
    ],
)
def test_what_is_no_trade_is_refused(fields: dict[str, object]) -> None:
    (name,) = fields
    with pytest.raises(MalformedError, match=name):
        decode_trade(payload_of(1, **fields))


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"a":"\xff"}', payload_of(1)[:-1]])
def test_bytes_that_are_no_json_of_a_trade_are_refused(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_trade(payload)
