"""Mishaps that come together, and some that only look like one: on a virtual clock."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueBusyError, VenueKeyError, VenueUnreachableError
from fanout.protocol import Gap, GapState, Status, Trade
from fanout.venues import Request
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.stand.loopback import Exchange, Row, Socket

BTC, ETH = "BTCUSDT", "ETHUSDT"
T = TypeVar("T")
Fetch = Callable[[Request, Callable[[bytes], T]], Awaitable[T]]


async def trades(exchange: Exchange, seconds: int, *symbols: str) -> None:
    """A trade of each symbol a second."""
    for _ in range(seconds):
        for symbol in symbols:
            exchange.trade(symbol)
        await trio.sleep(1)


def states(running: RunningFeed, symbol: str) -> list[str]:
    running.read()
    return [
        each.state.name
        for each in running.records
        if isinstance(each, Status) and each.instrument and each.instrument.symbol == symbol
    ]


def lost(running: RunningFeed) -> list[tuple[int, int, str]]:
    running.read()
    return [
        (each.first_id % 1_000_000, each.last_id % 1_000_000, each.why)
        for each in running.records
        if isinstance(each, Gap) and each.state is GapState.UNRECOVERABLE
    ]


def all_came(running: RunningFeed, symbol: str) -> bool:
    """Whether every trade came, once."""
    came, _, _ = running.accounted(symbol)
    return sorted(came) == [each.trade_id for each in running.exchange.rows[symbol]]


async def test_a_single_skipped_trade_does_not_prove_a_silent_stream(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 1, BTC, ETH)
        exchange.trade(ETH, skip=True)
        await trades(exchange, 200, BTC)
        assert running.feed.stats().instruments[1].stream == "trade"
        assert all_came(running, ETH), "REST had it, and no later trade was needed to know"


async def test_a_trade_made_during_the_subscription_does_not_prove_a_silent_stream(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trio.sleep(0.05)
        exchange.trade(ETH, skip=True)
        await trades(exchange, 100, BTC)
        assert running.feed.stats().instruments[1].stream == "trade"


async def test_a_dead_stream_is_reconnected_until_it_delivers(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(stream="trade")) as running:
        await trades(exchange, 1, BTC)
        exchange.silent = exchange.sockets[0].silent = {BTC}
        await trades(exchange, 300, BTC)
        exchange.silent = set()
        await trades(exchange, 300, BTC)
        assert states(running, BTC)[-1] == "LIVE"
        assert len(exchange.sockets) == 1
        assert all_came(running, BTC)


async def test_a_stream_that_wakes_up_before_aggregates_come_is_kept(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = Socket.deliver

    def deliver_no_aggregates(self: Socket, row: Row) -> None:
        if self.stream == "trade":
            deliver(self, row)

    monkeypatch.setattr(Socket, "deliver", deliver_no_aggregates)
    exchange = Exchange(BTC, ETH)
    exchange.silent = {ETH}
    async with running_feed(exchange) as running:
        await trades(exchange, 60, BTC, ETH)
        exchange.sockets[0].silent = exchange.silent = set()
        await trades(exchange, 100, BTC, ETH)
        assert running.feed.stats().instruments[1].stream == "trade"
        assert [each.stream for each in exchange.sockets] == ["trade"]
        assert states(running, ETH)[-1] == "LIVE"
        exchange.trade(BTC, skip=True)
        await trades(exchange, 5, BTC, ETH)
        assert all_came(running, BTC), "gaps are filled as before"
        exchange.sockets[0].silent = exchange.silent = {ETH}
        await trades(exchange, 200, BTC, ETH)
        exchange.sockets[0].silent = exchange.silent = set()
        await trades(exchange, 100, BTC, ETH)
        assert running.feed.stats().instruments[1].stream == "trade"
        came, opened, closed = running.accounted(ETH)
        assert sorted(came) == [*range(min(came), exchange.rows[ETH][-1].trade_id + 1)]
        assert sorted(opened) == sorted(closed)


async def test_a_reconnect_leaves_out_symbols_that_another_stream_took_over(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    exchange.silent = {ETH}
    async with running_feed(exchange) as running:
        await trades(exchange, 40, BTC, ETH)
        exchange.silent = set()
        next(each for each in exchange.sockets if each.stream == "trade").break_off()
        await trades(exchange, 40, BTC, ETH)
        assert "ethusdt" not in exchange.opened[-1][1].sent[0]
        assert running.feed.stats().anomalies == {}


async def test_a_halted_symbol_that_trades_again_over_rest_is_noticed(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 1, BTC, ETH)
        exchange.status[ETH] = "SETTLING"
        await trades(exchange, 60, BTC)
        assert states(running, ETH)[-1] == "HALTED"
        exchange.status[ETH] = "TRADING"
        exchange.sockets[0].silent = {ETH}
        await trades(exchange, 300, BTC, ETH)
        assert states(running, ETH)[-2:] == ["STALE", "LIVE"]
        assert all_came(running, ETH)


async def test_strict_is_about_the_first_trade_since_the_start(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    for _ in range(5):
        await trades(exchange, 1, ETH)
        await trio.sleep(30)
    async with running_feed(exchange, FeedConfig(strict=True)) as running:
        for second in range(300):
            await trades(exchange, 1, BTC, *([ETH] if second % 15 == 0 else []))
            if second == 200:
                exchange.sockets[0].break_off()
        assert states(running, ETH)[-1] == "LIVE"


async def test_strict_ends_when_aggregates_are_silent_too(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Socket, "deliver", lambda self, row: None)
    exchange = Exchange(BTC)
    with pytest.RaisesGroup(pytest.RaisesExc(VenueUnreachableError, match="aggTrade stream")):
        async with running_feed(exchange, FeedConfig(strict=True)):
            await trades(exchange, 300, BTC)


async def test_units_that_change_while_another_symbol_is_halted(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 1, BTC, ETH)
        exchange.status[ETH], exchange.precision = "SETTLING", 4
        for _ in range(100):
            exchange.trade(BTC, price="61800.3001")
            await trio.sleep(1)
        assert all_came(running, BTC)


async def test_recovery_waits_for_new_units(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        await trades(exchange, 1, BTC)
        real: Fetch[object] = exchange.fetch

        async def fetch(request: Request, parse: Callable[[bytes], object]) -> object:
            await trio.sleep(2 if "exchangeInfo" in request.path else 0)
            return await real(request, parse)

        exchange.fetch = fetch  # type: ignore[method-assign, assignment]
        exchange.precision = 4
        for price in ("61800.3001", "61800.3002", "61800.30", "61800.3003", "61800.31"):
            exchange.trade(BTC, price=price)
            await trio.sleep(0.3)
        await trio.sleep(20)
        assert lost(running) == []
        assert all_came(running, BTC)


async def test_unrepresentable_trades_are_reported_even_without_later_ones(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        await trades(exchange, 1, BTC)
        for _ in range(5):
            exchange.trade(BTC, price="61800.3001")
        await trio.sleep(100)
        assert lost(running) == [(1, 5, "a value fits no field")]


async def test_all_that_is_open_is_closed_at_the_end(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        exchange.trade(BTC, skip=True)
        exchange.trade(BTC)
        await trio.sleep(0.1)
        running.feed.finish()
        assert lost(running) == [(1, 1, "the service ended first")]
        _, opened, closed = running.accounted(BTC)
        assert opened == closed


async def test_a_ban_at_the_handshake_is_waited_out(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange):
        await trades(exchange, 1, BTC)
        exchange.refusals = [VenueBusyError("HTTP 418", 200.0)] * 9
        exchange.sockets[0].break_off()
        await trio.sleep(199)
        assert len(exchange.opened) == 2


async def test_progress_renews_the_patience_of_a_recovery(autojump_clock: MockClock) -> None:
    """A long gap takes longer than that, and then REST fails once."""
    exchange = Exchange(BTC, reach=1_000_000)
    async with running_feed(exchange, api_key="key") as running:
        exchange.trade(BTC)
        exchange.trade(BTC, *["MARKET"] * 40_000, skip=True)
        exchange.trade(BTC)
        real: Fetch[object] = exchange.fetch
        asked = 0

        async def fetch(request: Request, parse: Callable[[bytes], object]) -> object:
            nonlocal asked
            if "historical" in request.path:
                asked += 1
                await trio.sleep(1)
                if asked == 70:
                    raise VenueUnreachableError("once")
            return await real(request, parse)

        exchange.fetch = fetch  # type: ignore[method-assign, assignment]
        await trio.sleep(200)
        assert lost(running) == []
        assert all_came(running, BTC)


async def test_recovery_continues_without_a_rejected_key(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, api_key="wrong") as running:
        real: Fetch[object] = exchange.fetch

        async def fetch(request: Request, parse: Callable[[bytes], object]) -> object:
            if "historical" in request.path:
                raise VenueKeyError("HTTP 401")
            return await real(request, parse)

        exchange.fetch = fetch  # type: ignore[method-assign, assignment]
        exchange.trade(BTC)
        exchange.trade(BTC, skip=True)
        await trades(exchange, 5, BTC)
        assert lost(running) == []
        assert all_came(running, BTC)


@pytest.mark.parametrize("is_late", [False, True])
async def test_hundreds_of_holes_at_once_are_filled(
    autojump_clock: MockClock, is_late: bool
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        rows = exchange.trade(BTC, *["MARKET"] * 401, skip=True)
        for row in [*rows[::2], *(rows[1::2] if is_late else [])]:
            exchange.deliver(row)
        before = len(exchange.requests)
        await trio.sleep(5)  # before the silence is looked into, over REST too
        asked = [each for each in exchange.requests[before:] if each.path == "/fapi/v1/trades"]
        assert len(asked) == (0 if is_late else 1), "a page closes all gaps that lie in it"
        await trio.sleep(25)
        assert lost(running) == []
        assert all_came(running, BTC)
        (told,) = running.feed.stats().instruments
        assert (told.trades, told.back_filled) == (401, 0 if is_late else 200)


@pytest.mark.parametrize("trade_id", [8_000_000_000, 2**63])
async def test_an_odd_row_republishes_nothing_and_loses_nothing(
    autojump_clock: MockClock, trade_id: int
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        await trades(exchange, 50, BTC)
        odd = Row(BTC, trade_id, exchange.wall_ns() // 1_000_000 + 5_000, "MARKET", "61800.30")
        exchange.sockets[0].push(odd.message)
        await trades(exchange, 50, BTC)
        assert all_came(running, BTC)
        assert not [each for each in running.records if isinstance(each, Gap)]


async def test_a_successor_need_not_deliver_dropped_symbols(autojump_clock: MockClock) -> None:
    """Nor is it remembered: a venue may name as many symbols as it likes."""
    exchange = Exchange(BTC, ETH)
    exchange.silent = {ETH}
    config = FeedConfig(rotate_after_s=300)
    async with running_feed(exchange, config) as running:
        await trades(exchange, 60, BTC, ETH)
        assert running.feed.stats().instruments[1].stream == "aggTrade"
        for socket in exchange.sockets:
            socket.silent = set()
        for second in range(600):
            stranger = Row(f"S{second}USDT", 1, 1_790_000_000_000, "MARKET", "1.00")
            exchange.sockets[0].push(stranger.message)
            await trades(exchange, 1, BTC, ETH)
        assert len(exchange.opened) < 10, "each is replaced when it is old, and no sooner"
        assert sum(each.rotations for each in running.feed.stats().links) >= 2
        connections = running.feed._parts.connections
        heard = {name for shard in connections for each in shard.open for name in each.heard}
        assert heard == {BTC, ETH}
        assert all_came(running, BTC)


async def test_a_connection_that_stops_delivering_is_replaced(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(connections=2)) as running:
        await trio.sleep(3)
        await trades(exchange, 1, BTC)
        exchange.sockets[0].silent = {BTC}
        await trades(exchange, 300, BTC)
        assert len(exchange.opened) == 3
        assert len(exchange.sockets) == 2
        assert all_came(running, BTC)


async def test_a_successor_gets_time_for_rarely_traded_symbols(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, FeedConfig(rotate_after_s=600, stream="trade")) as running:
        for second in range(1_000):
            if second == 590:
                exchange.silent = {ETH}
            if second == 640:
                exchange.silent = set()
            await trades(exchange, 1, BTC, *([ETH] if second % 30 == 0 else []))
        _, opened, _ = running.accounted(ETH)
        assert opened == []
        assert all_came(running, ETH)


async def test_messages_in_flight_on_a_replaced_connection_arrive(
    autojump_clock: MockClock,
) -> None:
    """It brings what it has within the overlap: without that, this would be a gap."""
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(rotate_after_s=60)) as running:
        old = exchange.sockets[0]
        async with trio.open_nursery() as nursery:

            async def late(row: Row) -> None:
                await trio.sleep(1.0)
                Socket.deliver(old, row)

            old.deliver = lambda row: nursery.start_soon(late, row)  # type: ignore[method-assign]
            await trades(exchange, 57, BTC)
            exchange.trade(BTC)
            await trades(exchange, 40, BTC)
            assert all_came(running, BTC)
        _, opened, _ = running.accounted(BTC)
        assert opened == []
        assert isinstance(running.records[-1], Trade)
