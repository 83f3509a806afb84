"""What holds for every dialect: its messages can be read back, and every fault works with it.

They are read by the venue of the service that speaks with it, which subscribes as it would with the
exchange.
"""

import json
from collections import deque
from urllib.parse import urlencode, urlsplit

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, Ping, TextMessage

from fanout.errors import UsageError, VenueMessageError
from fanout.simulator.connection.http import Request
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects import DIALECTS, dialect_of, listing_of, symbols_of
from fanout.simulator.dialects.base import Dialect, Form, RestSide, Session, Venue
from fanout.simulator.faults import (
    Delay,
    Drop,
    Fault,
    Garbage,
    Garble,
    Http,
    Insert,
    Malformed,
    Odd,
    Repeat,
    Shuffle,
    Shutdown,
    Silence,
    Skip,
    Stall,
    UnknownEvent,
)
from fanout.simulator.market.aggregate import Aggregator
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import listed
from fanout.simulator.market.reader import Reader, Recorded, RecordedAggregate
from fanout.simulator.market.ticks import MARKET
from fanout.venues import VENUES, VenueItem, VenueTrade
from fanout.venues import Venue as FanoutVenue
from tests.fanout.simulator.support import MemoryExchange, no_snapshot, tick, trade
from tests.misbehaviour.scene import DIALECT_OF
from tests.stand.callers import RawClient

NS_PER_S = 1_000_000_000
URLS = {
    "binance-usdm": "/public/stream?streams=btcusdt@trade",
    "binance-spot": "/stream?streams=btcusdt@trade",
}
"""Targets that subscribe by themselves, as Binance's can."""

each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda each: each.name)
of_binance = pytest.mark.parametrize("dialect", URLS)


def venue_of(dialect: str) -> FanoutVenue:
    """The service's venue that speaks with a dialect, for trades."""
    (name,) = (each for each, spoken in DIALECT_OF.items() if spoken == dialect)
    made = VENUES[name]
    venue = made(
        stream=made.streams[0],
        ws_url="ws://simulator",
        rest_url="http://simulator",
        credentials=None,
    )
    return venue.parts()[0]


def symbol_of(dialect: str) -> str:
    (symbol,) = symbols_of(DIALECTS[dialect], 1)
    return symbol


class Heard:
    """What the service's venue reads on one connection to the exchange."""

    def __init__(self, client: RawClient, venue: FanoutVenue, symbol: str) -> None:
        self.client = client
        self._dialogue = venue.dialogue((symbol,))
        self._items: deque[VenueItem] = deque()

    async def subscribe(self) -> None:
        for words in self._dialogue.opening():
            await self.client.send(TextMessage(words))
        while self._dialogue.unanswered:
            await self._read()

    async def trade(self) -> VenueTrade:
        """The next trade. Raises `VenueMessageError` for a message that cannot be read."""
        while True:
            while not self._items:
                await self._read()
            item = self._items.popleft()
            if isinstance(item, VenueTrade) and not item.is_past:
                return item

    async def ids(self, count: int) -> list[int]:
        return [(await self.trade()).trade_id for _ in range(count)]

    async def _read(self) -> None:
        event = await self.client.event()
        if isinstance(event, Ping):
            return
        assert isinstance(event, TextMessage)
        items: list[VenueItem] = []
        outcome = self._dialogue.receive(event.data.encode(), items)
        self._items.extend(items)
        for words in outcome.answers if outcome else ():
            await self.client.send(TextMessage(words))


def listing_bodies(venue: FanoutVenue, rest: RestSide) -> list[bytes]:
    """The answers that make up the listing."""
    requests, bodies = deque(venue.listing_requests()), list[bytes]()
    while requests:
        request = requests.popleft()
        target = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        bodies.append(rest.respond(Request("GET", target, headers={}), 0).body)
        requests.extend(venue.more_listing(request, bodies[-1]))
    return bodies


def subscribed(dialect: Dialect, symbol: str, reader: Reader) -> Session:
    """The session of a connection to a symbol's trades, whose answers a reader has read."""
    venue = venue_of(dialect.name)
    destination = dialect.destination(urlsplit(venue.stream_url()).path)
    assert destination is not None
    session = destination.session
    for words in venue.dialogue((symbol,)).opening():
        reader.sent(words.encode())
        answer = dialect.answer(session, words, 0)
        session = answer.session
        for reply in answer.replies:
            assert not reader.read(reply.encode())
    return session


