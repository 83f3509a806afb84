"""Streams on demand, over sockets: what goes missing there is at REST all the same.

The market is a capture of a few trades, played flat out when released: what is heard is exact.
"""

import json

import pytest
import trio
from trio.testing import MockClock
from wsproto.events import TextMessage

from fanout.simulator import Simulator
from fanout.simulator.faults import (
    Delay,
    Fault,
    Garble,
    Insert,
    Repeat,
    Shuffle,
    Silence,
    Skip,
)
from fanout.simulator.market.ledger import IdRange
from fanout.simulator.market.ticks import MARKET
from tests.fanout.simulator.support import (
    AGGREGATES,
    TRADES,
    MemoryExchange,
    ask,
    connect,
    covered,
    data,
    hears_nothing,
    ids,
    rest,
    rest_ids,
    tick,
    trade,
)


async def heard(simulator: Simulator, *faults: Fault) -> list[int]:
    """The ids that are heard of the held market, when these faults are injected."""
    async with connect(simulator, TRADES) as client:
        for fault in faults:
            simulator.faults.inject(fault)
        simulator.release()
        await simulator.finished.wait()
        simulator.faults.clear()
        simulator.faults.inject(Insert("BTCUSDT", "THE_END"))
        found: list[int] = []
        while (row := (await data(client))["data"])["X"] != "THE_END":
            found.append(row["t"])
        return found


@pytest.mark.parametrize(
    ("fault", "ids"),
    [
        (Skip("BTCUSDT", 3), [4, 5, 6, 7, 8, 9, 10]),
        (Skip(count=9), [10]),
        (Repeat("BTCUSDT"), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (Repeat(later=8), [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 10]),
        (Delay(by=2), [2, 3, 1, 4, 5, 6, 7, 8, 9, 10]),
        (Delay(by=50), [2, 3, 4, 5, 6, 7, 8, 9, 10, 1]),
        (Shuffle(window=2, count=2), [2, 1, 4, 3, 5, 6, 7, 8, 9, 10]),
        (Silence("BTCUSDT"), []),
        (Skip(stream="aggTrade"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
async def test_ids_are_skipped_repeated_and_reordered_and_rest_has_them_all(
    held: Simulator, fault: Fault, ids: list[int]
) -> None:
    assert await heard(held, fault) == ids
    assert await rest_ids(held) == list(range(1, 11))
    missing = sorted(set(range(1, 11)) - set(ids))
    assert covered(*held.withheld("BTCUSDT")) == missing
    assert held.issued("BTCUSDT") == (IdRange(1, 10, MARKET), IdRange(11, 11, "THE_END"))


async def test_a_garbled_message_is_not_json_and_the_next_one_is(held: Simulator) -> None:
    async with connect(held, TRADES) as client:
        held.faults.inject(Garble("BTCUSDT"))
        held.release()
        with pytest.raises(json.JSONDecodeError):
            json.loads(await client.get_message())
        assert await ids(client, 9) == list(range(2, 11))
    assert covered(*held.withheld("BTCUSDT")) == [1]


async def test_a_fault_in_mid_stream_acts_on_the_very_next_message(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    venue = MemoryExchange(nursery, *(tick(trade(n), n * 1_000_000_000) for n in range(1, 6)))
    client = await venue.client()
    nursery.start_soon(venue.exchange.play, 1.0)
    await trio.sleep(2.5)
    venue.faults.inject(Skip())
    events = [await client.event() for _ in range(4)]
    texts = [event.data for event in events if isinstance(event, TextMessage)]
    assert [json.loads(text)["data"]["t"] for text in texts] == [1, 2, 4, 5]


async def test_one_symbol_is_acked_and_silent_and_the_others_are_not(
    simulator: Simulator,
) -> None:
    simulator.faults.inject(Silence("BTCUSDT"))
    async with connect(simulator, "/public/stream") as client:
        reply = await ask(client, "SUBSCRIBE", "btcusdt@trade", "币安人生usdt@trade")
        assert reply == {"result": None, "id": 1}
        assert {(await data(client))["data"]["s"] for _ in range(300)} == {"币安人生USDT"}
        simulator.faults.clear()
        while (await data(client))["data"]["s"] != "BTCUSDT":
            pass


async def test_all_symbols_are_acked_and_silent(simulator: Simulator) -> None:
    simulator.faults.inject(Silence())
    async with connect(simulator, TRADES) as trades, connect(simulator, AGGREGATES) as aggregates:
        assert await ask(trades, "SUBSCRIBE", "币安人生usdt@trade") == {"result": None, "id": 1}
        async with rest(simulator) as http:
            first = await http.request("/fapi/v1/trades?symbol=BTCUSDT&limit=1")
            while await http.request("/fapi/v1/trades?symbol=BTCUSDT&limit=1") == first:
                pass
        assert await hears_nothing(trades)
        assert await hears_nothing(aggregates)


async def test_trade_streams_are_silent_while_aggregates_and_rest_go_on(
    simulator: Simulator,
) -> None:
    simulator.faults.inject(Silence(stream="trade"))
    async with connect(simulator, TRADES) as trades, connect(simulator, AGGREGATES) as aggregates:
        rows = [(await data(aggregates))["data"] for _ in range(20)]
        assert await hears_nothing(trades)
        async with rest(simulator) as http:
            (newest,) = (await http.request("/fapi/v1/trades?symbol=BTCUSDT&limit=1")).body
    assert newest["id"] > rows[-1]["l"] > rows[0]["l"]


async def test_skipped_aggregates_leave_a_hole_in_their_own_ids(simulator: Simulator) -> None:
    async with connect(simulator, AGGREGATES) as client:
        before = (await data(client))["data"]["a"]
        simulator.faults.inject(Skip("BTCUSDT", 2, "aggTrade"))
        found, skipped = [before], [before]
        while found[-1] <= skipped[-1]:  # much may have been on its way already
            found.append((await data(client))["data"]["a"])
            skipped = covered(*simulator.withheld("BTCUSDT", stream="aggTrade")) or found
    assert len(skipped) == 2
    assert sorted(found + skipped) == list(range(before, found[-1] + 1))


async def test_a_standing_fault_is_listed_until_it_ends(held: Simulator) -> None:
    held.faults.inject(Skip("BTCUSDT", 3))
    held.faults.inject(Silence())
    assert held.faults.standing == (Skip("BTCUSDT", 3), Silence())
    held.faults.clear()
    assert held.faults.standing == ()
