"""Advanced Trade as a client meets it: messages and their numbers, requests, greetings, REST."""

import json
from typing import Any

import msgspec
import pytest

from fanout.protocol import DataKinds
from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import Batching, Mood, Session
from fanout.simulator.dialects.coinbase import CoinbaseAdvanced
from fanout.simulator.dialects.coinbase import advanced_frames as frames
from fanout.simulator.dialects.coinbase.advanced_rest import WORDS
from fanout.simulator.market.listing import Quirk
from fanout.simulator.market.reader import (
    Recorded,
    RecordedLevels,
    RecordedMessage,
    RecordedPast,
)
from fanout.simulator.market.ticks import TRADE, Tick
from fanout.venues import Outcome, VenueDepth, VenueItem, VenueTrade
from fanout.venues.coinbase import CoinbaseAdvanced as Venue
from tests.fanout.simulator.dialects.coinbase.test_exchange import (
    BOOK,
    NOW_MS,
    STREAM,
    FakeMarket,
    ask,
    body,
    depth,
    items_of,
    query_of,
    side_of,
    sold,
)
from tests.fanout.simulator.support import tick

ADVANCED = CoinbaseAdvanced()
ALL = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE


def numbered(*messages: bytes) -> list[bytes]:
    count, found = 0, []
    for message in messages:
        message, count = ADVANCED.personal(message, None, Session(), count)
        found.append(message)
    return found


# Messages.


def test_a_message_has_the_documented_fields_and_the_side_of_the_maker() -> None:
    message = ADVANCED.payload(tick(sold(995_098_700, buyer_is_maker=True)), microseconds=False)
    assert json.loads(message) == {
        "channel": "market_trades",
        "client_id": "",
        "timestamp": "2026-04-07T14:30:02.789000000Z",
        "sequence_num": 0,
        "events": [
            {
                "type": "update",
                "trades": [
                    {
                        "trade_id": "995098700",
                        "product_id": "BTC-USD",
                        "price": "84140.83",
                        "size": "0.00004104",
                        "side": "BUY",
                        "time": "2026-04-07T14:30:02.789012Z",
                    }
                ],
            }
        ],
    }
    recorded = Tick(0, "x", sold(), recorded=b"as it is")
    assert ADVANCED.payload(recorded, microseconds=False) == b"as it is"


def test_the_newest_trade_of_a_batch_comes_first() -> None:
    batch = msgspec.structs.replace(tick(sold(1)), others=(sold(2), sold(3)))
    message = ADVANCED.payload(batch, microseconds=False)
    rows = json.loads(message)["events"][0]["trades"]
    assert [each["trade_id"] for each in rows] == ["3", "2", "1"]
    found = items_of(Venue(), message)
    assert [each.trade_id for each in found if isinstance(each, VenueTrade)] == [1, 2, 3]
    assert ADVANCED.batching == Batching(interval_ms=250, most=100)


def test_all_messages_of_a_connection_are_numbered_but_for_errors() -> None:
    listed = ask(ADVANCED, type="subscribe", channel="heartbeats").replies[0].encode()
    error = ask(ADVANCED, type="subscribe", channel="nope").replies[0].encode()
    change = ADVANCED.payload(depth(), microseconds=False)
    said = [json.loads(each) for each in numbered(listed, error, change, change)]
    assert [each.get("sequence_num") for each in said] == [0, None, 1, 2]
    assert ADVANCED.is_personal


def test_past_trades_and_the_whole_book_follow_a_subscription() -> None:
    market = FakeMarket(*(sold(number) for number in range(1, 100)))
    (past,) = ADVANCED.greeting("market_trades:BTC-USD", "BTC-USD@trade", market, Session())
    (whole,) = ADVANCED.greeting("level2:BTC-USD", STREAM, market, Session())
    change = ADVANCED.payload(depth(), microseconds=False)
    *trades, first, second = items_of(Venue(data=ALL), *numbered(past, whole, change))
    assert [each.trade_id for each in trades if isinstance(each, VenueTrade) and each.is_past] == [
        *range(50, 100)
    ]
    assert isinstance(first, VenueDepth)
    assert isinstance(second, VenueDepth)
    assert first.update.is_whole
    assert first.update.time == NOW_MS * 1_000
    assert len(first.update.bids) == len(BOOK.bids)
    assert [(each.price, each.quantity) for each in second.update.bids] == [(9_950, 0)]
    nothing = FakeMarket(book=None)
    assert ADVANCED.greeting("x", STREAM, nothing, Session()) == []
    assert ADVANCED.greeting("x", "BTC-USD@trade", nothing, Session()) == []


