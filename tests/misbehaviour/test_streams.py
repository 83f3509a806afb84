"""What a TCP client gets when the exchange's streams misbehave, and that nothing is missing."""

import random

import pytest
import trio
from trio.testing import MockClock

from fanout.protocol import Gap, GapState, TradeKind
from fanout.simulator import SimulatorConfig
from fanout.simulator.faults import (
    Delay,
    Delist,
    Drop,
    Fault,
    Forget,
    Garbage,
    Garble,
    Insert,
    List,
    Malformed,
    Odd,
    Relist,
    Rename,
    Renumber,
    Repeat,
    Shuffle,
    Shutdown,
    Silence,
    Skip,
    Stall,
    UnknownEvent,
)
from tests.misbehaviour.scene import BTC, ETH, Short, playing

A_WHILE_S = 5.0

LOST_AND_FOUND: list[Short] = [
    ("", "DOWN"),
    ("", "CONNECTING"),
    (BTC, "CONNECTING"),
    ("", "LIVE"),
    (BTC, "LIVE"),
]
"""What is told of a symbol and of the feed when the only connection is lost and made again."""


def is_closed(gaps: list[Short]) -> bool:
    """Whether this is one gap that is opened, and then closed with nothing lost."""
    (_, count, state), *closing = gaps
    counts = [each[1] for each in closing if each[2] in ("BACK_FILLED", "NO_TRADE")]
    return state == "OPEN" and len(counts) == len(closing) and sum(counts) == count


def are_closed(told: list[Short]) -> bool:
    """Whether all gaps that are told were opened, and closed with nothing lost."""
    gaps = [each for each in told if len(each) == 3]
    opened = sum(each[1] for each in gaps if each[2] == "OPEN")
    closed = sum(each[1] for each in gaps if each[2] in ("BACK_FILLED", "NO_TRADE"))
    return bool(gaps) and opened == closed


def statuses(told: list[Short]) -> list[Short]:
    return [each for each in told if len(each) == 2]


async def test_when_nothing_goes_wrong(autojump_clock: MockClock, venue: str) -> None:
    async with playing(venue=venue) as scene:
        await trio.sleep(A_WHILE_S)
        told = scene.told()
        assert told[:4] == [
            ("", "CONNECTING"),
            (BTC, "CONNECTING"),
            (ETH, "CONNECTING"),
            ("", "LIVE"),
        ]
        assert sorted(told[4:]) == [(BTC, "LIVE"), (ETH, "LIVE")]
    scene.account(BTC, ETH)


@pytest.mark.parametrize(
    "drop",
    [
        Drop(),
        Drop(how="cut"),
        Drop(how="reset"),
        Drop(how="half-open"),
        Drop(code=1008, reason="Too many requests"),
        Garbage(framed=False),
    ],
    ids=["clean", "cut", "reset", "half-open", "1008", "garbage"],
)
async def test_a_connection_is_lost(autojump_clock: MockClock, venue: str, drop: Fault) -> None:
    async with playing(venue=venue) as scene:
        scene.told()
        scene.inject(drop)
        await trio.sleep(20)
        told = scene.told(BTC)
        assert told[:5] == LOST_AND_FOUND
        assert is_closed(told[5:])
    scene.account(BTC, ETH)


async def test_one_symbol_is_acknowledged_and_silent(autojump_clock: MockClock) -> None:
    async with playing(Silence(BTC, stream="trade")) as scene:
        assert scene.told(BTC)[:4] == [
            ("", "CONNECTING"),
            (BTC, "CONNECTING"),
            ("", "LIVE"),
            (BTC, "STALE"),
        ]
        await trio.sleep(A_WHILE_S)
        assert {each.kind for each in scene.trades if each.symbol == BTC} == {TradeKind.AGGREGATE}
        assert {each.kind for each in scene.trades if each.symbol == ETH} != {TradeKind.AGGREGATE}
        assert scene.told() == []
    scene.account(ETH)
    scene.account(BTC, stream="aggTrade")


