"""Many symbols: served from the listing at once, while references come one after the other."""

import logging
from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.feed.listing import shard_of
from fanout.feed.liveness import Liveness, _Pulse
from fanout.feed.sequences import Sequences
from fanout.feed.upkeep import CHANGE_EVERY_S, REFERENCE_PART
from fanout.feed.view import PIECE
from fanout.net.budget import SHARE
from fanout.protocol import Instrument, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues import Request
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.fanout.feed.test_normalise import venue_trade
from tests.stand.loopback import Exchange, Socket

SYMBOLS = [f"SYM{number}USDT" for number in range(120)]


def references(running: RunningFeed) -> int:
    return sum(each.trade_id > 0 for each in running.publisher.header.references)


def recent_requests(exchange: Exchange) -> list[str]:
    return [each.query["symbol"] for each in exchange.requests if each.path.endswith("/trades")]


def shards() -> list[set[str]]:
    """Symbols by connection, of four."""
    return [{each for each in SYMBOLS if shard_of(each, 4) == number} for number in range(4)]


def is_of(socket: Socket, shard: set[str]) -> bool:
    return {each.partition("@")[0].upper() for each in socket._asked_for} == shard


async def test_many_symbols_are_served_at_once_and_their_references_follow(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exchange = Exchange(*SYMBOLS)
    for symbol in SYMBOLS:
        exchange.trade(symbol)
    async with running_feed(exchange, patterns=("all",)) as running:
        assert len(recent_requests(exchange)) <= 1, "the start asks for the listing alone"
        headers = []
        change = running.publisher.change
        running.publisher.change = lambda *of: (headers.append(trio.current_time()), change(*of))  # type: ignore[method-assign, assignment, func-returns-value]
        for symbol in SYMBOLS:
            exchange.trade(symbol)
        await trio.sleep(1)
        assert set(running.feed.states().values()) == {"LIVE"}
        assert references(running) < 10
        for _ in range(60):
            for symbol in SYMBOLS:
                exchange.trade(symbol)
            await trio.sleep(1)
        assert references(running) == len(SYMBOLS)
        pauses = [later - earlier for earlier, later in pairwise(headers)]
        assert all(each >= CHANGE_EVERY_S for each in pauses[:-1])
        assert sorted(recent_requests(exchange)) == sorted(SYMBOLS)
        weight = 5 * len(SYMBOLS) * 60 / (headers[-1] - exchange.began_s)
        assert weight < 0.5 * 2_400
        assert "references fetched for 120 of 120 symbols" in caplog.text
        assert "is LIVE" not in caplog.text, "of many symbols that is a line a second, and no news"
        for symbol in SYMBOLS:
            trades, opened, _ = running.accounted(symbol)
            assert (len(trades), opened) == (61, [])


async def test_a_snapshot_of_many_symbols_is_made_in_pieces(autojump_clock: MockClock) -> None:
    exchange = Exchange(*SYMBOLS)
    for symbol in SYMBOLS:
        exchange.trade(symbol)
    async with running_feed(exchange, patterns=("all",)) as running:
        pauses = list(running.feed.pieces())
        assert len(SYMBOLS) / (len(pauses) + 1) <= PIECE
        assert [each.symbol for each in running.feed.stats().instruments] == SYMBOLS


async def test_answers_that_take_long_do_not_slow_the_references_down(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = Exchange(*SYMBOLS)
    for symbol in SYMBOLS:
        exchange.trade(symbol)
    fetch = exchange.fetch

    async def slowly(request: Request, parse: Callable[[bytes], object]) -> object:
        if request.path.endswith("/trades"):
            await trio.sleep(0.2)
        return await fetch(request, parse)

    monkeypatch.setattr(exchange, "fetch", slowly)
    async with running_feed(exchange, patterns=("all",)) as running:
        began_s = trio.current_time()
        while references(running) < len(SYMBOLS):  # noqa: ASYNC110
            await trio.sleep(0.5)
        by_weight_s = 5 * len(SYMBOLS) * 60 / (2_400 * SHARE * REFERENCE_PART)
        assert by_weight_s - 1 < trio.current_time() - began_s < by_weight_s + CHANGE_EVERY_S


async def test_a_symbol_without_an_answer_does_not_hold_up_the_references_of_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = Exchange(*SYMBOLS)
    for symbol in SYMBOLS:
        exchange.trade(symbol)
    fetch = exchange.fetch
    bad = SYMBOLS[3:40:6]

    async def failing(request: Request, parse: Callable[[bytes], object]) -> object:
        if request.path.endswith("/trades") and request.query["symbol"] in bad:
            raise VenueUnreachableError("HTTP 400")
        return await fetch(request, parse)

    monkeypatch.setattr(exchange, "fetch", failing)
    async with running_feed(exchange, patterns=("all",)) as running:
        began_s = trio.current_time()
        while references(running) < len(SYMBOLS) - len(bad):  # noqa: ASYNC110
            await trio.sleep(0.5)
        by_weight_s = 5 * len(SYMBOLS) * 60 / (2_400 * SHARE * REFERENCE_PART)
        assert trio.current_time() - began_s < by_weight_s + CHANGE_EVERY_S


async def test_ten_symbols_have_their_references_at_the_start(autojump_clock: MockClock) -> None:
    exchange = Exchange(*SYMBOLS[:10])
    for symbol in SYMBOLS[:10]:
        exchange.trade(symbol)
    async with running_feed(exchange) as running:
        assert references(running) == 10


async def test_the_symbol_decides_its_connection(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(*SYMBOLS)
    config = FeedConfig(symbols_per_connection=30)
    async with running_feed(exchange, config) as running:
        await trio.sleep(10)
        assert len(exchange.sockets) == 4
        for symbol in SYMBOLS:
            exchange.trade(symbol)
        await trio.sleep(1)
        assert set(running.feed.states().values()) == {"LIVE"}
        asked = [
            {each.partition("@")[0].upper() for each in socket._asked_for}
            for socket in exchange.sockets
        ]
        assert sorted(map(sorted, asked)) == sorted(map(sorted, shards()))
        assert [each.name for each in running.feed.stats().links] == [
            f"trade connection 1 of 1, shard {number} of 4" for number in range(1, 5)
        ]


async def test_the_end_of_a_connection_is_reported_for_its_symbols_only(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(*SYMBOLS)
    config = FeedConfig(symbols_per_connection=30)
    async with running_feed(exchange, config) as running:
        await trio.sleep(10)
        for symbol in SYMBOLS:
            exchange.trade(symbol)
        await trio.sleep(0.1)
        running.read()
        exchange.sockets[1].break_off()
        (lost,) = [shard for shard in shards() if is_of(exchange.sockets[1], shard)]
        await trio.sleep(0.1)
        down = {symbol for symbol, state in running.feed.states().items() if state == "DOWN"}
        assert down == lost
        assert running.feed.stats().state == "LIVE"


async def test_several_connections_for_each_symbol_run_per_shard(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(*SYMBOLS)
    config = FeedConfig(symbols_per_connection=60, connections=2)
    async with running_feed(exchange, config) as running:
        await trio.sleep(10)
        assert len(exchange.sockets) == 4
        for symbol in SYMBOLS:
            exchange.trade(symbol)
        await trio.sleep(1)
        for symbol in SYMBOLS:
            trades, opened, _ = running.accounted(symbol)
            assert (len(trades), opened) == (1, [])


async def test_hundreds_of_quiet_symbols_leave_rest_weight_for_others(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(*SYMBOLS)
    async with running_feed(exchange, FeedConfig(stream="trade")):
        await trio.sleep(600)
        exchange.requests.clear()
        await trio.sleep(600)
        looks = len(recent_requests(exchange))
        listings = len([each for each in exchange.requests if "exchangeInfo" in each.path])
        assert 120 <= looks <= 600, "a minute's looks are those of fifty symbols"
        assert listings <= 40, "one listing says of all whether they trade"


@pytest.mark.parametrize("count", [100, 800])
def test_the_cost_of_a_read_does_not_depend_on_the_number_of_instruments(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: how often a state or a sequence is looked at."""
    looked = 0
    due_s = _Pulse.due_s

    def counted(self: _Pulse, timeout_s: float) -> float:
        nonlocal looked
        looked += 1
        return due_s(self, timeout_s)

    monkeypatch.setattr(_Pulse, "due_s", counted)
    liveness = Liveness([0.1] * count, [0.0] * count, first_trade_timeout_s=20.0)
    liveness.subscribed(range(count), 0.0, "subscribed")
    looked, now_s = 0, 0.0
    for place in range(1_000):
        now_s += 0.001
        liveness.traded(place % 50, now_s)
        assert liveness.next_due_s > now_s
    assert looked < 2_000


def test_only_sequences_with_holes_are_checked() -> None:
    instruments = [
        Instrument(index=place, symbol=f"S{place}", price_exponent=-2, quantity_exponent=-3)
        for place in range(800)
    ]
    sequences = Sequences(instruments, "trade", Anomalies(clock=lambda: 0.0))
    for instrument in instruments:
        sequences.take([venue_trade(1, instrument.symbol)], "trade", 0.0)
    assert sequences.due(1.0) == []
    assert len(sequences._holed) == 0
    taken = sequences.take([venue_trade(3, "S7")], "trade", 2.0)
    assert taken.has_holes
    assert len(sequences._holed) == 1
    (gap,) = sequences.due(3.0)
    assert (gap.first_id, gap.last_id) == (2, 2)
    assert len(sequences._holed) == 0
    assert [type(each) for each in taken.records] == [Trade]
