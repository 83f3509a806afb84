"""Interruptions of streams whose ids do not tell what is missing, on a virtual clock."""

from typing import ClassVar

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.feed import healing
from fanout.feed.healing import SETTLE_S, _in_words
from fanout.feed.silence import LOOK_AGAIN_S
from fanout.protocol import Status
from fanout.stats.snapshots import InstrumentStats
from fanout.venues import Continuity, Request, VenueTrade
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.fanout.feed.toy import FineVenue, ToyVenue, lost, past
from tests.stand.loopback import Exchange

BTC = "BTCUSDT"


def told(running: RunningFeed) -> list[object]:
    """The trades that were published, in short."""
    return [each for each in running.told() if not isinstance(each, tuple)]


def words(running: RunningFeed) -> list[str]:
    """What was said about trades that may be missing."""
    running.read()
    whys = [each.why for each in running.records if isinstance(each, Status)]
    return [each for each in whys if "may be missing" in each]


def stats(running: RunningFeed) -> InstrumentStats:
    (found,) = running.feed.stats().instruments
    return found


async def interrupted(running: RunningFeed, *, missed: int) -> None:
    """Trades 0 and 1; an outage, in which some are missed, 10 ms apart; then a connection."""
    exchange = running.exchange
    exchange.trade(BTC, "MARKET", "MARKET")
    await trio.sleep(1)
    exchange.sockets[0].break_off()
    for _ in range(missed):
        await trio.sleep(0.01)
        exchange.trade(BTC, skip=True)
    await trio.sleep(2)


@pytest.mark.parametrize("continuity", [Continuity.SEQUENCE, Continuity.NOTHING])
async def test_trades_of_an_outage_are_back_filled_and_each_comes_once(
    continuity: Continuity, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyVenue, "continuity", continuity)
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        await interrupted(running, missed=3)
        (crack,) = exchange.trade(BTC, skip=True)
        exchange.trade(BTC)
        await trio.sleep(2 * SETTLE_S)
        exchange.deliver(crack)
        await trio.sleep(1)
        assert told(running) == [0, 1, "2+", "3+", "4+", 6, "5+"]
        assert (stats(running).back_filled, stats(running).unproven_s, words(running)) == (4, 0, [])
        assert running.feed.stats().anomalies == {}
        assert stats(running).duplicates == 0


async def test_what_rest_does_not_reach_is_named_and_counted(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, reach=2)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        await interrupted(running, missed=5)
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [0, 1, "5+", "6+"]
        (said,) = words(running)
        assert said == (
            "trades between 2026-09-21 14:13:20.000 and 2026-09-21 14:13:21.040 may be missing: "
            "REST reaches back to 2026-09-21 14:13:21.040"
        )
        assert stats(running).unproven_s == pytest.approx(1.04)
        assert stats(running).missing == 0, "no id can be named"


