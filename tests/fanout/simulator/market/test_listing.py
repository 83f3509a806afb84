"""The listing in mid-run: symbols that come, go, change their name or units, and odd rows of it."""

import json
from itertools import islice
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import TextMessage

from fanout.errors import UsageError
from fanout.simulator import SimulatorConfig, made_up_symbols
from fanout.simulator.faults import (
    Decimals,
    Delist,
    Fault,
    Http,
    Insert,
    List,
    Odd,
    Relist,
    Rename,
    Skip,
)
from fanout.simulator.market.books import Moment, SyntheticBooks
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import Quirk, decimals, no_such_symbol, unit
from fanout.simulator.market.made_up import numbered
from fanout.simulator.market.options import option_listing, options
from fanout.simulator.market.synthetic import SyntheticMarket
from fanout.simulator.market.ticks import ADL, BLOCK, LIQUIDATION, BookRules
from tests.fanout.simulator.support import (
    USDM,
    MemoryExchange,
    ask,
    connect,
    covered,
    data,
    rest,
    start,
    tick,
    trade,
)
from tests.stand.callers import RawClient

ORIGIN_MS = 1_790_000_000_000

NS_PER_S = 1_000_000_000
BOTH = "/public/stream?streams=btcusdt@trade/newusdt@trade"
INFO = "/fapi/v1/exchangeInfo"


async def rows_of(venue: MemoryExchange, symbol: str) -> list[Any]:
    rows = (await venue.get(INFO)).body["symbols"]
    return [row for row in rows if row["symbol"] == symbol]


async def trades(client: RawClient, count: int) -> list[tuple[str, int]]:
    events = [await client.event() for _ in range(count)]
    rows = [json.loads(each.data)["data"] for each in events if isinstance(each, TextMessage)]
    return [(row["s"], row["t"]) for row in rows]


@pytest.mark.parametrize("dialect", ["binance-usdm", "binance-spot"])
async def test_a_new_symbol_is_listed_trades_and_reaches_an_earlier_subscriber(
    nursery: trio.Nursery, dialect: str
) -> None:
    simulator = await start(nursery, dialect=dialect, symbols=("BTCUSDT", "ETHUSDT"), rate=5_000.0)
    url, path = {
        "binance-usdm": ("/public/stream", "/fapi/v1"),
        "binance-spot": ("/stream", "/api/v3"),
    }[dialect]
    async with connect(simulator, url) as client, rest(simulator) as http:
        await ask(client, "SUBSCRIBE", "btcusdt@trade", "newusdt@trade")
        await data(client)
        assert (await http.request(f"{path}/trades?symbol=NEWUSDT")).body["code"] == -1121
        simulator.faults.inject(List("NEWUSDT", price="2.5", tick_size="0.001"))
        rows = [row async for row in new_rows(client, 200)]
        shown = (await http.request(f"{path}/trades?symbol=NEWUSDT&limit=1000")).body
        listed = (await http.request(f"{path}/exchangeInfo")).body["symbols"]
    assert [row["t"] for row in rows] == list(range(rows[0]["t"], rows[0]["t"] + 200))
    assert {len(row["p"].partition(".")[2]) for row in rows if row["p"] != "0"} <= {3, 8}
    assert "NEWUSDT" in [row["symbol"] for row in listed]
    assert shown[0]["id"] >= rows[0]["t"]
    assert covered(*simulator.issued("NEWUSDT"))[0] == rows[0]["t"]


async def new_rows(client: Any, count: int) -> Any:
    while count:
        row = (await data(client))["data"]
        if row["s"] == "NEWUSDT":
            count -= 1
            yield row


async def test_a_new_symbol_can_be_halted_delisted_and_relisted(nursery: trio.Nursery) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(List("NEWUSDT", status="PENDING_TRADING"))
    assert [row["status"] for row in await rows_of(venue, "NEWUSDT")] == ["PENDING_TRADING"]
    venue.faults.inject(Delist("NEWUSDT"))
    assert await rows_of(venue, "NEWUSDT") == []
    venue.faults.inject(Relist("NEWUSDT", status="SOMETHING_NEW"))
    assert [row["status"] for row in await rows_of(venue, "NEWUSDT")] == ["SOMETHING_NEW"]


