"""Books whose snapshot was cut off, in a market that leaves it. The reader checks P8 after every
update that it gets."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import pytest
from trio.testing import MockClock

from fanout.errors import VenueUnreachableError
from fanout.feed.books import FIRST_PAUSE_S, LASTING_S, LONGEST_PAUSE_S
from fanout.protocol import DataKinds
from fanout.protocol.book_records import BookUpdate
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.stand.book_reader import ALL, BOOK, BTC, BookReader, settled
from tests.stand.deep_market import SHOWN, DeepMarket
from tests.stand.loopback import Exchange


class Scene(NamedTuple):
    exchange: Exchange
    market: DeepMarket
    running: RunningFeed
    reader: BookReader


Deep = Callable[..., AbstractAsyncContextManager[Scene]]
"""Runs a feed of these kinds of data at a deep market, up to its first snapshot."""


@pytest.fixture
def deep(monkeypatch: pytest.MonkeyPatch) -> Deep:
    @asynccontextmanager
    async def scene(data: DataKinds = BOOK) -> AsyncIterator[Scene]:
        exchange = Exchange(BTC)
        market = DeepMarket(exchange, monkeypatch)
        async with running_feed(exchange, data=data) as running:
            reader = BookReader(running)
            market.touch()
            await settled()
            yield Scene(exchange, market, running, reader)

    return scene


async def test_a_narrow_book_whose_stream_is_silent_waits_for_a_change_of_it(
    deep: Deep, autojump_clock: MockClock
) -> None:
    async with deep(ALL) as (exchange, market, _, reader):
        await settled(LASTING_S)
        exchange.rest_fault = VenueUnreachableError("no route")
        market.walk(50)
        await settled()
        assert reader.is_live()
        exchange.mute.add("btcusdt@depth@0ms")
        for _ in range(20):
            market.touch()
            exchange.quote(BTC)
            await settled(1)
        assert not reader.is_live()
        assert "changes of the order book are silent" in reader.why(BTC)[-1]
        exchange.snapshots[BTC] = [exchange.books[BTC].snapshot(SHOWN)]
        exchange.rest_fault = None
        market.touch()
        told = len(reader.why(BTC))
        await settled(LONGEST_PAUSE_S)
        reader.read()
        states = reader.told()
        assert "LIVE" not in states[told:], "the only snapshot is older than that change"
        exchange.mute.clear()
        market.touch()
        await settled(LONGEST_PAUSE_S)
        assert reader.is_live()


@pytest.mark.parametrize("step", [7, -7, -30])
async def test_a_market_that_leaves_the_snapshot_stays_known(
    step: int, deep: Deep, autojump_clock: MockClock
) -> None:
    async with deep() as (_, market, running, reader):
        for _ in range(abs(300 // step)):
            await settled(LASTING_S)
            market.walk(step)
            await settled()
            assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE"]
        assert market.asked > 5
        assert running.feed.stats().anomalies == {}


async def test_a_book_that_gets_no_new_snapshot_is_not_live_at_the_edge_of_its_old_one(
    deep: Deep, autojump_clock: MockClock
) -> None:
    async with deep() as (exchange, market, _, reader):
        await settled(LASTING_S)
        exchange.rest_fault = VenueUnreachableError("no route")
        for _ in range(6):
            market.walk(-10)
            await settled()
            assert reader.is_live()
        market.walk(-10)
        await settled()
        assert not reader.is_live()
        assert (
            reader.why(BTC)[-1]
            == "STALE only 10 bids are left above 61799.20, where the snapshot ends"
        )
        exchange.rest_fault = None
        await settled(LONGEST_PAUSE_S)
        market.walk(-1)
        await settled()
        assert reader.is_live()


async def test_a_market_that_jumps_over_the_whole_snapshot_is_not_live_until_the_next(
    deep: Deep, autojump_clock: MockClock
) -> None:
    async with deep() as (_, market, _, reader):
        await settled(LASTING_S)
        market.walk(3 * SHOWN)
        await settled()
        assert reader.is_live()
        assert reader.told()[-2:] == ["STALE", "LIVE"]
        assert "only 0 asks are left below 61800.79" in reader.why(BTC)[-2]


async def test_snapshots_that_do_not_last_are_asked_for_less_and_less_often(
    deep: Deep, autojump_clock: MockClock
) -> None:
    async with deep() as (_, market, _, reader):
        for back_and_forth in range(100):
            market.walk(-50 if back_and_forth % 2 else 50)
            await settled(1)
        assert reader.is_live()
        assert 3 < market.asked < 10


async def test_a_book_is_not_replaced_while_its_connection_is_down(
    deep: Deep, autojump_clock: MockClock
) -> None:
    async with deep() as (exchange, market, running, reader):
        await settled(LASTING_S)
        exchange.rest_fault = VenueUnreachableError("no route")
        market.walk(50)
        await settled()
        assert reader.is_live()
        exchange.refusals = [VenueUnreachableError("no route")] * 3
        exchange.sockets[0].break_off()
        exchange.rest_fault = None
        count, asked = len(reader.records), market.asked
        await settled(2 * FIRST_PAUSE_S)
        reader.read()
        assert not any(isinstance(each, BookUpdate) for each in reader.records[count:])
        await settled(LONGEST_PAUSE_S)
        assert market.asked == asked, "the answer would be of no use"
        market.touch()
        await settled()
        assert reader.is_live()
        market.touch()
        await settled()
        assert reader.is_live()
        assert market.asked == asked + 1
        assert {*running.feed.stats().anomalies} == {"request for an order book failed"}


async def test_a_snapshot_that_comes_while_the_connection_is_down_is_not_used(
    deep: Deep, autojump_clock: MockClock
) -> None:
    async with deep() as (exchange, market, running, reader):
        await settled(LASTING_S)
        exchange.rest_delay_s = 1.0
        market.walk(50)
        await settled(0.5)
        assert reader.is_live()
        exchange.refusals = [VenueUnreachableError("no route")] * 3
        exchange.sockets[0].break_off()
        count = len(reader.records)
        await settled(2.0)
        reader.read()
        assert not any(isinstance(each, BookUpdate) for each in reader.records[count:])
        await settled(LONGEST_PAUSE_S)
        market.touch()
        await settled()
        assert reader.is_live()
        market.touch()
        await settled(2.0)
        assert reader.is_live()
        assert market.asked == 3, "at the start, during the outage, and after it"
        assert running.feed.stats().anomalies == {}
