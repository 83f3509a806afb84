"""Quotes, changes of books and whole books of both Binance markets."""

import json
from typing import Any

import pytest

from fanout.errors import VenueMessageError
from fanout.net.websocket import MAX_MESSAGE_BYTES
from fanout.protocol import DataKinds, Instrument, Level
from fanout.protocol.constants import BookFlags
from fanout.venues import (
    BinanceSpot,
    BinanceUsdm,
    Outcome,
    VenueDepth,
    VenueItem,
    VenueQuote,
    VenueTrade,
)
from fanout.venues.base import Dialogue, Venue
from fanout.venues.binance.venue import DEPTH_BYTES
from fanout.venues.binance.whole_book import LEVELS
from fanout.venues.values import DepthLost
from tests.contracts.venue import GARBAGE

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
YUAN = Instrument(index=1, symbol="币安人生USDT", price_exponent=-2, quantity_exponent=-3)
UNITS = {each.symbol: each for each in (BTC, YUAN)}

QUOTE = (
    b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":11757092630476,"s":"'
    b'BTCUSDT","ps":"BTCUSDT","b":"83091.60","B":"4.215","a":"83091.70","A":"3.763","T'
    b'":1791382994657,"E":1791382994658,"st":1}}'
)
SPOT_QUOTE = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.'
    b'63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}'
)
DEPTH = (
    b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,"T":17'
    b'23161256298,"s":"BTCUSDT","U":5123107832006,"u":5123107837557,"pu":5123107831937'
    b',"b":[["58710.20","0.014"]],"a":[["61800.30","0.000"]]}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":5,"s":"BTCUSDT","t":7,"p'
    b'":"61800.30","q":"0.006","X":"MARKET","m":true,"st":1}}'
)


def dialogue_of(venue: Venue) -> Dialogue:
    return venue.dialogue(("BTCUSDT",), UNITS)


def received(message: bytes, venue: Venue | None = None) -> VenueItem:
    items: list[VenueItem] = []
    assert dialogue_of(venue or BinanceUsdm(data=ALL)).receive(message, items) is None
    (item,) = items
    return item


@pytest.mark.parametrize(
    ("venue", "data", "streams"),
    [
        (BinanceUsdm, ALL, ["trade", "bookTicker", "depth@0ms"]),
        (BinanceSpot, ALL, ["trade", "bookTicker", "depth@100ms"]),
        (BinanceUsdm, DataKinds.QUOTES, ["bookTicker"]),
        (BinanceUsdm, DataKinds.BOOK_BY_PRICE, ["depth@0ms"]),
        (BinanceUsdm, DataKinds.TRADES, ["trade"]),
    ],
)
def test_a_connection_subscribes_to_every_kind(
    venue: type[BinanceUsdm | BinanceSpot], data: DataKinds, streams: list[str]
) -> None:
    (opening,) = dialogue_of(venue(data=data)).opening()
    assert json.loads(opening)["params"] == [f"btcusdt@{each}" for each in streams]


def test_all_streams_of_a_symbol_are_in_one_request_and_count_as_subscriptions() -> None:
    venue = BinanceUsdm(data=ALL)
    assert venue.limits.subscriptions == 1_024 // 3
    symbols = tuple(f"A{number}USDT" for number in range(300))
    requests = [json.loads(each)["params"] for each in venue.dialogue(symbols, {}).opening()]
    assert max(map(len, requests)) <= 200
    assert all(len(each) % 3 == 0 for each in requests)
    assert sum(map(len, requests)) == 900


def test_messages_of_books_may_be_longer() -> None:
    assert BinanceUsdm(data=ALL).limits.message_bytes == DEPTH_BYTES < MAX_MESSAGE_BYTES
    assert BinanceUsdm(data=DataKinds.QUOTES).limits.message_bytes < DEPTH_BYTES


def test_an_answer_is_heeded() -> None:
    dialogue = dialogue_of(BinanceUsdm(data=ALL))
    dialogue.opening()
    assert dialogue.unanswered == {"BTCUSDT"}
    assert dialogue.receive(b'{"result":null,"id":1}', []) == Outcome(confirmed=("BTCUSDT",))
    assert not dialogue.unanswered


def test_quotes_are_read() -> None:
    assert received(QUOTE) == VenueQuote(
        "BTCUSDT", 11757092630476, 1791382994657, "83091.60", "4.215", "83091.70", "3.763"
    )


def test_quotes_of_spot_have_no_time() -> None:
    quote = received(SPOT_QUOTE, BinanceSpot(data=ALL))
    assert isinstance(quote, VenueQuote)
    assert (quote.update_id, quote.time, quote.bid_quantity) == (50093239212, 0, "3.78826000")


def test_changes_of_books_are_read_in_the_units_of_now() -> None:
    depth = received(DEPTH)
    assert isinstance(depth, VenueDepth)
    assert (depth.symbol, depth.first_id, depth.previous_id) == (
        "BTCUSDT",
        5123107832006,
        5123107831937,
    )
    assert depth.update.bids == [Level(5_871_020, 14)]
    assert depth.update.asks == [Level(6_180_030, 0)]


def test_a_book_is_lost_with_a_message_that_is_too_long() -> None:
    dialogue = dialogue_of(BinanceUsdm(data=ALL))
    lost = DepthLost("BTCUSDT", 0, "message too long")
    cases: tuple[tuple[bytes, list[VenueItem]], ...] = (
        (DEPTH, [lost]),
        (DEPTH[:40], [lost]),
        (DEPTH.replace(b"btcusdt@", b"ethusdt@", 1), []),
        (DEPTH.replace(b"btcusdt@", b"btc\xff@", 1), []),
        (DEPTH.replace(b"btcusdt@", b"b" * 300 + b"@", 1), []),
        (QUOTE, []),
        (TRADE, []),
        (b'{"data":{},"stream":"btcusdt@depth@0ms"}', []),
        (b"", []),
    )
    for message, expected in cases:
        out: list[VenueItem] = []
        dialogue.skip(message, out)
        assert out == expected