@each_dialect
def test_a_dialect_is_found_by_its_name(dialect: Dialect) -> None:
    assert dialect_of(dialect.name) is dialect
    assert DIALECTS[dialect.name] is dialect


def test_an_unknown_dialect_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no dialect 'kraken'; choose from binance-usdm, binance"):
        dialect_of("kraken")


@each_dialect
@pytest.mark.parametrize("count", [1, 15, 30])
def test_as_many_symbols_are_listed_as_trading_as_the_market_has(
    dialect: Dialect, count: int
) -> None:
    symbols = symbols_of(dialect, count)
    traded = [each for symbol in symbols if (each := listing_of(dialect, symbol))]
    listings = listed(traded, dialect.untraded)
    limit = RateLimit(weight_limit=6_000, tolerated_429s=1)
    rest = dialect.rest(
        Venue(
            listings=listings,
            quirks={},
            history=History(listings, 1_000),
            limit=limit,
            snapshot=no_snapshot,
        )
    )
    venue = venue_of(dialect.name)
    listing = venue.parse_listing(*listing_bodies(venue, rest))
    trading = [each for each in listing.rows if listing.fault(each) is None]
    assert sorted(trading) == sorted(symbols)
    if dialect.name in URLS:  # elsewhere they may stand by their kind
        assert trading == list(symbols)
    assert len(listing.rows) == count + len(dialect.untraded)


@each_dialect
def test_a_message_of_a_trade_is_read_back_as_the_trade(dialect: Dialect) -> None:
    symbol = "币安人生USDT" if dialect.name in URLS else symbol_of(dialect.name)
    price = "0.14530000" if dialect.name in URLS else "0.1453"
    row = tick(trade(2**33, symbol=symbol, buyer_is_maker=True, price=price))
    name = next(n for n, (kind, _) in dialect.stream_names(symbol).items() if kind == "trade")
    payload = dialect.payload(row, microseconds=False)
    reader, message = dialect.reader(), dialect.envelope(name, payload)
    if dialect.is_personal:
        message, _ = dialect.personal(message, name, subscribed(dialect, symbol, reader), 0)
    (found,) = reader.read(message)
    assert isinstance(found, Recorded)
    assert (found.trade, found.payload) == (row.trade, payload)


@of_binance
def test_a_message_of_an_aggregate_is_no_trade(dialect: str) -> None:
    aggregator = Aggregator()
    aggregator.add(0, trade(7))
    (row,) = aggregator.rest()
    spoken = DIALECTS[dialect]
    payload = spoken.payload(row, microseconds=False)
    assert json.loads(payload)["e"] == "aggTrade"
    found = spoken.reader().read(spoken.envelope("btcusdt@aggTrade", payload))
    assert row.aggregate is not None
    assert list(found) == [RecordedAggregate(row.aggregate, payload)]


@each_dialect
def test_a_recorded_payload_is_sent_unchanged(dialect: Dialect) -> None:
    recorded = tick(trade(1))
    said = b'{ "e":"trade", "E":1 }'
    row = type(recorded)(0, recorded.stream, recorded.trade, recorded=said)
    assert dialect.payload(row, microseconds=False) == said


@each_dialect
def test_every_symbol_of_the_table_has_streams_units_and_a_weight(dialect: Dialect) -> None:
    for symbol, listing in dialect.table.items():
        depths = {f"depth@{each}ms" for each in dialect.book_rules.intervals_ms}
        kinds = {kind for kind, _ in dialect.stream_names(symbol).values()}
        all_kinds = {"trade", "aggTrade", "bookTicker"} | depths
        assert {"trade"} <= kinds <= all_kinds
        if dialect.name in URLS:
            assert kinds == all_kinds
        assert dialect.spelled(listing.tick_size) == listing.tick_size
        assert listing.weight > 0
        assert listing.first_trade_id > 0


@each_dialect
def test_symbols_are_made_up_by_number_and_known_again_by_name(dialect: Dialect) -> None:
    symbols = symbols_of(dialect, 1_024)
    assert len(set(symbols)) == 1_024
    assert symbols[: len(dialect.table)] == tuple(dialect.table)
    for symbol in symbols:
        listing = listing_of(dialect, symbol)
        assert listing is not None
        assert listing.symbol == symbol
        assert float(listing.price) > 100 * float(listing.tick_size)
        assert dialect.spelled(listing.tick_size) == listing.tick_size
    assert listing_of(dialect, "NOT A SYMBOL") is None
    if dialect.name in URLS:
        assert listing_of(dialect, "S21USDT") is None