def test_heartbeats_keep_a_connection_that_is_quiet() -> None:
    session = Session(("heartbeats", "market_trades:BTC-USD"))
    (pulse,) = ADVANCED.pulses(session)
    assert (pulse.every_s, pulse.answer_s) == (1.0, None)
    (message,) = ADVANCED.pulse(pulse.name, session, FakeMarket(), NOW_MS)
    (event,) = json.loads(message)["events"]
    assert event["current_time"].startswith("2026-04-07 14:30:02.789000000 +0000 UTC m=+")
    assert event["heartbeat_counter"] > 0
    assert items_of(Venue(), message) == []
    (quiet,) = ADVANCED.pulses(Session(("market_trades:BTC-USD",)))
    assert (quiet.every_s, quiet.answer_s) == (60.0, 30.0)
    assert ADVANCED.pulse(quiet.name, session, FakeMarket(), NOW_MS) == []
    assert ADVANCED.pulses(Session()) == ()


# Requests.


def test_the_requests_of_the_service_are_understood() -> None:
    dialogue = Venue(data=ALL).dialogue(("BTC-USD", "ETH-USD"))
    session, count, confirmed = Session(), 0, []
    for words in dialogue.opening():
        answer = ADVANCED.answer(session, words, NOW_MS)
        session = answer.session
        message, count = ADVANCED.personal(answer.replies[0].encode(), None, session, count)
        outcome = dialogue.receive(message, list[VenueItem]()) or Outcome()
        confirmed += outcome.confirmed
        assert outcome.lost is None
    assert confirmed == ["BTC-USD", "ETH-USD"]
    assert session.streams == (
        "heartbeats",
        *("market_trades:BTC-USD", "market_trades:ETH-USD"),
        *("level2:BTC-USD", "level2:ETH-USD"),
    )
    assert answer.greeted == session.streams[3:]
    said = json.loads(answer.replies[0])["events"][0]["subscriptions"]
    assert said["heartbeats"] == ["heartbeats"]
    (less,) = dialogue.unsubscribe(("ETH-USD",))[:1]
    left = ADVANCED.answer(session, less, NOW_MS).session
    assert "market_trades:ETH-USD" not in left.streams


def test_an_alias_is_subscribed_under_its_other_name() -> None:
    answer = ask(ADVANCED, type="subscribe", channel="level2", product_ids=["BTC-USDC"])
    assert answer.session.streams == ("level2:BTC-USD",)


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "subscribe"},
        {"type": "subscribe", "channel": "l2_data", "product_ids": ["BTC-USD"]},
        {"type": "subscribe", "channel": ["level2"], "product_ids": ["BTC-USD"]},
        {"type": "subscribe", "channel": "level2"},
        {"type": "subscribe", "channel": "level2", "product_ids": [7]},
        {"type": "SUBSCRIBE", "channel": "level2"},
    ],
)
def test_a_bad_request_changes_nothing(request_: dict[str, Any]) -> None:
    answer = ask(ADVANCED, **request_)
    assert json.loads(answer.replies[0])["type"] == "error"
    assert (answer.session, answer.greeted) == (Session(), ())


def test_one_bad_product_fails_its_request_whole() -> None:
    words = '{"type":"subscribe","channel":"level2","product_ids":["BTC-USD","ETH-USD"]}'
    answer = ADVANCED.answer(Session(), words, NOW_MS, Mood(refused={"ETH-USD": "request"}))
    assert (answer.refused, answer.session.streams) == (("ETH-USD",), ())
    dialogue = Venue().dialogue(("BTC-USD", "ETH-USD"))
    dialogue.opening()
    outcome = dialogue.receive(answer.replies[0].encode(), [])
    assert outcome is not None
    assert set(outcome.refused) == {"ETH-USD"}


# REST.


def test_the_service_reads_the_listing() -> None:
    spot, future = Venue().listing_requests()
    quirks: dict[str, tuple[Quirk, ...]] = {"ETH-USD": ("no-filters",), "SOL-USD": ("twice",)}
    side = side_of(ADVANCED, quirks=quirks)
    assert body(side, f"{spot.path}?product_type=FUTURE")["products"] == []
    assert body(side, spot.path) == json.loads(query_of(side, spot)), "the default is spot"
    assert body(side, f"{spot.path}?product_type=x")["message"] == "product_type is invalid"
    listing = Venue().parse_listing(query_of(side, spot), query_of(side, future))
    assert set(listing.odd) == {"ETH-USD"}
    for symbol, row in ADVANCED.table.items():
        if symbol not in listing.odd:
            found = listing.instrument(symbol, 0)
            assert -found.price_exponent == row.price_precision
            assert -found.quantity_exponent == row.quantity_precision
    assert "alias of BTC-USD" in str(listing.fault("BTC-USDC"))
    assert "status delisted" in str(listing.fault("LUNA-USD"))