async def test_trades_before_a_subscription_that_becomes_active_late_are_back_filled(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        await interrupted(running, missed=1)
        await trio.sleep(2 * SETTLE_S)
        exchange.trade(BTC, skip=True)  # the connection is there, and brings nothing yet
        await trio.sleep(1)
        exchange.trade(BTC)
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [0, 1, "2+", 4, "3+"]
        assert words(running) == []


async def test_trades_between_an_end_and_the_subscription_of_a_successor_are_back_filled(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.silent.add(BTC)
        exchange.sockets[0].push(b'{"toy":"closing"}')
        await trio.sleep(1)
        assert len(exchange.sockets) == 2, "the successor is open, and not subscribed"
        exchange.sockets[0].break_off()
        await trio.sleep(1)
        exchange.trade(BTC)
        await trio.sleep(3 * SETTLE_S)
        exchange.trade(BTC)
        exchange.sockets[0].silent.clear()
        await trio.sleep(1)
        exchange.trade(BTC)
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [0, "1+", 3, "2+"]
        assert words(running) == []


async def test_the_end_of_one_of_two_old_connections_costs_no_request(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    config = FeedConfig(connections=2)
    async with running_feed(exchange, config, venue_class=ToyVenue) as running:
        for _ in range(70):
            exchange.trade(BTC)
            await trio.sleep(1)
        exchange.requests.clear()
        exchange.sockets[0].break_off()
        await trio.sleep(2 * SETTLE_S)
        assert _trade_requests(exchange) == 0
        assert told(running) == list(range(70))


async def test_all_since_the_newest_trade_of_a_refused_symbol_is_named_at_the_end(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.sockets[0].push(b'{"toy":"refused","symbol":"BTCUSDT","why":"x"}')
        exchange.trade(BTC, skip=True)
        await trio.sleep(2)
        running.feed.finish()
        (said,) = words(running)
        assert said.startswith("trades between 2026-09-21 14:13:20.000 and 2026-09-21 14:13:23.0")
        assert said.endswith("may be missing: the service ended first")


async def test_what_is_not_healed_when_the_service_ends_is_named(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyVenue, "brings_signs", True)  # so REST is asked after five seconds
    exchange = Exchange(BTC)
    old = exchange.trade(BTC, skip=True)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.sockets[0].push(past(*old))
        await interrupted(running, missed=3)
        exchange.sockets[0].push(past(*exchange.rows[BTC][-1:]))
        await trio.sleep(1)
        assert told(running) == [1, 2, "5+"]
        running.feed.finish()
        (said,) = words(running)
        assert said == (
            "trades between 2026-09-21 14:13:20.000 and 2026-09-21 14:13:21.030 may be missing: "
            "the service ended first"
        )
    async with running_feed(Exchange(BTC), venue_class=ToyVenue) as running:
        running.exchange.trade(BTC)
        await interrupted(running, missed=0)
        running.exchange.trade(BTC)
        await trio.sleep(2 * SETTLE_S)
        running.feed.finish()
        assert words(running) == [], "it was healed"


class Foreign(ToyVenue):
    """Its REST has other ids than its stream."""

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        rows = super().parse_recent_trades(body, symbol)
        return tuple(replace(each, trade_id=each.trade_id + 10**12) for each in rows)


async def test_nothing_is_back_filled_if_rest_has_other_ids(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=Foreign) as running:
        await interrupted(running, missed=3)
        exchange.trade(BTC)
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [0, 1, 5]
        assert words(running)[0].endswith("REST has other trade ids than the stream")
        assert 0 < stats(running).unproven_s < 4


async def test_an_outage_of_rest_too_is_reported(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.rest_fault = VenueUnreachableError("no answer from REST")
        await interrupted(running, missed=1)
        await trio.sleep(60)
        assert told(running) == [0, 1]
        assert words(running)[0].endswith("may be missing: no answer from REST")
        assert len(words(running)) <= 2


async def test_trades_while_the_venue_refused_a_symbol_are_back_filled(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.sockets[0].push(b'{"toy":"refused","symbol":"BTCUSDT","why":"not now"}')
        for _ in range(3):
            await trio.sleep(LOOK_AGAIN_S / 4)
            exchange.trade(BTC, skip=True)
        exchange.rest_fault = VenueUnreachableError("no answer from REST")
        await trio.sleep(LOOK_AGAIN_S / 4)
        exchange.trade(BTC)
        exchange.rest_fault = None
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [0, 4, "1+", "2+", "3+"]


async def test_a_silent_stream_is_healed_when_rest_shows_its_trades(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        exchange.sockets[0].silent.add(BTC)
        for _ in range(30):
            await trio.sleep(1)
            exchange.trade(BTC)
        await trio.sleep(2 * SETTLE_S)
        ids = [int(str(each).rstrip("+")) for each in told(running)]
        assert sorted(ids) == list(range(31))
        assert stats(running).back_filled > 10


async def test_a_trade_that_comes_with_a_loss_is_behind_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyVenue, "continuity", Continuity.SEQUENCE)
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        await trio.sleep(3)
        exchange.trade(BTC, skip=True)
        await trio.sleep(3)
        exchange.sockets[0].push(lost(*exchange.trade(BTC, skip=True)))
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [0, 2, "1+"]
        assert words(running) == []


@pytest.mark.parametrize("apart_s", [3.0, 0.0])
@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_trades_behind_a_loss_do_not_prove_that_nothing_is_missing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, apart_s: float, answered: int
) -> None:
    """Not even if they are of the same time, as the fills of one order are."""
    monkeypatch.setattr(ToyVenue, "brings_signs", True)
    monkeypatch.setattr(ToyVenue, "continuity", Continuity.SEQUENCE)
    exchange = Exchange(BTC)
    old = exchange.trade(BTC, skip=True)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.sockets[0].push(past(*old))
        await trio.sleep(0.5)
        exchange.trade(BTC)
        await trio.sleep(apart_s)
        exchange.trade(BTC, skip=True)
        await trio.sleep(apart_s)
        exchange.sockets[0].push(lost(*exchange.trade(BTC, skip=True)))
        await trio.sleep(2)
        if answered:
            exchange.sockets[-1].push(past(*exchange.rows[BTC][-answered:]))
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [1, 3, "2+"]
        assert _trade_requests(exchange) == 2, "no answer reached back"
        assert words(running) == []


async def test_an_answer_that_reaches_back_saves_the_request(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyVenue, "brings_signs", True)
    exchange = Exchange(BTC)
    old = exchange.trade(BTC, skip=True)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.sockets[0].push(past(*old))
        await trio.sleep(0.5)
        exchange.trade(BTC)
        await trio.sleep(0.5)
        exchange.sockets[0].break_off()
        exchange.trade(BTC, skip=True)
        await trio.sleep(2)
        exchange.sockets[0].push(past(*exchange.rows[BTC][-2:]))
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [1, "2+"]
        assert _trade_requests(exchange) == 1, "that of the start"
        exchange.sockets[0].break_off()
        exchange.trade(BTC, "MARKET", "MARKET", skip=True)
        await trio.sleep(2)
        exchange.sockets[0].push(past(*exchange.rows[BTC][-1:]))
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == ["4+", "3+"], "the answer did not reach back"
        assert _trade_requests(exchange) == 2
        assert running.feed.stats().anomalies == {}


def _trade_requests(exchange: Exchange) -> int:
    asked: list[Request] = exchange.requests
    return sum(each.path.endswith("/trades") for each in asked)


class Paged(ToyVenue):
    """Its REST shows three trades at a time, from a time on."""

    since: ClassVar[list[int]] = [0]

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        request = super().recent_trades_request(symbol)
        self.since[0] = since or 0
        return replace(request, query={**request.query, "since": str(since)})

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        rows = super().parse_recent_trades(body, symbol)
        return tuple(each for each in rows if each.time >= self.since[0])[:3]


async def test_pages_are_taken_up_to_now_and_through_another_interruption(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=Paged) as running:
        await interrupted(running, missed=6)
        await trio.sleep(1)
        exchange.trade(BTC)
        exchange.sockets[0].break_off()
        exchange.trade(BTC, skip=True)
        await trio.sleep(2)
        exchange.trade(BTC)
        await trio.sleep(3 * SETTLE_S)
        first, second, *healed = told(running)
        assert (first, second) == (0, 1)
        assert sorted(int(str(each).rstrip("+")) for each in healed) == list(range(2, 11))
        assert (stats(running).back_filled, stats(running).unproven_s) == (7, 0)
        assert running.feed.stats().anomalies == {}


async def test_pages_beyond_the_most_are_reported(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "MAX_PAGES", 2)
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=Paged) as running:
        await interrupted(running, missed=20)
        await trio.sleep(2 * SETTLE_S)
        assert told(running) == [0, 1, *[f"{each}+" for each in range(2, 9)]]
        (said,) = words(running)
        assert "14:13:21.070 and 2026" in said, "from the newest of them"
        assert said.endswith("may be missing: REST has more than 2 pages")


@pytest.mark.parametrize(("venue_class", "refused"), [(ToyVenue, 1), (FineVenue, 0)])
async def test_a_back_filled_trade_may_need_finer_units(
    venue_class: type[ToyVenue], refused: int, autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=venue_class) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.sockets[0].break_off()
        exchange.trade(BTC, price="61800.305", skip=True)
        await trio.sleep(2 * SETTLE_S)
        assert stats(running).back_filled == 1 - refused
        assert bool(stats(running).refused) is bool(refused)
        (instrument,) = running.publisher.header.instruments
        assert instrument.price_exponent == (-2 if refused else -3)
        assert len(words(running)) == refused


async def test_an_unreadable_trade_of_the_stream_is_taken_from_rest_or_named(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        (row,) = exchange.trade(BTC, skip=True)
        exchange.sockets[0].push(row.message.replace(b'"p": "', b'"p": "x'))
        exchange.trade(BTC)
        await trio.sleep(3 * SETTLE_S)
        assert told(running) == [0, 2, "1+"]
        assert words(running) == []
        exchange.trade(BTC, price="61800.305")
        exchange.trade(BTC, price="61800.305")
        await trio.sleep(3 * SETTLE_S)
        assert told(running) == []
        said = words(running)
        assert said[0].endswith("may be missing: 2 of REST fit no field")
        assert stats(running).refused > 2


def test_a_time_that_no_calendar_has_is_shown_as_a_number() -> None:
    assert _in_words(ToyVenue(), 10**25) == str(10**25)
