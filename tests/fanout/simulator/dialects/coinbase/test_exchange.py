"""The Exchange feed as a client meets it: messages, requests, greetings, heartbeats, REST, and a
recording."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from fanout.protocol import DataKinds
from fanout.simulator.connection.http import HTML, JSON, Request
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import (
    Answer,
    Destination,
    Dialect,
    Mood,
    RestSide,
    Session,
    Venue,
)
from fanout.simulator.dialects.coinbase import CoinbaseExchange
from fanout.simulator.dialects.coinbase.exchange_rest import WORDS
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import Listing, Quirk, listed
from fanout.simulator.market.reader import Found, Recorded, RecordedMessage, RecordedPast
from fanout.simulator.market.ticks import Depth, Quote, Tick, Trade
from fanout.venues import VenueDepth, VenueItem, VenueTrade
from fanout.venues.coinbase import Coinbase
from fanout.venues.values import NewestId
from tests.captures import capture_path
from tests.fanout.simulator.support import tick, trade

EXCHANGE = CoinbaseExchange()
RECORDING = "venues/coinbase_exchange_matches_level2_20210417.gz"
ALL = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
NOW_MS = 1_775_572_202_789
BOOK = Snapshot(7, NOW_MS, [("99.50", "1.5"), ("99.00", "2")], [("100.50", "1")])
STREAM = "BTC-USD@depth@50ms"
NOBODY = Session()
Quirks = Mapping[str, tuple[Quirk, ...]]
NO_QUIRKS: Quirks = {}


def sold(number: int = 881_613, **fields: Any) -> Trade:
    row = {
        "symbol": "BTC-USD",
        "time_ms": NOW_MS,
        "event_ms": NOW_MS,
        "beyond_us": 12,
        "price": "84140.83",
        "quantity": "0.00004104",
    }
    return trade(number, **(row | fields))


def depth(**fields: Any) -> Tick:
    row: dict[str, Any] = {
        "event_ms": NOW_MS,
        "time_ms": NOW_MS,
        "symbol": "BTC-USD",
        "first_id": 1,
        "last_id": 2,
        "previous_id": 0,
        "bids": [("99.50", "0.00")],
        "asks": [("100.50", "2.00")],
    }
    return Tick(0, STREAM, depth=Depth(**(row | fields)))


class FakeMarket:
    """Two past trades, and one book."""

    def __init__(self, *trades: Trade, book: Snapshot | None = BOOK) -> None:
        self._trades = trades
        self._book = book

    def whole(self, stream: str) -> Snapshot | None:
        return self._book

    def best(self, symbol: str) -> Quote | None:
        return None

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        return tuple(each for each in self._trades if each.symbol == symbol)[-count:]


def ask(dialect: Dialect, session: Session = NOBODY, **request: Any) -> Answer:
    return dialect.answer(session, json.dumps(request), NOW_MS)


def items_of(venue: Any, *messages: bytes) -> list[VenueItem]:
    """What the service's venue takes from messages: it shares no code with the dialect."""
    rows = json.dumps(list(map(_row, ("BTC-USD", "ETH-USD"))))
    listing = Coinbase().parse_listing(rows.encode())
    units = {symbol: listing.instrument(symbol, index) for index, symbol in enumerate(listing.rows)}
    items: list[VenueItem] = []
    dialogue = venue.dialogue(tuple(units), units)
    for message in messages:
        assert dialogue.receive(message, items) is None
    return items


def _row(symbol: str) -> dict[str, object]:
    steps = {"quote_increment": "0.01", "base_increment": "0.00000001"}
    return {"id": symbol, "status": "online", **steps}


def side_of(dialect: Dialect, *trades: Trade, quirks: Quirks = NO_QUIRKS) -> RestSide:
    listings = listed(dialect.table.values(), dialect.untraded)
    history = History(listings, 5_000)
    for each in trades:
        history.add(each)
    limits = dialect.limits
    limit = RateLimit(
        weight_limit=limits.weight_per_minute,
        tolerated_429s=1,
        window_ms=limits.window_ms,
        over_status=limits.over_status,
        ban_status=limits.ban_status,
    )
    return dialect.rest(
        Venue(
            listings=listings,
            quirks=quirks,
            history=history,
            limit=limit,
            snapshot=lambda symbol, count: BOOK,
        )
    )


def body(side: RestSide, target: str) -> Any:
    return json.loads(side.respond(Request("GET", target, headers={}), NOW_MS).body)


