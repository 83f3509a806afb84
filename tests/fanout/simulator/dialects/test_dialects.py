"""What holds for every dialect: its messages can be read back, and every fault works with it."""

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, Ping, TextMessage

from fanout.errors import UsageError
from fanout.simulator.connection.http import Request
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects import DIALECTS, dialect_of, listing_of, symbols_of
from fanout.simulator.dialects.base import Dialect, Form, Venue
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
from fanout.simulator.market.reader import Recorded, RecordedAggregate
from fanout.simulator.market.ticks import MARKET
from fanout.venues import BinanceSpot, BinanceUsdm
from tests.fanout.simulator.support import MemoryExchange, no_snapshot, tick, trade
from tests.stand.callers import RawClient

NS_PER_S = 1_000_000_000
URLS = {
    "binance-usdm": "/public/stream?streams=btcusdt@trade",
    "binance-spot": "/stream?streams=btcusdt@trade",
}

VENUES = {"binance-usdm": BinanceUsdm, "binance-spot": BinanceSpot}

each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda each: each.name)


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
    venue = VENUES[dialect.name]()
    (request,) = venue.listing_requests()
    body = rest.respond(Request("GET", request.path, headers={}), 0).body
    listing = venue.parse_listing(body)
    assert [each for each in listing.rows if listing.fault(each) is None] == list(symbols)
    assert len(listing.rows) == count + len(dialect.untraded)


@each_dialect
def test_a_message_of_a_trade_is_read_back_as_the_trade(dialect: Dialect) -> None:
    row = tick(trade(2**33, symbol="币安人生USDT", buyer_is_maker=True, price="0.14530000"))
    (name,) = [
        n for n, (kind, _) in dialect.stream_names("币安人生USDT").items() if kind == "trade"
    ]
    payload = dialect.payload(row, microseconds=False)
    (found,) = dialect.reader().read(dialect.envelope(name, payload))
    assert isinstance(found, Recorded)
    assert (found.trade, found.payload) == (row.trade, payload)


@each_dialect
def test_a_message_of_an_aggregate_is_no_trade(dialect: Dialect) -> None:
    aggregator = Aggregator()
    aggregator.add(0, trade(7))
    (row,) = aggregator.rest()
    payload = dialect.payload(row, microseconds=False)
    assert json.loads(payload)["e"] == "aggTrade"
    found = dialect.reader().read(dialect.envelope("btcusdt@aggTrade", payload))
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
        assert kinds == {"trade", "aggTrade", "bookTicker"} | depths
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
    assert listing_of(dialect, "S21USDT") is None


async def exchange(nursery: trio.Nursery, dialect: str, count: int = 10) -> MemoryExchange:
    rows = (trade(n, price=f"8368{n}.50000000") for n in range(1, count + 1))
    ticks = (tick(row, row.trade_id * NS_PER_S) for row in rows)
    return MemoryExchange(nursery, *ticks, dialect=dialect)


async def ids(client: RawClient, count: int) -> list[int]:
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
    client = await venue.client(URLS[dialect])
    venue.faults.inject(fault)
    nursery.start_soon(venue.exchange.play, 1.0)
    assert await ids(client, len(heard)) == heard


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("how", ["cut", "price", "types"])
async def test_a_message_is_garbled_in_every_dialect(
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
    client = await venue.client(URLS[dialect])
    venue.faults.inject(fault)
    event = await client.event()
    assert event is None if fault == Drop(how="cut") else event is not None
    if fault == Drop():
        assert isinstance(event, CloseConnection)


@pytest.mark.parametrize("dialect", DIALECTS)
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
    client = await venue.client(URLS[dialect])
    await wait_all_tasks_blocked()  # a row before the client is subscribed goes to no stream
    venue.faults.inject(Insert("BTCUSDT", MARKET, 3))
    first = venue.exchange.issued("BTCUSDT")[0].first_id
    assert await ids(client, 3) == [first, first + 1, first + 2]


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
