"""Bitfinex's dialect: events, numbers, data messages, clocks and REST. The service's venue, which
shares no code with it, understands all of it."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zlib import crc32

import pytest

from fanout.errors import VenueRefusalError
from fanout.protocol import DataKinds, Instrument, OrderBook, OrdersBook
from fanout.protocol.constants import Side
from fanout.simulator.connection.http import Request, Response
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import Answer, Form, Mood, Pulse, Session, Venue
from fanout.simulator.dialects.bitfinex import Bitfinex
from fanout.simulator.dialects.bitfinex.numbers import spelled
from fanout.simulator.dialects.bitfinex.table import TABLE
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.ticks import Depth, Tick, Trade, depth_kind, stream_of
from fanout.venues import VenueDepth, VenueItem, VenueTrade
from fanout.venues.bitfinex import Bitfinex as TheVenue
from fanout.venues.bitfinex.book import read_orders
from fanout.venues.bitfinex.dialogue import BitfinexDialogue
from fanout.venues.bitfinex.messages import decode
from fanout.venues.values import Alive, BookChecksum, Refusal
from tests.fanout.simulator.support import no_snapshot, trade

BITFINEX = Bitfinex()
BOOK = stream_of("tBTCUSD", depth_kind(0))
NOW_MS = 1_574_694_478_808
ALL = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
UNITS = {"tBTCUSD": Instrument(index=0, symbol="tBTCUSD", price_exponent=-8, quantity_exponent=-8)}


class AMarket:
    """What greetings and pulses tell of."""

    def __init__(self, trades: tuple[Trade, ...] = (), book: Snapshot | None = None) -> None:
        self.trades = trades
        self.book = book

    def whole(self, stream: str) -> Snapshot | None:
        return self.book if stream == BOOK else None

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        return self.trades[-count:]


class Conversation:
    """A connection with the dialect, and the messages that it gets."""

    def __init__(self, market: AMarket | None = None) -> None:
        self.market = market or AMarket()
        destination = BITFINEX.destination("/ws/2")
        assert destination is not None
        self.session = destination.session
        self.count = 0

    def say(self, text: str, mood: Mood | None = None) -> list[bytes]:
        found = BITFINEX.answer(self.session, text, NOW_MS, mood or Mood())
        self.session = found.session
        replies = self.get([each.encode() for each in found.replies])
        for name in found.greeted:
            replies += self.get(BITFINEX.greeting(name, BOOK, self.market, self.session), name)
        return replies

    def get(self, messages: list[bytes], name: str | None = None) -> list[bytes]:
        found = []
        for each in messages:
            message, self.count = BITFINEX.personal(each, name, self.session, self.count)
            found.append(message)
        return found

    def publish(self, tick: Tick, channel: str = "book") -> list[bytes]:
        payload = BITFINEX.payload(tick, microseconds=False)
        return self.get(BITFINEX.split(payload), f"{channel}:tBTCUSD")

    def pulse(self, name: str) -> list[bytes]:
        return self.get(BITFINEX.pulse(name, self.session, self.market, NOW_MS))


def subscribe(channel: str = "trades", symbol: str = "tBTCUSD", **fields: Any) -> str:
    return json.dumps({"event": "subscribe", "channel": channel, "symbol": symbol, **fields})


def conf(flags: object) -> str:
    return json.dumps({"event": "conf", "flags": flags})


def row(trade_id: int, **fields: Any) -> Trade:
    terms = {"symbol": "tBTCUSD", "price": "7245.30", "quantity": "0.00500000", **fields}
    return trade(trade_id, event_ms=NOW_MS + 2, time_ms=NOW_MS, **terms)


def depth(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> Tick:
    update = Depth(NOW_MS, NOW_MS, "tBTCUSD", 5, 6, 4, bids, asks)
    return Tick(0, BOOK, depth=update)


def reply_of(found: Answer) -> Any:
    (reply,) = found.replies
    return json.loads(reply)


# Events.


def test_it_speaks_first() -> None:
    welcome = reply_of(BITFINEX.welcome(Session()))
    assert (welcome["event"], welcome["version"], welcome["platform"]) == ("info", 2, {"status": 1})
    assert BITFINEX.destination("/ws/1") is None


def test_requests_are_answered() -> None:
    wire = Conversation()
    (pong,) = wire.say('{"event":"ping","cid":7}')
    assert json.loads(pong) == {"event": "pong", "ts": NOW_MS, "cid": 7}
    assert BITFINEX.answer(Session(), '{"event":"ping"}', 5).is_pong
    assert wire.say(conf(65536)) == [b'{"event":"conf","status":"OK","flags":65536}']
    told, past = wire.say(subscribe(subId=3))
    assert json.loads(told) == {
        "event": "subscribed",
        "channel": "trades",
        "chanId": 205046,
        "symbol": "tBTCUSD",
        "pair": "BTCUSD",
        "subId": 3,
    }
    assert past == b"[205046,[],1]"
    (told,) = wire.say(subscribe("book", len="100"))
    assert json.loads(told) | {"chanId": 0} == {
        "event": "subscribed",
        "channel": "book",
        "chanId": 0,
        "symbol": "tBTCUSD",
        "pair": "BTCUSD",
        "prec": "P0",
        "freq": "F0",
        "len": "100",
    }
    assert wire.session.streams == ("trades:tBTCUSD", "book:tBTCUSD")
    (gone,) = wire.say('{"event":"unsubscribe","chanId":205046}')
    assert json.loads(gone) == {"event": "unsubscribed", "status": "OK", "chanId": 205046}
    assert wire.session.streams == ("book:tBTCUSD",)
    assert b"205120" in wire.say(subscribe())[0], "a channel has a new number each time"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 10000),
        ("[" * 100_000, 10000),
        ("[]", 10000),
        ("{}", 10000),
        ('{"event":7}', 10000),
        ('{"event":"auth"}', 10000),
        (conf("x"), 10000),
        (conf(-1), 10000),
        (subscribe("candles"), 10302),
        (subscribe(symbol="BTCUSD"), 10300),
        (subscribe(symbol="tbtcusd"), 10300),
        ('{"event":"subscribe","channel":"trades"}', 10300),
        ('{"event":"subscribe","channel":["trades"],"symbol":"tBTCUSD"}', 10302),
        (subscribe("book", prec="P7"), 10300),
        (subscribe("book", freq="F1"), 10300),
        (subscribe("book", len="26"), 10300),
        ('{"event":"unsubscribe","chanId":7}', 10401),
        ('{"event":"unsubscribe"}', 10401),
    ],
)
def test_a_wrong_request_gets_its_code_and_changes_nothing(text: str, code: int) -> None:
    found = BITFINEX.answer(Session(), text, 0)
    told = reply_of(found)
    assert (told["event"], told["code"]) == ("error", code)
    assert told["msg"]
    assert found.session == Session()


def test_a_channel_twice_and_a_26th_are_refused() -> None:
    wire = Conversation()
    for number in range(25):
        wire.say(subscribe(symbol=f"tS{number}:USD"))
    codes = [json.loads(wire.say(subscribe(symbol=each))[0])["code"] for each in ("tS7:USD", "tX")]
    assert codes == [10301, 10305]
    assert len(wire.session.streams) == 25


def test_a_fault_refuses_a_symbol() -> None:
    mood = Mood(refused={"tBTCUSD": "topic"})
    found = BITFINEX.answer(Session(), subscribe("book"), 0, mood)
    assert reply_of(found)["code"] == 10300
    assert found.refused == ("tBTCUSD",)


def test_it_announces_maintenance_and_restarts() -> None:
    told = [
        *BITFINEX.maintenance(True, 0, Session()),
        *BITFINEX.maintenance(False, 0, Session()),
        BITFINEX.shutdown(0, Form()),
    ]
    assert [json.loads(each)["code"] for each in told] == [20060, 20061, 20051]


# Numbers and data.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.00", "0"),
        ("7245.30", "7245.3"),
        ("83671", "83671"),
        ("278200.0", "278200"),
        ("0.00000100", "0.000001"),
        ("0.00000050", "5e-7"),
        ("0.00000445", "0.00000445"),
        ("0.000000445", "4.45e-7"),
        ("-1.50", "-1.5"),
        ("0.05", "0.05"),
    ],
)
def test_numbers_are_spelled_as_javascript_does(text: str, said: str) -> None:
    assert spelled(text) == said


def test_a_trade_is_sent_as_documented_and_again() -> None:
    wire = Conversation()
    wire.say(subscribe())
    tick = Tick(0, "tBTCUSD@trade", row(401597395))
    assert wire.publish(tick, "trades") == [
        b'[205046,"te",[401597395,1574694478808,0.005,7245.3]]',
        b'[205046,"tu",[401597395,1574694478808,0.005,7245.3]]',
    ]
    wire.say(conf(65536))
    sold = Tick(0, "tBTCUSD@trade", row(401597396, buyer_is_maker=True))
    first, _ = wire.publish(sold, "trades")
    assert first == b'[205046,"te",[401597396,1574694478808,-0.005,7245.3],4]'
    wire.say(conf(65536 | 32768))
    assert wire.publish(sold, "trades")[0].endswith(b",6,1574694478810]")


def test_each_level_is_a_message_and_removals_go_first() -> None:
    wire = Conversation()
    wire.say(subscribe("book"))
    tick = depth([("7254.70", "1.5")], [("7254.80", "0.0"), ("7254.90", "2")])
    assert wire.publish(tick) == [
        b"[205046,[7254.8,0,-1]]",
        b"[205046,[7254.7,1,1.5]]",
        b"[205046,[7254.9,1,-2]]",
    ]


def test_a_message_that_a_fault_has_cut_is_sent_as_it_is() -> None:
    wire = Conversation()
    wire.say(subscribe("book"))
    cut = b"[0,[[7254.7,1,1.5],[72"
    assert wire.get(BITFINEX.split(cut), "book:tBTCUSD") == [b"[205046,[[7254.7,1,1.5],[72"]


def test_a_recorded_payload_is_sent_as_it_is() -> None:
    assert BITFINEX.payload(Tick(0, BOOK, recorded=b"[1,[],5]"), microseconds=False) == b"[1,[],5]"
    assert BITFINEX.split(b"[1,[[1,1,1],[2,1,-1]],5]") == [b"[1,[[1,1,1],[2,1,-1]],5]"]


SNAPSHOT = Snapshot(
    9, NOW_MS, [("7254.70", "3.30000000"), ("0.00000050", "1")], [("7254.80", "0.00000100")]
)


def test_heartbeats_leave_together_and_are_numbered() -> None:
    wire = Conversation()
    assert BITFINEX.pulses(wire.session) == ()
    wire.say(conf(65536))
    wire.say(subscribe())
    wire.say(subscribe("book"))
    assert BITFINEX.pulses(wire.session) == (Pulse("hb", 15.0),)
    assert wire.pulse("hb") == [b'[205046,"hb",2]', b'[205083,"hb",3]']


def test_checksums_come_if_they_are_asked_for() -> None:
    wire = Conversation(AMarket(book=SNAPSHOT))
    wire.say(subscribe("book"))
    wire.say(subscribe("trades"))
    wrong = BITFINEX.wrong_checksum("book:tBTCUSD", BOOK, wire.market, wire.session)
    assert wrong == wire.pulse("cs") == []
    wire.say(conf(131072))
    assert BITFINEX.pulses(wire.session) == (Pulse("hb", 15.0), Pulse("cs", 5.0))
    value = crc32(b"7254.7:3.3:7254.8:-0.000001:5e-7:1")
    signed = value - 2**32 if value > 2**31 else value
    assert wire.pulse("cs") == [b'[205046,"cs",%d]' % signed]
    (wrong_one,) = BITFINEX.wrong_checksum("book:tBTCUSD", BOOK, wire.market, wire.session)
    assert wrong_one == b'[0,"cs",%d,%d]' % (signed ^ 1, NOW_MS)
    wire.market.book = None
    assert wire.pulse("cs") == []


# The service's venue at the other end.


def served(
    wire: Conversation, dialogue: BitfinexDialogue, words: tuple[str, ...]
) -> list[VenueItem]:
    items: list[VenueItem] = []
    for text in words:
        for message in wire.say(text):
            heard(dialogue, message, items)
    return items


def heard(dialogue: BitfinexDialogue, message: bytes, items: list[VenueItem]) -> None:
    outcome = dialogue.receive(message, items)
    assert outcome is None or (outcome.lost, outcome.notice, outcome.refused) == (None, None, {})


def levels_of(book: OrderBook) -> list[list[tuple[Decimal, Decimal]]]:
    unit = UNITS["tBTCUSD"]
    return [
        [(unit.price_decimal(price), unit.quantity_decimal(size)) for price, size in side]
        for side in book.levels()
    ]


def test_the_venue_follows_trades_and_a_book() -> None:
    wire = Conversation(AMarket((row(7), row(8, buyer_is_maker=True)), SNAPSHOT))
    venue = TheVenue(data=ALL).with_checksums()
    dialogue = venue.dialogue(("tBTCUSD",), UNITS)
    heard(dialogue, BITFINEX.welcome(wire.session).replies[0].encode(), [])
    items = served(wire, dialogue, dialogue.opening())
    assert dialogue.unanswered == frozenset()
    update = depth([("7254.70", "0"), ("7254.60", "2")], [("7254.75", "1.25")])
    later = [
        *wire.publish(Tick(0, "tBTCUSD@trade", row(9)), "trades"),
        *wire.publish(update),
        *wire.pulse("hb"),
    ]
    after = [("7254.60", "2.0"), ("0.00000050", "1")], [("7254.75", "1.25"), *SNAPSHOT.asks]
    wire.market.book = Snapshot(10, NOW_MS, *after)
    for message in [*later, *wire.pulse("cs")]:
        heard(dialogue, message, items)
    trades = [each for each in items if isinstance(each, VenueTrade)]
    assert [(each.trade_id, each.is_past, each.buyer_is_maker) for each in trades] == [
        (7, True, False),
        (8, True, True),
        (9, False, False),
    ]
    book = OrderBook(UNITS["tBTCUSD"])
    for each in items:
        if isinstance(each, VenueDepth):
            book.apply(each.update)
            assert each.update.time == NOW_MS
    assert levels_of(book) == [[(Decimal(p), Decimal(q)) for p, q in side] for side in after]
    (sum_,) = [each for each in items if isinstance(each, BookChecksum)]
    assert venue.checksum(book) == sum_.value
    assert Alive("tBTCUSD") in items
    assert served(wire, dialogue, dialogue.refresh("tBTCUSD"))[0] is not None


def test_the_venue_notices_a_number_that_is_missing() -> None:
    wire = Conversation()
    dialogue = TheVenue().dialogue(("tBTCUSD",))
    served(wire, dialogue, dialogue.opening())
    wire.pulse("hb")
    outcome = dialogue.receive(wire.pulse("hb")[0], [])
    assert outcome is not None
    assert outcome.lost == "message 3 came after message 1"


def test_the_venue_takes_a_refusal_maintenance_and_the_26th_channel() -> None:
    wire = Conversation()
    dialogue = TheVenue().dialogue(("tBTCUSD",))
    opening = dialogue.opening()
    (refusal,) = wire.say(opening[1], Mood(refused={"tBTCUSD": "topic"}))
    outcome = dialogue.receive(refusal, [])
    assert outcome is not None
    assert outcome.refused == {"tBTCUSD": "symbol: invalid (10300)"}
    (begins,) = BITFINEX.maintenance(True, 0, Session())
    (ends,) = BITFINEX.maintenance(False, 0, Session())
    told = [dialogue.receive(each, []) for each in (begins, ends, BITFINEX.shutdown(0, Form()))]
    assert [bool(each and each.pauses) for each in told] == [True, False, False]
    assert [bool(each and each.closes) for each in told] == [False, True, True]
    for number in range(25):
        wire.say(subscribe(symbol=f"tS{number}:USD"))
    with pytest.raises(VenueRefusalError):
        dialogue.receive(wire.say(subscribe())[0], [])


def test_a_book_by_order_has_one_order_a_level() -> None:
    wire = Conversation(AMarket(book=SNAPSHOT))
    _, whole = wire.say(subscribe("book", prec="R0"))
    book, unit = OrdersBook(UNITS["tBTCUSD"]), UNITS["tBTCUSD"]
    book.apply(read_orders(decode(whole)[1], unit, 1, 0, whole=True))
    tick = depth([("7254.70", "0"), ("7254.60", "2")], [])
    for number, message in enumerate(wire.publish(tick, "raw"), 2):
        book.apply(read_orders([decode(message)[1]], unit, number, 0, whole=False))
    assert [unit.price_decimal(each.price) for each in book.orders(Side.BID)] == [
        Decimal("0.0000005"),
        Decimal("7254.6"),
    ]
    assert book.order_count == 3
    ids = {each.order_id for side in Side for each in book.orders(side)}
    assert len(ids) == 3


# REST.


@pytest.fixture
def ask() -> Callable[..., Response]:
    listings = dict(TABLE)
    listings["tOLDUSD"] = Listing("tOLDUSD", "1", "0.1", "0.00000001", status="BREAK")
    history = History(listings, 2_000)
    for number in range(1, 5):
        history.add(row(number, price=f"724{number}.30"))
    quirks: dict[str, tuple[Quirk, ...]] = {"tBTCUSD": ("twice",)}
    limit = RateLimit(weight_limit=90, tolerated_429s=1, ban_status=None)
    venue = Venue(
        listings=listings, quirks=quirks, history=history, limit=limit, snapshot=no_snapshot
    )
    rest = BITFINEX.rest(venue)

    def ask(target: str, now_ms: int = 0) -> Response:
        return rest.respond(Request("GET", target), now_ms)

    return ask


def target_of(request: Any) -> str:
    query = "&".join(f"{name}={value}" for name, value in request.query.items())
    return f"{request.path}?{query}"


def test_the_venue_reads_the_listing(ask: Callable[..., Response]) -> None:
    venue = TheVenue()
    bodies = [ask(target_of(each)).body for each in venue.listing_requests()]
    listing = venue.parse_listing(*bodies)
    assert listing.odd == {}
    assert set(listing.rows) == set(TABLE)
    exponents = {each: listing.rows[each].price_exponent for each in ("tBTCUSD", "tPEPE:USD")}
    assert exponents == {"tBTCUSD": -8, "tPEPE:USD": -11}
    assert [each for each, row in listing.rows.items() if row.type != 0] == [
        "tBTCF0:USTF0",
        "tETHF0:USTF0",
    ]


def test_the_venue_reads_trades(ask: Callable[..., Response]) -> None:
    venue = TheVenue()
    for request in (
        venue.recent_trades_request("tBTCUSD"),
        venue.recent_trades_request("tBTCUSD", since=NOW_MS),
        venue.history_request("tBTCUSD", 1),
    ):
        trades = venue.parse_recent_trades(ask(target_of(request)).body, "tBTCUSD")
        assert [(each.trade_id, each.price) for each in trades] == [
            (number, f"724{number}.3") for number in range(1, 5)
        ]
    later = venue.recent_trades_request("tBTCUSD", since=NOW_MS + 1)
    assert ask(target_of(later)).body == b"[]"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("limit=2", [4, 3]),
        ("limit=2&sort=1", [1, 2]),
        ("sort=-1", [4, 3, 2, 1]),
        (f"end={NOW_MS - 1}", []),
    ],
)
def test_trades_are_selected(query: str, ids: list[int], ask: Callable[..., Response]) -> None:
    rows = json.loads(ask(f"/v2/trades/tBTCUSD/hist?{query}").body)
    assert [row[0] for row in rows] == ids


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v2/trades/tNOUSD/hist", 500),
        ("/v2/trades/tBTCUSD/hist?limit=10001", 500),
        ("/v2/trades/tBTCUSD/hist?sort=0", 500),
        ("/v2/trades/tBTCUSD/hist?start=x", 500),
        ("/v2/conf/pub:map:currency:sym", 500),
        ("/v2/tickers", 500),
        ("/v2/nothing", 404),
    ],
)
def test_a_wrong_request_gets_an_array(
    target: str, status: int, ask: Callable[..., Response]
) -> None:
    response = ask(target)
    word, code, message = json.loads(response.body)
    assert (response.status, word, code) == (status, "error", 10020)
    assert message.endswith(("invalid", "missing"))
    assert TheVenue().verdict(response.status, response.body) is Refusal.OTHER


def test_the_limit_is_90_a_minute_and_bans_nobody(ask: Callable[..., Response]) -> None:
    for _ in range(15):
        assert ask("/v2/trades/tBTCUSD/hist").status == 200
    for _ in range(3):
        refused = ask("/v2/platform/status")
        assert TheVenue().verdict(refused.status, refused.body) is Refusal.BUSY
    assert ask("/v2/platform/status", 60_000).body == b"[1]"


def test_tickers_of_some_symbols(ask: Callable[..., Response]) -> None:
    rows = json.loads(ask("/v2/tickers?symbols=tBTCUSD,tETHUSD,tX").body)
    assert [(row[0], row[7]) for row in rows] == [("tBTCUSD", 7244.3), ("tETHUSD", 3119.8)]


def test_errors_by_status_are_the_venues() -> None:
    venue = TheVenue()
    known = {
        status: BITFINEX.error(status, weight_limit=90, banned_until_ms=0)[0]
        for status in (429, 500, 503, 403)
    }
    assert [venue.verdict(status, body) for status, body in known.items()] == [
        Refusal.BUSY,
        Refusal.PASSING,
        Refusal.PASSING,
        Refusal.FORBIDDEN,
    ]
    assert b"<html>" in known[403]


# Instruments.


def test_made_up_symbols_are_spelled_as_the_venues() -> None:
    symbol = BITFINEX.made_up_symbol(21)
    listing = BITFINEX.made_up(symbol)
    assert listing is not None
    assert (symbol, listing.symbol) == ("tS0021:USDT", "tS0021:USDT")
    assert TheVenue.spell(symbol) == symbol
    assert BITFINEX.made_up("tBTCUSD") is None
    assert BITFINEX.made_up("tS21:USDT") is None
    assert set(BITFINEX.stream_names(symbol)) == {
        f"{each}:{symbol}" for each in ("trades", "book", "raw")
    }
    assert BITFINEX.lacks("no-filters")
    assert not BITFINEX.lacks("twice")
    assert BITFINEX.spelled("0.10") == "0.10"