async def exchange(nursery: trio.Nursery, dialect: str, count: int = 10) -> MemoryExchange:
    symbol = symbol_of(dialect)
    listing = DIALECTS[dialect].table[symbol]
    rows = (trade(n, symbol=symbol, price=f"8368{n}.50000000") for n in range(1, count + 1))
    ticks = (tick(row, row.trade_id * NS_PER_S) for row in rows)
    return MemoryExchange(nursery, *ticks, listing=listing, dialect=dialect)


async def heard_at(venue: MemoryExchange, dialect: str) -> Heard:
    """A connection that is subscribed to the trades of the exchange's symbol."""
    parts = urlsplit(venue_of(dialect).stream_url())
    client = await venue.client((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    heard = Heard(client, venue_of(dialect), symbol_of(dialect))
    await heard.subscribe()
    return heard


def on_wire(dialect: str, ids: list[int]) -> list[int]:
    return [DIALECTS[dialect].wire_id(symbol_of(dialect), each) for each in ids]


def of_its_symbol(dialect: str, fault: Fault) -> Fault:
    """The same fault for the dialect's own symbol."""
    has_symbol = getattr(fault, "symbol", None) is not None
    return replace(fault, symbol=symbol_of(dialect)) if has_symbol else fault


async def ids(client: RawClient, count: int) -> list[int]:
    """Ids of Binance's messages."""
    found = []
    while len(found) < count:
        event = await client.event()
        if isinstance(event, Ping):
            continue
        assert isinstance(event, TextMessage)
        found.append(json.loads(event.data)["data"]["t"])
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        (Skip("BTCUSDT", 3), [4, 5, 6, 7, 8, 9, 10]),
        (Repeat("BTCUSDT"), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (Delay(by=2), [2, 3, 1, 4, 5, 6, 7, 8, 9, 10]),
        (Shuffle(window=2), [2, 1, 3, 4, 5, 6, 7, 8, 9, 10]),
        (Silence(for_s=4.5), [5, 6, 7, 8, 9, 10]),
        (Stall(for_s=4.5), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_stream_faults_act_alike_in_every_dialect(
    nursery: trio.Nursery, autojump_clock: MockClock, dialect: str, fault: Fault, heard: list[int]
) -> None:
    venue = await exchange(nursery, dialect)
    reader = await heard_at(venue, dialect)
    venue.faults.inject(of_its_symbol(dialect, fault))
    nursery.start_soon(venue.exchange.play, 1.0)
    assert await reader.ids(len(heard)) == on_wire(dialect, heard)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("how", ["cut", "price", "types"])
async def test_a_message_is_garbled_in_every_dialect(
    nursery: trio.Nursery, autojump_clock: MockClock, dialect: str, how: str
) -> None:
    """The venue refuses the message, or reads a price that is none. The next ones are whole."""
    venue = await exchange(nursery, dialect)
    reader = await heard_at(venue, dialect)
    venue.faults.inject(Garble(symbol_of(dialect), how=how))  # type: ignore[arg-type]
    nursery.start_soon(venue.exchange.play, 1.0)
    try:
        assert (await reader.trade()).price == "not a price"
    except VenueMessageError:
        pass
    else:
        assert how == "price"
    assert await reader.ids(2) == on_wire(dialect, [2, 3])


@of_binance
@pytest.mark.parametrize("how", ["cut", "price", "types"])
async def test_a_message_of_binance_is_garbled(
    nursery: trio.Nursery, autojump_clock: MockClock, dialect: str, how: str
) -> None:
    venue = await exchange(nursery, dialect)
    client = await venue.client(URLS[dialect])
    venue.faults.inject(Garble("BTCUSDT", how=how))  # type: ignore[arg-type]
    nursery.start_soon(venue.exchange.play, 1.0)
    event = await client.event()
    assert isinstance(event, TextMessage)
    if how == "cut":
        with pytest.raises(json.JSONDecodeError):
            json.loads(event.data)
    else:
        row = json.loads(event.data)["data"]
        said = {"price": (1, "not a price"), "types": ("1", 83681.5)}[how]
        assert (row["t"], row["p"]) == said
    assert await ids(client, 2) == [2, 3]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "fault", [Malformed(), UnknownEvent(), Garbage(), Drop(), Drop(how="cut")], ids=repr
)
async def test_connection_faults_act_alike_in_every_dialect(
    nursery: trio.Nursery, autojump_clock: MockClock, dialect: str, fault: Fault
) -> None:
    venue = await exchange(nursery, dialect)
    client = (await heard_at(venue, dialect)).client
    venue.faults.inject(fault)
    event = await client.event()
    while isinstance(fault, Drop) and isinstance(event, TextMessage):
        event = await client.event()  # what answered the subscription
    assert event is None if fault == Drop(how="cut") else event is not None
    if fault == Drop():
        assert isinstance(event, CloseConnection)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_rest_fault_acts_in_every_dialect(nursery: trio.Nursery, dialect: str) -> None:
    venue = await exchange(nursery, dialect)
    request = venue_of(dialect).listing_requests()[0]
    target = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
    for status in (503, 404):
        venue.faults.inject(Http(status))
        assert (await venue.get(target)).status == status
        assert (await venue.get(target)).status == 200


@of_binance
async def test_without_a_path_a_rest_fault_acts_on_every_path(
    nursery: trio.Nursery, dialect: str
) -> None:
    venue = await exchange(nursery, dialect)
    root = DIALECTS[dialect].rest_root
    version = {"/fapi": "v1", "/api": "v3"}[root]
    venue.faults.inject(Http(503))
    assert (await venue.get(f"{root}/{version}/time")).status == 503
    assert (await venue.get(f"{root}/{version}/time")).status == 200
    venue.faults.inject(Http(429))
    answer = await venue.get(f"{root}/{version}/exchangeInfo")
    assert (answer.status, answer.body["code"]) == (429, -1003)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_rows_may_be_inserted_in_every_dialect(nursery: trio.Nursery, dialect: str) -> None:
    venue = await exchange(nursery, dialect)
    reader, symbol = await heard_at(venue, dialect), symbol_of(dialect)
    venue.faults.inject(Insert(symbol, MARKET, 3))
    issued = [
        trade_id
        for each in venue.exchange.issued(symbol)
        for trade_id in range(each.first_id, each.last_id + 1)
    ]
    assert await reader.ids(3) == issued[:3]


@pytest.mark.parametrize(
    ("dialect", "fault", "says"),
    [
        ("binance-spot", Insert("BTCUSDT"), "Binance spot has no rows of kind NA, .* kind=MARKET"),
        ("binance-spot", Drop(route="public"), "Binance spot has no route public: leave it out"),
        ("binance-spot", Odd("BTCUSDT"), "'null-type', and the listing of Binance spot has no"),
        ("binance-usdm", Shutdown(), "Binance USDⓈ-M closes without an announcement; use drop"),
    ],
)
async def test_a_fault_that_a_venue_cannot_have_is_refused_with_the_reason(
    nursery: trio.Nursery, dialect: str, fault: Fault, says: str
) -> None:
    venue = await exchange(nursery, dialect)
    with pytest.raises(UsageError, match=says):
        venue.faults.inject(fault)


@pytest.mark.parametrize("form", [Form(), Form(True), Form(True, True), Form(False, True)])
def test_the_announcement_of_spot_is_the_documented_one(form: Form) -> None:
    said = json.loads(DIALECTS["binance-spot"].shutdown(1_770_123_456_789, form) or b"")
    event = {"e": "serverShutdown", "E": 1_770_123_456_789 * (1_000 if form.microseconds else 1)}
    assert said == ({"stream": "!serverShutdown", "data": event} if form.combined else event)


async def test_an_announced_shutdown_ends_open_connections_and_no_later_ones(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = await exchange(nursery, "binance-spot", count=0)
    client = await venue.client("/stream?streams=btcusdt@trade")
    await wait_all_tasks_blocked()  # the server, too, takes the connection for up
    venue.faults.inject(Shutdown(within_s=30))
    later = await venue.client("/stream?streams=btcusdt@trade")
    began_s = trio.current_time()
    event = await client.event()
    assert isinstance(event, TextMessage)
    assert json.loads(event.data)["data"]["e"] == "serverShutdown"
    while await client.event() is not None:
        pass
    assert trio.current_time() == pytest.approx(began_s + 30)
    assert venue.faults.connections == 1
    venue.faults.inject(Insert("BTCUSDT", MARKET))
    assert len(await ids(later, 1)) == 1