async def test_a_renamed_symbol_continues_under_its_new_name(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *(tick(trade(n), n * NS_PER_S) for n in range(1, 7)))
    client = await venue.client(BOTH)
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(3.5)
    venue.faults.inject(Rename("BTCUSDT", "NEWUSDT"))
    assert await trades(client, 6) == [
        *[("BTCUSDT", number) for number in (1, 2, 3)],
        *[("NEWUSDT", number) for number in (4, 5, 6)],
    ]
    assert await rows_of(venue, "BTCUSDT") == []
    assert len(await rows_of(venue, "NEWUSDT")) == 1
    assert (await venue.get("/fapi/v1/trades?symbol=BTCUSDT")).body["code"] == -1121
    shown = (await venue.get("/fapi/v1/trades?symbol=NEWUSDT")).body
    assert [row["id"] for row in shown] == [4, 5, 6]
    assert covered(*venue.exchange.issued("BTCUSDT")) == [1, 2, 3]
    assert covered(*venue.exchange.issued("NEWUSDT")) == [4, 5, 6]
    venue.faults.inject(Skip("NEWUSDT"))
    venue.faults.inject(Insert("NEWUSDT", count=2))
    assert await trades(client, 1) == [("NEWUSDT", 8)]


@pytest.mark.parametrize(
    "fault",
    [
        List("BTCUSDT"),
        List("LUNAUSDT"),
        Rename("BTCUSDT", "BTCUSDT"),
        Rename("BTCUSDT", "LUNAUSDT"),
    ],
)
async def test_a_name_that_is_taken_is_refused_and_nothing_changes(
    nursery: trio.Nursery, fault: Fault
) -> None:
    venue = MemoryExchange(nursery)
    before = (await venue.get(INFO)).body["symbols"]
    with pytest.raises(UsageError, match=r"there is a symbol .* already"):
        venue.faults.inject(fault)
    assert (await venue.get(INFO)).body["symbols"] == before


@pytest.mark.parametrize("symbol", ["", "NEW USDT", "a@b", "x" * 41, "A/B"])
async def test_an_invalid_name_is_refused(nursery: trio.Nursery, symbol: str) -> None:
    with pytest.raises(
        UsageError, match=r"fault list: symbol is .*; give a symbol, such as NEWUSDT"
    ):
        MemoryExchange(nursery).faults.inject(List(symbol))


async def test_the_number_of_decimals_may_change(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, tick(trade(1, price="83680.10"), NS_PER_S))
    client = await venue.client(BOTH)
    venue.faults.inject(Decimals("BTCUSDT", price=4, quantity=0))
    (row,) = await rows_of(venue, "BTCUSDT")
    filters = {each["filterType"]: each for each in row["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.0001"
    assert filters["LOT_SIZE"]["stepSize"] == "1"
    assert (row["pricePrecision"], row["quantityPrecision"]) == (4, 0)
    nursery.start_soon(venue.exchange.play, 1.0)
    event = await client.event()
    assert isinstance(event, TextMessage)
    said = json.loads(event.data)["data"]
    assert len(said["p"].partition(".")[2]) == 4
    assert "." not in said["q"]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "LUNAUSDT"])
async def test_a_row_may_be_odd_whether_or_not_the_symbol_trades(
    nursery: trio.Nursery, symbol: str
) -> None:
    venue = MemoryExchange(nursery)
    (good,) = await rows_of(venue, symbol)

    async def odd(how: Quirk) -> list[Any]:
        venue.faults.inject(Odd(symbol, how))
        assert venue.faults.standing == (Odd(symbol, how),)
        found = await rows_of(venue, symbol)
        venue.faults.clear()
        assert await rows_of(venue, symbol) == [good]
        return found

    assert await odd("null-type") == [good | {"contractType": None}]
    assert await odd("no-filters") == [good | {"filters": []}]
    assert await odd("twice") == [good, good]
    first, second = await odd("conflict")
    assert first == good
    assert second["pricePrecision"] == good["pricePrecision"] + 1
    assert second["filters"] != good["filters"]


async def test_the_listing_may_fail_once_after_a_symbol_was_added(nursery: trio.Nursery) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(Http(503, path=INFO))
    venue.faults.inject(List("NEWUSDT"))
    assert (await venue.get(INFO)).status == 503
    assert len(await rows_of(venue, "NEWUSDT")) == 1


async def test_a_trade_may_have_a_quantity_that_no_trade_should_have(
    nursery: trio.Nursery,
) -> None:
    venue = MemoryExchange(nursery)
    client = await venue.client(BOTH)
    await wait_all_tasks_blocked()  # a row before the client is subscribed goes to no stream
    venue.faults.inject(Insert("BTCUSDT", "MARKET", quantity="0"))
    event = await client.event()
    assert isinstance(event, TextMessage)
    assert json.loads(event.data)["data"]["q"] == "0"
    assert [row["qty"] for row in (await venue.get("/fapi/v1/trades?symbol=BTCUSDT")).body] == ["0"]


