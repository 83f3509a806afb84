"""What a reader is told when the exchange misbehaves: the exact sequence, on a virtual clock."""

import gc
import logging

import pytest
import trio
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueForbiddenError, VenueUnreachableError
from fanout.feed.connection import FORBIDDEN_PAUSE_S, HANDOVER_S, OVERLAP_S
from fanout.feed.continuity import WINDOW_S
from fanout.venues.values import History
from tests.fanout.feed.running import running_feed
from tests.stand.loopback import Exchange

BTC, ETH = "BTCUSDT", "ETHUSDT"
UP = [("", "CONNECTING"), (BTC, "CONNECTING"), ("", "LIVE"), (BTC, "LIVE")]
"""What is told up to the first trade of one symbol."""

A_MOMENT_S = WINDOW_S + 0.1


async def test_a_symbol_is_subscribed_and_live_at_its_first_trade(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        assert running.told() == [("", "CONNECTING"), (BTC, "CONNECTING"), (ETH, "CONNECTING")]
        exchange.trade(ETH)
        await trio.sleep(1)
        assert running.told() == [("", "LIVE"), (ETH, "LIVE"), 0]
        exchange.trade(ETH)
        exchange.trade(BTC)
        await trio.sleep(1)
        assert running.told() == [(BTC, "LIVE"), 1, 0]


async def test_trades_that_the_stream_skips_come_from_rest_and_newer_ones_do_not_wait(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        exchange.trade(BTC, "MARKET", "RPI", "MARKET", skip=True)
        exchange.trade(BTC)
        await trio.sleep(WINDOW_S / 2)
        assert running.told() == [*UP, 0, 4]
        await trio.sleep(WINDOW_S)
        assert running.told() == [(1, 3, "OPEN"), "1+", "2+", "3+", (1, 3, "BACK_FILLED")]


async def test_ids_without_a_row_in_rest_are_no_trades_and_not_lost(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        exchange.trade(BTC, "NA", "MARKET", "INSURANCE_FUND", "ADL", skip=True)
        exchange.trade(BTC)
        await trio.sleep(A_MOMENT_S)
        assert running.told() == [
            *UP,
            0,
            5,
            (1, 4, "OPEN"),
            "2+",
            (1, 1, "NO_TRADE"),
            (2, 2, "BACK_FILLED"),
            (3, 4, "NO_TRADE"),
        ]


async def test_ids_that_the_venue_used_without_a_trade_are_no_gap(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC, "MARKET", *["NA"] * 500, "MARKET", "INSURANCE_FUND")
        await trio.sleep(60)
        assert running.told()[:7] == [*UP, 0, 501, 502]
        assert running.feed.stats().instruments[0].spent == 500


async def test_ids_beyond_the_reach_of_rest_are_reported_lost_to_the_id(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, reach=3)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        exchange.trade(BTC, *["MARKET"] * 5, skip=True)
        exchange.trade(BTC)
        await trio.sleep(A_MOMENT_S)
        assert running.told() == [
            *UP,
            0,
            6,
            (1, 5, "OPEN"),
            "4+",
            "5+",
            (1, 3, "UNRECOVERABLE"),
            (4, 5, "BACK_FILLED"),
        ]


async def test_with_a_key_gaps_are_recovered_by_id_page_by_page(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, reach=1_300)
    async with running_feed(exchange, api_key="key") as running:
        exchange.trade(BTC)
        exchange.trade(BTC, *["MARKET"] * 1_200, skip=True)
        exchange.trade(BTC)
        await trio.sleep(A_MOMENT_S)
        trades, opened, closed = running.accounted(BTC)
        assert sorted(trades) == list(range(8_000_000_000, 8_000_001_202))
        assert opened == closed == list(range(8_000_000_001, 8_000_001_201))
        asked = [each for each in exchange.requests if "historicalTrades" in each.path]
        assert [each.query["fromId"][-4:] for each in asked] == ["0001", "0501", "1001"]
        assert {each.headers["X-MBX-APIKEY"] for each in asked} == {"key"}


async def test_a_request_is_repeated_while_rest_lags_behind_the_stream(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        rows = exchange.rows[BTC]
        exchange.rows[BTC] = [*rows]
        skipped = exchange.trade(BTC, "MARKET", "MARKET", skip=True)
        exchange.trade(BTC)
        kept = exchange.rows[BTC]
        exchange.rows[BTC] = kept[:1]
        await trio.sleep(A_MOMENT_S)
        assert running.told()[-1] == (1, 2, "OPEN")
        exchange.rows[BTC] = kept
        await trio.sleep(5)
        assert running.told() == ["1+", "2+", (1, 2, "BACK_FILLED")]
        assert len(skipped) == 2


async def test_a_gap_that_waits_for_its_next_request_keeps_no_page(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange):
        exchange.trade(BTC)
        rows = [*exchange.rows[BTC]]
        exchange.trade(BTC, "MARKET", skip=True)
        exchange.trade(BTC)
        exchange.rows[BTC] = rows  # REST lags behind, so the request is repeated
        before = len(exchange.requests)
        await trio.sleep(5)
        assert len(exchange.requests) > before + 1
        gc.collect()
        assert [each for each in gc.get_objects() if type(each) is History] == []


async def test_without_rest_a_gap_is_finally_lost_with_the_reason(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        exchange.trade(BTC, skip=True)
        exchange.rest_fault = VenueUnreachableError("no route to REST")
        exchange.trade(BTC)
        for _ in range(90):
            await trio.sleep(1)
            exchange.trade(BTC)
        gaps = [each for each in running.read() if hasattr(each, "first_id")]
        assert [(each.state.name, each.why) for each in gaps] == [  # type: ignore[union-attr]
            ("OPEN", "not in the stream"),
            ("UNRECOVERABLE", "no route to REST"),
        ]


async def test_after_a_reconnect_the_gap_is_exact_to_the_trade(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.sockets[0].break_off()
        await trio.sleep(0.1)
        exchange.trade(BTC, "MARKET", "NA", "MARKET")
        await trio.sleep(3)
        exchange.trade(BTC)
        await trio.sleep(A_MOMENT_S)
        assert running.told() == [
            *UP,
            0,
            ("", "DOWN"),
            ("", "CONNECTING"),
            (BTC, "CONNECTING"),
            ("", "LIVE"),
            (BTC, "LIVE"),
            4,
            (1, 3, "OPEN"),
            "1+",
            "3+",
            (1, 1, "BACK_FILLED"),
            (2, 2, "NO_TRADE"),
            (3, 3, "BACK_FILLED"),
        ]


async def test_a_symbol_that_goes_quiet_is_stale_and_recovers(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        exchange.trade(ETH)
        for _ in range(30):
            exchange.trade(BTC)
            await trio.sleep(1)
        assert [each for each in running.told() if each not in range(30)][-1] == (ETH, "STALE")
        exchange.trade(ETH)
        await trio.sleep(1)
        assert running.told() == [(ETH, "LIVE"), 1]


async def test_a_missing_first_trade_is_reported_in_a_status_and_in_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        for _ in range(21):
            exchange.trade(BTC)
            await trio.sleep(1)
        assert running.told()[-2:] == [(ETH, "STALE"), 20]
        (error,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert error.message == (
            "ETHUSDT: no trade within 20 s; REST has none either: the symbol may not trade"
        )
        exchange.trade(ETH)
        await trio.sleep(1)
        assert running.told() == [(ETH, "LIVE"), 0]


async def test_strict_ends_the_feed_without_a_first_trade(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(VenueUnreachableError, match="no trade within 20 s")):
        async with running_feed(Exchange(BTC, ETH), FeedConfig(strict=True)):
            await trio.sleep(60)


async def test_a_silent_trade_stream_is_replaced_by_aggregates(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    exchange.silent = {ETH}
    async with running_feed(exchange) as running:
        for _ in range(30):
            exchange.trade(BTC)
            exchange.trade(ETH)
            await trio.sleep(1)
        told = [each for each in running.told() if not isinstance(each, int) or each >= 7_000]
        assert told[:6] == [
            ("", "CONNECTING"),
            (BTC, "CONNECTING"),
            (ETH, "CONNECTING"),
            ("", "LIVE"),
            (BTC, "LIVE"),
            (ETH, "STALE"),
        ]
        assert told[6:8] == [(ETH, "CONNECTING"), (ETH, "LIVE")]
        assert told[8:] == list(range(told[8], told[8] + len(told) - 8))
        stats = running.feed.stats()
        streams = {each.symbol: each.stream for each in stats.instruments}
        assert streams == {BTC: "trade", ETH: "aggTrade"}
        assert [each.name for each in stats.links] == [
            "trade connection 1 of 1",
            f"aggTrade connection 1 of 1 for {ETH}",
        ]
        assert stats.connections == len(exchange.opened)
        # A shard that no instrument is left in has no link; what it brought counts.
        connections = running.feed._parts.connections
        shard = list(connections)[1]
        shard.give_up(ETH)
        connections._drop_empty()
        after = running.feed.stats()
        assert [each.name for each in after.links] == ["trade connection 1 of 1"]
        assert (after.connections, after.messages) == (stats.connections, stats.messages)


async def test_trades_from_before_the_subscription_do_not_prove_a_silent_stream(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.sockets[0].break_off()
        await trio.sleep(0.1)
        exchange.trade(BTC, "MARKET", "MARKET")
        await trio.sleep(200)
        assert {each.stream for _, each in exchange.opened} == {"trade"}
        assert len(exchange.opened) == 2
        exchange.trade(BTC)
        await trio.sleep(A_MOMENT_S)
        # They are missing all the same, and REST has them.
        told = running.told()
        place = told.index((1, 2, "OPEN"))
        assert told[place : place + 4] == [(1, 2, "OPEN"), "1+", "2+", (1, 2, "BACK_FILLED")]
        assert told[-1] == 3


async def test_a_symbol_whose_own_connection_is_lost_is_down_while_the_feed_is_not(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    exchange.silent = {ETH}
    async with running_feed(exchange) as running:
        for second in range(40):
            if second == 30:
                running.told()
                (aggregates,) = [each for each in exchange.sockets if each.stream == "aggTrade"]
                aggregates.break_off()
            exchange.trade(BTC)
            exchange.trade(ETH)
            await trio.sleep(1)
        told = [each for each in running.told() if isinstance(each, tuple) and len(each) == 2]
        assert told == [(ETH, "DOWN"), (ETH, "CONNECTING"), (ETH, "LIVE")]


async def test_a_connection_is_replaced_even_if_all_symbols_are_silent(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    exchange.silent = {BTC}
    async with running_feed(exchange):
        for _ in range(40):
            exchange.trade(BTC)
            await trio.sleep(1)
        assert [each.stream for each in exchange.sockets] == ["aggTrade"]


@pytest.mark.parametrize("stream", ["trade", "aggTrade"])
async def test_a_configured_stream_never_falls_back(autojump_clock: MockClock, stream: str) -> None:
    exchange = Exchange(BTC)
    exchange.silent = {BTC}
    async with running_feed(exchange, FeedConfig(stream=stream)):
        for _ in range(40):
            exchange.trade(BTC)
            await trio.sleep(1)
        assert {each.stream for _, each in exchange.opened} == {stream}


async def test_a_silent_stream_gets_a_new_connection_without_a_break(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        for second in range(60):
            exchange.trade(BTC)
            exchange.trade(ETH)
            if second == 5:
                exchange.sockets[0].silent = {ETH}
            await trio.sleep(1)
        await trio.sleep(A_MOMENT_S)
        for symbol in (BTC, ETH):
            trades, opened, closed = running.accounted(symbol)
            assert sorted(trades) == [each.trade_id for each in exchange.rows[symbol]]
            assert opened == closed
            assert bool(opened) == (symbol == ETH)
        told = [_ for _ in map(str, running.records) if "DOWN" in _]
        assert told == []
        assert len(exchange.opened) == 2


async def test_an_instrument_that_the_venue_halted_is_reported_halted(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        exchange.trade(ETH)
        exchange.status[ETH] = "SETTLING"
        for _ in range(20):
            exchange.trade(BTC)
            await trio.sleep(1)
        told = [each for each in running.told() if not isinstance(each, int)]
        assert told[-2:] == [(ETH, "STALE"), (ETH, "HALTED")]


async def test_a_connection_is_replaced_before_it_is_cut_and_nothing_is_missing(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(rotate_after_s=3_600)) as running:
        for _ in range(3_700):
            exchange.trade(BTC)
            await trio.sleep(1)
        assert [each[0] for each in exchange.opened][1] - exchange.began_s >= 3_600
        assert len(exchange.sockets) == 1
        (link,) = running.feed.stats().links
        assert link.rotations == 1
        trades, opened, _ = running.accounted(BTC)
        assert trades == [each.trade_id for each in exchange.rows[BTC]]
        assert opened == []
        assert [type(each).__name__ for each in running.records].count("Status") == 4


async def test_a_successor_that_delivers_fewer_symbols_does_not_take_over(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, FeedConfig(rotate_after_s=60)) as running:
        for second in range(120):
            exchange.silent = {ETH} if second < 70 else set()
            if second == 0:
                exchange.silent = set()
            exchange.trade(BTC)
            exchange.trade(ETH)
            await trio.sleep(1)
        for symbol in (BTC, ETH):
            trades, opened, _ = running.accounted(symbol)
            assert trades == [each.trade_id for each in exchange.rows[symbol]]
            assert opened == []
        assert running.feed.stats().links[0].rotations == 1
        ages = [round(each[0] - exchange.began_s) for each in exchange.opened]
        assert ages[2] - ages[1] >= HANDOVER_S + OVERLAP_S - 2


async def test_the_loss_of_one_of_two_connections_loses_no_trade(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(connections=2)) as running:
        await trio.sleep(2)
        for second in range(100):
            exchange.trade(BTC)
            if second % 20 == 7:
                exchange.sockets[(second // 20) % len(exchange.sockets)].break_off()
            await trio.sleep(0.5)
        stats = running.feed.stats()
        trades, opened, _ = running.accounted(BTC)
        assert trades == [each.trade_id for each in exchange.rows[BTC]]
        assert opened == []
        assert [type(each).__name__ for each in running.records].count("Status") == 4
        assert sum(each.won for each in stats.links) == len(trades)
        assert min(each.won for each in stats.links) > 0
        assert stats.anomalies == {}


async def test_attempts_to_connect_are_spaced_over_all_connections(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    exchange.refusals = [VenueUnreachableError("no")] * 400
    async with running_feed(exchange, FeedConfig(connections=4)):
        await trio.sleep(300)
    assert len(exchange.opened) <= 300


async def test_a_later_refusal_pauses_the_attempts_for_long(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.refusals = [VenueForbiddenError("HTTP 451")]
        exchange.sockets[0].break_off()
        await trio.sleep(FORBIDDEN_PAUSE_S)
        assert len(exchange.opened) == 2
        await trio.sleep(60)
        assert len(exchange.opened) == 3
        exchange.trade(BTC)
        await trio.sleep(1)
        assert running.told()[-1] == 1


async def test_units_may_change_in_mid_session_without_losing_a_trade(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC, price="61800.30")
        await trio.sleep(1)
        exchange.precision = 4
        exchange.trade(BTC, "MARKET", "MARKET", price="61800.3001")
        await trio.sleep(1)
        exchange.trade(BTC, price="61800.3002")
        await trio.sleep(A_MOMENT_S)
        trades = [each for each in running.read() if hasattr(each, "price_text")]
        assert [(each.trade_id % 10, each.price_text) for each in trades] == [  # type: ignore[union-attr]
            (0, "61800.30"),
            (1, "61800.3001"),
            (2, "61800.3001"),
            (3, "61800.3002"),
        ]


async def test_the_venues_clock_is_measured_and_delays_are_not_clipped(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.trade(BTC)
        exchange.rows[BTC][-1].time += 5_000
        exchange.deliver(exchange.trade(BTC, skip=True)[0])
        await trio.sleep(1)
        row = exchange.trade(BTC, skip=True)[0]
        row.time += 5_000
        exchange.deliver(row)
        await trio.sleep(1)
        stats = running.feed.stats()
        assert stats.clock_offset_ns is not None
        assert stats.clock_uncertainty_ns is not None
        assert abs(stats.clock_offset_ns) <= stats.clock_uncertainty_ns
        delay = stats.instruments[0].delay
        assert delay is not None
        assert delay.count == 2
        # One of two was 5 s ahead of its time. A quantile is right to a seventh.
        assert -5_700_000_000 <= delay.p50_ns <= -4_400_000_000
        assert delay.max_ns > -1_000_000_000