def query_of(side: RestSide, request: Any) -> bytes:
    """The answer to a request of the service."""
    query = "&".join(f"{name}={value}" for name, value in request.query.items())
    return side.respond(Request("GET", f"{request.path}?{query}", headers={}), NOW_MS).body


# Messages.


def test_a_match_has_the_recorded_fields_and_the_side_of_the_maker() -> None:
    row = sold(buyer_is_maker=True)
    message = EXCHANGE.payload(tick(row), microseconds=False)
    said = json.loads(message)
    assert list(said) == [
        *("type", "trade_id", "maker_order_id", "taker_order_id", "side", "size", "price"),
        *("product_id", "sequence", "time"),
    ]
    assert (said["type"], said["side"], said["time"]) == (
        "match",
        "buy",
        "2026-04-07T14:30:02.789012Z",
    )
    assert said["maker_order_id"] != said["taker_order_id"]
    (item,) = items_of(Coinbase(), message)
    assert isinstance(item, VenueTrade)
    assert (item.trade_id, item.time, item.buyer_is_maker) == (881_613, NOW_MS * 1000 + 12, True)
    assert EXCHANGE.reader().read(message) == (Recorded(row, message),)
    recorded = Tick(0, "x", row, recorded=b"as it is")
    assert EXCHANGE.payload(recorded, microseconds=False) == b"as it is"


def test_a_change_of_a_book_is_read_by_the_service_after_the_snapshot() -> None:
    (whole,) = EXCHANGE.greeting("level2_batch:BTC-USD", STREAM, FakeMarket(), Session())
    change = EXCHANGE.payload(depth(), microseconds=False)
    first, second = items_of(Coinbase(data=ALL), whole, change)
    assert isinstance(first, VenueDepth)
    assert isinstance(second, VenueDepth)
    assert first.update.is_whole
    assert [each.price for each in first.update.bids] == [9_950, 9_900]
    assert [(each.price, each.quantity) for each in second.update.bids] == [(9_950, 0)]
    assert [(each.price, each.quantity) for each in second.update.asks] == [(10_050, 200_000_000)]
    raw = msgspec.structs.replace(BOOK, raw=b"as recorded")
    market = FakeMarket(book=raw)
    assert EXCHANGE.greeting("x", STREAM, market, Session()) == [b"as recorded"]
    assert EXCHANGE.greeting("x", STREAM, FakeMarket(book=None), Session()) == []


def test_the_newest_trade_follows_a_subscription() -> None:
    market = FakeMarket(sold(1), sold(2))
    (message,) = EXCHANGE.greeting("matches:BTC-USD", "BTC-USD@trade", market, Session())
    (item,) = items_of(Coinbase(), message)
    assert isinstance(item, VenueTrade)
    assert (item.trade_id, item.is_past) == (2, True)
    assert EXCHANGE.greeting("matches:ETH-USD", "ETH-USD@trade", market, Session()) == []


def test_heartbeats_name_the_newest_trade_of_each_product() -> None:
    session = Session(("heartbeat:BTC-USD", "matches:ETH-USD", "heartbeat:ETH-USD"))
    (pulse,) = EXCHANGE.pulses(session)
    assert (pulse.every_s, pulse.answer_s) == (1.0, None)
    messages = EXCHANGE.pulse(pulse.name, session, FakeMarket(sold(7)), NOW_MS)
    assert items_of(Coinbase(), messages[0]) == [NewestId("BTC-USD", 7)]
    assert json.loads(messages[1])["last_trade_id"] == 0
    assert EXCHANGE.pulses(Session(("matches:BTC-USD",))) == ()


# Requests.