@pytest.mark.parametrize("dialect", ["binance-usdm", "binance-spot"])
async def test_hundreds_of_symbols_are_listed_and_trade(
    nursery: trio.Nursery, dialect: str
) -> None:
    symbols = made_up_symbols(800, dialect)
    simulator = await start(nursery, dialect=dialect, symbols=symbols, rate=1_200.0)
    path = {"binance-usdm": "/fapi/v1", "binance-spot": "/api/v3"}[dialect]
    url = {"binance-usdm": "/public/stream", "binance-spot": "/stream"}[dialect]
    async with rest(simulator) as http:
        listed = (await http.request(f"{path}/exchangeInfo")).body["symbols"]
        last = (await http.request(f"{path}/trades?symbol={symbols[-1]}")).body
    assert {row["symbol"] for row in listed} >= set(symbols)
    assert len(last) >= 30
    async with connect(simulator, url, within_s=120) as client:
        for number in range(0, 800, 200):
            names = [f"{symbol.lower()}@trade" for symbol in symbols[number : number + 200]]
            await ask(client, "SUBSCRIBE", *names, request_id=number)
        heard = {(await data(client))["data"]["s"] for _ in range(1_500)}
    assert len(heard) > 50


def test_a_symbol_count_has_bounds() -> None:
    assert len(made_up_symbols(1)) == 1
    assert len(made_up_symbols(4_000)) == 4_000
    for count in (0, 4_001):
        with pytest.raises(UsageError, match=r"give 1 to 4,000"):
            made_up_symbols(count)


def test_a_made_up_symbol_can_be_named() -> None:
    config = SimulatorConfig(symbols=("S0777USDT", "BTCUSDT"))
    assert [listing.symbol for listing in config.listings] == ["S0777USDT", "BTCUSDT"]


def test_of_many_symbols_an_error_names_the_first() -> None:
    text = no_such_symbol("X", made_up_symbols(1_024))
    assert text.endswith(" and 984 more")
    assert len(text) < 700


@pytest.mark.parametrize(("places", "text"), [(0, "1"), (1, "0.1"), (3, "0.001")])
def test_a_unit_is_one_of_its_last_decimal(places: int, text: str) -> None:
    assert unit(places) == text


def test_prices_are_made_up_with_few_digits_and_with_many() -> None:
    found = {
        digits: numbered("tA", 1, digits=digits, magnitude=magnitude, contract_type="x")
        for digits, magnitude in ((3, 4), (5, 3), (5, -6), (12, 2), (15, -7))
    }
    dice = found[12].price[:3].replace(".", "")
    assert found[3].price == dice + "00"
    assert found[3].tick_size == "100"
    assert (len(found[12].price), found[12].tick_size) == (13, "0.000000001")
    assert found[5].price.startswith("0.00000" + dice)
    assert (found[15].price_precision, found[15].contract_type) == (21, "x")
    for listing in found.values():
        assert listing.price_precision == decimals(listing.price)
        source = SyntheticMarket((listing,), 100.0, 0, USDM.kinds)
        prices = [tick.trade.price for tick in islice(source.ticks(0), 50) if tick.trade]
        assert {decimals(price) for price in prices} == {listing.price_precision}


@pytest.mark.parametrize(
    ("kind", "is_fill"), [(LIQUIDATION, True), (BLOCK, True), (ADL, False), ("THE_END", False)]
)
def test_rest_has_liquidations_and_blocks_and_no_unknown_kind(kind: str, is_fill: bool) -> None:
    history = History(["BTCUSDT"], 1)
    history.add(trade(kind=kind))
    assert bool(history.newest("BTCUSDT", 1)) is is_fill


def test_a_market_of_options_by_the_thousand_is_cheap_and_only_a_few_trade() -> None:
    found = options("BTC", 83_680, 1_600, ORIGIN_MS)
    listings = tuple(
        option_listing(f"O{number}", option, 83_680, tick_size="0.0005", quote="BTC")
        for number, option in enumerate(found)
    )
    assert len({(each.expires_ms, each.strike, each.is_call) for each in found}) == 1_600
    assert all(each.price_precision == 4 and float(each.price) > 0 for each in listings)
    assert all((each.expires_ms or 0) > ORIGIN_MS for each in listings)
    source = SyntheticMarket(listings, 100.0, 0, USDM.kinds)
    heard = {tick.trade.symbol for tick in islice(source.ticks(0), 500) if tick.trade}
    assert heard <= {f"O{number}" for number in range(6)}
    history = History((listing.symbol for listing in listings), 10)
    source.prime(history, 0)
    assert sum(bool(history.newest(listing.symbol, 1)) for listing in listings) == 6
    source.enlist(listings[-1])
    books = SyntheticBooks(BookRules(True, (0,)), 0, lambda stream: True, lambda: 0)
    books.start(listings[0], listings[0].price, Moment(0, 0))
    assert books.snapshot("O0", 5, 0).asks