async def test_all_symbols_are_acknowledged_and_silent(autojump_clock: MockClock) -> None:
    async with playing(Silence(stream="trade")) as scene:
        told = scene.told(BTC)
        assert told[:3] == [("", "CONNECTING"), (BTC, "CONNECTING"), (BTC, "STALE")]
        assert (BTC, "LIVE") in told
        await trio.sleep(A_WHILE_S)
        assert {each.kind for each in scene.trades} == {TradeKind.AGGREGATE}
    scene.account(BTC, ETH, stream="aggTrade")


async def test_a_symbol_falls_silent_and_aggregates_take_over(autojump_clock: MockClock) -> None:
    """The trades between the last one and the first aggregate come from REST."""
    async with playing(rate=10) as scene:
        scene.told()
        scene.inject(Silence(BTC, stream="trade"))
        await trio.sleep(110)
        told = scene.told(BTC)
        assert statuses(told) == [(BTC, "STALE"), (BTC, "CONNECTING"), (BTC, "LIVE")]
        assert are_closed(told)
        trades = [each for each in scene.trades if each.symbol == BTC]
        singles = sorted(e.trade_id for e in trades if e.kind is not TradeKind.AGGREGATE)
        missing = scene.gap_ids(BTC, GapState.NO_TRADE)
        assert sorted(singles + missing) == list(range(singles[0], max(singles + missing) + 1))
    scene.account(ETH)


async def test_a_symbol_falls_silent_until_it_is_connected_again(
    autojump_clock: MockClock,
    venue: str,
) -> None:
    async with playing(venue=venue) as scene:
        scene.told()
        scene.inject(Silence(BTC, for_s=20))
        await trio.sleep(40)
        told = scene.told(BTC)
        assert statuses(told) == [(BTC, "STALE"), (BTC, "LIVE")]
        assert are_closed(told)
    scene.account(BTC, ETH)