def test_a_subscription_is_answered_with_all_channels_and_greeted() -> None:
    channels = ["matches", {"name": "level2_batch", "product_ids": ["ETH-USD"]}]
    answer = ask(EXCHANGE, type="subscribe", product_ids=["btc-usd"], channels=channels)
    names = ("matches:BTC-USD", "level2_batch:BTC-USD", "level2_batch:ETH-USD")
    assert answer.session.streams == answer.greeted == names
    assert json.loads(answer.replies[0]) == {
        "type": "subscriptions",
        "channels": [
            {"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None},
            {"name": "level2_50", "product_ids": ["BTC-USD", "ETH-USD"], "account_ids": None},
        ],
    }
    again = ask(
        EXCHANGE, answer.session, type="subscribe", product_ids=["BTC-USD"], channels=["matches"]
    )
    assert (again.greeted, again.session) == ((), answer.session)


def test_a_product_or_a_whole_channel_can_be_left() -> None:
    session = Session(("matches:BTC-USD", "matches:ETH-USD", "heartbeat:BTC-USD"))
    left = ask(EXCHANGE, session, type="unsubscribe", product_ids=["BTC-USD"], channels=["matches"])
    assert left.session.streams == ("matches:ETH-USD", "heartbeat:BTC-USD")
    left = ask(EXCHANGE, session, type="unsubscribe", channels=["matches"])
    assert left.session.streams == ("heartbeat:BTC-USD",)
    assert left.greeted == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Malformed JSON"),
        ("[" * 10_000, "Malformed JSON"),
        ("[]", "Type has to be either subscribe or unsubscribe"),
        ('{"type":"SUBSCRIBE"}', "Type has to be either subscribe or unsubscribe"),
        ('{"type":"subscribe","product_ids":["BTC-USD"]}', "No channels provided"),
        ('{"type":"subscribe","channels":[]}', "No channels provided"),
        ('{"type":"subscribe","channels":["matches"]}', "You need to specify at least one product"),
        ('{"type":"subscribe","channels":["level2"]}', "now require authentication"),
        ('{"type":"subscribe","channels":["nope"]}', "nope is not a valid channel"),
        ('{"type":"subscribe","channels":[7]}', "7 is not a valid channel"),
        ('{"type":"subscribe","product_ids":"BTC-USD","channels":["matches"]}', "product_ids must"),
    ],
)
def test_a_bad_request_changes_nothing(text: str, reason: str) -> None:
    session = Session(("matches:ETH-USD",))
    answer = EXCHANGE.answer(session, text, NOW_MS)
    said = json.loads(answer.replies[0])
    assert (said["type"], said["message"]) == ("error", "Failed to subscribe")
    assert reason in said["reason"]
    assert (answer.session, answer.close, answer.greeted) == (session, None, ())


