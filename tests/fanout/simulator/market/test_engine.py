"""The market on demand: what is asked of it happens, for streams and REST alike."""

import json
from decimal import Decimal
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from wsproto.events import TextMessage

from fanout.errors import UsageError
from fanout.simulator import Simulator
from fanout.simulator.dialects.binance_usdm.table import TABLE
from fanout.simulator.faults import (
    MAX_ROWS,
    Delist,
    Fault,
    Forget,
    Insert,
    Relist,
    Renumber,
    ShiftClock,
    Silence,
    Skip,
)
from fanout.simulator.market.ledger import IdRange
from fanout.simulator.market.listing import decimals
from fanout.simulator.market.ticks import ADL, INSURANCE_FUND, MARKET, NOT_A_FILL
from tests.fanout.simulator.support import (
    AGGREGATES,
    TRADES,
    MemoryExchange,
    ask,
    connect,
    covered,
    data,
    ids,
    rest,
    rest_ids,
    start,
    tick,
    trade,
)
from tests.stand.callers import RawClient

NS_PER_S = 1_000_000_000
RECENT = "/fapi/v1/trades?symbol=BTCUSDT"


async def told(client: RawClient, count: int) -> list[Any]:
    """The next payloads."""
    events = [await client.event() for _ in range(count)]
    return [json.loads(each.data)["data"] for each in events if isinstance(each, TextMessage)]


async def test_an_na_storm_uses_up_ids_that_rest_never_shows(held: Simulator) -> None:
    async with connect(held, TRADES) as client:
        await ask(client, "LIST_SUBSCRIPTIONS")  # what is said before it listens is said to nobody
        held.faults.inject(Insert("BTCUSDT", count=500))
        held.release()
        rows = [(await data(client))["data"] for _ in range(510)]
    assert [row["t"] for row in rows] == list(range(1, 511))
    assert {(row["X"], row["p"], row["q"]) for row in rows[:500]} == {(NOT_A_FILL, "0", "0")}
    assert await rest_ids(held) == list(range(501, 511))
    assert held.issued("BTCUSDT") == (IdRange(1, 500, NOT_A_FILL), IdRange(501, 510, MARKET))


@pytest.mark.parametrize("kind", [INSURANCE_FUND, ADL])
async def test_a_liquidation_is_off_the_market_and_on_the_stream_alone(
    held: Simulator, kind: str
) -> None:
    async with connect(held, TRADES) as client:
        held.release()
        await ids(client, 10)
        held.faults.inject(Insert("BTCUSDT", kind, away=-0.08))
        row = (await data(client))["data"]
    assert (row["t"], row["X"], row["p"]) == (11, kind, "76985.60")
    assert await rest_ids(held) == list(range(1, 11))