def test_the_newest_trades_come_first_and_can_be_chosen_by_time() -> None:
    rows = (
        sold(number, time_ms=NOW_MS + 1_000 * number, event_ms=NOW_MS + 1_000 * number)
        for number in range(1, 8)
    )
    side = side_of(ADVANCED, *rows)
    path = "/api/v3/brokerage/market/products/BTC-USD/ticker"
    found = body(side, f"{path}?limit=3")
    assert [each["trade_id"] for each in found["trades"]] == ["7", "6", "5"]
    assert (found["best_bid"], found["best_ask"]) == ("99.50", "100.50")
    start_s = NOW_MS // 1_000 + 3
    span = body(side, f"{path}?start={start_s}&end={start_s + 2}")
    assert [each["trade_id"] for each in span["trades"]] == ["4", "3"]
    alias = body(side, path.replace("BTC-USD", "BTC-USDC"))
    assert len(alias["trades"]) == 7
    venue = Venue()
    trades = venue.parse_recent_trades(
        query_of(side, venue.recent_trades_request("BTC-USD")), "BTC-USD"
    )
    assert [each.trade_id for each in trades] == [1, 2, 3, 4, 5, 6, 7]


def test_errors_and_the_time_are_as_documented() -> None:
    side = side_of(ADVANCED)
    root = "/api/v3/brokerage"
    for target, words in (
        ("/nope", "Not Found"),
        (f"{root}/market/products/NOPE/ticker", "valid product_id is required"),
        (f"{root}/market/products/BTC-USD/ticker?limit=x", "limit is invalid"),
    ):
        said = body(side, target)
        assert (said["error_details"], Venue().explain(400, json.dumps(said).encode())) == (
            words,
            words,
        )
    assert body(side, f"{root}/market/products/BTC-USD")["alias_to"] == ["BTC-USDC"]
    assert WORDS.missing("x").message == "x is required"
    said = query_of(side, Venue().time_request())
    assert Venue().parse_time(said) == NOW_MS
    for _ in range(20):
        last = side.respond(Request("GET", f"{root}/time", headers={}), NOW_MS)
    assert (last.status, Venue().explain(429, last.body)) == (429, "Public rate limit exceeded")


# Recordings.


def test_recorded_messages_are_played_as_they_are_and_numbered_anew() -> None:
    market, reader = FakeMarket(sold(1), sold(2)), ADVANCED.reader()
    (past,) = ADVANCED.greeting("", "BTC-USD@trade", market, Session())
    (whole,) = ADVANCED.greeting("", STREAM, market, Session())
    batch = ADVANCED.payload(
        msgspec.structs.replace(tick(sold(3)), others=(sold(4),)), microseconds=False
    )
    change = ADVANCED.payload(depth(), microseconds=False)
    heartbeats = ADVANCED.pulse("heartbeats", Session(), market, NOW_MS)
    messages = (past, whole, *heartbeats, change, batch)
    assert [each for frame in numbered(*messages) for each in reader.read(frame)] == [
        RecordedPast("BTC-USD", TRADE, (sold(1), sold(2)), past),
        RecordedMessage("BTC-USD", STREAM.partition("@")[2], whole),
        RecordedMessage("BTC-USD", STREAM.partition("@")[2], change),
        Recorded(sold(3), batch, (sold(4),)),
    ]
    assert reader.levels(whole) == RecordedLevels(
        0, list(BOOK.bids), list(BOOK.asks), NOW_MS, is_whole=True
    )
    assert reader.levels(change).bids == [("99.50", "0.00")]
    assert not reader.levels(change).is_whole


def test_recorded_messages_that_are_not_as_documented_are_refused() -> None:
    reader = ADVANCED.reader()
    none = b'{"channel":"market_trades","sequence_num":1,"events":[{"type":"update"}]}'
    assert reader.read(none) == ()
    empty = b'{"channel":"l2_data","events":[{"type":"update","product_id":"BTC-USD"}]}'
    assert reader.levels(empty) == RecordedLevels(0, [], [])
    mixed = frames.trades("update", (sold(1), sold(2, symbol="ETH-USD")), NOW_MS)
    for frame in (mixed, none.replace(b'{"type":"update"}', b"")):
        with pytest.raises(ValueError, match=r"BTC-USD and ETH-USD|array"):
            reader.read(frame)