async def test_a_stream_stalls_and_then_sends_everything_at_once(
    autojump_clock: MockClock, venue: str
) -> None:
    async with playing(venue=venue, rate=200) as scene:
        scene.told()
        scene.inject(Stall(for_s=2))
        await trio.sleep(A_WHILE_S)
        assert scene.told() == []
        delays_ms = [each.received_ns // 1_000_000 - each.time_ms for each in scene.trades]
        assert max(delays_ms) > 1_500
    scene.account(BTC, ETH)


@pytest.mark.parametrize(
    "fault",
    [
        Skip(BTC, count=3),
        Garble(BTC, count=3),
        Garble(BTC, count=3, how="price"),
        Garble(BTC, count=3, how="types"),
    ],
    ids=["skipped", "cut", "price", "types"],
)
async def test_messages_are_skipped_or_unreadable(
    autojump_clock: MockClock, venue: str, fault: Fault
) -> None:
    async with playing(venue=venue) as scene:
        scene.told()
        scene.inject(fault)
        await trio.sleep(A_WHILE_S)
        gaps = scene.told()
        assert gaps[0] == (BTC, 3, "OPEN")
        assert is_closed(gaps)
    scene.account(BTC, ETH)


@pytest.mark.parametrize(
    "fault",
    [
        Repeat(BTC, count=20),
        Repeat(BTC, count=20, later=5),
        Delay(BTC, by=1, count=5),
        Shuffle(BTC, window=10, count=3),
        Malformed(),
        Malformed("[" * 50_000),
        UnknownEvent(),
        UnknownEvent("somethingNew", {"s": BTC, "t": -1}),
        Garbage(size_bytes=5_000),
        Insert(BTC, "MARKET", count=500),
    ],
    ids=repr,
)
async def test_nothing_to_speak_of(autojump_clock: MockClock, venue: str, fault: Fault) -> None:
    """Twice, out of order, unreadable, unknown, spent for nothing: no status and no gap. An
    announced close, which only spot has, is a status in the state that the feed has."""
    is_announced = venue == "binance-spot" and fault == UnknownEvent()
    async with playing(venue=venue, rate=200) as scene:
        scene.told()
        scene.inject(fault)
        await trio.sleep(A_WHILE_S)
        assert scene.told() == [("", "LIVE")] * is_announced
    scene.account(BTC, ETH)


@pytest.mark.parametrize(
    "fault", [Insert(BTC, count=500), Insert(BTC, "SOMETHING_NEW", count=3)], ids=repr
)
async def test_rows_of_odd_kinds_are_nothing_to_speak_of(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with playing(rate=200) as scene:
        scene.told()
        scene.inject(fault)
        await trio.sleep(A_WHILE_S)
        assert scene.told() == []
    scene.account(BTC, ETH)


async def test_a_trade_that_is_too_late_is_back_filled_and_then_dropped(
    autojump_clock: MockClock,
    venue: str,
) -> None:
    async with playing(venue=venue) as scene:
        scene.told()
        scene.inject(Delay(BTC, by=40))
        await trio.sleep(2 * A_WHILE_S)
        assert scene.told() == [(BTC, 1, "OPEN"), (BTC, 1, "BACK_FILLED")]
    scene.account(BTC, ETH)


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL"])
async def test_a_liquidation_away_from_the_market_is_a_trade_of_its_kind(
    autojump_clock: MockClock, kind: str
) -> None:
    async with playing() as scene:
        scene.told()
        scene.inject(Insert(BTC, kind))
        await trio.sleep(A_WHILE_S)
        assert scene.told() == []
        prices = {each.kind: each.price_float for each in scene.trades if each.symbol == BTC}
        assert prices[TradeKind[kind]] == pytest.approx(0.9 * prices[TradeKind.MARKET], rel=0.05)
    scene.account(BTC, ETH)


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL", "NA"])
async def test_a_row_that_rest_never_has_is_not_reported_as_lost(
    autojump_clock: MockClock, kind: str
) -> None:
    async with playing() as scene:
        scene.told()
        scene.inject(Skip(BTC, count=2))
        scene.inject(Insert(BTC, kind, count=2))
        await trio.sleep(A_WHILE_S)
        assert scene.told() == [(BTC, 2, "OPEN"), (BTC, 2, "NO_TRADE")]
    scene.account(BTC, ETH)


async def test_trades_that_aged_out_of_rest_are_reported_lost_id_by_id(
    autojump_clock: MockClock, venue: str
) -> None:
    async with playing(venue=venue) as scene:
        scene.told()
        scene.inject(Skip(BTC, count=3))
        before = len(scene.trades)
        await scene.until(lambda: len(scene.trades) > before + 12)
        scene.inject(Forget(BTC))
        await trio.sleep(A_WHILE_S)
        gaps = scene.told()
        assert gaps[0] == (BTC, 3, "OPEN")
        assert gaps[1:] in ([(BTC, 3, "UNRECOVERABLE")], [(BTC, 3, "BACK_FILLED")])
    scene.account(BTC, ETH)


async def test_the_units_change_in_mid_session(autojump_clock: MockClock) -> None:
    async with playing() as scene:
        scene.told()
        scene.inject(Relist(BTC, tick_size="0.0001"))
        await trio.sleep(2 * A_WHILE_S)
        assert is_closed(scene.told())
        exponents = [e.instrument.price_exponent for e in scene.trades if e.symbol == BTC]
        assert (exponents[0], exponents[-1]) == (-2, -4)
    scene.account(BTC, ETH)


async def test_a_symbol_is_halted_and_trades_again(autojump_clock: MockClock, venue: str) -> None:
    async with playing(venue=venue) as scene:
        scene.told()
        scene.inject(Relist(BTC, status="SETTLING"))
        await trio.sleep(20)
        assert scene.told() == [(BTC, "STALE"), (BTC, "HALTED")]
        scene.inject(Relist(BTC, status="TRADING"))
        await trio.sleep(A_WHILE_S)
        assert scene.told() == [(BTC, "LIVE")]
    scene.account(BTC, ETH)


async def test_ids_jump_without_trades_in_between(autojump_clock: MockClock, venue: str) -> None:
    async with playing(venue=venue) as scene:
        scene.told()
        newest = max(each.trade_id for each in scene.trades if each.symbol == BTC)
        scene.inject(Renumber(BTC, newest + 1_000))
        await trio.sleep(A_WHILE_S)
        ((_, count, opened), (_, same, closed)) = scene.told()
        assert (opened, closed, count) == ("OPEN", "NO_TRADE", same)
        assert 900 < count < 1_000


async def test_ids_start_again(autojump_clock: MockClock) -> None:
    async with playing() as scene:
        scene.told()
        scene.inject(Renumber(BTC, 1))
        await trio.sleep(2 * A_WHILE_S)
        assert is_closed(scene.told())
        trades = [each.trade_id for each in scene.trades if each.symbol == BTC]
        missing = scene.gap_ids(BTC, GapState.NO_TRADE)
        assert min(trades) == 1
        assert [each for each in sorted(trades + missing) if each < 1_000_000][:20] == list(
            range(1, 21)
        )


async def test_the_connection_is_cut_after_its_lifetime(
    autojump_clock: MockClock, venue: str
) -> None:
    async with playing(venue=venue, rate=40, market={"lifetime_s": 90}) as scene:
        scene.told()
        await trio.sleep(100)
        told = scene.told(BTC)
        assert told[:5] == LOST_AND_FOUND
        assert is_closed(told[5:])
    scene.account(BTC, ETH)


async def test_a_connection_is_replaced_before_its_lifetime_ends(
    autojump_clock: MockClock, venue: str
) -> None:
    async with playing(venue=venue, rate=5, market={"lifetime_s": 90}, rotate_after_s=60) as scene:
        scene.told()
        await trio.sleep(400)
        assert scene.told() == []
    scene.account(BTC, ETH)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_of_two_connections_one_is_killed_at_random_moments(
    autojump_clock: MockClock, venue: str, seed: int
) -> None:
    chance = random.Random(seed)
    async with playing(venue=venue, rate=50, connections=2) as scene:
        await scene.until(lambda: scene.simulator.faults.connections == 2)
        scene.told()
        for _ in range(10):
            await trio.sleep(chance.uniform(0, 5))
            await scene.until(lambda: scene.simulator.faults.connections == 2)
            await trio.sleep(chance.uniform(0, 0.5))
            how = chance.choice(["close", "cut", "reset"])
            scene.inject(Drop(how=how, which=chance.choice(["oldest", "newest"])))
        await trio.sleep(A_WHILE_S)
        assert scene.told() == []
        assert not [each for each in scene.records if isinstance(each, Gap)]
    scene.account(BTC, ETH)


@pytest.mark.long
async def test_ten_symbols_at_the_recorded_peak(autojump_clock: MockClock) -> None:
    """1,137 trades of BTCUSDT were recorded in 100 ms; here of each symbol, ten times in a row."""
    symbols = SimulatorConfig().traded[:10]
    assert len(symbols) == 10
    async with playing(rate=100, assets=symbols) as scene:
        scene.told()
        for _ in range(10):
            scene.inject(Insert(kind="MARKET", count=1_137))
            await trio.sleep(0.1)
        await trio.sleep(A_WHILE_S)
        assert scene.told() == []
        assert len(scene.trades) > 10 * 10 * 1_137
    scene.account(*symbols)


async def test_a_shutdown_that_the_venue_announces_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    """Spot announces that a connection will close: what is missed in between is back-filled."""
    async with playing(venue="binance-spot") as scene:
        scene.told()
        scene.inject(Shutdown(within_s=10))
        await trio.sleep(40)
        gaps = [each for each in scene.told(BTC) if len(each) == 3]
        assert not gaps or are_closed(gaps)
    scene.account(BTC, ETH)


@pytest.mark.parametrize(
    "fault",
    [
        List("NEWUSDT"),
        Odd("LUNAUSDT"),
        Odd("LUNAUSDT", "no-filters"),
        Odd("LUNAUSDT", "twice"),
        Odd("LUNAUSDT", "conflict"),
        Delist("LUNAUSDT"),
        Rename("LUNAUSDT", "LUNA2USDT"),
    ],
    ids=repr,
)
async def test_odd_listing_rows_of_other_symbols_change_nothing(
    autojump_clock: MockClock, fault: Fault
) -> None:
    """Not even where the listing is read again, because the units of another symbol change."""
    async with playing(fault) as scene:
        scene.told()
        scene.inject(Relist(ETH, tick_size="0.0001"))
        await trio.sleep(2 * A_WHILE_S)
        assert scene.told(BTC) == []
        assert {e.instrument.price_exponent for e in scene.trades if e.symbol == BTC} == {-2}
        exponents = [e.instrument.price_exponent for e in scene.trades if e.symbol == ETH]
        assert (exponents[0], exponents[-1]) == (-2, -4)
    scene.account(BTC, ETH)