def test_trades_are_read_beside_them() -> None:
    assert isinstance(received(TRADE), VenueTrade)


@pytest.mark.parametrize("message", [QUOTE, DEPTH, TRADE])
def test_the_stream_may_be_named_behind_the_data(message: bytes) -> None:
    whole = json.loads(message)
    turned = json.dumps({"data": whole["data"], "stream": whole["stream"]}, separators=(",", ":"))
    assert received(turned.encode()) == received(message)


@pytest.mark.parametrize("escape", [True, False])
def test_a_symbol_outside_ascii_is_found(escape: bool) -> None:
    whole = json.loads(DEPTH)
    whole["stream"] = "币安人生usdt@depth@0ms"
    whole["data"]["s"] = YUAN.symbol
    depth = received(json.dumps(whole, separators=(",", ":"), ensure_ascii=escape).encode())
    assert isinstance(depth, VenueDepth)
    assert depth.update.instrument is YUAN


def refused(message: bytes) -> str:
    items: list[VenueItem] = []
    with pytest.raises(VenueMessageError) as error:
        dialogue_of(BinanceUsdm(data=ALL)).receive(message, items)
    assert all(type(each) is DepthLost for each in items)
    return error.value.kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (DEPTH.replace(b"btcusdt", b"ethusdt"), "depth of a symbol that was not subscribed"),
        (DEPTH.replace(b'"BTCUSDT"', b'"ETHUSDT"'), "unexpected event"),
        (DEPTH.replace(b'"0.014"', b'"-1"'), "depth with a level that cannot be"),
        (DEPTH.replace(b'[["58710.20","0.014"]]', b"7"), "depth of the wrong shape"),
        (DEPTH.replace(b"btcusdt@", b"\xff\xfe@"), "unexpected event"),
        (QUOTE.replace(b'"83091.60"', b"5"), "quote of the wrong shape"),
        (QUOTE.replace(b"11757092630476", b"-1"), "quote of the wrong shape"),
        (QUOTE.replace(b'"st":1', b'"st":2'), "unexpected event"),
        (QUOTE.replace(b'"bookTicker","u"', b'"other","u"'), "unexpected event"),
    ],
)
def test_odd_messages_are_refused(message: bytes, kind: str) -> None:
    assert refused(message) == kind


@pytest.mark.parametrize("message", GARBAGE, ids=lambda each: repr(each[:20]))
def test_garbage_is_refused(message: bytes) -> None:
    assert refused(message)


@pytest.mark.parametrize("message", [QUOTE, DEPTH])
def test_every_truncation_is_refused(message: bytes) -> None:
    for length in range(len(message)):
        assert refused(message[:length])


# Whole books.

WHOLE: dict[str, Any] = {
    "lastUpdateId": 5123107852948,
    "E": 1723161256501,
    "T": 1723161256493,
    "bids": [["61800.20", "2.909"], ["61800.10", "0.696"]],
    "asks": [["61800.30", "1.000"]],
}


def body(separators: tuple[str, str] = (",", ":"), **changes: object) -> bytes:
    return json.dumps(WHOLE | changes, separators=separators).encode()


def test_the_request_for_a_whole_book_has_its_weight() -> None:
    usdm, spot = BinanceUsdm().book_request("BTCUSDT"), BinanceSpot().book_request("BTCUSDT")
    assert (usdm.path, usdm.query, usdm.weight) == (
        "/fapi/v1/depth",
        {"symbol": "BTCUSDT", "limit": "1000"},
        20,
    )
    assert (spot.path, spot.weight) == ("/api/v3/depth", 50)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_whole_book_is_read(separators: tuple[str, str]) -> None:
    update = BinanceUsdm().parse_book(body(separators), BTC)
    assert (update.update_id, update.time) == (5123107852948, 1723161256493)
    assert update.flags == BookFlags.WHOLE
    assert update.bids == [Level(6_180_020, 2_909), Level(6_180_010, 696)]
    assert update.asks == [Level(6_180_030, 1_000)]


def test_a_whole_book_of_spot_has_no_time() -> None:
    without = json.dumps({key: value for key, value in WHOLE.items() if key not in "ET"})
    assert BinanceSpot().parse_book(without.encode(), BTC).time == 0


def test_a_book_with_as_many_levels_as_were_asked_for_may_have_more() -> None:
    bids = [[f"{61800 - each}.00", "1.000"] for each in range(LEVELS)]
    update = BinanceUsdm().parse_book(body(bids=bids), BTC)
    assert update.flags == BookFlags.WHOLE | BookFlags.TOP_ONLY
    assert BinanceUsdm().parse_book(body(bids=bids[1:]), BTC).flags == BookFlags.WHOLE


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"[]",
        b"{",
        b'{"code":-1121,"msg":"Invalid symbol."}',
        body(bids=[["61800.20"]]),
        body(bids=[["61800.20", "-1"]]),
        body(asks=[["x", "1"]]),
        body(asks=5),
        body(lastUpdateId="5"),
        body(lastUpdateId=-5),
        body(lastUpdateId=2**64),
        b'{"lastUpdateId":5,"bids":0,"asks":0}',
    ],
)
def test_odd_whole_books_are_refused(odd: bytes) -> None:
    with pytest.raises(VenueMessageError):
        BinanceUsdm().parse_book(odd, BTC)