def test_one_bad_product_fails_its_request_whole() -> None:
    mood = Mood(refused={"ETH-USD": "request"})
    request = {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channels": ["matches"]}
    answer = EXCHANGE.answer(Session(), json.dumps(request), NOW_MS, mood)
    assert json.loads(answer.replies[0])["reason"] == "ETH-USD is not a valid product"
    assert (answer.refused, answer.session.streams) == (("ETH-USD",), ())
    good = json.dumps({**request, "product_ids": ["BTC-USD"]})
    assert EXCHANGE.answer(Session(), good, NOW_MS, mood).session.streams == ("matches:BTC-USD",)
    only = Mood(streams={"matches:ETH-USD"})
    unknown = EXCHANGE.answer(Session(), good, NOW_MS, only)
    assert json.loads(unknown.replies[0])["reason"] == "BTC-USD is not a valid product"
    assert unknown.refused == ()
    left = json.dumps({**request, "type": "unsubscribe"})
    assert EXCHANGE.answer(Session(), left, NOW_MS, mood).refused == ()


def test_the_requests_of_the_service_are_understood() -> None:
    for data in (DataKinds.TRADES, ALL):
        dialogue = Coinbase(data=data).dialogue(("BTC-USD", "ETH-USD"))
        (opening,) = dialogue.opening()
        answer = EXCHANGE.answer(Session(), opening, NOW_MS)
        outcome = dialogue.receive(answer.replies[0].encode(), [])
        assert outcome is not None
        assert set(outcome.confirmed) == {"BTC-USD", "ETH-USD"}


def test_the_feed_is_at_the_root_and_wants_a_request_within_five_seconds() -> None:
    for target in ("", "/", "/?x=y"):
        assert EXCHANGE.destination(target) == Destination("")
    assert EXCHANGE.destination("/ws") is None
    assert EXCHANGE.limits.first_request_s == 5.0
    assert EXCHANGE.stream_names("BTC-USD") == {
        "matches:BTC-USD": ("trade", ""),
        "level2_batch:BTC-USD": ("depth@50ms", ""),
    }


# REST.


def test_the_service_reads_the_listing() -> None:
    (request,) = Coinbase().listing_requests()
    quirks: dict[str, tuple[Quirk, ...]] = {"ETH-USD": ("no-filters",), "SOL-USD": ("conflict",)}
    listing = Coinbase().parse_listing(query_of(side_of(EXCHANGE, quirks=quirks), request))
    assert set(listing.odd) == {"ETH-USD", "SOL-USD"}
    assert listing.fault("LUNA-USD") == "LUNA-USD does not trade at coinbase now: status delisted"
    for symbol, row in EXCHANGE.table.items():
        if symbol not in listing.odd:
            found = listing.instrument(symbol, 0)
            assert found.symbol == symbol
            assert -found.price_exponent == row.price_precision
            assert -found.quantity_exponent == row.quantity_precision
    assert [each for each in ("null-type", "no-filters", "twice") if EXCHANGE.lacks(each)] == [
        "null-type"
    ]


def test_trades_come_by_id_and_the_newest_first() -> None:
    side = side_of(EXCHANGE, *(sold(number) for number in range(1, 2_001)))
    target = "/products/BTC-USD/trades"
    assert [each["trade_id"] for each in body(side, f"{target}?limit=2")] == [2_000, 1_999]
    assert [each["trade_id"] for each in body(side, f"{target}?after=10&limit=3")] == [9, 8, 7]
    assert [each["trade_id"] for each in body(side, f"{target}?before=1998")] == [2_000, 1_999]
    assert len(body(side, f"{target}?limit=5000")) == 1_000
    venue = Coinbase()
    page = venue.parse_history(
        query_of(side, venue.history_request("BTC-USD", 501)), "BTC-USD", 501
    )
    assert page is not None
    assert (page.first_id, page.last_id, page.is_newest) == (501, 1_500, False)
    newest = venue.parse_recent_trades(
        query_of(side, venue.recent_trades_request("BTC-USD")), "BTC-USD"
    )
    assert (newest[-1].trade_id, newest[-1].time) == (2_000, NOW_MS * 1_000 + 12)


def test_errors_are_messages() -> None:
    side = side_of(EXCHANGE)
    for target, words in (
        ("/nope", "NotFound"),
        ("/products/NOPE-USD/trades", "NotFound"),
        ("/products/BTC-USD/trades?after=x", "Invalid after"),
    ):
        assert body(side, target) == {"message": words}
    assert body(side, "/products/BTC-USD")["id"] == "BTC-USD"
    assert WORDS.missing("after").message == "after is required"
    statuses = [side.respond(Request("GET", "/time", headers={}), NOW_MS).status for _ in range(20)]
    assert statuses[-1] == 429, "10 requests a second"
    later = side.respond(Request("GET", "/time", headers={}), NOW_MS + 1_000)
    assert later.status == 200
    assert Coinbase().parse_time(later.body) == NOW_MS + 1_000
    assert EXCHANGE.error(403, weight_limit=1, banned_until_ms=0)[1] == HTML
    said, kind = EXCHANGE.error(418, weight_limit=1, banned_until_ms=0)
    assert (kind, list(json.loads(said))) == (JSON, ["message"])


def test_symbols_are_made_up_by_number() -> None:
    found = EXCHANGE.made_up(EXCHANGE.made_up_symbol(21))
    assert isinstance(found, Listing)
    assert found.symbol == "S0021-USD"
    assert EXCHANGE.made_up("S21-USD") is None
    assert EXCHANGE.made_up("S0021USDT") is None
    assert EXCHANGE.spelled("0.01") == "0.01"


# The recording.


def test_the_recording_is_read() -> None:
    counts: dict[type, int] = {}
    reader = EXCHANGE.reader()
    with gzip.open(capture_path(RECORDING), "rb") as file:
        for line in file:
            frame = line.partition(b" ")[2].strip()
            if frame.startswith(b"> "):
                continue
            for found in reader.read(frame) or (None,):
                count = counts[type(found)] = counts.get(type(found), 0) + 1
                if count < 100 or count % 50 == 0:
                    check_recorded(found, json.loads(frame))
    assert counts == {Recorded: 97, RecordedPast: 10, RecordedMessage: 9_729, type(None): 110}


def check_recorded(found: Found | None, frame: Any) -> None:
    match found:
        case Recorded(trades=(row,)) | RecordedPast(trades=(row,)):
            assert (row.trade_id, row.price, row.quantity) == (
                frame["trade_id"],
                frame["price"],
                frame["size"],
            )
            assert isinstance(found, Recorded) == (frame["type"] == "match")
        case RecordedMessage(symbol=symbol, payload=payload):
            assert symbol == frame["product_id"]
            levels = EXCHANGE.reader().levels(payload)
            assert levels.is_whole == (frame["type"] == "snapshot")
            count = len(frame.get("changes", ())) or len(frame["bids"]) + len(frame["asks"])
            assert len(levels.bids) + len(levels.asks) == count
            assert bool(levels.time_ms) == ("time" in frame)
        case _:
            assert frame["type"] in ("subscriptions", "ticker")