async def test_a_burst_of_fills_may_share_a_millisecond(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client:
        await data(client)
        simulator.faults.inject(Insert("BTCUSDT", "MARKET", 1_130))
        rows = [(await data(client))["data"] for _ in range(1_500)]
    times = [row["T"] for row in rows]
    assert max(times.count(time_ms) for time_ms in set(times)) >= 1_130
    assert [row["t"] for row in rows] == list(range(rows[0]["t"], rows[0]["t"] + 1_500))


async def test_a_burst_may_act_on_every_symbol_at_once(nursery: trio.Nursery) -> None:
    """Ten symbols at the recorded peak: what is heard in all is what was issued."""
    symbols = tuple(TABLE)[:10]
    simulator = await start(nursery, symbols=symbols, hold=True)
    names = "/".join(f"{symbol.lower()}@trade" for symbol in symbols)
    async with connect(simulator, f"/public/stream?streams={names}") as client:
        await ask(client, "LIST_SUBSCRIPTIONS")
        simulator.faults.inject(Insert(kind=MARKET, count=1_137))
        rows = [(await data(client))["data"] for _ in range(11_370)]
    for symbol in symbols:
        heard = [row["t"] for row in rows if row["s"] == symbol]
        assert heard == covered(*simulator.issued(symbol))
        assert len(heard) == 1_137


async def test_rows_of_all_symbols_together_are_bounded(simulator: Simulator) -> None:
    with pytest.raises(UsageError, match=r"no more than 40,000 rows"):
        simulator.faults.inject(Insert(count=MAX_ROWS // 2 + 1))


async def test_inserted_fills_are_aggregated(simulator: Simulator) -> None:
    async with connect(simulator, AGGREGATES) as client:
        await data(client)
        simulator.faults.inject(Insert("BTCUSDT", "MARKET", 1_000))
        while (row := (await data(client))["data"])["l"] - row["f"] < 999:
            pass


async def test_inserted_rows_pass_through_faults_like_any_other(held: Simulator) -> None:
    held.faults.inject(Skip("BTCUSDT", 2))
    held.faults.inject(Insert("BTCUSDT", count=3))
    assert covered(*held.withheld("BTCUSDT")) == [1, 2]


@pytest.mark.parametrize("next_id", [1, 5, 2**53])
async def test_ids_may_jump_or_start_again(
    nursery: trio.Nursery, autojump_clock: MockClock, next_id: int
) -> None:
    venue = MemoryExchange(nursery, *(tick(trade(n), n * NS_PER_S) for n in range(10, 16)))
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(12.5)
    venue.faults.inject(Renumber("BTCUSDT", next_id))
    rows = await told(client, 6)
    after = list(range(next_id, next_id + 3))
    assert [row["t"] for row in rows] == [10, 11, 12, *after]
    kept = [10, 11, 12, *after] if next_id > 12 else after
    assert [row["id"] for row in (await venue.get(RECENT)).body] == kept
    assert venue.exchange.issued("BTCUSDT") == (
        IdRange(10, 12, MARKET),
        IdRange(next_id, next_id + 2, MARKET),
    )


async def test_no_aggregate_spans_a_restart_of_ids(simulator: Simulator) -> None:
    async with connect(simulator, AGGREGATES) as client:
        await data(client)
        simulator.faults.inject(Insert("BTCUSDT", MARKET, 5))
        simulator.faults.inject(Renumber("BTCUSDT", 1))
        simulator.faults.inject(Insert("BTCUSDT", MARKET, 5))
        rows = [(await data(client))["data"]]
        while rows[-1]["f"] > 1_000:
            rows.append((await data(client))["data"])
    assert all(0 <= row["l"] - row["f"] < 2**32 for row in rows)
    assert rows[-1]["f"] == 1


async def test_trades_age_out_of_rest_and_the_stream_goes_on(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *(tick(trade(n), n * NS_PER_S) for n in range(1, 11)))
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(6.5)
    venue.faults.inject(Forget("BTCUSDT", kept=2))
    assert [row["id"] for row in (await venue.get(RECENT)).body] == [5, 6]
    await trio.sleep(2)
    assert [row["id"] for row in (await venue.get(RECENT)).body] == [5, 6, 7, 8]
    venue.faults.inject(Forget())
    assert (await venue.get(RECENT)).body == []
    assert [row["t"] for row in await told(client, 10)] == list(range(1, 11))


async def test_a_hole_may_be_older_than_what_rest_has(held: Simulator) -> None:
    """Ids that were skipped, and that nobody will ever tell of."""
    async with connect(held, TRADES) as client:
        held.faults.inject(Skip("BTCUSDT", 4))
        held.release()
        assert await ids(client, 6) == [5, 6, 7, 8, 9, 10]
        held.faults.inject(Forget("BTCUSDT", kept=8))
    assert await rest_ids(held) == list(range(3, 11))
    assert covered(*held.withheld("BTCUSDT")) == [1, 2, 3, 4]


async def test_a_hole_may_be_made_of_ids_that_rest_never_had(held: Simulator) -> None:
    async with connect(held, TRADES) as client:
        await ask(client, "LIST_SUBSCRIPTIONS")
        held.faults.inject(Skip("BTCUSDT", 3))
        held.faults.inject(Insert("BTCUSDT", INSURANCE_FUND, 3))
        held.release()
        assert await ids(client, 10) == list(range(4, 14))
    assert await rest_ids(held) == list(range(4, 14))
    assert held.withheld("BTCUSDT") == (IdRange(1, 3, INSURANCE_FUND),)


async def listing(simulator: Simulator, symbol: str) -> Any:
    async with rest(simulator) as http:
        rows = (await http.request("/fapi/v1/exchangeInfo")).body["symbols"]
    return next(row for row in rows if row["symbol"] == symbol)


async def test_a_tick_size_may_change_in_mid_session(simulator: Simulator) -> None:
    async with connect(simulator, TRADES) as client:
        assert Decimal((await data(client))["data"]["p"]) % Decimal("0.10") == 0
        simulator.faults.inject(Relist("BTCUSDT", tick_size="0.001", step_size="0.0001"))
        listed = await listing(simulator, "BTCUSDT")
        filters = {row["filterType"]: row for row in listed["filters"]}
        assert filters["PRICE_FILTER"]["tickSize"] == "0.001"
        assert filters["LOT_SIZE"]["stepSize"] == "0.0001"
        before: list[Any] = []
        after: list[Any] = []
        while len(after) < 500:
            row = (await data(client))["data"]
            (after if after or decimals(row["p"]) == 3 else before).append(row)
    fills = [row for row in after if row["X"] != NOT_A_FILL]
    assert all(decimals(row["p"]) in (0, 2) for row in before)
    assert all((decimals(row["p"]), decimals(row["q"])) == (3, 4) for row in fills)
    assert len({row["p"][-1] for row in fills}) > 5
    assert listed["pricePrecision"] == 3


async def test_a_symbol_may_stop_trading_in_exchange_info(simulator: Simulator) -> None:
    simulator.faults.inject(Relist("BTCUSDT", status="SETTLING"))
    assert (await listing(simulator, "BTCUSDT"))["status"] == "SETTLING"
    simulator.faults.inject(Relist("LUNAUSDT", status="TRADING"))
    assert (await listing(simulator, "LUNAUSDT"))["status"] == "TRADING"


@pytest.mark.parametrize("halt", [Relist("BTCUSDT", status="SETTLING"), Delist("BTCUSDT")])
async def test_a_symbol_that_stops_trading_is_silent_and_takes_no_ids(
    nursery: trio.Nursery, autojump_clock: MockClock, halt: Fault
) -> None:
    venue = MemoryExchange(nursery, *(tick(trade(n), n * NS_PER_S) for n in range(1, 11)))
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(3.5)
    venue.faults.inject(halt)
    await trio.sleep(4)
    venue.faults.inject(Relist("BTCUSDT", status="TRADING"))
    assert [row["t"] for row in await told(client, 6)] == [1, 2, 3, 4, 5, 6]
    assert trio.current_time() == pytest.approx(10)
    assert [row["id"] for row in (await venue.get(RECENT)).body] == [1, 2, 3, 4, 5, 6]


async def test_a_delisted_symbol_is_unknown_to_rest_until_it_is_listed_again(
    simulator: Simulator,
) -> None:
    simulator.faults.inject(Delist("BTCUSDT"))
    async with rest(simulator) as http:
        assert (await http.request(RECENT)).body["code"] == -1121
        rows = (await http.request("/fapi/v1/exchangeInfo")).body["symbols"]
        assert "BTCUSDT" not in [row["symbol"] for row in rows]
        simulator.faults.inject(Relist("BTCUSDT"))
        assert (await http.request(RECENT)).status == 200
    assert (await listing(simulator, "BTCUSDT"))["status"] == "TRADING"


async def test_a_shifted_clock_shows_in_rest_and_in_frames(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    rows = [tick(trade(n, time_ms=n * 1_000, event_ms=n * 1_000), n * 10**9) for n in range(1, 5)]
    venue = MemoryExchange(nursery, *rows)
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(2.5)
    venue.faults.inject(ShiftClock(-90_000))
    events = [await client.event() for _ in range(4)]
    told = [json.loads(e.data)["data"] for e in events if isinstance(e, TextMessage)]
    assert [row["T"] for row in told] == [1_000, 2_000, -87_000, -86_000]
    assert [row["E"] for row in told] == [row["T"] for row in told]


async def test_the_time_endpoint_shows_a_shifted_clock(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery)
    venue.faults.inject(ShiftClock(3_600_000))
    assert (await venue.get("/fapi/v1/time")).body == {"serverTime": 3_600_000}
    venue.faults.inject(ShiftClock(-5))
    assert (await venue.get("/fapi/v1/time")).body == {"serverTime": -5}


@pytest.mark.parametrize(
    "fault",
    [
        Skip("NOSUCHUSDT"),
        Silence("LUNAUSDT"),
        Insert("btcusdt"),
        Relist("NOSUCHUSDT"),
        Renumber("LUNAUSDT"),
        Forget("NOSUCHUSDT"),
    ],
)
async def test_an_unknown_symbol_is_refused(simulator: Simulator, fault: Fault) -> None:
    with pytest.raises(UsageError, match="has no symbol"):
        simulator.faults.inject(fault)
